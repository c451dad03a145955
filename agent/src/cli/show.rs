//! `nocturne show`: one experiment whole, or what a night adds up to.

use std::path::Path;

use serde_json::{Value, json};

use super::night::{last_night, night_json, summary};
use super::output::{out, outln};
use super::read::{COLUMNS, no_such_night, read_night, records_fault};
use super::story::{experiment_text, night_text};
use super::time::{WHERE_TIME_WENT, show_time};
use super::{Fault, ShowArgs, here, open_records, print_json};
use crate::flow::ExperimentId;
use crate::layout::Layout;
use crate::records::{ExperimentRecord, TrialRecord, WithdrawalRecord};
use crate::repo::Repo;
use crate::report::{Account, ExperimentAccount, NightRecords, evaluation_text, named};
use crate::run::{measured, resident};
use crate::store::Reader;
use crate::terminal::{clean, clean_lines, render_summary};

pub(super) async fn show(args: ShowArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    if args.what == WHERE_TIME_WENT {
        return show_time(&reader, args.night.as_deref(), args.json).await;
    }
    if let Some(night) = &args.night {
        let help = format!(
            "`nocturne show {WHERE_TIME_WENT} {0}` shows where its time went, `nocturne show {0}` what it found",
            clean(night)
        );
        return Err(Fault::usage(format!("a night is named beside `{}`", clean(&args.what))).with_help(help));
    }
    let latest = last_night(&reader).await?;
    let Some(id) = named(&args.what, latest.as_ref()) else {
        let records = read_night(&reader, &args.what).await?;
        let account = Account::read(&reader, &records).await.map_err(records_fault)?;
        if args.json {
            return print_json(&with_account(night_json(&records), &account));
        }
        out!("{}{}", render_summary(&summary(&records, &layout), COLUMNS), night_text(&account))?;
        return Ok(());
    };
    let records = NightRecords::read(&reader, &id.night).await.map_err(records_fault)?;
    let experiment = records.experiments.iter().find(|experiment| experiment.id == id);
    let (Some(experiment), Some(account)) = (experiment, records.account_of(id.number)) else {
        return Err(no_such_experiment(&reader, &id).await?);
    };
    let trials: Vec<&TrialRecord> = records.trials.iter().filter(|trial| trial.experiment == id).collect();
    let diff = match &experiment.candidate {
        Some(candidate) if candidate.commit != candidate.parent => Repo::discover(layout.root())
            .and_then(|repo| repo.diff(&candidate.parent, &candidate.commit))
            .map_err(Fault::failed)?,
        _ => String::new(),
    };
    if args.json {
        let mut trials = json!(trials);
        if records.night.end.is_none() {
            hide_seeds(&mut trials);
        }
        return print_json(&json!({ "experiment": experiment, "account": account, "trials": trials, "diff": diff }));
    }
    print_experiment(&layout, experiment, &account, records.withdrawal.as_ref(), &trials, &diff)
}

/// A night as `--json` gives it, with what its records add up to.
fn with_account(mut document: Value, account: &Account) -> Value {
    if let (Some(fields), Value::Object(more)) = (document.as_object_mut(), json!(account)) {
        // `champion` is the last one with its figures; `champions` the whole way.
        fields.extend(more);
    }
    document
}

/// Seeds are secret while the night runs: whoever proposes must not fit a change to them. The account names them by index.
fn hide_seeds(trials: &mut Value) {
    for trial in trials.as_array_mut().into_iter().flatten() {
        if let Some(trained) = trial.get_mut("trained").and_then(Value::as_object_mut) {
            trained.remove("seed");
        }
        if let Some(fields) = trial.as_object_mut() {
            fields.remove("seed");
        }
    }
}

/// Says what is missing: the experiment, or its whole night.
pub(super) async fn no_such_experiment(reader: &Reader, id: &ExperimentId) -> Result<Fault, Fault> {
    if reader.night(&id.night).await.map_err(Fault::failed)?.is_none() {
        return Ok(no_such_night(&id.night));
    }
    let help = format!("`nocturne list {}` shows the experiments that there are", id.night);
    Ok(Fault::usage(format!("there is no experiment {id}")).with_help(help))
}

