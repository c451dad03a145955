//! The records of all nights in SQLite, and a second time in the nights' JSON files.
//!
//! All SQL of the program stands in this folder. One process writes a night, through one
//! connection; any number read, and any may write to the person's queue. The schema is
//! `migrations/` at the repository's root. Statements are checked against it at compile time by way of the prepared `.sqlx`
//! folder: after a change of SQL or schema run `cargo xtask prepare-sql`.
//!
//! Must not: decide anything, know git, or print.

mod earlier;
mod error;
mod exchanges;
mod experiments;
mod journal;
mod ledger;
mod live;
mod mirror;
mod night_rows;
mod open;
mod pages;
mod put;
mod put_experiments;
mod queue;
mod reader;
mod rebuild;
mod reviews;
mod rows;
mod select;
mod tables;
mod told;
mod trial_rows;
mod trials;
mod writer;

pub use error::{Constraint, StoreError};
pub use journal::Begun;
pub use live::{CallCost, Changes, ExperimentLine, Glance, Mark, NightLine};
pub use pages::{KeptChange, ListQuery, Listed, ListedClaim, ListedExperiment, ListedNight, Listing, TreeExperiment};
pub use queue::Enqueued;
pub use reader::Reader;
pub use rebuild::{Problem, Rebuilt, rebuild};
pub use tables::{Cell, Rows, Table, Tables};
pub use writer::Store;
