//! What the server's pages list: rows as they are shown, a page of them at a time, without the edits, certificates and conversations that the
//! whole records carry. Lists of nights, trees and counts are met by the indexes of migration 0010 alone; a search and the order by value read the rows
//! of one night.
//!
//! The metric of an experiment is the mean over `measured_runs`, the view of migration 0011, as in [`crate::report::NightRecords::runs`].

mod experiments;
mod nights;
mod parts;

pub use experiments::{ListQuery, Listed, ListedExperiment, Listing, TreeExperiment};
pub use nights::{KeptChange, ListedClaim, ListedNight};

use super::error::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// An interval, where both bounds are there.
fn pair(low: Option<f64>, high: Option<f64>) -> Option<(f64, f64)> {
    low.zip(high)
}
