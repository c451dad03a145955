//! A short real night from a fresh clone, with a look at everything that it must leave behind: JSON, branches, database,
//! pictures, and a clone that is as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::steps;

const CAMPAIGN: &str = "experiments/quickstart";
const EXPERIMENTS: usize = 2;

/// Distinct places that an audit looks at, at least: 64 cuts are drawn, and some of them fall on the same place.
const CUTS: u64 = 50;

/// Bits per byte by which two means of the quickstart may differ for no reason.
const NOISE: f64 = 0.1;

/// Runs the night and checks it.
pub fn short() -> Result<(), String> {
    let agent = steps::agent()?;
    let clone = Clone::new(steps::root()?, "ci-night")?;
    clone.shorten()?;
    let before = clone.state()?;
    let began = Instant::now();
    let count = EXPERIMENTS.to_string();
    let said = steps::answer(
        "A short night",
        // The playbook's ideas are proven to compile and to train, so nothing but a fault of the loop can fail here.
        Command::new(&agent)
            .args(["night", CAMPAIGN, "--experiments", &count, "--proposer", "playbook", "--json"])
            .current_dir(&clone.0),
    )?;
    eprintln!("==> A short night: done after {:.0} s", began.elapsed().as_secs_f64());
    let document: Value = said
        .trim()
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .or_else(|| serde_json::from_str(&said).ok())
        .ok_or_else(|| format!("night --json did not end with a JSON document but with: {}", tail(&said)))?;
    let night = check(&document)?;
    clone.check_branches(&document)?;
    clone.check_records(&night, &document)?;
    clone.check_certificates(&agent, &night)?;
    clone.check_builds(&night)?;
    let after = clone.state()?;
    if before != after {
        return Err(format!("the night changed the clone.\nBefore:\n{before}\nAfter:\n{after}"));
    }
    eprintln!("==> The night {night} left {EXPERIMENTS} experiments, their branches, records and pictures");
    Ok(())
}

/// A clone of the last commit. It stays in the target folder until the next run, for a look; its build slots, half a gigabyte,
/// do not.
pub struct Clone(PathBuf);

