//! Set-up as a whole on made-up machines: a fake Rust, C++ compiler and Python on a PATH of their own.

use std::io;
use std::os::unix::fs::symlink;

use super::libtorch::install_folder;
use super::testing::{Machine, fake_torch, program};
use super::*;

/// A machine that has everything but libtorch. Its Python pretends to be pip: `download` leaves a file, `install` copies a
/// torch that was laid ready; every call is written to `calls`.
fn whole_machine() -> Machine {
    let machine = Machine::new();
    program(
        &machine.bin,
        "rustc",
        "case $1 in -vV) echo 'host: x86_64-unknown-linux-gnu'; echo 'release: 1.95.0';; *) echo /none;; esac",
    );
    program(&machine.bin, "cargo", "echo 'cargo 1.95.0'");
    program(&machine.bin, "c++", "echo 'c++ 12'");
    let torch = fake_torch(&machine.folder.path().join("wheel/torch"), "2.11.0+cu130", true);
    std::fs::write(torch.join("lib/libtorch_cuda_linalg.so"), "").unwrap();
    std::fs::write(torch.join("lib/libtorch_nvshmem.so"), "").unwrap();
    python(&machine, "null", "");
    std::fs::create_dir(repository(&machine)).unwrap();
    let lock = "[[package]]\nname = \"torch-sys\"\nversion = \"0.24.0\"\n";
    std::fs::write(repository(&machine).join("Cargo.lock"), lock).unwrap();
    std::fs::write(repository(&machine).join("Cargo.toml"), "[workspace]\n").unwrap();
    machine
}

fn python(machine: &Machine, torch: &str, before: &str) {
    let home = machine.folder.path().display();
    let version = if torch == "null" { "null" } else { "\"2.11.0+cpu\"" };
    program(
        &machine.bin,
        "python3",
        &format!(
            r#"
case "$*" in *find_spec*) echo '{{"python": "3.11.7", "folder": {torch}, "version": {version}}}'; exit;;
  *--version*) echo 'pip 23.2.1 from /x'; exit;; esac
command=$3
while [ $# -gt 0 ]; do case $1 in --dest) dest=$2;; --target) target=$2;; --find-links) links=$2;; esac; shift; done
echo "$command" >> {home}/calls
{before}
case $command in
  download) echo wheel > "$dest/torch.whl";;
  install) [ -f "$links/torch.whl" ] && /bin/cp -r {home}/wheel/. "$target";;
esac
"#
        ),
    );
}

fn repository(machine: &Machine) -> PathBuf {
    machine.folder.path().join("repository")
}

fn options(machine: &Machine) -> Options {
    Options {
        gpu: GpuWish::IfThere,
        corpus: true,
        repository_space: Bytes(1),
        surroundings: machine.surroundings.clone(),
    }
}

fn calls(machine: &Machine) -> String {
    std::fs::read_to_string(machine.folder.path().join("calls")).unwrap_or_default().replace('\n', " ")
}

async fn run(machine: &Machine) -> Result<Environment, SetupError> {
    ensure(&repository(machine), &options(machine), &mut Silent).await
}

#[tokio::test]
async fn the_first_set_up_installs_and_the_second_finds() {
    let machine = whole_machine();
    let mut stages = Vec::new();
    let mut progress = |event| {
        if let Event::Stage(text) = event {
            stages.push(text);
        }
    };
    let environment = ensure(&repository(&machine), &options(&machine), &mut progress).await.unwrap();
    assert_eq!(stages, ["Downloading libtorch 2.11.0, 544 MB", "Unpacking libtorch 2.11.0"]);
    let libtorch = environment.libtorch.clone().unwrap();
    let folder = install_folder(&machine.cache, false);
    assert_eq!((libtorch.root, libtorch.origin), (folder.join("torch"), Origin::Wheels));
    assert_eq!(environment.corpus, Some(folder.join("torch")));
    assert!(!libtorch.cuda && !folder.join("torch/lib/libtorch_nvshmem.so").exists(), "CUDA's half was kept");
    let mut left: Vec<_> = std::fs::read_dir(&machine.cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["libtorch-2.11.0", "libtorch.lock"], "something was left beside the installation");
    let variables = environment.build_env();
    assert!(variables.contains(&("LIBTORCH".to_owned(), folder.join("link").display().to_string())));
    assert!(variables.iter().any(|(name, _)| name == "PATH"));

    assert_eq!(calls(&machine), "download install ");
    assert_eq!(run(&machine).await.unwrap(), environment);
    assert_eq!(calls(&machine), "download install ", "pip was asked again");

    std::fs::write(folder.join("torch/lib/libtorch_cpu.so"), "cut").unwrap();
    assert_eq!(run(&machine).await.unwrap(), environment, "a damaged installation was not replaced");
    assert_eq!(calls(&machine), "download install download install ");
}

