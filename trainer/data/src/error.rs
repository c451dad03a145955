//! What can be wrong with prepared data.

use std::io;
use std::path::{Path, PathBuf};

/// Prepared data that cannot be read. Every message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "open", "map", ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is there, but not what it should be.
    #[error(
        "{path} is not usable: {reason}. Delete the folder it is in and prepare the data again",
        path = path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, with the place.
        reason: String,
    },
    /// A row with a token that the tokenizer does not have.
    #[error(
        "row {row} holds token {token}, outside the vocabulary of {vocabulary}: the rows belong to another tokenizer. \
         Prepare the data again"
    )]
    Vocabulary {
        /// Which row, from 0.
        row: usize,
        /// The token.
        token: u16,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
    /// A saved place in the data that does not belong to this data.
    #[error("cannot go on from the saved place in the data: {0}. Start the trial again without the checkpoint")]
    Position(String),
}

impl DataError {
    /// For `map_err`: an operating system's error with the file it is about.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataError + 'a {
        move |source| DataError::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> DataError {
        DataError::Damaged { path: path.to_path_buf(), reason: reason.into() }
    }
}
