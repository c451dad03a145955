//! Commands that only read: `status`, `list`, `show`.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::night::{last_night, night_json, summary};
use super::{Fault, ListArgs, ReadArgs, ShowArgs, here, open_records, print_json};
use crate::flow::{ExperimentId, NightId, Verdict};
use crate::layout::Layout;
use crate::night::open::is_running;
use crate::records::{ExperimentRecord, NightRecord, TrialRecord};
use crate::repo::Repo;
use crate::report::{NightRecords, named};
use crate::terminal::{clean, clean_lines, render_summary};

/// Width of tables that are not fitted to a terminal.
const COLUMNS: usize = 120;

pub(super) async fn status(args: ReadArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let running = is_running(&layout).map_err(Fault::failed)?;
    let Some(night) = last_night(&reader).await? else {
        if args.json {
            return print_json(&json!({ "running": running, "night": null }));
        }
        println!("no night yet; begin with: nocturne night experiments/quickstart");
        return Ok(());
    };
    let records = NightRecords::read(&reader, &night).await.map_err(Fault::failed)?;
    let events = reader.events(&night).await.map_err(Fault::failed)?;
    let current = records.experiments.iter().rfind(|experiment| experiment.decision.is_none());
    if args.json {
        let mut document = night_json(&records);
        if let Some(fields) = document.as_object_mut() {
            fields.insert("running".to_owned(), running.into());
            fields.insert("state".to_owned(), state(&records.night, running).into());
            fields.insert("current".to_owned(), json!(current.map(|experiment| experiment.id.to_string())));
            fields.insert("deadline".to_owned(), json!(records.night.deadline));
        }
        return print_json(&document);
    }
    println!("night {night} of {}: {}", clean(&records.night.campaign), state(&records.night, running));
    println!("since {}", records.night.started_at);
    if let Some(deadline) = records.night.deadline {
        println!("until {deadline}");
    }
    let settled = records.experiments.iter().filter(|e| e.decision.is_some() && e.id.number > 0);
    println!("experiments with a verdict: {}", settled.count());
    if let (Some(start), Some(best)) = (records.val_bpb(0), records.val_bpb(records.champion())) {
        println!("val_bpb: {start:.4} -> {best:.4} (experiment {})", records.champion());
    }
    if let Some(current) = current.filter(|_| running) {
        println!("now: experiment {} {}: {}", current.id.number, clean(&current.proposal.title), current.state);
    }
    for event in events.iter().rev().take(5).rev() {
        println!("{} {:>8} {}", event.at, event.stage, clean(&event.text));
    }
    Ok(())
}

fn state(night: &NightRecord, running: bool) -> String {
    match &night.end {
        Some(end) if end.detail.is_empty() => format!("ended ({})", end.how),
        Some(end) => format!("ended ({}: {})", end.how, clean(&end.detail)),
        None if running => "running".to_owned(),
        None => "cut off; `nocturne night` goes on with it".to_owned(),
    }
}

