//! Messages, as Anthropic defined them (platform.claude.com/docs/en/api/messages).

use serde::Deserialize;
use serde_json::{Value, json};

use super::assemble::{Assemble, Pieces, malformed, of_status, stop_of, words};
use super::received::Came;
use super::{Answer, AskError, Assembled, Message, Part, Request, Role, Stop, Usage};

/// Where requests go, below the endpoint.
pub const PATH: &str = "/v1/messages";

/// The version of the format, sent as the header `anthropic-version`.
pub const VERSION: &str = "2023-06-01";

/// The body of a streamed request. The system prompt, which is the same in every call of a night, is marked for the server's cache.
pub fn body(request: &Request) -> Value {
    let system = json!([{ "type": "text", "text": request.system, "cache_control": { "type": "ephemeral" } }]);
    let mut body = json!({
        "model": request.model,
        "system": system,
        "messages": request.messages.iter().map(message).collect::<Vec<_>>(),
        "max_tokens": request.most_tokens,
        "stream": true,
    });
    if let Some(temperature) = request.temperature {
        body["temperature"] = json!(temperature);
    }
    if !request.tools.is_empty() {
        let tool = |tool: &super::Tool| json!({ "name": tool.name, "description": tool.description, "input_schema": tool.arguments });
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body
}

fn message(message: &Message) -> Value {
    let part = |part: &Part| match part {
        Part::Text { text } => json!({ "type": "text", "text": text }),
        Part::Call(call) => json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments }),
        Part::Result { id, text, failed } => {
            json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed })
        }
    };
    // An empty text block is refused.
    let said = |part: &&Part| !matches!(part, Part::Text { text } if text.trim().is_empty());
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({ "role": role, "content": message.parts.iter().filter(said).map(part).collect::<Vec<_>>() })
}

/// What an answer other than 200 means.
pub fn failure(status: u16, wait_seconds: Option<u64>, body: &str) -> AskError {
    let read = serde_json::from_str::<Value>(body).ok();
    let error = read.as_ref().map(|body| &body["error"]);
    let kind = error.and_then(|error| error["type"].as_str()).unwrap_or_default();
    let message = error.and_then(|error| error["message"].as_str()).unwrap_or(body);
    of_kind(status, wait_seconds, kind, message)
}

/// Errors have a type by name, which a stream tells where the status was 200 already.
fn of_kind(status: u16, wait_seconds: Option<u64>, kind: &str, message: &str) -> AskError {
    let status = match (status, kind) {
        (200, "overloaded_error") => 529,
        (200, "rate_limit_error") => 429,
        (200, "authentication_error") => 401,
        (200, "permission_error") => 403,
        (200, "invalid_request_error" | "not_found_error" | "request_too_large") => 400,
        (200, _) => 500,
        (status, _) => status,
    };
    of_status(status, wait_seconds, kind, message)
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    MessageDelta {
        delta: End,
        #[serde(default)]
        usage: Tokens,
    },
    MessageStop,
    Error {
        error: Problem,
    },
    /// `ping`, `content_block_stop`, and what may come to be.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    model: Option<String>,
    #[serde(default)]
    usage: Tokens,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
    },
    /// Thoughts that nobody is to read.
    RedactedThinking {
        #[serde(default)]
        data: String,
    },
    /// What servers run themselves.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct End {
    stop_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Tokens {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

/// Puts a streamed answer together.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: Pieces,
    model: Option<String>,
    stop: Option<String>,
    usage: Usage,
    done: bool,
}

impl Assemble for Assembler {
    fn take(&mut self, data: &str) -> Assembled<bool> {
        if self.done || data.trim().is_empty() {
            return Ok(self.done);
        }
        let event: Event = serde_json::from_str(data)
            .map_err(|error| malformed(&format!("an event that is none of a message ({error})"), data))?;
        match event {
            Event::MessageStart { message } => {
                self.model = message.model;
                self.count(&message.usage);
            }
            Event::ContentBlockStart { index, content_block } => match content_block {
                Block::Text { text } => self.pieces.text(&text)?,
                Block::ToolUse { id, name } => self.pieces.call(index, Some(&id), Some(&name), "")?,
                Block::Thinking { thinking: thought } | Block::RedactedThinking { data: thought } => {
                    self.pieces.thought(&thought);
                }
                Block::Other => {}
            },
            Event::ContentBlockDelta { index, delta } => match delta {
                Delta::Text { text } => self.pieces.text(&text)?,
                Delta::InputJson { partial_json } => self.pieces.call(index, None, None, &partial_json)?,
                Delta::Thinking { thinking } => self.pieces.thought(&thinking),
                Delta::Other => {}
            },
            Event::MessageDelta { delta, usage } => {
                self.stop = delta.stop_reason.or(self.stop.take());
                self.count(&usage);
            }
            Event::MessageStop => self.done = true,
            Event::Error { error } => return Err(of_kind(200, None, &error.kind, &error.message)),
            Event::Other => {}
        }
        Ok(self.done)
    }

    fn came(&self) -> Came {
        let ended = self.done || self.stop.is_some();
        Came { bytes: self.pieces.bytes(), usage: self.usage, ended }
    }

    fn finish(self) -> Assembled<Answer> {
        if !self.done {
            return Err(AskError::BrokenOff("the stream ended without `message_stop`".to_owned()));
        }
        let stop = match self.stop.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
            Some("tool_use") => Stop::Calls,
            Some("refusal") => Stop::Refused,
            _ => Stop::Done,
        };
        if self.pieces.is_empty() && stop != Stop::Refused && stop != Stop::Length {
            return Err(AskError::Empty);
        }
        let (text, calls) = self.pieces.finish(stop == Stop::Length)?;
        let (model, stop) = (self.model.map(|model| words(&model)), stop_of(stop, &calls));
        Ok(Answer { model, text, calls, stop, usage: self.usage })
    }
}

impl Assembler {
    /// The last word counts: gateways begin with zeros and say what the request took at the end only.
    fn count(&mut self, tokens: &Tokens) {
        if let Some(plain) = tokens.input_tokens {
            self.usage.input = Some(plain.saturating_add(tokens.cache_creation_input_tokens.unwrap_or(0)));
        }
        self.usage.cached = tokens.cache_read_input_tokens.or(self.usage.cached);
        self.usage.output = tokens.output_tokens.or(self.usage.output);
    }
}

#[cfg(test)]
mod tests;
