//! How fast the candidate trains: the checkout's own files, as they are on disk, in any shape, on random tokens.
//!
//! The steps are those of a trial: the trainer's harness feeds batches, seeds the generator, reads the loss, and tells of each step, in a
//! process that is confined as a trial's is. What differs is the program (`trainer/src/bin/throughput`, which takes the shape from its
//! arguments) and the data. The figures are those that `xtask/reference/throughput.py` prints of the same model in PyTorch, measured in the
//! same way, but that the time to the first step is counted from the start of the process.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use protocol::{Budget, Event, Go, Precision, Scale, Setting, TrainRequest};
use serde::Serialize;
use tokio::sync::watch;

use super::random_rows::write_rows;
use super::speed::Told;
use super::{BenchError, disk};
use crate::build::{Builder, Order};
use crate::campaign::{Device, Sandbox};
use crate::files;
use crate::layout::Layout;
use crate::night::device::{Chosen, choose_device};
use crate::night::{self, Lock, Watcher, ready};
use crate::prepare;
use crate::repo::{Checkout, Repo};
use crate::run::{Job, Launcher, Process};
use crate::setup::{self, GpuWish};
use crate::terminal::Notice;

/// The program, and the slot that it is built in.
const PROGRAM: &str = "throughput";

/// Rows of random tokens at most; a longer measurement goes over them again.
const MOST_ROWS: u64 = 4_096;

/// A model and its batch. The defaults are the scale `cpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Transformer blocks.
    pub depth: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Width of an attention head.
    pub head_dim: u32,
    /// Tokens of the vocabulary, at least 2 and at most 65,536.
    pub vocab: u32,
    /// Tokens of a row.
    pub seq: u32,
    /// Rows of a step.
    pub batch: u32,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { depth: 4, dim: 256, head_dim: 64, vocab: 2_048, seq: 256, batch: 16 }
    }
}

impl Shape {
    /// Tokens of one step.
    pub fn tokens_per_step(&self) -> u64 {
        u64::from(self.seq) * u64::from(self.batch)
    }
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// So many optimizer steps.
    Steps(u32),
    /// So many seconds.
    Seconds(f64),
}

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Model and batch.
    pub shape: Shape,
    /// Arithmetic.
    pub precision: Precision,
    /// Where.
    pub device: Device,
    /// Threads of libtorch; 0 leaves libtorch's own choice.
    pub threads: usize,
    /// How long.
    pub length: Length,
}

/// The figures, with the keys of the reference program, and a few more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Of the median step; the first third of the steps does not count.
    pub tokens_per_second: u64,
    /// From the start of the trainer's process to the end of its first step.
    pub first_step_seconds: Option<f64>,
    /// Largest resident memory of the process while it trained, MiB.
    pub peak_rss_mb: u64,
    /// The most that tensors had of a GPU's memory, MiB; nothing on the CPU.
    pub peak_device_mb: Option<u64>,
    /// Scalars in all parameters.
    pub params: u64,
    /// Of the last step, nats per token.
    pub loss: Option<f64>,
    /// libtorch's threads.
    pub threads: Option<usize>,
    /// Model and batch.
    #[serde(flatten)]
    pub shape: Shape,
    /// `fp32` or `bf16`.
    pub dtype: Precision,
    /// Always false: nothing is compiled while it runs.
    pub compile: bool,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Optimizer steps.
    pub steps: usize,
    /// Seconds of the median step.
    pub step_seconds: f64,
    /// Resident memory after the second step and after the last, MiB.
    pub rss_mb: Option<[u64; 2]>,
    /// The commit that the checkout stands on.
    pub commit: Option<String>,
    /// Whether its files differ from that commit.
    pub modified: bool,
}

