// Show a new configuration once. The private key lives in this module's memory until the page is left, nowhere else.

import { drawQr } from "./qr.js";
import { follow } from "./poll.js";
import { showState } from "./states.js";

const PLACEHOLDER = "REPLACE_WITH_YOUR_PRIVATE_KEY";
const panel = document.querySelector("[data-configuration]");
const slot = (name) => panel.querySelector(`[data-slot=${name}]`);

let text = null;
let saved = false;

/** Put `privateKey` into the server's `answer` and show it: QR code, download, copy. */
export function showConfiguration(answer, privateKey) {
  text = answer.config.replace(PLACEHOLDER, privateKey);
  panel.hidden = false;
  drawQr(slot("qr"), text);
  slot("done").href = answer.url;
  slot("file-name").textContent = answer.file_name;
  listen(answer);
  waitForConnection(answer.status_url);
  history.replaceState(null, "", answer.url); // a reload shows the device's page, which knows no key
  panel.focus();
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
  const link = document.createElement("a");
  // Not text/plain: some browsers add .txt to the name, and the apps then do not know the file.
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  keep("Downloaded.");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(text);
    keep("Copied. Clear the clipboard once it is on the device.");
  } catch {
    slot("kept").textContent = "The browser does not allow copying. Open “Show the configuration” and copy it by hand.";
  }
}

function keep(sentence) {
  saved = true;
  slot("kept").textContent = sentence;
}

function forget() {
  text = null;
  slot("qr").replaceChildren();
  slot("text").textContent = "";
}

function waitForConnection(url) {
  follow([url], (status) => {
    showState(panel, status);
    slot("waiting").hidden = status.state === "connected";
    slot("connected").hidden = status.state !== "connected";
    if (status.state === "connected") saved = true; // it is in use, so it is kept
  });
}
