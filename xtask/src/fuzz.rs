//! `cargo xtask fuzz [SECONDS [TARGET]]` and `cargo xtask fuzz keep`: what reads the words of models, tried with texts that nobody thought of.
//!
//! It takes no nightly compiler and no cargo-fuzz, only what building Nocturne takes: the compiler's pass that counts which edges of the
//! code a run has taken is in the stable one, under a flag of LLVM's name, and libfuzzer comes as source. The sanitizers, which do need
//! a nightly compiler, look for faults of memory; the code under test has no `unsafe` in which to make any.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps;

/// The targets, with the longest input that each tries, in bytes.
const TARGETS: [(&str, &str); 4] = [("answer", "6000"), ("apply", "4000"), ("blocks", "2000"), ("stream", "3000")];

/// What libfuzzer wants to know of a run: the edges of the code that it took, and what it compared with what. These are cargo-fuzz's flags.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Bytes and files of one target's committed corpus, at most.
const MOST_BYTES: usize = 70_000;
const MOST_FILES: usize = 75;

/// Fuzzes every target for as many seconds, or the one that is named. The error names what was found.
pub fn all(seconds: &str, only: Option<&str>) -> Result<(), String> {
    let seconds: u32 = seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
    let targets: Vec<(&str, &str)> =
        TARGETS.into_iter().filter(|(target, _)| only.is_none_or(|only| only == *target)).collect();
    if targets.is_empty() {
        return Err(format!("there is no such target; there are {}", TARGETS.map(|(target, _)| target).join(", ")));
    }
    let programs = build()?;
    let mut failed = Vec::new();
    for (target, longest) in targets {
        let mut command = Command::new(programs.join(target));
        let folders = folders(target)?;
        command
            .args([
                &format!("-max_total_time={seconds}"),
                &format!("-max_len={longest}"),
                "-timeout=20",
                "-rss_limit_mb=2048",
            ])
            .args(["-use_value_profile=1", "-print_final_stats=1", "-verbosity=1"])
            .arg(format!("-artifact_prefix={}/{target}-", found()?.display()))
            .arg(format!("-dict={}", steps::root()?.join("fuzz/dictionaries").join(target).display()))
            .args(folders);
        if let Err(problem) = steps::run(&format!("Fuzz {target} for {seconds} s"), &mut command) {
            failed.push(problem);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}; what did it lies in {}; try it again with: {}/TARGET FILE",
        failed.join("; "),
        found()?.display(),
        programs.display()
    ))
}

/// Replaces the committed corpus by the smallest part of all that was found so far that still takes all edges, bounded in size.
pub fn keep() -> Result<(), String> {
    let programs = build()?;
    for (target, longest) in TARGETS {
        let merged = steps::root()?.join("target/fuzz/merged").join(target);
        let control = merged.with_extension("control");
        for old in [&merged, &control] {
            remove(old)?;
        }
        make(&merged)?;
        let mut command = Command::new(programs.join(target));
        command
            .args(["-merge=1", &format!("-max_len={longest}"), "-timeout=20", "-verbosity=0"])
            .arg(format!("-merge_control_file={}", control.display()))
            .arg(&merged)
            .args(folders(target)?);
        steps::run(&format!("Merge what fuzzing {target} found"), &mut command)?;
        let text =
            fs::read_to_string(&control).map_err(|error| format!("cannot read {}: {error}", control.display()))?;
        let chosen = choose(&text)?;
        // Read before the old corpus goes: what is chosen may lie in it.
        let inputs: Vec<Vec<u8>> = chosen
            .iter()
            .map(|path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display())))
            .collect::<Result<_, _>>()?;
        let committed = steps::root()?.join("fuzz/corpus").join(target);
        remove(&committed)?;
        make(&committed)?;
        for (index, input) in inputs.iter().enumerate() {
            let path = committed.join(format!("{:02}", index + 1));
            fs::write(&path, input).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        eprintln!("==> {target}: {} inputs of {bytes} bytes are kept", inputs.len());
    }
    Ok(())
}

