//! Nights of the state machine that real nights run (`nocturne::night::machine`), in a simulated world: what a night's driver does with
//! processes and files, this does with numbers. Every effect is answered as a driver would answer it, in simulated time, of which trials
//! take what they take and everything else nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use nocturne::flow::{
    Artifact, BadName, BuildFailure, Candidate, CommitId, DocumentLoss, Proposal, Purpose, Rejected, Verified,
};
use nocturne::night::messages::{
    EARLIER_NIGHTS, Effect, Ending, Event, Finding, Launch, Limits, Lines, Measured, Refusal, Start,
};
use nocturne::night::{Foreseen, Machine};
use nocturne::propose::LEAVE_ONE_OUT;
use nocturne::stats::Rules;
use nocturne::stats::noise::Observation;

use crate::machine_ideas::{Desk, ideas_of};
use crate::machine_tally::{Experiment, Tally};
use crate::machine_trial::{Flight, SECONDS, STEPS};
use crate::machine_troubles::{Fate, Kind, Troubles};
use crate::tally::Night;
use crate::world::{self, BUDGET, World};

/// No night has nearly as many events; one that has them hangs.
const MOST_EVENTS: usize = 20_000;

/// What earlier nights of a campaign leave to the next: what a driver would read from their records.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    findings: Vec<Finding>,
    observations: Vec<Observation>,
    /// Nights and their eras, within which runs are compared.
    stretches: u64,
}

/// A commit's name.
fn commit_id(number: usize) -> Result<CommitId, String> {
    format!("{number:040x}").parse().map_err(|error: BadName| error.to_string())
}

/// What the driver of a simulated night holds.
struct Driver<'a> {
    world: &'a mut World,
    troubles: &'a Troubles,
    desk: Desk,
    now: f64,
    /// The ideas in each commit.
    commits: HashMap<CommitId, Vec<usize>>,
    experiments: HashMap<u32, Experiment>,
    /// Verified runs on the search text, the newest under a seed: by experiment, seed and era.
    runs: HashMap<(u32, u32, u32), world::Measured>,
    observations: Vec<(u32, Observation)>,
    trials: u64,
    /// The trial that trains, then the one that is evaluated.
    flight: Option<Flight>,
    trained: Option<Flight>,
    tally: Tally,
    ending: Option<Ending>,
    /// What was foreseen during the last evaluation, until the next trial.
    foreseen: Option<Option<Foreseen>>,
}

/// Holds one night; what it learns is added to the memory.
///
/// # Errors
/// When the night hangs, ends without a reason, or asks for what nobody asks a driver for: a mistake in the machine or here.
pub fn night(world: &mut World, rules: &Rules, memory: &mut Memory, troubles: &Troubles) -> Result<Night, String> {
    let number = world.night;
    let start = commit_id(0)?;
    let limits =
        Limits { experiments: troubles.experiments, seconds: Some(BUDGET * SECONDS), expected_trial_seconds: SECONDS };
    let begun = Start {
        findings: memory.findings.clone(),
        observations: memory.observations.clone(),
        ..Start::new(start.clone(), number.wrapping_mul(1 << 20))
    };
    let mut machine = Machine::new(limits, rules.clone(), begun);
    let mut driver = Driver {
        desk: Desk::new(start.clone(), number, rules.combine)?,
        world,
        troubles,
        now: 0.0,
        commits: HashMap::from([(start, Vec::new())]),
        experiments: HashMap::new(),
        runs: HashMap::new(),
        observations: Vec::new(),
        trials: 0,
        flight: None,
        trained: None,
        tally: Tally::default(),
        ending: None,
        foreseen: None,
    };
    driver.play(&mut machine).map_err(|why| format!("night {number}: {why}"))?;
    driver.remember(memory);
    let champion = driver.ideas(&machine.champion().commit)?.to_vec();
    let truth = driver.world.truth(&champion);
    Ok(driver.tally.night(truth, driver.now / SECONDS, driver.ending.as_ref()))
}