#[tokio::test]
async fn an_interrupted_installation_is_taken_up_again() {
    let machine = whole_machine();
    python(
        &machine,
        "null",
        "[ $command = install ] && { echo half > $target/half; echo 'ERROR: killed' >&2; exit 1; }",
    );
    let error = run(&machine).await.unwrap_err();
    assert!(error.to_string().contains("ERROR: killed"), "{error}");
    assert!(!install_folder(&machine.cache, false).exists(), "half an installation was put into place");
    let wheel = machine.cache.join("libtorch-2.11.0.partial/downloads/torch.whl");
    assert!(wheel.exists(), "what was downloaded should be kept");

    python(&machine, "null", "[ $command = download ] && { [ -f $dest/torch.whl ] && exit 0; exit 1; }");
    let environment = run(&machine).await.unwrap();
    assert!(!environment.libtorch.unwrap().root.with_file_name("half").exists());
    assert!(!machine.cache.join("libtorch-2.11.0.partial").exists());
}

#[tokio::test]
async fn pips_failures_say_what_to_do() {
    let machine = whole_machine();
    for (words, expected) in [
        ("WARNING: Retrying: NameResolutionError: Failed to resolve host", "Check the network"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by NewConnectionError(<x at 0x7f>: Failed to connect",
            "libtorch 2.11.0 failed: Failed to connect",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\nExpected sha256 aa\nGot bb", "Expected sha256 aa; Got bb"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "NOCTURNE_CACHE="),
        ("ERROR: No matching distribution found for torch==2.11.0", "mirrors PyPI completely"),
        ("Traceback\nTypeError: \x1b[31mbad", "TypeError:  [31mbad"),
    ] {
        python(&machine, "null", &format!("echo '{words}' >&2; exit 1"));
        let error = run(&machine).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit_code(), 3);
        assert!(!machine.cache.join("libtorch-2.11.0.partial").exists(), "an empty folder was left behind");
    }
}

#[tokio::test]
async fn a_python_environments_torch_is_used_without_pip() {
    let machine = whole_machine();
    let torch = fake_torch(&machine.folder.path().join("site/torch"), "2.11.0+cpu", false);
    python(&machine, &format!("\"{}\"", torch.display()), "");
    let environment = run(&machine).await.unwrap();
    assert_eq!(environment.libtorch.unwrap().origin, Origin::PythonEnvironment);
    assert_eq!(environment.corpus.unwrap(), torch);
    assert_eq!(calls(&machine), "");
}

#[tokio::test]
async fn a_view_is_not_made_while_another_process_changes_the_cache() {
    let machine = whole_machine();
    let torch = fake_torch(&machine.folder.path().join("site/torch"), "2.11.0+cpu", false);
    python(&machine, &format!("\"{}\"", torch.display()), "");
    std::fs::create_dir(&machine.cache).unwrap();
    let lock = std::fs::File::create(machine.cache.join("libtorch.lock")).unwrap();
    lock.lock().unwrap();
    let mut held = Some(lock);
    let cache = machine.cache.clone();
    let mut progress = |event| {
        if matches!(event, Event::Note(text) if text.contains("Another process")) {
            assert_eq!(cache.read_dir().unwrap().count(), 1, "a view was made without the lock");
            held.take();
        }
    };
    let environment = ensure(&repository(&machine), &options(&machine), &mut progress).await.unwrap();
    assert!(environment.libtorch.unwrap().link_dir.exists());
    assert!(held.is_none(), "nobody waited for the lock");
}

#[tokio::test]
async fn a_wheel_without_one_of_the_cuda_libraries_is_no_error() {
    let machine = whole_machine();
    std::fs::remove_file(machine.folder.path().join("wheel/torch/lib/libtorch_nvshmem.so")).unwrap();
    run(&machine).await.unwrap();
}

#[tokio::test]
async fn a_repository_without_libtorch_needs_neither_python_nor_a_cache() {
    let machine = whole_machine();
    std::fs::remove_file(machine.bin.join("python3")).unwrap();
    std::fs::write(repository(&machine).join("Cargo.lock"), "version = 4\n").unwrap();
    std::fs::write(&machine.cache, "not a folder").unwrap();
    let environment = run(&machine).await.unwrap();
    assert_eq!((environment.libtorch.as_ref(), environment.corpus.as_ref()), (None, None));
    assert!(!environment.build_env().iter().any(|(name, _)| name == "LIBTORCH"));
}

#[tokio::test]
async fn a_libtorch_without_sources_gets_the_corpus_from_the_wheels() {
    let mut machine = whole_machine();
    let libtorch = fake_torch(&machine.folder.path().join("libtorch"), "2.11.0+cpu", false);
    std::fs::remove_dir_all(libtorch.join("nn")).unwrap();
    machine.surroundings.libtorch = Some(libtorch.clone());
    let environment = run(&machine).await.unwrap();
    assert_eq!(environment.libtorch.unwrap().link_dir, libtorch);
    assert_eq!(environment.corpus.unwrap(), install_folder(&machine.cache, false).join("torch"));
}

#[tokio::test]
async fn failed_checks_leave_nothing_behind() {
    let snapshot = |machine: &Machine| {
        let mut names: Vec<_> =
            std::fs::read_dir(machine.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let check_fails = async |machine: &Machine, part: &str| {
        let before = snapshot(machine);
        let error = run(machine).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.exit_code(), 3, "{error}");
        assert_eq!((snapshot(machine), calls(machine).as_str()), (before, ""));
    };

    // A cache below a plain file cannot be written, not even by root.
    let mut machine = whole_machine();
    std::fs::write(machine.folder.path().join("file"), "").unwrap();
    machine.surroundings.nocturne_cache = Some(machine.folder.path().join("file/cache"));
    check_fails(&machine, "cannot be written").await;

    let mut machine = whole_machine();
    let other = fake_torch(&machine.folder.path().join("other"), "2.5.1", false);
    machine.surroundings.libtorch = Some(other);
    check_fails(&machine, "2.5.1").await;

    let machine = whole_machine();
    std::fs::remove_file(machine.bin.join("c++")).unwrap();
    check_fails(&machine, "apt install g++").await;

    let machine = whole_machine();
    program(
        &machine.bin,
        "python3",
        "case \"$*\" in *find_spec*) echo '{\"python\":\"3\",\"folder\":null,\"version\":null}';; *) exit 1;; esac",
    );
    check_fails(&machine, "apt install python3-pip").await;
}

#[tokio::test]
async fn too_little_disk_is_said_beforehand() {
    let machine = whole_machine();
    let small = |_: &Path| -> io::Result<Space> { Ok(Space { device: 1, available: Bytes(500_000_000) }) };
    let Err(error) = check(&repository(&machine), &options(&machine), &small).await else { panic!("it went on") };
    assert!(error.to_string().contains("1.8 GB free"), "{error}");
    assert!(error.to_string().contains("500 MB are left"), "{error}");
    assert!(!machine.cache.exists());
}

#[tokio::test]
async fn a_gpu_brings_the_cuda_half_and_an_old_driver_does_not() {
    let machine = whole_machine();
    program(&machine.bin, "nvidia-smi", "echo 'Tesla T4, 15360, 535.104'");
    let mut notes = Vec::new();
    let mut progress = |event| {
        if let Event::Note(text) = event {
            notes.push(text);
        }
    };
    let environment = ensure(&repository(&machine), &options(&machine), &mut progress).await.unwrap();
    assert!(environment.gpus.is_empty() && notes[0].contains("535.104"), "{notes:?}");
    let wish = Options { gpu: GpuWish::Yes, ..options(&machine) };
    let error = ensure(&repository(&machine), &wish, &mut Silent).await.unwrap_err();
    assert!(error.to_string().contains("535.104"), "{error}");

    program(&machine.bin, "nvidia-smi", "echo 'NVIDIA H100, 81559, 580.65.06'");
    let environment = run(&machine).await.unwrap();
    let libtorch = environment.libtorch.unwrap();
    assert!(libtorch.cuda && libtorch.root.starts_with(install_folder(&machine.cache, true)));

    let cpu = Options { gpu: GpuWish::No, ..options(&machine) };
    let without = async || ensure(&repository(&machine), &cpu, &mut Silent).await.unwrap().libtorch.unwrap();
    assert!(!without().await.cuda, "the one that the first set-up installed is still there");
    std::fs::remove_dir_all(install_folder(&machine.cache, false)).unwrap();
    let before = calls(&machine);
    assert!(without().await.cuda, "the full one serves the CPU too");
    assert_eq!(calls(&machine), before);
}

#[tokio::test]
async fn two_at_once_install_once() {
    let machine = whole_machine();
    let (one, two) = tokio::join!(run(&machine), run(&machine));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(calls(&machine), "download install ");
}

#[tokio::test]
async fn pip_ends_when_set_up_is_killed() {
    let surroundings = Surroundings::of_process();
    let Some(python) = surroundings.find("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pip")).unwrap();
    std::fs::write(folder.path().join("pip/__main__.py"), "import sys, time; print('on', flush=True); time.sleep(600)")
        .unwrap();
    let mut command = surroundings.command(&python);
    command
        .args(["-c", include_str!("run_pip.py")])
        .env("PYTHONPATH", folder.path())
        .stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(75));
}

