//! The rule: trial after trial until an experiment is kept, dropped or left open.
//!
//! What is weighed is a posterior: what effects are like ([`super::belief`]) and what this experiment's runs say against the champion's
//! level ([`super::reference`]). It does not mind that one stops when it looks good, and it shrinks what was picked for looking good.
//! Single ideas and combinations of near misses are weighed alike; a combination begins with what its parts' own trials have said.
//! docs/decisions.md shows what nights under this rule come to, and with which other rules it was compared.

use super::Run;
use super::belief::Belief;
use super::claim::LEVEL;
use super::difference::{Difference, difference, document_error};
use super::distributions::{student_quantile, widening};
use super::mixture::{Mixture, Seen};
use super::noise::Noise;
use super::race::{Change, LEAST_TRIALS, RULE, SEARCH_SEEDS, Simpler, Step, simpler};
use super::reference::{Glimpse, Level, Reference};
use super::rules::Rules;
use crate::flow::{Decision, Evidence, Verdict};

/// All that is known when something is to be decided.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    rules: &'a Rules,
    belief: &'a Belief,
    noise: &'a Noise,
    reference: &'a Reference,
    level: Option<Level>,
    widen: f64,
}

/// After its first trial an experiment is dropped when it is less probable than this to be worth having.
const HOPELESS_AT_FIRST: f64 = 0.2;

/// After a later trial.
const HOPELESS: f64 = 0.25;

/// An idea that was dropped or left open at this probability or above is a near miss.
pub const NEAR_MISS: f64 = 0.2;

/// From this probability on an experiment goes on alone; below it waits for another near miss to be tried with.
const ALONE: f64 = 0.6;

/// Waiting for others pays where a second trial tells little: where the error of a pair is above this share of a typical effect.
const TELLING: f64 = 0.4;

/// ... and once that is known with this many degrees of freedom: before, a second trial at once teaches how much runs differ.
const KNOWN: f64 = 8.0;

/// Each part of a kept combination is at least this probable to be worth having.
const PASSENGER: f64 = 0.3;

/// A trial is stopped early when its experiment is less probable than this to be worth having.
const STOP: f64 = 0.06;

/// Another run of the champion pays when the least variance that a candidate's first difference could have would grow by this share
/// without it.
const UNMEASURED: f64 = 0.8;

/// ... and when the error of that difference is above this share of a typical effect.
const BLURRED: f64 = 1.0 / 3.0;

/// What is said of an experiment, besides how probable it is to be worth having.
struct Weighed {
    found: Difference,
    after: Mixture,
    worth: f64,
    /// The same for each part of a combination.
    parts: Vec<f64>,
    least: f64,
}

impl<'a> Known<'a> {
    /// The campaign's rules, what effects are like, how much runs differ anyway, and all runs of the night.
    pub fn new(rules: &'a Rules, belief: &'a Belief, noise: &'a Noise, reference: &'a Reference) -> Self {
        Self::at(rules, belief, noise, reference, reference.level(&belief.fresh(), noise))
    }

    /// The same with a level that was computed before: nothing has been learnt since.
    pub fn at(
        rules: &'a Rules,
        belief: &'a Belief,
        noise: &'a Noise,
        reference: &'a Reference,
        level: Option<Level>,
    ) -> Self {
        let widen = widening(0.975, noise.pair_degrees.min(noise.run_degrees));
        Known { rules, belief, noise, reference, level, widen }
    }

    /// Whether an idea of which one trial does not tell enough waits for others, instead of having another trial at once.
    fn combines(&self) -> bool {
        self.rules.combine
            && self.noise.pair_degrees > KNOWN
            && self.noise.pair_sd() > TELLING * self.belief.typical_effect()
    }

    /// What is believed of an experiment before its first run: of a fresh idea, or of its parts' sum.
    pub fn prior(&self, parts: &[Mixture]) -> Mixture {
        match parts {
            [] => self.belief.fresh(),
            [first, others @ ..] => others.iter().fold(first.clone(), |sum, part| sum.plus(part)),
        }
    }

    /// The difference from the champion's level, by each account of how the candidate's pairs scatter, errors widened for what is not
    /// known of the noise and by what the held-out documents leave open. Empty before champion and candidate have run.
    fn seen(&self, candidate: &[Run], glimpse: Option<&Glimpse>) -> Vec<Seen> {
        let document_error = document_error(candidate, self.reference.champion());
        let mut seen = self.level.as_ref().map(|level| level.difference(candidate, glimpse)).unwrap_or_default();
        for account in &mut seen {
            account.error = (account.error * self.widen).hypot(document_error);
        }
        seen
    }

