// Send a form without leaving its page: the server's JSON answer or its refusal, and where on the form that is said.

import { Unsupported, WeakRandomness } from "./keypair.js";
import { sentence } from "./sentences.js";

const TIMEOUT = 15_000; // ms

/** What the server said no with: `status` 0 is a redirect; `code` and `field` are not always there. */
class Refused extends Error {
  constructor({ status, message, code, field }) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

/** Return the answer to `body`, sent to where `form` goes; throw for a refusal, and when there is no answer. */
export async function send(form, body) {
  const options = { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" };
  const response = await fetch(form.action, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  if (error?.code === "confirmation_needed") location.assign(error.location);
  throw new Refused({ message: sentence("failed"), ...error, status: response.status });
}

/** Return {message, field, code} for what `generateKeyPair` or `send` has thrown. */
export function refusalOf(error) {
  if (error instanceof Refused) return error;
  if (error instanceof WeakRandomness) return { message: sentence("weak-randomness") };
  return { message: sentence(error instanceof Unsupported ? "unsupported" : "connection-lost") };
}

/** Put a refusal's message beside its field, else above the button; without one, clear what stood there. */
export function tell(form, { message = "", field }) {
  const inputs = (name) => form.querySelectorAll(`[name="${name}"]`);
  for (const slot of form.querySelectorAll("[data-error-for]")) {
    const isWrong = slot.dataset.errorFor === field;
    slot.textContent = isWrong ? message : "";
    for (const input of inputs(slot.dataset.errorFor)) input.setAttribute("aria-invalid", String(isWrong));
  }
  const beside = form.querySelector(`[data-error-for="${field}"]`);
  form.querySelector("[data-slot=error]").textContent = beside ? "" : message;
  if (beside) inputs(field)[0].focus();
}

/** Say whether the form waits for an answer; no button can be pressed meanwhile. */
export function setBusy(form, busy) {
  for (const button of form.querySelectorAll("button")) button.disabled = busy;
  form.setAttribute("aria-busy", String(busy));
}
