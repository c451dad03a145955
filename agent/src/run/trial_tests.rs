use super::*;

fn ended(code: i32) -> Ended {
    Ended { code: Some(code), last_words: "thread main panicked".to_owned() }
}

fn nothing() -> Seen {
    Seen::nothing(Budget::Seconds(10.0))
}

fn taken() -> Taken {
    Taken::Checkpoint { sha256: "abc".to_owned(), bytes: 3 }
}

#[test]
fn only_a_finished_run_with_a_checkpoint_is_finished() {
    let finished = Seen { finished: Some(9.0), ..nothing() };
    assert_eq!(conclude(&finished, &ended(0), &taken()), TrialEnd::Finished);
    let late = Seen { finished: Some(16.0), ..nothing() };
    assert_eq!(conclude(&late, &ended(0), &taken()), TrialEnd::TimedOut);
    let long = Seen { too_long: true, ..nothing() };
    assert_eq!(conclude(&long, &ended(143), &Taken::Nothing), TrialEnd::TimedOut);
    assert!(matches!(conclude(&finished, &ended(0), &Taken::Nothing), TrialEnd::Crashed { .. }));
    let refused = Taken::Refused("it left a pipe".to_owned());
    let TrialEnd::Crashed { message } = conclude(&finished, &ended(0), &refused) else { panic!() };
    assert_eq!(message, "it left a pipe");
    assert!(matches!(conclude(&nothing(), &ended(0), &taken()), TrialEnd::Crashed { .. }));
}

#[test]
fn each_failure_is_told_apart() {
    let failed = |kind| Seen { failed: Some((kind, "why".to_owned())), ..nothing() };
    assert_eq!(conclude(&failed(Failure::NotFinite), &ended(1), &Taken::Nothing), TrialEnd::NotFinite);
    assert!(matches!(
        conclude(&failed(Failure::OutOfMemory), &ended(1), &Taken::Nothing),
        TrialEnd::OutOfMemory { .. }
    ));
    assert!(matches!(conclude(&failed(Failure::Harness), &ended(1), &Taken::Nothing), TrialEnd::MachineFault { .. }));
    assert!(matches!(
        conclude(&failed(Failure::BadRequest), &ended(1), &Taken::Nothing),
        TrialEnd::MachineFault { .. }
    ));
    assert!(matches!(conclude(&failed(Failure::Candidate), &ended(1), &Taken::Nothing), TrialEnd::Crashed { .. }));
    assert!(matches!(conclude(&nothing(), &ended(137), &Taken::Nothing), TrialEnd::OutOfMemory { .. }));
    let TrialEnd::Crashed { message } = conclude(&nothing(), &ended(139), &Taken::Nothing) else { panic!() };
    assert!(message.contains("signal 11") && message.contains("panicked"), "{message}");
    let nonsense = Seen { nonsense: Some("x".to_owned()), finished: Some(9.0), ..nothing() };
    assert!(matches!(conclude(&nonsense, &ended(0), &taken()), TrialEnd::Crashed { .. }));
}

#[test]
fn a_process_cannot_fill_a_message() {
    let ended = Ended { code: Some(1), last_words: "é".repeat(4_096) };
    let TrialEnd::Crashed { message } = conclude(&nothing(), &ended, &Taken::Nothing) else { panic!() };
    assert!(message.chars().count() < MOST_WORDS + 100, "{}", message.chars().count());
}
