use super::*;
use crate::records::{CandidateRecord, ExperimentState, baseline_proposal};

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

#[test]
fn a_night_whose_machine_or_data_became_others_is_not_gone_on_with() {
    let facts = |device: Option<&str>, data: Option<&str>, memory: &str| -> BTreeMap<String, String> {
        let named = [("device", device), ("data", data), ("memory", Some(memory))];
        named.iter().filter_map(|(name, fact)| Some(((*name).to_owned(), (*fact)?.to_owned()))).collect()
    };
    let then = facts(Some("cuda:0"), Some("4f2a"), "24 GiB");
    for (now, problem) in [
        (facts(Some("cuda:0"), Some("4f2a"), "23 GiB"), None),
        (facts(Some("cpu"), Some("4f2a"), "24 GiB"), Some("it began with device = cuda:0, which is cpu now")),
        (facts(None, Some("4f2a"), "24 GiB"), Some("it began with device = cuda:0, which is gone now")),
        (facts(Some("cuda:0"), Some("0000"), "24 GiB"), Some("it began with data = 4f2a, which is 0000 now")),
    ] {
        let said = same_machine(&then, &now).err();
        assert_eq!(said.is_some(), problem.is_some());
        assert!(said.unwrap_or_default().starts_with(problem.unwrap_or_default()));
    }
    // A record of an older version says nothing of the data.
    assert_eq!(same_machine(&facts(Some("cpu"), None, ""), &facts(Some("cpu"), Some("4f2a"), "")), Ok(()));
}

const NIGHT: &str = "2026-03-08-k4";

/// One that leaves `of` out, or an idea of its own.
fn experiment(number: u32, of: Option<&str>, committed: bool) -> ExperimentRecord {
    let commit = |number: u32| format!("{number:040x}").parse().unwrap();
    let mut proposal = baseline_proposal();
    if let Some(of) = of {
        proposal.author.proposer = LEAVE_ONE_OUT.to_owned();
        proposal.key = of.to_owned();
    }
    let branch = String::new();
    let candidate =
        CandidateRecord { commit: commit(number), parent: commit(0), branch, lines_added: 0, lines_removed: 1 };
    ExperimentRecord {
        id: ExperimentId { night: NIGHT.parse().unwrap(), number },
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
}

/// As an ordinary experiment it could be kept.
#[test]
fn what_leaves_out_nothing_that_can_be_told_is_no_ordinary_experiment() {
    let mut all = vec![experiment(1, None, true), experiment(2, None, true)];
    all[1].proposal.key = "2026-03-08-k4/7+2026-03-08-k4/8".to_owned();
    for (of, expected) in [
        (None, Ok(None)),
        (Some("2026-03-08-k4/1"), Ok(Some(Without::from(1)))),
        (Some("the first one"), Err(Unreadable)),
        (Some("2026-03-08-k4/2 without that"), Err(Unreadable)),
        (Some("2026-03-08-k4/2 without 2026-03-08-k4/9"), Err(Unreadable)),
        (Some("2026-03-08-k4/99 without 2026-03-08-k4/8"), Err(Unreadable)),
    ] {
        assert_eq!(without(&experiment(3, of, true), &all), expected, "{of:?}");
    }
}

/// The clock went back by an hour between two trials; what the journal has no word of goes by the clock.
#[test]
fn trials_and_decisions_are_in_the_order_of_the_journal() {
    let at = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap();
    let effect = |ordinal: u32, key: &str, kind: &str| EffectRecord {
        ordinal,
        key: key.to_owned(),
        kind: kind.to_owned(),
        payload: serde_json::Value::Null,
        begun_at: at(0),
        ended_at: None,
        outcome: None,
    };
    let trial = |number: u32, ordinal: u32, started: i64| TrialRecord {
        ordinal,
        started_at: at(started),
        ..crate::fixture::trial(number, TrialEnd::Finished, None)
    };
    let trials = [trial(0, 1, 7_000), trial(1, 1, 7_100), trial(1, 2, 3_500), trial(2, 1, 3_600)];
    let effects = [
        effect(1, "0.1/train/0/1", "train"),
        effect(2, "0.2/train/1/1", "train"),
        effect(3, "0.3/train/1/2", "train"),
        effect(4, "0.4/settle/1", "settle"),
        effect(5, "4.1/train/2/1", "train"),
    ];
    let mut decided = experiment(1, None, true);
    decided.decided_at = Some(at(3_550));
    let told = |effects: &[EffectRecord]| {
        let order = journal::Order::of(effects);
        let sorted: Vec<(u32, u32)> =
            in_order(&trials, &order).iter().map(|trial| (trial.experiment.number, trial.ordinal)).collect();
        let before = trials.iter().filter(|trial| began_before(trial, &decided, &order)).count();
        (sorted, before)
    };
    assert_eq!(told(&effects), (vec![(0, 1), (1, 1), (1, 2), (2, 1)], 3));
    assert_eq!(told(&effects[1..]), (vec![(1, 2), (2, 1), (0, 1), (1, 1)], 2));
    assert_eq!(told(&[]), (vec![(1, 2), (2, 1), (0, 1), (1, 1)], 1));
}

/// A crash between an experiment's row and its candidate leaves the row; proposing the same once more would break the night at
/// every resume.
#[test]
fn a_change_whose_leaving_out_was_begun_is_not_left_out_again() {
    let mut combined = experiment(2, None, true);
    combined.proposal.author.proposer = "combine".to_owned();
    combined.proposal.key = "2026-03-08-k4/7+2026-03-08-k4/8".to_owned();
    let experiments = [
        experiment(1, None, true),
        combined,
        experiment(3, Some("2026-03-08-k4/1"), false),
        experiment(4, Some("2026-03-08-k4/2"), true),
        experiment(5, Some("2026-03-08-k4/2 without 2026-03-08-k4/8"), true),
    ];
    let idea = Without { kept: 2, idea: Some(2) };
    assert_eq!(tested_without(&experiments, None), [1.into(), 2.into(), idea]);
    assert_eq!(tested_without(&experiments, Some(4)), [1.into(), idea]);
}
