//! What all models of a night share: the account, the record, the wish to stop, and who is told of what happens.
//!
//! How one is asked, as often as another try may help, is in `tries`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::exchange::{Exchanges, Known, OwnRecord, Place, RecordError, Replay};
use crate::flow::CommitId;
use crate::llm::spend::{Account, Limits, Spent, UsedUp};
use crate::records::{ExchangeFailure, ExchangeKind};

/// Something about models that the night tells people and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something that a person should know now.
    Warning(String),
    /// Something for the record.
    Note(String),
    /// An idea that came to nothing before it was a proposal.
    GivenUp {
        /// The model, as its proposals name it.
        proposer: String,
        /// Names what was given up.
        key: String,
        /// The champion that it was for.
        champion: CommitId,
        /// Why.
        reason: String,
    },
}

/// What a desk begins with.
pub struct Opening {
    /// What the night may spend.
    pub limits: Limits,
    /// What this night has on record already.
    pub own: Vec<Known>,
    /// Another night's record to answer from; then nobody is asked.
    pub replay: Option<Vec<Known>>,
    /// Where exchanges are put on record.
    pub record: Arc<dyn Exchanges>,
    /// Who is told.
    pub news: mpsc::UnboundedSender<News>,
    /// Becomes true when nobody is to be asked any more.
    pub stop: watch::Receiver<bool>,
    /// How long waits are, as a share of what they should be: 1, and 0 in tests.
    pub pace: f64,
}

/// Where models are asked.
pub struct Desk {
    pub(super) runtime: Handle,
    pub(super) account: Mutex<Account>,
    pub(super) own: Mutex<OwnRecord>,
    pub(super) replay: Option<Mutex<Replay>>,
    pub(super) record: Arc<dyn Exchanges>,
    news: mpsc::UnboundedSender<News>,
    pub(super) stop: watch::Receiver<bool>,
    pace: f64,
    used_up: AtomicBool,
    /// The person's idea that no model could work out, with the reason.
    refused: Mutex<Option<(u32, String)>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoAnswer {
    /// A limit of the night is reached.
    UsedUp,
    /// The night ends.
    Stopped,
    /// The night that is replayed has no further answer.
    NotOnRecord,
    /// The model, or its server, failed.
    Failed(ExchangeFailure),
    /// The exchange cannot be put on record.
    Record(RecordError),
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Opens the desk; asks nobody yet. `runtime` is where calls are made.
    pub fn open(opening: Opening, runtime: Handle) -> Self {
        let Opening { limits, own, replay, record, news, stop, pace } = opening;
        // What agents cost is not known, and not limited.
        let asked = own.iter().filter(|known| known.kind == ExchangeKind::Model);
        let spent = asked.fold(Spent::default(), |sum, known| Spent {
            usd: sum.usd + known.spent.usd,
            tokens: sum.tokens.saturating_add(known.spent.tokens),
            calls: sum.calls.saturating_add(known.spent.calls),
        });
        // What answers from a record need not be waited for.
        let pace = if replay.is_some() { 0.0 } else { pace };
        let replay = replay.map(|exchanges| {
            let mut replay = Replay::of(exchanges);
            replay.skip(&own);
            Mutex::new(replay)
        });
        Self {
            runtime,
            account: Mutex::new(Account::new(limits, spent)),
            own: Mutex::new(OwnRecord::of(own)),
            replay,
            record,
            news,
            stop,
            pace,
            used_up: AtomicBool::new(false),
            refused: Mutex::new(None),
        }
    }

    /// Whether answers come from another night's record.
    pub(in crate::propose) fn replays(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether nobody is asked any more.
    pub(super) fn is_closed(&self) -> bool {
        self.used_up.load(Ordering::SeqCst) || *self.stop.borrow()
    }

    /// Whether an answer to this is on record: this night's own, or, where another is replayed, the one whose turn comes next.
    pub(in crate::propose) fn owes(&self, place: &Place, model: &str) -> bool {
        if self.has_answer(place, model) || locked(&self.own).has_anyones(place) {
            return self.has_answer(place, model);
        }
        self.replay.as_ref().is_some_and(|replay| locked(replay).is_next(place.kind, model))
    }

    /// Whether this night has an answer to this on record already.
    pub(in crate::propose) fn has_answer(&self, place: &Place, model: &str) -> bool {
        locked(&self.own).has(place, model)
    }

    pub(super) fn tell(&self, news: News) {
        // Nobody listening means that the night has ended.
        let _nobody = self.news.send(news);
    }

    /// Notes that the person's idea could not be worked out.
    pub(super) fn refuse(&self, wish: u32, reason: &str) {
        *locked(&self.refused) = Some((wish, reason.to_owned()));
    }

    /// The person's idea that could not be worked out since this was last asked, and why.
    pub fn take_refused(&self) -> Option<(u32, String)> {
        locked(&self.refused).take()
    }

    /// Begins a conversation; `false` where the next one of the night that is replayed is another's, or of another kind.
    pub(in crate::propose) fn begin(&self, model: &str, place: &Place) -> bool {
        let on_record = self.has_answer(place, model);
        match &self.replay {
            // What this night has heard already comes before what it has not.
            Some(replay) if !on_record => {
                !locked(&self.own).has_anyones(place) && locked(replay).begin(place.kind, model, place.repair)
            }
            _ => true,
        }
    }

    /// Says once that a limit is reached.
    pub(super) fn told_used_up(&self, limit: &UsedUp) -> NoAnswer {
        if !self.used_up.swap(true, Ordering::SeqCst) {
            self.tell(News::Warning(format!("no model is asked any more: {limit}")));
        }
        NoAnswer::UsedUp
    }

    /// How long a pause really is.
    pub(super) fn paced(&self, pause: Duration) -> Duration {
        pause.mul_f64(self.pace)
    }

    /// Waits, unless the night ends before.
    pub(super) fn wait(&self, pause: Duration) -> Result<(), NoAnswer> {
        let mut stop = self.stop.clone();
        if *stop.borrow() {
            return Err(NoAnswer::Stopped);
        }
        if pause.is_zero() {
            return Ok(());
        }
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => Ok(()),
                Ok(_) = stop.wait_for(|stop| *stop) => Err(NoAnswer::Stopped),
            }
        })
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("replays", &self.replays()).finish_non_exhaustive()
    }
}
