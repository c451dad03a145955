//! How unequally ideas scatter.
//!
//! There is no one variance of a pair. An idea that leaves training's first steps alone repeats its champion's luck, another draws it
//! anew: on the real quickstart the pairs of the first kind have an sd of 0.0017, those of the second 0.043 (docs/noise.md). So the
//! variance of an idea's pairs is its *ratio* times the pooled one, and an idea's own pairs have a say in which ratio is its own.
//!
//! This is the moderated variance of Smyth (Linear models and empirical Bayes methods, 2004), whose prior over ideas is one scaled inverse
//! chi-squared distribution. Two kinds of ideas have two modes, which one such distribution does not fit: the prior here is a ladder of
//! ratios whose weights are learnt by expectation and maximisation with a Dirichlet prior (free-form, as in Lu and Stephens, Variance
//! adaptive shrinkage, 2016). Where all ideas scatter alike nearly all weight stays at 1 and nothing changes; where they do not, the
//! first trial of a new idea is weighed with the heavy tails that not knowing its ratio implies, a mixture of normal distributions
//! in place of Student's t, and every further pair narrows it down.

use serde::{Deserialize, Serialize};

/// The ladder: variance of an idea's pairs over that of the wildest. The pooled variance is the mean over all ideas.
const RUNGS: [f64; 4] = [1.0 / 1024.0, 1.0 / 128.0, 1.0 / 16.0, 1.0];

/// Ideas that the prior weights are worth: to begin with all are taken to scatter alike.
const PRIOR: [f64; 4] = [0.1, 0.1, 0.2, 9.6];

/// Rungs less probable than this do not count.
const NEGLIGIBLE: f64 = 1e-3;

/// Rounds of expectation and maximisation.
const ROUNDS: usize = 20;

/// The scatter of one idea's pairs about their own mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scatter {
    /// Sum of squares, (bits per byte)^2.
    pub squares: f64,
    /// Pairs less one.
    pub degrees: f64,
}

impl Scatter {
    /// Of paired differences, bits per byte; `None` for less than two.
    pub(super) fn of(pairs: &[f64]) -> Option<Scatter> {
        let count = pairs.len() as f64;
        let mean = pairs.iter().sum::<f64>() / count;
        let squares = pairs.iter().map(|pair| (pair - mean).powi(2)).sum();
        (pairs.len() > 1).then_some(Scatter { squares, degrees: count - 1.0 })
    }

    /// Logarithm of its likelihood where pairs have this variance, up to a constant.
    fn log_likelihood(self, variance: f64) -> f64 {
        let variance = variance.max(f64::MIN_POSITIVE);
        -0.5 * self.degrees * variance.ln() - 0.5 * self.squares / variance
    }
}

/// How probable each rung is for an idea of which nothing is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    weights: [f64; RUNGS.len()],
}

impl Spread {
    /// All ideas scatter alike, for certain.
    pub fn alike() -> Spread {
        Spread { weights: RUNGS.map(|rung| f64::from(u8::from(rung == 1.0))) }
    }

    /// Learns from the scatters of ideas' own pairs, of which all together have this variance.
    pub(super) fn learn(scatters: &[Scatter], pair_variance: f64) -> Spread {
        let known: Vec<&Scatter> = scatters.iter().filter(|scatter| scatter.squares.is_finite()).collect();
        let total = PRIOR.iter().sum::<f64>() + known.len() as f64;
        let mut spread = Spread { weights: PRIOR.map(|prior| prior / PRIOR.iter().sum::<f64>()) };
        for _ in 0..if known.is_empty() { 0 } else { ROUNDS } {
            let mut counts = PRIOR;
            for scatter in &known {
                for (count, weight) in counts.iter_mut().zip(spread.given(scatter, pair_variance)) {
                    *count += weight;
                }
            }
            spread.weights = counts.map(|count| count / total);
        }
        spread
    }

    /// Variance of an idea's pairs on each rung over the pooled one.
    fn all_ratios(&self) -> [f64; RUNGS.len()] {
        let mean: f64 = RUNGS.iter().zip(self.weights).map(|(rung, weight)| rung * weight).sum();
        RUNGS.map(|rung| rung / mean.max(f64::MIN_POSITIVE))
    }

