//! Writing down who is tested, before it is: row, attempts, branch.

use std::sync::Arc;

use super::context::Context;
use super::messages::{Attempt, Launch, Refusal, Setback};
use super::perform::{Fault, blocking, fault, now};
use crate::flow::{CommitId, ExperimentId, Proposal};
use crate::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ExperimentRecord, ExperimentState,
    baseline_proposal,
};
use crate::repo;

/// Writes down who is about to be tested: all of its row at once, then its branch. A row without its branch is mended when the night is
/// resumed.
pub(super) async fn enlist(context: &Arc<Context>, launch: &Launch) -> Result<(), Fault> {
    let id = context.id(launch.number);
    let recording = fault("cannot record the experiment");
    let known = context.store.experiment(&id).await.map_err(|error| recording(&error))?;
    let artifact =
        ArtifactRecord { sha256: launch.artifact.sha256.clone(), build_seconds: launch.artifact.build_seconds };
    match known {
        None => {
            let experiment = row(context, id, launch, artifact);
            context.store.enlist(&experiment).await.map_err(|error| recording(&error))?;
        }
        // A resumed experiment, or the night's start once more.
        Some(known) => {
            if known.candidate.is_none() {
                let candidate = row(context, id.clone(), launch, artifact.clone()).candidate;
                let Some(candidate) = candidate else { return Err(format!("experiment {id} has no commit")) };
                context.store.record_candidate(&id, &candidate).await.map_err(|error| recording(&error))?;
            }
            if known.artifact.is_none() {
                context.store.record_artifact(&id, &artifact).await.map_err(|error| recording(&error))?;
            }
        }
    }
    if launch.number > 0 {
        let title = launch.proposal.as_ref().map_or("", |proposal| proposal.title.as_str());
        create_branch(context, launch.number, title, launch.candidate.commit.clone()).await?;
    }
    Ok(())
}

fn row(context: &Context, id: ExperimentId, launch: &Launch, artifact: ArtifactRecord) -> ExperimentRecord {
    let commit = &launch.candidate.commit;
    let (digest, lines_added, lines_removed) = match context.patch(commit) {
        Some(facts) => (facts.digest, facts.lines_added, facts.lines_removed),
        // The night's start.
        None => (commit.as_str().to_owned(), 0, 0),
    };
    let proposal = launch.proposal.clone().unwrap_or_else(baseline_proposal);
    let branch = branch_name(context, launch.number, &proposal);
    let parent = launch.candidate.parent.clone();
    ExperimentRecord {
        id,
        patch_digest: digest,
        champion: parent.clone(),
        state: ExperimentState::Built,
        candidate: Some(CandidateRecord { commit: commit.clone(), parent, branch, lines_added, lines_removed }),
        attempts: attempts(context, &launch.attempts, artifact.build_seconds),
        artifact: Some(artifact),
        decision: None,
        proposed_at: now(),
        decided_at: None,
        proposal,
    }
}

/// The branch of an experiment; the night's start has the champion's.
pub(super) fn branch_name(context: &Context, number: u32, proposal: &Proposal) -> String {
    let campaign = &context.campaign.name;
    if number == 0 {
        repo::champion_name(campaign, &context.night.id)
    } else {
        repo::branch_name(campaign, &context.id(number), &repo::slug(&proposal.title))
    }
}

/// Creates an experiment's branch; one that is there already at this commit is fine.
pub(super) async fn create_branch(
    context: &Arc<Context>,
    number: u32,
    title: &str,
    commit: CommitId,
) -> Result<(), Fault> {
    let (context, slug) = (Arc::clone(context), repo::slug(title));
    blocking("creating the branch", move || {
        context
            .repo()
            .and_then(|repo| repo.create_branch(&context.id(number), &context.campaign.name, &slug, &commit))
            .map_err(|error| fault("cannot create the branch")(&error))
            .map(drop)
    })
    .await
}

/// Writes down what happened on the way to an experiment that had no trial.
pub(super) async fn record_attempts(
    context: &Arc<Context>,
    id: &ExperimentId,
    made: &[Attempt],
    build_seconds: f64,
) -> Result<(), Fault> {
    for record in attempts(context, made, build_seconds) {
        context.store.record_attempt(id, &record).await.map_err(|error| fault("cannot record the attempts")(&error))?;
    }
    Ok(())
}

/// `build_seconds` is the time of the build that succeeded.
fn attempts(context: &Context, made: &[Attempt], build_seconds: f64) -> Vec<AttemptRecord> {
    let record = |(ordinal, attempt): (u32, &Attempt)| {
        let (kind, outcome, evidence, seconds) = match &attempt.setback {
            None => (AttemptKind::Build, AttemptOutcome::Succeeded, String::new(), build_seconds),
            Some(Setback::Refused(Refusal::DoesNotApply(why) | Refusal::Policy(why) | Refusal::Duplicate(why))) => {
                (AttemptKind::Edit, AttemptOutcome::Failed, why.clone(), 0.0)
            }
            Some(Setback::Build(failure)) => {
                (AttemptKind::Build, AttemptOutcome::Failed, failure.errors.join("\n"), failure.build_seconds)
            }
        };
        let commit = attempt.candidate.as_ref().map(|candidate| candidate.commit.clone());
        AttemptRecord {
            ordinal,
            kind,
            edits: attempt.proposal.edits.clone(),
            patch_digest: commit.as_ref().and_then(|commit| context.patch(commit)).map(|facts| facts.digest),
            commit,
            outcome,
            evidence,
            seconds,
            at: now(),
        }
    };
    (1..).zip(made).map(record).collect()
}
