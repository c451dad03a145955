//! Ending hopeless trials early, by their loss curve.
//!
//! At each look the difference of the smoothed training losses of candidate and champion, same seed and same progress, tells something
//! of how the trial will end. How much is learnt: over the trials that finished, the final difference is regressed on the curve's, per
//! look, with a bounded slope and robust residuals. A trial is ended when, by Student's t, it is improbable that its final difference
//! would have been worth going on with. A random sample of such trials is left to finish, so that the share of wrong stops is measured.

use serde::{Deserialize, Serialize};

use super::distributions::{beta_quantile, student_below};
use super::noise::median;
use super::rules::Rules;

/// The progress, as shares of the budget, at which a trial is looked at.
pub const LOOKS: [f64; 5] = [0.3, 0.4, 0.5, 0.65, 0.8];

/// Trials that must have finished before anything is concluded at a look.
const ENOUGH: usize = 8;

/// A stop is wrong with at most this probability, over all looks of a trial.
const WRONG: f64 = 0.01;

/// The slope of the final difference on the curve's lies within: differences neither turn round nor grow without bound.
const SLOPES: (f64, f64) = (0.0, 2.0);

/// What was learnt so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Early {
    /// Per look: curve's difference and final difference.
    seen: Vec<Vec<(f64, f64)>>,
    spared: u32,
    wrong: u32,
}

/// How often a stop would have been wrong, among trials that were left to finish for that purpose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FalseStops {
    /// Trials that would have been stopped and were left to finish.
    pub spared: u32,
    /// Those that then were worth going on with.
    pub wrong: u32,
    /// 95 % interval of the share (Clopper and Pearson, 1934).
    pub interval: (f64, f64),
}

impl Early {
    /// Nothing learnt yet.
    pub fn new() -> Early {
        Early::default()
    }

    /// Learns from a trial that finished: the curve's difference at look number `look` and the difference of the two runs in the end,
    /// bits per byte.
    pub fn observe(&mut self, look: usize, curve_difference: f64, final_difference: f64) {
        if look < LOOKS.len() && curve_difference.is_finite() && final_difference.is_finite() {
            self.seen.resize_with(LOOKS.len(), Vec::new);
            self.seen[look].push((curve_difference, final_difference));
        }
    }

    /// Whether to end a trial at look number `look`, in words; `None`: let it go on. `worth` is the largest final difference that
    /// would be worth going on with ([`super::race::worth_going_on`]).
    pub fn judge(&self, look: usize, curve_difference: f64, worth: f64) -> Option<String> {
        let points = self.seen.get(look).filter(|points| points.len() >= ENOUGH)?;
        let fit = Fit::of(points)?;
        let (expected, spread) = fit.predict(curve_difference);
        let probability = student_below((worth - expected) / spread, fit.degrees);
        (probability < WRONG / LOOKS.len() as f64).then(|| {
            format!(
                "at {:.0} % of the budget its training loss was {curve_difference:+.5} against the champion's; by {} trials that \
                 finished it would have ended at {expected:+.5} +/- {spread:.5} bits per byte, and with less than {:.1} % at \
                 {worth:+.5} or better",
                100.0 * LOOKS[look],
                points.len(),
                100.0 * WRONG / LOOKS.len() as f64,
            )
        })
    }

    /// How a trial with this difference at look number `look` is expected to end: the final difference and the sd of its prediction,
    /// bits per byte. `None` before enough trials have finished.
    pub fn forecast(&self, look: usize, curve_difference: f64) -> Option<(f64, f64)> {
        let points = self.seen.get(look).filter(|points| points.len() >= ENOUGH)?;
        Some(Fit::of(points)?.predict(curve_difference))
    }

    /// Whether the experiment with this number (any number of its own will do) belongs to the random sample that is left to finish.
    pub fn spared(rules: &Rules, experiment: u64) -> bool {
        // SplitMix64 (Steele, Lea and Flood, 2014): neighbouring numbers are spared independently.
        let mut z = experiment.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / ((1_u64 << 53) as f64) < rules.early_spare
    }

    /// Counts a trial that would have been stopped and was left to finish; `worth_it`: its final difference was worth going on with.
    pub fn count_spared(&mut self, worth_it: bool) {
        self.spared += 1;
        self.wrong += u32::from(worth_it);
    }

    /// The measured share of wrong stops; `None` before any was measured.
    pub fn false_stops(&self) -> Option<FalseStops> {
        if self.spared == 0 {
            return None;
        }
        let (wrong, right) = (f64::from(self.wrong), f64::from(self.spared - self.wrong));
        let low = if self.wrong == 0 { 0.0 } else { beta_quantile(0.025, wrong, right + 1.0) };
        let high = if self.wrong == self.spared { 1.0 } else { beta_quantile(0.975, wrong + 1.0, right) };
        Some(FalseStops { spared: self.spared, wrong: self.wrong, interval: (low, high) })
    }
}

/// A line through the points of one look.
struct Fit {
    slope: f64,
    centre: (f64, f64),
    squares: f64,
    count: f64,
    spread: f64,
    degrees: f64,
}

