//! The plain evaluator's arithmetic. Pure.

use crate::flow::{Rejected, Verified};

/// Name and version of this evaluator.
pub const EVALUATOR: &str = "plain/1";

/// Largest claim for one token, in nats, that is still taken for a number: e^-1000 is far below what float32 logits, let
/// alone capped ones, can express.
const MOST_NATS: f32 = 1_000.0;

/// Sums a claim up.
///
/// `claim` holds the nats of each target token, `bytes` how many bytes of text that token stands for, both row after row,
/// `rows * context` of them. Tokens that stand for no bytes (special tokens) are not scored, as in nanochat's
/// `evaluate_bpb`. Bits per byte is the sum of the nats over `ln 2` times the sum of the bytes.
///
/// # Errors
/// [`Rejected`] names the check that failed: `count`, `finite`, `normalised` or `text`.
pub fn verify(claim: &[f32], bytes: &[u16], seconds: f64) -> Result<Verified, Rejected> {
    let reject = |check: &str, evidence: String| Err(Rejected { check: check.to_owned(), evidence });
    if claim.len() != bytes.len() {
        return reject("count", format!("{} tokens were scored where there are {}", claim.len(), bytes.len()));
    }
    let (mut nats, mut text, mut tokens) = (0.0_f64, 0_u64, 0_u64);
    for (index, (&value, &length)) in claim.iter().zip(bytes).enumerate() {
        if !value.is_finite() || value > MOST_NATS {
            return reject("finite", format!("token {index} was given {value} nats"));
        }
        // A probability above one. Rounding in float32 can leave a certain token a hair below zero.
        if value < -1e-4 {
            return reject("normalised", format!("token {index} was given {value} nats, a probability above one"));
        }
        if length > 0 {
            nats += f64::from(value);
            text += u64::from(length);
            tokens += 1;
        }
    }
    if text == 0 {
        return reject("text", "the held-out rows stand for no bytes of text".to_owned());
    }
    let val_bpb = nats / (std::f64::consts::LN_2 * text as f64);
    Ok(Verified {
        val_bpb,
        standard_error: 0.0,
        claimed_bpb: val_bpb,
        nats,
        bytes: text,
        tokens,
        seconds,
        evaluator: EVALUATOR.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_bit_a_byte_is_one() {
        let bit = std::f32::consts::LN_2;
        let verified = verify(&[bit, 2.0 * bit, 7.0], &[1, 2, 0], 0.0).unwrap();
        assert!((verified.val_bpb - 1.0).abs() < 1e-6, "{}", verified.val_bpb);
        assert_eq!((verified.bytes, verified.tokens), (3, 2));
    }

    #[test]
    fn what_is_not_a_number_of_nats_is_refused_by_the_check_meant_for_it() {
        for (claim, bytes, check) in [
            (vec![1.0], vec![1, 1], "count"),
            (vec![f32::NAN, 1.0], vec![1, 1], "finite"),
            (vec![1.0, f32::INFINITY], vec![1, 1], "finite"),
            (vec![1.0, 1e6], vec![1, 1], "finite"),
            (vec![1.0, -0.5], vec![1, 1], "normalised"),
            // also where the token is not scored
            (vec![1.0, f32::NAN], vec![1, 0], "finite"),
            (vec![1.0, 1.0], vec![0, 0], "text"),
            (vec![], vec![], "text"),
        ] {
            assert_eq!(verify(&claim, &bytes, 0.0).unwrap_err().check, check, "{claim:?}");
        }
    }

    proptest! {
        #[test]
        fn bits_per_byte_is_the_mean_over_bytes_not_over_tokens(
            tokens in prop::collection::vec((0.0_f32..20.0, 1_u16..8), 1..200)
        ) {
            let (claim, bytes): (Vec<f32>, Vec<u16>) = tokens.into_iter().unzip();
            let verified = verify(&claim, &bytes, 0.0).unwrap();
            let nats: f64 = claim.iter().map(|&n| f64::from(n)).sum();
            let text: f64 = bytes.iter().map(|&b| f64::from(b)).sum();
            prop_assert!((verified.val_bpb * text * std::f64::consts::LN_2 - nats).abs() < 1e-6 * (1.0 + nats));
        }
    }
}
