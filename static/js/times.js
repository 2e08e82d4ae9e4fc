// Times in the reader's own zone and the page's language; the server, which knows no zone, writes UTC.

const language = document.documentElement.lang;
const clock = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const UNITS = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** Return an RFC 3339 time as the reader's clock would show it. */
export function localTime(at) {
  return clock.format(Date.parse(at));
}

/** Return how long ago an RFC 3339 time was, in words. */
export function ago(at) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  const [unit, length] = UNITS.find(([, least]) => seconds >= least) ?? UNITS.at(-1);
  return relative.format(-Math.floor(seconds / length), unit);
}

/** Rewrite every <time datetime> of the page. */
export function localise() {
  for (const time of document.querySelectorAll("time[datetime]")) time.textContent = localTime(time.dateTime);
}
