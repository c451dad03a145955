//! Experiments side by side.

use maud::{Markup, html};
use serde::Serialize;

use super::experiments::titled;
use super::parts::{Outcome, choice, direction, number_words, outcome};
use super::url;
use crate::page::{figure, percent};
use crate::picture::Picture;
use crate::text::{bytes, clean, duration, interval, metric, plain, signed};
use crate::view::Choice;

/// What is compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CompareView {
    /// Experiments in the order in which they were asked for; two at least, [`super::MOST_COMPARED`] at most.
    pub compared: Vec<Compared>,
    /// Each but the first against the first, where both ran under some seed of one night.
    pub pairs: Vec<PairedView>,
    /// Numbers of the recipe in which they differ: the name, and each one's value.
    pub recipe: Vec<(String, Vec<Option<f64>>)>,
    /// Curves over each other; `None` where there is none.
    #[serde(skip)]
    pub picture: Option<Picture>,
}

/// One of what is compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Name of the campaign.
    pub campaign: String,
    /// The night.
    pub night: String,
    /// The experiment; 0 is the night's start.
    pub number: u32,
    /// What was changed.
    pub title: String,
    /// How it came out.
    pub outcome: Outcome,
    /// Number of its champion.
    pub champion: u32,
    /// The measured difference from that.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// What is expected of it when it is measured again.
    pub expected: Option<f64>,
    /// How probable an improvement is.
    pub probability: Option<f64>,
    /// What was predicted.
    pub predicted: Option<f64>,
    /// Mean of the metric over its trials.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub runs: u32,
    /// Lines that it adds and removes.
    pub lines: Option<(u32, u32)>,
    /// Seconds of training, all trials together.
    pub seconds: Option<f64>,
    /// Tokens that one trial was trained on.
    pub tokens: Option<u64>,
    /// Largest memory of a trial.
    pub memory: Option<u64>,
    /// Who proposed it.
    pub proposer: String,
    /// What kind of idea it is.
    pub family: String,
    /// What the person made of it.
    pub choice: Option<Choice>,
}

/// Runs of two experiments under the same seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedView {
    /// Place of the other among what is compared, counted from 0; the one is the first.
    pub other: usize,
    /// Each common seed by its index in the night's list, and the other's metric less the first's.
    pub differences: Vec<(u32, f64)>,
}

impl PairedView {
    /// Mean of the differences; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.differences.iter().map(|(_, difference)| difference).sum();
        (!self.differences.is_empty()).then(|| sum / self.differences.len() as f64)
    }
}

/// The page.
pub fn compare(view: &CompareView) -> Markup {
    html! {
        h1 { "Comparison of " (view.compared.len()) " experiments" }
        div.table tabindex="0" role="region" aria-label="Figures side by side" {
            table {
                caption { span.words { "Effects are against each one's own champion, so they compare only where that is the same." } }
                thead {
                    tr {
                        th scope="col" { "figure" }
                        @for (place, of) in view.compared.iter().enumerate() {
                            th scope="col" {
                                span.swatch.{ "c" (place) } {}
                                a href=(url::experiment(&of.night, of.number)) { (number_words(of.number)) }
                            }
                        }
                    }
                }
                tbody { (rows(&view.compared)) }
            }
        }
        (pairs(view))
        (recipe(view))
        @if view.picture.is_some() { h2 { "Curves" } (figure(view.picture.as_ref(), "Training losses compared")) }
    }
}

fn rows(compared: &[Compared]) -> Markup {
    let row = |name: &str, cell: &dyn Fn(&Compared) -> Markup| {
        html! { tr { th scope="row" { (name) } @for of in compared { td { (cell(of)) } } } }
    };
    let text = |words: String| html! { (words) };
    html! {
        (row("experiment", &|of| text(titled(&of.title))))
        (row("night", &|of| html! { a href=(url::night(&of.night)) { (clean(&of.night)) } small.muted { (clean(&of.campaign)) } }))
        (row("verdict", &|of| html! { @if of.number == 0 { "–" } @else { (outcome(of.outcome)) } }))
        (row("effect", &|of| html! {
            span class=[direction(of.difference)] { (signed(of.difference)) }
            @if let Some(bounds) = of.interval { small { (interval(bounds)) } }
        }))
        (row("against", &|of| text(if of.number == 0 { "–".to_owned() } else { number_words(of.champion) })))
        (row("to expect when measured again", &|of| text(signed(of.expected))))
        (row("improvement with", &|of| text(of.probability.map_or("–".to_owned(), percent))))
        (row("predicted", &|of| text(signed(of.predicted))))
        (row("val_bpb", &|of| html! { (metric(of.val_bpb)) @if of.runs > 1 { small { "mean of " (of.runs) } } }))
        (row("lines", &|of| text(of.lines.map_or("–".to_owned(), |(added, removed)| format!("+{added} −{removed}")))))
        (row("training", &|of| text(of.seconds.map_or("–".to_owned(), duration))))
        (row("tokens of a trial", &|of| text(of.tokens.map_or("–".to_owned(), |tokens| format!("{:.2} million", tokens as f64 / 1e6)))))
        (row("memory at most", &|of| text(of.memory.map_or("–".to_owned(), bytes))))
        (row("proposer", &|of| html! { (clean(&of.proposer)) small { (clean(&of.family)) } }))
        (row("review", &|of| choice(of.choice)))
    }
}

