// The phone's page of a link: take the token out of the address, make the keys here, and use the link by one POST.

import { showConfiguration } from "./configuration.js";
import { generateKeyPair } from "./keypair.js";
import { refusalOf, send, setBusy, tell } from "./send.js";

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
  setBusy(form, true);
  tell(form, {});
  try {
    pair ??= await generateKeyPair();
    finish(await send(form, bodyWith(pair.publicKey)));
  } catch (error) {
    if (error.field === "public_key") pair = null; // this key is refused for ever: the next try makes another
    if (error.status === GONE) show(false);
    else tell(form, refusalOf(error));
  } finally {
    setBusy(form, false);
  }
});

function bodyWith(publicKey) {
  const body = new FormData(form);
  body.set("token", token);
  body.set("public_key", publicKey);
  return body;
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
