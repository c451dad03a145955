//! The night as it goes on: what is being tried, how it stands, what comes next.
//!
//! What `live.js` puts in place of it later is the same view as JSON: words and figures are made here, so that the page says the same with
//! and without the script.

mod view;

pub use view::{EventLine, Fact, Line, NowView, TrialNow};

use maud::{Markup, html};

use super::drawing::{Drawing, HEIGHT, WIDTH};
use super::url;
use crate::text::{clean, duration};

/// The page's content; `events` are the newest, in order.
pub fn now(view: &NowView, events: &[EventLine]) -> Markup {
    let after = events.last().map_or(0, |event| event.ordinal);
    html! {
        div #now data-live=[view.night.as_deref().map(clean)] data-after=(after) data-at=(view.at) data-state=(view.state) {
            h1 #heading { (clean(&view.heading)) }
            // Read out when it changes; nothing else on the page is.
            p.stage #stage role="status" aria-live="polite" { (clean(&view.stage)) }
            p.quiet { (stage_time(view)) span #connection {} }
            noscript { p.quiet { "Without scripts this page does not move: load it again to see how things stand." } }
            p.warning #another hidden { "Another night has begun. " a href="/" { "Show it" } }
            p.warning #problem hidden[view.problem.is_none()] { (clean(view.problem.as_deref().unwrap_or_default())) }
            @if view.state == "none" { (beginning()) } @else { (night(view, events)) }
        }
    }
}

fn beginning() -> Markup {
    html! {
        p { "Begin one in the repository:" }
        pre { "nocturne night experiments/quickstart" }
        p { "This page shows it as soon as it runs." }
    }
}

fn stage_time(view: &NowView) -> Markup {
    html! {
        span #stage-time hidden[view.stage_since.is_none()] {
            "for " span #stage-since data-since=[view.stage_since] { (ago(view.at, view.stage_since)) }
        }
    }
}

fn night(view: &NowView, events: &[EventLine]) -> Markup {
    html! {
        section aria-labelledby="trying" #trial hidden[view.trial.is_none()] {
            h2 #trying { "Being tried" }
            (trial(&view.trial.clone().unwrap_or_default()))
            (figure(view.curve.as_ref()))
        }
        div.beside {
            section aria-labelledby="standing-title" {
                h2 #standing-title { "Standing" }
                (facts("standing", &view.standing))
            }
            section aria-labelledby="time-title" {
                h2 #time-title { "Time" }
                dl {
                    div { dt { "night" } dd #night { (clean(view.night.as_deref().unwrap_or_default())) " of " (clean(&view.campaign)) } }
                    div { dt { "began" } dd #began { (clean(&view.began)) } }
                    div #since hidden[view.began_at.is_none()] {
                        dt { "runs for" } dd { span #began-since data-since=[view.began_at] { (ago(view.at, view.began_at)) } }
                    }
                    div #until-row hidden[view.until.is_none()] {
                        dt #until-name { (clean(&view.until_name)) } dd #until { (clean(view.until.as_deref().unwrap_or_default())) }
                    }
                    div #left hidden[view.until_at.is_none()] {
                        dt { "time left" } dd { span #time-left data-until=[view.until_at] { (left(view.at, view.until_at)) } }
                    }
                    div { dt { "done" } dd #done { (clean(&view.done)) } }
                }
            }
            section aria-labelledby="spend-title" {
                h2 #spend-title { "Models' cost" }
                (facts("spend", &view.spend))
            }
        }
        section aria-labelledby="waiting-title" {
            h2 #waiting-title { "Decisions waiting for you" }
            (lines("waiting", &view.waiting, "Nothing waits for a decision."))
            @if let Some(night) = &view.night {
                p #review hidden[view.waiting_count == 0] {
                    a href=(url::review(night)) { "Decide (" span #waiting-count { (view.waiting_count) } ")" }
                }
            }
        }
        section aria-labelledby="next-title" {
            h2 #next-title { "Next" }
            (lines("next", &view.next, "Nothing waits in your queue."))
        }
        section aria-labelledby="events-title" {
            h2 #events-title { "What happened" }
            (journal(events))
        }
    }
}

fn trial(trial: &TrialNow) -> Markup {
    html! {
        h3 #title {
            @match &trial.href {
                Some(href) => a href=(href) { (clean(&trial.title)) },
                None => (clean(&trial.title)),
            }
        }
        p #hypothesis { (clean(&trial.hypothesis)) }
        (facts("facts", &trial.facts))
        p #run hidden[trial.progress.is_none()] {
            progress #progress max="1" value=(format!("{:.3}", trial.progress.unwrap_or(0.0))) aria-label="Of this run" {}
            " " span #progress-words { (clean(&trial.progress_words)) }
        }
    }
}

