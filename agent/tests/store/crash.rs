//! Other processes: several that write, several that read, and some that are killed.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nocturne::records::Level;
use nocturne::store::{Reader, Store};
use sqlx::{Connection, SqliteConnection};

use crate::fixture::*;

const NIGHT: &str = "2026-03-08-k4";
const DATABASE: &str = "NOCTURNE_TEST_DATABASE";
const ROLE: &str = "NOCTURNE_TEST_ROLE";

/// Not a test of its own: what this test program does when a test below starts it again as another process.
#[tokio::test]
async fn child() {
    let (Ok(path), Ok(role)) = (env::var(DATABASE), env::var(ROLE)) else { return };
    let say = |line: String| {
        println!("{line}");
        std::io::stdout().flush().unwrap();
    };
    match role.as_str() {
        "writes one event after another" => {
            let store = Store::open(Path::new(&path)).await.unwrap();
            for count in 1_u64.. {
                store.event(&night_id(NIGHT), Level::Info, "child", &count.to_string()).await.unwrap();
                say(format!("written {count}"));
            }
        }
        "stops in the middle of a transaction" => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql("PRAGMA cache_size = 1; BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            for ordinal in 100..1000 {
                sqlx::query("INSERT INTO events VALUES (?, ?, '', 'info', 'child', hex(randomblob(2000)))")
                    .bind(NIGHT)
                    .bind(ordinal)
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
            say("written 900".to_owned());
            std::future::pending::<()>().await;
        }
        other => panic!("no such role: {other}"),
    }
}

/// A child that is killed when the test ends, however it ends.
struct Process(Child);

impl Process {
    fn start(path: &Path, role: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture"])
            .env(DATABASE, path)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits until it reports so many events; returns what it reported.
    fn wait_for(&mut self, count: u64) -> u64 {
        for line in BufReader::new(self.0.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            // the test harness's own words may stand before it on the line
            let reported = line.rsplit_once("written ").and_then(|(_, count)| count.parse::<u64>().ok());
            if let Some(reported) = reported.filter(|reported| *reported >= count) {
                return reported;
            }
        }
        panic!("the other process ended by itself");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_was_cut_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let store = Store::open(&path).await.unwrap();
    fill(&store, NIGHT).await;
    let before = everything(&store).await;
    store.close().await.unwrap();

    let mut process = Process::start(&path, "stops in the middle of a transaction");
    process.wait_for(900);
    let wal = folder.path().join("nocturne.db-wal");
    assert!(wal.metadata().unwrap().len() > 1 << 20, "nothing of the transaction was on disk; this test tests nothing");
    drop(process);

    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
    assert_eq!(everything(&store).await, before);
    store.event(&night_id(NIGHT), Level::Info, "night", "goes on").await.unwrap();
}

#[tokio::test]
async fn what_was_reported_as_written_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let store = Store::open(&path).await.unwrap();
    store.begin_night(&night_record(NIGHT)).await.unwrap();
    store.close().await.unwrap();

    let mut expected_at_least = 0;
    for round in 1..=5 {
        let mut process = Process::start(&path, "writes one event after another");
        expected_at_least += process.wait_for(round * 3);
        drop(process);
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
        let events = store.events(&night_id(NIGHT)).await.unwrap();
        assert!(events.len() as u64 >= expected_at_least, "{} events of {expected_at_least}", events.len());
        assert!(events.iter().map(|event| event.ordinal).eq(1..=events.len() as u32), "an event is missing in between");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn processes_write_in_turn_and_readers_see_whole_states() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let store = Store::open(&path).await.unwrap();
    store.begin_night(&night_record(NIGHT)).await.unwrap();

    let mut process = Process::start(&path, "writes one event after another");
    process.wait_for(1);
    let reader = Reader::open(&path).await.unwrap();
    let mut seen = 0;
    for count in 0..40 {
        store.event(&night_id(NIGHT), Level::Info, "parent", &count.to_string()).await.unwrap();
        let events = reader.events(&night_id(NIGHT)).await.unwrap();
        assert!(events.iter().map(|event| event.ordinal).eq(1..=events.len() as u32));
        assert!(events.len() > seen, "a reader does not see what was written before it asked");
        seen = events.len();
    }
    let reported = process.wait_for(20);
    drop(process);
    let events = store.events(&night_id(NIGHT)).await.unwrap();
    let of = |stage: &str| events.iter().filter(|event| event.stage == stage).count() as u64;
    assert_eq!(of("parent"), 40);
    assert!(of("child") >= reported);
}

#[tokio::test]
async fn a_new_database_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let store = Store::open(&path).await?;
                store.begin_night(&night_record(NIGHT)).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn everything_may_move_between_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let task = tokio::spawn(async move {
        let store = Store::open(&path).await.unwrap();
        fill_and_end(&store, NIGHT).await;
        everything(&store).await.nights.len()
    });
    assert_eq!(task.await.unwrap(), 1);
}

#[tokio::test]
async fn a_write_that_is_dropped_half_way_leaves_nothing_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
    store.begin_night(&night_record(NIGHT)).await.unwrap();
    for _ in 0..20 {
        // polled once: far enough to be somewhere in the middle
        let mut write = Box::pin(fill(&store, "2026-03-09-k5"));
        let _ = futures_util::poll!(write.as_mut());
    }
    store.event(&night_id(NIGHT), Level::Info, "night", "goes on").await.unwrap();
    assert!(store.integrity_check().await.unwrap().is_empty());
}
