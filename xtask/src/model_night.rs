//! `cargo xtask model-server` and `cargo xtask model-night`: a real model server, asked first by the client alone, then by a night.
//!
//! The model is far too small to write an answer that is one. So the night shows what must come of nonsense: every call is on record and
//! counted, nothing is run that did not come of a readable answer, and the night ends as any other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::model_server::{CONTEXT, MODEL, Server};
use crate::night::Clone;
use crate::steps;

const CAMPAIGN: &str = "experiments/quickstart";

/// Experiments that the night may make.
const EXPERIMENTS: &str = "2";

/// What the night is told of the model. Two cores write some ten tokens a second beside a night, so answers are short.
const MODELS: &str = "
[[models]]
name = \"small\"
format = \"openai\"
endpoint = \"ENDPOINT\"
model = \"MODEL\"
context_tokens = CONTEXT
answer_tokens = 300
tools = false
timeout_seconds = 900

[spending]
calls = 8
";

/// Asks the server by the client that nights use.
pub fn server() -> Result<(), String> {
    let server = Server::start()?;
    ask(&server)
}

fn ask(server: &Server) -> Result<(), String> {
    let test = ["test", "--quiet", "--locked", "--package", "nocturne", "--test", "model_server"];
    steps::run(
        "Ask the model server",
        steps::cargo()?
            .args(test)
            .args(["--", "--ignored", "--nocapture", "--test-threads", "1"])
            .env("NOCTURNE_MODEL_SERVER", server.endpoint())
            .env("NOCTURNE_MODEL", MODEL),
    )
}

/// A night whose ideas come from the model, and a look at what it left.
pub fn night() -> Result<(), String> {
    let agent = steps::agent()?;
    let server = Server::start()?;
    let clone = Clone::new(steps::root()?, "model-night")?;
    clone.shorten()?;
    name_model(clone.folder(), &server)?;
    let before = clone.state()?;
    let began = Instant::now();
    let said = steps::answer(
        "A night whose ideas come from the model",
        Command::new(&agent)
            .args(["night", CAMPAIGN, "--experiments", EXPERIMENTS, "--proposer", "models", "--json"])
            .current_dir(clone.folder()),
    )?;
    eprintln!("==> The night ended after {:.0} s", began.elapsed().as_secs_f64());
    drop(server);
    let document: Value = serde_json::from_str(said.trim()).map_err(|error| format!("night --json: {error}"))?;
    let name = document["night"].as_str().ok_or("the night has no name")?;
    let exchanges = exchanges(&clone.folder().join(".nocturne/nights").join(name).join("exchanges"))?;
    let seen = check(&document, &exchanges)?;

    let said = steps::answer(
        "What came of the model's answers",
        Command::new(&agent).args(["models", name, "--json"]).current_dir(clone.folder()),
    )?;
    let told: Value = serde_json::from_str(said.trim()).map_err(|error| format!("models --json: {error}"))?;
    seen.compare(&told["models"][0])?;
    steps::run("The same for people", Command::new(&agent).args(["models", name]).current_dir(clone.folder()))?;
    let after = clone.state()?;
    if before != after {
        return Err(format!("the night changed the clone.\nBefore:\n{before}\nAfter:\n{after}"));
    }
    eprintln!(
        "==> The night {name} ended ({}): {} calls, {} answers, {} failures, {} experiments of the model's",
        seen.ended, seen.calls, seen.answers, seen.failures, seen.experiments
    );
    Ok(())
}

fn name_model(clone: &Path, server: &Server) -> Result<(), String> {
    let path = clone.join(CAMPAIGN).join("campaign.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let models = MODELS.replace("ENDPOINT", &server.endpoint()).replace("MODEL", MODEL).replace("CONTEXT", CONTEXT);
    fs::write(&path, text + &models).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Everything that the model was asked and answered, as recorded.
fn exchanges(folder: &Path) -> Result<Vec<Value>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let mut exchanges = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut file: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        exchanges.push(file["exchange"].take());
    }
    Ok(exchanges)
}

/// What a night with the model came to.
#[derive(Debug, PartialEq)]
struct Seen {
    ended: String,
    calls: u64,
    answers: usize,
    /// Answers that have a whole block of edits.
    with_edits: usize,
    failures: usize,
    experiments: usize,
}

