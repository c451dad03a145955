//! A real model server, asked by the client that nights use. `cargo xtask model-night` starts one with a small model and runs this; by
//! hand: `NOCTURNE_MODEL_SERVER=http://127.0.0.1:8000/v1 cargo test --test model_server -- --ignored --nocapture`.
//!
//! What the model says is not looked at, only that every way to end has its name.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what went wrong by failing")]

use std::time::{Duration, Instant};

use nocturne::llm::client::{Endpoint, Format, Server};
use nocturne::llm::{Answer, AskError, Message, Part, Request, Role, Stop, Tool};
use serde_json::json;

fn server(silence_seconds: u64) -> Server {
    let url = std::env::var("NOCTURNE_MODEL_SERVER").expect("NOCTURNE_MODEL_SERVER says where the server is");
    Server::new(Endpoint { format: Format::OpenAi, url, silence_seconds, longest_seconds: 1_800, newest: false }, None)
        .unwrap()
}

fn request(words: &str, most_tokens: u32) -> Request {
    let parts = vec![Part::Text { text: words.to_owned() }];
    Request {
        model: std::env::var("NOCTURNE_MODEL").unwrap_or_else(|_| "small".to_owned()),
        system: "You answer briefly.".to_owned(),
        messages: vec![Message { role: Role::User, parts }],
        tools: Vec::new(),
        most_tokens,
        temperature: Some(0.2),
    }
}

async fn ask(what: &str, server: &Server, request: &Request) -> Result<Answer, AskError> {
    let began = Instant::now();
    let answer = server.ask(request).await;
    println!("{what}: {answer:?} after {:.1} s", began.elapsed().as_secs_f64());
    answer
}

#[tokio::test]
#[ignore = "needs a model server; cargo xtask model-server starts one"]
async fn every_way_to_end_has_its_name() {
    let server = server(300);
    let answer = ask("a question", &server, &request("Say the word yes.", 40)).await.unwrap();
    assert!(!answer.text.trim().is_empty() && answer.calls.is_empty(), "{answer:?}");
    assert!(matches!(answer.stop, Stop::Done | Stop::Length));

    let answer = ask("an answer cut off", &server, &request("Count to one thousand.", 5)).await.unwrap();
    assert_eq!(answer.stop, Stop::Length);
    assert!(answer.usage.output.is_none_or(|tokens| tokens <= 6), "{answer:?}");

    // Fifty thousand words are more than any context that a test server has. Not every server says so.
    let error = ask("a request too long", &server, &request(&"word ".repeat(50_000), 40)).await.unwrap_err();
    let told = matches!(&error, AskError::TooLong { .. }) || error.to_string().contains("longer than their context");
    assert!(told, "{error}");

    // A model may call the tool, or talk of it.
    let tool = Tool {
        name: "add".to_owned(),
        description: "Adds two numbers.".to_owned(),
        arguments: json!({ "type": "object", "properties": { "a": { "type": "number" }, "b": { "type": "number" } } }),
    };
    let answer = ask("with a tool", &server, &Request { tools: vec![tool], ..request("What is 2 plus 3?", 60) }).await;
    assert!(!matches!(answer, Err(AskError::Unreachable { .. } | AskError::TimedOut { .. })), "{answer:?}");

    let wrong = Request { temperature: Some(-3.0), ..request("Say yes.", 5) };
    let answer = ask("a temperature that cannot be", &server, &wrong).await;
    assert!(matches!(answer, Ok(_) | Err(AskError::BadRequest { .. } | AskError::Server { .. })), "{answer:?}");
}

/// Whoever no longer waits for an answer does not spoil the next one.
#[tokio::test]
#[ignore = "needs a model server; cargo xtask model-server starts one"]
async fn a_call_that_is_left_does_not_spoil_the_next() {
    let server = server(300);
    let long = request("Tell a very long story about a night.", 400);
    let left = tokio::time::timeout(Duration::from_millis(700), server.ask(&long)).await;
    println!("left after 0.7 s: {}", left.is_err());
    let answer = ask("the next", &server, &request("Say yes.", 10)).await.unwrap();
    assert!(!answer.text.is_empty());
}
