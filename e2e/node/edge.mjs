// What people and hostile pages do at the app's origin, scene by scene. Everything that crosses the wire is written down elsewhere; what
// only the browser knows goes to REPORT as JSON. Nothing is judged here.
import { writeFileSync } from 'node:fs';
import { launch, listen } from './chromium.mjs';

// LURE is where the provider sends an attacker's browser back to, who keeps the address for others.
const { APP, SIBLING, FOREIGN, LURE, DEV, DEV_NEIGHBOUR, REPORT } = process.env;
const browser = await launch('--ignore-certificate-errors');
const report = {};

// scene is a part of the play; what crosses the wire meanwhile is written down under its name.
const director = await (await browser.newContext()).newPage();
async function scene(name, play) {
  await director.goto(`${FOREIGN}/scene?name=${name}`);
  report[name] = await play().catch((error) => { throw new Error(`scene ${name}: ${error.stack}`); });
}

// How much has crossed the wire in this scene.
const crossed = async () => Number((await (await director.goto(`${FOREIGN}/crossed`)).text()));

const person = async () => {
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  return context;
};
const signIn = async (page, name) => {
  await page.fill('#username', name);
  await page.fill('#password', name);
  await page.click('button[type=submit]');
};
const user = (page) => page.evaluate(async () => {
  const answer = await fetch('/bff/user', { headers: { 'X-CSRF': '1' } });
  return { status: answer.status, ...(await answer.json()) };
});
const jar = async (context) => (await context.cookies(APP)).map(({ name, value, sameSite, httpOnly, secure, path, domain }) => ({ name, value, sameSite, httpOnly, secure, path, domain }));
// asks goes on when the app's page has asked what it asks by itself: it would cross the wire in the next scene otherwise.
const asks = async (page, arrive) => {
  const asked = page.waitForResponse(`${APP}/bff/user`);
  await arrive();
  await asked;
};
const go = (page, url) => (url === `${APP}/` ? asks(page, () => page.goto(url)) : page.goto(url));
const at = async (context, url) => {
  const page = await context.newPage();
  await go(page, url);
  return page;
};
// A click on a link of that page, as a person would.
const follow = (page, url) => page.evaluate((to) => { location.href = to; }, url);

const alice = await person();
let app; // a page of the app, of alice

await scene('sign-in', async () => {
  app = await at(alice, `${APP}/reports/1`);
  await signIn(app, 'alice');
  await app.waitForURL(`${APP}/reports/1`);
  await app.waitForFunction(() => document.title === 'Behind Cloakroom');
  const cookies = await jar(alice);
  await go(app, `${APP}/`);
  await app.evaluate(() => {
    for (const name of ['__Host-Http-session', '__Host-Http-login']) document.cookie = `${name}=planted; Secure; Path=/`;
  });
  const readable = await app.evaluate(() => document.cookie);
  return { user: await user(app), cookies, after: await jar(alice), readable };
});

for (const [name, from] of [['bounce-foreign', FOREIGN], ['bounce-sibling', SIBLING]]) {
  await scene(name, async () => {
    const page = await at(alice, from);
    await follow(page, `${APP}/reports/2`);
    await page.waitForFunction(() => document.title === 'Behind Cloakroom');
    const { length } = await page.evaluate(() => history);
    await page.close();
    return { length };
  });
}

await scene('bounce-anonymous', async () => {
  const stranger = await person();
  const page = await at(stranger, FOREIGN);
  await follow(page, `${APP}/reports/3`);
  await page.waitForSelector('#username');
  await stranger.close();
});

// Another person's session, such as an attacker has.
let attackers;
const sam = await person();
await scene('attacker', async () => {
  const page = await at(sam, `${APP}/bff/login`);
  await asks(page, async () => {
    await signIn(page, 'sam');
    await page.waitForURL(`${APP}/`);
  });
  attackers = (await jar(sam)).find(({ name }) => name === '__Host-Http-session').value;
});

// Every way in which a sibling might get a cookie of ours, or what passes for one, into the browser.
const tossed = (value) => {
  const names = ['session', '__Host-Http-session', '__Host-session', '__Secure-session', '__Http-session', '__host-http-session', '__HOST-HTTP-SESSION',
    '__Host-Http-session ', ' __Host-Http-session', '\u2000__Host-Http-session', '__Host-Http-session\u00a0', '"__Host-Http-session"', '__Host%2DHttp-session', '__Host-Http-login', 'login', '',
    '$Version=1,__Host-Http-session', '$Version'];
  const values = { '': `__Host-Http-session=${value}`, $Version: `1;__Host-Http-session=${value}` };
  return names.flatMap((name) => ['Domain=cloakroom.test; Path=/; Secure', 'Domain=cloakroom.test; Path=/bff; Secure; HttpOnly; SameSite=None', 'Domain=app.cloakroom.test; Path=/; Secure', 'Path=/; Secure']
    .map((attributes) => `${name}=${values[name] ?? value}; ${attributes}`));
};
const toss = async (context) => {
  const page = await context.newPage();
  const all = tossed(attackers);
  await page.goto(`${SIBLING}/toss?` + all.map((cookie) => `cookie=${encodeURIComponent(cookie)}`).join('&'));
  await page.evaluate((cookies) => cookies.forEach((cookie) => { document.cookie = cookie; }), all);
  await page.close();
};