/// Builds the candidate as it stands in the checkout that `here` lies in, trains it, and returns the figures. No night can begin meanwhile.
///
/// # Errors
/// See [`BenchError`].
pub async fn throughput(here: &Path, wish: &Wish, watcher: &mut dyn Watcher) -> Result<Figures, BenchError> {
    let root = Repo::discover(here)?.root().to_owned();
    let layout = Layout::new(&root);
    files::create_folder(&layout.state())?;
    let _lock = Lock::take(&layout.lock())?;
    let folder = layout.state().join("bench").join(PROGRAM);
    let output = folder.join("output");
    files::remove_folder(&output).map_err(disk("remove", &output))?;
    files::create_folder(&output)?;

    let mut options = setup::Options::of_process();
    options.corpus = false;
    options.gpu = match wish.device {
        Device::Cpu => GpuWish::No,
        Device::Auto => GpuWish::IfThere,
        Device::Cuda(_) => GpuWish::Yes,
    };
    let environment = prepare::set_up(&root, &options, watcher).await?;
    let Chosen { device, environment: variables, .. } = choose_device(wish.device, &environment)?;
    let rules = Sandbox::default();
    let launcher = ready::launcher_of(layout.state().join("bench"), rules.least)?;
    let surroundings = ready::surroundings(&layout, &rules, &environment, &launcher, &device)?;
    let builder = ready::builder_in(&layout, &environment, launcher.clone(), &surroundings)?;

    let executable = folder.join(PROGRAM);
    let checkout = build(&builder, &root, &executable, &folder.join("build.log"), watcher).await?;
    let (shape, data) = (wish.shape, folder.join("data"));
    files::create_folder(&data)?;
    let rows = match wish.length {
        Length::Steps(steps) => (u64::from(steps) * u64::from(shape.batch)).min(MOST_ROWS),
        Length::Seconds(_) => MOST_ROWS,
    };
    write_rows(&data, &shape, rows)?;

    let job = Job {
        program: executable.clone(),
        arguments: [shape.depth, shape.dim, shape.head_dim, shape.batch].map(|number| number.to_string()).into(),
        environment: variables,
        folder: output.clone(),
        nice: 0,
        cores: None,
        grace_seconds: 2.0,
        log: folder.join("log.txt"),
        policy: Some(sandbox::Policy::train(&surroundings, &executable, &output)),
    };
    let setting = Setting {
        scale: Scale::Cpu,
        vocabulary: shape.vocab as usize,
        context: shape.seq as usize,
        device: device.clone(),
        precision: wish.precision,
        threads: wish.threads,
    };
    watcher.notice(&Notice::Stage { text: format!("Training {} on random tokens", words(wish, &device)) });
    let request = TrainRequest { setting, seed: 1, data_seed: None, resume_from: None };
    let budget = match wish.length {
        Length::Steps(steps) => Budget::Tokens(u64::from(steps) * shape.tokens_per_step()),
        Length::Seconds(seconds) => Budget::Seconds(seconds),
    };
    let go = Go { budget, checkpoint: output.join("checkpoint.safetensors"), stop_after_steps: None };
    let told = converse(&launcher, &job, &request, &go, &data).await?;
    files::remove_folder(&output).map_err(disk("remove", &output))?;
    figures(wish, device, checkout, &told)
        .ok_or_else(|| BenchError::Unfinished { why: "it made no step".to_owned(), log: job.log.clone() })
}

/// Builds the checkout's program.
async fn build(
    builder: &Builder,
    root: &Path,
    executable: &Path,
    log: &Path,
    watcher: &mut dyn Watcher,
) -> Result<Checkout, BenchError> {
    watcher.notice(&Notice::Stage { text: format!("Building the candidate as it stands in {}", root.display()) });
    let (told, hear) = tokio::sync::oneshot::channel();
    let from = root.to_owned();
    let export = move |to: &Path| {
        let checkout = Repo::discover(&from).and_then(|repo| repo.export_checkout(to));
        // Whoever asked is gone only if the whole measurement is.
        let _unheard = told.send(checkout.map_err(|error| error.to_string())?);
        Ok(())
    };
    let order = Order { executable, log, beside: None, most_seconds: night::MOST_START_SECONDS };
    // Never sent: Ctrl-C ends this program, and with it everything it started.
    let (_never, stop) = watch::channel(false);
    if let Err(failure) = builder.build_apart(PROGRAM, PROGRAM, order, export, stop).await? {
        let variant = format!("the candidate in {}", root.display());
        return Err(BenchError::DoesNotCompile { variant, errors: failure.errors.join("\n") });
    }
    // It was sent before anything was compiled.
    hear.await.map_err(|_| BenchError::Unfinished { why: "its files were not told".to_owned(), log: log.to_owned() })
}

/// Trains and hears all that the trainer has to say.
async fn converse(
    launcher: &Launcher,
    job: &Job,
    request: &TrainRequest,
    go: &Go,
    folder: &Path,
) -> Result<Told, BenchError> {
    let open = |name: &str| {
        let path = folder.join(name);
        File::open(&path).map_err(disk("open", &path))
    };
    let files = [open(data::files::TRAIN_TOKENS)?, open(data::files::TRAIN_INDEX)?];
    let mut process = launcher.start(job).await?;
    let mut told = Told::default();
    let mut why = None;
    // A trainer that no longer listens says why, or ends: both are seen below.
    let _deaf = process.send(request).await;
    while let Some(event) = next(&mut process, &mut why).await {
        match event {
            Event::Failed { message, .. } => {
                why = Some(message);
                break;
            }
            event => {
                let ready = matches!(event, Event::Ready { .. });
                let place = format!("{event:?}");
                if !told.take(event) {
                    why = Some(format!("it said {place} while training"));
                    break;
                }
                if ready {
                    let _deaf = process.send_with(go, &[files[0].as_fd(), files[1].as_fd()]).await;
                }
                if told.finished.is_some() {
                    break;
                }
            }
        }
    }
    let ended = process.stop().await?;
    if told.finished.is_some() {
        return Ok(told);
    }
    let why = why.unwrap_or_else(|| {
        let code = ended.code.map_or_else(|| "without a code".to_owned(), |code| format!("with code {code}"));
        format!("it ended {code}: {}", ended.last_words)
    });
    Err(BenchError::Unfinished { why, log: job.log.clone() })
}