impl Clone {
    pub fn new(root: &Path, name: &str) -> Result<Self, String> {
        let folder = root.join("target").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
        }
        let arguments = ["clone", "--quiet", "--no-hardlinks"];
        let quiet = ["-c", "advice.detachedHead=false"];
        steps::run("Clone the last commit", Command::new("git").args(quiet).args(arguments).arg(root).arg(&folder))?;
        // A checkout without a branch, as continuous integration likes them, gives a clone without one, and a night wants one.
        steps::run(
            "Give it a branch",
            Command::new("git").args(["switch", "--quiet", "--force-create", "night-of-xtask"]).current_dir(&folder),
        )?;
        Ok(Self(folder))
    }

    /// A candidate's build compiles the edited crate and nothing else: what takes minutes was built with the night's start.
    fn check_builds(&self, night: &str) -> Result<(), String> {
        for number in 1..=EXPERIMENTS {
            let log = self.0.join(".nocturne/nights").join(night).join(number.to_string()).join("build.log");
            let text = fs::read_to_string(&log).map_err(|error| format!("cannot read {}: {error}", log.display()))?;
            let compiled: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("Compiling ")).collect();
            if compiled.is_empty() || compiled.iter().any(|package| !package.starts_with("trainer ")) {
                return Err(format!(
                    "{}: the build of a candidate compiled {compiled:?}, not the trainer alone",
                    log.display()
                ));
            }
        }
        Ok(())
    }

    /// What else runs on this machine would only make trials run again: a busy one must not fail the check. And a few seeds, held-out texts
    /// and cuts are enough to see that each kind of trial works; the tests `cheats` and `honest` audit at as many cuts as the campaign.
    pub fn shorten(&self) -> Result<(), String> {
        let path = self.0.join(CAMPAIGN).join("campaign.toml");
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some(("most_foreign_load", _)) => "most_foreign_load = 1",
            Some(("champion_seeds", _)) => "champion_seeds = 2",
            Some(("most_trials", _)) => "most_trials = 2",
            Some(("morning_pairs", _)) => "morning_pairs = 2",
            Some(("search_rows", _)) => "search_rows = 64",
            Some(("sealed_rows", _)) => "sealed_rows = 64",
            Some(("cuts", _)) => "cuts = 64",
            _ => line,
        });
        let changed = lines.collect::<Vec<_>>().join("\n");
        if changed.trim_end() == text.trim_end() {
            return Err(format!("{} sets no most_foreign_load", path.display()));
        }
        fs::write(&path, changed).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// What of the person's a night must not touch: HEAD, the current branch, the index and the files.
    pub fn state(&self) -> Result<String, String> {
        let mut state = String::new();
        for arguments in [&["rev-parse", "HEAD"][..], &["symbolic-ref", "-q", "HEAD"], &["status", "--porcelain"]] {
            let output = Command::new("git").args(arguments).current_dir(&self.0).output();
            let output = output.map_err(|error| format!("cannot start git: {error}"))?;
            state.push_str(&String::from_utf8_lossy(&output.stdout));
        }
        Ok(state)
    }

    /// What git prints.
    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("git").args(arguments).current_dir(&self.0).output();
        let output = output.map_err(|error| format!("cannot start git: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Every experiment's branch leads to its commit, which has a note, and the champion's branch to the champion.
    fn check_branches(&self, document: &Value) -> Result<(), String> {
        let champion = format!("nocturne/{}/{}/champion", text(document, "campaign")?, text(document, "night")?);
        let mut branches = vec![(champion, text(&document["champion"], "commit")?)];
        for experiment in document["experiments"].as_array().into_iter().flatten() {
            branches.push((text(experiment, "branch")?.to_owned(), text(experiment, "commit")?));
            let commit = text(experiment, "commit")?;
            if self.git(&["notes", "--ref=nocturne", "show", commit])?.is_empty() {
                return Err(format!("the experiment's commit {commit} has no note"));
            }
        }
        for (branch, commit) in branches {
            let found = self.git(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")])?;
            if found != commit {
                return Err(format!("the branch {branch} should lead to {commit} and leads to {found:?}"));
            }
        }
        Ok(())
    }

    /// Every trial was confined and audited, and its certificate says so.
    fn check_certificates(&self, agent: &Path, night: &str) -> Result<(), String> {
        for number in 0..=EXPERIMENTS {
            let id = format!("{night}/{number}");
            let mut show = Command::new(agent);
            let said = steps::answer("Show a certificate", show.args(["show", &id, "--json"]).current_dir(&self.0))?;
            let shown: Value = serde_json::from_str(&said).map_err(|error| format!("show --json of {id}: {error}"))?;
            let trials = shown["trials"].as_array().ok_or_else(|| format!("{id} has no list of trials"))?;
            // What a fault of the machine or the loop itself ended was never evaluated.
            let finished: Vec<&Value> = trials.iter().filter(|trial| trial["trained"]["end"] == "finished").collect();
            if finished.is_empty() {
                return Err(format!("experiment {id} has no trial that finished"));
            }
            for trial in finished {
                let certificate = &trial["certificate"];
                let sandbox = text(certificate, "sandbox")?;
                let checks = certificate["checks"].as_array().ok_or_else(|| format!("{id} lists no checks"))?;
                let failed = checks.iter().find(|check| check["passed"] != Value::Bool(true));
                let cuts = certificate["audit"]["cuts"].as_u64();
                if sandbox.starts_with("off")
                    || checks.len() < 5
                    || failed.is_some()
                    || cuts.is_none_or(|cuts| cuts < CUTS)
                {
                    return Err(format!("an honest trial of {id} has this certificate: {certificate}"));
                }
            }
        }
        Ok(())
    }

    /// The database, the pictures and the loss curves.
    fn check_records(&self, night: &str, document: &Value) -> Result<(), String> {
        let report = self.0.join(CAMPAIGN).join("nights").join(night);
        let mut files = vec![self.0.join(".nocturne/nocturne.db")];
        let nights = self.0.join(".nocturne/nights").join(night);
        files.push(nights.join("0/trial-1/curve.jsonl"));
        for experiment in document["experiments"].as_array().into_iter().flatten() {
            let experiment = experiment["number"].as_u64().ok_or("an experiment has no `number`")?;
            files.push(nights.join(format!("{experiment}/trial-1/curve.jsonl")));
        }
        files.extend(["progress.svg", "progress.png", "results.tsv", "report.html"].map(|name| report.join(name)));
        for file in files {
            let size = fs::metadata(&file).map(|metadata| metadata.len()).unwrap_or(0);
            if size == 0 {
                return Err(format!("the night left no {}", file.display()));
            }
        }
        Ok(())
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let slots = self.0.join(".nocturne/slots");
        match fs::remove_dir_all(&slots) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("cannot remove {}: {error}", slots.display());
            }
            _ => {}
        }
    }
}

