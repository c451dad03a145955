//! Performing [`Effect::Evaluate`](super::messages::Effect): has a trial's checkpoint evaluated and records what came of it.
//!
//! The search is measured on the search text, the morning on the sealed text. This is the one place at which a night opens the
//! latter, and every evaluation is entered in the ledger before it begins.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::cores::Room;
use super::messages::{Event, Measured};
use super::perform::{Fault, TestProgress, blocking, fault, warn};
use super::settle::keep_last_checkpoint;
use crate::conditions::Judged;
use crate::flow::{DocumentLoss, ExperimentId, Purpose, TrialEnd, Verified};
use crate::records::{self, Evaluation, TrialRecord};
use crate::run::StopSignal;
use crate::verify::{self, Evaluated, EvaluationError, HeldOut};

/// What a night's sealed text is spent on, in the ledger's words.
const MORNING: &str = "the morning's claim";

/// What the search text is looked at for.
const DECISIONS: &str = "decisions";

/// What [`Effect::Evaluate`](super::messages::Effect) asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The experiment's number.
    pub number: u32,
    /// Counted from 1.
    pub trial: u32,
    /// Which text it is measured on.
    pub purpose: Purpose,
    /// The champion's number.
    pub champion: u32,
    /// The device that it runs on.
    pub device: usize,
}

/// Has the checkpoint of a trial evaluated, in the knowledge of what another model claims of each token.
pub(super) async fn evaluate(
    context: Arc<Context>,
    asked: Asked,
    stop: StopSignal,
    progress: UnboundedSender<TestProgress>,
) -> Result<Event, Fault> {
    let Asked { number, trial, purpose, .. } = asked;
    let id = context.id(number);
    let trials = context.store.trials(&id).await.map_err(|error| fault("cannot read the trials")(&error))?;
    let record = trials.iter().find(|known| known.ordinal == trial);
    let record = record.ok_or_else(|| format!("trial {trial} of experiment {id} has no record"))?;
    if record.purpose != purpose {
        let (was, asked) = (record.purpose.name(), purpose.name());
        return Err(format!("trial {trial} of experiment {id} was run for the {was}, not for the {asked}"));
    }
    match &record.evaluation {
        // A night that was cut off between evaluation and decision.
        Some(Evaluation::Verified(verified)) => {
            let measured = measured(&context, record, verified.clone()).await?;
            return Ok(Event::Evaluated(Ok(measured)));
        }
        Some(Evaluation::Rejected(rejected)) => return Ok(Event::Evaluated(Err(rejected.clone()))),
        None => {}
    }
    let Some(checkpoint) = record.trained.as_ref().and_then(|trained| trained.checkpoint_sha256.clone()) else {
        return Ok(Event::TrialFault(format!("trial {trial} of experiment {id} has no recorded checkpoint")));
    };
    if purpose == Purpose::Morning {
        let claim = context.store.claim(&context.night.id).await;
        if claim.map_err(|error| fault("cannot read the claim")(&error))?.is_some() {
            return Err(
                "this night's claim is recorded and its sealed text is spent; it is not looked at again".to_owned()
            );
        }
    }
    let held_out = held_out(&context, purpose).await?;
    let reference = reference(&context, asked, &held_out).await?;
    let subject = context.subject(&id, trial, &record.artifact_sha256);
    let spec = context.workbench.evaluation(&subject, checkpoint, held_out, reference);
    let mut spec = spec.map_err(|error| fault("cannot prepare the evaluation")(&error))?;
    let Some(station) = context.stations.get(asked.device) else {
        return Err(format!("internal error: there is no device {}", asked.device));
    };
    spec.job.environment.clone_from(&station.environment);
    // Always, whether or not a trial trains beside it: all evaluations of a night are alike.
    match context.cores.beside_an_evaluation() {
        Room::Trial { cores } => (spec.job.cores, spec.setting.threads) = (Some(cores.clone()), cores.count()),
        Room::Start | Room::Nothing => spec.job.cores = context.cores.group(asked.device).cloned(),
    }
    let (part, what_for) = match purpose {
        Purpose::Search => (records::HeldOut::Search, DECISIONS),
        Purpose::Morning => (records::HeldOut::Sealed, MORNING),
    };
    let entered = context.store.count_look(&context.night.id, part, what_for).await;
    entered.map_err(|error| fault("cannot enter the look at held-out text in the ledger")(&error))?;
    let evaluated = verify::evaluate(&context.workbench.launcher, &spec, stop, |_, fraction| {
        // Nobody watching is no reason to stop.
        let _unwatched = progress.send(TestProgress::Verifying(fraction));
    });
    let watch = station.conditions.watch_evaluation().await;
    let evaluated = evaluated.await;
    // Only errors of the hardware matter here; a driver that hangs after a good end is none.
    let good = matches!(&evaluated, Ok(Evaluated { outcome: Ok(_), .. }));
    let end = if good { TrialEnd::Finished } else { TrialEnd::Crashed { message: String::new() } };
    match watch.end(&end).await {
        Judged::Counts => {}
        Judged::Fault(what) | Judged::Changed(what) => return Ok(Event::TrialFault(what)),
    }
    let Evaluated { outcome, certificate } = match evaluated {
        Ok(evaluated) => evaluated,
        Err(EvaluationError::Stopped) => return Ok(Event::Stop { at_once: true }),
        Err(error) => return Ok(Event::TrialFault(format!("cannot evaluate: {error}"))),
    };
    let evaluation = match outcome.clone() {
        Ok(verified) => Evaluation::Verified(verified),
        Err(rejected) => Evaluation::Rejected(rejected),
    };
    let recorded = context.store.record_evaluation(&id, trial, evaluation, Some(certificate)).await;
    recorded.map_err(|error| fault("cannot record the evaluation")(&error))?;
    keep_last_checkpoint(&context, &id).await?;
    Ok(Event::Evaluated(match outcome {
        Ok(verified) => Ok(measured(&context, record, verified).await?),
        Err(rejected) => Err(rejected),
    }))
}

