// Looks at everything this page is answered and counts what looks like a token. It must be imported before anything that
// fetches, so that nothing is answered unseen.

// A signed or encrypted JWT: base64url parts with dots between, the first of which begins as {"… does.
const TOKEN = /eyJ[\w-]{8,}\.[\w-]*\.[\w-]*/g;

export const seen = { responses: 0, tokens: 0 };

/** How many tokens a text holds. */
export function tokensIn(text) {
  return (text.match(TOKEN) || []).length;
}

const changed = new EventTarget();

/** Calls back when something more was seen. */
export function onSeen(callback) {
  changed.addEventListener("seen", callback);
}

const plainFetch = globalThis.fetch.bind(globalThis);

globalThis.fetch = async (...request) => {
  const response = await plainFetch(...request);
  look(response.clone());
  return response;
};

async function look(response) {
  const headers = [...response.headers].flat().join("\n");
  const body = await response.text().catch(() => "");
  seen.responses++;
  seen.tokens += tokensIn([response.url, headers, body].join("\n"));
  changed.dispatchEvent(new Event("seen"));
}
