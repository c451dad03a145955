//! A night under the rule of [`nocturne::stats::decide`], in a loop as small as it can be: who runs next, what that tells, what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use nocturne::flow::Verdict;
use nocturne::stats::belief::Belief;
use nocturne::stats::claim::claim;
use nocturne::stats::decide::{self, Known};
use nocturne::stats::early::{Early, LOOKS};
use nocturne::stats::mixture::Mixture;
use nocturne::stats::noise::{Noise, Observation};
use nocturne::stats::race::{Change, SEARCH_SEEDS, Step, next_seed};
use nocturne::stats::reference::{Glimpse, Level, Reference};
use nocturne::stats::{Rules, Run};

use crate::tally::Night;
use crate::world::{Measured, World};

/// Trial times of a night.
pub const BUDGET: f64 = 100.0;

/// Trials between two that watch for drift, for rules that are not the campaign's.
pub const DRIFT_EVERY: f64 = 12.0;

/// Near misses that wait before two of them are tried together.
const WAITING: usize = 3;

/// How often an idea may be tried together with another.
const TOGETHER: u32 = 2;

/// An idea that did not come to a verdict.
struct NearMiss {
    idea: usize,
    belief: Mixture,
    worth: f64,
    together: u32,
}

/// What earlier nights of a campaign leave to the next: what effects are like, how much runs differ, what curves tell.
#[derive(Clone)]
pub struct Memory {
    belief: Belief,
    observations: Vec<Observation>,
    early: Early,
    nights: u64,
}

impl Memory {
    /// Before the first night.
    pub fn new(rules: &Rules) -> Self {
        Self { belief: Belief::new(rules), observations: Vec::new(), early: Early::new(), nights: 0 }
    }
}

/// A night's state.
struct Hall<'a> {
    world: &'a mut World,
    rules: Rules,
    reference: Reference,
    belief: Belief,
    noise: Noise,
    early: Early,
    observations: Vec<Observation>,
    number: u64,
    champion: Vec<usize>,
    /// The champion's curves, by seed.
    curves: Vec<(u32, Measured)>,
    commits: u64,
    time: f64,
    since_drift: f64,
    expected_gain: f64,
    night: Night,
    /// The champion's level, until something is learnt.
    level: Option<Level>,
}

fn run_of(seed: u32, measured: &Measured) -> Run {
    Run { seed, val_bpb: measured.val_bpb, era: 0, documents: Arc::new([]) }
}

impl Hall<'_> {
    fn spend(&mut self, time: f64) {
        self.time += time;
        self.since_drift += time;
    }

    fn observe(&mut self, group: u64, seed: u32, val_bpb: f64) {
        self.observations.push(Observation { group, night: self.number, seed, val_bpb });
        // A commit's first run says nothing of the noise.
        let of_group = |seen: &&Observation| seen.group == group && seen.night == self.number;
        if self.observations.iter().rev().filter(of_group).count() > 1 {
            self.noise = Noise::estimate(&self.observations, &self.rules);
        }
    }

    fn champion_runs(&mut self, seed: u32, group: u64) {
        let measured = self.world.run(&self.champion, seed);
        self.reference.champion_ran(run_of(seed, &measured));
        self.curves.push((seed, measured));
        self.observe(group, seed, measured.val_bpb);
        self.refresh();
        self.spend(1.0);
    }

    fn known(&self) -> Known<'_> {
        Known::at(&self.rules, &self.belief, &self.noise, &self.reference, self.level.clone())
    }

    /// Something was learnt.
    fn refresh(&mut self) {
        self.level = self.reference.level(&self.belief.fresh(), &self.noise);
    }

    /// When the search ends: the rest is the morning's.
    fn end(&self) -> f64 {
        BUDGET - 2.0 * f64::from(self.pairs())
    }

    fn pairs(&self) -> u32 {
        if self.champion.is_empty() { 0 } else { decide::morning_pairs(&self.rules, &self.noise, self.expected_gain) }
    }
}

