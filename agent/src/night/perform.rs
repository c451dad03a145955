//! Performing effects: each function does what one [`Effect`](super::Effect) asks for and answers with the event it calls
//! for. What goes wrong with the machine becomes [`Event::Fault`]; what goes wrong with an experiment is an answer.

use std::sync::{Arc, PoisonError};

use protocol::Budget;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::context::{Context, PatchFacts};
use super::messages::{Attempt, Event, Launch, Refusal, Setback, Settled};
use crate::build::{BuildError, Order};
use crate::edit::{CheckedPatch, Class};
use crate::flow::{Brief, Candidate, CommitId, Decision, ExperimentId, Proposal, Trained, TrialEnd, Verdict};
use crate::propose::{Failure, Skipped};
use crate::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, Level, baseline_proposal,
};
use crate::repo;
use crate::run::trial::TrialProgress;
use crate::run::{StopSignal, train};

/// Niceness of builds, so that the trial that runs beside them keeps the processor.
const BUILD_NICE: i32 = 15;

/// Seconds for building the night's start, its dependencies included, on the slowest of machines.
pub const MOST_START_SECONDS: f64 = 3.0 * 3600.0;

/// Seconds for building a candidate on top of that; a few are usual.
const MOST_BUILD_SECONDS: f64 = 600.0;

/// Bound on a trial whose budget is counted in tokens.
pub const MOST_TRIAL_SECONDS: f64 = 24.0 * 3600.0;

/// How far the test of an experiment is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TestProgress {
    /// A step of training.
    Training(TrialProgress),
    /// So much of the verification, 0 to 1.
    Verifying(f64),
}

/// Anything that stops the night.
pub(super) type Fault = String;

pub(super) fn fault(what: &str) -> impl Fn(&dyn std::fmt::Display) -> Fault + '_ {
    move |error| format!("{what}: {error}")
}

/// Runs blocking work (git, proposers) away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("{what}: {error}"))?
}

/// Asks for a proposal, or for the repair of one.
pub(super) async fn propose(
    context: Arc<Context>,
    champion: CommitId,
    champion_val_bpb: Option<f64>,
    turn: u64,
    repair: Option<(Proposal, Setback)>,
) -> Result<Event, Fault> {
    let history = context.store.history(context.campaign.name.as_str()).await;
    let history = history.map_err(|error| fault("cannot read the history")(&error))?;
    let asked = Arc::clone(&context);
    let (proposal, asked_whom, skipped) = blocking("the proposer", move || {
        let context = asked;
        let brief = Brief {
            goal: context.campaign.goal.clone(),
            scale: context.campaign.scale,
            champion_files: context
                .candidate_files(&champion)
                .map_err(|error| fault("cannot read the champion's files")(&error))?,
            champion_val_bpb,
            history: history.into_iter().map(|entry| entry.for_brief(&champion)).collect(),
            champion,
            turn,
            proposer_seed: context.night.proposer_seed,
        };
        let mut proposer = context.proposer.lock().unwrap_or_else(PoisonError::into_inner);
        let proposal = match repair {
            None => proposer.propose(&brief),
            Some((proposal, setback)) => proposer.repair(&brief, &proposal, &as_failure(setback)),
        }
        .map_err(|error| fault("the proposer failed")(&error))?;
        // Which ideas no longer fit depends on the champion alone.
        let skipped = if context.first_brief_of(&brief.champion) { proposer.skipped(&brief) } else { Vec::new() };
        let whom = proposer.name().to_owned();
        Ok((proposal, whom, skipped.into_iter().map(|skipped| (skipped, brief.champion.clone())).collect::<Vec<_>>()))
    })
    .await?;
    for (Skipped { key, reason }, champion) in skipped {
        let recorded = context.store.record_skip(&context.night.id, &asked_whom, &key, &champion, &reason).await;
        recorded.map_err(|error| fault("cannot record a skipped idea")(&error))?;
    }
    Ok(Event::Proposed(proposal.map(Box::new)))
}

