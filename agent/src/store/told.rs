//! What decisions, and the person, said of past experiments: for briefs.

use std::collections::{BTreeMap, BTreeSet};

use super::error::StoreError;
use super::reader::Reader;
use crate::flow::{ExperimentId, NightId, Told};
use crate::records::{HistoryEntry, ReviewChoice};

impl Reader {
    /// What was said of the settled experiments of a history. Of those that were taken back, which count as not measured, nothing is told.
    pub async fn told(&self, history: &[HistoryEntry]) -> Result<BTreeMap<ExperimentId, Told>, StoreError> {
        let settled: BTreeSet<&ExperimentId> =
            history.iter().filter(|entry| entry.verdict.is_some()).map(|entry| &entry.id).collect();
        let nights: BTreeSet<&NightId> = settled.iter().map(|id| &id.night).collect();
        let mut told = BTreeMap::new();
        for night in nights {
            let withdrawal = self.withdrawal(night).await?;
            for experiment in self.experiments(night).await? {
                let trusted = withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.trusts(experiment.id.number));
                if let (Some(decision), true) = (experiment.decision, trusted && settled.contains(&experiment.id)) {
                    let (interval, trials, reason) = (decision.interval, decision.trials, decision.reason);
                    told.insert(experiment.id, Told { interval, trials, reason, rejected: None });
                }
            }
        }
        // In their order: the last word counts.
        for review in self.reviews(None).await? {
            if let Some(found) = told.get_mut(&review.experiment) {
                found.rejected = (review.choice == ReviewChoice::Rejected).then_some(review.reason);
            }
        }
        Ok(told)
    }
}
