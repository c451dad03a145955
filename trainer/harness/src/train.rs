//! `trainer train`: build, wait for the word "go", step until the budget is used up, write the checkpoint.

use std::fs::File;
use std::time::Instant;

use kernels::Late;
use protocol::{Budget, Event, Go, Memory, Setting, TrainRequest};
use tch::{Device, TchError};

use crate::candidate::{self, Candidate, CandidateError, Progress, mix_seed};
use crate::checkpoint::Checkpoint;
use crate::clock::{Standing, StepTimer, fraction, may_start};
use crate::feed::Feed;
use crate::stop::{Stop, guarded};
use crate::telemetry::Sampler;
use crate::wire::Wire;
use crate::{machine, model};

/// Serves one training run of the candidate that `build` makes.
///
/// # Errors
/// Whatever ends it early; the caller reports it.
pub fn train<C: Candidate>(
    wire: &mut Wire,
    build: impl FnOnce(&Setting, u64) -> Result<C, CandidateError>,
) -> Result<(), Stop> {
    let request: TrainRequest = wire.request()?;
    let device = machine::prepare(&request.setting)?;
    let mut candidate = guarded("building the model", || build(&request.setting, request.seed))??;
    let (rows, parameters) = model::describe(&candidate)?;
    let mut run = Checkpoint { data_seed: request.data_seed, ..Checkpoint::start(&request.setting, request.seed) };
    if let Some(path) = &request.resume_from {
        let before = Checkpoint::load(path, &request.setting, &candidate)?;
        let other = match () {
            _ if before.seed != request.seed => Some("seed"),
            _ if before.order_seed() != run.order_seed() => Some("data seed"),
            _ if before.setting.precision != request.setting.precision => Some("precision"),
            _ => None,
        };
        if let Some(other) = other {
            let path = path.display();
            return Err(Stop::bad_request(format!(
                "checkpoint {path} was made under another {other} than the request's"
            )));
        }
        run = Checkpoint { setting: request.setting.clone(), ..before };
    }
    wire.send(&Event::Ready {
        version: protocol::VERSION,
        parameters,
        rows_per_step: rows as u64,
        threads: Some(machine::threads()?),
    })?;

    let (go, files) = wire.request_with::<Go, 2>()?;
    let files = files.map(File::from);
    let (mut steps, mut first_step_seconds, mut early) = (0, None, None);
    let seconds = run_until(&mut candidate, &mut run, &go, &files, &mut |event| {
        steps += 1;
        if steps == 1 {
            first_step_seconds = machine::seconds_since_start();
        }
        if steps <= 2 {
            early = machine::resident_bytes();
        }
        wire.send(event)
    })?;
    let (late, peak) = (machine::resident_bytes(), machine::peak_memory_bytes());
    let memory = early.zip(late).map(|(early, late)| Memory { early, late, peak });
    run.save(&candidate, &go.checkpoint)?;
    wire.send(&Event::Finished {
        steps: run.step,
        tokens: run.tokens,
        seconds,
        peak_memory_bytes: machine::peak_memory_bytes(),
        peak_device_memory_bytes: machine::peak_device_memory_bytes(device),
        memory,
        first_step_seconds,
    })
}

/// Trains until the budget is used up, from the word "go" on, and moves `run` forward; `send` gets every step. The budget
/// covers the whole run: what a checkpoint says was used before counts. `go.stop_after_steps` counts the steps of this
/// call. `files` are `train.tokens` and `train.index`. Returns the seconds of this call.
///
/// # Errors
/// A bad request, a candidate that fails, a loss that is not finite, or whatever `send` returns.
pub fn run_until<C: Candidate>(
    candidate: &mut C,
    run: &mut Checkpoint,
    go: &Go,
    files: &[File; 2],
    send: &mut dyn FnMut(&Event) -> Result<(), Stop>,
) -> Result<f64, Stop> {
    let started = Instant::now();
    match go.budget {
        Budget::Seconds(seconds) if !(seconds.is_finite() && seconds > 0.0) => {
            return Err(Stop::bad_request(format!("a budget of {seconds} seconds is not one")));
        }
        Budget::Tokens(0) => return Err(Stop::bad_request("a budget of 0 tokens is not one")),
        _ => {}
    }
    let device = candidate::device(&run.setting)?;
    let (rows, _) = model::describe(candidate)?;
    let [tokens, index] = files;
    let shards = data::Shards::from_files(tokens, index).map_err(|error| Stop::bad_request(error.to_string()))?;
    let beginning = run.clone();
    Feed::with(&shards, &beginning, rows, device, |feed| steps(candidate, run, go, feed, started, send))
}

