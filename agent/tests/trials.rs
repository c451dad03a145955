//! Training runs against trainers that say too much or go on for too long.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::path::Path;

use nocturne::flow::{Trained, TrialEnd};
use nocturne::run::{EarlySignal, Job, Launcher, TrialProgress, TrialSpec, not_early, train};
use protocol::{Budget, Event, Go, Precision, Scale, Setting, TrainRequest};

/// Trains with a shell script that has said it is ready and been told to go.
async fn run(folder: &Path, budget: Budget, script: &str) -> Trained {
    run_until(folder, budget, script, not_early(), |_| {}).await
}

/// [`run`], ended early when `early` says so.
async fn run_until(
    folder: &Path,
    budget: Budget,
    script: &str,
    early: EarlySignal,
    progress: impl FnMut(TrialProgress),
) -> Trained {
    let output = folder.join("output");
    std::fs::create_dir_all(&output).unwrap();
    for name in [data::files::TRAIN_TOKENS, data::files::TRAIN_INDEX] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    let ready = Event::Ready { version: protocol::VERSION, parameters: 1, rows_per_step: 1, threads: None };
    let ready = serde_json::to_string(&ready).unwrap();
    let spec = TrialSpec {
        job: Job {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), format!("read request; echo '{ready}'; read go; {script}")],
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            folder: output.clone(),
            nice: 0,
            cores: None,
            grace_seconds: 0.5,
            log: folder.join("log.txt"),
            policy: None,
        },
        request: TrainRequest {
            setting: Setting {
                scale: Scale::Cpu,
                vocabulary: 9,
                context: 16,
                device: "cpu".to_owned(),
                precision: Precision::Fp32,
                threads: 1,
            },
            seed: 1,
            data_seed: None,
            resume_from: None,
        },
        go: Go { budget, checkpoint: output.join("checkpoint.safetensors"), stop_after_steps: None },
        data: folder.to_owned(),
        checkpoint: folder.join("checkpoint.safetensors"),
        curve: folder.join("curve.jsonl"),
        grace_seconds: 120.0,
        most_seconds: 120.0,
        most_checkpoint_bytes: 1_000,
        hold: None,
    };
    let launcher =
        Launcher::new(env!("CARGO_BIN_EXE_nocturne").into(), &folder.join("lock"), sandbox::Confinement::off());
    let (_never, stop) = tokio::sync::watch::channel(false);
    train(&launcher, &spec, stop, early, progress).await.unwrap()
}

fn step(step: u64, tokens: u64) -> String {
    let event = Event::Step { step, tokens, seconds: 0.0, loss: Some(1.0), progress: 0.0, measured: None };
    format!("'{}'", serde_json::to_string(&event).unwrap())
}

fn finished() -> String {
    let event = Event::Finished {
        steps: 2,
        tokens: 2,
        seconds: 0.1,
        peak_memory_bytes: 1,
        peak_device_memory_bytes: None,
        memory: None,
        first_step_seconds: None,
    };
    format!("'{}'", serde_json::to_string(&event).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ends_long_after_the_budget_is_over_time_whatever_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "echo {}; sleep 2.5; echo {}; echo x > checkpoint.safetensors; echo {}",
        step(1, 1),
        step(2, 2),
        finished()
    );
    let trained = run(folder.path(), Budget::Seconds(0.1), &script).await;
    assert_eq!((trained.end, trained.checkpoint_sha256), (TrialEnd::TimedOut, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_steps_and_too_many_tokens_break_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    for (script, words) in [
        (format!("yes {}", step(1, 1)), "step 1 came after step 1"),
        (format!("echo {}; cat", step(1, 117)), "more than one step of 16 beyond its budget of 100"),
    ] {
        let trained = run(folder.path(), Budget::Tokens(100), &script).await;
        let TrialEnd::Crashed { message } = trained.end else { panic!("{script}: {:?}", trained.end) };
        assert!(message.contains("broke the protocol") && message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hopeless_run_is_ended_with_all_its_processes_and_leaves_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // A grandchild that would go on for an hour, and a trainer that does not mind being asked to end.
    let script = format!(
        "trap '' TERM; echo x > checkpoint.safetensors; sleep 3600 & echo $! > ../grandchild; echo {}; echo {}; wait; sleep 3600",
        step(1, 1),
        step(2, 2)
    );
    let (signal, early) = tokio::sync::watch::channel(None);
    let heard = |progress: TrialProgress| {
        if progress.point.step == 2 {
            signal.send_replace(Some("nothing will come of it".to_owned()));
        }
    };
    let trained = run_until(folder.path(), Budget::Seconds(3600.0), &script, early, heard).await;
    assert_eq!(trained.end, TrialEnd::StoppedEarly { message: "nothing will come of it".to_owned() });
    assert_eq!((trained.checkpoint_sha256, trained.steps), (None, 2));
    assert!(!folder.path().join("checkpoint.safetensors").exists() && !folder.path().join("output").exists());
    let grandchild = std::fs::read_to_string(folder.path().join("grandchild")).unwrap();
    let gone = !Path::new("/proc").join(grandchild.trim()).exists();
    assert!(gone, "process {grandchild} is still there");
}
