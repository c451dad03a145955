//! The page of the night as it goes on: what there is to see, put into words. Pure, but for the handlers at the top.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Html;
use dashboards::site::{
    Drawing, EventLine, Fact, Line, LossNow, NowView, Tab, TrialNow, drawing, frame, now as content, url,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::Budget;
use serde_json::{Value, json};

use super::Served;
use super::live::{Live, Seen, Step, Testing};
use crate::campaign::{Campaign, CampaignName, Spending};
use crate::flow::{Purpose, Verdict};
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{EventRecord, ExperimentRecord, NightEnding, NightRecord, QueueEntry, QueueState};
use crate::report::NightRecords;
use crate::review;
use crate::store::Glance;
use crate::terminal::fit;

/// Events on the page when it is opened.
const EVENTS: usize = 30;
/// Decisions, and ideas of the queue, that are listed.
const MOST_LINES: usize = 8;
/// While the trainer loads.
const STARTING: &str = "Starting";
/// Once it told of a step.
const TRAINING: &str = "Training";
/// Columns of a line of the queue.
const MOST_WORDS: usize = 160;

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

/// The clocks' zone; that which means the same everywhere where the system does not say.
pub(super) fn here() -> TimeZone {
    let zone = TimeZone::system();
    if zone.is_unknown() { TimeZone::UTC } else { zone }
}

/// An event as a line of the page.
pub(super) fn line_of(event: &EventRecord, zone: &TimeZone) -> EventLine {
    EventLine {
        ordinal: event.ordinal,
        clock: event.at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        level: event.level.name().to_owned(),
        stage: event.stage.clone(),
        text: event.text.clone(),
    }
    .cleaned()
}

fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
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
        Some(end) => Some(day(end.at, zone)),
        None => night.deadline.map(|deadline| day(deadline, zone)),
    };
    NowView {
        at: 0,
        state: state.to_owned(),
        heading: if runs || state == "preparing" { "The night now" } else { "The last night" }.to_owned(),
        stage,
        stage_since: stage_since.filter(|_| runs).map(Timestamp::as_millisecond),
        night: Some(night.id.to_string()),
        campaign: night.campaign.clone(),
        began: day(night.started_at, zone),
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

/// What is going on in one line, and since when.
fn stage(seen: &Seen, glance: &Glance, state: &str) -> (String, Option<Timestamp>) {
    let campaign = &glance.night.campaign;
    match (state, &glance.night.end) {
        ("running", _) => {}
        ("preparing", _) => {
            let words = "A night is being prepared, or gone on with: data, the first build and the red team come before anything of it is on record.";
            return (words.to_owned(), None);
        }
        (_, Some(end)) if end.detail.is_empty() => return (format!("Ended: {}.", ending(end.how)), None),
        (_, Some(end)) => return (format!("Ended: {}: {}", ending(end.how), end.detail), None),
        _ => {
            let words = format!("Cut off; `nocturne night experiments/{campaign}` goes on with it.");
            return (words, None);
        }
    }
    if let Some(testing) = &seen.doing.testing {
        let mut words = format!("{} {}", word(&testing.step), subject(seen, testing));
        if let Step::Waiting(why) = &testing.step {
            words = format!("{words}. {why}");
        }
        return (words, Some(testing.since));
    }
    if let Some(making) = &seen.doing.making {
        let who = match making.number {
            0 => "the night's start".to_owned(),
            number => format!("experiment {number}"),
        };
        let mut what = making.what.to_owned();
        what[..1].make_ascii_uppercase();
        return (format!("{what} {who}"), Some(making.since));
    }
    ("Between two steps".to_owned(), None)
}

fn ending(how: NightEnding) -> &'static str {
    match how {
        NightEnding::ExperimentsDone => "as many experiments as were asked for have their verdict",
        NightEnding::Deadline => "its time was up",
        NightEnding::NothingLeft => "no proposer had anything left",
        NightEnding::Stopped => "it was stopped by hand",
        NightEnding::Failed => "it could not go on",
        NightEnding::Abandoned => "it was given up for another night after it had been cut off",
    }
}

/// The stage's word, as the terminal has it; a run that is on record and has no loss yet is starting, see [`moving`].
fn word(step: &Step) -> &'static str {
    match step {
        Step::Waiting(_) => "Waiting with",
        Step::Starting | Step::Training => STARTING,
        Step::Verifying => "Verifying",
    }
}

