//! One experiment that was kept on the page, with what a person needs to decide.

use maud::{Markup, html};

use super::{NightPictures, figure, percent, short};
use crate::diff::diff;
use crate::picture::Picture;
use crate::text::{self, clean, counted, duration, metric, plus_minus, signed};
use crate::view::{ExperimentView, NightView};

/// One kept experiment, with what a person needs to decide.
pub(super) fn article(night: &NightView, experiment: &ExperimentView, pictures: &NightPictures) -> Markup {
    let against = match experiment.champion_number {
        0 => "the night's start".to_owned(),
        number => format!("#{number}"),
    };
    let commit = short(&experiment.commit);
    html! {
        article id={ "experiment-" (experiment.number) } {
            h3 { "#" (experiment.number) " " (clean(&experiment.title)) }
            @if experiment.has_fallen() {
                p { strong { "It does not stand" } ": it, or what it builds on, turned out to break a rule." }
            }
            @if !experiment.hypothesis.is_empty() { p { (clean(&experiment.hypothesis)) } }
            dl {
                dt { "effect" }
                dd {
                    strong { (signed(experiment.difference)) }
                    @if let Some(bounds) = experiment.interval { " (95 % interval " (text::interval(bounds)) ")" }
                    " against " (against) ", predicted " (signed(experiment.predicted_effect))
                    @if let Some(confidence) = experiment.confidence { " with a confidence of " (percent(confidence)) }
                    "; " (clean(&night.metric)) " " (metric(experiment.val_bpb))
                    @if experiment.trials_measured > 1 { ", the mean of " (experiment.trials_measured) " trials" }
                    " " (plus_minus(experiment.standard_error))
                }
                @if let Some(evidence) = experiment.evidence.as_ref().filter(|_| !experiment.has_fallen()) {
                    dt { "to expect" }
                    dd {
                        strong { (signed(Some(evidence.expected))) }
                        " when measured again (95 % interval " (text::interval(evidence.expected_interval)) "): what is kept was picked for looking good, and this is \
                         corrected for it. An improvement with " (percent(evidence.probability)) "; worth having from "
                        (signed(Some(-evidence.least_effect))) " on."
                    }
                }
                dt { "cost" } dd { (cost(experiment)) }
                @if !experiment.source.is_empty() { dt { "source" } dd { (clean(&experiment.source)) } }
                dt { "proposed by" } dd { (clean(&experiment.proposer)) ", " (clean(&experiment.family)) }
                @if !experiment.reason.is_empty() { dt { "decision" } dd { (clean(&experiment.reason)) } }
                @if !experiment.branch.is_empty() { dt { "branch" } dd { code { (clean(&experiment.branch)) } } }
                @if !commit.is_empty() { dt { "look at it" } dd { code { "git show " (commit) } } }
            }
            (story(experiment))
            (trials(night, experiment))
            (diff(&experiment.diff))
            (figure(pictures.experiments.get(&experiment.number)))
            @let more = [&pictures.experiments_time, &pictures.experiments_compute];
            @let more: Vec<&Picture> = more.into_iter().filter_map(|of| of.get(&experiment.number)).collect();
            @if !more.is_empty() {
                details {
                    summary { "The same against time and compute" }
                    @for picture in more { (figure(Some(picture))) }
                }
            }
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

/// Why it was kept: what was seen and done after each trial.
fn story(experiment: &ExperimentView) -> Markup {
    let lines = experiment.evidence.iter().flat_map(|evidence| &evidence.story);
    html! {
        @if lines.clone().next().is_some() {
            h4 { "Why it was kept" }
            ol.story { @for line in lines { li { (clean(line)) } } }
        }
    }
}

/// Its trials, each beside the run that it is paired with; nothing where there was but one.
fn trials(night: &NightView, experiment: &ExperimentView) -> Markup {
    html! {
        @if experiment.trials.len() > 1 {
            details {
                summary { (counted(experiment.trials.len(), "trial")) ", seed by seed" }
                div.table tabindex="0" role="region" aria-label="Trials" {
                    table {
                        thead {
                            tr {
                                th.number scope="col" { "seed" }
                                th.number scope="col" { (clean(&night.metric)) }
                                th.number scope="col" { "paired with" }
                                th.number scope="col" { "difference" }
                                th scope="col" { "" }
                            }
                        }
                        tbody {
                            @for trial in &experiment.trials {
                                tr {
                                    td.number { (trial.seed.map_or("–".to_owned(), |seed| seed.to_string())) }
                                    td.number { (metric(trial.val_bpb)) }
                                    td.number { (metric(trial.paired_with)) }
                                    td.number { (signed(trial.difference)) }
                                    td { (clean(&trial.what)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
