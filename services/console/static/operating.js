// @ts-check
/* Pages made of blocks: parts that come later, and forms that are sent once. */

import { elementsOf } from "asset:elements.js";

const RETRY = "Try again";

/** @param {HTMLElement} part */
async function fetchPart(part) {
  const url = part.dataset.later;
  if (!url) return;
  try {
    const answer = await fetch(url, { headers: { "X-Part": "1" }, signal: AbortSignal.timeout(30_000) });
    const text = await answer.text();
    const blocks = answer.redirected ? [] : [...elementsOf(text).querySelectorAll("[data-part] > *")];
    if (!blocks.length) throw new Error(`HTTP ${answer.status}`);
    const every = Number(part.dataset.every ?? 0);
    const holder = document.createElement("div");
    holder.className = "stack";
    holder.append(...blocks);
    part.replaceWith(holder);
    if (every) again(holder, url, every);
  } catch (error) {
    if (part.getAttribute("aria-busy") === "true") fail(part, error);
  }
}

/** Asks again while the page is seen; what is there stays until there is something newer.
 * @param {HTMLElement} holder @param {string} url @param {number} every */
function again(holder, url, every) {
  setTimeout(() => {
    if (!holder.isConnected) return;
    if (document.hidden) return again(holder, url, every);
    holder.dataset.later = url;
    holder.dataset.every = String(every);
    void fetchPart(holder).finally(() => holder.isConnected && again(holder, url, every));
  }, every * 1_000);
}

/** @param {HTMLElement} part @param {unknown} error */
function fail(part, error) {
  part.removeAttribute("aria-busy");
  const box = part.querySelector(".skeleton");
  if (!box) return;
  box.className = "notice bad";
  box.setAttribute("role", "alert");
  const title = document.createElement("strong");
  title.textContent = "It did not come.";
  const text = document.createElement("p");
  text.textContent = error instanceof Error ? error.message : String(error);
  const button = document.createElement("button");
  button.className = "button quiet small";
  button.textContent = RETRY;
  button.addEventListener("click", () => location.reload());
  const row = document.createElement("p");
  row.append(button);
  box.replaceChildren(title, text, row);
}

document.querySelectorAll("[data-later]").forEach((part) => void fetchPart(/** @type {HTMLElement} */ (part)));

/* A second submit of the same form would be the same request; it is not even sent. */
document.querySelectorAll("form[data-once]").forEach((form) => {
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("button:not([type])");
    if (form.hasAttribute("aria-busy")) return event.preventDefault();
    form.setAttribute("aria-busy", "true");
    button?.setAttribute("aria-disabled", "true");
  });
});
addEventListener("pageshow", () =>
  document.querySelectorAll("form[aria-busy]").forEach((form) => {
    form.removeAttribute("aria-busy");
    form.querySelector("[aria-disabled]")?.removeAttribute("aria-disabled");
  }),
);