fn no_sandbox() -> sandbox::Offer {
    fn missing<T>() -> sandbox::Finding<T> {
        sandbox::Finding::Missing(sandbox::Reason::new("a test"))
    }
    sandbox::Offer {
        kernel: String::new(),
        landlock: missing(),
        seccomp: missing(),
        bubblewrap: missing(),
        namespaces: missing(),
        landlock_only: missing(),
        cgroup: missing(),
    }
}

#[tokio::test]
async fn the_doctor_names_every_part() {
    let machine = whole_machine();
    let look = async |machine: &Machine| {
        // What the sandbox offers stands behind the rest, and has tests of its own.
        let findings = doctor(&repository(machine), &options(machine), &no_sandbox()).await;
        let own = findings.iter().position(|finding| finding.name == "sandbox").unwrap();
        findings.into_iter().take(own).map(|finding| (finding.name, finding.state)).collect::<Vec<_>>()
    };
    use State::{Fail, Ok, Warn};
    let (rest, all) =
        ([("disk at the repository", Ok), ("disk at the cache", Ok), ("data", Warn)], look(&machine).await);
    let first = [("repository", Ok), ("Rust", Ok), ("C++ compiler", Ok), ("git", Warn), ("GPU", Ok), ("Python", Ok)];
    assert_eq!(all, [&first[..], &[("libtorch", Warn)], &rest].concat());
    assert!(!machine.cache.exists() && calls(&machine).is_empty(), "looking must not change anything");

    run(&machine).await.unwrap();
    assert_eq!(look(&machine).await, [&first[..5], &[("libtorch", Ok)], &rest].concat());

    let broken = Machine::new();
    let states = look(&broken).await;
    assert_eq!(states[..2], [("repository", Fail), ("Rust and C++", Fail)]);
    // A link that leads nowhere is not taken for a folder to come.
    symlink("/no/such/place", &broken.cache).unwrap();
    assert!(look(&broken).await.iter().any(|(name, _)| *name == "Python"));
}
