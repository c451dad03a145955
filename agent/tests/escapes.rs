//! A hostile program in every stage's sandbox, under every mechanism of this machine, as root and as an ordinary user: nothing
//! that it tries succeeds. The same program unconfined shows that the attempts are real.
//!
//! What *held* means: nothing secret was read, nothing outside was changed, nothing arrived outside, no process outside was
//! disturbed, no privilege was gained, and nothing was left behind. Landlock alone has no namespaces and knows nothing of modes
//! and times: what it cannot hold by its nature is named in [`WITHOUT_NAMESPACES`].
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod confined;

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use confined::compiler;
use confined::outside::Outside;
use confined::{hostile, mechanism, nocturne, run_again_as_an_ordinary_user, who};
use nocturne::run::{Job, Launcher};
use nocturne::setup;
use sandbox::{Confinement, Level, Policy, Stage};

const PROGRAM: &str = "escape";

/// No stage may have fewer attempts than this.
const LEAST: usize = 30;

/// What landlock alone does not hold, in which stage, and why.
const WITHOUT_NAMESPACES: [(&str, Option<Stage>, &str); 8] = [
    ("stat-home", None, "landlock does not hide that a file exists"),
    ("proc-cmdline", None, "nor that a process does, and how it was called"),
    ("proc-of-the-machine", None, "as above"),
    (
        "change-mode",
        Some(Stage::Build),
        "a linker makes its output executable by name, and landlock does not look at modes",
    ),
    ("change-mode-by-the-newest-call", Some(Stage::Build), "as above"),
    ("change-time", Some(Stage::Build), "cargo sets times by name"),
    ("mode-of-a-readable-file", Some(Stage::Build), "copying sets the copy's mode"),
    ("time-of-a-readable-file", Some(Stage::Build), "as above"),
];

#[tokio::test]
async fn nothing_gets_out_of_bubblewrap() {
    nothing_gets_out("nothing_gets_out_of_bubblewrap", "bubblewrap").await;
}

#[tokio::test]
async fn nothing_gets_out_of_own_namespaces() {
    nothing_gets_out("nothing_gets_out_of_own_namespaces", "namespaces").await;
}

#[tokio::test]
async fn nothing_gets_out_of_landlock_alone() {
    nothing_gets_out("nothing_gets_out_of_landlock_alone", "landlock").await;
}

#[test]
fn all_of_this_as_an_ordinary_user() {
    run_again_as_an_ordinary_user("all_of_this_as_an_ordinary_user", PROGRAM);
}

async fn nothing_gets_out(test: &str, name: &str) {
    let Some(confinement) = mechanism(test, name) else { return };
    // With devices, as on a machine with a GPU, more of /proc and /sys is granted.
    let all = [
        (Stage::Build, false),
        (Stage::Train, false),
        (Stage::Serve, false),
        (Stage::Train, true),
        (Stage::Serve, true),
    ];
    for (stage, devices) in all {
        let mut outside = Outside::new(&hostile(PROGRAM));
        let mut policy = outside.policy(stage, |_| {});
        policy.devices.extend(devices.then(|| "/dev/null".into()));
        let lines = attempt_all(&outside, &confinement, policy).await;
        let mut escaped = outside.judge(&lines);
        if confinement.level() == Level::Landlock {
            let known = |name: &str| {
                WITHOUT_NAMESPACES.iter().any(|(known, of, _)| name == *known && of.is_none_or(|of| of == stage))
            };
            escaped.retain(|(name, _)| !known(name));
        }
        assert!(escaped.is_empty(), "{name}, {stage:?}, devices: {devices}, as {}: {escaped:#?}", who());
        assert!(lines.iter().all(|line| !line.ends_with(" skipped")), "{lines:#?}");
        assert!(lines.len() >= LEAST, "only {} attempts", lines.len());
        let with = if devices { " with a device" } else { "" };
        eprintln!("{name}, {stage:?}{with}, as {}: {} attempts, none succeeded", who(), lines.len());
    }
}

