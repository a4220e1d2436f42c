// Cloakroom's own pages, as people and axe-core see them, and the policies they come with, as csp_evaluator judges them: to REPORT as JSON.
import { writeFileSync } from 'node:fs';
import evaluator from 'csp_evaluator/dist/evaluator.js';
import parser from 'csp_evaluator/dist/parser.js';
import { examine, launch, listen } from './chromium.mjs';

const { APP, FOREIGN, REPORT } = process.env;
const browser = await launch('--ignore-certificate-errors');
const report = {};

// visit opens a page in a browser of its own; the last answer to that address is the page.
async function visit(name, open) {
  const context = await browser.newContext();
  const complaints = await listen(context);
  const page = await context.newPage();
  let answer;
  page.on('response', (response) => { if (response.request().isNavigationRequest() && response.url().startsWith(APP) && response.status() !== 204) answer = response; });
  await open(page);
  const headers = await answer.allHeaders();
  const policy = headers['content-security-policy'];
  report[name] = {
    status: answer.status(), policy, title: await page.evaluate(() => document.title), language: await page.evaluate(() => document.documentElement.lang), text: await page.evaluate(() => document.body.innerText),
    findings: new evaluator.CspEvaluator(new parser.CspParser(policy).csp).evaluate().map(({ severity, description, directive }) => ({ severity, description, directive })),
    accessibility: await examine(page, name), complaints: complaints.filter((complaint) => !complaint.includes('Failed to load resource')),
  };
  await context.close();
}

await visit('app', (page) => page.goto(`${APP}/`));
await visit('login-failed', (page) => page.goto(`${APP}/bff/callback/main?code=x&state=y`));
await visit('provider-unavailable', (page) => page.goto(`${APP}/bff/login?provider=down`));
await visit('login-refused', async (page) => {
  await page.goto(`${APP}/bff/login`);
  await page.fill('#username', 'alice');
  await page.fill('#password', 'alice');
  await page.click('button[type=submit]');
  await page.waitForURL(`${APP}/bff/callback/**`);
});
await visit('bounce', async (page) => { // held there: it would ask for itself again at once
  await page.goto(FOREIGN);
  let asked = 0;
  const again = new Promise((resolve) => page.route(`${APP}/reports`, (route) => (asked++ ? route.fulfill({ status: 204 }).then(resolve) : route.continue())));
  await page.evaluate((to) => { location.href = to; }, `${APP}/reports`);
  await again;
  await page.locator('h1').waitFor(); // shown to whoever is not taken further at once
});

await browser.close();
writeFileSync(REPORT, JSON.stringify(report, null, 1));
