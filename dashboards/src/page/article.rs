//! One experiment with what a person needs to decide on it: for the morning page, and for the server's page of one experiment.

use maud::{Markup, html};

use super::effect::{Range, against_prediction, picture};
use super::{Curves, figure, percent, short, trust};
use crate::diff::diff;
use crate::text::{self, clean, clean_long, counted, duration, grouped, metric, signed};
use crate::view::{CertificateView, Choice, ExperimentView, NightView, Verdict};

/// What an article is made from.
pub(crate) struct Article<'a> {
    /// The night that the experiment is of.
    pub night: &'a NightView,
    /// The experiment.
    pub experiment: &'a ExperimentView,
    /// Its curves against its champion; each may be missing.
    pub curves: Curves<'a>,
    /// What the small picture of its effect reaches over; see [`Range::of`].
    pub range: Option<Range>,
    /// Of its own heading, 2 to 5; what is below has the next.
    pub level: u8,
    /// What stands where the commands of the terminal stand otherwise.
    pub actions: Option<Markup>,
}

/// One experiment whole.
pub(crate) fn article(of: &Article<'_>) -> Markup {
    let Article { night, experiment, curves, range, level, actions } = of;
    let doubts = trust::doubts(night, experiment);
    html! {
        article id={ "experiment-" (experiment.number) } data-row {
            (heading(*level, html! { "#" (experiment.number) " " (clean(&experiment.title)) }))
            @if experiment.has_fallen() {
                p { strong { "It does not stand" } ": it, or what it builds on, turned out to break a rule." }
            }
            @if let Some(review) = &experiment.review {
                p.reviewed {
                    "You " (if review.choice == Choice::Deferred { "put it off" } else { review.choice.name() })
                    @if review.choice != Choice::Deferred { " it" }
                    @if !review.date.is_empty() { " on " (clean(&review.date)) }
                    @if !review.reason.is_empty() { ": " (clean_long(&review.reason)) }
                }
            }
            @if !experiment.hypothesis.is_empty() { p.hypothesis { (clean_long(&experiment.hypothesis)) } }
            (picture(experiment, *range))
            @if !doubts.is_empty() {
                ul.doubts aria-label="Where to be careful" { @for doubt in &doubts { li { (doubt) } } }
            }
            dl {
                dt { "measured" } dd { (effect(night, experiment)) }
                @if let Some(evidence) = experiment.evidence.as_ref().filter(|_| !experiment.has_fallen()) {
                    dt { "to expect" }
                    dd {
                        strong { (signed(Some(evidence.expected))) }
                        " when measured again (95 % interval " (text::interval(evidence.expected_interval))
                        "), for what is kept was picked for looking good. An improvement with " (percent(evidence.probability))
                        "; worth having from " (signed(Some(-evidence.least_effect))) " on."
                    }
                }
                @for left in night.left_out.iter().filter(|left| left.of == Some(experiment.number)) {
                    dt { "left out" }
                    dd {
                        @if let Some(part) = &left.part { "one of its ideas, " (clean(part)) ": " }
                        (signed(left.difference))
                        @if let Some(bounds) = left.interval { " (95 % interval " (text::interval(bounds)) ")" }
                        ": " (clean(&left.words)) @if left.title != experiment.title { " [" (clean(&left.title)) "]" }
                    }
                }
                dt { "speed" } dd { (speed(experiment)) }
                dt { "memory" } dd { (memory(experiment)) }
                dt { "lines" } dd { "+" (experiment.lines_added) " −" (experiment.lines_removed) }
                @if let Some(seconds) = experiment.training_seconds { dt { "training" } dd { (duration(seconds)) @if let Some(tokens) = experiment.tokens { ", " (format!("{:.2}", tokens as f64 / 1e6)) " million tokens a trial" } } }
                dt { "evidence" } dd { (certificate(experiment.certificate.as_ref())) }
                dt { "proposed by" }
                dd {
                    (clean(&experiment.proposer)) @if !experiment.family.is_empty() { ", " (clean(&experiment.family)) }
                    @if !experiment.source.is_empty() { "; source: " (clean(&experiment.source)) }
                }
                @if !experiment.reason.is_empty() { dt { "decision" } dd { (clean_long(&experiment.reason)) } }
                @if !experiment.branch.is_empty() { dt { "branch" } dd { code { (clean(&experiment.branch)) } } }
            }
            (diff(&experiment.diff))
            (figure(curves.tokens, "Training loss against its champion"))
            (details(of))
            @if let Some(actions) = actions { (actions) } @else { (commands(night, experiment)) }
        }
    }
}

