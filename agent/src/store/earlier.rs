//! What earlier nights can tell a night: reading SQL on their runs and settled experiments.

use std::collections::BTreeMap;

use protocol::{Budget, Scale};
use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::rows::{Decoder, to_signed};
use super::select;
use crate::campaign::{Campaign, Data, ProposerName};
use crate::flow::{Evidence, ExperimentId, NightId};
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{COMPARABLE_FACTS, EarlierEstimate, EarlierRun, NightRecord, WithdrawalRecord};
use crate::verify::EVALUATOR;

type Result<T> = std::result::Result<T, StoreError>;

/// Proposers whose experiments tell nothing of what a fresh idea usually does: a change taken back and none at all measure something, and
/// what is tried again was picked for having been a near miss.
const NOT_FRESH: [&str; 3] = [LEAVE_ONE_OUT, ProposerName::Identical.name(), ProposerName::Combine.name()];

/// What a campaign says that changes figures, the budget aside: scale, data, threads.
type Terms = (Scale, Data, usize);

fn terms(night: &NightRecord) -> Option<Terms> {
    let name = night.campaign.parse().ok()?;
    let campaign = Campaign::parse_recorded(name, &night.campaign_text, "", "campaign.toml").ok()?;
    Some((campaign.scale, campaign.data, campaign.machine.threads))
}

/// Whether two nights' campaigns ask for the same. One that this version cannot read agrees with its very text only.
fn same_terms(one: &NightRecord, other: &NightRecord) -> bool {
    one.campaign_text == other.campaign_text || terms(one).is_some_and(|found| terms(other) == Some(found))
}

/// What a night asks of earlier ones: of the same campaign, asked for on the same terms, on the same kind of machine, under the same
/// budget.
pub(super) struct Asked<'a> {
    context: &'a Context,
    night: &'a NightId,
    /// The budget's two columns.
    seconds: Option<f64>,
    tokens: Option<i64>,
    /// The nights that compare, the oldest first, with what each had to take back.
    others: Vec<(NightRecord, Option<WithdrawalRecord>)>,
}

impl<'a> Asked<'a> {
    /// Finds the nights that compare with `night`, which began before it.
    pub(super) async fn by(
        connection: &mut SqliteConnection,
        context: &'a Context,
        night: &'a NightId,
        budget: Budget,
    ) -> Result<Self> {
        let this = select::nights(connection, context, None, Some(night))
            .await?
            .pop()
            .ok_or_else(|| context.unknown(format!("night {night}")))?;
        let mut others = select::nights(connection, context, Some(&this.campaign), None).await?;
        let same = |machine: &BTreeMap<String, String>| {
            COMPARABLE_FACTS.iter().all(|fact| machine.get(*fact) == this.machine.get(*fact))
        };
        others.retain(|other| other.id != this.id && other.started_at < this.started_at && same(&other.machine));
        others.retain(|other| same_terms(&this, other));
        let mut with_withdrawals = Vec::with_capacity(others.len());
        for other in others {
            let withdrawal = select::withdrawal(&mut *connection, context, &other.id).await?;
            with_withdrawals.push((other, withdrawal));
        }
        let (seconds, tokens) = match budget {
            Budget::Seconds(seconds) => (Some(seconds), None),
            Budget::Tokens(tokens) => (None, Some(to_signed(tokens))),
        };
        Ok(Self { context, night, seconds, tokens, others: with_withdrawals })
    }
}

/// Whether an experiment of a night may teach others: not where it broke a rule, or was compared with what did.
fn is_trusted(withdrawal: Option<&WithdrawalRecord>, number: u32) -> bool {
    withdrawal.is_none_or(|withdrawal| withdrawal.trusts(number))
}

