//! Nights in formats of other programs: TensorBoard's event files, and CSV of everything on record.
//!
//! Reads the records and the curves; writes only below the folder that it is given.

mod csv;
mod events;
mod tensorboard;

use std::path::PathBuf;

use crate::files::FileError;
use crate::store::StoreError;

pub use csv::write as write_csv;
pub use tensorboard::write as write_tensorboard;

/// Why something could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The records cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder holds something already.
    #[error("{} holds something already; name a folder that is empty or not there", .0.display())]
    NotEmpty(PathBuf),
    /// A thread of this program was lost.
    #[error("internal error: {0}")]
    Internal(#[from] tokio::task::JoinError),
}

/// Makes the folder, which may be there if nothing is in it: what another export left would mix with this one.
///
/// # Errors
/// [`ExportError::NotEmpty`], or it cannot be made.
fn begin(folder: &std::path::Path) -> Result<(), ExportError> {
    crate::files::create_folder(folder)?;
    let io = |source| FileError::Io { action: "read", path: folder.to_owned(), source };
    match std::fs::read_dir(folder).map_err(io)?.next() {
        None => Ok(()),
        Some(_) => Err(ExportError::NotEmpty(folder.to_owned())),
    }
}
