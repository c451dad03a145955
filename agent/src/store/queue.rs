//! The person's queue. Unlike all else it is written by several processes: whoever has an idea, and the night that takes it. Its file is
//! therefore written while the transaction still holds the database.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::error::{Context, StoreError};
use super::mirror;
use super::reader::Reader;
use super::rows::Decoder;
use super::writer::{Store, now};
use crate::flow::{Decision, ExperimentId, NightId};
use crate::records::{QueueEntry, QueueState, Taken};

type Result<T> = std::result::Result<T, StoreError>;

/// What an entry that was tested is settled with.
pub(super) fn result_of(decision: &Decision) -> String {
    format!("{}: {}", decision.verdict.name(), decision.reason)
}

/// What became of an idea that was to be put into a queue of limited length.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It waits now.
    Added(Box<QueueEntry>),
    /// The same waits already, as the entry of this number.
    Waits(u32),
    /// So many wait already, which is as many as there may be.
    Full(usize),
}

impl Reader {
    /// The entries of all campaigns or one, in the order in which they were made.
    pub async fn queue(&self, campaign: Option<&str>) -> Result<Vec<QueueEntry>> {
        let mut entries = all(&mut *self.snapshot().await?, &self.context).await?;
        entries.retain(|entry| campaign.is_none_or(|campaign| entry.campaign == campaign));
        Ok(entries)
    }

    /// One entry.
    pub async fn queued(&self, id: u32) -> Result<Option<QueueEntry>> {
        Ok(self.queue(None).await?.into_iter().find(|entry| entry.id == id))
    }
}

