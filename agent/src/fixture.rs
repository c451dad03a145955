//! Records for unit tests.

use protocol::Budget;

use crate::flow::{Audit, Certificate, Check, ExperimentId, Trained, TrialEnd, Verified};
use crate::records::{Evaluation, TrialRecord};

/// The first trial of an experiment of the night `n`.
pub fn trial(number: u32, end: TrialEnd, evaluation: Option<Evaluation>) -> TrialRecord {
    let (seed, budget) = (1, Budget::Seconds(20.0));
    TrialRecord {
        experiment: ExperimentId { night: "n".parse().unwrap(), number },
        ordinal: 1,
        seed,
        budget,
        purpose: crate::flow::Purpose::Search,
        era: 0,
        would_stop: None,
        device: None,
        artifact_sha256: "4".repeat(64),
        folder: String::new(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        trained: Some(Trained {
            end,
            seed,
            budget,
            steps: 1,
            tokens: 1,
            parameters: 1,
            training_seconds: 20.0,
            start_seconds: 1.0,
            peak_memory_bytes: 47_249_031_987,
            final_loss: None,
            checkpoint_sha256: Some("3".repeat(64)),
        }),
        ended_at: None,
        evaluation,
        certificate: None,
        evaluated_at: None,
    }
}

/// Figures whose correction is uncertain by `standard_error`.
pub fn verified(val_bpb: f64, standard_error: f64) -> Verified {
    Verified {
        val_bpb,
        standard_error,
        claimed_bpb: val_bpb,
        nats: 334_757.12,
        bytes: 262_144,
        tokens: 81_234,
        seconds: 3.25,
        evaluator: "claim-and-audit/1".to_owned(),
    }
}

/// One check.
pub fn check(name: &str, passed: bool, detail: &str) -> Check {
    Check { name: name.to_owned(), passed, detail: detail.to_owned() }
}

/// A certificate of a trial like [`trial`] that passed.
pub fn certificate() -> Certificate {
    Certificate {
        evaluator: "claim-and-audit/1".to_owned(),
        evaluator_sha256: "1a2b3c4d5e6f7a8b".repeat(4),
        data_sha256: "2".repeat(64),
        checkpoint_sha256: "3".repeat(64),
        trainer_sha256: "4".repeat(64),
        sandbox: "namespaces (bubblewrap 0.8.0, seccomp, landlock 7, cgroup 1)".to_owned(),
        checks: vec![
            check("count", true, "81,234 tokens were scored, as there are"),
            check("audit-largest", true, "3.3e-7 nats, at most 1e-5"),
            check("seeds", true, "two seeds gave different weights in 12 of 14 parameters"),
        ],
        audit: Some(Audit {
            cuts: 256,
            weighted_cuts: 128,
            largest_difference: 3.3e-7,
            mean_difference: 1.2e-8,
            standard_error: 4.0e-9,
            claimed_bpb: 1.842_310_39,
        }),
        seconds: 3.25,
        claim_seconds: Some(2.0),
    }
}