impl Fit {
    fn of(points: &[(f64, f64)]) -> Option<Fit> {
        // Centres are medians and far points are drawn in, so that one broken trial does not set the line.
        let centre = (median(points.iter().map(|p| p.0).collect()), median(points.iter().map(|p| p.1).collect()));
        let squares: f64 = points.iter().map(|p| (p.0 - centre.0).powi(2)).sum();
        if squares <= 0.0 {
            return None;
        }
        let products: f64 = points.iter().map(|p| (p.0 - centre.0) * (p.1 - centre.1)).sum();
        let slope = (products / squares).clamp(SLOPES.0, SLOPES.1);
        let count = points.len() as f64;
        let residuals: f64 = points.iter().map(|p| (p.1 - centre.1 - slope * (p.0 - centre.0)).powi(2)).sum();
        let degrees = count - 2.0;
        Some(Fit { slope, centre, squares, count, spread: (residuals / degrees).sqrt(), degrees })
    }

    /// Expected final difference and the sd of its prediction.
    fn predict(&self, curve_difference: f64) -> (f64, f64) {
        let away = curve_difference - self.centre.0;
        let widen = 1.0 + 1.0 / self.count + away * away / self.squares;
        (self.centre.1 + self.slope * away, (self.spread * widen.sqrt()).max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Lots;

    /// Trials whose final difference is 0.8 times the curve's, but for noise.
    fn taught(trials: u32, noise: f64, lots: &mut Lots) -> Early {
        let mut early = Early::new();
        for _ in 0..trials {
            let curve = 0.005 * lots.normal();
            for look in 0..LOOKS.len() {
                early.observe(look, curve, 0.8 * curve + noise * lots.normal());
            }
        }
        early
    }

    #[test]
    fn only_what_is_far_behind_is_stopped_and_only_after_enough_was_seen() {
        let mut lots = Lots::new(5);
        let early = taught(30, 0.001, &mut lots);
        let why = early.judge(2, 0.02, 0.0).unwrap();
        assert!(why.contains("50 % of the budget") && why.contains("30 trials"), "{why}");
        assert_eq!(early.judge(2, 0.001, 0.0), None);
        assert_eq!(early.judge(2, -0.02, 0.0), None);
        assert_eq!(early.judge(LOOKS.len(), 0.02, 0.0), None);
        assert_eq!(taught(ENOUGH as u32 - 1, 0.001, &mut lots).judge(2, 0.05, 0.0), None);
    }

    #[test]
    fn few_stops_are_wrong() {
        let mut lots = Lots::new(17);
        let (mut stopped, mut wrong, mut worthy) = (0, 0, 0);
        for _ in 0..150 {
            let early = taught(20, 0.0015, &mut lots);
            for _ in 0..20 {
                let curve = 0.005 * lots.normal();
                let found = 0.8 * curve + 0.0015 * lots.normal();
                worthy += u32::from(found <= 0.0);
                if (0..LOOKS.len()).any(|look| early.judge(look, curve, 0.0).is_some()) {
                    stopped += 1;
                    wrong += u32::from(found <= 0.0);
                }
            }
        }
        assert!(stopped > 200, "{stopped} were stopped");
        assert!(f64::from(wrong) <= 0.02 * f64::from(stopped), "{wrong} of {stopped}, where {worthy} were worth it");
    }

    #[test]
    fn curves_that_tell_nothing_stop_nothing() {
        let mut lots = Lots::new(23);
        let mut early = Early::new();
        for _ in 0..40 {
            early.observe(1, lots.normal(), 0.002 * lots.normal());
        }
        assert_eq!(early.judge(1, 1.5, 0.0), None);
        let mut same = Early::new();
        for _ in 0..40 {
            same.observe(1, 0.25, lots.normal());
        }
        assert_eq!(same.judge(1, 9.0, 0.0), None, "a line through one place has no slope");
    }

    #[test]
    fn the_sample_is_as_large_as_asked_and_its_share_has_an_interval() {
        let rules = Rules { early_spare: 0.1, ..Rules::default() };
        let spared = (0..10_000).filter(|number| Early::spared(&rules, *number)).count();
        assert!((850..1150).contains(&spared), "{spared}");
        assert!(!(0..1_000).any(|n| Early::spared(&Rules { early_spare: 0.0, ..Rules::default() }, n)));
        assert!((0..1_000).all(|n| Early::spared(&Rules { early_spare: 1.0, ..Rules::default() }, n)));

        let mut early = Early::new();
        assert_eq!(early.false_stops(), None);
        for i in 0..20 {
            early.count_spared(i == 3);
        }
        let share = early.false_stops().unwrap();
        assert_eq!((share.spared, share.wrong), (20, 1));
        // Tabulated for 1 of 20.
        assert!((share.interval.0 - 0.001_265).abs() < 1e-5 && (share.interval.1 - 0.248_73).abs() < 1e-4, "{share:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_figures_are_borne(
            seen in proptest::collection::vec((0_usize..7, -10.0..10.0_f64, -10.0..10.0_f64), 0..60),
            look in 0_usize..7, curve in -100.0..100.0_f64, worth in -1.0..1.0_f64
        ) {
            let mut early = Early::new();
            for (look, curve, found) in seen { early.observe(look, curve, found); }
            let _ = early.judge(look, curve, worth);
        }
    }
}