fn pairs(view: &CompareView) -> Markup {
    let name = |place: usize| view.compared.get(place).map_or_else(String::new, |of| number_words(of.number));
    html! {
        h2 { "Under the same seeds" }
        @if view.pairs.is_empty() {
            p { "None of the others ran under a seed of the first, in its night: their means differ by seeds as well." }
        } @else {
            div.table tabindex="0" role="region" aria-label="Under the same seeds" {
                table {
                    caption { span.words { "val_bpb of the one less that of " (name(0)) ", seed by seed; negative is better. No interval is worked out of so few: what was decided stands above." } }
                    thead {
                        tr {
                            th scope="col" { "experiment" }
                            th.number scope="col" { "common seeds" }
                            th.number scope="col" { "mean difference" }
                            th scope="col" { "each" }
                        }
                    }
                    tbody {
                        @for pair in &view.pairs {
                            tr {
                                th scope="row" { span.swatch.{ "c" (pair.other) } {} (name(pair.other)) " less " (name(0)) }
                                td.number { (pair.differences.len()) }
                                td.number { (signed(pair.mean())) }
                                td { (each(pair)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `seed 0: −0.0183, seed 1: −0.0242`.
fn each(pair: &PairedView) -> String {
    let told = pair.differences.iter().map(|(seed, difference)| format!("seed {seed}: {}", signed(Some(*difference))));
    told.collect::<Vec<_>>().join(", ")
}

fn recipe(view: &CompareView) -> Markup {
    html! {
        h2 { "Numbers of the recipe" }
        @if view.recipe.is_empty() { p { "None differs among those that can be read." } } @else {
            div.table tabindex="0" role="region" aria-label="Numbers of the recipe" {
                table {
                    caption { span.words { "Those that differ." } }
                    thead {
                        tr {
                            th scope="col" { "number" }
                            @for (place, of) in view.compared.iter().enumerate() {
                                th.number scope="col" { span.swatch.{ "c" (place) } {} (number_words(of.number)) }
                            }
                        }
                    }
                    tbody {
                        @for (name, values) in &view.recipe {
                            tr {
                                th scope="row" { code { (clean(name)) } }
                                @for value in values { td.number { (value.map_or("–".to_owned(), plain)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::experiments::tests::{SCRIPT, harmless};
    use super::*;

    fn one(number: u32) -> Compared {
        Compared {
            campaign: SCRIPT.into(),
            night: SCRIPT.into(),
            number,
            title: SCRIPT.into(),
            outcome: Outcome::Discarded,
            champion: 0,
            difference: Some(f64::INFINITY),
            interval: Some((f64::NAN, 1.0)),
            expected: None,
            probability: Some(2.0),
            predicted: Some(-0.001),
            val_bpb: Some(1.9),
            runs: 2,
            lines: Some((1, 0)),
            seconds: Some(f64::NAN),
            tokens: Some(u64::MAX),
            memory: Some(u64::MAX),
            proposer: SCRIPT.into(),
            family: SCRIPT.into(),
            choice: Some(Choice::Deferred),
        }
    }

    #[test]
    fn what_differs_stands_side_by_side() {
        let mut view = CompareView {
            compared: vec![one(3), one(0)],
            pairs: vec![PairedView { other: 1, differences: vec![(0, -0.002), (2, -0.001)] }],
            recipe: vec![(SCRIPT.into(), vec![Some(4.0), None])],
            picture: None,
        };
        let page = compare(&view).into_string();
        harmless(&page);
        assert!(page.contains("the night&#39;s start less #3") || page.contains("the night's start less #3"), "{page}");
        assert!(page.contains("−0.0015"), "{page}");
        (view.pairs, view.recipe) = (Vec::new(), Vec::new());
        let page = compare(&view).into_string();
        assert!(page.contains("None of the others ran under a seed of the first") && page.contains("None differs"));
    }
}
