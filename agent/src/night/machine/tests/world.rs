//! A world drawn by lot that answers a night's effects, and what must hold at every step of every night.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::records::Records;
use super::*;
use crate::flow::{Rejected, Verdict};
use crate::night::machine::testing::Testing;
use crate::night::messages::{Launch, Refusal};

/// How often things go wrong, one in so many; 0: never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Odds {
    pub refused: u32,
    pub unbuildable: u32,
    pub crashed: u32,
    pub spoilt: u32,
    pub rejected: u32,
    /// Later trials of what had been vouched for before.
    pub brittle: u32,
}

pub(super) const NOTHING_GOES_WRONG: Odds =
    Odds { refused: 0, unbuildable: 0, crashed: 0, spoilt: 0, rejected: 0, brittle: 0 };

/// How the world answers, drawn beforehand.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub draws: Vec<u32>,
    pub at: usize,
    pub proposals_left: u32,
    pub odds: Odds,
    /// After so many trials the machine is another.
    pub changes_after: Option<usize>,
    /// Largest true effect of a commit, bits per byte.
    pub effect: f64,
    /// Whether trials are looked at on their way.
    pub looks: bool,
    pub commits: u64,
    pub values: HashMap<CommitId, f64>,
    pub stopped_early: bool,
    pub trials: usize,
}

impl World {
    pub fn new(draws: &[u32], proposals: u32) -> Self {
        Self {
            draws: draws.to_vec(),
            at: 0,
            proposals_left: proposals,
            odds: NOTHING_GOES_WRONG,
            changes_after: None,
            effect: 0.02,
            looks: false,
            commits: 0,
            values: HashMap::new(),
            stopped_early: false,
            trials: 0,
        }
    }

    fn draw(&mut self, below: u32) -> u32 {
        let round = (self.at / self.draws.len()) as u32;
        let value = self.draws[self.at % self.draws.len()].wrapping_mul(2 * round + 1).rotate_left(round);
        self.at += 1;
        value % below
    }

    fn happens(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.draw(one_in) == 0
    }

    fn value(&self, number: u32, commit: &CommitId, seed: u32) -> f64 {
        let moved = if self.changes_after.is_some_and(|after| self.trials > after) { 0.1 } else { 0.0 };
        let own = self.values.get(commit).copied().unwrap_or(1.0);
        own + moved + 0.002 * jitter(99, seed) + 0.001 * jitter(number, seed)
    }

    fn commit(&mut self, parent: &CommitId) -> Candidate {
        self.commits += 1;
        let effect = self.effect * (f64::from(self.draw(1_000)) / 500.0 - 1.0);
        let value = self.values.get(parent).copied().unwrap_or(1.0) + effect;
        self.values.insert(commit(self.commits), value);
        Candidate { commit: commit(self.commits), parent: parent.clone() }
    }

