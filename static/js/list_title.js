// The title of the list of devices says how many are connected, as long as the list is there.

import { sentence } from "./sentences.js";

const list = document.querySelector("[data-list]");

function retitle() {
  const connected = list.querySelectorAll('[data-state="connected"]').length;
  document.title = connected ? sentence("list-connected", { connected }) : sentence("list");
}

if (list) new MutationObserver(retitle).observe(list, { childList: true, subtree: true });