/// Holds one night; what it learns is added to the memory.
pub fn night(world: &mut World, rules: &Rules, memory: &mut Memory) -> Night {
    let now = std::mem::replace(memory, Memory::new(rules));
    let mut hall = Hall {
        world,
        rules: rules.clone(),
        reference: Reference::new(),
        noise: Noise::estimate(&now.observations, rules),
        belief: now.belief,
        early: now.early,
        observations: now.observations,
        number: now.nights,
        champion: Vec::new(),
        curves: Vec::new(),
        commits: 0,
        time: 0.0,
        since_drift: 0.0,
        expected_gain: 0.0,
        night: Night::default(),
        level: None,
    };
    let mut champion_group = 0;
    let mut ideas = 0;
    let mut waiting: Vec<NearMiss> = Vec::new();
    // Noise first: the night's start runs under its seeds before anything is compared with it.
    for seed in 0..rules.champion_seeds {
        hall.champion_runs(seed, champion_group);
        hall.night.champion_time += 1.0;
    }
    while hall.time + 1.0 <= hall.end() {
        if rules.drift_every > 0 && hall.since_drift >= f64::from(rules.drift_every) {
            // A seed that it has had: the same figure again.
            hall.spend(1.0);
            hall.night.drift_time += 1.0;
            hall.since_drift = 0.0;
            continue;
        }
        if let Some(seed) = decide::champion_first(&hall.known(), &[]) {
            hall.champion_runs(seed, champion_group);
            hall.night.champion_time += 1.0;
            continue;
        }
        let tried: Vec<NearMiss> = if rules.combine && waiting.len() >= WAITING {
            waiting.sort_by(|a, b| b.worth.total_cmp(&a.worth));
            waiting.drain(..2).collect()
        } else {
            Vec::new()
        };
        let names: Vec<usize> = if tried.is_empty() {
            ideas += 1;
            vec![ideas]
        } else {
            tried.iter().map(|miss| miss.idea).collect()
        };
        let parts: Vec<Mixture> = tried.iter().map(|miss| miss.belief.clone()).collect();
        hall.commits += 1;
        let group = hall.commits;
        let Some(tested) = test(&mut hall, &names, &parts, champion_group, group) else { break };
        let Tested { runs, glimpse, decision } = tested;
        let kept = decision.as_ref().is_some_and(|verdict| *verdict == Verdict::Kept);
        let beliefs = hall.known().after(&parts, &runs, glimpse.as_ref());
        let found = hall.known().found(&runs, glimpse.as_ref());
        let prior = (!parts.is_empty()).then(|| hall.known().prior(&parts));
        if kept {
            champion_group = group;
            hall.champion.extend(&names);
            hall.reference.kept(runs, prior);
        } else {
            hall.reference.dropped(runs, glimpse, prior);
            for (k, belief) in beliefs.into_iter().enumerate() {
                let worth = belief.below(-rules.least_effect);
                let together = tried.get(k).map_or(0, |miss| miss.together + 1);
                if glimpse.is_none() && worth >= decide::NEAR_MISS && together < TOGETHER {
                    waiting.push(NearMiss { idea: names[k], belief, worth, together });
                }
            }
        }
        if let (Some((estimate, error)), true) = (found, parts.is_empty()) {
            hall.belief.learn(estimate, error);
        }
        hall.refresh();
    }
    morning(&mut hall);
    hall.night.gain = -hall.world.truth(&hall.champion);
    hall.night.time = hall.time;
    // Commits of one run are of no use to the next night.
    let mut runs: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for seen in &hall.observations {
        *runs.entry((seen.night, seen.group)).or_default() += 1;
    }
    hall.observations.retain(|seen| runs.get(&(seen.night, seen.group)).is_some_and(|count| *count > 1));
    *memory =
        Memory { belief: hall.belief, observations: hall.observations, early: hall.early, nights: hall.number + 1 };
    hall.night
}

struct Tested {
    runs: Vec<Run>,
    glimpse: Option<Glimpse>,
    decision: Option<Verdict>,
}

