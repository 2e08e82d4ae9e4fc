// Enrol a device, or replace its key, with one click: the pair is made here, and only the public half is sent.

import { showConfiguration } from "./configuration.js";
import { Unsupported, generateKeyPair } from "./keypair.js";
import { watchOwnKey } from "./own_key.js";

const FIELDS = ["csrfmiddlewaretoken", "name", "platform", "interface"];
const TIMEOUT = 15_000; // ms
const LOST = "The connection was lost before the answer came. Try again: the same key is used, so nothing is enrolled twice.";
const SIGNED_OUT = "Your sign-in has ended. Reload the page to sign in again.";
const FAILED = "The server could not do this. Try again in a moment.";
const UNSUPPORTED =
  "This browser cannot make WireGuard keys. Update it, or open “Use my own key” below and paste a public key that your device made.";

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
    showConfiguration(answer, pair.privateKey);
    form.closest("[data-before]").remove();
    pair = null;
  } catch (error) {
    say(sentenceFor(error));
  } finally {
    busy(false);
  }
}

class Refused extends Error {
  constructor({ message, field }) {
    super(message);
    this.field = field;
  }
}

async function send(publicKey) {
  const body = new FormData();
  for (const name of FIELDS) if (form.elements[name]) body.set(name, form.elements[name].value);
  body.set("public_key", publicKey);
  const options = { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" };
  const response = await fetch(form.action, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok) return response.json();
  if (response.type === "opaqueredirect") throw new Refused({ message: SIGNED_OUT });
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(error ?? { message: FAILED });
}

function sentenceFor(error) {
  if (error instanceof Refused) return error;
  if (!(error instanceof Unsupported)) return { message: LOST };
  own.closest("details").open = true;
  return { message: UNSUPPORTED };
}

function say({ message = "", field }) {
  for (const slot of form.querySelectorAll("[data-error-for]")) {
    slot.textContent = slot.dataset.errorFor === field ? message : "";
    form.elements[slot.dataset.errorFor].setAttribute("aria-invalid", String(slot.dataset.errorFor === field));
  }
  const beside = form.querySelector(`[data-error-for="${field}"]`);
  form.querySelector("[data-slot=error]").textContent = beside ? "" : message;
  if (beside) form.elements[field].focus();
}

function busy(yes) {
  button.disabled = yes;
  own.disabled = yes;
  form.setAttribute("aria-busy", String(yes));
}

// The server has filled in what the User-Agent says; an iPad says that it is a Mac, and only its touch screen tells.
function refineGuess() {
  const { name, platform } = form.elements;
  if (platform?.value !== "macos" || name.value !== name.defaultValue || navigator.maxTouchPoints < 2) return;
  platform.value = "ios";
  name.value = name.value.replace("Mac", "iPad");
}
