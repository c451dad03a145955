//! What a simulated night tries next: the choice of a real night's proposers (`nocturne::propose`), by their own functions, among ideas
//! that never end. The code of this world is a list of ideas, so that edits are numbers and nothing has to be parsed; what a real night
//! reads from its records stands here in a brief that grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nocturne::flow::{
    Author, BadName, Brief, CommitId, Edit, ExperimentId, NightId, PastExperiment, Proposal, SourceFile,
};
use nocturne::night::messages::{Champion, Launch, Settled};
use nocturne::propose::{Combine, Failure, LEAVE_ONE_OUT, Mix, ProposeError, Proposer};

/// The one file of this world's code.
const CODE: &str = "ideas";

/// The name of every night here; nights do not meet.
const NIGHT: &str = "2026-01-01-a1";

/// Code with these ideas, the same for the same ideas in any order.
fn text_of(ideas: &[usize]) -> String {
    let mut sorted = ideas.to_vec();
    sorted.sort_unstable();
    sorted.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
}

/// The edit that stands for an idea.
fn edit(idea: usize) -> Edit {
    Edit { path: CODE.to_owned(), search: String::new(), replace: idea.to_string() }
}

/// The ideas that a proposal adds to its champion, or takes from it.
pub fn ideas_of(proposal: &Proposal) -> impl Iterator<Item = usize> + '_ {
    proposal.edits.iter().filter_map(|edit| edit.replace.parse().ok())
}

fn proposal(proposer: &str, key: String, family: &str, edits: Vec<Edit>) -> Proposal {
    Proposal {
        title: String::new(),
        hypothesis: String::new(),
        source: String::new(),
        family: family.to_owned(),
        predicted_effect: None,
        confidence: None,
        edits,
        author: Author { proposer: proposer.to_owned(), model: None, cost_usd: 0.0 },
        key,
    }
}

/// An idea that nobody had, as long as anybody asks.
struct Fresh {
    name: &'static str,
    last: Arc<AtomicUsize>,
}

impl Proposer for Fresh {
    fn name(&self) -> &str {
        self.name
    }

    fn propose(&mut self, _: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let idea = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Some(proposal(self.name, idea.to_string(), "fresh", vec![edit(idea)])))
    }

    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }
}

/// The real choice among near misses, on this world's code.
struct NearMisses;

impl Proposer for NearMisses {
    fn name(&self) -> &str {
        Combine.name()
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let champion: Vec<usize> = brief.champion_files.iter().flat_map(|file| numbers(&file.text)).collect();
        let fits = |proposal: &Proposal| {
            let mut all = champion.clone();
            for idea in ideas_of(proposal) {
                if all.contains(&idea) {
                    return false;
                }
                all.push(idea);
            }
            let digest = text_of(&all);
            !brief.history.iter().any(|past| past.digest == digest)
        };
        Ok(Combine::choose(brief, |_| true, fits))
    }

    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }
}

fn numbers(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split(' ').filter_map(|word| word.parse().ok())
}

/// Proposers, and the history that they are shown.
pub struct Desk {
    brief: Brief,
    mix: Mix,
    night: NightId,
    /// Where experiments stand in the history.
    places: HashMap<u32, usize>,
}

impl Desk {
    /// `start` is the night's first champion, `lot` its random number for proposers; `combine`: whether one of them tries near misses
    /// again.
    pub fn new(start: CommitId, lot: u64, combine: bool) -> Result<Self, String> {
        let night = NIGHT.parse().map_err(|error: BadName| error.to_string())?;
        let last = Arc::new(AtomicUsize::new(0));
        let fresh = |name| -> Box<dyn Proposer> { Box::new(Fresh { name, last: Arc::clone(&last) }) };
        let mut proposers = vec![fresh("playbook"), fresh("tuner")];
        if combine {
            proposers.push(Box::new(NearMisses));
        }
        let brief = Brief {
            goal: String::new(),
            scale: protocol::Scale::Cpu,
            champion_files: Vec::new(),
            champion: start,
            champion_val_bpb: None,
            history: Vec::new(),
            stagnation: 0,
            turn: 0,
            proposer_seed: lot,
            details: Default::default(),
        };
        Ok(Self { brief, mix: Mix::new(proposers), night, places: HashMap::new() })
    }

    /// What is tried next against this champion, which has these ideas.
    pub fn propose(&mut self, champion: &Champion, ideas: &[usize], turn: u64) -> Result<Option<Proposal>, String> {
        if self.brief.champion != champion.commit {
            for past in &mut self.brief.history {
                past.same_champion = false;
            }
            self.brief.champion = champion.commit.clone();
            self.brief.champion_files = vec![SourceFile { path: CODE.to_owned(), text: text_of(ideas) }];
        }
        let since = self.brief.history.iter().filter(|past| past.same_champion && past.verdict.is_some());
        self.brief.stagnation = since.count() as u32;
        self.brief.turn = turn;
        self.mix.propose(&self.brief).map_err(|error| error.to_string())
    }

    /// The champion without these of its ideas.
    pub fn without(ideas: &[usize]) -> Proposal {
        proposal(LEAVE_ONE_OUT, text_of(ideas), LEAVE_ONE_OUT, ideas.iter().map(|idea| edit(*idea)).collect())
    }

    /// Whether this code was an experiment before.
    pub fn knows(&self, ideas: &[usize]) -> bool {
        let digest = text_of(ideas);
        self.brief.history.iter().any(|past| past.digest == digest)
    }

    /// An experiment is on record: with its first trial, or when it is given up before.
    fn enter(&mut self, number: u32, proposal: &Proposal, digest: String) -> usize {
        let next = self.brief.history.len();
        let place = *self.places.entry(number).or_insert(next);
        if place == next {
            self.brief.history.push(PastExperiment {
                id: ExperimentId { night: self.night.clone(), number },
                proposal: proposal.clone(),
                digest,
                verdict: None,
                difference: None,
                evidence: None,
                seconds: 0.0,
                same_champion: true,
            });
        }
        place
    }

    /// A trial of an experiment begins.
    pub fn begins(&mut self, launch: &Launch, ideas: &[usize]) {
        if let Some(proposal) = &launch.proposal {
            self.enter(launch.number, proposal, text_of(ideas));
        }
    }

    /// An experiment is settled, after trials that took this long.
    pub fn settled(&mut self, settled: &Settled, ideas: Option<&[usize]>, seconds: f64) {
        let Some(proposal) = &settled.proposal else { return };
        let digest = ideas.map_or_else(|| format!("unapplied {}", proposal.key), text_of);
        let place = self.enter(settled.number, proposal, digest);
        let past = &mut self.brief.history[place];
        past.verdict = Some(settled.decision.verdict);
        past.difference = settled.decision.difference;
        past.evidence.clone_from(&settled.decision.evidence);
        past.seconds = seconds;
    }
}
