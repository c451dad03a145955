//! A night's plots, page and tables: reads the records, hands view models to `dashboards`, writes what comes back.
//!
//! Can be done at any time, also while the night runs; nothing here changes a record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dashboards::{
    CurveAxis, CurvePoint, CurveView, ExperimentView, NightPictures, NightView, Picture, VerificationView,
};

use crate::files::{self, FileError};
use crate::flow::{CommitId, ExperimentId, NightId, Verdict};
use crate::layout::Layout;
use crate::records::{Evaluation, ExperimentRecord, Level, NightRecord, TrialRecord};
use crate::repo::{Repo, RepoError};
use crate::results;
use crate::store::{Reader, StoreError};

/// A curve longer than this is not read: 64 MiB hold more than half a million steps.
const MOST_CURVE_BYTES: u64 = 64 << 20;

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
    /// Warnings and errors, one line each.
    pub faults: Vec<String>,
}

impl NightRecords {
    /// Reads a night.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub async fn read(reader: &Reader, id: &NightId) -> Result<Self, ReportError> {
        let night = reader.night(id).await?.ok_or_else(|| ReportError::NoSuchNight(id.clone()))?;
        let events = reader.events(id).await?;
        Ok(Self {
            night,
            experiments: reader.experiments(id).await?,
            trials: reader.night_trials(id).await?,
            faults: events
                .into_iter()
                .filter(|event| matches!(event.level, Level::Warning | Level::Error))
                .map(|event| format!("{}: {}", event.stage, event.text))
                .collect(),
        })
    }

    /// The newest trial of an experiment that was measured, or else the newest.
    pub fn trial(&self, number: u32) -> Option<&TrialRecord> {
        let of_it = || self.trials.iter().filter(move |trial| trial.experiment.number == number);
        of_it().rfind(|trial| trial.val_bpb().is_some()).or_else(|| of_it().next_back())
    }

    /// An experiment's metric in bits per byte.
    pub fn val_bpb(&self, number: u32) -> Option<f64> {
        self.trial(number).and_then(TrialRecord::val_bpb)
    }

    /// Standard error of the evaluator's correction in [`Self::val_bpb`]; `None` where nothing was audited.
    pub fn standard_error(&self, number: u32) -> Option<f64> {
        self.trial(number).and_then(TrialRecord::standard_error)
    }

    /// Number of the last champion.
    pub fn champion(&self) -> u32 {
        let kept = |experiment: &&ExperimentRecord| {
            experiment.decision.as_ref().is_some_and(|decision| decision.verdict == Verdict::Kept)
        };
        self.experiments.iter().rfind(kept).map_or(0, |experiment| experiment.id.number)
    }

    /// Seconds from the night's beginning to its end, or to the newest record of one that has not ended.
    pub fn seconds(&self) -> f64 {
        let last = self
            .night
            .end
            .as_ref()
            .map(|end| end.at)
            .or_else(|| self.trials.iter().filter_map(|trial| trial.evaluated_at.or(trial.ended_at)).max());
        last.map_or(0.0, |last| seconds_between(self.night.started_at, last))
    }

    /// Seconds in which a trial was training.
    pub fn training_seconds(&self) -> f64 {
        self.trials.iter().filter_map(|trial| trial.trained.as_ref()).map(|trained| trained.training_seconds).sum()
    }

    fn number_of(&self, commit: &CommitId) -> u32 {
        let has_it = |experiment: &&ExperimentRecord| {
            experiment.candidate.as_ref().is_some_and(|candidate| candidate.commit == *commit)
        };
        self.experiments.iter().find(has_it).map_or(0, |experiment| experiment.id.number)
    }

    /// The view model; `diff` gives an experiment's diff.
    pub fn view(&self, diff: impl Fn(&ExperimentRecord) -> String) -> NightView {
        let champion = self.champion();
        let of_champion = self.experiments.iter().find(|experiment| experiment.id.number == champion);
        let candidate = of_champion.and_then(|experiment| experiment.candidate.as_ref());
        NightView {
            campaign: self.night.campaign.clone(),
            night: self.night.id.to_string(),
            date: date(self.night.started_at),
            metric: "val_bpb".to_owned(),
            metric_unit: "bits per byte".to_owned(),
            budget: self.trials.first().map(|trial| budget(trial.budget)).unwrap_or_default(),
            baseline: self.val_bpb(0),
            baseline_error: self.standard_error(0),
            champion: self.val_bpb(champion),
            champion_number: champion,
            champion_commit: candidate.map(|c| c.commit.to_string()).unwrap_or_default(),
            champion_branch: self
                .experiments
                .first()
                .and_then(|start| start.candidate.as_ref())
                .map(|start| start.branch.clone())
                .unwrap_or_default(),
            experiments: self
                .experiments
                .iter()
                .filter(|experiment| experiment.id.number > 0)
                .map(|experiment| self.experiment_view(experiment, diff(experiment)))
                .collect(),
            verification: self.verification(),
            faults: self.faults.clone(),
            warnings: self.warnings(),
            seconds_total: self.seconds(),
            seconds_training: self.training_seconds(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.experiments.iter().any(|e| e.decision.as_ref().is_some_and(|d| d.rule.starts_with("lower-is-kept"))) {
            warnings.push(
                "Kept means lower in a single run of each, with the same seed. Differences of the size of the noise are \
                 kept by luck: repeat what you want to merge (`nocturne replay`)."
                    .to_owned(),
            );
        }
        if self.night.end.is_none() {
            warnings.push("This night has not ended: it runs, or was cut off.".to_owned());
        }
        warnings
    }

    fn verification(&self) -> VerificationView {
        let mut view = VerificationView::default();
        for trial in &self.trials {
            match &trial.evaluation {
                None => continue,
                Some(Evaluation::Verified(_)) => view.verified += 1,
                Some(Evaluation::Rejected(rejected)) => *view.rejected.entry(rejected.check.clone()).or_default() += 1,
            }
            let Some(certificate) = &trial.certificate else {
                view.uncertified += 1;
                continue;
            };
            for (known, name) in
                [(&mut view.evaluators, &certificate.evaluator), (&mut view.sandboxes, &certificate.sandbox)]
            {
                if !known.contains(name) {
                    known.push(name.clone());
                }
            }
            if let Some(cuts) = certificate.audit.as_ref().map(|audit| audit.cuts) {
                let (fewest, most) = view.cuts.unwrap_or((cuts, cuts));
                view.cuts = Some((fewest.min(cuts), most.max(cuts)));
            }
        }
        view
    }

    fn experiment_view(&self, experiment: &ExperimentRecord, diff: String) -> ExperimentView {
        let number = experiment.id.number;
        let trial = self.trial(number);
        let trained = trial.and_then(|trial| trial.trained.as_ref());
        let candidate = experiment.candidate.as_ref();
        let decision = experiment.decision.as_ref();
        ExperimentView {
            number,
            title: experiment.proposal.title.clone(),
            hypothesis: experiment.proposal.hypothesis.clone(),
            source: experiment.proposal.source.clone(),
            verdict: decision.map(|decision| shown(decision.verdict)),
            reason: decision.map(|decision| decision.reason.clone()).unwrap_or_default(),
            val_bpb: self.val_bpb(number),
            standard_error: self.standard_error(number),
            difference: decision.and_then(|decision| decision.difference),
            interval: decision.and_then(|decision| decision.interval),
            predicted_effect: experiment.proposal.predicted_effect,
            champion_number: self.number_of(&experiment.champion),
            proposer: experiment.proposal.author.proposer.clone(),
            family: experiment.proposal.family.clone(),
            commit: candidate.map(|c| c.commit.to_string()).unwrap_or_default(),
            branch: candidate.map(|c| c.branch.clone()).unwrap_or_default(),
            diff,
            lines_added: candidate.map_or(0, |c| c.lines_added),
            lines_removed: candidate.map_or(0, |c| c.lines_removed),
            training_seconds: trained.map(|trained| trained.training_seconds),
            peak_memory_bytes: trained.map(|trained| trained.peak_memory_bytes),
            tokens: trained.map(|trained| trained.tokens),
            started_at_minutes: trial.map(|trial| seconds_between(self.night.started_at, trial.started_at) / 60.0),
        }
    }

    /// The losses of an experiment's trial.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn curve(&self, layout: &Layout, number: u32) -> Result<CurveView, FileError> {
        let experiment = self.experiments.iter().find(|experiment| experiment.id.number == number);
        let label = match experiment {
            Some(experiment) if number > 0 => experiment.proposal.title.clone(),
            _ => "start of the night".to_owned(),
        };
        let verdict = experiment.filter(|_| number > 0).and_then(|e| e.decision.as_ref()).map(|d| shown(d.verdict));
        let points = match self.trial(number) {
            Some(trial) => read_curve(&layout.curve(&trial.experiment, trial.ordinal))?,
            None => Vec::new(),
        };
        Ok(CurveView { experiment: number, label, verdict, points })
    }
}

