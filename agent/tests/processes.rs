//! The helper process against commands that do not want to end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nocturne::run::{CoreSet, Job, Launcher, own_cores};
use sandbox::{Confinement, Offer, Policy, Surroundings};

/// How a command can be confined here: unconfined, and by every mechanism that the machine offers, with and without control
/// groups. What it does not offer is skipped by name.
fn ways(test: &str) -> Vec<(String, Option<Confinement>)> {
    static OFFER: OnceLock<Offer> = OnceLock::new();
    let offer = OFFER.get_or_init(|| sandbox::probe(Path::new(env!("CARGO_BIN_EXE_nocturne"))));
    let mut ways = vec![("unconfined".to_owned(), None)];
    for (name, confinement) in Confinement::every(offer) {
        match confinement {
            Ok(confinement) => {
                if confinement.cgroup().is_some() {
                    ways.push((format!("{name} with a control group"), Some(confinement.clone())));
                } else {
                    eprintln!("skipped: {test}: {name} with a control group: {:?}", offer.cgroup.missing());
                }
                ways.push((name.to_owned(), Some(confinement.without_cgroup())));
            }
            Err(reason) => eprintln!("skipped: {test}: {name}: {}", reason.why),
        }
    }
    ways
}

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// A launcher and a job for one of the [`ways`].
fn confined(way: &Option<Confinement>, folder: &Path, script: &str) -> (Launcher, Job) {
    let confinement = way.clone().unwrap_or_else(Confinement::off);
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_nocturne").into(), &folder.join("lock"), confinement);
    let policy = way.as_ref().map(|_| policy(folder));
    (launcher, Job { policy, ..job(folder, script) })
}

fn policy(folder: &Path) -> Policy {
    Policy::train(&Surroundings::default(), Path::new("/bin/sh"), folder)
}

fn job(folder: &Path, script: &str) -> Job {
    Job {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        folder: folder.to_owned(),
        nice: 0,
        cores: None,
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
    for (name, way) in ways("exit codes") {
        let folder = tempfile::tempdir().unwrap();
        // 125 is the helper's own word for "could not start", so a command cannot have it.
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 125", 1), ("kill -9 $$", 137), ("kill -11 $$", 139)]
        {
            let (launcher, job) = confined(&way, folder.path(), script);
            let ended = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap();
            assert_eq!(ended.code, Some(code), "{name}: {script}: {}", ended.last_words);
        }
        let (launcher, job) = confined(&way, folder.path(), "echo so sorry >&2; exit 1");
        let ended = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap();
        assert_eq!(ended.last_words, "so sorry", "{name}");
        assert_eq!(std::fs::read_to_string(folder.path().join("log.txt")).unwrap(), "so sorry\n");
    }
}

/// An evaluation keeps its memory: where it lost it to a trial, its model would have to answer for that.
#[tokio::test]
async fn what_runs_beside_a_trial_keeps_to_its_cores_and_what_gives_way_is_the_first_to_go() {
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    for (nice, adjusted) in [(0, ours.trim()), (15, "500")] {
        for (name, way) in ways("beside a trial") {
            let folder = tempfile::tempdir().unwrap();
            let (launcher, job) = confined(&way, folder.path(), "nproc >&2; cat /proc/self/oom_score_adj >&2");
            let job = Job { cores: CoreSet::of(own_cores().unwrap().concat().pop()), nice, ..job };
            let ended = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap();
            let expected = format!("1\n{adjusted}");
            assert_eq!((ended.code, ended.last_words), (Some(0), expected), "{name}, niceness {nice}");
        }
    }
}

#[tokio::test]
async fn nothing_outlives_the_command_not_even_what_left_its_group() {
    let script =
        "setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 & sleep 1000) & sleep 1000' >/dev/null 2>&1 & sleep 0.2";
    for (name, way) in ways("what left its group") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), script);
        let ended = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.last_words);
        assert_none_left(folder.path());
    }
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_after_the_grace_period() {
    let script = "trap '' TERM; echo ready; while true; do sleep 1; done";
    for (name, way) in ways("SIGTERM ignored") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), script);
        let mut process = launcher.start(&job).await.unwrap();
        assert_eq!(process.line().await.unwrap().unwrap(), b"ready\n", "{name}");
        let ended = process.stop().await.unwrap();
        assert_eq!(ended.code, Some(137), "{name}: {}", ended.last_words);
        assert_none_left(folder.path());
    }
}

