//! What follows when the search has ended and something was kept. First the claim: start and champion, in pairs on seeds by which
//! nothing was decided, measured on the sealed text. Then, while there is time, the champion without each kept experiment, and
//! without each idea of a kept combination, so that a passenger is found: a change that was kept by luck, or that later ones have made
//! superfluous.

use std::collections::{HashMap, VecDeque};

use super::contest::Contest;
use super::making::Making;
use super::testing::Testing;
use super::trial::{Role, Shown, Side, Trial};
use super::{Machine, Phase};
use crate::flow::{Decision, Evidence, Verdict};
use crate::night::messages::{Effect, Ending, Without};
use crate::stats::difference::difference;
use crate::stats::noise::Noise;
use crate::stats::race::{RULE, SEARCH_SEEDS, Step};
use crate::stats::{Rules, Run, claim, decide, untested};

/// Seeds from the first fresh one on, of which there are as many as the search has.
const FRESH_SEEDS: std::ops::Range<u32> = SEARCH_SEEDS..2 * SEARCH_SEEDS;

/// Failures of one side after which the morning makes do with the pairs that it has.
const FAILURES_BEFORE_GOING_ON: usize = 2;

/// The morning never takes more than this share of a night from its search.
const LARGEST_RESERVE: f64 = 1.0 / 3.0;

/// Trials that leaving one out needs at least to say anything.
const LEAST_TRIALS_WITHOUT: u32 = 2;

/// How far the morning is.
#[derive(Debug, Clone)]
pub(super) struct Morning {
    /// Why the search ended.
    pub ending: Ending,
    pub start: Vec<Run>,
    pub champion: Vec<Run>,
    /// Who failed under which fresh seeds.
    pub failed: Vec<(Side, u32)>,
    /// Whether the claim has been made, or cannot be.
    pub claimed: bool,
    /// What is still to be left out: each kept experiment, then each idea of a kept combination by itself.
    pub to_leave_out: VecDeque<Without>,
}

impl Morning {
    pub fn new(ending: Ending, kept: &[u32], combined: &HashMap<u32, u32>) -> Self {
        // The champion without the only one is the night's start, which the claim compares it with.
        let whole = kept.iter().filter(|_| kept.len() > 1).map(|kept| Without::from(*kept));
        let ideas = kept.iter().flat_map(|kept| {
            let ideas = combined.get(kept).copied().filter(|ideas| *ideas > 1).unwrap_or(0);
            (1..=ideas).map(|idea| Without { kept: *kept, idea: Some(idea) })
        });
        Self {
            ending,
            start: Vec::new(),
            champion: Vec::new(),
            failed: Vec::new(),
            claimed: false,
            to_leave_out: whole.chain(ideas).collect(),
        }
    }

    fn runs(&self, side: Side) -> &[Run] {
        match side {
            Side::Start => &self.start,
            Side::Champion => &self.champion,
        }
    }

    fn has(&self, side: Side, seed: u32) -> bool {
        self.runs(side).iter().any(|run| run.seed == seed)
    }

    fn failed(&self, side: Side, seed: u32) -> bool {
        self.failed.contains(&(side, seed))
    }

    fn failures(&self, side: Side) -> usize {
        self.failed.iter().filter(|(who, _)| *who == side).count()
    }

    /// The next trial of the claim and how many trials its pair still needs; `None` when there are pairs enough, or no seeds.
    fn next(&self, pairs: u32) -> Option<(Side, u32, u32)> {
        let unfit = [Side::Start, Side::Champion].iter().any(|side| self.failures(*side) >= FAILURES_BEFORE_GOING_ON);
        let mut complete = 0;
        // Where the start fails there is nothing to compare with; where the champion does, whether the start does too counts.
        for seed in FRESH_SEEDS.filter(|seed| !self.failed(Side::Start, *seed)) {
            // Which of the two goes first alternates, so that what changes steadily hits both alike.
            let order = if seed % 2 == 0 { [Side::Start, Side::Champion] } else { [Side::Champion, Side::Start] };
            let mut missing = order.into_iter().filter(|side| !self.has(*side, seed) && !self.failed(*side, seed));
            if complete == pairs {
                return None;
            }
            match (missing.next(), missing.next()) {
                (None, _) => complete += u32::from(!self.failed(Side::Champion, seed)),
                (Some(_), Some(_)) if unfit => return None,
                (Some(side), other) => return Some((side, seed, 1 + u32::from(other.is_some()))),
            }
        }
        None
    }

    /// Trials beside this one that its pair still needs.
    pub fn still_to_pair(&self, role: Role, seed: u32) -> u32 {
        let other = match role {
            Role::Morning(Side::Start) => Side::Champion,
            Role::Morning(Side::Champion) => Side::Start,
            Role::Candidate | Role::Champion | Role::DriftWatch => return 0,
        };
        u32::from(!self.has(other, seed) && !self.failed(other, seed))
    }

