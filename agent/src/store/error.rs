//! What can go wrong with the records: which database file, what was being done, why, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::files::FileError;
use crate::records::QueueState;

/// How a lost or damaged database is made again.
const REBUILD: &str = "`nocturne rebuild` makes it again from the nights' own files; the old file is kept";

/// What a row would have broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// Something that may exist once exists already, for example a patch digest within a night.
    Unique,
    /// It belongs to something that is not recorded.
    ForeignKey,
    /// A value outside its vocabulary or range.
    Check,
    /// A value is missing.
    NotNull,
    /// Any other rule of the schema.
    Other,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Constraint::Unique => "it exists already",
            Constraint::ForeignKey => "what it belongs to is not recorded",
            Constraint::Check => "a value is outside its range",
            Constraint::NotNull => "a value is missing",
            Constraint::Other => "it breaks a rule of the schema",
        })
    }
}

/// A record that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database yet.
    #[error("there is no database at {}: no night has been run in this repository", path.display())]
    NoDatabase {
        /// Where it would be.
        path: PathBuf,
    },
    /// SQLite refused, for a reason without a name of its own here.
    #[error("cannot {doing} in the database {}: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// SQLite's answer.
        source: sqlx::Error,
    },
    /// Another process kept writing for longer than this one waits.
    #[error("cannot {doing}: another process keeps the database {} busy; try again when it is done", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// The row breaks the schema.
    #[error("cannot {doing} in the database {}: {constraint} ({message})", path.display())]
    Constraint {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Which kind of rule.
        constraint: Constraint,
        /// SQLite's words, which name the columns.
        message: String,
    },
    /// No room, or a quota.
    #[error("cannot {doing}: the disk of the database {} is full; free some space and run the same command again", path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// The file is damaged.
    #[error("the database {} is damaged ({detail}); {REBUILD}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// Another program's database.
    #[error("{} is a SQLite database, but not Nocturne's; move it away and run the same command again", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A later version of the program has been here.
    #[error(
        "the database {} was written by a newer Nocturne (schema {found}, this program knows {known}); use that version, \
         or update this one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// An earlier version of the program wrote it, and may be writing it.
    #[error(
        "the database {} was made by an older Nocturne, and a night runs that may be of that version; it is brought up to date \
         when no night runs",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
    },
    /// The schema was made from a migration that has since been edited.
    #[error(
        "the database {} was made with another text of migration {version}: migrations must not be edited; undo that, \
         or: {REBUILD}",
        path.display()
    )]
    Altered {
        /// The database.
        path: PathBuf,
        /// Which migration.
        version: i64,
    },
    /// A row that this program did not write.
    #[error("the database {} holds {row} that cannot be read: {problem}; {REBUILD}", path.display())]
    BadRow {
        /// The database.
        path: PathBuf,
        /// Which row.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The fact is recorded already, and differently.
    #[error(
        "{what} is recorded already, and differently, in the database {}: recorded {recorded}, now {given}; the \
         recorded one stays",
        path.display()
    )]
    Contradiction {
        /// The database.
        path: PathBuf,
        /// Which fact.
        what: String,
        /// As recorded.
        recorded: String,
        /// As given now.
        given: String,
    },
    /// The fact is about something that is not recorded.
    #[error("{what} is not recorded in the database {}", path.display())]
    Unknown {
        /// The database.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// An idea of the queue that somebody has taken, or taken back, cannot be changed any more.
    #[error("idea {id} of the queue is {state}, not waiting: only ideas that wait can be moved or removed")]
    NotWaiting {
        /// Which.
        id: u32,
        /// What it is.
        state: QueueState,
    },
    /// A number that neither the database nor JSON can hold.
    #[error("{what} is {value}, which cannot be recorded in the database {}: only finite numbers can", path.display())]
    NotFinite {
        /// The database.
        path: PathBuf,
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
    },
    /// The database holds the fact, but the file that repeats it could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Turns SQLite's errors into [`StoreError`]s that name the database.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) path: PathBuf,
}

impl Context {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// For `map_err`: `doing` completes "cannot ...".
    pub(super) fn sql(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        move |source| {
            let path = self.path.clone();
            let Some(database) = source.as_database_error() else {
                return StoreError::Database { path, doing, source };
            };
            let message = database.message().to_owned();
            // The low byte of SQLite's extended result codes is the primary one: https://sqlite.org/rescode.html
            let code: i64 = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
            match code & 0xff {
                5 | 6 => StoreError::Busy { path, doing },
                11 | 26 => StoreError::Corrupt { path, detail: message },
                13 => StoreError::DiskFull { path, doing },
                19 => {
                    let constraint = match code {
                        275 => Constraint::Check,
                        787 => Constraint::ForeignKey,
                        1299 => Constraint::NotNull,
                        1555 | 2067 => Constraint::Unique,
                        _ => Constraint::Other,
                    };
                    StoreError::Constraint { path, doing, constraint, message }
                }
                _ => StoreError::Database { path, doing, source },
            }
        }
    }

    pub(super) fn unknown(&self, what: impl Into<String>) -> StoreError {
        StoreError::Unknown { path: self.path.clone(), what: what.into() }
    }

    pub(super) fn contradiction(
        &self,
        what: impl Into<String>,
        recorded: &impl fmt::Debug,
        given: &impl fmt::Debug,
    ) -> StoreError {
        StoreError::Contradiction {
            path: self.path.clone(),
            what: what.into(),
            recorded: shortened(format!("{recorded:?}")),
            given: shortened(format!("{given:?}")),
        }
    }

    pub(super) fn bad_row(&self, row: impl Into<String>, problem: impl fmt::Display) -> StoreError {
        StoreError::BadRow { path: self.path.clone(), row: row.into(), problem: problem.to_string() }
    }

    /// SQLite makes NULL of a NaN and JSON knows neither NaN nor infinity, so both are refused before they get there.
    pub(super) fn finite(&self, numbers: &[(&'static str, Option<f64>)]) -> Result<(), StoreError> {
        for (what, value) in numbers {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(StoreError::NotFinite { path: self.path.clone(), what, value });
            }
        }
        Ok(())
    }
}

/// Facts can be whole files; an error message shows their beginning.
fn shortened(text: String) -> String {
    const LIMIT: usize = 300;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
