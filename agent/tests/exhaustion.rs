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

/// When a job is told to end, seconds after it has said that it is ready.
const DEADLINE: f64 = 0.2;

/// Until it says so; much longer than that takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for kinds that end before, by a limit or of their own accord.
const LONG_DEADLINE: f64 = 20.0;

/// What it then has, seconds.
const GRACE: f64 = 0.2;

/// What may pass beyond both until everything is gone, seconds.
const BEYOND: f64 = 1.0;

/// The same where this machine is so slow that a job which does nothing takes [`SLOW`] right after: then it has other things to
/// do, and not what is tested takes the time.
const BEYOND_WHEN_SLOW: f64 = 5.0;

/// Seconds for a job that does nothing; usual are 0.1.
const SLOW: f64 = 0.5;

/// What this process may grow by while all of it runs, bytes.
const MOST_GROWTH: u64 = 50 << 20;

const MEMORY: u64 = 256 << 20;
const OUTPUT: u64 = 64 << 20;
const FILE: u64 = 48 << 20;
const TASKS: u64 = 64;

/// What may stand on the disk until somebody looks: writing is fast, looking is now and then, and on a machine that is busy besides later than
/// that (1.3 GB were seen). It is what campaigns leave free by `disk_reserve_gb = 2`.
const OVERSHOOT: u64 = 2 << 30;

/// A kind, where it writes, and how it ends.
type Kind = (&'static str, Where, Ends);

/// These only wait, so they are tried at the same time.
const QUIET: [Kind; 7] = [
    ("ignores-sigterm", Where::Output, Ends::Deadline),
    ("stops-itself", Where::Output, Ends::Deadline),
    ("daemon", Where::Output, Ends::Itself),
    ("daemon-that-stays", Where::Output, Ends::Deadline),
    ("descriptors", Where::Output, Ends::Refused),
    ("streams-in-flight", Where::Output, Ends::Itself),
    ("sparse-checkpoint", Where::Output, Ends::Itself),
];

/// These use up what there is, so they are tried one after the other.
const LOUD: [Kind; 17] = [
    ("fork-bomb", Where::Output, Ends::Deadline),
    ("thread-bomb", Where::Output, Ends::Refused),
    ("memory-hog", Where::Output, Ends::Limit),
    ("memory-hog-of-many", Where::Output, Ends::Limit),
    ("memory-of-files", Where::Output, Ends::Limit),
    ("output", Where::Output, Ends::Deadline),
    ("errors", Where::Output, Ends::Deadline),
    ("one-big-file", Where::Output, Ends::Refused),
    ("many-big-files", Where::Output, Ends::Limit),
    ("many-small-files", Where::Output, Ends::Limit),
    ("many-empty-files", Where::Output, Ends::Limit),
    ("deep-folders", Where::Output, Ends::Limit),
    ("closed-folder", Where::Output, Ends::Limit),
    ("hidden-file", Where::Output, Ends::Limit),
    ("big-file-in-tmp", Where::Shared("/tmp"), Ends::Refused),
    ("small-files-in-tmp", Where::Shared("/tmp"), Ends::Limit),
    ("big-file-in-shm", Where::Shared("/dev/shm"), Ends::Refused),
];

/// Of these a control group takes care, where there is one.
const COUNTED: [&str; 5] = ["fork-bomb", "thread-bomb", "memory-hog", "memory-hog-of-many", "memory-of-files"];

#[derive(Clone, Copy)]
enum Where {
    Output,
    Shared(&'static str),
}

/// What puts an end to a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing but the deadline.
    Deadline,
    /// It is refused more and says so, and then does not end before the deadline.
    Refused,
    /// A limit: it is killed long before the deadline, or refused more.
    Limit,
    /// It itself, and something that it leaves behind.
    Itself,
}

/// These tests fill the machine; one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn bubblewrap_contains_what_exhausts() {
    contains("bubblewrap_contains_what_exhausts", "bubblewrap", |_| true, |confinement| confinement).await;
}

