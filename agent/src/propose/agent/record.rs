//! An agent's turn as it is put on record: the brief as what it was asked, the proposal as what it answered, and why there is none.

use serde::{Deserialize, Serialize};

use crate::flow::Proposal;
use crate::llm::{Answer, Message, Part, Request, Role, Stop, Usage};
use crate::propose::agent::words::PROMPT;
use crate::propose::model::exchange::RecordError;
use crate::propose::model::turns::Took;
use crate::records::{ExchangeFailure, FailureKind, Reply};

/// Characters of the words of a failure.
const MOST_WORDS: usize = 20_000;

/// Why a turn came to nothing.
#[derive(Debug)]
pub(in crate::propose) enum Lost {
    /// The agent's doing: in a word, and in words.
    Agent(FailureKind, String),
    /// The machine's.
    Machine(String),
    /// The night's end.
    Stopped,
}

/// One turn of an agent while it goes on.
#[derive(Debug, Default)]
pub(in crate::propose) struct Record {
    /// Seconds that it took, all attempts together.
    pub seconds: f64,
    /// How often its program was run.
    pub runs: u64,
    /// What was wrong with each attempt that left something, in order; the last one is empty where it led to a proposal.
    pub attempts: Vec<Vec<String>>,
}

/// The text of an answer on record.
#[derive(Serialize, Deserialize)]
struct Told {
    /// As [`Record::attempts`].
    attempts: Vec<Vec<String>>,
    proposal: Proposal,
}

impl Record {
    /// What an agent was asked.
    pub(in crate::propose) fn request(agent: &str, brief: &str) -> Request {
        Request {
            model: agent.to_owned(),
            system: PROMPT.to_owned(),
            messages: vec![Message { role: Role::User, parts: vec![Part::Text { text: brief.to_owned() }] }],
            tools: Vec::new(),
            most_tokens: 0,
            temperature: None,
        }
    }

    /// What the turn took.
    pub(in crate::propose) fn took(&self) -> Took {
        Took { attempts: self.runs, seconds: self.seconds }
    }

    /// What to put on record; `None` for a turn that was none, because the machine or the night's end broke it off.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(in crate::propose) fn reply(&self, made: &Result<Proposal, Lost>) -> Result<Option<Reply>, RecordError> {
        let proposal = match made {
            Ok(proposal) => proposal.clone(),
            Err(Lost::Agent(kind, why)) => {
                let complaints = self.attempts.concat();
                let words = [std::slice::from_ref(why), &complaints].concat().join("\n");
                let words = words.chars().take(MOST_WORDS).collect();
                return Ok(Some(Reply::Failure(ExchangeFailure { kind: *kind, words })));
            }
            Err(Lost::Machine(_) | Lost::Stopped) => return Ok(None),
        };
        let told = Told { attempts: self.attempts.clone(), proposal };
        let text = serde_json::to_string_pretty(&told).map_err(|error| RecordError(error.to_string()))?;
        Ok(Some(Reply::Answer(Answer {
            model: None,
            text,
            calls: Vec::new(),
            stop: Stop::Done,
            usage: Usage::default(),
        })))
    }

    /// The proposal of a reply that is on record; `None` where the turn came to nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::propose) fn proposal(reply: &Reply) -> Result<Option<Proposal>, String> {
        let Some(answer) = reply.answer() else { return Ok(None) };
        let told: Told = serde_json::from_str(&answer.text).map_err(|error| error.to_string())?;
        Ok(Some(told.proposal))
    }
}
