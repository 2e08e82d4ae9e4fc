// Put the way first that fits: the file where the configuration stays, the code where a phone can scan it.

import { sentence } from "./sentences.js";

const PHONES = ["ios", "android"];
const { userAgent, maxTouchPoints } = navigator;
// An iPad says that it is a Mac, and only its touch screen tells.
export const isTablet = /Macintosh/.test(userAgent) && maxTouchPoints > 1;
const isApple = isTablet || /iPhone|iPad|iPod/.test(userAgent);
/** The platform of the phone that shows this page; "other" on a computer. */
export const here = isApple ? "ios" : /Android/.test(userAgent) ? "android" : "other";
const onPhone = PHONES.includes(here);

/** Arrange `panel` for a device of `platform`; `draw()` draws the code, once there is room for it. */
export function arrange(panel, platform, draw) {
  const forPhone = PHONES.includes(platform);
  const way = Object.fromEntries([...panel.querySelectorAll("[data-way]")].map((part) => [part.dataset.way, part]));
  const codeFirst = forPhone && !onPhone;
  say(way.file, codeFirst ? "file-for-another" : forPhone ? "file-for-this-phone" : "file-for-this-computer");
  say(way.code, codeFirst ? "code-for-the-phone" : "code-instead");
  instruct(panel, platform, codeFirst ? "code" : "file");
  if (codeFirst) way.file.before(way.code);
  if (codeFirst) panel.querySelector("[data-slot=download]").classList.remove("primary");
  if (onPhone) hideCode(panel, way.code, draw);
  else draw();
}

function say(part, name) {
  part.querySelector("h2").textContent = sentence(name);
}

// The steps of this device stand by the way that comes first; those of all others stay where they are.
function instruct(panel, platform, by) {
  const steps = panel.querySelector(`[data-instructions="${platform}"]`);
  for (const step of steps.querySelectorAll("[data-by]")) step.hidden = step.dataset.by !== by;
  for (const word of steps.querySelectorAll("[data-or]")) word.hidden = true;
  panel.querySelector(`[data-slot=${by}-instructions]`).append(steps);
}

function hideCode(panel, part, draw) {
  const details = panel.querySelector("[data-slot=own-screen]");
  details.append(part.querySelector("[data-slot=qr]"));
  details.hidden = false;
  details.addEventListener("toggle", () => details.open && draw());
  part.remove();
}
