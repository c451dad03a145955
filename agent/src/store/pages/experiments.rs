//! The experiments of a night, as a table and as a tree.

use std::collections::HashMap;

use serde_json::json;

use super::{Result, pair};
use crate::flow::{CommitId, NightId, Verdict};
use crate::records::ReviewChoice;
use crate::store::reader::Reader;
use crate::store::rows::Decoder;

/// Which experiments of a night are listed, in which order. The night's start is never among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery<'a> {
    /// A verdict, `taken-back` for what was kept and does not stand, or `open` for what is not decided.
    pub outcome: Option<&'a str>,
    /// Whose.
    pub proposer: Option<&'a str>,
    /// Of which family.
    pub family: Option<&'a str>,
    /// With this text in title, hypothesis, key or reason, in whatever case of ASCII.
    pub text: Option<&'a str>,
    /// `number`, `effect`, `value`, `metric` or `time`; what has none of it comes last.
    pub sort: &'a str,
    /// Turned round.
    pub descending: bool,
    /// Rows to pass over.
    pub skip: u32,
    /// Rows at most.
    pub most: u32,
}

/// Some experiments of a night, and how many there are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listed {
    /// In the order that was asked for.
    pub rows: Vec<ListedExperiment>,
    /// How many fit the question.
    pub matching: u32,
    /// How many of the whole night have which outcome, proposer and family.
    pub counts: Vec<(Listing, u32)>,
}

/// What experiments are filtered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `None` for what is not decided.
    pub verdict: Option<Verdict>,
    /// Whether it stands.
    pub stands: bool,
    /// Who proposed it.
    pub proposer: String,
    /// Its family.
    pub family: String,
}

/// An experiment in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedExperiment {
    /// Counted from 1 in the night.
    pub number: u32,
    /// What was changed.
    pub title: String,
    /// What it is filtered by.
    pub listing: Listing,
    /// The measured difference from its champion, bits per byte.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// What is expected of it when it is measured again; nothing of a forecast, nor of what does not stand.
    pub expected: Option<f64>,
    /// What was predicted.
    pub predicted: Option<f64>,
    /// Mean over its verified trials on the search text, of the newest era that it has any of.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub runs: u32,
    /// Seconds of training, all trials together.
    pub seconds: Option<f64>,
    /// Lines added and removed.
    pub lines: Option<(u32, u32)>,
    /// The last word of the person's.
    pub choice: Option<ReviewChoice>,
}

/// An experiment in the tree of a night.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeExperiment {
    /// Counted from 1 in the night.
    pub number: u32,
    /// What was changed.
    pub title: String,
    /// Verdict, proposer, family.
    pub listing: Listing,
    /// The measured difference from its champion.
    pub difference: Option<f64>,
    /// Its champion's commit.
    pub champion: CommitId,
    /// Its own commit.
    pub commit: Option<CommitId>,
    /// The last word of the person's.
    pub choice: Option<ReviewChoice>,
}

/// What an experiment is listed by; `fallen`: its verdict was taken back.
fn listing(
    decoder: &Decoder<'_>,
    verdict: Option<&String>,
    fallen: bool,
    proposer: String,
    family: String,
) -> Result<Listing> {
    Ok(Listing { verdict: decoder.optional_word("verdict", verdict)?, stands: !fallen, proposer, family })
}

