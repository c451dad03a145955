//! Making a lost or damaged database again from the nights' JSON files. What cannot be read is reported and left out; all the
//! rest is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::reader::Reader;
use super::{open, put};
use crate::files::{self, FileError};
use crate::flow::{ExperimentId, NightId};
use crate::layout::Layout;
use crate::records::{
    EffectRecord, EventRecord, ExchangeFile, ExperimentFile, FILE_VERSION, NightFile, QueueFile, ReviewsFile, TrialFile,
};

/// No JSON file of a night comes near this.
const FILE_LIMIT: u64 = 256 << 20;

/// Something that could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// What came of a [`rebuild`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Nights taken over.
    pub nights: usize,
    /// Experiments taken over.
    pub experiments: usize,
    /// Trials taken over.
    pub trials: usize,
    /// Calls of models taken over.
    pub exchanges: usize,
    /// Ideas of the person's queue taken over.
    pub queue: usize,
    /// The person's reviews taken over.
    pub reviews: usize,
    /// What was left out, and why.
    pub problems: Vec<Problem>,
    /// Where the old database lies now.
    pub set_aside: Option<PathBuf>,
}

impl Rebuilt {
    fn left_out(&mut self, path: &Path, problem: impl ToString) {
        self.problems.push(Problem { path: path.to_owned(), problem: problem.to_string() });
    }

    /// Takes the file's content, or notes why not. A file that is not there is no problem unless it is `needed`.
    fn read<T: DeserializeOwned>(&mut self, path: &Path, needed: bool) -> Option<T> {
        match files::read_json(path, FILE_LIMIT) {
            Ok(content) => Some(content),
            Err(error) if !needed && error.is_not_found() => None,
            Err(error) => {
                self.left_out(path, error);
                None
            }
        }
    }

