//! What the evaluator says of a trial: the figures that it vouches for, its certificate, or why it does not.

use serde::{Deserialize, Serialize};

/// What the evaluator vouches for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Bits per byte: `nats / (ln 2 * bytes)`, the model's claim corrected by what the audit found.
    pub val_bpb: f64,
    /// Standard error of that correction, bits per byte; 0 where every audited token agreed with the claim to the last bit.
    /// Records of the evaluator `plain/1`, which audited nothing, have none and are read as 0.
    #[serde(default)]
    pub standard_error: f64,
    /// Bits per byte as claimed, before the correction. Records of the evaluator `plain/1` have none and are read as 0; what
    /// they vouch for, `val_bpb`, is the claim.
    #[serde(default)]
    pub claimed_bpb: f64,
    /// Sum of the nats of all scored target tokens, corrected.
    pub nats: f64,
    /// Bytes of text that those tokens stand for.
    pub bytes: u64,
    /// How many target tokens were scored; special tokens stand for no bytes and are left out.
    pub tokens: u64,
    /// Seconds of evaluation, by the agent's clock.
    pub seconds: f64,
    /// Which evaluator, for example `claim-and-audit/1`.
    pub evaluator: String,
}

/// What the evaluator did with one trial, whether or not it vouches for it: enough to repeat the check elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Name and version of the evaluator, for example `claim-and-audit/1`.
    pub evaluator: String,
    /// SHA-256 of the executable that evaluated, hexadecimal.
    pub evaluator_sha256: String,
    /// SHA-256 of the held-out rows, hexadecimal.
    pub data_sha256: String,
    /// SHA-256 of the checkpoint, hexadecimal.
    pub checkpoint_sha256: String,
    /// SHA-256 of the trainer's executable, hexadecimal.
    pub trainer_sha256: String,
    /// What the trainer was confined by, in words.
    pub sandbox: String,
    /// The checks in the order in which they ran, up to the first that failed.
    pub checks: Vec<Check>,
    /// What the audit saw, where it came that far.
    pub audit: Option<Audit>,
    /// Seconds of the whole verification, by the agent's clock.
    pub seconds: f64,
    /// Seconds of it until the audit began; `None` where it never did, and in older certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_seconds: Option<f64>,
}

/// One check of a [`Certificate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, for example `finite`; the same word as in [`Rejected::check`].
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was compared, in words and figures.
    pub detail: String,
}

/// What the audit of a claim saw. For a claim that is rejected its figures may be anything, NaN and infinity included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// At how many distinct places the claim was audited.
    pub cuts: u32,
    /// How many of them were drawn only where a leak would have paid.
    pub weighted_cuts: u32,
    /// Largest difference between claim and audit at a cut, nats, in absolute value.
    #[serde(with = "crate::figure")]
    pub largest_difference: f64,
    /// Mean of audit minus claim over all scored tokens, estimated from the cuts, nats per token.
    #[serde(with = "crate::figure")]
    pub mean_difference: f64,
    /// Standard error of that mean, nats per token.
    #[serde(with = "crate::figure")]
    pub standard_error: f64,
    /// Bits per byte as claimed, before the correction.
    #[serde(with = "crate::figure")]
    pub claimed_bpb: f64,
}

/// Why the evaluator does not vouch for a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The check that failed, for example `finite`.
    pub check: String,
    /// What was seen.
    pub evidence: String,
}

/// One held-out document, or the part of it that lies in the held-out rows, as a trial's model predicts it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DocumentLoss {
    /// Nats of its scored tokens.
    pub nats: f64,
    /// Bytes of text that these stand for.
    pub bytes: u32,
}
