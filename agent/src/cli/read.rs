//! Commands that only read: `status`, `list`, `show`.

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::certificate::evaluation_text;
use super::night::{last_night, night_json, summary};
use super::output::{out, outln};
use super::{Fault, ListArgs, ReadArgs, ShowArgs, here, open_records, print_json};
use crate::flow::{ExperimentId, NightId, Verdict};
use crate::layout::Layout;
use crate::night::is_running;
use crate::records::{ExperimentRecord, NightRecord, TrialRecord};
use crate::repo::Repo;
use crate::report::{NightRecords, ReportError, named};
use crate::store::Reader;
use crate::terminal::{clean, clean_lines, render_summary};

/// Width of tables that are not fitted to a terminal.
const COLUMNS: usize = 120;

/// What to do when a night is not there.
const SHOWS_NIGHTS: &str = "`nocturne list` shows the nights that there are";

pub(super) async fn status(args: ReadArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let running = is_running(&layout).map_err(Fault::failed)?;
    let Some(night) = last_night(&reader).await? else {
        if args.json {
            return print_json(&json!({ "running": running, "night": null }));
        }
        outln!("no night yet; begin with: nocturne night experiments/quickstart")?;
        return Ok(());
    };
    let records = NightRecords::read(&reader, &night).await.map_err(records_fault)?;
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
    outln!("night {night} of {}: {}", clean(&records.night.campaign), state(&records.night, running))?;
    let zone = TimeZone::system();
    outln!("since {}", to_the_second(records.night.started_at, &zone))?;
    if let Some(deadline) = records.night.deadline {
        outln!("until {}", to_the_second(deadline, &zone))?;
    }
    let settled = records.experiments.iter().filter(|e| e.decision.is_some() && e.id.number > 0);
    outln!("experiments with a verdict: {}", settled.count())?;
    if let (Some(start), Some(best)) = (records.val_bpb(0), records.val_bpb(records.champion())) {
        outln!("val_bpb: {start:.4} -> {best:.4} (experiment {})", records.champion())?;
    }
    if let Some(current) = current.filter(|_| running) {
        outln!("now: experiment {} {}: {}", current.id.number, clean(&current.proposal.title), current.state)?;
    }
    for event in events.iter().rev().take(5).rev() {
        outln!("{} {:>8} {}", to_the_second(event.at, &zone), event.stage, clean(&event.text))?;
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
        out!("{}", render_summary(&summary(&records, &layout), COLUMNS))?;
        return Ok(());
    }
    let running = is_running(&layout).map_err(Fault::failed)?;
    let nights = reader.nights().await.map_err(Fault::failed)?;
    let mut rows = Vec::new();
    for night in &nights {
        let records = NightRecords::read(&reader, &night.id).await.map_err(records_fault)?;
        rows.push((night, records));
    }
    if args.json {
        let nights: Vec<Value> = rows.iter().map(|(_, records)| night_json(records)).collect();
        return print_json(&json!(nights));
    }
    if rows.is_empty() {
        outln!("no night yet; begin with: nocturne night experiments/quickstart")?;
        return Ok(());
    }
    let zone = TimeZone::system();
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
            to_the_minute(night.started_at, &zone),
            with(None),
            with(Some(Verdict::Kept)),
            figure(records.val_bpb(0)),
            figure(records.val_bpb(records.champion())),
            state(night, running && night.end.is_none()),
        ]);
    }
    outln!("{table}")?;
    Ok(())
}

/// A time as the clocks around here show it, with the zone's abbreviation (or its offset, where it has none).
fn to_the_second(at: Timestamp, zone: &TimeZone) -> String {
    shown(at, zone, "%Y-%m-%d %H:%M:%S")
}

fn to_the_minute(at: Timestamp, zone: &TimeZone) -> String {
    shown(at, zone, "%Y-%m-%d %H:%M")
}

fn shown(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    // A system that does not say where it is gets the time that means the same everywhere.
    let zone = if zone.is_unknown() { TimeZone::UTC } else { zone.clone() };
    at.to_zoned(zone).strftime(&format!("{format} %Z")).to_string()
}

