// Buttons that copy a field: `data-copies` names it by its id. Where a browser cannot, the field is there to be selected.

import { sentence } from "./sentences.js";

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard; // which only secure contexts have
  button.addEventListener("click", () => copy(button.dataset.copies));
}

async function copy(id) {
  const field = document.getElementById(id);
  const said = await navigator.clipboard.writeText(field.value).then(() => "copied", () => "not-copied");
  if (said === "not-copied") field.select();
  document.querySelector(`[data-copied="${id}"]`).textContent = sentence(said);
}