fn as_failure(setback: Setback) -> Failure {
    match setback {
        Setback::Refused(Refusal::Policy(why)) => Failure::Policy(why),
        Setback::Refused(Refusal::DoesNotApply(why) | Refusal::Duplicate(why)) => Failure::Edit(why),
        Setback::Build(failure) => Failure::Build(failure),
    }
}

/// Checks a proposal's edits and commits them.
pub(super) async fn commit(
    context: Arc<Context>,
    number: u32,
    proposal: Proposal,
    parent: CommitId,
) -> Result<Event, Fault> {
    let seen = context.store.digests_seen(context.campaign.name.as_str()).await;
    let seen = seen.map_err(|error| fault("cannot read which edits were tried")(&error))?;
    blocking("committing", move || {
        let files =
            context.candidate_files(&parent).map_err(|error| fault("cannot read the champion's files")(&error))?;
        let patch = match CheckedPatch::check(&proposal, &files, &context.policy) {
            Ok(patch) => patch,
            Err(error) => {
                let words = error.to_string();
                return Ok(Event::Refused(match error.class() {
                    Class::BreaksRule => Refusal::Policy(words),
                    Class::ChangesNothing => Refusal::Duplicate(words),
                    Class::DoesNotFit => Refusal::DoesNotApply(words),
                }));
            }
        };
        if seen.contains(patch.digest()) {
            let words =
                "the same code, comments and layout aside, was an experiment of this campaign before".to_owned();
            return Ok(Event::Refused(Refusal::Duplicate(words)));
        }
        let message = repo::commit_message(&context.id(number), &proposal);
        let candidate = context
            .repo()
            .and_then(|repo| repo.commit_patch(&parent, &patch, &message, now()))
            .map_err(|error| fault("cannot commit")(&error))?;
        let count = |lines: usize| u32::try_from(lines).unwrap_or(u32::MAX);
        context.remember_patch(
            candidate.commit.clone(),
            PatchFacts {
                digest: patch.digest().to_owned(),
                lines_added: count(patch.lines_added()),
                lines_removed: count(patch.lines_removed()),
            },
        );
        Ok(Event::Committed(candidate))
    })
    .await
}

/// Builds a candidate, or the night's start when its number is 0.
pub(super) async fn build(
    context: Arc<Context>,
    number: u32,
    candidate: Candidate,
    stop: StopSignal,
) -> Result<Event, Fault> {
    let folder = context.layout.experiment(&context.id(number));
    std::fs::create_dir_all(&folder).map_err(|error| fault("cannot create the experiment's folder")(&error))?;
    let executable = context.layout.trainer(&context.id(number));
    let log = folder.join("build.log");
    let (nice, most_seconds) = if number == 0 { (0, MOST_START_SECONDS) } else { (BUILD_NICE, MOST_BUILD_SECONDS) };
    let order = Order { executable: &executable, log: &log, nice, most_seconds };
    let export = exporter(&context, candidate.commit);
    if number > 0 && !context.builder.has_start() {
        // A resumed night whose slots were cleaned away.
        let start = context.night.start_commit.clone();
        let export = exporter(&context, start);
        let order = Order { executable: &folder.join("start"), log: &log, nice: 0, most_seconds: MOST_START_SECONDS };
        match context.builder.build_start(order, export, stop.clone()).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                return Err(format!("the night's start no longer builds: {}", failure.errors.join("\n")));
            }
            Err(error) => return Err(fault("cannot build the night's start")(&error)),
        }
    }
    let built = if number == 0 {
        context.builder.build_start(order, export, stop).await
    } else {
        context.builder.build(order, export, stop).await
    };
    match built {
        Ok(result) => Ok(Event::Built { number, result }),
        Err(BuildError::Stopped) => Ok(Event::Stop { at_once: true }),
        Err(error) => Err(fault("cannot build")(&error)),
    }
}

