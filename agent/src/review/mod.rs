//! What a person makes of a night's experiments: accepts, rejects with a reason, defers; and the clean branches that come of what is
//! accepted, on the person's own base.
//!
//! Nothing here merges into a branch of the person's, moves one or deletes one: branches are added under
//! `nocturne/<campaign>/<night>/accepted/`, and merging them is the person's.

mod found;
mod plan;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::campaign::CampaignName;
use crate::flow::{BadName, CommitId, ExperimentId, Verdict};
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{ExperimentRecord, ReviewChoice, ReviewRecord};
use crate::repo::{Repo, RepoError, accepted_message, slug};
use crate::report::{NightRecords, ReportError};
use crate::store::StoreError;

pub use found::left_out;
pub use plan::{Accepted, Arrangement, Blocked, Clash, Plan, Planned, plan};
pub use record::{Choice, named_choices, record};

/// Characters of a reason.
pub const MOST_REASON: usize = 2_000;

/// Why a choice cannot be taken, or no branches be made.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such experiment.
    #[error("there is no experiment {0}; `nocturne list {night}` shows those that there are, and `nocturne list` the nights", night = .0.night)]
    NoSuchExperiment(ExperimentId),
    /// It is not a change that could be wanted.
    #[error("experiment {id} cannot be accepted: {why}")]
    NotAcceptable {
        /// Which.
        id: ExperimentId,
        /// Why not.
        why: String,
    },
    /// A rejection says nothing.
    #[error(
        "a rejection needs a reason: it goes into the briefs of later nights, so that nobody proposes the same again"
    )]
    NoReason,
    /// More than a reason.
    #[error("the reason has {0} characters, at most {MOST_REASON} are taken; say it shorter")]
    TooLong(
        /// How many it has.
        usize,
    ),
    /// The repository cannot be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The night's campaign has a name that no branch can have.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A choice names no experiment.
    #[error(transparent)]
    BadDocument(BadName),
    /// The night cannot be read.
    #[error(transparent)]
    Report(Box<ReportError>),
    /// The choices cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that a choice can be taken of an experiment of this night, and returns the reason as it is recorded.
///
/// # Errors
/// See [`ReviewError`].
pub fn check(
    records: &NightRecords,
    id: &ExperimentId,
    choice: ReviewChoice,
    reason: &str,
) -> Result<String, ReviewError> {
    let unknown = || ReviewError::NoSuchExperiment(id.clone());
    let experiment = records.experiments.iter().find(|it| it.id == *id && it.id.number > 0).ok_or_else(unknown)?;
    let reason = reason.trim();
    if choice == ReviewChoice::Accepted
        && let Some(why) = why_not(records, experiment)
    {
        return Err(ReviewError::NotAcceptable { id: id.clone(), why });
    }
    if choice == ReviewChoice::Rejected && reason.is_empty() {
        return Err(ReviewError::NoReason);
    }
    let length = reason.chars().count();
    if length > MOST_REASON {
        return Err(ReviewError::TooLong(length));
    }
    Ok(reason.to_owned())
}

/// Why an experiment is nothing that a person could want merged; `None` where it is.
pub fn why_not(records: &NightRecords, experiment: &ExperimentRecord) -> Option<String> {
    if experiment.proposal.author.proposer == LEAVE_ONE_OUT {
        return Some("it only takes a kept change out again, to measure that".to_owned());
    }
    if experiment.candidate.is_none() {
        return Some("it never became a commit".to_owned());
    }
    if !records.stands(experiment.id.number) {
        return Some("its verdict was taken back".to_owned());
    }
    match experiment.decision.as_ref().map(|decision| decision.verdict) {
        None => Some("it has no verdict yet".to_owned()),
        Some(Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive) => None,
        Some(verdict) => Some(format!("its verdict is {verdict}")),
    }
}

/// What stands on record of each experiment, by number: the last word.
pub fn latest(reviews: &[ReviewRecord]) -> BTreeMap<u32, &ReviewRecord> {
    reviews.iter().map(|review| (review.experiment.number, review)).collect()
}

