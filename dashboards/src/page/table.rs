//! The table of all experiments.

use maud::{Markup, html};

use super::short;
use crate::text::{clean, duration, metric, plus_minus, signed};
use crate::view::{ExperimentView, NightView, Verdict};

pub(super) fn table(night: &NightView, experiments: &[&ExperimentView]) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label="All experiments" {
            table {
                caption {
                    "Effects in " (clean(&night.metric_unit)) " against the champion of that moment; negative is better."
                    @if experiments.iter().any(|e| e.trials_measured > 1) {
                        " " (clean(&night.metric)) " is the mean over an experiment's trials, whichever seeds they had; effects \
                         compare equal seeds. Below effects stand their 95 % intervals."
                    }
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
                        th.title scope="row" { "the night's start" }
                        td { "start" }
                        td.number { (measured(night.baseline, night.baseline_trials, night.baseline_error)) }
                        td colspan="6" {}
                    }
                    @for experiment in experiments { (row(experiment)) }
                }
            }
        }
    }
}

/// A metric in the table, below it of how many trials it is the mean, and what the evaluator's audit leaves open, which says
/// nothing of the noise between seeds.
fn measured(value: Option<f64>, trials: u32, error: Option<f64>) -> Markup {
    let error = plus_minus(error);
    html! {
        (metric(value))
        @if trials > 1 { small { "mean of " (trials) } }
        @if !error.is_empty() { small { "audit " (error) } }
    }
}

fn row(experiment: &ExperimentView) -> Markup {
    let class = experiment.counted().map_or("not decided", Verdict::name);
    let verdict = experiment.verdict.map_or("not decided", Verdict::name);
    let has_article = experiment.verdict == Some(Verdict::Kept);
    html! {
        tr id={ "row-" (experiment.number) } {
            td.number { (experiment.number) }
            th.title scope="row" {
                @if has_article { a href={ "#experiment-" (experiment.number) } { (clean(&experiment.title)) } }
                @else { (clean(&experiment.title)) }
                // Of what was measured the numbers say enough; what failed says why.
                @if (!experiment.verdict.is_some_and(Verdict::is_measured) || experiment.val_bpb.is_none())
                    && !experiment.reason.is_empty() {
                    small { (clean(&experiment.reason)) }
                }
            }
            td class={ "verdict " (class) } { (verdict) @if experiment.has_fallen() { ", does not stand" } }
            td.number { (measured(experiment.val_bpb, experiment.trials_measured, experiment.standard_error)) }
            td.number {
                (signed(experiment.difference))
                @if let Some((low, high)) = experiment.interval {
                    small { (signed(Some(low))) " to " (signed(Some(high))) }
                }
            }
            td.number { (signed(experiment.predicted_effect)) }
            td.number { "+" (experiment.lines_added) " −" (experiment.lines_removed) }
            td.number { (experiment.training_seconds.map_or("–".to_owned(), duration)) }
            td { (clean(&experiment.proposer)) }
            td { code { (short(&experiment.commit)) } }
        }
    }
}
