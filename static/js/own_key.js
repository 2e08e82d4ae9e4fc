// The "Use my own key" part of a form: what is pasted or dropped is looked at here before anything is sent.

import { watchFiles } from "./files.js";
import { publicKeyIn, publicKeyInFile } from "./public_key_text.js";
import { sentence } from "./sentences.js";

/** Watch `form`; return a function that says whether its pasted key may be sent. */
export function watchOwnKey(form) {
  const input = form.elements.public_key;
  const told = form.querySelector("[data-slot=key-error]");
  const details = input.closest("details");

  function take({ publicKey, refusal }) {
    told.textContent = refusal ? sentence(refusal) : "";
    input.setAttribute("aria-invalid", String(Boolean(refusal)));
    if (refusal) details.open = true;
    if (refusal || publicKey) input.value = publicKey ?? ""; // a refused text does not stay in the page
    if (publicKey) input.focus();
    return !refusal;
  }

  input.addEventListener("paste", (event) => {
    event.preventDefault(); // so that a private key never reaches the field
    take(publicKeyIn(event.clipboardData.getData("text")));
  });
  watchFiles(form.querySelector("input[type=file]"), async (file) => take(await publicKeyInFile(file)));
  return () => take(publicKeyIn(input.value));
}
