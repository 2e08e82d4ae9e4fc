// The phone's page of a link: take the token out of the address, make the keys here, and use the link by one POST.

import { showConfiguration } from "./configuration.js";
import { Unsupported, WeakRandomness, generateKeyPair } from "./keypair.js";
import { sentence } from "./sentences.js";

const TIMEOUT = 15_000; // ms
const GONE = 410;

const before = document.querySelector("[data-before]");
const form = before.querySelector("form");
const button = form.querySelector("button");
const invalid = document.querySelector("[data-link-invalid]");
let token = "";
let pair = null; // kept after a lost connection, so that the second try is the same enrolment

take();
window.addEventListener("hashchange", () => location.hash && take()); // another link, opened in the same tab

function take() {
  token = location.hash.slice(1);
  pair = null;
  // At once: the address is what a person shares, a screenshot shows and the browser remembers.
  history.replaceState(null, "", location.pathname);
  show(Boolean(token));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  busy(true);
  say({});
  try {
    pair ??= await generateKeyPair();
    const answer = await send(pair.publicKey);
    if (answer) finish(answer);
    else show(false);
  } catch (error) {
    say(reason(error));
  } finally {
    busy(false);
  }
});

class Refused extends Error {
  constructor({ message, field }) {
    super(message);
    this.field = field;
  }
}

/** Return the server's answer, null when the link is no longer valid. */
async function send(publicKey) {
  const body = new FormData(form);
  body.set("token", token);
  body.set("public_key", publicKey);
  const options = { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" };
  const response = await fetch(form.action, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok) return response.json();
  if (response.status === GONE) return null;
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(error ?? { message: sentence("link-failed") });
}

function finish(answer) {
  showConfiguration(answer, pair.privateKey, form.elements.platform.value);
  pair = null;
  before.remove();
}

function show(valid) {
  before.hidden = !valid;
  invalid.hidden = valid;
  if (!valid) invalid.focus();
}

function reason(error) {
  if (error instanceof Refused) return error;
  if (error instanceof WeakRandomness) return { message: sentence("link-weak") };
  return { message: sentence(error instanceof Unsupported ? "link-unsupported" : "link-lost") };
}

function say({ message = "", field }) {
  const { name } = form.elements;
  const isName = field === "name";
  name.setAttribute("aria-invalid", String(isName));
  form.querySelector("[data-error-for=name]").textContent = isName ? message : "";
  form.querySelector("[data-slot=error]").textContent = isName ? "" : message;
  if (isName) name.focus();
}

function busy(yes) {
  button.disabled = yes;
  form.setAttribute("aria-busy", String(yes));
}