/// Looks at the night's closing document and at what is on record of the model.
fn check(document: &Value, exchanges: &[Value]) -> Result<Seen, String> {
    let ended = document["ended"].as_str().ok_or("the night does not say how it ended")?;
    if !matches!(ended, "nothing-left" | "experiments-done") {
        return Err(format!("the night did not end well: {ended}"));
    }
    if exchanges.is_empty() {
        return Err("no call of the model is on record".to_owned());
    }
    let answered: Vec<(&Value, &str)> = exchanges
        .iter()
        .filter_map(|exchange| Some((&exchange["number"], exchange["reply"]["answer"]["text"].as_str()?)))
        .collect();
    let failures = exchanges.iter().filter(|exchange| exchange["reply"]["failure"]["kind"].is_string()).count();
    if answered.len() + failures != exchanges.len() {
        return Err("a call is on record with neither an answer nor a failure".to_owned());
    }
    let experiments = document["experiments"].as_array().ok_or("`experiments` is not a list")?;
    for experiment in experiments {
        let title = experiment["title"].as_str().unwrap_or_default();
        if experiment["proposer"] == "leave-one-out" {
            continue;
        }
        if experiment["proposer"] != "models" {
            return Err(format!("{title:?} came from {}, which was not asked", experiment["proposer"]));
        }
        // A model's nonsense is run only if it was none.
        if !answered.iter().any(|(number, text)| **number == experiment["number"] && has_edits(text)) {
            return Err(format!("no answer on record has the edit of {title:?}"));
        }
    }
    let kept = experiments.iter().any(|experiment| experiment["verdict"] == "kept");
    if !kept && document["champion"]["commit"] != document["baseline"]["commit"] {
        return Err("nothing was kept, and the champion is another than at the start".to_owned());
    }
    let calls = exchanges.iter().filter_map(|exchange| exchange["spent"]["calls"].as_u64()).sum();
    let experiments = experiments.iter().filter(|experiment| experiment["proposer"] == "models").count();
    let with_edits = answered.iter().filter(|(_, text)| has_edits(text)).count();
    Ok(Seen { ended: ended.to_owned(), calls, answers: answered.len(), with_edits, failures, experiments })
}

/// Whether an answer has a whole block of edits, be they what they may.
fn has_edits(answer: &str) -> bool {
    answer.contains("<<<<<<< SEARCH") && answer.contains(">>>>>>> REPLACE")
}

impl Seen {
    /// What `nocturne models` tells must be what is on record.
    fn compare(&self, told: &Value) -> Result<(), String> {
        let failures: u64 =
            told["failed"].as_object().into_iter().flat_map(|kinds| kinds.values()).filter_map(Value::as_u64).sum();
        let same = told["calls"] == self.calls
            && told["answers"] == self.answers
            && failures == self.failures as u64
            // Nothing is applied that no answer has, and nothing is run that was not applied.
            && told["applied"]
                .as_u64()
                .is_some_and(|applied| (self.experiments as u64..=self.with_edits as u64).contains(&applied));
        if same { Ok(()) } else { Err(format!("on record are {self:?}, and `nocturne models` tells {told}")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn night() -> (Value, Vec<Value>) {
        let edit = "Title: x\n\na.rs\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n";
        let exchange = |number: u32, reply: Value| json!({ "number": number, "reply": reply, "spent": { "calls": 1 } });
        let document = json!({
            "ended": "experiments-done",
            "baseline": { "commit": "a" },
            "champion": { "commit": "a" },
            "experiments": [{ "number": 1, "title": "x", "proposer": "models", "verdict": "discarded" }],
        });
        let exchanges = vec![
            exchange(1, json!({ "answer": { "text": "Yes." } })),
            exchange(1, json!({ "answer": { "text": edit } })),
            exchange(2, json!({ "failure": { "kind": "empty", "words": "" } })),
        ];
        (document, exchanges)
    }

    #[test]
    fn a_night_that_counted_everything_passes() {
        let (document, exchanges) = night();
        let seen = check(&document, &exchanges).unwrap();
        let expected = Seen {
            ended: "experiments-done".to_owned(),
            calls: 3,
            answers: 2,
            with_edits: 1,
            failures: 1,
            experiments: 1,
        };
        assert_eq!(seen, expected);
        let told = json!({ "calls": 3, "answers": 2, "failed": { "empty": 1 }, "applied": 1 });
        assert_eq!(seen.compare(&told), Ok(()));
        for (field, value) in [("calls", 2), ("answers", 3), ("applied", 0), ("applied", 2)] {
            let mut told = told.clone();
            told[field] = json!(value);
            assert!(seen.compare(&told).is_err(), "{field}");
        }
    }

    #[test]
    fn what_came_of_nothing_does_not() {
        for (pointer, value) in [
            ("/ended", json!("failed: the champion is invalid")),
            ("/champion/commit", json!("b")),
            ("/experiments/0/proposer", json!("playbook")),
            ("/experiments/0/number", json!(2)),
        ] {
            let (mut document, exchanges) = night();
            *document.pointer_mut(pointer).unwrap() = value;
            assert!(check(&document, &exchanges).is_err(), "{pointer} was not checked");
        }
        let (document, mut exchanges) = night();
        assert!(check(&document, &[]).is_err());
        exchanges[0]["reply"] = json!({});
        assert!(check(&document, &exchanges).is_err());
    }
}
