// @ts-check
// Stripe's form in our page, and what a bank asks for there. The card goes to Stripe; we get a token of it.

const LOAD_MAX_MS = 10_000;
const form = /** @type {HTMLFormElement | null} */ (document.getElementById("card-form"));
const next = /** @type {HTMLButtonElement | null} */ (document.getElementById("next-action"));

/** @typedef {import("@stripe/stripe-js").StripeConstructor} StripeConstructor */

/** What the server wrote beside an element. @param {HTMLElement} place @param {string} name */
const given = (place, name) => place.dataset[name] ?? "";

/** Loads Stripe's script, whose end either way is heard. @param {HTMLElement} place @returns {Promise<StripeConstructor>} */
function loaded(place) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = given(place, "script");
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
  const locale = /** @type {import("@stripe/stripe-js").StripeElementLocale} */ (given(form, "locale"));
  const stripe = Stripe(given(form, "key"), { locale });
  const elements = stripe.elements({ clientSecret: given(form, "secret"), locale });
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
    button.textContent = given(form, "busy");
    say(given(form, "status"));
    addEventListener("beforeunload", hold);
    try {
      const checked = await elements.submit();
      if (checked.error) return failed(checked.error.message || given(form, "check"));
      const made = await stripe.createConfirmationToken({ elements, params: { return_url: given(form, "return") } });
      if (made.error) return failed(made.error.message || given(form, "unsent"));
      /** @type {HTMLInputElement} */ (form.elements.namedItem("token")).value = made.confirmationToken.id;
    } catch {
      return failed(given(form, "unsent")); // no token was made, so nothing was sent to us
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
  const stripe = Stripe(given(button, "key"));
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    button.textContent = given(button, "busy");
    try {
      await stripe.handleNextAction({ clientSecret: given(button, "secret") });
    } catch {
      // It may be over already, or the window was closed: the server knows.
    }
    location.replace(`${document.body.dataset.home}?check=1`);
  });
}

if (form) enter(form).catch(blocked);
if (next) confirm(next).catch(() => (next.hidden = true));
