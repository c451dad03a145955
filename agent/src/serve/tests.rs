//! The server as a whole: what it serves where nothing is on record, what it says of what it cannot, and how it ends.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;

pub const PORT: u16 = 7707;
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server's state, of a repository that may be empty.
pub fn served(layout: Layout, token: Option<&str>) -> Arc<Served> {
    let guard = Guard::new(([127, 0, 0, 1], PORT).into(), token.map(str::to_owned)).unwrap();
    Arc::new(Served::new(layout, guard, watch::channel(false).1))
}

/// Status, headers and body of an answer.
pub async fn answer_of(answer: Response<Body>) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, 10 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// What a page of a repository answers to a browser on this machine.
pub async fn page(served: &Arc<Served>, path: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(path).header(header::HOST, "localhost:7707").header(header::ACCEPT, accept);
    let router = router::router(Arc::clone(served));
    answer_of(router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

#[tokio::test]
async fn where_nothing_is_on_record_it_says_how_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    let (status, _, body) = page(&served, "/", "text/html").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("nocturne night experiments/quickstart"), "{body}");
    // A night begins: the same server shows it.
    let store = crate::store::Store::open_in(&served.layout).await.unwrap();
    store.close().await.unwrap();
    assert!(served.reader().await.unwrap().nights().await.unwrap().is_empty());
    // And when its database is made again, the new one.
    let before = served.reader().await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let from = format!("{}{suffix}", served.layout.database().display());
        drop(std::fs::rename(&from, format!("{from}.old")));
    }
    assert!(matches!(served.reader().await, Err(problem) if problem.status == StatusCode::NOT_FOUND));
    crate::store::Store::open_in(&served.layout).await.unwrap().close().await.unwrap();
    assert!(served.reader().await.is_ok());
    before.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_form_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    for (path, accept, kind) in [
        ("/nothing", "text/html,*/*", "text/html; charset=utf-8"),
        ("/static/nothing", "*/*", "text/html; charset=utf-8"),
        ("/static/..%2Fmod.rs", "*/*", "text/html; charset=utf-8"),
        ("/api/nothing", "*/*", "application/json"),
        ("/nothing", "application/json", "application/json"),
    ] {
        let (status, headers, body) = page(&served, path, accept).await;
        assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::NOT_FOUND, kind), "{path}");
        assert!(body.contains("The list of nights shows what there is."), "{body}");
    }
}

#[tokio::test]
async fn static_files_are_kept_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let served = served(Layout::new(folder.path()), None);
    for (name, kind) in [("site.css", "text/css"), ("keys.js", "text/javascript"), ("live.js", "text/javascript")] {
        let (status, headers, body) = page(&served, &format!("/static/{name}"), "*/*").await;
        assert_eq!((status, headers[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
        assert!(headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind) && !body.is_empty());
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        let named = format!("/static/{name}?v={}", tag.trim_matches('"'));
        let (_, headers, same) = page(&served, &named, "*/*").await;
        assert!(headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable") && same == body);
        let (_, headers, _) = page(&served, &format!("/static/{name}?v=0"), "*/*").await;
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        let again = Request::get(format!("/static/{name}")).header(header::HOST, "localhost:7707");
        let again = again.header(header::IF_NONE_MATCH, format!("\"x\", {tag}")).body(Body::empty()).unwrap();
        let answer = router::router(Arc::clone(&served)).oneshot(again).await.unwrap();
        let (status, _, body) = answer_of(answer).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }
}

#[tokio::test]
async fn a_page_that_panics_is_a_page_and_not_a_cut_connection() {
    let panics = axum::Router::new()
        .route("/", axum::routing::get(async || -> String { panic!("not for a person") }))
        .layer(axum::middleware::from_fn(problem::finish));
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (status, headers, body) = answer_of(panics.oneshot(request).await.unwrap()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY) && body.contains("The page could not be made."));
    assert!(!body.contains("not for a person"), "{body}");
}

#[tokio::test]
async fn tokens_that_are_easily_guessed_or_do_not_fit_a_url_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (token, fit) in [
        (TOKEN, true),
        ("abcdefghijklmnopqrstuvwxyz-_.~ABCDEF", true),
        ("0123456789abcdef0123456789abcde", false),
        ("0123456789abcdef0123456789abcde&", false),
        ("0123456789abcdef0123456789abcde é", false),
        ("", false),
    ] {
        let listen = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(Layout::new(folder.path()), listen, Some(token.to_owned())).await;
        assert_eq!(server.is_ok(), fit, "{token:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_a_free_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let bind = async |listen| Server::bind(Layout::new(folder.path()), listen, None).await;
    let first = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    assert_eq!(first.url(), format!("http://127.0.0.1:{}/", first.address().port()));
    assert!(first.address().port() != 0 && first.token().is_none());
    let taken = bind(first.address()).await.unwrap_err();
    assert!(matches!(taken, ServeError::Taken(address) if address == first.address()), "{taken}");
    assert!(taken.to_string().contains("is taken"), "{taken}");
    let open = bind(([0, 0, 0, 0], 0).into()).await.unwrap();
    assert!(open.token().is_some() && !open.url().contains("0.0.0.0"), "{}", open.url());
}

#[test]
fn the_url_is_one_that_browsers_take() {
    for (address, expected) in [
        ("127.0.0.1:7707", "http://127.0.0.1:7707/"),
        ("[::1]:7707", "http://[::1]:7707/"),
        ("192.168.0.7:80", "http://192.168.0.7:80/"),
        ("[2001:db8::7]:7707", "http://[2001:db8::7]:7707/"),
        ("0.0.0.0:7707", "http://box:7707/"),
        ("[::]:7707", "http://box:7707/"),
        // With its zone it stands in no URL, and without it is reached by nobody.
        ("[fe80::1%2]:7707", "http://box:7707/"),
        ("[fe80::1]:7707", "http://box:7707/"),
    ] {
        assert_eq!(url(address.parse().unwrap(), || "box".to_owned()), expected, "{address}");
    }
}
