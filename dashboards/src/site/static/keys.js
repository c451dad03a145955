// The keyboard of all pages, and deciding by it. Pages work without: this only presses what they have, and asks the server for the rest.

const MOVES = { j: 1, k: -1 };
const CHOICES = { a: "accepted", r: "rejected", d: "deferred" };
const find = (id) => document.getElementById(id);

let deciding = false;

function say(words) {
  find("failed").textContent = "";
  find("said").textContent = words;
}

function fail(words) {
  find("said").textContent = "";
  find("failed").textContent = words;
}

// Rows that can be seen: those of a closed branch of a tree are passed over.
function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => row.getClientRects().length > 0);
}

function current() {
  const of = document.activeElement?.closest("[data-row]");
  return of ?? document.querySelector("[data-row][aria-current]");
}

function choose(row) {
  for (const other of document.querySelectorAll("[data-row][aria-current]")) other.removeAttribute("aria-current");
  if (!row) return;
  row.setAttribute("aria-current", "true");
  if (!row.hasAttribute("tabindex") && row.tabIndex < 0) row.tabIndex = -1;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const all = rows();
  if (all.length === 0) return say("There are no rows on this page.");
  const at = all.indexOf(current());
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  choose(all[next]);
}

// Only where the row itself has the focus: a link or a button in it does its own.
function open(event) {
  const row = event.target.closest?.("[data-row]");
  if (!row || row !== event.target) return;
  const first = row.querySelector("[data-open], a[href]");
  if (!first) return;
  event.preventDefault();
  first.click();
}

// What a decision is about: the chosen row, or the one experiment of the page.
function subject() {
  const marked = "[data-experiment]";
  const row = current();
  if (row) return row.matches(marked) ? row : row.querySelector(marked);
  const all = document.querySelectorAll(marked);
  return all.length === 1 ? all[0] : null;
}

async function decide(of, choice, reason) {
  if (deciding) return;
  deciding = true;
  const experiment = of.dataset.experiment;
  try {
    const answer = await fetch("/api/reviews", {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-nocturne-csrf": document.querySelector('meta[name="csrf-token"]').content,
      },
      body: JSON.stringify([{ experiment, choice, reason, seen: of.dataset.seen }]),
    });
    if (!answer.ok) {
      const told = await answer.json().catch(() => ({}));
      fail(told.error ?? `The server refused (${answer.status}). Load the page again.`);
      return;
    }
    await refresh(of);
    say(`${experiment} ${choice}`);
  } catch (error) {
    fail(`The server cannot be reached: ${error.message}`);
  } finally {
    deciding = false;
  }
}

// What has been typed into an experiment's own form.
function remark(of) {
  return of.querySelector("textarea[name=reason]");
}

// Elements with names that stay when the page is loaded anew: their place within what has an id.
function named(main, kind) {
  const seen = new Map();
  return [...main.querySelectorAll(kind)].map((it) => {
    const within = it.id || `${it.parentElement.closest("[id]").id} ${kind}`;
    const place = seen.get(within) ?? 0;
    seen.set(within, place + 1);
    return [`${within} ${place}`, it];
  });
}

// The page as the server has it now, with what was open, ticked and chosen left so.
async function refresh(of) {
  const at = rows().indexOf(of.closest("[data-row]"));
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) {
    location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = find("main");
  const folds = new Map(named(main, "details").map(([name, it]) => [name, it.open]));
  // What is half written of others; of this one it has just been sent.
  const typed = new Map([...main.querySelectorAll("textarea[id]")].map((it) => [it.id, it.value]));
  typed.delete(remark(of)?.id);
  const ticks = new Set([...main.querySelectorAll("input[type=checkbox]:checked")].map((it) => it.value));
  main.replaceChildren(...document.adoptNode(fresh.getElementById("main")).childNodes);
  for (const [name, it] of named(main, "details")) if (folds.has(name)) it.open = folds.get(name);
  for (const it of main.querySelectorAll("textarea[id]")) it.value = typed.get(it.id) ?? "";
  for (const it of main.querySelectorAll("input[type=checkbox]")) it.checked = ticks.has(it.value);
  if (at < 0) return main.focus({ preventScroll: true });
  const all = rows();
  choose(all[Math.min(at, all.length - 1)]);
}

function askWhy(of) {
  const dialog = find("why");
  find("why-what").textContent = of.dataset.title ?? of.dataset.experiment;
  find("why-reason").value = remark(of)?.value ?? "";
  dialog.showModal();
  find("why-reason").focus();
  find("why-form").onsubmit = () => {
    const reason = find("why-reason").value.trim();
    if (reason) decide(of, "rejected", reason);
    else fail("A rejection needs a reason.");
  };
}

function press(choice) {
  const of = subject();
  if (!of) return say("No experiment is chosen: j and k choose a row.");
  if (choice === "rejected") askWhy(of);
  else decide(of, choice, remark(of)?.value.trim() ?? "");
}

function isTyping(target) {
  const field = target.closest?.("input, textarea, select, [contenteditable]");
  return field && !["checkbox", "radio", "button", "submit"].includes(field.type);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  // An open dialog has its own keys: the browser closes it by Escape.
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") {
      event.target.blur();
      choose(current());
    }
    return;
  }
  if (event.key in MOVES) move(MOVES[event.key]);
  else if (event.key in CHOICES) press(CHOICES[event.key]);
  else if (event.key === "Enter") return open(event);
  else if (event.key === "/") {
    const field = document.querySelector("input[type=search]");
    if (!field) return say("There is nothing to search on this page. The experiments of a night are searched on the night's own page.");
    field.focus();
    field.select();
  } else if (event.key === "?") find("help").showModal();
  else if (event.key === "Escape") {
    say("");
    return;
  } else return;
  event.preventDefault();
});

// Whatever gets the focus in a row makes it the chosen one.
document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("[data-row]");
  if (!row || row.hasAttribute("aria-current")) return;
  for (const other of document.querySelectorAll("[data-row][aria-current]")) other.removeAttribute("aria-current");
  row.setAttribute("aria-current", "true");
});

find("why-not").addEventListener("click", () => find("why").close());
find("why-reason").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("why-form").requestSubmit();
});
find("keys").addEventListener("click", () => find("help").showModal());
find("keys").hidden = false;
