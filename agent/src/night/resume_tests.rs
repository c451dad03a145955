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
