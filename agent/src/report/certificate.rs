//! What the evaluator said of a trial and did with it, as `nocturne show` and the page of an experiment have it. Pure; `docs/certificate.md` explains each
//! line to whoever reads it.

use std::fmt::Write;

use crate::flow::{Audit, Certificate, Check, Rejected, Verified};
use crate::records::{Evaluation, TrialRecord};
use crate::terminal::{clean, fit};

/// Hexadecimal digits of a hash that are shown; `--json` has all of them.
const DIGITS: usize = 12;
/// Columns of a check's words that are shown: they may quote what a model answered.
const WORDS: usize = 600;

/// The lines on a trial's evaluation, each indented and ended; empty for a trial that was not evaluated. Of a rejected trial the
/// check that failed comes first.
pub fn evaluation_text(trial: &TrialRecord) -> String {
    let mut text = String::new();
    match &trial.evaluation {
        None => return text,
        Some(Evaluation::Verified(verified)) => text += &figures(verified, trial.certificate.is_some()),
        Some(Evaluation::Rejected(Rejected { check, evidence })) => {
            text += &format!("  rejected by check '{}': {}\n", words(check), words(evidence));
        }
    }
    match &trial.certificate {
        Some(certificate) => {
            let verified = match &trial.evaluation {
                Some(Evaluation::Verified(verified)) => Some((verified.val_bpb, verified.standard_error)),
                _ => None,
            };
            let checkpoint = trial.trained.as_ref().and_then(|trained| trained.checkpoint_sha256.as_deref());
            text + &certificate_text(certificate, verified, checkpoint, Some(&trial.artifact_sha256))
        }
        None => text + "  no certificate: it was evaluated before claims were audited\n",
    }
}

fn figures(verified: &Verified, audited: bool) -> String {
    let Verified { val_bpb, nats, bytes, tokens, seconds, evaluator, .. } = verified;
    let correction = if audited { format!(" ± {}", error(verified.standard_error)) } else { String::new() };
    let by = format!("by evaluator {} in {seconds:.1} s", clean(evaluator));
    format!("  val_bpb {val_bpb:.6}{correction}: {nats:.1} nats over {bytes} bytes ({tokens} tokens) {by}\n")
}

/// A certificate's lines. `verified` is the corrected figure and its standard error, where one stands; `checkpoint` and `trainer` are
/// the hashes that were recorded elsewhere, to be compared.
pub fn certificate_text(
    certificate: &Certificate,
    verified: Option<(f64, f64)>,
    checkpoint: Option<&str>,
    trainer: Option<&str>,
) -> String {
    let mut text = format!("  certificate of {} in {:.1} s:\n", clean(&certificate.evaluator), certificate.seconds);
    let mut line = |label: &str, words: String| {
        // Writing to a text cannot fail.
        let _infallible = writeln!(text, "    {label:<11} {words}");
    };
    let (failed, passed): (Vec<&Check>, Vec<&Check>) = certificate.checks.iter().partition(|check| !check.passed);
    for check in failed {
        line("FAILED", format!("{}: {}", words(&check.name), words(&check.detail)));
    }
    line("evaluator", hash(&certificate.evaluator_sha256));
    line("data", hash(&certificate.data_sha256));
    let otherwise = "which is not the one that the trial wrote";
    line("checkpoint", compared(&certificate.checkpoint_sha256, checkpoint, otherwise));
    let otherwise = "which is not the executable that was trained with";
    line("trainer", compared(&certificate.trainer_sha256, trainer, otherwise));
    line("confined by", words(&certificate.sandbox));
    for check in passed {
        line("passed", format!("{}: {}", words(&check.name), words(&check.detail)));
    }
    if let Some(audit) = &certificate.audit {
        audit_lines(audit, verified, &mut line);
    }
    text
}

fn audit_lines(audit: &Audit, verified: Option<(f64, f64)>, line: &mut impl FnMut(&str, String)) {
    let uniform = audit.cuts.saturating_sub(audit.weighted_cuts);
    line("cuts", format!("{} audited: {uniform} uniform, {} where a leak would pay", audit.cuts, audit.weighted_cuts));
    let mean = format!("{} ± {}", difference(audit.mean_difference), error(audit.standard_error));
    line("difference", format!("largest {}, mean {mean} nats per token", error(audit.largest_difference)));
    let corrected = match verified {
        Some((val_bpb, standard_error)) => format!("corrected {val_bpb:.9} ± {}", error(standard_error)),
        None => "and no figure stands, for it was rejected".to_owned(),
    };
    line("bits/byte", format!("claimed {:.9}, {corrected}", audit.claimed_bpb));
}