/// The picture of the run's loss. Its parts are there when there is no run as well, for the script to fill.
fn figure(drawing: Option<&Drawing>) -> Markup {
    let none = Drawing::default();
    let shown = drawing.unwrap_or(&none);
    html! {
        figure.curve #curve hidden[drawing.is_none()] {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="curve-words" {
                g #grid {
                    @for tick in &shown.y_ticks {
                        line.grid x1=(shown.left) x2=(shown.right) y1=(tick.at) y2=(tick.at) {}
                        text.tick.y x=(shown.left - 6.0) y=(tick.at + 4.0) { (tick.label) }
                    }
                    @for tick in &shown.x_ticks {
                        line.grid x1=(tick.at) x2=(tick.at) y1=(shown.top) y2=(shown.bottom) {}
                        text.tick.x x=(tick.at) y=(shown.bottom + 18.0) { (tick.label) }
                    }
                }
                text.axis #x-name x=((shown.left + shown.right) / 2.0) y=(HEIGHT - 4.0) { (shown.x_name) }
                text.axis.y x=(0) y=(16) { "training loss, nats per token" }
                polyline.champion #champion-line points=(shown.champion) {}
                polyline.own #own-line points=(shown.own) {}
            }
            p.legend {
                span.own { "this run" }
                span.champion #champion-name hidden[shown.champion.is_empty()] { (clean(&shown.champion_name)) }
            }
            figcaption #curve-words { (clean(&shown.words)) }
        }
    }
}

fn facts(id: &str, facts: &[Fact]) -> Markup {
    html! {
        dl id=(id) { @for fact in facts { div { dt { (clean(&fact.name)) } dd { (clean(&fact.value)) } } } }
    }
}

fn lines(id: &str, lines: &[Line], empty: &str) -> Markup {
    html! {
        ol id=(id) hidden[lines.is_empty()] {
            @for line in lines {
                li data-row[line.experiment.is_some()] tabindex=[line.experiment.as_ref().map(|_| "-1")]
                    data-experiment=[line.experiment.as_deref()] data-title=[line.experiment.as_ref().map(|_| clean(&line.text))] {
                    @match &line.href {
                        Some(href) => a href=(href) { (clean(&line.text)) },
                        None => span { (clean(&line.text)) },
                    }
                    @if !line.note.is_empty() { " " span.quiet { (clean(&line.note)) } }
                }
            }
        }
        p.quiet id={ (id) "-none" } hidden[!lines.is_empty()] { (empty) }
    }
}

/// The newest first. What is only for whoever looks for a fault is left out.
fn journal(events: &[EventLine]) -> Markup {
    let told: Vec<&EventLine> = events.iter().rev().filter(|event| event.level != "debug").collect();
    html! {
        ol.journal #events {
            @for event in &told {
                li class=(level(&event.level)) {
                    time { (clean(&event.clock)) } " " span.stage { (clean(&event.stage)) } " " span { (clean(&event.text)) }
                }
            }
        }
        p.quiet #events-none hidden[!told.is_empty()] { "Nothing yet." }
    }
}

/// A level as a class: a word of ours, whatever the record says.
fn level(level: &str) -> &'static str {
    match level {
        "warning" => "warning",
        "error" => "error",
        _ => "info",
    }
}

fn ago(at: i64, since: Option<i64>) -> String {
    since.map_or_else(String::new, |since| duration(((at - since) as f64 / 1000.0).max(0.0)))
}

