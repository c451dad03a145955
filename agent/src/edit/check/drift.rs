//! The lists of names, compared with what they were written from: an update that brings something new fails here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::rules::Rule;
use super::{names, paths};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_crate_that_the_trainer_sees_is_known() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("trainer/Cargo.toml")).unwrap().parse().unwrap();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for name in manifest.get(section).and_then(|table| table.as_table()).into_iter().flat_map(|table| table.keys())
        {
            let name = name.replace('-', "_");
            assert!(paths::is_crate(&name), "{name} is new: list it among the crates in check/paths.rs");
        }
    }
}

#[test]
fn what_is_allowed_of_the_harness_is_there() {
    let text = std::fs::read_to_string(root().join("trainer/harness/src/lib.rs")).unwrap();
    let exported: String = text.lines().filter(|line| line.starts_with("pub use")).collect();
    let exported: HashSet<&str> = exported.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for item in paths::HARNESS_ITEMS {
        assert!(exported.contains(item), "{item} is not exported any more");
    }
}

#[test]
fn what_is_allowed_of_the_fused_operations_is_there() {
    let text = std::fs::read_to_string(root().join("trainer/kernels/src/lib.rs")).unwrap();
    for item in paths::KERNELS_ITEMS {
        let declared = ["pub fn ", "pub struct ", "pub mod "]
            .iter()
            .any(|word| text.lines().any(|line| line.strip_prefix(word).is_some_and(|rest| names_it(rest, item))));
        assert!(declared, "{item} is not exported any more");
    }
}

fn names_it(declaration: &str, item: &str) -> bool {
    declaration.strip_prefix(item).is_some_and(|rest| rest.starts_with(['(', ' ', ';', '<']))
}

/// Modules of tch that are refused whole.
const REFUSED_FILES: [&str; 6] =
    ["vision/", "data.rs", "wrappers/jit.rs", "wrappers/image.rs", "wrappers/python.rs", "wrappers/stream.rs"];

#[test]
fn what_tch_does_with_files_and_pointers_is_refused() {
    let Some(source) = tch() else {
        eprintln!("skipped: what_tch_does_with_files_and_pointers_is_refused: tch's sources are not on this machine");
        return;
    };
    let mut functions = Vec::new();
    collect(&source, &source, &mut functions);
    assert!(functions.len() > 4_000, "only {} functions found", functions.len());
    let telling = ["Path>", "&Path", "Path,", "Read", "Write", "*mut", "*const", "filename"];
    let mut missing = String::new();
    for (file, name, signature) in &functions {
        let tells = telling.iter().any(|word| signature.contains(word)) && !signature.contains("Borrow<");
        if tells && !REFUSED_FILES.iter().any(|refused| file.starts_with(refused)) && names::refused(name).is_none() {
            missing += &format!("{file}: {signature}\n");
        }
    }
    assert!(missing.is_empty(), "{missing}");
    let known: HashSet<&str> = functions.iter().map(|(_, name, _)| name.as_str()).collect();
    for (name, rule) in names::REFUSED.iter().filter(|(_, rule)| *rule != Rule::Files) {
        assert!(known.contains(name), "tch has no {name} ({rule}) any more");
    }
}

/// The folder of tch's sources.
fn tch() -> Option<PathBuf> {
    // Without the platform, cargo would want the sources of every other platform's crates as well.
    let rustc = Command::new("rustc").arg("-vV").output().ok()?;
    let rustc = String::from_utf8(rustc.stdout).ok()?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "))?;
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "tch")?;
    let source = Path::new(package["manifest_path"].as_str()?).parent()?.join("src");
    source.is_dir().then_some(source)
}

/// File, name and signature of each public function below `folder`.
fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(root).unwrap().display().to_string();
            for (start, _) in text.match_indices("pub fn ").chain(text.match_indices("pub unsafe fn ")) {
                let signature = text[start..].split(['{', ';']).next().unwrap();
                let name = signature.split("fn ").nth(1).unwrap_or_default();
                let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                found.push((file.clone(), name.to_owned(), signature.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }
}
