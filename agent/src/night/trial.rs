//! Performing [`Effect::Train`](super::messages::Effect): one training run, written down before and after.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Budget;
use tokio::sync::mpsc::UnboundedSender;

use super::ahead::{Teller, Wanted};
use super::context::Context;
use super::looks::{Looks, champions_curve};
use super::machine::failure;
use super::making;
use super::messages::{Event, Launch};
use super::perform::{Fault, TestProgress, blocking, fault, now};
use crate::conditions::{Judged, Settled};
use crate::files::remove_folder;
use crate::flow::{Purpose, Trained, TrialEnd};
use crate::hash::sha256_file;
use crate::run::{EarlySignal, StopSignal, train};

/// Bound on a trial whose budget is counted in tokens.
pub const MOST_TRIAL_SECONDS: f64 = 24.0 * 3600.0;

/// Least time between two reports of progress: nobody sees more, and a flood of steps must not become a flood of whatever listens.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// A trial may begin this much later than planned: what it is expected to take is an upper bound.
const LATE: Duration = Duration::from_secs(2);

/// What [`Effect::Train`](super::messages::Effect) asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What to train.
    pub launch: Arc<Launch>,
    /// Counted from 1 within the experiment.
    pub trial: u32,
    /// Index in the night's list of seeds.
    pub seed: u32,
    /// What it is for.
    pub purpose: Purpose,
    /// The night's era.
    pub era: u32,
    /// Seconds for which the machine may be waited for; `None`: the night has no deadline.
    pub wait: Option<f64>,
    /// The champion's number: with its run under the same seed the trial is compared while it trains.
    pub champion: u32,
    /// Whether the night has asked for it yet.
    pub wanted: Wanted,
    /// It gets ready, and trains only when it is asked for.
    pub hold: bool,
}

/// Trains one trial. Champion and candidates train under the same seeds, so that they are compared on the same initial values and
/// data order. What is begun ahead is on no record before the night asks for it; what it never asks for leaves none, nor a file.
pub(super) async fn run_trial(
    context: Arc<Context>,
    asked: Asked,
    mut stop: StopSignal,
    early: EarlySignal,
    progress: UnboundedSender<TestProgress>,
) -> Result<Event, Fault> {
    let mut teller = Teller::new(progress, asked.wanted.clone());
    let asked_at = Instant::now();
    check_disk(&context)?;
    let wait = asked.wait.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
    match context.conditions.settle(&mut stop, wait, |words| teller.say(TestProgress::Waiting(words.to_owned()))).await
    {
        Settled::Calm => {}
        Settled::Stopped => return Ok(Event::Stop { at_once: true }),
        Settled::Never(why) if wait.is_some() => return Ok(Event::NotBegun(why)),
        Settled::Never(why) => return Err(format!("{why}; then run the night again, and it goes on")),
    }
    let Asked { launch, trial, purpose, era, champion, mut wanted, hold, .. } = asked;
    let id = context.id(launch.number);
    let recording = fault("cannot record the trial");
    let seed = context.seed(asked.seed).ok_or_else(|| {
        let listed = context.night.seeds.len();
        format!("the night has {listed} seeds and needs one more; it was begun by an older version: end it and begin another")
    })?;
    let budget = context.campaign.budget();
    let sha256 = match executable(&context, &launch, stop.clone()).await? {
        Ok(sha256) => sha256,
        Err(instead) => return Ok(instead),
    };
    let Some(_turn) = context.cores.take(&mut stop).await else { return Ok(Event::Stop { at_once: true }) };
    // A build may have had its turn for longer than anybody thought.
    if wait.is_some_and(|most| asked_at.elapsed() > most + LATE) {
        let seconds = asked_at.elapsed().as_secs_f64();
        return Ok(Event::NotBegun(format!(
            "a build took so long ({seconds:.0} s) that a trial would not end in time"
        )));
    }
    let started_at = now();
    let begin = |at| context.store.trial_begun_at(&id, trial, seed, budget, &sha256, purpose, era, at);
    let mut on_record = wanted.already();
    if on_record {
        begin(started_at).await.map_err(|error| recording(&error))?;
    }
    let mut looks = match purpose {
        Purpose::Search if launch.number != champion => champions_curve(&context, champion, seed, era, budget).await?,
        Purpose::Search | Purpose::Morning => None,
    }
    .map(|curve| Looks::new(launch.number, trial, budget, &curve));
    let subject = context.subject(&id, trial, &sha256);
    subject.create_folders().map_err(|error| fault("cannot create the trial's folder")(&error))?;
    let grace_seconds = context.campaign.machine.grace_seconds;
    let mut spec = context.workbench.trial(&subject, seed, budget, grace_seconds, MOST_TRIAL_SECONDS);
    spec.hold = hold.then(|| wanted.signal());
    let mut reported: Option<Instant> = None;
    let watch = context.conditions.watch().await;
    let trained = {
        let run = train(&context.workbench.launcher, &spec, stop, early, |heard| {
            let seen = looks.iter_mut().flat_map(|looks| looks.step(&heard.point));
            seen.for_each(|look| teller.say(TestProgress::Look(look)));
            if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                reported = Some(Instant::now());
                teller.say(TestProgress::Training(heard));
            }
        });
        tokio::pin!(run);
        tokio::select! {
            trained = &mut run => trained,
            true = wanted.come(), if !on_record => {
                // One that was held begins only now.
                let at = if hold { now() } else { started_at };
                begin(at).await.map_err(|error| recording(&error))?;
                on_record = true;
                run.await
            }
        }
    };
    let trained = match trained {
        Ok(trained) => {
            let judged = watch.end(&trained.end).await;
            if let Judged::Changed(why) = &judged {
                teller.say(TestProgress::Changed { number: launch.number, trial, why: why.clone() });
            }
            judge(judged, trained, &spec.checkpoint)?
        }
        Err(error) => unmeasured(TrialEnd::MachineFault { message: error.to_string() }, seed, budget),
    };
    let ended_at = now();
    if !on_record {
        if !wanted.come().await {
            remove(subject.folder).await?;
            return Ok(Event::Stop { at_once: true });
        }
        // What went wrong may be due to what ran beside it, and is no verdict yet.
        if trained.end != TrialEnd::Finished {
            remove(subject.folder).await?;
            let how = failure(&trained.end);
            return Ok(Event::NotBegun(format!(
                "begun while another was evaluated, it ended too early ({how}); it is run again"
            )));
        }
        begin(started_at).await.map_err(|error| recording(&error))?;
    }
    teller.flush();
    context.store.trial_ended_at(&id, trial, &trained, ended_at).await.map_err(|error| recording(&error))?;
    Ok(Event::Trained(Box::new(trained)))
}

