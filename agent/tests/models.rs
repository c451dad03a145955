//! Whole nights with a pretended trainer and a pretended language model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::Fixture;
use wiremock::matchers::{body_partial_json, method};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// An answer that does not come.
const HANGS: &str = "(hangs)";

/// Begins an answer that checks edits instead of proposing them.
const CHECKS: &str = "(checks)";

const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// Gives these answers, one after the other, then refuses.
#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<String>>>);

impl Respond for Script {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        assert_eq!(request.headers["authorization"], "Bearer sk-of-a-test");
        let (text, finish) = match self.0.lock().unwrap().pop_front() {
            Some(text) => (text, "stop"),
            None => (String::new(), "content_filter"),
        };
        let mut said = json!({ "choices": [{ "delta": { "content": text }, "finish_reason": finish }] });
        if let Some(edits) = text.strip_prefix(CHECKS) {
            let function = json!({ "name": "check", "arguments": json!({ "edits": edits }).to_string() });
            let calls = json!([{ "index": 0, "id": "call-1", "type": "function", "function": function }]);
            said = json!({ "choices": [{ "delta": { "tool_calls": calls }, "finish_reason": "tool_calls" }] });
        }
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 2_000, "completion_tokens": 100 } });
        let delay = if text == HANGS { Duration::from_secs(600) } else { Duration::ZERO };
        let body = format!("data: {said}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
        ResponseTemplate::new(200).set_body_raw(body, "text/event-stream").set_delay(delay)
    }
}

async fn server(answers: &[String]) -> MockServer {
    let mock = MockServer::start().await;
    let script = Script(Arc::new(Mutex::new(answers.iter().cloned().collect())));
    Mock::given(method("POST")).respond_with(script).mount(&mock).await;
    mock
}

fn block(search: &str, replace: &str) -> String {
    format!("{RECIPE}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n")
}

fn answer(title: &str, family: &str, search: &str, replace: &str) -> String {
    let lines =
        format!("Title: {title}\nHypothesis: It should help.\nFamily: {family}\nPredicted: -0.01\nConfidence: 0.6\n");
    format!("{lines}Edits: 1\n\n{}", block(search, replace))
}

/// A campaign that asks one model, named `pretended`.
fn fixture(endpoint: &str, proposers: &str) -> Fixture {
    let fixture = Fixture::new();
    let campaign = "experiments/pretend/campaign.toml";
    fixture.replace(campaign, "proposers = [\"tuner\"]", &format!("proposers = {proposers}"));
    let text = std::fs::read_to_string(fixture.root().join(campaign)).unwrap();
    fixture.write(
        campaign,
        &format!(
            "{text}\n[[models]]\nname = \"pretended\"\nformat = \"openai\"\nendpoint = \"{endpoint}\"\nmodel = \"m\"\n\
             key_env = \"PRETENDED_KEY\"\ncontext_tokens = 32000\nanswer_tokens = 2000\ninput_price = 1.0\noutput_price = 2.0\n\n[spending]\ncalls = 100\n"
        ),
    );
    fixture.commit("Ask a model");
    fixture
}

/// Runs `nocturne`, which must succeed, while the server of this process answers.
async fn json(fixture: &Arc<Fixture>, arguments: &[&str]) -> Value {
    json_with(fixture, arguments, Some("sk-of-a-test")).await
}

async fn json_with(fixture: &Arc<Fixture>, arguments: &[&str], key: Option<&'static str>) -> Value {
    let fixture = Arc::clone(fixture);
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = fixture.nocturne(&arguments).envs(key.map(|key| ("PRETENDED_KEY", key))).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "nocturne {arguments:?}: {told}");
        assert!(!told.contains("sk-of-a-test"), "{told}");
        serde_json::from_slice(&output.stdout).unwrap()
    })
    .await
    .unwrap()
}

/// Proposer, title and diff of each experiment of a night.
async fn proposed(fixture: &Arc<Fixture>, night: &Value) -> Vec<(String, String, String)> {
    let mut told = Vec::new();
    for experiment in night["experiments"].as_array().unwrap() {
        if experiment["proposer"] == "leave-one-out" {
            continue;
        }
        let shown = json(fixture, &["show", experiment["id"].as_str().unwrap(), "--json"]).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        told.push((text(&experiment["proposer"]), text(&experiment["title"]), text(&shown["diff"])));
    }
    told
}

