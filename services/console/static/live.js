// @ts-check
/* What is live on a page of the console: one stream, whose rows come ready from the server. The rows of a table are
   replaced where they stand. New ones wait behind a button while somebody reads further down, has chosen a row, or holds
   the page; nothing moves under a pointer. */

import { say } from "asset:console.js";
import { elementsOf } from "asset:elements.js";

const RETRY_MS = [1000, 2000, 5000];
const RETRY_MAX_MS = 10000;
const HIDDEN_MS = 30000;
const NEW_MAX = 500;
const KEPT_MAX = 200; // rows of one page; the oldest leave it

const region = /** @type {HTMLElement | null} */ (document.querySelector("[data-live]"));
const body = /** @type {HTMLTableSectionElement | null} */ (document.getElementById("rows"));
const state = document.getElementById("live-state");
const more = /** @type {HTMLButtonElement | null} */ (document.getElementById("live-more"));
const hold = /** @type {HTMLButtonElement | null} */ (document.getElementById("live-hold"));
const [LIVE = "", RECONNECTING = "", HELD = "", OFF = ""] = (state?.dataset.words ?? "").split("|");

/** @type {EventSource | null} */
let source = null;
let address = region?.dataset.live ?? "";
let isHeld = false;
let isOver = false;
let tries = 0;
/** @type {number | undefined} */
let timer;
/** @type {Map<string, HTMLTableRowElement>} */
const waiting = new Map();

/** @param {string} words @param {string} tone */
function show(words, tone) {
  if (!state) return;
  state.textContent = words;
  state.className = `badge tone-${tone}`;
}

function showLive() {
  show(isHeld ? HELD : LIVE, isHeld ? "warn" : "good");
}

/** @param {string} html */
function rowsOf(html) {
  return [...elementsOf(html).querySelectorAll("tr")];
}

function isReading() {
  return isHeld || window.scrollY > 160 || body?.querySelector("tr.chosen, :focus, tr:hover") != null;
}

/** @param {Element | null} row @param {HTMLTableRowElement} next */
function isNewer(row, next) {
  return !(row instanceof HTMLElement) || Number(next.dataset.revision) >= Number(row.dataset.revision);
}

/** @param {HTMLTableRowElement} next */
function take(next) {
  const there = document.getElementById(next.id);
  if (there) {
    if (!isNewer(there, next)) return;
    const had = there.contains(document.activeElement);
    next.classList.toggle("chosen", there.classList.contains("chosen"));
    there.replaceWith(next);
    if (had) next.querySelector("a")?.focus();
    return;
  }
  if (next.dataset.left) return;
  if (isNewer(waiting.get(next.id) ?? null, next)) waiting.set(next.id, next);
  if (waiting.size > NEW_MAX) location.reload();
}

function settle() {
  if (!isReading()) let_in();
  if (!more) return;
  more.hidden = waiting.size === 0;
  more.textContent = `${waiting.size} new`;
}

function let_in() {
  if (!body || !waiting.size) return;
  for (const row of waiting.values()) {
    row.classList.add("fresh");
    body.prepend(row);
  }
  say(`${waiting.size} new`);
  waiting.clear();
  document.querySelectorAll(".empty").forEach((note) => note.remove());
  while (body.rows.length > KEPT_MAX) body.deleteRow(-1);
  if (more) more.hidden = true;
}

function open() {
  if (!address || source || isOver) return;
  source = new EventSource(address);
  source.addEventListener("open", () => {
    tries = 0;
    showLive();
  });
  source.addEventListener("rows", (event) => {
    rowsOf(event.data).forEach(take);
    resume(event.lastEventId);
    settle();
  });
  source.addEventListener("reload", () => location.reload());
  source.addEventListener("away", () => show(RECONNECTING, "warn"));
  source.addEventListener("back", showLive);
  source.addEventListener("end", (event) => {
    isOver = true;
    close();
    show(OFF, "bad");
    say(OFF);
    if (String(event.data).includes("session_ended")) location.reload(); // which leads to the log-in
  });
  source.addEventListener("error", () => {
    show(RECONNECTING, "warn");
    if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself
    close();
    window.clearTimeout(timer);
    timer = window.setTimeout(open, (RETRY_MS[tries++] ?? RETRY_MAX_MS) * (0.75 + Math.random() / 2));
  });
}

/** A new EventSource cannot name the last event: the address does. @param {string} cursor */
function resume(cursor) {
  if (!cursor) return;
  const next = new URL(address, location.href);
  next.searchParams.set("after", cursor);
  address = next.pathname + next.search;
}

function close() {
  source?.close();
  source = null;
}

function toggle() {
  isHeld = !isHeld;
  hold?.setAttribute("aria-pressed", String(isHeld));
  showLive();
  say(isHeld ? HELD : LIVE);
  settle();
}

if (region && body) {
  if (hold) hold.hidden = false;
  hold?.addEventListener("click", toggle);
  document.addEventListener("batzen:hold", toggle);
  more?.addEventListener("click", () => {
    window.scrollTo({ top: 0 });
    body.querySelector("tr.chosen")?.classList.remove("chosen");
    let_in();
  });
  window.addEventListener("scrollend", settle);
  document.addEventListener("visibilitychange", () => {
    window.clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(close, HIDDEN_MS);
    else open();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}
