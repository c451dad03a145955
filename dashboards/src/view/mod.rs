//! View models: what pictures and pages are made from.
//!
//! Plain data that the caller fills from its records. Every `String` here may hold untrusted text (a language model wrote the
//! title, a diff quotes whatever was edited): nothing needs to be escaped or shortened before it is put in, drawing code does
//! that. Every number may be missing, NaN or infinite: it is then left out of the picture, never a panic.

mod evidence;
mod machine;
mod recipe;
mod review;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use evidence::{
    CalibrationView, CertificateView, ClaimView, EarlyView, EvidenceView, LeftOutView, LooksView, ModelView, NoiseView,
    TrialView,
};
pub use machine::{BookedView, GapView, MachineView, RunView, SpanView, Stage};
pub use recipe::RecipeView;
pub use review::{Choice, ReviewView};

/// How an experiment ended; the same words as in the database and in notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The champion from then on.
    Kept,
    /// Not better.
    Discarded,
    /// The trials did not tell.
    Inconclusive,
    /// Broke a rule or cheated; its number is not to be trusted and is not drawn.
    Invalid,
    /// The trainer did not finish.
    Crashed,
    /// The compiler refused it to the end.
    Unbuildable,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 6] = [
        Verdict::Kept,
        Verdict::Discarded,
        Verdict::Inconclusive,
        Verdict::Invalid,
        Verdict::Crashed,
        Verdict::Unbuildable,
    ];

    /// The word on pictures and pages.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Discarded => "discarded",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Invalid => "invalid",
            Verdict::Crashed => "crashed",
            Verdict::Unbuildable => "unbuildable",
        }
    }

    /// Whether an experiment that ended so has a metric worth drawing.
    pub fn is_measured(self) -> bool {
        matches!(self, Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One night, whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NightView {
    /// Name of the campaign.
    pub campaign: String,
    /// The night's id, for example `2026-03-08-k4`.
    pub night: String,
    /// When it began, as a person reads it, for example `8 March 2026, 23:10`.
    pub date: String,
    /// Name of the metric, for example `val_bpb`. Lower is better.
    pub metric: String,
    /// Unit of the metric in words, for example `bits per byte`.
    pub metric_unit: String,
    /// The budget of one trial in words, for example `20 s`.
    pub budget: String,
    /// The metric of the night's start: the mean over its trials.
    pub baseline: Option<f64>,
    /// How many trials that is a mean of.
    pub baseline_trials: u32,
    /// Standard error of the evaluator's correction in it, in the metric's unit.
    pub baseline_error: Option<f64>,
    /// The metric of the last champion where equal seeds are compared: the baseline's plus the differences measured from champion
    /// to champion. The baseline's where nothing was kept.
    pub champion: Option<f64>,
    /// Number of the experiment that is the last champion; 0 is the night's start.
    pub champion_number: u32,
    /// Commit of the last champion, 40 hexadecimal digits.
    pub champion_commit: String,
    /// Branch of the last champion.
    pub champion_branch: String,
    /// All experiments, best in the order of their numbers (drawing sorts them); the night's start is not among them.
    pub experiments: Vec<ExperimentView>,
    /// Numbers of the experiments that wait for the person's decision, most valuable first.
    #[serde(default)]
    pub waiting: Vec<u32>,
    /// Proposals that were not tried, each with who proposed it and why it was skipped.
    #[serde(default)]
    pub skipped: Vec<(String, String)>,
    /// The morning's claim.
    pub claim: Option<ClaimView>,
    /// How much runs differ anyway.
    pub noise: Option<NoiseView>,
    /// What stopping hopeless trials early saved.
    pub early: Option<EarlyView>,
    /// What leaving one kept change out showed.
    pub left_out: Vec<LeftOutView>,
    /// How often held-out text has been looked at.
    pub looks: Vec<LooksView>,
    /// How good each proposer was at predicting.
    pub calibration: Vec<CalibrationView>,
    /// How far the answers of language models and coding agents got.
    #[serde(default)]
    pub models: Vec<ModelView>,
    /// How the figures were verified.
    pub verification: VerificationView,
    /// What the machine's night comes to.
    #[serde(default)]
    pub machine: MachineView,
    /// Faults of the machine during the night, one line each.
    pub faults: Vec<String>,
    /// Why a number should not be trusted, or anything else the person should know first, one line each.
    pub warnings: Vec<String>,
    /// Seconds from the night's start to its end.
    pub seconds_total: f64,
    /// Seconds of these in which a trial was training.
    pub seconds_training: f64,
}

impl NightView {
    /// One experiment.
    pub fn experiment(&self, number: u32) -> Option<&ExperimentView> {
        self.experiments.iter().find(|experiment| experiment.number == number)
    }

    /// Whether an experiment only takes a kept change out again, to measure it: that is no idea.
    pub fn leaves_out(&self, experiment: &ExperimentView) -> bool {
        self.left_out.iter().any(|left| left.number == experiment.number)
    }
}

/// How a night's figures were verified, over all its trials.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerificationView {
    /// Name and version of the evaluator; more than one only where the night went on under another.
    pub evaluators: Vec<String>,
    /// At how many places of the held-out text a trial was audited: the fewest and the most.
    pub cuts: Option<(u32, u32)>,
    /// What trainers were confined by, in words; more than one as for `evaluators`.
    pub sandboxes: Vec<String>,
    /// Trials that the evaluator vouches for.
    pub verified: usize,
    /// Trials that it rejected, by the name of the check that failed.
    pub rejected: BTreeMap<String, usize>,
    /// How many of all these have no certificate, because they were evaluated before claims were audited.
    pub uncertified: usize,
}

/// One experiment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExperimentView {
    /// Counted from 1 in the night.
    pub number: u32,
    /// What was changed, in one line.
    pub title: String,
    /// Why it should help.
    pub hypothesis: String,
    /// Where the idea comes from.
    pub source: String,
    /// How it ended; `None` where the night stopped before that.
    pub verdict: Option<Verdict>,
    /// Whether that verdict was taken back: the experiment, or what it was compared with, turned out to break a rule.
    #[serde(default)]
    pub taken_back: bool,
    /// The decision in words; for failures what went wrong.
    pub reason: String,
    /// The metric, where one was measured: the mean over its trials.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub trials_measured: u32,
    /// How many trials its decision rests on: a champion runs again later, which that mean holds too.
    #[serde(default)]
    pub trials_decided: u32,
    /// Where it stands when equal seeds are compared: its champion's place plus the difference from it. Pictures show this; of an
    /// experiment with one trial under its champion's seed it is the metric itself.
    pub level: Option<f64>,
    /// Standard error of the evaluator's correction in it, in the metric's unit.
    pub standard_error: Option<f64>,
    /// Metric minus that of the champion it was measured against; negative is better.
    pub difference: Option<f64>,
    /// 95 % interval of the difference, where the rule gives one.
    pub interval: Option<(f64, f64)>,
    /// What the decision rests on, where the rule weighed anything.
    pub evidence: Option<EvidenceView>,
    /// Its trials in order.
    pub trials: Vec<TrialView>,
    /// Whether its last trial was ended early as hopeless.
    pub stopped_early: bool,
    /// Predicted difference; negative is better.
    pub predicted_effect: Option<f64>,
    /// How probable its proposer called an improvement, 0 to 1.
    pub confidence: Option<f64>,
    /// Number of the experiment that was the champion then; 0 is the night's start.
    pub champion_number: u32,
    /// Who proposed it: `playbook`, `tuner`, `model`, `agent`, `person`.
    pub proposer: String,
    /// What kind of idea it is: `schedule`, `optimizer`, ...
    pub family: String,
    /// Commit, 40 hexadecimal digits; empty where none was made.
    pub commit: String,
    /// Branch; empty where none was made.
    pub branch: String,
    /// The change as a unified diff.
    pub diff: String,
    /// Lines that the diff adds.
    pub lines_added: u32,
    /// Lines that the diff removes.
    pub lines_removed: u32,
    /// Seconds of training, all trials together.
    pub training_seconds: Option<f64>,
    /// Largest memory of a trial in bytes: the device's, where it has memory of its own.
    pub peak_memory_bytes: Option<u64>,
    /// Largest memory of a trial of the champion that it was measured against, in bytes.
    #[serde(default)]
    pub champion_memory_bytes: Option<u64>,
    /// Tokens that one trial was trained on.
    pub tokens: Option<u64>,
    /// Tokens trained on in a second, the mean over its finished trials.
    #[serde(default)]
    pub tokens_per_second: Option<f64>,
    /// The same of the champion that it was measured against.
    #[serde(default)]
    pub champion_tokens_per_second: Option<f64>,
    /// What the evaluator did with its trials; `None` where nothing was certified.
    #[serde(default)]
    pub certificate: Option<CertificateView>,
    /// What the person decided; `None` where nothing is on record.
    #[serde(default)]
    pub review: Option<ReviewView>,
    /// Minutes from the night's start to the beginning of its first trial (or build, where there was none).
    pub started_at_minutes: Option<f64>,
}

