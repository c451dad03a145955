//! What the live dashboard reads, and that nobody who reads keeps a night from writing.

use std::collections::HashMap;

use nocturne::llm::spend::Spent;
use nocturne::records::{ExchangeFailure, ExchangeRecord, Level, Reply};
use nocturne::store::{Mark, Reader, Store, StoreError};
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
    let trials = store.night_trials(&night).await.unwrap();
    let open = |number| experiments.iter().any(|it| it.id.number == number && it.decision.is_none());
    let last = champions.last().map_or(0, |champion| champion.experiment);
    let shown =
        trials.iter().filter(|trial| [0, last].contains(&trial.experiment.number) || open(trial.experiment.number));
    assert!(shown.clone().any(|trial| trial.certificate.is_some()));
    // All of them but what is large and not shown.
    let mut shown: Vec<_> = shown.cloned().collect();
    shown.iter_mut().for_each(|trial| trial.certificate = None);
    assert_eq!(glance.trials, shown);
    let events = store.events(&night).await.unwrap();
    assert_eq!(glance.events, events[events.len().saturating_sub(5)..]);
    let effects = store.effects(&night).await.unwrap();
    let newest = effects.last().unwrap();
    let begun = effects.iter().filter(|effect| effect.ended_at.is_none() || effect.ordinal == newest.ordinal);
    assert_eq!(glance.effects, begun.cloned().collect::<Vec<_>>());

    let settled = experiments.iter().filter(|it| it.decision.is_some()).map(|it| it.id.number).collect();
    let mark = Mark { effect: newest.ordinal + 1, event: 0, call: i64::MAX, settled };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_keep_a_night_from_writing() {
    let (folder, store) = filled().await;
    let path = folder.path().join("nocturne.db");
    let night = night_id(NIGHT);
    let before = store.events(&night).await.unwrap().len();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let (reader, night, stopped) = (Reader::open(&path).await.unwrap(), night.clone(), stopped.clone());
        readers.push(tokio::spawn(async move {
            let (mut changes, mut seen) = (reader.changes().await.unwrap(), 0);
            loop {
                let last = *stopped.borrow();
                changes.any().await.unwrap();
                let glance = reader.glance(&night, &Mark::default(), 1_000).await.unwrap().unwrap();
                assert!(glance.events.iter().map(|event| event.ordinal).eq(1..=glance.events.len() as u32));
                assert!(glance.events.len() >= seen, "what was seen is gone");
                seen = glance.events.len();
                if last {
                    return (reader, changes, seen);
                }
            }
        }));
    }
    // A writer that had to wait too long would be told that the database is busy.
    for line in 0..100 {
        store.event(&night, Level::Info, "night", &line.to_string()).await.unwrap();
    }
    stop.send(true).unwrap();
    let mut idle = Vec::new();
    for reader in readers {
        let (reader, changes, seen) = reader.await.unwrap();
        assert_eq!(seen, before + 100);
        idle.push((reader, changes));
    }
    // Whoever only watches holds no old state: the log can be folded into the database while they are there.
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(std::time::Duration::ZERO);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let folded = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await.unwrap();
    assert_eq!(folded.get::<i64, _>(0), 0, "a reader holds the log");
    assert_eq!(folder.path().join("nocturne.db-wal").metadata().unwrap().len(), 0);
    drop(idle);
}

#[tokio::test]
async fn a_database_of_an_older_version_is_not_touched_where_it_must_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    std::fs::write(&path, b"").unwrap();
    let error = Reader::open_as_it_is(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { .. }), "{error}");
    assert_eq!(path.metadata().unwrap().len(), 0);
    Reader::open(&path).await.unwrap().close().await;
    Reader::open_as_it_is(&path).await.unwrap().close().await;
}