/// A heading of a level.
pub(crate) fn heading(level: u8, content: Markup) -> Markup {
    match level {
        0..=2 => html! { h2 { (content) } },
        3 => html! { h3 { (content) } },
        4 => html! { h4 { (content) } },
        5 => html! { h5 { (content) } },
        _ => html! { h6 { (content) } },
    }
}

fn effect(night: &NightView, experiment: &ExperimentView) -> Markup {
    let against = match experiment.champion_number {
        0 => "the night's start".to_owned(),
        number => format!("#{number}"),
    };
    html! {
        strong { (signed(experiment.difference)) }
        @if let Some(bounds) = experiment.interval {
            " (95 % interval " (text::interval(bounds))
            @if experiment.trials_decided > 0 { ", " (counted(experiment.trials_decided as usize, "trial")) }
            ")"
        }
        " against " (against) "; predicted " (signed(experiment.predicted_effect))
        @if let Some(judged) = against_prediction(experiment) { ", " (judged) }
        @if let Some(confidence) = experiment.confidence { " (confidence " (percent(confidence)) ")" }
        "; " (clean(&night.metric)) " " (metric(experiment.val_bpb))
        @if experiment.trials_measured > 1 { ", the mean of all its " (experiment.trials_measured) " trials" }
    }
}

/// Tokens per second beside the champion's.
fn speed(experiment: &ExperimentView) -> String {
    match experiment.tokens_per_second.filter(|speed| speed.is_finite()) {
        Some(own) => {
            let beside = beside(own, experiment.champion_tokens_per_second, |speed| grouped(speed.round()));
            format!("{} tokens/s{beside}", grouped(own.round()))
        }
        None => "not known: no trial finished".to_owned(),
    }
}

/// The largest memory of a trial beside the champion's.
fn memory(experiment: &ExperimentView) -> String {
    match experiment.peak_memory_bytes.filter(|bytes| *bytes > 0) {
        Some(own) => {
            let champion = experiment.champion_memory_bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64);
            format!("{} at most{}", text::bytes(own), beside(own as f64, champion, |bytes| text::bytes(bytes as u64)))
        }
        None => "not known".to_owned(),
    }
}

/// `, 3.1 % less than its champion's 64,400`.
fn beside(own: f64, champion: Option<f64>, told: impl Fn(f64) -> String) -> String {
    let Some(champion) = champion.filter(|value| value.is_finite() && *value > 0.0) else { return String::new() };
    let percent = (own / champion - 1.0) * 100.0;
    let words = match percent {
        percent if !percent.is_finite() => return String::new(),
        percent if percent.abs() < 0.05 => "as much as".to_owned(),
        percent if percent > 0.0 => format!("{percent:.1} % more than"),
        percent => format!("{:.1} % less than", -percent),
    };
    format!(", {words} its champion's {}", told(champion))
}

fn certificate(view: Option<&CertificateView>) -> Markup {
    let Some(view) = view else { return html! { "no certificate: nothing but the model's own word" } };
    let passed = view.checks.iter().filter(|(_, passed)| *passed).count();
    let failed: Vec<String> = view.checks.iter().filter(|(_, passed)| !passed).map(|(name, _)| clean(name)).collect();
    let nats =
        |value: Option<f64>| value.filter(|value| value.is_finite()).map(|value| text::minus(format!("{value:.1e}")));
    html! {
        (passed) " of " (counted(view.checks.len(), "check")) " passed"
        @if !failed.is_empty() { ", not " (failed.join(", ")) }
        @if let Some(cuts) = view.cuts { "; audited at " (cuts) " places" }
        @if let Some(largest) = nats(view.largest_difference) { ", largest difference " (largest) " nats" }
        @if let Some(error) = nats(view.standard_error) { ", standard error " (error) " nats per token" }
        "; by " (clean(&view.evaluator))
        @if !view.sandbox.is_empty() { ", confined by " (clean(&view.sandbox)) }
        "; " (counted(view.verified as usize, "trial")) " verified, " (view.rejected) " rejected"
    }
}

/// What is looked at by whoever doubts: the story, trial by trial, other axes.
fn details(of: &Article<'_>) -> Markup {
    let Article { night, experiment, curves, .. } = of;
    let story: Vec<&String> = experiment.evidence.iter().flat_map(|evidence| &evidence.story).collect();
    let kept = if experiment.verdict == Some(Verdict::Kept) { "Why it was kept" } else { "How it was decided" };
    html! {
        @if !story.is_empty() {
            details {
                summary { (kept) ", trial by trial" }
                ol.story { @for line in story { li { (clean_long(line)) } } }
            }
        }
        @if experiment.trials.len() > 1 {
            details {
                summary { (counted(experiment.trials.len(), "trial")) ", seed by seed" }
                (trials(night, experiment))
            }
        }
        @if curves.time.is_some() || curves.compute.is_some() {
            details {
                summary { "The curve against time and compute" }
                (figure(curves.time, "Training loss against time"))
                (figure(curves.compute, "Training loss against compute"))
            }
        }
    }
}

