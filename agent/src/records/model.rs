//! What is written down of calls of language models, and of a person's own ideas.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::{ExchangeKind, FailureKind, QueueState};
use crate::flow::{Author, Edit, ExperimentId, Proposal};
use crate::llm::spend::Spent;
use crate::llm::{Answer, AskError, Request};

/// One try of a call of a model, or one turn of a coding agent. A try is written down before the server is asked, as one that is under
/// way, and again when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    /// Who was asked. Older files know of models alone.
    #[serde(default = "a_model")]
    pub kind: ExchangeKind,
    /// [`Brief::turn`](crate::flow::Brief::turn) of the brief that it belongs to.
    pub turn: u64,
    /// Counted from 1 within the turn.
    pub round: u32,
    /// The experiment that was to come of it. An idea that was skipped leaves its number to the next.
    pub number: u32,
    /// What it was for: an idea, the key of the person's, or a repair and of what. Older files do not say, and are not heard again.
    #[serde(default)]
    pub aim: String,
    /// The model's or the agent's name in `campaign.toml`.
    pub model: String,
    /// What was asked. It holds no key.
    pub request: Request,
    /// What came back.
    pub reply: Reply,
    /// Whether this is a failed try that another try of the same call was to follow.
    #[serde(default)]
    pub again: bool,
    /// What it cost; while it is under way, what it can cost at most. What an agent costs is not known.
    pub spent: Spent,
    /// Seconds from the request to the end of the answer.
    pub seconds: f64,
    /// When it was over.
    pub at: Timestamp,
}

fn a_model() -> ExchangeKind {
    ExchangeKind::Model
}

/// An [`ExchangeRecord`] without what was asked, which is most of its size.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeFacts {
    /// As [`ExchangeRecord::kind`].
    pub kind: ExchangeKind,
    /// As [`ExchangeRecord::turn`].
    pub turn: u64,
    /// As [`ExchangeRecord::round`].
    pub round: u32,
    /// As [`ExchangeRecord::number`].
    pub number: u32,
    /// As [`ExchangeRecord::aim`].
    pub aim: String,
    /// As [`ExchangeRecord::model`].
    pub model: String,
    /// As [`ExchangeRecord::reply`].
    pub reply: Reply,
    /// As [`ExchangeRecord::again`].
    pub again: bool,
    /// As [`ExchangeRecord::spent`].
    pub spent: Spent,
    /// As [`ExchangeRecord::seconds`].
    pub seconds: f64,
    /// As [`ExchangeRecord::at`].
    pub at: Timestamp,
}

/// What came back from a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// None.
    Failure(ExchangeFailure),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeFailure {
    /// In a word.
    pub kind: FailureKind,
    /// In words; any key in them is redacted.
    pub words: String,
}

impl Reply {
    /// Whether this stands for a try that is under way.
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Failure(failure) if failure.is_under_way())
    }

    /// The answer, where there is one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Failure(_) => None,
        }
    }
}

/// The words of a try that is under way, and of one that never ended because Nocturne did.
const UNDER_WAY: &str = "Nocturne was ended while the model was asked; counted at the most that it can have cost";

impl ExchangeFailure {
    /// What stands in the place of the reply until there is one.
    pub fn under_way() -> Self {
        Self { kind: FailureKind::BrokenOff, words: UNDER_WAY.to_owned() }
    }

    /// Whether it was never over.
    pub fn is_under_way(&self) -> bool {
        *self == Self::under_way()
    }

    /// What to write down of an error. `redact` takes keys out of its words, which may quote what was sent.
    pub fn of(error: &AskError, redact: impl FnOnce(&str) -> String) -> Self {
        let kind = match error {
            AskError::Unreachable { .. } => FailureKind::Unreachable,
            AskError::TimedOut { .. } | AskError::Endless { .. } => FailureKind::TimedOut,
            AskError::RateLimited { .. } => FailureKind::RateLimited,
            AskError::Server { .. } => FailureKind::Server,
            AskError::NotAllowed { .. } => FailureKind::NotAllowed,
            AskError::TooLong { .. } => FailureKind::TooLong,
            AskError::BadRequest { .. } => FailureKind::BadRequest,
            AskError::BrokenOff(_) => FailureKind::BrokenOff,
            AskError::Malformed(_) => FailureKind::Malformed,
            AskError::TooMuch { .. } => FailureKind::TooMuch,
            AskError::Empty => FailureKind::Empty,
        };
        Self { kind, words: redact(&error.to_string()) }
    }
}

