//! Each rule as a table of requests, put to the whole router.

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Request, Response, StatusCode, header};
use tower::ServiceExt as _;

use super::*;
use crate::layout::Layout;
use crate::serve::tests::{PORT, TOKEN, answer_of, served};

const HOST: &str = "127.0.0.1:7707";
const FORM: &str = "application/x-www-form-urlencoded";

fn get(path: &str) -> Builder {
    Request::get(path).header(header::HOST, HOST)
}

async fn status(token: Option<&str>, request: Request<Body>) -> StatusCode {
    answer(token, request).await.status()
}

async fn answer(token: Option<&str>, request: Request<Body>) -> Response<Body> {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), token);
    crate::serve::router::router(served).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_host_that_is_not_this_machine_is_refused() {
    for (host, with_token, expected) in [
        ("127.0.0.1:7707", false, 200),
        ("localhost:7707", false, 200),
        ("LOCALHOST:7707", false, 200),
        ("[::1]:7707", false, 200),
        ("127.8.8.8:7707", false, 200),
        // Rebound names, ports of others, and tricks.
        ("evil.example:7707", false, 403),
        ("localhost.evil.example:7707", false, 403),
        ("127.0.0.1.evil.example:7707", false, 403),
        ("evil.example#localhost:7707", false, 403),
        ("user@localhost:7707", false, 403),
        ("localhost:7708", false, 403),
        ("localhost:07707", false, 200),
        ("localhost", false, 403),
        ("[::1]", false, 403),
        ("::1:7707", false, 403),
        ("[::1:7707", false, 403),
        ("192.168.1.5:7707", false, 403),
        ("0.0.0.0:7707", false, 403),
        ("", false, 403),
        // Whoever has the token may have any name for the machine.
        ("box.lan:7707", true, 200),
    ] {
        let token = with_token.then_some(TOKEN);
        let request =
            Request::get("/").header(header::HOST, host).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        assert_eq!(status(token, request.body(Body::empty()).unwrap()).await, expected, "{host:?}");
    }
    let none = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(status(None, none).await, 403);
    let two = get("/").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(status(None, two).await, 403);
    let other = Request::get("http://evil.example/").header(header::HOST, HOST).body(Body::empty()).unwrap();
    assert_eq!(status(None, other).await, 403);
}

