//! Where a claim is audited: draws cuts and says what each of them counts for. Pure.
//!
//! # The rule
//!
//! `K` cuts are drawn over the `N` scored tokens of the held-out rows. Half of them are uniform. The other half are aimed:
//! token `i`, of which the model claims `c_i` nats where the reference gave `r_i`, is drawn with probability `p_i`
//! proportional to `max(0, r_i - c_i + m)` with the margin `m` = [`MARGIN`] nats. A cut at token `i` counts
//! `w_i = 1 / (N q_i)` with `q_i = 1/2 u_i + 1/2 p_i` and `u_i = 1/N`, whichever half it came from (the balance heuristic of Veach
//! and Guibas, 1995), so the mean of `w d` over the cuts is an unbiased estimate of the mean of `d` over all tokens, for any
//! `d`, and no cut ever counts for more than two.
//!
//! # Why proportional to the gain, and not to a power of it
//!
//! A cheat that lowers the loss by `L` nats in all chooses for itself whether it takes 5 nats at few tokens or 0.2 at many. Leave the
//! margin and the noise aside: the aimed half hits leaked tokens with probability `sum of leaked gains / sum of all gains = L /
//! (P + L)`, where `P` is what honest noise gains, *however the leak is spread*. With the gain squared, spread leaks are hit
//! less; with its root, concentrated ones; whoever knows the rule then picks the other. Proportional is where the choice
//! does not matter. With `L/N` = 0.02 nats a token (0.01 bits per byte at three bytes a token) and Gaussian noise of sd `s`
//! between champion and candidate, `P/N = 0.4 s`:
//!
//! | s, nats | P/N  | hit by one aimed cut | expected hits of 128 | missed by all |
//! |---------|------|----------------------|----------------------|---------------|
//! | 0.3     | 0.12 | 0.14                 | 18.3                 | 1e-8          |
//! | 0.5     | 0.20 | 0.091                | 11.6                 | 9e-6          |
//! | 1.0     | 0.40 | 0.048                | 6.1                  | 0.002         |
//!
//! One hit is enough, because an honest model's answers agree to within rounding.
//!
//! # Why a margin
//!
//! The weak spot of any rule that looks at gains is a leak that pays where the model is otherwise *worse* than the reference, since
//! it only brings those tokens back to a gain of nothing. Only the uniform half and the margin look there. With 5 nats at
//! `f` = 0.004 of the tokens the uniform half alone expects 0.5 hits; a cheat that leaks where it is worse by chance (half of the tokens)
//! keeps most of its gain and is hit about as often as any other. One that takes back exactly what it loses, token by
//! token, would have to know the champion's loss at each token, and can have no more tokens than there are that much worse: 1.2 %
//! of them, 1.6 nats each, when `s` is 0.5. The margin gives such tokens their part of the aimed half (2.8 hits instead of 1.6) and
//! takes few from the others (the table's 11.6 become 7). `simulation` (a test beside this file) measures all of it.
//!
//! # Why strata
//!
//! Each half is drawn along the tokens sorted by gain, one cut from each of as many equally likely strata as the half has
//! cuts. That is still unbiased, its variance is never larger, and it misses less: when a stratum `k` holds the leaked part `a_k` the
//! half misses with probability `prod (1 - a_k)`, which for a given sum is largest when all `a_k` are equal, and
//! that is the case of independent draws. Leaks of similar size lie side by side in that order.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// Nats that are added to every gain before it aims a cut; see the module's words. About the sd of the difference between two honest
/// models of one campaign at a token.
pub const MARGIN: f64 = 0.3;

/// One audited place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Which held-out row.
    pub row: usize,
    /// Which of its targets, from 0: the model sees the tokens `0..=position` and must predict token `position + 1`.
    pub position: usize,
    /// What a difference here counts for in the mean over all scored tokens: between 0 and 2.
    pub weight: f64,
    /// Whether it was drawn where a leak would have paid.
    pub aimed: bool,
}

