// Without JavaScript: everything that is read is there, filters are forms, and a decision is one too.

import { Findings, open, screenshot } from "./session.mjs";

export async function plain(browser, { origin, night, folder, pages }) {
  const findings = new Findings();
  const session = await open(browser, origin, { javaScriptEnabled: false });
  const { page } = session;
  for (const [name, path] of Object.entries(pages)) {
    const response = await page.goto(origin + path);
    findings.expect(name, response.status() === 200, `status ${response.status()}`);
    findings.expect(name, (await page.locator("main").innerText()).trim().length > 20, "there is nothing to read");
    await screenshot(page, folder, `${name}-plain`);
  }

  // The filter is a form.
  await page.goto(`${origin}/nights/${night}`);
  const all = await page.locator("tr[data-row]").count();
  await page.selectOption("select[name=verdict]", "kept");
  await page.locator("form[role=search] button").click();
  const kept = await page.locator("tr[data-row]").count();
  findings.expect("filter", page.url().includes("verdict=kept") && kept > 0 && kept < all, `${kept} of ${all} rows at ${page.url()}`);

  // So is a decision.
  await page.goto(`${origin}/nights/${night}/review`);
  const row = page.locator("[data-row]:has(button[value=accepted]:enabled)").first();
  const experiment = await row.locator("[data-experiment]").getAttribute("data-experiment");
  await row.locator("button[value=accepted]").click();
  await page.waitForLoadState();
  const decided = page.locator(`tr[data-experiment="${experiment}"]`);
  findings.expect("review", (await decided.count()) === 1, `${experiment} does not stand among what is decided at ${page.url()}`);
  for (const words of session.problems) findings.fail("plain", words);
  await session.close();
  return findings.tell();
}