#[tokio::test]
async fn who_listens_to_sigterm_may_end_by_itself() {
    let script = "trap 'echo bye >&2; exit 3' TERM; echo ready; while true; do sleep 0.05; done";
    for (name, way) in ways("SIGTERM") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), script);
        // A grace period that a busy machine does not use up.
        let mut process = launcher.start(&Job { grace_seconds: 60.0, ..job }).await.unwrap();
        assert_eq!(process.line().await.unwrap().unwrap(), b"ready\n", "{name}");
        let ended = process.stop().await.unwrap();
        assert_eq!(ended.code, Some(3), "{name}: {}", ended.last_words);
        assert!(ended.last_words.ends_with("bye"), "{name}: {}", ended.last_words);
    }
}

#[tokio::test]
async fn endless_output_neither_blocks_nor_fills_the_disk() {
    let script = "head -c 30000000 /dev/zero | tr '\\0' 'x' >&2; head -c 3000000 /dev/zero; echo done >&2";
    for (name, way) in ways("endless output") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), script);
        let ended = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.last_words);
        assert!(ended.last_words.ends_with("done"), "{name}");
        let log = std::fs::metadata(folder.path().join("log.txt")).unwrap().len();
        assert!((10 << 20..(10 << 20) + 200).contains(&log), "{name}: the log has {log} bytes");
    }
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
    for (name, way) in ways("a missing program") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), "");
        let job = Job { program: "/no/such/program".into(), ..job };
        let error = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap_err().to_string();
        assert!(error.contains("/no/such/program"), "{name}: {error}");
        assert!(error.contains("No such file"), "{name}: {error}");
    }
}

#[tokio::test]
async fn what_a_policy_names_must_be_there() {
    for (name, way) in ways("a missing path") {
        if way.is_none() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), "exit 0");
        let mut policy = policy(folder.path());
        policy.read.push("/no/such/library".into());
        let job = Job { policy: Some(policy), ..job };
        let error = launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap_err().to_string();
        assert!(error.contains("/no/such/library"), "{name}: {error}");
    }
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

/// A process that names a lock, and ends with the test whatever becomes of that: it would hold its output open.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn of(folder: &Path) -> Sleeper {
        let sleeper =
            Sleeper(Command::new("sleep").arg("1000").env("NOCTURNE_RUN", folder.join("lock")).spawn().unwrap());
        // A new process has its own environment a moment after it is told to be there.
        let give_up = Instant::now() + PATIENCE;
        while alive(folder).is_empty() {
            assert!(Instant::now() < give_up, "it does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn leftovers_are_recognised_by_the_lock_and_by_nothing_else() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut left, mut other) = (Sleeper::of(ours.path()), Sleeper::of(theirs.path()));
    assert_eq!(launcher(ours.path()).end_leftovers().unwrap(), 1);
    assert!(!left.0.wait().unwrap().success());
    assert!(other.0.try_wait().unwrap().is_none());
}

/// The machine's confinements, with a control group where it has any.
fn confinements(test: &str) -> Vec<(String, Option<Confinement>)> {
    ways(test).into_iter().filter(|(_, way)| way.is_some()).collect()
}

async fn end_with(
    way: &Option<Confinement>,
    folder: &Path,
    script: &str,
    limit: impl FnOnce(&mut Policy),
) -> nocturne::run::process::Ended {
    let (launcher, job) = confined(way, folder, script);
    let mut policy = policy(folder);
    limit(&mut policy);
    let job = Job { policy: Some(policy), ..job };
    launcher.start(&job).await.unwrap().finish(PATIENCE).await.unwrap()
}

#[tokio::test]
async fn who_takes_more_memory_than_granted_is_ended_and_told() {
    // Each alone stays within the limit; `tail` keeps the last line, which is all of it.
    let script = "for i in 1 2 3 4 5 6; do (head -c 40000000 /dev/zero; sleep 1000) | tail -n 1 & done; wait";
    for (name, way) in confinements("memory") {
        let folder = tempfile::tempdir().unwrap();
        let ended = end_with(&way, folder.path(), script, |policy| policy.limits.memory_bytes = Some(150 << 20)).await;
        assert_eq!(ended.code, Some(137), "{name}: {}", ended.last_words);
        assert!(ended.last_words.contains("memory limit"), "{name}: {}", ended.last_words);
        assert_none_left(folder.path());
    }
}

#[tokio::test]
async fn who_fills_the_disk_is_ended_and_told() {
    // Files without names count as well.
    for script in [
        "for i in 1 2 3 4; do head -c 9000000 /dev/zero > $i; done; sleep 1000",
        "for i in 3 4 5 6; do eval \"exec $i>file\"; head -c 9000000 /dev/zero >&$i; rm file; done; sleep 1000",
    ] {
        for (name, way) in confinements("output") {
            let folder = tempfile::tempdir().unwrap();
            let ended = end_with(&way, folder.path(), script, |policy| policy.limits.output_bytes = 20 << 20).await;
            assert_eq!(ended.code, Some(153), "{name}: {script}: {}", ended.last_words);
            assert!(ended.last_words.contains("output limit"), "{name}: {}", ended.last_words);
        }
    }
    for (name, way) in confinements("file size") {
        let folder = tempfile::tempdir().unwrap();
        let ended = end_with(&way, folder.path(), "head -c 9000000 /dev/zero > file; echo $? >&2", |policy| {
            policy.limits.file_bytes = 1 << 20;
        })
        .await;
        let size = std::fs::metadata(folder.path().join("file")).unwrap().len();
        assert_eq!(size, 1 << 20, "{name}: {}", ended.last_words);
    }
}

#[tokio::test]
async fn a_fork_bomb_ends_in_time() {
    // Doubles eleven times and no further, so that a test that fails leaves the machine usable.
    let script =
        "bomb() { [ $1 -lt 11 ] && { bomb $(($1 + 1)) & bomb $(($1 + 1)) & }; sleep 100; }; echo started; bomb 0";
    for (name, way) in confinements("fork bomb") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, job) = confined(&way, folder.path(), script);
        let mut policy = policy(folder.path());
        policy.limits.tasks = 100;
        let mut process = launcher.start(&Job { policy: Some(policy), ..job }).await.unwrap();
        assert_eq!(process.line().await.unwrap().unwrap(), b"started\n", "{name}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let ended = process.stop().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        // 2: the shell itself gave up because it could start no more.
        assert!(matches!(ended.code, Some(2 | 124 | 137 | 143)), "{name}: {ended:?}");
        assert_none_left(folder.path());
    }
}

