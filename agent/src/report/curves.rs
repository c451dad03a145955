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

    /// The losses of the run to which an experiment's curve is compared: its champion's under the same seed, where there is one.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn curve_of_champion(&self, layout: &Layout, number: u32, champion: u32) -> Result<CurveView, FileError> {
        let same_seed = |own: &TrialRecord| {
            let runs = self.runs(champion).into_iter();
            runs.rev().find(|run| (run.seed, run.era) == (own.seed, own.era))
        };
        let pair = self.trial(number).and_then(same_seed).or_else(|| self.trial(champion));
        self.curve_of(layout, champion, pair)
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
        let points = match trial {
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
        .map_while(|line| serde_json::from_str::<crate::run::CurvePoint>(line).ok())
        .map(|point| CurvePoint { tokens: point.tokens, seconds: point.seconds, loss: point.loss })
        .collect())
}
