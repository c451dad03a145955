//! What a campaign says of who is asked for ideas outside this program: language models, coding agents, and what a night may spend on
//! the former. Plain data; the keys themselves are read elsewhere, and stand in no file of a campaign.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::llm::client::{Endpoint, Format};
use crate::llm::key::KeySource;
use crate::llm::spend::{Limits, Price};

/// OpenAI's own server takes the words that its newer models insist on; others know the older ones only.
const OPENAI_HOST: &str = "api.openai.com";

/// One of `[[models]]`: a language model and how it is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// What it goes by in records and tables; unique in a campaign.
    pub name: String,
    /// What its server speaks.
    pub format: Format,
    /// Where it is served; for chat completions with the version, as in `https://api.openai.com/v1`.
    pub endpoint: String,
    /// Its name for its server.
    pub model: String,
    /// Where its key is to be found, as it was written: [`Model::key_source`] knows what `~/` stands for. Local servers need none.
    pub key: Option<KeySource>,
    /// Tokens of request and answer together that it can hold.
    pub context_tokens: u32,
    /// Tokens that an answer may have; fewer than `context_tokens`.
    pub answer_tokens: u32,
    /// Whether it can call tools.
    pub tools: bool,
    /// Sampling temperature; `None` leaves it to the server.
    pub temperature: Option<f64>,
    /// Seconds in which nothing of an answer comes after which a call is given up.
    pub timeout_seconds: u64,
    /// Seconds after which a call is given up, whatever comes. Nights that are on record from before this was bounded have none.
    #[serde(default = "usual_longest")]
    pub longest_seconds: u64,
    /// What its tokens cost; nothing where the campaign does not say.
    pub price: Price,
}

/// How long a call may take where a campaign does not say: this many times [`Model::timeout_seconds`].
pub(super) const USUAL_TIMEOUTS: u64 = 6;

/// The default of [`Model::timeout_seconds`].
pub(super) const USUAL_TIMEOUT: u64 = 300;

fn usual_longest() -> u64 {
    USUAL_TIMEOUTS * USUAL_TIMEOUT
}

impl Model {
    /// What is connected to.
    pub fn endpoint(&self) -> Endpoint {
        let newest = reqwest::Url::parse(&self.endpoint).is_ok_and(|url| url.host_str() == Some(OPENAI_HOST));
        let (format, url) = (self.format, self.endpoint.clone());
        let (silence_seconds, longest_seconds) = (self.timeout_seconds, self.longest_seconds);
        Endpoint { format, url, silence_seconds, longest_seconds, newest }
    }

    /// Where its key is to be found; `~/` in the name of a file is the folder `home`.
    pub fn key_source(&self, home: Option<&Path>) -> Option<KeySource> {
        Some(match (self.key.clone()?, home) {
            (KeySource::File(file), Some(home)) => match file.strip_prefix("~") {
                Ok(inside) => KeySource::File(home.join(inside)),
                Err(_) => KeySource::File(file),
            },
            (source, _) => source,
        })
    }
}

/// `[spending]`: what a night may spend on its models, all of them together; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spending {
    /// US dollars.
    pub dollars: Option<f64>,
    /// Tokens of requests and answers together.
    pub tokens: Option<u64>,
    /// Calls.
    pub calls: Option<u64>,
}

impl Spending {
    /// As a night's account takes it.
    pub fn limits(&self) -> Limits {
        Limits { usd: self.dollars, tokens: self.tokens, calls: self.calls }
    }
}

/// One of `[[coding_agents]]`: a program that changes files as it is told to in a brief.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodingAgent {
    /// What it goes by in records and tables; unique in a campaign.
    pub name: String,
    /// Program and arguments, at least the program; no shell reads them.
    pub command: Vec<String>,
    /// Minutes after which it is ended.
    pub minutes: f64,
}

impl CodingAgent {
    /// The default of [`CodingAgent::minutes`].
    pub(crate) const USUAL_MINUTES: f64 = 20.0;
}
