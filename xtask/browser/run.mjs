// Runs one part of the browser's tests: `node run.mjs PART '{"origin": "http://127.0.0.1:PORT", ...}'`. `cargo xtask browser` starts
// what there is to look at and says where it is.

import { launch } from "./session.mjs";
import { keyboard } from "./keyboard.mjs";
import { live } from "./live.mjs";
import { file, pages } from "./pages.mjs";
import { plain } from "./plain.mjs";

const PARTS = { file, keyboard, live, pages, plain };

const [part, options] = process.argv.slice(2);
const browser = await launch();
try {
  const passed = await PARTS[part](browser, JSON.parse(options));
  process.exitCode = passed ? 0 : 1;
} finally {
  await browser.close();
}