/// All cuts of an audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The uniform ones, then the aimed ones, each half in the order of its strata. A place can be drawn more than once.
    pub cuts: Vec<Cut>,
    /// How many tokens they were drawn from.
    pub scored: usize,
}

/// Draws `cuts` cuts.
///
/// `claim` and `reference` are nats, `bytes` the bytes of text that each target stands for (0: not scored, never drawn), all three
/// [rows, context], flat. The seed must be one that nobody could know while the claim was made. The same arguments give
/// the same cuts. No token is scored, or the three differ in length: no cuts.
pub fn draw(claim: &[f32], bytes: &[u16], reference: &[f32], context: usize, cuts: usize, seed: u64) -> Drawn {
    if claim.len() != bytes.len() || reference.len() != bytes.len() || context == 0 {
        return Drawn { cuts: Vec::new(), scored: 0 };
    }
    let mut tokens: Vec<(f64, usize)> = (0..bytes.len())
        .filter(|&i| bytes[i] > 0)
        .map(|i| (f64::from(reference[i]) - f64::from(claim[i]), i))
        .collect();
    tokens.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let scored = tokens.len();
    if scored == 0 {
        return Drawn { cuts: Vec::new(), scored };
    }
    let pull = |gain: f64| (gain + MARGIN).max(0.0);
    let pulls: f64 = tokens.iter().map(|&(gain, _)| pull(gain)).sum();
    // A model that is far worse than the reference everywhere gains nowhere; then every cut is uniform.
    let aimed = if pulls > 0.0 && pulls.is_finite() { cuts / 2 } else { 0 };
    let uniform = cuts - aimed;
    let share = uniform as f64 / cuts.max(1) as f64;
    let weight = |gain: f64| {
        let relative = if aimed > 0 { scored as f64 * pull(gain) / pulls } else { 0.0 };
        1.0 / (share + (1.0 - share) * relative)
    };
    let cut = |at: usize, aimed: bool| {
        let (gain, index) = tokens[at.min(scored - 1)];
        Cut { row: index / context, position: index % context, weight: weight(gain), aimed }
    };

    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let mut drawn = Vec::with_capacity(cuts);
    for stratum in 0..uniform {
        let along = (stratum as f64 + random.random::<f64>()) / uniform as f64;
        drawn.push(cut((along * scored as f64) as usize, false));
    }
    let (mut at, mut passed) = (0, pull(tokens[0].0));
    for stratum in 0..aimed {
        let along = (stratum as f64 + random.random::<f64>()) / aimed as f64 * pulls;
        while passed <= along && at + 1 < scored {
            at += 1;
            passed += pull(tokens[at].0);
        }
        drawn.push(cut(at, true));
    }
    Drawn { cuts: drawn, scored }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_scored_tokens_are_drawn_and_each_stands_where_it_should() {
        let claim = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let drawn = draw(&claim, &[0, 3, 0, 0, 2, 0], &claim, 3, 64, 1);
        assert_eq!(drawn.scored, 2);
        assert_eq!(drawn.cuts.len(), 64);
        let places: Vec<_> = drawn.cuts.iter().map(|cut| (cut.row, cut.position)).collect();
        assert!(places.iter().all(|place| [(0, 1), (1, 1)].contains(place)), "{places:?}");
        assert!(places.contains(&(0, 1)) && places.contains(&(1, 1)));
        assert_eq!(drawn.cuts.iter().filter(|cut| cut.aimed).count(), 32);
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
        // 1,000 uniform cuts and 1,000 * 3.3 / (999 * 0.3 + 3.3) aimed ones, against 2 in all.
        assert!((11..=13).contains(&hits(false)), "{}", hits(false));
        assert!((1..=3).contains(&hits(true)), "{}", hits(true));
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
                prop_assert!(cut.weight > 0.0 && cut.weight <= 2.0 + 1e-9, "{}", cut.weight);
            }
        }
    }
}
