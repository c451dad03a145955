//! The red team: known cheats, run against the evaluator before a night begins. If one of them passes, or an honest model
//! does not, no figure of that night could be trusted, and the night does not start.
//!
//! Cheats of two kinds: texts that the policy on edits must refuse, and models (the trainer package's second binary,
//! `redteam`) that are trained and evaluated like any experiment, in the same sandbox, on a small share of the held-out rows.
//! A cheat must be caught by the check that is meant for it: one that fails for another reason has proved nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Budget, Precision, Setting};
use tokio::task::JoinSet;

use super::device::{Chosen, NotUsableInside};
use super::live::Watcher;
use super::making::MOST_START_SECONDS;
use super::opening::Opening;
use super::workbench::{Subject, Workbench};
use crate::build::{Builder, Order};
use crate::edit::Policy;
use crate::flow::{CommitId, SourceFile, TrialEnd};
use crate::hash::sha256_file;
use crate::layout::Layout;
use crate::records::OpeningStage;
use crate::repo::Repo;
use crate::run::StopSignal;
use crate::seeds;
use crate::terminal::{Notice, Unit};

/// Held-out rows that the red team is measured on; a multiple of the evaluation's batch.
const ROWS: usize = 32;

/// Longest rows: longer ones prove nothing more and cost time.
const MOST_CONTEXT: usize = 256;

/// Cuts of each audit.
const CUTS: usize = 64;

/// Models trained and evaluated side by side, one thread each.
const AT_ONCE: usize = 2;

/// Says, in the red team's folder, what it passed on.
const PASSED: &str = "passed.txt";

/// One model of the red team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// What it does.
    pub name: &'static str,
    /// The checks that may catch it; none for the honest one.
    pub caught_by: &'static [&'static str],
}

const AUDIT: &[&str] = &["audit-largest", "audit-mean"];

/// All models of the red team. A model's place is the seed, modulo their number, from which `redteam` builds it.
pub const MODELS: [Model; 9] = [
    Model { name: "an honest model", caught_by: &[] },
    Model { name: "a model that looks at the next token", caught_by: AUDIT },
    Model { name: "a model that uses the mean over the row", caught_by: AUDIT },
    Model { name: "a model that looks at the other rows of its batch", caught_by: AUDIT },
    Model { name: "a model that looks ahead at one token in two hundred", caught_by: AUDIT },
    Model { name: "a model whose logits are not numbers", caught_by: &["finite"] },
    Model { name: "a model that answers from what it was asked before", caught_by: AUDIT },
    Model { name: "a model that ignores its seed", caught_by: &["seeds"] },
    Model { name: "a model that answers differently each time", caught_by: AUDIT },
];

/// Texts that the policy on edits must refuse, and what each is.
const TEXTS: [(&str, &str); 8] = [
    ("a file read at compile time", "pub const X: &str = include_str!(\"/etc/passwd\");\n"),
    ("a module from elsewhere", "#[path = \"/tmp/x.rs\"]\npub mod x;\n"),
    ("unsafe code", "pub fn x(p: *const u8) -> u8 {\n    unsafe { *p }\n}\n"),
    ("a file read at run time", "pub fn x() -> bool {\n    std::fs::read(\"/etc/passwd\").is_ok()\n}\n"),
    ("a process", "pub fn x() -> bool {\n    std::process::Command::new(\"sh\").status().is_ok()\n}\n"),
    ("a socket", "pub fn x() -> bool {\n    std::net::TcpStream::connect(\"127.0.0.1:1\").is_ok()\n}\n"),
    ("a thread", "pub fn x() {\n    std::thread::spawn(|| {});\n}\n"),
    ("a foreign function", "unsafe extern \"C\" {\n    pub fn system(command: *const u8) -> i32;\n}\n"),
];

