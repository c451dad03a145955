//! Where a claim is audited: draws cuts and says what each of them counts for. Pure.
//!
//! # The rule
//!
//! `K` cuts are drawn over the `N` scored tokens of the held-out rows. A quarter of them ([`UNIFORM_SHARE`]) are uniform. The
//! others are aimed: token `i`, of which the model claims `c_i` nats where the reference gave `r_i`, is drawn with
//! probability `p_i` proportional to `max(0, min(g, r_i - c_i) + m)^1.5` ([`MARGIN`], [`POWER`], [`MOST_GAIN`]). A cut at token `i` counts
//! `w_i = 1 / (N q_i)` with `q_i = 1/4 u_i + 3/4 p_i` and `u_i = 1/N`, whichever part it came from (the balance heuristic of
//! Veach and Guibas, 1995), so the mean of `w d` over the cuts is an unbiased estimate of the mean of `d` over all tokens,
//! for any `d`, and no cut ever counts for more than four.
//!
//! # What a cheat that knows the rule would do
//!
//! It wants to lower the loss by `L` nats in all; `L/N` = 0.02 nats a token is 0.01 bits per byte at three bytes a token. It
//! chooses for itself whether it takes `g` = 5 nats at `f` = 0.4 % of the tokens or 1 nat at 2 %, and at which. One hit
//! is enough to find it, because an honest model's answers agree to within rounding. A cut that is drawn uniformly hits
//! with probability `f`: 256 of them miss 5 nats at 0.4 % in `(1 - 0.004)^256` = 36 % of audits.
//!
//! *How many nats at a time?* Aimed in proportion to the gain, and without noise, a cut hits with probability `L / (P + L)`, where `P` is
//! the sum of honest gains, however the leak is spread: the choice would not matter. With Gaussian noise of sd `s`
//! between champion and candidate `P/N = 0.4 s`, so at `s` = 1 (measured between two cpu-scale models of different seeds:
//! 1.07; of the same seed: 0.59) that is 0.048: 128 aimed cuts miss all with probability 0.002. But noise
//! does matter: where leaks are smaller than `s` a cheat can choose among its many tokens those at which the noise hides
//! it (below), and concentrated leaks stand out of the noise. The power of 1.5 finds the latter so surely that more margin can
//! be spent on the former; a power of 2 finds spread leaks too rarely.
//!
//! *Where?* Where the model is otherwise worse than the reference, since a leak then only brings it back to a gain of nothing. The
//! margin gives such tokens their part of the aimed cuts: such a token is drawn some 0.7 to 0.9 times as often
//! as if all cuts were uniform. A cheat that leaks where it is worse by chance, or where its own loss is highest, is missed in less than
//! 1 %. A cheat that takes back exactly what it loses, token by token, would have to know the champion's loss at each; it is
//! missed in 3 % at `s` = 0.5, and in four of ten at `s` = 1: no audit of 256 cuts can tell these tokens from half of all. It has
//! then brought its worst tokens to the champion's level, and would have to carry the champion inside to know them.
//!
//! `simulation` (a test beside this file) draws thousands of audits of each of these.
//!
//! # Without a champion
//!
//! The night's start has no reference that is near it. A bigram model of the training text ([`super::reference`]) is within an sd of
//! 1.7 nats, which aims worse; so [`cuts_without_champion`] are drawn, once a night.
//!
//! # Why strata
//!
//! Each part is drawn along the tokens sorted by gain, one cut from each of as many equally likely strata as it has
//! cuts. That is still unbiased, its variance is never larger, and it misses less: when stratum `k` is leaked to the part `a_k`,
//! all cuts miss with probability `prod (1 - a_k)`, which for a given sum is largest when all `a_k` are equal, and
//! that is the case of independent draws. Leaks of similar size lie side by side in that order.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// Part of the cuts that is drawn uniformly.
pub const UNIFORM_SHARE: f64 = 0.25;

/// Nats that are added to every gain before it aims a cut. About the sd of the difference between two honest models of one
/// campaign at a token.
pub const MARGIN: f64 = 0.7;

/// Power of the gain, margin included, to which a token is drawn in proportion.
pub const POWER: f64 = 1.5;

/// Nats beyond which a gain draws no more cuts: the champion's claim is edited code's word as well, and one that
/// claimed a thousand nats at a single token would draw the aimed cuts of all its successors there.
pub const MOST_GAIN: f64 = 8.0;

/// How many cuts take the place of `cuts` when there is no champion whose claim could aim them.
pub fn cuts_without_champion(cuts: usize) -> usize {
    cuts.saturating_mul(4)
}

/// One audited place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Which held-out row.
    pub row: usize,
    /// Which of its targets, from 0: the model sees the tokens `0..=position` and must predict token `position + 1`.
    pub position: usize,
    /// What a difference here counts for in the mean over all scored tokens: between 0 and `1 / UNIFORM_SHARE`.
    pub weight: f64,
    /// Whether it was drawn where a leak would have paid.
    pub aimed: bool,
}

