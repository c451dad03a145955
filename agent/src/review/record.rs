//! Writing choices down: at the terminal, from a document and from a browser alike.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ReviewError, check};
use crate::flow::{ExperimentId, NightId};
use crate::layout::Layout;
use crate::records::{ReviewChoice, ReviewRecord};
use crate::report::{NightRecords, ReportError};
use crate::store::{Reader, Store};

/// One choice of a document: `[{"experiment": "NIGHT/NUMBER", "choice": "rejected", "reason": "..."}]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Which experiment, `NIGHT/NUMBER`.
    pub experiment: String,
    /// What is to become of it.
    pub choice: ReviewChoice,
    /// Why; a rejection needs it.
    #[serde(default)]
    pub reason: String,
}

/// The choices of a document as they are recorded.
///
/// # Errors
/// [`ReviewError::BadDocument`] where one names no experiment.
pub fn named_choices(choices: Vec<Choice>) -> Result<Vec<(ExperimentId, ReviewChoice, String)>, ReviewError> {
    let named = |Choice { experiment, choice, reason }| {
        Ok((experiment.parse().map_err(ReviewError::BadDocument)?, choice, reason))
    };
    choices.into_iter().map(named).collect()
}

/// Checks all choices, then writes all of them down or none, also while a night runs.
///
/// # Errors
/// See [`ReviewError`].
pub async fn record(
    layout: &Layout,
    reader: &Reader,
    choices: &[(ExperimentId, ReviewChoice, String)],
) -> Result<Vec<ReviewRecord>, ReviewError> {
    let mut wanted: BTreeMap<&NightId, Vec<u32>> = BTreeMap::new();
    for (id, _, _) in choices {
        wanted.entry(&id.night).or_default().push(id.number);
    }
    let mut nights: BTreeMap<&NightId, NightRecords> = BTreeMap::new();
    for (night, numbers) in wanted {
        let read = NightRecords::read_part(reader, night, &numbers).await;
        let first = numbers.first().copied().unwrap_or_default();
        let records = read.map_err(|error| match error {
            ReportError::NoSuchNight(night) => ReviewError::NoSuchExperiment(ExperimentId { night, number: first }),
            other => ReviewError::Report(Box::new(other)),
        })?;
        nights.insert(night, records);
    }
    let mut checked = Vec::with_capacity(choices.len());
    for (id, choice, reason) in choices {
        let records = nights.get(&id.night).ok_or_else(|| ReviewError::NoSuchExperiment(id.clone()))?;
        checked.push((id.clone(), *choice, check(records, id, *choice, reason)?));
    }
    let store = Store::open_unchecked_in(layout).await?;
    let recorded = store.record_reviews(&checked).await;
    // What could not be written is the error to tell, not that the closing failed too.
    let closed = store.close().await;
    let recorded = recorded?;
    closed?;
    Ok(recorded)
}
