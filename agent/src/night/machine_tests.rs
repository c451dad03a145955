use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::flow::{Author, Edit, Verified};
use crate::night::messages::{PastTrial, Standing};

const START: &str = "0000000000000000000000000000000000000000";

fn commit(n: u64) -> CommitId {
    format!("{n:040x}").parse().unwrap()
}

fn proposal(key: &str) -> Proposal {
    Proposal {
        key: key.to_owned(),
        title: format!("Try {key}"),
        hypothesis: String::new(),
        source: String::new(),
        family: "test".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits: vec![Edit { path: "a".to_owned(), search: "b".to_owned(), replace: "c".to_owned() }],
        author: Author { proposer: "test".to_owned(), model: None, cost_usd: 0.0 },
    }
}

fn artifact() -> Artifact {
    Artifact { path: "trainer".into(), sha256: String::new(), build_seconds: 1.0 }
}

fn trained(end: TrialEnd) -> Event {
    Event::Trained(Box::new(Trained {
        end,
        seed: 1,
        budget: protocol::Budget::Seconds(20.0),
        steps: 1,
        tokens: 1,
        parameters: 1,
        training_seconds: 20.0,
        start_seconds: 0.5,
        peak_memory_bytes: 1,
        final_loss: None,
        checkpoint_sha256: None,
    }))
}

fn evaluated(val_bpb: f64) -> Event {
    let verified = Verified {
        val_bpb,
        standard_error: 0.0,
        claimed_bpb: val_bpb,
        nats: 1.0,
        bytes: 1,
        tokens: 1,
        seconds: 1.0,
        evaluator: "test/1".to_owned(),
    };
    Event::Evaluated(Ok(Measured { verified, documents: Arc::new([]) }))
}

fn committed(candidate: Candidate) -> Event {
    Event::Committed { candidate, lines: Lines::default() }
}

fn built(number: u32) -> Event {
    Event::Built { number, result: Ok(artifact()) }
}

fn failure() -> BuildFailure {
    BuildFailure { errors: vec!["error".to_owned()], error_count: 1, build_seconds: 1.0 }
}

fn limits() -> Limits {
    Limits { experiments: Some(3), seconds: Some(1_000.0), expected_trial_seconds: 25.0, repair_rounds: 3 }
}

fn start() -> Start {
    Start::new(START.parse().unwrap(), 0)
}

/// A trial that was begun before the night was cut off.
fn past(number: u32, came: Came) -> PastTrial {
    PastTrial { number, ordinal: 1, seed: 0, purpose: Purpose::Search, era: 0, steps: 1, seconds: None, came }
}

fn measured(val_bpb: f64) -> Measured {
    match evaluated(val_bpb) {
        Event::Evaluated(Ok(measured)) => measured,
        other => panic!("{other:?}"),
    }
}

/// A night that was cut off while it tested an experiment, after its first trial had come out so.
fn cut_off(number: u32, artifact: Option<Artifact>, came: Came) -> Start {
    let candidate = Candidate { commit: commit(7), parent: START.parse().unwrap() };
    let standing = Standing { number, proposal: Some(proposal("x")), candidate, lines: Lines::default(), artifact };
    Start {
        baseline_settled: true,
        trials: vec![past(0, Came::Verified(measured(2.0))), past(number, came)],
        unsettled: Some(Unsettled { standing, without: None, story: Vec::new() }),
        next_number: number + 1,
        turn: 9,
        settled: number - 1,
        ..start()
    }
}

/// How the world answers, drawn beforehand.
#[derive(Debug, Clone)]
struct World {
    /// Consumed one an answer, then starts over; each answer takes as many as it needs.
    draws: Vec<u32>,
    at: usize,
    proposals_left: u32,
    commits: u64,
}

impl World {
    fn draw(&mut self, below: u32) -> u32 {
        let value = self.draws[self.at % self.draws.len()];
        self.at += 1;
        value % below
    }