impl ExperimentView {
    /// Whether it was kept and stands.
    pub fn is_kept(&self) -> bool {
        self.counted() == Some(Verdict::Kept)
    }

    /// Whether it was kept and does not stand any more.
    pub fn has_fallen(&self) -> bool {
        self.verdict == Some(Verdict::Kept) && self.taken_back
    }

    /// The verdict that it counts for: what was kept and has fallen is as good as invalid.
    pub fn counted(&self) -> Option<Verdict> {
        if self.has_fallen() { Some(Verdict::Invalid) } else { self.verdict }
    }
}

/// The training losses of one trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CurveView {
    /// Number of its experiment; 0 is the night's start.
    pub experiment: u32,
    /// What it is called in a legend: the experiment's title, or `start of the night`.
    pub label: String,
    /// How its experiment ended; `None` for the night's start and for what is not decided.
    pub verdict: Option<Verdict>,
    /// Scalars in all trained parameters; `None` where that is not known, and the curve is then in no picture against compute.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Index of its seed in the night's list; `None` where that is not known.
    #[serde(default)]
    pub seed: Option<u32>,
    /// In the order of training; other orders are sorted. Any number of points: they are thinned for drawing.
    pub points: Vec<CurvePoint>,
}

/// One optimizer step of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Mean training loss of the step in nats per token; `None` where it was not finite.
    pub loss: Option<f64>,
}

/// What a loss curve is drawn against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveAxis {
    /// Tokens trained on.
    Tokens,
    /// Seconds of training.
    Time,
    /// Floating-point operations of training, estimated as 6 × parameters × tokens (J. Kaplan et al. 2020, "Scaling laws for neural
    /// language models", section 2.1): attention is left out, embeddings are counted like matrices.
    Compute,
}
