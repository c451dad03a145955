//! What is said of a request that cannot be answered: what happened, and what to do. A page for people, JSON for programs.

use std::error::Error;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dashboards::site::{Frame, ProblemView, Tab, frame, problem};
use futures_util::FutureExt as _;
use serde_json::json;

use super::guard;
use super::records::RecordsError;
use crate::causes::chain;
use crate::report::ReportError;
use crate::store::StoreError;

/// Bytes of a library's own words on a request that are shown.
const MOST_WORDS: usize = 2_000;

/// Why there is no answer. Handlers return it as their error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// In three words.
    pub title: String,
    /// What happened, and why.
    pub words: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Problem {
    /// Any.
    pub fn new(status: StatusCode, title: &str, words: impl Into<String>, help: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), words: words.into(), help: help.into() }
    }

    /// There is no such page, night or experiment.
    pub fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", words, "The list of nights shows what there is.")
    }

    /// It may not be done.
    pub fn forbidden(words: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", words, help)
    }

    /// The request makes no sense.
    pub fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "That makes no sense here", words, "Go back and change what you asked for.")
    }

    /// What is asked for cannot be done as things stand.
    pub fn conflict(words: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Not as things stand", words, help)
    }

    /// The server's own fault, or the machine's. It is logged.
    pub fn internal(error: &dyn Error) -> Self {
        let words = chain(error);
        tracing::error!("cannot answer a request: {words}");
        let help = "Load the page again. If it stays, `nocturne doctor` checks the machine and the records.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "That did not work", words, help)
    }

    /// No night has been run here.
    pub fn no_records() -> Self {
        let help = "Begin with: nocturne night experiments/quickstart";
        Self::new(StatusCode::NOT_FOUND, "No night yet", "There are no records in this repository yet.", help)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoDatabase { .. } => Self::no_records(),
            other => Self::internal(&other),
        }
    }
}

impl From<RecordsError> for Problem {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::None => Self::no_records(),
            other => Self::internal(&other),
        }
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NoSuchNight(night) => Self::not_found(format!("There is no night {night}.")),
            ReportError::Store(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

impl IntoResponse for Problem {
    /// The status with the problem beside it; [`finish`] makes a page or a document of it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The outermost layer: applies the guard's headers to every answer, makes pages of problems, and keeps a panic from cutting the connection.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let for_program = wants_json(request.uri().path(), request.headers());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        // The panic's own words went to standard error.
        tracing::error!("a page panicked");
        let help = "This is a bug; the server goes on. What was recorded is untouched.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "That did not work", "The page could not be made.", help)
            .into_response()
    });
    guard::harden(explained(answer, for_program).await)
}

fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    path.starts_with("/api/") || accepts.contains("application/json") && !accepts.contains("text/html")
}

async fn explained(mut answer: Response, for_program: bool) -> Response {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return answer;
    }
    let found = match answer.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if explains_itself(answer.headers()) => return answer,
        None => of_status(status, words_of(&mut answer).await),
    };
    let allow = answer.headers_mut().remove(header::ALLOW);
    let mut explained = if for_program {
        let document = json!({ "error": found.words, "help": found.help });
        (status, axum::Json(document)).into_response()
    } else {
        // Whoever was refused learns no secret from the refusal, and there is nothing to send here.
        let about = Frame::new(&found.title, Tab::None, "");
        let view = ProblemView { title: found.title, words: found.words, help: found.help };
        (status, axum::response::Html(frame(&about, problem(&view)))).into_response()
    };
    if let Some(allow) = allow {
        explained.headers_mut().insert(header::ALLOW, allow);
    }
    explained
}

/// Whether an answer is a page or a document already.
fn explains_itself(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.starts_with(b"text/html") || kind.starts_with(b"application/json")
}

/// What the library that took a request apart says of it.
async fn words_of(answer: &mut Response) -> String {
    let body = std::mem::take(answer.body_mut());
    let body = axum::body::to_bytes(body, MOST_WORDS).await.unwrap_or_default();
    String::from_utf8_lossy(&body).into_owned()
}

fn of_status(status: StatusCode, words: String) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("There is no such page."),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            status,
            "Not that way",
            "This page is not there for that kind of request.",
            "Open it as a page.",
        ),
        _ if status.is_server_error() => {
            tracing::error!("cannot answer a request: {status} {words}");
            Problem::new(status, "That did not work", words, "Load the page again.")
        }
        _ => Problem { status, ..Problem::bad_request(words) },
    }
}
