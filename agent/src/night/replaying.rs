//! Nights that answer from another's record: whether they can, who answers, and what is known of it to a night that goes on.

use std::collections::HashSet;

use serde_json::json;

use super::open_error::OpenError;
use crate::campaign::Campaign;
use crate::flow::NightId;
use crate::layout::Layout;
use crate::propose::model::exchange::Known;
use crate::records::ExchangeKind;
use crate::store::{Reader, Store};

/// The effect by which the journal knows of a night that answers from another's record.
const REPLAY: &str = "replay";

/// Whether there is a night of this campaign to go on with that answers from another's record. Changes nothing.
pub(super) async fn unfinished_replays(layout: &Layout, campaign: &Campaign) -> Result<bool, OpenError> {
    if !layout.database().exists() {
        return Ok(false);
    }
    let reader = Reader::open(&layout.database()).await?;
    let replays = match reader.unfinished_night(campaign.name.as_str()).await? {
        Some(night) => replay_of(&reader, &night.id).await?.is_some(),
        None => false,
    };
    reader.close().await;
    Ok(replays)
}

/// Whether a night can be replayed in this campaign; changes nothing.
pub(super) async fn check_replay(layout: &Layout, campaign: &Campaign, other: &NightId) -> Result<(), OpenError> {
    let missing = || OpenError::NoNightToReplay(other.clone());
    if !layout.database().exists() {
        return Err(missing());
    }
    let reader = Reader::open(&layout.database()).await?;
    let night = reader.night(other).await?.ok_or_else(missing)?;
    let facts = reader.exchange_facts(other).await?;
    reader.close().await;
    if night.campaign != campaign.name.as_str() {
        let (its, this) = (night.campaign.to_string(), campaign.name.to_string());
        return Err(OpenError::ReplayOfAnother { night: other.clone(), its, this });
    }
    if facts.is_empty() {
        return Err(OpenError::NothingToReplay(other.clone()));
    }
    Ok(())
}

/// The night whose record a night answers from, as its journal has it.
pub(super) async fn replay_of(store: &Reader, night: &NightId) -> Result<Option<NightId>, OpenError> {
    let effects = store.effects(night).await?;
    let noted = effects.iter().find(|effect| effect.kind == REPLAY);
    Ok(noted.and_then(|effect| effect.payload["night"].as_str()?.parse().ok()))
}

/// Writes down that a night answers from another's record, so that it goes on so.
pub(super) async fn note_replay(store: &Store, night: &NightId, other: &NightId) -> Result<(), OpenError> {
    store.begin_effect(night, REPLAY, REPLAY, &json!({ "night": other })).await?;
    store.end_effect(night, REPLAY, &json!({ "event": "noted" })).await?;
    Ok(())
}

/// Who of a kind answered in a record, in the order in which they first did.
pub(super) fn on_record(record: &[Known], kind: ExchangeKind) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for known in record.iter().filter(|known| known.kind == kind) {
        if !names.contains(&known.model) {
            names.push(known.model.clone());
        }
    }
    names
}

/// A night and all that began later, this one aside.
pub(super) async fn after(store: &Store, other: &NightId, this: &NightId) -> Result<HashSet<NightId>, OpenError> {
    let nights = store.nights().await?;
    let from = nights.iter().find(|night| night.id == *other).map(|night| night.started_at);
    let later = nights.into_iter().filter(|night| from.is_some_and(|from| night.started_at >= from));
    Ok(later.map(|night| night.id).filter(|id| id != this).collect())
}
