//! The program as a shell sees it: pipes that close early, exit codes, times.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::fs;

use nocturne::layout::Layout;
use nocturne::store::Store;
use support::Fixture;

/// A repository whose records are there and hold nothing.
async fn with_records() -> Fixture {
    let fixture = Fixture::new();
    Store::open_in(&Layout::new(fixture.root())).await.unwrap().close().await.unwrap();
    fixture
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_ends_a_command_quietly() {
    let fixture = with_records().await;
    for arguments in [
        vec!["list"],
        vec!["list", "--json"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["rebuild"],
        vec!["rebuild", "--json"],
        vec!["new", "another"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = fixture.nocturne(&arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{arguments:?}");
    }
    // What went wrong is told by the exit code even where nobody reads the words.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = fixture.nocturne(&["show", "2026-03-08-k4"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn what_is_not_there_is_wrong_use_and_what_is_damaged_is_a_failure() {
    let fixture = with_records().await;
    let commands = [
        ["list", "2026-03-08-k4"],
        ["show", "2026-03-08-k4"],
        ["show", "2026-03-08-k4/3"],
        ["report", "2026-03-08-k4"],
        ["replay", "2026-03-08-k4/3"],
        ["list", "no night"],
        ["show", "no night"],
        ["report", "no night"],
    ];
    for arguments in commands {
        let output = fixture.run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("nocturne list"), "{arguments:?} does not say what to do: {said}");
    }
    fs::write(Layout::new(fixture.root()).database(), "no database at all, but long enough to be looked at".repeat(99))
        .unwrap();
    for arguments in commands {
        let output = fixture.run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("nocturne.db"), "{arguments:?} does not name the database: {said}");
    }
}

#[tokio::test]
async fn a_database_is_not_replaced_while_somebody_uses_it() {
    let fixture = with_records().await;
    let lock = fs::File::create(Layout::new(fixture.root()).lock()).unwrap();
    lock.lock().unwrap();
    let output = fixture.run(&["rebuild"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"");
    drop(lock);
    assert_eq!(fixture.run(&["rebuild"]).status.code(), Some(0));
}
