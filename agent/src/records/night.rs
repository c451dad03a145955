//! What is written down of a night as a whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::{HeldOut, Level, NightEnding, OpeningStage};
use crate::flow::{CommitId, ExperimentId, NightId};
use crate::stats::claim::Claim;
use crate::stats::noise::Observation;

/// The end of a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub how: NightEnding,
    /// In words; may be empty.
    pub detail: String,
}

/// Facts in [`NightRecord::machine`] without which figures of two nights, or of two parts of one, do not compare: what computes, and the
/// data as they lie prepared here.
pub const COMPARABLE_FACTS: [&str; 7] = ["cpu", "cores", "gpus", "device", "precision", "libtorch", "data"];

/// A night: what it was started with, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightRecord {
    /// Its name.
    pub id: NightId,
    /// The campaign's name: its folder below `experiments/`.
    pub campaign: String,
    /// The commit that experiment 0 measures and every champion descends from.
    pub start_commit: CommitId,
    /// SHA-256 of `program.md`, hexadecimal.
    pub program_sha256: String,
    /// SHA-256 of `campaign.toml`, hexadecimal.
    pub campaign_sha256: String,
    /// `campaign.toml`, whole.
    pub campaign_text: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it has to end.
    pub deadline: Option<Timestamp>,
    /// After how many experiments it ends (experiment 0 not counted).
    pub experiment_limit: Option<u32>,
    /// The secret training seeds, in the order of their use.
    pub seeds: Vec<u64>,
    /// The random number for proposers.
    pub proposer_seed: u64,
    /// Facts of the machine by name: `cpu`, `cores`, `memory`, `gpu`, `rustc`, `libtorch`, ...
    pub machine: BTreeMap<String, String>,
    /// How it ended; `None` while it runs, or after it was cut off.
    pub end: Option<NightEnd>,
}

/// The champion changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChampionMove {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// The experiment that won; number 0 is the night's start.
    pub experiment: u32,
    /// Its commit.
    pub commit: CommitId,
    /// When.
    pub at: Timestamp,
}

/// A proposal that was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipRecord {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// Who proposed it.
    pub proposer: String,
    /// The idea's name for its proposer.
    pub key: String,
    /// The champion it did not fit.
    pub champion: CommitId,
    /// Why it was skipped.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// An effect of the night, written down before it is performed and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// Counted from 1 within the night, in the order of beginning.
    pub ordinal: u32,
    /// Names the effect: the same effect has the same key after a restart, for example `build/3/1`.
    pub key: String,
    /// What is done, for example `build`.
    pub kind: String,
    /// With what.
    pub payload: serde_json::Value,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done; `None` while it is under way, or after the night was cut off.
    pub ended_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<serde_json::Value>,
}

/// When an effect of the journal was performed, and what is told of its time.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectTimes {
    /// As [`EffectRecord::key`].
    pub key: String,
    /// As [`EffectRecord::kind`].
    pub kind: String,
    /// As [`EffectRecord::begun_at`].
    pub begun_at: Timestamp,
    /// As [`EffectRecord::ended_at`].
    pub ended_at: Option<Timestamp>,
    /// Seconds of work in it, where it may have waited for its turn first.
    pub seconds: Option<f64>,
    /// What the opening of the night took, of the effect that says so.
    pub opening: Vec<OpeningPart>,
}

impl EffectTimes {
    /// Experiment and trial of an effect on a trial, whose key is like `2.13/evaluate/4/1`.
    pub fn trial(&self) -> Option<(u32, u32)> {
        let mut parts = self.key.rsplit('/');
        let (ordinal, number) = (parts.next()?, parts.next()?);
        Some((number.parse().ok()?, ordinal.parse().ok()?))
    }

    /// The experiment of an effect that builds, whose key is like `2.1/build/3/47d0282`; 0 is the night's start.
    pub fn built(&self) -> Option<u32> {
        self.key.rsplit('/').nth(1)?.parse().ok()
    }
}

/// The kind of the effect that says what the opening of a night, or of its going on, took.
pub const OPENING: &str = "open";

