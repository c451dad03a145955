//! The night's JSON files: the same records a second time, so that a lost database can be made again. The row is written
//! first; what a crash leaves out of the files, [`super::Store::refresh_files`] writes when the night goes on.

use serde::Serialize;

use super::error::StoreError;
use crate::files::{self, FileError};
use crate::flow::NightId;
use crate::layout::Layout;
use crate::records::{
    EffectRecord, EventRecord, ExchangeFile, ExchangeRecord, ExperimentFile, ExperimentRecord, FILE_VERSION, NightFile,
    QueueEntry, QueueFile, ReviewRecord, ReviewsFile, TrialFile, TrialRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Writes files away from the runtime's threads: each takes a few milliseconds of waiting for the disk.
async fn away(write: impl FnOnce() -> std::result::Result<(), FileError> + Send + 'static) -> Result<()> {
    match tokio::task::spawn_blocking(write).await {
        Ok(result) => Ok(result?),
        Err(stopped) => Err(StoreError::File(FileError::Io {
            action: "write",
            path: "the night's files".into(),
            source: std::io::Error::other(stopped),
        })),
    }
}

pub(super) async fn night(layout: &Layout, file: NightFile) -> Result<()> {
    let path = layout.night_file(&file.night.id);
    away(move || files::write_json_atomically(&path, &file)).await
}

pub(super) async fn experiment(layout: &Layout, experiment: ExperimentRecord) -> Result<()> {
    let path = layout.experiment_file(&experiment.id);
    away(move || files::write_json_atomically(&path, &ExperimentFile { version: FILE_VERSION, experiment })).await
}

pub(super) async fn trial(layout: &Layout, trial: TrialRecord) -> Result<()> {
    let path = layout.trial_file(&trial.experiment, trial.ordinal);
    away(move || files::write_json_atomically(&path, &TrialFile { version: FILE_VERSION, trial })).await
}

pub(super) async fn exchange(layout: &Layout, night: &NightId, exchange: ExchangeRecord) -> Result<()> {
    let path = layout.exchange_file(night, exchange.turn, exchange.round);
    away(move || files::write_json_atomically(&path, &ExchangeFile { version: FILE_VERSION, exchange })).await
}

pub(super) async fn queue(layout: &Layout, entries: Vec<QueueEntry>) -> Result<()> {
    let path = layout.queue_file();
    away(move || files::write_json_atomically(&path, &QueueFile { version: FILE_VERSION, entries })).await
}

pub(super) async fn reviews(layout: &Layout, reviews: Vec<ReviewRecord>) -> Result<()> {
    let path = layout.reviews_file();
    away(move || files::write_json_atomically(&path, &ReviewsFile { version: FILE_VERSION, reviews })).await
}

pub(super) async fn effect(layout: &Layout, night: &NightId, effect: EffectRecord) -> Result<()> {
    let path = layout.effects_file(night);
    away(move || files::append_json_line(&path, &effect)).await
}

pub(super) async fn event(layout: &Layout, night: &NightId, event: EventRecord) -> Result<()> {
    let path = layout.events_file(night);
    away(move || files::append_json_line(&path, &event)).await
}

/// Events and effects anew, without the torn or doubled lines that a crash may have left.
pub(super) async fn lines(
    layout: &Layout,
    night: &NightId,
    effects: Vec<EffectRecord>,
    events: Vec<EventRecord>,
) -> Result<()> {
    let (effects_path, events_path) = (layout.effects_file(night), layout.events_file(night));
    away(move || {
        files::write_atomically(&effects_path, &text_of(&effects_path, &effects)?)?;
        files::write_atomically(&events_path, &text_of(&events_path, &events)?)
    })
    .await
}

fn text_of<T: Serialize>(path: &std::path::Path, records: &[T]) -> std::result::Result<Vec<u8>, FileError> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)
            .map_err(|source| FileError::Unwritable { path: path.to_owned(), source })?;
        text.push(b'\n');
    }
    Ok(text)
}
