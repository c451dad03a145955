//! The checks that a claim must pass, each of them one line of the certificate. Pure.
//!
//! In their order: `checkpoint`, `claim`, `count`, `finite`, `normalised`, `text`, `audit` (or `finite` once more, when a
//! logit is not), `audit-largest`, `audit-mean`, `seeds`. The first that fails ends the verification.

use protocol::WeightsDigest;

use crate::flow::{Check, Rejected};

use super::estimate::Estimate;
use super::sample::Drawn;
use super::tolerance::Tolerance;

/// Largest claim for one token, in nats, that is still taken for a number: e^-1000 is far below what float32 logits, let
/// alone capped ones, can express.
const MOST_NATS: f32 = 1_000.0;

/// What was checked so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    checks: Vec<Check>,
}

/// A claim that is a sum of nats. Whether it is true is the audit's to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claimed {
    /// Sum of the nats of all scored tokens.
    pub nats: f64,
    /// Bytes of text that they stand for.
    pub bytes: u64,
    /// How many tokens are scored.
    pub tokens: u64,
}

impl Claimed {
    /// Bits per byte: `nats / (ln 2 * bytes)`.
    pub fn bpb(&self) -> f64 {
        self.nats / (std::f64::consts::LN_2 * self.bytes as f64)
    }
}

impl Findings {
    /// Notes that a check passed.
    pub fn passed(&mut self, name: &str, detail: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), passed: true, detail: detail.into() });
    }

    /// Notes that a check failed.
    pub fn failed(&mut self, name: &str, evidence: impl Into<String>) -> Rejected {
        let rejected = Rejected { check: name.to_owned(), evidence: evidence.into() };
        self.note(&rejected);
        rejected
    }

    /// Notes a check that failed elsewhere.
    pub fn note(&mut self, rejected: &Rejected) {
        self.checks.push(Check { name: rejected.check.clone(), passed: false, detail: rejected.evidence.clone() });
    }

    /// The checks, in their order.
    pub fn into_checks(self) -> Vec<Check> {
        self.checks
    }
}

/// Sums a claim up.
///
/// `claim` holds the nats of each target token, `bytes` how many bytes of text that token stands for, both row after row,
/// [rows, context], flat. Tokens that stand for no bytes (special tokens) are not scored, as in nanochat's `evaluate_bpb`.
///
/// # Errors
/// [`Rejected`] by `count`, `finite`, `normalised` or `text`.
pub fn claim(findings: &mut Findings, claim: &[f32], bytes: &[u16], context: usize) -> Result<Claimed, Rejected> {
    if claim.len() != bytes.len() {
        return Err(
            findings.failed("count", format!("{} tokens were scored where there are {}", claim.len(), bytes.len()))
        );
    }
    findings.passed("count", format!("{} numbers for {} targets", claim.len(), bytes.len()));
    if let Some(index) = claim.iter().position(|value| !value.is_finite() || *value > MOST_NATS) {
        let evidence = format!("{} was given {} nats", token(index, context), claim[index]);
        return Err(findings.failed("finite", evidence));
    }
    findings.passed("finite", "every number is finite");
    // Rounding in float32 can leave a certain token a hair below zero.
    if let Some(index) = claim.iter().position(|value| *value < -1e-4) {
        let evidence = format!("{} was given {} nats, a probability above one", token(index, context), claim[index]);
        return Err(findings.failed("normalised", evidence));
    }
    findings.passed("normalised", "no probability above one");
    let mut claimed = Claimed { nats: 0.0, bytes: 0, tokens: 0 };
    for (&value, &length) in claim.iter().zip(bytes).filter(|(_, length)| **length > 0) {
        claimed.nats += f64::from(value);
        claimed.bytes += u64::from(length);
        claimed.tokens += 1;
    }
    if claimed.bytes == 0 {
        return Err(findings.failed("text", "the held-out rows stand for no bytes of text"));
    }
    findings.passed("text", format!("{} scored tokens stand for {} bytes", claimed.tokens, claimed.bytes));
    Ok(claimed)
}

/// Minus the logarithm of the target's probability, in nats, by the evaluator's own log-softmax in double precision.
///
/// # Errors
/// The index of the first logit that is not finite; the number of logits when the target is none of them.
pub fn nats(logits: &[f32], target: usize) -> Result<f64, usize> {
    if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(at);
    }
    let chosen = f64::from(*logits.get(target).ok_or(logits.len())?);
    let most = logits.iter().fold(f64::NEG_INFINITY, |most, &logit| most.max(f64::from(logit)));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
    Ok((most - chosen) + sum.ln())
}

