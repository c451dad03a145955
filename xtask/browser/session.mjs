// A browser, its pages, and everything that must not happen on them.
//
// What a page does wrong is collected while it lives and told at the end of a check, so that one run tells of all of it.

import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

// The packages lie in the target folder, not beside these files: nothing is installed into the sources.
const require = createRequire(join(process.env.BROWSER_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// Generous, because a machine that tests is a busy one; nothing waits that long unless it fails.
const PATIENCE = 60_000;

// Screenshots higher than this say nothing more and cost much.
const MOST_HEIGHT = 6_000;

export const DESKTOP = { width: 1280, height: 800 };
export const NARROW = { width: 400, height: 800 };

export async function launch() {
  const isRoot = process.getuid() === 0;
  // Chromium's sandbox needs a user that is not root. What is opened here are pages of our own server, in containers of continuous
  // integration; whoever is not root gets the sandbox.
  if (isRoot) console.log("Chromium runs without its sandbox, because this is root");
  return chromium.launch({
    executablePath: process.env.BROWSER_PROGRAM,
    chromiumSandbox: !isRoot,
    // A container's /dev/shm is often too small for a page's pictures.
    args: ["--disable-dev-shm-usage", "--force-color-profile=srgb"],
  });
}

// A page with ears. `problems` fills while it is used.
export async function open(browser, origin, { viewport = DESKTOP, colorScheme = "light", javaScriptEnabled = true } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, javaScriptEnabled, reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE);
  // Before any script of the page; the policy does not hold for what the browser's own debugger runs.
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.effectiveDirective} forbids ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`);
    });
  });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("dialog", (dialog) => {
    problems.push(`a dialog says ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = request.url();
    // Of a file, everything but the file itself is elsewhere.
    const isOurs = origin.startsWith("file:") ? url === origin : new URL(url).origin === origin;
    if (!isOurs && !url.startsWith("data:")) problems.push(`it asks for what is not ours: ${url}`);
  });
  return { page, problems, close: () => context.close() };
}

// What the page's own ears have heard since it was loaded; and whether a text of the records has become a program.
export async function heard(page) {
  const { violations, hostile } = await page.evaluate(() => ({ violations: window.violations, hostile: window.hostile }));
  const problems = violations.map((violation) => `policy: ${violation}`);
  if (hostile) problems.push("a text from the records ran as a script");
  return problems;
}

// Milliseconds from the beginning of the navigation to the first paint and to the first with content.
export async function paints(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const look = () => {
          const found = Object.fromEntries(performance.getEntriesByType("paint").map((entry) => [entry.name, entry.startTime]));
          if (found["first-contentful-paint"] === undefined) return false;
          resolve({ first: found["first-paint"], content: found["first-contentful-paint"] });
          return true;
        };
        if (!look()) new PerformanceObserver(look).observe({ type: "paint", buffered: true });
      }),
  );
}

// Findings of axe-core: every rule that it has, best practices included. Serious and critical ones fail.
export async function accessibility(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, impact, help, nodes }) => ({
    fails: ["serious", "critical"].includes(impact),
    words: `axe: ${impact}: ${id}: ${help} (${nodes.length}×, first ${nodes[0]?.target?.join(" ")}: ${nodes[0]?.html?.slice(0, 160)})`,
  }));
}

// Whether the page has to be moved sideways to be read.
export async function overflow(page) {
  return page.evaluate(() => {
    const { scrollWidth } = document.documentElement;
    if (scrollWidth <= window.innerWidth) return [];
    const wide = [...document.querySelectorAll("main *, header *")].find((it) => it.getBoundingClientRect().right > window.innerWidth + 1);
    return [`it is ${scrollWidth} px wide in a window of ${window.innerWidth} (first: <${wide?.tagName.toLowerCase()} class="${wide?.className}">)`];
  });
}

export async function screenshot(page, folder, name) {
  mkdirSync(folder, { recursive: true });
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  const { width } = page.viewportSize();
  const clip = { x: 0, y: 0, width, height: Math.min(height, MOST_HEIGHT) };
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true, clip });
}

// The end of a part: what went wrong, or nothing.
export class Findings {
  #failed = [];
  #noted = [];

  fail(where, words) {
    this.#failed.push(`${where}: ${words}`);
  }

  note(where, words) {
    this.#noted.push(`${where}: ${words}`);
  }

  expect(where, holds, words) {
    if (!holds) this.fail(where, words);
  }

  // Prints all and returns whether nothing failed.
  tell() {
    for (const words of new Set(this.#noted)) console.log(`note  ${words}`);
    for (const words of new Set(this.#failed)) console.log(`FAIL  ${words}`);
    return this.#failed.length === 0;
  }
}
