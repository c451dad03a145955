//! Conducts a verification: the claim from one confined process, the audit from another.
//!
//! The two never live at the same time, although starting the second while the first computes would save half a second: what
//! runs beside each other can signal to each other by the load it makes, and the first has seen the targets. For the
//! same reason each gets a copy of the checkpoint of its own. The cuts are drawn when the claim's process is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data::Documents;
use protocol::{Ask, ServeRequest, Setting};

use super::batches::{Plan, plan, scored_rows, show};
use super::checks::{self, Findings};
use super::estimate::{correct, estimate};
use super::files::{NoCheckpoint, checkpoint, write_claim};
use super::sample::{Aim, Drawn, cuts_without_champion};
use super::serving::{NoVerdict, Trouble, hand_over, numbers, settle, weights, within};
use super::tolerance::Tolerance;
use super::{HeldOut, reference};
use crate::files::FileError;
use crate::flow::{Audit, Certificate, Rejected, Verified};
use crate::run::{Job, Launcher, Question, RunError, StopSignal, stopped};

/// Name and version of this evaluator.
pub const EVALUATOR: &str = "claim-and-audit/1";

/// What to evaluate, and how.
#[derive(Clone)]
pub struct EvaluationSpec {
    /// `trainer serve`, confined. Started twice; the audit's log lies beside the claim's, with `audit.` before its extension.
    pub job: Job,
    /// What the model is built from.
    pub setting: Setting,
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// Its SHA-256 as recorded after training, hexadecimal.
    pub checkpoint_sha256: String,
    /// SHA-256 of the trainer's executable, for the certificate.
    pub trainer_sha256: String,
    /// The text that the model is measured on.
    pub held_out: Arc<HeldOut>,
    /// Training documents: what stands after a cut, and in rows that fill up a batch.
    pub documents: Arc<dyn Documents + Send + Sync>,
    /// The champion's claim for the same rows; `None` at a night's start.
    pub reference: Option<Vec<f32>>,
    /// Cuts with a reference; [`cuts_without_champion`] of them without.
    pub cuts: usize,
    /// Decides the cuts; drawn fresh, and secret.
    pub audit_seed: u64,
    /// Two different seeds, drawn fresh, and secret: the claim's process builds the model from the one, the audit's from the other,
    /// before they load the checkpoint; the initial weights are compared.
    pub weight_seeds: [u64; 2],
    /// Rows of every batch.
    pub batch_rows: usize,
    /// Where the claim is kept.
    pub claim: PathBuf,
    /// SHA-256 of the evaluator's executable, for the certificate.
    pub evaluator_sha256: String,
    /// What the trainer is confined by, in words, for the certificate.
    pub sandbox: String,
    /// What rounding explains on the device and in the precision that models are served with.
    pub tolerance: Tolerance,
    /// Bound on each of the two processes, and on reading the checkpoint for each, in seconds.
    pub most_seconds: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// What the evaluator vouches for, or why it does not.
    pub outcome: Result<Verified, Rejected>,
    /// What it did.
    pub certificate: Certificate,
}

/// Where a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The model claims its loss.
    Claim,
    /// The claim is checked at the cuts.
    Audit,
}

/// Why there is no verdict. Never the model's fault.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The machine failed at running the processes.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The machine failed elsewhere.
    #[error("the evaluation failed through no fault of the model: {0}")]
    Machine(String),
    /// The checkpoint cannot be read.
    #[error("cannot read the checkpoint {}: {source}; check that it is there and readable, and that there is memory for it", path.display())]
    Checkpoint {
        /// Its file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The claim cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// The question itself is wrong.
    #[error("the evaluation was asked for wrongly: {0}")]
    Spec(String),
    /// The night was stopped.
    #[error("the night was stopped")]
    Stopped,
}

impl From<NoVerdict> for EvaluationError {
    fn from(why: NoVerdict) -> Self {
        match why {
            NoVerdict::Machine(words) => EvaluationError::Machine(words),
            NoVerdict::Stopped => EvaluationError::Stopped,
        }
    }
}

/// What ends a verification before its last check.
enum End {
    Rejected(Rejected),
    Error(EvaluationError),
}

