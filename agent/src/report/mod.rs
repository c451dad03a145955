//! What a night's records add up to, for people: figures per experiment and per night, plots, the page and tables.
//!
//! Can be done at any time, also while the night runs; nothing here changes a record or decides anything. What was decided is
//! told as it was recorded then; what is worked out here (noise, calibration, how many stops were wrong) is by the same pure
//! functions of [`crate::stats`] that the night uses.

mod account;
mod certificate;
mod curves;
mod drawing;
mod early_stops;
mod experiment;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod ledger;
mod machine;
mod measures;
mod models;
mod part;
mod recipes;
mod time_account;
mod view;

use jiff::Timestamp;

use crate::files::FileError;
use crate::flow::{CommitId, ExperimentId, NightId, Purpose, TrialEnd};
use crate::records::{
    ChampionMove, ClaimRecord, EffectTimes, EventRecord, ExchangeFacts, ExperimentRecord, Level, NightRecord,
    ReviewRecord, SkipRecord, TrialRecord, WithdrawalRecord,
};
use crate::repo::RepoError;
use crate::store::{Reader, StoreError};

pub use account::{Account, ChampionStep, Foretold, LeftOut, NoiseAccount};
pub use certificate::{certificate_text, evaluation_text};
pub use curves::{Curves, curve_points};
pub use early_stops::EarlyStops;
pub use experiment::{ExperimentAccount, TrialAccount};
pub(crate) use files::diff;
pub use files::write;
pub use ledger::PartLooks;
pub use models::ModelAccount;
pub use recipes::recipe_numbers;
pub use time_account::{Booked, Cycle, DeviceTime, TimeAccount, TimeStage, ToFirstStep};
pub(crate) use view::shown;

