//! Exchanges with models as they are put on record, and read again: by a night that goes on, and by one that replays another.

use std::collections::{HashMap, VecDeque};

use crate::flow::{Brief, Proposal};
use crate::llm::spend::Spent;
use crate::llm::{Answer, Role};
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

/// Whose call it is, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
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
    pub fn of(brief: &Brief, repaired: Option<&Proposal>) -> Self {
        let aim = match (repaired, &brief.details.asked) {
            (Some(proposal), _) => format!("a repair of {}", proposal.key),
            (None, Some(wish)) => QueueEntry::key(wish.id),
            (None, None) => "an idea".to_owned(),
        };
        Self { number: brief.details.number, turn: brief.turn, repair: repaired.is_some(), aim }
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
    /// Whether the first word after the brief was the model's: a proposal was repaired.
    pub repairs: bool,
}

impl Known {
    /// What a record holds of this.
    pub fn of(exchange: ExchangeRecord) -> Self {
        let ExchangeRecord { kind, turn, round, number, aim, model, request, reply, again, spent, seconds, at } =
            exchange;
        let opens = request.messages.len() == 1;
        // In a conversation about a new idea the first of these, too, is the model's, but then its turn began without it.
        let repairs = request.messages.get(1).is_some_and(|message| message.role == Role::Assistant);
        let facts = ExchangeFacts { kind, turn, round, number, aim, model, reply, again, spent, seconds, at };
        Self { opens, repairs, ..Self::without_request(facts) }
    }

    /// The same where it does not matter what was asked.
    pub fn without_request(facts: ExchangeFacts) -> Self {
        let ExchangeFacts { kind, turn, round, aim, model, reply, again, spent, .. } = facts;
        let outcome = match reply {
            Reply::Answer(answer) => Ok(answer),
            Reply::Failure(failure) => Err(failure),
        };
        Self { kind, turn, round, aim, model, outcome, again, spent, opens: false, repairs: false }
    }

    /// Whether the end of the night, or of Nocturne, left it without an outcome.
    fn is_unfinished(&self) -> bool {
        self.outcome.as_ref().is_err_and(|failed| failed.words == INTERRUPTED || failed.is_under_way())
    }
}

/// The words of a call that the end of the night interrupted; it is asked anew when the night goes on.
pub(super) const INTERRUPTED: &str = "the night ended while the model was thinking";

/// What this night has on record already, for each turn, model and aim in order: taken before anybody is asked again.
#[derive(Debug, Default)]
pub(super) struct OwnRecord {
    waiting: HashMap<(u64, String, String), VecDeque<Known>>,
    rounds: HashMap<u64, u32>,
}

impl OwnRecord {
    pub fn of(own: Vec<Known>) -> Self {
        let mut record = Self::default();
        for known in own {
            let last = record.rounds.entry(known.turn).or_default();
            *last = (*last).max(known.round);
            if !known.is_unfinished() {
                let place = (known.turn, known.model.clone(), known.aim.clone());
                record.waiting.entry(place).or_default().push_back(known);
            }
        }
        record
    }

    /// The next one of this turn, model and aim.
    pub fn take(&mut self, place: &Place, model: &str) -> Option<Known> {
        self.waiting.get_mut(&(place.turn, model.to_owned(), place.aim.clone()))?.pop_front()
    }

    pub fn has(&self, place: &Place, model: &str) -> bool {
        let waiting = self.waiting.get(&(place.turn, model.to_owned(), place.aim.clone()));
        waiting.is_some_and(|waiting| !waiting.is_empty())
    }

    /// The round of a call that is made now.
    pub fn next_round(&mut self, turn: u64) -> u32 {
        let last = self.rounds.entry(turn).or_default();
        *last += 1;
        *last
    }
}

/// Another night's record, taken conversation by conversation in its order.
#[derive(Debug, Default)]
pub(super) struct Replay {
    models: HashMap<String, VecDeque<Conversation>>,
    open: HashMap<String, VecDeque<Known>>,
}

#[derive(Debug)]
struct Conversation {
    repair: bool,
    exchanges: VecDeque<Known>,
}

impl Replay {
    /// All exchanges of a night, in order.
    pub fn of(exchanges: Vec<Known>) -> Self {
        let mut replay = Self::default();
        let mut last: HashMap<String, (u64, bool)> = HashMap::new();
        for known in exchanges {
            let conversations = replay.models.entry(known.model.clone()).or_default();
            let too_long = known.outcome.as_ref().is_err_and(|failed| failed.kind == FailureKind::TooLong);
            // A brief that was too long is sent again, shorter; and what failed for a moment, as it was.
            let again = too_long || known.again;
            let goes_on = last
                .insert(known.model.clone(), (known.turn, again))
                .is_some_and(|(turn, again)| turn == known.turn && (!known.opens || again));
            match conversations.back_mut().filter(|_| goes_on) {
                Some(conversation) => conversation.exchanges.push_back(known),
                None => {
                    let repair = !known.opens && known.repairs;
                    conversations.push_back(Conversation { repair, exchanges: VecDeque::from([known]) });
                }
            }
        }
        replay
    }

    /// Begins the model's next conversation of this kind; `false` where there is none. Repairs that nobody asks for are passed over, for
    /// what they mended built here.
    pub fn begin(&mut self, model: &str, repair: bool) -> bool {
        self.open.remove(model);
        let Some(conversations) = self.models.get_mut(model) else { return false };
        while !repair && conversations.front().is_some_and(|next| next.repair) {
            conversations.pop_front();
        }
        match conversations.pop_front_if(|next| next.repair == repair) {
            Some(conversation) => {
                self.open.insert(model.to_owned(), conversation.exchanges);
                true
            }
            None => false,
        }
    }

    /// Passes over what a night that goes on has taken from this before: the conversations of its record, as many as those are.
    pub fn skip(&mut self, own: &[Known]) {
        for (model, conversations) in Self::of(own.to_vec()).models {
            for conversation in conversations {
                self.begin(&model, conversation.repair);
                for _ in conversation.exchanges {
                    self.take(&model);
                }
            }
        }
    }

    /// The next exchange of the model's conversation.
    pub fn take(&mut self, model: &str) -> Option<Known> {
        self.open.get_mut(model)?.pop_front()
    }
}
