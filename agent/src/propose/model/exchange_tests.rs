//! What of a record is heard again, and in which order. Nobody is asked.

use super::*;
use crate::llm::{Stop, Usage};

/// One exchange of a record: who, turn, aim, whether it opens a conversation, what came.
fn known(model: &str, turn: u64, aim: &str, opens: bool, outcome: Result<&str, FailureKind>) -> Known {
    let answer = |text: &str| Answer {
        model: None,
        text: text.to_owned(),
        calls: vec![],
        stop: Stop::Done,
        usage: Usage::default(),
    };
    Known {
        kind: ExchangeKind::Model,
        turn,
        round: 1,
        aim: aim.to_owned(),
        model: model.to_owned(),
        outcome: outcome.map(answer).map_err(|kind| ExchangeFailure { kind, words: "no".to_owned() }),
        again: false,
        spent: Spent::default(),
        opens,
        repairs: aim.starts_with(REPAIR),
    }
}

fn said(replay: &mut Replay) -> Vec<String> {
    let heard = std::iter::from_fn(|| replay.take());
    heard.map(|known| known.outcome.map_or_else(|failed| failed.kind.name().to_owned(), |answer| answer.text)).collect()
}

#[test]
fn conversations_are_taken_in_the_order_of_the_record_whoever_is_asked_first() {
    let idea = "an idea";
    let mut replay = Replay::of(vec![
        known("b", 1, idea, true, Ok("b1")),
        known("b", 1, idea, false, Ok("b2")),
        known("a", 2, idea, true, Err(FailureKind::TooLong)),
        known("a", 2, idea, true, Ok("a1")),
        known("a", 3, "a repair of x", false, Ok("a mends")),
        known("a", 5, idea, true, Ok("a2")),
        known("b", 5, idea, true, Ok("b3")),
    ]);
    let kind = ExchangeKind::Model;
    assert!(replay.is_next(kind, "b") && !replay.is_next(kind, "a") && !replay.is_next(ExchangeKind::Agent, "b"));
    assert!(!replay.begin(kind, "a", false) && !replay.begin(kind, "b", true) && replay.begin(kind, "b", false));
    assert_eq!(said(&mut replay), ["b1", "b2"]);
    assert!(!replay.begin(kind, "b", false) && replay.begin(kind, "a", false));
    assert_eq!(said(&mut replay), ["too-long", "a1"]);
    // What it mended builds this time.
    assert!(replay.begin(kind, "a", false));
    assert_eq!(said(&mut replay), ["a2"]);
    assert!(!replay.begin(kind, "b", true) && replay.begin(kind, "b", false) && !replay.is_next(kind, "b"));
}

/// A Ctrl-C in the middle of a conversation, a kill, and a try that failed for a moment make no other conversation of it.
#[test]
fn what_was_interrupted_is_left_out_and_what_was_tried_again_goes_on() {
    let idea = "an idea";
    let mut cut = known("a", 1, idea, false, Err(FailureKind::BrokenOff));
    cut.outcome = Err(ExchangeFailure { kind: FailureKind::BrokenOff, words: INTERRUPTED.to_owned() });
    let mut killed = known("a", 1, idea, true, Err(FailureKind::BrokenOff));
    killed.outcome = Err(ExchangeFailure::under_way());
    let mut failed = known("a", 1, idea, false, Err(FailureKind::Server));
    failed.again = true;
    let mut first_failed = known("a", 2, idea, true, Err(FailureKind::Server));
    first_failed.again = true;
    let record = vec![
        killed,
        known("a", 1, idea, true, Ok("first")),
        cut,
        failed,
        known("a", 1, idea, false, Ok("second")),
        first_failed,
        known("a", 2, idea, true, Ok("third")),
    ];
    let mut replay = Replay::of(record.clone());
    assert!(replay.begin(ExchangeKind::Model, "a", false));
    assert_eq!(said(&mut replay), ["first", "server", "second"]);
    assert!(replay.begin(ExchangeKind::Model, "a", false));
    assert_eq!(said(&mut replay), ["server", "third"]);
    // A night that goes on hears the same of its own record.
    let place = Place { kind: ExchangeKind::Model, number: 1, turn: 1, repair: false, aim: idea.to_owned() };
    let mut own = OwnRecord::of(record);
    let mut heard = Vec::new();
    while own.has(&place, "a") {
        heard.push(own.take(&place, "a").unwrap().outcome.map_err(|failed| failed.kind).map(|answer| answer.text));
    }
    assert_eq!(heard, [Ok("first".to_owned()), Err(FailureKind::Server), Ok("second".to_owned())]);
}
