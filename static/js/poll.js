// Ask for the status of devices again and again while somebody looks, and not at all while nobody does.

const EVERY = 1500; // ms
const SLOWEST = 30_000;
const ANSWER_WITHIN = 10_000;
const SILENT_AFTER = 15_000; // as for a gateway: what the page says is not known to be true any more

/**
 * Call `show(status, index)` with the answers of `urls` in turn; `end()` once the sign-in is over, a device gone, or `show`
 * said false; `lost()` when the page has heard nothing for too long while somebody looks.
 */
export function follow(urls, show, end = () => {}, lost = () => {}) {
  let failures = 0;
  let silence = 0;
  let timer = 0;
  let asking = false;
  let next = 0; // one question at a time: ten devices cost the server no more than one

  async function ask() {
    asking = true;
    const index = next++ % urls.length;
    const options = { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(ANSWER_WITHIN) };
    const response = await fetch(urls[index], options).catch(() => null);
    asking = false;
    if (response && [401, 404].includes(response.status)) return stop(response.status);
    failures = response?.ok ? 0 : failures + 1;
    const status = response?.ok ? await response.json().catch(() => null) : null;
    if (status) listen(SILENT_AFTER);
    if (status && show(status, index) === false) return stop(response.status);
    wait();
  }

  function wait() {
    if (document.hidden) return;
    clearTimeout(timer);
    timer = setTimeout(ask, Math.min(EVERY * 2 ** failures, SLOWEST));
  }

  // It runs on once the sign-in is over: from then on nothing is heard.
  function listen(patience) {
    clearTimeout(silence);
    if (!document.hidden) silence = setTimeout(lost, patience);
  }

  function look() {
    clearTimeout(timer);
    listen(ANSWER_WITHIN);
    if (!document.hidden && !asking) ask();
  }

  function stop(status) {
    document.removeEventListener("visibilitychange", look);
    end(status);
  }

  if (!urls.length) return;
  document.addEventListener("visibilitychange", look);
  listen(SILENT_AFTER);
  wait();
}
