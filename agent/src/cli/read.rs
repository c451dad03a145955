//! Commands that only read: `status`, `list`.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::night::{last_night, night_json, summary};
use super::output::{out, outln};
use super::{Fault, ListArgs, ReadArgs, here, open_records, print_json};
use crate::clock::{self, to_the_minute, to_the_second};
use crate::flow::{NightId, Verdict};
use crate::night::is_running;
use crate::records::{ExperimentRecord, NightRecord};
use crate::report::{NightRecords, ReportError};
use crate::store::Reader;
use crate::terminal::{clean, render_summary};

/// Width of tables that are not fitted to a terminal.
pub(super) const COLUMNS: usize = 120;

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
    let zone = clock::here();
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
    let zone = clock::here();
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["night", "campaign", "began", "experiments", "kept", "start", "champion", "state"]);
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    for (night, records) in rows {
        let with = |verdict: Option<Verdict>| {
            let of = |e: &&ExperimentRecord| {
                let decided = e.decision.as_ref().map(|decision| decision.verdict);
                // What was taken back counts as an experiment and for no verdict.
                let counts = verdict.is_none() || decided == verdict && records.stands(e.id.number);
                e.id.number > 0 && decided.is_some() && counts
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

pub(super) async fn read_night(reader: &Reader, name: &str) -> Result<NightRecords, Fault> {
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

pub(super) fn no_such_night(night: &NightId) -> Fault {
    Fault::usage(format!("there is no night {night}")).with_help(SHOWS_NIGHTS)
}
