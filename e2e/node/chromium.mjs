// The real browser of these tests: the system's Chromium, with nothing of its own that talks to the network. RESOLVE maps the tests' hostnames.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { CHROMIUM, RESOLVE } = process.env;

export const launch = (...more) => chromium.launch({
  executablePath: CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ...more, ...(RESOLVE ? [`--host-resolver-rules=${RESOLVE}`] : [])],
});

// Everything that a page complains of, from its first script on: exceptions, what its console says, and each violation of its policy.
export const listen = (context) => {
  const complaints = [];
  context.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`); });
  context.on('weberror', (error) => complaints.push(`exception: ${error.error()}`));
  return context.exposeBinding('tellViolation', (_, text) => complaints.push(`violation: ${text}`)).then(() => context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => globalThis.tellViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
  })).then(() => complaints);
};

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// What axe-core finds at fault with a page, by day and by night: impact, rule, and where. With SHOTS, a folder, it takes pictures as well.
export const examine = async (page, name = '') => {
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    found.push(...violations.map(({ impact, id, nodes }) => `${impact}: ${id} (${colorScheme}): ${nodes.map(({ target, any }) => `${target} ${any[0]?.message ?? ''}`).join('; ')}`));
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name || page.url().replace(/\W+/g, '-').slice(0, 60)}-${colorScheme}.png`, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: null });
  return found;
};
