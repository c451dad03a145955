//! A night in which everything happened that a report tells, for unit tests.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::NightRecords;
use crate::flow::{CommitId, Decision, Evidence, ExperimentId, NightId, Purpose, TrialEnd, Verdict};
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{
    CandidateRecord, ChampionMove, ClaimRecord, EffectTimes, ExperimentRecord, ExperimentState, HeldOut, LookRecord,
    NightRecord, TrialRecord, baseline_proposal,
};

/// Seeds of the night; their indices are what may be shown.
pub const SEEDS: [u64; 8] = {
    let first = 16_045_690_984_232_390_144;
    [first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7]
};

pub fn commit(number: u32) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

/// A night of which nothing is recorded.
pub fn empty() -> NightRecords {
    NightRecords {
        night: NightRecord {
            id: "n".parse().unwrap(),
            campaign: "quickstart".to_owned(),
            start_commit: commit(0),
            program_sha256: String::new(),
            campaign_sha256: String::new(),
            campaign_text: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            deadline: None,
            experiment_limit: None,
            seeds: SEEDS.to_vec(),
            proposer_seed: 1,
            machine: BTreeMap::new(),
            end: None,
        },
        experiments: Vec::new(),
        trials: Vec::new(),
        champions: Vec::new(),
        claim: None,
        withdrawal: None,
        calls: Vec::new(),
        concluded: Vec::new(),
        waits: Vec::new(),
        faults: Vec::new(),
        skips: Vec::new(),
        journal: Vec::new(),
        cuts: Vec::new(),
        reviews: Vec::new(),
    }
}

/// An effect of the journal; its key is like `0.3/train/1/2`.
pub fn effect(key: &str, begun_at: Timestamp, ended_at: Option<Timestamp>) -> EffectTimes {
    let kind = key.split('/').find(|part| !part.contains('.')).unwrap_or(key).to_owned();
    EffectTimes { key: key.to_owned(), kind, begun_at, ended_at, seconds: None, opening: Vec::new() }
}

fn experiment(number: u32, title: &str, champion: u32, decision: Option<Decision>) -> ExperimentRecord {
    let mut proposal = baseline_proposal();
    proposal.title = title.to_owned();
    proposal.key = format!("n/{number}");
    proposal.hypothesis = "Shorter runs want it.".to_owned();
    if number > 0 {
        proposal.author.proposer = "playbook".to_owned();
        proposal.family = "schedule".to_owned();
        proposal.predicted_effect = Some(-0.003);
        proposal.confidence = Some(0.4);
    }
    ExperimentRecord {
        id: ExperimentId { night: "n".parse().unwrap(), number },
        proposal,
        patch_digest: number.to_string(),
        champion: commit(champion),
        state: ExperimentState::Decided,
        candidate: Some(CandidateRecord {
            commit: commit(number),
            parent: commit(champion),
            branch: format!("nocturne/quickstart/n/{number}-idea"),
            lines_added: 2,
            lines_removed: 1,
        }),
        artifact: None,
        attempts: Vec::new(),
        decision,
        proposed_at: Timestamp::UNIX_EPOCH,
        decided_at: None,
    }
}

/// A decision with evidence, its difference known to 0.001.
pub fn weighed(verdict: Verdict, difference: f64, trials: u32, story: &[&str]) -> Decision {
    Decision {
        verdict,
        difference: Some(difference),
        interval: Some((difference - 0.002, difference + 0.002)),
        trials,
        rule: "race/1".to_owned(),
        reason: story.last().copied().unwrap_or("nothing to tell").to_owned(),
        evidence: Some(Box::new(Evidence {
            standard_error: 0.001,
            degrees: 7.5,
            probability: if difference < 0.0 { 0.97 } else { 0.04 },
            expected: difference * 0.75,
            expected_interval: (difference - 0.001, difference + 0.003),
            least_effect: 0.000_21,
            run_sd: 0.0015,
            pair_sd: 0.0012,
            near_miss: false,
            story: story.iter().map(|line| (*line).to_owned()).collect(),
            forecast: None,
        })),
    }
}

fn trial(number: u32, ordinal: u32, seed: usize, val_bpb: f64) -> TrialRecord {
    let verified = crate::fixture::verified(val_bpb, 2.0e-6);
    let mut trial = crate::fixture::trial(number, TrialEnd::Finished, Some(verified.into()));
    trial.certificate = Some(crate::fixture::certificate());
    trial.ordinal = ordinal;
    trial.seed = SEEDS[seed];
    if let Some(trained) = &mut trial.trained {
        trained.seed = SEEDS[seed];
    }
    trial
}

