//! Writing files, and those that are no night's: reviews and the queue.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use nocturne::records::{FILE_VERSION, QueueEntry, QueueFile, QueueState, ReviewChoice, ReviewRecord, ReviewsFile};
use serde::Serialize;

use crate::chance::Chance;
use crate::night::Night;

/// Writes a file and the folders above it. Without the waits for the disk that the program itself makes: what a crash leaves of this is
/// made again from nothing.
pub fn bytes(path: &Path, content: &[u8]) -> Result<(), String> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::File::create(path).and_then(|mut file| file.write_all(content)).map_err(failed)
}

/// Writes a file of JSON.
pub fn json(path: &Path, value: &impl Serialize) -> Result<(), String> {
    bytes(path, &text(path, value)?)
}

/// Writes a file of JSON, one record a line.
pub fn lines<T: Serialize>(path: &Path, records: &[T]) -> Result<(), String> {
    let mut all = Vec::new();
    for record in records {
        all.extend(text(path, record)?);
        all.push(b'\n');
    }
    bytes(path, &all)
}

fn text(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// What the person has made of what was kept.
pub struct Reviews(Vec<ReviewRecord>);

impl Reviews {
    /// Of these nights.
    pub fn of(nights: &[Night], seed: u64) -> Self {
        let reasons = [
            "It adds forty lines for less than the noise.",
            "I do not want another constant to tune.",
            "Does not carry over to the large scale: tried in spring, and it diverged there.",
            "<b>Not</b> worth its memory & time.",
        ];
        let mut chance = Chance::new(seed, u64::MAX);
        let mut reviews = Vec::new();
        for night in nights {
            for experiment in &night.kept {
                let kind = chance.uniform();
                let (choice, reason) = match kind {
                    kind if kind < 0.55 => (ReviewChoice::Accepted, String::new()),
                    kind if kind < 0.80 => (ReviewChoice::Rejected, (*chance.pick(&reasons)).to_owned()),
                    _ => (ReviewChoice::Deferred, "after the release".to_owned()),
                };
                let at = later(night.ended_at, 3_600);
                let ordinal = u32::try_from(reviews.len()).unwrap_or(u32::MAX).saturating_add(1);
                reviews.push(ReviewRecord { ordinal, experiment: experiment.clone(), choice, reason, at });
            }
        }
        Self(reviews)
    }

    /// As the file holds them.
    pub fn file(self) -> ReviewsFile {
        ReviewsFile { version: FILE_VERSION, reviews: self.0 }
    }
}

/// Ideas of the person that wait, and some that they took back.
pub fn queue(nights: &[Night]) -> QueueFile {
    let at = nights.last().map_or(Timestamp::UNIX_EPOCH, |night| night.ended_at);
    let entries = (1..=24).map(|id| {
        let removed = id % 4 == 0;
        let mut words = format!("Idea {id}: let the value embeddings of every second layer share one table");
        if id % 5 == 0 {
            // Writing into a string cannot fail.
            let _ = write!(words, "\n\nIt saves {} MB, and the gate can tell the layers apart.", 3 * id);
        }
        QueueEntry {
            id,
            campaign: "quickstart".to_owned(),
            place: id,
            words,
            by: (id % 7 == 0).then(|| "a coding agent".to_owned()),
            patch: None,
            state: if removed { QueueState::Removed } else { QueueState::Waiting },
            taken: None,
            result: None,
            created_at: at,
            settled_at: removed.then_some(at),
        }
    });
    QueueFile { version: FILE_VERSION, entries: entries.collect() }
}

/// A time some seconds later.
pub fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}