await scene('tossed', async () => {
  const victim = await person();
  await toss(victim);
  const page = await at(victim, `${APP}/`);
  const before = await user(page);
  await page.goto(`${APP}/reports/4`);
  await signIn(page, 'alice');
  await page.waitForFunction(() => document.title === 'Behind Cloakroom');
  await go(page, `${APP}/`);
  const after = await user(page);
  await toss(victim);
  await go(page, `${APP}/`);
  const again = await user(page);
  const cookies = await jar(victim);
  await victim.close();
  return { before, after, again, attackers, cookies };
});

const socket = (page) => page.evaluate((url) => new Promise((resolve) => {
  const s = new WebSocket(url);
  s.onopen = () => s.send('hello');
  s.onmessage = (message) => { resolve(message.data); s.close(); };
  s.onerror = () => resolve('refused');
}), `${APP.replace('https', 'wss')}/live/1`);
for (const [name, from] of [['socket-own', APP], ['socket-sibling', SIBLING], ['socket-foreign', FOREIGN]]) {
  await scene(name, async () => {
    const page = await at(alice, `${from}/`);
    const said = await socket(page);
    await page.close();
    return { said };
  });
}

// What a page of another origin can send with no more than HTML and scripts.
const forge = (page) => page.evaluate(async (APP) => {
  const reads = ['/bff/user', '/bff/sessions', '/bff/events', '/api/orders/1', '/files/1', '/optional/1'];
  const writes = ['/bff/logout', '/api/orders/2', '/files/2', '/optional/2'];
  const body = '{"order":1}';
  const quiet = (promise) => promise.then(() => {}, () => {});
  const loaded = (element) => new Promise((resolve) => { element.onload = element.onerror = resolve; document.body.append(element); setTimeout(resolve, 3000); });
  const element = (name, attributes) => Object.assign(document.createElement(name), attributes);
  for (const path of reads) {
    await quiet(fetch(APP + path, { mode: 'no-cors', credentials: 'include' }));
    await quiet(fetch(APP + path, { credentials: 'include' }));
    if (path !== '/bff/events') await quiet(fetch(APP + path, { method: 'HEAD', mode: 'no-cors', credentials: 'include' })); // it has no HEAD
    await quiet(fetch(APP + path, { credentials: 'include', headers: { 'X-CSRF': '1' } }));
    await loaded(element('img', { src: APP + path }));
    await loaded(element('script', { src: APP + path }));
    await loaded(element('iframe', { src: APP + path }));
  }
  await new Promise((resolve) => { const events = new EventSource(`${APP}/bff/events`, { withCredentials: true }); events.onopen = events.onerror = () => { events.close(); resolve(); }; });
  for (const path of writes) {
    await quiet(fetch(APP + path, { method: 'POST', mode: 'no-cors', credentials: 'include', body }));
    await quiet(fetch(APP + path, { method: 'POST', mode: 'no-cors', credentials: 'include', body: new Blob([body]) }));
    await quiet(fetch(APP + path, { method: 'POST', credentials: 'include', body, headers: { 'X-CSRF': '1', 'Content-Type': 'application/json' } }));
    await quiet(fetch(APP + path, { method: 'DELETE', credentials: 'include' }));
    navigator.sendBeacon(APP + path, body);
    for (const enctype of ['application/x-www-form-urlencoded', ...(path === '/api/orders/2' ? ['multipart/form-data', 'text/plain'] : [])]) {
      const frame = element('iframe', { name: `to-${Math.random()}` });
      document.body.append(frame);
      const form = element('form', { method: 'POST', action: APP + path, enctype, target: frame.name });
      form.append(element('input', { name: '_method', value: 'DELETE' }), element('input', { name: 'X-CSRF', value: '1' }));
      document.body.append(form);
      const done = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000); });
      form.submit();
      await done;
    }
  }
}, APP);
for (const [name, from] of [['forged-sibling', SIBLING], ['forged-foreign', FOREIGN]]) {
  await scene(name, async () => {
    const page = await at(alice, from);
    await forge(page);
    await page.close();
    for (const path of ['/bff/user', '/api/orders/3', '/files/3']) { // as a person would be led there
      const led = await at(alice, from);
      await Promise.all([led.waitForResponse(APP + path), follow(led, APP + path)]);
      await led.close();
    }
    const post = await at(alice, from);
    await Promise.all([post.waitForResponse(`${APP}/bff/logout`), post.evaluate((to) => {
      const form = Object.assign(document.createElement('form'), { method: 'POST', action: to });
      document.body.append(form);
      form.submit();
    }, `${APP}/bff/logout`)]);
    await post.close();
  });
  await scene(`${name}-after`, async () => ({ user: await user(app) }));
}