/// Runs the hostile program in a stage's sandbox.
async fn attempt_all(outside: &Outside, confinement: &Confinement, policy: Policy) -> Vec<String> {
    let stage = policy.stage;
    let output = policy.write.first().cloned();
    let mut arguments = outside.arguments(output.as_deref());
    // PWD is bubblewrap's; TMPDIR is where the sandbox has room for temporary files.
    arguments.push(format!("environment=PATH,PWD,TMPDIR,{}", nocturne::run::process::TAG_VARIABLE));
    // A build is never handed a file.
    arguments.extend((stage == Stage::Build).then(|| "given-fd=-1".to_owned()));
    let job = Job {
        program: outside.root().join("night/trainer"),
        arguments,
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        folder: output.unwrap_or_else(|| "/".into()),
        nice: 0,
        cores: None,
        grace_seconds: 1.0,
        log: outside.log(),
        policy: Some(policy),
    };
    let launcher = Launcher::new(nocturne(), &outside.root().join("lock"), confinement.clone());
    let mut process = launcher.start(&job).await.unwrap();
    if stage != Stage::Build {
        process.send_with(&"a file", &[outside.given().as_fd()]).await.unwrap();
    }
    let mut lines = Vec::new();
    let talk = async {
        while let Some(line) = process.line().await.unwrap() {
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    };
    tokio::time::timeout(Duration::from_secs(300), talk).await.unwrap();
    let ended = process.finish(Duration::from_secs(30)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{stage:?}: {}\n{lines:#?}", ended.last_words);
    assert_eq!(lines.pop().as_deref(), Some("end of attempts"), "{}", ended.last_words);
    lines
}

/// Without confinement the attempts that any process can make do succeed, so the tests above can fail.
#[test]
fn the_attempts_succeed_without_confinement() {
    let mut outside = Outside::new(&hostile(PROGRAM));
    let output = outside.root().join("night/output");
    let result = Command::new(outside.root().join("night/trainer"))
        .args(outside.arguments(Some(&output)))
        .args(["control=yes", "environment=PATH", &format!("given-fd={}", outside.given().as_raw_fd())])
        .env("AGENT_KEY", confined::outside::MARKER)
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let lines: Vec<String> = String::from_utf8(result.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.last().map(String::as_str), Some("end of attempts"));
    let succeeded = outside.judge(&lines);
    let name_of = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let must: Vec<String> = lines.iter().filter(|line| line.contains(" must ")).map(name_of).collect();
    let held: Vec<&String> = must.iter().filter(|name| succeeded.iter().all(|(other, _)| other != name)).collect();
    assert!(held.is_empty(), "these did not even succeed unconfined: {held:?}\n{lines:#?}");
    let skipped = lines.iter().filter(|line| line.ends_with(" skipped")).count();
    eprintln!("unconfined, as {}: {} attempts succeeded, {skipped} were not made", who(), succeeded.len());
    assert!(must.len() > 60, "{}", must.len());
}

/// The compiler reads whatever the code names; build scripts and macros are programs. In the sandbox of a build none of them gets
/// at a secret, and an honest program is built beside them.
#[tokio::test]
async fn the_compiler_reads_and_runs_nothing_for_the_code() {
    const NAME: &str = "the_compiler_reads_and_runs_nothing_for_the_code";
    for mechanism_name in ["bubblewrap", "namespaces", "landlock"] {
        let Some(confinement) = mechanism(NAME, mechanism_name) else { continue };
        let Some((made, holding, noticed)) = compile(NAME, Some(&confinement)).await else { return };
        assert!(made.iter().any(|name| name == compiler::HONEST), "{mechanism_name}: not even that was built");
        assert!(holding.is_empty(), "{mechanism_name}: {holding:?}");
        assert!(noticed.is_empty(), "{mechanism_name}: {noticed:?}");
        let allowed = [compiler::HONEST, "build-script", "macro"];
        assert!(made.iter().all(|name| allowed.contains(&name.as_str())), "{mechanism_name}: {made:?} were built");
    }
    // The control.
    let Some((made, holding, noticed)) = compile(NAME, None).await else { return };
    assert!(made.len() > 10 && !holding.is_empty(), "unconfined, only {made:?} were built, {holding:?}");
    for word in
        ["tcp-thief", "tcp-trainer", "udp-thief", "unix-trainer", "write-me", "delete-me", "written-by-the-build"]
    {
        assert!(noticed.iter().any(|what| what.ends_with(word)), "{word} not in {noticed:?}");
    }
}

/// Compiles the hostile repository: which programs were made, which files of the build hold the secret, what was noticed outside.
async fn compile(test: &str, confinement: Option<&Confinement>) -> Option<(Vec<String>, Vec<String>, Vec<String>)> {
    let mut outside = Outside::new(&hostile(PROGRAM));
    let night = outside.root().join("night");
    let (source, target, cargo_home) = (night.join("source"), night.join("target"), night.join("cargo-home"));
    let attempts = compiler::write(&outside, &source);
    let options = setup::Options {
        gpu: setup::GpuWish::No,
        corpus: false,
        repository_space: setup::Bytes(0),
        surroundings: setup::Surroundings::of_process(),
    };
    let environment = match setup::ensure(&source, &options, &mut setup::Silent).await {
        Ok(environment) => environment,
        Err(error) => {
            confined::skipped(test, &format!("this user has no compiler: {error}"));
            return None;
        }
    };
    environment.make_cargo_home(&cargo_home).unwrap();
    let mut surroundings = environment.confined(&source, "cpu", None, sandbox::Level::Namespaces).unwrap();
    surroundings.toolchain.push(cargo_home.clone());
    let mut variables = environment.confined_build_env(&cargo_home);
    for (name, folder) in [("CARGO_TARGET_DIR", &target), ("TMPDIR", &target), ("HOME", &target)] {
        variables.push((name.to_owned(), folder.to_str().unwrap().to_owned()));
    }
    if confinement.is_none() {
        variables.push(("AGENT_KEY".to_owned(), confined::outside::MARKER.to_owned()));
    }
    outside.remember();
    let job = Job {
        program: environment.cargo().to_owned(),
        arguments: ["build", "--frozen", "--keep-going", "--bins", "--quiet"].map(str::to_owned).to_vec(),
        environment: variables,
        folder: source.clone(),
        nice: 0,
        cores: None,
        grace_seconds: 1.0,
        log: outside.log(),
        policy: confinement.map(|_| Policy::build(&surroundings, &source, &target)),
    };
    let confinement = confinement.cloned().unwrap_or_else(Confinement::off);
    let launcher = Launcher::new(nocturne(), &outside.root().join("lock"), confinement);
    let process = launcher.start(&job).await.unwrap();
    let ended = process.finish(Duration::from_secs(300)).await.unwrap();
    let (made, holding) = compiler::made(&target);
    let log = std::fs::read_to_string(outside.log()).unwrap();
    assert!(!made.is_empty(), "nothing was built ({ended:?}): {log}");
    let named = attempts.iter().filter(|name| log.contains(&format!("bin \"{name}\""))).count();
    eprintln!(
        "{}, as {}: {named} of {} attempts did not compile",
        launcher.confinement().describe(),
        who(),
        attempts.len()
    );
    let holding = holding.iter().map(|path| path.display().to_string()).collect();
    Some((made.into_iter().collect(), holding, outside.noticed()))
}