/// Compares claim and audit. `claimed` and `audited` hold the nats at every cut of `drawn`.
///
/// # Errors
/// [`Rejected`] by `audit-largest` or `audit-mean`.
pub fn audit(
    findings: &mut Findings,
    drawn: &Drawn,
    claimed: &[f64],
    audited: &[f64],
    estimate: &Estimate,
    tolerance: Tolerance,
) -> Result<(), Rejected> {
    let beyond =
        claimed.iter().zip(audited).filter(|(claim, audit)| exceeds(*audit - *claim, tolerance.largest)).count();
    if beyond > 0 || exceeds(estimate.largest, tolerance.largest) {
        let at = estimate.largest_at;
        let (claim, audit) =
            (claimed.get(at).copied().unwrap_or(f64::NAN), audited.get(at).copied().unwrap_or(f64::NAN));
        let place = drawn
            .cuts
            .get(at)
            .map_or_else(|| "a token".to_owned(), |cut| format!("token {} of row {}", cut.position, cut.row));
        let evidence = format!(
            "{place}: claimed {claim:.4} nats, but {audit:.4} when the text after it was replaced: the model looks at text that it \
             must predict, at other rows, or answers differently each time ({beyond} of {} audited tokens differ by more than the \
             {} nats that rounding explains)",
            audited.len(),
            tolerance.largest
        );
        return Err(findings.failed("audit-largest", evidence));
    }
    findings.passed(
        "audit-largest",
        format!(
            "{} cuts at {} distinct places, largest difference {:.2e} of at most {} nats",
            audited.len(),
            drawn.places().0,
            estimate.largest,
            tolerance.largest
        ),
    );
    if exceeds(estimate.mean, tolerance.mean) {
        let evidence = format!(
            "over all tokens the audit finds {:+.5} nats a token (standard error {:.5}) against the claim, beyond the {} that rounding \
             explains: the model looks a little at text that it must predict, all over the rows",
            estimate.mean, estimate.standard_error, tolerance.mean
        );
        return Err(findings.failed("audit-mean", evidence));
    }
    findings.passed(
        "audit-mean",
        format!(
            "mean difference {:+.2e} (standard error {:.1e}) of at most {} nats a token",
            estimate.mean, estimate.standard_error, tolerance.mean
        ),
    );
    Ok(())
}

/// Compares initial weights under two seeds; see [`super::seeds`].
///
/// # Errors
/// [`Rejected`] by `seeds`.
pub fn seeds(findings: &mut Findings, one: &[WeightsDigest], two: &[WeightsDigest]) -> Result<(), Rejected> {
    match super::seeds::compare(one, two) {
        Ok(found) => {
            let detail = format!("{} of {} initial weights differ between two seeds", found.differ, found.drawn);
            findings.passed("seeds", detail);
            Ok(())
        }
        Err(evidence) => Err(findings.failed("seeds", evidence)),
    }
}

/// Whether a difference is beyond a limit. What is no number is.
fn exceeds(difference: f64, limit: f64) -> bool {
    difference.is_nan() || difference.abs() > limit
}

