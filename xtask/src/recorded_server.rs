//! A server that speaks the chat completions of OpenAI's format, streamed, and answers from files, one after the other.
//!
//! It serves one program on this machine, which asks one question at a time.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// No request of a night is longer.
const MOST_REQUEST: u64 = 16 << 20;

/// An answer as it lies in a file: `*.txt` is the text; `*.json` may call tools too.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its words.
    text: String,
    /// Calls of tools: name and arguments.
    calls: Vec<(String, Value)>,
}

impl Answer {
    /// The title of the idea, where the answer begins with one.
    pub fn title(&self) -> Option<&str> {
        Some(self.text.strip_prefix("Title: ")?.lines().next()?.trim())
    }
}

/// The answers of a folder, by name.
pub fn answers(folder: &Path) -> Result<Vec<Answer>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    paths.iter().map(|path| answer(path)).collect()
}

fn answer(path: &Path) -> Result<Answer, String> {
    let at = |what: &str| format!("{}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| at(&error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "txt") {
        return Ok(Answer { text, calls: Vec::new() });
    }
    let document: Value = serde_json::from_str(&text).map_err(|error| at(&error.to_string()))?;
    let mut calls = Vec::new();
    for call in document["calls"].as_array().ok_or_else(|| at("`calls` is not a list"))? {
        let name = call["name"].as_str().ok_or_else(|| at("a call has no `name`"))?;
        calls.push((name.to_owned(), call["arguments"].clone()));
    }
    let text = document["text"].as_str().ok_or_else(|| at("`text` is not a text"))?;
    Ok(Answer { text: text.to_owned(), calls })
}

/// A running server; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the answers in their order, on a free port of this machine. Whoever asks for more is refused.
    pub fn start(answers: Vec<Answer>) -> Result<Self, String> {
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("cannot listen on this machine: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot tell the server's port: {error}"))?;
        let (asked, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let left = Mutex::new(VecDeque::from(answers));
        let (counted, ending) = (Arc::clone(&asked), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let served = stream.and_then(|stream| serve(stream, number, next.as_ref()));
                if let Err(error) = served {
                    eprintln!("==> call {number} of the recorded model failed: {error}");
                }
            }
        });
        Ok(Self { address, asked, ends, thread: Some(thread) })
    }

    /// What `endpoint` of a campaign's model must be.
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How many requests came in.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread, which sees that it is to end.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn serve(stream: TcpStream, number: usize, answer: Option<&Answer>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = request(&mut reader)?;
    let mut stream = reader.into_inner();
    match answer {
        Some(answer) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            for event in events(answer, number, request.len()) {
                stream.write_all(format!("data: {event}\n\n").as_bytes())?;
            }
            stream.write_all(b"data: [DONE]\n\n")?;
        }
        None => {
            let body = json!({ "error": { "message": "the record has no further answer" } }).to_string();
            let head =
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(body.as_bytes())?;
        }
    }
    stream.flush()
}

/// The body of a request with a `content-length`.
fn request(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.take(64 << 10).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > MOST_REQUEST {
        return Err(io::Error::other(format!("a request of {length} bytes")));
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(body)
}

/// The events of a streamed answer. Tokens are a guess, a quarter of the bytes: the record does not know any better.
fn events(answer: &Answer, number: usize, asked_bytes: usize) -> Vec<Value> {
    let choice = |delta: Value, stop: Option<&str>| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": stop }] });
    let mut events = vec![choice(json!({ "role": "assistant", "content": answer.text }), None)];
    for (index, (name, arguments)) in answer.calls.iter().enumerate() {
        let function = json!({ "name": name, "arguments": arguments.to_string() });
        let call =
            json!({ "index": index, "id": format!("call-{number}-{index}"), "type": "function", "function": function });
        events.push(choice(json!({ "tool_calls": [call] }), None));
    }
    events.push(choice(json!({}), Some(if answer.calls.is_empty() { "stop" } else { "tool_calls" })));
    let usage = json!({ "prompt_tokens": asked_bytes / 4, "completion_tokens": answer.text.len() / 4 });
    events.push(json!({ "choices": [], "usage": usage }));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(endpoint: &str) -> String {
        let address = endpoint.trim_start_matches("http://").trim_end_matches("/v1");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn answers_come_in_order_and_then_no_more() {
        let first =
            Answer { text: "a".to_owned(), calls: vec![("calculate".to_owned(), json!({ "expression": "1" }))] };
        let second = Answer { text: "b \"quoted\"\n".to_owned(), calls: Vec::new() };
        let server = Server::start(vec![first, second]).unwrap();
        let said = asked(&server.endpoint());
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("call-1-0") && said.contains("tool_calls"), "{said}");
        let said = asked(&server.endpoint());
        assert!(said.contains(r#"b \"quoted\"\n"#) && said.ends_with("data: [DONE]\n\n"), "{said}");
        assert!(asked(&server.endpoint()).starts_with("HTTP/1.1 400"));
        assert_eq!(server.asked(), 3);
    }

    #[test]
    fn the_record_can_be_read() {
        let answers = answers(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/recorded"))).unwrap();
        assert_eq!(answers.iter().filter(|answer| !answer.calls.is_empty()).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.title().is_some()).count(), 4);
    }
}
