//! The table at the end of a night and where to look next. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::text::{clean, duration, figure, fit, signed, width};
use crate::flow::Verdict;

/// What a night found, for its last words.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The campaign's name.
    pub campaign: String,
    /// The night's name.
    pub night: String,
    /// Bits per byte of the night's start.
    pub baseline: Option<f64>,
    /// Number and bits per byte of the champion, equal seeds being compared; number 0 where nothing was kept.
    pub champion: Option<(u32, f64)>,
    /// Why something that was kept does not stand.
    pub withdrawn: Option<String>,
    /// One per experiment, in order.
    pub rows: Vec<Row>,
    /// What all branches begin with: `nocturne/<campaign>/<night>/`.
    pub branch_prefix: String,
    /// By the clock, all in all.
    pub total: Duration,
    /// Of which trials took so much.
    pub training: Duration,
    /// Where to look next.
    pub places: Vec<Place>,
}

/// One experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// Bits per byte, where it was measured: the mean over its trials.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub trials: usize,
    /// Against its champion, negative is better.
    pub difference: Option<f64>,
    /// 95 % interval of the difference, where the rule gives one.
    pub interval: Option<(f64, f64)>,
    /// How it ended; `None` where the night ended first.
    pub verdict: Option<Verdict>,
    /// Whether that stands: `false` where it, or what it was compared with, broke a rule later.
    pub stands: bool,
    /// Its branch, whole; empty where it has none.
    pub branch: String,
}

/// Something to look at after a night.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// What is there: `the champion's changes`.
    pub what: String,
    /// A command or a path.
    pub place: String,
}

/// The night's result in a sentence or two, the table no wider than `columns`, and where to look next. Ends with a line break.
pub fn render_summary(summary: &Summary, columns: usize) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", headline(summary));
    if !summary.rows.is_empty() {
        let _ = writeln!(text, "\n{}", table(summary, columns));
        if summary.rows.iter().any(|row| row.trials > 1) {
            let _ = writeln!(
                text,
                "\nval_bpb is the mean over an experiment's trials, whichever seeds they had; differences compare equal seeds."
            );
        }
        let _ = writeln!(text, "\nBranches begin with {}", clean(&summary.branch_prefix));
    }
    if !summary.places.is_empty() {
        let widest = summary.places.iter().map(|place| width(&clean(&place.what))).max().unwrap_or(0);
        let _ = writeln!(text, "\nWhere to look next:");
        for place in &summary.places {
            let what = clean(&place.what);
            let gap = " ".repeat(widest - width(&what) + 2);
            // Not cut to the width: a person copies these.
            let _ = writeln!(text, "  {what}{gap}{}", clean(&place.place));
        }
    }
    text
}

fn headline(summary: &Summary) -> String {
    let stands = |row: &&Row| row.stands || row.verdict != Some(Verdict::Kept);
    let count = |verdict| summary.rows.iter().filter(stands).filter(|row| row.verdict == Some(verdict)).count();
    let fallen = summary.rows.iter().filter(|row| !stands(row)).count();
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .map(|verdict| (count(verdict), verdict))
        .filter(|(count, _)| *count > 0)
        .map(|(count, verdict)| format!("{count} {verdict}"))
        .chain((fallen > 0).then(|| format!("{fallen} kept and taken back")))
        .collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let experiments = match summary.rows.len() {
        1 => "1 experiment".to_owned(),
        number => format!("{number} experiments"),
    };
    let times = format!("{} in all, {} of training", duration(summary.total), duration(summary.training));
    let result = match (summary.baseline, summary.champion) {
        (Some(baseline), Some((number @ 1.., best))) => format!(
            "The champion is #{number} with val_bpb {}; the night began at {} ({}).",
            figure(Some(best)),
            figure(Some(baseline)),
            signed(Some(best - baseline))
        ),
        (Some(baseline), _) if summary.withdrawn.is_some() => {
            format!("Nothing that was kept stands; the baseline has val_bpb {}.", figure(Some(baseline)))
        }
        (Some(baseline), _) => format!("Nothing was kept; the baseline has val_bpb {}.", figure(Some(baseline))),
        (None, _) => "The baseline was not measured, so nothing could be judged.".to_owned(),
    };
    let (campaign, night) = (clean(&summary.campaign), clean(&summary.night));
    let withdrawn = summary.withdrawn.as_ref().map(|why| format!("\nTaken back: {}.", clean(why))).unwrap_or_default();
    format!("Night {night} of {campaign}, {experiments}{counts}; {times}.\n{result}{withdrawn}")
}

fn table(summary: &Summary, columns: usize) -> String {
    let prefix = summary.branch_prefix.as_str();
    let cells: Vec<[String; 7]> = summary
        .rows
        .iter()
        .map(|row| {
            [
                row.number.to_string(),
                clean(&row.title).trim().to_owned(),
                figure(row.val_bpb),
                if row.trials == 0 { "-".to_owned() } else { row.trials.to_string() },
                difference(row),
                match row.verdict {
                    Some(Verdict::Kept) if !row.stands => "taken back".to_owned(),
                    verdict => verdict.map_or("-", Verdict::name).to_owned(),
                },
                clean(row.branch.strip_prefix(prefix).unwrap_or(&row.branch)),
            ]
        })
        .collect();
    let header = ["#", "title", "val_bpb", "trials", "difference", "verdict", "branch"];
    let widest = |column: usize| {
        let cells = cells.iter().map(|row| width(&row[column]));
        cells.chain([width(header[column])]).max().unwrap_or(0)
    };
    // Two spaces stand between columns. Title and branch share what the figures leave; neither takes more than it needs.
    let left = columns.saturating_sub(1 + 2 * 7 + [0, 2, 3, 4, 5].map(widest).iter().sum::<usize>());
    let (title_needs, branch_needs) = (widest(1), widest(6));
    let title = title_needs.min((left * 3 / 5).max(left.saturating_sub(branch_needs))).max(LEAST_TEXT);
    let branch = branch_needs.min(left.saturating_sub(title)).max(LEAST_TEXT);

    let mut table = Table::new();
    // Widths are settled here; nothing asks the terminal, so the same data gives the same table everywhere.
    table.force_no_tty().load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for [number, what, val_bpb, trials, difference, verdict, branch_name] in cells {
        table.add_row([number, fit(&what, title), val_bpb, trials, difference, verdict, fit(&branch_name, branch)]);
    }
    for column in [0, 2, 3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The difference, and half of its interval's width where it has one: `-0.0123 ± 0.0020`.
fn difference(row: &Row) -> String {
    let half = row.interval.map(|(low, high)| (high - low) / 2.0).filter(|half| half.is_finite());
    match half.filter(|_| row.difference.is_some()) {
        Some(half) => format!("{} ± {half:.4}", signed(row.difference)),
        None => signed(row.difference),
    }
}

const LEAST_TEXT: usize = 8;
