//! How much to expect of a group of ideas for the time that it takes, from what its earlier ones gained. Thompson sampling with
//! normal beliefs: draw once from the belief on each arm and take the largest draw, so that arms are tried as often as they may be
//! best. (W. R. Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933.)
//!
//! Arms form a hierarchy: the proposers first, then inside a proposer the families of its ideas. What an arm earns is verified
//! gain per hour. A rate is estimated as the sum of gains over the sum of hours, so a try weighs as much as the time it took: one
//! that was stopped early weighs little, and twice the time for the same gain is half the rate. Time is counted in units of this
//! campaign's usual experiment, so that figures keep their size in bits per byte.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LEAVE_ONE_OUT;
use super::breadth::Breadth;
use crate::flow::{Brief, Evidence, PastExperiment, Verdict};

/// Chance that a turn goes to any arm, whatever is believed of it: so nothing starves that had bad luck, and arms whose worth
/// changes with the champion are seen to change. Doubled and doubled again as the search broadens.
const EXPLORE: f64 = 0.05;

/// The least time that an experiment counts for, in usual ones: building it took some.
const LEAST_TIME: f64 = 0.25;

/// The belief on one arm: a prior gain worth some tries, and the tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arm {
    time: f64,
    gain: f64,
}

impl Arm {
    /// An untried arm of which a gain of `prior` bits per byte is expected in the time of a usual experiment, as firmly as after
    /// `tries` of them.
    pub fn new(prior: f64, tries: f64) -> Self {
        Self { time: tries, gain: prior * tries }
    }

    /// Takes in a gain of `gain` bits per byte that took the time of `time` usual experiments.
    pub fn observe(&mut self, gain: f64, time: f64) {
        self.time += time;
        self.gain += gain;
    }

    /// Expected gain in bits per byte in the time of a usual experiment.
    pub fn mean(&self) -> f64 {
        self.gain / self.time
    }

    /// One draw from the belief, given the sd of a single try's gain.
    pub fn draw(&self, spread: f64, random: &mut ChaCha8Rng) -> f64 {
        self.mean() + spread / self.time.sqrt() * normal(random)
    }
}

/// The indices of `arms` in the order in which to ask them.
pub(super) fn ranked(arms: &[Arm], spread: f64, breadth: Breadth, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut draws: Vec<(usize, f64)> =
        arms.iter().enumerate().map(|(index, arm)| (index, arm.draw(spread, random))).collect();
    draws.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut order: Vec<usize> = draws.into_iter().map(|(index, _)| index).collect();
    // Both are always drawn, so that what comes next does not depend on them.
    let (explore, place) = (uniform(random), uniform(random));
    if explore < EXPLORE * breadth.factor() * breadth.factor() && !order.is_empty() {
        let place = ((place * order.len() as f64) as usize).min(order.len() - 1);
        order[..=place].rotate_right(1);
    }
    order
}

/// What the past experiments gained and cost.
pub(super) struct Record<'a> {
    /// Each with its verified gain in bits per byte and its time in usual experiments.
    tries: Vec<(&'a PastExperiment, f64, f64)>,
    /// The sd to assume of one try's gain.
    pub spread: f64,
}

impl<'a> Record<'a> {
    /// Of all ideas of the campaign's nights so far. Leaving a kept change out is no idea.
    pub fn of(brief: &'a Brief) -> Self {
        let ideas = || brief.history.iter().filter(|past| past.proposal.author.proposer != LEAVE_ONE_OUT);
        let known = || ideas().filter_map(seconds);
        let usual = known().sum::<f64>() / known().count().max(1) as f64;
        let tries: Vec<_> = ideas().map(|past| (past, gain(past), time(past, usual))).collect();
        // Root mean square, and at least 0.001, a usual sd over seeds, so that a night without any success still tries everything.
        let told = || tries.iter().filter(|(past, ..)| !tells_nothing(past));
        let mean_square = told().map(|(_, gain, _)| gain * gain).sum::<f64>() / told().count().max(1) as f64;
        Self { tries, spread: mean_square.sqrt().clamp(0.001, 0.05) * Breadth::of(brief).factor() }
    }

    /// The belief on those of them that `belongs` picks.
    pub fn arm(&self, mut arm: Arm, belongs: impl Fn(&PastExperiment) -> bool) -> Arm {
        for (_, gain, time) in self.tries.iter().filter(|(past, ..)| belongs(past) && !tells_nothing(past)) {
            arm.observe(*gain, *time);
        }
        arm
    }

    /// All of them, each with its time in usual experiments.
    pub fn times(&self) -> impl Iterator<Item = (&'a PastExperiment, f64)> {
        self.tries.iter().map(|(past, _, time)| (*past, *time))
    }
}

/// What a past experiment's decision rests on, where that is more than its trainer's word.
fn vouched(past: &PastExperiment) -> Option<&Evidence> {
    past.evidence.as_deref().filter(|evidence| evidence.vouched())
}

