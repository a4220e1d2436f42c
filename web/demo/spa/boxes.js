// The four boxes. Each is filled with what its party says; nothing here is made up by the page.

import { seen, tokensIn } from "./watch.js";
import { fetch } from "/bff/client.js";
import { chipOf, claims, el, fill, more, shown } from "./dom.js";

/** What a party answered, or null after its box has said that it did not. */
async function ask(box, url) {
  try {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    const body = await response.json();
    if (response.ok) return body;
    fill(box, failure(`Answered ${response.status}: ${body.title || body.refused?.join("; ") || "no reason given"}.`));
  } catch {
    fill(box, failure("Did not answer."));
  }
  return null;
}

function failure(text) {
  return el("p", "failure", text);
}

/** The provider's own word on what it issued: claims, no token. */
export async function showProvider() {
  const told = await ask("provider", "/demo/issued");
  if (!told) return;
  fill(
    "provider",
    issued("access token", told.access, ["scope", "email", "aud", "cognito:groups"]),
    issued("ID token", told.id, ["email", "aud", "cognito:groups"]),
  );
}

const LACKS = { email: "no e-mail", aud: "no audience" };

function issued(kind, token, names) {
  const rows = names.map((name) => {
    if (!(name in token)) return { name, value: LACKS[name] || "none", missing: true };
    const note = kind === "ID token" && name === "aud" ? "the client that signed in, which is no API" : "";
    return { name, value: shown(name, token[name]), note };
  });
  const rest = Object.keys(token)
    .filter((name) => !names.includes(name))
    .sort()
    .map((name) => ({ name, value: shown(name, token[name]) }));
  const panel = el("section", kind === "ID token" ? "token id" : "token access", el("h3", "", chipOf(kind)));
  panel.append(claims(rows), more(`${rest.length} more claims`, claims(rest)));
  return panel;
}

/** What orders verified, and what payments told orders. */
export async function showServices() {
  const told = await ask("orders", "/api/orders");
  if (!told) {
    fill("payments", failure("Not asked: orders did not answer."));
    return;
  }
  fill("orders", verified(told.verified, ["aud", "scope", "email", "sub"]), el("p", "result", ordersText(told.orders)));
  const inner = told.payments;
  if (!inner.verified) {
    fill("payments", failure(`Refused: ${inner.error_description || inner.error || inner.refused?.join("; ")}.`));
    return;
  }
  fill("payments", verified(inner.verified, ["aud", "act", "scope", "email"]), el("p", "result", paymentsText(inner)));
}

function verified(list, names) {
  const row = ({ claim, value, from, rule }) => ({ name: claim, value: shown(claim, value), chip: from, note: rule });
  const main = names.map((name) => list.find((one) => one.claim === name)).filter(Boolean);
  const rest = list.filter((one) => !main.includes(one));
  return el("div", "", claims(main.map(row)), more(`${rest.length} more claims`, claims(rest.map(row))));
}

function ordersText(orders) {
  return `Answered with ${orders.length} orders: ${orders.map((one) => one.item).join("; ")}.`;
}

function paymentsText({ payments, whose }) {
  return `Answered with ${payments.length} payments, ${whose}: ${payments.map((one) => one.id).join(", ")}.`;
}

/** What a script finds in this browser. */
export async function showBrowser(session) {
  const stores = await storage();
  const tokens = seen.tokens + tokensIn([location.href, ...stores.map((store) => store.content)].join("\n"));
  fill(
    "browser",
    el("p", "count", el("strong", tokens === 0 ? "zero" : "some", String(tokens)), `tokens seen in ${seen.responses} responses, and in all of this:`),
    claims(stores.map(({ name, content }) => ({ name, value: content === "" ? "empty" : content, missing: content === "" }))),
    el("p", "result number", "Ticket ", el("b", "", session.id.slice(0, 8)), el("span", "rule", "a cookie that no script can read, and that opens nothing but this session")),
  );
}

/** Everything a page can keep things in, as text; "" where it is empty. */
async function storage() {
  const databases = globalThis.indexedDB?.databases ? await indexedDB.databases() : [];
  const cacheNames = globalThis.caches ? await caches.keys() : [];
  return [
    { name: "document.cookie", content: document.cookie },
    { name: "localStorage", content: entries(localStorage) },
    { name: "sessionStorage", content: entries(sessionStorage) },
    { name: "indexedDB", content: databases.map((one) => one.name).join(", ") },
    { name: "caches", content: cacheNames.join(", ") },
  ];
}

function entries(store) {
  return Object.entries(store).map(([key, value]) => `${key}=${value}`).join("; ");
}
