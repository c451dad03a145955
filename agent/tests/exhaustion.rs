//! Programs that use up whatever they run on, or do not end, in a sandbox: each is gone in time with everything that it
//! started, leaves no more on the disk than it may, does not swell the agent, and the next job runs.
//!
//! The limits here are small (64 processes, 256 MiB of memory, 64 MiB of files), so that a sandbox that fails does not take the
//! machine with it; the programs stop by themselves at bounds not much larger.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod confined;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use confined::outside::processes_with;
use confined::{hostile, is_root, mechanism, nocturne, run_again_as_an_ordinary_user, who};
use nocturne::run::process::MAX_LOG_BYTES;
use nocturne::run::{Job, Launcher};
use sandbox::{Confinement, Policy, Surroundings};

const PROGRAM: &str = "exhaust";

/// When a job is told to end, seconds after its start.
const DEADLINE: f64 = 0.3;

/// What it then has, seconds.
const GRACE: f64 = 0.2;

/// What may pass beyond both until everything is gone, seconds.
const BEYOND: f64 = 1.0;

/// The same where this machine has more to do than it has processors for; a person's clock is not what is tested then.
const BEYOND_UNDER_LOAD: f64 = 5.0;

/// What this process may grow by while all of it runs, bytes.
const MOST_GROWTH: u64 = 50 << 20;

const MEMORY: u64 = 256 << 20;
const OUTPUT: u64 = 64 << 20;
const FILE: u64 = 48 << 20;
const TASKS: u64 = 64;

/// What may stand on the disk until somebody looks: writing is fast, looking is now and then.
const OVERSHOOT: u64 = 1 << 30;

/// What each kind does, and where it writes.
const KINDS: [(&str, Where); 21] = [
    ("ignores-sigterm", Where::Output),
    ("stops-itself", Where::Output),
    ("daemon", Where::Output),
    ("daemon-that-stays", Where::Output),
    ("fork-bomb", Where::Output),
    ("thread-bomb", Where::Output),
    ("memory-hog", Where::Output),
    ("memory-hog-of-many", Where::Output),
    ("memory-of-files", Where::Output),
    ("descriptors", Where::Output),
    ("output", Where::Output),
    ("errors", Where::Output),
    ("streams-in-flight", Where::Output),
    ("one-big-file", Where::Output),
    ("many-big-files", Where::Output),
    ("many-small-files", Where::Output),
    ("sparse-checkpoint", Where::Output),
    ("hidden-file", Where::Output),
    ("big-file-in-tmp", Where::Shared("/tmp")),
    ("small-files-in-tmp", Where::Shared("/tmp")),
    ("big-file-in-shm", Where::Shared("/dev/shm")),
];

#[derive(Clone, Copy)]
enum Where {
    Output,
    Shared(&'static str),
}

/// These tests fill the machine; one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn bubblewrap_contains_what_exhausts() {
    contains("bubblewrap_contains_what_exhausts", "bubblewrap", |confinement| confinement).await;
}

#[tokio::test]
async fn own_namespaces_contain_what_exhausts() {
    contains("own_namespaces_contain_what_exhausts", "namespaces", |confinement| confinement).await;
}

#[tokio::test]
async fn landlock_alone_contains_what_exhausts() {
    contains("landlock_alone_contains_what_exhausts", "landlock", |confinement| confinement).await;
}

/// The helper must then do what the kernel does not.
#[tokio::test]
async fn no_control_groups_are_needed() {
    const NAME: &str = "no_control_groups_are_needed";
    if is_root() {
        contains(NAME, "landlock", Confinement::without_cgroup).await;
    } else {
        confined::skipped(NAME, "the other tests have no control groups then");
    }
}

#[tokio::test]
async fn all_of_this_as_an_ordinary_user() {
    // Its own runs take turns; this one must not disturb those of root.
    let _alone = ALONE.lock().await;
    run_again_as_an_ordinary_user("all_of_this_as_an_ordinary_user", PROGRAM);
}

async fn contains(test: &str, name: &str, change: impl Fn(Confinement) -> Confinement) {
    let Some(confinement) = mechanism(test, name).map(change) else { return };
    let _alone = ALONE.lock().await;
    let place = Place::new(confinement);
    place.greet().await;
    let only = std::env::var("ONLY_KIND").ok();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let mut slowest = ("", 0.0);
    for (kind, target) in KINDS.iter().filter(|(kind, _)| only.as_ref().is_none_or(|only| only == kind)) {
        let seconds = place.contain(kind, *target).await;
        if seconds > slowest.1 {
            slowest = (kind, seconds);
        }
        place.greet().await;
    }
    let growth = memory("VmHWM:").saturating_sub(before);
    eprintln!(
        "{}, as {}: {} kinds, the slowest ({}) gone {:.2} s after the deadline of {DEADLINE} s and the grace of {GRACE} s; this \
         process grew by at most {:.1} MB",
        place.launcher.confinement().describe(),
        who(),
        KINDS.len(),
        slowest.0,
        slowest.1 - DEADLINE - GRACE,
        growth as f64 / 1e6
    );
    assert!(growth < MOST_GROWTH, "this process grew by {growth} bytes");
}

/// Where the hostile programs run.
struct Place {
    folder: tempfile::TempDir,
    launcher: Launcher,
    mark: String,
}