/// The difference that is to be expected of a past experiment when it is measured again, where it was measured at all: corrected
/// for having been picked (winner's curse) where its decision says so.
pub(super) fn expected(past: &PastExperiment) -> Option<f64> {
    let corrected = vouched(past).map(|evidence| evidence.expected);
    corrected.or(past.difference).filter(|difference| difference.is_finite())
}

/// Whether a past experiment came to an end of which nothing was learnt: it was given up before it was measured, or what it was compared
/// with turned out to break a rule.
pub(super) fn tells_nothing(past: &PastExperiment) -> bool {
    past.verdict == Some(Verdict::Inconclusive) && past.evidence.is_none() && past.difference.is_none()
}

/// How probable it is that a past experiment was an improvement; `None` while it is being tested, and where nothing was learnt of it.
pub(super) fn improved(past: &PastExperiment) -> Option<f64> {
    let verdict = past.verdict.filter(|_| !tells_nothing(past))?;
    let probability = vouched(past).map(|evidence| evidence.probability);
    let measured = matches!(verdict, Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive);
    Some(match probability.filter(|p| measured && (0.0..=1.0).contains(p)) {
        Some(probability) => probability,
        // What "lower is kept" keeps is luck about every other time.
        None if verdict == Verdict::Kept => 0.5,
        None => 0.0,
    })
}

/// What a past experiment gained in the end: its corrected difference when it was kept, else nothing. A discarded idea costs its
/// time, however bad it was; one that is still running has gained nothing yet, which keeps the next one apart.
fn gain(past: &PastExperiment) -> f64 {
    match (past.verdict, expected(past)) {
        (Some(Verdict::Kept), Some(difference)) => (-difference).max(0.0),
        _ => 0.0,
    }
}

/// The seconds that an experiment's trials took, once it is over and where that is known.
fn seconds(past: &PastExperiment) -> Option<f64> {
    past.verdict.map(|_| past.seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// An experiment's time, given the `usual` seconds of one.
fn time(past: &PastExperiment, usual: f64) -> f64 {
    match (past.verdict, seconds(past)) {
        (_, Some(seconds)) => (seconds / usual).max(LEAST_TIME),
        (Some(Verdict::Unbuildable), None) => LEAST_TIME,
        // Still running, or of a record that does not say: as long as usual.
        _ => 1.0,
    }
}

/// The random numbers of one turn. `salt` keeps proposers that are asked in the same turn apart.
pub(super) fn random(brief: &Brief, salt: u64) -> ChaCha8Rng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&brief.proposer_seed.to_le_bytes());
    seed[8..16].copy_from_slice(&brief.turn.to_le_bytes());
    seed[16..24].copy_from_slice(&salt.to_le_bytes());
    ChaCha8Rng::from_seed(seed)
}

/// Heads or tails, once a turn and `salt`.
pub(super) fn coin(brief: &Brief, salt: u64) -> bool {
    uniform(&mut random(brief, salt)) < 0.5
}

/// From 0 to 1, 1 excluded.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u32() >> 8) as f64 / f64::from(1 << 24)
}