    /// The same over all accounts. This is what [`Belief::learn`] learns from. `None` before champion and candidate have run.
    pub fn found(&self, candidate: &[Run], glimpse: Option<&Glimpse>) -> Option<(f64, f64)> {
        Seen::overall(&self.seen(candidate, glimpse))
    }

    /// What is believed of each part of an experiment after its runs; of a fresh idea (`parts` empty) there is one.
    pub fn after(&self, parts: &[Mixture], candidate: &[Run], glimpse: Option<&Glimpse>) -> Vec<Mixture> {
        self.each(parts, &self.seen(candidate, glimpse))
    }

    fn each(&self, parts: &[Mixture], seen: &[Seen]) -> Vec<Mixture> {
        if seen.is_empty() {
            return if parts.is_empty() { vec![self.belief.fresh()] } else { parts.to_vec() };
        }
        if parts.len() < 2 {
            return vec![self.prior(parts).after(seen)];
        }
        (0..parts.len())
            .map(|i| {
                let others: Vec<Mixture> =
                    parts.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, part)| part.clone()).collect();
                parts[i].given_sum(&self.prior(&others), seen)
            })
            .collect()
    }

    fn weigh(&self, change: &Change, parts: &[Mixture], candidate: &[Run]) -> Option<Weighed> {
        let found = difference(candidate, self.reference.champion(), self.noise)?;
        let seen = self.seen(candidate, None);
        if seen.is_empty() {
            return None;
        }
        let least = self.rules.least_effect_of(change.lines_added, change.lines_removed);
        let after = self.prior(parts).after(&seen);
        let each = self.each(parts, &seen);
        let share = least / each.len() as f64;
        Some(Weighed {
            found,
            worth: after.below(-least),
            parts: each.iter().map(|part| part.below(-share)).collect(),
            after,
            least,
        })
    }
}

/// What to do next with an experiment that has just had a trial. `parts`: what was believed beforehand of the ideas that it combines,
/// empty for a fresh idea. `story` is what earlier steps said.
pub fn next(known: &Known, change: &Change, parts: &[Mixture], candidate: &[Run], story: &[String]) -> Step {
    let Some(weighed) = known.weigh(change, parts, candidate) else {
        return Step::Again { words: "nothing to compare yet: another trial".to_owned() };
    };
    let combined = parts.len() > 1;
    let trials = weighed.found.candidate_runs;
    let sure = weighed.worth >= 1.0 - known.rules.false_keep;
    let enough = !parts.is_empty() || trials >= LEAST_TRIALS;
    let passenger = combined && weighed.parts.iter().any(|part| *part < PASSENGER);
    if sure && enough && !passenger {
        return settle(known, &weighed, Verdict::Kept, "kept", story);
    }
    let room = trials < known.rules.most_trials;
    match change.simplifies().then(|| simpler(known.rules, known.noise, &weighed.found)) {
        Some(Simpler::NoWorse) if enough => {
            let why = format!(
                "kept, for it only removes lines, is not shown to be worse, and if it is, then by less than {:.5} with 95 % confidence",
                known.rules.margin
            );
            return settle(known, &weighed, Verdict::Kept, &why, story);
        }
        Some(Simpler::NoWorse | Simpler::Open) if room => {
            return again(&weighed, "it may be no worse than the champion, and it only removes lines");
        }
        _ => {}
    }
    let hopeless = if trials > 1 { HOPELESS } else { HOPELESS_AT_FIRST };
    if weighed.worth < hopeless {
        let verdict = if weighed.worth < 0.5 * hopeless { Verdict::Discarded } else { Verdict::Inconclusive };
        return settle(known, &weighed, verdict, "dropped, another trial does not pay", story);
    }
    if combined {
        let why = if passenger && sure {
            "left open: together they are an improvement, but one of them may be none"
        } else {
            "left open: together they do not tell enough"
        };
        return settle(known, &weighed, Verdict::Inconclusive, why, story);
    }
    if !room {
        return settle(known, &weighed, Verdict::Inconclusive, "left open, it has had its trials", story);
    }
    if known.combines() && parts.is_empty() && trials == 1 && weighed.worth < ALONE {
        return settle(
            known,
            &weighed,
            Verdict::Inconclusive,
            "waits to be tried together with another near miss",
            story,
        );
    }
    again(&weighed, "promising, another trial")
}