/// A check's words on one line.
fn words(text: &str) -> String {
    fit(&clean(text), WORDS)
}

fn hash(text: &str) -> String {
    let shown: String = clean(text).chars().take(DIGITS).collect();
    format!("sha256 {shown}")
}

/// A hash, and what it means that it differs from what was recorded.
fn compared(certified: &str, recorded: Option<&str>, otherwise: &str) -> String {
    match recorded.filter(|recorded| *recorded != certified) {
        Some(recorded) => format!("{}, {otherwise} ({})", hash(certified), hash(recorded)),
        None => hash(certified),
    }
}

/// A size without a sign; small ones keep their first digits.
fn error(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if !value.is_finite() || value.abs() >= 1e-4 => format!("{value:.6}"),
        value => format!("{value:.1e}"),
    }
}

fn difference(value: f64) -> String {
    if value > 0.0 { format!("+{}", error(value)) } else { error(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{certificate, check};
    use crate::flow::TrialEnd;

    fn trial(evaluation: Option<Evaluation>, certificate: Option<Certificate>) -> TrialRecord {
        TrialRecord { certificate, ..crate::fixture::trial(1, TrialEnd::Finished, evaluation) }
    }

    fn verified() -> Verified {
        Verified { claimed_bpb: 1.842_310_39, ..crate::fixture::verified(1.842_310_4, 1.8e-9) }
    }

    /// As of a model that leaks, and answers with what a terminal should not get to see.
    fn rejected() -> TrialRecord {
        let mut made = certificate();
        made.checks.truncate(1);
        made.checks.push(check("audit-largest", false, "5.2 nats at row 7, \u{1b}[2Jposition 31\nat most 1e-5"));
        made.checkpoint_sha256 = "5".repeat(64);
        made.sandbox += "\u{1b}]0;owned\u{7}";
        made.audit = Some(Audit {
            cuts: 256,
            weighted_cuts: 128,
            largest_difference: 5.2,
            mean_difference: f64::NAN,
            standard_error: f64::INFINITY,
            claimed_bpb: 0.7,
        });
        let rejected =
            Rejected { check: "audit-largest\u{202e}".to_owned(), evidence: "5.2 nats\nat row 7".to_owned() };
        trial(Some(rejected.into()), Some(made))
    }

    #[test]
    fn certificates_are_readable() {
        let exact = Verified { standard_error: 0.0, claimed_bpb: 1.842_310_4, ..verified() };
        let mut exactly = certificate();
        if let Some(audit) = &mut exactly.audit {
            (audit.largest_difference, audit.mean_difference, audit.standard_error) = (0.0, 0.0, 0.0);
        }
        let plain = Verified { standard_error: 0.0, claimed_bpb: 0.0, evaluator: "plain/1".to_owned(), ..verified() };
        let early = Rejected { check: "finite".to_owned(), evidence: "token 3 was given NaN nats".to_owned() };
        let no_audit = Certificate {
            checks: vec![check("count", true, "as there are"), check("finite", false, "token 3 was given NaN nats")],
            audit: None,
            ..certificate()
        };
        let mut shown = String::new();
        for (what, trial) in [
            ("verified", trial(Some(verified().into()), Some(certificate()))),
            ("verified to the last bit", trial(Some(exact.into()), Some(exactly))),
            ("rejected by the audit", rejected()),
            ("rejected before the audit", trial(Some(early.clone().into()), Some(no_audit))),
            ("verified before there were certificates", trial(Some(plain.into()), None)),
            ("rejected before there were certificates", trial(Some(early.into()), None)),
            ("not evaluated", trial(None, None)),
        ] {
            shown += &format!("--- {what}\n{}", evaluation_text(&trial));
        }
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "an escape sequence got through");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_long_evidence_is_cut() {
        let mut trial = rejected();
        trial.evaluation = Some(Rejected { check: "x".repeat(9_000), evidence: "y\n".repeat(90_000) }.into());
        assert!(evaluation_text(&trial).len() < 4_000);
    }
}