    /// Fresh seeds under which the champion failed and the start, as far as is known, did not.
    fn against(&self) -> Vec<u32> {
        let alone = |(side, seed): &&(Side, u32)| *side == Side::Champion && !self.failed(Side::Start, *seed);
        self.failed.iter().filter(alone).map(|(_, seed)| *seed).collect()
    }

    /// Runs of one side that the other has a partner for.
    fn paired(&self, side: Side, other: Side) -> Vec<Run> {
        self.runs(side).iter().filter(|run| self.has(other, run.seed)).cloned().collect()
    }
}

impl Machine {
    /// Seconds that the search leaves to the morning, from its beginning on: what is kept last has to be confirmed too. By the same
    /// figure as every trial of the morning is begun by.
    pub(super) fn reserve(&self, most: f64) -> f64 {
        if matches!(self.phase, Phase::Morning(_)) {
            return 0.0;
        }
        let trials = 2.0 * f64::from(self.morning_pairs());
        (trials * self.expected_seconds()).min(LARGEST_RESERVE * most)
    }

    /// Pairs that the claim is to rest on. What is expected of the champion follows from the search's runs alone.
    fn morning_pairs(&self) -> u32 {
        let pairs = decide::morning_pairs(&self.rules, &self.knowledge.noise, self.expected_gain);
        pairs.min(FRESH_SEEDS.end - FRESH_SEEDS.start)
    }

    /// The search has ended: the morning follows, if there is anything to confirm.
    pub(super) fn wind_up(&mut self, ending: Ending, now: f64, effects: &mut Vec<Effect>) {
        if self.champion.number == 0 {
            return self.finish(ending, effects);
        }
        // What is being made is not tested any more; answers that are still to come are dropped.
        if matches!(self.making, Making::Ready(_) | Making::Trying(_) | Making::Resting) {
            self.making = Making::Idle;
        }
        self.begin_morning(ending, false);
        self.morning_next(now, effects);
    }

    pub(super) fn morning_next(&mut self, now: f64, effects: &mut Vec<Effect>) {
        let Phase::Morning(morning) = &self.phase else { return };
        if !morning.claimed {
            if let Some((side, seed, trials)) = morning.next(self.morning_pairs())
                && self.time_for(trials, now)
            {
                return self.try_out(Role::Morning(side), seed, effects);
            }
            if self.claim(effects) {
                return;
            }
        }
        if !self.time_for(1, now) {
            return self.good_morning(effects);
        }
        if let Some(launch) = self.making.take_ready() {
            self.next_number += 1;
            self.contest = Some(Box::new(self.new_contest(launch)));
            return self.go_on_with_contest(now, effects);
        }
        if !self.leaves_out_another(now) && !self.making.leaves_one_out() {
            self.good_morning(effects);
        }
    }

    /// Makes the claim; `false` when there is nothing that it could rest on.
    fn claim(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Phase::Morning(morning) = &mut self.phase else { return false };
        morning.claimed = true;
        let start = morning.paired(Side::Start, Side::Champion);
        let champion = morning.paired(Side::Champion, Side::Start);
        let against = morning.against();
        let Some(mut claim) = claim::claim_on_text(&start, &champion, &self.knowledge.noise) else {
            if !against.is_empty() {
                let text =
                    "the champion failed under every fresh seed that it ran under: nothing is claimed".to_owned();
                effects.push(Effect::Warn { text });
            }
            return false;
        };
        // What it does where it does not fail is no gain if the start never fails.
        if !against.is_empty() {
            let rest = claim.words.split_once(": ").map_or(claim.words.as_str(), |(_, rest)| rest);
            claim.words = format!(
                "does not hold: under {} of {} fresh seeds the champion failed and the night's start did not; under the others, {rest}",
                against.len(),
                champion.len() + against.len(),
            );
            claim.holds = false;
        }
        effects.push(Effect::Claim {
            claim: Box::new(claim),
            start: self.baseline.candidate().commit.clone(),
            champion: self.champion.clone(),
        });
        self.testing = Testing::Claiming;
        true
    }

    pub(super) fn claim_recorded(&mut self) {
        if matches!(self.testing, Testing::Claiming) {
            self.testing = Testing::Idle;
        }
    }

    fn good_morning(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Morning(morning) = &self.phase else { return };
        let ending = morning.ending.clone();
        self.finish(ending, effects);
    }

    /// Whether there is another kept experiment to leave out, and time to learn something by it.
    pub(super) fn leaves_out_another(&self, now: f64) -> bool {
        let Phase::Morning(morning) = &self.phase else { return false };
        morning.claimed && !morning.to_leave_out.is_empty() && self.time_for(LEAST_TRIALS_WITHOUT, now)
    }

