//! The table of a night's experiments.

use maud::{Markup, html};
use serde::Serialize;

use super::parts::{NightHead, Outcome, choice, crumbs, direction, outcome, pager, seen};
use super::query::{ExperimentsQuery, MOST_TEXT, ROWS, Sort};
use super::url;
use crate::text::{clean, counted, duration, interval, metric, signed};
use crate::view::Choice;

/// A page of a night's experiments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentsView {
    /// The night.
    pub night: NightHead,
    /// What was asked.
    pub query: ExperimentsQuery,
    /// Those of the page, in order.
    pub rows: Vec<ExperimentRow>,
    /// How many there are in the night.
    pub all: u32,
    /// How many of them fit the question.
    pub matching: u32,
    /// How many of the night came out how.
    pub outcomes: Vec<(Outcome, u32)>,
    /// How many of the night are whose.
    pub proposers: Vec<(String, u32)>,
    /// How many of the night are of which family.
    pub families: Vec<(String, u32)>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentRow {
    /// Counted from 1 in the night.
    pub number: u32,
    /// What was changed.
    pub title: String,
    /// How it came out.
    pub outcome: Outcome,
    /// Mean of the metric over its trials, whichever seeds they had.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub runs: u32,
    /// The measured difference from its champion; negative is better.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// What is expected of it when it is measured again.
    pub expected: Option<f64>,
    /// What was predicted.
    pub predicted: Option<f64>,
    /// Lines that it adds and removes.
    pub lines: Option<(u32, u32)>,
    /// Seconds of training.
    pub seconds: Option<f64>,
    /// Who proposed it.
    pub proposer: String,
    /// What kind of idea it is.
    pub family: String,
    /// What the person made of it.
    pub choice: Option<Choice>,
}

impl ExperimentsView {
    /// How many pages there are of what was asked for; one even where there is nothing.
    pub fn pages(&self) -> u32 {
        self.matching.div_ceil(ROWS).max(1)
    }
}

/// The page.
pub fn experiments(view: &ExperimentsView) -> Markup {
    let night = &view.night;
    html! {
        (crumbs(night))
        h1 { "Experiments of night " (clean(&night.night)) }
        p { (counts(view)) }
        (filter(view))
        @if view.rows.is_empty() {
            p {
                @if view.all == 0 { "This night has no experiment yet." }
                @else { "None of the night's " (counted(view.all as usize, "experiment")) " fits. "
                    a href=(url::night(&night.night)) { "Show all" } }
            }
        } @else {
            (table(view))
            (pager(view.query.page, view.pages(), |page| view.query.on_page(page).address(&night.night)))
        }
    }
}

fn counts(view: &ExperimentsView) -> Markup {
    let all = counted(view.all as usize, "experiment");
    html! {
        @if view.query.is_filtered() {
            strong { (view.matching) " of " (all) } @if view.matching == 1 { " fits." } @else { " fit." }
        } @else {
            strong { (all) }
            @for (of, count) in view.outcomes.iter().filter(|(_, count)| *count > 0) { ", " (count) " " (outcome(*of)) }
            "."
        }
    }
}

fn filter(view: &ExperimentsView) -> Markup {
    let query = &view.query;
    let texts = |name: &str, label: &str, all: &str, of: &[(String, u32)], chosen: Option<&str>| {
        // What is asked for stays in the list, also where none has it.
        let missing = chosen.filter(|chosen| !of.iter().any(|(value, _)| value.as_str() == *chosen));
        html! {
            label {
                (label)
                select name=(name) {
                    option value="" { (all) }
                    @if let Some(missing) = missing { option value=(missing) selected { (clean(missing)) " (0)" } }
                    @for (value, count) in of {
                        option value=(value) selected[chosen == Some(value.as_str())] { (clean(value)) " (" (count) ")" }
                    }
                }
            }
        }
    };
    let sort = format!("{}{}", if query.descending { "-" } else { "" }, query.sort.name());
    html! {
        form.filter method="get" action=(url::night(&view.night.night)) role="search" aria-label="Experiments" {
            label.search {
                "Search this night's titles, hypotheses and reasons"
                input type="search" name="q" value=(query.q) maxlength=(MOST_TEXT);
            }
            label {
                "Verdict"
                select name="verdict" {
                    option value="" { "any" }
                    @for (of, count) in &view.outcomes {
                        @if *count > 0 || query.verdict == Some(*of) {
                            option value=(of.name()) selected[query.verdict == Some(*of)] { (of.words()) " (" (count) ")" }
                        }
                    }
                }
            }
            (texts("proposer", "Proposer", "anyone", &view.proposers, query.proposer.as_deref()))
            (texts("family", "Family", "any", &view.families, query.family.as_deref()))
            @if sort != "number" { input type="hidden" name="sort" value=(sort); }
            button { "Show" }
            @if query.is_filtered() { a href=(url::night(&view.night.night)) { "Show all" } }
        }
    }
}

