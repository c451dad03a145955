//! The messages between the agent and the trainer: one JSON document a line, requests on the trainer's standard input,
//! events on its standard output. The harness moves standard output aside before candidate code runs, so whatever an
//! edited file prints lands on standard error and is never read as an event.
//!
//! An exchange, for each of the trainer's commands:
//!
//! | command         | agent sends                     | trainer answers                                         |
//! |-----------------|---------------------------------|---------------------------------------------------------|
//! | `trainer train` | [`TrainRequest`], then [`Go`]   | [`Event::Ready`], [`Event::Step`]*, [`Event::Finished`] |
//! | `trainer serve` | [`ServeRequest`], then [`Ask`]* | [`Event::Ready`], then what each [`Ask`] says           |
//! | `trainer sample`| [`SampleRequest`]               | [`Event::Token`]*, [`Event::Finished`]-less end of file |
//! | `trainer probe` | nothing                         | [`Event::Probed`]                                       |
//! | `trainer kernels` | nothing, a FOLDER as argument | nothing: it exits with 0 when the FOLDER has the GPU's kernels, compiled |
//!
//! Any command may answer [`Event::Failed`] instead and exit with a status other than 0. Standard input is a unix stream
//! socket, so that a request can carry open files (module [`descriptors`]). The agent keeps it open for as long as it wants
//! the trainer to live: end of file there ends the trainer.
//!
//! Nothing in here is trusted by the agent: events come from a process that runs edited code.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

pub mod descriptors;
mod measured;
mod serve;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use measured::{Measured, Memory};
pub use serve::{Ask, ServeRequest, WeightsDigest};

/// Raised whenever a message changes its meaning; the agent refuses a trainer of another version.
pub const VERSION: u32 = 3;

/// A line longer than this is an error, not a message: edited code must not be able to fill the agent's memory.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Which constructor of the recipe is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Depth 4, dim 256: minutes on two cores.
    Cpu,
    /// Depth 6, dim 384: any recent GPU.
    Gpu,
    /// Depth 8, dim 512: an 80 GB accelerator.
    H100,
}

impl Scale {
    /// All scales, smallest first.
    pub const ALL: [Scale; 3] = [Scale::Cpu, Scale::Gpu, Scale::H100];

    /// The name used in `campaign.toml`, on the command line and for the recipe's constructor.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Cpu => "cpu",
            Scale::Gpu => "gpu",
            Scale::H100 => "h100",
        }
    }

    /// Tokens in the vocabulary, special tokens included.
    pub fn vocabulary(self) -> usize {
        match self {
            Scale::Cpu => 2_048,
            Scale::Gpu | Scale::H100 => 8_192,
        }
    }

    /// Tokens a position can look back on; rows of data hold one more.
    pub fn context(self) -> usize {
        match self {
            Scale::Cpu => 256,
            Scale::Gpu => 1_024,
            Scale::H100 => 2_048,
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Arithmetic of the forward and backward pass. Master weights and optimizer state are float32 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16 activations and matrix products.
    Bf16,
}

/// What the candidate is built from besides its own recipe: fixed by the campaign, the same for every experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which constructor of the recipe.
    pub scale: Scale,
    /// Tokens in the vocabulary, special tokens included.
    pub vocabulary: usize,
    /// Tokens a position can look back on; rows of data hold one more.
    pub context: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Arithmetic of the forward and backward pass.
    pub precision: Precision,
    /// Threads of libtorch's CPU operations; 0 leaves libtorch's own choice.
    pub threads: usize,
}

/// When a trial ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// Seconds of training, counted from [`Go`]. No step starts that is not expected to end in time.
    Seconds(f64),
    /// Tokens trained on, rounded up to whole steps: repeatable on a noisy machine.
    Tokens(u64),
}

/// First line on `trainer train`'s standard input. The trainer builds the model and answers [`Event::Ready`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRequest {
    /// The campaign's setting.
    pub setting: Setting,
    /// Drawn by the agent; initial values, draws during training and, where `data_seed` is `None`, the data order follow from it.
    pub seed: u64,
    /// Gives the data order a seed of its own, so that what initial values and what the order contribute to the noise can be told
    /// apart. `None` is how trials run: one seed for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_seed: Option<u64>,
    /// A checkpoint to go on from, with its optimizer state and place in the data; of the same seeds and precision.
    pub resume_from: Option<PathBuf>,
}

/// Second line on `trainer train`'s standard input: the budget starts when the trainer reads it. Two descriptors travel with
/// it, read-only: `train.tokens` and `train.index` (see crate `data`), so that nothing can be learnt before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Go {
    /// When to stop.
    pub budget: Budget,
    /// Where the safetensors file is written at the end; in the only folder that the trainer may write.
    pub checkpoint: PathBuf,
    /// Stop after this many optimizer steps even though the budget is not used up; for tests and smoke runs. The schedule
    /// still follows the budget.
    pub stop_after_steps: Option<u64>,
}