/// Title and changed lines of each.
fn edits(told: &[(String, String, String)]) -> Vec<(String, Vec<String>)> {
    let changed = |diff: &str| {
        diff.lines()
            .filter(|line| line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---"))
            .map(str::to_owned)
            .collect()
    };
    told.iter().map(|(_, title, diff)| (title.clone(), changed(diff))).collect()
}

/// Asks a second model besides, at the same server.
fn and_another(fixture: &Fixture) {
    let campaign = "experiments/pretend/campaign.toml";
    let text = std::fs::read_to_string(fixture.root().join(campaign)).unwrap();
    let from = text.find("[[models]]").unwrap();
    let to = text.find("[spending]").unwrap();
    let another = text[from..to].replace("\"pretended\"", "\"another\"").replace("\"m\"", "\"n\"");
    fixture.write(campaign, &text.replace("[spending]", &format!("{another}[spending]")));
    fixture.commit("Ask another model");
}

/// The replay is killed and gone on with, without being told again what it replays, and nobody has a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_two_models_is_replayed_in_its_order() {
    let mock = MockServer::start().await;
    // Three ideas between them, so that both are asked, whoever is drawn first.
    let ideas = [
        ("m", vec![("matrix_rate: 0.04,", "matrix_rate: 0.05,")]),
        ("n", vec![("softcap: 15.0,", "softcap: 17.0,"), ("embedding_rate: 0.6,", "embedding_rate: 0.5,")]),
    ];
    for (model, changes) in ideas {
        let idea = |(from, to): &(&str, &str)| {
            let family = from.split(':').next().unwrap();
            answer(&format!("Try {to}"), family, &format!("            {from}"), &format!("            {to}"))
        };
        let script = Script(Arc::new(Mutex::new(changes.iter().map(idea).collect())));
        Mock::given(body_partial_json(json!({ "model": model }))).respond_with(script).mount(&mock).await;
    }
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    and_another(&fixture);
    let night = json(&fixture, &["night", "experiments/pretend", "--experiments", "3", "--json"]).await;
    let told = proposed(&fixture, &night).await;
    assert_eq!(told.len(), 3);
    let asked: std::collections::BTreeSet<String> =
        calls(&fixture).iter().map(|call| call["model"].to_string()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    drop(mock);

    let name = night["night"].as_str().unwrap();
    let arguments = ["night", "experiments/pretend", "--replay", name, "--experiments", "3", "--json"];
    let mut killed = fixture.nocturne(&arguments).spawn().unwrap();
    let before = calls(&fixture).len();
    while calls(&fixture).len() == before {
        assert!(killed.try_wait().unwrap().is_none(), "the replay ended before anything was heard");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let again = json_with(&fixture, &["night", "experiments/pretend", "--resume", "--json"], None).await;
    assert_eq!(edits(&proposed(&fixture, &again).await), edits(&told));
}

/// Where a model is all there is and cannot be reached, what the person wants tried needs no model.
#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_the_person_waits_for_no_model() {
    let fixture = Arc::new(fixture("http://127.0.0.1:9", "[\"models\"]"));
    let patch = fixture.root().join("idea.diff");
    fixture.replace(RECIPE, "            embedding_rate: 0.6,", "            embedding_rate: 0.5,");
    std::fs::write(&patch, fixture.git(&["diff"])).unwrap();
    fixture.git(&["checkout", "--quiet", "--", "."]);
    let theirs = Arc::clone(&fixture);
    let night =
        tokio::spawn(
            async move { json(&theirs, &["night", "experiments/pretend", "--experiments", "1", "--json"]).await },
        );
    // It has tried to reach the model, as often as it does, and waits.
    while !fixture.root().join(".nocturne/nights").exists() || calls(&fixture).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    json(&fixture, &["queue", "add", "lower the embedding's rate", "--patch", patch.to_str().unwrap(), "--json"]).await;
    let night = night.await.unwrap();
    assert_eq!(proposed(&fixture, &night).await[0].1, "lower the embedding's rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_proposes_repairs_and_works_out_the_persons_words_and_all_of_it_can_be_replayed() {
    let answers = [
        // The person's words.
        answer("Raise the soft cap", "cap", "            softcap: 15.0,", "            softcap: 17.0,"),
        // Does not fit, then does, then does not compile, then does.
        answer("Raise the matrix rate", "rates", "            matrix_rate: 0.4,", "            matrix_rate: nonsense,"),
        block("            matrix_rate: 0.04,", "            matrix_rate: nonsense,"),
        block("            matrix_rate: nonsense,", "            matrix_rate: 0.05,"),
    ];
    let mock = server(&answers).await;
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    let patch = fixture.root().join("idea.diff");
    let line = "            embedding_rate: 0.6,";
    fixture.replace(RECIPE, line, "            embedding_rate: 0.5,");
    std::fs::write(&patch, fixture.git(&["diff"])).unwrap();
    fixture.git(&["checkout", "--quiet", "--", "."]);
    let patch = patch.to_str().unwrap();
    json(&fixture, &["queue", "add", "lower the embedding's rate", "--patch", patch, "--json"]).await;
    json(&fixture, &["queue", "add", "try a higher soft cap", "--json"]).await;

    let night = json(&fixture, &["night", "experiments/pretend", "--json"]).await;
    let told = proposed(&fixture, &night).await;
    let who: Vec<(&str, &str)> = told.iter().map(|(who, title, _)| (who.as_str(), title.as_str())).collect();
    assert_eq!(
        who,
        [
            ("person", "lower the embedding's rate"),
            ("models", "Raise the soft cap"),
            ("models", "Raise the matrix rate")
        ]
    );
    assert!(told[2].2.contains("+            matrix_rate: 0.05,"), "{}", told[2].2);
    let asked: Vec<Value> =
        mock.received_requests().await.unwrap().iter().map(|request| request.body_json().unwrap()).collect();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].to_string().contains("| try a higher soft cap"), "{}", asked[0]);
    assert!(asked[3].to_string().contains("cannot find value `nonsense`"), "{}", asked[3]);
    let queue = json(&fixture, &["queue", "list", "--all", "--json"]).await;
    let states: Vec<&str> = queue.as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done"], "{queue}");

    // Without any server, and with the queue empty: what the model said comes again, in its order.
    drop(mock);
    let name = night["night"].as_str().unwrap();
    let again =
        json(&fixture, &["night", "experiments/pretend", "--replay", name, "--experiments", "2", "--json"]).await;
    let replayed = proposed(&fixture, &again).await;
    assert_eq!(edits(&replayed), edits(&told[1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_a_model_checks_are_compiled_a_few_times_a_turn() {
    let rate = "            matrix_rate: 0.04,";
    let check = |to: &str| format!("{CHECKS}{}", block(rate, &format!("            matrix_rate: {to},")));
    let answers = [
        check("nonsense"),
        check("0.05"),
        check("0.06"),
        check("0.07"),
        answer("Raise the matrix rate", "rates", rate, "            matrix_rate: 0.05,"),
    ];
    let mock = server(&answers).await;
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    let night = json(&fixture, &["night", "experiments/pretend", "--experiments", "1", "--json"]).await;
    assert_eq!(proposed(&fixture, &night).await.len(), 1);
    let requests = mock.received_requests().await.unwrap();
    let last: Value = requests[4].body_json().unwrap();
    let told: Vec<&str> = last["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["role"] == "tool")
        .map(|it| it["content"].as_str().unwrap())
        .collect();
    assert!(told[0].contains("does not compile") && told[0].contains("cannot find value `nonsense`"), "{}", told[0]);
    assert!(told[0].contains("            matrix_rate: nonsense,"), "with the code around it: {}", told[0]);
    assert!(told[1].contains("They compile (") && told[2].contains("They compile ("), "{told:?}");
    assert!(told[3].contains("3 builds were made for this idea already"), "{}", told[3]);
    assert!(!fixture.root().join(".nocturne/slots/check").exists(), "nothing is kept of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_queue_that_come_to_what_was_tried_end_as_that() {
    let answers = [
        answer("Raise the soft cap", "cap", "            softcap: 15.0,", "            softcap: 17.0,"),
        answer("Cap it at seventeen", "other", "            softcap: 15.0,", "            softcap: 17.0,"),
        answer("Raise the matrix rate", "rates", "            matrix_rate: 0.04,", "            matrix_rate: 0.05,"),
    ];
    let mock = server(&answers).await;
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    json(&fixture, &["queue", "add", "try a higher soft cap", "--json"]).await;
    json(&fixture, &["queue", "add", "cap the logits at seventeen", "--json"]).await;
    let night = json(&fixture, &["night", "experiments/pretend", "--experiments", "2", "--json"]).await;
    let told = proposed(&fixture, &night).await;
    assert_eq!(
        told.iter().map(|told| told.1.as_str()).collect::<Vec<_>>(),
        ["Raise the soft cap", "Raise the matrix rate"]
    );
    let queue = json(&fixture, &["queue", "list", "--all", "--json"]).await;
    assert_eq!((&queue[0]["state"], &queue[1]["state"]), (&json!("done"), &json!("refused")), "{queue}");
    let result = queue[1]["result"].as_str().unwrap();
    let first = format!("is experiment {}/1 already (`Raise the soft cap`", night["night"].as_str().unwrap());
    assert!(result.contains(&first), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_goes_on_without_a_model_that_talks_nonsense_and_without_one_that_is_not_there() {
    let nonsense: Vec<String> = (0..40).map(|number| format!("Blah {number}.")).collect();
    let mock = server(&nonsense).await;
    for endpoint in [mock.uri(), "http://127.0.0.1:9".to_owned()] {
        let fixture = Arc::new(fixture(&endpoint, "[\"models\", \"tuner\"]"));
        let night = json(&fixture, &["night", "experiments/pretend", "--experiments", "2", "--json"]).await;
        let told = proposed(&fixture, &night).await;
        assert!(told.len() == 2 && told.iter().all(|(who, ..)| who == "tuner"), "{told:?}");
        assert_eq!(night["ended"], "experiments-done");
    }
}

/// The calls of all nights that were, in their order.
fn calls(fixture: &Fixture) -> Vec<Value> {
    let mut paths = Vec::new();
    for night in std::fs::read_dir(fixture.root().join(".nocturne/nights")).unwrap() {
        // A night that has just begun has none.
        if let Ok(calls) = std::fs::read_dir(night.unwrap().path().join("exchanges")) {
            let calls = calls.map(|call| call.unwrap().path());
            paths.extend(calls.filter(|path| path.extension().is_some_and(|ending| ending == "json")));
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    paths.iter().map(|path| read(path)["exchange"].take()).collect()
}

/// Begins a night and kills it while this call hangs: only then have those before it been answered.
async fn killed_at_call(fixture: &Fixture, mock: &MockServer, call: usize) {
    let arguments = ["night", "experiments/pretend", "--experiments", "1", "--json"];
    let mut night = fixture.nocturne(&arguments).env("PRETENDED_KEY", "sk-of-a-test").spawn().unwrap();
    while mock.received_requests().await.unwrap().len() < call {
        assert!(night.try_wait().unwrap().is_none(), "the night ended before the model was asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    night.kill().unwrap();
    night.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_was_killed_while_a_model_thought_asks_nothing_twice() {
    let answers = [
        answer("Raise the matrix rate", "rates", "            matrix_rate: 0.4,", "            matrix_rate: 0.05,"),
        HANGS.to_owned(),
        block("            matrix_rate: 0.04,", "            matrix_rate: 0.05,"),
    ];
    let mock = server(&answers).await;
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    killed_at_call(&fixture, &mock, 2).await;
    // The second may have to be paid.
    let calls = calls(&fixture);
    assert!(
        calls.len() == 2 && calls[1]["reply"]["failure"]["words"].as_str().unwrap().contains("was ended"),
        "{calls:?}"
    );
    assert!(calls[1]["spent"]["tokens"].as_u64().unwrap() > 2_000, "{}", calls[1]);
    let night = json(&fixture, &["night", "experiments/pretend", "--resume", "--experiments", "1", "--json"]).await;
    let told = proposed(&fixture, &night).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].1 == "Raise the matrix rate" && told[0].2.contains("+            matrix_rate: 0.05,"), "{told:?}");
    assert_eq!(mock.received_requests().await.unwrap().len(), 3);
    assert_eq!(self::calls(&fixture).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_paid_before_a_kill_is_not_booked_on_an_idea_that_was_queued_since() {
    let answers = [
        answer("Raise the matrix rate", "rates", "            matrix_rate: 0.4,", "            matrix_rate: 0.05,"),
        HANGS.to_owned(),
        answer("Raise the soft cap", "cap", "            softcap: 15.0,", "            softcap: 17.0,"),
    ];
    let mock = server(&answers).await;
    let fixture = Arc::new(fixture(&mock.uri(), "[\"models\"]"));
    killed_at_call(&fixture, &mock, 2).await;
    json(&fixture, &["queue", "add", "try a higher soft cap", "--json"]).await;
    let night = json(&fixture, &["night", "experiments/pretend", "--resume", "--experiments", "1", "--json"]).await;
    assert_eq!(proposed(&fixture, &night).await[0].1, "Raise the soft cap");
    let asked: Vec<Value> =
        mock.received_requests().await.unwrap().iter().map(|request| request.body_json().unwrap()).collect();
    let last = &asked[2];
    assert!(
        last.to_string().contains("| try a higher soft cap") && !last.to_string().contains("0 of your 1 blocks"),
        "{last}"
    );
    let queue = json(&fixture, &["queue", "list", "--all", "--json"]).await;
    assert_eq!(queue[0]["state"], "done", "{queue}");
}
