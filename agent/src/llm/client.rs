//! One streamed call of a model server, with bounds on how long and how much. Whether another try may help is for whoever asks.

use std::fmt;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::key::Key;
use super::patience::{Late, Patience};
use super::received::Received;
use super::retry;
use super::stream::{self, MOST_STREAM_BYTES, TooLong};
use super::{Answer, AskError, Request, anthropic, openai};
use crate::causes::chain;

/// Bytes of an error's body that are read.
const MOST_ERROR_BYTES: usize = 64 << 10;

/// Seconds to connect in.
const CONNECT_SECONDS: u64 = 20;

/// Which of the two formats a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Chat completions.
    OpenAi,
    /// Messages.
    Anthropic,
}

/// Where a model is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it speaks.
    pub format: Format,
    /// Where; for chat completions with the version, as in `https://api.openai.com/v1`.
    pub url: String,
    /// Seconds in which nothing of an answer comes after which it is given up. A local model reads a long brief in silence.
    pub silence_seconds: u64,
    /// Seconds after which a call is given up, whatever comes.
    pub longest_seconds: u64,
    /// Whether the server wants `max_completion_tokens`, as OpenAI's own newer models do.
    pub newest: bool,
}

/// Asks one server.
#[derive(Clone)]
pub struct Server {
    client: Client,
    endpoint: Endpoint,
    url: Url,
    headers: HeaderMap,
    key: Option<Key>,
}

/// Why a server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is none.
    #[error("the endpoint {url:?} is no address: {reason}; it begins with http:// or https:// and holds no password")]
    NoAddress {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up connections: {0}")]
    Client(String),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {} key)", self.url, if self.key.is_some() { "with" } else { "without" })
    }
}

