//! Exchanges with models as they are put on record, and read again: by a night that goes on, and by one that replays another.

use std::collections::{HashMap, VecDeque};

use crate::flow::{Brief, Proposal};
use crate::llm::Answer;
use crate::llm::spend::Spent;
use crate::records::{ExchangeFacts, ExchangeFailure, ExchangeKind, ExchangeRecord, FailureKind, QueueEntry, Reply};

/// An exchange could not be put on record, or the record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep the record of what models are asked: {0}")]
pub struct RecordError(
    /// What went wrong.
    pub String,
);

/// Where exchanges are put on record. Called on a thread that may block.
pub trait Exchanges: Send + Sync {
    /// Puts one on record: as under way before the server is asked, and with its reply before that is used.
    ///
    /// # Errors
    /// When that is not possible; then the answer must not be used.
    fn record(&self, exchange: &ExchangeRecord) -> Result<(), RecordError>;
}

/// What the aim of a repair begins with.
const REPAIR: &str = "a repair of ";

/// Whose call it is, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::propose) struct Place {
    /// Who is asked.
    pub kind: ExchangeKind,
    /// The number of the experiment that it is for.
    pub number: u32,
    /// The turn of the night.
    pub turn: u64,
    /// Whether a proposal is to be repaired.
    pub repair: bool,
    /// What is hoped for, in the words of [`ExchangeRecord::aim`]: an answer to one thing is never taken for an answer to another.
    pub aim: String,
}

impl Place {
    /// Where calls belong that are made for a brief, or to repair a proposal.
    pub fn of(kind: ExchangeKind, brief: &Brief, repaired: Option<&Proposal>) -> Self {
        let aim = match (repaired, &brief.details.asked) {
            (Some(proposal), _) => format!("{REPAIR}{}", proposal.key),
            (None, Some(wish)) => QueueEntry::key(wish.id),
            (None, None) => "an idea".to_owned(),
        };
        Self { kind, number: brief.details.number, turn: brief.turn, repair: repaired.is_some(), aim }
    }
}

/// What is on record of a call: what came back, and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Who was asked.
    pub kind: ExchangeKind,
    /// The turn of the night.
    pub turn: u64,
    /// Counts the night's calls within the turn, from 1.
    pub round: u32,
    /// What it was for.
    pub aim: String,
    /// The model's name in the campaign.
    pub model: String,
    /// The answer, or why there is none.
    pub outcome: Result<Answer, ExchangeFailure>,
    /// Whether it failed and the same was to be tried again.
    pub again: bool,
    /// What it cost.
    pub spent: Spent,
    /// Whether nothing had been said before but the brief: a conversation about a new idea begins.
    pub opens: bool,
    /// Whether a proposal was repaired.
    pub repairs: bool,
}

impl Known {
    /// What a record holds of this.
    pub fn of(exchange: ExchangeRecord) -> Self {
        let ExchangeRecord { kind, turn, round, number, aim, model, request, reply, again, spent, seconds, at } =
            exchange;
        let opens = request.messages.len() == 1;
        let facts = ExchangeFacts { kind, turn, round, number, aim, model, reply, again, spent, seconds, at };
        Self { opens, ..Self::without_request(facts) }
    }

    /// The same where it does not matter what was asked.
    pub fn without_request(facts: ExchangeFacts) -> Self {
        let ExchangeFacts { kind, turn, round, aim, model, reply, again, spent, .. } = facts;
        let outcome = match reply {
            Reply::Answer(answer) => Ok(answer),
            Reply::Failure(failure) => Err(failure),
        };
        let repairs = aim.starts_with(REPAIR);
        Self { kind, turn, round, aim, model, outcome, again, spent, opens: false, repairs }
    }

    /// Whether the end of the night, or of Nocturne, left it without an outcome.
    fn is_unfinished(&self) -> bool {
        self.outcome.as_ref().is_err_and(|failed| failed.words == INTERRUPTED || failed.is_under_way())
    }
}

/// The words of a call that the end of the night interrupted; it is asked anew when the night goes on.
pub(super) const INTERRUPTED: &str = "the night ended while the model was thinking";

/// What this night has on record already, for each turn, asked one and aim in order: taken before anybody is asked again.
#[derive(Debug, Default)]
pub(super) struct OwnRecord {
    waiting: HashMap<(u64, ExchangeKind, String, String), VecDeque<Known>>,
    rounds: HashMap<u64, u32>,
}

