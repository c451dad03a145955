//! The person's queue in a night: it goes before everything else. What has a patch is proposed as it is; words go to who can work them
//! out, and wait where nobody can now. The store settles an entry with its experiment, by the proposal's key.

use std::sync::{Arc, PoisonError};

use super::context::Context;
use super::perform::{Fault, blocking, fault};
use crate::flow::{CommitId, Proposal, Wish};
use crate::records::{QueueEntry, QueueState};

/// What the queue has for a turn.
pub(super) enum Next {
    /// An idea with a patch that fits.
    Proposal(Box<Proposal>),
    /// An idea in words.
    Words(Wish),
    /// Nothing that could be done now.
    Nothing,
}

/// Takes the next idea for the experiment with a number. Patches that do not fit the champion are refused with the reason, and the next is
/// taken.
pub(super) async fn next(context: &Arc<Context>, champion: &CommitId, number: u32) -> Result<Next, Fault> {
    let campaign = context.campaign.name.as_str();
    let entries = context.store.queue(Some(campaign)).await;
    let entries = entries.map_err(|error| fault("cannot read the queue")(&error))?;
    let open = |entry: &QueueEntry| matches!(entry.state, QueueState::Waiting | QueueState::Taken);
    // A night that replays another proposes what that one did.
    if context.asking.forgets() || !entries.iter().any(open) {
        return Ok(Next::Nothing);
    }
    // One candidate is made at a time: what is taken and no experiment by now was lost to a fault.
    let back = context.store.put_back_queued(campaign).await;
    back.map_err(|error| fault("cannot put an idea back into the queue")(&error))?;
    let (reader, commit) = (Arc::clone(context), champion.clone());
    let (words, files) = blocking("the queue", move || {
        let reads = reader.proposer.lock().unwrap_or_else(PoisonError::into_inner).reads();
        let files = reader.candidate_files(&commit);
        Ok((reads, files.map_err(|error| fault("cannot read the champion's files")(&error))?))
    })
    .await?;
    loop {
        let taken = context.store.take_next(campaign, &context.id(number), words).await;
        let taken = taken.map_err(|error| fault("cannot take from the queue")(&error))?;
        let Some(entry) = taken else { return Ok(Next::Nothing) };
        if entry.patch.is_none() {
            return Ok(Next::Words(Wish { id: entry.id, words: entry.words, by: entry.by }));
        }
        match crate::queue::proposal(&entry, &files) {
            Ok(proposal) => return Ok(Next::Proposal(Box::new(proposal))),
            Err(error) => {
                let why = format!("it does not fit the champion {}: {error}", champion.short());
                settle(context, entry.id, &why).await?;
            }
        }
    }
}

/// Whether an idea waits that something could be done with now: words wait for somebody who reads.
pub(super) async fn has_something(context: &Arc<Context>) -> Result<bool, Fault> {
    let entries = context.store.queue(Some(context.campaign.name.as_str())).await;
    let entries = entries.map_err(|error| fault("cannot read the queue")(&error))?;
    let patches: Vec<bool> =
        entries.iter().filter(|entry| entry.state == QueueState::Waiting).map(|entry| entry.patch.is_some()).collect();
    if context.asking.forgets() || patches.is_empty() {
        return Ok(false);
    }
    let reader = Arc::clone(context);
    let reads =
        blocking("the queue", move || Ok(reader.proposer.lock().unwrap_or_else(PoisonError::into_inner).reads()))
            .await?;
    Ok(reads || patches.contains(&true))
}

/// What becomes of words after somebody was asked to work them out: refused where that failed, put back where nobody could be asked.
pub(super) async fn worked_out(context: &Arc<Context>, id: u32, proposal: Option<&Proposal>) -> Result<(), Fault> {
    let refused = context.asking.desk().and_then(|desk| desk.take_refused()).filter(|(of, _)| *of == id);
    if proposal.is_some_and(|proposal| proposal.key == QueueEntry::key(id)) {
        return Ok(());
    }
    match refused {
        Some((_, why)) => settle(context, id, &why).await,
        None => {
            let back = context.store.put_back_queued(context.campaign.name.as_str()).await;
            back.map(drop).map_err(|error| fault("cannot put an idea back into the queue")(&error))
        }
    }
}

/// Ideas in words that wait, for whoever should not propose them meanwhile.
pub(super) async fn waiting(context: &Arc<Context>) -> Result<Vec<Wish>, Fault> {
    let entries = context.store.queue(Some(context.campaign.name.as_str())).await;
    let mut entries = entries.map_err(|error| fault("cannot read the queue")(&error))?;
    entries.retain(|entry| entry.state == QueueState::Waiting);
    entries.sort_by_key(|entry| (entry.place, entry.id));
    Ok(entries.into_iter().map(|entry| Wish { id: entry.id, words: entry.words, by: entry.by }).collect())
}

async fn settle(context: &Arc<Context>, id: u32, why: &str) -> Result<(), Fault> {
    let settled = context.store.settle_queued(id, QueueState::Refused, why).await;
    settled.map_err(|error| fault("cannot settle an idea of the queue")(&error))
}
