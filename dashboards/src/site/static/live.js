// The night as it goes on. The server tells of every change: whole states (`now`) and lines of the journal, which this page puts where the
// page without scripts has them. Whatever is told is text: it is set by `textContent`, and never read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const MOST_LINES = 60;
// As long as a server that is gone, or full, is left alone.
const AGAIN = 10_000;

const byId = (id) => document.getElementById(id);
// Looked for each time: a decision on this page replaces its content.
const root = () => byId("now");

/** Sets a text where it changed: what stays the same is not read out again, and a selection survives. */
function say(id, text) {
  const element = byId(id);
  if (element && element.textContent !== text) element.textContent = text;
}

function show(id, shown) {
  const element = byId(id);
  if (element) element.hidden = !shown;
}

function made(name, properties, children = []) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

/** Only addresses of this server. */
function link(href, text) {
  return href && href.startsWith("/") && !href.startsWith("//") ? made("a", { href, textContent: text }) : null;
}

// As `duration` in dashboards/src/text.rs.
function duration(seconds) {
  const whole = Math.max(0, seconds);
  if (whole < 99.5) return `${Math.round(whole)} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 100) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// The server's clock less this one's, in milliseconds.
let ahead = Number(root()?.dataset.at ?? Date.now()) - Date.now();

function tick() {
  const now = Date.now() + ahead;
  for (const element of document.querySelectorAll("[data-since]")) {
    setText(element, duration((now - Number(element.dataset.since)) / 1000));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    setText(element, duration((Number(element.dataset.until) - now) / 1000));
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A moment that durations are counted from, or to; null where there is none. */
function moment(id, name, at) {
  const element = byId(id);
  if (!element) return;
  if (at === null) delete element.dataset[name];
  else element.dataset[name] = at;
}

/** Whether a row says what a fresh one says; that the keyboard has chosen it does not count. */
function same(row, fresh) {
  const bare = row.cloneNode(true);
  bare.removeAttribute("aria-current");
  return bare.isEqualNode(fresh);
}

/** Changes of a list's children those that differ, so that a focus stays, whoever made the list. */
function list(id, rows) {
  const element = byId(id);
  if (!element) return;
  const chosen = element.querySelector("[aria-current]")?.dataset.experiment;
  const focused = element.contains(document.activeElement);
  for (const old of [...element.children]) if (!rows.some((fresh) => same(old, fresh))) old.remove();
  rows.forEach((fresh, at) => {
    const old = element.children[at];
    if (!old) element.append(fresh);
    else if (!same(old, fresh)) old.before(fresh);
  });
  while (element.children.length > rows.length) element.lastElementChild.remove();
  // The row that was chosen says something else now, and is chosen still.
  const again = chosen && !element.querySelector("[aria-current]") && rows.find((row) => row.dataset.experiment === chosen);
  if (again) {
    again.setAttribute("aria-current", "true");
    if (focused) again.focus({ preventScroll: true });
  }
}

function facts(id, all) {
  const row = ({ name, value }) =>
    made("div", {}, [made("dt", { textContent: name }), made("dd", { textContent: value })]);
  list(id, all.map(row));
}

function lines(id, all) {
  const row = ({ text, href, note, experiment }) => {
    const item = made("li", {}, [link(href, text) ?? made("span", { textContent: text })]);
    if (experiment) {
      item.tabIndex = -1;
      Object.assign(item.dataset, { row: "", experiment, title: text });
    }
    if (note) item.append(" ", made("span", { className: "quiet", textContent: note }));
    return item;
  };
  list(id, all.map(row));
  show(id, all.length > 0);
  show(`${id}-none`, all.length === 0);
}

function trial(told) {
  show("trial", told !== null);
  if (told === null) return;
  const heading = byId("title");
  const target = link(told.href, told.title);
  if (heading && (heading.textContent !== told.title || Boolean(heading.querySelector("a")) !== Boolean(target))) {
    heading.replaceChildren(target ?? told.title);
  }
  say("hypothesis", told.hypothesis);
  facts("facts", told.facts);
  show("run", told.progress !== null);
  const progress = byId("progress");
  if (progress && told.progress !== null) progress.value = told.progress;
  say("progress-words", told.progress_words);
}

function drawn(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

function curve(told) {
  show("curve", told !== null);
  if (told === null) return;
  const { left, right, top, bottom } = told;
  const grid = byId("grid");
  const key = JSON.stringify([told.x_ticks, told.y_ticks]);
  if (grid && grid.dataset.key !== key) {
    grid.dataset.key = key;
    grid.replaceChildren(
      ...told.y_ticks.flatMap(({ at, label }) => [
        drawn("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }),
        drawn("text", { class: "tick y", x: left - 6, y: at + 4 }, label),
      ]),
      ...told.x_ticks.flatMap(({ at, label }) => [
        drawn("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }),
        drawn("text", { class: "tick x", x: at, y: bottom + 18 }, label),
      ]),
    );
  }
  const name = byId("x-name");
  name?.setAttribute("x", String((left + right) / 2));
  say("x-name", told.x_name);
  byId("own-line")?.setAttribute("points", told.own);
  byId("champion-line")?.setAttribute("points", told.champion);
  say("champion-name", told.champion_name);
  show("champion-name", told.champion !== "");
  say("curve-words", told.words);
}

function state(told) {
  if (!root()) return;
  // Another night, or the first: the page is made anew, with that night's links and journal.
  if (told.night !== (root().dataset.live ?? null) || (told.state === "none") !== (root().dataset.state === "none")) {
    // What somebody is typing is not thrown away.
    if (document.querySelector("dialog[open]") || document.activeElement?.matches("input, textarea, select")) show("another", true);
    else location.reload();
    return;
  }
  ahead = told.at - Date.now();
  root().dataset.state = told.state;
  say("heading", told.heading);
  say("stage", told.stage);
  show("stage-time", told.stage_since !== null);
  moment("stage-since", "since", told.stage_since);
  show("problem", told.problem !== null);
  say("problem", told.problem ?? "");
  trial(told.trial);
  curve(told.curve);
  facts("standing", told.standing);
  facts("spend", told.spend);
  say("began", told.began);
  show("since", told.began_at !== null);
  moment("began-since", "since", told.began_at);
  show("until-row", told.until !== null);
  say("until-name", told.until_name);
  say("until", told.until ?? "");
  show("left", told.until_at !== null);
  moment("time-left", "until", told.until_at);
  say("done", told.done);
  lines("next", told.next);
  lines("waiting", told.waiting);
  show("review", told.waiting_count > 0);
  say("waiting-count", String(told.waiting_count));
  tick();
}

const LEVELS = ["info", "warning", "error"];
let after = Number(root()?.dataset.after ?? 0);

function journal(told) {
  if (told.ordinal <= after) return;
  after = told.ordinal;
  if (told.level === "debug") return;
  const list = byId("events");
  if (!list) return;
  const item = made("li", { className: LEVELS.includes(told.level) ? told.level : "info" }, [
    made("time", { textContent: told.clock }),
    " ",
    made("span", { className: "stage", textContent: told.stage }),
    " ",
    made("span", { textContent: told.text }),
  ]);
  list.prepend(item);
  while (list.children.length > MOST_LINES) list.lastElementChild.remove();
  show("events-none", false);
}

let source = null;
let waiting = null;

/** The stream was refused: the night may be gone, or the server full. */
async function refused() {
  waiting = setTimeout(listen, AGAIN);
  try {
    const answer = await fetch("/api/now");
    if (answer.ok) state((await answer.json()).now);
    const why = answer.ok ? "" : ` (${answer.status})`;
    say("connection", ` The server does not keep this page up to date${why}; it is asked again.`);
  } catch {
    say("connection", " The server does not answer; what is shown is as it was.");
  }
}

function rest() {
  clearTimeout(waiting);
  source?.close();
}

function listen() {
  rest();
  if (document.hidden) return;
  const night = root()?.dataset.live;
  const journalOf = night === undefined ? "" : `?night=${encodeURIComponent(night)}&after=${after}`;
  source = new EventSource(`/events${journalOf}`);
  source.addEventListener("open", () => say("connection", ""));
  source.addEventListener("now", (event) => state(JSON.parse(event.data)));
  source.addEventListener("journal", (event) => journal(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // A browser comes again by itself after a broken connection, and not after a refusal.
    if (source.readyState === EventSource.CLOSED) refused();
    else say("connection", " The server does not answer; what is shown is as it was.");
  });
}

if (root()) {
  // A page that nobody sees needs no connection, of which a browser has few; seen again, it goes on where it was.
  document.addEventListener("visibilitychange", listen);
  // A page that comes back out of the browser's memory has lost its connection.
  addEventListener("pageshow", (event) => event.persisted && listen());
  addEventListener("pagehide", rest);
  setInterval(tick, 1000);
  tick();
  listen();
}
