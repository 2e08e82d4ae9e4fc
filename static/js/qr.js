// Draw a text as a QR code that phones read from a screen.

import { generate, mode } from "../vendor/lean-qr/index.mjs";
import { toSvg } from "../vendor/lean-qr/svg.mjs";
import { sentence } from "./sentences.js";

const QUIET = 4; // modules of white around it, ISO/IEC 18004
const SMALLEST = 4; // CSS pixels a module; at 3, or at a fraction, readers fail
const LARGEST = 6;

/** Replace the content of `element` with the code: black on white, whatever the colours of the page. */
export function drawQr(element, text) {
  const code = generate(text, { modes: [mode.ascii] }); // plain bytes: not every reader knows the mark for UTF-8
  const modules = code.size + 2 * QUIET;
  const side = modules * moduleSize(element.clientWidth / modules);
  const svg = toSvg(code, document, { on: "#000", off: "#fff", pad: QUIET, width: side, height: side });
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", sentence("code-name"));
  element.replaceChildren(svg);
}

// Whole pixels of the screen, also where one CSS pixel is 1.25 of them.
function moduleSize(available) {
  const ratio = window.devicePixelRatio || 1;
  const wanted = Math.floor(Math.min(available, LARGEST) * ratio);
  return Math.max(wanted, Math.ceil(SMALLEST * ratio)) / ratio;
}
