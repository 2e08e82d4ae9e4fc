// The computer's page of a link: wait until the phone has used it, then turn to the new device.

import { follow } from "./poll.js";
import { sentence } from "./sentences.js";

const page = document.querySelector("[data-link-waiting]");
const slot = (name) => page.querySelector(`[data-slot=${name}]`);
const ends = new Date(page.dataset.ends);
const MINUTE = 60_000; // ms
let device = null; // the address of its page

slot("waiting").hidden = false;
slot("until").textContent = ends.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
countDown();
follow([page.dataset.linkStatus], show, end);

function show({ state, url: made }) {
  countDown();
  device = made;
  return state === "waiting";
}

function countDown() {
  const minutes = Math.max(0, Math.ceil((ends - Date.now()) / MINUTE));
  slot("left").textContent = sentence("left", { minutes });
}

function end() {
  page.remove(); // and the token with it
  if (device) return location.replace(device);
  const ended = document.querySelector("[data-link-ended]");
  ended.hidden = false;
  ended.focus();
}
