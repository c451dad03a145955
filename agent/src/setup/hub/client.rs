//! One request to a hub, and patience: which failures are worth another attempt, and when.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::HubError;
use crate::causes::chain;

/// The hub that is asked when `HF_ENDPOINT` names no other.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Attempts in a row without anything arriving.
const ATTEMPTS: u32 = 6;

/// A hub that asks for a longer pause gets this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// The most that a listing's page may hold; a file's content is not limited.
const LONGEST_PAGE: usize = 32 << 20;

/// A hub of data sets: where it is and who asks.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    endpoint: Url,
    /// "Bearer ...", marked as sensitive, so that nothing prints it.
    token: Option<HeaderValue>,
    /// The first pause between attempts; each next one is twice as long.
    pause: Duration,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({}, {} token)", self.endpoint(), if self.token.is_some() { "with" } else { "without" })
    }
}

/// Why a request brought nothing.
pub(super) enum Failure {
    /// Another attempt may do.
    Passing {
        /// What happened.
        reason: String,
        /// The pause that the hub asks for.
        pause: Option<Duration>,
    },
    /// It will not.
    Final(HubError),
}

impl Hub {
    /// The hub that `HF_ENDPOINT` names, else huggingface.co; with the token in `HF_TOKEN`, if there is one.
    pub fn of_process() -> Result<Hub, HubError> {
        let variable = |name: &'static str| match std::env::var(name) {
            Ok(value) if !value.trim().is_empty() => Ok(Some(value.trim().to_owned())),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(HubError::Variable { variable: name, reason: error.to_string() }),
        };
        let endpoint = variable("HF_ENDPOINT")?.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        Hub::new(&endpoint, variable("HF_TOKEN")?.as_deref(), Duration::from_secs(1))
    }

    /// The hub at `endpoint`. `pause` is the first pause between attempts; it doubles with each.
    pub fn new(endpoint: &str, token: Option<&str>, pause: Duration) -> Result<Hub, HubError> {
        let unusable = |reason: String| HubError::Variable { variable: "HF_ENDPOINT", reason };
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).map_err(|error| unusable(error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() {
            return Err(unusable("it must begin with http:// or https://".to_owned()));
        }
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| HubError::Variable {
                variable: "HF_TOKEN",
                reason: "it is not one line of ASCII".into(),
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        // The first provider stays for good, so a second call has nothing to do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("nocturne/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| HubError::Client(chain(&error)))?;
        Ok(Hub { client, endpoint, token: token.transpose()?, pause })
    }

    /// The hub's address, for people; without a name or password that it may hold.
    pub fn endpoint(&self) -> String {
        self.endpoint.host_str().map_or_else(|| self.endpoint.scheme().to_owned(), ToOwned::to_owned)
    }

    /// An address below the endpoint; the parts are escaped, slashes in them too.
    pub(super) fn url<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// One attempt to get `url`, from byte `from` on. `etag` keeps parts of two versions from being put together.
    pub(super) async fn get_once(
        &self,
        what: &str,
        url: &Url,
        from: u64,
        etag: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.get(url.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag.clone());
            }
        }
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        let (endpoint, what, code) = (self.endpoint(), what.to_owned(), status.as_u16());
        Err(match code {
            404 => Failure::Final(HubError::NotFound { endpoint, what }),
            401 | 403 => Failure::Final(HubError::Denied { endpoint, what, status: code }),
            408 | 425 | 429 | 500.. => {
                Failure::Passing { reason: format!("status {status}"), pause: asked_pause(&response) }
            }
            _ => Failure::Final(HubError::Status { endpoint, what, status: code }),
        })
    }

    /// A page of JSON, however many attempts it takes, and its `Link` to the next page.
    pub(super) async fn get_page(&self, what: &str, url: &Url) -> Result<(Vec<u8>, Option<String>), HubError> {
        let mut attempts = Attempts::new(self, what);
        loop {
            match self.page_once(what, url).await {
                Ok(page) => return Ok(page),
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    async fn page_once(&self, what: &str, url: &Url) -> Result<(Vec<u8>, Option<String>), Failure> {
        let mut response = self.get_once(what, url, 0, None).await?;
        let link = response.headers().get(reqwest::header::LINK).and_then(|link| link.to_str().ok()).map(str::to_owned);
        let mut page = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            page.extend_from_slice(&chunk);
            if page.len() > LONGEST_PAGE {
                let reason = format!("it is longer than {LONGEST_PAGE} bytes");
                return Err(Failure::Final(self.answer(what, reason)));
            }
        }
        Ok((page, link))
    }

    /// The error for an answer that makes no sense.
    pub(super) fn answer(&self, what: &str, reason: String) -> HubError {
        HubError::Answer { endpoint: self.endpoint(), what: what.to_owned(), reason }
    }
}

/// Counts attempts in a row that brought nothing, and waits between them.
pub(super) struct Attempts<'a> {
    hub: &'a Hub,
    what: String,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub fn new(hub: &'a Hub, what: &str) -> Attempts<'a> {
        Attempts { hub, what: what.to_owned(), failed: 0 }
    }

    /// Something arrived: patience starts anew.
    pub fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next attempt, or gives up.
    pub async fn failed(&mut self, failure: Failure) -> Result<(), HubError> {
        let (reason, pause) = match failure {
            Failure::Passing { reason, pause } => (reason, pause),
            Failure::Final(error) => return Err(error),
        };
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            let (endpoint, what, attempts) = (self.hub.endpoint(), self.what.clone(), self.failed);
            return Err(HubError::Unreachable { endpoint, what, reason, attempts });
        }
        let pause = pause.unwrap_or(self.hub.pause * 2u32.pow(self.failed - 1)).min(LONGEST_PAUSE);
        tracing::warn!(what = self.what, reason, ?pause, "download failed, will try again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause that a `Retry-After` asks for; its other form, a date, is rare and not understood.
fn asked_pause(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A broken connection. The address stays out of the message: that of a file can hold a signature.
pub(super) fn broken(error: reqwest::Error) -> Failure {
    Failure::Passing { reason: chain(&error.without_url()), pause: None }
}
