//! What both formats put together the same way: text and calls that arrive in pieces, by index, with bounds on all of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::received::Came;
use super::{Answer, AskError, Assembled, Call, Stop};

/// Bytes of text and arguments that an answer may have. The largest useful answer, a whole candidate, is a tenth of it.
pub const MOST_ANSWER_BYTES: usize = 1 << 20;

/// Calls that one answer may make.
const MOST_CALLS: usize = 64;

/// Characters of a server's own words that are passed on.
const MOST_WORDS: usize = 300;

/// Puts a streamed answer of one format together.
pub(super) trait Assemble {
    /// Takes the data of one event. `true`: that was the last.
    ///
    /// # Errors
    /// When it is no event of an answer, or tells of an error, or the answer has become too long.
    fn take(&mut self, data: &str) -> Assembled<bool>;

    /// What has come by now.
    fn came(&self) -> Came;

    /// The answer, when the stream has ended.
    ///
    /// # Errors
    /// When it ended before the answer did, when a call's arguments are no JSON object, or when nothing was said.
    fn finish(self) -> Assembled<Answer>;
}

/// An answer's text and calls as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    text: String,
    calls: BTreeMap<u64, Started>,
    bytes: usize,
    thoughts: usize,
}

#[derive(Debug, Default)]
struct Started {
    id: String,
    name: String,
    arguments: String,
}

impl Pieces {
    pub fn text(&mut self, piece: &str) -> Assembled<()> {
        self.count(piece)?;
        self.text.push_str(piece);
        Ok(())
    }

    /// A piece of what the model thinks. It is counted, since it is paid for, and not kept; the stream's own limit bounds it.
    pub fn thought(&mut self, piece: &str) {
        self.thoughts = self.thoughts.saturating_add(piece.len());
    }

    /// Bytes of all that came, thoughts included.
    pub fn bytes(&self) -> u64 {
        self.bytes.saturating_add(self.thoughts) as u64
    }

    /// A piece of the call with this index. Id and name come whole, arguments in pieces.
    pub fn call(&mut self, index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Assembled<()> {
        for piece in [id, name, Some(arguments)].into_iter().flatten() {
            self.count(piece)?;
        }
        if self.calls.len() >= MOST_CALLS && !self.calls.contains_key(&index) {
            return Err(AskError::Malformed(format!("more than {MOST_CALLS} calls of tools in one answer")));
        }
        let call = self.calls.entry(index).or_default();
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            id.clone_into(&mut call.id);
        }
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(arguments);
        Ok(())
    }

    fn count(&mut self, piece: &str) -> Assembled<()> {
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes > MOST_ANSWER_BYTES {
            return Err(AskError::TooMuch { limit: MOST_ANSWER_BYTES });
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.calls.is_empty()
    }

    /// Text and calls, whole. `cut_off`: the model had no tokens left, so that its last call may be half a one; it is left out then.
    pub fn finish(self, cut_off: bool) -> Assembled<(String, Vec<Call>)> {
        let mut calls = Vec::new();
        for (index, Started { id, name, arguments }) in self.calls {
            // A call without arguments is sent as an empty text by some servers.
            let text = if arguments.trim().is_empty() { "{}" } else { &arguments };
            let read: Result<Value, _> = serde_json::from_str(text);
            match read {
                Ok(arguments @ Value::Object(_)) if !name.is_empty() => {
                    // Servers without ids (some local ones) still need one to tell results apart.
                    let id = if id.is_empty() { format!("call-{index}") } else { id };
                    calls.push(Call { id, name, arguments });
                }
                _ if cut_off => {}
                Ok(Value::Object(_)) => return Err(AskError::Malformed("a call of a tool without a name".to_owned())),
                Ok(_) => return Err(malformed("arguments that are no object", &arguments)),
                Err(error) => return Err(malformed(&format!("arguments that are no JSON ({error})"), &arguments)),
            }
        }
        Ok((self.text, calls))
    }
}

/// Why an answer ended, by what it holds: some servers say that it is done where it makes calls, others announce calls and send none.
pub(super) fn stop_of(said: Stop, calls: &[Call]) -> Stop {
    match said {
        Stop::Done if !calls.is_empty() => Stop::Calls,
        Stop::Calls if calls.is_empty() => Stop::Done,
        same => same,
    }
}

/// A complaint about what a server sent, with the beginning of it. The complaint itself may quote it at any length: a parser that finds a
/// text in place of a list says which.
pub(super) fn malformed(what: &str, sent: &str) -> AskError {
    AskError::Malformed(format!("{}: {}", words(what), words(sent)))
}

/// A server's own words, shortened and on one line: they end in logs, in the record and in a terminal.
pub(super) fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
    let short = plain.trim();
    if text.chars().count() > MOST_WORDS { format!("{short}...") } else { short.to_owned() }
}

/// Whether an error's words say that the request was longer than the model's context. Servers have no common code for it.
pub(super) fn says_too_long(code: &str, message: &str) -> bool {
    let message = message.to_lowercase();
    code == "context_length_exceeded"
        || [
            "context length",
            "context window",
            "context size",
            "prompt is too long",
            "too many tokens",
            "maximum context",
        ]
        .iter()
        .any(|words| message.contains(words))
}

/// What an HTTP status other than 200 means.
pub(super) fn of_status(status: u16, wait_seconds: Option<u64>, code: &str, message: &str) -> AskError {
    let message = words(message);
    match status {
        _ if says_too_long(code, &message) => AskError::TooLong { message },
        401 | 403 => AskError::NotAllowed { status, message },
        429 => AskError::RateLimited { wait_seconds, message },
        408 | 409 | 425 | 500..=599 => AskError::Server { status, wait_seconds, message },
        _ => AskError::BadRequest { status, message },
    }
}