/// The stage of events that tell what was decided, or concluded after a trial that settled nothing.
const DECISION: &str = "decision";

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no such night.
    #[error("there is no night {0}; `nocturne list` shows those that there are")]
    NoSuchNight(NightId),
    /// The records cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A picture could not be drawn.
    #[error("cannot draw a picture: {0}")]
    Picture(#[from] dashboards::PictureError),
    /// A thread of this program was lost.
    #[error("internal error: {0}")]
    Internal(#[from] tokio::task::JoinError),
    /// A thread that drew pictures was lost.
    #[error("internal error: a thread that drew pictures ended before its work was done")]
    ThreadLost,
}

/// Everything the records know of one night.
#[derive(Debug, Clone)]
pub struct NightRecords {
    /// The night.
    pub night: NightRecord,
    /// Its experiments by number, the night's start first.
    pub experiments: Vec<ExperimentRecord>,
    /// Its trials, by experiment and ordinal.
    pub trials: Vec<TrialRecord>,
    /// Its champions in order, the night's start first.
    pub champions: Vec<ChampionMove>,
    /// The morning's claim.
    pub claim: Option<ClaimRecord>,
    /// What had to be taken back of what was kept and claimed.
    pub withdrawal: Option<WithdrawalRecord>,
    /// Calls of language models, in order.
    pub calls: Vec<ExchangeFacts>,
    /// What was concluded after trials that settled nothing, by experiment, in order.
    pub concluded: Vec<(u32, String)>,
    /// When the machine was found unfit for a trial, and why; it was waited for until the next trial began.
    pub waits: Vec<(Timestamp, String)>,
    /// Warnings and errors, one line each.
    pub faults: Vec<String>,
    /// Proposals that were not tried, in order.
    pub skips: Vec<SkipRecord>,
    /// When each effect of its journal was performed, in the order of beginning.
    pub journal: Vec<EffectTimes>,
    /// When the night was cut off, each with when it went on.
    pub cuts: Vec<(Timestamp, Timestamp)>,
    /// What the person made of its experiments, in the order in which it was said: of an experiment the last one counts.
    pub reviews: Vec<ReviewRecord>,
}

impl NightRecords {
    /// Reads a night.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub async fn read(reader: &Reader, id: &NightId) -> Result<Self, ReportError> {
        let night = reader.night(id).await?.ok_or_else(|| ReportError::NoSuchNight(id.clone()))?;
        let events = reader.events(id).await?;
        let journal = reader.effect_times(id).await?;
        let cuts = machine::cuts(&journal, events.iter().map(|event| event.at));
        Ok(Self {
            night,
            experiments: reader.experiments(id).await?,
            trials: reader.night_trials(id).await?,
            champions: reader.champion_moves(id).await?,
            claim: reader.claim(id).await?,
            withdrawal: reader.withdrawal(id).await?,
            calls: reader.exchange_facts(id).await?,
            concluded: events.iter().filter_map(concluded).collect(),
            waits: events
                .iter()
                .filter(|event| event.stage == "conditions")
                .map(|event| (event.at, event.text.clone()))
                .collect(),
            faults: events
                .into_iter()
                .filter(|event| matches!(event.level, Level::Warning | Level::Error))
                .map(|event| format!("{}: {}", event.stage, event.text))
                .collect(),
            skips: reader.skips(id).await?,
            journal,
            cuts,
            reviews: reader.reviews(Some(id)).await?,
        })
    }

    /// Runs of an experiment that tell its metric: its verified trials on the search text, of the newest era that it has any of,
    /// because the machine changed between eras.
    pub fn runs(&self, number: u32) -> Vec<&TrialRecord> {
        let of_it = |trial: &&TrialRecord| {
            trial.experiment.number == number && trial.purpose == Purpose::Search && trial.val_bpb().is_some()
        };
        let era = self.trials.iter().filter(of_it).map(|trial| trial.era).max();
        self.trials.iter().filter(of_it).filter(|trial| Some(trial.era) == era).collect()
    }

    /// The newest trial of an experiment that was measured on the search text, or else the newest of all.
    pub fn trial(&self, number: u32) -> Option<&TrialRecord> {
        let newest = || self.trials.iter().rfind(|trial| trial.experiment.number == number);
        self.runs(number).pop().or_else(newest)
    }

    /// An experiment's metric in bits per byte: the mean over its [`Self::runs`], whichever seeds they had.
    pub fn val_bpb(&self, number: u32) -> Option<f64> {
        mean(self.runs(number).iter().filter_map(|trial| trial.val_bpb()))
    }

    /// Standard error of the evaluator's correction in [`Self::val_bpb`], each run being audited by itself; `None` where nothing was
    /// audited. It says nothing of the noise between seeds.
    pub fn standard_error(&self, number: u32) -> Option<f64> {
        let runs = self.runs(number);
        let errors: Option<Vec<f64>> = runs.iter().map(|trial| trial.standard_error()).collect();
        let errors = errors.filter(|errors| !errors.is_empty())?;
        Some(errors.iter().map(|error| error * error).sum::<f64>().sqrt() / errors.len() as f64)
    }

    /// Where an experiment stands when equal seeds are compared: the mean of the night's start, and the differences that were
    /// measured from champion to champion on the way. The means of two experiments may be of different seeds; these compare.
    pub fn level(&self, number: u32) -> Option<f64> {
        let mut level = 0.0;
        let mut at = number;
        while at > 0 {
            let experiment = self.experiments.iter().find(|experiment| experiment.id.number == at)?;
            let difference = experiment.decision.as_ref().and_then(|decision| decision.difference);
            let champion = self.number_of(&experiment.champion);
            // A champion is older than what is compared with it: this ends.
            let (Some(difference), true) = (difference, champion < at) else {
                return self.val_bpb(at).map(|mean| mean + level);
            };
            level += difference;
            at = champion;
        }
        self.val_bpb(0).map(|start| start + level)
    }

    /// Number of the last champion that stands.
    pub fn champion(&self) -> u32 {
        self.champions.iter().rev().find(|champion| self.stands(champion.experiment)).map_or(0, |last| last.experiment)
    }

    /// Whether an experiment that was kept still stands.
    pub fn stands(&self, number: u32) -> bool {
        self.withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.spares(number))
    }

    /// Seconds from the night's beginning to its end, or to the newest record of one that has not ended; without the times in which it was
    /// cut off.
    pub fn seconds(&self) -> f64 {
        (self.seconds_of_clock() - seconds_of(&self.cuts)).max(0.0)
    }

    /// The same with the times in which the night was cut off.
    fn seconds_of_clock(&self) -> f64 {
        let last = self
            .night
            .end
            .as_ref()
            .map(|end| end.at)
            .or_else(|| self.trials.iter().filter_map(|trial| trial.evaluated_at.or(trial.ended_at)).max());
        last.map_or(0.0, |last| seconds_between(self.night.started_at, last))
    }

    /// Seconds in which a trial was training, those aside that a fault of the machine ended.
    pub fn training_seconds(&self) -> f64 {
        let trained = self.trials.iter().filter_map(|trial| trial.trained.as_ref());
        let counted = trained.filter(|trained| !matches!(trained.end, TrialEnd::MachineFault { .. }));
        counted.map(|trained| trained.training_seconds).sum()
    }

    fn number_of(&self, commit: &CommitId) -> u32 {
        let has_it = |experiment: &&ExperimentRecord| {
            experiment.candidate.as_ref().is_some_and(|candidate| candidate.commit == *commit)
        };
        self.experiments.iter().find(has_it).map_or(0, |experiment| experiment.id.number)
    }
}

/// A line on an experiment that goes on, as the driver records it: `experiment 3: promising, another trial`.
fn concluded(event: &EventRecord) -> Option<(u32, String)> {
    let told = event.text.strip_prefix("experiment ").filter(|_| event.stage == DECISION)?;
    let (number, words) = told.split_once(": ")?;
    Some((number.parse().ok()?, words.to_owned()))
}

/// Seconds for which a night was cut off before it was gone on with, together.
///
/// # Errors
/// The records cannot be read.
pub async fn seconds_cut_off(reader: &Reader, id: &NightId) -> Result<f64, StoreError> {
    let events = reader.events(id).await?;
    let cuts = machine::cuts(&reader.effect_times(id).await?, events.iter().map(|event| event.at));
    Ok(seconds_of(&cuts))
}

fn seconds_of(cuts: &[(Timestamp, Timestamp)]) -> f64 {
    cuts.iter().map(|(from, to)| seconds_between(*from, *to)).sum()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// An experiment named on the command line: `NIGHT/NUMBER`, or a number of the given night.
pub fn named(text: &str, latest: Option<&NightId>) -> Option<ExperimentId> {
    text.parse().ok().or_else(|| Some(ExperimentId { night: latest?.clone(), number: text.parse().ok()? }))
}
