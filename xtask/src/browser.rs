//! `cargo xtask browser`: the pages in a real headless Chromium. What is started, filled and looked for in the repository is here; what the
//! browser does is `xtask/browser/*.mjs`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::pretend::Pretended;
use crate::scale::{Data, remove};
use crate::serve::Server;
use crate::steps;

/// Names under which distributions install it.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Names another one.
const OTHER_CHROMIUM: &str = "NOCTURNE_CHROMIUM";

/// Milliseconds to the first paint.
const MOST_PAINT: u32 = 1_000;

/// What the browser's parts share.
struct Browser {
    scripts: PathBuf,
    modules: PathBuf,
    program: PathBuf,
    pictures: PathBuf,
}

/// All parts, or the one named. `is_short`: a few small nights instead of ten thousand experiments, for every change.
pub fn parts(is_short: bool, only: Option<&str>) -> Result<(), String> {
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    let browser = Browser::prepare()?;
    let agent = if is_short { steps::agent()? } else { steps::optimised_agent()? };
    if only.is_none() {
        remove(&browser.pictures)?;
    }
    let began = Instant::now();
    let few = ["--nights", "5", "--experiments", "24", "--points", "200", "--long", "150"];
    let many = ["--nights", "100", "--experiments", "100", "--points", "300", "--long", "1000"];
    if wanted("pages") {
        let data = if is_short { Data::fill("browser-nights", &few)? } else { Data::fill("scale", &many)? };
        browser.pages(&agent, &data, is_short)?;
    }
    if wanted("review") {
        // A review changes what it looks at, so that it has nights of its own, made anew each time.
        remove(&steps::root()?.join("target/browser-review"))?;
        browser.review(&agent, &Data::fill("browser-review", &few)?)?;
    }
    if wanted("live") {
        browser.live(&agent)?;
    }
    eprintln!(
        "==> The pages in a browser: done after {:.0} s; pictures are in {}",
        began.elapsed().as_secs_f64(),
        browser.pictures.display()
    );
    Ok(())
}

impl Browser {
    fn prepare() -> Result<Self, String> {
        let root = steps::root()?;
        let scripts = root.join("xtask/browser");
        let modules = root.join("target/browser-modules");
        let pictures = root.join("target/browser");
        let program = chromium()?;
        install(&scripts, &modules)?;
        Ok(Self { scripts, modules, program, pictures })
    }

    fn part(&self, part: &str, options: &Value) -> Command {
        let mut command = Command::new("node");
        command.arg(self.scripts.join("run.mjs")).arg(part).arg(options.to_string());
        command.env("BROWSER_MODULES", &self.modules).env("BROWSER_PROGRAM", &self.program);
        command
    }

    /// Each page, and each without JavaScript.
    fn pages(&self, agent: &Path, data: &Data, few: bool) -> Result<(), String> {
        let ((newest, _), (longest, _)) = (data.newest()?, data.longest()?);
        for night in [newest, longest] {
            steps::answer("Write a report", Command::new(agent).args(["report", night]).current_dir(&data.folder))?;
        }
        let server = Server::start(agent, &data.folder)?;
        let kept = kept(&data.folder, newest)?;
        let best = kept.first().ok_or_else(|| format!("nothing was kept in {newest}"))?;
        let pages = json!({
            "now": "/",
            "nights": "/nights",
            "campaign": "/campaigns/quickstart",
            "night": format!("/nights/{newest}"),
            "night-long": format!("/nights/{longest}"),
            "night-filtered": format!("/nights/{longest}?verdict=kept&sort=-effect&q=rate"),
            "night-nothing": format!("/nights/{newest}?q=nothing-like-it"),
            "experiment": format!("/nights/{newest}/{best}"),
            "experiment-other": format!("/nights/{newest}/3"),
            "start": format!("/nights/{newest}/0"),
            "tree": format!("/nights/{newest}/tree"),
            "tree-long": format!("/nights/{longest}/tree"),
            "review": format!("/nights/{newest}/review"),
            "review-long": format!("/nights/{longest}/review"),
            "morning": format!("/nights/{newest}/report"),
            "compare": format!("/compare?e={newest}/1&e={newest}/{best}&e={longest}/2"),
        });
        let options = json!({ "origin": server.url, "pages": pages, "folder": self.pictures.join("pages"), "mostPaint": MOST_PAINT, "few": few });
        steps::run("Every page", &mut self.part("pages", &options))?;
        let files = self.file(data, newest, few)?;
        steps::run("The morning page as a file", &mut self.part("file", &files))
    }

    /// The morning page as it lies on the disk, where the server's policy does not hold.
    fn file(&self, data: &Data, night: &str, few: bool) -> Result<Value, String> {
        let path = data.folder.join("experiments/quickstart/nights").join(night).join("report.html");
        let path = path.canonicalize().map_err(|error| format!("there is no {}: {error}", path.display()))?;
        Ok(json!({ "path": path, "folder": self.pictures.join("pages"), "mostPaint": MOST_PAINT, "few": few }))
    }

