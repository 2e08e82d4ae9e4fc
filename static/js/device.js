// Keep the states on a page true: each element with a status address follows it, and the title of a device's own page.

import { follow } from "./poll.js";
import { sentence } from "./sentences.js";
import { label, showState } from "./states.js";
import { localise } from "./times.js";

const elements = [...document.querySelectorAll("[data-status-url]")];
const urls = elements.map((element) => element.dataset.statusUrl);

localise();
follow(urls, show, end);

function show(status, index) {
  showState(elements[index], status);
  const { name } = elements[index].dataset;
  if (name) document.title = `${label(status.state)} · ${name}`;
}

function end(status) {
  const ended = document.querySelector("[data-slot=ended]");
  if (!ended || status !== 401) return;
  ended.textContent = sentence("signed-out");
  ended.hidden = false;
}