/// The text that a trial is measured on.
async fn held_out(context: &Arc<Context>, purpose: Purpose) -> Result<Arc<HeldOut>, Fault> {
    let opener = Arc::clone(context);
    blocking("opening the held-out text", move || {
        let opened = opener.workbench.held_out_for(purpose);
        opened.map_err(|error| fault("cannot open the held-out text")(&error))
    })
    .await
}

/// A trial's figures and, from its claim, those of every document. Where the claim's file is gone the figures stand alone, and
/// what they are compared with is less sure; a morning without any claims nothing.
pub(super) async fn measured(
    context: &Arc<Context>,
    trial: &TrialRecord,
    verified: Verified,
) -> Result<Measured, Fault> {
    let held_out = held_out(context, trial.purpose).await?;
    let path = context.layout.claim(&trial.experiment, trial.ordinal);
    let summed = blocking("summing over documents", move || Ok(documents(path, &held_out))).await?;
    let documents = match summed {
        Ok(documents) => documents,
        Err(why) => {
            let (trial, id) = (trial.ordinal, &trial.experiment);
            warn(context, "evaluate", &format!("trial {trial} of experiment {id} counts as a whole only: {why}"))
                .await?;
            Arc::new([])
        }
    };
    Ok(Measured { verified, documents })
}

fn documents(path: PathBuf, held_out: &HeldOut) -> Result<Arc<[DocumentLoss]>, String> {
    let claim = verify::read_claim(&path, held_out.bytes().len()).map_err(|error| error.to_string())?;
    verify::per_document(&claim, held_out).map_err(|error| error.to_string())
}

/// What another model claims of each token of the same text, by which cuts are drawn where a leak would pay: the champion's claim for
/// a candidate, the night's start's for a champion. In the morning, on the sealed text, the start's is the only one there is.
async fn reference(context: &Arc<Context>, asked: Asked, held_out: &HeldOut) -> Result<Option<Vec<f32>>, Fault> {
    let whose = match asked.purpose {
        Purpose::Search if asked.number != asked.champion => asked.champion,
        Purpose::Search | Purpose::Morning => 0,
    };
    if whose == asked.number {
        return Ok(None);
    }
    let id: ExperimentId = context.id(whose);
    let trials = context.store.trials(&id).await.map_err(|error| fault("cannot read the trials")(&error))?;
    let same = |trial: &&TrialRecord| trial.purpose == asked.purpose && trial.val_bpb().is_some();
    let Some(trial) = trials.iter().rfind(same) else { return Ok(None) };
    match verify::read_claim(&context.layout.claim(&id, trial.ordinal), held_out.bytes().len()) {
        Ok(claim) => Ok(Some(claim)),
        Err(error) => {
            let text = format!("the claim of experiment {id} cannot be read, so cuts are drawn without it: {error}");
            warn(context, "evaluate", &text).await?;
            Ok(None)
        }
    }
}
