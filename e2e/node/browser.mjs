// A person at Debian's Chromium: signs in through the provider's own pages, lets the SPA work, signs out. Writes what the
// browser saw and stored to REPORT as JSON, for the test to judge; it judges nothing itself.
import { writeFileSync } from 'node:fs';
import { launch } from './chromium.mjs';

const { APP, SIGN_IN, REPORT } = process.env;

// How each provider's own pages are filled in.
const signIn = {
  'oidc-provider': async (page) => {
    await page.fill('input[name=login]', 'alice');
    await page.fill('input[name=password]', 'any');
    await page.click('button[type=submit]');
    await page.waitForSelector('text=Continue'); // its consent page
    await page.click('button[type=submit]');
  },
  zitadel: async (page) => {
    await page.fill('input[name=username]', 'test-user@localhost');
    await page.fill('input[name=password]', 'verysecure');
    await page.click('button[type=submit]');
  },
};

const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();

// Everything that crosses between the browser and Cloakroom's origin, both ways.
const traffic = [];
const pending = [];
const own = (url) => url.startsWith(APP);
context.on('request', (request) => {
  if (own(request.url())) {
    pending.push(request.allHeaders().then((headers) => traffic.push({ kind: 'request', method: request.method(), url: request.url(), headers, body: request.postData() ?? '' })));
  }
});
context.on('response', (response) => {
  if (own(response.url())) {
    pending.push((async () => {
      const headers = (await response.headersArray()).map(({ name, value }) => `${name}: ${value}`);
      const body = response.status() >= 300 && response.status() < 400 ? '' : await response.text().catch(() => '');
      traffic.push({ kind: 'response', url: response.url(), status: response.status(), headers, body });
    })());
  }
});
const consoleErrors = [];
// A refused resource is no fault of the page: an anonymous visitor's /bff/user is a 401.
page.on('console', (message) => { if (message.type() === 'error' && !message.text().startsWith('Failed to load resource') && own(message.location().url)) consoleErrors.push(message.text()); });
page.on('pageerror', (error) => { if (own(page.url())) consoleErrors.push(String(error)); });

// What a script in the page can reach.
const stored = () => page.evaluate(async () => ({
  cookie: document.cookie,
  local: JSON.stringify(localStorage),
  session: JSON.stringify(sessionStorage),
  indexedDB: JSON.stringify(await indexedDB.databases()),
  caches: JSON.stringify(await caches.keys()),
  html: document.documentElement.outerHTML,
}));
const result = (name) => page.waitForSelector(`#${name}[data-done]`).then((element) => element.textContent()).then(JSON.parse);

await page.goto(APP + '/');
const anonymous = await result('user');
await page.click('#login');
await page.waitForURL((url) => !own(url.href));
await signIn[SIGN_IN](page);
await page.waitForURL(APP + '/?back=1');
const user = await result('user');
await page.click('#call');
const api = await result('api');
const cookies = await context.cookies();
const storage = await stored();
await page.click('#logout');
const logout = await result('ended');
await page.reload();
const after = await result('user');
await Promise.allSettled(pending);
await browser.close();
writeFileSync(REPORT, JSON.stringify({ anonymous, user, api, cookies, storage, logout, after, traffic, consoleErrors }, null, 1));
