//! The repository that the nights are made in: this one's campaigns and candidate, in a first commit of their own.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature, Time};
use nocturne::edit::CANDIDATE_FILES;
use nocturne::flow::CommitId;

/// Files of this repository that the nights need.
const FILES: [&str; 4] = [
    "experiments/quickstart/campaign.toml",
    "experiments/quickstart/program.md",
    "experiments/gpu/campaign.toml",
    "experiments/gpu/program.md",
];

/// Who commits; in the repository's own settings, so that commits do not depend on whose machine this is.
const PERSON: (&str, &str) = ("A Person", "person@example.org");

/// 2026-07-31, before the first night.
const FIRST: i64 = 1_785_456_000;

/// Makes the repository and returns its one commit.
pub fn begin(folder: &Path) -> Result<CommitId, String> {
    if folder.exists() {
        return Err(format!("{} exists; remove it, or name another folder", folder.display()));
    }
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for path in FILES.iter().chain(&CANDIDATE_FILES) {
        let text = fs::read(source.join(path)).map_err(|error| format!("cannot read {path}: {error}"))?;
        write(&folder.join(path), &text)?;
    }
    write(&folder.join(".gitignore"), b"/target\n/.nocturne\nexperiments/*/nights/\n")?;
    commit(folder).map_err(|error| format!("cannot make a repository of {}: {error}", folder.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)
}

fn commit(folder: &Path) -> Result<CommitId, Box<dyn std::error::Error>> {
    let mut options = RepositoryInitOptions::new();
    options.external_template(false).initial_head("main");
    let repository = Repository::init_opts(folder, &options)?;
    let mut settings = repository.config()?;
    settings.set_str("user.name", PERSON.0)?;
    settings.set_str("user.email", PERSON.1)?;
    let mut index = repository.index()?;
    index.add_all(["*"], IndexAddOption::DEFAULT, None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let person = Signature::new(PERSON.0, PERSON.1, &Time::new(FIRST, 0))?;
    let id = repository.commit(Some("HEAD"), &person, &person, "Begin", &tree, &[])?;
    Ok(CommitId::try_from(id.to_string())?)
}

/// A branch. [`nocturne::repo::Repo::create_branch`] would first look through all branches that there are, which is right for a night
/// and takes hours for ten thousand experiments.
pub fn branch(repository: &Repository, name: &str, commit: &CommitId) -> Result<(), String> {
    let created = git2::Oid::from_str(commit.as_str())
        .and_then(|id| repository.reference(&format!("refs/heads/{name}"), id, false, "scale").map(|_| ()));
    created.map_err(|error| format!("cannot create the branch {name}: {error}"))
}
