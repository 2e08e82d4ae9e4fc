// Keep the states on a page true: each element with a status address follows it, and the title of a device's own page.

import { follow } from "./poll.js";
import { sentence } from "./sentences.js";
import { label, showState, showUnknown } from "./states.js";
import { localise } from "./times.js";

const elements = [...document.querySelectorAll("[data-status-url]")];
const receipt = document.querySelector("[data-slot=receipt]"); // on the page of one device
const urls = elements.map((element) => element.dataset.statusUrl);

localise();
follow(urls, show, end, lost);

function show(status, index) {
  showState(elements[index], status);
  entitle(elements[index], status.state);
  if (!receipt) return;
  receipt.textContent = status.receipt;
  receipt.hidden = !status.receipt;
}

function lost() {
  for (const element of elements) if (showUnknown(element)) entitle(element, "unknown");
}

function entitle({ dataset: { name } }, state) {
  if (name) document.title = `${label(state)} · ${name}`;
}

function end(status) {
  const ended = document.querySelector("[data-slot=ended]");
  if (!ended || status !== 401) return;
  ended.textContent = sentence("signed-out");
  ended.hidden = false;
}
