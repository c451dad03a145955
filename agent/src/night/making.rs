//! Performing the effects of the making lane: from a proposal to an executable.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::briefing;
use super::context::{Context, PatchFacts};
use super::messages::{Champion, Event, Lines, Refusal, Setback, Without};
use super::perform::{Fault, blocking, fault, now, warn};
use super::queue;
use crate::build::{BuildError, Order};
use crate::edit::{CheckedPatch, Class};
use crate::flow::{Brief, Candidate, CommitId, PastExperiment, Proposal};
use crate::hash::sha256;
use crate::propose::tools::seen_before;
use crate::propose::{Failure, LEAVE_ONE_OUT, Skipped, ablation, ablations_of_parts};
use crate::records::HistoryEntry;
use crate::repo;
use crate::run::{StopSignal, stopped};

/// Seconds for building the night's start, its dependencies included, on the slowest of machines.
pub const MOST_START_SECONDS: f64 = 3.0 * 3600.0;

/// Seconds for building a candidate on top of that; a few are usual.
pub(crate) const MOST_BUILD_SECONDS: f64 = 600.0;

/// How often the person's queue is looked at while models are waited for.
const LOOK_AT_QUEUE: Duration = Duration::from_secs(2);

/// What of a campaign's history counts for this night.
fn remembered(context: &Context, mut history: Vec<HistoryEntry>) -> Vec<HistoryEntry> {
    history.retain(|entry| context.asking.remembers(&entry.id.night));
    history
}

/// What a proposer is asked for.
pub(super) struct Asked {
    /// The best so far.
    pub champion: Champion,
    /// Number that the experiment will have.
    pub number: u32,
    /// Counts these calls.
    pub turn: u64,
    /// What is to be repaired, and why; `None`: something new.
    pub repair: Option<(Proposal, Setback)>,
}

/// Asks for a proposal, or for the repair of one. Where nobody has anything now, and somebody may later, that is waited for; an idea of the
/// person's is not kept waiting meanwhile.
pub(super) async fn propose(context: Arc<Context>, asked: Asked) -> Result<Event, Fault> {
    loop {
        let (proposal, again) = ask_once(&context, &asked).await?;
        match again.filter(|_| proposal.is_none() && asked.repair.is_none()) {
            Some(pause) if wait(&context, pause).await? => {}
            _ => return Ok(Event::Proposed(proposal.map(Box::new))),
        }
    }
}

