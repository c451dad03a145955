//! `nocturne show night`: where a night's time went.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::night::last_night;
use super::output::out;
use super::read::{COLUMNS, parse_night, records_fault};
use super::{Fault, print_json};
use crate::report::{Booked, Cycle, NightRecords, TimeAccount};
use crate::store::Reader;

/// What to ask `show` for.
pub(super) const WHERE_TIME_WENT: &str = "night";

pub(super) async fn show_time(reader: &Reader, night: Option<&str>, json: bool) -> Result<(), Fault> {
    let night = match night {
        Some(name) => parse_night(name)?,
        None => last_night(reader).await?.ok_or_else(|| Fault::usage("there is no night yet"))?,
    };
    let records = NightRecords::read(reader, &night).await.map_err(records_fault)?;
    let account = records.time_account();
    if json {
        return print_json(&json!(account));
    }
    out!("{}", time_text(&account))
}

/// The table, and below it what recurs; each line is ended.
pub(super) fn time_text(account: &TimeAccount) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(COLUMNS).unwrap_or(u16::MAX));
    table.set_header(["stage", "seconds", "share", "beside training"]);
    for booked in &account.stages {
        table.add_row(row(booked));
    }
    table.add_row(["all".to_owned(), figure(account.seconds), percent(1.0), String::new()]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    text += "  Each second is one stage's. What was done while a trial trained is that trial's time and costs nothing: beside training.\n";
    if let Some(cycle) = &account.cycle {
        text += &cycle_text(cycle);
    }
    if !account.devices.is_empty() {
        let each = account.devices.iter();
        let each = each.map(|it| format!("{} {} s ({})", it.device, figure(it.seconds), percent(it.share)));
        text += &format!("  Trained on each device: {}.\n", each.collect::<Vec<_>>().join(", "));
    }
    text
}

fn row(booked: &Booked) -> [String; 4] {
    let some = |seconds: f64| if seconds > 0.0 { figure(seconds) } else { "-".to_owned() };
    let share = if booked.seconds > 0.0 { percent(booked.share) } else { "-".to_owned() };
    [booked.stage.words().to_owned(), some(booked.seconds), share, some(booked.beside_training)]
}

fn cycle_text(cycle: &Cycle) -> String {
    let trials = if cycle.trials == 1 { "1 trial".to_owned() } else { format!("{} trials, each", cycle.trials) };
    let mut text = match (cycle.share_at_60, cycle.share_at_300) {
        (Some(at_60), Some(at_300)) => format!(
            "  {trials} with {:.2} s besides its training, for all that comes back with a trial. With that, budgets of 60 s would make {} of \
             a long night training, and budgets of 300 s {}.\n",
            cycle.seconds_besides,
            percent(at_60),
            percent(at_300)
        ),
        _ => format!(
            "  {trials} with {:.2} s in which no device trained, for all that comes back with a trial.\n",
            cycle.seconds_besides
        ),
    };
    if let Some(way) = &cycle.to_first_step {
        text += &format!(
            "  From an accepted edit to the first step: {:.2} s (median build {:.2}, before the trial {:.2}, process, model and data {:.2}).\n",
            way.total(),
            way.build,
            way.prepare,
            way.start
        );
    }
    text
}

fn figure(seconds: f64) -> String {
    format!("{seconds:.1}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{DeviceTime, TimeStage, ToFirstStep};

    #[test]
    fn the_account_is_a_table() {
        let booked =
            |stage, seconds: f64, beside_training| Booked { stage, seconds, share: seconds / 400.0, beside_training };
        let mut account = TimeAccount {
            night: "n".parse().unwrap(),
            begin: jiff::Timestamp::UNIX_EPOCH,
            end: jiff::Timestamp::from_second(400).unwrap(),
            seconds: 400.0,
            training_share: 0.95,
            stages: vec![
                booked(TimeStage::RedTeam, 12.25, 0.0),
                booked(TimeStage::Training, 380.0, 0.0),
                booked(TimeStage::Building, 0.0, 31.5),
                booked(TimeStage::Between, 7.75, 0.0),
            ],
            cycle: None,
            devices: Vec::new(),
        };
        let mut shown = time_text(&account);
        account.cycle = Some(Cycle {
            trials: 6,
            seconds_besides: 1.5,
            share_at_60: Some(60.0 / 61.5),
            share_at_300: Some(300.0 / 301.5),
            to_first_step: Some(ToFirstStep { build: 2.5, prepare: 0.25, start: 0.75 }),
        });
        let trained = |device: &str, seconds| DeviceTime { device: device.to_owned(), seconds, share: seconds / 400.0 };
        shown += &time_text(&account);
        account.devices = vec![trained("cpu:0", 350.0), trained("cpu:1", 240.5)];
        account.cycle = account.cycle.map(|cycle| Cycle { share_at_60: None, share_at_300: None, ..cycle });
        shown += &time_text(&account);
        insta::assert_snapshot!(shown);
    }
}