/// A target in words.
fn token(index: usize, context: usize) -> String {
    let context = context.max(1);
    format!("token {} of row {}", index % context, index / context)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::estimate::estimate;
    use super::super::sample::Aim;
    use super::super::tolerance::CPU_FP32;
    use super::*;

    #[test]
    fn one_bit_a_byte_is_one() {
        let bit = std::f32::consts::LN_2;
        let mut findings = Findings::default();
        let claimed = claim(&mut findings, &[bit, 2.0 * bit, 7.0], &[1, 2, 0], 3).unwrap();
        assert!((claimed.bpb() - 1.0).abs() < 1e-6, "{}", claimed.bpb());
        assert_eq!((claimed.bytes, claimed.tokens), (3, 2));
        let names: Vec<String> = findings.into_checks().into_iter().map(|check| check.name).collect();
        assert_eq!(names, ["count", "finite", "normalised", "text"]);
    }

    #[test]
    fn what_is_not_a_number_of_nats_is_refused_by_the_check_meant_for_it() {
        for (values, bytes, check, words) in [
            (vec![1.0], vec![1, 1], "count", "1 tokens"),
            (vec![f32::NAN, 1.0], vec![1, 1], "finite", "token 0 of row 0"),
            (vec![1.0, 1.0, 1.0, f32::INFINITY], vec![1; 4], "finite", "token 1 of row 1"),
            (vec![1.0, 1e6], vec![1, 1], "finite", "1000000"),
            (vec![1.0, -0.5], vec![1, 1], "normalised", "above one"),
            // also where the token is not scored
            (vec![1.0, f32::NAN], vec![1, 0], "finite", "NaN"),
            (vec![1.0, 1.0], vec![0, 0], "text", "no bytes"),
            (vec![], vec![], "text", "no bytes"),
        ] {
            let mut findings = Findings::default();
            let rejected = claim(&mut findings, &values, &bytes, 2).unwrap_err();
            assert_eq!(rejected.check, check, "{values:?}");
            assert!(rejected.evidence.contains(words), "{}", rejected.evidence);
            let checks = findings.into_checks();
            let (last, before) = checks.split_last().unwrap();
            assert_eq!(
                (last.name.as_str(), last.passed, last.detail.as_str()),
                (check, false, rejected.evidence.as_str())
            );
            assert!(before.iter().all(|check| check.passed));
        }
    }

    #[test]
    fn log_softmax_is_the_evaluators_own() {
        assert!((nats(&[0.0; 4], 2).unwrap() - 4.0_f64.ln()).abs() < 1e-15);
        // Neither large logits nor ones that do not sum to one change anything: only differences count.
        let shifted: Vec<f32> = [1.0, 2.0, 3.0].iter().map(|logit| logit + 65_536.0).collect();
        assert!((nats(&shifted, 0).unwrap() - nats(&[1.0, 2.0, 3.0], 0).unwrap()).abs() < 1e-12);
        assert!(nats(&[f32::MAX, f32::MIN], 0).unwrap().abs() < 1e-12);
        assert!(nats(&[f32::MAX, f32::MIN], 1).unwrap() > 1e38);
        assert_eq!(nats(&[1.0, f32::NAN], 0), Err(1));
        assert_eq!(nats(&[1.0, f32::NEG_INFINITY], 0), Err(1));
        assert_eq!(nats(&[1.0, 2.0], 2), Err(2));
        assert_eq!(nats(&[], 0), Err(0));
    }

    fn verdict(difference: impl Fn(usize) -> f64, tolerance: Tolerance) -> Result<(), Rejected> {
        let claim = [2.0_f32; 1_000];
        let drawn = Aim::new(&claim, &[1; 1_000], &claim, 100).draw(64, 3);
        let claimed = [2.0; 64];
        let audited: Vec<f64> = (0..64).map(|i| 2.0 + difference(i)).collect();
        let differences: Vec<f64> = audited.iter().zip(&claimed).map(|(audit, claim)| audit - claim).collect();
        let estimate = estimate(&drawn, &differences).unwrap();
        audit(&mut Findings::default(), &drawn, &claimed, &audited, &estimate, tolerance)
    }

    #[test]
    fn a_difference_beyond_rounding_is_refused_large_or_small() {
        let (largest, mean) = (CPU_FP32.largest, CPU_FP32.mean);
        verdict(|_| 0.0, CPU_FP32).unwrap();
        verdict(|i| if i % 2 == 0 { largest * 0.9 } else { -largest * 0.9 }, CPU_FP32).unwrap();
        verdict(|_| mean * 0.9, CPU_FP32).unwrap();
        for (check, at, difference) in [
            ("audit-largest", Some(17), largest * 1.1),
            ("audit-largest", Some(17), -largest * 1.1),
            ("audit-largest", Some(17), f64::NAN),
            ("audit-largest", Some(17), f64::INFINITY),
            ("audit-mean", None, mean * 1.2),
            ("audit-mean", None, -mean * 1.2),
        ] {
            let of = |i| if at.is_none_or(|at| at == i) { difference } else { 0.0 };
            assert_eq!(verdict(of, CPU_FP32).unwrap_err().check, check, "{difference}");
        }
        let evidence = verdict(|i| if i == 5 { 4.1 } else { 0.0 }, CPU_FP32).unwrap_err().evidence;
        assert!(evidence.contains("claimed 2.0000 nats, but 6.1000") && evidence.contains("1 of 64"), "{evidence}");
    }

    proptest! {
        #[test]
        fn bits_per_byte_is_the_mean_over_bytes_not_over_tokens(
            tokens in prop::collection::vec((0.0_f32..20.0, 1_u16..8), 1..200)
        ) {
            let (values, bytes): (Vec<f32>, Vec<u16>) = tokens.into_iter().unzip();
            let claimed = claim(&mut Findings::default(), &values, &bytes, 16).unwrap();
            let nats: f64 = values.iter().map(|&n| f64::from(n)).sum();
            let text: f64 = bytes.iter().map(|&b| f64::from(b)).sum();
            prop_assert!((claimed.bpb() * text * std::f64::consts::LN_2 - nats).abs() < 1e-6 * (1.0 + nats));
        }

        #[test]
        fn probabilities_sum_to_one(logits in prop::collection::vec(-30.0_f32..30.0, 1..100)) {
            let sum: f64 = (0..logits.len()).map(|target| (-nats(&logits, target).unwrap()).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
