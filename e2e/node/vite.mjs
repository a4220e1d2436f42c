// Vite's template behind Cloakroom: as it was built, at BUILT, and from its dev server, at DEV, while SOURCE is edited. Writes what was
// seen to REPORT as JSON.
import { readFileSync, writeFileSync } from 'node:fs';
import { launch, listen } from './chromium.mjs';

const { BUILT, DEV, SOURCE, REPORT } = process.env;
const browser = await launch();

const count = (page) => page.locator('button.counter').innerText();
const images = (page) => page.evaluate(() => [...document.images].map((image) => ({ src: image.src.slice(0, 60), width: image.naturalWidth })));

async function visit(url) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const complaints = await listen(context);
  const page = await context.newPage();
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket.url().split('?')[0]));
  const answer = await page.goto(url, { waitUntil: 'networkidle' });
  const policy = answer.headers()['content-security-policy'];
  await page.locator('button.counter').click();
  return { page, seen: { policy, count: await count(page), images: await images(page), sockets, complaints } };
}

const { page: deployed, seen: built } = await visit(BUILT + '/deep/link');
built.color = await deployed.evaluate(() => getComputedStyle(document.querySelector('button.counter')).backgroundColor);

const { page, seen: dev } = await visit(DEV + '/');
await page.evaluate(() => { globalThis.notReloaded = true; });
const source = readFileSync(SOURCE, 'utf8');
writeFileSync(SOURCE, source.replace('Get started', 'Edited'));
await page.locator('h1', { hasText: 'Edited' }).waitFor();
dev.edited = { count: await count(page), notReloaded: await page.evaluate(() => globalThis.notReloaded === true) };
const complaints = dev.complaints.splice(0);
writeFileSync(SOURCE, source.replace('<h1>', '<h1'));
await page.locator('vite-error-overlay').waitFor({ state: 'attached' });
dev.mistakeShown = await page.locator('vite-error-overlay .message-body').innerText();
writeFileSync(SOURCE, source);
await page.locator('h1', { hasText: 'Get started' }).waitFor();
dev.mended = { count: await count(page), overlays: await page.locator('vite-error-overlay').count() };

dev.violations = dev.complaints.filter((complaint) => /^violation|Content Security Policy/.test(complaint));
dev.complaints = complaints;
await browser.close();
writeFileSync(REPORT, JSON.stringify({ built, dev }, null, 1));