/// What is tested: `experiment 4, run 2: Halve the batch`.
fn subject(seen: &Seen, testing: &Testing) -> String {
    let run = testing.trial;
    let who = match testing.number {
        0 => "the night's start".to_owned(),
        number => format!("experiment {number}"),
    };
    let morning = if testing.purpose == Purpose::Morning { " for the morning's claim" } else { "" };
    let title = seen.experiments.get(&testing.number).filter(|_| testing.number > 0);
    let title = title.map_or_else(String::new, |experiment| format!(": {}", experiment.proposal.title));
    format!("{who}, run {run}{morning}{title}")
}

fn trial(seen: &Seen, glance: &Glance, testing: &Testing) -> TrialNow {
    let Some(experiment) = seen.experiments.get(&testing.number) else {
        return TrialNow { title: subject(seen, testing), ..TrialNow::default() };
    };
    let number = testing.number;
    let proposal = &experiment.proposal;
    let mut facts = vec![Fact::new("run", testing.trial.to_string())];
    if testing.purpose == Purpose::Morning {
        facts.push(Fact::new("for", "the morning's claim: fresh seed, sealed text"));
    }
    let of_it = glance.trials.iter().filter(|trial| trial.experiment.number == number);
    let measured = of_it.filter(|trial| trial.purpose == Purpose::Search).filter_map(|trial| trial.val_bpb());
    let measured: Vec<String> = measured.map(|value| format!("{value:.4}")).collect();
    if !measured.is_empty() {
        facts.push(Fact::new("val_bpb of its runs", measured.join(", ")));
    }
    if number > 0 {
        let author = &proposal.author;
        let by = author.model.as_ref().map_or_else(String::new, |model| format!(" ({model})"));
        facts.push(Fact::new("proposed by", format!("{}{by}", author.proposer)));
        if let Some(predicted) = proposal.predicted_effect {
            facts.push(Fact::new("predicted", format!("{} bits per byte", difference(predicted))));
        }
        if let Some(candidate) = &experiment.candidate {
            facts.push(Fact::new("lines", format!("+{} −{}", candidate.lines_added, candidate.lines_removed)));
        }
    }
    let title = match number {
        0 => "The night's start".to_owned(),
        number => format!("Experiment {number}: {}", proposal.title),
    };
    TrialNow {
        title,
        href: (number > 0).then(|| url::experiment(glance.night.id.as_str(), number)),
        hypothesis: proposal.hypothesis.clone(),
        facts,
        progress: None,
        progress_words: String::new(),
    }
}

/// How many of the night's experiments have a verdict; what leaves a kept change out is none of them.
fn done(glance: &Glance) -> String {
    let decided = experiments(glance).filter(|verdict| verdict.is_some()).count();
    match glance.night.experiment_limit {
        Some(limit) => format!("{decided} of {limit} experiments"),
        None if decided == 1 => "1 experiment".to_owned(),
        None => format!("{decided} experiments"),
    }
}

fn experiments(glance: &Glance) -> impl Iterator<Item = Option<Verdict>> {
    let stands = |number| glance.withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.spares(number));
    glance.lines.iter().filter(|line| line.proposer != LEAVE_ONE_OUT).map(move |line| match line.verdict {
        Some(Verdict::Kept) if !stands(line.number) => Some(Verdict::Invalid),
        verdict => verdict,
    })
}

/// The records of the start and the champions alone: enough for the way of the champion and for what waits for a decision.
fn records(seen: &Seen, glance: &Glance) -> NightRecords {
    NightRecords {
        night: glance.night.clone(),
        experiments: seen.experiments.values().cloned().collect(),
        trials: glance.trials.clone(),
        champions: glance.champions.clone(),
        claim: None,
        withdrawal: glance.withdrawal.clone(),
        calls: Vec::new(),
        concluded: Vec::new(),
        waits: Vec::new(),
        faults: Vec::new(),
        skips: Vec::new(),
        journal: Vec::new(),
        cuts: Vec::new(),
        reviews: Vec::new(),
    }
}

fn standing(records: &NightRecords, glance: &Glance) -> Vec<Fact> {
    let champion = records.champion();
    let mut facts = Vec::new();
    let way = match (records.val_bpb(0), records.level(champion)) {
        (Some(start), Some(level)) if champion > 0 => {
            format!("{start:.4} → {level:.4} ({})", difference(level - start))
        }
        (Some(start), None) if champion > 0 => format!("{start:.4} → not known"),
        (Some(start), _) => format!("{start:.4}"),
        (None, _) => "the night's start is not measured yet".to_owned(),
    };
    facts.push(Fact::new("val_bpb", way));
    let named = records.experiments.iter().find(|experiment| experiment.id.number == champion && champion > 0);
    let named = named.map_or("the night's start".to_owned(), |it| format!("#{champion} {}", it.proposal.title));
    facts.push(Fact::new("champion", named));
    let count = |verdict| experiments(glance).filter(|it| *it == Some(verdict)).count();
    let decided = experiments(glance).filter(Option::is_some).count();
    facts.push(Fact::new("kept", format!("{} of {decided} tried", count(Verdict::Kept))));
    let others = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Kept);
    let others = others.map(|verdict| (count(verdict), verdict)).filter(|(count, _)| *count > 0);
    let others: Vec<String> = others.map(|(count, verdict)| format!("{count} {verdict}")).collect();
    if !others.is_empty() {
        facts.push(Fact::new("others", others.join(", ")));
    }
    if let Some(claim) = glance.claim.as_ref().filter(|_| glance.withdrawal.is_none()) {
        facts.push(Fact::new("morning's claim", claim.words.clone()));
    }
    if let Some(withdrawal) = &glance.withdrawal {
        facts.push(Fact::new("taken back", withdrawal.words.clone()));
    }
    facts
}

