//! The ledger of held-out text, the morning's claim that it is spent on, and what has to be taken back.

use super::error::StoreError;
use super::writer::{Store, now};
use super::{put, select};
use crate::flow::NightId;
use crate::records::{ClaimRecord, HeldOut, LookRecord, WithdrawalRecord};

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Counts one evaluation on a part of the held-out text; call it before the evaluation begins. An evaluation that is begun
    /// again after a crash counts again, because its first answers may have been seen.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] when the night's sealed text has been spent on something else than `what_for`.
    pub async fn count_look(&self, night: &NightId, part: HeldOut, what_for: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let looks = select::looks(&mut transaction, &self.context, Some(night), None).await?;
        let mut of_part = looks.into_iter().map(|(_, look)| look).filter(|look| look.part == part);
        let spent = of_part.clone().find(|look| part == HeldOut::Sealed && look.what_for != what_for);
        if let Some(other) = spent {
            let what = format!("what the sealed text of night {night} is spent on");
            return Err(self.context.contradiction(what, &other.what_for, &what_for));
        }
        let at = now();
        let look = match of_part.find(|look| look.what_for == what_for) {
            Some(look) => LookRecord { evaluations: look.evaluations.saturating_add(1), last_at: at, ..look },
            None => LookRecord { part, what_for: what_for.to_owned(), evaluations: 1, first_at: at, last_at: at },
        };
        put::look(&mut transaction, &self.context, night, &look).await?;
        self.commit(transaction).await?;
        self.mirror_night(night).await
    }

    /// Records the morning's claim; a night makes one. When it was made does not make it another.
    pub async fn record_claim(&self, night: &NightId, claim: &ClaimRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        match select::claim(&mut transaction, &self.context, night).await? {
            None => put::claim(&mut transaction, &self.context, night, claim).await?,
            Some(recorded) if recorded == (ClaimRecord { at: recorded.at, ..claim.clone() }) => {}
            Some(recorded) => {
                return Err(self.context.contradiction(format!("the claim of night {night}"), &recorded, claim));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(night).await
    }

    /// Records that what was kept from an experiment on does not hold. A night ends by that, so that there is one.
    pub async fn withdraw(&self, night: &NightId, experiment: u32, words: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let given = WithdrawalRecord { experiment, words: words.to_owned(), at: now() };
        match select::withdrawal(&mut transaction, &self.context, night).await? {
            None => put::withdrawal(&mut transaction, &self.context, night, &given).await?,
            Some(recorded) if recorded == (WithdrawalRecord { at: recorded.at, ..given.clone() }) => {}
            Some(recorded) => {
                let what = format!("what is taken back of night {night}");
                return Err(self.context.contradiction(what, &recorded, &given));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(night).await
    }
}
