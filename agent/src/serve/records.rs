//! The records, as long as the server runs: there may be none when it starts, and `nocturne rebuild` may put others in their place.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::files::FileError;
use crate::layout::Layout;
use crate::night::{OpenError, is_running};
use crate::store::{Reader, StoreError};

/// After a database could not be opened; twice as long each time, up to the longest. One of an older version is checked as a whole.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why there is no reader.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum RecordsError {
    /// No night was ever recorded here.
    #[error("there are no records in this repository yet")]
    None,
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// Whether a night runs cannot be told.
    #[error(transparent)]
    Lock(#[from] Arc<OpenError>),
}

impl From<StoreError> for RecordsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoDatabase { .. } => Self::None,
            other => Self::Store(Arc::new(other)),
        }
    }
}

/// Opens the database when it is there, and again when another file lies there.
#[derive(Debug)]
pub(super) struct Records {
    layout: Layout,
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    file: Option<(File, Reader)>,
    /// How many files were opened.
    count: u64,
    failed: Option<Failed>,
}

/// Device and inode.
type File = (u64, u64);

/// A file that could not be opened: not tried again at every look.
#[derive(Debug)]
struct Failed {
    of: (File, i64, i64),
    error: RecordsError,
    until: Instant,
    pause: Duration,
}

impl Records {
    pub fn new(layout: Layout) -> Self {
        Self { layout, open: Mutex::default() }
    }

    /// A reader of the database that lies there now.
    ///
    /// # Errors
    /// [`RecordsError::None`] while there is none; whatever else keeps it from being opened, for a while without another try.
    pub async fn reader(&self) -> Result<Reader, RecordsError> {
        Ok(self.counted().await?.1)
    }

    /// The same, and which of the files that lay there it is.
    pub async fn counted(&self) -> Result<(u64, Reader), RecordsError> {
        let path = self.layout.database();
        let found = std::fs::metadata(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => RecordsError::None,
            _ => StoreError::File(FileError::Io { action: "look at", path: path.clone(), source }).into(),
        })?;
        let file = (found.dev(), found.ino());
        let mut open = self.open.lock().await;
        if let Some((of, reader)) = &open.file
            && *of == file
        {
            return Ok((open.count, reader.clone()));
        }
        let of = (file, found.mtime(), found.mtime_nsec());
        let failed = open.failed.as_ref().filter(|failed| failed.of == of);
        if let Some(failed) = failed.filter(|failed| Instant::now() < failed.until) {
            return Err(failed.error.clone());
        }
        let pause = failed.map_or(FIRST_PAUSE, |failed| (failed.pause * 2).min(LONGEST_PAUSE));
        match self.try_open().await {
            Ok(reader) => {
                // The connections of the one before close when its last page is done.
                *open = Opened { file: Some((file, reader.clone())), count: open.count + 1, failed: None };
                Ok((open.count, reader))
            }
            Err(error) => {
                open.failed = Some(Failed { of, error: error.clone(), until: Instant::now() + pause, pause });
                Err(error)
            }
        }
    }

    /// A database that an older version made is brought up to date, as by every command, but not under a night of that version.
    async fn try_open(&self) -> Result<Reader, RecordsError> {
        let path = self.layout.database();
        if is_running(&self.layout).map_err(Arc::new)? {
            return Ok(Reader::open_as_it_is(&path).await?);
        }
        Ok(Reader::open(&path).await?)
    }
}
