//! Deciding in the browser, up to branches.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::fixture::{Fixture, NIGHT, SCRIPT, of_night};
use crate::serve::router::router;
use crate::store::Store;

#[tokio::test]
async fn a_morning_in_the_browser_ends_in_branches_and_touches_nothing_else() {
    let fixture = Fixture::new().await;
    let head = fixture.git.head().unwrap().peel_to_commit().unwrap().id();
    let review = format!("/nights/{NIGHT}/review");
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("2 decisions") && body.contains("Nothing is accepted yet"), "{body}");
    // The one that is worth more comes first.
    let place = |number: u32| body.find(&format!("data-experiment=\"{NIGHT}/{number}\"")).unwrap();
    assert!(place(2) < place(1));

    let one = format!("{NIGHT}/1");
    let token = fixture.served.guard.csrf().to_owned();
    let decide = |choice: &'static str, reason: &'static str, seen: &'static str| {
        let (one, review, token) = (one.clone(), review.clone(), token.clone());
        let fixture = &fixture;
        async move {
            let fields = [
                ("csrf", token.as_str()),
                ("experiment", &one),
                ("choice", choice),
                ("reason", reason),
                ("back", &review),
                ("seen", seen),
            ];
            fixture.form("/reviews", &fields).await
        }
    };
    let (status, _, body) = decide("rejected", "  ", "").await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("a rejection needs a reason"), "{body}");
    let (status, to, _) = decide("rejected", "too many lines", "").await;
    assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{review}?said=1")));
    let (_, body) = fixture.get(&format!("{review}?said=1")).await;
    assert!(body.contains("role=\"status\">#1 is rejected.</p>"), "{body}");
    // A page that was loaded before that does not overturn it.
    let (status, _, body) = decide("accepted", "", "").await;
    assert!(status == StatusCode::CONFLICT && body.contains("is rejected by now"), "{body}");
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("1 decision") && body.contains("too many lines"), "{body}");
    assert_eq!(decide("liked", "", "").await.0, StatusCode::UNPROCESSABLE_ENTITY);

    // One mistake in a document, and nothing of it is taken.
    let two = format!("{NIGHT}/2");
    let (status, told) = fixture.choose(json!([{ "experiment": two, "choice": "accepted" }, { "experiment": format!("{NIGHT}/3"), "choice": "accepted" }])).await;
    assert_eq!(status, StatusCode::CONFLICT, "{told}");
    assert!(told["error"].as_str().unwrap().contains("its verdict is invalid"), "{told}");
    assert_eq!(
        fixture.choose(json!([{ "experiment": format!("{NIGHT}/9"), "choice": "deferred" }])).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(fixture.choose(json!([{ "experiment": "x", "choice": "deferred" }])).await.0, StatusCode::BAD_REQUEST);
    let (status, _, body) = fixture
        .form(&format!("/nights/{NIGHT}/branches"), &[("csrf", &token), ("arrangement", "independent"), ("plan", "")])
        .await;
    assert!(status == StatusCode::CONFLICT && body.contains("Nothing of this night is accepted"), "{body}");

    // A night writes meanwhile: the decision waits for it.
    let writer = a_night_that_writes(&fixture).await;
    let (status, told) = fixture.choose(json!([{ "experiment": two, "choice": "accepted", "reason": "good" }, { "experiment": one, "choice": "accepted" }])).await;
    assert_eq!((status, told.as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{told}");
    writer.await.unwrap();

    let (_, body) = fixture.get(&review).await;
    assert!(
        body.contains("Nothing waits for you.")
            && body.contains("Make 2 branches")
            && body.contains("Make one branch of all"),
        "{body}"
    );
    // What was looked at, and nothing else, is made.
    let plan = body.split("name=\"plan\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let stale = [("csrf", token.as_str()), ("arrangement", "independent"), ("plan", "another")];
    let (status, _, told) = fixture.form(&format!("/nights/{NIGHT}/branches"), &stale).await;
    assert!(status == StatusCode::CONFLICT && told.contains("is not what the page said"), "{told}");
    let before = fixture.branches();
    let (status, _, _) = fixture
        .form(&format!("/nights/{NIGHT}/branches"), &[("csrf", &token), ("arrangement", "sideways"), ("plan", "")])
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, to, body) = fixture
        .form(
            &format!("/nights/{NIGHT}/branches"),
            &[("csrf", &token), ("arrangement", "independent"), ("plan", &plan)],
        )
        .await;
    assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{review}?said=branches#made")), "{body}");
    let made: Vec<String> = fixture.branches().into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|name| name.starts_with(&format!("nocturne/quickstart/{NIGHT}/accepted/00"))), "{made:?}");
    for name in &made {
        let commit = fixture.git.find_branch(name, git2::BranchType::Local).unwrap().get().peel_to_commit().unwrap();
        assert_eq!(commit.parent_id(0).unwrap(), head, "each stands on the person's own commit");
        assert!(commit.message().unwrap().contains("val_bpb was measured to change by -0.0"), "{:?}", commit.message());
    }
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("id=\"made\"") && body.contains("/accepted/002-"), "{body}");
    // Made again nothing changes; by a program, stacked.
    let (status, _, _) = fixture
        .form(
            &format!("/nights/{NIGHT}/branches"),
            &[("csrf", &token), ("arrangement", "independent"), ("plan", &plan)],
        )
        .await;
    assert_eq!((status, fixture.branches().len()), (StatusCode::SEE_OTHER, before.len() + 2));
    let (status, _, body) = fixture
        .post(&format!("/api/nights/{NIGHT}/branches"), "application/json", r#"{"stack":true}"#.to_owned())
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["made"][0]["branch"], format!("nocturne/quickstart/{NIGHT}/accepted/stack"));
    // A remark that comes later is no reason for another branch.
    let again = json!([{ "experiment": two, "choice": "accepted", "reason": "very good", "seen": "accepted" }]);
    assert_eq!(fixture.choose(again).await.0, StatusCode::OK);
    let (_, _, body) =
        fixture.post(&format!("/api/nights/{NIGHT}/branches"), "application/json", "{}".to_owned()).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((told["made"].as_array().unwrap().len(), fixture.branches().len()), (2, before.len() + 3), "{body}");
    // What is taken back afterwards is said at both places.
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    store.withdraw(&of_night(), 2, SCRIPT).await.unwrap();
    store.close().await.unwrap();
    let (_, body) = fixture.get(&review).await;
    assert!(body.contains("#2: its verdict was taken back") && body.contains("do not merge it"), "{body}");
    assert_eq!(fixture.git.head().unwrap().peel_to_commit().unwrap().id(), head);
    assert_eq!(fixture.git.head().unwrap().shorthand().unwrap(), "work");
    drop(fixture.folder);
}

