//! `GET /events`: the night as it goes on, as server-sent events.
//!
//! - `event: now` is the page's whole view as JSON. A reader gets the newest state there is, however many it missed.
//! - `event: journal` is one line of the night's journal, its ordinal as `id`. Every reader gets every line once, in order, however slow it is:
//!   each has its own place, and takes what comes after it from what is at hand, or from the database in pages. `Last-Event-ID`, which browsers
//!   send when they connect again, or `?after=`, says where to go on.
//!
//! What a reader has not taken is not kept for it: a stream makes its next event when the connection has room. Streams end with the server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Served;
use super::live::{Live, NEWEST_EVENTS};
use super::now::{at_this_moment, line_of};
use super::problem::Problem;
use super::records::RecordsError;
use crate::clock::here;
use crate::flow::NightId;
use crate::records::EventRecord;
use crate::store::StoreError;

/// Streams at once. Each is a connection with little more than its place.
pub const MOST_READERS: usize = 512;

/// A comment on a quiet stream, so that proxies do not take it for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// After a broken connection a browser waits as long.
const RETRY: Duration = Duration::from_secs(2);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a reader wants.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// The night whose journal it reads; without it there are states alone.
    night: Option<String>,
    /// The ordinal after which it begins.
    after: Option<u32>,
}

/// `GET /events?night=NIGHT&after=ORDINAL`.
pub(super) async fn events(
    State(served): State<Arc<Served>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let night = match wanted.night {
        None => None,
        Some(name) => {
            let unknown = || Problem::not_found(format!("There is no night {name}."));
            let night: NightId = name.parse().map_err(|_| unknown())?;
            let record = served.reader().await?.night(&night).await?.ok_or_else(unknown)?;
            Some((night, record.end.is_some()))
        }
    };
    let resumed = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let after = match resumed {
        Some(Some(ordinal)) => ordinal,
        Some(None) => return Err(Problem::bad_request("Last-Event-ID is no ordinal of an event.")),
        None => wanted.after.unwrap_or(0),
    };
    let permit = served.stream_permit().ok_or_else(|| {
        let words = format!("{MOST_READERS} pages are being kept up to date, and that is the most at once.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many readers", words, "Close some of them.")
    })?;
    let reader = Place::new(served, night, after, permit);
    let events = stream::unfold(reader, async |mut place| Some((Ok::<_, Infallible>(place.next().await?), place)));
    let answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies that gather what they pass on would hold events back.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], answer).into_response())
}

/// Why a reader's lines cannot be read.
#[derive(Debug, thiserror::Error)]
enum MoreError {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a reader is.
struct Place {
    served: Arc<Served>,
    night: Option<NightId>,
    /// Whether nothing more comes of it, once all of it was read.
    ended: bool,
    drained: bool,
    after: u32,
    live: watch::Receiver<Arc<Live>>,
    ends: watch::Receiver<bool>,
    zone: TimeZone,
    /// Lines that were read and not sent yet: at most a page.
    lines: VecDeque<EventRecord>,
    /// The state that was not sent yet.
    state: Option<Arc<Live>>,
    begun: bool,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(served: Arc<Served>, night: Option<(NightId, bool)>, after: u32, permit: OwnedSemaphorePermit) -> Self {
        let (live, ends) = (served.watch_live(), served.ends());
        let (lines, zone) = (VecDeque::new(), here());
        let (night, ended) = night.map_or((None, false), |(night, ended)| (Some(night), ended));
        Self {
            served,
            night,
            ended,
            drained: false,
            after,
            live,
            ends,
            zone,
            lines,
            state: None,
            begun: false,
            _permit: permit,
        }
    }

    /// The next event, once there is one; `None` at the server's end.
    async fn next(&mut self) -> Option<Event> {
        if !self.begun {
            self.begun = true;
            self.state = Some(self.live.borrow_and_update().clone());
            return Some(Event::default().retry(RETRY).comment("nocturne"));
        }
        loop {
            if *self.ends.borrow() {
                return None;
            }
            if let Some(event) = self.lines.pop_front() {
                self.after = event.ordinal;
                return Some(self.journal(&event));
            }
            if let Some(state) = self.state.clone() {
                match self.more(&state).await {
                    Ok(lines) if !lines.is_empty() => {
                        self.lines = lines.into();
                        continue;
                    }
                    Ok(_) => {}
                    Err(problem) => {
                        // The connection ends, the browser comes again, and goes on where this one stopped.
                        tracing::warn!("cannot read the journal for a reader: {problem}");
                        return None;
                    }
                }
                self.state = None;
                return Some(now_event(&state));
            }
            tokio::select! {
                changed = self.live.changed() => {
                    // Whoever publishes is gone.
                    changed.ok()?;
                    self.state = Some(self.live.borrow_and_update().clone());
                }
                ended = self.ends.changed() => ended.ok()?,
            }
        }
    }

    /// Lines after this reader's place: from those at hand where they reach back so far, else a page of the database.
    async fn more(&mut self, live: &Live) -> Result<Vec<EventRecord>, MoreError> {
        let Some(night) = &self.night else { return Ok(Vec::new()) };
        if live.night.as_ref() == Some(night) {
            match (live.events.first(), live.events.last()) {
                (_, Some(last)) if last.ordinal <= self.after => return Ok(Vec::new()),
                (Some(first), Some(_)) if first.ordinal <= self.after + 1 => {
                    return Ok(live.events.iter().filter(|event| event.ordinal > self.after).cloned().collect());
                }
                _ => {}
            }
        }
        // Of a night that is over nothing is asked once its last line was read, but of the one that is shown.
        if self.ended && live.night.as_ref() != Some(night) && self.drained {
            return Ok(Vec::new());
        }
        let lines = self.served.records().reader().await?.events_after(night, self.after, NEWEST_EVENTS).await?;
        self.drained = lines.is_empty();
        Ok(lines)
    }

    fn journal(&self, event: &EventRecord) -> Event {
        json_event("journal", &line_of(event, &self.zone)).id(event.ordinal.to_string())
    }
}

fn now_event(live: &Live) -> Event {
    json_event("now", &at_this_moment(&live.view))
}

/// Plain data always has a JSON form; where a number has none, it is null.
fn json_event(name: &str, data: &impl serde::Serialize) -> Event {
    let text = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    Event::default().event(name).data(text)
}
