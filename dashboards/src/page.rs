//! The simple page of a night: one self-contained HTML file that works offline, in the dark and on paper.
//!
//! Everything a proposer, a compiler or a log said goes through maud's escaping; control characters are stripped first. There is
//! no script, and the page's own content policy forbids any, should a hole be found.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::axis::usable;
use crate::picture::Picture;
use crate::plots::change;
use crate::text::{self, clean, counted, duration, metric, plus_minus, signed};
use crate::verification::verification;
use crate::view::{ExperimentView, NightView, Verdict};

/// Lines of a diff that are shown, and characters of a line; the rest is for `git show`.
const DIFF_LINES: usize = 200;
const DIFF_COLUMNS: usize = 300;

/// Nothing is fetched or run, whatever the page contains.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The pictures that go into a page; each may be missing.
#[derive(Debug, Clone, Default)]
pub struct NightPictures {
    /// From [`crate::progress`].
    pub progress: Option<Picture>,
    /// From [`crate::losses`] against tokens.
    pub loss_tokens: Option<Picture>,
    /// From [`crate::losses`] against time.
    pub loss_time: Option<Picture>,
    /// From [`crate::experiment`], by the experiment's number. Each adds some 30 kB to the page.
    pub experiments: BTreeMap<u32, Picture>,
}

