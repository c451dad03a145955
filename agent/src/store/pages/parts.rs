//! Parts of a night: which of its experiments a page is about, and these as they are recorded.

use std::collections::BTreeSet;

use serde_json::json;

use super::Result;
use crate::flow::NightId;
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{ExperimentRecord, TrialRecord};
use crate::store::reader::Reader;
use crate::store::rows::{AttemptRow, ExperimentRow};
use crate::store::trial_rows::TrialRow;

impl Reader {
    /// Numbers of the experiments of a night that were kept, or that the person has said something of.
    pub async fn to_review(&self, night: &NightId) -> Result<Vec<u32>> {
        let of = night.as_str();
        sqlx::query_scalar!(
            r#"SELECT e.number AS "number!: u32" FROM experiments e WHERE e.night = ?1 AND e.number > 0 AND e.verdict = 'kept'
               UNION SELECT r.number FROM reviews r WHERE r.night = ?1 ORDER BY 1"#,
            of
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read what there is to review"))
    }

    /// Numbers of the experiments of a night that only take a kept change out again.
    pub async fn ablations(&self, night: &NightId) -> Result<Vec<u32>> {
        let of = night.as_str();
        sqlx::query_scalar!(
            r#"SELECT e.number AS "number!: u32" FROM experiments e WHERE e.night = ?1 AND e.number > 0 AND e.proposer = ?2"#,
            of,
            LEAVE_ONE_OUT
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("find what was left out"))
    }

    /// Some experiments of a night in order, with their attempts; numbers that there are not are passed over.
    pub async fn experiments_of(&self, night: &NightId, numbers: &BTreeSet<u32>) -> Result<Vec<ExperimentRecord>> {
        let mut snapshot = self.snapshot().await?;
        let (of, wanted) = (night.as_str(), json!(numbers).to_string());
        let rows = sqlx::query_as!(
            ExperimentRow,
            "SELECT * FROM experiments WHERE night = ?1 AND number IN (SELECT value FROM json_each(?2)) ORDER BY number",
            of,
            wanted
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(self.context.sql("read experiments"))?;
        let attempts = sqlx::query_as!(
            AttemptRow,
            "SELECT * FROM attempts WHERE night = ?1 AND number IN (SELECT value FROM json_each(?2)) ORDER BY number, ordinal",
            of,
            wanted
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(self.context.sql("read attempts"))?;
        let decoded = rows.into_iter().map(|row| row.decode(&self.context));
        let mut experiments = decoded.collect::<Result<Vec<ExperimentRecord>>>()?;
        for attempt in attempts {
            let (number, attempt) = attempt.decode(&self.context)?;
            if let Ok(place) = experiments.binary_search_by_key(&number, |experiment| experiment.id.number) {
                experiments[place].attempts.push(attempt);
            }
        }
        Ok(experiments)
    }

    /// The trials of some experiments of a night, by experiment and ordinal.
    pub async fn trials_of(&self, night: &NightId, numbers: &BTreeSet<u32>) -> Result<Vec<TrialRecord>> {
        let (of, wanted) = (night.as_str(), json!(numbers).to_string());
        let rows = sqlx::query_as!(
            TrialRow,
            "SELECT * FROM trials WHERE night = ?1 AND number IN (SELECT value FROM json_each(?2)) ORDER BY number, ordinal",
            of,
            wanted
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read trials"))?;
        rows.into_iter().map(|row| row.decode(&self.context)).collect()
    }
}
