//! A night that is gone on with decides as if it had never been cut off: nights are cut at every point between two steps, and what
//! follows is compared with the night that was not cut.
//!
//! What a world answers here follows from what was asked and from what is on record alone, so that both nights see the same.

use std::collections::VecDeque;

use super::fate::Fate;
use super::records::Records;
use super::*;
use crate::flow::{Decision, Rejected, Verdict};
use crate::night::messages::{Launch, Refusal, Without};
use crate::stats::claim::Claim;
use crate::stats::early::LOOKS;

/// All that was told of a night, cut-off trials aside.
#[derive(Debug, Clone, PartialEq, Default)]
struct Told {
    trials: Vec<PastTrial>,
    verdicts: Vec<(u32, Decision, Option<f64>)>,
    claim: Option<(Claim, u32)>,
    ending: Option<Ending>,
}

/// A night under way, as the world and the records have it.
#[derive(Clone)]
struct Played<'a> {
    fate: &'a Fate,
    records: Records,
    verdicts: Vec<(u32, Decision, Option<f64>)>,
    claim: Option<(Claim, u32)>,
    ending: Option<Ending>,
    /// Whether the trial in flight was asked to end early.
    stopped: bool,
    /// When the machine had been waited for in vain; time stands still from then on, so that the morning has some.
    waited: f64,
}

impl<'a> Played<'a> {
    fn new(fate: &'a Fate) -> Self {
        let (records, verdicts, claim, ending) = (Records::default(), Vec::new(), None, None);
        Self { fate, records, verdicts, claim, ending, stopped: false, waited: 0.0 }
    }

    /// A proposal follows from the experiments that were settled when it was first asked for.
    fn propose(&self, number: u32) -> Option<Proposal> {
        if number > self.fate.ideas {
            return None;
        }
        let mut proposal = proposal(&format!("idea-{number}"));
        let settled = self.verdicts.iter().filter(|(of, ..)| of + 2 <= number);
        let missed: Vec<u32> = settled
            .filter(|(_, decision, _)| decision.evidence.as_ref().is_some_and(|evidence| evidence.near_miss))
            .map(|(of, ..)| *of)
            .collect();
        let one = |at: usize| format!("n/{}", missed[at]);
        match (number % 3, missed.len()) {
            (0, 2..) => proposal.key = format!("{}+{}", one(missed.len() - 2), one(missed.len() - 1)),
            (1, 1..) => proposal.key = format!("{}@{number}", one(missed.len() - 1)),
            _ => return Some(proposal),
        }
        proposal.author.proposer = "combine".to_owned();
        Some(proposal)
    }

    /// What a commit is worth follows from its number, its parent and what is in it.
    fn value(&self, number: u32) -> f64 {
        let Some(standing) = self.records.standings.get(&number).filter(|_| number > 0) else { return 2.0 };
        let parent = number_of(&standing.candidate.parent);
        let again: Vec<u32> =
            standing.proposal.iter().flat_map(crate::propose::tried_again).map(|id| id.number).collect();
        let effect = match (self.records.without[&number], again.is_empty()) {
            (Some(Without { kept, idea: None }), _) => -self.fate.effect(kept),
            (Some(Without { kept, idea: Some(idea) }), _) => -self.fate.effect(kept) / f64::from(idea + 1),
            (None, true) => self.fate.effect(number),
            (None, false) => again.iter().map(|part| self.fate.effect(*part)).sum(),
        };
        self.value(parent) + effect
    }

    fn came_to_something(&self) -> usize {
        self.records.trials.iter().filter(|trial| !matches!(trial.came, Came::Nothing | Came::Waits)).count()
    }

    /// Time passes with trials alone.
    fn now(&self) -> f64 {
        if self.waited > 0.0 { self.waited } else { 25.0 * self.came_to_something() as f64 }
    }

    /// A trial for which the machine is never fit: of the experiment nothing is on record but what it is.
    fn wait_in_vain(&mut self, effect: &Effect, most: Option<f64>) -> Option<Event> {
        let (Effect::Train { launch, trial, seed, purpose, era }, Some(most)) = (effect, most) else { return None };
        if self.waited > 0.0 || self.came_to_something() < self.fate.unfit_after {
            return None;
        }
        self.records.begun(launch, *trial, *seed, *purpose, *era);
        self.records.trials.pop();
        self.waited = self.now() + most + 1.0;
        Some(Event::NotBegun("others use it".to_owned()))
    }

    fn measure(&self, number: u32, seed: u32) -> f64 {
        let moved = if self.came_to_something() >= self.fate.drifts_after { 0.1 } else { 0.0 };
        self.value(number) + moved + 0.001 * jitter(99, seed) + 0.0015 * jitter(number, seed)
    }

