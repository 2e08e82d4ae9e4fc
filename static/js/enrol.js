// Enrol a device, or replace its key, with one click: the pair is made here, and only the public half is sent.

import { showConfiguration } from "./configuration.js";
import { Unsupported, generateKeyPair } from "./keypair.js";
import { watchOwnKey } from "./own_key.js";
import { refusalOf, send, setBusy, tell } from "./send.js";
import { sentence } from "./sentences.js";
import { isTablet } from "./ways.js";

const FIELDS = ["csrfmiddlewaretoken", "name", "platform", "interface", "in_place_of"];
const REDIRECTED = 0; // the status of an answer that leads elsewhere: to the sign-in

const form = document.querySelector("form[data-enrol]");
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
  setBusy(form, true);
  say({});
  try {
    pair ??= await generateKeyPair();
    const answer = await send(form, bodyWith(pair.publicKey));
    showConfiguration(answer, pair.privateKey, form.elements.platform?.value ?? form.dataset.platform);
    form.closest("[data-before]").remove();
    pair = null;
  } catch (error) {
    if (error.field === "public_key") pair = null; // this key is refused for ever: the next try makes another
    if (error instanceof Unsupported) own.closest("details").open = true;
    say(error.status === REDIRECTED ? { message: sentence("sign-in-ended") } : refusalOf(error));
  } finally {
    setBusy(form, false);
  }
}

function bodyWith(publicKey) {
  const body = new FormData();
  for (const name of FIELDS) if (form.elements[name]) body.set(name, form.elements[name].value);
  body.set("public_key", publicKey);
  return body;
}

function say(refusal) {
  tell(form, refusal);
  offerToReplace(refusal.code === "peer_limit");
}

// The limit was reached since this page was made: the server knows which devices there are to choose from.
function offerToReplace(yes) {
  const place = form.querySelector("[data-slot=choose]");
  const network = form.elements.interface?.value ?? "";
  place.hidden = !yes;
  place.firstElementChild.href = `${form.action}?${new URLSearchParams({ interface: network })}`;
}

// The server has filled in what the User-Agent says; an iPad says that it is a Mac.
function refineGuess() {
  const { name, platform } = form.elements;
  if (platform?.value !== "macos" || name.value !== name.defaultValue || !isTablet) return;
  platform.value = "ios";
  name.value = name.value.replace("Mac", "iPad");
}