/// `exchanges/<turn>-<round>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeFile {
    /// [`FILE_VERSION`](super::FILE_VERSION).
    pub version: u32,
    /// The try.
    pub exchange: ExchangeRecord,
}

/// An idea of the person's own. Entries with a patch are tested as they are; words alone go to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Names it for ever, counted from 1 over all campaigns.
    pub id: u32,
    /// The campaign that it is for.
    pub campaign: String,
    /// The lower, the sooner, among those of a campaign that wait.
    pub place: u32,
    /// What to try.
    pub words: String,
    /// The program that put it in, by the name that it gives itself; `None`: the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How: a unified diff as git writes it.
    pub patch: Option<String>,
    /// What has become of it.
    pub state: QueueState,
    /// The experiment that it was taken for.
    pub taken: Option<Taken>,
    /// What came of it, once it is done or refused.
    pub result: Option<String>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it was done, refused or removed.
    pub settled_at: Option<Timestamp>,
}

/// Who took an entry of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// For this experiment.
    pub by: ExperimentId,
    /// When.
    pub at: Timestamp,
}

/// `queue.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueFile {
    /// [`FILE_VERSION`](super::FILE_VERSION).
    pub version: u32,
    /// All entries, by id.
    pub entries: Vec<QueueEntry>,
}

/// The word in [`Author::proposer`] for what the person put into the queue with a patch.
const PERSON: &str = "person";

/// The same for what an agent outside did, over MCP.
const OUTSIDE: &str = "outside";

/// Longest title of a proposal.
const MOST_TITLE: usize = 72;

impl QueueEntry {
    /// [`Proposal::key`] of what comes of the entry with this id, whoever makes it of it: the store settles an entry by this key as soon as
    /// its experiment is decided or skipped.
    pub fn key(id: u32) -> String {
        format!("queue-{id}")
    }

    /// The entry that a proposal's key names.
    pub fn id_of(key: &str) -> Option<u32> {
        key.strip_prefix("queue-")?.parse().ok().filter(|id| Self::key(*id) == key)
    }

    /// The entry's patch as a proposal, its edits having been fitted to the champion's files.
    pub fn proposal(&self, edits: Vec<Edit>) -> Proposal {
        // What comes first, up to an empty line, says what; the rest says why.
        let first = self.words.trim_start().split("\n\n").next().unwrap_or_default();
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut title: String = line.chars().take(MOST_TITLE).collect();
        if line.chars().count() > MOST_TITLE {
            title.pop();
            title = title.trim_end().to_owned() + "…";
        }
        Proposal {
            key: Self::key(self.id),
            title,
            hypothesis: self.words.clone(),
            source: match &self.by {
                None => "the person's queue".to_owned(),
                Some(by) => format!("the person's queue, from an agent outside ({by})"),
            },
            family: "queue".to_owned(),
            predicted_effect: None,
            confidence: None,
            edits,
            author: Author {
                proposer: if self.by.is_some() { OUTSIDE } else { PERSON }.to_owned(),
                model: None,
                cost_usd: 0.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_entries_and_nothing_else_does() {
        assert_eq!(QueueEntry::id_of(&QueueEntry::key(12)), Some(12));
        for other in ["queue-", "queue-x", "queue-012", "queue-+1", "queue-4294967296", "tie-weights"] {
            assert_eq!(QueueEntry::id_of(other), None, "{other}");
        }
    }

    #[test]
    fn words_make_a_title_of_one_short_line() {
        let entry = |words: &str| QueueEntry {
            id: 3,
            campaign: "quickstart".to_owned(),
            place: 1,
            words: words.to_owned(),
            by: None,
            patch: None,
            state: QueueState::Waiting,
            taken: None,
            result: None,
            created_at: Timestamp::UNIX_EPOCH,
            settled_at: None,
        };
        assert_eq!(entry("try a longer\n warm-down").proposal(Vec::new()).title, "try a longer warm-down");
        assert_eq!(entry("Warm down\n\nIt may help.").proposal(Vec::new()).title, "Warm down");
        let long = entry(&"é".repeat(73)).proposal(Vec::new());
        assert_eq!(long.title, "é".repeat(71) + "…");
        assert_eq!((long.key.as_str(), long.author.proposer.as_str()), ("queue-3", "person"));
        let outside = QueueEntry { by: Some("coder".to_owned()), ..entry("x") }.proposal(Vec::new());
        assert_eq!(outside.author.proposer, "outside");
        assert_eq!(outside.source, "the person's queue, from an agent outside (coder)");
    }
}
