//! Who may ask the server for what, decided before any page is asked for it.
//!
//! On a loopback address everybody on the machine may read, so nothing but the machine's browsers has to be held off: a page of another site
//! must not reach the server under a name of its own (the `Host` header has to be a loopback name with our port), and must not write
//! (`Origin` or `Sec-Fetch-Site` of our own, and a token that only our pages know). On any other address, or where the person set a
//! token, whoever asks shows it: once in the URL, which is answered with a cookie (see `sessions`), or as `Authorization: Bearer`.
//!
//! Headers that a proxy adds (`X-Forwarded-For`, `Forwarded`) decide nothing: anybody can write them.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Form, FromRequest as _, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::problem::Problem;
use super::sessions::{Sessions, equal};
use crate::hash::sha256;

/// Bytes of the body of a request that writes.
pub const MOST_BODY: usize = 64 * 1024;

/// Characters of a token that a person sets.
pub const LEAST_TOKEN: usize = 32;

/// The header in which a script sends the token that its page has in `<meta name="csrf-token">`; forms have a field `csrf`.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-nocturne-csrf");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing is loaded from elsewhere, nothing stands in a page but what its files say, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The rules of one server.
pub struct Guard {
    port: u16,
    /// What whoever asks has to show; `None`: nothing, on a loopback address.
    token: Option<String>,
    csrf: String,
    sessions: Sessions,
}

impl std::fmt::Debug for Guard {
    // Its secrets are not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("port", &self.port).field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers for a token: {0}")]
pub struct NoRandomness(#[from] rand::rngs::SysError);

/// What becomes of a request that breaks no rule.
pub(super) enum Admitted {
    /// It is answered.
    In(Request),
    /// It is answered by this: the browser gets a cookie, and goes on to the URL without the token.
    Cookie(Response),
}

impl Guard {
    /// For a server that listens there. `token` is the person's; where there is none and the address is not a loopback one, a new one is
    /// drawn.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(listens: SocketAddr, token: Option<String>) -> Result<Self, NoRandomness> {
        let token = match token {
            None if !is_loopback(listens.ip()) => Some(random()?),
            given => given,
        };
        Ok(Self { port: listens.port(), token, csrf: random()?, sessions: Sessions::default() })
    }

    /// The token that has to be shown, where one is in force.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What the forms of our pages send along.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Applies the rules, in the order: where to, who, what, whence.
    pub(super) async fn admit(&self, request: Request) -> Result<Admitted, Problem> {
        let (parts, body) = request.into_parts();
        let host = self.host(&parts)?;
        if let Some(cookie) = self.entrance(&parts)? {
            return Ok(Admitted::Cookie(cookie));
        }
        self.known(&parts)?;
        match parts.method {
            Method::GET | Method::HEAD => Ok(Admitted::In(Request::from_parts(parts, body))),
            Method::POST => {
                of_our_own(&parts.headers, &host)?;
                self.written(parts, body).await.map(Admitted::In)
            }
            _ => Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not that way",
                format!("{} is nothing that this server does.", parts.method),
                "Pages are read with GET; what writes is a POST.",
            )),
        }
    }

    /// The host that was asked for, lower-case. Without a token it has to be this machine by a name of its own: a page of another site may have
    /// its own name point here.
    fn host(&self, parts: &Parts) -> Result<String, Problem> {
        let refused =
            |words: String| Problem::forbidden(words, format!("Open http://127.0.0.1:{}/ instead.", self.port));
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Err(refused("The request does not say in one header which host it is for.".to_owned()));
        };
        let host = host.to_ascii_lowercase();
        if parts.uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(&host)) {
            return Err(refused("The request names two hosts.".to_owned()));
        }
        if self.token.is_none() && !is_this_machine(&host, self.port) {
            let port = self.port;
            return Err(refused(format!(
                "This server answers to 127.0.0.1:{port}, localhost:{port} and [::1]:{port}, and was asked for {host}. A site may have \
                 its name point at your machine to read what is yours; behind a tunnel or a proxy, keep the port or set a token \
                 (docs/serve.md)."
            )));
        }
        Ok(host)
    }

    /// The answer to a URL that brings the token: right, it is kept in a cookie.
    fn entrance(&self, parts: &Parts) -> Result<Option<Response>, Problem> {
        let Some(token) = &self.token else { return Ok(None) };
        let (given, rest) = without_token(parts.uri.query().unwrap_or_default());
        let Some(given) = given.filter(|_| parts.method == Method::GET || parts.method == Method::HEAD) else {
            return Ok(None);
        };
        if !same(&given, token) {
            return Err(wrong_token());
        }
        // A path that begins with two slashes would name another host.
        let path = parts.uri.path().trim_start_matches(['/', '\\']);
        let query = if rest.is_empty() { String::new() } else { format!("?{rest}") };
        let session = self.sessions.begin(Instant::now()).map_err(|error| Problem::internal(&error))?;
        let cookie = format!("{}={session}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name());
        let headers = [(header::LOCATION, format!("/{path}{query}")), (header::SET_COOKIE, cookie)];
        Ok(Some((StatusCode::SEE_OTHER, headers).into_response()))
    }

    /// Whether whoever asks has shown the token, where there is one. What the pages are dressed in is no secret.
    fn known(&self, parts: &Parts) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        if parts.uri.path().starts_with("/static/") {
            return Ok(());
        }
        let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(given) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            return if same(given.trim(), token) { Ok(()) } else { Err(wrong_token()) };
        }
        let name = self.cookie_name();
        let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = cookies.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        if cookies.any(|(of, value)| of == name && self.sessions.knows(value, Instant::now())) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "This server is open to those who have its token.",
            "Open the URL that `nocturne serve` printed when it began, with ?token=... in it; a browser is known for a week after that, or until the \
             server ends. If you came here by a link from elsewhere, open the start page from here.",
        ))
    }

    /// A request that writes, with its body read and its token found right.
    async fn written(&self, parts: Parts, body: Body) -> Result<Request, Problem> {
        let too_large = || {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too much at once",
                format!("At most {MOST_BODY} bytes are taken in one request."),
                "Send less, or use the command line: `nocturne review record FILE`.",
            )
        };
        let length =
            parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > MOST_BODY as u64) {
            return Err(too_large());
        }
        let body = to_bytes(body, MOST_BODY).await.map_err(|_| too_large())?;
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let in_header = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let given = match (in_header, kind.as_str()) {
            (Some(given), "application/json" | "application/x-www-form-urlencoded") => Some(given),
            (None, "application/json") => None,
            (None, "application/x-www-form-urlencoded") => field(&parts, &body).await,
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "Not in that form",
                    "What is written comes as a form (application/x-www-form-urlencoded) or as JSON (application/json).",
                    "",
                ));
            }
        };
        if !given.is_some_and(|given| same(&given, &self.csrf)) {
            return Err(Problem::forbidden(
                "The form does not come from a page of this server as it runs now; nothing was written.",
                "If the server was started anew since you opened the page, load the page again and repeat what you did.",
            ));
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// Cookies know no ports: two servers of one machine have two.
    fn cookie_name(&self) -> String {
        format!("nocturne-{}", self.port)
    }
}

