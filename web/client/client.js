// Cloakroom's client: what a single-page app needs to sign people in and out and to call its API.
// It holds no token, and could not: the browser never gets one.

const PROBLEM = "urn:cloakroom:problem:";

/** A request that Cloakroom or a service behind it did not fulfil. */
export class ProblemError extends Error {
  constructor(response, problem) {
    super(problem.title || `HTTP ${response.status}`);
    this.name = "ProblemError";
    this.status = response.status;
    this.type = typeof problem.type === "string" ? problem.type : "about:blank";
    this.correlationId = problem.correlation_id;
  }
}

/** Who is signed in, or null. Throws when that cannot be told just now: it does not mean "signed out". */
export async function user({ slide = true, signal } = {}) {
  const response = await send(slide ? "/bff/user" : "/bff/user?slide=false", { signal });
  if (response.ok) return response.json();
  const problem = await read(response);
  if (response.status === 401 && problem.type === PROBLEM + "no-session") return null;
  throw new ProblemError(response, problem);
}

/** Leaves the page to sign in, and comes back to returnTo, which is where the person is now unless told otherwise. */
export function login({ returnTo = here(), ...params } = {}) {
  go(loginURL("/bff/login", returnTo, params));
}

/** Ends the session here and at the provider, and leaves the page. Throws, and stays, when the session could not be ended. */
export async function logout({ returnTo } = {}) {
  const query = returnTo === undefined ? "" : "?" + new URLSearchParams({ returnTo });
  const response = await send("/bff/logout" + query, { method: "POST" });
  if (!response.ok) throw new ProblemError(response, await read(response));
  go((await response.json()).logout_url);
}

/**
 * The browser's fetch, with the header that tells Cloakroom that this app is asking. A 401 that a new sign-in would mend is
 * offered to onLogin, which is handed a function that goes to sign in; without one it is left to the caller,
 * who gets the response in either case.
 */
async function fetchWithHeader(input, init = {}) {
  const { onLogin, ...rest } = init;
  const response = await send(input, rest);
  if (response.status === 401 && onLogin) {
    const problem = await read(response.clone());
    if ((problem.type === PROBLEM + "no-session" || problem.type === PROBLEM + "step-up") && isOwn(problem.login_url)) {
      onLogin((returnTo = here()) => go(loginURL(problem.login_url, returnTo, {})), problem);
    }
  }
  return response;
}
export { fetchWithHeader as fetch };

function send(input, init) {
  const request = new Request(input, init);
  // To another origin the header would give away nothing but would cost a preflight that fails.
  if (new URL(request.url).origin === location.origin) request.headers.set("X-CSRF", "1");
  return globalThis.fetch(request);
}

/** The problem (RFC 9457) in a response, or {} where it has none. */
async function read(response) {
  const type = response.headers.get("content-type") || "";
  if (!type.startsWith("application/problem+json")) return {};
  try {
    return (await response.json()) || {};
  } catch {
    return {};
  }
}

function loginURL(base, returnTo, params) {
  const url = new URL(base, location.origin);
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  url.searchParams.set("returnTo", returnTo);
  return url.pathname + url.search;
}

function isOwn(url) {
  return typeof url === "string" && (url === "/bff/login" || url.startsWith("/bff/login?"));
}

function here() {
  return location.pathname + location.search + location.hash;
}

function go(url) {
  location.assign(url);
}