/// The next event; `None` at the end, with the reason in `why` where it was no event.
async fn next(process: &mut Process, why: &mut Option<String>) -> Option<Event> {
    let line = match process.line().await {
        Ok(line) => line?,
        Err(error) => {
            *why = Some(error.to_string());
            return None;
        }
    };
    protocol::parse(&line).map_err(|error| *why = Some(error.to_string())).ok()
}

/// The figures; `None` where no step was made.
fn figures(wish: &Wish, device: String, checkout: Checkout, told: &Told) -> Option<Figures> {
    let finished = told.finished?;
    let mib = |bytes: u64| bytes >> 20;
    let rounded = |value: f64, unit: f64| (value * unit).round() / unit;
    Some(Figures {
        tokens_per_second: told.tokens_per_second(&wish.shape)?.round() as u64,
        first_step_seconds: finished.first_step_seconds.map(|seconds| rounded(seconds, 100.0)),
        peak_rss_mb: mib(finished.memory.map_or(finished.peak_memory_bytes, |memory| memory.peak)),
        peak_device_mb: finished.peak_device_memory_bytes.map(mib),
        params: told.parameters,
        loss: told.loss.map(|loss| rounded(loss, 10_000.0)),
        threads: told.threads,
        shape: wish.shape,
        dtype: wish.precision,
        compile: false,
        device,
        steps: told.steps(),
        step_seconds: rounded(told.step_seconds()?, 10_000.0),
        rss_mb: finished.memory.map(|memory| [mib(memory.early), mib(memory.late)]),
        commit: checkout.commit.map(|commit| commit.to_string()),
        modified: checkout.modified,
    })
}

/// The measurement in words.
fn words(wish: &Wish, device: &str) -> String {
    let Shape { depth, dim, seq, batch, .. } = wish.shape;
    let length = match wish.length {
        Length::Steps(steps) => format!("{steps} steps"),
        Length::Seconds(seconds) => format!("{seconds} s"),
    };
    let precision = match wish.precision {
        Precision::Fp32 => "fp32",
        Precision::Bf16 => "bf16",
    };
    format!("depth {depth}, width {dim}, {batch} rows of {seq} tokens, in {precision} on {device} for {length}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            shape: Shape::default(),
            precision: Precision::Bf16,
            device: Device::Cpu,
            threads: 0,
            length: Length::Steps(20),
        }
    }

    #[test]
    fn the_figures_have_the_keys_of_the_reference() {
        let mut told = Told::default();
        let ready =
            Event::Ready { version: protocol::VERSION, parameters: 5_000_000, rows_per_step: 16, threads: Some(2) };
        assert!(told.take(ready));
        let checkout = Checkout { commit: None, modified: true };
        assert_eq!(figures(&wish(), "cpu".to_owned(), checkout.clone(), &told), None);
        for step in 1..=3_u32 {
            let seconds = f64::from(step) * 0.5;
            let (tokens, loss) = (u64::from(step) * 4_096, Some(7.123_456));
            let step = u64::from(step);
            assert!(told.take(Event::Step { step, tokens, seconds, loss, progress: 0.0, measured: None }));
        }
        let memory = Some(protocol::Memory { early: 200 << 20, late: 201 << 20, peak: 300 << 20 });
        assert!(told.take(Event::Finished {
            steps: 3,
            tokens: 3 * 4_096,
            seconds: 1.5,
            peak_memory_bytes: 400 << 20,
            peak_device_memory_bytes: Some(500 << 20),
            memory,
            first_step_seconds: Some(1.234),
        }));
        let figures = figures(&wish(), "cpu".to_owned(), checkout, &told).unwrap();
        let reference = [
            "tokens_per_second",
            "first_step_seconds",
            "peak_rss_mb",
            "params",
            "loss",
            "threads",
            "depth",
            "dim",
            "head_dim",
            "vocab",
            "seq",
            "batch",
            "dtype",
            "compile",
            "device",
        ];
        let document = serde_json::to_value(&figures).unwrap();
        assert!(reference.iter().all(|key| document.get(key).is_some_and(|value| !value.is_null())), "{document}");
        assert_eq!((figures.tokens_per_second, figures.peak_rss_mb, figures.rss_mb), (8_192, 300, Some([200, 201])));
        assert_eq!(figures.peak_device_mb, Some(500));
        assert_eq!((figures.first_step_seconds, figures.loss), (Some(1.23), Some(7.1235)));
        assert_eq!(document["dtype"], "bf16");
    }
}