    /// What was measured, spread over documents of which each commit does one better and another worse: the text leaves something open,
    /// and that has to be known after a restart as well.
    fn measured(&self, number: u32, seed: u32) -> Measured {
        let val_bpb = self.measure(number, seed);
        let uneven = 0.002 * self.fate.share(&[9, u64::from(number)]);
        let documents = [uneven, -uneven, 0.0, 0.0].map(|more| DocumentLoss { nats: val_bpb + more, bytes: 1 });
        Measured { documents: Arc::new(documents), ..measured(val_bpb) }
    }

    fn vouched_for(&self, number: u32) -> bool {
        number == 0 || self.records.kept.contains(&number)
    }

    /// What an effect is answered with; what the driver records of it is recorded.
    fn perform(&mut self, effect: &Effect) -> Vec<Event> {
        vec![match effect {
            Effect::Propose { number, turn } => {
                self.records.turn = turn + 1;
                Event::Proposed(self.propose(*number).map(Box::new))
            }
            Effect::Repair { turn, .. } => {
                self.records.turn = turn + 1;
                Event::Proposed(None)
            }
            Effect::ProposeWithout { of, turn, .. } => {
                self.records.turn = turn + 1;
                let overlaps = self.fate.happens(4, &[3, u64::from(of.kept), of.idea.map_or(0, u64::from)]);
                Event::Proposed((!overlaps).then(|| Box::new(proposal(&format!("without-{of}")))))
            }
            Effect::Commit { number, parent, .. } => match self.fate.lot(&[4, u64::from(*number)]) % 9 {
                0 => Event::Refused(Refusal::Policy("unsafe".to_owned())),
                _ => Event::Committed {
                    candidate: Candidate { commit: commit(u64::from(*number)), parent: parent.clone() },
                    lines: Lines { added: number % 4, removed: 2 },
                },
            },
            Effect::Build { number, .. } => match self.fate.lot(&[5, u64::from(*number)]) % 9 {
                0 if !self.records.standings.contains_key(number) && *number > 0 => {
                    Event::Built { number: *number, result: Err(failure()) }
                }
                _ => built(*number),
            },
            // Whether it fails before its turn comes or in its trial is a matter of time, which a night that was cut off has less of.
            Effect::SmokeTest { launch } => {
                Event::SmokeTested { number: launch.number, commit: launch.candidate.commit.clone(), failed: None }
            }
            Effect::Train { launch, trial, seed, purpose, era } => {
                self.records.begun(launch, *trial, *seed, *purpose, *era);
                self.stopped = false;
                return self.train(launch, *trial, *seed, *purpose);
            }
            Effect::Evaluate { number, trial, purpose } => {
                let seed = self.records.trial(*number, *trial).seed;
                let lot = [6, u64::from(*number), u64::from(seed), *purpose as u64];
                let cheating = self.fate.cheating * if self.vouched_for(*number) { 3 } else { 1 };
                if self.fate.happens(cheating, &lot) {
                    let check = if seed.is_multiple_of(2) { "finite" } else { "causality" };
                    Event::Evaluated(Err(Rejected { check: check.to_owned(), evidence: "seen".to_owned() }))
                } else if self.is_spoilt(7, *number, seed) {
                    Event::TrialFault("the device is gone".to_owned())
                } else {
                    Event::Evaluated(Ok(self.measured(*number, seed)))
                }
            }
            Effect::Settle { settled } => {
                self.records.settled(settled);
                self.verdicts.push((settled.number, settled.decision.clone(), settled.val_bpb));
                Event::Settled { number: settled.number }
            }
            Effect::Claim { claim, champion, .. } => {
                self.records.claims += 1;
                self.claim = Some(((**claim).clone(), champion.number));
                Event::Claimed
            }
            Effect::Conclude { number, words } => {
                self.records.concluded(*number, words);
                return Vec::new();
            }
            Effect::Finish(ending) => {
                self.ending = Some(ending.clone());
                return Vec::new();
            }
            _ => return Vec::new(),
        }]
    }

    /// Some trials are spoilt once or twice, and some of candidates each time.
    fn is_spoilt(&self, what: u64, number: u32, seed: u32) -> bool {
        let lot = [what, u64::from(number), u64::from(seed)];
        // Not by heat, which a night that was cut off does not see again.
        let spoilt = |trial: &&PastTrial| {
            (trial.number, trial.seed) == (number, seed)
                && matches!(trial.came, Came::Spoilt(_))
                && trial.changed.is_none()
        };
        let times = self.records.trials.iter().filter(spoilt).count() as u64;
        self.fate.happens(self.fate.spoilt, &lot)
            && times < [1, 2, if self.vouched_for(number) { 1 } else { 9 }][(self.fate.lot(&lot) >> 32) as usize % 3]
    }