impl OwnRecord {
    pub fn of(own: Vec<Known>) -> Self {
        let mut record = Self::default();
        for known in own {
            let last = record.rounds.entry(known.turn).or_default();
            *last = (*last).max(known.round);
            if !known.is_unfinished() {
                let place = (known.turn, known.kind, known.model.clone(), known.aim.clone());
                record.waiting.entry(place).or_default().push_back(known);
            }
        }
        record
    }

    /// The next one of this turn, asked one and aim.
    pub fn take(&mut self, place: &Place, model: &str) -> Option<Known> {
        self.waiting.get_mut(&key(place, model))?.pop_front()
    }

    pub fn has(&self, place: &Place, model: &str) -> bool {
        self.waiting.get(&key(place, model)).is_some_and(|waiting| !waiting.is_empty())
    }

    /// Whether anybody has answered this.
    pub fn has_anyones(&self, place: &Place) -> bool {
        let of_it = |(turn, _, _, aim): &(u64, ExchangeKind, String, String)| *turn == place.turn && *aim == place.aim;
        self.waiting.iter().any(|(key, waiting)| of_it(key) && !waiting.is_empty())
    }

    /// The round of a call that is made now.
    pub fn next_round(&mut self, turn: u64) -> u32 {
        let last = self.rounds.entry(turn).or_default();
        *last += 1;
        *last
    }
}

fn key(place: &Place, model: &str) -> (u64, ExchangeKind, String, String) {
    (place.turn, place.kind, model.to_owned(), place.aim.clone())
}

/// Another night's record, taken conversation by conversation in its order: whoever's turn it was then is whose turn it is now, however
/// turns are drawn this time.
#[derive(Debug, Default)]
pub(super) struct Replay {
    waiting: VecDeque<Conversation>,
    open: VecDeque<Known>,
}

#[derive(Debug)]
struct Conversation {
    kind: ExchangeKind,
    model: String,
    repair: bool,
    exchanges: VecDeque<Known>,
}

impl Conversation {
    /// Whether this is what goes on after the last of it. A brief that was too long is sent again, shorter; and what failed for a moment,
    /// as it was.
    fn goes_on_with(&self, known: &Known) -> bool {
        self.exchanges.back().is_some_and(|last| {
            let too_long = last.outcome.as_ref().is_err_and(|failed| failed.kind == FailureKind::TooLong);
            let same =
                (last.kind, last.turn, &last.model, &last.aim) == (known.kind, known.turn, &known.model, &known.aim);
            same && (!known.opens || too_long || last.again)
        })
    }
}

impl Replay {
    /// All exchanges of a night, in order. What the end of the night, or of Nocturne, interrupted was asked again.
    pub fn of(exchanges: Vec<Known>) -> Self {
        let mut waiting: VecDeque<Conversation> = VecDeque::new();
        for known in exchanges.into_iter().filter(|known| !known.is_unfinished()) {
            match waiting.back_mut().filter(|last| last.goes_on_with(&known)) {
                Some(conversation) => conversation.exchanges.push_back(known),
                None => {
                    let (kind, model, repair) = (known.kind, known.model.clone(), known.repairs);
                    waiting.push_back(Conversation { kind, model, repair, exchanges: VecDeque::from([known]) });
                }
            }
        }
        Self { waiting, open: VecDeque::new() }
    }

    /// Whether the next idea of the record is this one's.
    pub fn is_next(&self, kind: ExchangeKind, model: &str) -> bool {
        let next = self.waiting.iter().find(|next| !next.repair);
        next.is_some_and(|next| next.kind == kind && next.model == model)
    }

    /// Begins the next conversation, if it is this one's and of this kind. Repairs that nobody asks for are passed over, for what they
    /// mended built here.
    pub fn begin(&mut self, kind: ExchangeKind, model: &str, repair: bool) -> bool {
        self.open.clear();
        while !repair && self.waiting.front().is_some_and(|next| next.repair) {
            self.waiting.pop_front();
        }
        let its = |next: &mut Conversation| next.kind == kind && next.model == model && next.repair == repair;
        match self.waiting.pop_front_if(its) {
            Some(conversation) => {
                self.open = conversation.exchanges;
                true
            }
            None => false,
        }
    }

    /// Passes over what a night that goes on has taken from this before: the conversations of its record, as many as those are.
    pub fn skip(&mut self, own: &[Known]) {
        for conversation in Self::of(own.to_vec()).waiting {
            self.begin(conversation.kind, &conversation.model, conversation.repair);
            for _ in conversation.exchanges {
                self.take();
            }
        }
    }

    /// The next exchange of the conversation.
    pub fn take(&mut self) -> Option<Known> {
        self.open.pop_front()
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