#[tokio::test]
async fn own_namespaces_contain_what_exhausts() {
    contains("own_namespaces_contain_what_exhausts", "namespaces", |_| true, |confinement| confinement).await;
}

#[tokio::test]
async fn landlock_alone_contains_what_exhausts() {
    contains("landlock_alone_contains_what_exhausts", "landlock", |_| true, |confinement| confinement).await;
}

/// The helper must then do what the kernel does not.
#[tokio::test]
async fn no_control_groups_are_needed() {
    const NAME: &str = "no_control_groups_are_needed";
    if is_root() {
        contains(NAME, "landlock", |kind| COUNTED.contains(&kind), Confinement::without_cgroup).await;
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

async fn contains(test: &str, name: &str, kinds: impl Fn(&str) -> bool, change: impl Fn(Confinement) -> Confinement) {
    let Some(confinement) = mechanism(test, name).map(change) else { return };
    let _alone = ALONE.lock().await;
    // Programs, runtime and first allocations are not what is measured.
    Place::new(&confinement).greet().await;
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let wanted = |(kind, ..): &&Kind| kinds(kind) && std::env::var("ONLY_KIND").map_or(true, |only| only == *kind);
    let quiet = QUIET.iter().filter(wanted).map(|kind| contain(&confinement, *kind));
    let mut results = futures_util::future::join_all(quiet).await;
    for kind in LOUD.iter().filter(wanted) {
        results.push(contain(&confinement, *kind).await);
    }
    let growth = memory("VmHWM:").saturating_sub(before);
    let slowest = results.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    eprintln!(
        "{}, as {}: {} kinds, the slowest ({}) gone {:.2} s after its deadline and the grace of {GRACE} s; this process grew by \
         at most {:.1} MB",
        confinement.describe(),
        who(),
        results.len(),
        slowest.0,
        slowest.1,
        growth as f64 / 1e6
    );
    assert!(growth < MOST_GROWTH, "this process grew by {growth} bytes");
}

/// Runs a kind, and then a job that must run as if nothing had been. Returns how many seconds after deadline and grace everything
/// was gone.
async fn contain(confinement: &Confinement, (kind, target, ends): Kind) -> (&'static str, f64) {
    let place = Place::new(confinement);
    let (seconds, deadline) = place.contain(kind, target, ends).await;
    let idle = place.greet().await;
    let beyond = seconds - deadline - GRACE;
    let most = if idle > SLOW { BEYOND_WHEN_SLOW } else { BEYOND };
    assert!(beyond < most, "{kind} was gone {beyond:.2} s late; a job that does nothing takes {idle:.2} s");
    (kind, beyond)
}

/// Where the hostile programs run.
struct Place {
    folder: tempfile::TempDir,
    launcher: Launcher,
    mark: String,
}

impl Place {
    fn new(confinement: &Confinement) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(hostile(PROGRAM), folder.path().join("trainer")).unwrap();
        let launcher = Launcher::new(nocturne(), &folder.path().join("lock"), confinement.clone());
        let mark = format!("mark-{}", folder.path().file_name().unwrap().to_str().unwrap());
        Self { folder, launcher, mark }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn job(&self, kind: &str, target: Where) -> Job {
        let output = self.output();
        nocturne::files::remove_folder(&output).unwrap();
        fs::create_dir(&output).unwrap();
        let surroundings = Surroundings { memory_bytes: Some(MEMORY), ..Surroundings::default() };
        let mut policy = Policy::train(&surroundings, &self.folder.path().join("trainer"), &output);
        policy.limits.tasks = TASKS;
        policy.limits.file_bytes = FILE;
        // Empty files are made no faster than others.
        policy.limits.output_bytes = if kind == "many-empty-files" { OUTPUT / 16 } else { OUTPUT };
        let folder = match target {
            Where::Output => output.to_str().unwrap().to_owned(),
            Where::Shared(folder) => folder.to_owned(),
        };
        let mut environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let counted = self.launcher.confinement().cgroup().is_some() || !is_root();
        environment.extend((!counted).then(|| ("UNCOUNTED".to_owned(), "yes".to_owned())));
        Job {
            program: self.folder.path().join("trainer"),
            arguments: vec![kind.to_owned(), folder, self.mark.clone()],
            environment,
            folder: output,
            nice: 0,
            cores: None,
            grace_seconds: GRACE,
            log: self.folder.path().join("log.txt"),
            policy: Some(policy),
        }
    }

    /// A job that does nothing runs as if nothing had been. Returns how many seconds it took.
    async fn greet(&self) -> f64 {
        let began = Instant::now();
        let mut process = self.launcher.start(&self.job("hello", Where::Output)).await.unwrap();
        let line = process.line().await.unwrap();
        let ended = process.finish(Duration::from_secs(60)).await.unwrap();
        assert_eq!((line.as_deref(), ended.code), (Some(&b"ready\n"[..]), Some(0)), "{}", ended.last_words);
        began.elapsed().as_secs_f64()
    }

    /// Runs a kind until its deadline. Returns after how many seconds everything was gone, and the deadline.
    async fn contain(&self, kind: &str, target: Where, ends: Ends) -> (f64, f64) {
        let deadline = if matches!(ends, Ends::Limit | Ends::Itself) { LONG_DEADLINE } else { DEADLINE };
        let free_before = free(target, self.folder.path());
        let job = self.job(kind, target);
        let mut process = self.launcher.start(&job).await.unwrap();
        let mut said: Vec<String> = Vec::new();
        // The time counts from its beginning on: a busy machine may take long until then.
        if let Ok(Ok(Some(line))) = tokio::time::timeout(PATIENCE, process.line()).await {
            said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        let began = Instant::now();
        let talk = async {
            // A line without end is an error; a trial that sees one stops the trainer.
            while let Ok(Some(line)) = process.line().await {
                said.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                if ends == Ends::Limit && said.last().is_some_and(|line| line.starts_with("refused")) {
                    break;
                }
            }
        };
        let early = tokio::time::timeout(Duration::from_secs_f64(deadline), talk).await.is_ok();
        let ended = process.stop().await;
        let seconds = began.elapsed().as_secs_f64();

        let ended = ended.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(said.first().map(String::as_str), Some("ready"), "{kind}: {said:?} {}", ended.last_words);
        let escaped = said.iter().find(|line| line.starts_with("ESCAPED"));
        assert_eq!(escaped, None, "{kind}");
        let left = [&self.mark, self.folder.path().to_str().unwrap()].map(processes_with);
        assert!(left.iter().all(Vec::is_empty), "{kind}: still there: {left:?}");
        let log = fs::metadata(&job.log).unwrap().len();
        assert!(log < MAX_LOG_BYTES + 200, "{kind}: the log has {log} bytes");
        let (files, largest) = sizes(&self.output());
        assert!(largest <= FILE, "{kind}: a file of {largest} bytes");
        assert!(files < OUTPUT + OVERSHOOT, "{kind}: {files} bytes in the output");
        nocturne::files::remove_folder(&self.output()).unwrap();
        self.nothing_left_in_shared_folders(kind, target, free_before);
        let refused = said.iter().any(|line| line.starts_with("refused"));
        let as_it_should = match ends {
            Ends::Deadline => true,
            // A slow machine may not have come that far.
            Ends::Refused => refused || said.len() == 1,
            Ends::Limit => refused || early,
            Ends::Itself => early,
        };
        assert!(as_it_should, "{kind} ended with {:?} after {seconds:.2} s, having said {said:?}", ended.code);
        eprintln!(
            "  {kind}: gone after {seconds:.2} s with {:?}, {files} bytes of files left; {:?}",
            ended.code,
            said.get(1)
        );
        (seconds, deadline)
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

/// Bytes of all files below a folder together, and of the largest. Not by recursion: folders may be nested deeper than a thread has
/// stack.
fn sizes(folder: &Path) -> (u64, u64) {
    let (mut sum, mut most) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                sum += metadata.len();
                most = most.max(metadata.len());
            }
        }
    }
    (sum, most)
}

/// A line of this process's status, bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