impl<E: Into<EvaluationError>> From<E> for End {
    fn from(error: E) -> Self {
        End::Error(error.into())
    }
}

/// What the claim's process answered.
struct Claim {
    nats: Vec<f32>,
    tensors: Vec<protocol::WeightsDigest>,
}

/// What the audit's process answered.
struct Answers {
    /// The evaluator's own nats of each place of the plan.
    nats: Vec<f64>,
    tensors: Vec<protocol::WeightsDigest>,
}

/// Verifies a checkpoint. `progress` hears how far the whole is, 0 to 1; nothing is decided by it.
///
/// # Errors
/// [`EvaluationError`] when the machine is at fault or the night was stopped. Whatever the model does is an `Ok`.
pub async fn evaluate(
    launcher: &Launcher,
    spec: &EvaluationSpec,
    mut stop: StopSignal,
    mut progress: impl FnMut(Part, f64) + Send,
) -> Result<Evaluated, EvaluationError> {
    let began = Instant::now();
    check_spec(spec)?;
    let mut findings = Findings::default();
    let mut audit = None;
    let mut claim_seconds = None;
    let mut heard = |part, fraction| {
        if part == Part::Audit {
            claim_seconds.get_or_insert_with(|| began.elapsed().as_secs_f64());
        }
        progress(part, fraction);
    };
    let verified = verify(launcher, spec, &mut stop, &mut heard, &mut findings, &mut audit).await;
    let seconds = began.elapsed().as_secs_f64();
    let outcome = match verified {
        Ok(verified) => Ok(Verified { seconds, ..verified }),
        Err(End::Rejected(rejected)) => Err(rejected),
        Err(End::Error(error)) => return Err(error),
    };
    let certificate = Certificate {
        evaluator: EVALUATOR.to_owned(),
        evaluator_sha256: spec.evaluator_sha256.clone(),
        data_sha256: spec.held_out.sha256().to_owned(),
        checkpoint_sha256: spec.checkpoint_sha256.clone(),
        trainer_sha256: spec.trainer_sha256.clone(),
        sandbox: spec.sandbox.clone(),
        checks: findings.into_checks(),
        audit,
        seconds,
        claim_seconds,
    };
    Ok(Evaluated { outcome, certificate })
}

fn check_spec(spec: &EvaluationSpec) -> Result<(), EvaluationError> {
    let wrong = |words: String| Err(EvaluationError::Spec(words));
    let targets = spec.held_out.bytes().len();
    if let Some(reference) = spec.reference.as_ref().filter(|reference| reference.len() != targets) {
        return wrong(format!("the reference has {} numbers for {targets} targets", reference.len()));
    }
    if spec.cuts == 0 || spec.batch_rows == 0 {
        return wrong(format!("{} cuts in batches of {} rows audit nothing", spec.cuts, spec.batch_rows));
    }
    if spec.held_out.rows().context() != spec.setting.context {
        let (rows, context) = (spec.held_out.rows().context(), spec.setting.context);
        return wrong(format!("the held-out rows have a context of {rows}, the setting one of {context}"));
    }
    if spec.weight_seeds[0] == spec.weight_seeds[1] {
        return wrong("the two seeds for the weights are the same".to_owned());
    }
    Ok(())
}