impl Store {
    /// Writes down an idea of the person, as the last of its campaign. Words and patch were checked before and are taken as they are here.
    pub async fn enqueue(&self, campaign: &str, words: &str, patch: Option<&str>) -> Result<QueueEntry> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let entries = all(&mut transaction, &self.context).await?;
        self.append(transaction, &entries, None, campaign, words, patch).await
    }

    /// The same for an idea of a program `by` that name, where fewer than `most` ideas of the campaign wait and none of them is the same: looked at and written as one, however many
    /// programs have ideas at once.
    pub async fn enqueue_within(
        &self,
        most: usize,
        by: &str,
        campaign: &str,
        words: &str,
        patch: Option<&str>,
    ) -> Result<Enqueued> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let entries = all(&mut transaction, &self.context).await?;
        let waits = |entry: &&QueueEntry| entry.campaign == campaign && entry.state == QueueState::Waiting;
        let same = |entry: &&QueueEntry| match patch {
            Some(patch) => entry.patch.as_deref() == Some(patch),
            None => entry.patch.is_none() && entry.words == words,
        };
        if let Some(same) = entries.iter().filter(waits).find(same) {
            return Ok(Enqueued::Waits(same.id));
        }
        let waiting = entries.iter().filter(waits).count();
        if waiting >= most {
            return Ok(Enqueued::Full(waiting));
        }
        self.append(transaction, &entries, Some(by), campaign, words, patch)
            .await
            .map(|entry| Enqueued::Added(Box::new(entry)))
    }

    /// Adds an entry after all `entries` that there are.
    async fn append(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        entries: &[QueueEntry],
        by: Option<&str>,
        campaign: &str,
        words: &str,
        patch: Option<&str>,
    ) -> Result<QueueEntry> {
        let of_campaign = entries.iter().filter(|entry| entry.campaign == campaign);
        let entry = QueueEntry {
            id: entries.iter().map(|entry| entry.id).max().unwrap_or(0) + 1,
            campaign: campaign.to_owned(),
            place: of_campaign.map(|entry| entry.place).max().unwrap_or(0) + 1,
            words: words.to_owned(),
            by: by.map(str::to_owned),
            patch: patch.map(str::to_owned),
            state: QueueState::Waiting,
            taken: None,
            result: None,
            created_at: now(),
            settled_at: None,
        };
        put(&mut transaction, &self.context, &entry).await?;
        self.finish_queue(transaction).await?;
        Ok(entry)
    }

    /// Takes the first idea of a campaign that waits, for an experiment that is to be made of it; `None` where none waits. Without
    /// `words` only ideas with a patch are taken: nobody is there to make edits of words.
    ///
    /// It is settled with its experiment's verdict, or with the reason for which that is skipped, where the proposal's key is
    /// [`QueueEntry::key`]. What never becomes a proposal is to be settled with [`Store::settle_queued`].
    pub async fn take_next(&self, campaign: &str, by: &ExperimentId, words: bool) -> Result<Option<QueueEntry>> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let waiting = waiting(&mut transaction, &self.context, campaign).await?;
        let Some(first) = waiting.into_iter().find(|entry| words || entry.patch.is_some()) else { return Ok(None) };
        let taken = Some(Taken { by: by.clone(), at: now() });
        let entry = QueueEntry { state: QueueState::Taken, taken, ..first };
        put(&mut transaction, &self.context, &entry).await?;
        self.finish_queue(transaction).await?;
        Ok(Some(entry))
    }

    /// Settles an entry that waits or was taken. `result` says in words what came of it, and is not empty. Settling it so again changes
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where it is settled otherwise.
    pub async fn settle_queued(&self, id: u32, state: QueueState, result: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let entry = self.entry(&mut transaction, id).await?;
        match entry.state {
            QueueState::Waiting | QueueState::Taken => {
                let settled = QueueEntry { state, result: Some(result.to_owned()), settled_at: Some(now()), ..entry };
                put(&mut transaction, &self.context, &settled).await?;
            }
            same if same == state && entry.result.as_deref() == Some(result) => {}
            _ => {
                let what = format!("what came of idea {id} of the queue");
                return Err(self.context.contradiction(what, &(entry.state, entry.result), &(state, result)));
            }
        }
        self.finish_queue(transaction).await
    }

    /// Takes an idea that waits off the queue; it stays on record. Returns it as it is now.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] where there is none of this number, [`StoreError::NotWaiting`] where it does not wait.
    pub async fn remove_queued(&self, id: u32) -> Result<QueueEntry> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let entry = self.waiting_entry(&mut transaction, id).await?;
        let entry = QueueEntry { state: QueueState::Removed, settled_at: Some(now()), ..entry };
        put(&mut transaction, &self.context, &entry).await?;
        self.finish_queue(transaction).await?;
        Ok(entry)
    }

    /// Moves an idea that waits to a place among those of its campaign that wait, counted from 1; a place beyond the last is the last.
    /// Returns the campaign's waiting ideas in their new order.
    ///
    /// # Errors
    /// As [`Store::remove_queued`].
    pub async fn move_queued(&self, id: u32, place: usize) -> Result<Vec<QueueEntry>> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let entry = self.waiting_entry(&mut transaction, id).await?;
        let mut order = waiting(&mut transaction, &self.context, &entry.campaign).await?;
        order.retain(|other| other.id != id);
        order.insert(place.saturating_sub(1).min(order.len()), entry);
        self.number(&mut transaction, &mut order).await?;
        self.finish_queue(transaction).await?;
        Ok(order)
    }

    /// Puts ideas back, at the head of their campaign's queue, that a night took and made nothing of: for whoever begins a night or goes on
    /// with one, before anything is taken. One whose experiment was decided, or whose night is over without a verdict, is settled.
    /// Returns what waits again.
    pub async fn put_back_queued(&self, campaign: &str) -> Result<Vec<QueueEntry>> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut back = Vec::new();
        let entries = all(&mut transaction, &self.context).await?;
        let taken = entries.into_iter().filter(|it| it.campaign == campaign && it.state == QueueState::Taken);
        for entry in taken {
            let Some(Taken { by, .. }) = &entry.taken else { continue };
            let result = match fate(&mut transaction, &self.context, &by.night, entry.id).await? {
                Fate::NoExperiment => {
                    back.push(QueueEntry { state: QueueState::Waiting, taken: None, ..entry });
                    continue;
                }
                Fate::UnderWay => continue,
                Fate::Decided(result) => result,
                Fate::NightOver => format!("night {} ended before there was a verdict", by.night),
            };
            let settled =
                QueueEntry { state: QueueState::Done, result: Some(result), settled_at: Some(now()), ..entry };
            put(&mut transaction, &self.context, &settled).await?;
        }
        if !back.is_empty() {
            back.sort_by_key(|entry| (entry.place, entry.id));
            let mut order = back.clone();
            order.extend(waiting(&mut transaction, &self.context, campaign).await?);
            self.number(&mut transaction, &mut order).await?;
        }
        self.finish_queue(transaction).await?;
        Ok(back)
    }

    /// Settles the entry that the proposal's key names, if it is one that this night took; with the number of its experiment, where it
    /// became one.
    pub(super) async fn settle_by_key(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        (night, number): (&NightId, Option<u32>),
        key: &str,
        state: QueueState,
        result: &str,
    ) -> Result<()> {
        let Some(id) = QueueEntry::id_of(key) else { return Ok(()) };
        let entries = all(transaction, &self.context).await?;
        let entry = entries.into_iter().find(|entry| {
            let taken = entry.taken.as_ref().is_some_and(|taken| taken.by.night == *night);
            entry.id == id && entry.state == QueueState::Taken && taken
        });
        let Some(mut entry) = entry else { return Ok(()) };
        if let (Some(taken), Some(number)) = (&mut entry.taken, number) {
            taken.by.number = number;
        }
        let settled = QueueEntry { state, result: Some(result.to_owned()), settled_at: Some(now()), ..entry };
        put(transaction, &self.context, &settled).await?;
        self.write_queue(transaction).await
    }

    async fn entry(&self, connection: &mut SqliteConnection, id: u32) -> Result<QueueEntry> {
        let found = all(connection, &self.context).await?.into_iter().find(|entry| entry.id == id);
        found.ok_or_else(|| self.context.unknown(format!("idea {id} of the queue")))
    }

    async fn waiting_entry(&self, connection: &mut SqliteConnection, id: u32) -> Result<QueueEntry> {
        let entry = self.entry(connection, id).await?;
        match entry.state {
            QueueState::Waiting => Ok(entry),
            state => Err(StoreError::NotWaiting { id, state }),
        }
    }

    /// Gives entries the places of their order.
    async fn number(&self, connection: &mut SqliteConnection, order: &mut [QueueEntry]) -> Result<()> {
        for (place, entry) in (1..).zip(order) {
            entry.place = place;
            put(connection, &self.context, entry).await?;
        }
        Ok(())
    }

    async fn finish_queue(&self, mut transaction: Transaction<'static, Sqlite>) -> Result<()> {
        self.write_queue(&mut transaction).await?;
        self.commit(transaction).await
    }

    /// The queue's file. Before the commit: after it, another process may write a newer one first. A commit that fails then leaves a file that is
    /// ahead, until the next write.
    async fn write_queue(&self, connection: &mut SqliteConnection) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::queue(layout, all(connection, &self.context).await?).await,
            None => Ok(()),
        }
    }
}