/// The experiments of a night that a person is to decide on, most valuable first: kept ones that stand and have not been accepted or
/// rejected. Value is what is expected of the change when it is measured again.
pub fn waiting<'a>(records: &'a NightRecords, reviews: &[ReviewRecord]) -> Vec<&'a ExperimentRecord> {
    let latest = latest(reviews);
    let open = |number: u32| latest.get(&number).is_none_or(|review| review.choice == ReviewChoice::Deferred);
    let mut waiting: Vec<&ExperimentRecord> = records
        .experiments
        .iter()
        .filter(|it| it.id.number > 0 && open(it.id.number) && why_not(records, it).is_none())
        .filter(|it| it.decision.as_ref().is_some_and(|decision| decision.verdict == Verdict::Kept))
        .collect();
    let worth = |it: &ExperimentRecord| {
        let decision = it.decision.as_ref();
        let evidence = decision.and_then(|decision| decision.evidence.as_deref());
        let expected = evidence.map(|evidence| evidence.expected);
        expected.or(decision.and_then(|decision| decision.difference)).unwrap_or(0.0)
    };
    // What was put off comes after what nobody has looked at.
    let deferred = |it: &ExperimentRecord| latest.contains_key(&it.id.number);
    waiting.sort_by(|a, b| {
        let order = (deferred(a), worth(a)).partial_cmp(&(deferred(b), worth(b)));
        order.unwrap_or(std::cmp::Ordering::Equal).then(a.id.number.cmp(&b.id.number))
    });
    waiting
}

/// What was accepted and cannot be taken any more: its number, and why.
pub fn fallen(records: &NightRecords, reviews: &[ReviewRecord]) -> Vec<(u32, String)> {
    let latest = latest(reviews);
    let accepted = records
        .experiments
        .iter()
        .filter(|it| latest.get(&it.id.number).is_some_and(|review| review.choice == ReviewChoice::Accepted));
    accepted.filter_map(|it| Some((it.id.number, why_not(records, it)?))).collect()
}

/// The accepted changes of a night as clean commits are made of them.
pub fn accepted(records: &NightRecords, reviews: &[ReviewRecord]) -> Vec<Accepted> {
    let latest = latest(reviews);
    let mut accepted = Vec::new();
    for experiment in &records.experiments {
        let number = experiment.id.number;
        let Some(review) = latest.get(&number).filter(|review| review.choice == ReviewChoice::Accepted) else {
            continue;
        };
        let (Some(candidate), None) = (&experiment.candidate, why_not(records, experiment)) else { continue };
        let measured = experiment.decision.as_ref().and_then(|decision| decision.difference);
        let found = found::paragraphs(records, experiment, review);
        let message = accepted_message(&experiment.id, &experiment.proposal, &found, measured, &candidate.commit);
        accepted.push(Accepted {
            number,
            commit: candidate.commit.clone(),
            name: format!("{number:03}-{}", slug(&experiment.proposal.title)),
            message,
            when: review.at,
            stood_on: stood_on(records, experiment),
        });
    }
    accepted
}

/// The kept experiments that an experiment's champion stood on, oldest first.
fn stood_on(records: &NightRecords, experiment: &ExperimentRecord) -> Vec<u32> {
    let of = |commit: &CommitId| {
        records
            .experiments
            .iter()
            .find(|it| it.id.number > 0 && it.candidate.as_ref().is_some_and(|candidate| candidate.commit == *commit))
    };
    let mut below = Vec::new();
    let mut at = of(&experiment.champion);
    while let Some(champion) = at {
        // A champion is older than what stands on it; records that say otherwise end the walk.
        if below.last().is_some_and(|last| *last <= champion.id.number) {
            break;
        }
        below.push(champion.id.number);
        at = of(&champion.champion);
    }
    below.reverse();
    below
}

/// A branch that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its whole name.
    pub branch: String,
    /// Its changes in the order of their commits.
    pub experiments: Vec<u32>,
    /// Its last commit.
    pub commit: CommitId,
}

/// Makes the branches of a plan. Made again, nothing changes.
///
/// # Errors
/// Git refuses; the branches made before stay.
pub fn branches(repo: &Repo, records: &NightRecords, plan: &Plan) -> Result<Vec<Made>, ReviewError> {
    let campaign: CampaignName = records.night.campaign.parse()?;
    let mut made = Vec::new();
    for planned in &plan.branches {
        let (branch, commit) = repo.create_accepted(&campaign, &records.night.id, &planned.name, &planned.commit)?;
        made.push(Made { branch, experiments: planned.experiments.clone(), commit });
    }
    Ok(made)
}