/// Holds the database's write lock for a while, as a night does that records something.
async fn a_night_that_writes(fixture: &Fixture) -> tokio::task::JoinHandle<()> {
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    let transaction = store.begin().await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        transaction.rollback().await.unwrap();
        store.close().await.unwrap();
    })
}

#[tokio::test]
async fn what_does_not_come_from_our_own_page_writes_nothing() {
    let fixture = Fixture::new().await;
    let body = json!([{ "experiment": format!("{NIGHT}/1"), "choice": "accepted" }]).to_string();
    for (origin, token) in [("http://example.org", true), ("http://localhost:7707", false)] {
        for path in ["/api/reviews".to_owned(), format!("/api/nights/{NIGHT}/branches")] {
            let mut request = Request::post(&path)
                .header(header::HOST, "localhost:7707")
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/json");
            if token {
                request = request.header("x-nocturne-csrf", fixture.served.guard.csrf());
            }
            let answer =
                router(Arc::clone(&fixture.served)).oneshot(request.body(Body::from(body.clone())).unwrap()).await;
            assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN, "{origin} {path}");
        }
    }
    let reader = fixture.served.reader().await.unwrap();
    assert!(reader.reviews(None).await.unwrap().is_empty());
    assert!(!Path::new(&fixture.served.layout.reviews_file()).exists());
}