/// Its trials, each beside the run that it is paired with.
fn trials(night: &NightView, experiment: &ExperimentView) -> Markup {
    html! {
        div.table tabindex="0" role="group" aria-label={ "Trials of #" (experiment.number) } {
            table {
                caption { "Seeds by their place in the night's list; differences are of equal seeds, negative is better." }
                thead {
                    tr {
                        th.number scope="col" { "seed" }
                        th.number scope="col" { (clean(&night.metric)) }
                        th.number scope="col" { "paired with" }
                        th.number scope="col" { "difference" }
                        th scope="col" { "remark" }
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

/// How to look at it and decide, at a terminal.
fn commands(night: &NightView, experiment: &ExperimentView) -> Markup {
    let id = format!("{}/{}", clean(&night.night), experiment.number);
    let commit = short(&experiment.commit);
    html! {
        ul.commands {
            li { "take it: " code { "nocturne review accept " (id) } }
            li { "leave it: " code { "nocturne review reject " (id) " --reason \"…\"" } }
            @if !commit.is_empty() { li { "look at it: " code { "git show " (commit) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{EvidenceView, LeftOutView, ReviewView};

    fn experiment() -> ExperimentView {
        ExperimentView {
            number: 3,
            title: "Halve the batch".into(),
            hypothesis: "More steps.".into(),
            verdict: Some(Verdict::Kept),
            difference: Some(-0.0041),
            interval: Some((-0.0059, -0.0023)),
            predicted_effect: Some(-0.003),
            confidence: Some(0.4),
            val_bpb: Some(1.8382),
            trials_measured: 7,
            trials_decided: 4,
            evidence: Some(EvidenceView {
                expected: -0.0031,
                expected_interval: (-0.005, -0.001),
                probability: 0.97,
                least_effect: 0.0002,
                standard_error: Some(0.0009),
                story: vec!["1 trial: promising".into()],
            }),
            tokens_per_second: Some(62_480.0),
            champion_tokens_per_second: Some(64_400.0),
            peak_memory_bytes: Some(412_000_000),
            champion_memory_bytes: Some(412_000_000),
            tokens: Some(1_250_000),
            training_seconds: Some(80.4),
            lines_added: 1,
            lines_removed: 1,
            proposer: "tuner".into(),
            family: "schedule".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            diff: "@@ -1 +1 @@\n-a\n+b\n".into(),
            certificate: Some(CertificateView {
                evaluator: "claim-and-audit/1".into(),
                sandbox: "namespaces".into(),
                checks: vec![("finite".into(), true), ("seeds".into(), true)],
                cuts: Some(256),
                largest_difference: Some(3.3e-7),
                standard_error: Some(4.0e-9),
                verified: 4,
                rejected: 0,
            }),
            review: Some(ReviewView { choice: Choice::Deferred, reason: "tired".into(), date: "8 March".into() }),
            ..ExperimentView::default()
        }
    }

    #[test]
    fn an_article_has_all_that_a_decision_needs() {
        let night = NightView {
            night: "2026-03-08-k4".into(),
            metric: "val_bpb".into(),
            left_out: vec![LeftOutView {
                number: 9,
                of: Some(3),
                part: None,
                title: "Halve the batch".into(),
                difference: Some(0.0035),
                interval: Some((0.001, 0.006)),
                words: "it is needed".into(),
            }],
            ..NightView::default()
        };
        let experiment = experiment();
        let range = Range::of([&experiment].into_iter());
        let of = Article {
            night: &night,
            experiment: &experiment,
            curves: Curves::default(),
            range,
            level: 3,
            actions: None,
        };
        insta::assert_snapshot!(article(&of).into_string().replace("><", ">\n<"));
        let acted = article(&Article { actions: Some(html! { button { "accept" } }), level: 2, ..of }).into_string();
        assert!(
            acted.contains("<button>accept</button>") && acted.contains("<h2>#3") && !acted.contains("review accept")
        );
    }

    #[test]
    fn costs_are_told_beside_the_champions() {
        let mut view = experiment();
        assert_eq!(speed(&view), "62,480 tokens/s, 3.0 % less than its champion's 64,400");
        assert_eq!(memory(&view), "392.9 MiB at most, as much as its champion's 392.9 MiB");
        (view.tokens_per_second, view.champion_memory_bytes, view.peak_memory_bytes) = (None, None, Some(1 << 30));
        assert_eq!(speed(&view), "not known: no trial finished");
        assert_eq!(memory(&view), "1.0 GiB at most");
        assert!(certificate(None).into_string().contains("no certificate"));
    }
}
