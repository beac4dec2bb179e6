// @ts-check
/* HTML that the server sent, as elements. The one place where text becomes a part of a page: the policy of the page
   (`trusted-types`) allows no other. A script among them does not run. */

/** @typedef {{ createHTML: (html: string) => string }} Making */
/** @typedef {{ createPolicy: (name: string, making: Making) => Making }} TrustedTypes */

/** @type {Making} */
const making = { createHTML: (html) => html };
const types = /** @type {{ trustedTypes?: TrustedTypes }} */ (window).trustedTypes; // some browsers have none
const policy = types?.createPolicy("batzen", making) ?? making;

/** @param {string} html */
export function elementsOf(html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  return template.content;
}