    /// The rungs' probabilities for an idea whose pairs scatter so.
    fn given(&self, scatter: &Scatter, pair_variance: f64) -> [f64; RUNGS.len()] {
        let ratios = self.all_ratios();
        let logs: [f64; RUNGS.len()] = std::array::from_fn(|k| {
            self.weights[k].max(1e-300).ln() + scatter.log_likelihood(ratios[k] * pair_variance)
        });
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = logs.map(|log| (log - most).exp());
        let total: f64 = weights.iter().sum();
        weights.map(|weight| weight / total)
    }

    /// The ratios to the pooled variance that an idea may have, with their probabilities: of one whose pairs scatter so, or (`None`) of
    /// a new one.
    pub(super) fn ratios(
        &self,
        scatter: Option<&Scatter>,
        pair_variance: f64,
    ) -> impl Iterator<Item = (f64, f64)> + use<> {
        let weights = scatter.map_or(self.weights, |scatter| self.given(scatter, pair_variance));
        self.all_ratios().into_iter().zip(weights).filter(|(_, weight)| *weight > NEGLIGIBLE)
    }

    /// How probable it is that a new idea scatters as the wildest do.
    pub fn wild(&self) -> f64 {
        self.weights[RUNGS.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Lots;

    const VARIANCE: f64 = 1e-6;

    /// Scatters of so many ideas with three pairs each; the ratios take turns.
    fn scatters(ideas: usize, ratios: &[f64], lot: u64) -> Vec<Scatter> {
        let mut lots = Lots::new(lot);
        (0..ideas)
            .map(|idea| {
                let sd = (ratios[idea % ratios.len()] * VARIANCE).sqrt();
                let pairs: Vec<f64> = (0..3).map(|_| 0.01 + sd * lots.normal()).collect();
                Scatter::of(&pairs).unwrap()
            })
            .collect()
    }

    /// Probability of the last rung.
    fn wild(spread: &Spread, squares: f64) -> f64 {
        spread.given(&Scatter { squares: squares * VARIANCE, degrees: 2.0 }, VARIANCE)[RUNGS.len() - 1]
    }

    #[test]
    fn where_all_scatter_alike_the_pooled_variance_is_everybodys() {
        let spread = Spread::learn(&scatters(40, &[1.0], 1), VARIANCE);
        assert!(spread.wild() > 0.93, "{spread:?}");
        // Pairs that happen to agree well are no reason to trust them ten times as much.
        assert!(wild(&spread, 0.1) > 0.5);
        let (ratio, _) = spread.ratios(None, VARIANCE).last().unwrap();
        assert!((1.0..1.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn two_kinds_of_ideas_are_told_apart() {
        // Together they have the pooled variance.
        let spread = Spread::learn(&scatters(40, &[2.0 / 128.0, 2.0], 2), VARIANCE);
        assert!((0.4..0.7).contains(&spread.wild()), "{spread:?}");
        let (ratio, _) = spread.ratios(None, VARIANCE).last().unwrap();
        assert!((1.5..2.5).contains(&ratio), "{ratio}");
        for (squares, low, high) in [(0.01, 0.0, 0.05), (2.0, 0.95, 1.0)] {
            assert!((low..=high).contains(&wild(&spread, squares)), "{} for {squares}", wild(&spread, squares));
        }
    }

    #[test]
    fn one_pair_has_no_scatter() {
        assert_eq!(Scatter::of(&[0.1]), None);
        assert_eq!(Scatter::of(&[]), None);
        let of_two = Scatter::of(&[0.1, 0.3]).unwrap();
        assert!((of_two.squares - 0.02).abs() < 1e-12 && of_two.degrees == 1.0);
    }

    proptest::proptest! {
        #[test]
        fn more_scatter_never_makes_an_idea_calmer_and_any_figures_give_probabilities(
            seen in proptest::collection::vec((0.0..1e3_f64, 1..8_u32), 0..30),
            one in 0.0..1e3_f64,
            more in 0.0..1e3_f64,
            degrees in 1..8_u32,
        ) {
            let scatter = |squares: f64, degrees: u32| Scatter { squares: squares * VARIANCE, degrees: f64::from(degrees) };
            let seen: Vec<Scatter> = seen.into_iter().map(|(squares, degrees)| scatter(squares, degrees)).collect();
            let spread = Spread::learn(&seen, VARIANCE);
            proptest::prop_assert!((spread.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let expected = |squares: f64| -> f64 {
                spread.given(&scatter(squares, degrees), VARIANCE).iter().zip(RUNGS).map(|(w, rung)| w * rung).sum()
            };
            proptest::prop_assert!(expected(one) <= expected(one + more) * (1.0 + 1e-9));
        }
    }
}
