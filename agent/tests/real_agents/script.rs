//! A server that plays a model in all three ways in which coding agents ask one: Anthropic's messages, OpenAI's responses, OpenAI's chat
//! completions. What it says next follows from how many results of tools it is sent.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const RECIPE: &str = "trainer/src/candidate/recipe.rs";
const BRIEF: &str = "NOCTURNE_BRIEF.md";
const PROPOSAL: &str = "NOCTURNE_PROPOSAL.md";
const BEFORE: &str = "matrix_rate: 0.04,";
const AFTER: &str = "matrix_rate: 0.08,";
const LINES: &str = "Title: Double the matrices' rate\nHypothesis: It was tuned for longer runs.\nFamily: optimizer\n\
                     Predicted: -0.1\nConfidence: 0.7\n";

/// The server, and everything that it was asked.
pub struct Script {
    // The server ends with its runtime.
    _runtime: Runtime,
    server: MockServer,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Model {
    /// A command that it has the agent run before it edits.
    shell: Option<&'static str>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// Starts it; the agent is told to run `shell`, if there is one, before it edits.
    pub fn start(shell: Option<&'static str>) -> Self {
        let runtime = Runtime::new().unwrap();
        let asked = Arc::default();
        let model = Model { shell, asked: Arc::clone(&asked) };
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(model).mount(&server).await;
            server
        });
        Self { _runtime: runtime, server, asked }
    }

    /// Where it is, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// Whether an agent sent these words.
    pub fn heard(&self, words: &str) -> bool {
        let quoted = json!(words).to_string();
        let inner = &quoted[1..quoted.len() - 1];
        self.asked
            .lock()
            .unwrap()
            .iter()
            .any(|asked| asked.split_once("\n\n").is_some_and(|(_, body)| body.contains(inner)))
    }

    /// Whether an agent sent this key.
    pub fn was_shown(&self, key: &str) -> bool {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .any(|asked| asked.split_once("\n\n").is_some_and(|(head, _)| head.contains(key)))
    }
}

impl Respond for Model {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.asked.lock().unwrap().push(format!("{:?}\n\n{body}", request.headers));
        let asked: Value = serde_json::from_str(&body).unwrap_or_default();
        let path = request.url.path();
        let said = match () {
            () if path.ends_with("/messages") => self.message(&asked),
            () if path.ends_with("/responses") => self.response(&asked),
            () if path.ends_with("/chat/completions") && asked["stream"] == true => completion(&asked),
            // A commit's message, a summary of what was talked.
            () if path.ends_with("/chat/completions") => {
                let choice = json!({ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "A change" } });
                let whole = json!({ "id": "c", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice] });
                return ResponseTemplate::new(200).set_body_json(whole);
            }
            // Models that it has, tokens of a text, news of the agent's maker.
            () => {
                return ResponseTemplate::new(200)
                    .set_body_json(json!({ "data": [], "models": [], "input_tokens": 9 }));
            }
        };
        ResponseTemplate::new(200).set_body_raw(said, "text/event-stream")
    }
}

impl Model {
    /// Anthropic's messages: read, look, run, edit, write, end.
    fn message(&self, asked: &Value) -> String {
        let all = asked.to_string();
        let (_, after) = all.split_once("orking directory: ").unwrap_or_default();
        let folder = after.split(['\\', '"']).next().unwrap_or_default().trim();
        let place = |file: &str| format!("{folder}/{file}");
        let mut steps = vec![
            ("Read", json!({ "file_path": place(BRIEF) })),
            ("Read", json!({ "file_path": place(RECIPE) })),
            ("Edit", json!({ "file_path": place(RECIPE), "old_string": BEFORE, "new_string": AFTER })),
            ("Write", json!({ "file_path": place(PROPOSAL), "content": LINES })),
        ];
        if let Some(shell) = self.shell {
            steps.insert(2, ("Bash", json!({ "command": shell, "description": "Begin" })));
        }
        // Beside the conversation, an agent asks for a title of it.
        let talks = asked["tools"].as_array().is_some_and(|tools| !tools.is_empty());
        let done = all.matches("\"tool_result\"").count();
        let (block, delta, stop) = match steps.get(done).filter(|_| talks) {
            Some((name, input)) => (
                json!({ "type": "tool_use", "id": format!("toolu_{done}"), "name": name, "input": {} }),
                json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
                "tool_use",
            ),
            None => {
                (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": "Done." }), "end_turn")
            }
        };
        let message = json!({
            "id": format!("msg_{done}"), "type": "message", "role": "assistant", "model": asked["model"], "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 }
        });
        events(&[
            json!({ "type": "message_start", "message": message }),
            json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": { "output_tokens": 5 } }),
            json!({ "type": "message_stop" }),
        ])
    }

    /// OpenAI's responses: read, run, patch, end.
    fn response(&self, asked: &Value) -> String {
        let input = asked["input"].as_array().cloned().unwrap_or_default();
        let done = input
            .iter()
            .filter(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output")))
            .count();
        let run = |command: &str| {
            let arguments = json!({ "cmd": command }).to_string();
            json!({ "type": "function_call", "name": "exec_command", "arguments": arguments })
        };
        let added: String = LINES.lines().map(|line| format!("+{line}\n")).collect();
        let patch = format!(
            "*** Begin Patch\n*** Update File: {RECIPE}\n@@\n-            {BEFORE}\n+            {AFTER}\n\
             *** Add File: {PROPOSAL}\n{added}*** End Patch"
        );
        let mut steps = vec![run(&format!("cat {BRIEF}"))];
        steps.extend(self.shell.map(run));
        // Models that codex knows have a tool for patches; others call it as a command.
        let has_tool =
            asked["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "apply_patch"));
        steps.push(match has_tool {
            true => json!({ "type": "custom_tool_call", "name": "apply_patch", "input": patch }),
            false => run(&format!("apply_patch <<'EOF'\n{patch}\nEOF")),
        });
        let item = match steps.get_mut(done) {
            Some(step) => {
                step["call_id"] = json!(format!("call_{done}"));
                step.take()
            }
            None => {
                json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Done." }] })
            }
        };
        let id = format!("resp_{done}");
        let usage = json!({ "input_tokens": 10, "output_tokens": 5, "total_tokens": 15 });
        events(&[
            json!({ "type": "response.created", "response": { "id": id } }),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
            json!({ "type": "response.completed", "response": { "id": id, "usage": usage } }),
        ])
    }
}

/// OpenAI's chat completions: one answer with the edits in it, as aider reads them.
fn completion(asked: &Value) -> String {
    let block = |file: &str, search: &str, replace: &str| {
        format!("{file}\n```\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n```\n\n")
    };
    let indent = "            ";
    let text =
        block(RECIPE, &format!("{indent}{BEFORE}\n"), &format!("{indent}{AFTER}\n")) + &block(PROPOSAL, "", LINES);
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": asked["model"], "choices": [choice] })
    };
    let chunks = [chunk(json!({ "role": "assistant", "content": text }), Value::Null), chunk(json!({}), json!("stop"))];
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}

/// Events as they are sent, each under the name of its type.
fn events(all: &[Value]) -> String {
    let mut text = String::new();
    for event in all {
        let kind = event["type"].as_str().unwrap_or_default();
        let _infallible = write!(text, "event: {kind}\ndata: {event}\n\n");
    }
    text
}