/// First line on `trainer sample`'s standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRequest {
    /// The campaign's setting.
    pub setting: Setting,
    /// A checkpoint written by [`Go`].
    pub checkpoint: PathBuf,
    /// Token ids to go on from, beginning with BOS; at least one.
    pub prompt: Vec<u16>,
    /// How many tokens to draw.
    pub tokens: usize,
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// Draw from this many most likely tokens; 0 for all.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// A line on the trainer's standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The model is built (or loaded) and waits.
    Ready {
        /// [`VERSION`] of the trainer.
        version: u32,
        /// Scalars in all trained parameters.
        parameters: u64,
        /// Rows of `context + 1` tokens in one optimizer step.
        rows_per_step: u64,
        /// Threads of libtorch's CPU operations; `None` where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threads: Option<usize>,
    },
    /// An optimizer step is done.
    Step {
        /// Counted from 1, over resumptions.
        step: u64,
        /// Tokens trained on so far.
        tokens: u64,
        /// Seconds since [`Go`] by the trainer's clock.
        seconds: f64,
        /// Mean training loss of the step in nats per token, before any regularisation; `None` where it was not finite.
        loss: Option<f64>,
        /// 0 to 1: how far through its budget the schedule sees itself.
        progress: f64,
        /// What a sampled step showed of itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        measured: Option<Measured>,
    },
    /// Training is over and the checkpoint is complete on disk.
    Finished {
        /// Optimizer steps, over resumptions.
        steps: u64,
        /// Tokens trained on, over resumptions.
        tokens: u64,
        /// Seconds of training by the trainer's clock, checkpoint writing left out.
        seconds: f64,
        /// Largest resident set of the process, bytes.
        peak_memory_bytes: u64,
        /// The most bytes that tensors had of the device's memory at once; `None` on the CPU, or where libtorch does not count them.
        peak_device_memory_bytes: Option<u64>,
        /// Resident memory over the training; `None` where the system does not tell it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<Memory>,
        /// Seconds from the start of the process (loading of libraries and building of the model included) to the end of its first step, the
        /// loss read; `None` before one, or where the system does not tell when the process began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_step_seconds: Option<f64>,
    },
    /// A part of [`Ask::Score`] is done.
    Scored {
        /// Rows so far.
        rows: u64,
        /// Rows in all.
        of: u64,
    },
    /// The answer to an [`Ask::Score`] or [`Ask::Logits`] is complete in its descriptor.
    Answered,
    /// The answer to an [`Ask::Weights`].
    Weights {
        /// Every parameter, by name.
        tensors: Vec<WeightsDigest>,
    },
    /// One sampled token.
    Token {
        /// Its id.
        id: u16,
    },
    /// Answer to `trainer probe`.
    Probed {
        /// [`VERSION`] of the trainer.
        version: u32,
        /// libtorch's threads.
        threads: usize,
        /// CUDA devices that libtorch sees, 0 when it was loaded without CUDA.
        cuda_devices: u64,
    },
    /// The command cannot go on.
    Failed {
        /// What kind of failure.
        kind: Failure,
        /// One sentence for a person; may contain text from edited code.
        message: String,
    },
}

/// Kinds of [`Event::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// A request or a file it names is bad.
    BadRequest,
    /// The loss was not finite.
    NotFinite,
    /// The allocator of the host or the device gave up.
    OutOfMemory,
    /// Edited code returned an error.
    Candidate,
    /// The harness itself failed (disk, libtorch).
    Harness,
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream ended between messages.
    #[error("the other side closed its end")]
    Closed,
    /// The stream failed.
    #[error("the stream between agent and trainer failed: {0}")]
    Io(#[from] io::Error),
    /// Too long a line.
    #[error("a line of more than {MAX_LINE_BYTES} bytes is not a message")]
    TooLong,
    /// Not a message.
    #[error("not a message: {source}; the line began {beginning:?}")]
    Malformed {
        /// The parser's words.
        source: serde_json::Error,
        /// The first 200 characters of the line.
        beginning: String,
    },
    /// Another number of descriptors than the message calls for.
    #[error("the message came with {came} descriptors instead of {expected}")]
    Descriptors {
        /// How many the message calls for.
        expected: usize,
        /// How many came.
        came: usize,
    },
    /// More than a line may carry.
    #[error("a line with more than {} descriptors is not a message", descriptors::MAX_DESCRIPTORS)]
    TooManyDescriptors,
}

/// Writes one message and flushes.
///
/// # Errors
/// When the stream fails.
pub fn write<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one message.
///
/// # Errors
/// See [`ReadError`]; a line over [`MAX_LINE_BYTES`] is read no further than that.
pub fn read<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<T, ReadError> {
    let mut line = Vec::new();
    let got = io::Read::take(&mut *from, MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if got == 0 {
        return Err(ReadError::Closed);
    }
    if got > MAX_LINE_BYTES {
        return Err(ReadError::TooLong);
    }
    parse(&line)
}

/// Parses one line.
///
/// # Errors
/// [`ReadError::Malformed`].
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(line).map_err(|source| ReadError::Malformed {
        source,
        beginning: String::from_utf8_lossy(line).chars().take(200).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let event =
            Event::Step { step: 3, tokens: 12_288, seconds: 1.5, loss: Some(6.25), progress: 0.1, measured: None };
        let mut wire = Vec::new();
        write(&mut wire, &event).unwrap();
        assert_eq!(read::<Event>(&mut wire.as_slice()).unwrap(), event);
        assert!(matches!(read::<Event>(&mut io::empty()), Err(ReadError::Closed)));
    }

    #[test]
    fn a_step_of_a_trainer_that_measures_nothing_is_one() {
        let line = r#"{"event":"step","step":1,"tokens":1,"seconds":1,"loss":2,"progress":0}"#;
        assert!(matches!(parse::<Event>(line.as_bytes()), Ok(Event::Step { measured: None, .. })));
    }

    #[test]
    fn a_loss_that_is_not_finite_cannot_be_smuggled_in() {
        let line = r#"{"event":"step","step":1,"tokens":1,"seconds":1,"loss":NaN,"progress":0}"#;
        assert!(matches!(parse::<Event>(line.as_bytes()), Err(ReadError::Malformed { .. })));
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let endless = vec![b'x'; MAX_LINE_BYTES + 10];
        assert!(matches!(read::<Event>(&mut endless.as_slice()), Err(ReadError::TooLong)));
    }
}
