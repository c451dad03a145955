// The page of the night as it goes on, while a real one runs: stages change, the curve draws itself, the journal grows, and at the end it
// says so. All of it without loading the page again, which a mark in its window shows.

import { Findings, NARROW, accessibility, heard, open, overflow, screenshot } from "./session.mjs";

// A night of seconds is often minutes long on a machine that builds beside it.
const PATIENCE = 15 * 60_000;

// Notes what the page shows from now on.
function watch() {
  window.isTheSame = true;
  const seen = { stages: [], titles: [], points: [], done: [], events: 0 };
  window.seen = seen;
  const add = (list, id) => {
    const text = document.getElementById(id)?.textContent.trim();
    if (text && list.at(-1) !== text) list.push(text);
  };
  const look = () => {
    add(seen.stages, "stage");
    add(seen.titles, "title");
    add(seen.done, "done");
    const drawn = document.getElementById("own-line")?.getAttribute("points")?.trim();
    const points = drawn ? drawn.split(/\s+/).length : 0;
    if (seen.points.at(-1) !== points) seen.points.push(points);
    seen.events = document.querySelectorAll("#events > li").length;
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}

export async function live(browser, { origin, folder }) {
  const findings = new Findings();
  const wide = await open(browser, origin);
  const narrow = await open(browser, origin, { viewport: NARROW, colorScheme: "dark" });
  for (const { page } of [wide, narrow]) {
    page.setDefaultTimeout(PATIENCE);
    await page.goto(origin);
  }
  // Whoever started this starts the night now.
  console.log("ready");
  const { page } = wide;
  const running = (page) => page.locator('#now[data-state="running"]').waitFor();
  await Promise.all([running(page), running(narrow.page)]);
  await page.evaluate(watch);

  // The curve of one run grows a few times: the picture is drawn while it trains, not when it is over.
  await page.waitForFunction(() => {
    const { points } = window.seen;
    return points.filter((count, at) => at > 0 && count > points[at - 1] && points[at - 1] > 0).length >= 3;
  });
  await screenshot(page, folder, "now-running-wide-light");
  await screenshot(narrow.page, folder, "now-running-narrow-dark");
  for (const words of await overflow(narrow.page)) findings.fail("now, narrow", words);
  for (const { fails, words } of await accessibility(narrow.page)) if (fails) findings.fail("now, narrow", words);

  await page.locator('#now[data-state="ended"]').waitFor();
  const seen = await page.evaluate(() => ({ ...window.seen, isTheSame: window.isTheSame === true }));
  findings.expect("now", seen.isTheSame, "the page was loaded again");
  findings.expect("now", new Set(seen.stages).size >= 4, `of the stages it showed only ${JSON.stringify(seen.stages)}`);
  findings.expect("now", new Set(seen.titles).size >= 2, `of what was tried it showed only ${JSON.stringify(seen.titles)}`);
  findings.expect("now", new Set(seen.done).size >= 2, `of what was done it showed only ${JSON.stringify(seen.done)}`);
  findings.expect("now", seen.events >= 3, `its journal has ${seen.events} lines`);
  await screenshot(page, folder, "now-ended-wide-light");
  for (const { page, problems } of [wide, narrow]) {
    for (const words of [...problems, ...(await heard(page))]) findings.fail("now", words);
  }
  console.log(`the live page showed ${seen.stages.length} changes of stage, ${seen.points.length} of the curve, ${seen.events} lines of the journal`);
  await wide.close();
  await narrow.close();
  return findings.tell();
}
