//! The helper process against commands that do not want to end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nocturne::run::{Job, Launcher};

fn job(folder: &Path, script: &str) -> Job {
    Job {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        folder: folder.to_owned(),
        nice: 0,
        grace_seconds: 0.5,
        log: folder.join("log.txt"),
        policy: None,
    }
}

fn launcher(folder: &Path) -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_nocturne").into(), &folder.join("lock"), sandbox::Confinement::off())
}

/// Processes whose environment names this folder's lock.
fn alive(folder: &Path) -> Vec<u32> {
    let needle = format!("NOCTURNE_RUN={}", folder.join("lock").display());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|variable| variable == needle.as_bytes())
        })
        .collect()
}

fn assert_none_left(folder: &Path) {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let left = alive(folder);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn exit_codes_signals_and_last_words_arrive() {
    let folder = tempfile::tempdir().unwrap();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -11 $$", 139)] {
        let process = launcher(folder.path()).start(&job(folder.path(), script)).await.unwrap();
        let ended = process.finish(Duration::from_secs(60)).await.unwrap();
        assert_eq!(ended.code, Some(code), "{script}");
    }
    let process = launcher(folder.path()).start(&job(folder.path(), "echo so sorry >&2; exit 1")).await.unwrap();
    assert_eq!(process.finish(Duration::from_secs(60)).await.unwrap().last_words, "so sorry");
    assert_eq!(std::fs::read_to_string(folder.path().join("log.txt")).unwrap(), "so sorry\n");
}

#[tokio::test]
async fn nothing_outlives_the_command_not_even_what_left_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 & sleep 1000) & sleep 1000' >/dev/null 2>&1 & sleep 0.2";
    let process = launcher(folder.path()).start(&job(folder.path(), script)).await.unwrap();
    assert_eq!(process.finish(Duration::from_secs(60)).await.unwrap().code, Some(0));
    assert_none_left(folder.path());
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_after_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo ready; while true; do sleep 1; done";
    let mut process = launcher(folder.path()).start(&job(folder.path(), script)).await.unwrap();
    assert_eq!(process.line().await.unwrap().unwrap(), b"ready\n");
    let ended = process.stop().await.unwrap();
    assert_eq!(ended.code, Some(137));
    assert_none_left(folder.path());
}

#[tokio::test]
async fn endless_output_neither_blocks_nor_fills_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let script = "head -c 30000000 /dev/zero | tr '\\0' 'x' >&2; head -c 3000000 /dev/zero; echo done >&2";
    let process = launcher(folder.path()).start(&job(folder.path(), script)).await.unwrap();
    let ended = process.finish(Duration::from_secs(120)).await.unwrap();
    assert_eq!(ended.code, Some(0));
    assert!(ended.last_words.ends_with("done"));
    let log = std::fs::metadata(folder.path().join("log.txt")).unwrap().len();
    assert!((10 << 20..(10 << 20) + 200).contains(&log), "the log has {log} bytes");
}

#[tokio::test]
async fn a_line_without_end_is_an_error_not_a_full_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = launcher(folder.path()).start(&job(folder.path(), "head -c 5000000 /dev/zero")).await.unwrap();
    assert!(process.line().await.is_err());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_the_machines_fault_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job { program: "/no/such/program".into(), ..job(folder.path(), "") };
    let process = launcher(folder.path()).start(&job).await.unwrap();
    let error = process.finish(Duration::from_secs(60)).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/program"), "{error}");
}

/// `kill -9` of the agent: the helper, and with it everything below, goes too.
#[test]
fn nothing_outlives_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let tag = format!("NOCTURNE_RUN={}", folder.path().join("lock").display());
    // A shell stands for the agent: it starts the helper and is killed without warning.
    let script = format!(
        "env '{tag}' '{}' supervise --parent $$ -- sh -c 'setsid sleep 1000 & echo up; sleep 1000' & wait",
        env!("CARGO_BIN_EXE_nocturne")
    );
    let mut agent = Command::new("/bin/sh").arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(agent.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "up\n");
    assert!(!alive(folder.path()).is_empty());
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_none_left(folder.path());
}

#[tokio::test]
async fn leftovers_are_recognised_by_the_lock_and_by_nothing_else() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut left = Command::new("sleep").arg("1000").env("NOCTURNE_RUN", ours.path().join("lock")).spawn().unwrap();
    let mut other = Command::new("sleep").arg("1000").env("NOCTURNE_RUN", theirs.path().join("lock")).spawn().unwrap();
    assert_eq!(launcher(ours.path()).end_leftovers(), 1);
    assert!(!left.wait().unwrap().success());
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}
