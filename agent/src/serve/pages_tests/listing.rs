//! What the pages show, and that it stays text.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::fixture::{Fixture, NIGHT, SCRIPT, of_night};
use crate::flow::NightId;
use crate::records::{NightEnding, NightRecord};
use crate::report::{NightRecords, fixture};
use crate::store::Store;

/// Whether nothing of [`SCRIPT`] became markup.
fn harmless(path: &str, body: &str) {
    let at = |what: &str| body.find(what).map(|at| body[at.saturating_sub(200)..(at + 80).min(body.len())].to_owned());
    for what in ["<script>", "<img", "\" onfocus=\"x", " style=", "\u{1b}"] {
        assert_eq!(at(what), None, "{path} holds {what:?}");
    }
    assert!(body.contains("&lt;script&gt;"), "{path} shows nothing of it");
}

#[tokio::test]
async fn script_in_every_field_stays_text_on_every_page() {
    let fixture = Fixture::new().await;
    let reason = json!([
        { "experiment": format!("{NIGHT}/1"), "choice": "accepted", "reason": SCRIPT },
        { "experiment": format!("{NIGHT}/4"), "choice": "rejected", "reason": SCRIPT },
    ]);
    assert_eq!(fixture.choose(reason).await.0, StatusCode::OK);
    let q = dashboards::site::url::encoded(SCRIPT);
    for path in [
        "/nights".to_owned(),
        format!("/campaigns/{q}"),
        "/campaigns/quickstart".to_owned(),
        format!("/nights/{NIGHT}"),
        format!("/nights/{NIGHT}?q={q}"),
        format!("/nights/{NIGHT}?proposer={q}&family={q}&sort=-value"),
        format!("/nights/{NIGHT}/tree"),
        format!("/nights/{NIGHT}/review"),
        format!("/nights/{NIGHT}/1"),
        format!("/nights/{NIGHT}/2"),
        format!("/nights/{NIGHT}/3"),
        format!("/nights/{NIGHT}/4"),
        format!("/compare?e={NIGHT}/1&e={NIGHT}/2&e={NIGHT}/3&e={NIGHT}/4"),
    ] {
        let (status, body) = fixture.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        harmless(&path, &body);
        assert_eq!(body.matches("<h1").count(), 1, "{path}");
    }
    // What is refused quotes what was asked.
    for path in [
        format!("/nights/{q}"),
        format!("/nights/{NIGHT}?sort={q}"),
        format!("/compare?e={q}"),
        format!("/nights/{NIGHT}?{q}=1"),
    ] {
        let (status, body) = fixture.get(&path).await;
        assert!(status.is_client_error(), "{path}: {status}");
        for what in ["<script>", "<img"] {
            assert!(!body.contains(what), "{path}: {body}");
        }
    }
    for path in [
        "/api/nights".to_owned(),
        "/api/campaigns/quickstart".to_owned(),
        format!("/api/nights/{NIGHT}/experiments"),
        format!("/api/nights/{NIGHT}/experiments/1"),
        format!("/api/nights/{NIGHT}/tree"),
        format!("/api/nights/{NIGHT}/review"),
        format!("/api/compare?e={NIGHT}/1&e={NIGHT}/2"),
    ] {
        assert!(fixture.json(&path).await.to_string().contains("<script>"), "{path} tells nothing of it");
    }
}

