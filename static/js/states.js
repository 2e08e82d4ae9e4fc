// Put a status into the page. The words come from the server: one <template> for each state.

const UNITS = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const SIZES = ["bytes", "KB", "MB", "GB", "TB"]; // of 1,024, as the server writes them
const ago = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });

/** Fill the slots of `root` that it has: state, explanation, handshake, rx, tx. */
export function showState(root, status) {
  const words = document.querySelector(`template[data-state="${status.state}"]`);
  fill(root, "state", words?.content.cloneNode(true));
  fill(root, "explanation", words?.dataset.explanation);
  fill(root, "handshake", status.latest_handshake ? age(status.latest_handshake) : "never");
  fill(root, "rx", size(status.rx_bytes));
  fill(root, "tx", size(status.tx_bytes));
}

function fill(root, name, content) {
  const slot = root.querySelector(`[data-slot=${name}]`);
  if (!slot || content === undefined) return;
  // A badge that is the same is left alone: a screen reader would read it out again every second.
  if (slot.textContent.trim() !== (content.textContent ?? content).trim()) slot.replaceChildren(content);
}

function age(at) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  const [unit, length] = UNITS.find(([, least]) => seconds >= least) ?? UNITS.at(-1);
  return ago.format(-Math.floor(seconds / length), unit);
}

function size(bytes) {
  const power = bytes ? Math.min(Math.floor(Math.log2(bytes) / 10), SIZES.length - 1) : 0;
  return `${power ? (bytes / 1024 ** power).toFixed(1) : bytes} ${SIZES[power]}`;
}
