//! Nights that are killed, interrupted and resumed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

#[path = "survival/enlist.rs"]
mod enlist;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nocturne::flow::{TrialEnd, Verdict};
use nocturne::layout::Layout;
use nocturne::records::ExperimentRecord;
use nocturne::store::Reader;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use support::Fixture;

/// How many times nights are killed without warning.
const KILLS: usize = 30;

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// Branches of all nights by name, the champions' left out.
fn branches(fixture: &Fixture) -> BTreeMap<String, String> {
    let listed = fixture.git(&["for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads/nocturne"]);
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    pairs.filter(|(name, _)| !name.ends_with("/champion")).map(|(n, c)| (n.to_owned(), c.to_owned())).collect()
}

/// The records as they are on disk, after a look at the database's integrity.
async fn records(fixture: &Fixture) -> Vec<ExperimentRecord> {
    let layout = Layout::new(fixture.root());
    if !layout.database().exists() {
        return Vec::new();
    }
    let reader = Reader::open(&layout.database()).await.unwrap();
    assert_eq!(reader.integrity_check().await.unwrap(), Vec::<String>::new());
    let mut all = Vec::new();
    for night in reader.nights().await.unwrap() {
        all.extend(reader.experiments(&night.id).await.unwrap());
    }
    reader.close().await;
    all
}

