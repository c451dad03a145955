//! What the evaluator would have said of a trial.

use nocturne::flow::{Audit, Certificate, Check, Rejected, Verified};

use crate::chance::Chance;

const EVALUATOR: &str = "claim-and-audit/1";
/// Of the quickstart's held-out rows.
const BYTES: u64 = 204_597;
const TOKENS: u64 = 65_285;

/// Figures that it vouches for.
pub fn verified(val_bpb: f64, seconds: f64) -> Verified {
    Verified {
        val_bpb,
        standard_error: 1.1e-8,
        claimed_bpb: val_bpb + 7e-9,
        nats: val_bpb * std::f64::consts::LN_2 * BYTES as f64,
        bytes: BYTES,
        tokens: TOKENS,
        seconds,
        evaluator: EVALUATOR.to_owned(),
    }
}

/// Why it does not vouch for a trial that [`certificate`] says failed.
pub fn rejected() -> Rejected {
    Rejected {
        check: "audit-largest".to_owned(),
        evidence: "at cut 31 of row 7 the claim is 0.0021 nats and the audit found 4.7120".to_owned(),
    }
}

/// The certificate of one trial.
pub fn certificate(chance: &mut Chance, val_bpb: f64, checkpoint: &str, trainer: &str, honest: bool) -> Certificate {
    let check = |name: &str, passed, detail: String| Check { name: name.to_owned(), passed, detail };
    let largest = if honest { chance.between(2e-7, 9e-7) } else { 4.7099 };
    let mean = 3e-8 * chance.normal();
    let mut checks = vec![
        check("checkpoint", true, format!("a plain file with the recorded SHA-256 {checkpoint}")),
        check("claim", true, "256 rows scored in a process of its own, then ended".to_owned()),
        check("count", true, "65536 numbers for 65536 targets".to_owned()),
        check("finite", true, "every number is finite".to_owned()),
        check("normalised", true, "no probability above one".to_owned()),
        check("text", true, format!("{TOKENS} scored tokens stand for {BYTES} bytes")),
        check("audit", true, "16 questions of 16 rows answered by another process, logits finite".to_owned()),
        check(
            "audit-largest",
            honest,
            format!("256 cuts at 256 distinct places, largest difference {largest:.2e} of at most 0.001 nats"),
        ),
    ];
    if honest {
        let words = format!("mean difference {mean:.2e} (standard error 2.5e-8) of at most 0.0001 nats a token");
        checks.push(check("audit-mean", true, words));
        checks.push(check("seeds", true, "2490368 of 2490368 initial weights differ between two seeds".to_owned()));
    }
    Certificate {
        evaluator: EVALUATOR.to_owned(),
        evaluator_sha256: "81eb3339f4cbf165".repeat(4),
        data_sha256: "ae06c5a4ae878f59".repeat(4),
        checkpoint_sha256: checkpoint.to_owned(),
        trainer_sha256: trainer.to_owned(),
        sandbox: "namespaces (bubblewrap 0.8.0, seccomp, landlock 7, cgroup 1)".to_owned(),
        checks,
        audit: Some(Audit {
            cuts: 256,
            weighted_cuts: 192,
            largest_difference: largest,
            mean_difference: mean,
            standard_error: 2.5e-8,
            claimed_bpb: val_bpb,
        }),
        seconds: chance.between(7.0, 9.0),
        claim_seconds: Some(chance.between(3.0, 4.0)),
    }
}