pub(super) async fn list(args: ListArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    if let Some(night) = &args.night {
        let records = read_night(&reader, night).await?;
        if args.json {
            return print_json(&night_json(&records));
        }
        print!("{}", render_summary(&summary(&records, &layout), COLUMNS));
        return Ok(());
    }
    let running = is_running(&layout).map_err(Fault::failed)?;
    let nights = reader.nights().await.map_err(Fault::failed)?;
    let mut rows = Vec::new();
    for night in &nights {
        let records = NightRecords::read(&reader, &night.id).await.map_err(Fault::failed)?;
        rows.push((night, records));
    }
    if args.json {
        let nights: Vec<Value> = rows.iter().map(|(_, records)| night_json(records)).collect();
        return print_json(&json!(nights));
    }
    if rows.is_empty() {
        println!("no night yet; begin with: nocturne night experiments/quickstart");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["night", "campaign", "began", "experiments", "kept", "start", "champion", "state"]);
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    for (night, records) in rows {
        let with = |verdict: Option<Verdict>| {
            let of = |e: &&ExperimentRecord| {
                let decided = e.decision.as_ref().map(|decision| decision.verdict);
                e.id.number > 0 && decided.is_some() && (verdict.is_none() || decided == verdict)
            };
            records.experiments.iter().filter(of).count().to_string()
        };
        table.add_row([
            night.id.to_string(),
            clean(&night.campaign),
            night.started_at.strftime("%Y-%m-%d %H:%M").to_string(),
            with(None),
            with(Some(Verdict::Kept)),
            figure(records.val_bpb(0)),
            figure(records.val_bpb(records.champion())),
            state(night, running && night.end.is_none()),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn read_night(reader: &crate::store::Reader, name: &str) -> Result<NightRecords, Fault> {
    let night: NightId = name.parse().map_err(Fault::usage)?;
    NightRecords::read(reader, &night).await.map_err(Fault::usage)
}

pub(super) async fn show(args: ShowArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let latest = last_night(&reader).await?;
    let Some(id) = named(&args.what, latest.as_ref()) else {
        let records = read_night(&reader, &args.what).await?;
        if args.json {
            return print_json(&night_json(&records));
        }
        print!("{}", render_summary(&summary(&records, &layout), COLUMNS));
        return Ok(());
    };
    let experiment = reader.experiment(&id).await.map_err(Fault::failed)?;
    let experiment = experiment.ok_or_else(|| no_such_experiment(&id))?;
    let trials = reader.trials(&id).await.map_err(Fault::failed)?;
    let diff = match &experiment.candidate {
        Some(candidate) if candidate.commit != candidate.parent => Repo::discover(layout.root())
            .and_then(|repo| repo.diff(&candidate.parent, &candidate.commit))
            .map_err(Fault::failed)?,
        _ => String::new(),
    };
    if args.json {
        return print_json(&json!({ "experiment": experiment, "trials": trials, "diff": diff }));
    }
    print_experiment(&layout, &experiment, &trials, &diff);
    Ok(())
}

pub(super) fn no_such_experiment(id: &ExperimentId) -> Fault {
    Fault::usage(format!("there is no experiment {id}")).with_help(format!("nocturne list {}", id.night))
}

fn print_experiment(layout: &Layout, experiment: &ExperimentRecord, trials: &[TrialRecord], diff: &str) {
    let proposal = &experiment.proposal;
    println!("{}  {}", experiment.id, clean(&proposal.title));
    match &experiment.decision {
        Some(decision) => {
            println!("verdict:    {}: {} (rule {})", decision.verdict, clean(&decision.reason), decision.rule)
        }
        None => println!("verdict:    none yet; it is {}", experiment.state),
    }
    let by = &proposal.author;
    let model = by.model.as_ref().map(|model| format!(" ({})", clean(model))).unwrap_or_default();
    println!("proposer:   {}{model}, family {}", clean(&by.proposer), clean(&proposal.family));
    if !proposal.source.is_empty() {
        println!("source:     {}", clean(&proposal.source));
    }
    println!("hypothesis: {}", clean(&proposal.hypothesis));
    if let Some(effect) = proposal.predicted_effect {
        println!("predicted:  {effect:+.4} bits per byte");
    }
    if let Some(candidate) = &experiment.candidate {
        println!("branch:     {}", candidate.branch);
        println!("commit:     {} on {}", candidate.commit, candidate.parent.short());
    }
    for attempt in &experiment.attempts {
        println!("attempt {}:  {} {}", attempt.ordinal, attempt.kind, attempt.outcome);
        if !attempt.evidence.is_empty() {
            println!("{}", clean_lines(&attempt.evidence));
        }
    }
    for trial in trials {
        println!("trial {}:", trial.ordinal);
        if let Some(trained) = &trial.trained {
            let end = serde_json::to_value(&trained.end).unwrap_or_default();
            println!(
                "  {}: {} steps, {} tokens, {:.1} s of training, {:.1} s to start, {:.2} GB, {} parameters",
                end.get("end").and_then(Value::as_str).unwrap_or("?"),
                trained.steps,
                trained.tokens,
                trained.training_seconds,
                trained.start_seconds,
                trained.peak_memory_bytes as f64 / 1e9,
                trained.parameters,
            );
            if let Some(message) = end.get("message").and_then(Value::as_str) {
                println!("  {}", clean_lines(message));
            }
            if let Some(hash) = &trained.checkpoint_sha256 {
                println!("  checkpoint sha256 {hash}");
            }
        }
        println!("  executable sha256 {}", trial.artifact_sha256);
        match &trial.evaluation {
            Some(crate::records::Evaluation::Verified(verified)) => println!(
                "  val_bpb {:.6}: {:.1} nats over {} bytes ({} tokens) by evaluator {} in {:.1} s",
                verified.val_bpb, verified.nats, verified.bytes, verified.tokens, verified.evaluator, verified.seconds
            ),
            Some(crate::records::Evaluation::Rejected(rejected)) => {
                println!("  rejected by check '{}': {}", clean(&rejected.check), clean(&rejected.evidence));
            }
            None => {}
        }
        println!("  files: {}", layout.trial(&trial.experiment, trial.ordinal).display());
    }
    if !diff.is_empty() {
        println!("\n{}", clean_lines(diff));
    }
}