/// Why a night does not start.
#[derive(Debug, thiserror::Error)]
pub enum RedTeamError {
    /// A cheat got through, or honest work did not.
    #[error(
        "the night does not start, because its figures could not be trusted: {what}. The fault lies in Nocturne or in changes \
         under trainer/harness, not in the campaign; the logs are in {}", folder.display()
    )]
    Untrustworthy {
        /// What got through.
        what: String,
        /// Where the red team's files lie.
        folder: PathBuf,
    },
    /// There is nothing to try, and nothing to train.
    #[error(
        "the night's start {start} does not build: {errors}\nmend it and commit, then run the night again; cargo's own words are in {}",
        log.display()
    )]
    DoesNotBuild {
        /// The commit.
        start: CommitId,
        /// The compiler's first errors.
        errors: String,
        /// Cargo's standard error.
        log: PathBuf,
    },
    /// The device does not work in the sandbox.
    #[error(transparent)]
    Device(#[from] NotUsableInside),
    /// The machine is at fault.
    #[error("the red team could not be run: {0}")]
    Machine(String),
    /// The person stopped it.
    #[error("stopped")]
    Stopped,
}

/// Where the red team's files lie.
fn folder(layout: &Layout) -> PathBuf {
    layout.state().join("redteam")
}

/// The trainer of the night's start, which [`before_the_night`] builds.
pub(super) fn start(layout: &Layout) -> PathBuf {
    folder(layout).join("trainer")
}

/// Builds the night's start, and with it the red team, and runs that. A night that is gone on with is not tried again as long as nothing has changed that was tried: evaluator, cheats,
/// sandbox, kernel since its start. Each device is tried in the sandbox, the evaluator on the first.
///
/// # Errors
/// See [`RedTeamError`].
pub(super) async fn before_the_night(
    layout: &Layout,
    (workbench, devices): (&Workbench, &[Chosen]),
    builder: &Builder,
    start: &CommitId,
    resumed: bool,
    opening: &mut Opening,
    watcher: &mut dyn Watcher,
) -> Result<(), RedTeamError> {
    let folder = folder(layout);
    let passed = std::fs::read_to_string(folder.join(PASSED)).ok();
    fresh_folder(&folder).map_err(|error| machine(&format!("cannot empty {}", folder.display()), &error))?;
    // Never sent: until the night has begun, Ctrl-C ends this program, and with it everything it started.
    let (_never, stop) = tokio::sync::watch::channel(false);
    watcher.notice(&Notice::Stage { text: "Building the trainer and the red team".to_owned() });
    let order = Order {
        executable: &self::start(layout),
        log: &folder.join("build.log"),
        beside: None,
        most_seconds: MOST_START_SECONDS,
    };
    let (root, commit) = (layout.root().to_owned(), start.clone());
    let export = move |to: &Path| {
        let exported = Repo::discover(&root).and_then(|repo| repo.export(&commit, to));
        exported.map(drop).map_err(|error| error.to_string())
    };
    match builder.build_start(order, export, stop.clone()).await {
        Ok(Ok(_)) => {}
        Ok(Err(failure)) => {
            let log = folder.join("build.log");
            return Err(RedTeamError::DoesNotBuild { start: start.clone(), errors: failure.errors.join("\n"), log });
        }
        Err(error) => return Err(machine("the trainer cannot be built", &error)),
    }
    opening.ends(OpeningStage::Building);
    for device in devices {
        super::device::try_inside(workbench, device, &self::start(layout), &folder).await?;
    }
    let tried = what_is_tried(workbench, &builder.red_team())
        .map_err(|error| machine("cannot tell what the red team is tried on", &error))?;
    let record = || {
        let file = folder.join(PASSED);
        std::fs::write(&file, &tried).map_err(|error| machine(&format!("cannot write {}", file.display()), &error))
    };
    if resumed && passed.as_ref() == Some(&tried) {
        opening.ends(OpeningStage::RedTeam);
        return record();
    }
    let what = "Trying known cheats on the evaluator";
    let began = std::time::Instant::now();
    run(workbench, &Policy::default(), &builder.red_team(), &folder, stop, |done, of| {
        let (done, total) = (done as u64, Some(of as u64));
        watcher.notice(&Notice::Progress { what: what.to_owned(), done, total, unit: Unit::Things("models") });
    })
    .await?;
    opening.ends(OpeningStage::RedTeam);
    let text = format!(
        "Red team: {} cheating models and {} forbidden edits were stopped, each by the check meant for it, in {:.0} s",
        MODELS.len() - 1,
        TEXTS.len(),
        began.elapsed().as_secs_f64()
    );
    watcher.notice(&Notice::Stage { text });
    record()
}

