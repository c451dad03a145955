//! All reading SQL. Each function reads on whatever connection it is given: a reader's, or the writer's inside its
//! transaction.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::night_rows::{ChampionMoveRow, ClaimRow, EffectRow, EventRow, LookRow, NightRow, SkipRow, WithdrawalRow};
use super::rows::{AttemptRow, Decoder, ExperimentRow};
use super::trial_rows::TrialRow;
use crate::flow::{ExperimentId, NightId};
use crate::records::{
    ChampionMove, ClaimRecord, EffectRecord, EffectTimes, EventRecord, ExperimentRecord, HistoryEntry, LookRecord,
    NightRecord, SkipRecord, TrialRecord, WithdrawalRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Nights, the oldest first: all, those of one campaign, or one.
pub(super) async fn nights(
    connection: &mut SqliteConnection,
    context: &Context,
    campaign: Option<&str>,
    id: Option<&NightId>,
) -> Result<Vec<NightRecord>> {
    let id = id.map(NightId::as_str);
    let rows = sqlx::query_as!(
        NightRow,
        "SELECT id, campaign, start_commit, program_sha256, campaign_sha256, campaign_text, started_at, deadline,
                experiment_limit, seeds_json, proposer_seed, machine_json, ended_at, ending, ending_detail
         FROM nights WHERE (?1 IS NULL OR campaign = ?1) AND (?2 IS NULL OR id = ?2) ORDER BY started_at, id",
        campaign,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read nights"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// A night's experiments in order, or one of them.
pub(super) async fn experiments(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    number: Option<u32>,
) -> Result<Vec<ExperimentRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        ExperimentRow,
        "SELECT * FROM experiments WHERE night = ?1 AND (?2 IS NULL OR number = ?2) ORDER BY number",
        night,
        number
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(context.sql("read experiments"))?;
    let attempts = sqlx::query_as!(
        AttemptRow,
        "SELECT * FROM attempts WHERE night = ?1 AND (?2 IS NULL OR number = ?2) ORDER BY number, ordinal",
        night,
        number
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read attempts"))?;
    let mut experiments = rows.into_iter().map(|row| row.decode(context)).collect::<Result<Vec<_>>>()?;
    for attempt in attempts {
        let (number, attempt) = attempt.decode(context)?;
        // both are sorted by number, and an attempt's experiment exists by its foreign key
        if let Ok(place) = experiments.binary_search_by_key(&number, |experiment| experiment.id.number) {
            experiments[place].attempts.push(attempt);
        }
    }
    Ok(experiments)
}

/// One experiment, or the error that it is not recorded.
pub(super) async fn experiment(
    connection: &mut SqliteConnection,
    context: &Context,
    id: &ExperimentId,
) -> Result<ExperimentRecord> {
    experiments(connection, context, &id.night, Some(id.number))
        .await?
        .pop()
        .ok_or_else(|| context.unknown(format!("experiment {id}")))
}

/// A night's trials in order: all, those of one experiment, or one.
pub(super) async fn trials(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    number: Option<u32>,
    ordinal: Option<u32>,
) -> Result<Vec<TrialRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        TrialRow,
        "SELECT * FROM trials
         WHERE night = ?1 AND (?2 IS NULL OR number = ?2) AND (?3 IS NULL OR ordinal = ?3) ORDER BY number, ordinal",
        night,
        number,
        ordinal
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read trials"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// Champions in order.
pub(super) async fn champion_moves(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Vec<ChampionMove>> {
    let night = night.as_str();
    let rows =
        sqlx::query_as!(ChampionMoveRow, "SELECT * FROM champion_moves WHERE night = ?1 ORDER BY ordinal", night)
            .fetch_all(connection)
            .await
            .map_err(context.sql("read champions"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// Proposals that were not tried, in order.
pub(super) async fn skips(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Vec<SkipRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(SkipRow, "SELECT * FROM skips WHERE night = ?1 ORDER BY ordinal", night)
        .fetch_all(connection)
        .await
        .map_err(context.sql("read skipped proposals"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// The morning's claim.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Option<ClaimRecord>> {
    let night = night.as_str();
    let row = sqlx::query_as!(ClaimRow, "SELECT * FROM claims WHERE night = ?1", night)
        .fetch_optional(connection)
        .await
        .map_err(context.sql("read the morning's claim"))?;
    row.map(|row| row.decode(context)).transpose()
}

/// What had to be taken back.
pub(super) async fn withdrawal(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Option<WithdrawalRecord>> {
    let night = night.as_str();
    let row = sqlx::query_as!(WithdrawalRow, "SELECT * FROM withdrawals WHERE night = ?1", night)
        .fetch_optional(connection)
        .await
        .map_err(context.sql("read what was taken back"))?;
    row.map(|row| row.decode(context)).transpose()
}

/// The ledger of one night, or of all nights of a campaign in order.
pub(super) async fn looks(
    connection: &mut SqliteConnection,
    context: &Context,
    night: Option<&NightId>,
    campaign: Option<&str>,
) -> Result<Vec<(NightId, LookRecord)>> {
    let night = night.map(NightId::as_str);
    let rows = sqlx::query_as!(
        LookRow,
        "SELECT l.* FROM looks l JOIN nights n ON n.id = l.night
         WHERE (?1 IS NULL OR l.night = ?1) AND (?2 IS NULL OR n.campaign = ?2)
         ORDER BY n.started_at, n.id, l.part, l.what_for",
        night,
        campaign
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read the ledger of held-out text"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// The journal in the order of beginning, or the effect of one key.
pub(super) async fn effects(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    key: Option<&str>,
) -> Result<Vec<EffectRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        EffectRow,
        "SELECT * FROM effects WHERE night = ?1 AND (?2 IS NULL OR key = ?2) ORDER BY ordinal",
        night,
        key
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read the journal"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// Times of the journal in the order of beginning.
pub(super) async fn effect_times(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
) -> Result<Vec<EffectTimes>> {
    let id = night.as_str();
    let rows = sqlx::query!(
        r#"SELECT key, kind, begun_at, ended_at, CAST(json_extract(outcome_json, '$.seconds') AS REAL) AS "seconds?: f64",
           json_extract(payload_json, '$.opening') AS "opening?: String" FROM effects WHERE night = ?1 ORDER BY ordinal"#,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read the journal"))?;
    rows.into_iter()
        .map(|row| {
            let decoder = Decoder::new(context, format!("effect {} of night {night}", row.key));
            Ok(EffectTimes {
                begun_at: decoder.word("begun_at", &row.begun_at)?,
                ended_at: decoder.optional_word("ended_at", row.ended_at.as_ref())?,
                seconds: row.seconds,
                opening: row.opening.map(|text| decoder.json("payload_json", &text)).transpose()?.unwrap_or_default(),
                key: row.key,
                kind: row.kind,
            })
        })
        .collect()
}

/// Events in order: all, or those of a stage.
pub(super) async fn events(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    stage: Option<&str>,
) -> Result<Vec<EventRecord>> {
    let night = night.as_str();
    let rows = sqlx::query_as!(
        EventRow,
        "SELECT * FROM events WHERE night = ?1 AND (?2 IS NULL OR stage = ?2) ORDER BY ordinal",
        night,
        stage
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read events"))?;
    rows.into_iter().map(|row| row.decode(context)).collect()
}

/// Experiments of a campaign, its nights in order; experiment 0 of each left out. What a night had to take back tells nothing: see
/// [`HistoryEntry::take_back`].
pub(super) async fn history(
    connection: &mut SqliteConnection,
    context: &Context,
    campaign: &str,
) -> Result<Vec<HistoryEntry>> {
    let doing = "read the campaign's history";
    let rows = sqlx::query_as!(
        ExperimentRow,
        "SELECT e.* FROM experiments e JOIN nights n ON n.id = e.night
         WHERE n.campaign = ?1 AND e.number > 0 ORDER BY n.started_at, n.id, e.number",
        campaign
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(context.sql(doing))?;
    // What the decision cost; the champion's further trials and the morning's are no search for something better. Instants are compared as
    // such, since their text is as long as they need.
    let costs = sqlx::query!(
        r#"SELECT t.night, t.number,
                  sum(coalesce(t.start_seconds, 0.0) + coalesce(t.training_seconds, 0.0)
                      + coalesce(t.evaluator_seconds, 0.0)) AS "seconds!: f64"
           FROM trials t JOIN nights n ON n.id = t.night
                JOIN experiments e ON e.night = t.night AND e.number = t.number
           WHERE n.campaign = ?1 AND t.purpose = 'search'
                 AND (e.decided_at IS NULL OR julianday(t.started_at) <= julianday(e.decided_at))
           GROUP BY t.night, t.number"#,
        campaign
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(context.sql(doing))?;
    let costs: HashMap<(String, i64), f64> =
        costs.into_iter().map(|cost| ((cost.night, cost.number), cost.seconds)).collect();
    let seconds = |row: &ExperimentRow| costs.get(&(row.night.clone(), row.number)).copied().unwrap_or(0.0);
    let rows = rows.into_iter().map(|row| (seconds(&row), row));
    let mut entries: Vec<HistoryEntry> =
        rows.map(|(cost, row)| row.decode_history(context, cost)).collect::<Result<_>>()?;
    let mut of_night: Option<(NightId, Option<WithdrawalRecord>)> = None;
    for entry in &mut entries {
        // They stand night by night.
        if of_night.as_ref().is_none_or(|(night, _)| *night != entry.id.night) {
            let found = withdrawal(&mut *connection, context, &entry.id.night).await?;
            of_night = Some((entry.id.night.clone(), found));
        }
        if let Some((_, Some(withdrawal))) = &of_night {
            entry.take_back(withdrawal);
        }
    }
    Ok(entries)
}

/// Digests of all edits of a campaign that were ever fitted, whatever became of them.
pub(super) async fn digests_seen(
    connection: &mut SqliteConnection,
    context: &Context,
    campaign: &str,
) -> Result<HashSet<String>> {
    let digests = sqlx::query_scalar!(
        r#"SELECT e.patch_digest AS "digest!: String" FROM experiments e JOIN nights n ON n.id = e.night
           WHERE n.campaign = ?1
           UNION
           SELECT a.patch_digest FROM attempts a JOIN nights n ON n.id = a.night
           WHERE n.campaign = ?1 AND a.patch_digest IS NOT NULL"#,
        campaign
    )
    .fetch_all(connection)
    .await
    .map_err(context.sql("read the digests of earlier edits"))?;
    Ok(digests.into_iter().collect())
}

/// The highest ordinal of a night's events; 0 when there is none.
pub(super) async fn last_event(connection: &mut SqliteConnection, context: &Context, night: &NightId) -> Result<u32> {
    let night = night.as_str();
    sqlx::query_scalar!(r#"SELECT coalesce(max(ordinal), 0) AS "ordinal!: u32" FROM events WHERE night = ?1"#, night)
        .fetch_one(connection)
        .await
        .map_err(context.sql("read events"))
}

/// The highest ordinal of a night's effects; 0 when there is none.
pub(super) async fn last_effect(connection: &mut SqliteConnection, context: &Context, night: &NightId) -> Result<u32> {
    let night = night.as_str();
    sqlx::query_scalar!(r#"SELECT coalesce(max(ordinal), 0) AS "ordinal!: u32" FROM effects WHERE night = ?1"#, night)
        .fetch_one(connection)
        .await
        .map_err(context.sql("read the journal"))
}
