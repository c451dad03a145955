//! Performing [`Effect::Train`](super::messages::Effect): one training run, written down before and after.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::Budget;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

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
use crate::run::{Curve, EarlySignal, StopSignal, stopped, train};

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
    /// Which of those begun ahead it is, counted from 1; 0 where it was asked for.
    pub serial: u64,
    /// The device that it runs on.
    pub device: usize,
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
    let Some(station) = context.stations.get(asked.device) else {
        return Err(format!("internal error: there is no device {}", asked.device));
    };
    match station.conditions.settle(&mut stop, wait, |words| teller.say(TestProgress::Waiting(words.to_owned()))).await
    {
        Settled::Calm => {}
        Settled::Stopped => return Ok(Event::Stop { at_once: true }),
        Settled::Never(why) if wait.is_some() => return Ok(Event::NotBegun(why)),
        Settled::Never(why) => return Err(format!("{why}; then run the night again, and it goes on")),
    }
    let Asked { launch, trial, purpose, era, champion, mut wanted, hold, serial, device, .. } = asked;
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
    let Some(turn) = context.cores.train(device, &mut stop).await else { return Ok(Event::Stop { at_once: true }) };
    // A build may have had its turn for longer than anybody thought.
    if wait.is_some_and(|most| asked_at.elapsed() > most + LATE) {
        let seconds = asked_at.elapsed().as_secs_f64();
        return Ok(Event::NotBegun(format!(
            "a build took so long ({seconds:.0} s) that a trial would not end in time"
        )));
    }
    let started_at = now();
    let on = Some(station.name.as_str());
    let begin = |at| context.store.trial_begun_at(&id, trial, seed, budget, &sha256, purpose, era, on, at);
    let mut on_record = wanted.already();
    if on_record {
        begin(started_at).await.map_err(|error| recording(&error))?;
    }
    let compared = purpose == Purpose::Search && launch.number != champion;
    let looks = Mutex::new(compared.then(|| Looks::new(launch.number, trial, budget)));
    let champions_curve = || champions_curve(&context, champion, seed, era, budget);
    if on_record && compared {
        begin_looks(&looks, champions_curve().await?.as_ref(), &mut teller);
    }
    let subject = context.subject(&id, trial, &sha256);
    subject.create_folders().map_err(|error| fault("cannot create the trial's folder")(&error))?;
    let grace_seconds = context.campaign.machine.grace_seconds;
    let mut spec = context.workbench.trial(&subject, seed, budget, grace_seconds, MOST_TRIAL_SECONDS);
    spec.hold = hold.then(|| wanted.signal());
    spec.job.environment.clone_from(&station.environment);
    spec.job.cores = context.cores.group(device).cloned();
    let mut reported: Option<Instant> = None;
    let (stopped_early, mut at_the_end) = (early.clone(), stop.clone());
    let teller = Mutex::new(teller);
    let watch = station.conditions.watch().await;
    let trained = {
        let run = train(&context.workbench.launcher, &spec, stop, early, |heard| {
            let mut teller = locked(&teller);
            let seen = locked(&looks).as_mut().map_or_else(Vec::new, |looks| looks.step(&heard.point));
            seen.into_iter().for_each(|look| teller.say(TestProgress::Look(look)));
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
                on_record = true;
                let record = async {
                    begin(at).await.map_err(|error| recording(&error))?;
                    // Only now: the champion's run under this seed may have ended since it began.
                    if compared {
                        begin_looks(&looks, champions_curve().await?.as_ref(), &mut locked(&teller));
                    }
                    Ok::<(), Fault>(())
                };
                // The steps are read meanwhile: their times are taken as they come.
                let (recorded, trained) = tokio::join!(record, &mut run);
                recorded?;
                trained
            }
        }
    };
    let mut teller = teller.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut trained = match trained {
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
    drop(turn);
    if !on_record {
        teller.now(TestProgress::Ahead { serial });
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
        if compared {
            begin_looks(&looks, champions_curve().await?.as_ref(), &mut teller);
        }
        // What the night would have stopped, had it asked for it before, ends as what it stops.
        let (told, heard) = oneshot::channel();
        teller.say(TestProgress::AllTold(told));
        tokio::select! {
            _ = heard => {}
            () = stopped(&mut at_the_end) => {}
        }
        let reason = stopped_early.borrow().clone();
        if let Some(reason) = reason {
            trained = hopeless(trained, reason, &spec.checkpoint)?;
        }
    }
    teller.flush();
    context.store.trial_ended_at(&id, trial, &trained, ended_at).await.map_err(|error| recording(&error))?;
    Ok(Event::Trained(Box::new(trained)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what the champion's curve is, and tells what is seen beside it at the looks that were passed; without one there are none.
fn begin_looks(looks: &Mutex<Option<Looks>>, champion: Option<&Curve>, teller: &mut Teller) {
    let mut looks = locked(looks);
    let seen = looks.as_mut().zip(champion).map_or_else(Vec::new, |(looks, champion)| looks.beside(champion));
    if champion.is_none() {
        *looks = None;
    }
    seen.into_iter().for_each(|look| teller.say(TestProgress::Look(look)));
}

/// A trial that had run to its end before the night saw that it would have stopped it.
fn hopeless(trained: Trained, reason: String, checkpoint: &Path) -> Result<Trained, Fault> {
    remove_checkpoint(checkpoint)?;
    Ok(Trained { end: TrialEnd::StoppedEarly { message: reason }, checkpoint_sha256: None, ..trained })
}

fn remove_checkpoint(checkpoint: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(checkpoint) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", checkpoint.display()))
        }
        _ => Ok(()),
    }
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
            remove_checkpoint(checkpoint)?;
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
