//! From the differences at the cuts to the mean over all tokens, and to corrected bits per byte. Pure.

use super::sample::Drawn;

/// What the differences at the cuts say of all scored tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean of audit minus claim over all scored tokens, nats per token. Unbiased: `1/K` times the sum of `w_k d_k`.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Largest difference at a cut, in absolute value.
    pub largest: f64,
    /// At which cut.
    pub largest_at: usize,
}

/// A sum of nats, corrected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corrected {
    /// Sum of the nats over all scored tokens.
    pub nats: f64,
    /// Bits per byte.
    pub bpb: f64,
    /// Standard error of the correction, bits per byte.
    pub standard_error: f64,
}

/// Estimates from one difference (audit minus claim, nats) for each cut, in their order.
///
/// The estimate divides by the number of cuts, not by the sum of their weights: the latter would be exact for a constant difference and
/// biased for any other. The standard error pairs neighbouring strata (collapsed strata; Cochran, Sampling Techniques, 1977,
/// section 5A.12), which counts the strata's own differences in and so rather overstates.
///
/// `None` without cuts, or when there are not as many differences as cuts.
pub fn estimate(drawn: &Drawn, differences: &[f64]) -> Option<Estimate> {
    if drawn.cuts.is_empty() || drawn.cuts.len() != differences.len() {
        return None;
    }
    let count = differences.len() as f64;
    let weighted: Vec<(bool, f64)> =
        drawn.cuts.iter().zip(differences).map(|(cut, difference)| (cut.aimed, cut.weight * difference)).collect();
    let mean = weighted.iter().map(|(_, value)| value).sum::<f64>() / count;
    let of = |half: bool| weighted.iter().filter(move |(aimed, _)| *aimed == half).map(|(_, value)| *value);
    let squares = half_squares(&of(false).collect::<Vec<_>>()) + half_squares(&of(true).collect::<Vec<_>>());
    let (largest_at, largest) = differences
        .iter()
        .map(|difference| if difference.is_nan() { f64::INFINITY } else { difference.abs() })
        .enumerate()
        .fold((0, 0.0), |most, this| if this.1 > most.1 { this } else { most });
    Some(Estimate { mean, standard_error: squares.sqrt() / count, largest, largest_at })
}

/// Variance of the sum of one half's values, by pairs of neighbours; the odd one out is paired with its neighbour once more.
fn half_squares(values: &[f64]) -> f64 {
    match values {
        [] => 0.0,
        [only] => only * only,
        _ => {
            let pairs: f64 = values.chunks_exact(2).map(|pair| (pair[0] - pair[1]).powi(2)).sum();
            let rest = match values {
                [.., before, last] if values.len() % 2 == 1 => (before - last).powi(2),
                _ => 0.0,
            };
            pairs + rest
        }
    }
}