/// The night as one HTML document: the answer in two sentences, warnings, progress, the kept experiments with hypothesis, effect
/// and diff, the loss curves, and a table of all experiments.
pub fn page(night: &NightView, pictures: &NightPictures) -> String {
    let mut experiments: Vec<&ExperimentView> = night.experiments.iter().collect();
    experiments.sort_by_key(|e| e.number);
    let (kept, others): (Vec<_>, Vec<_>) = experiments.iter().partition(|e| e.verdict == Some(Verdict::Kept));
    let name = format!("{} · night {}", clean(&night.campaign), clean(&night.night));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    h1 { (name) }
                    p.when { (clean(&night.date)) }
                }
                main {
                    p.answer { (answer(night, &kept)) }
                    (verification(night))
                    (notices("Before you trust a number", &night.warnings))
                    (notices("Faults of the machine", &night.faults))
                    (figure(pictures.progress.as_ref()))
                    @if !kept.is_empty() {
                        h2 { "Kept" }
                        @for experiment in &kept { (article(night, experiment, pictures)) }
                    }
                    @if pictures.loss_tokens.is_some() || pictures.loss_time.is_some() {
                        h2 { "Loss" }
                        (figure(pictures.loss_tokens.as_ref()))
                        (figure(pictures.loss_time.as_ref()))
                    }
                    h2 { "All experiments" }
                    (table(night, &experiments))
                    @if others.iter().any(|e| pictures.experiments.contains_key(&e.number)) {
                        h2 { "Curves of the others" }
                        @for experiment in &others {
                            @if let Some(picture) = pictures.experiments.get(&experiment.number) {
                                details {
                                    summary { "#" (experiment.number) " " (clean(&experiment.title)) }
                                    (figure(Some(picture)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

/// What the night found and what it cost, in two sentences.
fn answer(night: &NightView, kept: &[&ExperimentView]) -> Markup {
    let name = clean(&night.metric);
    let unit = clean(&night.metric_unit);
    let usable_of = |value: Option<f64>| value.filter(|v| usable(*v));
    let of_all = format!("{} of {}", kept.len(), counted(night.experiments.len(), "experiment"));
    let finding = match (usable_of(night.baseline), usable_of(night.champion)) {
        (Some(start), Some(end)) if night.champion_number != 0 || start != end => {
            format!(
                "{name} went from {} to {} {unit} ({}); {of_all} kept.",
                metric(Some(start)),
                metric(Some(end)),
                change(start, end)
            )
        }
        (Some(start), _) => format!("{name} stays at {} {unit}; {of_all} kept.", metric(Some(start))),
        _ => format!("The night's start has no {name}; {of_all} kept."),
    };
    let percent = night.seconds_training / night.seconds_total * 100.0;
    let share = if percent.is_finite() { format!(", {percent:.0} % of it training") } else { String::new() };
    let commit = short(&night.champion_commit);
    html! {
        (finding) " The night took " (duration(night.seconds_total)) (share)
        @if night.champion_number != 0 && !commit.is_empty() {
            "; its champion is #" (night.champion_number) ", commit " code { (commit) }
            @if !night.champion_branch.is_empty() { " on " code { (clean(&night.champion_branch)) } }
        }
        "."
    }
}

fn notices(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            section.warning {
                h3 { (title) }
                ul { @for line in lines { li { (clean(line)) } } }
            }
        }
    }
}

fn figure(picture: Option<&Picture>) -> Markup {
    html! { @if let Some(picture) = picture { figure { (PreEscaped(&picture.svg)) } } }
}

/// One kept experiment, with what a person needs to decide.
fn article(night: &NightView, experiment: &ExperimentView, pictures: &NightPictures) -> Markup {
    let against = match experiment.champion_number {
        0 => "the night's start".to_owned(),
        number => format!("#{number}"),
    };
    let commit = short(&experiment.commit);
    html! {
        article id={ "experiment-" (experiment.number) } {
            h3 { "#" (experiment.number) " " (clean(&experiment.title)) }
            @if !experiment.hypothesis.is_empty() { p { (clean(&experiment.hypothesis)) } }
            dl {
                dt { "effect" }
                dd {
                    strong { (signed(experiment.difference)) }
                    @if let Some((low, high)) = experiment.interval {
                        " (95 % interval " (signed(Some(low))) " to " (signed(Some(high))) ")"
                    }
                    " against " (against) ", predicted " (signed(experiment.predicted_effect))
                    "; " (clean(&night.metric)) " " (metric(experiment.val_bpb))
                    " " (plus_minus(experiment.standard_error))
                }
                dt { "cost" } dd { (cost(experiment)) }
                @if !experiment.source.is_empty() { dt { "source" } dd { (clean(&experiment.source)) } }
                dt { "proposed by" } dd { (clean(&experiment.proposer)) ", " (clean(&experiment.family)) }
                @if !experiment.reason.is_empty() { dt { "decision" } dd { (clean(&experiment.reason)) } }
                @if !experiment.branch.is_empty() { dt { "branch" } dd { code { (clean(&experiment.branch)) } } }
                @if !commit.is_empty() { dt { "look at it" } dd { code { "git show " (commit) } } }
            }
            (diff(&experiment.diff))
            (figure(pictures.experiments.get(&experiment.number)))
        }
    }
}

fn cost(experiment: &ExperimentView) -> String {
    let mut parts = vec![lines(experiment)];
    parts.extend(experiment.training_seconds.map(|seconds| format!("{} of training", duration(seconds))));
    parts.extend(experiment.peak_memory_bytes.map(|bytes| format!("{} of memory at most", text::bytes(bytes))));
    parts.extend(experiment.tokens.map(|tokens| format!("{:.2} million tokens", tokens as f64 / 1e6)));
    parts.join(", ")
}

fn lines(experiment: &ExperimentView) -> String {
    format!("+{} −{} lines", experiment.lines_added, experiment.lines_removed)
}

fn diff(text: &str) -> Markup {
    let text = text::clean_block(text);
    let class = |line: &str| match line.as_bytes() {
        [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'@', b'@', ..] => "place",
        [b'+', ..] => "added",
        [b'-', ..] => "removed",
        _ => "same",
    };
    let shown = text.lines().take(DIFF_LINES).map(|line| {
        let cut: String = line.chars().take(DIFF_COLUMNS).collect();
        if cut.len() < line.len() { cut + "…" } else { cut }
    });
    let more = text.lines().count().saturating_sub(DIFF_LINES);
    html! {
        @if !text.is_empty() {
            pre {
                @for line in shown { span class=(class(&line)) { (line) } }
                @if more > 0 { span.place { "… " (counted(more, "more line")) } }
            }
        }
    }
}

fn table(night: &NightView, experiments: &[&ExperimentView]) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label="All experiments" {
            table {
                caption {
                    "Effects in " (clean(&night.metric_unit)) " against the champion of that moment; negative is better."
                }
                thead {
                    tr {
                        th.number scope="col" { "#" }
                        th scope="col" { "experiment" }
                        th scope="col" { "verdict" }
                        th.number scope="col" { (clean(&night.metric)) }
                        th.number scope="col" { "effect" }
                        th.number scope="col" { "predicted" }
                        th.number scope="col" { "lines" }
                        th.number scope="col" { "training" }
                        th scope="col" { "proposer" }
                        th scope="col" { "commit" }
                    }
                }
                tbody {
                    tr {
                        td.number { "0" }
                        td.title { "the night's start" }
                        td { "start" }
                        td.number { (measured(night.baseline, night.baseline_error)) }
                        td colspan="6" {}
                    }
                    @for experiment in experiments { (row(experiment)) }
                }
            }
        }
    }
}

/// A metric in the table, its standard error below it.
fn measured(value: Option<f64>, error: Option<f64>) -> Markup {
    let error = plus_minus(error);
    html! { (metric(value)) @if !error.is_empty() { small { (error) } } }
}

fn row(experiment: &ExperimentView) -> Markup {
    let verdict = experiment.verdict.map_or("not decided", Verdict::name);
    let kept = experiment.verdict == Some(Verdict::Kept);
    html! {
        tr {
            td.number { (experiment.number) }
            td.title {
                @if kept { a href={ "#experiment-" (experiment.number) } { (clean(&experiment.title)) } }
                @else { (clean(&experiment.title)) }
                // Of what was measured the numbers say enough; what failed says why.
                @if !experiment.verdict.is_some_and(Verdict::is_measured) && !experiment.reason.is_empty() {
                    small { (clean(&experiment.reason)) }
                }
            }
            td class={ "verdict " (verdict) } { (verdict) }
            td.number { (measured(experiment.val_bpb, experiment.standard_error)) }
            td.number { (signed(experiment.difference)) }
            td.number { (signed(experiment.predicted_effect)) }
            td.number { "+" (experiment.lines_added) " −" (experiment.lines_removed) }
            td.number { (experiment.training_seconds.map_or("–".to_owned(), duration)) }
            td { (clean(&experiment.proposer)) }
            td { code { (short(&experiment.commit)) } }
        }
    }
}

/// The first seven digits of a commit, as people write them.
fn short(commit: &str) -> String {
    clean(commit).chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{BLUE, FAINT, GRID, INK, MUTED};

    fn night() -> NightView {
        NightView {
            metric: "val_bpb".into(),
            metric_unit: "bits per byte".into(),
            baseline: Some(1.8423),
            champion: Some(1.8423),
            experiments: vec![ExperimentView::default(), ExperimentView::default()],
            seconds_total: 600.0,
            seconds_training: 420.0,
            ..NightView::default()
        }
    }

    #[test]
    fn the_answer_says_what_was_found_and_what_it_cost() {
        let mut night = night();
        assert_eq!(
            answer(&night, &[]).into_string(),
            "val_bpb stays at 1.8423 bits per byte; 0 of 2 experiments kept. The night took 10 min, 70 % of it training."
        );
        night.champion = Some(1.8239);
        night.champion_number = 2;
        night.champion_commit = "0123456789abcdef0123456789abcdef01234567".into();
        night.champion_branch = "nocturne/q/n/champion".into();
        assert_eq!(
            answer(&night, &[&night.experiments[1]]).into_string(),
            "val_bpb went from 1.8423 to 1.8239 bits per byte (−0.0184, −1.00 %); 1 of 2 experiments kept. The night took 10 min, \
             70 % of it training; its champion is #2, commit <code>0123456</code> on <code>nocturne/q/n/champion</code>."
        );
        night.baseline = Some(f64::NAN);
        night.seconds_total = 0.0;
        assert!(
            answer(&night, &[]).into_string().starts_with("The night's start has no val_bpb; 0 of 2 experiments kept.")
        );
    }

    #[test]
    fn diffs_are_marked_line_by_line_and_end() {
        let markup = diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a < b\n+a > b\n same").into_string();
        assert_eq!(
            markup,
            "<pre><span class=\"place\">--- a/x</span><span class=\"place\">+++ b/x</span>\
             <span class=\"place\">@@ -1 +1 @@</span><span class=\"removed\">-a &lt; b</span>\
             <span class=\"added\">+a &gt; b</span><span class=\"same\"> same</span></pre>"
        );
        let long = diff(&format!("{}\n", "x".repeat(9_000)).repeat(1_000)).into_string();
        assert!(long.len() < 80_000 && long.contains("… 800 more lines"), "{}", long.len());
        assert_eq!(diff("").into_string(), "");
    }

    #[test]
    fn the_dark_page_knows_the_colours_of_the_pictures() {
        for color in [INK, MUTED, GRID, FAINT, BLUE] {
            let hex = format!("\"#{:02X}{:02X}{:02X}\"", color.0, color.1, color.2);
            assert!(include_str!("page.css").contains(&hex), "page.css has no rule for {hex}");
        }
    }
}
