//! The records of all nights in SQLite, and a second time in the nights' JSON files.
//!
//! All SQL of the program stands in this folder. One process writes, through one connection; any number read. The schema is
//! `migrations/` at the repository's root. Statements are checked against it at compile time by way of the prepared `.sqlx`
//! folder: after a change of SQL or schema run `cargo xtask prepare-sql`.
//!
//! Must not: decide anything, know git, or print.

mod error;
mod mirror;
mod open;
mod put;
mod reader;
mod rows;
mod select;
mod writer;

pub use error::{Constraint, StoreError};
pub use reader::Reader;
pub use writer::{Begun, Store};