await scene('login-csrf', async () => {
  const lure = async (context) => {
    const lured = await at(context, FOREIGN);
    await Promise.all([lured.waitForResponse(LURE), follow(lured, LURE)]);
    const text = await lured.locator('h1').innerText();
    await lured.close();
    return text;
  };
  const stranger = await person();
  const waiting = await person(); // has a sign-in of their own under way
  await (await waiting.newPage()).goto(`${APP}/bff/login`);
  const said = [await lure(stranger), await lure(waiting), await lure(alice)];
  const cookies = [await jar(stranger), await jar(waiting)];
  await stranger.close();
  await waiting.close();
  return { said, cookies, user: await user(app) };
});

await scene('prefetch', async () => {
  const visitor = await person();
  for (const from of [SIBLING, FOREIGN]) {
    const page = await at(visitor, from);
    await page.evaluate((APP) => {
      document.head.append(Object.assign(document.createElement('link'), { rel: 'prefetch', href: `${APP}/bff/login?returnTo=/1` }));
      const rules = { prefetch: [{ urls: [`${APP}/bff/login?returnTo=/2`], eagerness: 'immediate' }], prerender: [{ urls: [`${APP}/bff/login?returnTo=/3`], eagerness: 'immediate' }] };
      document.head.append(Object.assign(document.createElement('script'), { type: 'speculationrules', textContent: JSON.stringify(rules) }));
    }, APP);
    const before = await crossed(); // nothing tells a page what came of it
    for (const end = Date.now() + 5000; Date.now() < end && await crossed() < before + 3;) await page.waitForTimeout(50);
    await page.close();
  }
  const cookies = await jar(visitor);
  await visitor.close();
  return { cookies };
});

await scene('workers', async () => app.evaluate(async () => {
  const policy = trustedTypes.createPolicy('of a script that knows its way', { createScriptURL: (url) => url });
  const register = (script) => navigator.serviceWorker.register(script, { scope: '/' }).then(() => 'registered', (error) => `refused: ${error.name}`);
  const before = (await navigator.serviceWorker.getRegistrations()).length;
  return { before, plain: await register('/files/worker.js'),
    knowing: [await register(policy.createScriptURL('/api/orders/worker.js')), await register(policy.createScriptURL('/files/worker.js'))],
    after: (await navigator.serviceWorker.getRegistrations()).length };
}));

await scene('framed', async () => {
  const page = await at(sam, SIBLING);
  await page.evaluate((APP) => new Promise((resolve) => {
    const frame = Object.assign(document.createElement('iframe'), { src: `${APP}/`, onload: resolve });
    document.body.append(frame);
  }), APP);
  const shown = page.frames().map((frame) => frame.url());
  await page.close();
  return { shown };
});

await scene('sign-out', async () => {
  const context = await person();
  const complaints = await listen(context);
  const page = await at(context, `${APP}/bff/login`);
  await signIn(page, 'alice');
  await page.waitForURL(`${APP}/`);
  await Promise.all([page.waitForResponse((answer) => answer.url().startsWith(`${APP}/bff/logged-out`)), page.evaluate(() => {
    const form = Object.assign(document.createElement('form'), { method: 'POST', action: '/bff/logout?returnTo=/goodbye' });
    document.body.append(form);
    form.submit();
  })]);
  await page.waitForURL(`${APP}/goodbye`);
  const result = { user: await user(page), complaints };
  await context.close();
  return result;
});

// In development the session's cookie is Lax here: it comes along from the provider at once.
await scene('lax', async () => {
  const context = await person();
  const page = await context.newPage();
  const answers = [];
  page.on('response', (answer) => { if (answer.url().startsWith(DEV) && answer.request().isNavigationRequest()) answers.push(`${new URL(answer.url()).pathname} ${answer.status()}`); });
  await page.goto(`${DEV}/reports/5`);
  await signIn(page, 'alice');
  await page.waitForFunction(() => document.title === 'Behind Cloakroom');
  await context.close();
  return { answers };
});

// In development cookies have no prefix: a page at another port of the same host can plant one beside ours.
await scene('doubled', async () => {
  const context = await person();
  const page = await at(context, `${DEV}/bff/login`);
  await signIn(page, 'alice');
  await page.waitForURL(`${DEV}/`);
  const before = await user(page);
  await page.goto(DEV_NEIGHBOUR);
  await page.evaluate(() => { for (const path of ['/bff', '/bff/', '/bff/user']) document.cookie = `session=planted; path=${path}`; });
  await page.goto(`${DEV}/bff/client.js`); // a page of that origin that asks for nothing by itself
  const doubled = await page.evaluate(async () => (await fetch('/bff/user', { headers: { 'X-CSRF': '1' } })).json());
  const left = (await context.cookies(DEV + '/bff/user')).map(({ name, path }) => `${name} ${path}`).filter((cookie) => !cookie.startsWith('idp '));
  const after = await user(page);
  await page.goto(`${DEV}/bff/login?prompt=login`);
  await signIn(page, 'alice');
  await page.waitForURL(`${DEV}/`);
  const again = await user(page);
  await context.close();
  return { before, doubled, left, after, again };
});

await browser.close();
writeFileSync(REPORT, JSON.stringify(report, null, 1));
