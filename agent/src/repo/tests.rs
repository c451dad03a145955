//! Repositories in every state that a person may have left them in.

mod files;
mod references;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use tempfile::TempDir;

use super::*;
use crate::campaign::CampaignName;
use crate::edit::{CANDIDATE_FILES, CheckedPatch, Policy};
use crate::flow::{Author, Candidate, Edit, ExperimentId, NightId, Proposal};

const RECIPE: &str = "trainer/src/candidate/recipe.rs";
const FIRST: &str = "fn a(x: f64) -> f64 {\n    x * 0.5\n}\n";

/// A repository with the four candidate files and a few others, in a folder with a space in its name.
struct Fixture {
    _temp: TempDir,
    root: PathBuf,
    git: Repository,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self::without_commits();
        for path in CANDIDATE_FILES {
            fixture.write(path, FIRST);
        }
        fixture.write("trainer/src/main.rs", "fn main() {}\n");
        fixture.write("Cargo.toml", "[workspace]\n");
        fixture.write(".gitignore", "/target\n");
        fixture.write("docs/crlf notes.txt", "one\r\ntwo\r\n");
        fixture.write("docs/old.txt", "old\n");
        fixture.write("run", "#!/bin/sh\n");
        fs::set_permissions(fixture.root.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        fixture.commit_all();
        fixture
    }

    fn without_commits() -> Self {
        let temp = TempDir::new().unwrap();
        let root = temp.path().canonicalize().unwrap().join("my project");
        let git =
            Repository::init_opts(&root, RepositoryInitOptions::new().initial_head("work").external_template(false))
                .unwrap();
        let mut config = git.config().unwrap();
        config.set_str("user.name", "Test Person").unwrap();
        config.set_str("user.email", "person@example.org").unwrap();
        Self { _temp: temp, root, git }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit_all(&self) -> CommitId {
        let mut index = self.git.index().unwrap();
        index.add_all(["*"], IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::now("Test Person", "person@example.org").unwrap();
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().unwrap());
        let id = self.git.commit(Some("HEAD"), &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap();
        commit_id(id).unwrap()
    }

    fn repo(&self) -> Repo {
        Repo::discover(&self.root).unwrap()
    }

    /// Every file of the checkout and of `.git`, as bytes, without what a night may add.
    fn everything(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut files = BTreeMap::new();
        collect(&self.root, &mut files);
        let ours = ["objects", "refs/heads/nocturne", "refs/notes", "logs/refs/heads/nocturne", "logs/refs/notes"];
        files.retain(|path, _| !ours.iter().any(|ours| path.starts_with(self.git.commondir().join(ours))));
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            collect(&path, files);
        } else {
            let content = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            files.insert(path, (metadata.mode(), content));
        }
    }
}

fn campaign() -> CampaignName {
    "quick".parse().unwrap()
}

fn night() -> NightId {
    "2026-03-08-k4".parse().unwrap()
}

fn experiment(number: u32) -> ExperimentId {
    ExperimentId { night: night(), number }
}

fn when() -> jiff::Timestamp {
    "2026-03-08T22:00:00Z".parse().unwrap()
}

fn proposal(replace: &str) -> Proposal {
    Proposal {
        key: "k".to_owned(),
        title: "Halve again".to_owned(),
        hypothesis: "It should help.".to_owned(),
        source: "a test".to_owned(),
        family: "test".to_owned(),
        predicted_effect: Some(-0.001),
        confidence: None,
        edits: vec![Edit { path: RECIPE.to_owned(), search: String::new(), replace: replace.to_owned() }],
        author: Author { proposer: "playbook".to_owned(), model: None, cost_usd: 0.0 },
    }
}

/// Commits an experiment on top of `parent`, without a branch.
fn candidate(repo: &Repo, parent: &CommitId, number: u32, recipe: &str) -> Candidate {
    let proposal = proposal(recipe);
    let files = repo.candidate_files(parent).unwrap();
    let patch = CheckedPatch::check(&proposal, &files, &Policy::default()).unwrap();
    repo.commit_patch(parent, &patch, &commit_message(&experiment(number), &proposal), when()).unwrap()
}

#[test]
fn a_repo_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Repo>();
}