fn table(view: &ExperimentsView) -> Markup {
    let heading = |sort: Sort, words: &str, is_number: bool| {
        let is_by = view.query.sort == sort;
        let aria = match (is_by, view.query.descending) {
            (false, _) => None,
            (true, false) => Some("ascending"),
            (true, true) => Some("descending"),
        };
        let mark = match aria {
            Some("ascending") => " ▲",
            Some(_) => " ▼",
            None => "",
        };
        html! {
            th scope="col" class=[is_number.then_some("number")] aria-sort=[aria] {
                a href=(view.query.sorted_by(sort).address(&view.night.night)) { (words) }
                span aria-hidden="true" { (mark) }
            }
        }
    };
    html! {
        form #compare method="get" action="/compare" {
            p.buttons { button { "Compare what is ticked" } span.muted { "two or more, side by side" } }
        }
        div.table.wide tabindex="0" role="region" aria-label="Experiments" {
            table {
                caption { span.words {
                    "Effects in bits per byte against the champion of that moment, below them their 95 % intervals; negative is better. \
                     Value is what to expect when it is measured again. val_bpb is a mean over an experiment's own seeds."
                } }
                thead {
                    tr {
                        th scope="col" { "compare" }
                        (heading(Sort::Number, "#", true))
                        th scope="col" { "experiment" }
                        th scope="col" { "verdict" }
                        (heading(Sort::Effect, "effect", true))
                        (heading(Sort::Value, "value", true))
                        th.number scope="col" { "predicted" }
                        (heading(Sort::Metric, "val_bpb", true))
                        th.number scope="col" { "lines" }
                        (heading(Sort::Time, "training", true))
                        th scope="col" { "proposer" }
                    }
                }
                tbody { @for of in &view.rows { (row(&view.night.night, of)) } }
            }
        }
    }
}

fn row(night: &str, of: &ExperimentRow) -> Markup {
    let id = format!("{night}/{}", of.number);
    html! {
        tr data-row tabindex="-1" data-experiment=(id) data-seen=(seen(of.choice)) data-title={ "#" (of.number) " " (clean(&of.title)) } {
            td { input type="checkbox" form="compare" name="e" value=(id) aria-label={ "compare #" (of.number) }; }
            td.number { (of.number) }
            td.title { a href=(url::experiment(night, of.number)) { (titled(&of.title)) } }
            td { (outcome(of.outcome)) @if of.choice.is_some() { small { "you: " (choice(of.choice)) } } }
            td.number {
                span class=[direction(of.difference)] { (signed(of.difference)) }
                @if let Some(bounds) = of.interval { small { (interval(bounds)) } }
            }
            td.number { (signed(of.expected)) }
            td.number { (signed(of.predicted)) }
            td.number { (metric(of.val_bpb)) @if of.runs > 1 { small { "mean of " (of.runs) } } }
            td.number { @if let Some((added, removed)) = of.lines { "+" (added) " −" (removed) } @else { "–" } }
            td.number { (of.seconds.map_or("–".to_owned(), duration)) }
            td { (clean(&of.proposer)) small { (clean(&of.family)) } }
        }
    }
}

/// A title; a link needs words even where there is none.
pub(super) fn titled(title: &str) -> String {
    let title = clean(title);
    if title.is_empty() { "(no title)".to_owned() } else { title }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const SCRIPT: &str = "\"><script>alert(1)</script>\" onx=\"1";

    /// Whether all of [`SCRIPT`] stands there as text.
    pub(in super::super) fn harmless(page: &str) {
        assert!(page.contains("&lt;script&gt;"), "nothing of it is on the page: {page}");
        assert!(!page.contains("<script") && !page.contains("\" onx") && !page.contains(" style="), "{page}");
    }

    pub(in super::super) fn head() -> NightHead {
        NightHead { campaign: SCRIPT.into(), night: "n".into(), date: SCRIPT.into(), ended: false }
    }

    fn view() -> ExperimentsView {
        let row = ExperimentRow {
            number: 3,
            title: SCRIPT.into(),
            outcome: Outcome::Kept,
            val_bpb: Some(1.8),
            runs: 3,
            difference: Some(-0.004),
            interval: Some((-0.006, -0.002)),
            expected: Some(-0.003),
            predicted: None,
            lines: Some((3, 1)),
            seconds: Some(62.0),
            proposer: SCRIPT.into(),
            family: SCRIPT.into(),
            choice: Some(Choice::Accepted),
        };
        ExperimentsView {
            night: head(),
            query: ExperimentsQuery { q: SCRIPT.into(), family: Some(SCRIPT.into()), ..ExperimentsQuery::default() },
            rows: vec![
                row.clone(),
                ExperimentRow { number: 4, title: String::new(), difference: Some(f64::NAN), ..row },
            ],
            all: 250,
            matching: 250,
            outcomes: vec![(Outcome::Kept, 250), (Outcome::Open, 0)],
            proposers: vec![(SCRIPT.into(), 250)],
            families: vec![("x".into(), 250)],
        }
    }

    #[test]
    fn nothing_that_anybody_wrote_becomes_markup() {
        let page = experiments(&view()).into_string();
        harmless(&page);
    }

    #[test]
    fn headings_say_how_the_table_is_sorted_and_keep_the_filter() {
        let mut view = view();
        view.query = ExperimentsQuery { q: "a b".into(), sort: Sort::Effect, ..ExperimentsQuery::default() };
        let page = experiments(&view).into_string();
        assert!(
            page.contains("aria-sort=\"ascending\"><a href=\"/nights/n?q=a%20b&amp;sort=-effect\">effect</a>"),
            "{page}"
        );
        assert_eq!(page.matches("aria-sort").count(), 1);
        assert!(page.contains("page 1 of 3") && page.contains("sort=effect&amp;page=2"), "{page}");
        assert!(page.contains("name=\"sort\" value=\"effect\""), "{page}");
        assert!(page.contains("(no title)") && page.contains("data-experiment=\"n/3\""), "{page}");
    }

    #[test]
    fn an_empty_table_says_why() {
        let mut view = view();
        view.rows.clear();
        assert!(experiments(&view).into_string().contains("None of the night's 250 experiments fits."));
        view.all = 0;
        assert!(experiments(&view).into_string().contains("no experiment yet"));
    }
}