impl Reader {
    /// A page of a night's experiments.
    pub async fn listed(&self, night: &NightId, query: &ListQuery<'_>) -> Result<Listed> {
        let mut snapshot = self.snapshot().await?;
        let doing = self.context.sql("list experiments");
        let of = night.as_str();
        let text = query.text.map(str::to_ascii_lowercase);
        // First which ones: their rows are read for a page alone.
        let numbers: Vec<u32> = sqlx::query_scalar!(
            r#"SELECT e.number AS "number!: u32"
               FROM experiments e LEFT JOIN withdrawals w ON w.night = e.night
               WHERE e.night = ?1 AND e.number > 0
                 AND (?2 IS NULL OR ?2 = CASE WHEN e.verdict IS NULL THEN 'open'
                      WHEN e.verdict = 'kept' AND e.number >= w.experiment THEN 'taken-back' ELSE e.verdict END)
                 AND (?3 IS NULL OR e.proposer = ?3)
                 AND (?4 IS NULL OR e.family = ?4)
                 AND (?5 IS NULL OR instr(lower(e.title), ?5) OR instr(lower(e.hypothesis), ?5) OR instr(lower(e.key), ?5)
                      OR instr(lower(coalesce(e.reason, '')), ?5))
               ORDER BY
                 CASE ?6 WHEN 'effect' THEN e.difference IS NULL
                         WHEN 'value' THEN json_extract(e.evidence_json, '$.expected') IS NULL
                              OR json_extract(e.evidence_json, '$.forecast') IS NOT NULL OR coalesce(e.number >= w.experiment, 0)
                         WHEN 'metric' THEN NOT EXISTS (SELECT 1 FROM measured_runs m WHERE m.night = e.night AND m.number = e.number)
                         WHEN 'time' THEN NOT EXISTS (SELECT 1 FROM trials t WHERE t.night = e.night AND t.number = e.number
                              AND t.training_seconds IS NOT NULL)
                         ELSE 0 END,
                 CASE WHEN ?7 THEN -1.0 ELSE 1.0 END *
                 CASE ?6 WHEN 'effect' THEN e.difference
                         WHEN 'value' THEN CASE WHEN json_extract(e.evidence_json, '$.forecast') IS NULL
                              AND NOT coalesce(e.number >= w.experiment, 0) THEN json_extract(e.evidence_json, '$.expected') END
                         WHEN 'metric' THEN (SELECT avg(m.val_bpb) FROM measured_runs m WHERE m.night = e.night AND m.number = e.number)
                         WHEN 'time' THEN (SELECT sum(t.training_seconds) FROM trials t WHERE t.night = e.night AND t.number = e.number)
                         ELSE e.number END,
                 e.number"#,
            of,
            query.outcome,
            query.proposer,
            query.family,
            text,
            query.sort,
            query.descending
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(&doing)?;
        let matching = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let page: Vec<u32> = numbers.into_iter().skip(query.skip as usize).take(query.most as usize).collect();
        let wanted = json!(page).to_string();
        let rows = sqlx::query!(
            r#"SELECT e.number, e.title, e.verdict, e.proposer, e.family, e.difference, e.interval_low, e.interval_high, e.predicted_effect,
                      e.lines_added, e.lines_removed,
                      coalesce(e.number >= w.experiment, 0) AS "fallen!: bool",
                      CASE WHEN json_extract(e.evidence_json, '$.forecast') IS NULL
                           THEN json_extract(e.evidence_json, '$.expected') END AS "expected?: f64",
                      (SELECT avg(m.val_bpb) FROM measured_runs m WHERE m.night = e.night AND m.number = e.number) AS "val_bpb?: f64",
                      (SELECT count(*) FROM measured_runs m WHERE m.night = e.night AND m.number = e.number) AS "runs!: u32",
                      (SELECT sum(t.training_seconds) FROM trials t WHERE t.night = e.night AND t.number = e.number)
                          AS "seconds?: f64",
                      (SELECT r.choice FROM reviews r WHERE r.night = e.night AND r.number = e.number
                          ORDER BY r.ordinal DESC LIMIT 1) AS "choice?: String"
               FROM experiments e LEFT JOIN withdrawals w ON w.night = e.night
               WHERE e.night = ?1 AND e.number IN (SELECT value FROM json_each(?2))"#,
            of,
            wanted
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(&doing)?;
        let mut listed = HashMap::new();
        for row in rows {
            let decoder = Decoder::new(&self.context, format!("experiment {night}/{}", row.number));
            let number = decoder.count("number", row.number)?;
            let lines = match row.lines_added.zip(row.lines_removed) {
                Some((added, removed)) => {
                    Some((decoder.count("lines_added", added)?, decoder.count("lines_removed", removed)?))
                }
                None => None,
            };
            let found = ListedExperiment {
                number,
                title: row.title,
                listing: listing(&decoder, row.verdict.as_ref(), row.fallen, row.proposer, row.family)?,
                difference: row.difference,
                interval: pair(row.interval_low, row.interval_high),
                expected: row.expected.filter(|_| !row.fallen),
                predicted: row.predicted_effect,
                val_bpb: row.val_bpb,
                runs: row.runs,
                seconds: row.seconds,
                lines,
                choice: decoder.optional_word("choice", row.choice.as_ref())?,
            };
            listed.insert(number, found);
        }
        let counts = sqlx::query!(
            r#"SELECT e.verdict, coalesce(e.number >= w.experiment, 0) AS "fallen!: bool", e.proposer, e.family, count(*) AS "count!: u32"
               FROM experiments e LEFT JOIN withdrawals w ON w.night = e.night
               WHERE e.night = ?1 AND e.number > 0 GROUP BY 1, 2, 3, 4"#,
            of
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(&doing)?;
        let counts = counts.into_iter().map(|row| {
            let decoder = Decoder::new(&self.context, format!("the experiments of night {night}"));
            Ok((listing(&decoder, row.verdict.as_ref(), row.fallen, row.proposer, row.family)?, row.count))
        });
        Ok(Listed {
            rows: page.into_iter().filter_map(|number| listed.remove(&number)).collect(),
            matching,
            counts: counts.collect::<Result<_>>()?,
        })
    }

    /// All experiments of a night as a tree needs them, by number; the night's start is not among them.
    pub async fn tree(&self, night: &NightId) -> Result<Vec<TreeExperiment>> {
        let of = night.as_str();
        let rows = sqlx::query!(
            r#"SELECT e.number, e.title, e.verdict, e.proposer, e.family, e.difference, e.champion_commit, e.commit_id,
                      coalesce(e.number >= w.experiment, 0) AS "fallen!: bool",
                      (SELECT r.choice FROM reviews r WHERE r.night = e.night AND r.number = e.number
                          ORDER BY r.ordinal DESC LIMIT 1) AS "choice?: String"
               FROM experiments e LEFT JOIN withdrawals w ON w.night = e.night
               WHERE e.night = ?1 AND e.number > 0 ORDER BY e.number"#,
            of
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read the tree of experiments"))?;
        let decoded = rows.into_iter().map(|row| {
            let decoder = Decoder::new(&self.context, format!("experiment {night}/{}", row.number));
            Ok(TreeExperiment {
                number: decoder.count("number", row.number)?,
                title: row.title,
                listing: listing(&decoder, row.verdict.as_ref(), row.fallen, row.proposer, row.family)?,
                difference: row.difference,
                champion: decoder.word("champion_commit", &row.champion_commit)?,
                commit: decoder.optional_word("commit_id", row.commit_id.as_ref())?,
                choice: decoder.optional_word("choice", row.choice.as_ref())?,
            })
        });
        decoded.collect()
    }

    /// The numbers before and after an experiment's in its night, where there are any.
    pub async fn neighbours(&self, night: &NightId, number: u32) -> Result<(Option<u32>, Option<u32>)> {
        let of = night.as_str();
        let row = sqlx::query!(
            r#"SELECT (SELECT max(e.number) FROM experiments e WHERE e.night = ?1 AND e.number < ?2) AS "before?: u32",
                      (SELECT min(e.number) FROM experiments e WHERE e.night = ?1 AND e.number > ?2) AS "after?: u32""#,
            of,
            number
        )
        .fetch_one(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("find neighbouring experiments"))?;
        Ok((row.before, row.after))
    }
}