/// Writes a commit's files into a folder.
fn exporter(
    context: &Arc<Context>,
    commit: CommitId,
) -> impl FnOnce(&std::path::Path) -> Result<(), String> + Send + 'static {
    let context = Arc::clone(context);
    move |to| context.repo().and_then(|repo| repo.export(&commit, to)).map(drop).map_err(|error| error.to_string())
}

/// Writes down who is about to be tested: row, then branch. A row without its branch is mended when the night is resumed.
pub(super) async fn enlist(context: &Arc<Context>, launch: &Launch) -> Result<(), Fault> {
    let id = context.id(launch.number);
    let store = &context.store;
    let recording = fault("cannot record the experiment");
    let (digest, lines_added, lines_removed) = match context.patch(&launch.candidate.commit) {
        Some(facts) => (facts.digest, facts.lines_added, facts.lines_removed),
        // The night's start, or a resumed experiment, whose row is there already.
        None => (launch.candidate.commit.as_str().to_owned(), 0, 0),
    };
    let known = store.experiment(&id).await.map_err(|error| recording(&error))?;
    if known.is_none() {
        let proposal = launch.proposal.clone().unwrap_or_else(baseline_proposal);
        store
            .record_experiment(&id, &proposal, &digest, &launch.candidate.parent)
            .await
            .map_err(|error| recording(&error))?;
        record_attempts(context, &id, &launch.attempts, launch.artifact.build_seconds).await?;
    }
    if known.as_ref().is_none_or(|known| known.candidate.is_none()) {
        let proposal = launch.proposal.clone().unwrap_or_else(baseline_proposal);
        let branch = branch_name(context, launch.number, &proposal);
        let candidate = CandidateRecord {
            commit: launch.candidate.commit.clone(),
            parent: launch.candidate.parent.clone(),
            branch,
            lines_added,
            lines_removed,
        };
        store.record_candidate(&id, &candidate).await.map_err(|error| recording(&error))?;
    }
    let artifact =
        ArtifactRecord { sha256: launch.artifact.sha256.clone(), build_seconds: launch.artifact.build_seconds };
    if known.is_none_or(|known| known.artifact.is_none()) {
        store.record_artifact(&id, &artifact).await.map_err(|error| recording(&error))?;
    }
    if launch.number > 0 {
        let title = launch.proposal.as_ref().map_or("", |proposal| proposal.title.as_str());
        create_branch(context, launch.number, title, launch.candidate.commit.clone()).await?;
    }
    Ok(())
}

