// Enrol a device, or replace its key, with one click: the pair is made here, and only the public half is sent.

import { showConfiguration } from "./configuration.js";
import { Unsupported, WeakRandomness, generateKeyPair } from "./keypair.js";
import { watchOwnKey } from "./own_key.js";
import { sentence } from "./sentences.js";
import { isTablet } from "./ways.js";

const FIELDS = ["csrfmiddlewaretoken", "name", "platform", "interface", "in_place_of"];
const TIMEOUT = 15_000; // ms

const form = document.querySelector("form[data-enrol]");
const button = form.querySelector("[data-one-click]");
const own = form.querySelector("[data-own-key]");
const mayBeSent = watchOwnKey(form);
let pair = null; // kept after a lost connection, so that the second try is the same enrolment

for (const hidden of document.querySelectorAll("[data-needs-script]")) hidden.hidden = false;
refineGuess();

form.elements.public_key.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return; // Enter would press the form's first button, which makes a key of its own
  event.preventDefault();
  form.requestSubmit(own);
});

form.addEventListener("submit", (event) => {
  if (event.submitter === own) {
    if (!mayBeSent()) event.preventDefault();
    return;
  }
  event.preventDefault();
  enrol();
});

async function enrol() {
  busy(true);
  say({});
  try {
    pair ??= await generateKeyPair();
    const answer = await send(pair.publicKey);
    showConfiguration(answer, pair.privateKey, form.elements.platform?.value ?? form.dataset.platform);
    form.closest("[data-before]").remove();
    pair = null;
  } catch (error) {
    if (error.field === "public_key") pair = null; // this key is refused for ever: the next try makes another
    say(sentenceFor(error));
  } finally {
    busy(false);
  }
}

class Refused extends Error {
  constructor({ code, message, field }) {
    super(message);
    Object.assign(this, { code, field });
  }
}

async function send(publicKey) {
  const body = new FormData();
  for (const name of FIELDS) if (form.elements[name]) body.set(name, form.elements[name].value);
  body.set("public_key", publicKey);
  const options = { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" };
  const response = await fetch(form.action, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok) return response.json();
  if (response.type === "opaqueredirect") throw new Refused({ message: sentence("sign-in-ended") });
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(error ?? { message: sentence("failed") });
}

function sentenceFor(error) {
  if (error instanceof Refused) return error;
  if (error instanceof WeakRandomness) return { message: sentence("weak-randomness") };
  if (!(error instanceof Unsupported)) return { message: sentence("connection-lost") };
  own.closest("details").open = true;
  return { message: sentence("unsupported") };
}

function say({ message = "", field, code }) {
  for (const slot of form.querySelectorAll("[data-error-for]")) {
    const isWrong = slot.dataset.errorFor === field;
    slot.textContent = isWrong ? message : "";
    for (const input of inputs(slot.dataset.errorFor)) input.setAttribute("aria-invalid", String(isWrong));
  }
  const beside = form.querySelector(`[data-error-for="${field}"]`);
  form.querySelector("[data-slot=error]").textContent = beside ? "" : message;
  if (beside) inputs(field)[0].focus();
  offerToReplace(code === "peer_limit");
}

const inputs = (name) => form.querySelectorAll(`[name="${name}"]`);

// The limit was reached since this page was made: the server knows which devices there are to choose from.
function offerToReplace(yes) {
  const place = form.querySelector("[data-slot=choose]");
  const network = form.elements.interface?.value ?? "";
  place.hidden = !yes;
  place.firstElementChild.href = `${form.action}?${new URLSearchParams({ interface: network })}`;
}

function busy(yes) {
  button.disabled = yes;
  own.disabled = yes;
  form.setAttribute("aria-busy", String(yes));
}

// The server has filled in what the User-Agent says; an iPad says that it is a Mac.
function refineGuess() {
  const { name, platform } = form.elements;
  if (platform?.value !== "macos" || name.value !== name.defaultValue || !isTablet) return;
  platform.value = "ios";
  name.value = name.value.replace("Mac", "iPad");
}
