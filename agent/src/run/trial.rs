//! One training run: speaks the trainer's protocol, keeps the curve, and measures by the agent's own clock.
//!
//! Whatever the trainer says is only written down as "by the trainer's word". Whether the run counts is decided from what
//! can be seen from outside: it said it was done before the deadline, it exited, its checkpoint is there.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::{Budget, Event, Failure, Go, TrainRequest};
use tokio::sync::watch;

use super::checkpoint::{self, Taken};
use super::curve::CurvePoint;
use super::measured::{self, MeasuredStep};
use super::pace::{Broken, Pace};
use super::process::{Ended, Job, Launcher, Process, RunError, StopSignal, stopped};
use crate::flow::{Trained, TrialEnd};

/// Seconds that the trainer may take to build its model.
const START_SECONDS: f64 = 180.0;

/// Seconds for exiting after the checkpoint is written, or after the end of the protocol.
const EXIT_SECONDS: f64 = 30.0;

/// More of a process's words than this is not taken into a message.
const MOST_WORDS: usize = 2_000;

/// What to train, and where its files go.
#[derive(Debug, Clone)]
pub struct TrialSpec {
    /// The trainer's process; its `log` is the trial's.
    pub job: Job,
    /// First message.
    pub request: TrainRequest,
    /// Second message. Its checkpoint lies in a folder that the trainer may write and that holds nothing else; the folder is
    /// removed when the trial is over.
    pub go: Go,
    /// Folder of the prepared data. The trainer gets its training files as descriptors, together with the second message.
    pub data: PathBuf,
    /// Where the checkpoint is put when the trainer is gone, on the same file system as the folder that it was written to.
    pub checkpoint: PathBuf,
    /// Where the curve goes, one [`CurvePoint`] a line.
    pub curve: PathBuf,
    /// Seconds that the trainer may go on after its budget, for the last step and the checkpoint.
    pub grace_seconds: f64,
    /// Bound for a budget in tokens, in seconds.
    pub most_seconds: f64,
    /// Largest checkpoint that is taken, bytes.
    pub most_checkpoint_bytes: u64,
    /// Where there is one, the trainer gets ready and is told to go when this becomes true.
    pub hold: Option<StopSignal>,
}

/// The training data, opened anew for every trial: processes that share an open file share its offset.
struct TrainingFiles {
    tokens: File,
    index: File,
}

impl TrainingFiles {
    fn open(folder: &Path) -> Result<TrainingFiles, RunError> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::open(&path).map_err(|source| RunError::File { action: "open the training data", path, source })
        };
        Ok(TrainingFiles { tokens: open(data::files::TRAIN_TOKENS)?, index: open(data::files::TRAIN_INDEX)? })
    }
}

/// Becomes some reason when the training run in flight is to be ended because it is hopeless.
pub type EarlySignal = watch::Receiver<Option<String>>;

/// A signal that never comes.
pub fn not_early() -> EarlySignal {
    watch::channel(None).1
}

