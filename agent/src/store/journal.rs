//! The journal of effects: each is written down before it is performed and after, so that a night that was cut off knows what
//! may have been done in part.

use jiff::Timestamp;
use serde_json::Value;

use super::error::StoreError;
use super::writer::{Store, now, set_once};
use super::{mirror, put, select};
use crate::flow::NightId;
use crate::records::EffectRecord;

type Result<T> = std::result::Result<T, StoreError>;

/// What beginning an effect found in the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is new: perform it.
    First,
    /// It was begun before and not ended: it may have been performed in part.
    Again(EffectRecord),
    /// It was ended before, with this outcome: nothing to perform.
    Done(Value),
}

impl Store {
    /// Writes down that an effect is about to be performed. The same key must always name the same kind and payload.
    pub async fn begin_effect(&self, night: &NightId, key: &str, kind: &str, payload: &Value) -> Result<Begun> {
        self.effect_begun_at(night, key, kind, payload, now()).await
    }

    /// As [`Self::begin_effect`], of one that has been going on since `begun_at`, before it was certain that it is to be performed.
    pub async fn effect_begun_at(
        &self,
        night: &NightId,
        key: &str,
        kind: &str,
        payload: &Value,
        begun_at: Timestamp,
    ) -> Result<Begun> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        if let Some(recorded) = select::effects(&mut transaction, &self.context, night, Some(key)).await?.pop() {
            if recorded.kind != kind || recorded.payload != *payload {
                let what = format!("effect {key} of night {night}");
                return Err(self.context.contradiction(what, &recorded, &(kind, payload)));
            }
            return Ok(match recorded.outcome {
                Some(outcome) => Begun::Done(outcome),
                None => Begun::Again(recorded),
            });
        }
        let effect = EffectRecord {
            ordinal: select::last_effect(&mut transaction, &self.context, night).await? + 1,
            key: key.to_owned(),
            kind: kind.to_owned(),
            payload: payload.clone(),
            begun_at,
            ended_at: None,
            outcome: None,
        };
        put::effect(&mut transaction, &self.context, night, &effect).await?;
        self.commit(transaction).await?;
        self.mirror_effect(night, effect).await?;
        Ok(Begun::First)
    }

    /// Writes down that an effect was performed.
    pub async fn end_effect(&self, night: &NightId, key: &str, outcome: &Value) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut effect = select::effects(&mut transaction, &self.context, night, Some(key))
            .await?
            .pop()
            .ok_or_else(|| self.context.unknown(format!("effect {key} of night {night}")))?;
        let what = || format!("the outcome of effect {key} of night {night}");
        if !set_once(&self.context, what, &mut effect.outcome, outcome)? {
            return Ok(());
        }
        effect.ended_at = Some(now());
        put::effect(&mut transaction, &self.context, night, &effect).await?;
        self.commit(transaction).await?;
        self.mirror_effect(night, effect).await
    }

    async fn mirror_effect(&self, night: &NightId, effect: EffectRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::effect(layout, night, effect).await,
            None => Ok(()),
        }
    }
}
