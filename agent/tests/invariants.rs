//! What the design says of the source, checked: who may know libtorch, which places are pure, where SQL is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The agent and what it is made of can be built where there is no libtorch.
#[test]
fn only_the_trainer_knows_libtorch() {
    for package in ["nocturne", "dashboards", "protocol", "data"] {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(package), "{tree}");
        for forbidden in ["tch", "torch-sys"] {
            assert!(!names.contains(forbidden), "{package} depends on {forbidden}");
        }
    }
}

/// What a pure place must not name: files, network, processes, clocks, chance (a generator that the caller seeds is none).
/// Paths or their ends.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::io",
    "tokio",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "rand::random",
    "rand::rng",
    "rand::rngs",
    "rand::make_rng",
];

/// A type that does nothing; plotters wants it named.
const HARMLESS: &str = "std::io::Error";

#[test]
fn the_pure_places_are_pure() {
    let mut files = Vec::new();
    let verify = ["batches", "checks", "estimate", "held_out", "reference", "sample", "seeds", "tolerance"];
    let verify = verify.map(|module| format!("agent/src/verify/{module}.rs"));
    let others = ["agent/src/night/machine", "agent/src/stats", "agent/sandbox/src/policy.rs", "dashboards/src"];
    for place in verify.iter().map(String::as_str).chain(others) {
        rust_files(&root().join(place), &mut files);
    }
    assert!(files.len() > 20, "the places have moved: {files:?}");
    for file in files {
        for path in paths_of(&fs::read_to_string(&file).unwrap()) {
            let found = IMPURE.iter().find(|impure| path != HARMLESS && contains(&path, impure));
            assert_eq!(found, None, "{} names {path}", file.display());
        }
    }
}

#[test]
fn only_the_store_speaks_sql() {
    let mut files = Vec::new();
    rust_files(&root().join("agent/src"), &mut files);
    let (store, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.starts_with(root().join("agent/src/store")));
    let uses = |file: &PathBuf| paths_of(&fs::read_to_string(file).unwrap()).iter().any(|path| contains(path, "sqlx"));
    assert!(store.iter().any(uses), "the store has moved");
    assert_eq!(others.into_iter().filter(uses).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

/// The checks above are only as good as this.
#[test]
fn paths_are_found_however_they_are_written_and_not_in_tests() {
    let paths = paths_of(
        "use std::{collections::BTreeMap, fs::{self, File}, io as system}; // tokio::spawn
         /// std::net
         fn f() { let _ = (\"rand::random\", std :: process :: exit(0)); m!(Instant::now()); }
         #[cfg(test)] mod tests { use tokio::spawn; }
         #[cfg(test)] #[path = \"x.rs\"] mod others;
         fn g() -> SystemTime { std::io::Error }",
    );
    for impure in ["std::fs", "std::io", "std::io::Error", "std::process", "Instant::now", "SystemTime"] {
        assert!(paths.iter().any(|path| contains(path, impure)), "{impure} not in {paths:?}");
    }
    for absent in ["tokio", "std::net", "rand::random"] {
        assert!(!paths.iter().any(|path| contains(path, absent)), "{absent} in {paths:?}");
    }
    assert!(!contains("std::iota", "std::io") && !contains("strand::random", "rand::random"));
}

/// Whether the segments of `part` follow one another in `path`.
fn contains(path: &str, part: &str) -> bool {
    format!("::{path}::").contains(&format!("::{part}::"))
}

/// All Rust files at or below a place, those of tests left out.
fn rust_files(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            rust_files(&entry.unwrap().path(), found);
        }
        return;
    }
    let name = place.file_name().unwrap().to_string_lossy();
    if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
        found.push(place.to_owned());
    }
}

/// Every path that a source names outside its tests, imports written out: `use a::{b, c::d}` names a::b and a::c::d. Comments and
/// strings name nothing.
fn paths_of(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(source.parse().unwrap(), "", &mut found);
    found
}

fn collect(tokens: TokenStream, prefix: &str, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut path = prefix.to_owned();
    // Whether the next word goes on with the path.
    let mut joined = true;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(word) => {
                if !joined {
                    path = prefix.to_owned();
                }
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(&word.to_string());
                let goes_on = is_colon(tokens.get(at)) && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)));
                if !goes_on {
                    found.insert(path.clone());
                }
                joined = false;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && is_colon(tokens.get(at)) => {
                at += 1;
                joined = true;
            }
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_test_only(tokens.get(at)) => {
                // The item ends with its body or a semicolon.
                while let Some(token) = tokens.get(at) {
                    at += 1;
                    let ends = match token {
                        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                        TokenTree::Punct(mark) => mark.as_char() == ';',
                        _ => false,
                    };
                    if ends {
                        break;
                    }
                }
                path = prefix.to_owned();
                joined = true;
            }
            TokenTree::Group(group) => {
                let of_import = joined && path != prefix && group.delimiter() == Delimiter::Brace;
                collect(group.stream(), if of_import { &path } else { prefix }, found);
                path = prefix.to_owned();
                joined = true;
            }
            _ => {
                path = prefix.to_owned();
                joined = true;
            }
        }
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':')
}

fn is_test_only(token: Option<&TokenTree>) -> bool {
    let text = |group: &Group| group.stream().to_string().replace(' ', "");
    matches!(token, Some(TokenTree::Group(group)) if text(group) == "cfg(test)")
}
