//! The page of one experiment, and an experiment as the review shows it.

use maud::{Markup, html};
use serde::Serialize;

use super::parts::{NightHead, Outcome, choice, crumbs, done, number_words, outcome, seen};
use super::{review, url};
use crate::page::article::{Article, article};
use crate::page::effect::Range;
use crate::page::{Curves, short};
use crate::picture::Picture;
use crate::text::{clean, clean_block, clean_long, counted, metric};
use crate::view::{ExperimentView, NightView, ReviewView};

/// Characters of what a compiler or a check said that are shown.
const MOST_EVIDENCE: usize = 20_000;

/// An experiment with what its article needs of its night.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Told {
    /// The experiment.
    pub experiment: ExperimentView,
    /// Why it cannot be accepted; `None` where it can.
    pub why_not: Option<String>,
    /// Its curve against its champion's; `None` where there is none.
    #[serde(skip)]
    pub picture: Option<Picture>,
}

/// The page of one experiment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ExperimentPage {
    /// The night.
    pub night: NightHead,
    /// What of the night its article tells: the metric, what was left out.
    #[serde(skip)]
    pub about: NightView,
    /// The experiment; number 0 is the night's start.
    pub told: Told,
    /// How far it has come, in a word.
    pub state: String,
    /// What was concluded after each of its trials so far; empty once it is decided, because its evidence tells it then.
    pub concluded: Vec<String>,
    /// The number before its own in the night.
    pub before: Option<u32>,
    /// The number after its own.
    pub after: Option<u32>,
    /// Which model or agent wrote it.
    pub model: Option<String>,
    /// The idea's name for its proposer.
    pub key: String,
    /// US dollars that its proposal cost.
    pub dollars: f64,
    /// Tries to fit and to build it, in order.
    pub attempts: Vec<AttemptView>,
    /// All that the person said of it, the oldest first.
    pub reviews: Vec<ReviewView>,
    /// What has just been done, in words.
    pub done: Option<String>,
    /// Lines on each trial's evaluation, as `nocturne show` has them.
    pub certificates: Vec<(u32, String)>,
}

/// A try to fit or to build an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// `edit` or `build`.
    pub kind: String,
    /// `succeeded` or `failed`.
    pub outcome: String,
    /// What the policy or the compiler said.
    pub evidence: String,
}

/// The page. `csrf` goes into its form.
pub fn experiment(view: &ExperimentPage, csrf: &str) -> Markup {
    let Told { experiment, why_not, .. } = &view.told;
    let night = &view.night.night;
    let back = url::experiment(night, experiment.number);
    let said_last = experiment.review.as_ref().map(|review| review.choice);
    let actions = html! {
        div.decide data-experiment={ (night) "/" (experiment.number) } data-seen=(seen(said_last)) data-title={ "#" (experiment.number) " " (clean(&experiment.title)) } {
            h3 #decide { "Your decision" }
            (review::form(night, experiment.number, why_not.as_deref(), said_last, csrf, &back))
            @if !view.reviews.is_empty() { (said(&view.reviews)) }
        }
    };
    html! {
        (crumbs(&view.night))
        (steps(view))
        @if experiment.number == 0 {
            (start(view))
        } @else {
            h1 { "Experiment #" (experiment.number) }
            (done(view.done.as_deref()))
            p {
                (outcome(Outcome::of(experiment.verdict, !experiment.taken_back)))
                @if experiment.verdict.is_none() { span.muted { ": it is " (clean(&view.state)) } }
                @if let Some(review) = &experiment.review { " · you: " (choice(Some(review.choice))) }
                " · " a href="#decide" { "decide" }
            }
            @if !view.concluded.is_empty() {
                p { "So far, trial by trial:" }
                ol.story { @for line in &view.concluded { li { (clean_long(line)) } } }
            }
            (body(&view.about, &view.told, 2, actions))
        }
        (more(view))
    }
}