    /// What to leave out next.
    pub(super) fn take_one_to_leave_out(&mut self) -> Option<Without> {
        let Phase::Morning(morning) = &mut self.phase else { return None };
        morning.to_leave_out.pop_front()
    }

    /// The next trial of an experiment that leaves a kept one out: under seeds by which nothing was kept, for the runs by which a
    /// change was chosen make it look better than it is. Where the search has used all of its own, the last fresh ones serve,
    /// on the search text.
    pub(super) fn go_on_without(&mut self, effects: &mut Vec<Effect>) {
        let (Some(contest), Phase::Morning(morning)) = (&self.contest, &self.phase) else { return };
        let usable = |seed: &u32| {
            !self.searched.contains(seed)
                && !contest.runs.iter().any(|run| run.seed == *seed)
                && (self.reign.has_run(*seed) || !self.reign.fails_under(*seed))
                && ![Side::Start, Side::Champion]
                    .iter()
                    .any(|side| morning.has(*side, *seed) || morning.failed(*side, *seed))
        };
        let known = self.reign.runs.iter().map(|run| run.seed);
        let seed = known.chain(0..SEARCH_SEEDS).chain(FRESH_SEEDS.rev()).find(usable);
        self.try_under(seed, effects);
    }

    /// The champion's runs by which nothing was kept.
    pub(super) fn runs_that_chose_nothing(&self) -> Vec<Run> {
        self.reign.runs.iter().filter(|run| !self.searched.contains(&run.seed)).cloned().collect()
    }

    pub(super) fn morning_ran(&mut self, side: Side, trial: &Trial, shown: Shown) {
        let Phase::Morning(morning) = &mut self.phase else { return };
        let (seed, val_bpb) = (trial.seed, shown.val_bpb);
        let run = Run { seed, val_bpb, era: self.era, documents: shown.documents };
        match side {
            Side::Start => morning.start.push(run),
            Side::Champion => morning.champion.push(run),
        }
    }

    /// A failure under a fresh seed says something too: the champion's alone keeps the claim from holding.
    pub(super) fn morning_failed(&mut self, side: Side, trial: &Trial, words: &str, effects: &mut Vec<Effect>) {
        let Phase::Morning(morning) = &mut self.phase else { return };
        morning.failed.push((side, trial.seed));
        let who = match side {
            Side::Start => "the night's start".to_owned(),
            Side::Champion => format!("the champion, experiment {},", trial.launch.number),
        };
        let go_on = if morning.failures(side) < FAILURES_BEFORE_GOING_ON {
            "another seed is taken"
        } else {
            "the claim makes do with the pairs that there are"
        };
        effects.push(Effect::Warn { text: format!("{who} failed under a fresh seed, {words}; {go_on}") });
    }
}

/// What is said of a kept experiment after another trial of the champion without it. It is looked at when it has had the champion's
/// number of seeds, then after each trial. Whatever is found, nothing is crowned: that is for a person, or the next night.
pub(super) fn judge(rules: &Rules, noise: &Noise, without: Without, contest: &Contest, champion: &[Run]) -> Step {
    let found = difference(&contest.runs, champion, noise);
    let Some(found) = found.filter(|found| found.candidate_runs >= LEAST_TRIALS_WITHOUT) else {
        return Step::Again { words: format!("without {without}: not enough trials yet") };
    };
    let (low, high) = found.interval;
    let seen = format!(
        "without {without}: {:+.5} bits per byte (95 % interval {low:+.5} to {high:+.5}) after {} trials",
        found.estimate, found.candidate_runs
    );
    let looked_at = found.candidate_runs >= rules.champion_seeds.min(rules.most_trials);
    let (verdict, words) = if looked_at && low > 0.0 {
        (Verdict::Discarded, "it contributes")
    } else if looked_at && high < rules.margin {
        (Verdict::Inconclusive, "a passenger, as far as can be seen")
    } else if found.candidate_runs >= rules.most_trials.max(LEAST_TRIALS_WITHOUT) {
        (Verdict::Inconclusive, "not told")
    } else {
        return Step::Again { words: format!("{seen}: not told yet") };
    };
    let reason = format!("{seen}: {words}");
    let mut story = contest.story.clone();
    story.push(reason.clone());
    Step::Settle(Box::new(Decision {
        difference: Some(found.estimate),
        interval: Some(found.interval),
        trials: found.candidate_runs,
        rule: RULE.to_owned(),
        evidence: Some(Box::new(Evidence {
            standard_error: found.standard_error,
            degrees: found.degrees,
            probability: 0.0,
            expected: found.estimate,
            expected_interval: found.interval,
            least_effect: rules.margin,
            run_sd: noise.run_sd(),
            pair_sd: noise.pair_sd(),
            near_miss: false,
            story,
            forecast: None,
        })),
        ..untested(verdict, reason)
    }))
}