impl Driver<'_> {
    fn ideas(&self, commit: &CommitId) -> Result<&[usize], String> {
        self.commits.get(commit).map(Vec::as_slice).ok_or_else(|| format!("there is no commit {commit}"))
    }

    /// Effects one by one, and events in the order of their time, until the night is over.
    fn play(&mut self, machine: &mut Machine) -> Result<(), String> {
        let mut stop = self
            .troubles
            .stopped
            .map(|at_once| (self.troubles.stopped_at(self.world.night) * BUDGET * SECONDS, Event::Stop { at_once }));
        let mut effects = VecDeque::from(machine.step(Event::Begin, self.now));
        for _ in 0..MOST_EVENTS {
            let event = match effects.pop_front() {
                Some(effect) => match self.perform(effect, machine)? {
                    Some(event) => event,
                    None => continue,
                },
                None if self.ending.is_some() => return self.sound_ending(stop.is_none()),
                None => match &self.flight {
                    None => return Err("it waits for nothing".to_owned()),
                    Some(flight) => match stop.take_if(|stop| stop.0 <= flight.next_time()) {
                        Some((at, event)) => {
                            self.now = at.max(self.now);
                            event
                        }
                        None => self.fly()?,
                    },
                },
            };
            effects.extend(machine.step(event, self.now));
        }
        Err(format!("it has not ended after {MOST_EVENTS} events"))
    }

    /// Whether the night ended for one of the reasons that there are here.
    fn sound_ending(&self, stopped: bool) -> Result<(), String> {
        match &self.ending {
            Some(Ending::Deadline) => Ok(()),
            Some(Ending::Stopped) if stopped && self.troubles.stopped.is_some() => Ok(()),
            Some(Ending::ExperimentsDone) if self.troubles.experiments.is_some() => Ok(()),
            Some(Ending::MachineFaults(_)) if self.troubles.faults > 0.0 => Ok(()),
            other => Err(format!("it ended after {:.2} trial times: {other:?}", self.now / SECONDS)),
        }
    }

    /// What happens next to the trial in flight.
    fn fly(&mut self) -> Result<Event, String> {
        let flight = self.flight.as_mut().ok_or("no trial is in flight")?;
        self.now = flight.next_time();
        let (event, ends) = flight.happens();
        if ends {
            let flight = self.flight.take().ok_or("no trial is in flight")?;
            if let Some(experiment) = self.experiments.get_mut(&flight.launch.number) {
                self.tally.trial(&flight, experiment, flight.taken(self.now));
            }
            self.trained = Some(flight);
        }
        Ok(event)
    }

    /// Performs an effect; its answer, where it has one that does not take time.
    fn perform(&mut self, effect: Effect, machine: &Machine) -> Result<Option<Event>, String> {
        let champion = machine.champion();
        Ok(Some(match effect {
            Effect::Propose { turn, .. } => {
                let ideas = self.ideas(&champion.commit)?.to_vec();
                Event::Proposed(self.desk.propose(champion, &ideas, turn)?.map(Box::new))
            }
            Effect::Repair { .. } => Event::Proposed(None),
            Effect::ProposeWithout { of, .. } => {
                let kept =
                    self.experiments.get(&of.kept).ok_or_else(|| format!("there is no experiment {}", of.kept))?;
                let out = match of.idea {
                    None => kept.ideas.as_slice(),
                    Some(idea) => kept
                        .ideas
                        .get((idea as usize).wrapping_sub(1)..)
                        .and_then(|rest| rest.get(..1))
                        .unwrap_or_default(),
                };
                Event::Proposed((!out.is_empty()).then(|| Box::new(Desk::without(out))))
            }
            Effect::Commit { proposal, parent, .. } => self.commit(&proposal, parent)?,
            Effect::Build { number, candidate } => Event::Built { number, result: self.build(&candidate)? },
            // What crashes does so in its trial, whose time counts.
            Effect::SmokeTest { launch } => {
                Event::SmokeTested { number: launch.number, commit: launch.candidate.commit.clone(), failed: None }
            }
            Effect::Train { launch, trial, seed, purpose, era } => {
                let next =
                    Foreseen { launch: Arc::clone(&launch), trial, seed, purpose, era, champion: champion.number };
                if let Some(foreseen) = self.foreseen.take() {
                    self.tally.follows(foreseen.map(|foreseen| foreseen.is(&next)));
                }
                self.train(launch, trial, seed, purpose, era, champion.number)?;
                return Ok(None);
            }
            Effect::StopEarly { number, reason, .. } => {
                let flight = self.flight.as_mut().ok_or("no trial is there to be stopped")?;
                flight.stop = Some(reason);
                self.tally.stops(self.experiments.get_mut(&number), false);
                return Ok(None);
            }
            Effect::Spare { number, .. } => {
                self.tally.stops(self.experiments.get_mut(&number), true);
                return Ok(None);
            }
            Effect::Evaluate { .. } => {
                self.foreseen = Some(machine.foresee(self.now));
                self.evaluate()?
            }
            Effect::Settle { settled } => {
                let ideas = match &settled.candidate {
                    Some(candidate) => Some(self.ideas(&candidate.commit)?.to_vec()),
                    None => None,
                };
                let experiment = self.experiments.get(&settled.number);
                let seconds = experiment.map_or(0.0, |experiment| experiment.time * SECONDS);
                self.desk.settled(&settled, ideas.as_deref(), seconds);
                if let Some(experiment) = experiment {
                    self.tally.settled(&settled, experiment, self.world);
                }
                Event::Settled { number: settled.number }
            }
            Effect::Claim { claim, champion, .. } => {
                let ideas = self.ideas(&champion.commit)?.to_vec();
                self.tally.claimed(&claim, self.world.truth(&ideas));
                Event::Claimed
            }
            Effect::Finish(ending) => {
                self.ending = Some(ending);
                return Ok(None);
            }
            Effect::Skip { .. } | Effect::Conclude { .. } | Effect::Warn { .. } => return Ok(None),
        }))
    }

    fn commit(&mut self, proposal: &Proposal, parent: CommitId) -> Result<Event, String> {
        let mut ideas = self.ideas(&parent)?.to_vec();
        let more: Vec<usize> = ideas_of(proposal).collect();
        if proposal.author.proposer == LEAVE_ONE_OUT {
            ideas.retain(|idea| !more.contains(idea));
        } else {
            if more.iter().any(|idea| ideas.contains(idea)) {
                return Ok(Event::Refused(Refusal::DoesNotApply("the champion has it already".to_owned())));
            }
            if more.iter().any(|idea| self.troubles.kind(self.world.night, *idea) == Kind::Refused) {
                return Ok(Event::Refused(Refusal::Policy("it reads the clock".to_owned())));
            }
            ideas.extend(more);
            if self.desk.knows(&ideas) {
                return Ok(Event::Refused(Refusal::Duplicate("the same code was tried before".to_owned())));
            }
        }
        let commit = commit_id(self.commits.len())?;
        self.commits.insert(commit.clone(), ideas);
        // As many lines as it replaces: no simplification, and nothing that asks for more.
        let lines = Lines { added: 1, removed: 1 };
        Ok(Event::Committed { candidate: Candidate { commit, parent }, lines })
    }

    fn build(&self, candidate: &Candidate) -> Result<Result<Artifact, BuildFailure>, String> {
        let bad = |idea: &usize| self.troubles.kind(self.world.night, *idea) == Kind::Unbuildable;
        if self.ideas(&candidate.commit)?.iter().any(bad) {
            let errors = vec!["error[E0308]: mismatched types".to_owned()];
            return Ok(Err(BuildFailure { errors, error_count: 1, build_seconds: 0.0 }));
        }
        Ok(Ok(Artifact { path: "trainer".into(), sha256: String::new(), build_seconds: 0.0 }))
    }

    fn train(
        &mut self,
        launch: Arc<Launch>,
        ordinal: u32,
        seed: u32,
        purpose: Purpose,
        era: u32,
        champion: u32,
    ) -> Result<(), String> {
        let Launch { number, ref candidate, without, .. } = *launch;
        let ideas = self.ideas(&candidate.commit)?.to_vec();
        if !self.experiments.contains_key(&number) {
            let parent = self.ideas(&candidate.parent)?.to_vec();
            self.experiments.insert(number, Experiment::new(&ideas, &parent, without.is_some(), self.world));
        }
        self.desk.begins(&launch, &ideas);
        let moved = self.now >= self.troubles.steps_at(self.world.night) * BUDGET * SECONDS;
        let (step, slower) = if moved { (self.troubles.step, self.troubles.slower) } else { (0.0, 0.0) };
        let worse = step * self.world.spec.run_sd;
        let world::Measured { val_bpb, looks } = self.world.run(&ideas, seed);
        let measured = world::Measured { val_bpb: val_bpb + worse, looks: looks.map(|look| look + worse) };
        let champions = [0, champion].contains(&number);
        let beside = self.runs.get(&(champion, seed, era)).filter(|_| !champions && purpose == Purpose::Search);
        self.trials += 1;
        self.tally.era(era);
        self.tally
            .repeats(number == champion && purpose == Purpose::Search, self.runs.contains_key(&(number, seed, era)));
        self.flight = Some(Flight {
            ordinal,
            seed,
            purpose,
            era,
            began: self.now,
            fate: self.troubles.fate(self.world.night, self.trials, &ideas),
            steps: (STEPS as f64 * (1.0 - slower)) as u64,
            measured,
            beside: beside.map(|run| run.looks),
            next: 0,
            stop: None,
            launch,
        });
        Ok(())
    }

    fn evaluate(&mut self) -> Result<Event, String> {
        let Flight { launch, seed, purpose, era, fate, measured, .. } =
            self.trained.take().ok_or("nothing waits for the evaluator")?;
        if fate == Fate::FaultOfEvaluation {
            return Ok(Event::TrialFault("the device was lost".to_owned()));
        }
        if fate == Fate::Rejected {
            let rejected = Rejected { check: "causality".to_owned(), evidence: "it saw what follows".to_owned() };
            return Ok(Event::Evaluated(Err(rejected)));
        }
        let val_bpb = measured.val_bpb;
        let verified = Verified {
            val_bpb,
            standard_error: 0.0,
            claimed_bpb: val_bpb,
            nats: val_bpb,
            bytes: 1,
            tokens: 1,
            seconds: 0.0,
            evaluator: "simulated/1".to_owned(),
        };
        // The text leaves nothing open: no figures per document, and in the morning, which makes no claim without, two that are alike.
        let documents: Arc<[DocumentLoss]> = if purpose == Purpose::Morning {
            Arc::new([DocumentLoss { nats: val_bpb, bytes: 1 }; 2])
        } else {
            self.runs.insert((launch.number, seed, era), measured);
            let group = u64::from(launch.number);
            self.observations.push((era, Observation { group, against: None, night: 0, seed, val_bpb }));
            Arc::new([])
        };
        Ok(Event::Evaluated(Ok(Measured { verified, documents })))
    }

    /// What the next night of the campaign reads from this one's records.
    fn remember(&self, memory: &mut Memory) {
        memory.findings.extend(self.tally.findings());
        let mut runs: HashMap<(u32, u64), u32> = HashMap::new();
        for (era, run) in &self.observations {
            *runs.entry((*era, run.group)).or_default() += 1;
        }
        // Commits of one run are of no use to it.
        let several = self.observations.iter().filter(|(era, run)| runs[&(*era, run.group)] > 1);
        memory.observations.extend(
            several
                .map(|(era, run)| Observation { night: EARLIER_NIGHTS + memory.stretches + u64::from(*era), ..*run }),
        );
        memory.stretches += 1 + u64::from(self.observations.iter().map(|(era, _)| *era).max().unwrap_or(0));
    }
}