/// What has become of an entry that a night took.
enum Fate {
    NoExperiment,
    UnderWay,
    Decided(String),
    NightOver,
}

async fn fate(connection: &mut SqliteConnection, context: &Context, night: &NightId, id: u32) -> Result<Fate> {
    let (night, key) = (night.as_str(), QueueEntry::key(id));
    let found = sqlx::query!(
        "SELECT e.verdict, e.reason, n.ended_at FROM experiments e JOIN nights n ON n.id = e.night
         WHERE e.night = ?1 AND e.key = ?2 ORDER BY e.number DESC LIMIT 1",
        night,
        key
    )
    .fetch_optional(connection)
    .await
    .map_err(context.sql("read what became of the queue"))?;
    Ok(match found {
        None => Fate::NoExperiment,
        Some(row) => match (row.verdict.zip(row.reason), row.ended_at) {
            (Some((verdict, reason)), _) => Fate::Decided(format!("{verdict}: {reason}")),
            (None, Some(_)) => Fate::NightOver,
            (None, None) => Fate::UnderWay,
        },
    })
}

async fn waiting(connection: &mut SqliteConnection, context: &Context, campaign: &str) -> Result<Vec<QueueEntry>> {
    let mut entries = all(connection, context).await?;
    entries.retain(|entry| entry.campaign == campaign && entry.state == QueueState::Waiting);
    entries.sort_by_key(|entry| (entry.place, entry.id));
    Ok(entries)
}

