// @ts-check
// Stripe's form in our page, and what a bank asks for there. The card goes to Stripe; we get a token of it.

const LOAD_MAX_MS = 10_000;
const form = /** @type {HTMLFormElement | null} */ (document.getElementById("card-form"));
const next = /** @type {HTMLButtonElement | null} */ (document.getElementById("next-action"));

/** Loads Stripe's script, whose end either way is heard. @param {HTMLElement} place @returns {Promise<any>} */
function loaded(place) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = place.dataset.script ?? "";
    script.onload = () => ("Stripe" in window ? resolve(window.Stripe) : reject(new Error("empty")));
    script.onerror = () => reject(new Error("blocked"));
    setTimeout(() => reject(new Error("too late")), LOAD_MAX_MS);
    document.head.append(script);
  });
}

/** @param {string} text */
function say(text) {
  const status = document.getElementById("status");
  if (status) status.textContent = text;
}

/** The form cannot be shown: the page that Stripe hosts is offered in its place. */
function blocked() {
  if (form) form.hidden = true;
  const told = document.getElementById("blocked");
  if (!told) return;
  told.hidden = false;
  told.querySelector(".notice")?.setAttribute("role", "alert");
  const otherwise = document.getElementById("otherwise");
  otherwise?.classList.remove("quiet");
  otherwise?.focus();
}

/** @param {HTMLFormElement} form */
async function enter(form) {
  const Stripe = await loaded(form);
  const stripe = Stripe(form.dataset.key, { locale: form.dataset.locale });
  const elements = stripe.elements({ clientSecret: form.dataset.secret, locale: form.dataset.locale });
  const element = elements.create("payment", { layout: "tabs" });
  const place = form.querySelector(".element");
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button.pay"));
  const problem = /** @type {HTMLElement} */ (document.getElementById("card-error"));
  const label = button.textContent ?? "";
  let busy = true;

  element.on("ready", () => {
    place?.setAttribute("aria-busy", "false");
    free();
  });
  element.on("loaderror", blocked);
  element.mount("#payment-element");

  function free() {
    busy = false;
    button.removeAttribute("aria-disabled");
    button.textContent = label;
    removeEventListener("beforeunload", hold);
  }

  /** @param {string} text */
  function failed(text) {
    problem.textContent = text;
    problem.hidden = false;
    problem.setAttribute("role", "alert");
    free();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (busy) return;
    busy = true;
    problem.hidden = true;
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.busy ?? "";
    say(form.dataset.status ?? "");
    addEventListener("beforeunload", hold);
    try {
      const checked = await elements.submit();
      if (checked.error) return failed(checked.error.message || form.dataset.check || "");
      const made = await stripe.createConfirmationToken({ elements, params: { return_url: form.dataset.return } });
      if (made.error) return failed(made.error.message || form.dataset.unsent || "");
      /** @type {HTMLInputElement} */ (form.elements.namedItem("token")).value = made.confirmationToken.id;
    } catch {
      return failed(form.dataset.unsent ?? ""); // no token was made, so nothing was sent to us
    }
    removeEventListener("beforeunload", hold);
    HTMLFormElement.prototype.submit.call(form); // a step: the page stays while it is the payer's turn
  }, { capture: true });
}

/** @param {BeforeUnloadEvent} event */
function hold(event) {
  event.preventDefault();
}

/** Shows what the bank asks for. Whatever comes of it, our page then asks the server. @param {HTMLButtonElement} button */
async function confirm(button) {
  const Stripe = await loaded(button);
  const stripe = Stripe(button.dataset.key);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.busy ?? "";
    try {
      await stripe.handleNextAction({ clientSecret: button.dataset.secret });
    } catch {
      // It may be over already, or the window was closed: the server knows.
    }
    location.replace(`${document.body.dataset.home}?check=1`);
  });
}

if (form) enter(form).catch(blocked);
if (next) confirm(next).catch(() => (next.hidden = true));