fn again(weighed: &Weighed, why: &str) -> Step {
    Step::Again { words: format!("{}: {why}", seen(weighed)) }
}

fn seen(weighed: &Weighed) -> String {
    let found = &weighed.found;
    let mut words = format!(
        "{} {}: {:+.5} +/- {:.5} bits per byte against the champion's {} ({} under the same seed); with all other runs of the night \
         {:.0} % probable to be better by {:.5} or more, {:+.5} to be expected",
        found.candidate_runs,
        if found.candidate_runs == 1 { "trial" } else { "trials" },
        found.estimate,
        found.standard_error,
        found.champion_runs,
        found.paired,
        100.0 * weighed.worth,
        weighed.least,
        weighed.after.moments().0,
    );
    if weighed.parts.len() > 1 {
        let parts: Vec<String> = weighed.parts.iter().map(|part| format!("{:.0} %", 100.0 * part)).collect();
        words.push_str(&format!("; its parts alone {}", parts.join(", ")));
    }
    words
}

fn settle(known: &Known, weighed: &Weighed, verdict: Verdict, why: &str, story: &[String]) -> Step {
    let reason = format!("{}: {why}", seen(weighed));
    let mut story = story.to_vec();
    story.push(reason.clone());
    let near_miss = verdict != Verdict::Kept && weighed.parts.iter().any(|part| *part >= NEAR_MISS);
    Step::Settle(Box::new(Decision {
        verdict,
        difference: Some(weighed.found.estimate),
        interval: Some(weighed.found.interval),
        trials: weighed.found.candidate_runs,
        rule: RULE.to_owned(),
        reason,
        evidence: Some(Box::new(Evidence {
            standard_error: weighed.found.standard_error,
            degrees: weighed.found.degrees,
            probability: weighed.after.below(0.0),
            expected: weighed.after.moments().0,
            expected_interval: weighed.after.interval(0.95),
            least_effect: weighed.least,
            run_sd: known.noise.run_sd(),
            pair_sd: known.noise.pair_sd(),
            near_miss,
            story,
            forecast: None,
        })),
    }))
}

/// Whether the champion should run before the candidate's next trial, and under which seed: because it never has, because its level
/// is known too little, or because a fresh pair of runs tells more per run than another run of the candidate alone.
pub fn champion_first(known: &Known, candidate: &[Run]) -> Option<u32> {
    let champion = known.reference.champion();
    let ran = |runs: &[Run], seed: u32| runs.iter().any(|run| run.seed == seed);
    let fresh = (0..SEARCH_SEEDS).find(|seed| !ran(champion, *seed) && !ran(candidate, *seed));
    let Some(level) = &known.level else { return Some(fresh.unwrap_or(0)) };
    let fresh = fresh?;
    if candidate.is_empty() {
        if champion.len() as u32 >= known.rules.champion_seeds {
            return None;
        }
        let best = champion.iter().filter_map(|run| level.error_with(&[run.seed], &[])).fold(f64::INFINITY, f64::min);
        let blurred = BLURRED * known.belief.typical_effect();
        let wanted = best * best > (1.0 + UNMEASURED) * level.rest_variance() && best > blurred;
        return wanted.then_some(fresh);
    }
    if champion.iter().any(|run| !ran(candidate, run.seed)) {
        return None;
    }
    let mut seeds: Vec<u32> = candidate.iter().map(|run| run.seed).collect();
    let now = level.error_with(&seeds, &[])?.powi(2);
    seeds.push(fresh);
    let alone = now - level.error_with(&seeds, &[])?.powi(2);
    let pair = now - level.error_with(&seeds, &[fresh])?.powi(2);
    (0.5 * pair > alone).then_some(fresh)
}

/// The seed under which the champion is to be run to see whether the machine is still the same, where a fresh seed shows that as well as
/// one that it has had: where its run is expected to within the sd of a paired difference, by which a repetition is judged. Such a
/// run tells of the champion's level too, a repetition of nothing else. `None`: a repetition is sharper.
pub fn fresh_watch(known: &Known) -> Option<u32> {
    let level = known.level.as_ref()?;
    let champion = known.reference.champion();
    let fresh = (0..SEARCH_SEEDS).find(|seed| !champion.iter().any(|run| run.seed == *seed))?;
    (level.expected(fresh).1 <= known.noise.pair_sd()).then_some(fresh)
}

