//! Trials with their curves.

use std::fmt::Write as _;

use jiff::Timestamp;
use nocturne::flow::{ExperimentId, Purpose, Trained, TrialEnd};
use nocturne::layout::Layout;
use nocturne::records::{Evaluation, FILE_VERSION, TrialFile, TrialRecord};
use protocol::Budget;

use crate::certificate::{certificate, rejected, verified};
use crate::chance::Chance;
use crate::files;
use crate::journal::Clock;
use crate::night::Size;

/// Seconds of training.
const SECONDS: f64 = 20.0;

/// How a trial goes.
pub enum Course {
    /// To its end, and the evaluator vouches for these bits per byte.
    Verified(f64),
    /// To its end, and the evaluator does not.
    Rejected,
    /// It crashes with these last words.
    Crashed(&'static str),
    /// It is stopped at a third.
    StoppedEarly,
}

/// A trial that is to be written.
pub struct Trial<'a> {
    /// Of which experiment.
    pub experiment: &'a ExperimentId,
    /// From 1.
    pub ordinal: u32,
    /// Its seed.
    pub seed: u64,
    /// What for.
    pub purpose: Purpose,
    /// The executable.
    pub artifact: &'a str,
    /// How it goes.
    pub course: Course,
}

/// Writes a trial and its curve; the clock stands at its end afterwards. Returns how many points the curve has.
pub fn write(
    layout: &Layout,
    chance: &mut Chance,
    clock: &mut Clock,
    size: &Size,
    trial: &Trial<'_>,
) -> Result<u64, String> {
    let Trial { experiment, ordinal, seed, purpose, artifact, course } = trial;
    let share = match course {
        Course::Verified(_) | Course::Rejected => 1.0,
        Course::Crashed(_) => chance.between(0.05, 0.6),
        Course::StoppedEarly => 0.34,
    };
    let end = match course {
        Course::Verified(_) | Course::Rejected => TrialEnd::Finished,
        Course::Crashed(message) => TrialEnd::Crashed { message: (*message).to_owned() },
        Course::StoppedEarly => {
            TrialEnd::StoppedEarly { message: "0.052 above its champion's curve at a third of the budget".to_owned() }
        }
    };
    let finished = end == TrialEnd::Finished;
    let points = ((f64::from(size.points) * share) as u64).max(1);
    // Bits per byte of this tokenizer times about two is nats per token.
    let floor = match course {
        Course::Verified(val_bpb) => 2.1 * val_bpb,
        _ => 4.2,
    };
    let (curve, last) = curve(chance, points, floor, SECONDS * share / points as f64);
    files::bytes(&layout.curve(experiment, *ordinal), curve.as_bytes())?;

    let budget = Budget::Seconds(SECONDS);
    let checkpoint = chance.digest();
    let started_at = clock.now();
    let ended_at = clock.pass(0.3 + SECONDS * share);
    let (evaluation, certificate, evaluated_at): (_, _, Option<Timestamp>) = match course {
        Course::Verified(val_bpb) => {
            let certificate = certificate(chance, *val_bpb, &checkpoint, artifact, true);
            let seconds = certificate.seconds;
            (Some(Evaluation::Verified(verified(*val_bpb, seconds))), Some(certificate), Some(clock.pass(seconds)))
        }
        Course::Rejected => {
            let certificate = certificate(chance, 0.9, &checkpoint, artifact, false);
            let seconds = certificate.seconds;
            (Some(Evaluation::Rejected(rejected())), Some(certificate), Some(clock.pass(seconds)))
        }
        Course::Crashed(_) | Course::StoppedEarly => (None, None, None),
    };
    let record = TrialRecord {
        experiment: (*experiment).clone(),
        ordinal: *ordinal,
        seed: *seed,
        budget,
        purpose: *purpose,
        era: 0,
        would_stop: None,
        device: None,
        artifact_sha256: (*artifact).to_owned(),
        folder: Layout::trial_folder(experiment, *ordinal),
        started_at,
        trained: Some(Trained {
            end,
            seed: *seed,
            budget,
            steps: points,
            tokens: 4096 * points,
            parameters: 3_145_860,
            training_seconds: SECONDS * share,
            start_seconds: 0.22,
            peak_memory_bytes: 827_330_560,
            final_loss: Some(last),
            checkpoint_sha256: finished.then_some(checkpoint),
        }),
        ended_at: Some(ended_at),
        evaluation,
        certificate,
        evaluated_at,
    };
    files::json(&layout.trial_file(experiment, *ordinal), &TrialFile { version: FILE_VERSION, trial: record })?;
    Ok(points)
}

/// Lines of a `curve.jsonl` that falls from that of guessing towards `floor`, and the last loss.
fn curve(chance: &mut Chance, points: u64, floor: f64, seconds: f64) -> (String, f64) {
    let mut lines = String::with_capacity(points as usize * 90);
    let mut loss = 7.6;
    for step in 1..=points {
        let progress = step as f64 / points as f64;
        let trend = floor + (7.6 - floor) * (1.0 - progress).powi(2) / (1.0 + 9.0 * progress);
        loss = trend + 0.03 * chance.normal();
        // Writing into a string cannot fail.
        let _ = writeln!(
            lines,
            "{{\"step\":{step},\"tokens\":{},\"seconds\":{:.6},\"loss\":{loss:.9}}}",
            4096 * step,
            seconds * step as f64
        );
    }
    (lines, loss)
}
