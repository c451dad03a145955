//! Databases and files of earlier versions are brought up to date and stay readable.

use std::fs;
use std::path::Path;

use nocturne::flow::{Purpose, TrialEnd};
use nocturne::layout::Layout;
use nocturne::records::{Evaluation, TrialFile};
use nocturne::store::{Reader, Store, rebuild};
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Connection, SqliteConnection};

use crate::fixture::*;

const NIGHT: &str = "2026-03-08-k4";

/// A night as the first version recorded it: a verified trial, a rejected one, one that crashed and one that runs.
const ROWS: &str = r#"
INSERT INTO nights (id, campaign, start_commit, program_sha256, campaign_sha256, campaign_text, started_at, deadline,
                    experiment_limit, seeds_json, proposer_seed, machine_json)
VALUES ('2026-03-08-k4', 'quickstart', '000000000000000000000000000000000000aaaa', '1', '2', 'scale = "cpu"',
        '2026-03-08T20:00:00Z', NULL, 8, '[7]', '9', '{}');
INSERT INTO experiments (night, number, key, title, hypothesis, source, family, proposer, cost_usd, edits_json,
                         patch_digest, champion_commit, state, proposed_at)
VALUES ('2026-03-08-k4', 0, 'baseline', 'baseline', '', '', 'baseline', 'person', 0, '[]', 'start',
        '000000000000000000000000000000000000aaaa', 'measured', '2026-03-08T20:00:01Z');
INSERT INTO trials (night, number, ordinal, seed, budget_seconds, artifact_sha256, folder, started_at, ending, message,
                    steps, tokens, parameters, training_seconds, start_seconds, peak_memory_bytes, ended_at, evaluation,
                    val_bpb, nats, bytes, scored_tokens, evaluator_seconds, evaluator, failed_check, evidence, evaluated_at)