/// An experiment among those that wait.
pub(super) fn short_of(about: &NightView, told: &Told, night: &str, csrf: &str, range: Option<Range>) -> Markup {
    let number = told.experiment.number;
    let said_last = told.experiment.review.as_ref().map(|review| review.choice);
    let actions = html! {
        div.decide data-experiment={ (night) "/" (number) } data-seen=(seen(said_last)) data-title={ "#" (number) " " (clean(&told.experiment.title)) } {
            p { a data-open href=(url::experiment(night, number)) { "Everything on #" (number) } }
            (review::form(night, number, told.why_not.as_deref(), said_last, csrf, &url::review(night)))
        }
    };
    let curves = Curves::default();
    article(&Article { night: about, experiment: &told.experiment, curves, range, level: 2, actions: Some(actions) })
}

fn body(about: &NightView, told: &Told, level: u8, actions: Markup) -> Markup {
    let curves = Curves { tokens: told.picture.as_ref(), ..Curves::default() };
    let experiment = &told.experiment;
    let range = Range::of([experiment].into_iter());
    article(&Article { night: about, experiment, curves, range, level, actions: Some(actions) })
}

fn steps(view: &ExperimentPage) -> Markup {
    let night = &view.night.night;
    html! {
        nav.steps aria-label="Experiments beside this one" {
            @match view.before { Some(number) => { a rel="prev" href=(url::experiment(night, number)) { "← " (number_words(number)) } } None => { span {} } }
            @match view.after { Some(number) => { a rel="next" href=(url::experiment(night, number)) { (number_words(number)) " →" } } None => { span {} } }
        }
    }
}

/// The night's start, which is measured and not proposed.
fn start(view: &ExperimentPage) -> Markup {
    let experiment = &view.told.experiment;
    html! {
        h1 { "The start of night " (clean(&view.night.night)) }
        p { "The commit that the night began from, and that its first experiments were compared with." }
        dl.facts {
            dt { "val_bpb" }
            dd { (metric(experiment.val_bpb)) ", the mean of " (counted(experiment.trials_measured as usize, "trial")) }
            @if !experiment.commit.is_empty() { dt { "commit" } dd { code { (short(&experiment.commit)) } } }
        }
    }
}

fn said(reviews: &[ReviewView]) -> Markup {
    html! {
        p { "What you said so far:" }
        ul { @for review in reviews { li { (choice(Some(review.choice))) " on " (clean(&review.date)) @if !review.reason.is_empty() { ": " (clean(&review.reason)) } } } }
    }
}

/// What only whoever doubts or mends looks at.
fn more(view: &ExperimentPage) -> Markup {
    let experiment = &view.told.experiment;
    html! {
        @if experiment.number > 0 {
            h2 { "Where it comes from" }
            dl.facts {
                dt { "proposed by" }
                dd { (clean(&experiment.proposer)) @if let Some(model) = &view.model { ", " (clean(model)) } }
                @if is_cut(&experiment.hypothesis) { dt { "hypothesis, whole" } dd.whole { (whole(&experiment.hypothesis)) } }
                dt { "idea" } dd { code { (clean(&view.key)) } }
                @if view.dollars > 0.0 { dt { "cost of the proposal" } dd { "$" (format!("{:.4}", view.dollars)) } }
                @if !experiment.commit.is_empty() { dt { "look at it" } dd { code { "git show " (short(&experiment.commit)) } } }
            }
        }
        @if !view.attempts.is_empty() {
            h2 { "Tries to fit and build it" }
            @for (place, attempt) in (1..).zip(&view.attempts) {
                details id={ "attempt-" (place) } {
                    summary { (place) ": " (clean(&attempt.kind)) " " (clean(&attempt.outcome)) }
                    (block(&attempt.evidence))
                }
            }
        }
        @if !view.certificates.is_empty() {
            h2 { "Certificates" }
            @for (trial, lines) in &view.certificates {
                details id={ "certificate-" (trial) } { summary { "Trial " (trial) } (block(lines)) }
            }
        }
    }
}