impl Place {
    fn new(confinement: Confinement) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(hostile(PROGRAM), folder.path().join("trainer")).unwrap();
        let launcher = Launcher::new(nocturne(), &folder.path().join("lock"), confinement);
        let mark = format!("mark-{}", folder.path().file_name().unwrap().to_str().unwrap());
        Self { folder, launcher, mark }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn job(&self, kind: &str, target: Where) -> Job {
        let output = self.output();
        let _first = fs::remove_dir_all(&output);
        fs::create_dir(&output).unwrap();
        let surroundings = Surroundings { memory_bytes: Some(MEMORY), ..Surroundings::default() };
        let mut policy = Policy::train(&surroundings, &self.folder.path().join("trainer"), &output);
        policy.limits.tasks = TASKS;
        policy.limits.file_bytes = FILE;
        policy.limits.output_bytes = OUTPUT;
        let folder = match target {
            Where::Output => output.to_str().unwrap().to_owned(),
            Where::Shared(folder) => folder.to_owned(),
        };
        Job {
            program: self.folder.path().join("trainer"),
            arguments: vec![kind.to_owned(), folder, self.mark.clone()],
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            folder: output,
            nice: 0,
            grace_seconds: GRACE,
            log: self.folder.path().join("log.txt"),
            policy: Some(policy),
        }
    }

    /// The next job runs as if nothing had been.
    async fn greet(&self) {
        let mut process = self.launcher.start(&self.job("hello", Where::Output)).await.unwrap();
        let line = process.line().await.unwrap();
        let ended = process.finish(Duration::from_secs(60)).await.unwrap();
        assert_eq!((line.as_deref(), ended.code), (Some(&b"ready\n"[..]), Some(0)), "{}", ended.last_words);
    }

    /// Runs a kind until its deadline and returns after how many seconds everything was gone.
    async fn contain(&self, kind: &str, target: Where) -> f64 {
        let free_before = free(target, self.folder.path());
        let job = self.job(kind, target);
        let began = Instant::now();
        let mut process = self.launcher.start(&job).await.unwrap();
        let mut said = Vec::new();
        let talk = async {
            // A line without end is an error; a trial that sees one stops the trainer.
            while let Ok(Some(line)) = process.line().await {
                said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        };
        let _deadline = tokio::time::timeout(Duration::from_secs_f64(DEADLINE), talk).await;
        let ended = process.stop().await;
        let seconds = began.elapsed().as_secs_f64();

        let ended = ended.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(said.first().map(String::as_str), Some("ready"), "{kind}: {said:?} {}", ended.last_words);
        let escaped: Vec<_> = said.iter().filter(|line| line.starts_with("ESCAPED")).collect();
        assert!(escaped.is_empty(), "{kind}: {escaped:?}");
        let left = [&self.mark, self.folder.path().to_str().unwrap()].map(processes_with);
        assert!(left.iter().all(Vec::is_empty), "{kind}: still there: {left:?}");
        let log = fs::metadata(&job.log).unwrap().len();
        assert!(log < MAX_LOG_BYTES + 200, "{kind}: the log has {log} bytes");
        let (files, largest) = sizes(&self.output());
        assert!(largest <= FILE, "{kind}: a file of {largest} bytes");
        assert!(files < OUTPUT + OVERSHOOT, "{kind}: {files} bytes in the output");
        self.nothing_left_in_shared_folders(kind, target, free_before);
        let beyond = if overloaded() { BEYOND_UNDER_LOAD } else { BEYOND };
        assert!(seconds < DEADLINE + GRACE + beyond, "{kind} was gone only after {seconds:.2} s");
        eprintln!("  {kind}: gone after {seconds:.2} s, {} bytes left; {:?}, {:?}", files, said.get(1), ended.code);
        seconds
    }

    fn nothing_left_in_shared_folders(&self, kind: &str, target: Where, free_before: u64) {
        if let Where::Shared(folder) = target {
            for name in ["big", "0"] {
                let path = Path::new(folder).join(name);
                assert!(!path.exists(), "{kind} left {}", path.display());
            }
            let taken = free_before.saturating_sub(free(target, self.folder.path()));
            assert!(taken < OVERSHOOT, "{kind} took {taken} bytes of {folder}");
        }
    }
}

/// Bytes that are free where a kind writes.
fn free(target: Where, otherwise: &Path) -> u64 {
    let path = match target {
        Where::Output => otherwise,
        Where::Shared(folder) => Path::new(folder),
    };
    rustix::fs::statvfs(path).map_or(0, |facts| facts.f_bavail * facts.f_frsize)
}

/// Bytes of all files below a folder together, and of the largest.
fn sizes(folder: &Path) -> (u64, u64) {
    let (mut sum, mut most) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let metadata = entry.metadata().unwrap();
        let (all, largest) = if metadata.is_dir() { sizes(&entry.path()) } else { (metadata.len(), metadata.len()) };
        sum += all;
        most = most.max(largest);
    }
    (sum, most)
}

/// A line of this process's status, bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Whether more wants to run than there are processors for, over the last minute.
fn overloaded() -> bool {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    load > 1.5 * std::thread::available_parallelism().unwrap().get() as f64
}