fn print_experiment(
    layout: &Layout,
    experiment: &ExperimentRecord,
    account: &ExperimentAccount,
    withdrawal: Option<&WithdrawalRecord>,
    trials: &[&TrialRecord],
    diff: &str,
) -> Result<(), Fault> {
    let proposal = &experiment.proposal;
    outln!("{}  {}", experiment.id, clean(&proposal.title))?;
    match &experiment.decision {
        Some(decision) => {
            outln!("verdict:    {}: {} (rule {})", decision.verdict, clean(&decision.reason), decision.rule)?
        }
        None => outln!("verdict:    none yet; it is {}", experiment.state)?,
    }
    if let Some(withdrawal) = withdrawal.filter(|_| !account.stands) {
        outln!("taken back: it does not stand: {}", clean(&withdrawal.words))?;
    }
    let by = &proposal.author;
    let model = by.model.as_ref().map(|model| format!(" ({})", clean(model))).unwrap_or_default();
    outln!("proposer:   {}{model}, family {}", clean(&by.proposer), clean(&proposal.family))?;
    if !proposal.source.is_empty() {
        outln!("source:     {}", clean(&proposal.source))?;
    }
    outln!("hypothesis: {}", clean(&proposal.hypothesis))?;
    if let Some(candidate) = &experiment.candidate {
        outln!("branch:     {}", candidate.branch)?;
        outln!("commit:     {} on {}", candidate.commit, candidate.parent.short())?;
    }
    out!("{}", experiment_text(experiment, account))?;
    for attempt in &experiment.attempts {
        outln!("attempt {}:  {} {}", attempt.ordinal, attempt.kind, attempt.outcome)?;
        if !attempt.evidence.is_empty() {
            outln!("{}", clean_lines(&attempt.evidence))?;
        }
    }
    for trial in trials {
        outln!("trial {}:", trial.ordinal)?;
        if let Some(trained) = &trial.trained {
            outln!(
                "  {}: {} steps, {} tokens, {:.1} s of training, {:.1} s to start, {:.2} GB, {} parameters",
                trained.end.name(),
                trained.steps,
                trained.tokens,
                trained.training_seconds,
                trained.start_seconds,
                trained.peak_memory_bytes as f64 / 1e9,
                trained.parameters,
            )?;
            if let Some(words) = memory_text(&layout.curve(&trial.experiment, trial.ordinal)) {
                outln!("  memory: {words}")?;
            }
            if let Some(message) = trained.end.message() {
                outln!("  {}", clean_lines(message))?;
            }
            if let Some(hash) = &trained.checkpoint_sha256 {
                outln!("  checkpoint sha256 {hash}")?;
            }
        }
        outln!("  executable sha256 {}", trial.artifact_sha256)?;
        out!("{}", evaluation_text(trial))?;
        outln!("  files: {}", layout.trial(&trial.experiment, trial.ordinal).display())?;
    }
    if !diff.is_empty() {
        outln!("\n{}", clean_lines(diff))?;
    }
    Ok(())
}

/// Resident memory along the trial whose curve this is; `None` where it told none.
fn memory_text(curve: &Path) -> Option<String> {
    match measured(curve) {
        Ok(steps) => {
            let [(first, before), (last, after)] = resident(&steps)?;
            let (before, after) = (before as f64 / 1e6, after as f64 / 1e6);
            Some(format!("{before:.0} MB at step {first}, {after:.0} MB at step {last}, by the trainer's word"))
        }
        Err(error) => Some(format!("not known: {}", clean(&error.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seed_is_left_of_a_night_that_runs() {
        let records = crate::report::fixture::night();
        let mut trials = json!(records.trials);
        let listed = crate::report::fixture::SEEDS.map(|seed| seed.to_string());
        assert!(listed.iter().any(|seed| trials.to_string().contains(seed)));
        hide_seeds(&mut trials);
        assert!(!listed.iter().any(|seed| trials.to_string().contains(seed)));
        assert_eq!(trials[0]["trained"]["steps"], 1);
    }
}
