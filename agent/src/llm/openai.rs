//! Chat completions, as OpenAI defined them and most servers speak them (platform.openai.com/docs/api-reference/chat).

use serde::Deserialize;
use serde_json::{Value, json};

use super::assemble::{Assemble, Pieces, malformed, of_status, stop_of, words};
use super::received::Came;
use super::{Answer, AskError, Assembled, Message, Part, Request, Role, Stop, Usage};

/// Where requests go, below the endpoint.
pub const PATH: &str = "/chat/completions";

/// The body of a streamed request. `newest`: OpenAI's own newer models, which want `max_completion_tokens`; everybody else knows
/// `max_tokens` only.
pub fn body(request: &Request, newest: bool) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": request.system })];
    messages.extend(request.messages.iter().flat_map(message));
    let limit = if newest { "max_completion_tokens" } else { "max_tokens" };
    let mut body = json!({
        "model": request.model,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
        limit: request.most_tokens,
    });
    if let Some(temperature) = request.temperature {
        body["temperature"] = json!(temperature);
    }
    if !request.tools.is_empty() {
        let tool = |tool: &super::Tool| {
            let function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.arguments });
            json!({ "type": "function", "function": function })
        };
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body
}

/// A message is several here where it holds results of tools, each of which is a message of its own.
fn message(message: &Message) -> Vec<Value> {
    let text: Vec<&str> = message.parts.iter().filter_map(text_of).collect();
    let results = message.parts.iter().filter_map(|part| match part {
        Part::Result { id, text, .. } => Some(json!({ "role": "tool", "tool_call_id": id, "content": text })),
        Part::Text { .. } | Part::Call(_) => None,
    });
    let mut messages: Vec<Value> = results.collect();
    let calls: Vec<Value> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Call(call) => Some(json!({
                "id": call.id,
                "type": "function",
                "function": { "name": call.name, "arguments": call.arguments.to_string() },
            })),
            Part::Text { .. } | Part::Result { .. } => None,
        })
        .collect();
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    if !text.is_empty() || !calls.is_empty() {
        let mut whole = json!({ "role": role, "content": text.join("\n\n") });
        if !calls.is_empty() {
            whole["tool_calls"] = Value::Array(calls);
        }
        messages.push(whole);
    }
    messages
}

fn text_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text { text } => Some(text),
        Part::Call(_) | Part::Result { .. } => None,
    }
}

/// What an answer other than 200 means.
pub fn failure(status: u16, wait_seconds: Option<u64>, body: &str) -> AskError {
    let error = serde_json::from_str::<Value>(body).ok().and_then(|mut body| body.get_mut("error").map(Value::take));
    let code = error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default().to_owned();
    let message = error.as_ref().and_then(|error| error["message"].as_str().or(error.as_str())).unwrap_or(body);
    of_status(status, wait_seconds, &code, message)
}

/// One `data:` of the stream. What servers add is passed over; what they leave out or set to null is as good as absent.
#[derive(Deserialize)]
struct Chunk {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    /// Thoughts, as DeepSeek and llama.cpp name them.
    reasoning_content: Option<Value>,
    /// The same, as OpenRouter, vLLM and Ollama do; some servers send both. What others put there is none of ours.
    reasoning: Option<Value>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: u64,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

/// Puts a streamed answer together.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: Pieces,
    model: Option<String>,
    finish: Option<String>,
    refused: bool,
    usage: Usage,
    done: bool,
}

impl Assemble for Assembler {
    fn take(&mut self, data: &str) -> Assembled<bool> {
        let data = data.trim();
        if data == "[DONE]" {
            self.done = true;
        }
        if self.done || data.is_empty() {
            return Ok(self.done);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| malformed(&format!("an event that is no chunk of a completion ({error})"), data))?;
        if let Some(error) = chunk.error {
            let message = error["message"].as_str().or(error.as_str()).unwrap_or("an error without a message");
            let code = error["code"].as_str().unwrap_or_default();
            let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            return Err(of_status(status, None, code, message));
        }
        self.model = chunk.model.or(self.model.take());
        if let Some(tokens) = chunk.usage {
            let cached = tokens.prompt_tokens_details.and_then(|details| details.cached_tokens);
            // Their count of the request includes what was cached; ours does not.
            let input = tokens.prompt_tokens.map(|all| all.saturating_sub(cached.unwrap_or(0)));
            self.usage = Usage { input, cached, output: tokens.completion_tokens };
        }
        // More than one choice is never asked for.
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            if let Some(delta) = choice.delta {
                if let Some(text) = delta.content {
                    self.pieces.text(&text)?;
                }
                if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
                    self.refused = true;
                    self.pieces.text(&refusal)?;
                }
                let thoughts = [delta.reasoning_content, delta.reasoning];
                let mut thoughts = thoughts.iter().flatten().filter_map(Value::as_str);
                self.pieces.thought(thoughts.find(|thought| !thought.is_empty()).unwrap_or_default());
                for piece in delta.tool_calls.into_iter().flatten() {
                    let (name, arguments) =
                        piece.function.map_or((None, None), |function| (function.name, function.arguments));
                    let arguments = arguments.unwrap_or_default();
                    self.pieces.call(piece.index, piece.id.as_deref(), name.as_deref(), &arguments)?;
                }
            }
            self.finish = choice.finish_reason.or(self.finish.take());
        }
        Ok(false)
    }

    fn came(&self) -> Came {
        let ended = self.done || self.finish.is_some();
        Came { bytes: self.pieces.bytes(), usage: self.usage, ended }
    }

    fn finish(self) -> Assembled<Answer> {
        // `[DONE]` without a reason, or a reason without `[DONE]`, is an end; neither is a broken stream.
        let stop = match self.finish.as_deref() {
            Some("length") => Stop::Length,
            Some("content_filter") => Stop::Refused,
            Some("tool_calls" | "function_call") => Stop::Calls,
            Some("error") => return Err(AskError::BrokenOff("the server ended it with an error".to_owned())),
            Some(_) => Stop::Done,
            None if self.done => Stop::Done,
            None => return Err(AskError::BrokenOff("the stream ended without a reason".to_owned())),
        };
        let stop = if self.refused { Stop::Refused } else { stop };
        if self.pieces.is_empty() && stop != Stop::Refused && stop != Stop::Length {
            return Err(AskError::Empty);
        }
        let (text, calls) = self.pieces.finish(stop == Stop::Length)?;
        let (model, stop) = (self.model.map(|model| words(&model)), stop_of(stop, &calls));
        Ok(Answer { model, text, calls, stop, usage: self.usage })
    }
}

#[cfg(test)]
mod tests;