/// All that the red team's passing depends on, in words.
fn what_is_tried(workbench: &Workbench, executable: &Path) -> std::io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let (evaluator, cheats) = (&workbench.evaluator_sha256, sha256_file(executable)?);
    let sandbox = workbench.launcher.confinement().describe();
    let (setting, data) = (&workbench.setting, workbench.held_out.sha256());
    let libraries = &workbench.surroundings.libraries;
    Ok(format!(
        "evaluator {evaluator}\ncheats {cheats}\nsandbox {sandbox}\nsetting {setting:?}\ndata {data}\nlibraries {libraries:?}\n\
         boot {}\n",
        boot.trim()
    ))
}

/// Tries the policy on edits and the evaluator. `executable` is `redteam`; its files go to `folder`.
/// `done` hears how many models are through.
///
/// # Errors
/// See [`RedTeamError`].
pub async fn run(
    workbench: &Workbench,
    policy: &Policy,
    executable: &Path,
    folder: &Path,
    stop: StopSignal,
    mut done: impl FnMut(usize, usize),
) -> Result<(), RedTeamError> {
    let untrustworthy = |what: String| RedTeamError::Untrustworthy { what, folder: folder.to_owned() };
    if let Some(passed) = first_text_accepted(policy) {
        return Err(untrustworthy(format!("the policy on edits accepts {passed}")));
    }
    let sha256 =
        sha256_file(executable).map_err(|error| machine(&format!("cannot read {}", executable.display()), &error))?;
    let bench = Arc::new(small(workbench).map_err(RedTeamError::Machine)?);
    let member = |index: usize, reference: Option<Vec<f32>>| {
        let (bench, stop) = (Arc::clone(&bench), stop.clone());
        let (executable, sha256) = (executable.to_owned(), sha256.clone());
        let folder = folder.join(index.to_string());
        async move { (index, measure(&bench, index, executable, sha256, folder, reference, stop).await) }
    };

    // The honest one first: its claim is what a cheat's is compared with, as a champion's is with a candidate's.
    let (_, honest) = member(0, None).await;
    let (caught, claim) = honest?;
    if let Some((check, evidence)) = caught {
        return Err(untrustworthy(format!("the evaluator rejects an honest model (check {check}: {evidence})")));
    }
    done(1, MODELS.len());

    let mut waiting = 1..MODELS.len();
    let mut running = JoinSet::new();
    for index in waiting.by_ref().take(AT_ONCE) {
        running.spawn(member(index, Some(claim.clone())));
    }
    let mut through = 1;
    while let Some(ended) = running.join_next().await {
        let (index, result) = ended.map_err(|error| machine("a task failed", &error))?;
        let (caught, _) = result?;
        judge(&MODELS[index], caught.as_ref()).map_err(untrustworthy)?;
        through += 1;
        done(through, MODELS.len());
        if let Some(index) = waiting.next() {
            running.spawn(member(index, Some(claim.clone())));
        }
    }
    Ok(())
}

fn machine(what: &str, error: &dyn std::fmt::Display) -> RedTeamError {
    RedTeamError::Machine(format!("{what}: {error}"))
}

/// Whether a cheat was caught by what is meant to catch it. Pure.
fn judge(model: &Model, caught: Option<&(String, String)>) -> Result<(), String> {
    match caught {
        None => Err(format!("the evaluator vouches for {}", model.name)),
        Some((check, _)) if model.caught_by.contains(&check.as_str()) => Ok(()),
        Some((check, evidence)) => Err(format!(
            "{} was stopped by the check {check} ({evidence}), not by {}, so nobody knows whether that one works",
            model.name,
            model.caught_by.join(" or ")
        )),
    }
}

/// The first of [`TEXTS`] that the policy does not refuse.
fn first_text_accepted(policy: &Policy) -> Option<&'static str> {
    let path = policy.paths.first().cloned().unwrap_or_default();
    TEXTS.iter().find_map(|(what, text)| {
        let file = SourceFile { path: path.clone(), text: (*text).to_owned() };
        policy.check_file(&file).is_ok().then_some(*what)
    })
}

fn fresh_folder(folder: &Path) -> std::io::Result<()> {
    crate::files::remove_folder(folder)?;
    std::fs::create_dir_all(folder)
}

