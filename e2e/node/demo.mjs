// Goes through the demo as its reader would: signs in as alice, lets the four boxes fill, tries what must not work.
// Writes what the page shows, and what crossed between the browser and Cloakroom, to REPORT as JSON.
import { writeFileSync } from 'node:fs';
import { examine, launch } from './chromium.mjs';

const { APP, REPORT, SCREENSHOT } = process.env;
const browser = await launch();
const page = await browser.newPage();
const bodies = [];
const pending = [];
page.on('response', (response) => {
  if (response.url().startsWith(APP) && response.status() !== 302 && response.status() !== 303) {
    pending.push(response.text().then((body) => bodies.push({ url: response.url(), body }), () => {}));
  }
});
const errors = [];
page.on('pageerror', (error) => errors.push(String(error)));
page.on('console', (message) => { if (/Content Security Policy|Refused to/.test(message.text())) errors.push(message.text()); });

const accessibility = {};
await page.goto(APP);
accessibility['signed out'] = await examine(page);
const began = Date.now();
await page.goto(APP);
await page.click('#sign-in');
await page.fill('#username', 'alice');
await page.fill('#password', 'alice');
await page.click('button');
await page.waitForSelector('#payments .claim');
const signedIn = Date.now() - began;
const text = (selector) => page.locator(selector).innerText();
const boxes = { provider: await text('#provider'), browser: await text('#browser'), orders: await text('#orders'), payments: await text('#payments') };
const tries = {};
for (const row of await page.locator('.try').all()) {
  await row.locator('button').click();
  await row.locator('li').first().waitFor();
  tries[await row.locator('button').innerText()] = await row.innerText();
}
accessibility['signed in'] = await examine(page);
if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT, fullPage: true });
const other = await (await browser.newContext()).newPage();
await other.goto(`${APP}/bff/login`);
accessibility['the provider'] = await examine(other);
await page.click('#sign-out');
await page.waitForSelector('#signed-out:not([hidden])');
await Promise.allSettled(pending);
await browser.close();
writeFileSync(REPORT, JSON.stringify({ signedIn, boxes, tries, bodies, errors, accessibility }));