/// Builds the targets and returns their folder.
fn build() -> Result<PathBuf, String> {
    let root = steps::root()?;
    let said = steps::answer("Ask the compiler for its host", Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?;
    let mut command = steps::cargo()?;
    command
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        // Not locked: fuzz/Cargo.lock follows what the agent depends on by itself.
        // With a target named, the flags are not for build scripts and macros, which run while compiling.
        .args(["--target", host, "--target-dir", "target/fuzz"])
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env("CARGO_INCREMENTAL", "0");
    steps::run("Build the fuzzing targets", &mut command)?;
    Ok(root.join("target/fuzz").join(host).join("release"))
}

/// Where a target's inputs lie: first the folder that new ones are written to.
fn folders(target: &str) -> Result<Vec<PathBuf>, String> {
    let root = steps::root()?;
    let new = root.join("target/fuzz/corpus").join(target);
    make(&new)?;
    let mut folders = vec![new, root.join("fuzz/corpus").join(target)];
    if matches!(target, "answer" | "blocks") {
        folders.push(root.join("agent/tests/answers"));
    }
    folders.retain(|folder| folder.exists());
    Ok(folders)
}

/// Where inputs go that something went wrong with.
fn found() -> Result<PathBuf, String> {
    let folder = steps::root()?.join("target/fuzz/found");
    make(&folder)?;
    Ok(folder)
}

/// From libfuzzer's account of a merge, which inputs to keep: each time the one that takes most edges that none before it took, for its
/// size, as long as there is room.
///
/// The account is lines: the number of inputs and of those that came first, the inputs' paths in order, then `STARTED i bytes`, `FT i
/// features...`, `COV i edges...`.
fn choose(account: &str) -> Result<Vec<PathBuf>, String> {
    let mut lines = account.lines();
    let count: usize =
        lines.next().and_then(|line| line.parse().ok()).ok_or("the account of the merge has no count")?;
    let mut inputs: Vec<Input> = lines.by_ref().skip(1).take(count).map(Input::of).collect();
    for line in lines {
        let mut words = line.split(' ');
        let (kind, index) = (words.next(), words.next().and_then(|word| word.parse::<usize>().ok()));
        let Some(input) = index.and_then(|index| inputs.get_mut(index)) else { continue };
        match kind {
            Some("STARTED") => input.bytes = words.next().and_then(|word| word.parse().ok()).unwrap_or(usize::MAX),
            Some("COV") => input.edges = words.filter_map(|word| word.parse().ok()).collect(),
            _ => {}
        }
    }
    let (mut chosen, mut bytes, mut taken) = (Vec::new(), 0, BTreeSet::<u64>::new());
    while chosen.len() < MOST_FILES {
        let worth = |input: &Input| {
            let new = input.edges.difference(&taken).count();
            let fits = new > 0 && bytes + input.bytes <= MOST_BYTES;
            // There is room for so many bytes a file; smaller ones are not worth more for that.
            fits.then(|| new as f64 / input.bytes.max(MOST_BYTES / MOST_FILES) as f64)
        };
        let best = inputs.iter().filter_map(|input| Some((worth(input)?, input))).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, best)) = best else { break };
        bytes += best.bytes;
        taken.extend(&best.edges);
        chosen.push(best.path.clone());
    }
    Ok(chosen)
}

struct Input {
    path: PathBuf,
    bytes: usize,
    edges: BTreeSet<u64>,
}

impl Input {
    fn of(path: &str) -> Self {
        Self { path: PathBuf::from(path), bytes: usize::MAX, edges: BTreeSet::new() }
    }
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path) -> Result<(), String> {
    let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_most_new_edges_for_its_size_is_kept_first() {
        let account = "5\n0\nlong\nshort\nnothing-new\nhuge\nfew\nSTARTED 0 9000\nFT 0 1 2\nCOV 0 1 2 3 4\nSTARTED 1 10\n\
                       COV 1 1 2 3\nSTARTED 2 5\nCOV 2 2 3\nSTARTED 3 80000\nCOV 3 9\nSTARTED 4 300\nCOV 4 1\n";
        assert_eq!(choose(account), Ok(vec![PathBuf::from("short"), PathBuf::from("long")]));
        assert!(choose("").is_err());
    }
}
