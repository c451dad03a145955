//! Performing [`Effect::SmokeTest`](super::messages::Effect): a candidate that waits for its turn is run for a few steps beside the trial
//! in flight, so that one that crashes, hangs or computes no numbers costs seconds, and no place among the trials.
//!
//! It is no trial: nothing that it computes is looked at, it has a seed of its own, and its files are removed. It runs as trials do,
//! confined, but at the lowest priority and on no other cores than those that the trial leaves. Where a trial leaves none, or computes on a
//! GPU, which has no second place that a trial would not notice, there is no smoke test, and the first seconds of the trial are one.
//!
//! What fails is tried once more under another seed, and only what fails twice has failed. What may lie in the machine (no memory, no
//! processes) says nothing: the trial will.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Budget;
use tokio::sync::watch;

use super::context::Context;
use super::machine::failure;
use super::messages::{Event, Launch};
use super::perform::{Fault, blocking, fault};
use super::workbench::Subject;
use crate::build::NICE_BESIDE;
use crate::files::remove_folder;
use crate::flow::TrialEnd;
use crate::run::{CoreSet, StopSignal, not_early, stopped, train};
use crate::seeds;

/// Steps that are tried.
const STEPS: u64 = 3;

/// Times that it is tried before a failure is believed.
const TRIES: u32 = 2;

/// Seconds that starting and [`STEPS`] steps may take, whatever they take the champion.
const LEAST_SECONDS: f64 = 20.0;

/// How much longer they may take than the champion's do, on as many cores.
const PATIENCE: f64 = 10.0;

/// More tokens than any machine trains on in the seconds that there are: steps end it.
const TOKENS: u64 = 1 << 40;

/// Tells the smoke test in flight that its answer is not waited for any more.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Of which experiment.
    pub number: u32,
    enough: watch::Sender<bool>,
}

impl InFlight {
    /// Of the experiment with a number, and what the test listens to.
    pub fn of(number: u32) -> (Self, StopSignal) {
        let (enough, signal) = watch::channel(false);
        (Self { number, enough }, signal)
    }

    /// Ends it: its turn has come, and its trial says all. One that has ended does not mind.
    pub fn end(self) {
        let _over = self.enough.send(true);
    }
}

/// What one try showed.
#[derive(Debug, PartialEq)]
enum Tried {
    /// It trains.
    Well,
    /// It does not, in words.
    Badly(String),
    /// Nothing.
    Untold,
}

/// Tries the candidate.
pub(super) async fn smoke_test(
    context: Arc<Context>,
    launch: Arc<Launch>,
    stop: StopSignal,
    enough: StopSignal,
) -> Result<Event, Fault> {
    let (number, commit) = (launch.number, launch.candidate.commit.clone());
    let failed = match spare_cores(&context) {
        Some(cores) => {
            let folder = context.layout.experiment(&context.id(number)).join("smoke");
            let failed = failed_twice(&context, &launch, &folder, &cores, stop, enough).await?;
            if failed.is_none() {
                // What failed leaves its log to whoever asks why.
                blocking("removing what a smoke test left", move || {
                    remove_folder(&folder).map_err(|error| fault("cannot remove what a smoke test left")(&error))
                })
                .await?;
            }
            failed
        }
        None => None,
    };
    Ok(Event::SmokeTested { number, commit, failed })
}

/// Cores for it, where a trial leaves any that it does not notice.
fn spare_cores(context: &Context) -> Option<CoreSet> {
    context.cores.spare().filter(|_| !context.workbench.on_gpu()).cloned()
}

async fn failed_twice(
    context: &Arc<Context>,
    launch: &Launch,
    folder: &Path,
    cores: &CoreSet,
    stop: StopSignal,
    enough: StopSignal,
) -> Result<Option<String>, Fault> {
    let champion = slowest_of_the_start(context).await?;
    let threads = super::cores::cores_of_a_trial(&context.workbench);
    let most = most_seconds(champion, threads, cores.count());
    let mut failed = None;
    for _ in 0..TRIES {
        match try_once(context, launch, folder, cores, most, stop.clone(), enough.clone()).await? {
            Tried::Badly(words) => failed = Some(words),
            Tried::Well | Tried::Untold => return Ok(None),
        }
    }
    Ok(failed)
}

/// Seconds of the start and of a step that the night's start took at most.
async fn slowest_of_the_start(context: &Arc<Context>) -> Result<(f64, f64), Fault> {
    let trials = context.store.trials(&context.id(0)).await;
    let trials = trials.map_err(|error| fault("cannot read the trials")(&error))?;
    let trained = trials.iter().filter_map(|trial| trial.trained.as_ref());
    Ok(trained.filter(|trained| trained.end == TrialEnd::Finished).fold((0.0, 0.0), |(start, step), trained| {
        (trained.start_seconds.max(start), (trained.training_seconds / trained.steps.max(1) as f64).max(step))
    }))
}