    fn train(&mut self, launch: &Launch, trial: u32, seed: u32, purpose: Purpose) -> Vec<Event> {
        let number = launch.number;
        let changed = self.records.trials.iter().any(|trial| trial.changed.is_some());
        if !changed && self.came_to_something() >= self.fate.changes_after {
            return vec![Event::Changed("it is hot".to_owned()), spoilt()];
        }
        if self.is_spoilt(8, number, seed) {
            return vec![spoilt()];
        }
        let lot = [9, u64::from(number), u64::from(seed), purpose as u64];
        let failing = self.fate.failing * if self.vouched_for(number) { 3 } else { 1 };
        if self.fate.happens(failing, &lot) {
            return vec![trained([TrialEnd::NotFinite, TrialEnd::TimedOut][seed as usize % 2].clone())];
        }
        let mut events = Vec::new();
        if number > 0 && purpose == Purpose::Search {
            let ahead = self.value(number) - self.value(number_of(&launch.candidate.parent));
            events.extend((0..LOOKS.len()).map(|look| {
                let curve_difference = ahead + 0.0005 * jitter(number + 50 * seed, look as u32);
                Event::Look { number, trial, look, curve_difference }
            }));
        }
        events.push(trained_with(TrialEnd::Finished, 100 + u64::from(number)));
        events
    }

    fn told(&self) -> Told {
        let mut trials: Vec<PastTrial> = self.records.trials.clone();
        // What was seen of a change of the machine counts, also where the trial during which it was seen was cut off.
        trials.retain(|trial| trial.came != Came::Nothing && trial.changed.is_none());
        // One that was cut off counts as a trial, and what was cut off is seen again.
        trials.iter_mut().for_each(|trial| trial.ordinal = 0);
        // When it was given up to make something has nothing to do with what is tested meanwhile.
        let mut verdicts = self.verdicts.clone();
        verdicts.sort_by_key(|(number, ..)| *number);
        let (claim, ending) = (self.claim.clone(), self.ending.clone());
        Told { trials, verdicts, claim, ending }
    }
}

fn number_of(commit: &CommitId) -> u32 {
    u32::from_str_radix(&commit.as_str()[32..], 16).unwrap()
}

/// A night between two steps: what waits to be done, and what the machine has not heard yet.
struct Under<'a> {
    night: Played<'a>,
    machine: Machine,
    events: VecDeque<Event>,
    waiting: VecDeque<Effect>,
    /// On record, and about to be told to the machine.
    recorded: Option<Event>,
}

impl<'a> Under<'a> {
    /// Goes on with what is on record, which is nothing for a new night.
    fn from_records(night: Played<'a>) -> Self {
        let start = Start { night: Some("n".parse().unwrap()), ..night.records.start() };
        let machine = Machine::new(night.fate.limits, night.fate.rules.clone(), start);
        Self { night, machine, events: VecDeque::from([Event::Begin]), waiting: VecDeque::new(), recorded: None }
    }

    /// One turn: something is recorded, or told to the machine, or done. `false` at the end of the night.
    fn turn(&mut self) -> bool {
        let night = &mut self.night;
        if let Some(event) = self.recorded.take() {
            let effects = self.machine.step(event, night.now());
            night.stopped |= effects.iter().any(|effect| matches!(effect, Effect::StopEarly { .. }));
            night.records.ending = self.machine.search_ended().cloned();
            self.waiting.extend(effects);
        } else if let Some(event) = self.events.pop_front() {
            let event = match event {
                Event::Trained(trained) if night.stopped && trained.end == TrialEnd::Finished => {
                    super::trained(TrialEnd::StoppedEarly { message: "hopeless".to_owned() })
                }
                other => other,
            };
            night.records.came(&event);
            self.recorded = Some(event);
        } else if let Some(effect) = self.waiting.pop_front() {
            let search = self.machine.search_ended().is_none();
            let most = self.machine.may_wait(night.now()).filter(|_| search);
            match night.wait_in_vain(&effect, most) {
                Some(event) => self.events.push_back(event),
                None => self.events.extend(night.perform(&effect)),
            }
        } else {
            assert!(self.machine.is_finished(), "the night hangs, {:?}", night.records.trials.last());
            return false;
        }
        true
    }

