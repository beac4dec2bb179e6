// @ts-check
// The payer's page, alive: it follows its payment and is loaded anew when that stands elsewhere. It decides nothing.

const body = document.body;
const home = body.dataset.home ?? "";
const shown = Number(body.dataset.revision);
// Where a payer chooses or types, nothing is taken away from under them while it is still their turn.
const isStep = ["timing", "method", "confirm", "card"].includes(body.dataset.key ?? "");
const TURN = "REQUIRES_PAYMENT_METHOD";
// Where nothing is known of a submit, it is no news that it is still on its way.
const isUnknown = body.dataset.key === "not_known";
const UNDER_WAY = "PROCESSING";
const SLOW_AFTER_MS = 15_000;
const SENDING_MAX_MS = 30_000; // longer than the server takes to answer
const RETRY_MS = 5_000;
const RETRIES_MAX = 8; // each after twice as long, so for some twenty minutes
const STREAMS_MAX = 4; // of one browser, which has six connections over HTTP/1.1: each further page would load for ever
const LEAVE_MS = 1_000;
const ASK_MS = 5_000;
const ASKS_MAX = 240; // twenty minutes of a page without a stream; then it asks when it is looked at
const HIDDEN_MS = 30_000;

/** @param {string} text */
function say(text) {
  const status = document.getElementById("status");
  if (status) status.textContent = text;
}

/** @param {string} id */
function made(id) {
  const template = document.getElementById(id);
  return template instanceof HTMLTemplateElement ? template.content.firstElementChild?.cloneNode(true) : undefined;
}

/** @param {number} revision @param {string} state */
function moved(revision, state) {
  if (!(revision > shown)) return;
  if (isStep && state === TURN) return;
  if (isUnknown && state === UNDER_WAY) return;
  if (sending || leaving) return; // its answer leads on; to leave now would take it back
  if (isStep) return location.replace(home);
  leaving = true;
  leave(0);
}

/** Goes to the payment's page once it can be shown: what failed over a submit may still be away. @param {number} tries */
async function leave(tries) {
  const answer = await fetch(home, { method: "HEAD" }).catch(() => undefined);
  if ((answer && answer.status < 500) || tries >= RETRIES_MAX) return location.replace(home);
  setTimeout(() => leave(tries + 1), LEAVE_MS * 2 ** tries);
}

/** @type {EventSource | undefined} */
let stream;
let retries = 0;
let asks = 0;
let sending = false;
let leaving = false;
let following = false;
/** @type {number | undefined} */
let later;
/** @type {number | undefined} */
let hiding;
/** Gives the stream back, to another tab. @type {(() => void) | undefined} */
let giveBack;

/** Takes one of the browser's streams, if any is free. @param {number} place @returns {Promise<boolean>} */
function taken(place) {
  return new Promise((resolve) => {
    const held = navigator.locks.request(`stream-${place}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise((done) => (giveBack = () => done(null)));
    });
    held.catch(() => resolve(true)); // who cannot tell takes one
  });
}

async function mayStream() {
  if (giveBack || !navigator.locks) return true;
  for (let place = 0; place < STREAMS_MAX; place++) if (await taken(place)) return true;
  return false;
}

/** Follows the payment on a stream where one is free, else asks now and then, and tries again. */
async function follow() {
  if (following || (stream && stream.readyState !== EventSource.CLOSED)) return;
  following = true;
  const isFree = await mayStream();
  following = false;
  clearTimeout(later);
  if (isFree) return listen();
  if (asks++ < ASKS_MAX && !document.hidden) later = setTimeout(() => (look(), follow()), ASK_MS);
}

function unfollow() {
  clearTimeout(later);
  stream?.close();
  giveBack?.();
  giveBack = undefined;
}

function listen() {
  stream = new EventSource(`${body.dataset.events}?after=${shown}`);
  // Each revision comes under this name; the others say of some of them what the server says on the next page.
  stream.addEventListener("payment_status_update", (event) => {
    const { revision, state } = JSON.parse(event.data);
    moved(revision, state);
  });
  stream.addEventListener("end", () => {
    unfollow();
    retries = RETRIES_MAX;
  });
  stream.onerror = () => {
    // The browser comes back by itself, except where the answer was no stream.
    if (stream?.readyState !== EventSource.CLOSED) return;
    unfollow();
    if (retries >= RETRIES_MAX) return;
    setTimeout(() => (look(), follow()), RETRY_MS * 2 ** retries++);
  };
}

/** Asks once at which revision the payment stands, as after the page was out of sight. */
async function look() {
  let answer;
  try {
    answer = await fetch(`${home}/state`, { headers: { "if-none-match": `"${shown}"` } });
  } catch {
    return; // offline: the browser says when that is over
  }
  if (answer.status === 401) return logIn();
  if (answer.status !== 200) return;
  const { revision, state } = await answer.json();
  moved(revision, state);
}

function logIn() {
  const dialog = made("log-in");
  if (!(dialog instanceof HTMLDialogElement) || document.querySelector("dialog[open]")) return;
  body.append(dialog);
  dialog.showModal();
}

function offline() {
  const banner = made("offline");
  if (banner && !document.querySelector("#banner > *")) document.getElementById("banner")?.append(banner);
}

function online() {
  document.getElementById("banner")?.replaceChildren();
  say("");
  follow();
  look();
}

/** A form that was sent is not sent again; its button says so and keeps the focus. @param {SubmitEvent} event */
function submitted(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement)) return;
  if (!navigator.onLine) {
    event.preventDefault(); // or the browser shows a page of its own, which says nothing of the payment
    offline();
    return say(document.querySelector("#banner strong")?.textContent ?? "");
  }
  if (form.dataset.sent) return event.preventDefault();
  if (form.method === "get") return;
  form.dataset.sent = "yes";
  sending = true;
  setTimeout(() => ((sending = false), look()), SENDING_MAX_MS);
  const button = form.querySelector("button");
  button?.setAttribute("aria-disabled", "true");
  if (button && form.dataset.busy) button.textContent = form.dataset.busy;
  if (form.dataset.status) say(form.dataset.status);
}

/** @param {string} what */
function broke(what) {
  const told = JSON.stringify({ what: what.slice(0, 200), page: body.dataset.key });
  navigator.sendBeacon(`${home}/troubles`, told);
  location.replace(`${home}/broken`);
}

function wait() {
  const slow = document.getElementById("slow");
  if (!slow || !slow.hidden || "never" in slow.dataset) return;
  setTimeout(() => {
    slow.hidden = false;
    document.getElementById("lead")?.remove(); // it asks to stay, and this says that nobody has to
    say(slow.dataset.status ?? "");
  }, SLOW_AFTER_MS);
}

/** @param {string} name */
function count(name) {
  if (/** @type {{globalPrivacyControl?: boolean}} */ (navigator).globalPrivacyControl) return;
  navigator.sendBeacon("/beacons", JSON.stringify({ name, page: body.dataset.key }));
}

addEventListener("error", (event) => broke(event.message));
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof DOMException)) broke(String(event.reason)); // a page that leaves aborts its transition
});
addEventListener("offline", offline);
addEventListener("online", online);
addEventListener("pageshow", (event) => event.persisted && location.reload());
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(unfollow, HIDDEN_MS);
  else asks = 0, follow(), look();
});
document.addEventListener("submit", submitted);
if (!navigator.onLine) offline();
follow();
wait();
count("page_shown");
