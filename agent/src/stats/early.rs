//! Ending hopeless trials early, by their loss curve.
//!
//! At each look the difference of the smoothed training losses of candidate and champion, same seed and same progress, tells something
//! of how the trial will end. How much is learnt: over the trials that finished against the same reference (the present champion), the
//! final difference is regressed on the curve's, per look, with a bounded slope, and with far points and far residuals drawn in (Huber,
//! Robust statistics, 1981, section 7.6). This module forecasts; whether a trial is hopeless by its forecast is decided by
//! [`super::decide::hopeless`]. A random sample of such trials is left to finish, so that the share of wrong stops is measured.
//!
//! Losses are the trainers' own word, and a champion is a trainer too: one that reports too low a loss, or one whose loss has another
//! term, would make every other trial look hopeless. So what was seen against an earlier champion counts only as far as the new one's
//! own trials tie the two together, and a difference beyond those that were seen to end in something says nothing.

use serde::{Deserialize, Serialize};

use super::distributions::beta_quantile;
use super::noise::median;
use super::rules::Rules;

/// The progress, as shares of the budget, at which a trial is looked at.
pub const LOOKS: [f64; 5] = [0.3, 0.4, 0.5, 0.65, 0.8];

/// Trials that must have finished before anything is concluded at a look.
const ENOUGH: usize = 8;

/// The slope of the final difference on the curve's lies within: differences neither turn round nor grow without bound.
const SLOPES: (f64, f64) = (0.0, 2.0);

/// A curve's difference may lie outside those seen by this share of their range and still be judged.
const MARGIN: f64 = 0.1;

/// Curve's differences beyond this many robust standard deviations are drawn in.
const FAR_OUT: f64 = 4.0;

/// So are residuals beyond this many.
const FAR_OFF: f64 = 2.0;

/// How often the line is drawn anew with residuals drawn in; it hardly moves after the first few.
const ROUNDS: usize = 10;

/// A normal's sd over the median of its absolute value.
const SD_OF_MEDIAN: f64 = 1.482_6;

/// What was learnt so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Early {
    /// Per look, against the present reference: curve's difference and final difference.
    seen: Vec<Vec<(f64, f64)>>,
    spared: u32,
    wrong: u32,
}

/// How often a stop would have been wrong, among trials that were left to finish for that purpose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FalseStops {
    /// Trials that would have been stopped and were left to finish.
    pub spared: u32,
    /// Those that were kept in the end.
    pub wrong: u32,
    /// 95 % interval of the share (Clopper and Pearson, 1934).
    pub interval: (f64, f64),
}

impl Early {
    /// Nothing learnt yet.
    pub fn new() -> Early {
        Early::default()
    }

    /// Trials are compared with another champion from now on. `own`: look, curve's difference and final difference of its own trials
    /// against the champion before. Everything seen is told anew against the new one: its curves are its own word, but how they went
    /// with what the evaluator then found was seen while it was a candidate, so that a curve that promises too much only moves the
    /// line. Where its trials have no look, what was seen counts no more. How many stops were wrong is a figure of the rule and stays.
    pub fn new_reference(&mut self, own: &[(usize, f64, f64)]) {
        for (look, points) in self.seen.iter_mut().enumerate() {
            let mine: Vec<(f64, f64)> = own.iter().filter(|seen| seen.0 == look).map(|seen| (seen.1, seen.2)).collect();
            if mine.is_empty() {
                points.clear();
                continue;
            }
            let count = mine.len() as f64;
            let (curve, last) =
                mine.iter().fold((0.0, 0.0), |sum, seen| (sum.0 + seen.0 / count, sum.1 + seen.1 / count));
            for point in points {
                *point = (point.0 - curve, point.1 - last);
            }
        }
    }

    /// Learns from a trial that finished: the curve's difference at look number `look` and the difference of the two runs in the end,
    /// bits per byte.
    pub fn observe(&mut self, look: usize, curve_difference: f64, final_difference: f64) {
        if look < LOOKS.len() && curve_difference.is_finite() && final_difference.is_finite() {
            self.seen.resize_with(LOOKS.len(), Vec::new);
            self.seen[look].push((curve_difference, final_difference));
        }
    }

