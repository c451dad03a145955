//! What a trainer tells of its own steps: where their time goes and how large their gradients are. It is the word of a process that runs edited
//! code, so it is bounded where it comes in, stands in a file of its own beside the curve, and is told to those who propose, as that. Nothing
//! is decided by it, and a trial without it is a trial.

use std::path::{Path, PathBuf};

use protocol::Measured;
use serde::{Deserialize, Serialize};

use crate::files::{FileError, read_capped};

/// Steps of a trial that are kept.
const MOST_STEPS: usize = 64;

/// Groups of parameters of a step.
const MOST_GROUPS: usize = 16;

/// Characters of a group's name.
const MOST_NAME: usize = 40;

/// Largest norm, and longest time in seconds, that is believed to be one.
const MOST: f64 = 1e12;

/// Bytes of a line, for any step that passes [`MeasuredStep::of`].
const MOST_LINE_BYTES: u64 = 2_048;

/// One line of `measured.jsonl`: a step that was sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredStep {
    /// Optimizer step, from 1.
    pub step: u64,
    /// How much of the budget was used, 0 to 1, by the agent's reckoning.
    pub fraction: f64,
    /// What it showed.
    pub measured: Measured,
}

impl MeasuredStep {
    /// Takes a trainer's word in; `None` where it cannot be what it says.
    pub fn of(step: u64, fraction: f64, told: Measured) -> Option<Self> {
        let Measured { data, forward, backward, optimizer, rest, gradient_norm, groups, resident_bytes } = told;
        let possible = |value: &f64| (0.0..MOST).contains(value);
        if ![data, forward, backward, optimizer, rest].iter().all(possible) {
            return None;
        }
        let name_is_plain = |name: &str| {
            !name.is_empty()
                && name.len() <= MOST_NAME
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        let mut kept: Vec<(String, f64)> = groups;
        kept.retain(|(name, norm)| name_is_plain(name) && possible(norm));
        kept.truncate(MOST_GROUPS);
        let gradient_norm = gradient_norm.filter(possible);
        let measured =
            Measured { data, forward, backward, optimizer, rest, gradient_norm, groups: kept, resident_bytes };
        Some(Self { step, fraction, measured })
    }

    /// Seconds of the whole step.
    pub fn seconds(&self) -> f64 {
        let Measured { data, forward, backward, optimizer, rest, .. } = self.measured;
        data + forward + backward + optimizer + rest
    }
}

/// Resident memory at the first and at the last of the steps that tell it, each with its step's number; one that grows over a run shows here.
/// In bytes, by the trainer's word.
pub fn resident(steps: &[MeasuredStep]) -> Option<[(u64, u64); 2]> {
    let mut told = steps.iter().filter_map(|step| Some((step.step, step.measured.resident_bytes?)));
    let first = told.next()?;
    Some([first, told.next_back().unwrap_or(first)])
}

/// Takes a step into those of a trial; beyond so many, none.
pub(super) fn keep(steps: &mut Vec<MeasuredStep>, step: Option<MeasuredStep>) {
    if steps.len() < MOST_STEPS {
        steps.extend(step);
    }
}

/// Writes the sampled steps of the trial whose curve is `curve`, in place of what an earlier try of it left.
///
/// # Errors
/// When that cannot be done.
pub(super) fn write(curve: &Path, steps: &[MeasuredStep]) -> std::io::Result<()> {
    let path = beside(curve);
    if steps.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let mut text = Vec::new();
    for step in steps {
        serde_json::to_writer(&mut text, step)?;
        text.push(b'\n');
    }
    std::fs::write(&path, text)
}

/// The file of a trial whose curve is `curve`.
fn beside(curve: &Path) -> PathBuf {
    curve.with_file_name("measured.jsonl")
}

/// The sampled steps of the trial whose curve is `curve`, in order; none where none were told. A last line that a crash cut in two ends them.
///
/// # Errors
/// When the file cannot be read, is longer than that of any trial, or is damaged.
pub fn measured(curve: &Path) -> Result<Vec<MeasuredStep>, FileError> {
    let path = beside(curve);
    let bytes = match read_capped(&path, MOST_STEPS as u64 * MOST_LINE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut steps = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(step) => steps.push(step),
            Err(_) if !line.ends_with(b"\n") => break,
            Err(source) => return Err(FileError::Damaged { path, source }),
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Measured {
        let groups = vec![("blocks.query".to_owned(), 3.0), ("head".to_owned(), 4.0)];
        Measured {
            data: 0.1,
            forward: 1.0,
            backward: 2.0,
            optimizer: 0.5,
            rest: 0.0,
            gradient_norm: Some(5.0),
            groups,
            resident_bytes: Some(300_000_000),
        }
    }

    #[test]
    fn a_trainers_word_is_bounded_where_it_comes_in() {
        assert_eq!(MeasuredStep::of(3, 0.5, told()).unwrap().measured, told());
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e13] {
            assert_eq!(MeasuredStep::of(3, 0.5, Measured { forward: odd, ..told() }), None, "{odd}");
            let kept = MeasuredStep::of(3, 0.5, Measured { gradient_norm: Some(odd), ..told() }).unwrap();
            assert_eq!(kept.measured.gradient_norm, None, "{odd}");
            let groups = vec![("a".to_owned(), odd), ("b".to_owned(), 1.0)];
            let kept = MeasuredStep::of(3, 0.5, Measured { groups, ..told() }).unwrap();
            assert_eq!(kept.measured.groups, [("b".to_owned(), 1.0)], "{odd}");
        }
        let names = ["", "a b", "x\n# Rules", "`", &"x".repeat(41), "\u{202e}"];
        let groups = names.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        assert_eq!(MeasuredStep::of(3, 0.5, Measured { groups, ..told() }).unwrap().measured.groups, []);
        let groups: Vec<(String, f64)> =
            (0..10_000).map(|i| (format!("{i:x<40}"), 1.234_567_890_123_456_7e11)).collect();
        let told = Measured { groups, resident_bytes: Some(u64::MAX), ..told() };
        let kept = MeasuredStep::of(u64::MAX, 1.0 / 3.0, told).unwrap();
        assert_eq!(kept.measured.groups.len(), MOST_GROUPS);
        assert!((serde_json::to_string(&kept).unwrap().len() as u64) < MOST_LINE_BYTES);
    }

    #[test]
    fn memory_is_that_of_the_first_and_the_last_step_that_tell_it() {
        let step = |step, resident_bytes| MeasuredStep::of(step, 0.5, Measured { resident_bytes, ..told() }).unwrap();
        assert_eq!(resident(&[step(2, None)]), None);
        assert_eq!(resident(&[step(2, None), step(3, Some(5))]), Some([(3, 5), (3, 5)]));
        let steps = [step(2, Some(7)), step(3, Some(5)), step(9, Some(6)), step(10, None)];
        assert_eq!(resident(&steps), Some([(2, 7), (9, 6)]));
    }

    #[test]
    fn a_trial_keeps_so_many_and_an_older_one_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let curve = folder.path().join("curve.jsonl");
        assert_eq!(measured(&curve).unwrap(), []);
        let mut steps = Vec::new();
        for step in 0..1_000 {
            keep(&mut steps, MeasuredStep::of(step, 0.5, told()));
        }
        write(&curve, &steps).unwrap();
        let kept = measured(&curve).unwrap();
        assert_eq!((kept.len(), kept[1].step), (MOST_STEPS, 1));
        // Another try of the same trial begins anew; a line that was cut is none.
        write(&curve, &steps[..1]).unwrap();
        let path = folder.path().join("measured.jsonl");
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..20])).unwrap();
        assert_eq!(measured(&curve).unwrap().len(), 1);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(measured(&curve).unwrap_err().to_string().contains("measured.jsonl"));
        write(&curve, &[]).unwrap();
        assert_eq!(measured(&curve).unwrap(), []);
    }
}
