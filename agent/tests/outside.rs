//! From outside to a verdict: whole nights, with a pretended trainer, whose experiments come from a scripted coding agent and from an MCP
//! client.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use nocturne::campaign;
use nocturne::layout::Layout;
use nocturne::mcp::{Desk, serve};
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::RoleClient;
use rmcp::transport::IntoTransport;
use serde_json::{Value, json};
use support::Fixture;

/// An agent that reads its brief, makes one number better, and says why.
const AGENT: &str = r#"#!/bin/sh
set -e
grep -q 'Pretend to lower the loss.' NOCTURNE_BRIEF.md
echo "working in $PWD"
sed -i 's/matrix_rate: 0.04,/matrix_rate: 0.08,/' trainer/src/candidate/recipe.rs
cat > NOCTURNE_PROPOSAL.md <<'END'
Title: Double the matrices' rate
Hypothesis: It was tuned for longer runs.
Family: optimizer
Predicted: -0.1
Confidence: 0.7
END
"#;

#[test]
fn a_coding_agents_change_is_tested_like_any_other() {
    let fixture = Fixture::new();
    let script = fixture.root().parent().unwrap().join("agent.sh");
    std::fs::write(&script, AGENT).unwrap();
    let agents = format!(
        "\n[[coding_agents]]\nname = \"scripted\"\ncommand = [\"/bin/sh\", {:?}]\nminutes = 5\n",
        script.display().to_string()
    );
    let campaign = std::fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    let campaign = campaign
        .replace("proposers = [\"tuner\"]", "proposers = [\"agents\"]")
        .replace("experiments = 3", "experiments = 1");
    fixture.write("experiments/pretend/campaign.toml", &(campaign + &agents));
    fixture.plant_gains();

    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    fixture.assert_no_process_left();
    let all = night["experiments"].as_array().unwrap();
    let first = &all[0];
    assert_eq!(
        (first["title"].as_str(), first["proposer"].as_str()),
        (Some("Double the matrices' rate"), Some("agents")),
        "{night}"
    );
    assert_eq!(first["predicted"], -0.1);
    assert_eq!(first["verdict"], "kept", "{first}");
    let commit = first["commit"].as_str().unwrap();
    let message = fixture.git(&["show", "--no-patch", "--format=%B", commit]);
    assert!(message.contains("Nocturne-Proposer: agents"), "{message}");
    let changed = fixture.git(&["diff", "--stat", &format!("{commit}^"), commit]);
    assert!(changed.contains("recipe.rs | 2 +-") && changed.contains("1 file changed"), "{changed}");
    // Brief, output and record are kept; the folder that it worked in is gone, and was not in the repository.
    let id = night["night"].as_str().unwrap();
    let turns = fixture.root().join(format!(".nocturne/nights/{id}/agents"));
    let turn = std::fs::read_dir(&turns).unwrap().next().unwrap().unwrap().path();
    let log = std::fs::read_to_string(turn.join("log-1.txt")).unwrap();
    let folder = log.trim().strip_prefix("working in ").unwrap();
    assert!(
        !std::path::Path::new(folder).exists() && !folder.starts_with(fixture.root().to_str().unwrap()),
        "{folder}"
    );
    assert!(turn.join("brief-1.md").exists());
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");

    // The record gives the same without the agent.
    std::fs::remove_file(&script).unwrap();
    let told = |night: &Value| {
        let first = &night["experiments"].as_array().unwrap()[0];
        let commit = first["commit"].as_str().unwrap();
        (first["title"].clone(), fixture.git(&["diff", &format!("{commit}^"), commit]))
    };
    let again = fixture.json(&["night", "experiments/pretend", "--replay", id, "--json"]);
    assert_eq!(told(&again), told(&night));
    // What cannot be replayed is refused before anything has begun.
    let nights = || std::fs::read_dir(fixture.root().join(".nocturne/nights")).unwrap().count();
    let before = nights();
    for file in ["campaign.toml", "program.md"] {
        let text = std::fs::read_to_string(fixture.root().join("experiments/pretend").join(file)).unwrap();
        fixture.write(&format!("experiments/other/{file}"), &text);
    }
    for (arguments, why) in [
        (["experiments/other", id], "it is of the campaign pretend, and this is other"),
        (["experiments/pretend", "2026-01-01-zz"], "there is none of that name"),
    ] {
        let output = fixture.run(&["night", arguments[0], "--replay", arguments[1], "--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        // Where a long line was broken says nothing.
        let said = said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(output.status.code() == Some(2) && said.contains(why), "{said}");
    }
    assert_eq!(nights(), before);
}

#[test]
fn an_mcp_clients_change_is_tested_like_any_other() {
    let fixture = Fixture::new();
    let campaign = std::fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    fixture.write("experiments/pretend/campaign.toml", &campaign.replace("experiments = 3", "experiments = 1"));
    fixture.plant_gains();
    let edits = "trainer/src/candidate/recipe.rs\n<<<<<<< SEARCH\n            matrix_rate: 0.04,\n=======\n            matrix_rate: 0.08,\n>>>>>>> REPLACE\n";
    let proposal =
        json!({ "title": "Double the matrices' rate", "hypothesis": "It was tuned for longer runs.", "edits": edits });
    let calls = vec![("brief", json!({})), ("check", json!({ "edits": edits })), ("propose", proposal.clone())];
    let told = talk(&fixture, calls);
    // Before the first night there is nothing to build on.
    assert!(told[1].as_ref().unwrap().contains("could not be tried: nothing was built here yet"), "{told:?}");
    assert!(told[2].as_ref().unwrap().starts_with("Entry 1 of the queue"), "{told:?}");

    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    let first = &night["experiments"].as_array().unwrap()[0];
    assert_eq!(
        (first["title"].as_str(), first["proposer"].as_str()),
        (Some("Double the matrices' rate"), Some("outside")),
        "{night}"
    );
    assert_eq!(first["verdict"], "kept", "{first}");
    // Nobody was asked in it, so there is nothing to replay.
    let output = fixture.run(&["night", "experiments/pretend", "--replay", night["night"].as_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("on record"), "{said}");
    assert_eq!(fixture.json(&["list", "--json"]).as_array().map(Vec::len), Some(1));

    let calls = vec![
        ("queue", json!({})),
        ("results", json!({})),
        ("status", json!({})),
        ("experiment", json!({ "experiment": 1 })),
        ("curve", json!({ "experiment": 1, "points": 5 })),
        ("propose", proposal),
        ("check", json!({ "edits": edits.replace("0.08", "nonsense") })),
        ("check", json!({ "edits": edits.replace("0.08", "0.09") })),
    ];
    let told: Vec<String> =
        talk_to_the_program(&fixture, calls).into_iter().map(|told| told.unwrap_or_else(|error| error)).collect();
    assert!(
        told[0].contains("1: done, with edits, from `test`, experiment ") && told[0].contains("kept: "),
        "{}",
        told[0]
    );
    assert!(told[1].contains("1: kept") && told[1].contains("The champion is experiment"), "{}", told[1]);
    assert!(told[2].contains(": ended (") && told[2].contains("0 entries wait"), "{}", told[2]);
    assert!(told[3].contains("Outcome: kept") && told[3].contains("| +"), "{}", told[3]);
    assert!(told[4].contains("champion") && told[4].contains("100 %"), "{}", told[4]);
    // The next night starts from the person's commit, which does not have the change; it was an experiment all the same.
    assert!(told[5].contains("already"), "{}", told[5]);
    assert!(told[6].contains("does not compile") && told[6].contains("cannot find value `nonsense`"), "{}", told[6]);
    assert!(told[7].contains("They compile ("), "{}", told[7]);
    assert!(!fixture.root().join(".nocturne/slots/outside").exists(), "nothing is kept of it");
    fixture.assert_no_process_left();
    // Another campaign of the repository is none of this one's business, nor the other way round.
    let other = std::fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    fixture.write("experiments/other/campaign.toml", &other.replace("[\"text\"]", "[\"../pretend/text\"]"));
    fixture.write("experiments/other/program.md", "Another goal.\n");
    let first = format!("{}/1", night["night"].as_str().unwrap());
    for name in ["curve", "experiment"] {
        let refused = talk_of("other", &fixture, vec![(name, json!({ "experiment": first }))]).remove(0).unwrap_err();
        assert!(refused.contains("in this campaign's history"), "{name}: {refused}");
    }
    // An idea that looks like that one is shown beside it before it is put in.
    let again = |differs: &str| {
        let mut again = json!({ "title": "Double the matrices' rates", "hypothesis": "Again.", "edits": edits.replace("0.08", "0.081") });
        if !differs.is_empty() {
            again["differs"] = differs.into();
        }
        talk(&fixture, vec![("propose", again)]).remove(0)
    };
    let shown = again("").unwrap_err();
    assert!(shown.contains("1: `Double the matrices' rate`: kept") && shown.contains("was not put in"), "{shown}");
    assert!(again("A little more.").unwrap().starts_with("Entry 2 of the queue"));
    // Nothing that is told holds a secret of the night.
    let secrets = secrets(&fixture);
    assert!(secrets.len() > 8);
    for told in &told {
        for secret in &secrets {
            assert!(!told.contains(secret.as_str()), "{secret} in {told}");
        }
    }
}

/// The night's seeds, as text.
fn secrets(fixture: &Fixture) -> Vec<String> {
    let nights = std::fs::read_dir(fixture.root().join(".nocturne/nights")).unwrap();
    let file = nights.map(|night| night.unwrap().path().join("night.json")).find(|file| file.exists()).unwrap();
    let night: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let seeds = night["night"]["seeds"].as_array().unwrap();
    seeds.iter().map(Value::to_string).chain([night["night"]["proposer_seed"].to_string()]).collect()
}

/// Calls tools one after the other, over a connection within this process.
fn talk(fixture: &Fixture, calls: Vec<(&'static str, Value)>) -> Vec<Result<String, String>> {
    talk_of("pretend", fixture, calls)
}

/// The same in another campaign.
fn talk_of(campaign: &str, fixture: &Fixture, calls: Vec<(&'static str, Value)>) -> Vec<Result<String, String>> {
    let campaign = campaign::load(&fixture.root().join("experiments").join(campaign)).unwrap();
    let desk = Desk::new(Layout::new(fixture.root()), campaign);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (theirs, ours) = tokio::io::duplex(64 * 1024);
        let (read, write) = tokio::io::split(ours);
        let server = tokio::spawn(async move { serve(desk, read, write).await.unwrap() });
        let told = ask(theirs, calls).await;
        server.await.unwrap();
        told
    })
}

/// The same with the program itself, which can start processes of its own.
fn talk_to_the_program(fixture: &Fixture, calls: Vec<(&'static str, Value)>) -> Vec<Result<String, String>> {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut command = tokio::process::Command::from(fixture.nocturne(&["mcp", "experiments/pretend"]));
        let mut child = command.stdin(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let told = ask((child.stdout.take().unwrap(), child.stdin.take().unwrap()), calls).await;
        assert!(child.wait().await.unwrap().success());
        told
    })
}

async fn ask<T, E, A>(transport: T, calls: Vec<(&'static str, Value)>) -> Vec<Result<String, String>>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let config = ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1.0"));
    let client = config.serve(transport).await.unwrap();
    let mut told = Vec::new();
    for (name, arguments) in calls {
        let request = CallToolRequestParams::new(name).with_arguments(arguments.as_object().unwrap().clone());
        let result = client.call_tool(request).await.unwrap();
        let text = result.content[0].as_text().unwrap().text.clone();
        told.push(if result.is_error == Some(true) { Err(text) } else { Ok(text) });
    }
    client.cancel().await.unwrap();
    told
}
