// @ts-check
// The payer's page, alive: it follows its payment and is loaded anew when that stands elsewhere. It decides nothing.

const body = document.body;
const home = body.dataset.home ?? "";
const shown = Number(body.dataset.revision);
// Where a payer chooses or types, nothing is taken away from under them while it is still their turn.
const isStep = ["timing", "method", "confirm", "card"].includes(body.dataset.key ?? "");
const TURN = "REQUIRES_PAYMENT_METHOD";
const SLOW_AFTER_MS = 15_000;
const SENDING_MAX_MS = 30_000; // longer than the server takes to answer
const RETRY_MS = 5_000;
const RETRIES_MAX = 8; // each after twice as long, so for some twenty minutes

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
  if (sending) return; // its answer leads on; to leave now would take it back
  location.replace(home);
}

/** @type {EventSource | undefined} */
let stream;
let retries = 0;
let sending = false;

function follow() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource(`${body.dataset.events}?after=${shown}`);
  // Each revision comes under this name; the others say of some of them what the server says on the next page.
  stream.addEventListener("payment_status_update", (event) => {
    const { revision, state } = JSON.parse(event.data);
    moved(revision, state);
  });
  stream.addEventListener("end", () => {
    stream?.close();
    retries = RETRIES_MAX;
  });
  stream.onerror = () => {
    // The browser comes back by itself, except where the answer was no stream.
    if (stream?.readyState !== EventSource.CLOSED || retries >= RETRIES_MAX) return;
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
  follow();
  look();
}

/** A form that was sent is not sent again; its button says so and keeps the focus. @param {SubmitEvent} event */
function submitted(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement)) return;
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
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && (follow(), look()));
document.addEventListener("submit", submitted);
if (!navigator.onLine) offline();
follow();
wait();
count("page_shown");
