//! Crates that tests generate from the candidate's files and compile, and their executables. They live under the workspace's
//! `target/tmp` and share its target folder, so libtorch's bindings are not built again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Where the generated crate `name` lies.
///
/// # Panics
/// When there is no libtorch to link with.
pub fn folder(name: &str) -> PathBuf {
    assert!(
        std::env::var_os("LIBTORCH").is_some(),
        "LIBTORCH is not set, and this test builds code that links libtorch: run `cargo xtask test`, which installs it"
    );
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Written only when it differs, so that cargo sees what has really changed.
pub fn write(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Compiles the sources in `folder` as a crate on the harness, with `dependencies` besides; the executable.
pub fn build(name: &str, folder: &Path, dependencies: &str) -> PathBuf {
    let [harness, kernels] = ["harness", "kernels"].map(|name| root().join("trainer").join(name));
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nharness = {{ path = {harness:?} }}\nkernels = {{ path = {kernels:?} }}\n{dependencies}\
         tch = {{ version = \"*\", default-features = false }}\n\
         torch-sys = {{ version = \"*\", default-features = false }}\n\n\
         [profile.dev]\ndebug = false\n\n[profile.dev.package.\"*\"]\nopt-level = 1\n"
    );
    write(&folder.join("Cargo.toml"), &manifest);
    // The same versions of everything as in the workspace, linked the same way.
    for (ours, theirs) in [("Cargo.lock", "Cargo.lock"), ("build.rs", "trainer/build.rs")] {
        write(&folder.join(ours), &std::fs::read_to_string(root().join(theirs)).unwrap());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let build = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    assert!(build.status.success(), "{}\n{}", build.status, String::from_utf8_lossy(&build.stderr));
    target.join("debug").join(name)
}

/// How many processes to share work between: a thread of one process would mostly wait for the others.
pub fn shares() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Runs all of them at once; the lines that they print, in their order.
pub fn lines_of(commands: Vec<Command>) -> Vec<String> {
    let running: Vec<_> = commands
        .into_iter()
        .map(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut lines = Vec::new();
    for process in running {
        let output = process.wait_with_output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{report}\n{errors}", output.status);
        lines.extend(report.lines().map(str::to_owned));
    }
    lines
}
