//! `nocturne serve`: the night as it goes on and all that is on record, for a browser on this machine.
//!
//! - [`guard`] who may ask for what; `sessions` the browsers that have shown the token;
//! - [`router`] which page answers which URL;
//! - [`problem`] what is said of a request that cannot be answered;
//! - `records` the database, which may appear later;
//! - `live` the night as it goes on, watched by one task for all readers; `events` tells them; `now` is its page;
//! - `pages` what lists, `experiment` one and several, `review` deciding; `views` makes their view models, `cache` keeps what takes long;
//! - `assets` static files.
//!
//! The server reads: SQLite refuses every write through its connections. What a person decides on a page goes through
//! [`crate::review`] and a store of its own. Of the lock of nights it only looks whether it is held, which keeps nobody from it for longer than
//! an instant, and a night does not know of it. A database of an older version is brought up to date as by every command, but never while a
//! night runs.

mod assets;
mod cache;
mod connections;
pub mod events;
mod experiment;
pub mod guard;
pub mod live;
mod now;
mod pages;
pub mod problem;
mod records;
mod review;
pub mod router;
mod sessions;
mod views;

use std::future::IntoFuture as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dashboards::Picture;
use dashboards::site::{Frame, PlanView, Tab};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::layout::Layout;
use crate::store::Reader;
use cache::Cache;
use connections::Bounded;
use guard::Guard;
use live::Live;
use problem::Problem;
use records::Records;

/// Where the server listens unless it is told otherwise.
pub const USUAL_PORT: u16 = 7707;

/// How long connections that are open have to end when the server ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody listens there already.
    #[error("port {port} of {address} is taken, perhaps by another `nocturne serve`", port = .0.port(), address = .0.ip())]
    Taken(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A token of the person's that is easily guessed, or that a URL would change.
    #[error(
        "NOCTURNE_SERVE_TOKEN has to be at least {least} characters, of letters, digits, `-`, `_`, `.` and `~`",
        least = guard::LEAST_TOKEN
    )]
    BadToken,
    /// No secrets can be drawn.
    #[error(transparent)]
    NoRandomness(#[from] guard::NoRandomness),
}

/// What all pages share.
#[derive(Debug)]
pub struct Served {
    /// Where everything lies.
    pub layout: Layout,
    /// Who may ask for what.
    pub guard: Guard,
    records: Records,
    live: watch::Sender<Arc<Live>>,
    streams: Arc<Semaphore>,
    pictures: Cache<Picture>,
    plans: Cache<PlanView>,
    ends: watch::Receiver<bool>,
}

impl Served {
    /// The state of a server of this repository. `ends` becomes true when it is to end.
    pub fn new(layout: Layout, guard: Guard, ends: watch::Receiver<bool>) -> Self {
        let records = Records::new(layout.clone());
        let live = watch::Sender::new(Arc::new(Live::unseen()));
        let streams = Arc::new(Semaphore::new(events::MOST_READERS));
        Self { layout, guard, records, live, streams, pictures: Cache::default(), plans: Cache::default(), ends }
    }

    /// The records.
    ///
    /// # Errors
    /// A page that says how to begin, where there are none yet; a fault of the database.
    pub async fn reader(&self) -> Result<Reader, Problem> {
        Ok(self.records.reader().await?)
    }

    fn records(&self) -> &Records {
        &self.records
    }

    /// The night as it goes on, at this moment.
    pub fn live(&self) -> Arc<Live> {
        self.live.borrow().clone()
    }

    /// Tells of every change of it; a slow receiver misses states, never the last one.
    pub fn watch_live(&self) -> watch::Receiver<Arc<Live>> {
        self.live.subscribe()
    }

    /// Leave for one more stream of events, kept as long as it lasts.
    fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    /// What stands around a page.
    pub fn frame(&self, title: &str, tab: Tab) -> Frame {
        Frame::new(title, tab, self.guard.csrf())
    }

    /// Becomes true when the server ends: whatever streams is over then.
    pub fn ends(&self) -> watch::Receiver<bool> {
        self.ends.clone()
    }
}

/// A server that listens, and answers once it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    served: Arc<Served>,
    end: watch::Sender<bool>,
}

impl Server {
    /// Listens. `token` is the person's own.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(layout: Layout, listen: SocketAddr, token: Option<String>) -> Result<Self, ServeError> {
        if token.as_ref().is_some_and(|token| !is_fit(token)) {
            return Err(ServeError::BadToken);
        }
        let listener = TcpListener::bind(listen).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::Taken(listen),
            _ => ServeError::Listen { address: listen, source },
        })?;
        let address = listener.local_addr().map_err(|source| ServeError::Listen { address: listen, source })?;
        let (end, ends) = watch::channel(false);
        let served = Arc::new(Served::new(layout, Guard::new(address, token)?, ends));
        Ok(Self { listener, address, served, end })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that whoever asks has to show, where one is in force.
    pub fn token(&self) -> Option<&str> {
        self.served.guard.token()
    }

    /// What to open in a browser, without a token.
    pub fn url(&self) -> String {
        url(self.address, || rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    /// Answers until `stop` is ready, then ends streams and connections.
    ///
    /// # Errors
    /// The system does not let it go on listening.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { listener, address, served, end } = self;
        let mut ends = served.ends();
        // Whoever sends `true`, or is gone.
        let graceful = async move { drop(ends.wait_for(|ends| *ends).await) };
        tokio::pin!(stop);
        let (looked, first) = oneshot::channel();
        let watching = tokio::spawn(live::watch(Arc::clone(&served), looked));
        // The first page is to have what there is to see; opening the records may take its time, and the person's patience may end.
        tokio::select! {
            _ = first => {}
            () = &mut stop => {
                watching.abort();
                return Ok(());
            }
        }
        let listener = Bounded::new(listener);
        let serving = axum::serve(listener, router::router(served)).with_graceful_shutdown(graceful).into_future();
        tokio::pin!(serving);
        let failed = |source| ServeError::Listen { address, source };
        tokio::select! {
            ended = &mut serving => return ended.map_err(failed),
            () = &mut stop => {}
        }
        end.send_replace(true);
        // A browser keeps connections open on which it has asked for nothing.
        let ended = tokio::time::timeout(FAREWELL, serving).await;
        watching.abort();
        ended.unwrap_or(Ok(())).map_err(failed)
    }
}

/// The URL of an address; by the machine's name where that says more. An address that holds for one link alone is written with the number of a
/// network card of this machine, which means nothing on another and which no browser takes.
fn url(address: SocketAddr, name: impl FnOnce() -> String) -> String {
    let on_a_link = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    match address.ip() {
        ip if ip.is_unspecified() || on_a_link(ip) => format!("http://{}:{}/", name(), address.port()),
        ip => format!("http://{}/", SocketAddr::new(ip, address.port())),
    }
}

/// Whether a token is long enough, and stands in a URL as it is.
fn is_fit(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    token.len() >= guard::LEAST_TOKEN && token.bytes().all(plain)
}

#[cfg(test)]
mod pages_tests;
#[cfg(test)]
mod tests;
