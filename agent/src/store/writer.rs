//! The store, and writing down what belongs to a night as a whole. Every operation is one `BEGIN IMMEDIATE` transaction; recording the same fact again does nothing, a
//! contradicting one is an error and changes nothing.

use std::ops::Deref;
use std::path::Path;

use jiff::{Timestamp, Unit};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

use super::error::{Context, StoreError};
use super::open::Care;
use super::reader::Reader;
use super::{mirror, open, put, select};
use crate::files;
use crate::flow::{CommitId, ExperimentId, NightId};
use crate::layout::Layout;
use crate::records::{
    ChampionMove, EventRecord, ExperimentRecord, FILE_VERSION, Level, NightEnd, NightEnding, NightFile, NightRecord,
    QueueState, SkipRecord, TrialRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// The records, for the one process that writes them. It can do all that a [`Reader`] can.
#[derive(Debug)]
pub struct Store {
    writer: SqlitePool,
    reader: Reader,
    pub(super) context: Context,
    pub(super) files: Option<Layout>,
    /// Keeps the files in the order of the rows.
    pub(super) turn: Mutex<()>,
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// The present, to the millisecond: enough for people, and the same after a way through text.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

impl Store {
    /// Opens or creates a database without writing any JSON files beside it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where anything of the file is damaged, and whatever keeps it from being opened.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None, Care::Whole).await
    }

    /// Opens or creates a repository's database for a night; every fact is written into the night's JSON files as well.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_in(layout: &Layout) -> Result<Self> {
        Self::open_for(layout, Care::Whole).await
    }

    /// The same for a decision of the person's or an idea for the queue: the file is not looked at as a whole first, which takes a second
    /// where there are thousands of experiments. What of it is needed and damaged is said then.
    ///
    /// # Errors
    /// Whatever keeps it from being opened.
    pub async fn open_unchecked_in(layout: &Layout) -> Result<Self> {
        Self::open_for(layout, Care::AsItComes).await
    }

    async fn open_for(layout: &Layout, care: Care) -> Result<Self> {
        let ignore = layout.state().join(".gitignore");
        if !ignore.exists() {
            files::write_atomically(&ignore, b"*\n")?;
        }
        Self::open_with(&layout.database(), Some(layout.clone()), care).await
    }

    async fn open_with(path: &Path, files: Option<Layout>, care: Care) -> Result<Self> {
        let writer = open::open_writer(path, care).await?;
        let reader = Reader::open(path).await?;
        Ok(Self { writer, reader, context: Context::new(path), files, turn: Mutex::new(()) })
    }

    /// Folds the write-ahead log into the database, as far as no other process reads it, and closes all connections.
    pub async fn close(self) -> Result<()> {
        let folded = open::fold_log(&self.writer, &self.context).await;
        self.reader.close().await;
        self.writer.close().await;
        folded
    }

    /// IMMEDIATE, because a transaction that reads first and writes later fails at once when another process wrote in
    /// between, whatever the busy timeout says.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.context.sql("begin to write"))
    }

    pub(super) async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<()> {
        transaction.commit().await.map_err(self.context.sql("commit"))
    }

    async fn night_in(&self, transaction: &mut Transaction<'static, Sqlite>, id: &NightId) -> Result<NightRecord> {
        select::nights(transaction, &self.context, None, Some(id))
            .await?
            .pop()
            .ok_or_else(|| self.context.unknown(format!("night {id}")))
    }

    pub(super) async fn mirror_night(&self, id: &NightId) -> Result<()> {
        let Some(layout) = &self.files else { return Ok(()) };
        let night = self.reader.night(id).await?.ok_or_else(|| self.context.unknown(format!("night {id}")))?;
        let champions = self.reader.champion_moves(id).await?;
        let skips = self.reader.skips(id).await?;
        let claim = self.reader.claim(id).await?;
        let withdrawal = self.reader.withdrawal(id).await?;
        let looks = self.reader.looks(id).await?;
        let version = FILE_VERSION;
        mirror::night(layout, NightFile { version, night, champions, skips, claim, withdrawal, looks }).await
    }

    pub(super) async fn mirror_experiment(&self, experiment: ExperimentRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::experiment(layout, experiment).await,
            None => Ok(()),
        }
    }

    pub(super) async fn mirror_trial(&self, trial: TrialRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::trial(layout, trial).await,
            None => Ok(()),
        }
    }

    /// Writes all JSON files of a night anew. Call it before a night that was cut off goes on: the crash may have come between
    /// a row and its file.
    pub async fn refresh_files(&self, night: &NightId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let Some(layout) = &self.files else { return Ok(()) };
        for experiment in self.reader.experiments(night).await? {
            mirror::experiment(layout, experiment).await?;
        }
        for trial in self.reader.night_trials(night).await? {
            mirror::trial(layout, trial).await?;
        }
        // One by one: a long night's are too large to hold all at once.
        for exchange in self.reader.exchange_facts(night).await? {
            if let Some(whole) = self.reader.exchange(night, exchange.turn, exchange.round).await? {
                mirror::exchange(layout, night, whole).await?;
            }
        }
        mirror::lines(layout, night, self.reader.effects(night).await?, self.reader.events(night).await?).await?;
        self.mirror_night(night).await
    }

    /// Records that a night begins. `night.end` must be `None`.
    pub async fn begin_night(&self, night: &NightRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        match select::nights(&mut transaction, &self.context, None, Some(&night.id)).await?.pop() {
            None => put::night(&mut transaction, &self.context, night).await?,
            Some(recorded) if recorded == *night => {}
            Some(recorded) => {
                return Err(self.context.contradiction(format!("night {}", night.id), &recorded, night));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(&night.id).await
    }

    /// Records that a night ended.
    pub async fn end_night(&self, id: &NightId, how: NightEnding, detail: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut night = self.night_in(&mut transaction, id).await?;
        match &night.end {
            None => {
                night.end = Some(NightEnd { at: now(), how, detail: detail.to_owned() });
                put::night(&mut transaction, &self.context, &night).await?;
            }
            Some(end) if end.how == how && end.detail == detail => {}
            Some(end) => {
                return Err(self.context.contradiction(format!("the end of night {id}"), end, &(how, detail)));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(id).await
    }

    /// Records that an experiment's commit is the champion from now on. An experiment becomes champion at most once.
    pub async fn move_champion(&self, id: &ExperimentId, commit: &CommitId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let moves = select::champion_moves(&mut transaction, &self.context, &id.night).await?;
        match moves.iter().find(|recorded| recorded.experiment == id.number) {
            None => {
                let ordinal = moves.last().map_or(0, |last| last.ordinal) + 1;
                let champion = ChampionMove { ordinal, experiment: id.number, commit: commit.clone(), at: now() };
                put::champion_move(&mut transaction, &self.context, &id.night, &champion).await?;
            }
            Some(recorded) if recorded.commit == *commit => {}
            Some(recorded) => {
                let what = format!("the champion of experiment {id}");
                return Err(self.context.contradiction(what, recorded, commit));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(&id.night).await
    }

    /// Records that a proposal was not tried against `champion`.
    pub async fn record_skip(
        &self,
        night: &NightId,
        proposer: &str,
        key: &str,
        champion: &CommitId,
        reason: &str,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let skips = select::skips(&mut transaction, &self.context, night).await?;
        let recorded = skips.iter().any(|skip| {
            skip.proposer == proposer && skip.key == key && skip.champion == *champion && skip.reason == reason
        });
        if !recorded {
            let skip = SkipRecord {
                ordinal: skips.last().map_or(0, |last| last.ordinal) + 1,
                proposer: proposer.to_owned(),
                key: key.to_owned(),
                champion: champion.clone(),
                reason: reason.to_owned(),
                at: now(),
            };
            put::skip(&mut transaction, &self.context, night, &skip).await?;
            self.settle_by_key(&mut transaction, (night, None), key, QueueState::Refused, reason).await?;
        }
        self.commit(transaction).await?;
        self.mirror_night(night).await
    }

    /// Records something worth telling. Events are not facts: telling one twice records it twice.
    pub async fn event(&self, night: &NightId, level: Level, stage: &str, text: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let event = EventRecord {
            ordinal: select::last_event(&mut transaction, &self.context, night).await? + 1,
            at: now(),
            level,
            stage: stage.to_owned(),
            text: text.to_owned(),
        };
        put::event(&mut transaction, &self.context, night, &event).await?;
        self.commit(transaction).await?;
        match &self.files {
            Some(layout) => mirror::event(layout, night, event).await,
            None => Ok(()),
        }
    }
}

/// Fills an empty slot (`true`), accepts the same fact again (`false`), refuses another one.
pub(super) fn set_once<T: Clone + PartialEq + std::fmt::Debug>(
    context: &Context,
    what: impl FnOnce() -> String,
    slot: &mut Option<T>,
    fact: &T,
) -> Result<bool> {
    match slot {
        None => {
            *slot = Some(fact.clone());
            Ok(true)
        }
        Some(recorded) if recorded == fact => Ok(false),
        Some(recorded) => Err(context.contradiction(what(), recorded, fact)),
    }
}