    /// The records of a file of lines. A crash may have torn the last one.
    fn read_lines<T: DeserializeOwned>(&mut self, path: &Path) -> Vec<T> {
        let content = match files::read_capped(path, FILE_LIMIT) {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Vec::new(),
            Err(error) => {
                self.left_out(path, error);
                return Vec::new();
            }
        };
        let mut records = Vec::new();
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(record) => records.push(record),
                Err(error) => self.left_out(path, format!("line {}: {error}", index + 1)),
            }
        }
        records
    }

    /// Notes a row that the database refused, and goes on; any other failure ends the rebuild.
    fn taken(&mut self, path: &Path, result: Result<(), StoreError>) -> Result<bool, StoreError> {
        match result {
            Ok(()) => Ok(true),
            Err(error @ (StoreError::Constraint { .. } | StoreError::NotFinite { .. })) => {
                self.left_out(path, error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes the repository's database anew from `.nocturne/nights/` and puts it in the place of the old one, which is kept under
/// another name. No other process may use the database meanwhile: hold the night's lock.
pub async fn rebuild(layout: &Layout) -> Result<Rebuilt, StoreError> {
    files::create_folder(&layout.state())?;
    // beside the database, so that putting it in place is a rename
    let scratch = tempfile::Builder::new()
        .prefix(".rebuilding-")
        .tempdir_in(layout.state())
        .map_err(|source| FileError::Io { action: "create a folder in", path: layout.state(), source })?;
    let fresh = scratch.path().join("nocturne.db");

    let mut rebuilt = Rebuilt::default();
    let context = Context::new(&fresh);
    let pool = open::open_writer(&fresh, open::Care::AsItComes).await?;
    for (folder, id) in night_folders(layout, &mut rebuilt)? {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(context.sql("begin to write"))?;
        night(&mut transaction, &context, layout, &folder, &id, &mut rebuilt).await?;
        transaction.commit().await.map_err(context.sql("commit"))?;
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(context.sql("begin to write"))?;
    queue(&mut transaction, &context, layout, &mut rebuilt).await?;
    reviews(&mut transaction, &context, layout, &mut rebuilt).await?;
    transaction.commit().await.map_err(context.sql("commit"))?;
    // only the database itself is renamed; a log left behind would be lost
    open::single_file(&pool, &context).await?;
    pool.close().await;
    let reader = Reader::open(&fresh).await?;
    let found = reader.integrity_check().await?;
    reader.close().await;
    if !found.is_empty() {
        return Err(StoreError::Corrupt { path: fresh, detail: found.join("; ") });
    }
    rebuilt.set_aside = replace(&layout.database(), &fresh)?;
    Ok(rebuilt)
}

/// Folders of `nights/` in order; whatever else lies there is reported.
fn night_folders(layout: &Layout, rebuilt: &mut Rebuilt) -> Result<Vec<(PathBuf, NightId)>, StoreError> {
    let mut nights = Vec::new();
    for (path, name) in entries(&layout.nights())? {
        match NightId::try_from(name) {
            Ok(id) if path.is_dir() => nights.push((path, id)),
            Ok(_) => rebuilt.left_out(&path, "is not a folder"),
            Err(error) => rebuilt.left_out(&path, error),
        }
    }
    Ok(nights)
}

/// Path and name of all entries, sorted by name; none when there is no folder.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let failed = |source| FileError::Io { action: "read", path: folder.to_owned(), source };
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error).into()),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    entries.sort();
    Ok(entries)
}

async fn night(
    connection: &mut SqliteConnection,
    context: &Context,
    layout: &Layout,
    folder: &Path,
    id: &NightId,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let path = layout.night_file(id);
    let Some(file) = rebuilt.read::<NightFile>(&path, true) else { return Ok(()) };
    if let Some(problem) = misfit(file.version, file.night.id == *id) {
        rebuilt.left_out(&path, problem);
        return Ok(());
    }
    if !rebuilt.taken(&path, put::night(connection, context, &file.night).await)? {
        return Ok(());
    }
    rebuilt.nights += 1;

    let mut numbers: Vec<u32> = entries(folder)?.iter().filter_map(|(_, name)| name.parse().ok()).collect();
    numbers.sort_unstable();
    for number in numbers {
        experiment(connection, context, layout, &ExperimentId { night: id.clone(), number }, rebuilt).await?;
    }
    for champion in &file.champions {
        rebuilt.taken(&path, put::champion_move(connection, context, id, champion).await)?;
    }
    for skip in &file.skips {
        rebuilt.taken(&path, put::skip(connection, context, id, skip).await)?;
    }
    if let Some(claim) = &file.claim {
        rebuilt.taken(&path, put::claim(connection, context, id, claim).await)?;
    }
    if let Some(withdrawal) = &file.withdrawal {
        rebuilt.taken(&path, put::withdrawal(connection, context, id, withdrawal).await)?;
    }
    for look in &file.looks {
        rebuilt.taken(&path, put::look(connection, context, id, look).await)?;
    }
    exchanges(connection, context, layout, id, rebuilt).await?;
    // an effect has a line for its beginning and one for its end, and a crash may double either: the last one counts
    let path = layout.effects_file(id);
    let effects: BTreeMap<u32, EffectRecord> =
        rebuilt.read_lines::<EffectRecord>(&path).into_iter().map(|effect| (effect.ordinal, effect)).collect();
    for mut effect in effects.into_values() {
        // JSON does not tell an outcome of `null` from none
        if effect.ended_at.is_some() && effect.outcome.is_none() {
            effect.outcome = Some(serde_json::Value::Null);
        }
        rebuilt.taken(&path, put::effect(connection, context, id, &effect).await)?;
    }
    let path = layout.events_file(id);
    let events: BTreeMap<u32, EventRecord> =
        rebuilt.read_lines::<EventRecord>(&path).into_iter().map(|event| (event.ordinal, event)).collect();
    for event in events.values() {
        rebuilt.taken(&path, put::event(connection, context, id, event).await)?;
    }
    Ok(())
}

async fn exchanges(
    connection: &mut SqliteConnection,
    context: &Context,
    layout: &Layout,
    id: &NightId,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    for (path, _) in entries(&layout.exchanges(id))? {
        let Some(file) = rebuilt.read::<ExchangeFile>(&path, true) else { continue };
        let exchange = &file.exchange;
        let place = layout.exchange_file(id, exchange.turn, exchange.round);
        if let Some(problem) = misfit(file.version, place == path) {
            rebuilt.left_out(&path, problem);
        } else if rebuilt.taken(&path, super::exchanges::put(connection, context, id, exchange).await)? {
            rebuilt.exchanges += 1;
        }
    }
    Ok(())
}

async fn queue(
    connection: &mut SqliteConnection,
    context: &Context,
    layout: &Layout,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let path = layout.queue_file();
    let Some(file) = rebuilt.read::<QueueFile>(&path, false) else { return Ok(()) };
    if let Some(problem) = misfit(file.version, true) {
        rebuilt.left_out(&path, problem);
        return Ok(());
    }
    for entry in &file.entries {
        if rebuilt.taken(&path, super::queue::put(connection, context, entry).await)? {
            rebuilt.queue += 1;
        }
    }
    Ok(())
}

async fn reviews(
    connection: &mut SqliteConnection,
    context: &Context,
    layout: &Layout,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let path = layout.reviews_file();
    let Some(file) = rebuilt.read::<ReviewsFile>(&path, false) else { return Ok(()) };
    if let Some(problem) = misfit(file.version, true) {
        rebuilt.left_out(&path, problem);
        return Ok(());
    }
    for review in &file.reviews {
        if rebuilt.taken(&path, super::reviews::put(connection, context, review).await)? {
            rebuilt.reviews += 1;
        }
    }
    Ok(())
}

async fn experiment(
    connection: &mut SqliteConnection,
    context: &Context,
    layout: &Layout,
    id: &ExperimentId,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let path = layout.experiment_file(id);
    let mut ordinals: Vec<u32> = entries(&layout.experiment(id))?
        .iter()
        .filter_map(|(_, name)| name.strip_prefix("trial-").and_then(|ordinal| ordinal.parse().ok()))
        .filter(|ordinal| layout.trial_file(id, *ordinal).exists())
        .collect();
    ordinals.sort_unstable();
    // a folder without records is what a crash before the first row leaves
    let Some(file) = rebuilt.read::<ExperimentFile>(&path, !ordinals.is_empty()) else {
        for ordinal in ordinals {
            rebuilt.left_out(&layout.trial_file(id, ordinal), "its experiment could not be read");
        }
        return Ok(());
    };
    if let Some(problem) = misfit(file.version, file.experiment.id == *id) {
        rebuilt.left_out(&path, problem);
        return Ok(());
    }
    if !rebuilt.taken(&path, put::experiment(connection, context, &file.experiment).await)? {
        return Ok(());
    }
    rebuilt.experiments += 1;
    for attempt in &file.experiment.attempts {
        rebuilt.taken(&path, put::attempt(connection, context, id, attempt).await)?;
    }
    for ordinal in ordinals {
        let path = layout.trial_file(id, ordinal);
        let Some(file) = rebuilt.read::<TrialFile>(&path, true) else { continue };
        if let Some(problem) = misfit(file.version, (&file.trial.experiment, file.trial.ordinal) == (id, ordinal)) {
            rebuilt.left_out(&path, problem);
        } else if rebuilt.taken(&path, put::trial(connection, context, &file.trial).await)? {
            rebuilt.trials += 1;
        }
    }
    Ok(())
}

fn misfit(version: u32, in_its_place: bool) -> Option<String> {
    if version != FILE_VERSION {
        Some(format!("was written by another version of Nocturne (file version {version}, not {FILE_VERSION})"))
    } else if !in_its_place {
        Some("names another night, experiment, trial or call than its place does".to_owned())
    } else {
        None
    }
}

/// Puts `fresh` in the place of `database`. At every instant one of the two is there; the old one stays under a new name
/// together with its write-ahead log, which may hold its last commits.
fn replace(database: &Path, fresh: &Path) -> Result<Option<PathBuf>, StoreError> {
    let failed = |source| FileError::Io { action: "set aside", path: database.to_owned(), source };
    let with = |path: &Path, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let old = if database.exists() {
        let moment = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut old = with(database, &format!(".before-{moment}"));
        let mut count = 1;
        while old.exists() {
            count += 1;
            old = with(database, &format!(".before-{moment}-{count}"));
        }
        fs::hard_link(database, &old).or_else(|_| fs::copy(database, &old).map(drop)).map_err(failed)?;
        Some(old)
    } else {
        None
    };
    // A log left in place would be replayed into the new database.
    for ending in ["-wal", "-shm"] {
        let beside = with(database, ending);
        if beside.exists() {
            let place = with(old.as_deref().unwrap_or(&with(database, ".before-lost")), ending);
            fs::rename(&beside, place).map_err(failed)?;
        }
    }
    fs::rename(fresh, database).map_err(|source| FileError::Io {
        action: "put the new database in the place of",
        path: database.to_owned(),
        source,
    })?;
    if let Some(folder) = database.parent() {
        files::sync_folder(folder)?;
    }
    Ok(old)
}