    /// What the final difference will be by the curve's difference at a look, with the sd of that forecast's error, bits per byte;
    /// `None` before enough trials have finished, or when no trial with about such a difference has.
    pub fn forecast(&self, look: usize, curve_difference: f64) -> Option<(f64, f64)> {
        let points = self.seen.get(look).filter(|points| points.len() >= ENOUGH)?;
        let fit = Fit::of(points)?;
        fit.speaks_of(curve_difference).then(|| fit.predict(curve_difference))
    }

    /// Whether the experiment with this number (any number of its own will do) belongs to the random sample that is left to finish.
    pub fn spared(rules: &Rules, experiment: u64) -> bool {
        // SplitMix64 (Steele, Lea and Flood, 2014): neighbouring numbers are spared independently.
        let mut z = experiment.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / ((1_u64 << 53) as f64) < rules.early_spare
    }

    /// Counts a trial that would have been stopped and was left to finish; `kept`: its experiment was kept in the end.
    pub fn count_spared(&mut self, kept: bool) {
        self.spared += 1;
        self.wrong += u32::from(kept);
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
    /// The least and the largest of the curve's differences, far ones drawn in.
    range: (f64, f64),
}

impl Fit {
    fn of(points: &[(f64, f64)]) -> Option<Fit> {
        // A single trial with a curve of its own must neither set the line nor stretch the range.
        let middle = median(points.iter().map(|p| p.0).collect());
        let reach = FAR_OUT * SD_OF_MEDIAN * median(points.iter().map(|p| (p.0 - middle).abs()).collect());
        let x: Vec<f64> = points.iter().map(|p| p.0.clamp(middle - reach, middle + reach)).collect();
        let count = points.len() as f64;
        let x_centre = x.iter().sum::<f64>() / count;
        let squares: f64 = x.iter().map(|x| (x - x_centre).powi(2)).sum();
        if squares <= 0.0 {
            return None;
        }
        let line = |y: &[f64]| -> (f64, f64) {
            let y_centre = y.iter().sum::<f64>() / count;
            let products: f64 = x.iter().zip(y).map(|(x, y)| (x - x_centre) * (y - y_centre)).sum();
            ((products / squares).clamp(SLOPES.0, SLOPES.1), y_centre)
        };
        let mut y: Vec<f64> = points.iter().map(|p| p.1).collect();
        // The first line takes every point as if it were no further from the median than the others are.
        let y_middle = median(y.clone());
        let y_reach = FAR_OUT * SD_OF_MEDIAN * median(y.iter().map(|y| (y - y_middle).abs()).collect());
        if y_reach > 0.0 {
            y.iter_mut().for_each(|y| *y = y.clamp(y_middle - y_reach, y_middle + y_reach));
        }
        let (mut slope, mut y_centre) = line(&y);
        let mut drawn_in = 0;
        for _ in 0..ROUNDS {
            let expected: Vec<f64> = x.iter().map(|x| y_centre + slope * (x - x_centre)).collect();
            let sizes = points.iter().zip(&expected).map(|(p, expected)| (p.1 - expected).abs()).collect();
            let reach = FAR_OFF * SD_OF_MEDIAN * median(sizes);
            drawn_in = 0;
            for ((y, p), expected) in y.iter_mut().zip(points).zip(&expected) {
                let far = reach > 0.0 && (p.1 - expected).abs() > reach;
                drawn_in += usize::from(far);
                *y = if far { p.1.clamp(expected - reach, expected + reach) } else { p.1 };
            }
            (slope, y_centre) = line(&y);
        }
        let residuals: f64 = x.iter().zip(&y).map(|(x, y)| (y - y_centre - slope * (x - x_centre)).powi(2)).sum();
        // What was drawn in makes the rest look calmer than it is: Huber's factor sets that right.
        let left = (count - drawn_in as f64) / count;
        let spread = (residuals / (count - 2.0)).sqrt() / left;
        let range = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |range, x| (range.0.min(*x), range.1.max(*x)));
        Some(Fit { slope, centre: (x_centre, y_centre), squares, count, spread, range })
    }

