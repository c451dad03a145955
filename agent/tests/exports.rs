//! What is on record, as other programs take it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::fs;
use std::path::Path;

use nocturne::layout::Layout;
use sqlx::{Column, Connection, Row};
use support::Fixture;

/// The queries that the page shows to people.
fn queries() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exports.md");
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```sql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn a_night_goes_to_tensorboard_to_csv_and_to_a_sql_shell() {
    let fixture = Fixture::new();
    fixture.plant_gains();
    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    let kept = night["experiments"].as_array().unwrap().iter().find(|it| it["verdict"] == "kept").unwrap();
    assert!(fixture.run(&["review", "accept", kept["id"].as_str().unwrap()]).status.success());

    let runs = fixture.json(&["export", "tensorboard", "runs", "--json"]);
    let mut files = Vec::new();
    for experiment in fs::read_dir(fixture.root().join("runs")).unwrap() {
        for trial in fs::read_dir(experiment.unwrap().path()).unwrap() {
            files.extend(fs::read_dir(trial.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
    }
    assert_eq!(files.len() as u64, runs["trials"].as_u64().unwrap());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("events.out.tfevents.") && name.ends_with(".nocturne"), "{name}");
        let content = fs::read(&file).unwrap();
        assert!(content.windows(10).any(|part| part == b"train/loss"), "{}", file.display());
    }

    let rows = fixture.json(&["export", "csv", "tables", "--json"])["rows"].clone();
    let experiments = night["experiments"].as_array().unwrap().len() as u64;
    assert_eq!(rows["experiments"].as_u64(), Some(experiments + 1));
    assert_eq!((rows["nights"].as_u64(), rows["reviews"].as_u64()), (Some(1), Some(1)));
    let table = fs::read_to_string(fixture.root().join("tables/experiment_results.csv")).unwrap();
    assert!(table.starts_with("campaign,night,number,title,"), "{table}");
    assert!(table.contains(kept["title"].as_str().unwrap()), "{table}");
    // An empty table has its columns.
    let queue = fs::read_to_string(fixture.root().join("tables/queue.csv")).unwrap();
    assert!(queue.starts_with("id,campaign,place,words") && queue.lines().count() == 1, "{queue}");

    // Nothing that lies there already is mixed with it or lost.
    let again = fixture.run(&["export", "csv", "tables"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds something already"));

    // Every table is exported: a new one must be named. The view `measured_runs` is a part of other queries; its rows are those of trials.
    let database = Layout::new(fixture.root()).database();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database).read_only(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlx_%' AND name <> 'measured_runs'";
    for row in sqlx::query(names).fetch_all(&mut connection).await.unwrap() {
        let name: String = row.get(0);
        assert!(!rows[&name].is_null(), "{name} is not exported");
    }
    let queries = queries();
    assert_eq!(queries.len(), 10);
    let mut answered = 0;
    for query in queries {
        let found = sqlx::query(sqlx::AssertSqlSafe(query.clone())).fetch_all(&mut connection).await;
        let found = found.unwrap_or_else(|error| panic!("{error}: {query}"));
        answered += usize::from(found.first().is_some_and(|row| !row.columns()[0].name().is_empty()));
    }
    assert!(answered >= 5, "only {answered} of the queries have an answer after a night");
}
