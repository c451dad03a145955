//! Talking to language models: one request, one answer, over the two wire formats that servers speak.
//!
//! - [`openai`] chat completions, as OpenAI, OpenRouter, DeepSeek, vLLM, Ollama and llama.cpp serve them;
//! - [`anthropic`] messages;
//! - [`stream`] from a response's bytes to its answer, [`received`] how much of it has come;
//! - [`retry`] what is worth another try, and when;
//! - [`spend`] what a night may spend.
//!
//! A format is two pure things: the body of a request, and an assembler that takes the streamed events one by one and in the end gives the
//! [`Answer`] or says what is missing. Nothing here knows of experiments, and nothing that a server says is trusted: sizes are bounded,
//! and a stream that ends without saying that it has ended is a failure, never a shorter answer.

pub mod anthropic;
mod assemble;
pub mod client;
#[cfg(test)]
mod fixture;
pub mod key;
pub mod openai;
mod patience;
pub mod received;
pub mod retry;
pub mod spend;
pub mod stream;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The model's name, as its server knows it.
    pub model: String,
    /// What it is told before all messages.
    pub system: String,
    /// The conversation so far; the last message is the person's side.
    pub messages: Vec<Message>,
    /// What it may call.
    pub tools: Vec<Tool>,
    /// Tokens that the answer may have.
    pub most_tokens: u32,
    /// Sampling temperature; `None` leaves it to the server, which some models insist on.
    pub temperature: Option<f64>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it consists of, in order.
    pub parts: Vec<Part>,
}

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Ours: the brief, results of tools, what went wrong.
    User,
    /// The model's.
    Assistant,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// The model wants a tool called.
    Call(Call),
    /// What a tool answered.
    Result {
        /// The call's id.
        id: String,
        /// The answer, or what went wrong.
        text: String,
        /// Whether it went wrong.
        failed: bool,
    },
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Names the call; its result carries the same.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments: a JSON object.
    pub arguments: Value,
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Letters, digits, underscores.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON schema of its arguments, an object.
    pub arguments: Value,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The model that answered, by the server's word.
    pub model: Option<String>,
    /// Its text, in one piece.
    pub text: String,
    /// The tools that it wants called.
    pub calls: Vec<Call>,
    /// Why it ended.
    pub stop: Stop,
    /// What it took.
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The model was done.
    Done,
    /// It wants tools called.
    Calls,
    /// It had no tokens left: the answer is cut off.
    Length,
    /// The model, or a filter beside it, would not answer.
    Refused,
}

/// Tokens of one exchange. A server that does not say leaves them `None`; then they are estimated before they are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request, those from the server's cache not counted.
    pub input: Option<u64>,
    /// Tokens of the request that the server had in its cache.
    pub cached: Option<u64>,
    /// Tokens of the answer, those of thinking included.
    pub output: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody answers there.
    #[error("no connection to {endpoint}: {reason}; is the server running, and is the endpoint right?")]
    Unreachable {
        /// Where was asked.
        endpoint: String,
        /// The system's reason.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{endpoint} was silent for {seconds} seconds; raise timeout_seconds where the model is that slow")]
    TimedOut {
        /// Where was asked.
        endpoint: String,
        /// How long was waited for a sign.
        seconds: u64,
    },
    /// It took too long as a whole.
    #[error(
        "{endpoint} had not ended its answer after {seconds} seconds; raise longest_seconds where the model is that slow, or lower answer_tokens"
    )]
    Endless {
        /// Where was asked.
        endpoint: String,
        /// How long was waited for the end.
        seconds: u64,
    },
    /// Too many requests.
    #[error("the server asks to wait (status 429): {message}")]
    RateLimited {
        /// Seconds that it asks for.
        wait_seconds: Option<u64>,
        /// What it says.
        message: String,
    },
    /// The server's own fault, or it is overloaded.
    #[error("the server failed (status {status}): {message}")]
    Server {
        /// HTTP status; 200 where a stream broke the news.
        status: u16,
        /// Seconds that it asks for.
        wait_seconds: Option<u64>,
        /// What it says.
        message: String,
    },
    /// The key is not accepted.
    #[error("the server does not accept the key (status {status}): {message}; check the key and what it may use")]
    NotAllowed {
        /// HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The request is longer than the model's context.
    #[error("the request is too long for the model: {message}; lower context_tokens")]
    TooLong {
        /// What the server says.
        message: String,
    },
    /// The server does not take the request.
    #[error("the server does not take the request (status {status}): {message}")]
    BadRequest {
        /// HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The stream ended before the answer did.
    #[error("the answer broke off: {0}")]
    BrokenOff(
        /// What is missing.
        String,
    ),
    /// What the server sends is not what the format says.
    #[error("the server does not keep to its format: {0}")]
    Malformed(
        /// What was found.
        String,
    ),
    /// The answer is longer than anything that would be of use.
    #[error("the answer is longer than {limit} bytes")]
    TooMuch {
        /// The limit.
        limit: usize,
    },
    /// The model said nothing at all.
    #[error("the answer is empty")]
    Empty,
}

/// Why a streamed event could not be taken, or an answer not be put together: without where and how it was asked, which an assembler does
/// not know.
pub type Assembled<T> = Result<T, AskError>;