async fn verify(
    launcher: &Launcher,
    spec: &EvaluationSpec,
    stop: &mut StopSignal,
    progress: &mut (impl FnMut(Part, f64) + Send),
    findings: &mut Findings,
    noted: &mut Option<Audit>,
) -> Result<Verified, End> {
    progress(Part::Claim, 0.0);
    let held_out = &spec.held_out;
    let context = held_out.rows().context();

    let copy = hand_out(spec, stop, findings).await?;
    findings.passed("checkpoint", format!("a plain file with the recorded SHA-256 {}", spec.checkpoint_sha256));
    let mut process = launcher.start(&spec.job).await?;
    let talked = within(spec.most_seconds, stop, ask_claim(&mut process, spec, &copy, progress)).await;
    let ended = process.stop().await?;
    drop(copy);
    let Claim { nats: claim, tensors } = match talked {
        Ok(claim) => claim,
        Err(trouble) => return Err(reject(findings, settle("claim", trouble, &ended, &spec.job.log)?)),
    };
    findings.passed("claim", format!("{} rows scored in a process of its own, then ended", held_out.rows().len()));
    write_claim(&spec.claim, &claim)?;
    let claimed = checks::claim(findings, &claim, held_out.bytes(), context).map_err(End::Rejected)?;

    let (drawn, plan) = draw(spec, &claim).await?;
    let copy = hand_out(spec, stop, findings).await?;
    progress(Part::Audit, 0.5);
    let job = audit_job(&spec.job);
    let mut process = launcher.start(&job).await?;
    let talked = within(spec.most_seconds, stop, ask_audit(&mut process, spec, &copy, &plan, progress)).await;
    let ended = process.stop().await?;
    let answers = match talked {
        Ok(answers) => answers,
        Err(trouble) => return Err(reject(findings, settle("audit", trouble, &ended, &job.log)?)),
    };
    let (batches, rows) = (plan.batches.len(), spec.batch_rows);
    findings.passed("audit", format!("{batches} questions of {rows} rows answered by another process, logits finite"));

    let at = |cut: usize| plan.of_cut.get(cut).and_then(|&place| answers.nats.get(place)).copied().unwrap_or(f64::NAN);
    let audited: Vec<f64> = (0..drawn.cuts.len()).map(at).collect();
    let claims: Vec<f64> = drawn
        .cuts
        .iter()
        .map(|cut| claim.get(cut.row * context + cut.position).map_or(f64::NAN, |&n| n.into()))
        .collect();
    let differences: Vec<f64> = audited.iter().zip(&claims).map(|(audit, claim)| audit - claim).collect();
    let estimate =
        estimate(&drawn, &differences).ok_or_else(|| EvaluationError::Spec("there was nothing to audit".to_owned()))?;
    let (places, aimed_places) = drawn.places();
    *noted = Some(Audit {
        cuts: count(places),
        weighted_cuts: count(aimed_places),
        largest_difference: estimate.largest,
        mean_difference: estimate.mean,
        standard_error: estimate.standard_error,
        claimed_bpb: claimed.bpb(),
    });
    checks::audit(findings, &drawn, &claims, &audited, &estimate, spec.tolerance).map_err(End::Rejected)?;
    checks::seeds(findings, &tensors, &answers.tensors).map_err(End::Rejected)?;

    let corrected = correct(claimed.nats, drawn.scored, claimed.bytes, &estimate);
    progress(Part::Audit, 1.0);
    Ok(Verified {
        val_bpb: corrected.bpb,
        standard_error: corrected.standard_error,
        claimed_bpb: claimed.bpb(),
        nats: corrected.nats,
        bytes: claimed.bytes,
        tokens: claimed.tokens,
        seconds: 0.0,
        evaluator: EVALUATOR.to_owned(),
    })
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn reject(findings: &mut Findings, rejected: Rejected) -> End {
    findings.note(&rejected);
    End::Rejected(rejected)
}

/// A copy of the checkpoint for one process.
async fn hand_out(spec: &EvaluationSpec, stop: &mut StopSignal, findings: &mut Findings) -> Result<Question, End> {
    let (path, sha256) = (spec.checkpoint.clone(), spec.checkpoint_sha256.clone());
    let patience = Duration::from_secs_f64(spec.most_seconds);
    let copied = tokio::select! {
        copied = tokio::time::timeout(patience, blocking(move || checkpoint(&path, &sha256))) => copied,
        () = stopped(stop) => return Err(End::Error(EvaluationError::Stopped)),
    };
    let too_slow = |_| {
        let (path, seconds) = (spec.checkpoint.display(), spec.most_seconds);
        EvaluationError::Machine(format!("{path} could not be read within {seconds:.0} seconds; is its disk failing?"))
    };
    match copied.map_err(too_slow)?? {
        Ok(copy) => Ok(copy),
        Err(NoCheckpoint::Changed(why)) => {
            let evidence = format!("{}: {why}", spec.checkpoint.display());
            Err(End::Rejected(findings.failed("checkpoint", evidence)))
        }
        Err(NoCheckpoint::Machine(source)) => {
            Err(End::Error(EvaluationError::Checkpoint { path: spec.checkpoint.clone(), source }))
        }
    }
}

/// Draws the cuts and plans the questions; away from the runtime's threads, because counting a text takes its time.
async fn draw(spec: &EvaluationSpec, claim: &[f32]) -> Result<(Drawn, Plan), EvaluationError> {
    let (held_out, documents) = (Arc::clone(&spec.held_out), Arc::clone(&spec.documents));
    let (reference, claim) = (spec.reference.clone(), claim.to_vec());
    let (cuts, seed, batch_rows, vocabulary) = (spec.cuts, spec.audit_seed, spec.batch_rows, spec.setting.vocabulary);
    blocking(move || {
        let (reference, cuts) = match reference {
            Some(reference) => (reference, cuts),
            None => (reference::of_text(&*documents, held_out.rows(), vocabulary), cuts_without_champion(cuts)),
        };
        let drawn = Aim::new(&claim, held_out.bytes(), &reference, held_out.rows().context()).draw(cuts, seed);
        let plan = plan(&drawn.cuts, batch_rows, seed);
        (drawn, plan)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EvaluationError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EvaluationError::Machine(error.to_string()))
}

fn request(spec: &EvaluationSpec, seed: u64) -> ServeRequest {
    ServeRequest { setting: spec.setting.clone(), batch_rows: spec.batch_rows, seed }
}

/// The audit's process: the same, with a log of its own.
fn audit_job(job: &Job) -> Job {
    Job { log: job.log.with_extension("audit.log"), ..job.clone() }
}

async fn ask_claim(
    process: &mut crate::run::Process,
    spec: &EvaluationSpec,
    checkpoint: &Question,
    progress: &mut (impl FnMut(Part, f64) + Send),
) -> Result<Claim, Trouble> {
    hand_over(process, &request(spec, spec.weight_seeds[0]), checkpoint).await?;
    let tensors = weights(process).await?;
    let held_out = spec.held_out.rows();
    let tokens = scored_rows(held_out, &*spec.documents, spec.batch_rows);
    let rows = tokens.len() / (held_out.context() + 1);
    let heard = |fraction| progress(Part::Claim, 0.5 * fraction);
    let mut claim = numbers(process, &Ask::Score { rows }, &tokens, rows * held_out.context(), heard).await?;
    claim.truncate(held_out.len() * held_out.context());
    Ok(Claim { nats: claim, tensors })
}

async fn ask_audit(
    process: &mut crate::run::Process,
    spec: &EvaluationSpec,
    checkpoint: &Question,
    plan: &Plan,
    progress: &mut (impl FnMut(Part, f64) + Send),
) -> Result<Answers, Trouble> {
    hand_over(process, &request(spec, spec.weight_seeds[1]), checkpoint).await?;
    let held_out = spec.held_out.rows();
    let vocabulary = spec.setting.vocabulary;
    let mut nats = vec![f64::NAN; plan.places.len()];
    for (number, slots) in plan.batches.iter().enumerate() {
        let shown = show(plan, number, held_out, &*spec.documents, spec.audit_seed)
            .ok_or_else(|| Trouble::Own("a cut lies outside of the held-out rows".to_owned()))?;
        let ask = Ask::Logits { positions: shown.positions };
        let logits = numbers(process, &ask, &shown.inputs, slots.len() * vocabulary, |_| {});
        let logits = logits.await.map_err(Trouble::after_a_question)?;
        for (logits, place) in logits.chunks(vocabulary).zip(slots) {
            let Some(index) = *place else { continue };
            let (Some(place), Some(nats)) = (plan.places.get(index), nats.get_mut(index)) else { continue };
            let target = usize::from(held_out.row(place.row)[place.position + 1]);
            *nats = checks::nats(logits, target).map_err(|at| {
                let value = logits.get(at).copied().unwrap_or(f32::NAN);
                Trouble::NotFinite(format!("logit {at} at token {} of row {} is {value}", place.position, place.row))
            })?;
        }
        progress(Part::Audit, 0.5 + 0.45 * (number + 1) as f64 / plan.batches.len() as f64);
    }
    // Last: an answer too many shows here at the latest.
    let tensors = weights(process).await.map_err(Trouble::after_a_question)?;
    Ok(Answers { nats, tensors })
}