#[tokio::test]
async fn addresses_that_mean_nothing_are_refused_with_the_reason() {
    let fixture = Fixture::new().await;
    let huge = "x".repeat(5_000);
    for (path, status, told) in [
        (format!("/nights/{NIGHT}?page=-1"), 400, "a number from 1 on"),
        (format!("/nights/{NIGHT}?page=2"), 404, "There is no page 2"),
        (format!("/nights/{NIGHT}?sort=x"), 400, "number, effect, value"),
        (format!("/nights/{NIGHT}?verdict=liked"), 400, "taken-back or open"),
        (format!("/nights/{NIGHT}?q={huge}"), 400, "at most 200 characters"),
        (format!("/nights/{NIGHT}?other=1"), 400, "this page knows"),
        ("/nights/2026-01-01-zz".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/tree".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/review".to_owned(), 404, "There is no night"),
        ("/nights/2026-01-01-zz/1".to_owned(), 404, "There is no night"),
        (format!("/nights/{NIGHT}/99"), 404, "There is no experiment"),
        (format!("/nights/{NIGHT}/x"), 404, "There is no experiment"),
        (format!("/nights/{NIGHT}/report"), 404, "is not written yet"),
        ("/campaigns/none".to_owned(), 404, "There is no night of a campaign"),
        ("/compare".to_owned(), 400, "Two experiments at least"),
        (format!("/compare?e={NIGHT}/1&e={NIGHT}/1"), 400, "Two experiments at least"),
        (format!("/compare?e={NIGHT}/1&e={NIGHT}/77"), 404, "There is no experiment"),
        (
            format!("/compare?{}", (0..9).map(|n| format!("e={NIGHT}/{n}")).collect::<Vec<_>>().join("&")),
            400,
            "At most 8",
        ),
    ] {
        let (found, body) = fixture.get(&path).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
        assert!(body.contains(told), "{path}: {body}\nshould say {told}");
    }
}