/// Checks the closing document and returns the night's name.
fn check(document: &Value) -> Result<String, String> {
    let night = text(document, "night")?.to_owned();
    let baseline = number(&document["baseline"], "val_bpb")?;
    let champion = number(&document["champion"], "val_bpb")?;
    // Guessing costs about 3.5 bits per byte with this tokenizer; good compressors of source code need about 1.
    // A champion may be worse by as much as a change that only removes code is allowed to be, and each has seeds of its own.
    if !(0.5..4.0).contains(&baseline) || champion > baseline + NOISE {
        return Err(format!("bits per byte cannot be right: baseline {baseline}, champion {champion}"));
    }
    commit(&document["champion"])?;
    let experiments = document["experiments"].as_array().ok_or("`experiments` is not a list")?;
    // The morning adds what leaves one of the kept changes out.
    let proposed = experiments.iter().filter(|experiment| experiment["proposer"] != "leave-one-out").count();
    if proposed != EXPERIMENTS {
        return Err(format!("{proposed} experiments were run instead of {EXPERIMENTS}"));
    }
    for experiment in experiments {
        for key in ["id", "title"] {
            if experiment[key].is_null() {
                return Err(format!("an experiment has no `{key}`: {experiment}"));
            }
        }
        commit(experiment)?;
        let verdict = text(experiment, "verdict")?;
        if !matches!(verdict, "kept" | "discarded" | "inconclusive") {
            return Err(format!("an experiment of the playbook is {verdict:?}: {experiment}"));
        }
        if !(0.5..4.0).contains(&number(experiment, "val_bpb")?)
            || verdict == "kept" && number(experiment, "difference")? > NOISE
        {
            return Err(format!("the verdict cannot be right: {experiment}"));
        }
    }
    let (total, training) = (number(&document["seconds"], "total")?, number(&document["seconds"], "training")?);
    if !(training > 0.0 && training < total) {
        return Err(format!("seconds cannot be right: total {total}, training {training}"));
    }
    Ok(night)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("`{key}` is not a text in {value}"))
}

fn number(value: &Value, key: &str) -> Result<f64, String> {
    value[key].as_f64().filter(|number| number.is_finite()).ok_or_else(|| format!("`{key}` is not a number in {value}"))
}

fn commit(value: &Value) -> Result<(), String> {
    let commit = text(value, "commit")?;
    let fits = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(()) } else { Err(format!("{commit:?} is not a commit")) }
}

fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(299).map_or(0, |(start, _)| start);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        let experiment = |verdict: &str, bpb: Option<f64>| {
            json!({"id": "n/1", "branch": "nocturne/q/n/1-a", "commit": "a".repeat(40), "title": "t", "verdict": verdict,
                   "val_bpb": bpb, "difference": bpb.map(|bpb| bpb - 2.0)})
        };
        json!({"night": "n", "baseline": {"val_bpb": 2.0}, "champion": {"val_bpb": 1.9, "commit": "b".repeat(40)},
               "experiments": [experiment("kept", Some(1.9)), experiment("discarded", Some(2.5))],
               "seconds": {"total": 100.0, "training": 60.0}})
    }

    #[test]
    fn a_whole_document_passes() {
        assert_eq!(check(&good()), Ok("n".to_owned()));
    }

    #[test]
    fn a_document_that_cannot_be_right_does_not() {
        for (pointer, value) in [
            ("/night", Value::Null),
            ("/baseline/val_bpb", json!(0.1)),
            ("/baseline/val_bpb", json!(1.7)),
            ("/champion/val_bpb", Value::Null),
            ("/champion/commit", json!("abc")),
            ("/experiments", json!([])),
            ("/experiments/0/difference", json!(0.5)),
            ("/experiments/0/difference", Value::Null),
            ("/experiments/1/verdict", json!("good")),
            ("/experiments/1/verdict", json!("crashed")),
            ("/experiments/1/verdict", json!("unbuildable")),
            ("/experiments/1/val_bpb", Value::Null),
            ("/experiments/1/val_bpb", json!(0.1)),
            ("/experiments/0/val_bpb", Value::Null),
            ("/experiments/1/title", Value::Null),
            ("/seconds/training", json!(101)),
        ] {
            let mut document = good();
            *document.pointer_mut(pointer).unwrap() = value;
            assert!(check(&document).is_err(), "{pointer} was not checked");
        }
    }

    #[test]
    fn a_tail_is_cut_between_characters() {
        assert_eq!(tail("short"), "short");
        assert_eq!(tail(&"ä".repeat(400)).chars().count(), 300);
    }
}
