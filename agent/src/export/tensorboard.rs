//! A night for TensorBoard: a run for every trial, with its loss at every step and the figure that the evaluator vouches for.

use std::path::{Path, PathBuf};

use super::events::Events;
use super::{ExportError, begin};
use crate::files;
use crate::flow::Purpose;
use crate::layout::Layout;
use crate::records::TrialRecord;
use crate::repo::slug;
use crate::report::{NightRecords, curve_points};

/// Writes `<folder>/<number>-<title>/trial-<ordinal>/events.out.tfevents.<second>.nocturne` for every trial that has begun, and returns how many.
/// Scalars are `train/loss` (nats per token, the trainer's word), `train/tokens` and `train/seconds` by step, and `val/bpb` at the last
/// step (bits per byte, the evaluator's); `val/bpb-sealed` in its place for the morning's trials.
///
/// # Errors
/// The folder is not empty, a curve cannot be read or a file cannot be written.
pub fn write(layout: &Layout, records: &NightRecords, folder: &Path) -> Result<usize, ExportError> {
    begin(folder)?;
    for trial in &records.trials {
        let path = path_of(folder, records, trial);
        if let Some(parent) = path.parent() {
            files::create_folder(parent)?;
        }
        files::write_atomically(&path, &events(layout, trial)?)?;
    }
    Ok(records.trials.len())
}

fn path_of(folder: &Path, records: &NightRecords, trial: &TrialRecord) -> PathBuf {
    let number = trial.experiment.number;
    let experiment = records.experiments.iter().find(|experiment| experiment.id.number == number);
    let title = experiment.map_or("", |experiment| experiment.proposal.title.as_str());
    folder
        .join(format!("{number:03}-{}", slug(title)))
        .join(format!("trial-{}", trial.ordinal))
        .join(format!("events.out.tfevents.{}.nocturne", trial.started_at.as_second()))
}

fn events(layout: &Layout, trial: &TrialRecord) -> Result<Vec<u8>, ExportError> {
    let began = trial.started_at.as_millisecond() as f64 / 1e3;
    let mut events = Events::new(began);
    let points = curve_points(&layout.curve(&trial.experiment, trial.ordinal))?;
    for point in &points {
        let at = began + point.seconds;
        // A loss that was not finite has no figure: its step is left out.
        if let Some(loss) = point.loss {
            events.scalar(at, point.step, "train/loss", loss);
        }
        events.scalar(at, point.step, "train/tokens", point.tokens as f64);
        events.scalar(at, point.step, "train/seconds", point.seconds);
    }
    if let Some(val_bpb) = trial.val_bpb() {
        let (at, step) = points.last().map_or((began, 0), |last| (began + last.seconds, last.step));
        // The sealed text is another one: its figures compare with each other only.
        let tag = match trial.purpose {
            Purpose::Search => "val/bpb",
            Purpose::Morning => "val/bpb-sealed",
        };
        events.scalar(at, step, tag, val_bpb);
    }
    Ok(events.into_bytes())
}