    /// The answer to an effect, and what happens before it.
    fn answer(&mut self, effect: &Effect, records: &Records) -> Vec<Event> {
        let brittle = |number: u32| number == 0 || records.kept.contains(&number);
        vec![match effect {
            Effect::Propose { turn, .. } => {
                if self.proposals_left == 0 {
                    return vec![Event::Proposed(None)];
                }
                self.proposals_left -= 1;
                Event::Proposed(Some(Box::new(proposal(&format!("idea-{turn}")))))
            }
            Effect::ProposeWithout { of, .. } => match self.happens(self.odds.refused) {
                true => Event::Proposed(None),
                false => Event::Proposed(Some(Box::new(proposal(&format!("without-{of}"))))),
            },
            Effect::Repair { proposal, .. } => match self.draw(2) {
                0 => Event::Proposed(None),
                _ => Event::Proposed(Some(proposal.clone())),
            },
            Effect::Commit { parent, .. } => match (self.happens(self.odds.refused), self.draw(3)) {
                (true, 0) => Event::Refused(Refusal::DoesNotApply("no such text".to_owned())),
                (true, 1) => Event::Refused(Refusal::Policy("unsafe".to_owned())),
                (true, _) => Event::Refused(Refusal::Duplicate("seen".to_owned())),
                (false, _) => Event::Committed {
                    candidate: self.commit(parent),
                    lines: Lines { added: self.draw(20), removed: self.draw(20) },
                },
            },
            Effect::Build { number, .. } => match self.happens(self.odds.unbuildable) {
                true if !brittle(*number) => Event::Built { number: *number, result: Err(failure()) },
                true if *number > 0 => Event::MakingFault { number: *number, what: "the compiler is gone".to_owned() },
                _ => built(*number),
            },
            // Some of what would crash does so before its trial.
            Effect::SmokeTest { launch } => Event::SmokeTested {
                number: launch.number,
                commit: launch.candidate.commit.clone(),
                failed: self.happens(self.odds.crashed).then(|| "it crashed: at its first step".to_owned()),
            },
            Effect::Train { launch, trial, .. } => return self.train(launch, *trial, brittle(launch.number)),
            Effect::Evaluate { number, trial, .. } => {
                let known = records.trial(*number, *trial);
                let commit = &records.standings[number].candidate.commit;
                if self.happens(if brittle(*number) { self.odds.brittle } else { self.odds.rejected }) {
                    let check = if self.draw(2) == 0 { "finite" } else { "causality" };
                    Event::Evaluated(Err(Rejected { check: check.to_owned(), evidence: "evidence".to_owned() }))
                } else if self.happens(self.odds.spoilt) {
                    Event::TrialFault("device".to_owned())
                } else {
                    evaluated(self.value(*number, commit, known.seed))
                }
            }
            Effect::Settle { settled } => Event::Settled { number: settled.number },
            Effect::Claim { .. } => Event::Claimed,
            Effect::StopEarly { .. } => {
                self.stopped_early = true;
                return Vec::new();
            }
            Effect::Skip { .. }
            | Effect::Finish(_)
            | Effect::Spare { .. }
            | Effect::Conclude { .. }
            | Effect::Warn { .. } => return Vec::new(),
        }]
    }

    fn train(&mut self, launch: &Launch, trial: u32, brittle: bool) -> Vec<Event> {
        self.trials += 1;
        self.stopped_early = false;
        if self.happens(self.odds.spoilt) {
            return vec![spoilt()];
        }
        let end = match self.happens(if brittle { self.odds.brittle } else { self.odds.crashed }) {
            true => [TrialEnd::NotFinite, TrialEnd::TimedOut][self.draw(2) as usize].clone(),
            false => TrialEnd::Finished,
        };
        let mut events = Vec::new();
        if self.looks && launch.number > 0 {
            let own = self.values.get(&launch.candidate.commit).copied().unwrap_or(1.0);
            let parents = self.values.get(&launch.candidate.parent).copied().unwrap_or(1.0);
            for look in 0..crate::stats::early::LOOKS.len() {
                let curve_difference = own - parents + 0.001 * jitter(launch.number, look as u32);
                events.push(Event::Look { number: launch.number, trial, look, curve_difference });
            }
        }
        events.push(trained(end));
        events
    }
}

/// How a night is played.
#[derive(Debug, Clone)]
pub(super) struct Play {
    pub limits: Limits,
    pub rules: Rules,
    pub world: World,
    /// The person stops it before this event.
    pub stop_at: Option<usize>,
    /// It is cut off and goes on before these events.
    pub cut_at: Vec<usize>,
}