#[tokio::test]
async fn what_a_proxy_says_decides_nothing() {
    let forwarded = [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-real-ip", "127.0.0.1")];
    for (name, value) in forwarded.into_iter().chain([("x-forwarded-host", "localhost:7707")]) {
        let asked = get("/").header(name, value).body(Body::empty()).unwrap();
        assert_eq!(status(Some(TOKEN), asked).await, 403, "{name}");
        let rebound = Request::get("/").header(header::HOST, "evil.example:7707").header(name, value);
        assert_eq!(status(None, rebound.body(Body::empty()).unwrap()).await, 403, "{name}");
        let afar = get("/").header(name, "203.0.113.9").body(Body::empty()).unwrap();
        assert_eq!(status(None, afar).await, 200, "{name}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let open = served(Layout::new(folder.path()), None);
    let closed = served(Layout::new(folder.path()), Some(TOKEN));
    let session = closed.guard.sessions.begin(Instant::now()).unwrap();
    let right = format!("nocturne-{PORT}={session}");
    let among = format!("a=b; {right} ; c=d");
    let raw = format!("nocturne-{PORT}={TOKEN}");
    let hash = format!("nocturne-{PORT}={}", sha256(TOKEN.as_bytes()));
    let other = format!("nocturne-1={session}");
    for (path, name, value, expected) in [
        ("/", "cookie", right.as_str(), 200),
        ("/", "cookie", among.as_str(), 200),
        ("/", "cookie", raw.as_str(), 403),
        ("/", "cookie", hash.as_str(), 403),
        ("/", "cookie", other.as_str(), 403),
        ("/", "cookie", "nocturne-7707=", 403),
        ("/", "authorization", "Bearer 0123456789abcdef0123456789abcdef", 200),
        ("/", "authorization", "Bearer 0123456789abcdef0123456789abcdeg", 403),
        ("/", "authorization", "Bearer ", 403),
        ("/", "authorization", "Basic 0123456789abcdef0123456789abcdef", 403),
        ("/", "accept", "text/html", 403),
        ("/?token=0123456789abcdef0123456789abcdef", "accept", "text/html", 303),
        ("/?token=0123456789abcdef0123456789abcdeg", "accept", "text/html", 403),
        ("/?token=", "cookie", right.as_str(), 403),
        ("/nothing", "accept", "text/html", 403),
        ("/api/nothing", "accept", "*/*", 403),
        ("/static/site.css", "accept", "*/*", 200),
    ] {
        let asked = || get(path).header(name, value).body(Body::empty()).unwrap();
        let router = crate::serve::router::router;
        let found = router(closed.clone()).oneshot(asked()).await.unwrap().status();
        assert_eq!(found, expected, "{path} {name}: {value}");
        // On a loopback address without a token nobody has to show one.
        let found = router(open.clone()).oneshot(asked()).await.unwrap().status();
        assert!([200, 404].contains(&found.as_u16()), "{path} {name}: {value}");
    }
}

#[tokio::test]
async fn the_token_in_a_url_becomes_a_cookie_and_leaves_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), Some(TOKEN));
    let ask =
        |request: Builder| crate::serve::router::router(served.clone()).oneshot(request.body(Body::empty()).unwrap());
    let mut given = std::collections::BTreeSet::new();
    for (path, expected) in [
        ("/?token=0123456789abcdef0123456789abcdef", "/"),
        ("/nights?q=a&token=0123456789abcdef0123456789abcdef&page=2", "/nights?q=a&page=2"),
        // Not to another host.
        ("//evil.example/x?token=0123456789abcdef0123456789abcdef", "/evil.example/x"),
    ] {
        let answer = ask(get(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers()[header::LOCATION], expected);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let (pair, rest) = cookie.split_once("; ").unwrap();
        assert_eq!(rest, "HttpOnly; SameSite=Strict; Path=/");
        assert!(pair.starts_with("nocturne-7707=") && !pair.contains(TOKEN), "{pair}");
        // It opens this server, and no other one with the same token: nothing of it follows from the token.
        assert_eq!(ask(get("/").header(header::COOKIE, pair)).await.unwrap().status(), StatusCode::OK);
        let elsewhere = get("/").header(header::COOKIE, pair).body(Body::empty()).unwrap();
        assert_eq!(status(Some(TOKEN), elsewhere).await, StatusCode::FORBIDDEN);
        given.insert(pair.to_owned());
    }
    assert_eq!(given.len(), 3, "two browsers have the same name");
}

#[tokio::test]
async fn what_writes_comes_from_a_page_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    let csrf = served.guard.csrf().to_owned();
    let (own, form) = ("http://127.0.0.1:7707", format!("experiment=n%2F3&csrf={csrf}"));
    let twice = format!("csrf={csrf}&csrf={csrf}");
    // Origin, Sec-Fetch-Site, kind, the header's token, body; whether it gets past the guard.
    let table: [(&str, &str, &str, &str, &str, u16); 18] = [
        (own, "", FORM, "", &form, 200),
        (own, "same-origin", FORM, "", &form, 200),
        ("", "same-origin", FORM, "", &form, 200),
        ("https://127.0.0.1:7707", "", FORM, "", &form, 200),
        (own, "", "application/json; charset=utf-8", &csrf, "{}", 200),
        (own, "", FORM, &csrf, "a=b", 200),
        // Elsewhere.
        ("", "", FORM, "", &form, 403),
        ("http://evil.example", "", FORM, "", &form, 403),
        ("http://127.0.0.1:8080", "", FORM, "", &form, 403),
        ("http://localhost:7707", "", FORM, "", &form, 403),
        ("null", "", FORM, "", &form, 403),
        (own, "cross-site", FORM, "", &form, 403),
        (own, "same-site", FORM, "", &form, 403),
        ("", "none", FORM, "", &form, 403),
        // Without the right token.
        (own, "", FORM, "", "experiment=n%2F3", 403),
        (own, "", FORM, "0123", &form, 403),
        (own, "", FORM, "", &twice, 403),
        (own, "", "application/json", "", "{}", 403),
    ];
    for (origin, site, kind, token, body, expected) in table {
        let given = [("origin", origin), ("sec-fetch-site", site), ("content-type", kind), ("x-nocturne-csrf", token)];
        let mut request = Request::post("/").header(header::HOST, HOST);
        for (name, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        let admitted = served.guard.admit(request.body(Body::from(body.to_owned())).unwrap()).await;
        let found = admitted.map_or_else(|problem| problem.status, |_| StatusCode::OK);
        assert_eq!(found, expected, "{origin} {site} {kind} {token} {body}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_of_known_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    let csrf = served.guard.csrf().to_owned();
    for (kind, length, announced, expected) in [
        ("application/json", MOST_BODY, None, 200),
        ("application/json", MOST_BODY + 1, None, 413),
        ("application/json", 1, Some("65537"), 413),
        ("text/plain", 1, None, 415),
        ("multipart/form-data; boundary=x", 1, None, 415),
        ("", 1, None, 415),
    ] {
        let mut request = Request::post("/").header(header::HOST, HOST).header(header::ORIGIN, "http://127.0.0.1:7707");
        request = request.header(CSRF_HEADER, &csrf).header(header::CONTENT_TYPE, kind);
        if let Some(announced) = announced {
            request = request.header(header::CONTENT_LENGTH, announced);
        }
        let admitted = served.guard.admit(request.body(Body::from("x".repeat(length))).unwrap()).await;
        let found = admitted.map_or_else(|problem| problem.status, |_| StatusCode::OK);
        assert_eq!(found, expected, "{kind} {length}");
    }
}

#[tokio::test]
async fn other_methods_do_nothing_and_a_page_is_not_posted_to() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    let csrf = served.guard.csrf().to_owned();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "POST"] {
        let request = Request::builder().method(method).uri("/").header(header::HOST, HOST);
        let request = request.header(header::ORIGIN, "http://127.0.0.1:7707").header(header::CONTENT_TYPE, FORM);
        let request = request.body(Body::from(format!("csrf={csrf}"))).unwrap();
        let answer = crate::serve::router::router(served.clone()).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let head = Request::head("/").header(header::HOST, HOST).body(Body::empty()).unwrap();
    let (status, _, body) = answer_of(crate::serve::router::router(served).oneshot(head).await.unwrap()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn every_answer_says_how_little_may_be_done_with_it() {
    let csrf_less = Request::post("/").header(header::HOST, HOST).body(Body::empty()).unwrap();
    for request in [
        get("/").body(Body::empty()).unwrap(),
        get("/nothing").body(Body::empty()).unwrap(),
        get("/static/site.css").body(Body::empty()).unwrap(),
        Request::get("/").header(header::HOST, "evil.example").body(Body::empty()).unwrap(),
        csrf_less,
    ] {
        let answer = answer(None, request).await;
        let headers = answer.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(headers.contains_key(header::CACHE_CONTROL));
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn no_refusal_tells_the_secret_of_the_forms() {
    let folder = tempfile::tempdir().unwrap();
    for token in [None, Some(TOKEN)] {
        let served = served(Layout::new(folder.path()), token);
        for request in [
            Request::get("/").header(header::HOST, "evil.example:7707"),
            Request::get("/").header(header::HOST, HOST).header(header::COOKIE, "nocturne-7707=x"),
            get("/nothing"),
            Request::post("/").header(header::HOST, HOST),
            Request::put("/").header(header::HOST, HOST),
        ] {
            let request = request.body(Body::empty()).unwrap();
            let router = crate::serve::router::router(served.clone());
            let (status, _, body) = answer_of(router.oneshot(request).await.unwrap()).await;
            assert!(status.is_success() || !body.contains(served.guard.csrf()), "{status}: {body}");
        }
    }
}

#[test]
fn addresses_that_others_reach_need_a_token_and_draw_one() {
    for (listens, needed) in [
        ("127.0.0.1:7707", false),
        ("127.9.9.9:7707", false),
        ("[::1]:7707", false),
        ("[::ffff:127.0.0.1]:7707", false),
        ("0.0.0.0:7707", true),
        ("[::]:7707", true),
        ("192.168.0.7:7707", true),
    ] {
        let drawn = || Guard::new(listens.parse().unwrap(), None).unwrap();
        assert_eq!(drawn().token().is_some(), needed, "{listens}");
        if let (Some(one), Some(other)) = (drawn().token(), drawn().token()) {
            assert!(one.len() == 64 && one != other);
        }
        let own = Guard::new(listens.parse().unwrap(), Some(TOKEN.to_owned())).unwrap();
        assert_eq!(own.token(), Some(TOKEN), "{listens}");
        assert!(!format!("{own:?}").contains(TOKEN) && !format!("{own:?}").contains(own.csrf()));
    }
}
