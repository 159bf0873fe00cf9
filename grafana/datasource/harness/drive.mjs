/**
 * Runs steps in Chromium, where the page stands for Grafana: `node drive.mjs HUB < steps.json > answers.json`. Steps are
 * [[function, …arguments], …] of the page's harness, or of the driver below. The environment: TOKEN, what Grafana would keep;
 * CHROMIUM, its path.
 */

import { chromium } from 'playwright-core';
import { text } from 'node:stream/consumers';

import { serve } from './server.mjs';

const QUIET = [
  '--no-sandbox',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const [hub] = process.argv.slice(2);
const steps = JSON.parse(await text(process.stdin));
const server = await serve(hub, { token: process.env.TOKEN });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: QUIET });
const page = await browser.newPage({ viewport: { width: 1220, height: 760 } });
const failures = [];
page.on('pageerror', (error) => failures.push(error.message));

/** What a person does. */
const driver = {
  screenshot: async (path) => void (await page.screenshot({ path })),
  /** Puts the cursor behind the editor's text. */
  async edit() {
    await page.locator('.monaco-editor').first().click();
    await page.keyboard.press('Control+End');
  },
  /** Writes where the cursor is, and says what is suggested then. */
  async suggested(typed) {
    await page.keyboard.type(typed, { delay: 30 });
    const rows = page.locator('.suggest-widget.visible .monaco-list-row');
    await rows.first().waitFor();
    return rows.locator('.label-name').allTextContents();
  },
  press: (key) => page.keyboard.press(key),
  click: (name) => page.getByRole('button', { name }).click(),
  choose: (name) => page.getByRole('radio', { name }).click({ force: true }),
  async fill(label, value) {
    await page.getByLabel(label, { exact: true }).fill(value);
    await page.keyboard.press('Tab');
  },
  async wait(words) {
    await page.getByText(words).first().waitFor();
  },
  colours: () =>
    page.locator('.view-line span span').evaluateAll((found) => [...new Set(found.map((one) => one.className))]),
  shownQuery: () => page.evaluate(() => window.shownQuery),
  shownOptions: () => page.evaluate(() => window.shownOptions),
  failures: () => failures,
};

try {
  await page.goto(server.url);
  await page.waitForFunction(() => window.harness ?? window.harnessFailed);
  const failed = await page.evaluate(() => window.harnessFailed);
  if (failed) {
    throw new Error(failed);
  }
  const answers = [];
  for (const [name, ...rest] of steps) {
    const done = driver[name]
      ? await driver[name](...rest)
      : await page.evaluate(([one, given]) => window.harness[one](...given), [name, rest]);
    answers.push(done ?? null);
  }
  process.stdout.write(JSON.stringify(answers));
} finally {
  await browser.close();
  server.close();
}
