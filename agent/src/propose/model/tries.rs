//! One call at the desk: an answer, or a reason why there is none.
//!
//! What is on record is taken first, try by try. Only then the server is asked, within the night's limits, as often as another try may
//! help. Each try is on record before the server is asked, at what it can cost at most, and again with what came of it before anything is
//! made of that: whenever Nocturne is killed, no try that may have to be paid is forgotten.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::{Desk, NoAnswer, locked};
use super::exchange::{INTERRUPTED, Place, RecordError};
use crate::campaign::Model;
use crate::llm::client::Server;
use crate::llm::received::{Came, Received};
use crate::llm::retry::{self, Next};
use crate::llm::spend::{Spent, estimated_tokens, estimated_tokens_of};
use crate::llm::{Answer, AskError, Request, Usage};
use crate::records::{ExchangeFailure, ExchangeRecord, FailureKind, Reply};

/// The words for an answer that cannot be put on record.
const HOLDS_KEY: &str = "the answer holds the key of the server, so it is neither written down nor used; look for the key in program.md, \
                         in the candidate's files and in the queue, and replace it";

/// What came of one try.
struct Tried {
    outcome: Result<Answer, ExchangeFailure>,
    usd: f64,
    /// Whether it failed and is to be followed by another, and how long that is waited for.
    again: bool,
    pause: Duration,
}

impl Desk {
    /// One answer, with what it cost, after as many tries as may help. `server`: `None` where a night is replayed.
    pub(super) fn ask(
        &self,
        model: &Model,
        server: Option<&Server>,
        place: &Place,
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
                Err(_) if tried.again => {
                    // A night that ends meanwhile is seen before the next try.
                    let _ended = self.wait(self.paced(tried.pause));
                }
                Err(failed) => return Err(NoAnswer::Failed(failed)),
            }
        }
        Err(NoAnswer::Stopped)
    }

    /// The next try of this call that is on record: this night's own, else that of the night which is replayed.
    fn on_record(&self, model: &Model, place: &Place, request: &Request) -> Result<Option<Tried>, NoAnswer> {
        if let Some(known) = locked(&self.own).take(place, &model.name) {
            let (usd, again) = (known.spent.usd, known.again);
            return Ok(Some(Tried { outcome: known.outcome, usd, again, pause: Duration::ZERO }));
        }
        let Some(replay) = &self.replay else { return Ok(None) };
        let known = locked(replay).take().ok_or(NoAnswer::NotOnRecord)?;
        // Nobody is paid; it counts as a call all the same.
        let spent = Spent { calls: 1, ..Spent::default() };
        let reply = known.outcome.clone().map_or_else(Reply::Failure, Reply::Answer);
        let again = known.again;
        let exchange = ExchangeRecord { again, ..self.exchange(model, place, request.clone(), reply, spent) };
        self.record.record(&exchange).map_err(NoAnswer::Record)?;
        Ok(Some(Tried { outcome: known.outcome, usd: 0.0, again, pause: Duration::ZERO }))
    }

    /// Asks the server once; an error only where it was not asked at all, or where nothing may be made of what came.
    fn try_once(
        &self,
        model: &Model,
        server: &Server,
        place: &Place,
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
        let received = Received::default();
        let came = self.answer(server, request, &received);
        let gave_up = matches!(&came, Some(Err(error)) if gave_up_waiting(error));
        let mut pause = None;
        let outcome = match came {
            // What is used and what is on record must be the same, for a night that goes on hears the record. Without the key it would
            // be another answer, perhaps other code.
            Some(Ok(answer)) if redacted(server, &answer).map_err(NoAnswer::Record)? != answer => {
                Err(ExchangeFailure { kind: FailureKind::Malformed, words: HOLDS_KEY.to_owned() })
            }
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                if let Next::Wait(wait) = retry::next(&error, number, share(place, number)) {
                    pause = Some(wait);
                }
                Err(ExchangeFailure::of(&error, |words| server.redact(words)))
            }
            None => Err(ExchangeFailure { kind: FailureKind::BrokenOff, words: INTERRUPTED.to_owned() }),
        };
        let interrupted = outcome.as_ref().is_err_and(|failed| failed.words == INTERRUPTED);
        let failed = outcome.as_ref().err().map(|failed| failed.kind);
        exchange.spent = cost(model, estimate, &received.came(), failed.map(|kind| (kind, gave_up)));
        locked(&self.account).settle(reservation, exchange.spent);
        exchange.again = pause.is_some();
        exchange.reply = outcome.clone().map_or_else(Reply::Failure, Reply::Answer);
        (exchange.seconds, exchange.at) = (began.elapsed().as_secs_f64(), now());
        self.record.record(&exchange).map_err(NoAnswer::Record)?;
        if interrupted {
            return Err(NoAnswer::Stopped);
        }
        Ok(Tried { outcome, usd: exchange.spent.usd, again: exchange.again, pause: pause.unwrap_or_default() })
    }

    /// What the server says; `None` when the night ended meanwhile.
    fn answer(&self, server: &Server, request: &Request, received: &Received) -> Option<Result<Answer, AskError>> {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                answer = server.ask_noting(request, received) => Some(answer),
                // An error means that nobody can ask to stop any more.
                Ok(_) = stop.wait_for(|stop| *stop) => None,
            }
        })
    }

    /// A record of a try that is made now.
    fn exchange(&self, model: &Model, place: &Place, request: Request, reply: Reply, spent: Spent) -> ExchangeRecord {
        ExchangeRecord {
            kind: place.kind,
            turn: place.turn,
            round: locked(&self.own).next_round(place.turn),
            number: place.number,
            aim: place.aim.clone(),
            model: model.name.clone(),
            request,
            reply,
            again: false,
            spent,
            seconds: 0.0,
            at: now(),
        }
    }
}

