//! All writing SQL: one statement per table, which makes the row equal to the record. What may change, and what must not,
//! is decided by the callers inside their transaction. The checks of the schema stand behind both. Here are the tables of a
//! night as a whole; experiments and trials are in [`super::put_experiments`].

use serde::Serialize;
use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
pub(super) use super::put_experiments::{attempt, experiment, trial};
use crate::flow::NightId;
use crate::records::{
    ChampionMove, ClaimRecord, EffectRecord, EventRecord, LookRecord, NightRecord, SkipRecord, WithdrawalRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn json(context: &Context, what: &str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|problem| context.bad_row(what, problem))
}

pub(super) async fn night(connection: &mut SqliteConnection, context: &Context, night: &NightRecord) -> Result<()> {
    let id = night.id.as_str();
    let start_commit = night.start_commit.as_str();
    let started_at = night.started_at.to_string();
    let deadline = night.deadline.map(|at| at.to_string());
    let seeds = json(context, "a night's seeds", &night.seeds)?;
    let proposer_seed = night.proposer_seed.to_string();
    let machine = json(context, "a night's machine", &night.machine)?;
    let state = if night.end.is_some() { "ended" } else { "running" };
    let ended_at = night.end.as_ref().map(|end| end.at.to_string());
    let ending = night.end.as_ref().map(|end| end.how.name());
    let ending_detail = night.end.as_ref().map(|end| end.detail.as_str());
    sqlx::query!(
        "INSERT INTO nights (id, campaign, start_commit, program_sha256, campaign_sha256, campaign_text, started_at,
                             deadline, experiment_limit, seeds_json, proposer_seed, machine_json, state, ended_at,
                             ending, ending_detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (id) DO UPDATE SET
             state = excluded.state, ended_at = excluded.ended_at, ending = excluded.ending,
             ending_detail = excluded.ending_detail",
        id,
        night.campaign,
        start_commit,
        night.program_sha256,
        night.campaign_sha256,
        night.campaign_text,
        started_at,
        deadline,
        night.experiment_limit,
        seeds,
        proposer_seed,
        machine,
        state,
        ended_at,
        ending,
        ending_detail
    )
    .execute(connection)
    .await
    .map_err(context.sql("record a night"))?;
    Ok(())
}

pub(super) async fn champion_move(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    champion: &ChampionMove,
) -> Result<()> {
    let night = night.as_str();
    let commit = champion.commit.as_str();
    let at = champion.at.to_string();
    sqlx::query!(
        "INSERT INTO champion_moves (night, ordinal, experiment, commit_id, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        night,
        champion.ordinal,
        champion.experiment,
        commit,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record a champion"))?;
    Ok(())
}

pub(super) async fn skip(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    skip: &SkipRecord,
) -> Result<()> {
    let night = night.as_str();
    let champion = skip.champion.as_str();
    let at = skip.at.to_string();
    sqlx::query!(
        "INSERT INTO skips (night, ordinal, proposer, key, champion_commit, reason, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        night,
        skip.ordinal,
        skip.proposer,
        skip.key,
        champion,
        skip.reason,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record a skipped proposal"))?;
    Ok(())
}

pub(super) async fn effect(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    effect: &EffectRecord,
) -> Result<()> {
    let night = night.as_str();
    let payload = json(context, "an effect's payload", &effect.payload)?;
    let begun_at = effect.begun_at.to_string();
    let ended_at = effect.ended_at.map(|at| at.to_string());
    let outcome = effect.outcome.as_ref().map(|outcome| json(context, "an effect's outcome", outcome)).transpose()?;
    sqlx::query!(
        "INSERT INTO effects (night, ordinal, key, kind, payload_json, begun_at, ended_at, outcome_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (night, ordinal) DO UPDATE SET ended_at = excluded.ended_at, outcome_json = excluded.outcome_json",
        night,
        effect.ordinal,
        effect.key,
        effect.kind,
        payload,
        begun_at,
        ended_at,
        outcome
    )
    .execute(connection)
    .await
    .map_err(context.sql("write the journal"))?;
    Ok(())
}

pub(super) async fn event(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    event: &EventRecord,
) -> Result<()> {
    let night = night.as_str();
    let at = event.at.to_string();
    let level = event.level.name();
    sqlx::query!(
        "INSERT INTO events (night, ordinal, at, level, stage, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        night,
        event.ordinal,
        at,
        level,
        event.stage,
        event.text
    )
    .execute(connection)
    .await
    .map_err(context.sql("record an event"))?;
    Ok(())
}

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    claim: &ClaimRecord,
) -> Result<()> {
    let interval = claim.interval.unzip();
    context.finite(&[
        ("the claimed difference", claim.difference),
        ("the claim's interval's lower end", interval.0),
        ("the claim's interval's upper end", interval.1),
        ("the claim's p-value", claim.p_value),
    ])?;
    let night = night.as_str();
    let start = claim.start.as_str();
    let champion = claim.champion.as_str();
    let (low, high) = interval;
    let at = claim.at.to_string();
    sqlx::query!(
        "INSERT INTO claims (night, start_commit, champion_commit, pairs, difference, interval_low, interval_high, p_value,
                             holds, words, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        night,
        start,
        champion,
        claim.pairs,
        claim.difference,
        low,
        high,
        claim.p_value,
        claim.holds,
        claim.words,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record the morning's claim"))?;
    Ok(())
}

pub(super) async fn withdrawal(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    withdrawal: &WithdrawalRecord,
) -> Result<()> {
    let night = night.as_str();
    let at = withdrawal.at.to_string();
    sqlx::query!(
        "INSERT INTO withdrawals (night, experiment, words, at) VALUES (?1, ?2, ?3, ?4)",
        night,
        withdrawal.experiment,
        withdrawal.words,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record what is taken back"))?;
    Ok(())
}

pub(super) async fn look(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    look: &LookRecord,
) -> Result<()> {
    let night = night.as_str();
    let part = look.part.name();
    let first_at = look.first_at.to_string();
    let last_at = look.last_at.to_string();
    sqlx::query!(
        "INSERT INTO looks (night, part, what_for, evaluations, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (night, part, what_for) DO UPDATE SET evaluations = excluded.evaluations, last_at = excluded.last_at",
        night,
        part,
        look.what_for,
        look.evaluations,
        first_at,
        last_at
    )
    .execute(connection)
    .await
    .map_err(context.sql("count a look at held-out text"))?;
    Ok(())
}
