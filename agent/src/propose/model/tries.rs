//! One call at the desk: an answer, or a reason why there is none.
//!
//! What is on record is taken first, try by try. Only then the server is asked, within the night's limits, as often as another try may
//! help. Each try is on record before the server is asked, at what it can cost at most, and again with what came of it before anything is
//! made of that: whenever Nocturne is killed, no try that may have to be paid is forgotten.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::{Desk, NoAnswer, Place, locked};
use super::exchange::{INTERRUPTED, RecordError, TRIED_AGAIN, was_tried_again};
use crate::campaign::Model;
use crate::llm::client::Server;
use crate::llm::retry::{self, Next};
use crate::llm::spend::{Spent, estimated_tokens};
use crate::llm::{Answer, AskError, Request, Usage};
use crate::records::{ExchangeFailure, ExchangeRecord, FailureKind, Reply};

/// What came of one try.
struct Tried {
    outcome: Result<Answer, ExchangeFailure>,
    usd: f64,
    /// How long is waited before the next one, where there is to be one.
    pause: Duration,
}

impl Desk {
    /// One answer, with what it cost, after as many tries as may help. `server`: `None` where a night is replayed.
    pub(super) fn ask(
        &self,
        model: &Model,
        server: Option<&Server>,
        place: Place,
        request: &Request,
    ) -> Result<(Answer, f64), NoAnswer> {
        let mut usd = 0.0;
        for number in 1.. {
            let tried = match (self.on_record(model, place, request)?, server) {
                (Some(tried), _) => tried,
                (None, Some(server)) => self.try_once(model, server, place, request, number)?,
                (None, None) => return Err(NoAnswer::NotOnRecord),
            };
            usd += tried.usd;
            match tried.outcome {
                Ok(answer) => return Ok((answer, usd)),
                Err(failed) if was_tried_again(&failed) => {
                    // A night that ends meanwhile is seen before the next try.
                    let _ended = self.wait(self.paced(tried.pause));
                }
                Err(failed) => return Err(NoAnswer::Failed(failed)),
            }
        }
        Err(NoAnswer::Stopped)
    }

    /// The next try of this call that is on record: this night's own, else that of the night which is replayed.
    fn on_record(&self, model: &Model, place: Place, request: &Request) -> Result<Option<Tried>, NoAnswer> {
        if let Some(known) = locked(&self.own).take(place.turn, &model.name) {
            return Ok(Some(Tried { outcome: known.outcome, usd: known.spent.usd, pause: Duration::ZERO }));
        }
        let Some(replay) = &self.replay else { return Ok(None) };
        let known = locked(replay).take(&model.name).ok_or(NoAnswer::NotOnRecord)?;
        // Nobody is paid; it counts as a call all the same.
        let spent = Spent { calls: 1, ..Spent::default() };
        let reply = known.outcome.clone().map_or_else(Reply::Failure, Reply::Answer);
        self.record.record(&self.exchange(model, place, request.clone(), reply, spent)).map_err(NoAnswer::Record)?;
        Ok(Some(Tried { outcome: known.outcome, usd: 0.0, pause: Duration::ZERO }))
    }

    /// Asks the server once; an error only where it was not asked at all, or where nothing may be made of what came.
    fn try_once(
        &self,
        model: &Model,
        server: &Server,
        place: Place,
        request: &Request,
        number: u32,
    ) -> Result<Tried, NoAnswer> {
        if *self.stop.borrow() {
            return Err(NoAnswer::Stopped);
        }
        let estimate = estimated_tokens(&server.body(request).to_string());
        let at_most = model.price.at_most(estimate, u64::from(model.answer_tokens));
        let reservation = locked(&self.account).reserve(at_most).map_err(|limit| self.told_used_up(&limit))?;
        let asked = redacted(server, request).map_err(NoAnswer::Record)?;
        let under_way = Reply::Failure(ExchangeFailure::under_way());
        let mut exchange = self.exchange(model, place, asked, under_way, at_most);
        self.record.record(&exchange).map_err(NoAnswer::Record)?;
        let began = Instant::now();
        let came = self.answer(server, request);
        let mut pause = None;
        let outcome = match came {
            Some(Ok(answer)) => Ok(redacted(server, &answer).map_err(NoAnswer::Record)?),
            Some(Err(error)) => {
                if let Next::Wait(wait) = retry::next(&error, number, share(place, number)) {
                    pause = Some(wait);
                }
                let mut failed = ExchangeFailure::of(&error, |words| server.redact(words));
                if pause.is_some() {
                    failed.words.push_str(TRIED_AGAIN);
                }
                Err(failed)
            }
            None => Err(ExchangeFailure { kind: FailureKind::BrokenOff, words: INTERRUPTED.to_owned() }),
        };
        let interrupted = outcome.as_ref().is_err_and(|failed| failed.words == INTERRUPTED);
        exchange.spent = match &outcome {
            Ok(answer) => model.price.of(&answer.usage, estimate, estimated_tokens(&answer.text)),
            Err(failed) if may_cost(failed.kind) => {
                model.price.of(&Usage { output: Some(0), ..Usage::default() }, estimate, 0)
            }
            Err(_) => Spent { calls: 1, ..Spent::default() },
        };
        locked(&self.account).settle(reservation, exchange.spent);
        exchange.reply = outcome.clone().map_or_else(Reply::Failure, Reply::Answer);
        (exchange.seconds, exchange.at) = (began.elapsed().as_secs_f64(), now());
        self.record.record(&exchange).map_err(NoAnswer::Record)?;
        if interrupted {
            return Err(NoAnswer::Stopped);
        }
        Ok(Tried { outcome, usd: exchange.spent.usd, pause: pause.unwrap_or_default() })
    }

    /// What the server says; `None` when the night ended meanwhile.
    fn answer(&self, server: &Server, request: &Request) -> Option<Result<Answer, AskError>> {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                answer = server.ask(request) => Some(answer),
                // An error means that nobody can ask to stop any more.
                Ok(_) = stop.wait_for(|stop| *stop) => None,
            }
        })
    }

    /// A record of a try that is made now.
    fn exchange(&self, model: &Model, place: Place, request: Request, reply: Reply, spent: Spent) -> ExchangeRecord {
        let Place { number, turn, .. } = place;
        let round = locked(&self.own).next_round(turn);
        ExchangeRecord {
            number,
            turn,
            round,
            model: model.name.clone(),
            request,
            reply,
            spent,
            seconds: 0.0,
            at: now(),
        }
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