/// All cuts of an audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The uniform ones, then the aimed ones, each part in the order of its strata. A place can be drawn more than once.
    pub cuts: Vec<Cut>,
    /// How many tokens they were drawn from.
    pub scored: usize,
}

impl Drawn {
    /// How many distinct places are audited, and how many of these were drawn only where a leak would have paid: a place that
    /// is drawn twice is asked once, and shows no more than that.
    pub fn places(&self) -> (usize, usize) {
        let place = |cut: &Cut| (cut.row, cut.position);
        let all: BTreeSet<_> = self.cuts.iter().map(place).collect();
        let uniform: BTreeSet<_> = self.cuts.iter().filter(|cut| !cut.aimed).map(place).collect();
        (all.len(), all.len() - uniform.len())
    }
}

/// Where a leak would have paid in one claim: what cuts are drawn from.
#[derive(Debug, Clone)]
pub struct Aim {
    /// The scored tokens by ascending gain: index into the claim, and its pull on aimed cuts.
    tokens: Vec<(usize, f64)>,
    /// Sums of the pulls up to and including each of them.
    sums: Vec<f64>,
    context: usize,
}

impl Aim {
    /// `claim` and `reference` are nats, `bytes` the bytes of text that each target stands for (0: not scored, never drawn), all
    /// three [rows, context], flat. Where they differ in length, there is nothing to draw from.
    pub fn new(claim: &[f32], bytes: &[u16], reference: &[f32], context: usize) -> Aim {
        let fits = claim.len() == bytes.len() && reference.len() == bytes.len() && context > 0;
        let mut tokens: Vec<(usize, f64)> = (0..if fits { bytes.len() } else { 0 })
            .filter(|&i| bytes[i] > 0)
            .map(|i| (i, (f64::from(reference[i]) - f64::from(claim[i])).min(MOST_GAIN)))
            .collect();
        tokens.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(tokens.len());
        for (_, gain) in &mut tokens {
            *gain = (*gain + MARGIN).max(0.0).powf(POWER);
            sum += *gain;
            sums.push(sum);
        }
        Aim { tokens, sums, context }
    }

    /// How many tokens are scored.
    pub fn scored(&self) -> usize {
        self.tokens.len()
    }

