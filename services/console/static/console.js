// @ts-check
/* The console's one module: keys, and the dialog that names them. What is live is in live.js. */

const KEYS = "batzen.keys";
const typing = "input, textarea, select, [contenteditable]";
const rows = () => /** @type {HTMLTableRowElement[]} */ ([...document.querySelectorAll("table tbody tr:has(a)")]);

/** @param {string} text */
export function say(text) {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
}

/** @param {number} step */
function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("chosen"));
  const next = all[Math.min(Math.max(at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step, 0), all.length - 1)];
  all.forEach((row) => row.classList.toggle("chosen", row === next));
  next?.querySelector("a")?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function help() {
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("help"));
  if (dialog && !dialog.open) dialog.showModal();
}

/** @type {Record<string, () => void>} */
const actions = {
  "/": () => document.getElementById("find")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  p: () => document.dispatchEvent(new CustomEvent("batzen:hold")),
  "?": help,
};

const switched = /** @type {HTMLInputElement | null} */ (document.getElementById("keys-on"));
let on = true;
try {
  on = localStorage.getItem(KEYS) !== "off"; // a preference of this browser, and nothing of a person
} catch { /* none are kept */ }
if (switched) {
  switched.checked = on;
  switched.addEventListener("change", () => {
    on = switched.checked;
    try {
      localStorage.setItem(KEYS, on ? "on" : "off");
    } catch { /* it holds until the page is left */ }
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {Element} */ (event.target);
  if (target.closest(typing)) {
    if (event.key === "Escape") /** @type {HTMLElement} */ (target).blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const action = actions[event.key.toLowerCase()];
  if (!action || (!on && event.key !== "?")) return;
  event.preventDefault();
  action();
});

/* A form that does something is sent once: a second click, or Enter, sends nothing. The server knows it again anyway. */
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!("once" in form.dataset)) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  form.querySelectorAll("button").forEach((button) => button.setAttribute("aria-disabled", "true"));
  say("Sending…");
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => {
    delete (/** @type {HTMLFormElement} */ (form)).dataset.sent;
    form.querySelectorAll("button").forEach((button) => button.removeAttribute("aria-disabled"));
  });
});
