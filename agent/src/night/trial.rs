//! Performing [`Effect::Train`](super::messages::Effect): one training run, written down before and after.

use std::sync::Arc;

use protocol::Budget;
use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::messages::{Event, Launch};
use super::perform::{Fault, TestProgress, fault};
use crate::flow::{Purpose, Trained, TrialEnd};
use crate::run::{StopSignal, train};

/// Bound on a trial whose budget is counted in tokens.
pub const MOST_TRIAL_SECONDS: f64 = 24.0 * 3600.0;

/// Trains one trial under the seed of this index, so that candidate and champion are compared on the same initial values and
/// data order.
pub(super) async fn run_trial(
    context: Arc<Context>,
    launch: Arc<Launch>,
    trial: u32,
    seed: u32,
    stop: StopSignal,
    progress: UnboundedSender<TestProgress>,
) -> Result<Event, Fault> {
    check_disk(&context)?;
    let id = context.id(launch.number);
    let recording = fault("cannot record the trial");
    let seed = usize::try_from(seed).ok().and_then(|index| context.night.seeds.get(index));
    let seed = *seed.ok_or("the night has too few seeds; its record is damaged")?;
    let budget = context.campaign.budget();
    context
        .store
        .begin_trial(&id, trial, seed, budget, &launch.artifact.sha256, Purpose::Search, 0)
        .await
        .map_err(|error| recording(&error))?;
    let subject = context.subject(&id, trial, &launch.artifact.sha256);
    subject.create_folders().map_err(|error| fault("cannot create the trial's folder")(&error))?;
    let grace_seconds = context.campaign.machine.grace_seconds;
    let spec = context.workbench.trial(&subject, seed, budget, grace_seconds, MOST_TRIAL_SECONDS);
    let trained = match train(&context.workbench.launcher, &spec, stop, |point| {
        // Nobody watching is no reason to stop.
        let _unwatched = progress.send(TestProgress::Training(point));
    })
    .await
    {
        Ok(trained) => trained,
        Err(error) => unmeasured(TrialEnd::MachineFault { message: error.to_string() }, seed, budget),
    };
    context.store.end_trial(&id, trial, &trained).await.map_err(|error| recording(&error))?;
    Ok(Event::Trained(Box::new(trained)))
}

/// No trial begins that could fill the disk: whoever shares it, and the database, come first.
fn check_disk(context: &Context) -> Result<(), Fault> {
    let folder = context.layout.state();
    let space = crate::setup::space_at(&folder).map_err(|error| fault("cannot tell how full the disk is")(&error))?;
    let reserve = context.campaign.machine.disk_reserve_gb;
    let free = space.available.0 as f64 / 1e9;
    if free < reserve {
        return Err(format!(
            "the disk of {} has {free:.1} GB left, less than the {reserve} GB that the campaign reserves; free some, or \
             lower disk_reserve_gb in campaign.toml, and run the night again",
            folder.display()
        ));
    }
    Ok(())
}

/// A trial of which nothing was seen but its end.
pub(super) fn unmeasured(end: TrialEnd, seed: u64, budget: Budget) -> Trained {
    Trained {
        end,
        seed,
        budget,
        steps: 0,
        tokens: 0,
        parameters: 0,
        training_seconds: 0.0,
        start_seconds: 0.0,
        peak_memory_bytes: 0,
        final_loss: None,
        checkpoint_sha256: None,
    }
}
