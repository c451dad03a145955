use serde_json::{Value, json};

use super::*;
use crate::records::{CandidateRecord, ExperimentState, baseline_proposal};

fn effect(ordinal: u32, key: &str, kind: &str, payload: Value) -> EffectRecord {
    let begun_at = jiff::Timestamp::UNIX_EPOCH;
    EffectRecord {
        ordinal,
        key: key.to_owned(),
        kind: kind.to_owned(),
        payload,
        begun_at,
        ended_at: None,
        outcome: None,
    }
}

#[test]
fn a_story_has_one_line_a_trial_whenever_it_was_cut_off() {
    let concluded = |ordinal, number: u32, trial: u32, words: &str| {
        effect(ordinal, "x", CONCLUDE, json!({ "number": number, "trial": trial, "words": words }))
    };
    let effects = [
        concluded(1, 3, 1, "promising"),
        concluded(2, 4, 1, "of another"),
        effect(3, "0.3/train/3/2", "train", json!({ "number": 3, "trial": 2, "words": "no conclusion" })),
        // Cut off before the next trial began: concluded again when the night went on.
        concluded(4, 3, 1, "promising still"),
        concluded(5, 3, 2, "more so"),
    ];
    assert_eq!(story(&effects, 3), ["promising still", "more so"]);
    assert_eq!(story(&effects, 5), Vec::<String>::new());
}

#[test]
fn a_turn_that_was_begun_is_used_up() {
    let effects = [
        effect(1, "0.1/propose/1/4", "propose", json!({})),
        effect(2, "0.2/repair/1/5", "repair", json!({})),
        effect(3, "0.3/train/1/9", "train", json!({})),
    ];
    assert_eq!((next_turn(&effects), next_turn(&[])), (6, 0));
}

#[test]
fn a_night_that_another_rule_decided_is_not_gone_on_with() {
    let start = stats::night_start(1.8);
    let dropped = stats::untested(Verdict::Discarded, "stopped early as hopeless".to_owned());
    let older = Decision { rule: "race/1".to_owned(), ..dropped.clone() };
    for (decisions, other) in
        [(vec![], None), (vec![&start, &dropped], None), (vec![&start, &dropped, &older], Some("race/1"))]
    {
        assert_eq!(under_another_rule(decisions.into_iter()), other);
    }
}

/// A crash between an experiment's row and its candidate leaves the row; proposing the same once more would break the night at
/// every resume.
#[test]
fn a_change_whose_leaving_out_was_begun_is_not_left_out_again() {
    let commit = |number: u32| format!("{number:040x}").parse().unwrap();
    let experiment = |number: u32, of: Option<u32>, committed: bool| {
        let mut proposal = baseline_proposal();
        if let Some(of) = of {
            proposal.author.proposer = LEAVE_ONE_OUT.to_owned();
            proposal.key = format!("2026-03-08-k4/{of}");
        }
        let branch = String::new();
        let candidate =
            CandidateRecord { commit: commit(number), parent: commit(0), branch, lines_added: 0, lines_removed: 1 };
        ExperimentRecord {
            id: ExperimentId { night: "2026-03-08-k4".parse().unwrap(), number },
            proposal,
            patch_digest: number.to_string(),
            champion: commit(0),
            state: ExperimentState::Proposed,
            candidate: committed.then_some(candidate),
            artifact: None,
            attempts: Vec::new(),
            decision: None,
            proposed_at: jiff::Timestamp::UNIX_EPOCH,
            decided_at: None,
        }
    };
    let experiments = [
        experiment(1, None, true),
        experiment(2, None, true),
        experiment(3, Some(1), false),
        experiment(4, Some(2), true),
    ];
    assert_eq!(tested_without(&experiments, None), [1, 2]);
    assert_eq!(tested_without(&experiments, Some(4)), [1]);
}