VALUES ('2026-03-08-k4', 0, 1, '7', 20, 'a', 'nights/2026-03-08-k4/0/trial-1', '2026-03-08T20:01:00Z', 'finished', NULL,
        9, 99, 999, 20, 1, 9, '2026-03-08T20:02:00Z', 'verified', 1.8423, 33.5, 100, 40, 2.5, 'plain/1', NULL, NULL,
        '2026-03-08T20:03:00Z'),
       ('2026-03-08-k4', 0, 2, '7', 20, 'a', 'nights/2026-03-08-k4/0/trial-2', '2026-03-08T20:01:00Z', 'finished', NULL,
        9, 99, 999, 20, 1, 9, '2026-03-08T20:02:00Z', 'rejected', NULL, NULL, NULL, NULL, NULL, NULL, 'finite', 'NaN',
        '2026-03-08T20:03:00Z'),
       ('2026-03-08-k4', 0, 3, '7', 20, 'a', 'nights/2026-03-08-k4/0/trial-3', '2026-03-08T20:01:00Z', 'crashed', 'x',
        9, 99, 999, 20, 1, 9, '2026-03-08T20:02:00Z', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO trials (night, number, ordinal, seed, budget_tokens, artifact_sha256, folder, started_at)
VALUES ('2026-03-08-k4', 0, 4, '7', 1000, 'a', 'nights/2026-03-08-k4/0/trial-4', '2026-03-08T20:04:00Z');
"#;

/// What the second version wrote: an audited trial, and a decision without evidence.
const AUDITED: &str = r#"
INSERT INTO trials (night, number, ordinal, seed, budget_seconds, artifact_sha256, folder, started_at, ending, message,
                    steps, tokens, parameters, training_seconds, start_seconds, peak_memory_bytes, ended_at, evaluation,
                    val_bpb, nats, bytes, scored_tokens, evaluator_seconds, evaluator, evaluated_at, standard_error,
                    claimed_bpb, certificate_json)
VALUES ('2026-03-08-k4', 0, 5, '7', 20, 'a', 'nights/2026-03-08-k4/0/trial-5', '2026-03-08T20:01:00Z', 'finished', NULL,
        9, 99, 999, 20, 1, 9, '2026-03-08T20:02:00Z', 'verified', 1.8424, 33.5, 100, 40, 2.5, 'claim-and-audit/1',
        '2026-03-08T20:03:00Z', 0.000001, 1.8425, json('CERTIFICATE'));
UPDATE experiments SET state = 'decided', verdict = 'kept', decided_on_trials = 1, rule = 'lower-is-kept/1', reason = 'start',
                       decided_at = '2026-03-08T20:05:00Z';
"#;

/// A database as the program left it when there were only these migrations.
async fn made_with(path: &Path, migrations: &[&str], rows: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in migrations {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(name);
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    Migrator::new(folder.path()).await.unwrap().run(&mut connection).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    made_with(&path, &["0001_nights.sql"], ROWS).await;

    // A command that only reads is enough.
    let reader = Reader::open(&path).await.unwrap();
    let trials = reader.trials(&experiment_id(NIGHT, 0)).await.unwrap();
    assert_eq!(trials.len(), 4);
    assert!(trials.iter().all(|trial| trial.certificate.is_none()));
    let Some(Evaluation::Verified(verified_then)) = &trials[0].evaluation else { panic!("{:?}", trials[0]) };
    assert_eq!((verified_then.val_bpb, verified_then.standard_error, verified_then.claimed_bpb), (1.8423, 0.0, 0.0));
    assert_eq!(verified_then.evaluator, "plain/1");
    assert!(matches!(&trials[1].evaluation, Some(Evaluation::Rejected(rejected)) if rejected.check == "finite"));
    assert_eq!(reader.integrity_check().await.unwrap(), Vec::<String>::new());
    reader.close().await;

    // The night goes on under the new evaluator.
    let store = Store::open(&path).await.unwrap();
    let id = experiment_id(NIGHT, 0);
    let ended = trained(TrialEnd::Finished, 7, protocol::Budget::Tokens(1_000));
    store.end_trial(&id, 4, &ended).await.unwrap();
    store.record_evaluation(&id, 4, verified(1.8), Some(certificate(None))).await.unwrap();
    let trials = store.trials(&id).await.unwrap();
    assert_eq!(trials[3].certificate, Some(certificate(None)));
    assert_eq!(trials[3].evaluation, Some(Evaluation::Verified(verified(1.8))));
}

/// The table of trials is made anew by the third migration: every value of every row is the same afterwards.
#[tokio::test]
async fn a_database_of_the_second_version_keeps_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let certificate_text = serde_json::to_string(&certificate(None)).unwrap().replace('\'', "''");
    let rows = format!("{ROWS}{}", AUDITED.replace("CERTIFICATE", &certificate_text));
    made_with(&path, &["0001_nights.sql", "0002_certificates.sql"], &rows).await;
    let columns = "night, number, ordinal, seed, budget_seconds, budget_tokens, artifact_sha256, folder, started_at, ending, \
                   message, steps, tokens, parameters, training_seconds, start_seconds, peak_memory_bytes, final_loss, \
                   checkpoint_sha256, ended_at, evaluation, val_bpb, nats, bytes, scored_tokens, evaluator_seconds, \
                   evaluator, failed_check, evidence, evaluated_at, standard_error, claimed_bpb, certificate_json";
    let then = values(&path, columns).await;
    assert_eq!(then.len(), 5);

    let store = Store::open(&path).await.unwrap();
    assert_eq!(values(&path, columns).await, then);
    let trials = store.trials(&experiment_id(NIGHT, 0)).await.unwrap();
    assert!(trials.iter().all(|trial| (trial.purpose, trial.era, trial.would_stop) == (Purpose::Search, 0, None)));
    assert_eq!(trials[4].certificate, Some(certificate(None)));
    let decided = store.experiment(&experiment_id(NIGHT, 0)).await.unwrap().unwrap();
    assert_eq!(decided.decision.unwrap().evidence, None);
    assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
    // and takes what only the third knows
    let early = TrialEnd::StoppedEarly { message: "hopeless".to_owned() };
    let id = experiment_id(NIGHT, 0);
    store.end_trial(&id, 4, &trained(early, 7, protocol::Budget::Tokens(1_000))).await.unwrap();
    store.close().await.unwrap();
    let views = ["experiment_results", "night_results", "certificates"];
    let mut rows = Vec::new();
    for view in views {
        rows.push(values_of(&path, &format!("SELECT json_array(night) FROM {view}")).await.len());
    }
    assert_eq!(rows, [1, 1, 1]);
}

async fn values(path: &Path, columns: &str) -> Vec<String> {
    values_of(path, &format!("SELECT json_array({columns}) FROM trials ORDER BY night, number, ordinal")).await
}

async fn values_of(path: &Path, sql: &str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

#[tokio::test]
async fn files_of_the_first_version_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let store = Store::open_in(&layout).await.unwrap();
    fill(&store, NIGHT).await;
    store.close().await.unwrap();
    let id = experiment_id(NIGHT, 0);
    let path = layout.trial_file(&id, 2);
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let trial = file["trial"].as_object_mut().unwrap();
    assert_eq!(trial.remove("certificate"), Some(json!(certificate(None))));
    for new in ["purpose", "era", "would_stop", "device"] {
        assert!(trial.remove(new).is_some(), "{new}");
    }
    let verified = trial["evaluation"]["verified"].as_object_mut().unwrap();
    assert!(verified.remove("standard_error").is_some() && verified.remove("claimed_bpb").is_some());
    fs::write(&path, file.to_string()).unwrap();
    let path = layout.night_file(&night_id(NIGHT));
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for new in ["claim", "looks"] {
        assert!(file.as_object_mut().unwrap().remove(new).is_some(), "{new}");
    }
    fs::write(&path, file.to_string()).unwrap();

    let rebuilt = rebuild(&layout).await.unwrap();
    assert!(rebuilt.problems.is_empty(), "{:?}", rebuilt.problems);
    let reader = Reader::open(&layout.database()).await.unwrap();
    let trial = reader.trials(&id).await.unwrap().remove(1);
    assert_eq!((trial.val_bpb(), trial.certificate), (Some(2.101_010_101_010_1), None));
    assert_eq!((trial.purpose, trial.era), (Purpose::Search, 0));
    assert_eq!(reader.claim(&night_id(NIGHT)).await.unwrap(), None);

    let of_a_rejection = fs::read_to_string(layout.trial_file(&experiment_id(NIGHT, 2), 1)).unwrap();
    let file: TrialFile = serde_json::from_str(&of_a_rejection).unwrap();
    assert_eq!(file.trial.certificate, Some(certificate(Some("finite"))), "the file does not repeat the row");
}

#[tokio::test]
async fn certificates_can_be_asked_for_by_people() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nocturne.db");
    let store = Store::open(&path).await.unwrap();
    fill(&store, NIGHT).await;
    store.close().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows: Vec<(i64, i64, String, i64, Option<String>)> =
        sqlx::query_as("SELECT number, trial, evaluation, cuts, failed_check FROM certificates")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let expected =
        [(0, 2, "verified".to_owned(), 256, None), (2, 1, "rejected".to_owned(), 256, Some("finite".to_owned()))];
    assert_eq!(rows, expected);
}
