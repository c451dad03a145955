//! What all models of a night share: the account, the record, the wish to stop, and who is told of what happens.
//!
//! One call at the desk is one answer or a reason why there is none. It takes what is on record first, asks the server only then, within
//! the night's limits, as often as another try may help, and puts every try on record before anything is made of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::exchange::{Exchanges, INTERRUPTED, Known, OwnRecord, RecordError, Replay};
use crate::campaign::Model;
use crate::flow::CommitId;
use crate::llm::client::Server;
use crate::llm::retry::{self, Next};
use crate::llm::spend::{Account, Limits, Spent, UsedUp, estimated_tokens};
use crate::llm::{Answer, Request, Usage};
use crate::records::{ExchangeFailure, ExchangeRecord, FailureKind, Reply};

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
    runtime: Handle,
    account: Mutex<Account>,
    own: Mutex<OwnRecord>,
    replay: Option<Mutex<Replay>>,
    record: Arc<dyn Exchanges>,
    news: mpsc::UnboundedSender<News>,
    stop: watch::Receiver<bool>,
    pace: f64,
    used_up: AtomicBool,
    /// The person's idea that no model could work out, with the reason.
    refused: Mutex<Option<(u32, String)>>,
}

/// Whose call it is, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the experiment that it is for.
    pub number: u32,
    /// The turn of the night.
    pub turn: u64,
    /// Whether a proposal is to be repaired.
    pub repair: bool,
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

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Opens the desk; asks nobody yet. `runtime` is where calls are made.
    pub fn open(opening: Opening, runtime: Handle) -> Self {
        let Opening { limits, own, replay, record, news, stop, pace } = opening;
        let spent = own.iter().fold(Spent::default(), |sum, known| Spent {
            usd: sum.usd + known.spent.usd,
            tokens: sum.tokens.saturating_add(known.spent.tokens),
            calls: sum.calls.saturating_add(known.spent.calls),
        });
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
    pub(super) fn replays(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether nobody is asked any more.
    pub(super) fn is_closed(&self) -> bool {
        self.used_up.load(Ordering::SeqCst) || *self.stop.borrow()
    }

    /// Whether an answer of this turn is on record already.
    pub(super) fn has_answer(&self, turn: u64, model: &str) -> bool {
        locked(&self.own).has(turn, model)
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

    /// Begins a conversation; `false` when the night that is replayed has no further one of its kind.
    pub(super) fn begin(&self, model: &str, place: Place) -> bool {
        let on_record = self.has_answer(place.turn, model);
        match &self.replay {
            Some(replay) if !on_record => locked(replay).begin(model, place.repair),
            _ => true,
        }
    }

    /// One answer, with what it cost, after as many tries as may help. `server`: `None` where a night is replayed.
    pub(super) fn ask(
        &self,
        model: &Model,
        server: Option<&Server>,
        place: Place,
        request: &Request,
    ) -> Result<(Answer, f64), NoAnswer> {
        if let Some(known) = locked(&self.own).take(place.turn, &model.name) {
            let dollars = known.spent.usd;
            return known.outcome.map(|answer| (answer, dollars)).map_err(NoAnswer::Failed);
        }
        let began = Instant::now();
        let mut spent = Spent::default();
        let outcome = match (&self.replay, server) {
            // Nobody is paid; it counts as a call all the same.
            (Some(replay), _) => {
                spent.calls = 1;
                locked(replay).take(&model.name).ok_or(NoAnswer::NotOnRecord)?.outcome
            }
            (None, Some(server)) => self.live(model, server, request, place, &mut spent)?,
            (None, None) => return Err(NoAnswer::NotOnRecord),
        };
        let interrupted = outcome.as_ref().is_err_and(|failed| failed.words == INTERRUPTED);
        let request = match server {
            Some(server) => redacted(server, request).map_err(NoAnswer::Record)?,
            None => request.clone(),
        };
        let Place { number, turn, .. } = place;
        let exchange = ExchangeRecord {
            number,
            turn,
            round: locked(&self.own).next_round(turn),
            model: model.name.clone(),
            request,
            reply: outcome.map_or_else(Reply::Failure, Reply::Answer),
            spent,
            seconds: began.elapsed().as_secs_f64(),
            at: now(),
        };
        self.record.record(&exchange).map_err(NoAnswer::Record)?;
        match exchange.reply {
            Reply::Answer(answer) => Ok((answer, spent.usd)),
            Reply::Failure(_) if interrupted => Err(NoAnswer::Stopped),
            Reply::Failure(failed) => Err(NoAnswer::Failed(failed)),
        }
    }

    /// Asks the server as often as may help; an error only where it was not asked at all.
    fn live(
        &self,
        model: &Model,
        server: &Server,
        request: &Request,
        place: Place,
        spent: &mut Spent,
    ) -> Result<Result<Answer, ExchangeFailure>, NoAnswer> {
        let interrupted = || ExchangeFailure { kind: FailureKind::BrokenOff, words: INTERRUPTED.to_owned() };
        let estimate = estimated_tokens(&server.body(request).to_string());
        for tried in 1.. {
            if *self.stop.borrow() {
                return if tried == 1 { Err(NoAnswer::Stopped) } else { Ok(Err(interrupted())) };
            }
            let at_most = model.price.at_most(estimate, u64::from(model.answer_tokens));
            let reservation = match locked(&self.account).reserve(at_most) {
                Ok(reservation) => reservation,
                Err(limit) if tried == 1 => return Err(self.told_used_up(&limit)),
                // What failed before stands on record with what it cost.
                Err(limit) => {
                    self.told_used_up(&limit);
                    return Ok(Err(ExchangeFailure { kind: FailureKind::BrokenOff, words: limit.to_string() }));
                }
            };
            let mut stop = self.stop.clone();
            let asked = self.runtime.block_on(async {
                tokio::select! {
                    asked = server.ask(request) => Some(asked),
                    // An error means that nobody can ask to stop any more.
                    Ok(_) = stop.wait_for(|stop| *stop) => None,
                }
            });
            let (outcome, pause) = match asked {
                Some(Ok(answer)) => (redacted(server, &answer).map_err(NoAnswer::Record), None),
                Some(Err(error)) => {
                    let next = retry::next(&error, tried, share(place, tried));
                    let pause = if let Next::Wait(pause) = next { Some(pause) } else { None };
                    let failed = ExchangeFailure::of(&error, |words| server.redact(words));
                    (Err(NoAnswer::Failed(failed)), pause)
                }
                None => (Err(NoAnswer::Failed(interrupted())), None),
            };
            let cost = match &outcome {
                Ok(answer) => model.price.of(&answer.usage, estimate, estimated_tokens(&answer.text)),
                Err(NoAnswer::Failed(failed)) if may_cost(failed.kind) => {
                    model.price.of(&Usage { output: Some(0), ..Usage::default() }, estimate, 0)
                }
                Err(_) => Spent { calls: 1, ..Spent::default() },
            };
            locked(&self.account).settle(reservation, cost);
            *spent = Spent { usd: spent.usd + cost.usd, tokens: spent.tokens + cost.tokens, calls: spent.calls + 1 };
            match (outcome, pause) {
                (Ok(answer), _) => return Ok(Ok(answer)),
                (Err(NoAnswer::Failed(failed)), None) => return Ok(Err(failed)),
                (Err(NoAnswer::Failed(_)), Some(pause)) => {
                    // A night that ends meanwhile is seen before the next try.
                    let _ended = self.wait(self.paced(pause));
                }
                (Err(other), _) => return Err(other),
            }
        }
        Err(NoAnswer::Stopped)
    }

    /// Says once that a limit is reached.
    fn told_used_up(&self, limit: &UsedUp) -> NoAnswer {
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

/// Spreads waits; the same for the same try, since nothing but a wait depends on it.
fn share(place: Place, tried: u32) -> f64 {
    let mixed = (place.turn.wrapping_mul(31) + u64::from(tried)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64
}

/// What was asked, or answered, without the key, should anybody have written it there.
fn redacted<T: Serialize + DeserializeOwned>(server: &Server, what: &T) -> Result<T, RecordError> {
    let unfit = |error: serde_json::Error| RecordError(format!("an exchange cannot be written down: {error}"));
    serde_json::from_value(server.redact_all(serde_json::to_value(what).map_err(unfit)?)).map_err(unfit)
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("replays", &self.replays()).finish_non_exhaustive()
    }
}

/// The present, to the millisecond, as records keep it.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

/// Whether the server may have worked on a call that failed so, and may want to be paid for it.
fn may_cost(kind: FailureKind) -> bool {
    use FailureKind::{BrokenOff, Empty, Malformed, TimedOut, TooMuch};
    matches!(kind, TimedOut | BrokenOff | Malformed | TooMuch | Empty)
}

/// Whether a failure is worth more than a lost turn: the model cannot be reached, or does not want us.
pub(super) fn is_away(failed: &ExchangeFailure) -> bool {
    use FailureKind::{BrokenOff, Empty, Malformed, TooLong, TooMuch};
    !matches!(failed.kind, BrokenOff | Malformed | TooMuch | Empty | TooLong)
}
