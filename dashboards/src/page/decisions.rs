//! What waits for the person, most valuable first, and what they decided already.

use maud::{Markup, html};

use super::article::{Article, article};
use super::effect::Range;
use super::{Curves, NightPictures};
use crate::text::{clean, clean_long, counted, interval, signed};
use crate::view::{Choice, ExperimentView, NightView};

/// What waits, in its order; numbers that name no experiment are left out.
pub(super) fn waiting(night: &NightView) -> Vec<&ExperimentView> {
    night.waiting.iter().filter_map(|number| night.experiment(*number)).collect()
}

/// What the person has decided, in the order of the experiments: what was put off waits still.
pub(super) fn decided(night: &NightView) -> Vec<(&ExperimentView, Choice)> {
    let mut decided: Vec<(&ExperimentView, Choice)> = night
        .experiments
        .iter()
        .filter_map(|experiment| Some((experiment, experiment.review.as_ref()?.choice)))
        .filter(|(experiment, _)| !night.waiting.contains(&experiment.number))
        .collect();
    decided.sort_by_key(|(experiment, _)| experiment.number);
    decided
}

/// The decisions that wait: how to decide, a table of them where there are several, and one after the other.
pub(super) fn section(night: &NightView, pictures: &NightPictures) -> Markup {
    let waiting = waiting(night);
    let range = Range::of(waiting.iter().copied());
    html! {
        @if waiting.is_empty() {
            p { "No decision waits for you." }
        } @else {
            p.how {
                "Nothing is merged by itself. " code { "nocturne review " (clean(&night.night)) }
                " asks one after the other; what you accept becomes a clean branch on your own base."
            }
            @if waiting.len() > 1 { (overview(&waiting)) }
            @for experiment in &waiting {
                (article(&Article { night, experiment, curves: Curves::of(pictures, experiment.number), range, level: 3, actions: None }))
            }
        }
    }
}

fn overview(waiting: &[&ExperimentView]) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label="Decisions waiting" {
            table {
                caption { "Most valuable first: by what is expected of it when it is measured again. Negative is better." }
                thead {
                    tr {
                        th.number scope="col" { "#" }
                        th scope="col" { "change" }
                        th.number scope="col" { "expected" }
                        th.number scope="col" { "measured" }
                        th.number scope="col" { "lines" }
                    }
                }
                tbody {
                    @for experiment in waiting {
                        tr {
                            td.number { (experiment.number) }
                            th.title scope="row" {
                                a href={ "#experiment-" (experiment.number) } { (clean(&experiment.title)) }
                                @if experiment.review.is_some() { small { "put off" } }
                            }
                            td.number { (signed(experiment.evidence.as_ref().map(|evidence| evidence.expected))) }
                            td.number {
                                (signed(experiment.difference))
                                @if let Some(bounds) = experiment.interval { small { (interval(bounds)) } }
                            }
                            td.number { "+" (experiment.lines_added) " −" (experiment.lines_removed) }
                        }
                    }
                }
            }
        }
    }
}

/// What was decided already.
pub(super) fn decided_section(night: &NightView) -> Markup {
    let decided = decided(night);
    html! {
        div.table tabindex="0" role="region" aria-label="What you decided" {
            table {
                caption { (counted(decided.len(), "experiment")) " that you decided on, when this page was written." }
                thead {
                    tr {
                        th.number scope="col" { "#" }
                        th scope="col" { "change" }
                        th scope="col" { "decision" }
                        th scope="col" { "reason" }
                        th.number scope="col" { "measured" }
                    }
                }
                tbody {
                    @for (experiment, choice) in decided {
                        tr {
                            td.number { (experiment.number) }
                            th.title scope="row" { a href={ "#row-" (experiment.number) } { (clean(&experiment.title)) } }
                            td class={ "verdict " (choice.name()) } { (choice.name()) }
                            td {
                                @if let Some(review) = &experiment.review {
                                    (clean_long(&review.reason))
                                    @if !review.date.is_empty() { small { (clean(&review.date)) } }
                                }
                            }
                            td.number { (signed(experiment.difference)) }
                        }
                    }
                }
            }
        }
    }
}
