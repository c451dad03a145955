//! Files that are not as they should be, and the schema itself.

use std::fs;
use std::path::Path;

use nocturne::layout::Layout;
use nocturne::store::{Reader, Store, StoreError};
use sqlx::{Connection, SqliteConnection};

use crate::fixture::*;

/// Runs SQL behind the store's back.
async fn meddle(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn filled(path: &Path) {
    let store = Store::open(path).await.unwrap();
    fill(&store, "2026-03-08-k4").await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_schema_is_the_known_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    Store::open(&path).await.unwrap().close().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT s.type || ' ' || s.name || coalesce(': ' || (
                    SELECT group_concat(c.name || ' ' || c.type || iif(c.\"notnull\", ' NOT NULL', ''), ', ')
                    FROM pragma_table_info(s.name) c WHERE s.type <> 'index'), '')
         FROM sqlite_schema s
         WHERE s.name NOT LIKE 'sqlite_%' AND s.name <> '_sqlx_migrations' ORDER BY s.type, s.name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    insta::assert_snapshot!(lines.join("\n"));
    let strict: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict AND name NOT LIKE '%sql%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(strict.is_empty(), "not STRICT: {strict:?}");
}

/// Databases out there were made from these texts: a change to the schema is a new file.
#[test]
fn migrations_that_have_landed_are_never_edited() {
    use sha2::Digest;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut lines: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let digest = hex::encode(sha2::Sha256::digest(fs::read(&path).unwrap()));
            format!("{} {}", path.file_name().unwrap().to_string_lossy(), &digest[..16])
        })
        .collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn the_settings_are_those_that_survive_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    filled(&path).await;
    // WAL is a property of the file; the rest is the connection's and shows in the behaviour tested elsewhere
    assert_eq!(fs::read(&path).unwrap()[18..20], [2, 2], "the file's header does not say WAL");
    let log = folder.path().join("nocturne.db-wal").metadata().map_or(0, |log| log.len());
    assert_eq!(log, 0, "closing did not fold the log into the database");
}

#[tokio::test]
async fn a_reader_needs_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let error = Reader::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::NoDatabase { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "looking for a database made one");
}

#[tokio::test]
async fn what_is_no_database_is_said_to_be_damaged_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let noise: Vec<u8> = (0..8192_u32).map(|i| (i * 31 % 251) as u8).collect();
    fs::write(&path, &noise).unwrap();
    for error in [Store::open(&path).await.map(drop).unwrap_err(), Reader::open(&path).await.map(drop).unwrap_err()] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("nocturne.db") && error.to_string().contains("rebuild"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), noise);
}

/// Of a repository whose records are filled; what it is done to them is done to the bytes of the database.
async fn spoilt(spoil: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let path = layout.database();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    filled(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    spoil(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    (folder, layout)
}

#[tokio::test]
async fn a_night_does_not_begin_on_a_damaged_page() {
    let (_folder, layout) = spoilt(|bytes| {
        let last = bytes.len() - 4096;
        bytes[last..].fill(0xff);
    })
    .await;
    let error = Store::open_in(&layout).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    // Whoever reads or decides does not wait until all of the file is read.
    let store = Store::open_unchecked_in(&layout).await.unwrap();
    let error = store.quick_check().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    store.close().await.unwrap();
    let reader = Reader::open(&layout.database()).await.unwrap();
    let error = reader.quick_check().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

/// What is read of it is said to be damaged, not taken for what was written.
#[tokio::test]
async fn a_damaged_page_is_found_when_it_is_read() {
    let (_folder, layout) = spoilt(|bytes| {
        // The page that holds the night's first event.
        let event = bytes.windows(11).position(|found| found == b"nightbegins").unwrap();
        let page = event / 4096 * 4096;
        bytes[page..page + 4096].fill(0xff);
    })
    .await;
    let reader = Reader::open(&layout.database()).await.unwrap();
    let night = night_id("2026-03-08-k4");
    assert_eq!(reader.nights().await.unwrap().len(), 1);
    let error = reader.events(&night).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("rebuild"), "{error}");
}

#[tokio::test]
async fn a_truncated_database_is_found_at_opening() {
    let (_folder, layout) = spoilt(|bytes| bytes.truncate(bytes.len() / 2)).await;
    let error = Store::open_in(&layout).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

/// A change of the schema goes over all of it, whoever opens it.
#[tokio::test]
async fn an_older_database_is_checked_before_it_is_brought_up_to_date() {
    let (_folder, layout) = spoilt(|_| {}).await;
    let path = layout.database();
    meddle(&path, "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    for error in [
        Reader::open(&path).await.map(drop).unwrap_err(),
        Store::open_unchecked_in(&layout).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    meddle(&path, "CREATE TABLE recipes (name TEXT)").await;
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    filled(&path).await;
    meddle(&path, "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '', 1, x'00', 0)").await;
    let error = Store::open(&path).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error:?}");
    assert!(error.to_string().contains("newer Nocturne"), "{error}");
}

#[tokio::test]
async fn an_edited_migration_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    filled(&path).await;
    meddle(&path, "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").await;
    let error = Reader::open(&path).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Altered { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_row_that_this_program_did_not_write_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    filled(&path).await;
    meddle(&path, "UPDATE experiments SET edits_json = '{}' WHERE number = 1").await;
    let store = Store::open(&path).await.unwrap();
    let error = store.experiments(&night_id("2026-03-08-k4")).await.unwrap_err();
    assert!(error.to_string().contains("experiment 2026-03-08-k4/1"), "{error}");
    assert!(error.to_string().contains("edits_json"), "{error}");
}

#[tokio::test]
async fn views_for_people_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    filled(&path).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let kept: Vec<(i64, f64)> = sqlx::query_as("SELECT number, val_bpb FROM experiment_results WHERE verdict = 'kept'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, [(0, 2.101_010_101_010_1), (1, 2.1 - 0.012_3)]);
    let night: (i64, i64) =
        sqlx::query_as("SELECT experiments, kept FROM night_results").fetch_one(&mut connection).await.unwrap();
    // The one that was kept was taken back.
    assert_eq!(night, (6, 0));
}