/// The branch of an experiment; the night's start has the champion's.
fn branch_name(context: &Context, number: u32, proposal: &Proposal) -> String {
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

/// `build_seconds` is the time of the build that succeeded.
async fn record_attempts(
    context: &Arc<Context>,
    id: &ExperimentId,
    attempts: &[Attempt],
    build_seconds: f64,
) -> Result<(), Fault> {
    for (ordinal, attempt) in (1..).zip(attempts) {
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
        let record = AttemptRecord {
            ordinal,
            kind,
            edits: attempt.proposal.edits.clone(),
            patch_digest: commit.as_ref().and_then(|commit| context.patch(commit)).map(|facts| facts.digest),
            commit,
            outcome,
            evidence,
            seconds,
            at: now(),
        };
        context.store.record_attempt(id, &record).await.map_err(|error| fault("cannot record the attempts")(&error))?;
    }
    Ok(())
}

/// The present, to the millisecond, as the records keep it.
pub(super) fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

/// Trains one trial. Every trial of a night has the same seed, so that candidate and champion are compared on the same
/// initial values and data order.
pub(super) async fn run_trial(
    context: Arc<Context>,
    launch: Launch,
    trial: u32,
    stop: StopSignal,
    progress: UnboundedSender<TestProgress>,
) -> Result<Event, Fault> {
    check_disk(&context)?;
    let id = context.id(launch.number);
    let recording = fault("cannot record the trial");
    let seed = *context.night.seeds.first().ok_or("the night has no seeds; its record is damaged")?;
    let budget = context.campaign.budget();
    context
        .store
        .begin_trial(&id, trial, seed, budget, &launch.artifact.sha256)
        .await
        .map_err(|error| recording(&error))?;
    let subject = context.subject(&id, trial, &launch.artifact.sha256);
    subject.create_folders().map_err(|error| fault("cannot create the trial's folder")(&error))?;
    let grace_seconds = context.campaign.machine.grace_seconds;
    let spec = context.workbench.trial(&subject, seed, budget, grace_seconds, MOST_TRIAL_SECONDS);
    let trained = match train(&context.workbench.launcher, &spec, stop, |point| {
        // Nobody watching is no reason to stop.
        let _unwatched = progress.send(TestProgress::Training(point));
    })
    .await
    {
        Ok(trained) => trained,
        Err(error) => unmeasured(TrialEnd::MachineFault { message: error.to_string() }, seed, budget),
    };
    context.store.end_trial(&id, trial, &trained).await.map_err(|error| recording(&error))?;
    Ok(Event::Trained(Box::new(trained)))
}

/// No trial begins that could fill the disk: whoever shares it, and the database, come first.
fn check_disk(context: &Context) -> Result<(), Fault> {
    let folder = context.layout.state();
    let space = crate::setup::space_at(&folder).map_err(|error| fault("cannot tell how full the disk is")(&error))?;
    let reserve = context.campaign.machine.disk_reserve_gb;
    let free = space.available.0 as f64 / 1e9;
    if free < reserve {
        return Err(format!(
            "the disk of {} has {free:.1} GB left, less than the {reserve} GB that the campaign reserves; free some, or \
             lower disk_reserve_gb in campaign.toml, and run the night again",
            folder.display()
        ));
    }
    Ok(())
}

/// A trial of which nothing was seen but its end.
pub(super) fn unmeasured(end: TrialEnd, seed: u64, budget: Budget) -> Trained {
    Trained {
        end,
        seed,
        budget,
        steps: 0,
        tokens: 0,
        parameters: 0,
        training_seconds: 0.0,
        start_seconds: 0.0,
        peak_memory_bytes: 0,
        final_loss: None,
        checkpoint_sha256: None,
    }
}

/// Records a decision and what follows from it: the champion's branch, the note.
pub(super) async fn settle(context: Arc<Context>, settled: Settled, champion: CommitId) -> Result<Event, Fault> {
    let id = context.id(settled.number);
    let store = &context.store;
    let recording = fault("cannot record the decision");
    if store.experiment(&id).await.map_err(|error| recording(&error))?.is_none() {
        // It never got as far as a trial.
        let Some(proposal) = &settled.proposal else { return Err("the night's start has no record".to_owned()) };
        let parent = settled.candidate.as_ref().map_or_else(|| champion.clone(), |c| c.parent.clone());
        let facts = settled.candidate.as_ref().and_then(|candidate| context.patch(&candidate.commit));
        let digest = facts.as_ref().map_or_else(|| unapplied_digest(proposal), |facts| facts.digest.clone());
        store.record_experiment(&id, proposal, &digest, &parent).await.map_err(|error| recording(&error))?;
        record_attempts(&context, &id, &settled.attempts, 0.0).await?;
        if let (Some(candidate), Some(facts)) = (&settled.candidate, facts) {
            let record = CandidateRecord {
                commit: candidate.commit.clone(),
                parent: candidate.parent.clone(),
                branch: branch_name(&context, settled.number, proposal),
                lines_added: facts.lines_added,
                lines_removed: facts.lines_removed,
            };
            store.record_candidate(&id, &record).await.map_err(|error| recording(&error))?;
            create_branch(&context, settled.number, &proposal.title, candidate.commit.clone()).await?;
        }
    }
    store.record_decision(&id, &settled.decision).await.map_err(|error| recording(&error))?;
    if let Some(candidate) = &settled.candidate {
        if settled.decision.verdict == Verdict::Kept {
            crown(&context, settled.number, candidate).await?;
        } else {
            drop_checkpoints(&context, &id).await?;
        }
        if settled.number > 0 {
            annotate(&context, candidate.commit.clone(), &settled.decision, settled.val_bpb).await?;
        }
    }
    Ok(Event::Settled { number: settled.number })
}

/// A night of checkpoints fills a disk. Those of experiments that were not kept are removed: their hashes are recorded, and
/// `nocturne replay` makes them again.
pub(super) async fn drop_checkpoints(context: &Arc<Context>, id: &ExperimentId) -> Result<(), Fault> {
    let trials = context.store.trials(id).await.map_err(|error| fault("cannot read the trials")(&error))?;
    for trial in trials {
        let path = context.layout.checkpoint(id, trial.ordinal);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Stands for the digest of edits that never applied; hashes what was proposed, so that no two are taken for one.
fn unapplied_digest(proposal: &Proposal) -> String {
    let words = json!({ "unapplied": proposal.edits, "key": proposal.key }).to_string();
    crate::hash::sha256(words.as_bytes())
}

/// Moves the champion's branch and records the move. A branch that cannot be moved now (somebody has it checked out) is
/// caught up with at the next move, and at the latest when a night is resumed.
pub(super) async fn crown(context: &Arc<Context>, number: u32, candidate: &Candidate) -> Result<(), Fault> {
    let (mover, to) = (Arc::clone(context), candidate.commit.clone());
    let moved = blocking("moving the champion", move || {
        let (campaign, night) = (&mover.campaign.name, &mover.night.id);
        let repo = mover.repo().map_err(|error| fault("cannot open the repository")(&error))?;
        let from =
            repo.champion(campaign, night).map_err(|error| fault("cannot read the champion's branch")(&error))?;
        repo.advance_champion(campaign, night, from.as_ref(), &to)
            .map_err(|error| fault("cannot move the champion's branch")(&error))
            .map(drop)
    })
    .await;
    if let Err(why) = moved {
        warn(context, "git", &why).await?;
    }
    context
        .store
        .move_champion(&context.id(number), &candidate.commit)
        .await
        .map_err(|error| fault("cannot record the new champion")(&error))
}

/// Writes the git note of a decision. It repeats what the database holds, so a night goes on without it.
pub(super) async fn annotate(
    context: &Arc<Context>,
    commit: CommitId,
    decision: &Decision,
    val_bpb: Option<f64>,
) -> Result<(), Fault> {
    let (annotator, text) = (Arc::clone(context), note(decision, val_bpb));
    let noted = blocking("writing the note", move || {
        annotator
            .repo()
            .and_then(|repo| repo.add_note(&commit, &text, now()))
            .map_err(|error| fault("cannot write the git note")(&error))
            .map(drop)
    })
    .await;
    match noted {
        Ok(()) => Ok(()),
        Err(why) => warn(context, "git", &why).await,
    }
}

pub(super) async fn warn(context: &Arc<Context>, stage: &str, text: &str) -> Result<(), Fault> {
    let recorded = context.store.event(&context.night.id, Level::Warning, stage, text).await;
    recorded.map_err(|error| fault("cannot record a warning")(&error))
}

/// The text of an experiment's git note: trailers, so that `git log --notes=nocturne` and scripts can read them.
fn note(decision: &Decision, val_bpb: Option<f64>) -> String {
    let mut text = format!("Verdict: {}\n", decision.verdict);
    if let Some(val_bpb) = val_bpb {
        text.push_str(&format!("Val-Bpb: {val_bpb:.6}\n"));
    }
    if let Some(difference) = decision.difference {
        text.push_str(&format!("Difference: {difference:+.6}\n"));
    }
    text.push_str(&format!("Rule: {}\nReason: {}\n", decision.rule, decision.reason.replace('\n', " ")));
    text
}
