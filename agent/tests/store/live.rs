//! What the live dashboard reads, and that nobody who reads keeps a night from writing.

use std::collections::HashMap;

use nocturne::llm::spend::Spent;
use nocturne::records::{ExchangeFailure, ExchangeRecord, Level, Reply};
use nocturne::store::{Mark, Reader, Store};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use crate::fixture::*;

const NIGHT: &str = "2026-03-08-k4";

async fn filled() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
    fill_standing(&store, NIGHT).await;
    (folder, store)
}

#[tokio::test]
async fn a_change_is_noticed_once_whoever_wrote_it() {
    let (folder, store) = filled().await;
    let reader = Reader::open(&folder.path().join("nocturne.db")).await.unwrap();
    let mut changes = reader.changes().await.unwrap();
    assert!(changes.any().await.unwrap());
    assert!(!changes.any().await.unwrap());
    store.event(&night_id(NIGHT), Level::Info, "night", "one").await.unwrap();
    store.event(&night_id(NIGHT), Level::Info, "night", "two").await.unwrap();
    assert!(changes.any().await.unwrap());
    assert!(!changes.any().await.unwrap());
    // Reading is no change.
    reader.events(&night_id(NIGHT)).await.unwrap();
    assert!(!changes.any().await.unwrap());
}

#[tokio::test]
async fn events_are_read_in_pages() {
    let (_folder, store) = filled().await;
    let night = night_id(NIGHT);
    for count in 0..25 {
        store.event(&night, Level::Info, "night", &count.to_string()).await.unwrap();
    }
    let all = store.events(&night).await.unwrap();
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(0, |event: &nocturne::records::EventRecord| event.ordinal);
        let page = store.events_after(&night, after, 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_glance_has_what_the_records_have_and_reads_what_is_settled_once() {
    let (_folder, store) = filled().await;
    let night = night_id(NIGHT);
    let glance = store.glance(&night, &Mark::default(), 5).await.unwrap().unwrap();
    let experiments = store.experiments(&night).await.unwrap();
    let champions = store.champion_moves(&night).await.unwrap();
    let wanted = |number: u32| number == 0 || champions.iter().any(|champion| champion.experiment == number);
    let open = |it: &&nocturne::records::ExperimentRecord| it.decision.is_none() || wanted(it.id.number);
    assert_eq!(glance.experiments, experiments.iter().filter(open).cloned().collect::<Vec<_>>());
    let lines: Vec<_> = glance.lines.iter().map(|line| (line.number, line.verdict)).collect();
    let told = experiments.iter().filter(|it| it.id.number > 0);
    let told: Vec<_> = told.map(|it| (it.id.number, it.decision.as_ref().map(|decision| decision.verdict))).collect();
    assert_eq!(lines, told);
    assert_eq!((&glance.champions, &glance.withdrawal), (&champions, &None));
    let events = store.events(&night).await.unwrap();
    assert_eq!(glance.events, events[events.len().saturating_sub(5)..]);
    let effects = store.effects(&night).await.unwrap();
    let newest = effects.last().unwrap();
    let begun = effects.iter().filter(|effect| effect.ended_at.is_none() || effect.ordinal == newest.ordinal);
    assert_eq!(glance.effects, begun.cloned().collect::<Vec<_>>());

    let settled = experiments.iter().filter(|it| it.decision.is_some()).map(|it| it.id.number).collect();
    let mark = Mark { effect: newest.ordinal + 1, call: i64::MAX, settled };
    store.begin_effect(&night, "0.99/build/9/abc", "build", &json!({})).await.unwrap();
    let later = store.glance(&night, &mark, 5).await.unwrap().unwrap();
    assert!(later.experiments.iter().all(|it| it.decision.is_none()) && later.calls.is_empty());
    assert_eq!(later.effects.iter().map(|effect| effect.key.as_str()).collect::<Vec<_>>(), ["0.99/build/9/abc"]);
    assert_eq!(store.glance(&night_id("2020-01-01-xx"), &mark, 5).await.unwrap().map(|it| it.night), None);
}

#[tokio::test]
async fn what_models_cost_is_summed_up_whenever_a_call_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
    let night = night_id(NIGHT);
    store.begin_night(&night_record(NIGHT)).await.unwrap();
    let begun = |turn| ExchangeRecord {
        reply: Reply::Failure(ExchangeFailure::under_way()),
        again: false,
        spent: Spent { usd: 1.0, tokens: 100, calls: 1 },
        ..exchange(turn, 1, true)
    };
    let ended = |turn| ExchangeRecord {
        again: false,
        spent: Spent { usd: 0.25, tokens: 10, calls: 1 },
        ..exchange(turn, 1, true)
    };
    let (mut mark, mut calls) = (Mark::default(), HashMap::new());
    // Calls overlap, and end in another order than they began.
    for step in [begun(1), begun(2), ended(1), begun(3), ended(3), ended(2), begun(4), begun(5), ended(5), ended(4)] {
        store.record_exchange(&night, &step).await.unwrap();
        for call in store.glance(&night, &mark, 0).await.unwrap().unwrap().calls {
            mark.call = mark.call.max(call.row);
            calls.insert(call.of, call.spent);
        }
        let sum = calls.values().fold(Spent::default(), |sum, call| sum.plus(call));
        assert_eq!(sum, store.spent(&night).await.unwrap(), "turn {}", step.turn);
    }
}

#[tokio::test]
async fn readers_never_keep_a_night_from_writing() {
    let (folder, store) = filled().await;
    let path = folder.path().join("nocturne.db");
    let night = night_id(NIGHT);
    let before = store.events(&night).await.unwrap().len() as i64;
    // Readers in the midst of reading, as a page that takes long is, with a snapshot that they do not let go.
    let count = "SELECT count(*) FROM events";
    let mut readers = Vec::new();
    for _ in 0..20 {
        // A writer that had to wait would be told so at once.
        let options =
            SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(std::time::Duration::ZERO);
        let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut reader).await.unwrap();
        let seen: i64 = sqlx::query(count).fetch_one(&mut reader).await.unwrap().get(0);
        assert_eq!(seen, before);
        readers.push(reader);
    }
    for line in 0..50 {
        store.event(&night, Level::Info, "night", &line.to_string()).await.unwrap();
    }
    for mut reader in readers {
        // It still sees what it saw, and the writer's lines once it lets go.
        let seen: i64 = sqlx::query(count).fetch_one(&mut reader).await.unwrap().get(0);
        assert_eq!(seen, before);
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
        let seen: i64 = sqlx::query(count).fetch_one(&mut reader).await.unwrap().get(0);
        assert_eq!(seen, before + 50);
    }
}