/// Verified runs on the search text, of what the nights have not taken back.
pub(super) async fn runs(connection: &mut SqliteConnection, asked: &Asked<'_>) -> Result<Vec<EarlierRun>> {
    let Asked { context, night, seconds, tokens, others } = asked;
    let this = night.as_str();
    let mut runs = Vec::new();
    for (other, withdrawal) in others {
        let id = other.id.as_str();
        let rows = sqlx::query!(
            r#"SELECT number, ordinal, era, seed, val_bpb AS "val_bpb!: f64" FROM trials
               WHERE night = ?1 AND purpose = 'search' AND evaluation = 'verified'
                     AND budget_seconds IS ?2 AND budget_tokens IS ?3
                     AND evaluator = coalesce((SELECT max(o.evaluator) FROM trials o WHERE o.night = ?4), ?5)
               ORDER BY number, ordinal"#,
            id,
            seconds,
            tokens,
            this,
            EVALUATOR
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(context.sql("read the runs of earlier nights"))?;
        for row in rows {
            let decoder = Decoder::new(context, format!("trial {} of experiment {id}/{}", row.ordinal, row.number));
            let number = decoder.count("number", row.number)?;
            if !is_trusted(withdrawal.as_ref(), number) {
                continue;
            }
            let seed: u64 = decoder.word("seed", &row.seed)?;
            let place = other.seeds.iter().position(|listed| *listed == seed);
            let place = decoder.present("its place in the night's list of seeds", place)?;
            runs.push(EarlierRun {
                night: other.id.clone(),
                number,
                era: decoder.count("era", row.era)?,
                seed: u32::try_from(place).map_err(|problem| decoder.bad("seed", problem))?,
                val_bpb: row.val_bpb,
            });
        }
    }
    Ok(runs)
}

/// Differences that a rule weighed, or foresaw where it stopped an experiment before any trial had finished, of fresh ideas that the
/// nights have not taken back. What was foreseen was so by figures of the night's evaluator: of another one's it counts no more than those.
pub(super) async fn estimates(connection: &mut SqliteConnection, asked: &Asked<'_>) -> Result<Vec<EarlierEstimate>> {
    let Asked { context, night, seconds, tokens, others } = asked;
    let this = night.as_str();
    let mut estimates = Vec::new();
    for (other, withdrawal) in others {
        let id = other.id.as_str();
        let rows = sqlx::query!(
            r#"SELECT number, proposer, family, difference, evidence_json AS "evidence_json!: String"
               FROM experiments e
               WHERE night = ?1 AND number > 0 AND evidence_json IS NOT NULL
                     AND EXISTS (SELECT 1 FROM trials t WHERE t.night = e.night AND t.number = e.number
                                 AND t.budget_seconds IS ?2 AND t.budget_tokens IS ?3)
                     AND EXISTS (SELECT 1 FROM trials t WHERE t.night = e.night
                                 AND (t.number = e.number OR e.difference IS NULL) AND t.evaluation = 'verified'
                                 AND t.budget_seconds IS ?2 AND t.budget_tokens IS ?3 AND t.evaluator
                                     = coalesce((SELECT max(o.evaluator) FROM trials o WHERE o.night = ?4), ?5))
               ORDER BY number"#,
            id,
            seconds,
            tokens,
            this,
            EVALUATOR
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(context.sql("read the settled experiments of earlier nights"))?;
        for row in rows.into_iter().filter(|row| !NOT_FRESH.contains(&row.proposer.as_str())) {
            let decoder = Decoder::new(context, format!("experiment {id}/{}", row.number));
            let number = decoder.count("number", row.number)?;
            if !is_trusted(withdrawal.as_ref(), number) {
                continue;
            }
            let evidence: Evidence = decoder.json("evidence_json", &row.evidence_json)?;
            let Some(difference) = row.difference.or(evidence.harm_foreseen()) else { continue };
            estimates.push(EarlierEstimate {
                id: ExperimentId { night: other.id.clone(), number },
                proposer: row.proposer,
                family: row.family,
                difference,
                standard_error: evidence.standard_error,
            });
        }
    }
    Ok(estimates)
}
