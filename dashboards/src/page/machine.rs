//! The machine's night: how much of it trained, what stood between, and what broke.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::percent;
use crate::axis::usable;
use crate::text::{clean, counted, duration};
use crate::view::{BookedView, GapView, NightView};

/// Lines of a list; the rest is counted.
const MOST_LINES: usize = 12;

/// In words and lists; the picture of it is the page's.
pub(super) fn machine(night: &NightView) -> Markup {
    let faults = alike(&night.faults);
    let more = faults.len().saturating_sub(MOST_LINES);
    let gaps: Vec<&GapView> = night.machine.gaps.iter().filter(|gap| minutes(gap) > 0.0).take(MOST_LINES).collect();
    html! {
        p { (utilisation(night)) }
        @if !gaps.is_empty() {
            h3 { "The longest stretches without training" }
            ul.short { @for gap in gaps { li { (told(gap)) } } }
        }
        (booked(&night.machine.booked))
        h3 { "Faults and warnings" }
        @if faults.is_empty() {
            p { "None is on record." }
        } @else {
            ul.short {
                @for (line, count) in faults.iter().take(MOST_LINES) {
                    li { (line) @if *count > 1 { " (" (count) " times)" } }
                }
                @if more > 0 { li { "… and " (counted(more, "other line")) "; " code { "nocturne show " (clean(&night.night)) } " has all." } }
            }
        }
    }
}

/// Where the time went; nothing where it is not on record.
fn booked(booked: &[BookedView]) -> Markup {
    let some = |seconds: f64| if seconds > 0.0 { duration(seconds) } else { "–".to_owned() };
    let share = |booked: &BookedView| match booked.seconds > 0.0 {
        true => format!("{:.1} %", 100.0 * booked.share),
        false => "–".to_owned(),
    };
    html! {
        @if !booked.is_empty() {
            h3 { "Where the time went" }
            div.table tabindex="0" role="region" aria-label="Where the time went" {
                table {
                    caption {
                        "Each second of the night is one line's, from the command to the report. What was done while a trial trained is \
                         that trial's time and costs nothing."
                    }
                    thead {
                        tr {
                            th scope="col" { "on" }
                            th.number scope="col" { "time" }
                            th.number scope="col" { "share" }
                            th.number scope="col" { "beside training" }
                        }
                    }
                    tbody {
                        @for line in booked {
                            tr {
                                td { (clean(&line.what)) }
                                td.number { (some(line.seconds)) }
                                td.number { (share(line)) }
                                td.number { (some(line.beside_training)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn utilisation(night: &NightView) -> String {
    let share = percent(night.seconds_training / night.seconds_total);
    let mut words = match share.as_str() {
        "–" => format!("Trials trained for {}.", duration(night.seconds_training)),
        share => format!(
            "A trial trained in {share} of the night: {} of {}.",
            duration(night.seconds_training),
            duration(night.seconds_total)
        ),
    };
    match night.machine.lost_trials {
        0 => {}
        count => words += &format!(" {} lost to faults of the machine and run again.", was(count, "trial")),
    }
    match night.machine.cut_offs {
        0 => {}
        1 => words += " The night was cut off once and gone on with.",
        count => words += &format!(" The night was cut off {count} times and gone on with."),
    }
    words
}

fn was(count: u32, what: &str) -> String {
    format!("{} {}", counted(count as usize, what), if count == 1 { "was" } else { "were" })
}

fn minutes(gap: &GapView) -> f64 {
    let length = gap.end_minutes - gap.begin_minutes;
    if usable(length) { length } else { 0.0 }
}

/// `21 min from 2 h 10 min on: waiting, somebody uses the machine`.
fn told(gap: &GapView) -> String {
    let begin = if gap.begin_minutes < 1.0 {
        "from the start".to_owned()
    } else {
        format!("from {} on", duration(60.0 * gap.begin_minutes))
    };
    let what = clean(&gap.what);
    let what = if what.is_empty() { "nothing is on record".to_owned() } else { what };
    format!("{} {begin}: {what}", duration(60.0 * minutes(gap)))
}

/// Lines that are the same once, with their number, in the order of their first.
fn alike(lines: &[String]) -> Vec<(String, usize)> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut found: Vec<(String, usize)> = Vec::new();
    for line in lines {
        let line = clean(line);
        match places.get(&line) {
            Some(place) => found[*place].1 += 1,
            None => {
                places.insert(line.clone(), found.len());
                found.push((line, 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::MachineView;

    #[test]
    fn a_night_is_told_by_what_stood_between_trainings() {
        let gap = |begin_minutes, end_minutes, what: &str| GapView { begin_minutes, end_minutes, what: what.into() };
        let line = |what: &str, seconds, share, beside_training| BookedView {
            what: what.into(),
            seconds,
            share,
            beside_training,
        };
        let night = NightView {
            seconds_total: 25_500.0,
            seconds_training: 19_890.0,
            faults: vec!["train: lost".into(), "conditions: <b>".into(), "train: lost".into()],
            machine: MachineView {
                cut_offs: 1,
                lost_trials: 2,
                gaps: vec![gap(130.0, 151.0, "waiting: somebody"), gap(0.0, 4.0, ""), gap(f64::NAN, 3.0, "x")],
                booked: vec![line("training", 19_890.0, 0.78, 0.0), line("<b>building", 0.0, 0.0, 912.0)],
                ..MachineView::default()
            },
            ..NightView::default()
        };
        insta::assert_snapshot!(machine(&night).into_string().replace("><", ">\n<"));
        let empty = machine(&NightView::default()).into_string();
        assert!(empty.contains("Trials trained for 0 s.") && empty.contains("None is on record."), "{empty}");
        let many: Vec<String> = (0..30).map(|i| format!("line {i}")).collect();
        let many = machine(&NightView { faults: many, ..NightView::default() }).into_string();
        assert!(many.contains("… and 18 other lines"), "{many}");
    }
}