#[tokio::test]
async fn the_table_filters_sorts_and_counts() {
    let fixture = Fixture::new().await;
    let numbers = async |query: &str| {
        let found = fixture.json(&format!("/api/nights/{NIGHT}/experiments{query}")).await;
        let rows: Vec<u64> =
            found["rows"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect();
        assert_eq!(found["matching"].as_u64().unwrap() as usize, rows.len());
        assert_eq!(found["all"], 4);
        rows
    };
    for (query, expected) in [
        ("", vec![1, 2, 3, 4]),
        ("?sort=-number", vec![4, 3, 2, 1]),
        ("?sort=effect", vec![2, 1, 3, 4]),
        ("?sort=-effect", vec![1, 2, 3, 4]),
        ("?sort=value", vec![2, 1, 3, 4]),
        ("?sort=-metric", vec![1, 2, 3, 4]),
        ("?sort=metric", vec![2, 1, 3, 4]),
        ("?sort=time", vec![3, 1, 2, 4]),
        ("?verdict=kept", vec![1, 2]),
        ("?verdict=open", vec![4]),
        ("?verdict=taken-back", vec![]),
        ("?q=TWO", vec![2]),
        ("?q=100%25", vec![]),
        ("?proposer=nobody", vec![]),
    ] {
        assert_eq!(numbers(query).await, expected, "{query}");
    }
    // What is taken back is no longer kept, nor worth anything.
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    store.withdraw(&of_night(), 2, SCRIPT).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(numbers("?verdict=kept").await, [1]);
    assert_eq!(numbers("?verdict=taken-back").await, [2]);
    assert_eq!(numbers("?sort=value").await, [1, 2, 3, 4]);
    let nights = fixture.json("/api/nights").await;
    let night = nights.as_array().unwrap().iter().flat_map(|campaign| campaign["nights"].as_array().unwrap());
    let night = night.into_iter().find(|night| night["night"] == NIGHT).unwrap();
    assert_eq!(
        (night["tried"].as_u64(), night["kept"].as_u64(), night["waiting"].as_u64()),
        (Some(4), Some(1), Some(1))
    );
    assert!((night["champion"].as_f64().unwrap() - (1.905 - 0.01)).abs() < 1e-9, "{night}");
    assert_eq!(night["claim"]["holds"], false);
    // What waits is the same to the list, which asks the database, and to the review.
    let review = fixture.json(&format!("/api/nights/{NIGHT}/review")).await;
    assert_eq!(review["waiting"].as_array().unwrap().len() as u64, night["waiting"].as_u64().unwrap());
    fixture.choose(json!([{ "experiment": format!("{NIGHT}/1"), "choice": "deferred" }])).await;
    let nights = fixture.json("/api/campaigns/quickstart").await;
    assert_eq!(nights["nights"][0]["waiting"], 1, "what is put off waits: {nights}");
}

#[tokio::test]
async fn what_was_concluded_so_far_is_told_until_it_is_decided() {
    let fixture = Fixture::new().await;
    let told = async |number: u32| {
        let found = fixture.json(&format!("/api/nights/{NIGHT}/experiments/{number}")).await;
        found["concluded"].clone()
    };
    assert_eq!(told(4).await, json!([format!("decision {SCRIPT}")]));
    // Its own story stands in its evidence, as far as it has any.
    assert_eq!((told(3).await, told(1).await), (json!([]), json!([])));
    let (_, page) = fixture.get(&format!("/nights/{NIGHT}/4")).await;
    assert!(page.contains("So far, trial by trial:"), "{page}");
}

#[tokio::test]
async fn the_time_in_which_a_night_was_cut_off_is_not_its_own() {
    let fixture = Fixture::new().await;
    let name: NightId = "2026-03-10-bb".parse().unwrap();
    let store = Store::open_in(&fixture.served.layout).await.unwrap();
    let began = jiff::Timestamp::now();
    let record =
        NightRecord { id: name.clone(), started_at: began, campaign: "cut".to_owned(), ..fixture::empty().night };
    store.begin_night(&record).await.unwrap();
    let effect = async |key: &str| {
        store.begin_effect(&name, key, "build", &json!({})).await.unwrap();
        store.end_effect(&name, key, &json!("built")).await.unwrap();
    };
    let seconds = async || {
        let listed = fixture.json("/api/campaigns/cut").await["nights"][0]["seconds"].as_f64().unwrap();
        let reader = fixture.served.reader().await.unwrap();
        let ended = reader.night(&name).await.unwrap().unwrap().end.unwrap().at;
        let told = NightRecords::read(&reader, &name).await.unwrap().seconds();
        (listed, told, ended.duration_since(began).as_secs_f64())
    };
    effect("0.1/build/1/0123456").await;
    // Whatever happens in between, this long it did not run.
    let cut_off = Duration::from_millis(300);
    tokio::time::sleep(cut_off).await;
    effect("2.3/build/2/0123456").await;
    store.end_night(&name, NightEnding::Stopped, "").await.unwrap();
    let (listed, told, of_clock) = seconds().await;
    assert!((listed - told).abs() < 1e-6, "the list says {listed} s, the morning page {told} s");
    assert!(listed <= of_clock - cut_off.as_secs_f64() + 0.002, "{listed} of {of_clock}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn experiments_are_compared_under_the_same_seeds_and_by_their_recipes() {
    let fixture = Fixture::new().await;
    let found = fixture.json(&format!("/api/compare?e={NIGHT}/0&e={NIGHT}/2&e=2026-03-08-k4/3")).await;
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 1, "nothing was measured of the third: {found}");
    let differences = pairs[0]["differences"].as_array().unwrap();
    assert_eq!((pairs[0]["other"].as_u64(), differences.len()), (Some(1), 2));
    assert!((differences[0][1].as_f64().unwrap() + 0.03).abs() < 1e-9, "{found}");
    let recipe: Vec<&Value> = found["recipe"].as_array().unwrap().iter().collect();
    assert_eq!(
        recipe,
        [
            &json!(["decay", [0.2, 0.1, 0.1]]),
            &json!(["rate", [0.04, 0.05, 0.05]]),
            &json!(["softcap", [15.0, 15.0, 30.0]])
        ]
    );
    let (_, page) = fixture.get(&format!("/compare?e={NIGHT}/0&e={NIGHT}/2")).await;
    assert!(page.contains("<svg") && page.contains("−0.0300"), "{page}");
    // The page of one: with its curve, the same from what is kept.
    let (_, first) = fixture.get(&format!("/nights/{NIGHT}/1")).await;
    let (_, again) = fixture.get(&format!("/nights/{NIGHT}/1")).await;
    assert!(first.contains("Training loss of experiment") && first == again);
    let diff = first.split("class=\"diff\"").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap();
    assert!(diff.contains("0.05") && diff.contains("0.04"), "{diff}");
}
