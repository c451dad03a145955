//! The person's queue at the command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::fs;
use std::process::Output;

use nocturne::layout::Layout;
use nocturne::queue;
use nocturne::records::{QueueEntry, QueueState};
use nocturne::repo::Repo;
use nocturne::store::Reader;
use serde_json::Value;
use support::Fixture;

const RECIPE: &str = "trainer/src/candidate/recipe.rs";

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"");
    // Where a long line was broken says nothing.
    String::from_utf8_lossy(&output.stderr).split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

fn ideas(document: &Value) -> Vec<u64> {
    document.as_array().unwrap().iter().map(|idea| idea["id"].as_u64().unwrap()).collect()
}

/// Makes a change in the checkout, keeps what `git diff` says of it, and takes it back.
fn diff_of(fixture: &Fixture, from: &str, to: &str) -> String {
    let path = fixture.root().join(RECIPE);
    let before = fs::read_to_string(&path).unwrap();
    assert!(before.contains(from), "no {from:?} in the recipe");
    fs::write(&path, before.replace(from, to)).unwrap();
    let diff = fixture.git(&["diff"]);
    fs::write(&path, before).unwrap();
    diff
}

#[test]
fn ideas_are_added_listed_moved_and_removed() {
    let fixture = Fixture::new();
    let said = |arguments: &[&str]| {
        let output = fixture.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["queue", "list"]).starts_with("no ideas"));
    assert!(!Layout::new(fixture.root()).database().exists(), "listing made a database");
    let first = said(&["queue", "add", "try a longer warm-down"]);
    assert!(first.starts_with("idea 1 for pretend: place 1") && first.contains("[[models]]"), "{first}");
    fixture.write("cap.diff", &diff_of(&fixture, "softcap: 15.0", "softcap: 20.0"));
    let second = fixture.json(&["queue", "add", "a larger cap", "--patch", "cap.diff", "--json"]);
    assert_eq!(
        (&second["idea"]["id"], &second["place"], &second["waits_for_a_model"]),
        (&2.into(), &2.into(), &false.into())
    );
    let third = fixture.json(&["queue", "add", "first of all", "--first", "--campaign", "pretend", "--json"]);
    assert_eq!((&third["idea"]["id"], &third["place"]), (&3.into(), &1.into()));
    assert_eq!(ideas(&fixture.json(&["queue", "list", "--json"])), [3, 1, 2]);
    assert_eq!(ideas(&fixture.json(&["queue", "move", "2", "1", "--json"])), [2, 3, 1]);
    assert!(said(&["queue", "move", "3", "3"]).contains("3. idea 3: first of all"));
    assert!(said(&["queue", "remove", "1"]).contains("idea 1 is off the queue: try a longer warm-down"));
    assert_eq!(ideas(&fixture.json(&["queue", "list", "--json"])), [2, 3]);
    assert_eq!(ideas(&fixture.json(&["queue", "list", "--all", "--json"])), [2, 3, 1]);
    assert_eq!(ideas(&fixture.json(&["queue", "list", "--campaign", "other", "--json"])), [0; 0]);
    let table = said(&["queue", "list"]);
    assert!(table.contains("a larger cap (with a patch)") && table.contains("waiting"), "{table}");

    assert!(complaint(&fixture.run(&["queue", "remove", "1"])).contains("is removed, not waiting"));
    assert!(complaint(&fixture.run(&["queue", "move", "9", "1"])).contains("idea 9 of the queue is not recorded"));
    assert!(!fixture.run(&["queue", "move", "2", "0"]).status.success());

    // A coding agent can read too, if it is asked.
    fixture.replace("experiments/pretend/campaign.toml", "[\"tuner\"]", "[\"tuner\", \"agents\"]");
    let campaign = fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    let agent = "\n[[coding_agents]]\nname = \"a\"\ncommand = [\"a\"]\n";
    fixture.write("experiments/pretend/campaign.toml", &(campaign + agent));
    assert_eq!(fixture.json(&["queue", "add", "try that", "--json"])["waits_for_a_model"], false);
}

#[tokio::test]
async fn a_patch_is_kept_as_it_is_and_makes_the_change_that_it_says() {
    let fixture = Fixture::new();
    let diff = diff_of(&fixture, "softcap: 15.0", "softcap: 20.0");
    fixture.write("cap.diff", &diff);
    assert!(fixture.run(&["queue", "add", "a larger cap", "--patch", "cap.diff"]).status.success());
    let reader = Reader::open(&Layout::new(fixture.root()).database()).await.unwrap();
    let entry: QueueEntry = reader.queued(1).await.unwrap().unwrap();
    assert_eq!((entry.patch.as_deref(), entry.state), (Some(diff.as_str()), QueueState::Waiting));
    let repo = Repo::discover(&fixture.root()).unwrap();
    let files = repo.candidate_files(&repo.start().unwrap().commit).unwrap();
    let proposal = queue::proposal(&entry, &files).unwrap();
    assert_eq!((proposal.key.as_str(), proposal.title.as_str()), ("queue-1", "a larger cap"));
    let after = nocturne::edit::apply(&files, &proposal.edits).unwrap();
    let changed: Vec<_> = files.iter().zip(&after).filter(|(before, after)| before != after).collect();
    let [(before, after)] = changed.as_slice() else { panic!("{changed:?}") };
    assert_eq!(after.text, before.text.replace("softcap: 15.0", "softcap: 20.0"));
}

#[test]
fn what_cannot_be_tested_is_refused_with_the_whole_reason_and_nothing_is_queued() {
    let fixture = Fixture::new();
    let good = diff_of(&fixture, "softcap: 15.0", "softcap: 20.0");
    for (patch, told) in [
        (good.replace(RECIPE, "Cargo.toml"), "Cargo.toml may not be edited"),
        (good.replace("softcap: 15.0", "softcap: 16.0"), "the nearest begin at line"),
        (diff_of(&fixture, "softcap: 15.0,", "softcap: 15.0, // as it was"), "change nothing"),
        (
            diff_of(&fixture, "softcap: 15.0", "softcap: std::fs::metadata(\"x\").map_or(1.0, |_| 2.0)"),
            "is not allowed in a candidate",
        ),
        (String::from("no diff"), "holds no hunk"),
        ("x".repeat(300_000), "longer than 262144 bytes"),
    ] {
        fixture.write("bad.diff", &patch);
        let said = complaint(&fixture.run(&["queue", "add", "try it", "--patch", "bad.diff"]));
        assert!(said.contains(told) && said.contains("bad.diff"), "{said}\nshould say: {told}");
    }
    fs::write(fixture.root().join("bad.diff"), b"\xff").unwrap();
    assert!(complaint(&fixture.run(&["queue", "add", "try it", "--patch", "bad.diff"])).contains("not UTF-8"));
    assert!(complaint(&fixture.run(&["queue", "add", "try it", "--patch", "none.diff"])).contains("none.diff"));
    assert!(complaint(&fixture.run(&["queue", "add", " "])).contains("needs words"));
    assert!(complaint(&fixture.run(&["queue", "add", "a", "--campaign", "pertend"])).contains("pretend"));
    assert!(complaint(&fixture.run(&["queue", "remove", "1"])).contains("no ideas"));
    assert!(fixture.run(&["new", "another", "--scale", "cpu"]).status.success());
    assert!(complaint(&fixture.run(&["queue", "add", "a"])).contains("another, pretend"));
    assert_eq!(fixture.json(&["queue", "list", "--json"]), Value::Array(Vec::new()));
}
