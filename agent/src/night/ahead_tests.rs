use super::*;
use crate::flow::{Artifact, Candidate, Purpose};
use crate::night::messages::{Launch, Lines};
use crate::run::CoreSet;

/// The first trial of the first experiment, begun ahead on the first device.
fn ahead(serial: u64) -> Ahead {
    let commit = || "0".repeat(40).parse().unwrap();
    let launch = Launch {
        number: 1,
        proposal: None,
        candidate: Candidate { commit: commit(), parent: commit() },
        lines: Lines::default(),
        artifact: Artifact { path: "trainer".into(), sha256: String::new(), build_seconds: 1.0 },
        attempts: Vec::new(),
        without: None,
    };
    let purpose = Purpose::Search;
    let what = Foreseen { launch: Arc::new(launch), trial: 1, seed: 0, purpose, era: 0, champion: 0 };
    Ahead {
        serial,
        what,
        device: 0,
        held: false,
        over: false,
        begun_at: Timestamp::UNIX_EPOCH,
        wanted: watch::Sender::new(false),
        stop: watch::Sender::new(false),
        early: watch::Sender::new(None),
        task: tokio::spawn(async { Err("unasked".to_owned()) }),
    }
}

#[tokio::test]
async fn what_a_trial_that_was_ended_says_late_is_not_taken_for_its_successors() {
    let mut all = [ahead(2), ahead(3)];
    let over = |all: &[Ahead]| all.iter().map(|ahead| ahead.over).collect::<Vec<_>>();
    mark_over(&mut all, 1);
    assert_eq!(over(&all), [false, false]);
    mark_over(&mut all, 3);
    assert_eq!(over(&all), [false, true]);
}

#[test]
fn a_trial_is_begun_where_what_it_is_compared_with_ran_if_that_is_free() {
    for (free, preferred, device) in
        [(&[][..], Some(0), None), (&[1, 2], None, Some(1)), (&[1, 2], Some(2), Some(2)), (&[1, 2], Some(0), Some(1))]
    {
        assert_eq!(best(free, preferred), device, "{preferred:?} of {free:?}");
    }
}

#[test]
fn no_evaluation_takes_the_device_of_a_trial_that_trains() {
    let cores = || CoreSet::of([3]).unwrap();
    for (own, busy, room, device) in [
        (1, &[][..], Room::Nothing, 1),
        (1, &[0], Room::Start, 1),
        (1, &[1], Room::Nothing, 0),
        (0, &[1, 0], Room::Start, 2),
        (1, &[1], Room::Trial { cores: cores() }, 1),
    ] {
        assert_eq!(evaluated_on(own, busy, 3, &room), device, "{own} beside {busy:?}, {room:?}");
    }
}

#[test]
fn of_a_trial_that_nobody_asked_for_only_what_must_not_be_lost_is_told_and_that_later() {
    let (progress, mut heard) = mpsc::unbounded_channel();
    let (asked, wanted) = watch::channel(false);
    let mut teller = Teller::new(progress, Wanted(wanted));
    let changed = || TestProgress::Changed { number: 1, trial: 1, why: "heat".to_owned() };
    teller.say(changed());
    teller.say(TestProgress::Waiting("for somebody".to_owned()));
    assert!(heard.try_recv().is_err());
    asked.send(true).unwrap();
    teller.say(TestProgress::Verifying(0.5));
    assert!(matches!(heard.try_recv(), Ok(TestProgress::Changed { .. })));
    assert!(matches!(heard.try_recv(), Ok(TestProgress::Verifying(_))));
    assert!(heard.try_recv().is_err());
}