/// Spreads waits; the same for the same try, since nothing but a wait depends on it.
fn share(place: &Place, tried: u32) -> f64 {
    let mixed = (place.turn.wrapping_mul(31) + u64::from(tried)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64
}

/// What was asked, or answered, without the key, should anybody have written it there.
fn redacted<T: Serialize + DeserializeOwned>(server: &Server, what: &T) -> Result<T, RecordError> {
    let unfit = |error: serde_json::Error| RecordError(format!("an exchange cannot be written down: {error}"));
    serde_json::from_value(server.redact_all(serde_json::to_value(what).map_err(unfit)?)).map_err(unfit)
}

/// The present, to the millisecond, as records keep it.
pub(super) fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

/// What is booked for a try: `estimate` are the tokens of its request, and `failed` says that no answer came of it.
///
/// A failed try may have to be paid all the same, and what came of it can be much less than what the model wrote: thoughts may be hidden,
/// and a server may write on for a while when nobody reads any more. So unless the server had its last word on the tokens, the longest
/// answer that the model was allowed is booked, or what came where that is more: that is what was reserved, so that a limit is passed by
/// one call at most, whatever breaks off. Only what was turned away before anything was written costs nothing but a call: not a stream whose
/// server had begun to count, and not a gateway that gave up waiting for a model that may have worked.
fn cost(model: &Model, estimate: u64, came: &Came, failed: Option<(FailureKind, bool)>) -> Spent {
    let written = estimated_tokens_of(came.bytes);
    let Some((kind, gave_up)) = failed else { return model.price.of(&came.usage, estimate, written) };
    if is_turned_away(kind) && !gave_up && came.bytes == 0 && came.usage == Usage::default() {
        return Spent { calls: 1, ..Spent::default() };
    }
    if came.ended && came.usage.output.is_some() {
        return model.price.of(&came.usage, estimate, written);
    }
    let output = written.max(u64::from(model.answer_tokens)).max(came.usage.output.unwrap_or(0));
    // Gateways begin with zeros, and say at the end only what the request took.
    let begun = came.usage.input.unwrap_or(0) > 0 || came.usage.cached.unwrap_or(0) > 0;
    let usage = if begun { came.usage } else { Usage::default() };
    model.price.of(&Usage { output: Some(output), ..usage }, estimate, output)
}

/// Whether a gateway says that it waited for the server behind it in vain, which may have worked all the while: 408, 504, and the 522 to 524 of
/// one that is much used.
fn gave_up_waiting(error: &AskError) -> bool {
    let status = match error {
        AskError::Server { status, .. } | AskError::BadRequest { status, .. } => *status,
        _ => return false,
    };
    matches!(status, 408 | 504 | 522..=524)
}

/// Whether a failure says that the server did no work. A stream that tells of one after it began has done some.
fn is_turned_away(kind: FailureKind) -> bool {
    use FailureKind::{BadRequest, NotAllowed, RateLimited, Server, TooLong, Unreachable};
    matches!(kind, Unreachable | RateLimited | Server | NotAllowed | TooLong | BadRequest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::model;
    use super::*;
    use crate::llm::spend::{Account, Limits};

    fn came(bytes: u64, input: Option<u64>, output: Option<u64>, ended: bool) -> Came {
        Came { bytes, usage: Usage { input, cached: None, output }, ended }
    }

    /// A model with 1,000 tokens of answer, a request of 2,000.
    #[test]
    fn what_broke_off_is_booked_as_if_it_had_not() {
        use FailureKind::{BrokenOff, Empty, Malformed, RateLimited, Server, TimedOut, TooMuch, Unreachable};
        let nothing = Came::default();
        for (failed, came, tokens) in [
            // Answers: the server's word, else every byte that came.
            (None, came(300, Some(50), Some(70), true), 120),
            (None, came(300, None, None, true), 2_100),
            // Turned away, or never there.
            (Some(RateLimited), nothing, 0),
            (Some(Server), nothing, 0),
            (Some(Unreachable), nothing, 0),
            // A stream that told of trouble of the server's after it began.
            (Some(Server), came(30, None, None, false), 3_000),
            // One that told of trouble before a word was seen, and had counted the request.
            (Some(Server), came(0, Some(1_500), Some(1), false), 2_500),
            (Some(TimedOut), nothing, 3_000),
            (Some(BrokenOff), came(30, None, None, false), 3_000),
            // What the server said at its start of the request, and of an answer that had begun.
            (Some(BrokenOff), came(30, Some(1_500), Some(4), false), 2_500),
            (Some(BrokenOff), came(30, Some(0), Some(0), false), 3_000),
            // More than it was allowed.
            (Some(TooMuch), came(1 << 20, None, None, false), 2_000 + 349_526),
            (Some(BrokenOff), came(30, None, Some(1_700), false), 3_700),
            // The last word of the server.
            (Some(Empty), came(0, Some(1_500), Some(9), true), 1_509),
            (Some(Malformed), came(60, Some(1_500), Some(25), true), 1_525),
            (Some(Empty), came(0, None, None, true), 3_000),
        ] {
            let spent = cost(&model("m", "http://localhost:1"), 2_000, &came, failed.map(|kind| (kind, false)));
            assert_eq!((spent.tokens, spent.calls), (tokens, 1), "{failed:?} {came:?}");
        }
    }

    #[test]
    fn a_gateway_that_waited_in_vain_may_have_to_be_paid() {
        let text = String::new;
        for (status, tokens) in [(503, 0), (500, 0), (504, 3_000), (524, 3_000), (408, 3_000)] {
            let error = AskError::Server { status, wait_seconds: None, message: text() };
            let failed = Some((FailureKind::Server, gave_up_waiting(&error)));
            let spent = cost(&model("m", "http://localhost:1"), 2_000, &Came::default(), failed);
            assert_eq!(spent.tokens, tokens, "{status}");
        }
    }

    proptest! {
        /// Servers that break off anywhere, several calls at a time: what is on record never passes the limit by more than one call.
        #[test]
        fn a_limit_is_passed_by_one_call_at_most(
            limit in 0..40_000_u64,
            steps in prop::collection::vec((any::<bool>(), 0..3_000_u64, any::<bool>(), any::<bool>()), 0..120),
        ) {
            const REQUEST: u64 = 2_000;
            let model = model("m", "http://localhost:1");
            let most = model.price.at_most(REQUEST, u64::from(model.answer_tokens));
            let mut account = Account::new(Limits { tokens: Some(limit), ..Limits::default() }, Spent::default());
            let mut flying = Vec::new();
            let mut booked = 0;
            // What the servers really wrote, seen or not, which nobody here is told.
            let mut worked = 0;
            for (begins, bytes, breaks, says) in steps {
                if begins {
                    flying.extend(account.reserve(most));
                } else if let Some(reservation) = flying.pop() {
                    let written = bytes.div_ceil(3);
                    let usage = says && !breaks;
                    let came = came(bytes, usage.then_some(REQUEST), usage.then_some(written), !breaks);
                    let spent = cost(&model, REQUEST, &came, breaks.then_some((FailureKind::BrokenOff, false)));
                    // One that broke off may have gone on to the end where nobody saw it.
                    worked += REQUEST + if breaks { u64::from(model.answer_tokens) } else { written };
                    booked += spent.tokens;
                    account.settle(reservation, spent);
                }
                prop_assert!(worked <= booked && booked < limit + most.tokens, "{worked} {booked} {limit}");
            }
        }
    }
}