/// Seconds for a smoke test on so many cores, where a trial has `threads`, starts in `start` seconds and makes a step in `step`.
fn most_seconds((start, step): (f64, f64), threads: usize, cores: usize) -> f64 {
    let slower = (threads as f64 / cores.max(1) as f64).max(1.0);
    LEAST_SECONDS + PATIENCE * slower * (start + STEPS as f64 * step)
}

async fn try_once(
    context: &Arc<Context>,
    launch: &Launch,
    folder: &Path,
    cores: &CoreSet,
    most_seconds: f64,
    mut stop: StopSignal,
    mut enough: StopSignal,
) -> Result<Tried, Fault> {
    let subject = Subject {
        executable: launch.artifact.path.clone(),
        sha256: launch.artifact.sha256.clone(),
        folder: folder.to_owned(),
    };
    let folders = subject.clone();
    blocking("making a folder for the smoke test", move || {
        folders.create_folders().map_err(|error| fault("cannot create the smoke test's folder")(&error))
    })
    .await?;
    let seed = seeds::random().map_err(|error| fault("cannot draw a seed")(&error))?;
    let mut spec = context.workbench.trial(&subject, seed, Budget::Tokens(TOKENS), 0.0, most_seconds);
    spec.go.stop_after_steps = Some(STEPS);
    spec.request.setting.threads = spec.request.setting.threads.min(cores.count()).max(1);
    (spec.job.cores, spec.job.nice) = (Some(cores.clone()), NICE_BESIDE);
    let (end, ended) = watch::channel(false);
    let run = train(&context.workbench.launcher, &spec, ended, not_early(), |_| {});
    tokio::pin!(run);
    let tried = tokio::select! {
        run = &mut run => return Ok(run.map_or(Tried::Untold, |trained| told(&trained.end))),
        () = stopped(&mut stop) => Tried::Untold,
        () = stopped(&mut enough) => Tried::Untold,
        () = tokio::time::sleep(Duration::from_secs_f64(most_seconds)) => {
            Tried::Badly(format!("it was still at its start or its first {STEPS} steps after {most_seconds:.0} s"))
        }
    };
    // The run below has the receiver. However it ends now, that was asked of it.
    let _heard = end.send(true);
    let _asked_for = run.await;
    Ok(tried)
}

/// What the end of a run says of its candidate.
fn told(end: &TrialEnd) -> Tried {
    match end {
        TrialEnd::Finished => Tried::Well,
        TrialEnd::Crashed { .. } | TrialEnd::NotFinite | TrialEnd::TimedOut => Tried::Badly(failure(end)),
        // Memory is shared with the trial beside it.
        TrialEnd::OutOfMemory { .. }
        | TrialEnd::MachineFault { .. }
        | TrialEnd::Stopped
        | TrialEnd::StoppedEarly { .. } => Tried::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_candidate_did_is_its_failure() {
        let message = || "seen".to_owned();
        for (end, tried) in [
            (TrialEnd::Finished, Tried::Well),
            (TrialEnd::Crashed { message: message() }, Tried::Badly("it crashed: seen".to_owned())),
            (TrialEnd::NotFinite, Tried::Badly("its loss was not finite".to_owned())),
            (TrialEnd::OutOfMemory { message: message() }, Tried::Untold),
            (TrialEnd::MachineFault { message: message() }, Tried::Untold),
            (TrialEnd::StoppedEarly { message: message() }, Tried::Untold),
            (TrialEnd::Stopped, Tried::Untold),
        ] {
            assert_eq!(told(&end), tried, "{end:?}");
        }
    }

    #[test]
    fn patience_grows_with_what_the_start_takes_and_with_the_cores_that_there_are_not() {
        // Nothing known: seconds, but not for ever.
        assert_eq!(most_seconds((0.0, 0.0), 8, 1), LEAST_SECONDS);
        assert_eq!(most_seconds((0.5, 0.5), 4, 4), 20.0 + 10.0 * 2.0);
        assert_eq!(most_seconds((0.5, 0.5), 4, 16), 20.0 + 10.0 * 2.0);
        assert_eq!(most_seconds((0.5, 0.5), 4, 1), 20.0 + 4.0 * 10.0 * 2.0);
    }

    #[test]
    fn a_test_whose_turn_has_come_hears_of_it() {
        let (in_flight, signal) = InFlight::of(7);
        assert!(in_flight.number == 7 && !*signal.borrow());
        in_flight.end();
        assert!(*signal.borrow());
    }
}