/// Waits until somebody may have something: that long, or until the queue has something that can be done now. `false` where the search
/// ends before.
async fn wait(context: &Arc<Context>, pause: Duration) -> Result<bool, Fault> {
    let until = Instant::now() + pause;
    let mut stop = context.asking.stop_signal();
    loop {
        if *stop.borrow() {
            return Ok(false);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || queue::has_something(context).await? {
            return Ok(true);
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(LOOK_AT_QUEUE)) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

/// A proposal; or none, and after how long asking once more may help.
async fn ask_once(context: &Arc<Context>, asked: &Asked) -> Result<(Option<Proposal>, Option<Duration>), Fault> {
    let Asked { champion, number, turn, repair } = asked;
    let history = context.store.history(context.campaign.name.as_str()).await;
    let history = history.map_err(|error| fault("cannot read the history")(&error))?;
    let history = remembered(context, history);
    let mut details = briefing::details(context, champion, *number, &history).await?;
    let mut taken = None;
    if repair.is_none() {
        match queue::next(context, &champion.commit, *number).await? {
            queue::Next::Proposal(proposal) => return Ok((Some(*proposal), None)),
            queue::Next::Words(wish) => {
                taken = Some(wish.id);
                details.waiting.retain(|other| other.id != wish.id);
                details.asked = Some(wish);
            }
            queue::Next::Nothing => {}
        }
    }
    let Champion { commit: champion, val_bpb: champion_val_bpb, .. } = champion.clone();
    let (context, turn, repair) = (Arc::clone(context), *turn, repair.clone());
    let asked = Arc::clone(&context);
    let (proposal, asked_whom, skipped, again) = blocking("the proposer", move || {
        let context = asked;
        // All of this night that were made from the present champion were settled while it was that.
        let since = history.iter().filter(|entry| entry.id.night == context.night.id && entry.champion == champion);
        let stagnation = since.filter(|entry| entry.id.number > 0 && entry.verdict.is_some()).count();
        let brief = Brief {
            goal: context.campaign.goal.clone(),
            scale: context.campaign.scale,
            champion_files: context
                .candidate_files(&champion)
                .map_err(|error| fault("cannot read the champion's files")(&error))?,
            champion_val_bpb,
            history: history.into_iter().map(|entry| entry.for_brief(&champion)).collect(),
            champion,
            stagnation: u32::try_from(stagnation).unwrap_or(u32::MAX),
            turn,
            proposer_seed: context.night.proposer_seed,
            details,
        };
        let mut proposer = context.proposer.lock().unwrap_or_else(PoisonError::into_inner);
        let proposal = match repair {
            None => proposer.propose(&brief),
            Some((proposal, setback)) => proposer.repair(&brief, &proposal, &as_failure(setback)),
        }
        .map_err(|error| fault("the proposer failed")(&error))?;
        // Which ideas no longer fit depends on the champion alone.
        let skipped = if context.first_brief_of(&brief.champion) { proposer.skipped(&brief) } else { Vec::new() };
        let skipped: Vec<_> = skipped.into_iter().map(|skipped| (skipped, brief.champion.clone())).collect();
        Ok((proposal, proposer.name().to_owned(), skipped, proposer.again(&brief)))
    })
    .await?;
    if let Some(id) = taken {
        queue::worked_out(&context, id, proposal.as_ref()).await?;
    }
    for (Skipped { key, reason }, champion) in skipped {
        let recorded = context.store.record_skip(&context.night.id, &asked_whom, &key, &champion, &reason).await;
        recorded.map_err(|error| fault("cannot record a skipped idea")(&error))?;
    }
    Ok((proposal, again))
}

/// Asks for the champion without a kept experiment's change, or one of its ideas. Answered with no proposal, and a line that says why, where later changes
/// lie over it.
pub(super) async fn propose_without(context: Arc<Context>, champion: CommitId, of: Without) -> Result<Event, Fault> {
    let history = context.store.history(context.campaign.name.as_str()).await;
    let history = history.map_err(|error| fault("cannot read the history")(&error))?;
    let id = context.id(of.kept);
    let kept = history.iter().find(|entry| entry.id == id);
    let (kept, on) = kept
        .map(|entry| (entry.clone().for_brief(&champion), entry.champion.clone()))
        .ok_or_else(|| format!("experiment {id} has no record"))?;
    let asked = Arc::clone(&context);
    let made = blocking("taking a change back", move || {
        let files = |commit: &CommitId| {
            asked.candidate_files(commit).map_err(|error| fault("cannot read the champion's files")(&error))
        };
        let (before, present) = (files(&on)?, files(&champion)?);
        let Some(idea) = of.idea else {
            return Ok(ablation(&kept, &before, &present).map_err(|error| error.to_string()));
        };
        let history: Vec<PastExperiment> = history.into_iter().map(|entry| entry.for_brief(&champion)).collect();
        let ideas = ablations_of_parts(&kept, &history, &before, &present);
        let place = usize::try_from(idea).unwrap_or(usize::MAX).wrapping_sub(1);
        let one = ideas.into_iter().nth(place).ok_or_else(|| format!("experiment {id} has no idea {idea}"));
        Ok(one.and_then(|one| one.map_err(|error| error.to_string())))
    })
    .await?;
    match made {
        Ok(proposal) => Ok(Event::Proposed(Some(Box::new(proposal)))),
        Err(why) => {
            warn(&context, "morning", &why).await?;
            Ok(Event::Proposed(None))
        }
    }
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
    let mut seen = seen.map_err(|error| fault("cannot read which edits were tried")(&error))?;
    let history = context.store.history(context.campaign.name.as_str()).await;
    let history = remembered(&context, history.map_err(|error| fault("cannot read the history")(&error))?);
    if context.asking.forgets() {
        seen = history.iter().map(|entry| entry.patch_digest.clone()).collect();
    }
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
        // A champion without its newest change is the champion before it: measured again on purpose, under a digest of its own.
        let measures = proposal.author.proposer == LEAVE_ONE_OUT;
        let digest = match measures {
            true => sha256(json!({ "without": proposal.key, "content": patch.digest() }).to_string().as_bytes()),
            false => patch.digest().to_owned(),
        };
        if seen.contains(&digest) && !measures {
            let same = history.into_iter().rev().find(|entry| entry.patch_digest == digest);
            let words = match same {
                Some(same) => seen_before(&same.for_brief(&parent)),
                None => {
                    "the same code, comments and layout aside, was an experiment of this campaign before".to_owned()
                }
            };
            return Ok(Event::Refused(Refusal::Duplicate(words)));
        }
        let message = repo::commit_message(&context.id(number), &proposal);
        let candidate = context
            .repo()
            .and_then(|repo| repo.commit_patch(&parent, &patch, &message, now()))
            .map_err(|error| fault("cannot commit")(&error))?;
        let count = |lines: usize| u32::try_from(lines).unwrap_or(u32::MAX);
        let lines = Lines { added: count(patch.lines_added()), removed: count(patch.lines_removed()) };
        context.remember_patch(
            candidate.commit.clone(),
            PatchFacts { digest, lines_added: lines.added, lines_removed: lines.removed },
        );
        Ok(Event::Committed { candidate, lines })
    })
    .await
}

/// Builds a candidate, or the night's start when its number is 0, as soon as there are cores that no trial needs.
pub(super) async fn build(
    context: Arc<Context>,
    number: u32,
    candidate: Candidate,
    mut stop: StopSignal,
) -> Result<Event, Fault> {
    let _alone = context.building.lock().await;
    let Some(turn) = context.cores.build(&mut stop).await else { return Ok(Event::Stop { at_once: true }) };
    let folder = context.layout.experiment(&context.id(number));
    std::fs::create_dir_all(&folder).map_err(|error| fault("cannot create the experiment's folder")(&error))?;
    let executable = context.layout.trainer(&context.id(number));
    let log = folder.join("build.log");
    let (beside, most_seconds) =
        if number == 0 { (None, MOST_START_SECONDS) } else { (turn.beside(), MOST_BUILD_SECONDS) };
    let order = Order { executable: &executable, log: &log, beside, most_seconds };
    let export = exporter(&context, candidate.commit);
    if number > 0 && !context.builder.has_start() {
        // A resumed night whose slots were cleaned away.
        let export = exporter(&context, context.night.start_commit.clone());
        let start = folder.join("start");
        let order = Order { executable: &start, log: &log, beside, most_seconds: MOST_START_SECONDS };
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
    // Where a trial leaves no core, copying would take its time.
    if context.cores.spare().is_some() {
        context.builder.lay_out_ahead().await;
    }
    match built {
        Ok(result) => Ok(Event::Built { number, result }),
        Err(BuildError::Stopped) => Ok(Event::Stop { at_once: true }),
        Err(error) => Err(fault("cannot build")(&error)),
    }
}

/// Writes a commit's files into a folder.
pub(super) fn exporter(
    context: &Arc<Context>,
    commit: CommitId,
) -> impl FnOnce(&std::path::Path) -> Result<(), String> + Send + 'static {
    let context = Arc::clone(context);
    move |to| context.repo().and_then(|repo| repo.export(&commit, to)).map(drop).map_err(|error| error.to_string())
}
