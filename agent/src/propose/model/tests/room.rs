//! A desk as a night opens it, and servers on this machine that answer, fail and break off as they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::desk::{Desk, News, Opening};
use super::super::exchange::{Exchanges, Known, RecordError};
use super::super::{ModelProposer, ToolMaker};
use crate::campaign::Model;
use crate::flow::{Brief, Proposal, SourceFile};
use crate::llm::client::{Format, Server};
use crate::llm::key::{Key, KeySource};
use crate::llm::spend::{Limits, Price};
use crate::propose::fixture::brief;
use crate::propose::{ProposeError, Proposer};
use crate::records::ExchangeRecord;

pub const RECIPE: &str = "trainer/src/candidate/recipe.rs";
pub const KEY: &str = "sk-secret";

/// Keeps exchanges in memory, or refuses to.
#[derive(Default)]
pub struct Memory {
    pub kept: Mutex<Vec<ExchangeRecord>>,
    pub full: bool,
}

impl Exchanges for Memory {
    fn record(&self, exchange: &ExchangeRecord) -> Result<(), RecordError> {
        if self.full {
            return Err(RecordError("the disk is full".to_owned()));
        }
        let mut kept = self.kept.lock().unwrap();
        match kept.iter_mut().find(|known| (known.turn, known.round) == (exchange.turn, exchange.round)) {
            Some(begun) => {
                assert!(begun.reply.is_under_way() && begun.request == exchange.request, "{begun:?}");
                *begun = exchange.clone();
            }
            None => kept.push(exchange.clone()),
        }
        Ok(())
    }
}

/// A desk with everything that a night would give it.
pub struct Room {
    pub desk: Arc<Desk>,
    pub memory: Arc<Memory>,
    news: mpsc::UnboundedReceiver<News>,
    pub stop: watch::Sender<bool>,
}

impl Room {
    pub fn with(limits: Limits, own: Vec<Known>, replay: Option<Vec<Known>>, pace: f64, memory: Memory) -> Self {
        let memory = Arc::new(memory);
        let (news, heard) = mpsc::unbounded_channel();
        let stop = watch::Sender::new(false);
        let record = Arc::clone(&memory) as Arc<dyn Exchanges>;
        let opening = Opening { limits, own, replay, record, news, stop: stop.subscribe(), pace };
        Self { desk: Arc::new(Desk::open(opening, Handle::current())), memory, news: heard, stop }
    }

    pub fn new() -> Self {
        Self::with(Limits::default(), Vec::new(), None, 0.0, Memory::default())
    }

    pub fn exchanges(&self) -> Vec<ExchangeRecord> {
        self.memory.kept.lock().unwrap().clone()
    }

    /// As a night reads them again.
    pub fn known(&self) -> Vec<Known> {
        self.exchanges().into_iter().map(Known::of).collect()
    }

    pub fn warnings(&mut self) -> Vec<String> {
        self.news()
            .into_iter()
            .filter_map(|news| if let News::Warning(text) = news { Some(text) } else { None })
            .collect()
    }

    pub fn given_up(&mut self) -> Vec<String> {
        let reason = |news| if let News::GivenUp { reason, .. } = news { Some(reason) } else { None };
        self.news().into_iter().filter_map(reason).collect()
    }

    pub fn news(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.news.try_recv().ok()).collect()
    }

    pub fn proposer(&self, name: &str, url: &str) -> ModelProposer {
        self.proposer_with(name, url, None)
    }

    pub fn proposer_with(&self, name: &str, url: &str, tools: Option<ToolMaker>) -> ModelProposer {
        self.proposer_of(model(name, url), tools)
    }

    pub fn proposer_of(&self, model: Model, tools: Option<ToolMaker>) -> ModelProposer {
        let key = Key::read(&KeySource::Variable("K".to_owned()), |_| Some(KEY.to_owned())).unwrap();
        let server = Server::new(model.endpoint(), Some(key)).unwrap();
        ModelProposer::new(model, Some(server), Arc::clone(&self.desk), tools)
    }
}

pub fn model(name: &str, url: &str) -> Model {
    Model {
        name: name.to_owned(),
        format: Format::OpenAi,
        endpoint: url.to_owned(),
        model: "some-model".to_owned(),
        key: None,
        context_tokens: 16_000,
        answer_tokens: 1_000,
        tools: true,
        temperature: None,
        timeout_seconds: 20,
        longest_seconds: 600,
        price: Price { input: 3.0, cached: 0.3, output: 15.0 },
    }
}

pub fn small() -> Brief {
    let text = "fn a() -> f64 {\n    0.5\n}\n\nfn b() -> f64 {\n    0.25\n}\n".to_owned();
    let mut brief = brief(vec![SourceFile { path: RECIPE.to_owned(), text }]);
    brief.details.number = 3;
    brief.turn = 7;
    brief
}

pub fn answer(title: &str, search: &str, replace: &str) -> String {
    format!(
        "Title: {title}\nHypothesis: It is low.\nFamily: rates\nPredicted: -0.002\nConfidence: 0.4\nEdits: 1\n\n{RECIPE}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"
    )
}

pub fn good() -> String {
    answer("Raise the rate", "    0.5", "    0.75")
}

pub fn stream(events: &[Value]) -> ResponseTemplate {
    let mut body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    ResponseTemplate::new(200).set_body_raw(body, "text/event-stream")
}

pub fn says(text: &str, finish: &str) -> ResponseTemplate {
    stream(&[
        json!({ "model": "some-model-1", "choices": [{ "delta": { "content": text }, "finish_reason": finish }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": 1_000, "completion_tokens": 100 } }),
    ])
}

pub fn calls(count: usize) -> ResponseTemplate {
    let call = |index: usize| json!({ "index": index, "id": format!("c{index}"), "function": { "name": "look", "arguments": "{\"at\":1}" } });
    let all: Vec<Value> = (0..count).map(call).collect();
    stream(&[json!({ "choices": [{ "delta": { "tool_calls": all }, "finish_reason": "tool_calls" }] })])
}

pub fn status(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "error": { "message": message } }))
}

/// A server that gives these answers, one after the other, and then fails for good.
pub async fn server(responses: Vec<ResponseTemplate>) -> MockServer {
    let mock = MockServer::start().await;
    for response in responses {
        Mock::given(method("POST")).respond_with(response).up_to_n_times(1).mount(&mock).await;
    }
    Mock::given(method("POST")).respond_with(status(403, "no more of this")).mount(&mock).await;
    mock
}

/// Asks on a thread that may block, as a night does.
pub async fn propose<P: Proposer + 'static>(
    mut proposer: P,
    brief: &Brief,
) -> (P, Result<Option<Proposal>, ProposeError>) {
    let brief = brief.clone();
    tokio::task::spawn_blocking(move || {
        let proposed = proposer.propose(&brief);
        (proposer, proposed)
    })
    .await
    .unwrap()
}

pub async fn bodies(mock: &MockServer) -> Vec<Value> {
    mock.received_requests().await.unwrap().iter().map(|request| request.body_json().unwrap()).collect()
}

/// Asks as a night does where nobody else has anything: until there is a proposal, or asking again is of no use.
pub async fn propose_again<P: Proposer + 'static>(mut proposer: P, brief: &Brief) -> (P, Option<Proposal>) {
    loop {
        let proposed;
        (proposer, proposed) = propose(proposer, brief).await;
        if let Some(proposal) = proposed.unwrap() {
            return (proposer, Some(proposal));
        }
        match proposer.again(brief) {
            Some(pause) => assert_eq!(pause, Duration::ZERO),
            None => return (proposer, None),
        }
    }
}
