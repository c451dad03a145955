//! What the opening of a night takes, stage by stage: measured before the night has a record, written down as soon as it has one.

use jiff::Timestamp;
use serde_json::json;

use super::perform::now;
use crate::flow::NightId;
use crate::records::{OPENING, OpeningPart, OpeningStage};
use crate::store::{Store, StoreError};

/// A clock that is read at the end of each stage.
#[derive(Debug)]
pub(super) struct Opening {
    at: Timestamp,
    parts: Vec<OpeningPart>,
}

impl Opening {
    /// Starts the clock.
    pub fn begins() -> Self {
        Self { at: now(), parts: Vec::new() }
    }

    /// A stage is over; it began when the one before it was.
    pub fn ends(&mut self, stage: OpeningStage) {
        self.ends_at(stage, now());
    }

    fn ends_at(&mut self, stage: OpeningStage, at: Timestamp) {
        let seconds = at.duration_since(self.at).as_secs_f64();
        // A clock that was set back in between has nothing to tell.
        if seconds > 0.0 {
            self.parts.push(OpeningPart { stage, from: self.at, seconds });
        }
        self.at = at;
    }

    /// Writes it into the night's journal: for the night's beginning, or for its going on. Its key is no process's: the first effect is
    /// still to come.
    pub async fn record(&self, store: &Store, night: &NightId) -> Result<(), StoreError> {
        let key = format!("{OPENING}/{}", store.effect_times(night).await?.len());
        store.begin_effect(night, &key, OPENING, &json!({ "opening": self.parts })).await?;
        store.end_effect(night, &key, &json!({ "event": "opened" })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_begins_where_the_one_before_it_ended() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut opening = Opening { at: at(100), parts: Vec::new() };
        for (stage, second) in [(OpeningStage::SettingUp, 103), (OpeningStage::Data, 90), (OpeningStage::RedTeam, 95)] {
            opening.ends_at(stage, at(second));
        }
        let told: Vec<(OpeningStage, Timestamp, f64)> =
            opening.parts.iter().map(|part| (part.stage, part.from, part.seconds)).collect();
        assert_eq!(told, [(OpeningStage::SettingUp, at(100), 3.0), (OpeningStage::RedTeam, at(90), 5.0)]);
    }
}