#[test]
fn nothing_of_the_persons_is_touched() {
    for (autocrlf, packed) in [(false, false), (true, true)] {
        let fixture = Fixture::new();
        fixture.git.config().unwrap().set_bool("core.autocrlf", autocrlf).unwrap();
        if packed {
            // As `git pack-refs` leaves it.
            let head = fixture.git.head().unwrap().target().unwrap();
            fs::write(fixture.git.path().join("packed-refs"), format!("{head} refs/heads/other\n")).unwrap();
        }
        let stash_me = Signature::now("Test Person", "person@example.org").unwrap();
        fixture.write("docs/old.txt", "stashed\n");
        Repository::open(&fixture.root).unwrap().stash_save(&stash_me, "later", None).unwrap();

        // Staged, staged and then changed again, unstaged, deleted, untracked, ignored, a link to nowhere.
        fixture.write(RECIPE, "fn staged() {}\n");
        fixture.write("docs/new.txt", "staged\n");
        let mut index = fixture.git.index().unwrap();
        index.add_path(Path::new(RECIPE)).unwrap();
        index.add_path(Path::new("docs/new.txt")).unwrap();
        index.write().unwrap();
        fixture.write(RECIPE, "fn changed_again() {}\n");
        fixture.write("trainer/src/candidate/model.rs", "fn unstaged() {}\n");
        fs::remove_file(fixture.root.join("docs/old.txt")).unwrap();
        fixture.write("trainer/untracked file.rs", "fn untracked() {}\n");
        fixture.write("target/ignored", "ignored\n");
        symlink("/nowhere", fixture.root.join("link")).unwrap();
        // Touched without a change, which a refresh of the index would note there.
        let touched = fs::File::open(fixture.root.join("trainer/src/main.rs")).unwrap();
        touched.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
        // Even what the person must mend alone is left as it is.
        fixture.write(".git/MERGE_HEAD", &format!("{}\n", fixture.git.head().unwrap().target().unwrap()));
        let before = fixture.everything();

        let repo = fixture.repo();
        let start = repo.start().unwrap();
        assert_eq!(start.branch, "work");
        let changed = repo.uncommitted_changes().unwrap();
        assert_eq!(changed, ["trainer/src/candidate/model.rs", RECIPE, "trainer/untracked file.rs"]);
        assert!(repo.candidate_files(&start.commit).unwrap().iter().all(|file| file.text == FIRST));
        let outside = TempDir::new().unwrap();
        repo.export(&start.commit, outside.path()).unwrap();
        repo.export(&start.commit, &fixture.git.path().join("../target/slot")).unwrap();
        fs::remove_dir_all(fixture.root.join("target/slot")).unwrap();
        let one = candidate(&repo, &start.commit, 1, "fn one() {}\n");
        repo.create_branch(&experiment(1), &campaign(), "one", &one.commit).unwrap();
        repo.advance_champion(&campaign(), &night(), None, &start.commit).unwrap();
        repo.advance_champion(&campaign(), &night(), Some(&start.commit), &one.commit).unwrap();
        repo.add_note(&one.commit, "kept", when()).unwrap();
        repo.add_note(&one.commit, "kept, and measured again", when()).unwrap();
        repo.diff(&start.commit, &one.commit).unwrap();
        repo.branches(&campaign(), &night()).unwrap();

        let after = fixture.everything();
        for path in before.keys().chain(after.keys()) {
            assert_eq!(before.get(path), after.get(path), "{} is not as it was", path.display());
        }
    }
}

