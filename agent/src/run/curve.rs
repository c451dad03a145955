//! Curves of training loss: the points of `curve.jsonl`, and how far along the budget each of them is.
//!
//! Losses stand here by the trainer's word. Nothing is kept because of them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use protocol::Budget;
use serde::{Deserialize, Serialize};

use super::pace::MOST_STEPS;
use crate::files::FileError;

/// A line is shorter than this.
const MOST_LINE_BYTES: u64 = 256;

/// Parts of the budget over which points are averaged: as many as a curve can be told apart by, and few enough to keep in memory.
const PARTS: usize = 2_000;

/// One line of `curve.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds since `Go`, by the agent's clock.
    pub seconds: f64,
    /// Training loss in nats per token, by the trainer's word; `None` where it was not finite.
    pub loss: Option<f64>,
}

impl CurvePoint {
    /// How much of the budget is used, 0 to 1: by the agent's clock where the budget is in seconds, else by the tokens.
    pub fn fraction(&self, budget: Budget) -> f64 {
        let fraction = match budget {
            Budget::Seconds(seconds) => self.seconds / seconds,
            Budget::Tokens(tokens) => self.tokens as f64 / tokens as f64,
        };
        fraction.clamp(0.0, 1.0)
    }
}

/// A curve of a length that does not depend on the number of steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Per part of the budget that has points: its number, and the means of progress and loss.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    number: usize,
    points: f64,
    progress: f64,
    loss: f64,
}

impl Curve {
    /// Adds a point, which must not be before the newest; one without a finite loss is left out.
    pub fn push(&mut self, budget: Budget, point: &CurvePoint) {
        let Some(loss) = point.loss.filter(|loss| loss.is_finite()) else { return };
        let progress = point.fraction(budget);
        let number = (progress * PARTS as f64) as usize;
        match self.parts.last_mut().filter(|part| part.number >= number) {
            Some(part) => {
                part.points += 1.0;
                part.progress += (progress - part.progress) / part.points;
                part.loss += (loss - part.loss) / part.points;
            }
            None => self.parts.push(Part { number, points: 1.0, progress, loss }),
        }
    }

    /// (progress, loss) in order, averaged over small parts of the budget.
    pub fn points(&self) -> Vec<(f64, f64)> {
        self.parts.iter().map(|part| (part.progress, part.loss)).collect()
    }

    /// Reads a `curve.jsonl`. A last line that a crash cut in two ends it.
    ///
    /// # Errors
    /// When the file cannot be read, or is longer than that of any trial.
    pub fn read(path: &Path, budget: Budget) -> Result<Curve, FileError> {
        let io = |source| FileError::Io { action: "read the curve", path: path.to_owned(), source };
        let most = MOST_STEPS as u64 * MOST_LINE_BYTES;
        let mut lines = BufReader::new(File::open(path).map_err(io)?.take(most));
        let (mut curve, mut line, mut read) = (Curve::default(), Vec::new(), 0);
        loop {
            line.clear();
            let got = (&mut lines).take(MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(io)? as u64;
            read += got;
            if read >= most {
                return Err(FileError::TooLarge { path: path.to_owned(), limit: most });
            }
            match serde_json::from_slice(&line) {
                Ok(point) => curve.push(budget, &point),
                Err(_) if !line.ends_with(b"\n") && got < MOST_LINE_BYTES => return Ok(curve),
                Err(source) => return Err(FileError::Damaged { path: path.to_owned(), source }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64, seconds: f64, loss: Option<f64>) -> CurvePoint {
        CurvePoint { step, tokens: 100 * step, seconds, loss }
    }

    #[test]
    fn progress_is_by_the_budgets_own_measure() {
        let point = point(3, 5.0, None);
        for (budget, fraction) in
            [(Budget::Seconds(20.0), 0.25), (Budget::Tokens(400), 0.75), (Budget::Seconds(4.0), 1.0)]
        {
            assert!((point.fraction(budget) - fraction).abs() < 1e-12, "{budget:?}");
        }
    }

    #[test]
    fn a_curve_of_any_number_of_steps_stays_short_and_keeps_its_means() {
        let budget = Budget::Seconds(1.0);
        let mut curve = Curve::default();
        for step in 1..=100_000 {
            curve.push(budget, &point(step, step as f64 / 1e5, Some(1.0 - step as f64 / 1e5)));
        }
        curve.push(budget, &point(100_001, 1.0, None));
        curve.push(budget, &point(100_002, 1.0, Some(f64::NAN)));
        let points = curve.points();
        assert!(points.len() <= PARTS + 1, "{}", points.len());
        assert!(points.is_sorted_by(|one, next| one.0 < next.0));
        assert!(points.iter().all(|(progress, loss)| (progress + loss - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_file_is_read_up_to_a_line_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.jsonl");
        let line = |point: &CurvePoint| serde_json::to_string(point).unwrap();
        let whole = format!("{}\n{}\n", line(&point(1, 1.0, Some(4.0))), line(&point(2, 2.0, None)));
        let last = line(&point(3, 3.0, Some(2.0)));
        let budget = Budget::Seconds(4.0);
        for (text, expected) in [
            (String::new(), vec![]),
            (whole.clone(), vec![(0.25, 4.0)]),
            (format!("{whole}{last}\n"), vec![(0.25, 4.0), (0.75, 2.0)]),
            (format!("{whole}{}", &last[..20]), vec![(0.25, 4.0)]),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(Curve::read(&path, budget).unwrap().points(), expected, "{text:?}");
        }
        for bad in ["nonsense\n".to_owned(), "x".repeat(300)] {
            std::fs::write(&path, format!("{whole}{bad}")).unwrap();
            assert!(Curve::read(&path, budget).unwrap_err().to_string().contains("curve.jsonl"), "{bad}");
        }
        assert!(Curve::read(&folder.path().join("none"), budget).unwrap_err().is_not_found());
    }
}
