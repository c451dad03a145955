//! Loss curves of trials, as the agent wrote them down while they trained.

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

impl NightRecords {
    /// The losses of an experiment's trial.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn curve(&self, layout: &Layout, number: u32) -> Result<CurveView, FileError> {
        self.curve_of(layout, number, self.trial(number))
    }

    /// The losses of the runs to which an experiment's curve is compared: its champion's run under the same seed first, where there
    /// is one, then its champion's other runs of that era. Runs without losses are left out.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn curves_of_champion(&self, layout: &Layout, number: u32, champion: u32) -> Result<Vec<CurveView>, FileError> {
        let same_seed = |own: &TrialRecord| {
            let runs = self.runs(champion).into_iter();
            runs.rev().find(|run| (run.seed, run.era) == (own.seed, own.era))
        };
        let pair = self.trial(number).and_then(same_seed).or_else(|| self.trial(champion));
        let is_other = |run: &&TrialRecord| pair.is_none_or(|pair| pair.era == run.era && pair.ordinal != run.ordinal);
        let others = self.runs(champion).into_iter().filter(is_other);
        let mut curves = Vec::new();
        for trial in pair.into_iter().chain(others) {
            let curve = self.curve_of(layout, champion, Some(trial))?;
            curves.extend(Some(curve).filter(|curve| !curve.points.is_empty()));
        }
        Ok(curves)
    }

    fn curve_of(&self, layout: &Layout, number: u32, trial: Option<&TrialRecord>) -> Result<CurveView, FileError> {
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
        let points = match trial {
            Some(trial) => curve_points(&layout.curve(&trial.experiment, trial.ordinal))?,
            None => Vec::new(),
        };
        let points = points
            .into_iter()
            .map(|point| CurvePoint { tokens: point.tokens, seconds: point.seconds, loss: point.loss })
            .collect();
        Ok(CurveView { experiment: number, label, verdict, parameters, points })
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