fn left(at: i64, until: Option<i64>) -> String {
    until.map_or_else(String::new, |until| duration(((until - at) as f64 / 1000.0).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_text_whatever_it_says() {
        let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>".to_owned();
        let line = Line {
            text: hostile.clone(),
            href: Some("/nights/n/1".to_owned()),
            note: hostile.clone(),
            experiment: Some(hostile.clone()),
        };
        let fact = Fact { name: hostile.clone(), value: hostile.clone() };
        let drawing = Drawing {
            champion: "1,1".to_owned(),
            champion_name: hostile.clone(),
            words: hostile.clone(),
            ..Drawing::default()
        };
        let view = NowView {
            state: "running".to_owned(),
            heading: hostile.clone(),
            stage: hostile.clone(),
            night: Some(hostile.clone()),
            campaign: hostile.clone(),
            began: hostile.clone(),
            until: Some(hostile.clone()),
            until_name: hostile.clone(),
            done: hostile.clone(),
            trial: Some(TrialNow {
                title: hostile.clone(),
                hypothesis: hostile.clone(),
                facts: vec![fact.clone()],
                progress_words: hostile.clone(),
                ..TrialNow::default()
            }),
            curve: Some(drawing),
            standing: vec![fact.clone()],
            next: vec![line.clone()],
            spend: vec![fact],
            waiting: vec![line],
            problem: Some(hostile.clone()),
            ..NowView::default()
        };
        let event = EventLine {
            clock: hostile.clone(),
            level: hostile.clone(),
            stage: hostile.clone(),
            text: hostile,
            ..EventLine::default()
        };
        let page = now(&view, &[event]).into_string();
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("style="), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 20, "{}", page.matches("&lt;script&gt;").count());
    }

    #[test]
    fn what_the_script_gets_is_what_the_page_shows() {
        let hidden = "one\u{202e}two\n\u{7}  three";
        let line = Line { text: hidden.to_owned(), note: hidden.to_owned(), ..Line::default() };
        let fact = Fact::new(hidden, hidden);
        let view = NowView {
            heading: hidden.to_owned(),
            stage: hidden.to_owned(),
            trial: Some(TrialNow { hypothesis: hidden.to_owned(), facts: vec![fact.clone()], ..TrialNow::default() }),
            curve: Some(Drawing { champion_name: hidden.to_owned(), ..Drawing::default() }),
            standing: vec![fact],
            next: vec![line.clone()],
            waiting: vec![line],
            problem: Some(hidden.to_owned()),
            ..NowView::default()
        };
        let told = format!("{:?}", view.cleaned());
        assert_eq!(told.matches("onetwo three").count(), 13, "{told}");
        let event = EventLine { stage: hidden.to_owned(), text: hidden.to_owned(), ..EventLine::default() };
        assert_eq!(format!("{:?}", event.cleaned()).matches("onetwo three").count(), 2);
    }

    #[test]
    fn one_line_alone_is_read_out_when_it_changes() {
        let page = now(&NowView { state: "running".to_owned(), ..NowView::default() }, &[]).into_string();
        assert_eq!(page.matches("aria-live").count(), 1);
        assert_eq!(page.matches("role=\"status\"").count(), 1);
    }

    #[test]
    fn durations_count_from_the_moment_of_the_view() {
        let view = NowView {
            at: 100_000,
            state: "running".to_owned(),
            stage_since: Some(90_000),
            until_at: Some(7_300_000),
            ..NowView::default()
        };
        let page = now(&view, &[]).into_string();
        assert!(
            page.contains("data-since=\"90000\">10 s<") && page.contains("data-until=\"7300000\">2 h 00 min<"),
            "{page}"
        );
        // A clock that went back is no negative time.
        assert_eq!(ago(0, Some(5_000)), "0 s");
    }

    #[test]
    fn where_there_is_no_night_it_says_how_to_begin() {
        let view = NowView { state: "none".to_owned(), ..NowView::default() };
        let page = now(&view, &[]).into_string();
        assert!(page.contains("nocturne night experiments/quickstart") && !page.contains("Standing"), "{page}");
        // The script looks for a night all the same.
        assert!(page.contains("data-state=\"none\""), "{page}");
    }
}