pub(super) async fn all(connection: &mut SqliteConnection, context: &Context) -> Result<Vec<QueueEntry>> {
    entries(connection, context, None).await
}

/// Those of a campaign that wait or are being tested.
pub(super) async fn open_of(
    connection: &mut SqliteConnection,
    context: &Context,
    campaign: &str,
) -> Result<Vec<QueueEntry>> {
    entries(connection, context, Some(campaign)).await
}

async fn entries(
    connection: &mut SqliteConnection,
    context: &Context,
    open_of: Option<&str>,
) -> Result<Vec<QueueEntry>> {
    let statement = sqlx::query!(
        "SELECT * FROM queue WHERE ?1 IS NULL OR campaign = ?1 AND settled_at IS NULL ORDER BY id",
        open_of
    );
    let rows = statement.fetch_all(connection).await.map_err(context.sql("read the queue"))?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let decoder = Decoder::new(context, format!("idea {} of the queue", row.id));
        let taken = match row.night {
            None => None,
            Some(night) => Some(Taken {
                by: ExperimentId {
                    night: decoder.word("night", &night)?,
                    number: decoder.count("number", decoder.present("number", row.number)?)?,
                },
                at: decoder.word("taken_at", &decoder.present("taken_at", row.taken_at)?)?,
            }),
        };
        entries.push(QueueEntry {
            id: decoder.count("id", row.id)?,
            campaign: row.campaign,
            place: decoder.count("place", row.place)?,
            words: row.words,
            by: row.enqueued_by,
            patch: row.patch,
            state: decoder.word("state", &row.state)?,
            taken,
            result: row.result,
            created_at: decoder.word("created_at", &row.created_at)?,
            settled_at: decoder.optional_word("settled_at", row.settled_at.as_ref())?,
        });
    }
    Ok(entries)
}

pub(super) async fn put(connection: &mut SqliteConnection, context: &Context, entry: &QueueEntry) -> Result<()> {
    let state = entry.state.name();
    let taken = entry.taken.as_ref();
    let night = taken.map(|taken| taken.by.night.as_str());
    let number = taken.map(|taken| taken.by.number);
    let taken_at = taken.map(|taken| taken.at.to_string());
    let created_at = entry.created_at.to_string();
    let settled_at = entry.settled_at.map(|at| at.to_string());
    sqlx::query!(
        "INSERT INTO queue (id, campaign, place, words, patch, state, night, number, result, created_at, taken_at, settled_at,
                            enqueued_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET
             place = excluded.place, state = excluded.state, night = excluded.night, number = excluded.number,
             result = excluded.result, taken_at = excluded.taken_at, settled_at = excluded.settled_at",
        entry.id,
        entry.campaign,
        entry.place,
        entry.words,
        entry.patch,
        state,
        night,
        number,
        entry.result,
        created_at,
        taken_at,
        settled_at,
        entry.by
    )
    .execute(connection)
    .await
    .map_err(context.sql("write the queue"))?;
    Ok(())
}
