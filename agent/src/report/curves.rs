//! Loss curves of trials, as the agent wrote them down while they trained.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use dashboards::{CurvePoint, CurveView};

use super::NightRecords;
use super::view::shown;
use crate::files::{self, FileError};
use crate::flow::Verdict;
use crate::layout::Layout;
use crate::records::TrialRecord;

/// A curve longer than this is not read: 64 MiB hold more than half a million steps.
const MOST_CURVE_BYTES: u64 = 64 << 20;

/// The losses of a night's experiments and of the runs that they are compared with, each read once.
#[derive(Debug, Clone, Default)]
pub struct Curves {
    /// By experiment and ordinal.
    points: BTreeMap<(u32, u32), Vec<CurvePoint>>,
    /// The curve of each experiment, without its points.
    own: Vec<(CurveView, Option<(u32, u32)>)>,
}

impl Curves {
    /// Reads the curves of all experiments.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(records: &NightRecords, layout: &Layout) -> Result<Self, FileError> {
        let numbers = records.experiments.iter().map(|experiment| experiment.id.number);
        Self::read_of(records, layout, &numbers.collect::<Vec<u32>>())
    }

    /// Reads the curves of some experiments, and of the runs that they are compared with.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read_of(records: &NightRecords, layout: &Layout, numbers: &[u32]) -> Result<Self, FileError> {
        let mut curves = Self::default();
        for number in numbers {
            let trial = records.trial(*number);
            let champion = records.champion_of(*number);
            let compared = champion.map(|champion| records.runs_of_champion(*number, champion)).unwrap_or_default();
            for trial in trial.into_iter().chain(compared) {
                if let Entry::Vacant(place) = curves.points.entry(place_of(trial)) {
                    place.insert(points_of(&layout.curve(&trial.experiment, trial.ordinal))?);
                }
            }
            curves.own.push((records.unread_curve(*number, trial), trial.map(place_of)));
        }
        Ok(curves)
    }

    /// The curve of each experiment that was read.
    pub fn all(&self) -> impl Iterator<Item = CurveView> {
        self.own.iter().map(|(curve, place)| CurveView { points: self.points(*place), ..curve.clone() })
    }

    /// The losses of an experiment's trial; without points where it was not read.
    pub fn of(&self, records: &NightRecords, number: u32) -> CurveView {
        let trial = records.trial(number);
        CurveView { points: self.points(trial.map(place_of)), ..records.unread_curve(number, trial) }
    }

    /// The losses of the runs to which an experiment's curve is compared: its champion's run under the same seed first, where there
    /// is one, then its champion's other runs of that era. Runs without losses are left out.
    pub fn of_champion(&self, records: &NightRecords, number: u32, champion: u32) -> Vec<CurveView> {
        let runs = records.runs_of_champion(number, champion).into_iter();
        runs.map(|run| CurveView {
            points: self.points(Some(place_of(run))),
            ..records.unread_curve(champion, Some(run))
        })
        .filter(|curve| !curve.points.is_empty())
        .collect()
    }

    fn points(&self, place: Option<(u32, u32)>) -> Vec<CurvePoint> {
        place.and_then(|place| self.points.get(&place)).cloned().unwrap_or_default()
    }
}

fn place_of(trial: &TrialRecord) -> (u32, u32) {
    (trial.experiment.number, trial.ordinal)
}

fn points_of(path: &Path) -> Result<Vec<CurvePoint>, FileError> {
    let of =
        |point: crate::run::CurvePoint| CurvePoint { tokens: point.tokens, seconds: point.seconds, loss: point.loss };
    Ok(curve_points(path)?.into_iter().map(of).collect())
}

impl NightRecords {
    /// Number of the experiment that was the champion when another was tried.
    fn champion_of(&self, number: u32) -> Option<u32> {
        let experiment = self.experiments.iter().find(|experiment| experiment.id.number == number)?;
        (number > 0).then(|| self.number_of(&experiment.champion))
    }

    fn runs_of_champion(&self, number: u32, champion: u32) -> Vec<&TrialRecord> {
        let same_seed = |own: &TrialRecord| {
            let runs = self.runs(champion).into_iter();
            runs.rev().find(|run| (run.seed, run.era) == (own.seed, own.era))
        };
        let pair = self.trial(number).and_then(same_seed).or_else(|| self.trial(champion));
        let is_other = |run: &&TrialRecord| pair.is_none_or(|pair| pair.era == run.era && pair.ordinal != run.ordinal);
        let others = self.runs(champion).into_iter().filter(is_other);
        pair.into_iter().chain(others).collect()
    }

    /// What is known of a trial's curve but its points.
    fn unread_curve(&self, number: u32, trial: Option<&TrialRecord>) -> CurveView {
        let experiment = self.experiments.iter().find(|experiment| experiment.id.number == number);
        let label = match experiment {
            Some(experiment) if number > 0 => experiment.proposal.title.clone(),
            _ => "start of the night".to_owned(),
        };
        // What was kept and does not stand is no line to follow.
        let counted =
            |verdict| if verdict == Verdict::Kept && !self.stands(number) { Verdict::Invalid } else { verdict };
        let decision = experiment.filter(|_| number > 0).and_then(|experiment| experiment.decision.as_ref());
        let verdict = decision.map(|decision| shown(counted(decision.verdict)));
        let parameters = trial.and_then(|trial| trial.trained.as_ref()).map(|trained| trained.parameters);
        let seed = trial.and_then(|trial| self.seed_index(trial));
        CurveView { experiment: number, label, verdict, parameters, seed, points: Vec::new() }
    }
}

/// The points of a `curve.jsonl`, none where there is no such file; a line that a crash cut in two ends it.
///
/// # Errors
/// When the file is there and cannot be read, or is longer than any trial's.
pub fn curve_points(path: &Path) -> Result<Vec<crate::run::CurvePoint>, FileError> {
    let text = match files::read_capped(path, MOST_CURVE_BYTES) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&text).lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}