/// The loss that the pretended trainer claims follows from its recipe: every measured experiment must have its own commit's.
async fn check_figures(fixture: &Fixture, experiments: &[ExperimentRecord]) {
    let layout = Layout::new(fixture.root());
    for experiment in experiments {
        let Some(candidate) = &experiment.candidate else { continue };
        let recipe = fixture.git(&["show", &format!("{}:trainer/src/candidate/recipe.rs", candidate.commit)]);
        let number = |name: &str| -> f64 {
            let line =
                recipe.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: "))?.strip_suffix(','));
            line.unwrap().parse().unwrap()
        };
        let off = |name: &str, best: f64| (number(name) / best).ln().powi(2);
        let loss = 2.0
            + off("matrix_rate", 0.06)
            + off("embedding_rate", 0.4)
            + off("softcap", 20.0)
            + off("warmdown", 0.6)
            + (number("depth") * number("dim") / 1024.0).ln().powi(2)
            + off("tokens_per_step", 4096.0)
            + off("micro_batch_rows", 16.0) * 0.01
            + off("head_dim", 64.0) * 0.01;
        for ordinal in 1..10 {
            let checkpoint = layout.checkpoint(&experiment.id, ordinal);
            // The first line of the pretended trainer's checkpoints.
            if let Ok(text) = std::fs::read_to_string(checkpoint)
                && let Some(claimed) = text.lines().next()
            {
                let claimed: f64 = claimed.parse().unwrap();
                assert!((claimed - loss).abs() < 1e-9, "{} claims {claimed}, its commit {loss}", experiment.id);
            }
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_a_night_loses_at_most_the_trial_in_flight() {
    let fixture = Fixture::new();
    // Where there are cores left, trials begin ahead too.
    fixture.replace("experiments/pretend/campaign.toml", "device = \"cpu\"", "device = \"cpu\"\nthreads = 1");
    let mut random = ChaCha8Rng::seed_from_u64(20_260_308);
    let mut decided: BTreeMap<String, Value> = BTreeMap::new();
    let (mut kills, mut cut_off) = (0, false);
    while kills < KILLS {
        let nights = nights(&fixture).len();
        let mut child =
            fixture.nocturne(&["night", "experiments/pretend", "--experiments", "6", "--json"]).spawn().unwrap();
        // A new night builds and tries the red team before it begins; most kills shall fall into the night itself.
        if !cut_off && random.random_bool(0.75) {
            wait_for(&fixture, "begin", |fixture| self::nights(fixture).len() > nights);
        }
        let until = Instant::now() + Duration::from_millis(random.random_range(20..4_000));
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
            cut_off |= self::nights(&fixture).len() > nights;
        } else {
            cut_off = false;
        }
        let output = child.wait_with_output().unwrap();
        if let Some(code) = output.status.code() {
            assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
        }
        fixture.assert_no_process_left();

        // The database is whole, and what was decided before is what it was.
        let experiments = records(&fixture).await;
        for experiment in &experiments {
            if let Some(decision) = &experiment.decision {
                let facts = serde_json::to_value((decision, &experiment.candidate)).unwrap();
                let before = decided.entry(experiment.id.to_string()).or_insert_with(|| facts.clone());
                assert_eq!(*before, facts, "the record of {} changed", experiment.id);
            }
        }
        // What was measured is what the commit claims, not what another commit's executable does.
        check_figures(&fixture, &experiments).await;
        let known: BTreeSet<String> = experiments.iter().map(|e| e.id.to_string()).collect();
        assert!(decided.keys().all(|id| known.contains(id)), "an experiment was lost");
        // No branch without its record, and none at another commit.
        let recorded: BTreeMap<String, String> = experiments
            .iter()
            .filter(|experiment| experiment.id.number > 0)
            .filter_map(|experiment| experiment.candidate.as_ref())
            .map(|candidate| (candidate.branch.clone(), candidate.commit.to_string()))
            .collect();
        for (branch, commit) in branches(&fixture) {
            assert_eq!(recorded.get(&branch), Some(&commit), "branch {branch} is not as recorded");
        }
    }

    // The last night is brought to its end: everything recorded is on its branch, the champion's branch is the champion's.
    let night = fixture.json(&["night", "experiments/pretend", "--experiments", "6", "--json"]);
    let name = night["night"].as_str().unwrap();
    // The morning adds what leaves one of the kept changes out.
    let proposed = night["experiments"].as_array().unwrap().iter().filter(|one| one["proposer"] != "leave-one-out");
    assert_eq!(proposed.count(), 6);
    check_trials(&fixture, name, kills).await;
    assert!(night["experiments"].as_array().unwrap().iter().all(|experiment| !experiment["verdict"].is_null()));
    let champion = fixture.git(&["rev-parse", &format!("nocturne/pretend/{name}/champion")]);
    assert_eq!(champion.trim(), night["champion"]["commit"].as_str().unwrap());
    let there = branches(&fixture);
    let of_night = records(&fixture).await.into_iter().filter(|e| e.id.night.as_str() == name && e.id.number > 0);
    for candidate in of_night.filter_map(|experiment| experiment.candidate) {
        assert_eq!(there.get(&candidate.branch).map(String::as_str), Some(candidate.commit.as_str()));
    }
    fixture.git(&["fsck", "--no-dangling"]);
    fixture.assert_no_process_left();
}

#[tokio::test]
async fn killed_between_its_effects_a_night_comes_to_its_claim() {
    let fixture = Fixture::new();
    fixture.plant_gains();
    let mut random = ChaCha8Rng::seed_from_u64(20_261_121);
    let (mut kills, mut ended) = (0, false);
    while !ended {
        // So many lines of the journal further than it came before. A proposal is on record some lines after it is asked for only.
        let until = journalled(&fixture) + random.random_range(1..12);
        let mut child =
            fixture.nocturne(&["night", "experiments/pretend", "--experiments", "1", "--json"]).spawn().unwrap();
        while journalled(&fixture) < until && !ended {
            ended = child.try_wait().unwrap().is_some();
            std::thread::sleep(Duration::from_millis(1));
        }
        if !ended {
            child.kill().unwrap();
            kills += 1;
        }
        let output = child.wait_with_output().unwrap();
        assert!(!ended || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fixture.assert_no_process_left();
        assert!(kills < 100, "the night does not come to its end");
        // The report is written, and its time journalled, after the night's end: a night killed there is over.
        ended |= is_over(&fixture).await;
    }
    let nights = nights(&fixture);
    assert_eq!(nights.len(), 1, "the night was not gone on with");
    let name = nights[0].file_name().unwrap().to_string_lossy().into_owned();
    let report = fixture.nocturne(&["report", &name]).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    assert!(fixture.root().join(format!("experiments/pretend/nights/{name}/report.html")).exists());
    let experiments = records(&fixture).await;
    assert_eq!(experiments.len(), 2, "{experiments:?}");
    assert_eq!(experiments[1].decision.as_ref().unwrap().verdict, Verdict::Kept);
    check_trials(&fixture, &name, kills).await;
}

/// Whether the end of the only night is on record.
async fn is_over(fixture: &Fixture) -> bool {
    let database = Layout::new(fixture.root()).database();
    if !database.exists() {
        return false;
    }
    let reader = Reader::open(&database).await.unwrap();
    let over = reader.nights().await.unwrap().iter().any(|night| night.end.is_some());
    reader.close().await;
    over
}

/// Lines in the journal of the only night.
fn journalled(fixture: &Fixture) -> usize {
    let night = nights(fixture).into_iter().next();
    let journal = night.and_then(|night| std::fs::read_to_string(night.join("effects.jsonl")).ok());
    journal.map_or(0, |journal| journal.lines().count())
}

/// What was measured once is not measured again, the sealed text is spent on one claim, and the claim is there.
async fn check_trials(fixture: &Fixture, night: &str, kills: usize) {
    let reader = Reader::open(&Layout::new(fixture.root()).database()).await.unwrap();
    let night = reader.night(&night.parse().unwrap()).await.unwrap().unwrap().id;
    let trials = reader.night_trials(&night).await.unwrap();
    let mut measured = BTreeSet::new();
    for trial in trials.iter().filter(|trial| trial.evaluation.is_some()) {
        let what = (trial.experiment.number, trial.purpose, trial.seed);
        assert!(measured.insert(what), "trial {} of {} was made twice", trial.ordinal, trial.experiment);
    }
    let cut_off = trials.iter().filter(|trial| trial.evaluation.is_none()).count();
    let stopped_early = trials.iter().filter(|trial| {
        trial.trained.as_ref().is_some_and(|trained| matches!(trained.end, TrialEnd::StoppedEarly { .. }))
    });
    assert!(cut_off <= kills + stopped_early.count(), "{cut_off} trials were lost to {kills} kills");
    let champion = reader.champion(&night).await.unwrap().unwrap();
    let claim = reader.claim(&night).await.unwrap();
    assert_eq!(claim.map(|claim| claim.champion), (champion.experiment > 0).then_some(champion.commit));
    reader.close().await;
}

/// Folders of the nights that have begun.
fn nights(fixture: &Fixture) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture.root().join(".nocturne/nights"));
    entries.map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
}

/// Waits until something is so. It fails after ten minutes, which only a night that hangs takes, however busy the machine is.
fn wait_for(fixture: &Fixture, what: &str, is_so: impl Fn(&Fixture) -> bool) {
    let give_up = Instant::now() + Duration::from_secs(600);
    while !is_so(fixture) {
        assert!(Instant::now() < give_up, "the night does not {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the night trains an experiment with a number; its start has number 0.
fn wait_for_training(fixture: &Fixture, number: u32) {
    let curve = format!("{number}/trial-1/curve.jsonl");
    wait_for(fixture, "train", |fixture| nights(fixture).iter().any(|night| night.join(&curve).exists()));
}

#[test]
fn one_interrupt_finishes_the_trial_and_writes_the_report() {
    let fixture = Fixture::new();
    fixture.replace("experiments/pretend/campaign.toml", "seconds = 0.3", "seconds = 4");
    fixture.commit("Longer trials");
    let child = fixture.nocturne(&["night", "experiments/pretend", "--experiments", "50", "--json"]).spawn().unwrap();
    wait_for_training(&fixture, 1);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let night: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(night["ended"], "stopped");
    let experiments = night["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), 1, "{night}");
    assert!(experiments[0]["val_bpb"].is_number(), "the trial was not finished: {night}");
    let report = format!("experiments/pretend/nights/{}/report.html", night["night"].as_str().unwrap());
    assert!(fixture.root().join(report).exists());
    fixture.assert_no_process_left();
}

#[test]
fn two_interrupts_stop_at_once_and_leave_no_process() {
    let fixture = Fixture::new();
    fixture.replace("experiments/pretend/campaign.toml", "seconds = 0.3", "seconds = 3600");
    fixture.replace("experiments/pretend/campaign.toml", "grace_seconds = 2", "grace_seconds = 1");
    fixture.commit("Endless trials");
    let child = fixture.nocturne(&["night", "experiments/pretend", "--experiments", "5", "--json"]).spawn().unwrap();
    wait_for_training(&fixture, 0);
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    let at = Instant::now();
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert!(at.elapsed() < Duration::from_secs(60), "it took {:?} to stop now", at.elapsed());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["ended"], "stopped");
    fixture.assert_no_process_left();
}

#[test]
fn a_night_outlives_its_terminal() {
    let fixture = Fixture::new();
    fixture.replace("experiments/pretend/campaign.toml", "seconds = 0.3", "seconds = 1.5");
    fixture.commit("Longer trials");
    let child = fixture.nocturne(&["night", "experiments/pretend", "--experiments", "2", "--json"]).spawn().unwrap();
    wait_for_training(&fixture, 1);
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let night: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(night["ended"], "experiments-done");
    // Which ideas come is drawn; where both were kept, each is left out once before the end.
    let experiments = night["experiments"].as_array().unwrap();
    let proposed = experiments.iter().filter(|experiment| experiment["proposer"] != "leave-one-out").count();
    assert_eq!(proposed, 2, "{night}");
    fixture.assert_no_process_left();
}

#[test]
fn an_interrupt_is_an_answer_to_the_question() {
    let fixture = Fixture::new();
    fixture.replace("experiments/pretend/campaign.toml", "seconds = 0.3", "seconds = 5");
    fixture.commit("Longer trials");
    let mut child = fixture.nocturne(&["night", "experiments/pretend", "--json"]).spawn().unwrap();
    wait_for_training(&fixture, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    fixture.assert_no_process_left();

    // util-linux's `script` gives it a terminal, on which Ctrl-C is typed.
    let night = fixture.nocturne(&["night", "experiments/pretend"]);
    let mut terminal = Command::new("script")
        .args(["-qefc", &format!("'{}' night experiments/pretend", night.get_program().display()), "/dev/null"])
        .current_dir(night.get_current_dir().unwrap())
        .envs(night.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    let mut output = terminal.stdout.take().unwrap();
    while !String::from_utf8_lossy(&shown).contains("[Y/n]") {
        let mut some = [0; 4096];
        let count = output.read(&mut some).unwrap();
        assert!(count > 0, "it does not ask: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&some[..count]);
    }
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while terminal.try_wait().unwrap().is_none() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(10));
    }
    // One that did not hear it is at the end of its input now, goes on with the night and ends that.
    drop(keys);
    output.read_to_end(&mut shown).unwrap();
    assert_eq!(terminal.wait().unwrap().code(), Some(130), "{}", String::from_utf8_lossy(&shown));
    // Nothing was decided: the night can still be gone on with.
    let state = fixture.json(&["status", "--json"])["state"].as_str().unwrap().to_owned();
    assert!(state.starts_with("cut off"), "{state}");
    fixture.assert_no_process_left();
}
