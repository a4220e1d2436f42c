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
  post({ type: "ended", reason: "logout" }); // this page may be gone before its stream tells the other tabs
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

/** The person's sessions, the last used first; the one with `current` is this browser's. */
export async function sessions() {
  const response = await send("/bff/sessions");
  if (!response.ok) throw new ProblemError(response, await read(response));
  return (await response.json()).sessions;
}
/** Ends one of them. */
sessions.end = (id) => remove("/bff/sessions/" + encodeURIComponent(id));
/** Ends all but this browser's. */
sessions.endOthers = () => remove("/bff/sessions?others=true");

async function remove(path) {
  const response = await send(path, { method: "DELETE" });
  if (!response.ok) throw new ProblemError(response, await read(response));
}

const listeners = new Set();
let watch; // what listens on behalf of all listeners of this page, while there are any and somebody is signed in

/**
 * Calls back with what becomes of the session, in whichever tab or on whichever device it happens: {type: "ending", seconds},
 * {type: "refreshed"}, {type: "ended", reason}. Returns a function that stops it. After "ended" nothing more comes, until
 * onSession is called after another sign-in.
 */
export function onSession(callback) {
  const listener = (news) => callback(news); // the same callback may be given twice
  listeners.add(listener);
  watch ??= listen();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) hush();
  };
}

function tell(news) {
  if (news.type === "ended") hush();
  for (const listener of [...listeners]) listener(news);
}

function hush() {
  watch?.stop();
  watch = undefined;
}

const CHANNEL = "cloakroom-session";

/** Tells the other tabs. */
function post(news) {
  if (typeof BroadcastChannel === "undefined") return;
  const channel = watch?.channel ?? new BroadcastChannel(CHANNEL);
  channel.postMessage(news);
  if (channel !== watch?.channel) channel.close();
}

/**
 * Listens to the session's events. Of all tabs one holds the stream, and passes on what it hears: browsers allow few
 * connections. Where they cannot agree on one, each holds its own.
 */
function listen() {
  const stopped = new AbortController();
  const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel(CHANNEL);
  let source, retry, release, signedIn = false;

  const heard = (news) => {
    channel?.postMessage(news);
    tell(news);
  };
  const open = () => {
    source = new EventSource("/bff/events");
    source.onopen = () => {
      signedIn = true;
      channel?.postMessage({ type: "open" });
    };
    source.addEventListener("session-ending", (event) => heard({ type: "ending", ...JSON.parse(event.data) }));
    source.addEventListener("session-refreshed", () => heard({ type: "refreshed" }));
    source.addEventListener("session-ended", (event) => heard({ type: "ended", ...JSON.parse(event.data) }));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) lost(); // otherwise the browser connects again by itself
    };
  };
  // The stream was refused, and an EventSource does not tell why: it may be that nobody is signed in, or a server that is busy.
  const lost = async () => {
    let who;
    try {
      who = await user({ slide: false });
    } catch {
      who = undefined;
    }
    if (stopped.signal.aborted) return;
    if (who !== null) retry = setTimeout(open, 5000);
    else if (signedIn) heard({ type: "ended", reason: "expired" });
    else hush(); // nobody was: there is nothing to tell
  };
  if (channel) {
    channel.onmessage = ({ data }) => {
      if (data.type === "hello") {
        if (source?.readyState === EventSource.OPEN) channel.postMessage({ type: "open" });
        return;
      }
      signedIn = true;
      if (data.type !== "open") tell(data);
    };
    channel.postMessage({ type: "hello" });
  }
  const hold = () => new Promise((done) => {
    release = done;
    if (stopped.signal.aborted) done();
    else open();
  });
  if (channel && navigator.locks) navigator.locks.request(CHANNEL, { signal: stopped.signal }, hold).catch(() => {}); // aborted: stopped while waiting
  else hold();

  return {
    channel,
    stop() {
      stopped.abort();
      clearTimeout(retry);
      source?.close();
      channel?.close();
      release?.();
    },
  };
}

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
