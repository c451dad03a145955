//! Near misses once more. An idea whose trials did not tell is often a real but small gain: too small to be told from luck by
//! itself. Two or three of them together are worth their sum, which fewer trials can tell; and on a champion that has moved an
//! idea may be worth more than it was.
//!
//! It proposes nothing that was tested before: no set of ideas twice, no code twice. An idea whose combinations have failed is let
//! go after the second, and one that stays a near miss after its second repetition.

use super::bandit::{self, Arm, Record};
use super::breadth::Breadth;
use super::tried::Tried;
use super::{Failure, LEAVE_ONE_OUT, ProposeError, Proposer, identical, shorten};
use crate::edit::apply;
use crate::flow::{Author, Brief, Edit, Evidence, ExperimentId, PastExperiment, Proposal, Verdict};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "combine";

/// The family of what is put together; what is repeated stays in its own.
const TOGETHER: &str = "combination";

/// How many of the best near misses are looked at for combining.
const MOST_IDEAS: usize = 10;

/// How often an idea may fail in combinations, and be repeated by itself.
const MOST_FAILURES: usize = 2;
const MOST_REPETITIONS: usize = 2;

/// A predicted effect weighs as much as two tries.
const PREDICTION_TRIES: f64 = 2.0;

/// Proposes near misses again: together, or alone on a champion that has moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Combine;

/// The experiments that a proposal puts together, as `history` tells them; empty when it is no combination of these.
pub(super) fn parts<'a>(proposal: &Proposal, history: &'a [PastExperiment]) -> Vec<&'a PastExperiment> {
    if proposal.author.proposer != NAME {
        return Vec::new();
    }
    let names = set(&proposal.key).split('+');
    let found = names.map(|id| history.iter().find(|past| past.id.to_string() == id));
    found.collect::<Option<_>>().unwrap_or_default()
}

/// The experiments that a proposal tries again: one, or several together. Empty for any other proposal.
pub fn tried_again(proposal: &Proposal) -> Vec<ExperimentId> {
    if proposal.author.proposer != NAME {
        return Vec::new();
    }
    set(&proposal.key).split('+').map(str::parse).collect::<Result<_, _>>().unwrap_or_default()
}

/// The part of a key that names the experiments: `2026-03-08-k4/3+2026-03-08-k4/7`. After an `@` follows the champion that they
/// are repeated on.
fn set(key: &str) -> &str {
    key.split_once('@').map_or(key, |(set, _)| set)
}

/// One idea of the history, or several together: everything that was tested under one name.
struct Idea<'a> {
    /// As in a key.
    name: String,
    /// How it was first proposed.
    first: &'a PastExperiment,
    /// The experiments that repeated it.
    repetitions: usize,
    /// Its last experiment.
    last: &'a PastExperiment,
}

impl<'a> Idea<'a> {
    /// All of a history, in order. What only measures is no idea.
    fn all(history: &'a [PastExperiment]) -> Vec<Self> {
        let mut ideas: Vec<Self> = Vec::new();
        let measures =
            |past: &&PastExperiment| [LEAVE_ONE_OUT, identical::NAME].contains(&past.proposal.author.proposer.as_str());
        for past in history.iter().filter(|past| !measures(past)) {
            let own = past.proposal.author.proposer == NAME;
            let name = if own { set(&past.proposal.key).to_owned() } else { past.id.to_string() };
            match ideas.iter_mut().find(|idea| idea.name == name) {
                Some(idea) => {
                    idea.last = past;
                    idea.repetitions += 1;
                }
                None => ideas.push(Self { name, first: past, repetitions: 0, last: past }),
            }
        }
        ideas
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.name.split('+')
    }

    fn is_combination(&self) -> bool {
        self.name.contains('+')
    }

    /// What its last experiment found, where that was a near miss.
    fn near_miss(&self) -> Option<&'a Evidence> {
        let unsettled = self.last.verdict == Some(Verdict::Inconclusive);
        self.last
            .evidence
            .as_deref()
            .filter(|evidence| unsettled && evidence.near_miss && evidence.expected.is_finite())
    }

    /// `"Use GELU" (experiment 2026-03-08-k4/3: -0.0012 expected, 71 % an improvement)`.
    fn told(&self, evidence: &Evidence) -> String {
        let (title, id) = (&self.first.proposal.title, &self.last.id);
        let percent = probability(evidence) * 100.0;
        format!("\"{title}\" (experiment {id}: {:+.4} expected, {percent:.0} % an improvement)", evidence.expected)
    }
}