/// The night's workbench with fewer and shorter rows, on the CPU: what is tried is the evaluator, not the device. The
/// tolerance stays the night's own: a GPU's is wider, and a cheat that hides in it would pass all night.
fn small(workbench: &Workbench) -> Result<Workbench, String> {
    let context = workbench.setting.context.min(MOST_CONTEXT);
    let held_out = workbench.held_out.share(ROWS, context).ok_or("there are no held-out rows")?;
    let setting = Setting {
        context,
        device: "cpu".to_owned(),
        precision: Precision::Fp32,
        threads: 1,
        ..workbench.setting.clone()
    };
    Ok(Workbench { setting, held_out: Arc::new(held_out), cuts: CUTS, ..workbench.clone() })
}

/// Trains one model for one step and has it evaluated: the check that caught it with its evidence, and its claim.
async fn measure(
    bench: &Workbench,
    index: usize,
    executable: PathBuf,
    sha256: String,
    folder: PathBuf,
    reference: Option<Vec<f32>>,
    stop: StopSignal,
) -> Result<(Option<(String, String)>, Vec<f32>), RedTeamError> {
    let name = MODELS[index].name;
    let subject = Subject { executable, sha256, folder };
    subject.create_folders().map_err(|error| machine("cannot create its folder", &error))?;
    let models = MODELS.len() as u64;
    // A model's place among them follows from its seed, wherever it is built.
    let seed = || -> Result<u64, RedTeamError> {
        let drawn = seeds::random().map_err(|error| machine("cannot draw a seed", &error))?;
        Ok(drawn / models / 2 * models + index as u64)
    };
    let trial = bench.trial(&subject, seed()?, Budget::Tokens(1), 10.0, 120.0);
    let trained = crate::run::train(&bench.launcher, &trial, stop.clone(), crate::run::not_early(), |_| {})
        .await
        .map_err(|error| machine(&format!("{name} could not be trained"), &error))?;
    let checkpoint = match (&trained.end, trained.checkpoint_sha256) {
        (TrialEnd::Finished, Some(sha256)) => sha256,
        (TrialEnd::Stopped, _) => return Err(RedTeamError::Stopped),
        (end, _) => return Err(RedTeamError::Machine(format!("{name} could not be trained: {end:?}"))),
    };
    let mut spec = bench
        .evaluation(&subject, checkpoint, Arc::clone(&bench.held_out), reference)
        .map_err(|error| machine(&format!("{name} could not be evaluated"), &error))?;
    spec.weight_seeds = [seed()?, seed()?];
    let evaluated = crate::verify::evaluate(&bench.launcher, &spec, stop, |_, _| {})
        .await
        .map_err(|error| machine(&format!("{name} could not be evaluated"), &error))?;
    match evaluated.outcome {
        Err(rejected) => Ok((Some((rejected.check, rejected.evidence)), Vec::new())),
        Ok(_) => {
            let claim = crate::verify::read_claim(&spec.claim, spec.held_out.bytes().len())
                .map_err(|error| machine(&format!("cannot read the claim of {name}"), &error))?;
            Ok((None, claim))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cheat_must_be_caught_and_by_the_check_meant_for_it() {
        let caught = |check: &str| Some((check.to_owned(), "why".to_owned()));
        let cheat = MODELS[1];
        assert_eq!(judge(&cheat, caught("audit-largest").as_ref()), Ok(()));
        assert!(judge(&cheat, caught("claim").as_ref()).unwrap_err().contains("nobody knows"));
        assert!(judge(&cheat, None).unwrap_err().contains("vouches for a model that looks at the next token"));
    }

    #[test]
    fn the_policy_refuses_every_text_and_a_policy_that_does_not_is_noticed() {
        assert_eq!(first_text_accepted(&Policy::default()), None);
        for (_, text) in TEXTS {
            let honest = SourceFile { path: "x.rs".to_owned(), text: "pub fn x() -> u8 {\n    1\n}\n".to_owned() };
            assert_eq!(Policy::default().check_file(&honest), Ok(()));
            assert!(text.ends_with('\n'), "a text must be refused for what it does, not for its form");
        }
    }
}