    /// A review by keys and one without JavaScript, and what it leaves in the repository.
    fn review(&self, agent: &Path, data: &Data) -> Result<(), String> {
        let server = Server::start(agent, &data.folder)?;
        let ((newest, _), (longest, _)) = (data.newest()?, data.longest()?);
        let before = branches(&data.folder)?;
        let options = json!({ "origin": server.url, "night": longest, "folder": self.pictures.join("review") });
        let said = steps::answer("A review by keys", &mut self.part("keyboard", &options))?;
        print!("{said}");
        let made: Vec<String> = branches(&data.folder)?.difference(&before).cloned().collect();
        let document = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let decided = document.ok_or("the review did not say what it decided")?;
        check_branches(&data.folder, &made, &decided["decisions"])?;
        let pages = json!({
            "now": "/", "nights": "/nights", "night": format!("/nights/{newest}"), "experiment": format!("/nights/{newest}/1"),
            "tree": format!("/nights/{newest}/tree"), "review": format!("/nights/{newest}/review"),
        });
        let options =
            json!({ "origin": server.url, "night": newest, "pages": pages, "folder": self.pictures.join("plain") });
        steps::run("All of it without JavaScript", &mut self.part("plain", &options))
    }

    /// The live page while a night of the pretended trainer runs.
    fn live(&self, agent: &Path) -> Result<(), String> {
        let repository = Pretended::new("browser-live")?;
        let server = Server::start(agent, &repository.folder)?;
        let options = json!({ "origin": server.url, "folder": self.pictures.join("live") });
        eprintln!("==> A night goes on");
        let spawned = self.part("live", &options).stdout(Stdio::piped()).spawn();
        let mut browser = Ended(spawned.map_err(|error| format!("cannot start node: {error}"))?);
        let out = browser.0.stdout.take().ok_or("the browser has no output")?;
        let mut night = None;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| format!("the browser's output broke off: {error}"))?;
            println!("{line}");
            if line == "ready" {
                night = Some(Ended(repository.night(agent, 3)?));
            }
        }
        let status = browser.0.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("the live page failed ({status})"));
        }
        let mut night = night.ok_or("the browser was never ready")?;
        let status = night.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the night failed ({status})")) }
    }
}

/// A process that does not outlive this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn chromium() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os(OTHER_CHROMIUM) {
        return Ok(program.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let named =
        |name: &str| std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    CHROMIUM.into_iter().find_map(named).ok_or_else(|| {
        format!(
            "there is no Chromium on the PATH ({}): `apt-get install chromium` on Debian, or set {OTHER_CHROMIUM} to one",
            CHROMIUM.join(", ")
        )
    })
}

/// The packages of `package-lock.json`, unless those of the same lock are there.
fn install(scripts: &Path, modules: &Path) -> Result<(), String> {
    let read = |path: PathBuf| fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let lock = read(scripts.join("package-lock.json"))?;
    let stamp = modules.join("installed-from.json");
    if fs::read(&stamp).is_ok_and(|found| found == lock) {
        return Ok(());
    }
    let failed = |error| format!("cannot write into {}: {error}", modules.display());
    fs::create_dir_all(modules).map_err(failed)?;
    for name in ["package.json", "package-lock.json"] {
        fs::write(modules.join(name), read(scripts.join(name))?).map_err(failed)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(modules);
    steps::run("Install what drives the browser", &mut npm)
        .map_err(|why| format!("{why}; Node 18 or newer with npm is needed: `apt-get install nodejs npm` on Debian"))?;
    fs::write(&stamp, lock).map_err(failed)
}

/// Experiments of a night that were kept, by number.
fn kept(folder: &Path, night: &str) -> Result<Vec<u32>, String> {
    let path = folder.join(".nocturne/nights").join(night).join("night.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let record: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let moves = record["champions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let numbers = moves.iter().filter_map(|champion| champion["experiment"].as_u64());
    Ok(numbers.filter_map(|number| u32::try_from(number).ok()).filter(|number| *number > 0).collect())
}

fn branches(folder: &Path) -> Result<BTreeSet<String>, String> {
    let arguments = ["for-each-ref", "--format=%(refname)", "refs/heads"];
    Ok(git(folder, &arguments)?.lines().map(str::to_owned).collect())
}

/// What was accepted has a branch on the person's base, whose message has the evidence; what was not has none.
fn check_branches(folder: &Path, made: &[String], decisions: &Value) -> Result<(), String> {
    let accepted: Vec<&String> = decisions
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, choice)| *choice == "accepted")
        .map(|(id, _)| id)
        .collect();
    let [experiment] = accepted[..] else { return Err(format!("one was to be accepted, not {}", accepted.len())) };
    let [branch] = made else { return Err(format!("one branch was to be made, not {made:?}")) };
    let message = git(folder, &["log", "-1", "--format=%B", branch])?;
    for part in
        [format!("Nocturne-Experiment: {experiment}"), "Measured-Effect: ".to_owned(), "Nocturne-Commit: ".to_owned()]
    {
        if !message.contains(&part) {
            return Err(format!("the message of {branch} has no {part:?}:\n{message}"));
        }
    }
    let commits = git(folder, &["rev-list", "--count", &format!("main..{branch}")])?;
    let stands_on = git(folder, &["merge-base", "main", branch])?;
    if commits.trim() != "1" || stands_on != git(folder, &["rev-parse", "main"])? {
        return Err(format!("{branch} has {} commits and stands on {}", commits.trim(), stands_on.trim()));
    }
    eprintln!("==> {branch} is one commit on main, with the evidence of {experiment}");
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("cannot start git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