fn probability(evidence: &Evidence) -> f64 {
    if evidence.probability.is_finite() { evidence.probability.clamp(0.01, 0.99) } else { 0.5 }
}

/// How probable it is that changes of these probabilities are together an improvement: their log odds, added and divided by the
/// root of their number (the logit method for combining probabilities; Mudholkar and George 1979).
fn together(probabilities: &[f64]) -> f64 {
    let odds: f64 = probabilities.iter().map(|p| (p / (1.0 - p)).ln()).sum();
    1.0 / (1.0 + (-odds / (probabilities.len().max(1) as f64).sqrt()).exp())
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// Two or three near misses as one proposal; they are in the history's order.
fn combination(brief: &Brief, ideas: &[(&Idea<'_>, &Evidence)]) -> Proposal {
    let names: Vec<&str> = ideas.iter().map(|(idea, _)| idea.name.as_str()).collect();
    let titles: Vec<&str> = ideas.iter().map(|(idea, _)| idea.first.proposal.title.as_str()).collect();
    let told: Vec<String> = ideas.iter().map(|(idea, evidence)| idea.told(evidence)).collect();
    let expected: f64 = ideas.iter().map(|(_, evidence)| evidence.expected).sum();
    let probabilities: Vec<f64> = ideas.iter().map(|(_, evidence)| probability(evidence)).collect();
    let hypothesis = format!(
        "None of these could be told from luck by itself: {}. If their effects add, they are worth {expected:+.4} bits per byte \
         together, which is easier to tell.",
        told.join("; ")
    );
    let so = "what nearly helped is tried together";
    Proposal {
        key: names.join("+"),
        title: shorten(&format!("Combine: {}", titles.join(" + ")), 72),
        hypothesis: Breadth::of(brief).tell(brief, &hypothesis, so),
        source: format!("near misses of this campaign: experiments {}", names.join(", ")),
        family: TOGETHER.to_owned(),
        predicted_effect: Some(round(expected, 1e5)),
        confidence: Some(round(together(&probabilities), 100.0)),
        edits: ideas.iter().flat_map(|(idea, _)| idea.first.proposal.edits.clone()).collect(),
        author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
    }
}

/// A near miss on the present champion.
fn repetition(brief: &Brief, idea: &Idea<'_>, evidence: &Evidence) -> Proposal {
    let hypothesis = format!(
        "{} was close to being kept, and the champion has moved since. On what it is now the same change may be worth more, and \
         another measurement tells more than the first alone.",
        idea.told(evidence)
    );
    let first = &idea.first.proposal;
    Proposal {
        key: format!("{}@{}", idea.name, brief.champion.short()),
        title: shorten(&format!("Again: {}", first.title), 72),
        hypothesis: Breadth::of(brief).tell(brief, &hypothesis, "what nearly helped is tried again"),
        source: format!("a near miss of this campaign, experiment {}; {}", idea.last.id, first.source),
        family: first.family.clone(),
        predicted_effect: Some(round(evidence.expected, 1e5)),
        confidence: Some(round(probability(evidence), 100.0)),
        edits: first.edits.clone(),
        author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
    }
}

/// What a proposal promises: the larger, the sooner it is proposed.
fn promise(proposal: &Proposal) -> f64 {
    -proposal.predicted_effect.unwrap_or_default() * proposal.confidence.unwrap_or_default()
}

/// The sets of near misses that may be put together, the most promising first.
fn combinations(brief: &Brief, ideas: &[Idea<'_>], go_together: impl Fn(&[Edit]) -> bool) -> Vec<Proposal> {
    let of_combinations = || ideas.iter().filter(|idea| idea.is_combination());
    let failures = |name: &str| {
        let with = of_combinations().filter(|idea| idea.names().any(|part| part == name));
        with.filter(|idea| idea.last.verdict.is_some() && idea.near_miss().is_none()).count()
    };
    // What stands in a kept combination needs no other, and what is being tested in one waits for what that says.
    let settled = |name: &str| {
        let mut with = of_combinations().filter(|idea| idea.names().any(|part| part == name));
        with.any(|idea| matches!(idea.last.verdict, None | Some(Verdict::Kept)))
    };
    let mut open: Vec<(usize, &Idea<'_>, &Evidence)> = ideas
        .iter()
        .enumerate()
        .filter(|(_, idea)| !idea.is_combination())
        .filter_map(|(place, idea)| Some((place, idea, idea.near_miss()?)))
        .filter(|(_, idea, _)| failures(&idea.name) < MOST_FAILURES && !settled(&idea.name))
        .collect();
    open.sort_by(|a, b| a.2.expected.total_cmp(&b.2.expected));
    open.truncate(MOST_IDEAS);
    open.sort_by_key(|(place, ..)| *place);
    let open: Vec<(&Idea<'_>, &Evidence)> = open.into_iter().map(|(_, idea, evidence)| (idea, evidence)).collect();

    let mut proposals = Vec::new();
    for first in 0..open.len() {
        for second in first + 1..open.len() {
            let pair = combination(brief, &[open[first], open[second]]);
            // What does not go together in twos does not in threes.
            if !go_together(&pair.edits) {
                continue;
            }
            let triples = (second + 1..open.len()).map(|third| [open[first], open[second], open[third]]);
            proposals.extend(triples.map(|triple| combination(brief, &triple)));
            proposals.push(pair);
        }
    }
    proposals.retain(|proposal| promise(proposal) > 0.0 && !ideas.iter().any(|idea| idea.name == proposal.key));
    proposals.sort_by(|a, b| promise(b).total_cmp(&promise(a)));
    proposals
}

/// The near misses that may be repeated, the most promising first.
fn repetitions(brief: &Brief, ideas: &[Idea<'_>]) -> Vec<Proposal> {
    let in_test = |idea: &Idea<'_>| {
        let overlaps = |other: &&Idea<'_>| idea.names().any(|name| other.names().any(|part| part == name));
        ideas.iter().filter(overlaps).any(|other| {
            other.last.verdict.is_none() || other.is_combination() && other.last.verdict == Some(Verdict::Kept)
        })
    };
    let again = ideas.iter().filter(|idea| idea.repetitions < MOST_REPETITIONS);
    let mut proposals: Vec<Proposal> = again
        .filter_map(|idea| Some((idea, idea.near_miss()?)))
        .filter(|(idea, _)| !in_test(idea))
        .map(|(idea, evidence)| repetition(brief, idea, evidence))
        .collect();
    proposals.sort_by(|a, b| promise(b).total_cmp(&promise(a)));
    proposals
}

impl Combine {
    /// What to try again, whatever the code looks like: `go_together` says whether edits can be applied together to the champion, and
    /// `fits` whether a proposal can be made of the champion and leaves code that was not tested before.
    pub fn choose(
        brief: &Brief,
        go_together: impl Fn(&[Edit]) -> bool,
        fits: impl Fn(&Proposal) -> bool,
    ) -> Option<Proposal> {
        let ideas = Idea::all(&brief.history);
        if ideas.iter().all(|idea| idea.near_miss().is_none()) {
            return None;
        }
        let first = |proposals: Vec<Proposal>| proposals.into_iter().find(&fits);
        let found: Vec<Proposal> = [first(combinations(brief, &ideas, go_together)), first(repetitions(brief, &ideas))]
            .into_iter()
            .flatten()
            .collect();
        let record = Record::of(brief);
        let own = |past: &PastExperiment| past.proposal.author.proposer == NAME;
        let arms: Vec<Arm> = found
            .iter()
            .map(|proposal| {
                let combined = |proposal: &Proposal| proposal.family == TOGETHER;
                let prior = -proposal.predicted_effect.unwrap_or_default();
                record.arm(Arm::new(prior, PREDICTION_TRIES), |past| {
                    own(past) && combined(&past.proposal) == combined(proposal)
                })
            })
            .collect();
        let mut random = bandit::random(brief, 4);
        let order = bandit::ranked(&arms, record.spread, Breadth::of(brief), &mut random);
        order.first().and_then(|first| found.into_iter().nth(*first))
    }
}

impl Proposer for Combine {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let tried = Tried::of(brief);
        let go_together = |edits: &[Edit]| apply(&brief.champion_files, edits).is_ok();
        Ok(Self::choose(brief, go_together, |proposal| tried.misfit(proposal).is_none()))
    }

    /// What does not build together is given up; the history tells the next turn.
    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