fn decision(experiment: &ExperimentRecord) -> Line {
    let id = &experiment.id;
    let found = experiment.decision.as_ref();
    let note = found.and_then(|decision| decision.difference).map(|change| match found.and_then(|it| it.interval) {
        Some((low, high)) => format!("{} (95 % {} to {})", difference(change), difference(low), difference(high)),
        None => difference(change),
    });
    Line {
        text: format!("#{} {}", id.number, experiment.proposal.title),
        href: Some(url::experiment(id.night.as_str(), id.number)),
        note: note.unwrap_or_default(),
        experiment: Some(id.to_string()),
    }
}

/// What is being made, then the person's ideas in their order.
fn next(seen: &Seen, glance: &Glance, runs: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(making) = seen.doing.making.as_ref().filter(|_| runs && seen.doing.testing.is_some()) {
        let note = making.key.as_ref().map(|key| idea(key, &glance.queue)).unwrap_or_default();
        lines.push(Line { text: format!("Experiment {}: {}", making.number, making.what), note, ..Line::default() });
    }
    let mut queue: Vec<&QueueEntry> = glance.queue.iter().filter(|it| it.state == QueueState::Waiting).collect();
    queue.sort_by_key(|entry| (entry.place, entry.id));
    lines.extend(queue.iter().take(MOST_LINES).map(|entry| {
        let patch = if entry.patch.is_some() { ", with a patch" } else { "" };
        let by = entry.by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
        let note = format!("idea {} of the queue{patch}{by}", entry.id);
        Line { text: words(&entry.words), note, ..Line::default() }
    }));
    let more = queue.len().saturating_sub(MOST_LINES);
    if more > 0 {
        lines.push(Line { text: format!("and {more} more: nocturne queue list"), ..Line::default() });
    }
    lines
}

/// What a proposal's key tells a person: the words of their idea, where it is one.
fn idea(key: &str, queue: &[QueueEntry]) -> String {
    let of = QueueEntry::id_of(key).and_then(|id| queue.iter().find(|entry| entry.id == id));
    of.map_or_else(|| key.to_owned(), |entry| words(&entry.words))
}

fn words(text: &str) -> String {
    fit(&text.split_whitespace().collect::<Vec<_>>().join(" "), MOST_WORDS)
}

/// What a night may spend, as its campaign said when it began; `None` where that cannot be read.
pub(super) fn limits(night: &NightRecord) -> Option<Spending> {
    let name = night.campaign.parse::<CampaignName>().ok()?;
    Campaign::parse_recorded(name, &night.campaign_text, "", "campaign.toml").ok().map(|campaign| campaign.spending)
}

fn spend(seen: &Seen) -> Vec<Fact> {
    let spent = seen.spent;
    let limits = seen.limits.flatten();
    let limit = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let Spending { dollars, tokens, calls } = limits.unwrap_or_default();
    if spent.calls == 0 && dollars.or(tokens.map(|n| n as f64)).or(calls.map(|n| n as f64)).is_none() {
        return vec![Fact::new("models", "none was asked")];
    }
    let mut facts = vec![
        Fact::new("dollars", format!("{:.4}{}", spent.usd, limit(dollars.map(|dollars| format!("{dollars:.2}"))))),
        Fact::new("tokens", format!("{}{}", spent.tokens, limit(tokens.map(|tokens| tokens.to_string())))),
        Fact::new("calls", format!("{}{}", spent.calls, limit(calls.map(|calls| calls.to_string())))),
    ];
    if limits.is_none() {
        facts.push(Fact::new("limits", "not known: the night's campaign.toml cannot be read"));
    }
    facts
}

/// A difference in bits per byte with its sign.
fn difference(value: f64) -> String {
    format!("{value:+.4}").replace('-', "−")
}

#[cfg(test)]
#[path = "now_tests.rs"]
mod tests;
