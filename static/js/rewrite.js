// Give an old configuration file the network's new settings, in this page: its private key is never sent.

import { privateKeyOf } from "./conf_text.js";
import { saveFile, watchFiles } from "./files.js";
import { filled } from "./filled.js";
import { drawQr } from "./qr.js";
import { sentence } from "./sentences.js";

const FILE_NAME = /filename="([^"]+)"/;

const card = document.querySelector("section[data-stale]");
const slot = (name) => card.querySelector(`[data-slot=stale-${name}]`);
const form = card.querySelector("form[data-configured]");
let rewritten = null; // {text, name}, until the page is left

slot("drop").hidden = false;
watchFiles(card.querySelector("input[type=file]"), take);
slot("download").addEventListener("click", download);
window.addEventListener("pagehide", forget);

async function take(file) {
  forget();
  const { privateKey, refusal } = await privateKeyOf(file, card.dataset.publicKey).catch(() => ({ refusal: "unsupported" }));
  slot("error").textContent = refusal ? sentence(`stale-${refusal}`) : "";
  if (refusal) return;
  const current = await fetchCurrent().catch(() => null);
  if (current) show({ ...current, text: filled(current.text, privateKey) });
  else slot("error").textContent = sentence("stale-failed");
}

async function fetchCurrent() {
  const response = await fetch(card.dataset.configUrl, { redirect: "error" });
  if (!response.ok) throw new Error(response.status);
  const name = response.headers.get("Content-Disposition").match(FILE_NAME)[1];
  return { text: await response.text(), name };
}

function show(made) {
  rewritten = made;
  slot("heading").textContent = sentence("stale-rewritten");
  slot("before").hidden = true;
  slot("own-key").hidden = true;
  slot("after").hidden = false;
  drawQr(slot("qr"), made.text);
  slot("after").focus();
}

async function download() {
  saveFile(rewritten.name, rewritten.text);
  const noted = await note().catch(() => false);
  slot("noted").textContent = sentence(noted ? "stale-done" : "stale-not-noted");
  for (const element of [form, slot("badge")]) element.hidden = noted;
}

async function note() {
  const options = { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } };
  return (await fetch(form.action, { ...options, redirect: "error" })).ok;
}

function forget() {
  rewritten = null;
  slot("qr").replaceChildren();
  slot("before").hidden = false;
  slot("after").hidden = true;
}