/// Plays a night; answers come in an order drawn by lot. Checks what must hold at every step.
pub(super) fn play(play: Play) -> (Vec<Effect>, Records) {
    let Play { limits, rules, mut world, stop_at, cut_at } = play;
    let mut records = Records::default();
    let mut machine = Machine::new(limits, rules.clone(), records.start());
    let mut log: Vec<Effect> = Vec::new();
    let mut waiting: Vec<Effect> = Vec::new();
    let mut events = VecDeque::from([Event::Begin]);
    let (mut now, mut stopped, mut spoilt_trial) = (0.0, false, None);
    for turn in 0..20_000 {
        if stop_at == Some(turn) {
            events.push_front(Event::Stop { at_once: false });
        }
        if cut_at.contains(&turn) && !machine.is_finished() {
            machine = Machine::new(limits, rules.clone(), records.start());
            (waiting, events, spoilt_trial) = (Vec::new(), VecDeque::from([Event::Begin]), None);
            stopped = false;
        }
        let event = match events.pop_front() {
            Some(event) => event,
            None if waiting.is_empty() => break,
            None => {
                let index = world.draw(waiting.len() as u32) as usize;
                let effect = waiting.remove(index);
                now += 5.0;
                if let Effect::Settle { settled } = &effect {
                    records.settled(settled);
                }
                records.claims += usize::from(matches!(effect, Effect::Claim { .. }));
                events.extend(world.answer(&effect, &records));
                continue;
            }
        };
        let event = match event {
            Event::Trained(trained) if world.stopped_early && trained.end == TrialEnd::Finished => {
                super::trained(TrialEnd::StoppedEarly { message: "hopeless".to_owned() })
            }
            other => other,
        };
        records.came(&event);
        stopped |= matches!(event, Event::Stop { .. });
        let fault = matches!(&event, Event::TrialFault(_))
            || matches!(&event, Event::Trained(trained) if matches!(trained.end, TrialEnd::MachineFault { .. }));
        if fault {
            spoilt_trial = records.trials.last().map(|trial| (trial.number, trial.seed, trial.purpose));
        }
        let before = machine.champion().number;
        let crowning = match &event {
            Event::Settled { number } => records.verdicts.contains(&(*number, Verdict::Kept)),
            _ => false,
        };
        let effects = machine.step(event, now);
        assert!(crowning || machine.champion().number == before, "the champion changed without a verdict");
        for effect in effects {
            check(&effect, &machine, &records, &waiting, limits, now, stopped, &mut spoilt_trial);
            match &effect {
                Effect::Train { launch, trial, seed, purpose, era } => {
                    records.begun(launch, *trial, *seed, *purpose, *era);
                }
                Effect::Conclude { number, words } => {
                    records.concluded(*number, words);
                }
                Effect::Propose { turn, .. } | Effect::Repair { turn, .. } | Effect::ProposeWithout { turn, .. } => {
                    assert!(*turn >= records.turn, "turn {turn} was had before");
                    records.turn = turn + 1;
                }
                Effect::StopEarly { .. } => {
                    world.answer(&effect, &records);
                }
                _ => {}
            }
            log.push(effect.clone());
            waiting.push(effect);
        }
    }
    assert!(machine.is_finished(), "the night hangs after {:#?}", &log[log.len().saturating_sub(20)..]);
    assert!(records.claims <= 1, "sealed text was spent more than once");
    (log, records)
}