/// Tests one experiment; `None` when the night ended before.
fn test(hall: &mut Hall, names: &[usize], parts: &[Mixture], champion_group: u64, group: u64) -> Option<Tested> {
    let commit: Vec<usize> = hall.champion.iter().chain(names).copied().collect();
    let truth = hall.world.gain_of(&hall.champion.clone(), names);
    let bad = truth >= 0.0;
    let change = Change::default();
    hall.night.experiments += 1.0;
    let mut runs: Vec<Run> = Vec::new();
    let mut curves = Vec::new();
    let mut spared = false;
    let mut looks = Vec::new();
    loop {
        if let Some(seed) = decide::champion_first(&hall.known(), &runs).filter(|_| !runs.is_empty()) {
            if hall.time + 2.0 > hall.end() {
                return None;
            }
            hall.champion_runs(seed, champion_group);
            hall.night.champion_time += 1.0;
        }
        if hall.time + 1.0 > hall.end() {
            return None;
        }
        let seed = next_seed(&hall.rules, group as u32, &runs, hall.reference.champion());
        let measured = hall.world.run(&commit, seed);
        let mut glimpse = None;
        let mut cost = 1.0;
        let theirs = hall.curves.iter().find(|curve| curve.0 == seed).map(|curve| curve.1);
        if let Some(theirs) = theirs.filter(|_| hall.rules.early_stop && !spared) {
            let known = hall.known();
            let mut stop = None;
            for (look, at) in LOOKS.iter().enumerate() {
                let Some((ahead, error)) = hall.early.forecast(look, measured.looks[look] - theirs.looks[look]) else {
                    continue;
                };
                let seen = Glimpse { seed, val_bpb: theirs.val_bpb + ahead, error, era: 0 };
                if decide::hopeless(&known, &change, parts, &runs, &seen).is_some() {
                    stop = Some((seen, *at));
                    break;
                }
            }
            if let Some((seen, at)) = stop {
                hall.night.stops += 1.0;
                hall.night.false_stops += f64::from(u8::from(!bad));
                if Early::spared(&hall.rules, hall.world.night * 1000 + group) {
                    spared = true;
                    hall.night.spared += 1.0;
                } else {
                    glimpse = Some(seen);
                    cost = at;
                }
            }
        }
        if bad {
            hall.night.bad_time += cost;
            hall.night.bad_whole += 1.0;
        }
        hall.spend(cost);
        if let Some(glimpse) = glimpse {
            return Some(Tested { runs, glimpse: Some(glimpse), decision: None });
        }
        if let Some(theirs) = theirs {
            for (look, (ours, theirs_at)) in measured.looks.iter().zip(theirs.looks).enumerate() {
                let (curve, last) = (ours - theirs_at, measured.val_bpb - theirs.val_bpb);
                hall.early.observe(look, curve, last);
                looks.push((look, curve, last));
            }
        }
        hall.observe(group, seed, measured.val_bpb);
        hall.refresh();
        runs.push(run_of(seed, &measured));
        curves.push((seed, measured));
        let Step::Settle(decision) = decide::next(&hall.known(), &change, parts, &runs, &[]) else { continue };
        if let Some((low, high)) = decision.interval {
            hall.night.intervals += 1.0;
            hall.night.covered += f64::from(u8::from(low <= truth && truth <= high));
        }
        if decision.verdict == Verdict::Kept {
            keep(
                hall,
                names,
                truth,
                decision.evidence.as_ref().map(|evidence| (evidence.expected, evidence.expected_interval)),
            );
            hall.curves = curves;
            hall.early.new_reference(&looks);
            hall.night.spared_kept += f64::from(u8::from(spared));
        }
        return Some(Tested { runs, glimpse: None, decision: Some(decision.verdict) });
    }
}

fn keep(hall: &mut Hall, names: &[usize], truth: f64, expected: Option<(f64, (f64, f64))>) {
    hall.night.keeps += 1.0;
    hall.night.false_keeps += f64::from(u8::from(truth >= 0.0));
    for &idea in names {
        hall.night.ideas += 1.0;
        let alone = hall.world.gain_of(&hall.champion.clone(), &[idea]);
        hall.night.false_ideas += f64::from(u8::from(alone >= 0.0));
    }
    if let Some((expected, (low, high))) = expected {
        hall.expected_gain -= expected;
        hall.night.kept_intervals += 1.0;
        hall.night.kept_covered += f64::from(u8::from(low <= truth && truth <= high));
    }
}

/// The morning's claim, on seeds that decided nothing.
fn morning(hall: &mut Hall) {
    let pairs = hall.pairs();
    if pairs == 0 {
        return;
    }
    let champion = hall.champion.clone();
    let (mut ours, mut starts) = (Vec::new(), Vec::new());
    for seed in SEARCH_SEEDS..SEARCH_SEEDS + pairs {
        ours.push(run_of(seed, &hall.world.run(&champion, seed)));
        starts.push(run_of(seed, &hall.world.run(&[], seed)));
        hall.time += 2.0;
        hall.night.morning_time += 2.0;
    }
    let truth = hall.world.truth(&champion);
    let Some(claim) = claim(&starts, &ours, &hall.noise) else { return };
    let (low, high) = claim.difference.interval;
    hall.night.claim_intervals = 1.0;
    hall.night.claim_covered = f64::from(u8::from(low <= truth && truth <= high));
    hall.night.claims = f64::from(u8::from(claim.holds));
    hall.night.wrong_claims = f64::from(u8::from(claim.holds && truth >= 0.0));
}