/// Reads `curve.jsonl`; a line that a crash cut in two ends the curve.
fn read_curve(path: &Path) -> Result<Vec<CurvePoint>, FileError> {
    let text = match files::read_capped(path, MOST_CURVE_BYTES) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .map_while(|line| serde_json::from_str::<crate::run::trial::CurvePoint>(line).ok())
        .map(|point| CurvePoint { tokens: point.tokens, seconds: point.seconds, loss: point.loss })
        .collect())
}

fn shown(verdict: Verdict) -> dashboards::Verdict {
    match verdict {
        Verdict::Kept => dashboards::Verdict::Kept,
        Verdict::Discarded => dashboards::Verdict::Discarded,
        Verdict::Inconclusive => dashboards::Verdict::Inconclusive,
        Verdict::Invalid => dashboards::Verdict::Invalid,
        Verdict::Crashed => dashboards::Verdict::Crashed,
        Verdict::Unbuildable => dashboards::Verdict::Unbuildable,
    }
}

fn seconds_between(from: jiff::Timestamp, to: jiff::Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn date(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %B %Y, %H:%M").to_string()
}

fn budget(budget: protocol::Budget) -> String {
    match budget {
        protocol::Budget::Seconds(seconds) => format!("{seconds} s"),
        protocol::Budget::Tokens(tokens) => format!("{:.1} million tokens", tokens as f64 / 1e6),
    }
}

/// Writes all of a night's pictures, its page and `results.tsv`; returns the files, the page first.
///
/// # Errors
/// See [`ReportError`].
pub async fn write(layout: &Layout, reader: &Reader, id: &NightId) -> Result<Vec<PathBuf>, ReportError> {
    let records = NightRecords::read(reader, id).await?;
    let layout = layout.clone();
    tokio::task::spawn_blocking(move || write_files(&layout, &records)).await?
}

fn write_files(layout: &Layout, records: &NightRecords) -> Result<Vec<PathBuf>, ReportError> {
    let folder = layout.reports(&records.night.campaign, &records.night.id);
    let repo = Repo::discover(layout.root())?;
    let view = records.view(|experiment| diff(&repo, experiment));
    let mut curves: BTreeMap<u32, CurveView> = BTreeMap::new();
    for experiment in &records.experiments {
        curves.insert(experiment.id.number, records.curve(layout, experiment.id.number)?);
    }
    let all: Vec<CurveView> = curves.values().filter(|curve| !curve.points.is_empty()).cloned().collect();

    let mut written = vec![folder.join("report.html")];
    let mut keep = |name: &str, picture: &Picture| -> Result<(), FileError> {
        for (extension, content) in [("svg", picture.svg.as_bytes()), ("png", picture.png.as_slice())] {
            let path = folder.join(format!("{name}.{extension}"));
            files::write_atomically(&path, content)?;
            written.push(path);
        }
        Ok(())
    };
    let mut pictures = NightPictures::default();
    let progress = dashboards::progress(&view)?;
    keep("progress", &progress)?;
    pictures.progress = Some(progress);
    let tokens = dashboards::losses(&view, &all, CurveAxis::Tokens)?;
    keep("loss-tokens", &tokens)?;
    pictures.loss_tokens = Some(tokens);
    let time = dashboards::losses(&view, &all, CurveAxis::Time)?;
    keep("loss-time", &time)?;
    pictures.loss_time = Some(time);
    for experiment in &view.experiments {
        let Some(curve) = curves.get(&experiment.number) else { continue };
        let champion = curves.get(&experiment.champion_number).filter(|champion| !champion.points.is_empty());
        if curve.points.is_empty() {
            continue;
        }
        let picture = dashboards::experiment(&view, experiment, curve, champion, CurveAxis::Tokens)?;
        keep(&format!("experiment-{:03}", experiment.number), &picture)?;
        pictures.experiments.insert(experiment.number, picture);
    }
    let table = folder.join("results.tsv");
    files::write_atomically(&table, results::results_tsv(&records.experiments, &records.trials).as_bytes())?;
    written.push(table);
    files::write_atomically(&folder.join("report.html"), dashboards::page(&view, &pictures).as_bytes())?;
    Ok(written)
}

/// The change that an experiment makes; empty where it has no commit or git cannot say.
fn diff(repo: &Repo, experiment: &ExperimentRecord) -> String {
    let Some(candidate) = &experiment.candidate else { return String::new() };
    if candidate.commit == candidate.parent {
        return String::new();
    }
    repo.diff(&candidate.parent, &candidate.commit)
        .unwrap_or_else(|error| format!("(the diff cannot be shown: {error})\n"))
}

/// An experiment named on the command line: `NIGHT/NUMBER`, or a number of the given night.
pub fn named(text: &str, latest: Option<&NightId>) -> Option<ExperimentId> {
    text.parse().ok().or_else(|| Some(ExperimentId { night: latest?.clone(), number: text.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{certificate, trial, verified};
    use crate::flow::{Rejected, TrialEnd};

    #[test]
    fn verification_is_told_over_all_trials() {
        let night = NightRecord {
            id: "n".parse().unwrap(),
            campaign: "quickstart".to_owned(),
            start_commit: "a".repeat(40).parse().unwrap(),
            program_sha256: String::new(),
            campaign_sha256: String::new(),
            campaign_text: String::new(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            deadline: None,
            experiment_limit: None,
            seeds: vec![1],
            proposer_seed: 1,
            machine: BTreeMap::new(),
            end: None,
        };
        let certified = |number, evaluation: Evaluation, cuts: Option<u32>| {
            let mut made = certificate();
            made.audit = made.audit.zip(cuts).map(|(audit, cuts)| crate::flow::Audit { cuts, ..audit });
            TrialRecord { certificate: Some(made), ..trial(number, TrialEnd::Finished, Some(evaluation)) }
        };
        let rejected = |check: &str| Rejected { check: check.to_owned(), evidence: String::new() };
        let records = NightRecords {
            night,
            experiments: Vec::new(),
            trials: vec![
                trial(0, TrialEnd::Finished, Some(verified(1.9, 0.0).into())),
                certified(1, verified(1.8, 2.0e-6).into(), Some(256)),
                certified(2, rejected("audit-largest").into(), Some(64)),
                certified(3, rejected("finite").into(), None),
                certified(4, rejected("finite").into(), None),
                trial(5, TrialEnd::TimedOut, None),
            ],
            faults: Vec::new(),
        };
        let view = records.view(|_| String::new());
        let expected = VerificationView {
            evaluators: vec![certificate().evaluator],
            cuts: Some((64, 256)),
            sandboxes: vec![certificate().sandbox],
            verified: 2,
            rejected: [("audit-largest".to_owned(), 1), ("finite".to_owned(), 2)].into(),
            uncertified: 1,
        };
        assert_eq!(view.verification, expected);
        // Nothing audited the first, so nothing is known of its error.
        assert_eq!((view.baseline_error, records.standard_error(1)), (None, Some(2.0e-6)));
        assert_eq!((records.standard_error(2), records.standard_error(9)), (None, None));
    }
}
