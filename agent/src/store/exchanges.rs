//! Calls of language models: written down before anything is made of an answer, and read again by a night that goes on.

use sqlx::SqliteConnection;

use super::error::{Context, StoreError};
use super::mirror;
use super::put::json;
use super::reader::Reader;
use super::rows::{Decoder, to_signed, to_unsigned};
use super::writer::Store;
use crate::flow::NightId;
use crate::llm::Stop;
use crate::llm::spend::Spent;
use crate::records::{ExchangeFacts, ExchangeFailure, ExchangeRecord, Reply};

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Records a call of a model; call it before anything is made of the answer. The same call (by turn and round) again changes
    /// nothing where all else is the same; what it cost and how long it took do not make it another. One that is on record as under way
    /// takes the reply that comes.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where that turn and round had another aim, request or reply.
    pub async fn record_exchange(&self, night: &NightId, exchange: &ExchangeRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let (turn, round) = (exchange.turn, exchange.round);
        match one(&mut transaction, &self.context, night, turn, round).await? {
            None => put(&mut transaction, &self.context, night, exchange).await?,
            Some(recorded) => {
                let begun = recorded.reply.is_under_way();
                let settled = |it: &ExchangeRecord| ExchangeRecord {
                    reply: if begun { exchange.reply.clone() } else { it.reply.clone() },
                    again: if begun { exchange.again } else { it.again },
                    spent: Spent::default(),
                    seconds: 0.0,
                    at: jiff::Timestamp::UNIX_EPOCH,
                    ..it.clone()
                };
                if settled(&recorded) != settled(exchange) {
                    let what = format!("call {round} of turn {turn} of night {night}");
                    return Err(self.context.contradiction(what, &recorded, exchange));
                }
                if begun {
                    remove(&mut transaction, &self.context, night, turn, round).await?;
                    put(&mut transaction, &self.context, night, exchange).await?;
                }
            }
        }
        self.commit(transaction).await?;
        match &self.files {
            Some(layout) => mirror::exchange(layout, night, exchange.clone()).await,
            None => Ok(()),
        }
    }
}

impl Reader {
    /// A night's calls of models in their order, what was asked included; that can be hundreds of megabytes.
    pub async fn exchanges(&self, night: &NightId) -> Result<Vec<ExchangeRecord>> {
        let mut whole = Vec::new();
        for facts in self.exchange_facts(night).await? {
            whole.extend(self.exchange(night, facts.turn, facts.round).await?);
        }
        Ok(whole)
    }

    /// One call of a model: `round` counts from 1 within the turn. What a night that goes on, or is replayed, hears instead of the model.
    pub async fn exchange(&self, night: &NightId, turn: u64, round: u32) -> Result<Option<ExchangeRecord>> {
        one(&mut *self.snapshot().await?, &self.context, night, turn, round).await
    }

    /// A night's calls of models in their order, without what was asked.
    pub async fn exchange_facts(&self, night: &NightId) -> Result<Vec<ExchangeFacts>> {
        let night = night.as_str();
        let rows = sqlx::query_as!(
            FactsRow,
            "SELECT night, turn, round, number, kind, aim, model, again, answer_json, failure_kind, failure, calls, tokens, dollars, seconds, at
             FROM exchanges WHERE night = ?1 ORDER BY turn, round",
            night
        )
        .fetch_all(&mut *self.snapshot().await?)
        .await
        .map_err(self.context.sql("read the calls of models"))?;
        rows.into_iter().map(|row| row.decode(&self.context)).collect()
    }

    /// What a night has spent on its models so far.
    pub async fn spent(&self, night: &NightId) -> Result<Spent> {
        let sum = Spent::default();
        Ok(self.exchange_facts(night).await?.iter().fold(sum, |sum, exchange| Spent {
            usd: sum.usd + exchange.spent.usd,
            tokens: sum.tokens.saturating_add(exchange.spent.tokens),
            calls: sum.calls.saturating_add(exchange.spent.calls),
        }))
    }
}

struct FactsRow {
    night: String,
    turn: i64,
    round: i64,
    number: i64,
    kind: String,
    aim: String,
    model: String,
    again: i64,
    answer_json: Option<String>,
    failure_kind: Option<String>,
    failure: Option<String>,
    calls: i64,
    tokens: i64,
    dollars: f64,
    seconds: f64,
    at: String,
}

