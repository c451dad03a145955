//! What the live dashboard reads while a night runs: whether anything was written at all, and then only what can have changed. What is large is not
//! read at every step of the night: edits once, and requests to models and trials' certificates not at all.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::night_rows::{EffectRow, EventRow};
use super::queue;
use super::reader::Reader;
use super::rows::{Decoder, to_unsigned};
use super::trial_rows::TrialRow;
use super::{reviews, select};
use crate::flow::{NightId, Verdict};
use crate::llm::spend::Spent;
use crate::records::{
    ChampionMove, ClaimRecord, EffectRecord, EventRecord, ExperimentRecord, NightRecord, QueueEntry, ReviewRecord,
    TrialRecord, WithdrawalRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Whether anybody wrote to the database, without reading any of it: SQLite counts commits of other connections.
#[derive(Debug)]
pub struct Changes {
    connection: SqliteConnection,
    context: Context,
    version: Option<i64>,
}

impl Changes {
    /// Whether something was written since the last call; true at the first.
    pub async fn any(&mut self) -> Result<bool> {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await
            .map_err(self.context.sql("see whether the records changed"))?;
        Ok(self.version.replace(version) != Some(version))
    }
}

/// A night in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NightLine {
    /// Its name.
    pub id: NightId,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether its end is on record.
    pub ended: bool,
}

/// Up to where a night has been read.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// The first effect that is read again: the oldest that had no end; 0 before anything was read.
    pub effect: u32,
    /// The newest event that was read.
    pub event: u32,
    /// The newest call of a model that was read.
    pub call: i64,
    /// Experiments that were read after their decision, and are not read again.
    pub settled: BTreeSet<u32>,
}

/// What a call of a model cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallCost {
    /// Its row.
    pub row: i64,
    /// Its turn and round, which name it.
    pub of: (u64, u32),
    /// What it cost, or can cost at most.
    pub spent: Spent,
}

/// An experiment in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentLine {
    /// Its number.
    pub number: u32,
    /// Who proposed it.
    pub proposer: String,
    /// Its verdict, where it has one.
    pub verdict: Option<Verdict>,
}

/// A night as it stands, read in one go.
#[derive(Debug, Clone)]
pub struct Glance {
    /// The night.
    pub night: NightRecord,
    /// Its champions in order.
    pub champions: Vec<ChampionMove>,
    /// The morning's claim.
    pub claim: Option<ClaimRecord>,
    /// What had to be taken back.
    pub withdrawal: Option<WithdrawalRecord>,
    /// All its experiments but the night's start, in a line each.
    pub lines: Vec<ExperimentLine>,
    /// The night's start, the champions and what has no verdict, as far as they were not read before.
    pub experiments: Vec<ExperimentRecord>,
    /// Trials of the night's start, of the champion, and of what has no verdict; without their certificates.
    pub trials: Vec<TrialRecord>,
    /// Effects from [`Mark::effect`] on; at first those that have no end, and the newest.
    pub effects: Vec<EffectRecord>,
    /// Calls of models from [`Mark::call`] on, that one included: it may have ended.
    pub calls: Vec<CallCost>,
    /// Events after [`Mark::event`], in order; the newest of them, where there are many.
    pub events: Vec<EventRecord>,
    /// The campaign's ideas that wait or are being tested.
    pub queue: Vec<QueueEntry>,
    /// What the person made of the night's experiments.
    pub reviews: Vec<ReviewRecord>,
}

impl Reader {
    /// A watch on the database, on a connection of its own.
    pub async fn changes(&self) -> Result<Changes> {
        let connection = self.connection().await?.detach();
        Ok(Changes { connection, context: self.context.clone(), version: None })
    }

    /// All nights in a line each, in no order.
    pub async fn night_lines(&self) -> Result<Vec<NightLine>> {
        let rows = sqlx::query!("SELECT id, started_at, ended_at FROM nights")
            .fetch_all(&mut *self.snapshot().await?)
            .await
            .map_err(self.context.sql("read nights"))?;
        let line = |(id, started_at, ended): (String, String, bool)| {
            let row = Decoder::new(&self.context, format!("night {id}"));
            Ok(NightLine { id: row.word("id", &id)?, started_at: row.word("started_at", &started_at)?, ended })
        };
        rows.into_iter().map(|row| line((row.id, row.started_at, row.ended_at.is_some()))).collect()
    }