/// A stretch of a night's opening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpeningPart {
    /// What was done.
    pub stage: OpeningStage,
    /// When it began.
    pub from: Timestamp,
    /// How long it took.
    pub seconds: f64,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Which stage tells it, for example `build`.
    pub stage: String,
    /// What happened.
    pub text: String,
}

/// The morning's claim: whether the night's champion is better than its start, on fresh paired seeds and the sealed text.
/// Differences are champion minus start in bits per byte, so negative is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The night's start.
    pub start: CommitId,
    /// The champion that is claimed to be better.
    pub champion: CommitId,
    /// How many pairs of runs it rests on.
    pub pairs: u32,
    /// The difference; `None` where no pair was measured.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// How probable a difference at least as good would be if nothing had been gained.
    pub p_value: Option<f64>,
    /// Whether the claim holds.
    pub holds: bool,
    /// The claim in words.
    pub words: String,
    /// When it was made.
    pub at: Timestamp,
}

impl ClaimRecord {
    /// A claim that has just been weighed.
    pub fn new(start: CommitId, champion: CommitId, claim: &Claim, at: Timestamp) -> Self {
        Self {
            start,
            champion,
            pairs: claim.pairs,
            difference: Some(claim.difference.estimate),
            interval: Some(claim.difference.interval),
            p_value: Some(claim.p_value),
            holds: claim.holds,
            words: claim.words.clone(),
            at,
        }
    }
}

/// A commit that a night had kept broke a rule under another seed: what was kept from it on does not hold, nor does the claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalRecord {
    /// The first experiment that does not hold; 0: the night's start itself, and all that followed.
    pub experiment: u32,
    /// What happened, and what follows from it.
    pub words: String,
    /// When it was found.
    pub at: Timestamp,
}

impl WithdrawalRecord {
    /// Whether an experiment that was kept still stands. The night's start stays what the night began with, whatever it did.
    pub fn spares(&self, experiment: u32) -> bool {
        experiment == 0 || experiment < self.experiment
    }

    /// Whether what was measured of an experiment, or of the night's start, may still teach later nights: it was before the one that
    /// broke a rule, so that it was neither that one nor compared with it.
    pub fn trusts(&self, experiment: u32) -> bool {
        experiment < self.experiment
    }
}

/// A line of the ledger: how often a part of the held-out text was looked at in a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRecord {
    /// Which part.
    pub part: HeldOut,
    /// What was to be learnt, for example `decisions`.
    pub what_for: String,
    /// How many models were asked about it. Each evaluation that begins counts, whether or not it comes to an end.
    pub evaluations: u32,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
}

/// What earlier nights can tell a night about its noise: one verified run of one of their commits on the search text.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierRun {
    /// The night.
    pub night: NightId,
    /// The experiment, which names the commit within the night.
    pub number: u32,
    /// Runs of different eras of a night are not comparable.
    pub era: u32,
    /// Index of the seed in that night's list; the same index of another night is another seed.
    pub seed: u32,
    /// Bits per byte.
    pub val_bpb: f64,
}

impl EarlierRun {
    /// As the estimate of noise takes them. Nights, and eras within them, are numbered from `first` on: the machine changed between
    /// them, and with it what the runs of one seed share.
    pub fn observations(runs: &[EarlierRun], first: u64) -> Vec<Observation> {
        let mut stretches: Vec<(&NightId, u32)> = runs.iter().map(|run| (&run.night, run.era)).collect();
        stretches.sort_unstable();
        stretches.dedup();
        let place = |run: &EarlierRun| match stretches.binary_search(&(&run.night, run.era)) {
            Ok(place) | Err(place) => place as u64,
        };
        runs.iter()
            .map(|run| Observation {
                group: u64::from(run.number),
                against: None,
                night: first + place(run),
                seed: run.seed,
                val_bpb: run.val_bpb,
            })
            .collect()
    }
}

/// What earlier nights can tell a night about true effects: a settled experiment's difference from its champion, or the one that was
/// foreseen when it was stopped early.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierEstimate {
    /// The experiment.
    pub id: ExperimentId,
    /// Who proposed it.
    pub proposer: String,
    /// Its family of ideas.
    pub family: String,
    /// Bits per byte, negative is better.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
}
