// A morning's review by the keyboard alone, from the list of nights to finished branches. The mouse is not touched, and no element is
// clicked or focused by the script: what a person cannot reach by keys is not reached here.

import { Findings, accessibility, heard, open, screenshot } from "./session.mjs";

export const REASON = "It adds a number to tune, for <b>less</b> than the noise.";

// Presses a key until something is so.
async function pressUntil(page, key, isSo, what, most = 200) {
  for (let times = 0; times < most; times += 1) {
    if (await isSo()) return;
    await page.keyboard.press(key);
  }
  throw new Error(`pressed ${key} ${most} times, and not yet: ${what}`);
}

const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");

// The experiment of a row: it stands on the row itself in tables, and on its form in the review.
const experimentOf = (row) => row.evaluate((it) => (it.dataset.experiment ? it : it.querySelector("[data-experiment]"))?.dataset.experiment ?? "");

const chosen = async (page) => {
  const row = page.locator("[data-row][aria-current]");
  return (await row.count()) === 0 ? null : experimentOf(row.first());
};

// Accepts the first of those that wait, rejects the second with a reason, defers the third, and has the branches made.
export async function keyboard(browser, { origin, night, folder }) {
  const findings = new Findings();
  const session = await open(browser, origin);
  const { page } = session;
  await page.goto(`${origin}/nights/${night}`);

  // The keyboard's own help, there and away.
  await page.keyboard.press("?");
  await page.locator("dialog#help[open]").waitFor();
  await screenshot(page, folder, "keys");
  await page.keyboard.press("Escape");
  await page.locator("dialog#help[open]").waitFor({ state: "hidden" });

  // The first stop of the tabulator skips what stands before the content; "/" goes to the search.
  await page.keyboard.press("Tab");
  findings.expect("night", /skip/i.test(await focused(page)), `the first stop is ${await focused(page)}`);
  await page.keyboard.press("/");
  findings.expect("night", await page.evaluate(() => document.activeElement?.type === "search"), "/ does not lead to the search");
  // In a field, keys are letters.
  await page.keyboard.type("ajrd?");
  findings.expect("night", (await page.evaluate(() => document.activeElement.value)) === "ajrd?", "a field does not get what is typed");
  await page.keyboard.press("Escape");

  // Rows: there, back, and into one.
  await page.keyboard.press("j");
  const first = await chosen(page);
  await page.keyboard.press("j");
  const second = await chosen(page);
  await page.keyboard.press("k");
  findings.expect("night", first && second && first !== second, `j moved from ${first} to ${second}`);
  findings.expect("night", (await chosen(page)) === first, `k did not move back to ${first}`);
  await Promise.all([page.waitForURL(`${origin}/nights/${first}`), page.keyboard.press("Enter")]);

  // To the review by its link in the navigation.
  await pressUntil(page, "Tab", async () => (await focused(page)) === "Review", "the link to the review has the focus");
  await Promise.all([page.waitForURL(`${origin}/nights/${night}/review`), page.keyboard.press("Enter")]);

  // What waits has a form by which it can be accepted; what is decided only stands in a table.
  const waiting = [];
  for (const row of await page.locator("[data-row]:has(button[value=accepted]:enabled)").all()) waiting.push(await experimentOf(row));
  if (waiting.length < 3) throw new Error(`only ${waiting.length} experiments wait in ${night}; three are needed`);
  const recorded = (experiment, choice) =>
    page.waitForResponse((response) => response.url().endsWith("/api/reviews") && response.request().postData().includes(`"${experiment}"`)
      && response.request().postData().includes(`"${choice}"`));

  const decisions = {};
  for (const [key, choice] of [["a", "accepted"], ["r", "rejected"], ["d", "deferred"]]) {
    // The page puts what is decided elsewhere, and chooses the row that has moved up. From the top, down to the one that is meant.
    const target = waiting.find((experiment) => !(experiment in decisions));
    await page.keyboard.press("j");
    for (let last = null, now = await chosen(page); now !== last; now = await chosen(page)) {
      last = now;
      await page.keyboard.press("k");
    }
    await pressUntil(page, "j", async () => (await chosen(page)) === target, `${target} is chosen`);
    const answered = recorded(target, choice);
    await page.keyboard.press(key);
    if (choice === "rejected") {
      await page.locator("dialog#why[open]").waitFor();
      for (const { fails, words } of await accessibility(page)) if (fails) findings.fail("the reason's dialog", words);
      await screenshot(page, folder, "why");
      await page.keyboard.type(REASON);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
    }
    const answer = await answered;
    findings.expect("review", answer.status() === 200, `${choice} was answered with ${answer.status()}`);
    await page.locator("#said", { hasText: choice }).waitFor();
    decisions[target] = choice;
  }
  for (const words of await heard(page)) findings.fail("review", words);
  await screenshot(page, folder, "review-decided");

  // The button that makes the branches is a stop of the tabulator.
  await pressUntil(page, "Tab", async () => /make.*branch/i.test(await focused(page)) && (await isButton(page)), "the button that makes branches has the focus");
  await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
  await screenshot(page, folder, "branches-made");
  for (const { fails, words } of await accessibility(page)) if (fails) findings.fail("review", words);
  for (const words of session.problems) findings.fail("review", words);
  await session.close();
  // What the other side looks for in the repository.
  console.log(JSON.stringify({ decisions, reason: REASON }));
  return findings.tell();
}

const isButton = (page) => page.evaluate(() => document.activeElement?.tagName === "BUTTON");