/// Whether the article has shortened a text.
fn is_cut(text: &str) -> bool {
    clean(text).ends_with('…') && !text.trim_end().ends_with('…')
}

/// Text of several paragraphs.
fn whole(text: &str) -> String {
    clean_block(text).chars().take(MOST_EVIDENCE).collect()
}

/// Text of many lines, of which nobody knows how many.
fn block(text: &str) -> Markup {
    let text = clean_block(text);
    let shown: String = text.chars().take(MOST_EVIDENCE).collect();
    html! {
        @if text.trim().is_empty() { p.muted { "Nothing was said." } }
        @else { pre tabindex="0" { code { (shown) @if shown.len() < text.len() { "\n… cut off here" } } } }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::experiments::tests::{SCRIPT, harmless, head};
    use super::*;
    use crate::view::{Choice, EvidenceView, TrialView, Verdict};

    pub(in super::super) fn told(number: u32) -> Told {
        let text = || SCRIPT.to_owned();
        let experiment = ExperimentView {
            number,
            title: text(),
            hypothesis: text(),
            source: text(),
            verdict: Some(Verdict::Kept),
            reason: text(),
            proposer: text(),
            family: text(),
            commit: text(),
            branch: text(),
            diff: format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{SCRIPT}\n+let x = \"{SCRIPT}\"; // {SCRIPT}\n"),
            difference: Some(-0.004),
            interval: Some((-0.006, -0.002)),
            evidence: Some(EvidenceView { story: vec![text()], ..EvidenceView::default() }),
            trials: vec![TrialView { what: text(), ..TrialView::default() }; 2],
            review: Some(ReviewView { choice: Choice::Deferred, reason: text(), date: text() }),
            ..ExperimentView::default()
        };
        Told {
            experiment,
            why_not: Some(text()),
            picture: Some(crate::site::overlay(&[], crate::view::CurveAxis::Tokens).unwrap()),
        }
    }

    fn view(number: u32) -> ExperimentPage {
        let text = || SCRIPT.to_owned();
        ExperimentPage {
            night: head(),
            told: told(number),
            state: text(),
            concluded: vec![text()],
            before: Some(0),
            after: Some(7),
            model: Some(text()),
            key: text(),
            dollars: 0.5,
            attempts: vec![AttemptView {
                kind: text(),
                outcome: text(),
                evidence: format!("{SCRIPT}\n").repeat(3_000),
            }],
            reviews: vec![ReviewView { choice: Choice::Rejected, reason: text(), date: text() }],
            certificates: vec![(1, text())],
            ..ExperimentPage::default()
        }
    }

    #[test]
    fn nothing_that_anybody_wrote_becomes_markup() {
        let page = experiment(&view(3), SCRIPT).into_string();
        harmless(&page);
        assert!(
            page.contains("← the night") && page.contains("#7 →") && page.contains("no loss was recorded"),
            "{page}"
        );
        assert!(page.contains("… cut off here") && page.len() < 200_000, "{}", page.len());
        // It cannot be accepted, and can be put off.
        assert!(
            page.contains("value=\"accepted\" formnovalidate disabled")
                && page.contains("value=\"deferred\" formnovalidate>"),
            "{page}"
        );
        assert_eq!(page.matches("<h1").count(), 1);
    }

    #[test]
    fn a_long_hypothesis_stands_there_whole_once() {
        let mut view = view(3);
        assert!(!experiment(&view, "t").into_string().contains("hypothesis, whole"));
        view.told.experiment.hypothesis = format!("{} <b>end</b>", "word ".repeat(300));
        let page = experiment(&view, "t").into_string();
        assert!(page.contains("hypothesis, whole") && page.contains("&lt;b&gt;end&lt;/b&gt;"), "{page}");
    }

    #[test]
    fn the_nights_start_is_not_decided_on() {
        let page = experiment(&view(0), "t").into_string();
        assert!(page.contains("The start of night") && !page.contains("name=\"choice\""), "{page}");
    }
}