/// Corrects the claimed sum of nats. `bytes` is the text that the scored tokens stand for.
pub fn correct(claimed_nats: f64, scored: usize, bytes: u64, estimate: &Estimate) -> Corrected {
    let to_bpb = 1.0 / (std::f64::consts::LN_2 * bytes as f64);
    let nats = claimed_nats + scored as f64 * estimate.mean;
    Corrected { nats, bpb: nats * to_bpb, standard_error: scored as f64 * estimate.standard_error * to_bpb }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::super::sample::Aim;
    use super::*;

    /// Claim and reference of a small held-out text.
    fn text(tokens: usize) -> (Vec<f32>, Vec<f32>, Vec<u16>) {
        let mut random = ChaCha12Rng::seed_from_u64(11);
        let claim: Vec<f32> = (0..tokens).map(|_| random.random::<f32>() * 6.0).collect();
        let reference = claim.iter().map(|claim| claim + random.random::<f32>() - 0.5).collect();
        (claim, reference, vec![2; tokens])
    }

    #[test]
    fn no_difference_corrects_nothing() {
        let (claim, reference, bytes) = text(500);
        let drawn = Aim::new(&claim, &bytes, &reference, 50).draw(31, 1);
        let found = estimate(&drawn, &[0.0; 31]).unwrap();
        assert_eq!((found.mean, found.standard_error, found.largest), (0.0, 0.0, 0.0));
        let nats: f64 = claim.iter().map(|&n| f64::from(n)).sum();
        let corrected = correct(nats, drawn.scored, 1_000, &found);
        assert_eq!(corrected.nats, nats);
        assert!((corrected.bpb - nats / std::f64::consts::LN_2 / 1_000.0).abs() < 1e-12);
        assert_eq!(corrected.standard_error, 0.0);
    }

    #[test]
    fn a_constant_difference_is_found_nearly_exactly() {
        // Uniform weights: to the last bit. Strata keep the sum of the weights near their number otherwise.
        let (claim, reference, bytes) = text(2_000);
        let uniform = Aim::new(&claim, &bytes, &[-9.0; 2_000], 50).draw(64, 1);
        assert_eq!(estimate(&uniform, &[0.25; 64]).unwrap().mean, 0.25);
        assert_eq!(estimate(&uniform, &[0.25; 64]).unwrap().standard_error, 0.0);
        let aim = Aim::new(&claim, &bytes, &reference, 50);
        for seed in 0..200 {
            let drawn = aim.draw(256, seed);
            let found = estimate(&drawn, &[0.25; 256]).unwrap();
            assert!((found.mean - 0.25).abs() < 0.25 * 0.01, "{}", found.mean);
        }
    }

    #[test]
    fn estimates_are_unbiased_and_their_standard_error_is_honest() {
        // Differences of three kinds: where the claim gains, where it loses, and by the token's number.
        let (claim, reference, bytes) = text(1_200);
        let aim = Aim::new(&claim, &bytes, &reference, 30);
        let gain = |i: usize| f64::from(reference[i] - claim[i]);
        for kind in [
            |gain: f64, _| gain.max(0.0),
            |gain: f64, _| -gain.min(0.0),
            |_, i: usize| f64::from(u8::from(i.is_multiple_of(40))),
        ] {
            let difference: Vec<f64> = (0..1_200).map(|i| kind(gain(i), i)).collect();
            let truth = difference.iter().sum::<f64>() / 1_200.0;
            let (mut sum, mut squares, mut variance, repetitions) = (0.0, 0.0, 0.0, 3_000);
            for seed in 0..repetitions {
                let drawn = aim.draw(65, seed);
                let at: Vec<f64> = drawn.cuts.iter().map(|cut| difference[cut.row * 30 + cut.position]).collect();
                let found = estimate(&drawn, &at).unwrap();
                sum += found.mean;
                squares += (found.mean - truth).powi(2);
                variance += found.standard_error.powi(2);
            }
            let n = repetitions as f64;
            let sd = (squares / n).sqrt();
            assert!((sum / n - truth).abs() < 4.0 * sd / n.sqrt(), "{} is not {truth}", sum / n);
            let stated = (variance / n).sqrt();
            assert!(stated > 0.9 * sd, "states {stated}, is {sd}");
        }
    }

    proptest! {
        #[test]
        fn the_largest_difference_is_one_of_them(differences in prop::collection::vec(-9.0_f64..9.0, 40)) {
            let (claim, reference, bytes) = text(200);
            let drawn = Aim::new(&claim, &bytes, &reference, 20).draw(40, 9);
            let found = estimate(&drawn, &differences).unwrap();
            prop_assert_eq!(differences[found.largest_at].abs(), found.largest);
            prop_assert!(differences.iter().all(|difference| difference.abs() <= found.largest));
        }
    }

    #[test]
    fn without_cuts_there_is_no_estimate() {
        let drawn = Aim::new(&[1.0], &[1], &[1.0], 1).draw(2, 1);
        assert!(estimate(&drawn, &[0.0]).is_none());
        assert!(estimate(&Aim::new(&[], &[], &[], 1).draw(2, 1), &[]).is_none());
    }
}
