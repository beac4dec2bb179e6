// @ts-check
// The fields of the stand-in for Stripe.js. A card's number is looked up here and goes nowhere: what is sent is the id of
// Stripe's test method behind it, and a number that is no test card's is refused.
(() => {
  "use strict";

  /** @typedef {{code: string, message: string, type: "validation_error"}} Problem */

  /** @param {string} id */
  const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
  const number = input("number");
  const expiry = input("expiry");
  const cvc = input("cvc");
  const inputs = [number, expiry, cvc];
  const problem = /** @type {HTMLElement} */ (document.getElementById("problem"));
  const texts = JSON.parse(document.getElementById("texts")?.textContent ?? "{}");
  /** @type {Record<string, string>} */
  const cards = JSON.parse(document.getElementById("cards")?.textContent ?? "{}");
  /** @type {MessagePort | null} */
  let port = null;

  const digits = () => number.value.replace(/\D/g, "");

  /** @returns {[HTMLInputElement, string] | null} The first field that is wrong, and how. */
  function wrong() {
    if (digits().length < 13) return [number, "incomplete_number"];
    if (!(digits() in cards)) return [number, "no_test_card"];
    const [month, year] = expiry.value.split("/").map((part) => Number(part.trim()));
    if (!/^\d{1,2}\s*\/\s*\d{2}$/.test(expiry.value.trim())) return [expiry, "incomplete_expiry"];
    if (!month || month > 12) return [expiry, "invalid_expiry"];
    const now = new Date();
    if (2000 + (year ?? 0) < now.getFullYear() || (2000 + (year ?? 0) === now.getFullYear() && month < now.getMonth() + 1)) {
      return [expiry, "invalid_expiry_year_past"];
    }
    if (!/^\d{3,4}$/.test(cvc.value.trim())) return [cvc, "incomplete_cvc"];
    return null;
  }

  /** @returns {{error?: Problem}} */
  function validated() {
    const found = wrong();
    for (const field of inputs) field.toggleAttribute("aria-invalid", found?.[0] === field);
    problem.textContent = found ? texts[found[1]] : "";
    told();
    if (!found) return {};
    found[0].focus();
    return { error: { type: "validation_error", code: found[1], message: texts[found[1]] } };
  }

  /** @param {{key: string, secret?: string, return_url?: string}} asked */
  async function token({ key, secret, return_url }) {
    const form = new URLSearchParams({ key, payment_method: cards[digits()] ?? "" });
    if (secret !== undefined) form.set("client_secret", secret);
    if (return_url !== undefined) form.set("return_url", return_url);
    try {
      const answer = await fetch("/v1/test_helpers/confirmation_tokens", { method: "POST", body: form });
      const body = await answer.json();
      return answer.ok ? { value: body } : { error: body.error };
    } catch {
      return { error: { type: "api_connection_error", message: texts.unreachable } };
    }
  }

  /** @param {string} event @param {object} [detail] */
  function tell(event, detail = {}) {
    port?.postMessage({ event, detail });
  }

  function told() {
    port?.postMessage({ height: document.documentElement.getBoundingClientRect().height });
  }

  /** @param {any} asked */
  async function answer(asked) {
    if (asked.focus) number.focus();
    if (asked.clear) for (const field of inputs) field.value = "";
    if (asked.id === undefined) return;
    port?.postMessage({ id: asked.id, answer: asked.validate ? validated() : await token(asked.token) });
  }

  addEventListener("message", (event) => {
    if (event.source !== parent || port !== null || !event.data?.connect || !event.ports[0]) return;
    port = event.ports[0];
    port.onmessage = (asked) => answer(asked.data);
    told();
    tell("ready");
  });
  for (const field of inputs) {
    field.addEventListener("focus", () => tell("focus"));
    field.addEventListener("blur", () => tell("blur"));
    field.addEventListener("input", () => {
      const isEmpty = inputs.every((one) => one.value === "");
      tell("change", { empty: isEmpty, complete: wrong() === null, collapsed: false, value: { type: "card" } });
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") tell("escape");
    });
  }
  new ResizeObserver(told).observe(document.documentElement);
})();
