// Put a status into the page. The words come from the server: a <template> for each state, and sentences in the status.

import { sentence } from "./sentences.js";
import { ago, localTime } from "./times.js";

const SIZES = ["bytes", "KB", "MB", "GB", "TB"]; // of 1,024, as the server writes them

/** Fill the slots of `root` that it has: state, explanation, seen, connected-since, rx, tx. */
export function showState(root, status) {
  fill(root, "state", words(status.state)?.cloneNode(true));
  fill(root, "explanation", status.explanation);
  if (status.latest_handshake) fill(root, "seen", ago(status.latest_handshake));
  fill(root, "rx", size(status.rx_bytes));
  fill(root, "tx", size(status.tx_bytes));
  fill(root, "connected-since", status.connected_since ? localTime(status.connected_since) : "");
  for (const part of root.querySelectorAll("[data-shown-while]")) part.hidden = part.dataset.shownWhile !== status.state;
  for (const part of root.querySelectorAll("[data-hidden-while]")) part.hidden = part.dataset.hiddenWhile === status.state;
}

/** Take back what `root` says, once nothing has been heard for too long; say whether there was anything to take back. */
export function showUnknown(root) {
  if (root.querySelector("[data-slot=state]").textContent.trim() === label("revoked")) return false; // which is for good
  fill(root, "state", words("unknown").cloneNode(true));
  fill(root, "explanation", sentence("unheard"));
  fill(root, "connected-since", "");
  return true;
}

/** Return the label of a state, in the page's language. */
export function label(state) {
  return words(state)?.textContent.trim() ?? "";
}

const words = (state) => document.querySelector(`template[data-state="${state}"]`)?.content;

function fill(root, name, content) {
  const slot = root.querySelector(`[data-slot=${name}]`);
  if (!slot || content === undefined) return;
  const text = (content.textContent ?? content).trim();
  // What is the same is left alone: a screen reader would read it out again every second.
  if (slot.textContent.trim() !== text) slot.replaceChildren(content);
  if (slot.tagName === "DD") slot.hidden = slot.previousElementSibling.hidden = !text;
}

function size(bytes) {
  const power = bytes ? Math.min(Math.floor(Math.log2(bytes) / 10), SIZES.length - 1) : 0;
  return `${power ? (bytes / 1024 ** power).toFixed(1) : bytes} ${SIZES[power]}`;
}
