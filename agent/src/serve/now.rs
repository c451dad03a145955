//! The page of the night as it goes on: what there is to see, put into words. Pure, but for the handlers at the top.

mod coming;
mod stage;
mod standing;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Html;
use dashboards::site::{Drawing, EventLine, LossNow, NowView, Tab, drawing, frame, now as content};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::Budget;
use serde_json::{Value, json};

use super::Served;
use super::live::{Live, Seen, Step};
use crate::clock::{here, time_of_day, to_the_minute};
use crate::records::EventRecord;
use crate::review;

pub(super) use self::coming::limits;
use self::coming::{next, spend};
use self::stage::{STARTING, stage, trial};
use self::standing::{decision, done, records, standing};

/// Events on the page when it is opened.
const EVENTS: usize = 30;
/// Decisions, and ideas of the queue, that are listed.
const MOST_LINES: usize = 8;
/// Once it told of a step.
const TRAINING: &str = "Training";

/// `GET /`.
pub(super) async fn page(State(served): State<Arc<Served>>) -> Html<String> {
    let (view, events) = present(&served.live());
    let about = served.frame(&view.heading, Tab::Now).with_script("live.js");
    let about = match &view.night {
        Some(night) => about.of_night(night.as_str()),
        None => about,
    };
    Html(frame(&about, content(&view, &events)))
}

/// `GET /api/now`: the page's view, and the newest events.
pub(super) async fn document(State(served): State<Arc<Served>>) -> Json<Value> {
    let (view, events) = present(&served.live());
    Json(json!({ "now": view, "events": events }))
}

/// The view with this moment's time, and the newest events.
fn present(live: &Live) -> (NowView, Vec<EventLine>) {
    let zone = here();
    let newest = &live.events[live.events.len().saturating_sub(EVENTS)..];
    (at_this_moment(&live.view), newest.iter().map(|event| line_of(event, &zone)).collect())
}

/// The view as of now: durations are counted from this.
pub(super) fn at_this_moment(view: &NowView) -> NowView {
    NowView { at: Timestamp::now().as_millisecond(), ..view.clone() }
}

/// An event as a line of the page.
pub(super) fn line_of(event: &EventRecord, zone: &TimeZone) -> EventLine {
    EventLine {
        ordinal: event.ordinal,
        clock: time_of_day(event.at, zone),
        level: event.level.name().to_owned(),
        stage: event.stage.clone(),
        text: event.text.clone(),
    }
    .cleaned()
}

/// All of the view that changes only when something is written, or when a night begins or ends.
pub(super) fn still(seen: &Seen, zone: &TimeZone) -> NowView {
    let Some(glance) = &seen.glance else { return nothing(seen.running) };
    let night = &glance.night;
    let state = match (&night.end, seen.running) {
        (None, true) if seen.at_work => "running",
        (_, true) => "preparing",
        (None, false) => "cut-off",
        (Some(_), false) => "ended",
    };
    let runs = state == "running";
    let records = records(seen, glance);
    let (stage, stage_since) = stage(seen, glance, state);
    let waiting = review::waiting(&records, &glance.reviews);
    let until = match &night.end {
        Some(end) => Some(to_the_minute(end.at, zone)),
        None => night.deadline.map(|deadline| to_the_minute(deadline, zone)),
    };
    NowView {
        at: 0,
        state: state.to_owned(),
        heading: if runs || state == "preparing" { "The night now" } else { "The last night" }.to_owned(),
        stage,
        stage_since: stage_since.filter(|_| runs).map(Timestamp::as_millisecond),
        night: Some(night.id.to_string()),
        campaign: night.campaign.clone(),
        began: to_the_minute(night.started_at, zone),
        began_at: Some(night.started_at.as_millisecond()).filter(|_| runs),
        until,
        until_name: if night.end.is_some() { "ended" } else { "until" }.to_owned(),
        until_at: night.deadline.filter(|_| runs).map(Timestamp::as_millisecond),
        done: done(glance),
        trial: seen.doing.testing.as_ref().filter(|_| runs).map(|testing| trial(seen, glance, testing)),
        curve: None,
        standing: standing(&records, glance),
        next: next(seen, glance, runs),
        spend: spend(seen),
        waiting: waiting.iter().take(MOST_LINES).map(|experiment| decision(experiment)).collect(),
        waiting_count: waiting.len(),
        problem: None,
    }
}

fn nothing(running: bool) -> NowView {
    let (state, heading, stage) = match running {
        true => (
            "preparing",
            "The night now",
            "A night is being prepared: tools, data, the first build and the red team come before anything is on record.",
        ),
        false => ("none", "No night yet", "Nothing is on record in this repository."),
    };
    NowView { state: state.to_owned(), heading: heading.to_owned(), stage: stage.to_owned(), ..NowView::default() }
}

/// The view with what moves between two writes: the run's progress and its curve, and what went wrong in looking.
pub(super) fn moving(still: &NowView, seen: &Seen) -> NowView {
    let mut view = still.clone();
    view.problem.clone_from(&seen.problem);
    let (Some(curve), Some(testing)) = (&seen.curve, &seen.doing.testing) else { return view };
    view.curve = picture(seen);
    let Some(newest) = curve.newest() else { return view };
    let budget = curve.budget();
    if testing.step == Step::Training {
        if let Some(subject) = view.stage.strip_prefix(STARTING) {
            view.stage = format!("{TRAINING}{subject}");
        }
        if let Some(trial) = &mut view.trial {
            trial.progress = Some(newest.fraction(budget));
            trial.progress_words = progress(budget, newest.seconds, newest.tokens, newest.step);
        }
    }
    view
}

fn progress(budget: Budget, seconds: f64, tokens: u64, step: u64) -> String {
    match budget {
        Budget::Seconds(whole) => format!("{seconds:.0} s of {whole:.0} s, step {step}"),
        Budget::Tokens(whole) => format!("{tokens} of {whole} tokens, step {step}"),
    }
}

fn picture(seen: &Seen) -> Option<Drawing> {
    let curve = seen.curve.as_ref()?;
    let (whole, seconds) = match curve.budget() {
        Budget::Seconds(seconds) => (seconds, true),
        Budget::Tokens(tokens) => (tokens as f64, false),
    };
    let (champion, champion_name) = match curve.beside() {
        None => (Vec::new(), String::new()),
        Some((compared, points)) => {
            let who = match compared.run.experiment.number {
                0 => "the night's start".to_owned(),
                number => format!("the champion, experiment {number},"),
            };
            let seed = if compared.same_seed { "under the same seed" } else { "under another seed" };
            (points, format!("{who} {seed}"))
        }
    };
    drawing(&LossNow { own: curve.points(), champion, champion_name, budget: whole, seconds })
}

#[cfg(test)]
#[path = "now_tests.rs"]
mod tests;