/// The steps of a run, until its budget is used up; the seconds that they took, from `started` on.
fn steps<C: Candidate>(
    candidate: &mut C,
    run: &mut Checkpoint,
    go: &Go,
    feed: &mut Feed,
    started: Instant,
    send: &mut dyn FnMut(&Event) -> Result<(), Stop>,
) -> Result<f64, Stop> {
    let (rows, device) = (feed.rows(), feed.device());
    let mut timer = StepTimer::default();
    let mut sampler = Sampler::new(device);
    let seconds_before = run.seconds;
    // A device runs behind: its loss is read one step late, so that it never waits for this process.
    let mut in_flight: Option<(Late, Event)> = None;
    let mut steps_here = 0;
    loop {
        let begun = Instant::now();
        run.seconds = seconds_before + started.elapsed().as_secs_f64();
        let standing = Standing { seconds: run.seconds, tokens: run.tokens };
        let ahead = if in_flight.is_some() { 2.0 } else { 1.0 };
        let stopped = go.stop_after_steps.is_some_and(|most| steps_here >= most);
        if stopped || !may_start(go.budget, standing, &timer, ahead) {
            break;
        }
        let progress = Progress { step: run.step + 1, fraction: fraction(go.budget, standing) };
        let sampled = sampler.begin(progress.step, progress.fraction);
        if sampled && let Some((loss, event)) = in_flight.take() {
            // It has arrived, for a step that is looked into begins when the device has nothing left to do.
            send_step(send, loss.read().map_err(unread)?, event, started)?;
        }
        let drawing = Instant::now();
        let batch = feed.next_batch()?;
        run.step += 1;
        steps_here += 1;
        if sampled {
            sampler.watch(drawing.elapsed().as_secs_f64());
        }
        let seed = mix_seed(run.seed, &format!("step {}", run.step));
        let loss = guarded("training", || {
            tch::manual_seed(seed);
            candidate.step(&batch, progress)
        })?;
        run.tokens += (rows * run.setting.context) as u64;
        let event = Event::Step {
            step: run.step,
            tokens: run.tokens,
            seconds: 0.0,
            loss: None,
            progress: progress.fraction,
            measured: sampler.seen(),
        };
        // Of a step that was looked into nothing is left to wait for.
        if device == Device::Cpu || sampled {
            let value = guarded("reading the loss", || loss.double_value(&[]))?;
            send_step(send, value, event, started)?;
        } else {
            // The copy is queued here, before the next step: what comes after it is not waited for.
            let loss = guarded("reading the loss", || loss.to_device(device))?;
            let late = Late::of(&loss).map_err(unread)?;
            if let Some((loss, event)) = in_flight.replace((late, event)) {
                send_step(send, loss.read().map_err(unread)?, event, started)?;
            }
        }
        timer.record(begun.elapsed().as_secs_f64());
    }
    if let Some((loss, event)) = in_flight {
        send_step(send, loss.read().map_err(unread)?, event, started)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    run.seconds = seconds_before + seconds;
    run.place = Some(feed.place());
    Ok(seconds)
}

/// A device tells here what went wrong on it.
fn unread(error: TchError) -> Stop {
    Stop::candidate(format!("reading the loss: {}", error.to_string().lines().next().unwrap_or_default()))
}

/// Sends a step's event with its loss; one that is not finite ends the run.
fn send_step(
    send: &mut dyn FnMut(&Event) -> Result<(), Stop>,
    value: f64,
    event: Event,
    started: Instant,
) -> Result<(), Stop> {
    let Event::Step { step, tokens, progress, measured, .. } = event else { return Ok(()) };
    let loss = value.is_finite().then_some(value);
    send(&Event::Step { step, tokens, seconds: started.elapsed().as_secs_f64(), loss, progress, measured })?;
    if loss.is_some() {
        return Ok(());
    }
    let message = format!("the loss of step {step} is {value}, after {tokens} tokens");
    Err(Stop { kind: protocol::Failure::NotFinite, message })
}
