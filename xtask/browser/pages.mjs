// Every page, wide and narrow, light and dark: it paints soon, nothing goes wrong on it, axe-core finds nothing serious, and it is not wider
// than the window. A picture of each is kept.

import { pathToFileURL } from "node:url";

import { DESKTOP, Findings, NARROW, accessibility, heard, open, overflow, paints, screenshot } from "./session.mjs";

const VIEWS = [
  { name: "wide-light", viewport: DESKTOP, colorScheme: "light" },
  { name: "wide-dark", viewport: DESKTOP, colorScheme: "dark" },
  { name: "narrow-light", viewport: NARROW, colorScheme: "light" },
  { name: "narrow-dark", viewport: NARROW, colorScheme: "dark" },
];

// `pages` maps a name to a path. `mostPaint` is in milliseconds. `few`: wide and light, narrow and dark, and not the other two.
export async function pages(browser, { origin, pages, folder, mostPaint, few = false }) {
  const findings = new Findings();
  const slowest = new Map();
  for (const view of few ? [VIEWS[0], VIEWS[3]] : VIEWS) {
    for (const [name, path] of Object.entries(pages)) {
      const where = `${name} (${view.name})`;
      // A context of its own: nothing is in its cache.
      const session = await open(browser, origin, view);
      const response = await session.page.goto(origin + path, { waitUntil: "load" });
      // A file has none.
      const status = response?.status() || 200;
      findings.expect(where, status === 200, `status ${status}`);
      const { first, content } = await paints(session.page);
      const painted = Math.max(first, content);
      slowest.set(name, Math.max(slowest.get(name) ?? 0, painted));
      findings.expect(where, painted < mostPaint, `first paint after ${painted.toFixed(0)} ms, and ${mostPaint} are allowed`);
      const headings = await session.page.locator("h1").count();
      findings.expect(where, headings === 1, `${headings} headings of the first level`);
      for (const words of await overflow(session.page)) findings.fail(where, words);
      for (const words of await heard(session.page)) findings.fail(where, words);
      await screenshot(session.page, folder, `${name}-${view.name}`);
      for (const { fails, words } of await accessibility(session.page)) {
        if (fails) findings.fail(where, words);
        else findings.note(where, words);
      }
      for (const words of session.problems) findings.fail(where, words);
      await session.close();
    }
  }
  for (const [name, milliseconds] of slowest) console.log(`first paint of ${name}: ${milliseconds.toFixed(0)} ms at the most`);
  return findings.tell();
}

// The morning page as a file on the disk, as it is mailed around: it asks for nothing at all.
export async function file(browser, { path, folder, mostPaint, few }) {
  return pages(browser, { few, origin: pathToFileURL(path).href, pages: { "morning-file": "" }, folder, mostPaint });
}
