//! A lost database is made again from the nights' files.

use std::fs;
use std::path::{Path, PathBuf};

use nocturne::flow::Verdict;
use nocturne::layout::Layout;
use nocturne::records::NightEnding;
use nocturne::store::{Reader, Store, rebuild};

use crate::fixture::*;

async fn filled(layout: &Layout) -> Everything {
    let store = Store::open_in(layout).await.unwrap();
    fill_and_end(&store, "2026-03-07-aa").await;
    fill(&store, "2026-03-08-bb").await;
    let all = everything(&store).await;
    store.close().await.unwrap();
    all
}

async fn read(layout: &Layout) -> Everything {
    let reader = Reader::open(&layout.database()).await.unwrap();
    let all = everything(&reader).await;
    assert!(reader.integrity_check().await.unwrap().is_empty());
    reader.close().await;
    all
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_lost_database_is_equal_to_the_rebuilt_one() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let lost = filled(&layout).await;
    fs::remove_file(layout.database()).unwrap();

    let rebuilt = rebuild(&layout).await.unwrap();
    assert_eq!((rebuilt.nights, rebuilt.experiments, rebuilt.trials), (2, 14, 20));
    assert_eq!((rebuilt.exchanges, rebuilt.queue), (6, 4));
    assert!(rebuilt.problems.is_empty(), "{:?}", rebuilt.problems);
    assert_eq!(rebuilt.set_aside, None);
    assert_eq!(read(&layout).await, lost);

    // and the night goes on from there
    let store = Store::open_in(&layout).await.unwrap();
    store.record_decision(&experiment_id("2026-03-08-bb", 4), &decision(Verdict::Discarded)).await.unwrap();
    store.end_night(&night_id("2026-03-08-bb"), NightEnding::NothingLeft, "").await.unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let lost = filled(&layout).await;
    fs::write(layout.database(), "damaged").unwrap();
    fs::write(layout.state().join("nocturne.db-wal"), "its log").unwrap();

    let old = rebuild(&layout).await.unwrap().set_aside.unwrap();
    assert_eq!(fs::read_to_string(&old).unwrap(), "damaged");
    assert_eq!(fs::read_to_string(PathBuf::from(format!("{}-wal", old.display()))).unwrap(), "its log");
    assert_eq!(read(&layout).await, lost);
    let second = rebuild(&layout).await.unwrap().set_aside.unwrap();
    assert_ne!(second, old);
    assert!(!names(&layout.state()).iter().any(|name| name.starts_with(".rebuilding")), "{:?}", names(&layout.state()));
}

#[tokio::test]
async fn damaged_files_are_reported_and_the_rest_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let lost = filled(&layout).await;
    let night = night_id("2026-03-08-bb");
    fs::write(layout.night_file(&night_id("2026-03-07-aa")), "{").unwrap();
    fs::write(layout.trial_file(&experiment_id("2026-03-08-bb", 3), 1), "[]").unwrap();
    fs::write(layout.experiment_file(&experiment_id("2026-03-08-bb", 5)), "").unwrap();
    let misplaced = layout.experiment_file(&experiment_id("2026-03-08-bb", 6));
    fs::copy(layout.experiment_file(&experiment_id("2026-03-08-bb", 2)), &misplaced).unwrap();
    let events = fs::read_to_string(layout.events_file(&night)).unwrap();
    fs::write(layout.events_file(&night), &events[..events.len() - 9]).unwrap();
    fs::create_dir(layout.nights().join("Not a Night")).unwrap();
    fs::write(layout.exchange_file(&night, 2, 1), "{}").unwrap();
    fs::rename(layout.exchange_file(&night, 2, 2), layout.exchange_file(&night, 2, 3)).unwrap();

    let rebuilt = rebuild(&layout).await.unwrap();
    let mut reported: Vec<String> = rebuilt
        .problems
        .iter()
        .map(|problem| problem.path.strip_prefix(layout.nights()).unwrap().display().to_string())
        .collect();
    reported.sort();
    assert_eq!(
        reported,
        [
            "2026-03-07-aa/night.json",
            "2026-03-08-bb/3/trial-1/trial.json",
            "2026-03-08-bb/5/experiment.json",
            "2026-03-08-bb/5/trial-1/trial.json",
            "2026-03-08-bb/5/trial-2/trial.json",
            "2026-03-08-bb/5/trial-3/trial.json",
            "2026-03-08-bb/6/experiment.json",
            "2026-03-08-bb/events.jsonl",
            "2026-03-08-bb/exchanges/2-1.json",
            "2026-03-08-bb/exchanges/2-3.json",
            "Not a Night",
        ]
    );
    let found = read(&layout).await;
    assert_eq!(found.nights, lost.nights[1..]);
    let of_night: Vec<_> = lost.experiments.iter().filter(|e| e.id.night == night && e.id.number < 5).collect();
    assert_eq!(found.experiments.iter().collect::<Vec<_>>(), of_night);
    assert_eq!(found.events.len(), 1);
    assert_eq!(found.champions.len(), 2);
}

#[tokio::test]
async fn files_that_a_crash_left_behind_are_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let lost = filled(&layout).await;
    for night in ["2026-03-07-aa", "2026-03-08-bb"] {
        fs::remove_dir_all(layout.night(&night_id(night))).unwrap();
    }
    let store = Store::open_in(&layout).await.unwrap();
    for night in ["2026-03-07-aa", "2026-03-08-bb"] {
        store.refresh_files(&night_id(night)).await.unwrap();
    }
    store.close().await.unwrap();
    assert!(rebuild(&layout).await.unwrap().problems.is_empty());
    assert_eq!(read(&layout).await, lost);
}

#[tokio::test]
async fn nothing_makes_an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    assert_eq!(rebuild(&layout).await.unwrap().nights, 0);
    assert!(read(&layout).await.nights.is_empty());
}

#[tokio::test]
async fn git_is_told_to_look_away() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    Store::open_in(&layout).await.unwrap();
    assert_eq!(fs::read_to_string(layout.state().join(".gitignore")).unwrap(), "*\n");
}
