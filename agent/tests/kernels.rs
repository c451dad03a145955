//! Compiled kernels in a sandbox: the night's start writes them and nothing else, edited trainers read them and cannot write. Shell scripts
//! stand for both.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nocturne::night::kernels::{NotCompiled, VARIABLE, compile, give};
use nocturne::run::{Job, Launcher};
use sandbox::{Confinement, Level, Policy, Surroundings};

/// Writes what it shall, and tries to write beside it.
const START: &str = r#"
[ "$1" = kernels ] || exit 9
[ -z "$NOCTURNE_KERNEL_CACHE" ] || exit 8
(: > "$2/../beside") 2>/dev/null
echo image > "$2/norms.bin"
"#;

/// Reads it, and tries to change it.
const EDITED: &str = r#"
read -r line < "$NOCTURNE_KERNEL_CACHE/norms.bin" && [ "$line" = image ] || exit 9
(: > "$NOCTURNE_KERNEL_CACHE/norms.bin") 2>/dev/null && exit 8
(: > "$NOCTURNE_KERNEL_CACHE/another.bin") 2>/dev/null && exit 7
: > output
"#;

fn program(path: &Path, script: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

fn launcher(folder: &Path, confinement: Confinement) -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_nocturne").into(), &folder.join("lock"), confinement)
}

#[tokio::test]
async fn the_start_alone_writes_kernels_and_edited_trainers_read_them() {
    let offer = sandbox::probe(Path::new(env!("CARGO_BIN_EXE_nocturne")));
    for (name, confinement) in Confinement::every(&offer) {
        let Ok(confinement) = confinement.inspect_err(|reason| eprintln!("skipped: {name}: {}", reason.why)) else {
            continue;
        };
        if confinement.level() == Level::Off {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        let launcher = launcher(place.path(), confinement);
        let folder = place.path().join("kernels");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stale.bin"), "of an older night").unwrap();
        let start = program(&place.path().join("redteam/trainer"), START);
        let mut surroundings = Surroundings::default();
        let mut environment = Vec::new();
        compile(&launcher, &surroundings, &environment, &start, &folder)
            .await
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["norms.bin"], "{name}");
        // A sandbox with a file system of its own may let it write there.
        assert!(!place.path().join("beside").exists(), "{name}");

        give(&folder, &mut surroundings, std::iter::once(&mut environment));
        assert_eq!(environment, [(VARIABLE.to_owned(), folder.display().to_string())]);
        let edited = program(&place.path().join("1/trainer"), EDITED);
        let output = place.path().join("1/output");
        fs::create_dir(&output).unwrap();
        let job = Job {
            policy: Some(Policy::train(&surroundings, &edited, &output)),
            program: edited,
            arguments: vec!["train".to_owned()],
            environment,
            folder: output.clone(),
            nice: 0,
            cores: None,
            grace_seconds: 0.5,
            log: place.path().join("1/log.txt"),
        };
        let ended = launcher.start(&job).await.unwrap().finish(Duration::from_secs(120)).await.unwrap();
        assert_eq!((ended.code, ended.last_words.as_str()), (Some(0), ""), "{name}");
        assert!(output.join("output").exists(), "{name}");
        assert_eq!(fs::read_to_string(folder.join("norms.bin")).unwrap(), "image\n", "{name}");

        let failing = program(&place.path().join("redteam/trainer"), "echo no compiler >&2; exit 1");
        let why = compile(&launcher, &Surroundings::default(), &[], &failing, &folder).await.unwrap_err();
        let words = why.to_string();
        assert!(
            matches!(why, NotCompiled::Failed { status: 1, .. }) && words.contains("no compiler"),
            "{name}: {words}"
        );
    }
}

#[tokio::test]
async fn without_a_sandbox_nothing_is_compiled_for_others() {
    let place = tempfile::tempdir().unwrap();
    let start = program(&place.path().join("trainer"), START);
    let folder = place.path().join("kernels");
    let launcher = launcher(place.path(), Confinement::off());
    let why = compile(&launcher, &Surroundings::default(), &[], &start, &folder).await.unwrap_err();
    assert!(matches!(why, NotCompiled::Unprotected(_)) && !folder.exists(), "{why}");
}
