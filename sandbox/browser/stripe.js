// @ts-check
// Stands for Stripe.js: the part of it that our pages use, as strict as Stripe's own, with fields in a frame of another
// site. What a payer enters never leaves the frame; the page gets a token of it.
(() => {
  "use strict";

  /** @typedef {import("@stripe/stripe-js").StripeError} StripeError */
  /** @typedef {import("@stripe/stripe-js").StripeElements} StripeElements */
  /** @typedef {import("@stripe/stripe-js").StripePaymentElement} StripePaymentElement */
  /** @typedef {import("@stripe/stripe-js").Stripe} Stripe */
  /** @typedef {"ready" | "change" | "loaderror" | "focus" | "blur" | "escape"} EventName */
  /** @typedef {{token: string, confirm: string, ready_after_ms: number, is_load_error: boolean}} Orders */
  /** @typedef {{id?: number, event?: EventName, detail?: any, height?: number, answer?: any}} Said */

  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const ORIGIN = new URL(script.src).origin;
  const SECRET = /^(pi|seti)_[A-Za-z0-9]+_secret_[A-Za-z0-9]+$/;
  const LOOKED_EVERY_MS = 250;
  const BROKEN = "An error occurred with our connection to Stripe.";

  class IntegrationError extends Error {
    /** @override */ name = "IntegrationError";
  }

  /** @param {boolean} condition @param {string} message @returns {asserts condition} */
  function require(condition, message) {
    if (!condition) throw new IntegrationError(message);
  }

  /** @returns {Promise<Orders>} What a test ordered to go wrong. */
  async function orders() {
    return (await fetch(`${ORIGIN}/elements/orders`)).json();
  }

  /** @param {Partial<StripeError> & {type: StripeError["type"]}} error @returns {StripeError} */
  function failure(error) {
    return /** @type {StripeError} */ ({ ...error });
  }

  const unreachable = () => failure({ type: "api_connection_error", message: BROKEN });

  /**
   * Calls the API as a browser does: with the publishable key, and the secret in place of a right.
   * @param {string} path @param {Record<string, string>} [form]
   * @returns {Promise<{value?: any, error?: StripeError}>}
   */
  async function called(path, form) {
    try {
      const answer = await fetch(`${ORIGIN}${path}`, form && { method: "POST", body: new URLSearchParams(form) });
      const body = await answer.json();
      return answer.ok ? { value: body } : { error: failure(body.error) };
    } catch {
      return { error: unreachable() };
    }
  }

  /** The fields of one payment element, in their frame. */
  class Fields {
    /** @param {Group} group */
    constructor(group) {
      this.group = group;
      /** @type {Map<EventName, Set<(event: any) => void>>} */
      this.handlers = new Map();
      /** @type {HTMLIFrameElement | null} */
      this.frame = null;
      /** @type {MessagePort | null} */
      this.port = null;
      /** @type {Map<number, (answer: any) => void>} */
      this.waiting = new Map();
      this.asked = 0;
      this.isDestroyed = false;
    }

    /** @param {EventName} name @param {(event: any) => void} [handler] */
    on(name, handler) {
      require(typeof handler === "function", "The second argument of element.on() has to be a function.");
      const handlers = this.handlers.get(name) ?? new Set();
      this.handlers.set(name, handlers.add(handler));
      return this;
    }

    /** @param {EventName} name @param {(event: any) => void} [handler] */
    once(name, handler) {
      /** @param {any} event */
      const first = (event) => {
        this.off(name, first);
        handler?.(event);
      };
      return this.on(name, first);
    }

    /** @param {EventName} name @param {(event: any) => void} [handler] */
    off(name, handler) {
      if (handler) this.handlers.get(name)?.delete(handler);
      else this.handlers.delete(name);
      return this;
    }

    /** @param {EventName} name @param {object} [detail] */
    tell(name, detail = {}) {
      setTimeout(() => {
        for (const handler of [...(this.handlers.get(name) ?? [])]) handler({ elementType: "payment", ...detail });
      });
    }

    /** @param {string | HTMLElement} target */
    mount(target) {
      require(!this.isDestroyed, "This Element has already been destroyed. Please create a new one.");
      const place = typeof target === "string" ? document.querySelector(target) : target;
      require(
        place instanceof HTMLElement,
        `The selector you specified (${target}) applies to no DOM elements that are currently on the page.`,
      );
      this.unmount();
      const frame = document.createElement("iframe");
      frame.title = "Secure payment input frame";
      frame.allow = "payment *";
      frame.src = `${ORIGIN}/elements/frame?locale=${encodeURIComponent(this.group.locale)}`;
      frame.style.width = "100%";
      frame.style.height = "15rem";
      frame.style.border = "0";
      frame.style.colorScheme = "light dark";
      frame.addEventListener("load", () => this.connect(frame));
      this.frame = frame;
      place.replaceChildren(frame);
    }

    /** @param {HTMLIFrameElement} frame */
    async connect(frame) {
      const ordered = await orders().catch(() => null);
      if (ordered === null || ordered.is_load_error) {
        this.tell("loaderror", { error: failure({ type: "api_error", message: "The form could not be loaded." }) });
        return;
      }
      if (this.frame !== frame || frame.contentWindow === null) return;
      const channel = new MessageChannel();
      this.port = channel.port1;
      channel.port1.onmessage = (event) => this.hear(event.data);
      setTimeout(() => {
        frame.contentWindow?.postMessage({ connect: true }, ORIGIN, [channel.port2]);
      }, ordered.ready_after_ms);
    }

    /** @param {Said} said */
    hear(said) {
      if (said.height !== undefined && this.frame) this.frame.style.height = `${said.height}px`;
      if (said.event) this.tell(said.event, said.detail);
      if (said.id !== undefined) {
        this.waiting.get(said.id)?.(said.answer);
        this.waiting.delete(said.id);
      }
    }

    /** @param {object} question @returns {Promise<any>} */
    ask(question) {
      const port = this.port;
      require(port !== null, "We could not retrieve data from the specified Element. Please make sure it is mounted.");
      this.asked += 1;
      const id = this.asked;
      return new Promise((resolve) => {
        this.waiting.set(id, resolve);
        port.postMessage({ ...question, id });
      });
    }

    /** @returns {any} The element itself, as Stripe's does. */
    update() {
      return this;
    }
    focus() {
      this.port?.postMessage({ focus: true });
    }
    blur() {}
    clear() {
      this.port?.postMessage({ clear: true });
    }
    /** @returns {any} The element itself, as Stripe's does. */
    collapse() {
      return this;
    }

    unmount() {
      this.frame?.remove();
      this.port?.close();
      this.frame = this.port = null;
    }

    destroy() {
      this.unmount();
      this.isDestroyed = true;
      if (this.group.element === this) this.group.element = null;
    }
  }

  /** A group of elements: the payment, and one payment element. */
  class Group {
    /** @param {string} key @param {Record<string, any>} options @param {string} locale */
    constructor(key, options, locale) {
      const { clientSecret, mode } = options;
      require(
        (clientSecret === undefined) !== (mode === undefined),
        "elements() takes either a clientSecret or a mode: the payment is there, or it is made later.",
      );
      if (mode === undefined) {
        require(
          typeof clientSecret === "string" && SECRET.test(clientSecret),
          "Invalid value for elements(): clientSecret should be of the form ${id}_secret_${secret}.",
        );
      } else {
        require(["payment", "setup", "subscription"].includes(mode), "mode should be payment, setup or subscription.");
        check(options);
      }
      this.key = key;
      this.options = options;
      this.locale = String(options.locale ?? locale);
      /** @type {Fields | null} */
      this.element = null;
      this.isSubmitted = false;
    }

    /** @param {string} kind */
    create(kind) {
      require(kind === "payment", `The stand-in has no Element of the type ${kind}.`);
      require(this.element === null, "Can only create one Element of type payment.");
      this.element = new Fields(this);
      return this.element;
    }

    /** @param {string} kind */
    getElement(kind) {
      return kind === "payment" ? this.element : null;
    }

    /** @param {Record<string, any>} options */
    async update(options) {
      require(!("clientSecret" in options), "elements.update() cannot change the clientSecret.");
      check({ ...this.options, ...options });
      Object.assign(this.options, options);
      this.isSubmitted = false;
    }

    async fetchUpdates() {
      return {};
    }

    async submit() {
      require(this.element !== null, "elements.submit() needs an Element that is mounted.");
      const answer = await this.element.ask({ validate: true });
      this.isSubmitted = answer.error === undefined;
      return answer.error ? { error: failure(answer.error) } : { selectedPaymentMethod: "card" };
    }

    /** @param {string | undefined} returnUrl @returns {Promise<{value?: any, error?: StripeError}>} */
    async token(returnUrl) {
      require(
        this.isSubmitted && this.element !== null,
        "elements.submit() must be called before stripe.createConfirmationToken() and stripe.confirmPayment().",
      );
      if ((await orders().catch(() => null))?.token === "network_error") return { error: unreachable() };
      const secret = this.options.clientSecret;
      return this.element.ask({ token: { key: this.key, secret, return_url: returnUrl } });
    }
  }

  /** @param {Record<string, any>} options */
  function check({ mode, amount, currency }) {
    if (mode !== "setup") {
      require(Number.isInteger(amount) && amount > 0, "amount should be a positive integer, in the minor unit.");
      require(typeof currency === "string" && /^[a-z]{3}$/.test(currency), "currency should be of three lower letters.");
    }
  }

  /** @param {string} secret */
  function intentOf(secret) {
    require(typeof secret === "string" && SECRET.test(secret), "The clientSecret is none.");
    const id = secret.split("_secret_")[0] ?? "";
    return { id, kind: id.startsWith("seti_") ? "setup_intent" : "payment_intent" };
  }

  /** @param {string} text */
  function isAbsolute(text) {
    return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
  }

  /** Asks the payer what their bank wants to know, over the page. @param {string} url @param {() => Promise<boolean>} isOver */
  function challenged(url, isOver) {
    const dialog = document.createElement("dialog");
    const frame = document.createElement("iframe");
    const close = document.createElement("button");
    const { pathname, search } = new URL(url);
    frame.src = `${ORIGIN}${pathname}${search}`; // from where the script is: that is what a page's policy lets frames be of
    frame.title = "3-D Secure";
    frame.style.cssText = "width:min(30rem,85vw);height:min(28rem,70vh);border:0;display:block";
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close");
    close.style.cssText = "position:absolute;inset:0 0 auto auto;width:44px;height:44px;border:0;background:none";
    dialog.append(close, frame);
    document.body.append(dialog);
    dialog.showModal();
    return new Promise((/** @type {(isAnswered: boolean) => void} */ resolve) => {
      /** @type {ReturnType<typeof setTimeout>} */
      let next;
      /** @param {boolean} isAnswered */
      const end = (isAnswered) => {
        clearTimeout(next);
        dialog.remove();
        resolve(isAnswered);
      };
      const look = async () => {
        if (await isOver().catch(() => false)) end(true);
        else if (dialog.isConnected) next = setTimeout(look, LOOKED_EVERY_MS);
      };
      close.addEventListener("click", () => end(false));
      dialog.addEventListener("cancel", () => end(false));
      next = setTimeout(look, LOOKED_EVERY_MS);
    });
  }

  /** @param {string} key @param {{locale?: string, apiVersion?: string, stripeAccount?: string}} [options] */
  function make(key, options = {}) {
    require(
      typeof key === "string" && /^pk_(test|live)_\w+$/.test(key),
      "You should not use your secret key with Stripe.js. Please pass a publishable key instead.",
    );
    require(!key.startsWith("pk_live_"), "The stand-in takes test keys only; this is a live key.");
    require(options.apiVersion === undefined || /^\d{4}-\d\d-\d\d/.test(options.apiVersion), "apiVersion is none.");

    /** @param {string} secret @returns {Promise<{value?: any, error?: StripeError}>} */
    function retrieved(secret) {
      const { id, kind } = intentOf(secret);
      return called(`/v1/${kind}s/${id}?${new URLSearchParams({ key, client_secret: secret })}`);
    }

    /** @param {any} intent @returns {Promise<{value?: any, error?: StripeError}>} */
    async function acted(intent) {
      const action = intent.next_action;
      if (action.type === "redirect_to_url") {
        location.assign(action.redirect_to_url.url);
        return new Promise(() => {}); // the page is left
      }
      const isOver = async () => (await retrieved(intent.client_secret)).value?.status !== "requires_action";
      const isAnswered = await challenged(action.use_stripe_sdk.stripe_js, isOver);
      const { value, error } = await retrieved(intent.client_secret);
      if (error) return { error };
      const code = `${intent.object}_authentication_failure`;
      if (!isAnswered) {
        return { error: failure({ type: "invalid_request_error", code, message: "The window of the bank was closed." }) };
      }
      const last = value.last_payment_error ?? value.last_setup_error;
      if (value.status !== "requires_payment_method" || !last) return { value };
      return { error: failure({ ...last, [intent.object]: value }) };
    }

    /** @param {Record<string, any>} given @param {"payment_intent" | "setup_intent"} expected */
    async function confirmed(given, expected) {
      const { elements: group, confirmParams = {}, redirect = "always" } = given;
      const secret = given.clientSecret ?? group?.options.clientSecret;
      const returnUrl = confirmParams.return_url;
      const { id, kind } = intentOf(secret);
      require(kind === expected, `This is the secret of a ${kind}.`);
      require(redirect === "if_required" || returnUrl !== undefined, "confirmParams.return_url is required.");
      require(returnUrl === undefined || isAbsolute(returnUrl), "return_url has to be an absolute address.");
      require(group instanceof Group, "confirm takes the elements in which the payer entered a method.");
      const ordered = (await orders().catch(() => null))?.confirm ?? "";
      const token = await group.token(returnUrl);
      if (token.error) return { error: failure(token.error) };
      if (ordered === "network_error") return { error: unreachable() };
      const form = { key, client_secret: secret, confirmation_token: token.value.id };
      const answer = await called(`/v1/${kind}s/${id}/confirm`, returnUrl ? { ...form, return_url: returnUrl } : form);
      // The network broke behind it: the payment went through, and whoever asked hears of an error alone.
      if (ordered === "network_error_after") return { error: unreachable() };
      if (ordered === "error_of_success") return { error: failure({ ...unreachable(), [kind]: answer.value }) };
      if (answer.error) return { error: answer.error };
      const ended = answer.value.status === "requires_action" ? await acted(answer.value) : answer;
      if (ended.error) return { error: ended.error };
      if (redirect === "always" && returnUrl !== undefined) {
        const target = new URL(returnUrl);
        target.searchParams.set(kind, id);
        target.searchParams.set(`${kind}_client_secret`, secret);
        const hasFailed = ended.value.status === "requires_payment_method";
        target.searchParams.set("redirect_status", hasFailed ? "failed" : "succeeded");
        location.assign(target.href);
        return new Promise(() => {});
      }
      return kind === "setup_intent" ? { setupIntent: ended.value } : { paymentIntent: ended.value };
    }

    return {
      /** @param {Record<string, any>} [given] */
      elements: (given = {}) => new Group(key, { ...given }, options.locale ?? "auto"),

      /** @param {{elements: any, params?: {return_url?: string}}} given */
      async createConfirmationToken({ elements: group, params = {} }) {
        require(group instanceof Group, "The stand-in makes tokens of elements.");
        require(params.return_url === undefined || isAbsolute(params.return_url), "return_url has to be absolute.");
        const { value, error } = await group.token(params.return_url);
        return error ? { error: failure(error) } : { confirmationToken: value };
      },

      /** @param {Record<string, any>} given */
      confirmPayment: (given) => confirmed(given, "payment_intent"),
      /** @param {Record<string, any>} given */
      confirmSetup: (given) => confirmed(given, "setup_intent"),

      /** @param {{clientSecret?: string, hashedValue?: string}} given */
      async handleNextAction({ clientSecret }) {
        require(clientSecret !== undefined, "The stand-in takes a clientSecret alone.");
        const before = await retrieved(clientSecret);
        if (before.error) return { error: before.error };
        require(
          before.value.status === "requires_action",
          `handleNextAction: The ${before.value.object} supplied is not in the requires_action state.`,
        );
        const { value, error } = await acted(before.value);
        if (error) return { error };
        return value.object === "setup_intent" ? { setupIntent: value } : { paymentIntent: value };
      },

      /** @param {string} secret */
      async retrievePaymentIntent(secret) {
        require(intentOf(secret).kind === "payment_intent", "This is no secret of a PaymentIntent.");
        const { value, error } = await retrieved(secret);
        return error ? { error } : { paymentIntent: value };
      },

      /** @param {string} secret */
      async retrieveSetupIntent(secret) {
        require(intentOf(secret).kind === "setup_intent", "This is no secret of a SetupIntent.");
        const { value, error } = await retrieved(secret);
        return error ? { error } : { setupIntent: value };
      },
    };
  }

  /**
   * What our pages may count on, in Stripe's own words: `tsc` holds the stand-in to them.
   * @typedef {Pick<Stripe, "createConfirmationToken" | "confirmPayment" | "confirmSetup" | "handleNextAction"
   *   | "retrievePaymentIntent" | "retrieveSetupIntent">} Calls
   * @typedef {Pick<StripeElements, "fetchUpdates" | "submit" | "update">} Elements
   * @typedef {Pick<StripePaymentElement, "mount" | "unmount" | "destroy" | "update" | "focus" | "blur" | "clear"
   *   | "collapse">} Element
   * @typedef {Elements & {create(kind: "payment", options?: object): Element}} Grouped
   */
  /** @type {(key: string, options?: {locale?: string, apiVersion?: string}) => Calls & {elements(given: object): Grouped}} */
  const Stripe = make;

  if ("Stripe" in window) console.warn("It looks like Stripe.js was already loaded on this page.");
  Object.assign(window, { Stripe });
})();
