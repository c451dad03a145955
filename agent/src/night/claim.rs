//! Performing [`Effect::Claim`](super::messages::Effect): writing down the morning's claim.

use std::sync::Arc;

use super::context::Context;
use super::messages::{Champion, Event};
use super::perform::{Fault, fault, now};
use super::settle;
use crate::flow::CommitId;
use crate::records::ClaimRecord;
use crate::stats::claim::Claim;

/// Records the claim and adds it to the champion's note. A claim that is recorded stays as it is.
pub(super) async fn record(
    context: Arc<Context>,
    claim: Claim,
    start: CommitId,
    champion: Champion,
) -> Result<Event, Fault> {
    let record = ClaimRecord {
        start,
        champion: champion.commit.clone(),
        pairs: claim.pairs,
        difference: Some(claim.difference.estimate),
        interval: Some(claim.difference.interval),
        p_value: Some(claim.p_value),
        holds: claim.holds,
        words: claim.words,
        at: now(),
    };
    let recorded = context.store.record_claim(&context.night.id, &record).await;
    recorded.map_err(|error| fault("cannot record the claim")(&error))?;
    settle::annotate(&context, &context.id(champion.number)).await?;
    Ok(Event::Claimed)
}
