// Ask for the status of devices again and again: often while somebody looks, seldom while nobody does.

const VISIBLE = 1500; // ms
const HIDDEN = 15_000;
const SLOWEST = 30_000;

/** Call `show(status, index)` with the answers of `urls` in turn, until the sign-in ends or a device is gone. */
export function follow(urls, show) {
  let failures = 0;
  let timer = 0;
  let next = 0; // one question at a time: ten devices cost the server no more than one

  async function ask() {
    timer = 0; // no second round may start while this one waits for its answer
    const index = next++ % urls.length;
    const response = await fetch(urls[index], { headers: { Accept: "application/json" } }).catch(() => null);
    if (response && [401, 404].includes(response.status)) return;
    failures = response?.ok ? 0 : failures + 1;
    const status = response?.ok ? await response.json().catch(() => null) : null;
    if (status) show(status, index);
    wait();
  }

  function wait() {
    const pause = document.hidden ? HIDDEN : VISIBLE;
    timer = setTimeout(ask, Math.min(pause * 2 ** failures, SLOWEST));
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !timer) return;
    clearTimeout(timer);
    ask();
  });
  if (urls.length) wait();
}