#[test]
fn a_repository_that_is_not_fit_is_named_before_any_work() {
    let nowhere = TempDir::new().unwrap();
    assert!(matches!(Repo::discover(nowhere.path()), Err(RepoError::NotARepository { .. })));
    assert!(matches!(Repo::discover(&nowhere.path().join("missing")), Err(RepoError::NotARepository { .. })));
    Repository::init_bare(nowhere.path()).unwrap();
    assert!(matches!(Repo::discover(nowhere.path()), Err(RepoError::Bare { .. })));

    let fixture = Fixture::without_commits();
    assert!(matches!(fixture.repo().start(), Err(RepoError::NoCommits { .. })));
    fixture.write("readme", "x\n");
    let commit = fixture.commit_all();
    assert!(matches!(fixture.repo().start(), Err(RepoError::CandidateFile { .. })));

    let fixture = Fixture::new();
    let head = fixture.git.head().unwrap().peel_to_commit().unwrap();
    fixture.git.branch("nocturne", &head, false).unwrap();
    assert!(matches!(fixture.repo().start(), Err(RepoError::BranchInTheWay { .. })));
    fixture.git.find_branch("nocturne", git2::BranchType::Local).unwrap().rename("nocturne/quick", false).unwrap();
    let repo = fixture.repo();
    let start = repo.start().unwrap().commit;
    let blocked = repo.create_branch(&experiment(1), &campaign(), "one", &start);
    assert!(matches!(blocked, Err(RepoError::BranchInTheWay { branch }) if branch == "nocturne/quick"));

    fixture.git.set_head_detached(head.id()).unwrap();
    let error = repo.start().unwrap_err();
    assert!(matches!(error, RepoError::DetachedHead { .. }));
    assert!(error.to_string().contains("git switch"), "{error}");
    fs::create_dir(fixture.git.path().join("rebase-merge")).unwrap();
    let error = repo.start().unwrap_err();
    assert!(error.to_string().contains("git rebase --abort"), "{error}");

    let unknown: CommitId = "0123456789012345678901234567890123456789".parse().unwrap();
    assert!(repo.candidate_files(&unknown).is_err());
    assert!(repo.create_branch(&experiment(1), &campaign(), "one", &commit).is_err());
}

#[test]
fn subfolders_and_linked_worktrees_will_do() {
    let fixture = Fixture::new();
    let inside = Repo::discover(&fixture.root.join("trainer/src")).unwrap();
    assert_eq!(inside.root(), fixture.root);
    assert_eq!(inside.reopen().unwrap().root(), fixture.root);

    let linked = fixture.root.join("../linked work");
    fixture.git.worktree("linked", &linked, None).unwrap();
    let repo = Repo::discover(&linked.join("trainer")).unwrap();
    assert_eq!(repo.root(), linked.canonicalize().unwrap());
    let start = repo.start().unwrap();
    assert_eq!(start.branch, "linked");
    let one = candidate(&repo, &start.commit, 1, "fn one() {}\n").commit;
    repo.create_branch(&experiment(1), &campaign(), "one", &one).unwrap();
    repo.add_note(&one, "kept", when()).unwrap();
    assert_eq!(fixture.repo().branches(&campaign(), &night()).unwrap().len(), 1);
    assert_eq!(fixture.repo().note(&one).unwrap().as_deref(), Some("kept\n"));
    assert_eq!(repo.uncommitted_changes().unwrap(), Vec::<String>::new());
}

#[test]
fn who_commits_is_who_git_says() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("config");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        commit::identity(&git2::Config::open(&path).unwrap()).unwrap()
    };
    let nobody = ("Nocturne".to_owned(), "nocturne@localhost".to_owned());
    assert_eq!(read(""), nobody);
    assert_eq!(read("[user]\n\tname = Test Person\n"), nobody);
    let person = ("Test Person".to_owned(), "person@example.org".to_owned());
    assert_eq!(read("[user]\n\tname = Test Person\n\temail = person@example.org\n"), person);

    let fixture = Fixture::new();
    fixture.git.config().unwrap().set_str("user.name", "").unwrap();
    let repo = fixture.repo();
    assert!(matches!(repo.signature(when()), Err(RepoError::Identity { .. })));
}
