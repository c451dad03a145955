//! `cargo xtask recorded-night`: a quickstart night on a record of a language model's answers, which must improve the quickstart; and the same
//! night replayed without any server, which must propose the same and improve it again.
//!
//! The answers in `xtask/recorded/` were written by a language model to the brief of this campaign. One of them first looks around with tools, and
//! one names a line that is not there and is mended in the next.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::night::Clone;
use crate::recorded_server::{Server, answers};
use crate::steps;

const CAMPAIGN: &str = "experiments/quickstart";

/// The pairs of runs that the morning's claim rests on, as the campaign has them and as this night does. Runs of 20 s scatter so much that four
/// pairs left a gain of 0.19 bits per byte at p = 0.014; what a claim must show stays as it is.
const PAIRS: (&str, &str) = ("morning_pairs = 4", "morning_pairs = 8");

/// What the night is told of the model.
const MODEL: &str = "
[[models]]
name = \"recorded\"
format = \"openai\"
endpoint = \"ENDPOINT\"
model = \"recorded\"
context_tokens = 100_000
answer_tokens = 4_000
tools = true
";

/// Both nights.
pub fn night() -> Result<(), String> {
    let agent = steps::agent()?;
    let root = steps::root()?;
    let record = answers(&root.join("xtask/recorded"))?;
    let calls = record.len();
    let ideas = record.iter().filter_map(|answer| answer.title().map(str::to_owned)).collect::<Vec<_>>();
    let clone = Clone::new(root, "recorded-night")?;
    let server = Server::start(record)?;
    name_model(clone.folder(), &server)?;

    let count = ideas.len().to_string();
    let first = run(&agent, clone.folder(), "A night on the recorded answers", &count, &["--proposer", "models"])?;
    if server.asked() != calls {
        return Err(format!("{} of {calls} recorded answers were asked for", server.asked()));
    }
    drop(server);
    let found = improved(&first)?;
    let proposed = proposals(&first)?;
    let titles: Vec<&str> = proposed.iter().map(|proposal| proposal.title.as_str()).collect();
    if titles != ideas {
        return Err(format!("the night tested {titles:?} instead of {ideas:?}"));
    }

    // The server is gone: only the first night's record can answer.
    let name = first["night"].as_str().ok_or("the night has no name")?;
    let again = run(&agent, clone.folder(), "The same night from its record", &count, &["--replay", name])?;
    let found_again = improved(&again)?;
    let proposed_again = proposals(&again)?;
    for (then, now) in proposed.iter().zip(&proposed_again) {
        let (then_changed, now_changed) = (changed(clone.folder(), then)?, changed(clone.folder(), now)?);
        if then.title != now.title || then_changed != now_changed {
            return Err(format!("the replay proposed {now:?}:\n{now_changed}\ninstead of {then:?}:\n{then_changed}"));
        }
    }
    if proposed.len() != proposed_again.len() {
        return Err(format!("the replay proposed {} changes instead of {}", proposed_again.len(), proposed.len()));
    }
    if !proposed.iter().zip(&proposed_again).any(|(then, now)| then.kept && now.kept) {
        return Err("nothing was kept in both nights".to_owned());
    }
    eprintln!("==> Improved, and improved again from the record.\n    {found}\n    {found_again}");
    Ok(())
}

/// The lines that a proposal's commit removes and adds.
fn changed(clone: &Path, proposal: &Proposed) -> Result<String, String> {
    let show = ["show", "--format=", "--unified=0", &proposal.commit];
    let diff = steps::answer("What a commit changes", Command::new("git").args(show).current_dir(clone))?;
    Ok(diff.lines().filter(|line| line.starts_with(['+', '-'])).collect::<Vec<_>>().join("\n"))
}

fn run(agent: &Path, clone: &Path, title: &str, experiments: &str, more: &[&str]) -> Result<Value, String> {
    let began = Instant::now();
    let arguments = ["night", CAMPAIGN, "--json", "--experiments", experiments];
    let said = steps::answer(title, Command::new(agent).args(arguments).args(more).current_dir(clone))?;
    eprintln!("==> {title}: done after {:.0} s", began.elapsed().as_secs_f64());
    let night = json(&said, "night --json")?["night"].as_str().ok_or("the night has no name")?.to_owned();
    for what in [&["list"][..], &["show"], &["models"]] {
        steps::run("What it found", Command::new(agent).args(what).arg(&night).current_dir(clone))?;
    }
    let shown =
        steps::answer("With the claim", Command::new(agent).args(["show", &night, "--json"]).current_dir(clone))?;
    json(&shown, "show --json")
}

fn json(text: &str, what: &str) -> Result<Value, String> {
    serde_json::from_str(text.trim()).map_err(|error| format!("{what}: {error}"))
}

/// Names the model in the clone's campaign, and gives the morning more pairs.
fn name_model(clone: &Path, server: &Server) -> Result<(), String> {
    let path = clone.join(CAMPAIGN).join("campaign.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.matches(PAIRS.0).count() != 1 {
        return Err(format!("{} does not say {:?} once", path.display(), PAIRS.0));
    }
    let text = text.replace(PAIRS.0, PAIRS.1);
    fs::write(&path, text + &MODEL.replace("ENDPOINT", &server.endpoint()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// What a night tested.
#[derive(Debug, Clone, PartialEq)]
struct Proposed {
    title: String,
    commit: String,
    kept: bool,
}

/// What was proposed, in order; what the morning adds to measure is no proposal.
fn proposals(document: &Value) -> Result<Vec<Proposed>, String> {
    let experiments = document["experiments"].as_array().ok_or("`experiments` is not a list")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let proposed = experiments.iter().filter(|experiment| experiment["proposer"] != "leave-one-out");
    let proposal = |experiment: &Value| Proposed {
        title: text(&experiment["title"]),
        commit: text(&experiment["commit"]),
        kept: experiment["verdict"] == "kept",
    };
    Ok(proposed.map(proposal).collect())
}

/// What was gained, in words; an error unless something was kept and the morning's claim for it holds.
fn improved(document: &Value) -> Result<String, String> {
    let kept: Vec<String> =
        proposals(document)?.into_iter().filter(|proposal| proposal.kept).map(|proposal| proposal.title).collect();
    let claim = &document["claim"];
    if kept.is_empty() || claim["holds"] != Value::Bool(true) {
        return Err(format!("kept: {kept:?}; the morning's claim: {claim}"));
    }
    Ok(format!("{} kept ({}); the claim {}", kept.len(), kept.join("; "), claim["words"].as_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_improvement_is_kept_and_claimed() {
        let mut document = json!({
            "experiments": [
                { "title": "a", "verdict": "kept", "proposer": "models" },
                { "title": "Without: a", "verdict": "discarded", "proposer": "leave-one-out" },
                { "title": "b", "verdict": "discarded", "proposer": "models" },
            ],
            "claim": { "holds": true, "words": "better by 0.1" },
        });
        assert_eq!(improved(&document), Ok("1 kept (a); the claim better by 0.1".to_owned()));
        let titles: Vec<String> = proposals(&document).unwrap().into_iter().map(|proposal| proposal.title).collect();
        assert_eq!(titles, ["a", "b"]);
        document["claim"]["holds"] = json!(false);
        assert!(improved(&document).is_err());
        document["claim"]["holds"] = json!(true);
        document["experiments"][0]["verdict"] = json!("discarded");
        assert!(improved(&document).is_err());
    }
}