/// Puts on an answer what tells browsers how little they may do with it.
pub(super) fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`, under which browsers send forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page that was written as one file has its own styles, and its own policy.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a request that writes comes from a page of this host.
fn of_our_own(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default().to_ascii_lowercase());
    let own = match (&origin, site) {
        (_, Some(site)) if site != b"same-origin" => false,
        // https: a proxy in front may speak it.
        (Some(origin), _) => {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(|from| from == host)
        }
        (None, site) => site.is_some(),
    };
    if own {
        return Ok(());
    }
    Err(Problem::forbidden(
        "What writes has to come from a page of this server, and the browser does not say that this does; nothing was written.",
        "Do it on the page itself. A program uses the command line: `nocturne review record FILE`.",
    ))
}

/// The field `csrf` of a form.
async fn field(parts: &Parts, body: &Bytes) -> Option<String> {
    let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
    let Form(fields) = Form::<Vec<(String, String)>>::from_request(request, &()).await.ok()?;
    let mut tokens = fields.into_iter().filter(|(name, _)| name == "csrf");
    tokens.next().map(|(_, value)| value).filter(|_| tokens.next().is_none())
}

fn wrong_token() -> Problem {
    Problem::forbidden(
        "That is not this server's token.",
        "A new token is made each time `nocturne serve` is started, unless NOCTURNE_SERVE_TOKEN sets one: open the URL that it printed.",
    )
}

/// Takes `token` out of a query; tokens are hexadecimal, or ASCII without anything that a URL changes.
fn without_token(query: &str) -> (Option<String>, String) {
    let (tokens, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("token="));
    let token = tokens.last().and_then(|pair| pair.strip_prefix("token=")).map(str::to_owned);
    (token, rest.join("&"))
}

/// Whether the address is reached from this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a `Host` header is a loopback name with this port.
fn is_this_machine(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            (name, digits)
        }
        _ => (host, "80"),
    };
    let address = match name.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').and_then(|inner| inner.parse().ok()).map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    };
    given.parse() == Ok(port) && (name == "localhost" || address.is_some_and(is_loopback))
}

/// Whether two secrets are equal, in a time that says nothing of where they differ.
fn same(a: &str, b: &str) -> bool {
    equal(&sha256(a.as_bytes()), &sha256(b.as_bytes()))
}

/// 256 random bits, hexadecimal.
pub(super) fn random() -> Result<String, NoRandomness> {
    let mut bits = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bits)?;
    Ok(hex::encode(bits))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
