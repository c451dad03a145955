//! Every idea of the playbook, applied to the repository's own candidate, compiles, trains a few steps and predicts
//! without looking ahead.
//!
//! All ideas become modules of one generated crate, so that the compiler runs once. What is checked at run time
//! stands in `playbook_compiles/check.rs`, the crate's main file.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "support/generated.rs"]
mod generated;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use nocturne::edit::{CANDIDATE_FILES, CheckedPatch, Policy};
use nocturne::flow::SourceFile;
use nocturne::propose::Playbook;

use generated::write;

/// Name of the generated crate.
const CRATE: &str = "playbook-check";

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
}

#[test]
fn every_idea_compiles_trains_and_does_not_look_ahead() {
    let folder = generated::folder(CRATE);
    generate(&folder, &generated::root());
    let executable = generated::build(CRATE, &folder, "");
    let shares = generated::shares();
    let share = |part: usize| {
        let mut command = Command::new(&executable);
        command.args([part.to_string(), shares.to_string()]);
        command
    };
    let seen: HashSet<String> = generated::lines_of((0..shares).map(share).collect()).into_iter().collect();
    // One line an idea, and the baseline's.
    assert_eq!(seen.len(), Playbook::load().unwrap().ideas().len() + 1, "{seen:?}");
}