    /// When something last began in a night; `None` where nothing ever did.
    pub async fn last_step(&self, night: &NightId) -> Result<Option<Timestamp>> {
        let effect = last_effect(&mut *self.snapshot().await?, &self.context, night).await?;
        Ok(effect.map(|effect| effect.begun_at))
    }

    /// At most `most` of a night's events in order, those after an ordinal.
    pub async fn events_after(&self, night: &NightId, after: u32, most: u32) -> Result<Vec<EventRecord>> {
        let night = night.as_str();
        let rows = sqlx::query_as!(
            EventRow,
            "SELECT * FROM events WHERE night = ?1 AND ordinal > ?2 ORDER BY ordinal LIMIT ?3",
            night,
            after,
            most
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read events"))?;
        rows.into_iter().map(|row| row.decode(&self.context)).collect()
    }

    /// A night as it stands, but for what `mark` says was read already; `events` is how many of the newest events. `None` where there is no
    /// such night.
    pub async fn glance(&self, id: &NightId, mark: &Mark, events: u32) -> Result<Option<Glance>> {
        let context = &self.context;
        let mut snapshot = self.snapshot().await?;
        let Some(night) = select::nights(&mut snapshot, context, None, Some(id)).await?.pop() else { return Ok(None) };
        let champions = select::champion_moves(&mut snapshot, context, id).await?;
        let withdrawal = select::withdrawal(&mut snapshot, context, id).await?;
        let claim = select::claim(&mut snapshot, context, id).await?;
        let lines = lines(&mut snapshot, context, id).await?;
        let open = lines.iter().filter(|line| line.verdict.is_none()).map(|line| line.number);
        let open: BTreeSet<u32> = open.collect();
        let champion = champions.iter().rfind(|it| withdrawal.as_ref().is_none_or(|of| of.spares(it.experiment)));
        let wanted = open.iter().copied().chain(champions.iter().map(|champion| champion.experiment)).chain([0]);
        let mut experiments = Vec::new();
        for number in wanted.filter(|number| !mark.settled.contains(number)).collect::<BTreeSet<u32>>() {
            experiments.extend(select::experiments(&mut snapshot, context, id, Some(number)).await?);
        }
        let mut trials = Vec::new();
        let measured = open.into_iter().chain(champion.map(|champion| champion.experiment)).chain([0]);
        for number in measured.collect::<BTreeSet<u32>>() {
            trials.extend(trials_without_certificates(&mut snapshot, context, id, number).await?);
        }
        let queue = queue::open_of(&mut snapshot, context, &night.campaign).await?;
        let reviews = reviews::of(&mut snapshot, context, Some(id)).await?;
        Ok(Some(Glance {
            champions,
            claim,
            withdrawal,
            lines,
            experiments,
            trials,
            effects: effects(&mut snapshot, context, id, mark.effect).await?,
            calls: calls(&mut snapshot, context, id, mark.call).await?,
            events: newest_events(&mut snapshot, context, id, mark.event, events).await?,
            queue,
            reviews,
            night,
        }))
    }
}

async fn lines(connection: &mut SqliteConnection, context: &Context, night: &NightId) -> Result<Vec<ExperimentLine>> {
    let id = night.as_str();
    let rows = sqlx::query!(
        "SELECT number, proposer, verdict FROM experiments WHERE night = ?1 AND number > 0 ORDER BY number",
        id
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read experiments"))?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let decoder = Decoder::new(context, format!("experiment {night}/{}", row.number));
        lines.push(ExperimentLine {
            number: decoder.count("number", row.number)?,
            proposer: row.proposer,
            verdict: decoder.optional_word("verdict", row.verdict.as_ref())?,
        });
    }
    Ok(lines)
}

/// An experiment's trials in order. A certificate is by far the largest part of a trial.
async fn trials_without_certificates(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    number: u32,
) -> Result<Vec<TrialRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        TrialRow,
        r#"SELECT night, number, ordinal, seed, budget_seconds, budget_tokens, artifact_sha256, folder, started_at, ending, message, steps,
                  tokens, parameters, training_seconds, start_seconds, peak_memory_bytes, final_loss, checkpoint_sha256, ended_at,
                  evaluation, val_bpb, nats, bytes, scored_tokens, evaluator_seconds, evaluator, failed_check, evidence, evaluated_at,
                  standard_error, claimed_bpb, NULL AS "certificate_json?: String", purpose, era, would_stop, device
           FROM trials WHERE night = ?1 AND number = ?2 ORDER BY ordinal"#,
        night,
        number
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read trials"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// Effects from an ordinal on; from 0, those without an end and the newest.
async fn effects(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    from: u32,
) -> Result<Vec<EffectRecord>> {
    let id = night.as_str();
    let rows = sqlx::query_as!(
        EffectRow,
        "SELECT * FROM effects WHERE night = ?1 AND (?2 > 0 AND ordinal >= ?2 OR ?2 = 0 AND ended_at IS NULL) ORDER BY ordinal",
        id,
        from
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(context.sql("read the journal"))?;
    let mut effects = rows.into_iter().map(|row| row.decode(context)).collect::<Result<Vec<_>>>()?;
    if from == 0
        && let Some(last) = last_effect(connection, context, night).await?
        && effects.last().is_none_or(|newest| newest.ordinal < last.ordinal)
    {
        effects.push(last);
    }
    Ok(effects)
}

async fn last_effect(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Option<EffectRecord>> {
    let id = night.as_str();
    let last = sqlx::query_as!(EffectRow, "SELECT * FROM effects WHERE night = ?1 ORDER BY ordinal DESC LIMIT 1", id)
        .fetch_optional(connection)
        .await
        .map_err(context.sql("read the journal"))?;
    last.map(|row| row.decode(context)).transpose()
}

async fn newest_events(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    after: u32,
    most: u32,
) -> Result<Vec<EventRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        EventRow,
        "SELECT * FROM events WHERE night = ?1 AND ordinal > ?2 ORDER BY ordinal DESC LIMIT ?3",
        night,
        after,
        most
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read events"))?;
    rows.into_iter().rev().map(|row| row.decode(context)).collect()
}

/// The row from which a night's calls begin: found in an index, where the calls themselves are large.
async fn first_call(connection: &mut SqliteConnection, context: &Context, night: &NightId) -> Result<i64> {
    let id = night.as_str();
    sqlx::query_scalar!(r#"SELECT coalesce(min(rowid), 1) AS "row!: i64" FROM exchanges WHERE night = ?1"#, id)
        .fetch_one(connection)
        .await
        .map_err(context.sql("read what models cost"))
}

/// A call that ends is written anew, under a row that is not older: see `exchanges`. So rows from the newest that was read on are all that can
/// have changed.
async fn calls(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    from: i64,
) -> Result<Vec<CallCost>> {
    let from = if from == 0 { first_call(&mut *connection, context, night).await? } else { from };
    let id = night.as_str();
    // The plus keeps SQLite from going through all calls of the night by their index.
    let rows = sqlx::query!(
        r#"SELECT rowid AS "row!: i64", turn, round, calls, tokens, dollars FROM exchanges
           WHERE rowid >= ?1 AND +night = ?2 ORDER BY rowid"#,
        from,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read what models cost"))?;
    let mut costs = Vec::with_capacity(rows.len());
    for row in rows {
        let decoder = Decoder::new(context, format!("call {} of turn {} of night {night}", row.round, row.turn));
        costs.push(CallCost {
            row: row.row,
            of: (to_unsigned(row.turn), decoder.count("round", row.round)?),
            spent: Spent { usd: row.dollars, tokens: to_unsigned(row.tokens), calls: to_unsigned(row.calls) },
        });
    }
    Ok(costs)
}