/// A standard normal number to good approximation: the sum of twelve uniform ones. Unlike logarithms and cosines it is
/// the same to the last bit on every machine.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propose::fixture::{baseline, brief, past};

    #[test]
    fn draws_are_centred_and_narrow_with_tries() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut arm = Arm::new(0.01, 2.0);
        let spread_of = |arm: &Arm, random: &mut ChaCha8Rng| {
            let draws: Vec<f64> = (0..4_000).map(|_| arm.draw(0.002, random) - arm.mean()).collect();
            assert!((draws.iter().sum::<f64>() / 4_000.0).abs() < 1e-4);
            (draws.iter().map(|d| d * d).sum::<f64>() / 4_000.0).sqrt()
        };
        let before = spread_of(&arm, &mut random);
        assert!((before - 0.002 / 2f64.sqrt()).abs() < 1e-4, "{before}");
        for _ in 0..6 {
            arm.observe(0.0, 1.0);
        }
        assert!((arm.mean() - 0.0025).abs() < 1e-12);
        let after = spread_of(&arm, &mut random);
        assert!((after - 0.002 / 8f64.sqrt()).abs() < 1e-4, "{after}");
    }

    /// The share of 4,000 turns in which each arm is asked first.
    fn shares(arms: &[Arm], breadth: Breadth) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut counts = vec![0; arms.len()];
        for _ in 0..4_000 {
            let mut order = ranked(arms, 0.002, breadth, &mut random);
            counts[order[0]] += 1;
            order.sort_unstable();
            assert_eq!(order, (0..arms.len()).collect::<Vec<_>>());
        }
        counts.into_iter().map(|count| f64::from(count) / 4_000.0).collect()
    }

    #[test]
    fn an_arm_without_hope_is_still_asked_and_oftener_when_nothing_works() {
        let mut hopeless = Arm::new(0.001, 3.0);
        hopeless.observe(0.0, 100.0);
        let mut good = Arm::new(0.001, 3.0);
        good.observe(0.5, 100.0);
        let share = shares(&[good, hopeless], Breadth::Usual)[1];
        assert!((0.015..0.04).contains(&share), "{share}");
        let share = shares(&[good, hopeless], Breadth::Widest)[1];
        assert!((0.08..0.12).contains(&share), "{share}");
        assert!(ranked(&[], 0.002, Breadth::Usual, &mut ChaCha8Rng::seed_from_u64(1)).is_empty());
    }

    #[test]
    fn what_a_curve_alone_foresaw_is_no_finding() {
        let mut past = past("tuner", "x", Some(Verdict::Discarded), 0.0, Some(0.006));
        past.difference = None;
        assert_eq!((expected(&past), improved(&past)), (Some(0.006), Some(0.5)));
        past.evidence.as_mut().unwrap().forecast = Some(0.008);
        assert_eq!((expected(&past), improved(&past)), (None, Some(0.0)));
    }

    /// Verdict, difference, what is expected after correction, seconds; the gain and the time that they count for.
    #[test]
    fn gains_are_verified_and_times_are_measured() {
        let cases = [
            (Some(Verdict::Kept), -0.006, Some(-0.004), 300.0, 0.004, 3.0),
            (Some(Verdict::Kept), -0.006, None, 100.0, 0.006, 1.0),
            (Some(Verdict::Kept), -0.006, Some(f64::NAN), 100.0, 0.0, 1.0),
            (Some(Verdict::Kept), 0.001, Some(0.001), 100.0, 0.0, 1.0),
            (Some(Verdict::Discarded), -0.006, Some(-0.004), 25.0, 0.0, 0.25),
            (Some(Verdict::Inconclusive), -0.006, Some(-0.004), 70.0, 0.0, 0.7),
            (Some(Verdict::Discarded), 0.1, None, 5.0, 0.0, 0.25),
            (Some(Verdict::Unbuildable), 0.0, None, 0.0, 0.0, 0.25),
            (Some(Verdict::Discarded), 0.1, None, 0.0, 0.0, 1.0),
            (None, 0.0, None, 3.0, 0.0, 1.0),
        ];
        let mut brief = brief(baseline());
        for (verdict, difference, expected, seconds, ..) in cases {
            let mut past = past("playbook", "x", verdict, difference, expected);
            past.seconds = seconds;
            brief.history.push(past);
        }
        // The usual experiment takes 100 seconds; one that was left out counts for nothing.
        let mut left_out = past(LEAVE_ONE_OUT, "x", Some(Verdict::Kept), -1.0, None);
        left_out.seconds = 1e6;
        brief.history.push(left_out);
        let record = Record::of(&brief);
        assert_eq!(record.tries.len(), cases.len());
        for ((_, gain, time), (.., expected_gain, expected_time)) in record.tries.iter().zip(cases) {
            assert_eq!((*gain, *time), (expected_gain, expected_time));
        }
        let arm = record.arm(Arm::new(0.0, 1e-9), |past| past.verdict == Some(Verdict::Kept));
        assert!((arm.mean() - 0.010 / 6.0).abs() < 1e-9, "{arm:?}");
    }

    /// As an experiment that was compared with a champion which was taken back later.
    #[test]
    fn what_was_not_measured_teaches_nothing() {
        let mut brief = brief(baseline());
        brief.history.push(past("playbook", "x", Some(Verdict::Kept), -0.004, None));
        let prior = Arm::new(0.001, 2.0);
        let before = (Record::of(&brief).spread, Record::of(&brief).arm(prior, |_| true));
        let mut taken_back = past("playbook", "x", Some(Verdict::Inconclusive), 0.0, None);
        (taken_back.difference, taken_back.seconds) = (None, brief.history[0].seconds);
        assert_eq!(improved(&taken_back), None);
        brief.history.push(taken_back);
        assert_eq!((Record::of(&brief).spread, Record::of(&brief).arm(prior, |_| true)), before);
    }

    #[test]
    fn the_one_that_gains_more_per_hour_is_asked_more() {
        let share_of_first = |seconds: [f64; 2], gains: [f64; 2]| {
            let mut brief = brief(baseline());
            for _ in 0..6 {
                for (proposer, gain, seconds) in [("a", gains[0], seconds[0]), ("b", gains[1], seconds[1])] {
                    let mut past = past(proposer, "x", Some(Verdict::Kept), -gain, None);
                    past.seconds = seconds;
                    brief.history.push(past);
                }
            }
            let record = Record::of(&brief);
            let arm =
                |name: &'static str| record.arm(Arm::new(0.001, 3.0), |past| past.proposal.author.proposer == name);
            shares(&[arm("a"), arm("b")], Breadth::Usual)[0]
        };
        let even = share_of_first([100.0, 100.0], [0.003, 0.003]);
        assert!((0.45..0.55).contains(&even), "{even}");
        let better = share_of_first([100.0, 100.0], [0.004, 0.002]);
        assert!(better > 0.75, "{better}");
        let faster = share_of_first([100.0, 200.0], [0.003, 0.003]);
        assert!(faster > 0.75, "{faster}");
        // Twice the gain in twice the time is no better, and no worse.
        let same = share_of_first([100.0, 200.0], [0.002, 0.004]);
        assert!((0.35..0.65).contains(&same), "{same}");
    }
}