/// What must hold of every effect.
#[expect(clippy::too_many_arguments, reason = "the whole state of a night in play")]
fn check(
    effect: &Effect,
    machine: &Machine,
    records: &Records,
    waiting: &[Effect],
    limits: Limits,
    now: f64,
    stopped: bool,
    spoilt_trial: &mut Option<(u32, u32, Purpose)>,
) {
    let champion = machine.champion();
    match effect {
        Effect::Train { launch, trial, seed, purpose, era } => {
            let number = launch.number;
            assert!(!stopped, "a trial began after the person had stopped the night");
            assert!(
                !waiting.iter().any(|e| matches!(e, Effect::Train { .. } | Effect::Evaluate { .. })),
                "two trials at once"
            );
            let in_the_morning = matches!(machine.phase, crate::night::machine::Phase::Morning(_));
            let right = if *purpose == Purpose::Morning { *seed >= 16 } else { *seed < 16 || in_the_morning };
            assert!(right, "seed {seed} for {purpose:?}");
            if launch.without.is_some() {
                let chose = |past: &PastTrial| past.seed == *seed && records.without[&past.number].is_none();
                let search = records.trials.iter().take_while(|past| past.purpose == Purpose::Search);
                let first = records.trials.iter().position(|past| records.without[&past.number].is_some());
                let search = search.take(first.unwrap_or(usize::MAX));
                assert!(records.claims == 0 || !search.into_iter().any(chose), "seed {seed} chose what is left out");
            }
            assert!(*seed < 32, "there is no seed {seed}");
            assert!(limits.seconds.is_none_or(|most| now < most), "a trial began after the night's end");
            assert!(
                !records.trials.iter().any(|past| (past.number, past.ordinal) == (number, *trial)),
                "experiment {number} has a trial {trial} already"
            );
            // The morning comes when it comes.
            if let Some(again) = spoilt_trial.take().filter(|(.., before)| before == purpose) {
                assert_eq!(again, (number, *seed, *purpose), "what a fault spoilt was not run again");
            }
            let had: HashSet<u32> = records
                .trials
                .iter()
                .filter(|past| past.number == number && matches!(past.came, Came::Verified(_)))
                .filter(|past| past.era == *era && past.purpose == *purpose)
                .map(|past| past.seed)
                .collect();
            if number == champion.number || number == 0 {
                assert!(*purpose == Purpose::Search || !had.contains(seed), "the morning had seed {seed} already");
                return;
            }
            assert_eq!(*purpose, Purpose::Search, "experiment {number} is nobody's champion");
            assert_eq!(launch.candidate.parent, champion.commit, "not one change away from the champion");
            assert!(!had.contains(seed), "experiment {number} had seed {seed} already");
            let champions = records.trials.iter().filter(|past| past.number == champion.number && past.era == *era);
            assert!(
                champions.filter(|past| matches!(past.came, Came::Verified(_))).any(|past| past.seed == *seed),
                "the champion has no run under seed {seed}"
            );
        }
        Effect::SmokeTest { launch } => {
            assert!(matches!(machine.testing, Testing::Training(_)), "nothing trains beside a smoke test");
            assert_eq!(launch.candidate.parent, champion.commit, "not one change away from the champion");
            assert!(launch.without.is_none());
        }
        Effect::Settle { settled } if settled.untried.is_some() => {
            let tried = records.trials.iter().any(|past| past.number == settled.number);
            assert!(!tried, "experiment {} had a trial and failed a smoke test", settled.number);
            assert_eq!((settled.decision.verdict, settled.decision.trials), (Verdict::Crashed, 0));
        }
        Effect::Settle { settled } => {
            *spoilt_trial = None;
            assert!(settled.without.is_none() || settled.decision.verdict != Verdict::Kept, "{settled:?}");
            let morning = records.trials.iter().any(|past| past.purpose == Purpose::Morning);
            let kept = settled.number > 0 && settled.decision.verdict == Verdict::Kept;
            assert!(!(kept && morning), "something was kept after the claim had begun");
        }
        Effect::Claim { claim, champion, .. } => {
            let invalid = |past: &PastTrial| matches!(past.came, Came::Failed { verdict: Verdict::Invalid, .. });
            let cheat = records.trials.iter().any(|past| [0, champion.number].contains(&past.number) && invalid(past));
            assert!(!cheat, "a claim is made of what broke a rule");
            assert!(!stopped && champion.number > 0 && claim.pairs > 0);
            assert_eq!(records.kept.last(), Some(&champion.number));
        }
        Effect::Propose { .. } => {
            let known = machine.contest.as_ref().is_none_or(|contest| records.standings.contains_key(&contest.number));
            assert!(known, "a proposal is asked for that cannot know of the experiment in hand");
        }
        Effect::Finish(_) => assert!(machine.is_finished()),
        _ => {}
    }
}

/// All launches of the log.
pub(super) fn launches(log: &[Effect]) -> impl Iterator<Item = (&Arc<Launch>, u32, Purpose)> {
    log.iter().filter_map(|effect| match effect {
        Effect::Train { launch, seed, purpose, .. } => Some((launch, *seed, *purpose)),
        _ => None,
    })
}