    fn answer(&mut self, effect: &Effect) -> Option<Event> {
        Some(match effect {
            Effect::Propose { turn, .. } => {
                if self.proposals_left == 0 {
                    return Some(Event::Proposed(None));
                }
                self.proposals_left -= 1;
                Event::Proposed(Some(Box::new(proposal(&format!("idea-{turn}")))))
            }
            Effect::Repair { proposal, .. } => match self.draw(2) {
                0 => Event::Proposed(None),
                _ => Event::Proposed(Some(proposal.clone())),
            },
            Effect::Commit { parent, .. } => match self.draw(6) {
                0 => Event::Refused(Refusal::DoesNotApply("no such text".to_owned())),
                1 => Event::Refused(Refusal::Policy("unsafe".to_owned())),
                2 => Event::Refused(Refusal::Duplicate("seen".to_owned())),
                _ => {
                    self.commits += 1;
                    committed(Candidate { commit: commit(self.commits), parent: parent.clone() })
                }
            },
            Effect::Build { number, .. } => match self.draw(4) {
                0 if *number > 0 => Event::Built { number: *number, result: Err(failure()) },
                _ => built(*number),
            },
            Effect::Train { launch, .. } => match self.draw(8) {
                0 if launch.number > 0 => trained(TrialEnd::NotFinite),
                1 if launch.number > 0 => trained(TrialEnd::TimedOut),
                2 => trained(TrialEnd::MachineFault { message: "disk".to_owned() }),
                3 => Event::TrialFault("device".to_owned()),
                _ => trained(TrialEnd::Finished),
            },
            Effect::Evaluate { number, .. } => match self.draw(8) {
                0 if *number > 0 => {
                    Event::Evaluated(Err(Rejected { check: "finite".to_owned(), evidence: "NaN".to_owned() }))
                }
                n => evaluated(1.0 + f64::from(n) / 10.0),
            },
            Effect::Settle { settled } => Event::Settled { number: settled.number },
            Effect::ProposeWithout { .. } => Event::Proposed(None),
            Effect::Claim { .. } => Event::Claimed,
            Effect::Skip { .. }
            | Effect::Finish(_)
            | Effect::StopEarly { .. }
            | Effect::Spare { .. }
            | Effect::Conclude { .. }
            | Effect::Warn { .. } => return None,
        })
    }
}

/// Plays a night against a world; answers come in the order that `world` draws. Checks what must hold at every step.
fn play(limits: Limits, mut world: World, stop_at: Option<usize>) -> Vec<Effect> {
    let mut machine = Machine::new(limits, start());
    let mut log: Vec<Effect> = Vec::new();
    let mut waiting: VecDeque<Effect> = VecDeque::new();
    let mut champion = machine.champion().clone();
    let mut settled_numbers = Vec::new();
    let mut now = 0.0;
    let mut events = VecDeque::from([Event::Begin]);
    for turn in 0..5_000 {
        if stop_at == Some(turn) {
            events.push_front(Event::Stop { at_once: false });
        }
        let event = match events.pop_front() {
            Some(event) => event,
            None if waiting.is_empty() => break,
            None => {
                let index = world.draw(waiting.len() as u32) as usize;
                let effect = waiting.remove(index).unwrap();
                now += 5.0;
                match world.answer(&effect) {
                    Some(event) => event,
                    None => continue,
                }
            }
        };
        for effect in machine.step(event, now) {
            match &effect {
                Effect::Train { launch, .. } => {
                    assert!(
                        !waiting.iter().any(|e| matches!(e, Effect::Train { .. } | Effect::Evaluate { .. })),
                        "two trials at once"
                    );
                    assert!(
                        launch.number == 0 || launch.candidate.parent == champion.commit,
                        "experiment {} is not one change away from the champion",
                        launch.number
                    );
                }
                Effect::Settle { settled } => {
                    settled_numbers.push(settled.number);
                    if settled.decision.verdict == Verdict::Kept && settled.number > 0 {
                        assert!(settled.val_bpb < champion.val_bpb, "kept though not lower");
                    }
                }
                Effect::Finish(_) => assert!(machine.is_finished()),
                _ => {}
            }
            log.push(effect.clone());
            waiting.push_back(effect);
        }
        champion = machine.champion().clone();
    }
    let mut sorted = settled_numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), settled_numbers.len(), "a number was settled twice: {settled_numbers:?}");
    assert!(machine.is_finished(), "the night hangs after {log:#?}");
    log
}

fn world(draws: &[u32], proposals: u32) -> World {
    World { draws: draws.to_vec(), at: 0, proposals_left: proposals, commits: 0 }
}

fn ending(log: &[Effect]) -> &Ending {
    match log.last() {
        Some(Effect::Finish(ending)) => ending,
        other => panic!("the night did not end with an ending but with {other:?}"),
    }
}

