// node --test web/client
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

const origin = "https://app.example";
const NodeRequest = globalThis.Request;

let requests, answers, visited;

beforeEach(() => {
  requests = [];
  answers = [];
  visited = [];
  globalThis.location = {
    origin, pathname: "/orders/42", search: "?tab=items", hash: "#top",
    assign: (url) => visited.push(url),
  };
  globalThis.Request = class extends NodeRequest { // a browser resolves against the page
    constructor(input, init) {
      super(typeof input === "string" ? new URL(input, origin + location.pathname).href : input, init);
    }
  };
  globalThis.fetch = async (request) => {
    requests.push(request);
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
});

const client = await import("./client.js");

const json = (status, body, type = "application/json") =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": type } });
const problem = (status, name, more = {}) =>
  json(status, { type: "urn:cloakroom:problem:" + name, title: name, status, ...more }, "application/problem+json");

test("exports what the contract names, and what their errors are", () => {
  assert.deepEqual(Object.keys(client).sort(), ["ProblemError", "fetch", "login", "logout", "onSession", "sessions", "user"]);
});

test("every export has a type", () => {
  const types = readFileSync(new URL("./client.d.ts", import.meta.url), "utf8");
  for (const name of Object.keys(client)) assert.match(types, new RegExp(`export declare (function|class) ${name}\\b`));
});

test("user tells who is signed in", async () => {
  answers = [json(200, { sub: "alice", session: { id: "s" } })];
  assert.equal((await client.user()).sub, "alice");
  assert.equal(requests[0].url, origin + "/bff/user");
  assert.equal(requests[0].headers.get("x-csrf"), "1");
});

test("user can look without extending the session", async () => {
  answers = [json(200, { sub: "alice" })];
  await client.user({ slide: false });
  assert.equal(requests[0].url, origin + "/bff/user?slide=false");
});

test("user is null when nobody is signed in", async () => {
  answers = [problem(401, "no-session", { login_url: "/bff/login" })];
  assert.equal(await client.user(), null);
  assert.deepEqual(visited, []);
});

for (const [name, answer] of [
  ["the store does not answer", () => problem(503, "store-unavailable", { correlation_id: "c1" })],
  ["a proxy in between answers 401", () => new Response("<h1>401</h1>", { status: 401, headers: { "content-type": "text/html" } })],
  ["the problem is not JSON", () => new Response("{", { status: 401, headers: { "content-type": "application/problem+json" } })],
  ["the problem is null", () => json(502, null, "application/problem+json")],
]) {
  test("user throws, and says nobody signed out, when " + name, async () => {
    answers = [answer()];
    await assert.rejects(client.user(), (err) => err instanceof client.ProblemError && err.status >= 401 && typeof err.type === "string");
  });
}

test("user throws when the network is down", async () => {
  answers = [new TypeError("failed to fetch")];
  await assert.rejects(client.user(), TypeError);
});

test("login leads back to where the person is", () => {
  client.login();
  assert.deepEqual(visited, ["/bff/login?returnTo=%2Forders%2F42%3Ftab%3Ditems%23top"]);
});

test("login passes on what it is given", () => {
  client.login({ returnTo: "/x", provider: "main", max_age: 0, prompt: undefined });
  assert.deepEqual(visited, ["/bff/login?provider=main&max_age=0&returnTo=%2Fx"]);
});

test("logout ends the session and goes where it is told", async () => {
  answers = [json(200, { logout_url: "https://idp.example/logout?x=1" })];
  await client.logout();
  assert.equal(requests[0].method, "POST");
  assert.equal(requests[0].url, origin + "/bff/logout");
  assert.equal(requests[0].headers.get("x-csrf"), "1");
  assert.deepEqual(visited, ["https://idp.example/logout?x=1"]);
});

test("logout passes returnTo on", async () => {
  answers = [json(200, { logout_url: "/bff/logged-out" })];
  await client.logout({ returnTo: "/bye?a=b" });
  assert.equal(requests[0].url, origin + "/bff/logout?returnTo=%2Fbye%3Fa%3Db");
});

test("logout stays and throws when the session could not be ended", async () => {
  answers = [problem(503, "store-unavailable")];
  await assert.rejects(client.logout(), { type: "urn:cloakroom:problem:store-unavailable", status: 503 });
  assert.deepEqual(visited, []);
});

test("fetch adds the header and keeps what it is given", async () => {
  answers = [json(200, {})];
  await client.fetch("/api/orders", { method: "PUT", body: "{}", headers: { "Content-Type": "application/json" } });
  assert.equal(requests[0].method, "PUT");
  assert.equal(requests[0].headers.get("x-csrf"), "1");
  assert.equal(requests[0].headers.get("content-type"), "application/json");
  assert.equal(await requests[0].text(), "{}");
});

test("fetch takes a Request", async () => {
  answers = [json(200, {})];
  await client.fetch(new Request("/api/orders", { method: "DELETE" }));
  assert.equal(requests[0].method, "DELETE");
  assert.equal(requests[0].headers.get("x-csrf"), "1");
});

test("fetch tells other origins nothing", async () => {
  answers = [json(200, {}), json(200, {})];
  await client.fetch("https://elsewhere.example/x");
  await client.fetch("//elsewhere.example/x");
  for (const request of requests) assert.equal(request.headers.has("x-csrf"), false);
});

test("fetch leaves a 401 to the caller who does not ask for more", async () => {
  answers = [problem(401, "no-session", { login_url: "/bff/login" })];
  const response = await client.fetch("/api/orders");
  assert.equal(response.status, 401);
  assert.deepEqual(visited, []);
});

test("fetch offers to sign in, and the response can still be read", async () => {
  answers = [problem(401, "no-session", { login_url: "/bff/login?provider=main" })];
  let offered;
  const response = await client.fetch("/api/orders", { onLogin: (signIn, why) => { offered = why; signIn(); } });
  assert.equal(offered.type, "urn:cloakroom:problem:no-session");
  assert.deepEqual(visited, ["/bff/login?provider=main&returnTo=%2Forders%2F42%3Ftab%3Ditems%23top"]);
  assert.equal((await response.json()).title, "no-session");
});

test("fetch offers a step-up with what it asks for", async () => {
  answers = [problem(401, "step-up", { login_url: "/bff/login?acr_values=gold&max_age=60" })];
  await client.fetch("/api/payments", { onLogin: (signIn) => signIn("/pay") });
  assert.deepEqual(visited, ["/bff/login?acr_values=gold&max_age=60&returnTo=%2Fpay"]);
});

for (const [name, answer] of [
  ["a service's own 401", () => json(401, { error: "who are you" })],
  ["a problem of another kind", () => problem(401, "forbidden", { login_url: "/bff/login" })],
  ["a login_url elsewhere", () => problem(401, "no-session", { login_url: "https://evil.example/bff/login" })],
  ["a login_url of another host in disguise", () => problem(401, "no-session", { login_url: "//evil.example" })],
  ["a login_url that only begins alike", () => problem(401, "no-session", { login_url: "/bff/login.evil" })],
  ["no login_url", () => problem(401, "no-session")],
  ["a 502", () => problem(502, "upstream-refused-token", { login_url: "/bff/login" })],
]) {
  test("fetch does not offer to sign in for " + name, async () => {
    answers = [answer()];
    await client.fetch("/api/orders", { onLogin: () => assert.fail("offered") });
  });
}

test("sessions lists a person's sessions, and ends one or the others", async () => {
  answers = [json(200, { sessions: [{ id: "a", current: true }, { id: "b" }] }), new Response(null, { status: 204 }), new Response(null, { status: 204 })];
  assert.deepEqual((await client.sessions()).map((one) => one.id), ["a", "b"]);
  await client.sessions.end("b/../x");
  await client.sessions.endOthers();
  assert.deepEqual(requests.map((r) => r.method + " " + r.url.slice(origin.length)), [
    "GET /bff/sessions", "DELETE /bff/sessions/b%2F..%2Fx", "DELETE /bff/sessions?others=true",
  ]);
  for (const request of requests) assert.equal(request.headers.get("x-csrf"), "1");
});

test("sessions throws when they cannot be had or ended", async () => {
  answers = [problem(503, "store-unavailable"), problem(404, "not-found"), problem(503, "store-unavailable")];
  await assert.rejects(client.sessions(), { status: 503 });
  await assert.rejects(client.sessions.end("x"), { status: 404 });
  await assert.rejects(client.sessions.endOthers(), { status: 503 });
});

// What follows has several tabs: each is a module of its own, and all share the stream, the channel and the lock of one browser.
let streams, channels, waiting, held;

class Stream {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  constructor(url) {
    this.url = url;
    this.readyState = 0;
    this.listeners = {};
    streams.push(this);
  }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  close() { this.readyState = 2; }
  accept() { this.readyState = 1; this.onopen(); }
  refuse() { this.readyState = 2; this.onerror(); }
  say(name, data) { this.listeners[name]({ data: JSON.stringify(data) }); }
}

class Channel {
  constructor(name) { this.name = name; channels.add(this); }
  postMessage(data) {
    assert.ok(channels.has(this), "posted to a closed channel");
    for (const other of [...channels]) if (other !== this && other.name === this.name) other.onmessage?.({ data: structuredClone(data) });
  }
  close() { channels.delete(this); }
}

const locks = {
  request(name, { signal }, callback) {
    return new Promise((done, failed) => {
      signal.addEventListener("abort", () => { waiting = waiting.filter((w) => w !== grant); failed(new Error("AbortError")); });
      const grant = () => {
        held = true;
        callback().then((value) => { held = false; done(value); waiting.shift()?.(); });
      };
      if (held) waiting.push(grant);
      else grant();
    });
  },
};

let tabs = 0;
const openTab = () => import("./client.js?tab=" + ++tabs);
const turn = () => new Promise((done) => setImmediate(done));
const live = () => streams.filter((stream) => stream.readyState !== 2);

beforeEach(() => {
  streams = [];
  channels = new Set();
  waiting = [];
  held = false;
  globalThis.EventSource = Stream;
  globalThis.BroadcastChannel = Channel;
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
});

test("onSession calls back with what happens to the session", async () => {
  const tab = await openTab(), heard = [];
  tab.onSession((news) => heard.push(news));
  assert.equal(streams[0].url, "/bff/events");
  streams[0].accept();
  streams[0].say("session-ending", { seconds: 60 });
  streams[0].say("session-refreshed", {});
  streams[0].say("session-ended", { reason: "revoked" });
  assert.deepEqual(heard, [{ type: "ending", seconds: 60 }, { type: "refreshed" }, { type: "ended", reason: "revoked" }]);
  assert.equal(live().length, 0);
  assert.equal(channels.size, 0);
});

test("all listeners of all tabs share one stream, and hear of the end at once", async () => {
  const [one, two] = [await openTab(), await openTab()], heard = [];
  one.onSession((news) => heard.push("one " + news.type));
  one.onSession((news) => heard.push("another " + news.type));
  two.onSession((news) => heard.push("two " + news.type));
  assert.equal(streams.length, 1);
  streams[0].accept();
  streams[0].say("session-ended", { reason: "logout" });
  assert.deepEqual(heard.sort(), ["another ended", "one ended", "two ended"]);
  await turn();
  assert.equal(live().length, 0, "a tab opened a stream for a session that has ended");
});

test("when the tab with the stream goes, another takes over", async () => {
  const [one, two] = [await openTab(), await openTab()], heard = [];
  const stop = one.onSession(() => assert.fail("heard after it stopped"));
  two.onSession((news) => heard.push(news.type));
  streams[0].accept();
  stop();
  await turn();
  assert.equal(live().length, 1);
  live()[0].accept();
  live()[0].say("session-refreshed", {});
  assert.deepEqual(heard, ["refreshed"]);
});

test("logout tells the other tabs, whoever has the stream", async () => {
  for (const listens of [true, false]) {
    const [one, two] = [await openTab(), await openTab()], heard = [];
    if (listens) one.onSession(() => {});
    two.onSession((news) => heard.push(news));
    answers = [json(200, { logout_url: "/bff/logged-out" })];
    await one.logout();
    assert.deepEqual(heard, [{ type: "ended", reason: "logout" }]);
    await turn();
    channels.clear();
    held = false;
  }
});

test("a stream that is refused because the session is over says so", async () => {
  const tab = await openTab(), heard = [];
  tab.onSession((news) => heard.push(news));
  streams[0].accept();
  answers = [problem(401, "no-session")];
  streams[0].refuse();
  await turn();
  assert.equal(requests[0].url, origin + "/bff/user?slide=false");
  assert.deepEqual(heard, [{ type: "ended", reason: "expired" }]);
});

test("where nobody is signed in, nobody is told of an end, and the next sign-in is heard of", async () => {
  const tab = await openTab(), heard = [];
  tab.onSession((news) => heard.push(news.type));
  answers = [problem(401, "no-session")];
  streams[0].refuse();
  await turn();
  assert.deepEqual(heard, []);
  tab.onSession(() => {});
  assert.equal(live().length, 1);
  live()[0].accept();
  live()[0].say("session-refreshed", {});
  assert.deepEqual(heard, ["refreshed"]);
});

test("a server that is busy is asked again, and ends nothing", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const tab = await openTab();
  tab.onSession(() => assert.fail("told"));
  answers = [problem(503, "store-unavailable")];
  streams[0].refuse();
  await turn();
  assert.equal(live().length, 0);
  t.mock.timers.tick(5000);
  assert.equal(live().length, 1);
});

test("a browser that connects again by itself is left to it", async () => {
  const tab = await openTab();
  tab.onSession(() => assert.fail("told"));
  streams[0].accept();
  streams[0].readyState = 0;
  streams[0].onerror();
  await turn();
  assert.equal(requests.length, 0);
  assert.equal(streams.length, 1);
});

test("without locks and channels each tab has a stream of its own", async () => {
  delete globalThis.BroadcastChannel;
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  const heard = [];
  for (const tab of [await openTab(), await openTab()]) tab.onSession((news) => heard.push(news.type));
  assert.equal(streams.length, 2);
  for (const stream of streams) {
    stream.accept();
    stream.say("session-ended", { reason: "backchannel" });
  }
  assert.deepEqual(heard, ["ended", "ended"]);
  answers = [json(200, { logout_url: "/bff/logged-out" })];
  await (await openTab()).logout();
});
