//! Measurements outside of nights: the same commit, or a few edits of it, trained and evaluated many times under chosen seeds.
//!
//! Every run is confined and verified like a night's trial ([`Workbench`](crate::night::workbench::Workbench)), but nothing is
//! recorded in the database: rows, curves and claims lie in a folder of their own under `.nocturne/bench/`, one JSON document a
//! line, and a measurement that was cut off goes on where it stopped. [`noise`] is pure.
//!
//! [`throughput`] is another matter: how fast the checkout's candidate trains, on random tokens, in any shape. No campaign, data or record
//! has a part in it.
//!
//! Seeds here are no secret: they follow from small numbers, so that anybody can repeat a measurement bit for bit.

mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod noise;
mod random_rows;
mod rows;
mod runner;
mod speed;
pub mod throughput;

use std::path::Path;

pub use error::BenchError;
pub use rows::{Place, Row, read_rows};
pub use runner::{Options, Runner, Variant, seed};

/// An error of the system's, with what was tried.
fn disk(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    let path = path.to_owned();
    move |source| BenchError::Disk { action, path, source }
}