    /// Whether trials with about such a difference have finished.
    fn speaks_of(&self, curve_difference: f64) -> bool {
        let (least, largest) = self.range;
        let margin = MARGIN * (largest - least);
        (least - margin..=largest + margin).contains(&curve_difference)
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
    fn a_forecast_is_the_line_through_what_was_seen_once_enough_was() {
        let mut lots = Lots::new(5);
        let early = taught(30, 0.001, &mut lots);
        for curve in [0.007, 0.001, -0.006] {
            let (expected, spread) = early.forecast(2, curve).unwrap();
            assert!(
                (expected - 0.8 * curve).abs() < 0.001 && (0.0005..0.0016).contains(&spread),
                "{expected} {spread}"
            );
        }
        assert_eq!(early.forecast(2, -0.02), None, "none with about such a difference has finished");
        assert_eq!(early.forecast(LOOKS.len(), 0.007), None);
        assert_eq!(taught(ENOUGH as u32 - 1, 0.000_1, &mut lots).forecast(2, 0.006), None);
    }

    #[test]
    fn a_champion_that_misreports_its_loss_ends_no_other_trials() {
        let mut lots = Lots::new(41);
        let mut early = taught(30, 0.001, &mut lots);
        assert!(early.forecast(2, 0.007).is_some());
        // It reports a tenth of its loss of about 3: all others look 2.7 worse, candidates with another term in their loss 0.5.
        for difference in [2.7, 0.5, 0.05, -2.7] {
            assert_eq!(early.forecast(2, difference), None, "nothing like {difference} was ever seen");
        }
        early.count_spared(false);
        early.new_reference(&[]);
        assert_eq!(early.forecast(2, 0.007), None, "what was seen against the last champion does not count");
        assert_eq!(early.false_stops().unwrap().spared, 1);
        // Against it, honest trials all look alike, whatever becomes of them: the forecast says how little it knows.
        for trial in 0..ENOUGH {
            let honest = 2.7 + 0.005 * lots.normal();
            early.observe(2, honest, if trial % 2 == 0 { -0.004 } else { 0.004 } + 0.001 * lots.normal());
        }
        let (expected, spread) = early.forecast(2, 2.7).unwrap();
        assert!(expected.abs() < spread && spread > 0.003, "{expected} {spread}");
    }

    #[test]
    fn one_broken_trial_neither_sets_the_line_nor_stretches_the_range() {
        let mut lots = Lots::new(43);
        let clean = taught(30, 0.001, &mut lots);
        for broken in [(0.0, 0.5), (3.0, 0.0), (3.0, 0.5), (-3.0, 0.5)] {
            let mut early = clean.clone();
            early.observe(2, broken.0, broken.1);
            let (expected, spread) = early.forecast(2, 0.008).unwrap();
            assert!((expected - 0.8 * 0.008).abs() < 0.0015, "{expected} with {broken:?}");
            assert!(spread < 0.003, "{spread} with {broken:?}");
            assert_eq!(early.forecast(2, 1.0), None, "{broken:?}");
        }
    }

    #[test]
    fn forecasts_are_as_far_off_as_they_say() {
        let mut lots = Lots::new(17);
        let (mut told, mut within) = (0, 0);
        for _ in 0..150 {
            let early = taught(20, 0.0015, &mut lots);
            for _ in 0..20 {
                let curve = 0.005 * lots.normal();
                let found = 0.8 * curve + 0.0015 * lots.normal();
                let Some((expected, spread)) = early.forecast(2, curve) else { continue };
                told += 1;
                // 2.10: the 97.5 % point of Student's t for 18 degrees.
                within += u32::from((found - expected).abs() < 2.10 * spread);
            }
        }
        let share = f64::from(within) / f64::from(told);
        assert!(told > 2_000 && (0.91..=0.98).contains(&share), "{within} of {told}");
    }

    #[test]
    fn curves_that_tell_nothing_forecast_no_more_than_is_usual() {
        let mut lots = Lots::new(23);
        let mut early = Early::new();
        for _ in 0..40 {
            early.observe(1, lots.normal(), 0.002 * lots.normal());
        }
        let (expected, spread) = early.forecast(1, 1.5).unwrap();
        assert!(expected.abs() < 0.0015 && spread > 0.001, "{expected} {spread}");
        let mut same = Early::new();
        for _ in 0..40 {
            same.observe(1, 0.25, lots.normal());
        }
        assert_eq!(same.forecast(1, 0.25), None, "a line through one place has no slope");
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
            look in 0_usize..7, curve in -100.0..100.0_f64
        ) {
            let mut early = Early::new();
            for (look, curve, found) in seen { early.observe(look, curve, found); }
            if let Some((expected, spread)) = early.forecast(look, curve) {
                proptest::prop_assert!(expected.is_finite() && spread.is_finite() && spread > 0.0);
            }
        }
    }
}
