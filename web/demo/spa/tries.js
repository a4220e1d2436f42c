// The buttons that try what must not work. Each says who refused, with which status, and why.

import { fetch } from "/bff/client.js";
import { el } from "./dom.js";

const TRIES = [
  {
    title: "Send the ID token to orders",
    text: "The shortcut teams take, because the e-mail is in it.",
    run: async () => judged("orders", await asked("/demo/try/id-token")),
  },
  {
    title: "Pass orders’ token on to payments",
    text: "Instead of exchanging it. A stolen token would be good everywhere.",
    run: async () => judged("payments", await asked("/api/orders/try/forward")),
  },
  {
    title: "Ask for payments:read.any",
    text: "Everybody’s payments are for people in support: sam gets it, alice does not.",
    run: async () => judged("Cloakroom", await asked("/api/orders/try/scope")),
  },
  {
    title: "Call orders without X-CSRF",
    text: "As a foreign page would: it cannot set the header.",
    run: withoutHeader,
  },
];

/** Lets a server try something and tell what came of it. */
async function asked(url) {
  const response = await fetch(url, { method: "POST" });
  const body = await response.json();
  if (!response.ok) throw new Error(body.title || `HTTP ${response.status}`);
  return body;
}

function judged(who, { status, answer }) {
  if (answer.granted) return { verdict: "granted", who, status, reasons: [`${answer.granted} is granted: this person is in support.`] };
  if (status < 400) return { verdict: "through", who, status, reasons: ["It was accepted."] };
  return { verdict: "refused", who, status, reasons: answer.refused || [[answer.error, answer.error_description].filter(Boolean).join(": ")] };
}

async function withoutHeader() {
  const response = await globalThis.fetch("/api/orders");
  const body = await response.json();
  if (response.ok) return { verdict: "through", who: "Cloakroom", status: response.status, reasons: ["It was accepted."] };
  return { verdict: "refused", who: "Cloakroom", status: response.status, reasons: [body.detail || body.title, body.type] };
}

const VERDICTS = { refused: "Refused", granted: "Granted", through: "Got through" };

/** Puts the buttons into a list. */
export function offer(list) {
  list.replaceChildren(...TRIES.map(offerOne));
}

function offerOne({ title, text, run }) {
  const outcome = el("div", "outcome");
  outcome.setAttribute("role", "status");
  const button = el("button", "quiet", title);
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { verdict, who, status, reasons } = await run();
      const badge = el("span", `badge ${verdict}`, VERDICTS[verdict]);
      outcome.replaceChildren(
        el("p", "", badge, ` by ${who}, with ${status}`),
        el("ul", "reasons", ...reasons.filter(Boolean).map((reason) => el("li", "", reason))),
      );
    } catch (error) {
      outcome.replaceChildren(el("p", "failure", `It could not be tried: ${error.message}.`));
    }
    button.disabled = false;
    button.focus();
  });
  return el("li", "try", el("div", "", button, el("p", "", text)), outcome);
}
