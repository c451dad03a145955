//! The records, as long as the server runs: there may be none when it starts, and `nocturne rebuild` may put others in their place.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use tokio::sync::Mutex;

use crate::store::{Reader, StoreError};

/// Opens the database when it is there, and again when another file lies there.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    file: Option<(File, Reader)>,
    /// How many files were opened.
    count: u64,
}

/// Device and inode.
type File = (u64, u64);

impl Records {
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    /// A reader of the database that lies there now.
    ///
    /// # Errors
    /// [`StoreError::NoDatabase`] while there is none; whatever else keeps it from being opened.
    pub async fn reader(&self) -> Result<Reader, StoreError> {
        Ok(self.counted().await?.1)
    }

    /// The same, and which of the files that lay there it is.
    pub async fn counted(&self) -> Result<(u64, Reader), StoreError> {
        let file = std::fs::metadata(&self.path).map(|found| (found.dev(), found.ino()));
        let file = file.map_err(|_| StoreError::NoDatabase { path: self.path.clone() })?;
        let mut open = self.open.lock().await;
        if let Some((of, reader)) = &open.file
            && *of == file
        {
            return Ok((open.count, reader.clone()));
        }
        let reader = Reader::open(&self.path).await?;
        // The connections of the one before close when its last page is done.
        *open = Opened { file: Some((file, reader.clone())), count: open.count + 1 };
        Ok((open.count, reader))
    }
}
