// Show a new configuration once. The private key lives in this module's memory until the page is left, nowhere else.

import { saveFile } from "./files.js";
import { filled } from "./filled.js";
import { follow } from "./poll.js";
import { drawQr } from "./qr.js";
import { sentence } from "./sentences.js";
import { showState, showUnknown } from "./states.js";
import { arrange, here } from "./ways.js";

const panel = document.querySelector("[data-configuration]");
const slot = (name) => panel.querySelector(`[data-slot=${name}]`);

let text = null;
let saved = false;

/** Put `privateKey` into the server's `answer` and show it to a device of `platform`: file, QR code, copy. */
export function showConfiguration(answer, privateKey, platform = here) {
  text = filled(answer.config, privateKey);
  panel.hidden = false;
  name("file-name", answer.file_name);
  name("tunnel-name", answer.file_name.replace(/\.conf$/, ""));
  arrange(panel, platform, () => text && drawQr(slot("qr"), text));
  slot("done").href = answer.url;
  document.title = sentence("title-waiting");
  listen(answer);
  // A device that enrolled by a link has no session: it can neither ask for its state nor open its page.
  for (const element of [slot("waiting").parentElement, slot("done")]) element.hidden = !answer.status_url;
  if (answer.status_url) waitForConnection(answer.status_url);
  history.replaceState(null, "", answer.url); // a reload shows the device's page, which knows no key
  window.scrollTo(0, 0);
  panel.focus({ preventScroll: true });
}

function name(what, value) {
  for (const place of panel.querySelectorAll(`[data-slot=${what}]`)) place.textContent = value;
}

function listen(answer) {
  slot("download").addEventListener("click", () => download(answer.file_name));
  slot("copy").addEventListener("click", copy);
  slot("done").addEventListener("click", () => (saved = true));
  const shown = slot("text");
  const details = shown.closest("details");
  details.addEventListener("toggle", () => (shown.textContent = details.open ? text : ""));
  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
  window.addEventListener("pagehide", forget);
  // Should the browser restore the page from its back/forward cache, there is nothing left to show.
  window.addEventListener("pageshow", (event) => event.persisted && location.replace(answer.url));
}

function download(fileName) {
  saveFile(fileName, text);
  keep("downloaded");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(text);
    keep("copied");
  } catch {
    slot("kept").textContent = sentence("copying-refused");
  }
}

function keep(how) {
  saved = true;
  slot("kept").textContent = sentence(how);
}

function forget() {
  text = null;
  slot("qr").replaceChildren();
  slot("text").textContent = "";
}

function waitForConnection(url) {
  const show = (status) => {
    showState(panel, status);
    say(status.state === "connected");
  };
  const lost = () => showUnknown(panel) && say(false);
  follow([url], show, undefined, lost);
}

function say(connected) {
  slot("waiting").hidden = connected;
  slot("connected").hidden = !connected;
  document.title = sentence(connected ? "title-connected" : "title-waiting");
  if (connected) saved = true; // it is in use, so it is kept
}