impl Server {
    /// Prepares to ask; connects to nothing yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(endpoint: Endpoint, key: Option<Key>) -> Result<Self, SetupError> {
        let no_address = |reason: &str| SetupError::NoAddress { url: endpoint.url.clone(), reason: reason.to_owned() };
        let path = match endpoint.format {
            Format::OpenAi => openai::PATH,
            Format::Anthropic => anthropic::PATH,
        };
        let whole = format!("{}{path}", endpoint.url.trim_end_matches('/'));
        let url = Url::parse(&whole).map_err(|error| no_address(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(no_address("its scheme is another"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(no_address("it holds a name or a password"));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let (name, text) = match endpoint.format {
                Format::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
                Format::Anthropic => (HeaderName::from_static("x-api-key"), key.reveal().to_owned()),
            };
            let mut value = HeaderValue::from_str(&text).map_err(|error| SetupError::Client(error.to_string()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if endpoint.format == Format::Anthropic {
            headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
        }
        // The first provider stays for good, so a second call has nothing to do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("nocturne/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .read_timeout(Duration::from_secs(endpoint.silence_seconds))
            // Calls are minutes apart, and a connection that the server closes between two of them would look like a server that is gone.
            .pool_max_idle_per_host(0)
            // A key is for this address alone.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| SetupError::Client(chain(&error)))?;
        Ok(Self { client, endpoint, url, headers, key })
    }

    /// The body that goes over the wire, for the record; it holds no key.
    pub fn body(&self, request: &Request) -> Value {
        match self.endpoint.format {
            Format::OpenAi => openai::body(request, self.endpoint.newest),
            Format::Anthropic => anthropic::body(request),
        }
    }

    /// A text without the key, wherever it stands in it.
    pub fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    /// A document without the key, wherever it stands in its texts and names: a model names the fields of what it asks of tools.
    pub fn redact_all(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.redact_all(value)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (self.redact(&name), self.redact_all(value))).collect()
            }
            other => other,
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`AskError`]. No message holds the key.
    pub async fn ask(&self, request: &Request) -> Result<Answer, AskError> {
        self.ask_noting(request, &Received::default()).await
    }

    /// Asks once; what has come of the answer is noted as it comes.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ask_noting(&self, request: &Request, received: &Received) -> Result<Answer, AskError> {
        self.ask_openly(request, received).await.map_err(|error| self.redacted(error))
    }

    async fn ask_openly(&self, request: &Request, received: &Received) -> Result<Answer, AskError> {
        let call = self.client.post(self.url.clone()).headers(self.headers.clone()).json(&self.body(request));
        let (silence, longest) = (self.endpoint.silence_seconds, self.endpoint.longest_seconds);
        let mut patience = Patience::new(Instant::now(), Duration::from_secs(silence), Duration::from_secs(longest));
        let sent = timeout_at(patience.deadline(), call.send()).await.map_err(|_| self.late(patience.late()))?;
        let response = sent.map_err(|error| self.broken(error))?;
        patience.begins(Instant::now());
        let status = response.status();
        if !status.is_success() {
            let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait_seconds = asked.and_then(|value| retry::retry_after(value, jiff::Timestamp::now()));
            // Before it is shortened, which could leave half a key.
            let body = self.redact(&beginning(response, patience.deadline()).await);
            return Err(match self.endpoint.format {
                Format::OpenAi => openai::failure(status.as_u16(), wait_seconds, &body),
                Format::Anthropic => anthropic::failure(status.as_u16(), wait_seconds, &body),
            });
        }
        let broken = |error: &sse_stream::Error| self.broken_stream(error);
        let patience = (Some(patience), |late| self.late(late));
        stream::read_within(self.endpoint.format, packets(response), broken, patience, received).await
    }

    fn broken(&self, error: reqwest::Error) -> AskError {
        if error.is_timeout() && !error.is_connect() {
            return self.late(Late::Silent);
        }
        if !error.is_connect() {
            // Somebody was there and may have begun to work, which is not free.
            return AskError::BrokenOff(format!(
                "the connection ended before it began: {}",
                chain(&error.without_url())
            ));
        }
        AskError::Unreachable { endpoint: self.url.to_string(), reason: chain(&error.without_url()) }
    }

    fn late(&self, late: Late) -> AskError {
        let (endpoint, limits) = (self.url.to_string(), &self.endpoint);
        match late {
            Late::Silent => AskError::TimedOut { endpoint, seconds: limits.silence_seconds },
            Late::Endless => AskError::Endless { endpoint, seconds: limits.longest_seconds },
        }
    }

    fn broken_stream(&self, error: &(dyn std::error::Error + 'static)) -> AskError {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<TooLong>() {
                return AskError::TooMuch { limit: MOST_STREAM_BYTES };
            }
            if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
                return self.late(Late::Silent);
            }
            // An io::Error hides what it was made of from `source`.
            cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        AskError::BrokenOff(chain(error))
    }

    fn redacted(&self, error: AskError) -> AskError {
        let Some(key) = &self.key else { return error };
        let clean = |text: String| key.redact(&text);
        match error {
            AskError::Unreachable { endpoint, reason } => AskError::Unreachable { endpoint, reason: clean(reason) },
            AskError::RateLimited { wait_seconds, message } => {
                AskError::RateLimited { wait_seconds, message: clean(message) }
            }
            AskError::Server { status, wait_seconds, message } => {
                AskError::Server { status, wait_seconds, message: clean(message) }
            }
            AskError::NotAllowed { status, message } => AskError::NotAllowed { status, message: clean(message) },
            AskError::TooLong { message } => AskError::TooLong { message: clean(message) },
            AskError::BadRequest { status, message } => AskError::BadRequest { status, message: clean(message) },
            AskError::BrokenOff(text) => AskError::BrokenOff(clean(text)),
            AskError::Malformed(text) => AskError::Malformed(clean(text)),
            same @ (AskError::TimedOut { .. }
            | AskError::Endless { .. }
            | AskError::TooMuch { .. }
            | AskError::Empty) => same,
        }
    }
}

/// The beginning of an error's body; what cannot be read, or does not come in time, is left out.
async fn beginning(mut response: Response, deadline: Instant) -> String {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
        body.extend_from_slice(&chunk);
        if body.len() >= MOST_ERROR_BYTES {
            body.truncate(MOST_ERROR_BYTES);
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// The packets of a response.
fn packets(response: Response) -> impl Stream<Item = std::io::Result<impl AsRef<[u8]>>> {
    try_unfold(response, |mut response| async move {
        let packet = response.chunk().await.map_err(std::io::Error::other)?;
        Ok(packet.map(|packet| (packet, response)))
    })
}

#[cfg(test)]
mod tests;