#[test]
fn a_smooth_night_tests_as_many_experiments_as_asked_for() {
    let log = play(limits(), world(&[5, 3, 7], 100), None);
    let settled = log.iter().filter(|e| matches!(e, Effect::Settle { settled } if settled.number > 0)).count();
    assert_eq!(settled, 3);
    assert_eq!(*ending(&log), Ending::ExperimentsDone);
}

#[test]
fn a_night_without_ideas_ends_and_says_so() {
    assert_eq!(*ending(&play(limits(), world(&[5, 3, 7], 1), None)), Ending::NothingLeft);
}

#[test]
fn no_trial_starts_that_would_outlast_the_night() {
    let limits = Limits { seconds: Some(40.0), experiments: None, ..limits() };
    let log = play(limits, world(&[5, 3, 7], 100), None);
    assert_eq!(*ending(&log), Ending::Deadline);
    assert!(log.iter().filter(|e| matches!(e, Effect::Train { .. })).count() <= 3);
}

#[test]
fn a_bad_start_ends_the_night_before_anything_is_proposed() {
    for event in [Event::Built { number: 0, result: Err(failure()) }, trained(TrialEnd::NotFinite)] {
        let mut machine = Machine::new(limits(), start());
        machine.step(Event::Begin, 0.0);
        if matches!(event, Event::Trained(_)) {
            machine.step(built(0), 1.0);
        }
        let effects = machine.step(event, 2.0);
        assert!(matches!(effects.as_slice(), [Effect::Finish(Ending::BadStart(_))]), "{effects:?}");
    }
}

#[test]
fn an_interrupted_trial_is_run_again_first() {
    let limits = Limits { experiments: Some(9), ..limits() };
    let mut machine = Machine::new(limits, cut_off(4, None, Came::Nothing));
    // Nothing is made beside it: there is one compiler.
    assert!(matches!(machine.step(Event::Begin, 0.0).as_slice(), [Effect::Build { number: 4, .. }]));
    let effects = machine.step(built(4), 1.0);
    assert!(
        matches!(effects.as_slice(), [Effect::Train { trial: 2, .. }, Effect::Propose { number: 5, turn: 9 }]),
        "{effects:?}"
    );

    // One that had finished its training is only evaluated.
    let effects = Machine::new(limits, cut_off(4, Some(artifact()), Came::Waits)).step(Event::Begin, 0.0);
    assert!(matches!(effects.first(), Some(Effect::Evaluate { number: 4, trial: 1, .. })), "{effects:?}");
}

#[test]
fn the_time_before_a_resumption_is_not_taken_for_a_long_trial() {
    let mut machine = Machine::new(
        Limits { experiments: None, seconds: Some(1_000.0), ..limits() },
        cut_off(1, Some(artifact()), Came::Waits),
    );
    machine.step(Event::Begin, 600.0);
    machine.step(evaluated(2.1), 605.0);
    let effects = machine.step(Event::Settled { number: 1 }, 605.0);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Finish(_))), "395 seconds are left: {effects:?}");
}

#[test]
fn a_proposer_that_fails_is_asked_again_and_ends_the_night_the_third_time_in_a_row() {
    let mut machine = Machine::new(limits(), start());
    machine.step(Event::Begin, 0.0);
    machine.step(built(0), 1.0);
    machine.step(trained(TrialEnd::Finished), 2.0);
    machine.step(evaluated(2.0), 3.0);
    machine.step(Event::Settled { number: 0 }, 4.0);
    let fault = || Event::MakingFault { number: 1, what: "so sorry".to_owned() };
    assert!(matches!(machine.step(fault(), 5.0).as_slice(), [Effect::Propose { number: 1, .. }]));
    assert!(matches!(machine.step(fault(), 6.0).as_slice(), [Effect::Propose { number: 1, .. }]));
    assert!(matches!(machine.step(fault(), 7.0).as_slice(), [Effect::Finish(Ending::MachineFaults(_))]));
}

#[test]
fn three_machine_faults_in_a_row_end_the_night_and_none_is_a_verdict() {
    let mut machine = Machine::new(limits(), start());
    machine.step(Event::Begin, 0.0);
    machine.step(built(0), 1.0);
    let fault = || trained(TrialEnd::MachineFault { message: "no space left on device".to_owned() });
    assert!(matches!(machine.step(fault(), 2.0).as_slice(), [Effect::Train { trial: 2, .. }]));
    assert!(matches!(machine.step(fault(), 3.0).as_slice(), [Effect::Train { trial: 3, .. }]));
    assert!(matches!(machine.step(fault(), 4.0).as_slice(), [Effect::Finish(Ending::MachineFaults(_))]));
}

