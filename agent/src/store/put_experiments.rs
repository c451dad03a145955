//! Writing SQL for experiments, their attempts and their trials; see [`super::put`].

use protocol::Budget;
use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::put::json;
use super::rows::to_signed;
use crate::flow::{Evidence, ExperimentId};
use crate::records::{AttemptRecord, Evaluation, ExperimentRecord, TrialRecord};

type Result<T> = std::result::Result<T, StoreError>;

/// Without its attempts.
pub(super) async fn experiment(
    connection: &mut SqliteConnection,
    context: &Context,
    experiment: &ExperimentRecord,
) -> Result<()> {
    let (proposal, candidate) = (&experiment.proposal, experiment.candidate.as_ref());
    let (artifact, decision) = (experiment.artifact.as_ref(), experiment.decision.as_ref());
    context.finite(&[
        ("the predicted effect", proposal.predicted_effect),
        ("the proposal's cost", Some(proposal.author.cost_usd)),
        ("the build's time", artifact.map(|artifact| artifact.build_seconds)),
        ("the proposal's confidence", proposal.confidence),
        ("the difference", decision.and_then(|decision| decision.difference)),
        ("the interval's lower end", decision.and_then(|decision| decision.interval).map(|interval| interval.0)),
        ("the interval's upper end", decision.and_then(|decision| decision.interval).map(|interval| interval.1)),
    ])?;
    let evidence = decision.and_then(|decision| decision.evidence.as_deref());
    if let Some(Evidence { standard_error, probability, expected, expected_interval: (low, high), .. }) = evidence {
        context.finite(&[
            ("the difference's standard error", Some(*standard_error)),
            ("the probability of an improvement", Some(*probability)),
            ("the expected difference", Some(*expected)),
            ("the expected difference's lower end", Some(*low)),
            ("the expected difference's upper end", Some(*high)),
        ])?;
    }
    if let Some(Evidence { least_effect, run_sd, pair_sd, .. }) = evidence {
        context.finite(&[
            ("the least effect worth having", Some(*least_effect)),
            ("the sd of a run", Some(*run_sd)),
            ("the sd of a pair", Some(*pair_sd)),
        ])?;
    }
    let night = experiment.id.night.as_str();
    let edits = json(context, "an experiment's edits", &proposal.edits)?;
    let champion = experiment.champion.as_str();
    let state = experiment.state.name();
    let commit = candidate.map(|candidate| candidate.commit.as_str());
    let parent = candidate.map(|candidate| candidate.parent.as_str());
    let branch = candidate.map(|candidate| candidate.branch.as_str());
    let lines_added = candidate.map(|candidate| candidate.lines_added);
    let lines_removed = candidate.map(|candidate| candidate.lines_removed);
    let artifact_sha256 = artifact.map(|artifact| artifact.sha256.as_str());
    let build_seconds = artifact.map(|artifact| artifact.build_seconds);
    let verdict = decision.map(|decision| decision.verdict.name());
    let difference = decision.and_then(|decision| decision.difference);
    let interval_low = decision.and_then(|decision| decision.interval).map(|interval| interval.0);
    let interval_high = decision.and_then(|decision| decision.interval).map(|interval| interval.1);
    let trials = decision.map(|decision| decision.trials);
    let rule = decision.map(|decision| decision.rule.as_str());
    let reason = decision.map(|decision| decision.reason.as_str());
    let evidence_json = evidence.map(|figures| json(context, "a decision's evidence", figures)).transpose()?;
    let proposed_at = experiment.proposed_at.to_string();
    let decided_at = experiment.decided_at.map(|at| at.to_string());
    sqlx::query!(
        "INSERT INTO experiments (night, number, key, title, hypothesis, source, family, predicted_effect, proposer,
                                  model, cost_usd, edits_json, patch_digest, champion_commit, state, commit_id,
                                  parent_commit, branch, lines_added, lines_removed, artifact_sha256, build_seconds,
                                  verdict, difference, interval_low, interval_high, decided_on_trials, rule, reason,
                                  proposed_at, decided_at, confidence, evidence_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                 ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)
         ON CONFLICT (night, number) DO UPDATE SET
             key = excluded.key, title = excluded.title, hypothesis = excluded.hypothesis, source = excluded.source,
             family = excluded.family, predicted_effect = excluded.predicted_effect, proposer = excluded.proposer,
             model = excluded.model, cost_usd = excluded.cost_usd, edits_json = excluded.edits_json,
             patch_digest = excluded.patch_digest, champion_commit = excluded.champion_commit, state = excluded.state,
             commit_id = excluded.commit_id, parent_commit = excluded.parent_commit, branch = excluded.branch,
             lines_added = excluded.lines_added, lines_removed = excluded.lines_removed,
             artifact_sha256 = excluded.artifact_sha256, build_seconds = excluded.build_seconds,
             verdict = excluded.verdict, difference = excluded.difference, interval_low = excluded.interval_low,
             interval_high = excluded.interval_high, decided_on_trials = excluded.decided_on_trials,
             rule = excluded.rule, reason = excluded.reason, proposed_at = excluded.proposed_at,
             decided_at = excluded.decided_at, confidence = excluded.confidence,
             evidence_json = excluded.evidence_json",
        night,
        experiment.id.number,
        proposal.key,
        proposal.title,
        proposal.hypothesis,
        proposal.source,
        proposal.family,
        proposal.predicted_effect,
        proposal.author.proposer,
        proposal.author.model,
        proposal.author.cost_usd,
        edits,
        experiment.patch_digest,
        champion,
        state,
        commit,
        parent,
        branch,
        lines_added,
        lines_removed,
        artifact_sha256,
        build_seconds,
        verdict,
        difference,
        interval_low,
        interval_high,
        trials,
        rule,
        reason,
        proposed_at,
        decided_at,
        proposal.confidence,
        evidence_json
    )
    .execute(connection)
    .await
    .map_err(context.sql("record an experiment"))?;
    Ok(())
}

