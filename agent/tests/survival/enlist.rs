//! Killed between an experiment's row and its branch.

use std::fs;
use std::time::Duration;

use super::*;

/// Numbers of the experiments whose row a night has mirrored, the night's start left out.
fn enlisted(fixture: &Fixture) -> usize {
    let night = nights(fixture).into_iter().next();
    let folders = night.and_then(|night| fs::read_dir(night).ok()).into_iter().flatten().flatten();
    let experiment = |entry: &fs::DirEntry| entry.file_name() != "0" && entry.path().join("experiment.json").exists();
    folders.filter(experiment).count()
}

/// Experiments of the only night that have a commit on record, and whether their branch is there. No branch is without a record.
async fn enlisted_with_branch(fixture: &Fixture) -> Vec<(u32, bool)> {
    let there = branches(fixture);
    let experiments = records(fixture).await;
    let recorded = experiments.iter().filter(|experiment| experiment.id.number > 0);
    let recorded: Vec<_> = recorded.filter_map(|one| Some((one.id.number, one.candidate.as_ref()?))).collect();
    for (branch, commit) in &there {
        let known =
            recorded.iter().any(|(_, candidate)| candidate.branch == *branch && candidate.commit.as_str() == commit);
        assert!(known, "branch {branch} is without a record");
    }
    recorded.into_iter().map(|(number, candidate)| (number, there.contains_key(&candidate.branch))).collect()
}

#[tokio::test]
async fn killed_while_an_experiment_is_enlisted_it_is_tested_once_and_on_its_branch() {
    let fixture = Fixture::new();
    let night = ["night", "experiments/pretend", "--experiments", "8", "--json"];
    for delay in 0..6 {
        let before = enlisted(&fixture);
        let mut child = fixture.nocturne(&night).spawn().unwrap();
        wait_for(&fixture, "enlist an experiment", |fixture| enlisted(fixture) > before);
        std::thread::sleep(Duration::from_millis(2 * delay));
        child.kill().unwrap();
        child.wait().unwrap();
        fixture.assert_no_process_left();
        enlisted_with_branch(&fixture).await;
    }

    // Where the moment is hit for sure: the branch cannot be made, for its log's place is taken.
    let name = nights(&fixture)[0].file_name().unwrap().to_string_lossy().into_owned();
    let logs = fixture.root().join(".git/logs/refs/heads/nocturne/pretend").join(&name);
    fs::remove_dir_all(&logs).unwrap();
    fs::write(&logs, "in the way").unwrap();
    let output = fixture.run(&night);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("cannot create the branch"), "{errors}");
    let enlisted = enlisted_with_branch(&fixture).await;
    assert!(matches!(enlisted.last(), Some((_, false))), "the branch is there: {enlisted:?}");
    fs::remove_file(&logs).unwrap();

    let night = fixture.json(&night);
    assert_eq!((night["night"].as_str().unwrap(), night["ended"].as_str().unwrap()), (&*name, "experiments-done"));
    let of_night = enlisted_with_branch(&fixture).await;
    assert!(of_night.iter().all(|(_, branch)| *branch), "{of_night:?}");
    let numbers: Vec<u32> = of_night.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>(), "a number was lost or used twice");
    let experiments = records(&fixture).await;
    let digests: BTreeSet<&str> = experiments.iter().map(|experiment| experiment.patch_digest.as_str()).collect();
    assert_eq!(digests.len(), experiments.len(), "an experiment was made twice");
    assert!(experiments.iter().all(|experiment| experiment.decision.is_some()));
}
