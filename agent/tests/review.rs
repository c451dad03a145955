//! What a person decides in the morning, at the command line, and the branches that come of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::Fixture;

fn refused(fixture: &Fixture, arguments: &[&str], told: &str) {
    let output = fixture.run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(told), "{said}\nshould say: {told}");
}

fn by_verdict(night: &Value, kept: bool) -> Vec<String> {
    let experiments = night["experiments"].as_array().unwrap().iter();
    let tuned = experiments.filter(|it| it["proposer"] == "tuner" && (it["verdict"] == "kept") == kept);
    tuned.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_morning_from_what_waits_to_branches_on_the_persons_base() {
    let fixture = Fixture::new();
    refused_without_records(&fixture);
    fixture.plant_gains();
    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    let name = night["night"].as_str().unwrap();
    let kept = by_verdict(&night, true);
    assert!(!kept.is_empty(), "whatever changes a number is an improvement here: {night}");
    let waits = |fixture: &Fixture| fixture.json(&["review", "--json"])["waiting"].as_array().unwrap().len();
    assert_eq!(waits(&fixture), kept.len());
    assert_eq!(fixture.json(&["review", "branches", "--json"])["made"], json!([]), "nothing is accepted yet");

    refused(&fixture, &["review", "reject", &kept[0]], "needs a reason");
    refused(&fixture, &["review", "accept", "0"], "there is no experiment");
    refused(&fixture, &["review", "accept", "a b"], "names no experiment");
    refused(&fixture, &["review", "branches", "--base", "nowhere"], "no branch, tag or commit");
    // A document with one mistake changes nothing.
    let mistaken = json!([
        { "experiment": kept[0], "choice": "accepted" },
        { "experiment": format!("{name}/77"), "choice": "accepted" },
    ]);
    fixture.write("choices.json", &mistaken.to_string());
    refused(&fixture, &["review", "record", "choices.json"], "there is no experiment");
    fixture.write("choices.json", r#"[{"experiment": "n/1", "choice": "liked"}]"#);
    refused(&fixture, &["review", "record", "choices.json"], "no list of choices");
    assert_eq!(waits(&fixture), kept.len());

    let choices: Vec<Value> = kept
        .iter()
        .map(|id| json!({ "experiment": id, "choice": "accepted", "reason": "<b>good</b>\nSigned-off-by: nobody" }))
        .collect();
    fixture.write("choices.json", &json!(choices).to_string());
    let recorded = fixture.json(&["review", "record", "choices.json"]);
    assert_eq!(recorded.as_array().unwrap().len(), kept.len());
    assert_eq!(waits(&fixture), 0);

    // The person has gone on meanwhile, and has something in hand.
    fixture.write("notes.txt", "mine\n");
    fixture.commit("Go on");
    fixture.write("untracked.txt", "in hand\n");
    let (head, status) = (fixture.git(&["rev-parse", "HEAD"]), fixture.git(&["status", "--porcelain"]));
    let dry = fixture.json(&["review", "branches", "--dry-run", "--json"]);
    assert_eq!((dry["made"].as_array().unwrap().len(), dry["base"].as_str().unwrap()), (0, head.trim()));
    let done = fixture.json(&["review", "branches", "--json"]);
    let made = done["made"].as_array().unwrap();
    assert_eq!(made.len() + done["plan"]["blocked"].as_array().unwrap().len(), kept.len(), "{done}");
    assert!(!made.is_empty(), "{done}");
    for made in made {
        let (branch, commit) = (made["branch"].as_str().unwrap(), made["commit"].as_str().unwrap());
        assert!(branch.starts_with(&format!("nocturne/pretend/{name}/accepted/00")), "{branch}");
        assert_eq!(fixture.git(&["rev-parse", branch]).trim(), commit);
        let count = made["experiments"].as_array().unwrap().len();
        let below = fixture.git(&["rev-list", "--count", &format!("HEAD..{branch}")]);
        assert_eq!(below.trim(), count.to_string(), "it stands on the person's base");
        let message = fixture.git(&["show", "--no-patch", "--format=%B", branch]);
        let trailers = fixture.git(&["show", "--no-patch", "--format=%(trailers:only)", branch]);
        assert!(message.contains("val_bpb was measured to change by -"), "{message}");
        assert!(trailers.contains("Measured-Effect: -") && !trailers.contains("Signed-off-by"), "{trailers}");
        // The change is the experiment's and nothing else.
        let own = made["experiments"].as_array().unwrap().last().unwrap().as_u64().unwrap();
        let of_it = night["experiments"].as_array().unwrap().iter().find(|it| it["number"] == own).unwrap();
        let changed = |commit: &str| {
            let diff = fixture.git(&["show", "--format=", "--unified=0", commit]);
            diff.lines().filter(|line| line.starts_with(['+', '-'])).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(changed(branch), changed(of_it["commit"].as_str().unwrap()));
    }
    let stack = fixture.json(&["review", "branches", "--stack", "--json"]);
    assert_eq!(stack["made"][0]["branch"], format!("nocturne/pretend/{name}/accepted/stack"));
    assert_eq!(fixture.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(fixture.git(&["status", "--porcelain"]), status);

    // It survives the loss of the database, and a changed mind.
    fs::remove_file(fixture.root().join(".nocturne/nocturne.db")).unwrap();
    assert_eq!(fixture.json(&["rebuild", "--json"])["reviews"], kept.len());
    let said = fixture.run(&["review", "reject", &kept[0], "--reason", "too many lines"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(waits(&fixture), 0);
    let table = String::from_utf8(fixture.run(&["review"]).stdout).unwrap();
    assert!(table.contains("rejected") && table.contains("too many lines"), "{table}");
}

fn refused_without_records(fixture: &Fixture) {
    let output = fixture.run(&["review"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no records in this repository yet"));
}
