//! Every idea of the playbook, applied to the repository's own candidate, compiles, trains a few steps and predicts
//! without looking ahead.
//!
//! All ideas become modules of one generated crate, so that the compiler runs once. That crate lives under the
//! workspace's `target/tmp` and shares its target folder, so libtorch's bindings are not built again. What is checked at
//! run time stands in `playbook_compiles/check.rs`, the crate's main file.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nocturne::edit::{CANDIDATE_FILES, CheckedPatch, Policy};
use nocturne::flow::SourceFile;
use nocturne::propose::Playbook;

/// Written only when it differs, so that cargo sees what has really changed.
fn write(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The last part of a candidate file's path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// The generated crate: `baseline` and a module per idea, and a main file that runs them all.
fn generate(folder: &Path, root: &Path) {
    let baseline: Vec<SourceFile> = CANDIDATE_FILES
        .iter()
        .map(|path| SourceFile { path: (*path).to_owned(), text: std::fs::read_to_string(root.join(path)).unwrap() })
        .collect();
    let mut modules = String::new();
    let mut calls = String::new();
    let mut add = |name: &str, files: &[SourceFile]| {
        let module = name.replace('-', "_");
        for file in &baseline {
            let text = files.iter().find(|edited| edited.path == file.path).unwrap_or(file).text.as_str();
            write(&folder.join("src/ideas").join(&module).join(file_name(&file.path)), text);
        }
        modules += &format!(
            "    pub mod {module} {{ pub mod model; pub mod optimizer; pub mod recipe; pub mod training; }}\n"
        );
        calls += &format!("    all.check::<ideas::{module}::training::Trainer>({name:?});\n");
    };
    add("baseline", &[]);
    for idea in Playbook::load().unwrap().ideas() {
        let patch = CheckedPatch::check(&idea.proposal(), &baseline, &Policy::default())
            .unwrap_or_else(|error| panic!("{}: {error}", idea.id));
        add(&idea.id, patch.files());
    }
    write(&folder.join("src/ideas.rs"), &modules.replace("    pub", "pub"));
    write(&folder.join("src/calls.rs"), &format!("{{\n{calls}}}\n"));
    write(&folder.join("src/main.rs"), include_str!("playbook_compiles/check.rs"));
    write(&folder.join("build.rs"), &std::fs::read_to_string(root.join("trainer/build.rs")).unwrap());
    let harness = root.join("trainer/harness");
    write(
        &folder.join("Cargo.toml"),
        &format!(
            "[package]\nname = \"playbook-check\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\nharness = {{ path = {harness:?} }}\n\
             tch = {{ version = \"*\", default-features = false }}\n\
             torch-sys = {{ version = \"*\", default-features = false }}\n\n\
             [profile.dev]\ndebug = false\n\n[profile.dev.package.\"*\"]\nopt-level = 1\n",
        ),
    );
    // The same versions of everything as in the workspace.
    write(&folder.join("Cargo.lock"), &std::fs::read_to_string(root.join("Cargo.lock")).unwrap());
}

#[test]
fn every_idea_compiles_trains_and_does_not_look_ahead() {
    assert!(
        std::env::var_os("LIBTORCH").is_some(),
        "LIBTORCH is not set, and this test builds code that links libtorch: run `cargo xtask test`, which installs it"
    );
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = temporary.join("playbook-check");
    generate(&folder, &root);
    let target = temporary.parent().unwrap();
    let build = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    assert!(build.status.success(), "{}\n{}", build.status, String::from_utf8_lossy(&build.stderr));
    // In shares, one for each core: a thread of one process would mostly wait for the others.
    let shares = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    let running: Vec<_> = (0..shares)
        .map(|part| {
            Command::new(target.join("debug/playbook-check"))
                .args([part.to_string(), shares.to_string()])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = HashSet::new();
    for process in running {
        let output = process.wait_with_output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{report}\n{errors}", output.status);
        seen.extend(report.lines().map(str::to_owned));
    }
    // One line an idea, and the baseline's.
    assert_eq!(seen.len(), Playbook::load().unwrap().ideas().len() + 1, "{seen:?}");
}
