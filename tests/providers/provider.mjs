// A certified OpenID Connect provider (node-oidc-provider) on 127.0.0.1 for the tests; it keeps everything in memory.
//
// It is driven by lines of JSON on standard input, each answered by a line of JSON on standard output: the first says how
// it is set up, the others change it. It ends with its input, so it never outlives the tests.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import Provider from 'oidc-provider'
import { Memory } from './memory.mjs'

console.info = console.error // standard output is for answers

const people = new Map() // name -> { active, groups }
const trouble = { delay: 0, status: 0, no_groups: false } // milliseconds, the status of every answer, no such claim

function account(_context, sub) {
  const person = people.get(sub)
  if (!person?.active) return undefined // the library's way to say that there is nobody (any more)
  const groups = trouble.no_groups ? {} : { groups: person.groups }
  const name = `${sub[0].toUpperCase()}${sub.slice(1)} Certified`
  const claims = { sub, name, email: `${sub}@example.com`, email_verified: true, ...groups }
  return { accountId: sub, claims: () => claims }
}

function signingKey(algorithm) {
  const type = algorithm === 'RS256' ? ['rsa', { modulusLength: 2048 }] : ['ec', { namedCurve: 'P-256' }]
  const { privateKey } = generateKeyPairSync(...type)
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: algorithm, kid: algorithm.toLowerCase() }
}

function client(options, algorithm) {
  return {
    client_id: options.clients[algorithm],
    client_secret: options.client_secret,
    redirect_uris: [options.redirect_uri],
    post_logout_redirect_uris: [options.post_logout_redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: algorithm,
    require_auth_time: true,
  }
}

function configuration(options) {
  const algorithms = Object.keys(options.clients)
  return {
    adapter: Memory,
    clients: algorithms.map((algorithm) => client(options, algorithm)),
    clientAuthMethods: ['client_secret_basic'],
    clientBasedCORS: () => false,
    jwks: { keys: algorithms.map(signingKey) },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    responseTypes: ['code'],
    acrValues: options.acr_values,
    claims: { openid: ['sub', 'amr'], profile: ['name', 'groups'], email: ['email', 'email_verified'] },
    findAccount: account,
    renderError: (context, out) => { context.body = out },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { logoutSource: (context, form) => { context.body = logoutPage(form) } },
    },
    ttl: { AccessToken: 3600, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 86400 },
  }
}

const page = (body) => `<!doctype html><html lang="en"><title>Certified provider</title>${body}`

const loginPage = (uid, said) => page(
  `<p>${said}</p><form method="post" action="/interaction/${uid}"><input name="name" required><button>Sign in</button></form>`,
)

const logoutPage = (form) => page(`${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`)

function answer(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(body)
}

async function submitted(request) {
  let body = ''
  for await (const chunk of request) body += chunk
  return new URLSearchParams(body)
}

// A person signs in with their name alone, and consents to everything.
async function interact(provider, request, response) {
  const { uid, prompt, params, session } = await provider.interactionDetails(request, response)
  const finish = (result) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true })
  if (prompt.name === 'consent') {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
    grant.addOIDCScope(params.scope)
    return finish({ consent: { grantId: await grant.save() } })
  }
  if (request.method !== 'POST') return answer(response, 200, loginPage(uid, 'Who are you?'))
  const name = (await submitted(request)).get('name')
  if (!people.get(name)?.active) return answer(response, 403, loginPage(uid, 'This account cannot sign in.'))
  const acr = params.acr_values?.split(' ')[0]
  return finish({ login: { accountId: name, acr, amr: acr ? ['pwd', 'otp'] : ['pwd'] } })
}

async function serve(options) {
  const provider = new Provider(options.issuer, configuration(options))
  provider.on('server_error', (_context, error) => console.error(error))
  const library = provider.callback()
  const server = createServer(async (request, response) => {
    await sleep(trouble.delay)
    if (trouble.status) return answer(response, trouble.status, 'As the test wants it.')
    if (!request.url.startsWith('/interaction/')) return library(request, response)
    return interact(provider, request, response).catch((error) => answer(response, 400, page(error.name)))
  })
  server.listen(Number(new URL(options.issuer).port), '127.0.0.1')
  await once(server, 'listening')
}

function change({ person, ...other }) {
  if (person) people.set(person.name, person)
  else Object.assign(trouble, other)
}

let isServing = false
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  if (isServing) change(message)
  else await serve(message)
  isServing = true
  process.stdout.write('{"done": true}\n')
}
process.exit()
