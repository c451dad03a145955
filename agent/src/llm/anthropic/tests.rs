use proptest::prelude::*;

use super::*;
use crate::llm::Call;
use crate::llm::fixture::{self, fail_so, request};

fn assembled(events: &[&str]) -> Assembled<Answer> {
    fixture::assembled::<Assembler>(events)
}

const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn a_request_is_what_the_format_says() {
    insta::assert_json_snapshot!(body(&request()));
}

#[test]
fn pieces_become_one_answer() {
    let answer = assembled(&[
        r#"{"type":"message_start","message":{"model":"small-1","usage":{"input_tokens":0,"output_tokens":1}}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I look "}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"first."}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"read_file","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"path\":"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"x\"}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":40,"cache_creation_input_tokens":10,"cache_read_input_tokens":50,"output_tokens":30}}"#,
        STOP,
    ])
    .unwrap();
    let expected = Answer {
        model: Some("small-1".to_owned()),
        text: "I look first.".to_owned(),
        calls: vec![Call { id: "t".to_owned(), name: "read_file".to_owned(), arguments: json!({ "path": "x" }) }],
        stop: Stop::Calls,
        usage: Usage { input: Some(50), cached: Some(50), output: Some(30) },
    };
    assert_eq!(answer, expected);
}

#[test]
fn what_came_counts_thoughts_and_arguments() {
    let mut assembler = Assembler::default();
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":40,"output_tokens":1}}}"#;
    assembler.take(start).unwrap();
    let usage = Usage { input: Some(40), cached: None, output: Some(1) };
    for (event, bytes) in [
        (r#"{"type":"ping"}"#, 0),
        (r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"h"}}"#, 1),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"mm"}}"#, 3),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}"#, 3),
        (r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"abc"}}"#, 6),
        (
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            8,
        ),
        (r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#, 10),
    ] {
        assembler.take(event).unwrap();
        assert_eq!(assembler.came(), Came { bytes, usage, ended: false }, "{event}");
    }
    assembler
        .take(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":30}}"#)
        .unwrap();
    assert_eq!(assembler.came(), Came { bytes: 10, usage: Usage { output: Some(30), ..usage }, ended: true });
}

#[test]
fn every_way_to_fail_has_its_name() {
    let said = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"half"}}"#;
    let error = |kind: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"why"}}}}"#);
    let (overloaded, limited, long) = (
        error("overloaded_error"),
        error("rate_limit_error"),
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
    );
    fail_so::<Assembler>(&[
        (&[said][..], "the answer broke off"),
        (&[said, r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#], "without `message_stop`"),
        (&[STOP], "the answer is empty"),
        (&["nonsense"], "does not keep to its format"),
        (&[said, &overloaded], "the server failed (status 529): why"),
        (&[&limited], "asks to wait (status 429)"),
        (&[long], "too long for the model"),
    ]);
}

#[test]
fn refusals_and_cut_off_answers_are_told_apart() {
    for (reason, stop) in [("refusal", Stop::Refused), ("max_tokens", Stop::Length)] {
        let end = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#);
        assert_eq!(assembled(&[&end, STOP]).unwrap().stop, stop);
    }
}

#[test]
fn statuses_are_told_apart() {
    for (status, body, expected) in [
        (529, r#"{"error":{"type":"overloaded_error","message":"busy"}}"#, "the server failed (status 529): busy"),
        (401, r#"{"error":{"type":"authentication_error","message":"bad key"}}"#, "does not accept the key"),
        (400, r#"{"error":{"type":"invalid_request_error","message":"prompt is too long"}}"#, "too long for the model"),
        (502, "bad gateway", "the server failed (status 502): bad gateway"),
    ] {
        let message = failure(status, None, body).to_string();
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    }
}

proptest! {
    #[test]
    fn no_stream_makes_it_panic(events in prop::collection::vec("\\PC{0,40}|\\{\"type\":\"(ping|message_stop|error)\"\\}", 0..8)) {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let _ = assembled(&events);
    }
}
