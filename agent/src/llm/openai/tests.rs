use proptest::prelude::*;

use super::*;
use crate::llm::fixture::{self, fail_so, request};

fn assembled(events: &[&str]) -> Assembled<Answer> {
    fixture::assembled::<Assembler>(events)
}

#[test]
fn a_request_is_what_the_format_says() {
    insta::assert_json_snapshot!(body(&request(), false));
    assert_eq!(body(&request(), true)["max_completion_tokens"], 4_000);
}

#[test]
fn pieces_become_one_answer() {
    let answer = assembled(&[
        r#"{"model":"small-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"I would "}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"raise it."},"finish_reason":"stop"}],"usage":null}"#,
        r#"{"choices":null,"usage":{"prompt_tokens":90,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":60}}}"#,
        "[DONE]",
        "not looked at any more",
    ])
    .unwrap();
    let usage = Usage { input: Some(30), cached: Some(60), output: Some(5) };
    let expected = Answer {
        model: Some("small-1".to_owned()),
        text: "I would raise it.".to_owned(),
        calls: vec![],
        stop: Stop::Done,
        usage,
    };
    assert_eq!(answer, expected);
}

#[test]
fn calls_of_tools_come_in_pieces_too() {
    let answer = assembled(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"read_file","arguments":"{\"pa"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"status"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"th\":\"x\"}"}}]},"finish_reason":"stop"}]}"#,
    ])
    .unwrap();
    let calls: Vec<_> = answer.calls.iter().map(|call| (call.id.as_str(), call.name.as_str())).collect();
    assert_eq!((calls, answer.stop), (vec![("a", "read_file"), ("call-1", "status")], Stop::Calls));
    assert_eq!(answer.calls[0].arguments, json!({ "path": "x" }));
}

#[test]
fn what_came_counts_thoughts_and_arguments() {
    let mut assembler = Assembler::default();
    for (event, bytes) in [
        (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, 0),
        (r#"{"choices":[{"delta":{"reasoning_content":"hmm"}}]}"#, 3),
        (r#"{"choices":[{"delta":{"reasoning":"so"}}]}"#, 5),
        (r#"{"choices":[{"delta":{"reasoning":"so","reasoning_content":"so"}}]}"#, 7),
        (r#"{"choices":[{"delta":{"reasoning":{"odd":1},"content":"yes"}}]}"#, 10),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            14,
        ),
    ] {
        assembler.take(event).unwrap();
        assert_eq!(assembler.came(), Came { bytes, ..Came::default() }, "{event}");
    }
    assembler.take(r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":9}}"#).unwrap();
    let usage = Usage { input: None, cached: None, output: Some(9) };
    assert_eq!(assembler.came(), Came { bytes: 14, usage, ended: true });
}

#[test]
fn every_way_to_fail_has_its_name() {
    let said = r#"{"choices":[{"delta":{"content":"half an ans"}}]}"#;
    let long = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(1 << 20));
    fail_so::<Assembler>(&[
        (&[said][..], "the answer broke off"),
        (&[], "the answer broke off"),
        (&["[DONE]"], "the answer is empty"),
        (&[r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#], "the answer is empty"),
        (&["<html>bad gateway</html>"], "does not keep to its format: an event that is no chunk"),
        (&[r#"{"error":{"message":"upstream died"}}"#], "the server failed (status 500): upstream died"),
        (&[r#"{"error":{"message":"slow down","code":429}}"#], "asks to wait (status 429): slow down"),
        (
            &[
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]},"finish_reason":"tool_calls"}]}"#,
            ],
            "arguments that are no JSON",
        ),
        (&[long.as_str(), said], "longer than 1048576 bytes"),
    ]);
}

#[test]
fn a_complaint_does_not_quote_all_that_was_sent() {
    let event = format!(r#"{{"choices":"{}"}}"#, "\\u001b".repeat(10_000));
    let message = assembled(&[&event]).unwrap_err().to_string();
    assert!(message.chars().count() < 1_000 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn a_cut_off_answer_keeps_what_was_said_and_no_half_call() {
    let cut = r#"{"choices":[{"delta":{"content":"so far","tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a"}}]},"finish_reason":"length"}]}"#;
    let answer = assembled(&[cut]).unwrap();
    assert_eq!((answer.text.as_str(), answer.calls.len(), answer.stop), ("so far", 0, Stop::Length));
}

#[test]
fn calls_that_are_announced_and_not_there_are_none() {
    let answer = assembled(&[r#"{"choices":[{"delta":{"content":"yes"},"finish_reason":"tool_calls"}]}"#]).unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("yes", Stop::Done));
}

#[test]
fn refusals_are_told_apart() {
    for event in [
        r#"{"choices":[{"delta":{"refusal":"I cannot help."},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#,
    ] {
        assert_eq!(assembled(&[event]).unwrap().stop, Stop::Refused);
    }
}

#[test]
fn statuses_are_told_apart() {
    for (status, body, expected) in [
        (401, r#"{"error":{"message":"bad key"}}"#, "does not accept the key (status 401): bad key"),
        (429, r#"{"error":{"message":"slow down"}}"#, "asks to wait (status 429): slow down"),
        (503, "<html>\nmaintenance", "the server failed (status 503): <html> maintenance"),
        (400, r#"{"error":{"message":"n/a","code":"context_length_exceeded"}}"#, "too long for the model: n/a"),
        (400, r#"{"error":"the request exceeds the available context size"}"#, "too long for the model"),
        (404, r#"{"error":{"message":"no such model"}}"#, "does not take the request (status 404): no such model"),
    ] {
        let message = failure(status, None, body).to_string();
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    }
}

proptest! {
    #[test]
    fn no_stream_makes_it_panic(events in prop::collection::vec("\\PC{0,40}|\\{\"choices\":\\[\\{\"delta\":\\{\"content\":\"[a-z]{0,5}\"\\}\\}\\]\\}|\\[DONE\\]", 0..8)) {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let _ = assembled(&events);
    }
}
