//! Performing [`Effect::Evaluate`](super::messages::Effect): has a trial's checkpoint evaluated and records what came of it.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::messages::{Event, Measured};
use super::perform::{Fault, TestProgress, fault, warn};
use crate::records::Evaluation;
use crate::run::StopSignal;
use crate::verify::{self, Evaluated, EvaluationError};

/// Has the checkpoint of a trial evaluated, in the knowledge of what the champion claims of each token.
pub(super) async fn evaluate(
    context: Arc<Context>,
    number: u32,
    trial: u32,
    champion: u32,
    stop: StopSignal,
    progress: UnboundedSender<TestProgress>,
) -> Result<Event, Fault> {
    let id = context.id(number);
    let trials = context.store.trials(&id).await.map_err(|error| fault("cannot read the trials")(&error))?;
    let record = trials.into_iter().find(|known| known.ordinal == trial);
    let record = record.ok_or_else(|| format!("trial {trial} of experiment {id} has no record"))?;
    match record.evaluation {
        // A night that was cut off between evaluation and decision.
        Some(Evaluation::Verified(verified)) => {
            return Ok(Event::Evaluated(Ok(Measured { verified, documents: Arc::new([]) })));
        }
        Some(Evaluation::Rejected(rejected)) => return Ok(Event::Evaluated(Err(rejected))),
        None => {}
    }
    let Some(checkpoint) = record.trained.and_then(|trained| trained.checkpoint_sha256) else {
        return Ok(Event::TrialFault(format!("trial {trial} of experiment {id} has no recorded checkpoint")));
    };
    let subject = context.subject(&id, trial, &record.artifact_sha256);
    let reference = if number == champion { None } else { champions_claim(&context, champion).await? };
    let spec = context.workbench.evaluation(&subject, checkpoint, Arc::clone(&context.workbench.held_out), reference);
    let spec = spec.map_err(|error| fault("cannot prepare the evaluation")(&error))?;
    let evaluated = verify::evaluate(&context.workbench.launcher, &spec, stop, |_, fraction| {
        // Nobody watching is no reason to stop.
        let _unwatched = progress.send(TestProgress::Verifying(fraction));
    });
    let Evaluated { outcome, certificate } = match evaluated.await {
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
    Ok(Event::Evaluated(outcome.map(|verified| Measured { verified, documents: Arc::new([]) })))
}

/// What the champion claims of each held-out token, by which cuts are drawn where a leak would pay.
async fn champions_claim(context: &Arc<Context>, number: u32) -> Result<Option<Vec<f32>>, Fault> {
    let id = context.id(number);
    let trials = context.store.trials(&id).await.map_err(|error| fault("cannot read the champion's trials")(&error))?;
    let Some(trial) = trials.iter().rfind(|trial| trial.val_bpb().is_some()) else { return Ok(None) };
    match verify::read_claim(&context.layout.claim(&id, trial.ordinal), context.workbench.held_out.bytes().len()) {
        Ok(claim) => Ok(Some(claim)),
        Err(error) => {
            let text = format!("the champion's claim cannot be read, so cuts are drawn without it: {error}");
            warn(context, "evaluate", &text).await?;
            Ok(None)
        }
    }
}