#[test]
fn an_experiment_with_which_the_machine_fails_is_left_alone_and_a_second_one_ends_the_night() {
    let mut machine = Machine::new(Limits { experiments: None, ..limits() }, start());
    machine.step(Event::Begin, 0.0);
    machine.step(built(0), 1.0);
    machine.step(trained(TrialEnd::Finished), 2.0);
    machine.step(evaluated(2.0), 3.0);
    machine.step(Event::Settled { number: 0 }, 4.0);
    let fault = || Event::TrialFault("no such device".to_owned());
    for number in [1_u32, 2] {
        machine.step(Event::Proposed(Some(Box::new(proposal("idea")))), 5.0);
        let candidate = Candidate { commit: commit(u64::from(number)), parent: START.parse().unwrap() };
        machine.step(committed(candidate), 5.0);
        machine.step(built(number), 6.0);
        // In training as in evaluation.
        machine.step(fault(), 7.0);
        machine.step(trained(TrialEnd::Finished), 8.0);
        machine.step(fault(), 9.0);
        let effects = machine.step(fault(), 10.0);
        if number == 1 {
            let [Effect::Settle { settled }] = effects.as_slice() else { panic!("{effects:?}") };
            assert_eq!(settled.decision.verdict, Verdict::Inconclusive);
            machine.step(Event::Settled { number }, 11.0);
        } else {
            assert!(matches!(effects.as_slice(), [Effect::Finish(Ending::MachineFaults(_))]), "{effects:?}");
        }
    }
}

#[test]
fn a_night_that_waits_for_a_proposer_ends_at_its_deadline() {
    let mut machine = Machine::new(Limits { experiments: None, seconds: Some(100.0), ..limits() }, start());
    machine.step(Event::Begin, 0.0);
    machine.step(built(0), 1.0);
    machine.step(trained(TrialEnd::Finished), 2.0);
    machine.step(evaluated(2.0), 3.0);
    assert!(matches!(machine.step(Event::Settled { number: 0 }, 4.0).as_slice(), [Effect::Propose { .. }]));
    assert!(machine.step(Event::Tick, 50.0).is_empty());
    assert!(matches!(machine.step(Event::Tick, 99.5).as_slice(), [Effect::Finish(Ending::Deadline)]));
}

#[test]
fn what_was_built_from_a_replaced_champion_is_made_again() {
    let mut machine = Machine::new(limits(), start());
    machine.step(Event::Begin, 0.0);
    machine.step(built(0), 1.0);
    machine.step(trained(TrialEnd::Finished), 2.0);
    machine.step(evaluated(2.0), 3.0);
    machine.step(Event::Settled { number: 0 }, 4.0);
    // Experiment 1 is made and launched, experiment 2 is made while 1 trains.
    for number in [1, 2] {
        machine.step(Event::Proposed(Some(Box::new(proposal("idea")))), 5.0);
        machine.step(committed(Candidate { commit: commit(number), parent: START.parse().unwrap() }), 5.0);
        machine.step(built(number as u32), 6.0);
    }
    machine.step(trained(TrialEnd::Finished), 7.0);
    machine.step(evaluated(1.9), 8.0);
    let effects = machine.step(Event::Settled { number: 1 }, 9.0);
    let [Effect::Commit { number: 2, parent, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*parent, commit(1));
    // It no longer applies: skipped with a reason, its number free for the next.
    let effects = machine.step(Event::Refused(Refusal::DoesNotApply("gone".to_owned())), 10.0);
    assert!(matches!(effects.as_slice(), [Effect::Skip { .. }, Effect::Propose { number: 2, .. }]), "{effects:?}");
}

proptest! {
    #[test]
    fn whatever_the_world_answers_the_night_ends_and_its_rules_hold(
        draws in prop::collection::vec(any::<u32>(), 1..200),
        proposals in 0..30u32,
        experiments in 1..12u32,
        stop_at in prop::option::of(0..200usize),
    ) {
        let limits = Limits { experiments: Some(experiments), seconds: None, ..limits() };
        let log = play(limits, world(&draws, proposals), stop_at);
        let settled = log.iter().filter(|e| matches!(e, Effect::Settle { settled } if settled.number > 0)).count();
        prop_assert!(settled <= experiments as usize);
    }
}
