//! Nights, and what campaigns kept.

use jiff::Timestamp;

use super::{Result, pair};
use crate::flow::NightId;
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{NightEnding, ReviewChoice};
use crate::store::reader::Reader;
use crate::store::rows::Decoder;

/// A night in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedNight {
    /// Its id.
    pub night: NightId,
    /// Its campaign.
    pub campaign: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, and why.
    pub end: Option<(Timestamp, NightEnding)>,
    /// Experiments, those that only leave a kept change out not counted.
    pub tried: u32,
    /// Those of them that were kept and stand.
    pub kept: u32,
    /// Those of them that wait for the person.
    pub waiting: u32,
    /// The mean of its start's trials.
    pub start: Option<f64>,
    /// What the champions on the way differ from each other, together; `None` where one of them has no figure.
    pub change: Option<f64>,
    /// The morning's claim.
    pub claim: Option<ListedClaim>,
    /// Whether it had to take something back.
    pub withdrawn: bool,
    /// Whether it was cut off and gone on with.
    pub resumed: bool,
    /// US dollars for models; `None` where none was asked.
    pub dollars: Option<f64>,
}

/// A morning's claim in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedClaim {
    /// Champion less start.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Whether it holds, and nothing was taken back.
    pub holds: bool,
}

/// A change that a night of a campaign kept and that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptChange {
    /// The night.
    pub night: NightId,
    /// The experiment.
    pub number: u32,
    /// What it changed.
    pub title: String,
    /// The measured difference from the champion before it.
    pub difference: Option<f64>,
    /// The last word of the person's.
    pub choice: Option<ReviewChoice>,
}

/// The number of the process in an effect's key: `<process>.<count>/<what>`.
fn part(key: Option<&str>) -> Option<&str> {
    key?.split_once('.').map(|(part, _)| part)
}

impl Reader {
    /// All nights, or those of a campaign, the oldest first.
    pub async fn listed_nights(&self, campaign: Option<&str>) -> Result<Vec<ListedNight>> {
        let rows = sqlx::query!(
            r#"SELECT n.id, n.campaign, n.started_at, n.ended_at, n.ending,
                      (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0 AND e.proposer <> ?2) AS "tried!: u32",
                      (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0 AND e.proposer <> ?2
                          AND e.verdict = 'kept' AND (w.experiment IS NULL OR e.number < w.experiment)) AS "kept!: u32",
                      (SELECT count(*) FROM experiments e WHERE e.night = n.id AND e.number > 0 AND e.proposer <> ?2
                          AND e.verdict = 'kept' AND e.commit_id IS NOT NULL AND (w.experiment IS NULL OR e.number < w.experiment)
                          AND coalesce((SELECT r.choice FROM reviews r WHERE r.night = e.night AND r.number = e.number
                              ORDER BY r.ordinal DESC LIMIT 1), 'deferred') = 'deferred') AS "waiting!: u32",
                      (SELECT avg(m.val_bpb) FROM measured_runs m WHERE m.night = n.id AND m.number = 0) AS "start?: f64",
                      (SELECT CASE WHEN count(*) = count(e.difference) THEN coalesce(sum(e.difference), 0.0) END
                          FROM champion_moves m JOIN experiments e ON e.night = m.night AND e.number = m.experiment
                          WHERE m.night = n.id AND m.experiment > 0 AND (w.experiment IS NULL OR m.experiment < w.experiment))
                          AS "change?: f64",
                      (SELECT sum(x.dollars) FROM exchanges x WHERE x.night = n.id AND x.kind = 'model') AS "dollars?: f64",
                      c.night IS NOT NULL AS "claimed!: bool", c.difference AS "claim?: f64", c.interval_low AS "low?: f64",
                      c.interval_high AS "high?: f64", coalesce(c.holds, 0) AS "holds!: bool",
                      w.night IS NOT NULL AS "withdrawn!: bool",
                      -- Keys of effects begin with the number of the process that journalled them: two, and the night was gone on with.
                      (SELECT min(x.key) FROM effects x WHERE x.night = n.id AND x.key >= '0' AND x.key < ':') AS "first_key?: String",
                      (SELECT max(x.key) FROM effects x WHERE x.night = n.id AND x.key >= '0' AND x.key < ':') AS "last_key?: String"
               FROM nights n LEFT JOIN claims c ON c.night = n.id LEFT JOIN withdrawals w ON w.night = n.id
               WHERE ?1 IS NULL OR n.campaign = ?1
               ORDER BY n.started_at, n.id"#,
            campaign,
            LEAVE_ONE_OUT
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("list nights"))?;
        let decoded = rows.into_iter().map(|row| {
            let decoder = Decoder::new(&self.context, format!("night {}", row.id));
            let ended: Option<Timestamp> = decoder.optional_word("ended_at", row.ended_at.as_ref())?;
            let ending: Option<NightEnding> = decoder.optional_word("ending", row.ending.as_ref())?;
            Ok(ListedNight {
                night: decoder.word("id", &row.id)?,
                campaign: row.campaign,
                started_at: decoder.word("started_at", &row.started_at)?,
                end: ended.zip(ending),
                tried: row.tried,
                kept: row.kept,
                waiting: row.waiting,
                start: row.start,
                change: row.change,
                claim: row.claimed.then(|| ListedClaim {
                    difference: row.claim,
                    interval: pair(row.low, row.high),
                    holds: row.holds && !row.withdrawn,
                }),
                withdrawn: row.withdrawn,
                resumed: part(row.first_key.as_deref()) != part(row.last_key.as_deref()),
                dollars: row.dollars,
            })
        });
        decoded.collect()
    }

    /// Every change that became a champion in a campaign's nights and stands, in order.
    pub async fn kept_changes(&self, campaign: &str) -> Result<Vec<KeptChange>> {
        let rows = sqlx::query!(
            r#"SELECT m.night, m.experiment, e.title, e.difference,
                      (SELECT r.choice FROM reviews r WHERE r.night = m.night AND r.number = m.experiment
                          ORDER BY r.ordinal DESC LIMIT 1) AS "choice?: String"
               FROM nights n JOIN champion_moves m ON m.night = n.id
                    JOIN experiments e ON e.night = m.night AND e.number = m.experiment LEFT JOIN withdrawals w ON w.night = m.night
               WHERE n.campaign = ?1 AND m.experiment > 0 AND (w.experiment IS NULL OR m.experiment < w.experiment)
               ORDER BY n.started_at, n.id, m.ordinal"#,
            campaign
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read what a campaign kept"))?;
        let decoded = rows.into_iter().map(|row| {
            let decoder = Decoder::new(&self.context, format!("champion {}/{}", row.night, row.experiment));
            Ok(KeptChange {
                night: decoder.word("night", &row.night)?,
                number: decoder.count("experiment", row.experiment)?,
                title: row.title,
                difference: row.difference,
                choice: decoder.optional_word("choice", row.choice.as_ref())?,
            })
        });
        decoded.collect()
    }

    /// Mean over the trials of a night's start on the search text, of the newest era that it has any of.
    pub async fn start_level(&self, night: &NightId) -> Result<Option<f64>> {
        let of = night.as_str();
        sqlx::query_scalar!(
            r#"SELECT avg(val_bpb) AS "level?: f64" FROM measured_runs WHERE night = ?1 AND number = 0"#,
            of
        )
        .fetch_one(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read the level of a night's start"))
    }
}