#[tokio::test]
async fn the_self_check_holds_and_can_fail() {
    for (name, way) in confinements("self-check") {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, _) = confined(&way, folder.path(), "");
        launcher.self_check(folder.path()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // Unconfined, everything succeeds and everything is named.
    let error = sandbox::try_out(Path::new(env!("CARGO_BIN_EXE_nocturne")), &Confinement::off()).unwrap_err();
    for word in ["read a file", "list a folder", "write outside", "TCP", "UDP", "abstract", "kill", "namespaces"] {
        assert!(error.contains(word), "{word} in {error}");
    }
    let setting = "/proc/sys/kernel/core_pattern";
    match std::fs::OpenOptions::new().write(true).open(setting) {
        Ok(_) => assert!(error.contains(setting), "{error}"),
        Err(why) => eprintln!("skipped: the_self_check_holds_and_can_fail: settings of the kernel: {why}"),
    }
}

#[tokio::test]
async fn groups_of_a_killed_helper_are_removed_with_what_is_in_them() {
    for (name, way) in confinements("left control groups") {
        if way.as_ref().is_none_or(|confinement| confinement.cgroup().is_none()) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        // Its environment no longer tells whose it is.
        let script = "echo up; exec env -i setsid sleep 1000";
        let (launcher, job) = confined(&way, folder.path(), script);
        let mut process = launcher.start(&job).await.unwrap();
        assert_eq!(process.line().await.unwrap().unwrap(), b"up\n", "{name}");
        for pid in alive(folder.path()) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            if command.windows(9).any(|word| word == b"supervise") {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
        launcher.end_leftovers().unwrap();
        // What was killed takes a moment to be gone, and counts until then.
        let mut left = 1;
        for _ in 0..200 {
            left = launcher.end_leftovers().unwrap();
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(left, 0, "{name}");
        process.stop().await.unwrap();
        let prefix = sandbox::group_prefix(&folder.path().join("lock").to_string_lossy());
        let cgroup = way.unwrap().cgroup().cloned().unwrap();
        assert_eq!(sandbox::end_groups(&cgroup, &prefix).unwrap(), 0);
    }
}
