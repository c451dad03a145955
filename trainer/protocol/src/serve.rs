//! What `trainer serve` is asked. Every array crosses as a descriptor of shared memory that travels with the line: no path of
//! the agent's is visible in there, and no answer passes through a pipe.

use serde::{Deserialize, Serialize};

use crate::Setting;

/// First line on `trainer serve`'s standard input. One descriptor travels with it: the checkpoint, read-only. The trainer loads
/// it and answers [`Event::Ready`](crate::Event::Ready).
///
/// The model is built from a seed that no other process gets, as the first thing that its code does, just as in training: what
/// [`Ask::Weights`] tells of that build cannot be told apart from training by code that would rather draw other weights there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeRequest {
    /// The campaign's setting.
    pub setting: Setting,
    /// Rows in every batch. Batches are always full, so that the same row meets the same shapes in every process.
    pub batch_rows: usize,
    /// What the model is built from before the checkpoint replaces its weights.
    pub seed: u64,
}

/// Every further line: one question at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// The nats of every target. Descriptors: rows (little-endian u16, [rows, context + 1]) and the answer (little-endian f32,
    /// [rows, context], of exactly that size already). Answered by [`Event::Scored`](crate::Event::Scored)* and
    /// [`Event::Answered`](crate::Event::Answered).
    Score {
        /// A multiple of [`ServeRequest::batch_rows`].
        rows: usize,
    },
    /// All logits at one position of each row of one batch. Descriptors: inputs (little-endian u16, [batch_rows, context]) and
    /// the answer (little-endian f32, [batch_rows, vocabulary], of exactly that size already). Answered by
    /// [`Event::Answered`](crate::Event::Answered).
    Logits {
        /// One for each row of the batch, below the context.
        positions: Vec<u32>,
    },
    /// What the weights were when the model was built from [`ServeRequest::seed`]. Answered by
    /// [`Event::Weights`](crate::Event::Weights).
    Weights,
}

/// One parameter as built from [`ServeRequest::seed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightsDigest {
    /// Its name.
    pub name: String,
    /// How many numbers it holds.
    pub scalars: u64,
    /// Whether all of them are the same number.
    pub constant: bool,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Some of its numbers, evenly spread: at most [`WeightsDigest::SAMPLE`] of a tensor and [`WeightsDigest::SAMPLES`] of a model.
    pub sample: Vec<f32>,
}

impl WeightsDigest {
    /// Numbers in the sample of one tensor, at most.
    pub const SAMPLE: usize = 64;
    /// Numbers in the samples of all tensors together, at most: they must fit on one line.
    pub const SAMPLES: usize = 32_768;
}
