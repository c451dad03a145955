//! Reading the records, also while another process's night writes them.

use std::collections::HashSet;
use std::path::Path;

use protocol::Budget;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::error::{Context, StoreError};
use super::{earlier, open, select};
use crate::flow::{ExperimentId, NightId};
use crate::records::{
    ChampionMove, ClaimRecord, EarlierEstimate, EarlierRun, EffectRecord, EffectTimes, EventRecord, ExperimentRecord,
    HistoryEntry, LookRecord, NightRecord, SkipRecord, TrialRecord, WithdrawalRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// The records, read-only: SQLite itself refuses every write through it. Each answer is one consistent state of the database.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: SqlitePool,
    pub(super) context: Context,
}

impl Reader {
    /// Opens an existing database. One that an older version wrote is checked and brought up to date first; else the file is not looked at as a
    /// whole (see [`Reader::quick_check`]), and what of it is damaged is said when it is read.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { pool: open::open_readers(path, false).await?, context: Context::new(path) })
    }

    /// Opens an existing database and changes nothing, whatever version wrote it: another process may be at it.
    ///
    /// # Errors
    /// [`StoreError::Older`] where it would have to be brought up to date first.
    pub async fn open_as_it_is(path: &Path) -> Result<Self> {
        Ok(Self { pool: open::open_readers(path, true).await?, context: Context::new(path) })
    }

    /// The database.
    pub fn path(&self) -> &Path {
        &self.context.path
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that only reads: all statements in it see the same state.
    pub(super) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>> {
        self.pool.begin().await.map_err(self.context.sql("begin to read"))
    }

    pub(super) async fn connection(&self) -> Result<PoolConnection<Sqlite>> {
        self.pool.acquire().await.map_err(self.context.sql("open a connection"))
    }

    /// All nights of all campaigns, the oldest first.
    pub async fn nights(&self) -> Result<Vec<NightRecord>> {
        select::nights(&mut *self.snapshot().await?, &self.context, None, None).await
    }

    /// One night.
    pub async fn night(&self, id: &NightId) -> Result<Option<NightRecord>> {
        Ok(select::nights(&mut *self.snapshot().await?, &self.context, None, Some(id)).await?.pop())
    }

    /// A campaign's last night.
    pub async fn latest_night(&self, campaign: &str) -> Result<Option<NightRecord>> {
        Ok(select::nights(&mut *self.snapshot().await?, &self.context, Some(campaign), None).await?.pop())
    }

    /// A campaign's last night that has no end: it runs, or was cut off.
    pub async fn unfinished_night(&self, campaign: &str) -> Result<Option<NightRecord>> {
        let nights = select::nights(&mut *self.snapshot().await?, &self.context, Some(campaign), None).await?;
        Ok(nights.into_iter().rev().find(|night| night.end.is_none()))
    }

    /// A night's experiments in order, with their attempts.
    pub async fn experiments(&self, night: &NightId) -> Result<Vec<ExperimentRecord>> {
        select::experiments(&mut *self.snapshot().await?, &self.context, night, None).await
    }

    /// One experiment with its attempts.
    pub async fn experiment(&self, id: &ExperimentId) -> Result<Option<ExperimentRecord>> {
        let mut snapshot = self.snapshot().await?;
        Ok(select::experiments(&mut snapshot, &self.context, &id.night, Some(id.number)).await?.pop())
    }

    /// An experiment's trials in order, those that a fault of the machine ended included.
    pub async fn trials(&self, id: &ExperimentId) -> Result<Vec<TrialRecord>> {
        select::trials(&mut *self.snapshot().await?, &self.context, &id.night, Some(id.number), None).await
    }

    /// All trials of a night, by experiment and ordinal.
    pub async fn night_trials(&self, night: &NightId) -> Result<Vec<TrialRecord>> {
        select::trials(&mut *self.snapshot().await?, &self.context, night, None, None).await
    }

    /// The best so far; `None` before the night's start was measured.
    pub async fn champion(&self, night: &NightId) -> Result<Option<ChampionMove>> {
        let withdrawal = self.withdrawal(night).await?;
        let stands = |champion: &ChampionMove| withdrawal.as_ref().is_none_or(|it| it.spares(champion.experiment));
        Ok(self.champion_moves(night).await?.into_iter().rev().find(stands))
    }

    /// A night's champions in order.
    pub async fn champion_moves(&self, night: &NightId) -> Result<Vec<ChampionMove>> {
        select::champion_moves(&mut *self.snapshot().await?, &self.context, night).await
    }

    /// Proposals of a night that were not tried, in order.
    pub async fn skips(&self, night: &NightId) -> Result<Vec<SkipRecord>> {
        select::skips(&mut *self.snapshot().await?, &self.context, night).await
    }

    /// A night's journal in the order of beginning.
    pub async fn effects(&self, night: &NightId) -> Result<Vec<EffectRecord>> {
        select::effects(&mut *self.snapshot().await?, &self.context, night, None).await
    }

    /// When each effect of a night's journal was performed, in the order of beginning.
    pub async fn effect_times(&self, night: &NightId) -> Result<Vec<EffectTimes>> {
        select::effect_times(&mut *self.snapshot().await?, &self.context, night).await
    }

    /// Effects that were begun and not ended: under way, or cut off.
    pub async fn open_effects(&self, night: &NightId) -> Result<Vec<EffectRecord>> {
        let mut effects = self.effects(night).await?;
        effects.retain(|effect| effect.ended_at.is_none());
        Ok(effects)
    }

    /// A night's events in order.
    pub async fn events(&self, night: &NightId) -> Result<Vec<EventRecord>> {
        select::events(&mut *self.snapshot().await?, &self.context, night, None).await
    }

    /// A night's events of one stage in order.
    pub async fn events_of_stage(&self, night: &NightId, stage: &str) -> Result<Vec<EventRecord>> {
        select::events(&mut *self.snapshot().await?, &self.context, night, Some(stage)).await
    }

    /// All experiments of a campaign, its nights in order, the running one last; the nights' starts are left out.
    pub async fn history(&self, campaign: &str) -> Result<Vec<HistoryEntry>> {
        select::history(&mut *self.snapshot().await?, &self.context, campaign).await
    }

    /// Digests of all edits of a campaign that were ever fitted to a champion, whatever became of them.
    pub async fn digests_seen(&self, campaign: &str) -> Result<HashSet<String>> {
        select::digests_seen(&mut *self.snapshot().await?, &self.context, campaign).await
    }

    /// A night's morning claim, where one was made.
    pub async fn claim(&self, night: &NightId) -> Result<Option<ClaimRecord>> {
        select::claim(&mut *self.snapshot().await?, &self.context, night).await
    }

    /// What a night had to take back of what it had kept and claimed.
    pub async fn withdrawal(&self, night: &NightId) -> Result<Option<WithdrawalRecord>> {
        select::withdrawal(&mut *self.snapshot().await?, &self.context, night).await
    }

    /// A night's ledger of held-out text.
    pub async fn looks(&self, night: &NightId) -> Result<Vec<LookRecord>> {
        let looks = select::looks(&mut *self.snapshot().await?, &self.context, Some(night), None).await?;
        Ok(looks.into_iter().map(|(_, look)| look).collect())
    }

    /// The ledger of held-out text over all nights of a campaign, in order.
    pub async fn campaign_looks(&self, campaign: &str) -> Result<Vec<(NightId, LookRecord)>> {
        select::looks(&mut *self.snapshot().await?, &self.context, None, Some(campaign)).await
    }

    /// Verified runs on the search text of earlier nights that are comparable with `night`: of the same campaign, on the same
    /// kind of machine, under `budget`.
    pub async fn earlier_runs(&self, night: &NightId, budget: Budget) -> Result<Vec<EarlierRun>> {
        let mut snapshot = self.snapshot().await?;
        let asked = earlier::Asked::by(&mut snapshot, &self.context, night, budget).await?;
        earlier::runs(&mut snapshot, &asked).await
    }

    /// Differences of settled experiments of the nights that [`Self::earlier_runs`] takes, with their standard errors.
    pub async fn earlier_estimates(&self, night: &NightId, budget: Budget) -> Result<Vec<EarlierEstimate>> {
        let mut snapshot = self.snapshot().await?;
        let asked = earlier::Asked::by(&mut snapshot, &self.context, night, budget).await?;
        earlier::estimates(&mut snapshot, &asked).await
    }

    /// Reads the whole file as the opening of a night does.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is damaged.
    pub async fn quick_check(&self) -> Result<()> {
        open::check(&mut *self.snapshot().await?, &self.context).await
    }

    /// What SQLite and the schema find wrong with the whole database; empty when nothing is. Slower than [`Reader::quick_check`].
    pub async fn integrity_check(&self) -> Result<Vec<String>> {
        let mut snapshot = self.snapshot().await?;
        let doing = "check the database";
        let mut found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut *snapshot)
            .await
            .map_err(self.context.sql(doing))?;
        found.retain(|line| line != "ok");
        let orphans: Vec<String> = sqlx::query_scalar(
            "SELECT 'a row of ' || \"table\" || ' belongs to a missing row of ' || parent FROM pragma_foreign_key_check",
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(self.context.sql(doing))?;
        found.extend(orphans);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
        let error = sqlx::query("DELETE FROM nights").execute(&store.pool).await.unwrap_err();
        assert!(error.to_string().contains("readonly"), "{error}");
    }
}