async fn read_night(reader: &Reader, name: &str) -> Result<NightRecords, Fault> {
    NightRecords::read(reader, &parse_night(name)?).await.map_err(records_fault)
}

/// A night named on the command line.
pub(super) fn parse_night(name: &str) -> Result<NightId, Fault> {
    name.parse().map_err(|error| Fault::usage(error).with_help(SHOWS_NIGHTS))
}

/// A night that is not there is the person's mistake; records that cannot be read are not.
pub(super) fn records_fault(error: ReportError) -> Fault {
    match error {
        ReportError::NoSuchNight(night) => no_such_night(&night),
        other => Fault::failed(other),
    }
}

fn no_such_night(night: &NightId) -> Fault {
    Fault::usage(format!("there is no night {night}")).with_help(SHOWS_NIGHTS)
}

pub(super) async fn show(args: ShowArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let latest = last_night(&reader).await?;
    let Some(id) = named(&args.what, latest.as_ref()) else {
        let records = read_night(&reader, &args.what).await?;
        if args.json {
            return print_json(&night_json(&records));
        }
        out!("{}", render_summary(&summary(&records, &layout), COLUMNS))?;
        return Ok(());
    };
    let experiment = reader.experiment(&id).await.map_err(Fault::failed)?;
    let Some(experiment) = experiment else { return Err(no_such_experiment(&reader, &id).await?) };
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
    print_experiment(&layout, &experiment, &trials, &diff)
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
    trials: &[TrialRecord],
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
    let by = &proposal.author;
    let model = by.model.as_ref().map(|model| format!(" ({})", clean(model))).unwrap_or_default();
    outln!("proposer:   {}{model}, family {}", clean(&by.proposer), clean(&proposal.family))?;
    if !proposal.source.is_empty() {
        outln!("source:     {}", clean(&proposal.source))?;
    }
    outln!("hypothesis: {}", clean(&proposal.hypothesis))?;
    if let Some(effect) = proposal.predicted_effect {
        outln!("predicted:  {effect:+.4} bits per byte")?;
    }
    if let Some(candidate) = &experiment.candidate {
        outln!("branch:     {}", candidate.branch)?;
        outln!("commit:     {} on {}", candidate.commit, candidate.parent.short())?;
    }
    for attempt in &experiment.attempts {
        outln!("attempt {}:  {} {}", attempt.ordinal, attempt.kind, attempt.outcome)?;
        if !attempt.evidence.is_empty() {
            outln!("{}", clean_lines(&attempt.evidence))?;
        }
    }
    for trial in trials {
        outln!("trial {}:", trial.ordinal)?;
        if let Some(trained) = &trial.trained {
            let end = serde_json::to_value(&trained.end).unwrap_or_default();
            outln!(
                "  {}: {} steps, {} tokens, {:.1} s of training, {:.1} s to start, {:.2} GB, {} parameters",
                end.get("end").and_then(Value::as_str).unwrap_or("?"),
                trained.steps,
                trained.tokens,
                trained.training_seconds,
                trained.start_seconds,
                trained.peak_memory_bytes as f64 / 1e9,
                trained.parameters,
            )?;
            if let Some(message) = end.get("message").and_then(Value::as_str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_place_and_say_so() {
        let at: Timestamp = "2026-03-08T22:15:07.25Z".parse().unwrap();
        for (zone, expected) in [
            ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-08 23:15:07 CET"),
            ("<-03>3", "2026-03-08 19:15:07 -03"),
            ("IST-5:30", "2026-03-09 03:45:07 IST"),
        ] {
            assert_eq!(to_the_second(at, &TimeZone::posix(zone).unwrap()), expected);
        }
        assert_eq!(to_the_second(at, &TimeZone::unknown()), "2026-03-08 22:15:07 UTC");
        assert_eq!(to_the_minute(at, &TimeZone::UTC), "2026-03-08 22:15 UTC");
    }
}
