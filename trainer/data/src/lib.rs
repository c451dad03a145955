//! Corpus, tokenizer, token shards and packed rows.
//!
//! Two halves. What always builds only *reads* finished data: [`Shards`] (training documents as tokens, mapped into
//! memory), [`Packer`] (training rows), [`Rows`] (held-out rows), [`TokenBytes`] (bytes a token stands for) and
//! [`Manifest`]. The trainer needs no more. With feature `prepare`, module `prepare` *makes* such data from text.
//!
//! This crate knows nothing of libtorch, of the network or of campaigns, and prints nothing.
//!
//! A folder of prepared data:
//!
//! | file              | content                                                                             |
//! |-------------------|-------------------------------------------------------------------------------------|
//! | `manifest.json`   | [`Manifest`]; written last, so a folder without one is not finished                 |
//! | `tokenizer.json`  | the byte-level BPE tokenizer, in the format of the `tokenizers` library              |
//! | `token_bytes.bin` | u16 LE per token id: bytes of text it stands for; 0 for special tokens              |
//! | `train.tokens`    | u16 LE, documents one after another, each starting with [`BOS`]                      |
//! | `train.index`     | u64 LE, one more than there are documents: where in `train.tokens` each starts, in tokens |
//! | `search.rows`     | u16 LE, rows of context + 1 tokens: held-out text that steers the search            |
//! | `sealed.rows`     | the same, of other documents: opened in the morning only                            |

mod error;
mod manifest;
mod packer;
#[cfg(feature = "prepare")]
pub mod prepare;
mod rows;
mod shards;
mod token_bytes;

pub use error::DataError;
pub use manifest::{FileRecord, Manifest, SourceFile, SplitCounts, Splits};
pub use packer::{Documents, Packer, PackerPosition};
pub use rows::Rows;
pub use shards::Shards;
pub use token_bytes::TokenBytes;

/// The one special token: it stands at the start of every document and so of every row, and for no bytes of text.
pub const BOS: u16 = 0;

/// How [`BOS`] is spelt in `tokenizer.json`. Text that contains these characters is encoded as ordinary text.
pub const BOS_TEXT: &str = "<|bos|>";

/// Names of the files in a folder of prepared data.
pub mod files {
    /// See [`crate::Manifest`].
    pub const MANIFEST: &str = "manifest.json";
    /// The tokenizer, in the format of the `tokenizers` library.
    pub const TOKENIZER: &str = "tokenizer.json";
    /// See [`crate::TokenBytes`].
    pub const TOKEN_BYTES: &str = "token_bytes.bin";
    /// Training documents; see [`crate::Shards`].
    pub const TRAIN_TOKENS: &str = "train.tokens";
    /// Where each training document starts; see [`crate::Shards`].
    pub const TRAIN_INDEX: &str = "train.index";
    /// Held-out rows that steer the search; see [`crate::Rows`].
    pub const SEARCH_ROWS: &str = "search.rows";
    /// Held-out rows for the morning; see [`crate::Rows`].
    pub const SEALED_ROWS: &str = "sealed.rows";
}