/// Waits until the run is to be ended early; says why.
async fn hopeless(early: &mut EarlySignal) -> String {
    // An error means that nobody can ask any more.
    let why = early.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialProgress {
    /// The newest point.
    pub point: CurvePoint,
    /// How much of the budget is used, 0 to 1.
    pub fraction: f64,
}

/// What the conversation with the trainer has shown so far.
#[derive(Debug)]
struct Seen {
    steps: u64,
    tokens: u64,
    parameters: u64,
    peak_memory_bytes: u64,
    pace: Pace,
    /// Seconds since the word "go" when it said that it had finished.
    finished: Option<f64>,
    too_long: bool,
    failed: Option<(Failure, String)>,
    nonsense: Option<String>,
    measured: Vec<MeasuredStep>,
}

impl Seen {
    fn nothing(budget: Budget) -> Seen {
        Seen {
            steps: 0,
            tokens: 0,
            parameters: 0,
            peak_memory_bytes: 0,
            pace: Pace::new(budget, 0),
            finished: None,
            too_long: false,
            failed: None,
            nonsense: None,
            measured: Vec::new(),
        }
    }

    fn broken(&mut self, broken: Broken) {
        match broken {
            Broken::Nonsense(words) => self.nonsense = Some(words),
            Broken::TooLong => self.too_long = true,
        }
    }
}

/// Words from a process, no longer than anybody reads.
fn short(words: &str) -> String {
    words.chars().take(MOST_WORDS).collect()
}

/// Trains once. `progress` hears of every step and must not block.
///
/// # Errors
/// [`RunError`] when the machine is at fault. Everything that the edited code does is an `Ok` with its [`TrialEnd`].
pub async fn train(
    launcher: &Launcher,
    spec: &TrialSpec,
    mut stop: StopSignal,
    mut early: EarlySignal,
    mut progress: impl FnMut(TrialProgress),
) -> Result<Trained, RunError> {
    let began = Instant::now();
    let data = TrainingFiles::open(&spec.data)?;
    let mut process = launcher.start(&spec.job).await?;
    let mut seen = Seen::nothing(spec.go.budget);

    // Building the model is not training: it has a time limit of its own and no data yet.
    let ready = tokio::select! {
        ready = tokio::time::timeout(Duration::from_secs_f64(START_SECONDS), hand_over(&mut process, spec, &mut seen)) => ready,
        () = stopped(&mut stop) => return end(process, spec, seen, Instant::now(), began, Some(TrialEnd::Stopped)).await,
    };
    let mut started = Instant::now();
    match ready {
        Err(_) => {
            let message = format!("its model was not built after {START_SECONDS:.0} seconds");
            return end(process, spec, seen, started, began, Some(TrialEnd::Crashed { message })).await;
        }
        Ok(false) => return end(process, spec, seen, started, began, None).await,
        Ok(true) => {}
    }
    let mut began = began;
    if let Some(mut hold) = spec.hold.clone() {
        tokio::select! {
            () = stopped(&mut hold) => {}
            () = stopped(&mut stop) => return end(process, spec, seen, started, began, Some(TrialEnd::Stopped)).await,
        }
        // The wait is no part of its start.
        began += started.elapsed();
        started = Instant::now();
    }

    let most = match spec.go.budget {
        Budget::Seconds(seconds) => seconds,
        Budget::Tokens(_) => spec.most_seconds,
    };
    let go = started;
    let deadline = tokio::time::Instant::from_std(go + Duration::from_secs_f64(most + spec.grace_seconds));
    let forced = tokio::select! {
        kept = converse(&mut process, spec, &data, go, &mut seen, &mut progress) => {
            kept?;
            None
        }
        () = tokio::time::sleep_until(deadline) => Some(TrialEnd::TimedOut),
        () = stopped(&mut stop) => Some(TrialEnd::Stopped),
        message = hopeless(&mut early) => Some(TrialEnd::StoppedEarly { message }),
    };
    end(process, spec, seen, go, began, forced).await
}

/// Sends the request and waits for the model; false when the trainer did not answer as it should.
async fn hand_over(process: &mut Process, spec: &TrialSpec, seen: &mut Seen) -> bool {
    if process.send(&spec.request).await.is_err() {
        return false;
    }
    match next_event(process, seen).await {
        Some(Event::Ready { version, parameters, rows_per_step, .. }) if version == protocol::VERSION => {
            seen.parameters = parameters;
            let step_tokens = rows_per_step.saturating_mul(spec.request.setting.context as u64);
            seen.pace = Pace::new(spec.go.budget, step_tokens);
            true
        }
        Some(Event::Ready { version, .. }) => {
            seen.nonsense = Some(format!("it speaks version {version} of the protocol, not {}", protocol::VERSION));
            false
        }
        Some(Event::Failed { kind, message }) => {
            seen.failed = Some((kind, short(&message)));
            false
        }
        Some(other) => {
            seen.nonsense = Some(short(&format!("it answered {other:?} before it was ready")));
            false
        }
        None => false,
    }
}

/// Says go and follows the training to its last event.
async fn converse(
    process: &mut Process,
    spec: &TrialSpec,
    data: &TrainingFiles,
    go: Instant,
    seen: &mut Seen,
    progress: &mut impl FnMut(TrialProgress),
) -> Result<(), RunError> {
    let file_error = |source| RunError::File { action: "write the curve", path: spec.curve.clone(), source };
    let mut curve = std::io::BufWriter::new(std::fs::File::create(&spec.curve).map_err(file_error)?);
    let files = [data.tokens.as_fd(), data.index.as_fd()];
    if process.send_with(&spec.go, &files).await.is_err() {
        return Ok(());
    }
    let mut flushed = Instant::now();
    while let Some(event) = next_event(process, seen).await {
        match event {
            Event::Step { step, tokens, loss, measured, .. } => {
                let point = CurvePoint { step, tokens, seconds: go.elapsed().as_secs_f64(), loss };
                serde_json::to_writer(&mut curve, &point).map_err(|error| file_error(error.into()))?;
                curve.write_all(b"\n").map_err(file_error)?;
                if flushed.elapsed() > Duration::from_secs(1) {
                    curve.flush().map_err(file_error)?;
                    flushed = Instant::now();
                }
                (seen.steps, seen.tokens) = (step, tokens);
                if let Err(broken) = seen.pace.step(step, tokens, loss, point.seconds) {
                    seen.broken(broken);
                    break;
                }
                let fraction = point.fraction(spec.go.budget);
                let step = measured.and_then(|measured| MeasuredStep::of(step, fraction, measured));
                measured::keep(&mut seen.measured, step);
                progress(TrialProgress { point, fraction });
            }
            Event::Finished { steps, tokens, peak_memory_bytes, peak_device_memory_bytes, .. } => {
                // Where a device has memory of its own, that is what runs out.
                let peak = peak_device_memory_bytes.unwrap_or(peak_memory_bytes);
                (seen.steps, seen.tokens, seen.peak_memory_bytes) = (steps, tokens, peak);
                seen.finished = Some(go.elapsed().as_secs_f64());
                if let Err(broken) = seen.pace.tokens(tokens) {
                    seen.broken(broken);
                }
                break;
            }
            Event::Failed { kind, message } => {
                seen.failed = Some((kind, short(&message)));
                break;
            }
            other => {
                seen.nonsense = Some(short(&format!("it said {other:?} while training")));
                break;
            }
        }
    }
    curve.flush().map_err(file_error)
}

/// The next event; `None` at the end of the conversation, with the reason in `seen` where there is one.
async fn next_event(process: &mut Process, seen: &mut Seen) -> Option<Event> {
    match process.line().await {
        Ok(Some(line)) => match protocol::parse(&line) {
            Ok(event) => Some(event),
            Err(error) => {
                seen.nonsense = Some(short(&error.to_string()));
                None
            }
        },
        Ok(None) => None,
        Err(error) => {
            seen.nonsense = Some(short(&error.to_string()));
            None
        }
    }
}

/// Ends the process and draws the conclusion.
async fn end(
    process: Process,
    spec: &TrialSpec,
    seen: Seen,
    go: Instant,
    began: Instant,
    forced: Option<TrialEnd>,
) -> Result<Trained, RunError> {
    let training_seconds = go.elapsed().as_secs_f64();
    // After its last word a trainer has nothing more to do: the checkpoint is written, and nothing it does now counts.
    let over = forced.is_some()
        || seen.nonsense.is_some()
        || seen.too_long
        || seen.finished.is_some()
        || seen.failed.is_some();
    let ended =
        if over { process.stop().await? } else { process.finish(Duration::from_secs_f64(EXIT_SECONDS)).await? };
    let taken = take_checkpoint(spec, seen.finished.is_some() && seen.nonsense.is_none()).await?;
    let unwritten = |source| RunError::File { action: "write beside", path: spec.curve.clone(), source };
    measured::write(&spec.curve, &seen.measured).map_err(unwritten)?;
    let end = match forced {
        Some(end) => end,
        None => conclude(&seen, &ended, &taken),
    };
    let checkpoint_sha256 = match (&end, taken) {
        (TrialEnd::Finished, Taken::Checkpoint { sha256, .. }) => Some(sha256),
        _ => None,
    };
    Ok(Trained {
        end,
        seed: spec.request.seed,
        budget: spec.go.budget,
        steps: seen.steps,
        tokens: seen.tokens,
        parameters: seen.parameters,
        training_seconds,
        start_seconds: (go - began).as_secs_f64(),
        peak_memory_bytes: seen.peak_memory_bytes,
        final_loss: seen.pace.final_loss(),
        checkpoint_sha256,
    })
}

/// How a run ended that the agent did not end. Pure.
fn conclude(seen: &Seen, ended: &Ended, taken: &Taken) -> TrialEnd {
    let crashed = |message: String| TrialEnd::Crashed { message };
    if let Some(nonsense) = &seen.nonsense {
        return crashed(format!("it broke the protocol: {nonsense}"));
    }
    match &seen.failed {
        Some((Failure::NotFinite, _)) => return TrialEnd::NotFinite,
        Some((Failure::OutOfMemory, message)) => return TrialEnd::OutOfMemory { message: message.clone() },
        // Requests and the files that they name are the agent's; edited code has no part in them.
        Some((Failure::Harness | Failure::BadRequest, message)) => {
            return TrialEnd::MachineFault { message: message.clone() };
        }
        Some((Failure::Candidate, message)) => return crashed(message.clone()),
        None => {}
    }
    if seen.too_long {
        return TrialEnd::TimedOut;
    }
    match (seen.finished, taken) {
        (Some(at), &Taken::Checkpoint { bytes, .. }) if seen.pace.finished_in_time(at, bytes) => TrialEnd::Finished,
        (Some(_), Taken::Checkpoint { .. }) => TrialEnd::TimedOut,
        (Some(_), Taken::Nothing) => crashed("it said it had finished and left no checkpoint".to_owned()),
        (Some(_), Taken::Refused(why)) => crashed(why.clone()),
        (None, _) => {
            let words =
                if ended.last_words.is_empty() { "it said nothing".to_owned() } else { short(&ended.last_words) };
            match ended.code {
                // Nobody but the kernel's out-of-memory killer sends this to a trainer that the agent did not stop.
                Some(137) => TrialEnd::OutOfMemory { message: format!("killed by signal 9; last words: {words}") },
                Some(code) if code > 128 => crashed(format!("ended by signal {}; last words: {words}", code - 128)),
                Some(code) => crashed(format!("exit code {code}; last words: {words}")),
                None => crashed(words),
            }
        }
    }
}

/// Takes the checkpoint of a trainer that said it had finished, and removes the folder that it could write.
async fn take_checkpoint(spec: &TrialSpec, finished: bool) -> Result<Taken, RunError> {
    let (from, to) = (spec.go.checkpoint.clone(), spec.checkpoint.clone());
    let most = spec.most_checkpoint_bytes;
    let taking = tokio::task::spawn_blocking(move || {
        let taken = if finished { checkpoint::take(&from, &to, most)? } else { Taken::Nothing };
        match from.parent().map(crate::files::remove_folder) {
            Some(Err(error)) => {
                Ok(Taken::Refused(format!("what it left in its output folder cannot be removed: {error}")))
            }
            _ => Ok(taken),
        }
    });
    taking.await.unwrap_or_else(|error| {
        Err(RunError::Wait { program: "taking the checkpoint".into(), source: std::io::Error::other(error) })
    })
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