    /// Draws so many cuts; none where no token is scored. The seed must be one that nobody could know while the claim was made.
    pub fn draw(&self, cuts: usize, seed: u64) -> Drawn {
        let scored = self.tokens.len();
        if scored == 0 {
            return Drawn { cuts: Vec::new(), scored };
        }
        let pulls = self.sums.last().copied().unwrap_or(0.0);
        // A model that is far worse than the reference everywhere gains nowhere; then every cut is uniform.
        let aimless = pulls <= 0.0 || !pulls.is_finite();
        let uniform = if aimless { cuts } else { (cuts as f64 * UNIFORM_SHARE).ceil() as usize };
        let aimed = cuts - uniform;
        let share = uniform as f64 / cuts.max(1) as f64;
        let cut = |at: usize, aimed: bool| {
            let (index, pull) = self.tokens[at.min(scored - 1)];
            let relative = if aimless { 0.0 } else { scored as f64 * pull / pulls };
            let weight = 1.0 / (share + (1.0 - share) * relative);
            Cut { row: index / self.context, position: index % self.context, weight, aimed }
        };
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let mut drawn = Vec::with_capacity(cuts);
        for stratum in 0..uniform {
            let along = (stratum as f64 + random.random::<f64>()) / uniform as f64;
            drawn.push(cut((along * scored as f64) as usize, false));
        }
        for stratum in 0..aimed {
            let along = (stratum as f64 + random.random::<f64>()) / aimed as f64 * pulls;
            drawn.push(cut(self.sums.partition_point(|sum| *sum <= along), true));
        }
        Drawn { cuts: drawn, scored }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(claim: &[f32], bytes: &[u16], reference: &[f32], context: usize, cuts: usize, seed: u64) -> Drawn {
        Aim::new(claim, bytes, reference, context).draw(cuts, seed)
    }

    #[test]
    fn only_scored_tokens_are_drawn_and_each_stands_where_it_should() {
        let claim = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let drawn = draw(&claim, &[0, 3, 0, 0, 2, 0], &claim, 3, 64, 1);
        assert_eq!(drawn.scored, 2);
        assert_eq!(drawn.cuts.len(), 64);
        let places: Vec<_> = drawn.cuts.iter().map(|cut| (cut.row, cut.position)).collect();
        assert!(places.iter().all(|place| [(0, 1), (1, 1)].contains(place)), "{places:?}");
        assert!(places.contains(&(0, 1)) && places.contains(&(1, 1)));
        assert_eq!(drawn.cuts.iter().filter(|cut| cut.aimed).count(), 48);
    }

    #[test]
    fn nothing_to_draw_from_gives_no_cuts() {
        assert!(draw(&[], &[], &[], 4, 8, 1).cuts.is_empty());
        assert!(draw(&[1.0], &[0], &[1.0], 1, 8, 1).cuts.is_empty());
        assert!(draw(&[1.0], &[1, 1], &[1.0], 1, 8, 1).cuts.is_empty());
        assert!(draw(&[1.0], &[1], &[1.0], 1, 0, 1).cuts.is_empty());
    }

    #[test]
    fn a_model_that_gains_nowhere_is_audited_uniformly() {
        let drawn = draw(&[9.0; 40], &[1; 40], &[1.0; 40], 10, 20, 3);
        assert!(drawn.cuts.iter().all(|cut| !cut.aimed && cut.weight == 1.0));
        // One cut from each of 20 strata of two tokens.
        let mut places: Vec<_> = drawn.cuts.iter().map(|cut| (cut.row * 10 + cut.position) / 2).collect();
        places.sort_unstable();
        assert_eq!(places, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_gain_draws_cuts() {
        let mut claim = vec![3.0; 1_000];
        claim[123] = 0.0;
        let hits = |margin_only: bool| {
            let reference = if margin_only { claim.clone() } else { vec![3.0; 1_000] };
            let drawn = draw(&claim, &[1; 1_000], &reference, 100, 2_000, 5);
            drawn.cuts.iter().filter(|cut| (cut.row, cut.position) == (1, 23)).count()
        };
        // Of 1,500 aimed cuts 1,500 * 3.7^1.5 / (999 * 0.7^1.5 + 3.7^1.5) = 18.0, and at most one uniform one; else 2 in all.
        assert!((17..=20).contains(&hits(false)), "{}", hits(false));
        assert!((1..=3).contains(&hits(true)), "{}", hits(true));
    }

    #[test]
    fn a_champion_cannot_draw_all_cuts_to_one_token() {
        let claim = [3.0_f32; 10_000];
        let mut reference = claim;
        reference[4_321] = 1_000.0;
        let drawn = draw(&claim, &[1; 10_000], &reference, 100, 256, 5);
        let there = drawn.cuts.iter().filter(|cut| (cut.row, cut.position) == (43, 21)).count();
        assert!(there <= 3, "{there}");
        // Repeats are not counted as places.
        assert_eq!(drawn.places().0, drawn.cuts.len() - repeats(&drawn));
        let few = draw(&[1.0; 4], &[1; 4], &[1.0; 4], 4, 64, 1);
        assert_eq!((few.cuts.len(), few.places()), (64, (4, 0)));
    }

    fn repeats(drawn: &Drawn) -> usize {
        let mut places: Vec<_> = drawn.cuts.iter().map(|cut| (cut.row, cut.position)).collect();
        places.sort_unstable();
        places.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    #[test]
    fn every_token_is_drawn_as_often_as_its_weight_says() {
        let claim: Vec<f32> = (0..12).map(|i| i as f32 * 0.4).collect();
        let reference = [2.0_f32; 12];
        let (mut seen, repetitions, cuts) = ([0_u32; 12], 4_000, 7);
        let mut weights = [0.0; 12];
        for seed in 0..repetitions {
            for cut in draw(&claim, &[1; 12], &reference, 12, cuts, seed).cuts {
                seen[cut.position] += 1;
                weights[cut.position] = cut.weight;
            }
        }
        for (token, (&seen, &weight)) in seen.iter().zip(&weights).enumerate() {
            let expected = repetitions as f64 * cuts as f64 / (12.0 * weight);
            let sd = expected.sqrt();
            assert!((f64::from(seen) - expected).abs() < 4.5 * sd, "token {token}: {seen}, expected {expected:.0}");
        }
    }

    proptest! {
        #[test]
        fn weights_are_bounded_and_repeat(
            tokens in prop::collection::vec((0.0_f32..12.0, 0.0_f32..12.0, 0_u16..3), 1..300),
            cuts in 1_usize..80,
            seed in any::<u64>(),
        ) {
            let claim: Vec<f32> = tokens.iter().map(|t| t.0).collect();
            let reference: Vec<f32> = tokens.iter().map(|t| t.1).collect();
            let bytes: Vec<u16> = tokens.iter().map(|t| t.2).collect();
            let drawn = draw(&claim, &bytes, &reference, 7, cuts, seed);
            prop_assert_eq!(&drawn, &draw(&claim, &bytes, &reference, 7, cuts, seed));
            prop_assert_eq!(drawn.scored, bytes.iter().filter(|&&b| b > 0).count());
            if drawn.scored > 0 {
                prop_assert_eq!(drawn.cuts.len(), cuts);
            }
            for cut in &drawn.cuts {
                prop_assert!(bytes[cut.row * 7 + cut.position] > 0);
                prop_assert!(cut.weight > 0.0 && cut.weight <= 1.0 / UNIFORM_SHARE + 1e-9, "{}", cut.weight);
            }
        }
    }
}