pub(super) async fn attempt(
    connection: &mut SqliteConnection,
    context: &Context,
    id: &ExperimentId,
    attempt: &AttemptRecord,
) -> Result<()> {
    context.finite(&[("the attempt's time", Some(attempt.seconds))])?;
    let night = id.night.as_str();
    let edits = json(context, "an attempt's edits", &attempt.edits)?;
    let kind = attempt.kind.name();
    let commit = attempt.commit.as_ref().map(|commit| commit.as_str());
    let outcome = attempt.outcome.name();
    let at = attempt.at.to_string();
    sqlx::query!(
        "INSERT INTO attempts (night, number, ordinal, kind, edits_json, patch_digest, commit_id, outcome, evidence,
                               seconds, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        night,
        id.number,
        attempt.ordinal,
        kind,
        edits,
        attempt.patch_digest,
        commit,
        outcome,
        attempt.evidence,
        attempt.seconds,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record an attempt"))?;
    Ok(())
}

pub(super) async fn trial(connection: &mut SqliteConnection, context: &Context, trial: &TrialRecord) -> Result<()> {
    let (budget_seconds, budget_tokens) = match trial.budget {
        Budget::Seconds(seconds) => (Some(seconds), None),
        Budget::Tokens(tokens) => (None, Some(to_signed(tokens))),
    };
    let trained = trial.trained.as_ref();
    let (verified, rejected) = match &trial.evaluation {
        None => (None, None),
        Some(Evaluation::Verified(verified)) => (Some(verified), None),
        Some(Evaluation::Rejected(rejected)) => (None, Some(rejected)),
    };
    context.finite(&[
        ("the budget", budget_seconds),
        ("the training time", trained.map(|trained| trained.training_seconds)),
        ("the start's time", trained.map(|trained| trained.start_seconds)),
        ("the final loss", trained.and_then(|trained| trained.final_loss)),
        ("bits per byte", verified.map(|verified| verified.val_bpb)),
        ("the standard error", verified.map(|verified| verified.standard_error)),
        ("the claimed bits per byte", verified.map(|verified| verified.claimed_bpb)),
        ("the sum of nats", verified.map(|verified| verified.nats)),
        ("the evaluation's time", verified.map(|verified| verified.seconds)),
    ])?;
    let night = trial.experiment.night.as_str();
    let seed = trial.seed.to_string();
    let purpose = trial.purpose.name();
    let started_at = trial.started_at.to_string();
    let (ending, message) = trained.map(|trained| (trained.end.name(), trained.end.message())).unzip();
    let message = message.flatten();
    let steps = trained.map(|trained| to_signed(trained.steps));
    let tokens = trained.map(|trained| to_signed(trained.tokens));
    let parameters = trained.map(|trained| to_signed(trained.parameters));
    let training_seconds = trained.map(|trained| trained.training_seconds);
    let start_seconds = trained.map(|trained| trained.start_seconds);
    let peak_memory_bytes = trained.map(|trained| to_signed(trained.peak_memory_bytes));
    let final_loss = trained.and_then(|trained| trained.final_loss);
    let checkpoint_sha256 = trained.and_then(|trained| trained.checkpoint_sha256.as_deref());
    let ended_at = trial.ended_at.map(|at| at.to_string());
    let evaluation = trial.evaluation.as_ref().map(|evaluation| match evaluation {
        Evaluation::Verified(_) => "verified",
        Evaluation::Rejected(_) => "rejected",
    });
    let val_bpb = verified.map(|verified| verified.val_bpb);
    let nats = verified.map(|verified| verified.nats);
    let bytes = verified.map(|verified| to_signed(verified.bytes));
    let scored_tokens = verified.map(|verified| to_signed(verified.tokens));
    let evaluator_seconds = verified.map(|verified| verified.seconds);
    let evaluator = verified.map(|verified| verified.evaluator.as_str());
    let failed_check = rejected.map(|rejected| rejected.check.as_str());
    let evidence = rejected.map(|rejected| rejected.evidence.as_str());
    let evaluated_at = trial.evaluated_at.map(|at| at.to_string());
    let standard_error = verified.map(|verified| verified.standard_error);
    let claimed_bpb = verified.map(|verified| verified.claimed_bpb);
    let certificate = trial.certificate.as_ref();
    let certificate_json = certificate.map(|made| json(context, "a trial's certificate", made)).transpose()?;
    sqlx::query!(
        "INSERT INTO trials (night, number, ordinal, seed, budget_seconds, budget_tokens, artifact_sha256, folder,
                             started_at, ending, message, steps, tokens, parameters, training_seconds, start_seconds,
                             peak_memory_bytes, final_loss, checkpoint_sha256, ended_at, evaluation, val_bpb, nats,
                             bytes, scored_tokens, evaluator_seconds, evaluator, failed_check, evidence, evaluated_at,
                             standard_error, claimed_bpb, certificate_json, purpose, era, would_stop, device)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                 ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37)
         ON CONFLICT (night, number, ordinal) DO UPDATE SET
             ending = excluded.ending, message = excluded.message, steps = excluded.steps, tokens = excluded.tokens,
             parameters = excluded.parameters, training_seconds = excluded.training_seconds,
             start_seconds = excluded.start_seconds, peak_memory_bytes = excluded.peak_memory_bytes,
             final_loss = excluded.final_loss, checkpoint_sha256 = excluded.checkpoint_sha256,
             ended_at = excluded.ended_at, evaluation = excluded.evaluation, val_bpb = excluded.val_bpb,
             nats = excluded.nats, bytes = excluded.bytes, scored_tokens = excluded.scored_tokens,
             evaluator_seconds = excluded.evaluator_seconds, evaluator = excluded.evaluator,
             failed_check = excluded.failed_check, evidence = excluded.evidence, evaluated_at = excluded.evaluated_at,
             standard_error = excluded.standard_error, claimed_bpb = excluded.claimed_bpb,
             certificate_json = excluded.certificate_json, would_stop = excluded.would_stop",
        night,
        trial.experiment.number,
        trial.ordinal,
        seed,
        budget_seconds,
        budget_tokens,
        trial.artifact_sha256,
        trial.folder,
        started_at,
        ending,
        message,
        steps,
        tokens,
        parameters,
        training_seconds,
        start_seconds,
        peak_memory_bytes,
        final_loss,
        checkpoint_sha256,
        ended_at,
        evaluation,
        val_bpb,
        nats,
        bytes,
        scored_tokens,
        evaluator_seconds,
        evaluator,
        failed_check,
        evidence,
        evaluated_at,
        standard_error,
        claimed_bpb,
        certificate_json,
        purpose,
        trial.era,
        trial.would_stop,
        trial.device
    )
    .execute(connection)
    .await
    .map_err(context.sql("record a trial"))?;
    Ok(())
}