    /// Plays it to its end; what was told.
    fn played_out(mut self) -> Told {
        let turns = (0..20_000).take_while(|_| self.turn()).count();
        assert!(turns < 20_000, "the night does not end");
        self.night.told()
    }
}

fn fates() -> Vec<(&'static str, Fate)> {
    let calm = Fate {
        salt: 1,
        ideas: 12,
        limits: Limits { experiments: None, seconds: Some(2_500.0), expected_trial_seconds: 25.0 },
        rules: Rules { champion_seeds: 3, drift_every: 9, early_spare: 0.3, morning_pairs: 4, ..Rules::default() },
        spoilt: 0,
        failing: 0,
        cheating: 0,
        drifts_after: usize::MAX,
        changes_after: usize::MAX,
        unfit_after: usize::MAX,
    };
    vec![
        ("a calm night", calm.clone()),
        (
            "another, without limit of time",
            Fate { salt: 2, limits: Limits { experiments: Some(10), seconds: None, ..calm.limits }, ..calm.clone() },
        ),
        ("faults of the machine", Fate { salt: 3, spoilt: 4, ..calm.clone() }),
        ("trials that fail", Fate { salt: 4, failing: 6, cheating: 9, ..calm.clone() }),
        ("a machine that drifts", Fate { salt: 31, drifts_after: 8, ..calm.clone() }),
        ("a machine that others use", Fate { salt: 29, unfit_after: 17, ..calm.clone() }),
        ("heat that stays", Fate { salt: 26, changes_after: 11, spoilt: 6, ..calm.clone() }),
        (
            "all of it",
            Fate { salt: 7, spoilt: 7, failing: 12, cheating: 20, drifts_after: 25, changes_after: 9, ..calm },
        ),
    ]
}

#[test]
fn a_night_that_is_gone_on_with_decides_as_if_it_had_never_been_cut_off() {
    for (name, fate) in fates() {
        let uncut = Under::from_records(Played::new(&fate)).played_out();
        let mut under = Under::from_records(Played::new(&fate));
        let mut before = None;
        for cut_at in 0.. {
            // What nothing was recorded of makes no difference.
            let records = Some(Records { turn: 0, ..under.night.records.clone() });
            if records == before {
                if under.turn() {
                    continue;
                }
                break;
            }
            before = records;
            let cut = Under::from_records(under.night.clone()).played_out();
            let same = uncut.trials.iter().zip(&cut.trials).take_while(|(one, other)| one == other).count();
            assert_eq!(
                (uncut.trials.get(same), uncut.trials.len()),
                (cut.trials.get(same), cut.trials.len()),
                "{name}, cut at {cut_at}: trial {same} is another"
            );
            for (one, other) in uncut.verdicts.iter().zip(&cut.verdicts) {
                assert_eq!(one, other, "{name}, cut at {cut_at}");
            }
            assert_eq!(uncut, cut, "{name}, cut at {cut_at}");
            if !under.turn() {
                break;
            }
        }
    }
}

/// The nights above are worth cutting: all that there is to forget happens in them.
#[test]
fn the_nights_that_are_cut_hold_what_there_is_to_forget() {
    let told: Vec<Told> = fates().iter().map(|(_, fate)| Under::from_records(Played::new(fate)).played_out()).collect();
    let trials = || told.iter().flat_map(|night| &night.trials);
    let verdicts = || told.iter().flat_map(|night| &night.verdicts);
    let near_miss = |decision: &Decision| decision.evidence.as_ref().is_some_and(|evidence| evidence.near_miss);
    assert!(trials().any(|trial| matches!(trial.came, Came::StoppedEarly(_))), "nothing is stopped early");
    assert!(trials().any(|trial| matches!(trial.came, Came::Spoilt(_))), "nothing is spoilt");
    let eras = told.iter().filter(|night| night.trials.iter().any(|trial| trial.era > 0)).count();
    assert!(eras >= 3, "eras begin in {eras} nights");
    assert!(verdicts().any(|(_, decision, _)| near_miss(decision)), "there is no near miss");
    assert!(verdicts().any(|(_, decision, _)| decision.reason.contains("its parts alone")), "nothing is combined");
    assert!(verdicts().any(|(_, decision, _)| decision.reason.contains("fault of the machine")), "none is left alone");
    assert!(verdicts().any(|(_, decision, _)| decision.reason.contains("without experiment")), "none is left out");
    let kept = verdicts().filter(|(number, decision, _)| *number > 0 && decision.verdict == Verdict::Kept).count();
    assert!(kept >= 5, "{kept} are kept");
    assert!(told.iter().filter(|night| night.claim.is_some()).count() >= 2, "few claims");
}