/// Why a run of the champion under a seed that it had not had shows that the machine may have changed; `None`: it does not. Where the
/// noise is known well and runs are normal, chance does so less than once in ten thousand times.
pub fn unexpected(known: &Known, seed: u32, val_bpb: f64) -> Option<String> {
    let (expected, sd) = known.level.as_ref()?.expected(seed);
    let (difference, bound) = (val_bpb - expected, FAR_OFF * sd * known.widen);
    (difference.abs() > bound).then(|| {
        format!(
            "{difference:+.5} bits per byte from the {expected:.5} that all other runs let expect, beyond {bound:.5}"
        )
    })
}

/// A run of the champion is off when it differs by more than so many standard deviations from what it should be.
const FAR_OFF: f64 = 4.0;

/// Whether a trial may be ended because its experiment is hopeless by what its curve promises, in words. What only removes lines need
/// be no gain: it is hopeless when it is hardly no worse than the campaign's margin.
pub fn hopeless(
    known: &Known,
    change: &Change,
    parts: &[Mixture],
    candidate: &[Run],
    glimpse: &Glimpse,
) -> Option<String> {
    let seen = known.seen(candidate, Some(glimpse));
    let (estimate, _) = Seen::overall(&seen)?;
    let after = known.prior(parts).after(&seen);
    let least = known.rules.least_effect_of(change.lines_added, change.lines_removed);
    let (bar, what) = if change.simplifies() {
        (
            known.rules.margin,
            format!("to be worse by less than {:.5}, as what only removes lines may be", known.rules.margin),
        )
    } else {
        (-least, format!("to be better by {least:.5} or more"))
    };
    let worth = after.below(bar);
    (worth < STOP).then(|| {
        format!(
            "by its curve it would end at {:.5} +/- {:.5} bits per byte, {estimate:+.5} against the champion's level: {:.1} % probable \
             {what}",
            glimpse.val_bpb,
            glimpse.error,
            100.0 * worth
        )
    })
}

/// Pairs of runs that the morning's claim needs, for a champion that is expected to be this much better than the start (positive, bits
/// per byte): enough for a p-value below 0.01 in 19 of 20 mornings, three at least and the campaign's `morning_pairs` at most. It
/// follows from the search's runs alone, so that the claim's own runs stay untouched by it.
///
/// Two things make it more than the noise itself asks for. The pairs may scatter more than the search's noise, and are then judged by
/// their own scatter ([`super::claim`]), which few of them tell badly. And after a short search the noise itself is hardly known: it may
/// as well be what it is at the upper end of its 80 % interval.
pub fn morning_pairs(rules: &Rules, noise: &Noise, expected: f64) -> u32 {
    let least = LEAST_PAIRS.min(rules.morning_pairs);
    let gain = expected / (noise.pair_sd() * sd_at_most(noise.pair_degrees));
    (least..rules.morning_pairs).find(|pairs| suffice(*pairs, gain)).unwrap_or(rules.morning_pairs)
}

/// Fewer pairs than this are no confirmation, however large the gain.
const LEAST_PAIRS: u32 = 3;

/// Whether this many pairs show a gain of so many sds of one pair at p < 0.01 with a probability of 0.95, by their own scatter. Power of
/// Student's test by the normal approximation of the noncentral t (Johnson and Welch 1940; Abramowitz and Stegun, 26.7.10).
fn suffice(pairs: u32, gain: f64) -> bool {
    let degrees = f64::from(pairs) - 1.0;
    if degrees < 1.0 {
        return false;
    }
    let asked = student_quantile(1.0 - LEVEL, degrees);
    let found = gain * f64::from(pairs).sqrt();
    let surplus = (found - asked * (1.0 - 1.0 / (4.0 * degrees))) / (1.0 + asked * asked / (2.0 * degrees)).sqrt();
    surplus >= 1.64 // the normal quantile of 0.95
}

/// How many times its estimate a sd may be, that was estimated with so many degrees of freedom: the upper end of its 80 % interval, by
/// the cube-root approximation of chi-squared (Wilson and Hilferty 1931).
fn sd_at_most(degrees: f64) -> f64 {
    let part = 2.0 / (9.0 * degrees.max(1.0));
    (1.0 - part - 1.2816 * part.sqrt()).powf(-1.5)
}

#[cfg(test)]
mod tests;
