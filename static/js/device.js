// Keep the states on a page true: each element with a status address follows it.

import { follow } from "./poll.js";
import { showState } from "./states.js";

const elements = [...document.querySelectorAll("[data-status-url]")];
const urls = elements.map((element) => element.dataset.statusUrl);

follow(urls, (status, index) => showState(elements[index], status));
