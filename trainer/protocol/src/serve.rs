//! What `trainer serve` is asked. Every array crosses as a descriptor of shared memory that travels with the line: no path of
//! the agent's is visible in there, and no answer passes through a pipe.

use serde::{Deserialize, Serialize};

use crate::Setting;

/// First line on `trainer serve`'s standard input. One descriptor travels with it: the checkpoint, read-only. The trainer loads
/// it and answers [`Event::Ready`](crate::Event::Ready).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeRequest {
    /// The campaign's setting.
    pub setting: Setting,
    /// Rows in every batch. Batches are always full, so that the same row meets the same shapes in every process.
    pub batch_rows: usize,
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
    /// Digests of the initial weights under some seeds. Answered by [`Event::Weights`](crate::Event::Weights).
    Weights {
        /// Seeds to build the model from.
        seeds: Vec<u64>,
    },
}

/// One parameter as built from each of [`Ask::Weights`]' seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsDigest {
    /// Its name.
    pub name: String,
    /// How many numbers it holds.
    pub scalars: u64,
    /// Whether all of them are the same number, under every seed.
    pub constant: bool,
    /// SHA-256 of its bytes, hexadecimal, one for each seed.
    pub sha256: Vec<String>,
}
