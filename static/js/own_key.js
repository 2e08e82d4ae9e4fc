// The "Use my own key" part of a form: what is pasted or dropped is looked at here before anything is sent.

import { publicKeyIn, publicKeyOf } from "./public_key_text.js";
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
  watchFiles(form, async (file) => take(await publicKeyOf(file)));
  return () => take(publicKeyIn(input.value));
}

function watchFiles(form, take) {
  const picker = form.querySelector("input[type=file]");
  picker.addEventListener("change", () => {
    if (picker.files.length) take(picker.files[0]);
    picker.value = ""; // the same file may be chosen again after a refusal
  });
  // On the whole window: a browser opens a file that is dropped beside the target, and the page would be lost.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
