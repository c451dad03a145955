//! What can go wrong when data is prepared. Every message names the file, says why, and what to do.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::DataError;

/// Data could not be prepared; nothing was left in its place.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The operating system refused to read.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Read {
        /// What was tried: "open", "read", ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system refused to write.
    #[error(
        "cannot write {path}: {source}. Nothing was kept; make room or choose another disk and run again",
        path = path.display()
    )]
    Write {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No room left.
    #[error(
        "the disk with {path} is full. Nothing was kept; prepared data takes about 0.7 bytes for each byte of text: \
         free some space and run again",
        path = path.display()
    )]
    DiskFull {
        /// Which file was being written.
        path: PathBuf,
    },
    /// A folder without anything that can be read.
    #[error("{path} holds no {kinds} file. Name a folder or file with text", path = path.display())]
    NoFiles {
        /// Which folder.
        path: PathBuf,
        /// What was looked for.
        kinds: &'static str,
    },
    /// A file named by the person whose kind is not known.
    #[error(
        "{path}: only .txt, .jsonl and .parquet files can be read. Convert it to one of them",
        path = path.display()
    )]
    UnknownKind {
        /// Which file.
        path: PathBuf,
    },
    /// A file without text.
    #[error("{path} is empty. Remove it from the corpus or put text into it", path = path.display())]
    EmptyFile {
        /// Which file.
        path: PathBuf,
    },
    /// Bytes that are not text.
    #[error("{path} is not UTF-8 at {place}. Convert the file (`iconv -t UTF-8`) or remove it", path = path.display())]
    NotUtf8 {
        /// Which file.
        path: PathBuf,
        /// "byte 17", "row 3, byte 17".
        place: String,
    },
    /// A line of a .jsonl file that is not a JSON object, or whose text is not a string.
    #[error(
        "{path}, line {line}: {reason}. Each line must be a JSON object with a string `{field}`",
        path = path.display()
    )]
    Json {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// The field that holds the text.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A Parquet file that cannot be read to its end.
    #[error("{path} is not a whole Parquet file: {reason}. Delete it and fetch it again", path = path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A Parquet file without the text column.
    #[error(
        "{path} has no text column `{column}`; its text columns are: {present}. Name one of them",
        path = path.display()
    )]
    MissingColumn {
        /// Which file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns of text that there are.
        present: String,
    },
    /// Not enough text to hold some of it out.
    #[error(
        "the corpus ({corpus}) is too small for the split: after removing copies it has {documents} documents with \
         {bytes} bytes, and {search} search rows and {sealed} sealed rows of {row_tokens} tokens, with as much to \
         train on, need about {needed_documents} documents of this length (about {needed} bytes). Add text, ask for \
         fewer rows, or, if few long documents are to be cut, lower max_piece_bytes"
    )]
    TooSmall {
        /// The source in words.
        corpus: String,
        /// Documents there are.
        documents: u64,
        /// Documents like these that would do.
        needed_documents: u64,
        /// Bytes there are.
        bytes: u64,
        /// Rows asked for.
        search: usize,
        /// Rows asked for.
        sealed: usize,
        /// Tokens in a row.
        row_tokens: usize,
        /// Bytes that would do.
        needed: u64,
    },
    /// A file of a hub is not what the hub's list says.
    #[error(
        "{path} has SHA-256 {found}, and the hub lists {listed}: it was damaged after it had been fetched. Delete it and \
         run again; it is fetched anew",
        path = path.display()
    )]
    NotAsListed {
        /// Which file.
        path: PathBuf,
        /// The hash in the hub's list.
        listed: String,
        /// The hash of what is there.
        found: String,
    },
    /// The tokenizer ran out of things to merge.
    #[error(
        "the training text ({corpus}) gives a vocabulary of {possible} tokens at most, and {asked} were asked for. \
         Ask for fewer or add text"
    )]
    Vocabulary {
        /// The source in words.
        corpus: String,
        /// Tokens asked for.
        asked: usize,
        /// Tokens there could be.
        possible: usize,
    },
    /// Options that cannot work.
    #[error("{0}")]
    Options(String),
    /// The source is not what it was when preparing began.
    #[error("{path} changed while it was read. Run again when nothing writes to the corpus", path = path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// A tokenizer file that is not one of ours.
    #[error(
        "{path} is not a tokenizer of this program: {reason}. Delete the folder it is in and prepare the data \
         again",
        path = path.display()
    )]
    Tokenizer {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The target folder holds something else.
    #[error(
        "{path} holds data of other text or options ({found}). Delete it or choose another folder",
        path = path.display()
    )]
    Occupied {
        /// Which folder.
        path: PathBuf,
        /// The key found there.
        found: String,
    },
    /// The target folder holds damaged data.
    #[error(transparent)]
    Damaged(#[from] DataError),
}

impl PrepareError {
    /// For `map_err` around reading.
    pub(crate) fn read<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PrepareError + 'a {
        move |source| PrepareError::Read { action, path: path.to_path_buf(), source }
    }

    /// For `map_err` around writing; a full disk gets a message of its own.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> PrepareError + '_ {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => PrepareError::DiskFull { path: path.to_path_buf() },
            _ => PrepareError::Write { path: path.to_path_buf(), source },
        }
    }
}