impl FactsRow {
    fn decode(self, context: &Context) -> Result<ExchangeFacts> {
        let row = Decoder::new(context, format!("call {} of turn {} of night {}", self.round, self.turn, self.night));
        let reply = match self.answer_json {
            Some(answer) => Reply::Answer(row.json("answer_json", &answer)?),
            None => Reply::Failure(ExchangeFailure {
                kind: row.word("failure_kind", &row.present("failure_kind", self.failure_kind)?)?,
                words: row.present("failure", self.failure)?,
            }),
        };
        Ok(ExchangeFacts {
            turn: to_unsigned(self.turn),
            round: row.count("round", self.round)?,
            number: row.count("number", self.number)?,
            kind: row.word("kind", &self.kind)?,
            aim: self.aim,
            reply,
            again: self.again != 0,
            spent: Spent { usd: self.dollars, tokens: to_unsigned(self.tokens), calls: to_unsigned(self.calls) },
            seconds: self.seconds,
            at: row.word("at", &self.at)?,
            model: self.model,
        })
    }
}

async fn one(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    turn: u64,
    round: u32,
) -> Result<Option<ExchangeRecord>> {
    let (night, turn) = (night.as_str(), to_signed(turn));
    let row = sqlx::query!("SELECT * FROM exchanges WHERE night = ?1 AND turn = ?2 AND round = ?3", night, turn, round)
        .fetch_optional(connection)
        .await
        .map_err(context.sql("read a call of a model"))?;
    let Some(row) = row else { return Ok(None) };
    let decoder = Decoder::new(context, format!("call {round} of turn {turn} of night {night}"));
    let request = decoder.json("request_json", &row.request_json)?;
    let facts = FactsRow {
        night: row.night,
        turn: row.turn,
        round: row.round,
        number: row.number,
        kind: row.kind,
        aim: row.aim,
        model: row.model,
        again: row.again,
        answer_json: row.answer_json,
        failure_kind: row.failure_kind,
        failure: row.failure,
        calls: row.calls,
        tokens: row.tokens,
        dollars: row.dollars,
        seconds: row.seconds,
        at: row.at,
    }
    .decode(context)?;
    Ok(Some(ExchangeRecord {
        turn: facts.turn,
        round: facts.round,
        number: facts.number,
        kind: facts.kind,
        aim: facts.aim,
        model: facts.model,
        request,
        reply: facts.reply,
        again: facts.again,
        spent: facts.spent,
        seconds: facts.seconds,
        at: facts.at,
    }))
}

async fn remove(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    turn: u64,
    round: u32,
) -> Result<()> {
    let (night, turn) = (night.as_str(), to_signed(turn));
    sqlx::query!("DELETE FROM exchanges WHERE night = ?1 AND turn = ?2 AND round = ?3", night, turn, round)
        .execute(connection)
        .await
        .map_err(context.sql("end a call of a model"))?;
    Ok(())
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    context: &Context,
    night: &NightId,
    exchange: &ExchangeRecord,
) -> Result<()> {
    context.finite(&[
        ("the cost of a call", Some(exchange.spent.usd)),
        ("the time of a call", Some(exchange.seconds)),
        ("the temperature of a request", exchange.request.temperature),
    ])?;
    let (night, turn) = (night.as_str(), to_signed(exchange.turn));
    let request = json(context, "a request to a model", &exchange.request)?;
    let answer = exchange.reply.answer();
    let answer_json = answer.map(|answer| json(context, "a model's answer", answer)).transpose()?;
    let (failure_kind, failure) = match &exchange.reply {
        Reply::Answer(_) => (None, None),
        Reply::Failure(failure) => (Some(failure.kind.name()), Some(failure.words.as_str())),
    };
    let stop = answer.map(|answer| match answer.stop {
        Stop::Done => "done",
        Stop::Calls => "calls",
        Stop::Length => "length",
        Stop::Refused => "refused",
    });
    let usage = answer.map(|answer| answer.usage).unwrap_or_default();
    // No server counts beyond what is signed, and one that says so is not believed.
    let counted = |tokens: Option<u64>| tokens.and_then(|tokens| i64::try_from(tokens).ok());
    let (input, cached, output) = (counted(usage.input), counted(usage.cached), counted(usage.output));
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (calls, tokens) = (whole(exchange.spent.calls), whole(exchange.spent.tokens));
    let (kind, at) = (exchange.kind.name(), exchange.at.to_string());
    sqlx::query!(
        "INSERT INTO exchanges (night, turn, round, number, kind, aim, model, again, request_json, answer_json, failure_kind, failure, stop,
                                input_tokens, cached_tokens, output_tokens, calls, tokens, dollars, seconds, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        night,
        turn,
        exchange.round,
        exchange.number,
        kind,
        exchange.aim,
        exchange.model,
        exchange.again,
        request,
        answer_json,
        failure_kind,
        failure,
        stop,
        input,
        cached,
        output,
        calls,
        tokens,
        exchange.spent.usd,
        exchange.seconds,
        at
    )
    .execute(connection)
    .await
    .map_err(context.sql("record a call of a model"))?;
    Ok(())
}
