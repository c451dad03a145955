//! Real connections to servers on this machine that answer, fail and break off as they are told.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::llm::key::KeySource;
use crate::llm::{Message, Part, Role, Stop};

const GOOD: &str = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}]}\n\n\
                    data: [DONE]\n\n";

fn request() -> Request {
    let parts = vec![Part::Text { text: "The brief.".to_owned() }];
    Request {
        model: "m".to_owned(),
        system: "Propose.".to_owned(),
        messages: vec![Message { role: Role::User, parts }],
        tools: Vec::new(),
        most_tokens: 100,
        temperature: None,
    }
}

fn server(format: Format, url: &str, silence_seconds: u64) -> Server {
    server_within(format, url, silence_seconds, 600)
}

fn server_within(format: Format, url: &str, silence_seconds: u64, longest_seconds: u64) -> Server {
    let source = KeySource::Variable("K".to_owned());
    let key = Key::read(&source, |_| Some("sk-secret".to_owned())).unwrap();
    let endpoint = Endpoint { format, url: url.to_owned(), silence_seconds, longest_seconds, newest: false };
    Server::new(endpoint, Some(key)).unwrap()
}

fn stream(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_owned(), "text/event-stream")
}

#[tokio::test]
async fn both_formats_are_asked_with_their_headers() {
    let mock = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-secret"))
        .and(body_partial_json(serde_json::json!({ "stream": true, "model": "m" })))
        .respond_with(stream(GOOD))
        .mount(&mock)
        .await;
    let events = [
        r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":3}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"yes"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let body: String = events.iter().map(|data| format!("event: e\r\ndata: {data}\r\n\r\n")).collect();
    Mock::given(method("POST"))
        .and(path("/v1/messages"))
        .and(header("x-api-key", "sk-secret"))
        .and(header("anthropic-version", "2023-06-01"))
        .respond_with(stream(&body))
        .mount(&mock)
        .await;
    for (format, url) in [(Format::OpenAi, format!("{}/v1/", mock.uri())), (Format::Anthropic, mock.uri())] {
        let answer = server(format, &url, 10).ask(&request()).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.stop), ("yes", Stop::Done));
    }
}

#[tokio::test]
async fn failures_have_their_names_and_never_the_key() {
    let quoting = r#"{"error":{"message":"key sk-secret is wrong"}}"#;
    for (response, expected) in [
        (
            ResponseTemplate::new(401).set_body_string(quoting),
            "does not accept the key (status 401): key [key] is wrong",
        ),
        (ResponseTemplate::new(400).set_body_string(format!("{} sk-secret", "x".repeat(294))), "x [key]"),
        (
            ResponseTemplate::new(429).insert_header("retry-after", "7").set_body_string("{}"),
            "asks to wait (status 429): {}",
        ),
        (ResponseTemplate::new(500).set_body_string("x".repeat(200_000)), "the server failed (status 500): xxx"),
        (ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"), "(status 302)"),
        (stream("data: not json\n\n"), "does not keep to its format"),
        (stream("<html></html>"), "the answer broke off"),
        (stream(""), "the answer broke off"),
        (stream("data: [DONE]\n\n"), "the answer is empty"),
        (stream("data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n"), "the answer broke off"),
        (stream("data: \u{1}\n\n"), "does not keep to its format"),
    ] {
        let mock = MockServer::start().await;
        Mock::given(method("POST")).respond_with(response).mount(&mock).await;
        let error = server(Format::OpenAi, &mock.uri(), 10).ask(&request()).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected) && !message.contains("sk-"), "{message:?}, expected {expected:?}");
        assert!(message.len() < 1_000, "{} bytes", message.len());
        if let AskError::RateLimited { wait_seconds, .. } = error {
            assert_eq!(wait_seconds, Some(7));
        }
    }
}

/// Answers one connection with these bytes, then keeps quiet or closes.
async fn raw(answer: Vec<u8>, keep_open: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut seen = vec![0; 1 << 16];
            let _ = socket.read(&mut seen).await;
            let _ = socket.write_all(&answer).await;
            if keep_open {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_stream_that_breaks_or_stalls_is_no_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n";
    let begun = format!("{head}{:x}\r\n{half}\r\n", half.len());
    // A real server's stream that came to nothing because the request was longer than its context.
    let nothing = format!("{head}0\r\n\r\n");
    for (answer, keep_open, expected) in [
        (begun.clone(), false, "the answer broke off"),
        (nothing, false, "not one event was sent; some servers answer so to a request longer than their context"),
        (begun, true, "was silent for 1 seconds"),
        (String::new(), true, "was silent for 1 seconds"),
        (String::new(), false, "the answer broke off: the connection ended before it began"),
    ] {
        let address = raw(answer.into_bytes(), keep_open).await;
        let message = server(Format::OpenAi, &address, 1).ask(&request()).await.unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    }
    // Nobody listens on a port that was just given back.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = server(Format::OpenAi, &format!("http://{closed}"), 1).ask(&request()).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable { .. }), "{error}");
}

/// Sends this again and again, for as long as somebody listens.
async fn without_end(piece: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut vec![0; 1 << 16]).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let mut sent = socket.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sent = socket.write_all(piece.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_is_only_kept_open_is_silent() {
    for (format, piece) in [
        (Format::OpenAi, ": ping - 2026-11-21 23:40:14\r\n\r\n"),
        (Format::OpenAi, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"),
        (Format::Anthropic, "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        // An event that never ends.
        (Format::Anthropic, "data: x"),
    ] {
        let address = without_end(piece).await;
        let error = server(format, &address, 1).ask(&request()).await.unwrap_err();
        assert!(matches!(error, AskError::TimedOut { seconds: 1, .. }), "{piece:?}: {error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_however_much_comes() {
    let thought = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    let address = without_end(thought).await;
    let received = Received::default();
    let server = server_within(Format::OpenAi, &address, 600, 1);
    let error = server.ask_noting(&request(), &received).await.unwrap_err();
    assert!(error.to_string().contains("had not ended its answer after 1 seconds; raise longest_seconds"), "{error}");
    assert!(!received.came().ended);
    // Nor does the bound begin only with the answer.
    let nothing = raw(Vec::new(), true).await;
    let error = server_within(Format::OpenAi, &nothing, 600, 1).ask(&request()).await.unwrap_err();
    assert!(matches!(error, AskError::Endless { seconds: 1, .. }), "{error}");
}

#[test]
fn addresses_that_are_none_are_refused() {
    for url in ["", "api.example.com", "ftp://example.com", "https://name:word@example.com"] {
        let endpoint = Endpoint {
            format: Format::OpenAi,
            url: url.to_owned(),
            silence_seconds: 1,
            longest_seconds: 1,
            newest: false,
        };
        let error = Server::new(endpoint, None).unwrap_err().to_string();
        assert!(error.contains("is no address"), "{error}");
    }
}

#[test]
fn a_document_has_the_key_in_no_text_and_no_name() {
    let document = serde_json::json!({ "path sk-secret": ["sk-secret", { "sk-secret": 1 }], "n": 2 });
    let clean = server(Format::OpenAi, "http://127.0.0.1:1", 1).redact_all(document);
    assert_eq!(clean, serde_json::json!({ "path [key]": ["[key]", { "[key]": 1 }], "n": 2 }));
}
