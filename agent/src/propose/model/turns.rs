//! Turns that are put on record whole, as a coding agent's are: one exchange is all that was asked and all that came of it. Nothing here
//! asks anybody.

use super::desk::{Desk, locked};
use super::exchange::{Place, RecordError};
use super::tries::now;
use crate::llm::Request;
use crate::llm::spend::Spent;
use crate::records::{ExchangeRecord, Reply};

impl Desk {
    /// What is on record of a turn: this night's own, else the next of the night that is replayed, which is put on record as this night's.
    /// `None` where there is nothing. Where a night is replayed the turn must have [begun](Self::begin).
    ///
    /// # Errors
    /// When it cannot be put on record; then it must not be used.
    pub(in crate::propose) fn heard(
        &self,
        name: &str,
        place: &Place,
        request: &Request,
    ) -> Result<Option<Reply>, RecordError> {
        if let Some(known) = locked(&self.own).take(place, name) {
            return Ok(Some(known.outcome.map_or_else(Reply::Failure, Reply::Answer)));
        }
        let replayed = self.replay.as_ref().and_then(|replay| locked(replay).take());
        let Some(known) = replayed else { return Ok(None) };
        let reply = known.outcome.map_or_else(Reply::Failure, Reply::Answer);
        self.put(name, place, request.clone(), reply.clone(), Took { attempts: 1, seconds: 0.0 })?;
        Ok(Some(reply))
    }

    /// Puts a turn on record, before anything is made of what came of it.
    ///
    /// # Errors
    /// When that is not possible; then it must not be used.
    pub(in crate::propose) fn put(
        &self,
        name: &str,
        place: &Place,
        request: Request,
        reply: Reply,
        took: Took,
    ) -> Result<(), RecordError> {
        let exchange = ExchangeRecord {
            kind: place.kind,
            turn: place.turn,
            round: locked(&self.own).next_round(place.turn),
            number: place.number,
            aim: place.aim.clone(),
            model: name.to_owned(),
            request,
            reply,
            again: false,
            spent: Spent { calls: took.attempts.max(1), ..Spent::default() },
            seconds: took.seconds,
            at: now(),
        };
        self.record.record(&exchange)
    }
}

/// What a turn took.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::propose) struct Took {
    /// Attempts.
    pub attempts: u64,
    /// Seconds of them together.
    pub seconds: f64,
}