/// Removes what a trial left that is on no record.
async fn remove(folder: PathBuf) -> Result<(), Fault> {
    blocking("removing what a trial left", move || {
        remove_folder(&folder).map_err(|error| fault("cannot remove what a trial left")(&error))
    })
    .await
}

/// What the machine's conditions make of a trial. One that they disturbed is a fault of the machine: how it ended otherwise, and how
/// good its model is, does not matter, and its checkpoint is not kept.
fn judge(judged: Judged, trained: Trained, checkpoint: &Path) -> Result<Trained, Fault> {
    match (judged, &trained.end) {
        (Judged::Counts, _) | (_, TrialEnd::Stopped | TrialEnd::MachineFault { .. }) => Ok(trained),
        (Judged::Fault(message) | Judged::Changed(message), _) => {
            match std::fs::remove_file(checkpoint) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {error}", checkpoint.display()));
                }
                _ => {}
            }
            Ok(Trained { end: TrialEnd::MachineFault { message }, checkpoint_sha256: None, ..trained })
        }
    }
}

/// The hash of the executable as it lies there, which a clean-up may have removed since it was built: then it is built again. An
/// event, where that comes to nothing.
async fn executable(context: &Arc<Context>, launch: &Launch, stop: StopSignal) -> Result<Result<String, Event>, Fault> {
    let path = launch.artifact.path.clone();
    let hashed = blocking("reading the executable", move || Ok(sha256_file(&path))).await?;
    match hashed {
        Ok(sha256) => return Ok(Ok(sha256)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault("cannot read the executable")(&error)),
    }
    Ok(match making::build(Arc::clone(context), launch.number, launch.candidate.clone(), stop).await? {
        Event::Built { result: Ok(artifact), .. } => Ok(artifact.sha256),
        Event::Built { result: Err(failure), .. } => {
            let first = failure.errors.into_iter().next().unwrap_or_default();
            Err(Event::TrialFault(format!("its executable is gone and does not build any more: {first}")))
        }
        other => Err(other),
    })
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