/// A decision to stop an experiment of which no trial had finished, by this forecast.
pub fn foreseen(forecast: f64) -> Decision {
    let mut decision = weighed(Verdict::Discarded, forecast, 1, &["by its curve it would end higher"]);
    (decision.difference, decision.interval) = (None, None);
    if let Some(evidence) = &mut decision.evidence {
        evidence.forecast = Some(forecast);
    }
    decision
}

/// The start on three seeds; 1 kept after three trials, 2 dropped after one, 3 stopped early, 4 spared and dropped, 5 leaves 1 out;
/// two morning pairs and a claim.
pub fn night() -> NightRecords {
    let kept = ["1 trial: 0.005 lower: promising, another trial", "3 trials: 0.004 lower: kept"];
    let early = Decision {
        verdict: Verdict::Discarded,
        difference: None,
        interval: None,
        trials: 1,
        rule: "race/1".to_owned(),
        reason: "stopped early: 0.05 behind".to_owned(),
        evidence: None,
    };
    let start = Decision { reason: "the night's start: 1.840000 bits per byte".to_owned(), ..early.clone() };
    let mut without = experiment(5, "Without: Halve the batch", 1, Some(weighed(Verdict::Discarded, 0.0035, 2, &[])));
    without.proposal.author.proposer = LEAVE_ONE_OUT.to_owned();
    without.proposal.key = "n/1".to_owned();
    let mut stopped = crate::fixture::trial(3, TrialEnd::StoppedEarly { message: "0.05 behind".to_owned() }, None);
    stopped.seed = SEEDS[0];
    if let Some(trained) = &mut stopped.trained {
        (trained.seed, trained.training_seconds) = (SEEDS[0], 8.0);
    }
    let spared = TrialRecord { would_stop: Some(1), ..trial(4, 1, 1, 1.846) };
    let morning =
        |number, ordinal, seed, value| TrialRecord { purpose: Purpose::Morning, ..trial(number, ordinal, seed, value) };
    let moved = |ordinal, experiment| ChampionMove {
        ordinal,
        experiment,
        commit: commit(experiment),
        at: Timestamp::UNIX_EPOCH,
    };
    NightRecords {
        experiments: vec![
            experiment(0, "baseline", 0, Some(Decision { verdict: Verdict::Kept, ..start })),
            experiment(1, "Halve the batch", 0, Some(weighed(Verdict::Kept, -0.004, 3, &kept))),
            experiment(
                2,
                "Double the width",
                1,
                Some(weighed(Verdict::Discarded, 0.009, 1, &["1 trial: dropped, not better"])),
            ),
            experiment(3, "Remove the warm-down", 1, Some(early)),
            experiment(4, "Raise the rate", 1, Some(weighed(Verdict::Discarded, 0.009, 1, &["1 trial: dropped"]))),
            without,
        ],
        trials: vec![
            trial(0, 1, 0, 1.840),
            trial(0, 2, 1, 1.842),
            trial(0, 3, 2, 1.838),
            morning(0, 4, 6, 1.900),
            morning(0, 5, 7, 1.902),
            trial(1, 1, 0, 1.835),
            trial(1, 2, 1, 1.838),
            trial(1, 3, 3, 1.834),
            morning(1, 4, 6, 1.897),
            morning(1, 5, 7, 1.898),
            trial(2, 1, 1, 1.847),
            stopped,
            spared,
            trial(5, 1, 0, 1.8395),
            trial(5, 2, 1, 1.8405),
        ],
        champions: vec![moved(1, 0), moved(2, 1)],
        claim: Some(ClaimRecord {
            start: commit(0),
            champion: commit(1),
            pairs: 2,
            difference: Some(-0.0035),
            interval: Some((-0.005, -0.002)),
            p_value: Some(0.004),
            holds: true,
            words: "holds: the champion's difference from the night's start is -0.00350".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        }),
        ..empty()
    }
}

/// The ledger of the campaign of [`night`], with an earlier night.
pub fn ledger() -> Vec<(NightId, LookRecord)> {
    let line = |night: &str, part, what_for: &str, evaluations| {
        let at = Timestamp::UNIX_EPOCH;
        let look = LookRecord { part, what_for: what_for.to_owned(), evaluations, first_at: at, last_at: at };
        (night.parse().unwrap(), look)
    };
    vec![
        line("m", HeldOut::Search, "decisions", 40),
        line("n", HeldOut::Search, "decisions", 11),
        line("n", HeldOut::Sealed, "the morning's claim", 4),
    ]
}
