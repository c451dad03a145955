//! From data to lines. Pure: no terminal, no clock.

use super::text::{clean, duration, figure, fit, signed, width};
use super::{Current, LiveView, Notice, Stage, Unit};
use crate::flow::Verdict;

/// Below this many columns a title says nothing.
const LEAST_TITLE: usize = 8;
const BAR: usize = 20;

/// The live lines, each narrower than `columns` so that no terminal wraps it. The first is about the night, the second about the
/// experiment.
pub fn live_lines(view: &LiveView, columns: usize) -> Vec<String> {
    let columns = columns.saturating_sub(1);
    let mut lines = vec![night_line(view, columns)];
    if let Some(current) = &view.current {
        lines.push(experiment_line(current, columns));
    }
    lines
}

/// One plain line with the same facts, for logs.
pub fn progress_line(view: &LiveView) -> String {
    let mut parts = night_parts(view);
    if let Some(current) = &view.current {
        parts.insert(0, stage_words(current));
        if let Some(loss) = current.loss {
            parts.insert(1, format!("loss {}", figure(Some(loss))));
        }
    }
    parts.join(", ")
}

/// The line that stays of a notice.
pub fn notice_line(notice: &Notice) -> String {
    match notice {
        Notice::Stage { text } => clean(text),
        Notice::Warning { text } => format!("warning: {}", clean(text)),
        Notice::Progress { what, done, total, unit } => progress(what, *done, *total, *unit),
        Notice::Verdict { number: 0, val_bpb: val_bpb @ Some(_), .. } => {
            format!("baseline: val_bpb {}", figure(*val_bpb))
        }
        Notice::Verdict { number, title, verdict, val_bpb, difference, interval, trials, reason } => {
            let figures = match (val_bpb, difference) {
                (Some(_), Some(_)) => {
                    let interval = interval.map_or(String::new(), |(low, high)| {
                        format!(", 95 % interval {} to {}", signed(Some(low)), signed(Some(high)))
                    });
                    let of = if *trials == 1 { "trial" } else { "trials" };
                    format!(" val_bpb {} ({}{interval}, {trials} {of})", figure(*val_bpb), signed(*difference))
                }
                (Some(_), None) => format!(" val_bpb {}", figure(*val_bpb)),
                (None, _) => String::new(),
            };
            let reason = match verdict {
                // What was stopped early has no figures to say why.
                Verdict::Kept | Verdict::Discarded if val_bpb.is_some() => String::new(),
                _ if reason.trim().is_empty() => String::new(),
                _ => format!(" [{}]", fit(clean(reason).trim(), 160)),
            };
            let who = if *number == 0 { "baseline".to_owned() } else { format!("#{number}") };
            format!("{who} {verdict}{figures}: {}{reason}", clean(title))
        }
    }
}

fn night_line(view: &LiveView, columns: usize) -> String {
    // What fits, in the order of how much it matters.
    let mut line = String::new();
    for part in night_parts(view) {
        let joined = if line.is_empty() { part } else { format!("{line} · {part}") };
        if width(&joined) > columns {
            break;
        }
        line = joined;
    }
    line
}

fn night_parts(view: &LiveView) -> Vec<String> {
    let mut parts = Vec::new();
    if view.stopping {
        parts.push("ending after this trial".to_owned());
    }
    parts.push(match view.limit {
        Some(limit) => format!("{}/{limit} done", view.done),
        None => format!("{} done", view.done),
    });
    if let Some(left) = view.time_left {
        parts.push(format!("{} left", duration(left)));
    }
    match (view.best, view.baseline) {
        (Some(best), Some(baseline)) if best < baseline => {
            parts.push(format!("best {} ({})", figure(Some(best)), signed(Some(best - baseline))));
        }
        (Some(best), _) => parts.push(format!("best {}", figure(Some(best)))),
        (None, Some(baseline)) => parts.push(format!("baseline {}", figure(Some(baseline)))),
        (None, None) => {}
    }
    if let Some((number, state)) = &view.next {
        parts.push(format!("next #{number} {}", clean(state)));
    }
    parts
}

/// `#4 training 52 %`.
fn stage_words(current: &Current) -> String {
    let who = if current.number == 0 { "baseline".to_owned() } else { format!("#{}", current.number) };
    match fraction(current) {
        Some(fraction) => format!("{who} {} {:.0} %", current.stage.name(), 100.0 * fraction),
        None => format!("{who} {}", current.stage.name()),
    }
}

fn fraction(current: &Current) -> Option<f64> {
    current.progress.filter(|_| matches!(current.stage, Stage::Training | Stage::Verifying)).map(bounded)
}

fn bounded(fraction: f64) -> f64 {
    if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 }
}

fn experiment_line(current: &Current, columns: usize) -> String {
    let mut line = fit(&stage_words(current), columns);
    let mut add = |part: String, least_left: usize| {
        if width(&line) + 2 + width(&part) + least_left <= columns {
            line = format!("{line}  {part}");
        }
    };
    if let Some(loss) = current.loss {
        add(format!("loss {}", figure(Some(loss))), 0);
    }
    if let Some(fraction) = fraction(current) {
        add(bar(fraction, BAR), 30);
    }
    if current.number > 0 {
        let left = columns.saturating_sub(width(&line) + 2);
        let title = clean(&current.title);
        let title = title.trim();
        if left >= LEAST_TITLE && !title.is_empty() {
            line = format!("{line}  {}", fit(title, left));
        }
    }
    line
}

pub(super) fn bar(fraction: f64, columns: usize) -> String {
    let full = (bounded(fraction) * columns as f64).floor() as usize;
    format!("{}{}", "━".repeat(full), "─".repeat(columns.saturating_sub(full)))
}

fn progress(what: &str, done: u64, total: Option<u64>, unit: Unit) -> String {
    let amount = match (unit, total) {
        (Unit::Bytes, Some(total)) => format!("{} of {}", bytes(done), bytes(total)),
        (Unit::Bytes, None) => bytes(done),
        (Unit::Things(word), Some(total)) => format!("{done} of {total} {word}"),
        (Unit::Things(word), None) => format!("{done} {word}"),
    };
    match total.filter(|total| *total > 0) {
        Some(total) => format!("{}: {amount}, {:.0} %", clean(what), 100.0 * bounded(done as f64 / total as f64)),
        None => format!("{}: {amount}", clean(what)),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
