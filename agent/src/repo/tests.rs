//! Repositories in every state that a person may have left them in.

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
fn a_night_leaves_branches_commits_and_notes() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let start = repo.start().unwrap().commit;
    let one = candidate(&repo, &start, 1, "fn one() {}\n");
    assert_eq!(one, candidate(&repo, &start, 1, "fn one() {}\n"), "the same arguments make the same commit");
    assert_eq!(repo.parent(&one.commit).unwrap(), Some(start.clone()));
    assert_eq!(repo.experiment_of(&one.commit).unwrap(), Some(experiment(1)));
    assert_eq!(repo.experiment_of(&start).unwrap(), None);
    let commit = fixture.git.find_commit(oid(&one.commit).unwrap()).unwrap();
    assert_eq!(commit.author().name(), Ok("Test Person"));
    assert_eq!(commit.committer().when().seconds(), when().as_second());
    let modes = |id: &CommitId| -> Vec<i32> { repo.tree(id).unwrap().iter().map(|entry| entry.filemode()).collect() };
    assert_eq!(modes(&one.commit), modes(&start));
    insta::assert_snapshot!(repo.diff(&start, &one.commit).unwrap(), @r"
    diff --git a/trainer/src/candidate/recipe.rs b/trainer/src/candidate/recipe.rs
    index 1bde724..cf327e3 100644
    --- a/trainer/src/candidate/recipe.rs
    +++ b/trainer/src/candidate/recipe.rs
    @@ -1,3 +1 @@
    -fn a(x: f64) -> f64 {
    -    x * 0.5
    -}
    +fn one() {}
    ");

    let name = repo.create_branch(&experiment(1), &campaign(), "halve-again", &one.commit).unwrap();
    assert_eq!(name, "nocturne/quick/2026-03-08-k4/001-halve-again");
    assert_eq!(repo.create_branch(&experiment(1), &campaign(), "halve-again", &one.commit).unwrap(), name);
    let two = candidate(&repo, &one.commit, 2, "fn two() {}\n");
    repo.create_branch(&experiment(12), &campaign(), "two", &two.commit).unwrap();
    for slug in ["halve-again", "other"] {
        let taken = repo.create_branch(&experiment(1), &campaign(), slug, &two.commit);
        assert!(matches!(taken, Err(RepoError::BranchTaken { found, .. }) if found == one.commit));
    }
    for slug in ["", "../x", "A", "a b", &"a".repeat(41)] {
        assert!(matches!(
            repo.create_branch(&experiment(3), &campaign(), slug, &two.commit),
            Err(RepoError::BadName(_))
        ));
    }
    repo.advance_champion(&campaign(), &night(), None, &start).unwrap();
    let branches = repo.branches(&campaign(), &night()).unwrap();
    let listed: Vec<_> = branches.into_iter().map(|branch| (branch.number, branch.commit)).collect();
    assert_eq!(listed, [(1, one.commit.clone()), (12, two.commit)]);
    assert_eq!(repo.branches(&"other".parse().unwrap(), &night()).unwrap(), []);

    assert_eq!(repo.note(&one.commit).unwrap(), None);
    for (text, expected) in [("kept", "kept\n"), ("kept", "kept\n"), ("dis\u{1b}carded\n\n", "discarded\n")] {
        repo.add_note(&one.commit, text, when()).unwrap();
        assert_eq!(repo.note(&one.commit).unwrap().as_deref(), Some(expected));
    }
    let notes = fixture.git.find_reference(NOTES).unwrap().peel_to_commit().unwrap();
    assert_eq!(notes.parent(0).unwrap().parent_count(), 0, "the same note again makes no new commit");
}

#[test]
fn the_champion_only_moves_forward() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let (campaign, night) = (campaign(), night());
    let start = repo.start().unwrap().commit;
    let one = candidate(&repo, &start, 1, "fn one() {}\n").commit;
    let side = candidate(&repo, &start, 2, "fn side() {}\n").commit;
    let two = candidate(&repo, &one, 3, "fn two() {}\n").commit;
    let advance = |from: Option<&CommitId>, to: &CommitId| repo.advance_champion(&campaign, &night, from, to);
    let at = || repo.champion(&campaign, &night).unwrap();

    assert!(matches!(advance(Some(&start), &one), Err(RepoError::ChampionMoved { found: None, .. })));
    assert_eq!(at(), None);
    advance(None, &start).unwrap();
    advance(None, &start).unwrap();
    assert!(matches!(advance(None, &one), Err(RepoError::ChampionMoved { .. })));
    advance(Some(&start), &one).unwrap();
    advance(Some(&start), &one).unwrap();
    for (from, to) in [(&one, &side), (&one, &start)] {
        assert!(matches!(advance(Some(from), to), Err(RepoError::NotForward { .. })));
    }
    assert!(matches!(advance(Some(&start), &two), Err(RepoError::ChampionMoved { found: Some(_), .. })));
    assert_eq!(at(), Some(one.clone()));

    // Not even forward under somebody's feet, here or in a linked worktree.
    let branch = format!("refs/heads/{}", champion_name(&campaign, &night));
    fixture.git.set_head(&branch).unwrap();
    assert!(matches!(advance(Some(&one), &two), Err(RepoError::CheckedOut { .. })));
    fixture.git.set_head("refs/heads/work").unwrap();
    let reference = fixture.git.find_reference(&branch).unwrap();
    let elsewhere = fixture.root.join("../linked champion");
    let mut options = git2::WorktreeAddOptions::new();
    fixture.git.worktree("linked", &elsewhere, Some(options.reference(Some(&reference)))).unwrap();
    assert!(matches!(advance(Some(&one), &two), Err(RepoError::CheckedOut { .. })));
    Repository::open(&elsewhere).unwrap().set_head_detached(oid(&start).unwrap()).unwrap();
    advance(Some(&one), &two).unwrap();
    assert_eq!(at(), Some(two));
}

#[test]
fn a_champion_that_broke_a_rule_gives_its_branch_back_to_the_one_before() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let (campaign, night) = (campaign(), night());
    let start = repo.start().unwrap().commit;
    let one = candidate(&repo, &start, 1, "fn one() {}\n").commit;
    let side = candidate(&repo, &start, 2, "fn side() {}\n").commit;
    let two = candidate(&repo, &one, 3, "fn two() {}\n").commit;
    for (from, to) in [(None, &start), (Some(&start), &one), (Some(&one), &two)] {
        repo.advance_champion(&campaign, &night, from, to).unwrap();
    }
    let retreat = |from: &CommitId, to: &CommitId| repo.retreat_champion(&campaign, &night, from, to);
    assert!(matches!(retreat(&one, &start), Err(RepoError::ChampionMoved { found: Some(_), .. })));
    assert!(matches!(retreat(&two, &side), Err(RepoError::NotForward { .. })));
    let branch = format!("refs/heads/{}", champion_name(&campaign, &night));
    fixture.git.set_head(&branch).unwrap();
    assert!(matches!(retreat(&two, &one), Err(RepoError::CheckedOut { .. })));
    fixture.git.set_head("refs/heads/work").unwrap();
    for _ in 0..2 {
        retreat(&two, &one).unwrap();
        assert_eq!(repo.champion(&campaign, &night).unwrap(), Some(one.clone()));
    }
}

#[test]
fn a_patch_goes_only_onto_the_files_it_was_checked_against() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let start = repo.start().unwrap().commit;
    let one = candidate(&repo, &start, 1, "fn one() {}\n").commit;
    let old_files = repo.candidate_files(&start).unwrap();
    let patch = CheckedPatch::check(&proposal("fn two() {}\n"), &old_files, &Policy::default()).unwrap();
    let result = repo.commit_patch(&one, &patch, "x", when());
    assert!(matches!(result, Err(RepoError::StalePatch { path, .. }) if path == RECIPE));
}

#[test]
fn an_export_writes_only_what_changed() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let start = repo.start().unwrap().commit;
    let one = candidate(&repo, &start, 1, "fn one() {}\n").commit;
    let temp = TempDir::new().unwrap();
    let slot = temp.path().join("slot one/source");
    let outside = temp.path().join("outside");
    fs::create_dir_all(outside.join("candidate")).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();

    assert_eq!(repo.export(&start, &slot).unwrap(), Exported { written: 10, unchanged: 0, removed: 0 });
    assert_eq!(fs::read(slot.join("docs/crlf notes.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert!(fs::metadata(slot.join("run")).unwrap().mode() & 0o100 != 0);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for path in ["Cargo.toml", RECIPE] {
        fs::File::open(slot.join(path)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(repo.export(&one, &slot).unwrap(), Exported { written: 1, unchanged: 9, removed: 0 });
    let modified = |path: &str| fs::metadata(slot.join(path)).unwrap().modified().unwrap();
    assert_eq!(modified("Cargo.toml"), old);
    assert_ne!(modified(RECIPE), old);

    // Whatever else has come to lie there goes, and links are never followed.
    fs::write(slot.join("stray.rs"), "").unwrap();
    fs::create_dir_all(slot.join("stray/deep")).unwrap();
    symlink(&outside, slot.join("stray/link")).unwrap();
    fs::remove_dir_all(slot.join("trainer/src")).unwrap();
    symlink(&outside, slot.join("trainer/src")).unwrap();
    fs::remove_file(slot.join("run")).unwrap();
    fs::create_dir(slot.join("run")).unwrap();
    fs::remove_file(slot.join("Cargo.toml")).unwrap();
    symlink(outside.join("precious"), slot.join("Cargo.toml")).unwrap();
    // Of the right length, by another name elsewhere.
    fs::remove_file(slot.join("docs/old.txt")).unwrap();
    fs::write(outside.join("twin"), "odd\n").unwrap();
    fs::hard_link(outside.join("twin"), slot.join("docs/old.txt")).unwrap();
    repo.export(&start, &slot).unwrap();
    let mut files = BTreeMap::new();
    collect(&slot, &mut files);
    let fresh = temp.path().join("fresh");
    repo.export(&start, &fresh).unwrap();
    let mut expected = BTreeMap::new();
    collect(&fresh, &mut expected);
    let below = |files: BTreeMap<PathBuf, (u32, Vec<u8>)>, root: &Path| -> Vec<_> {
        files.into_iter().map(|(path, file)| (path.strip_prefix(root).unwrap().to_owned(), file)).collect()
    };
    assert_eq!(below(files, &slot), below(expected, &fresh));
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
    assert_eq!(fs::read(outside.join("twin")).unwrap(), b"odd\n");
    assert_eq!(fs::read_dir(outside.join("candidate")).unwrap().count(), 0);
}

#[test]
fn links_and_submodules_in_a_commit_are_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    symlink("/etc/passwd", fixture.root.join("trainer/src/linked.rs")).unwrap();
    let commit = fixture.commit_all();
    let slot = TempDir::new().unwrap();
    let message = fixture.repo().export(&commit, slot.path()).unwrap_err().to_string();
    assert!(message.contains("trainer/src/linked.rs is a symbolic link"), "{message}");
    assert_eq!(fs::read_dir(slot.path()).unwrap().count(), 0);

    fs::remove_file(fixture.root.join(RECIPE)).unwrap();
    symlink("model.rs", fixture.root.join(RECIPE)).unwrap();
    let commit = fixture.commit_all();
    let message = fixture.repo().candidate_files(&commit).unwrap_err().to_string();
    assert!(message.contains("recipe.rs is not a regular file"), "{message}");
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

#[test]
fn an_experiment_is_committed_onto_regular_files_only() {
    let above = "trainer/src/candidate";
    let cases: [(&str, i32, &str); 6] = [
        (RECIPE, 0o120_000, "is not a regular file"),
        (RECIPE, 0o160_000, "is not a regular file"),
        (RECIPE, 0o100_755, "is executable"),
        (above, 0o120_000, "lies behind a symbolic link, candidate"),
        ("trainer", 0o160_000, "lies in a submodule, trainer"),
        ("trainer/src", 0o100_644, "is missing"),
    ];
    for (path, mode, expected) in cases {
        let fixture = Fixture::new();
        let repo = fixture.repo();
        let start = repo.start().unwrap().commit;
        let files = repo.candidate_files(&start).unwrap();
        let patch = CheckedPatch::check(&proposal("fn one() {}\n"), &files, &Policy::default()).unwrap();
        // The same file, or what stands in its place, under another mode.
        let head = fixture.git.find_commit(oid(&start).unwrap()).unwrap();
        let tree = head.tree().unwrap();
        let entry = tree.get_path(Path::new(path)).unwrap();
        let blob = fixture.git.blob(b"../../elsewhere").unwrap();
        let id = if entry.filemode() & 0o170_000 == mode & 0o170_000 { entry.id() } else { blob };
        let id = if mode == 0o160_000 { head.id() } else { id };
        let tree = with_entry(&fixture.git, &tree, path, id, mode);
        let who = head.author();
        let commit =
            fixture.git.commit(None, &who, &who, "x", &fixture.git.find_tree(tree).unwrap(), &[&head]).unwrap();
        let parent = commit_id(commit).unwrap();
        for error in
            [repo.commit_patch(&parent, &patch, "x", when()).unwrap_err(), repo.candidate_files(&parent).unwrap_err()]
        {
            let RepoError::CandidateFile { problem, .. } = &error else { panic!("{path} {mode:o}: {error}") };
            assert!(problem.contains(expected), "{path} {mode:o}: {error}");
        }
    }
    // And what is committed is one.
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let one = candidate(&repo, &repo.start().unwrap().commit, 1, "fn one() {}\n").commit;
    let entry = repo.tree(&one).unwrap().get_path(Path::new(RECIPE)).unwrap();
    assert_eq!(entry.filemode(), 0o100_644);
}

/// `tree` with another entry at `path`; written by hand, since git's own helpers refuse some of these.
fn with_entry(git: &Repository, tree: &git2::Tree<'_>, path: &str, id: git2::Oid, mode: i32) -> git2::Oid {
    let mut builder = git.treebuilder(Some(tree)).unwrap();
    match path.split_once('/') {
        None => builder.insert(path, id, mode).map(|_| ()).unwrap(),
        Some((folder, rest)) => {
            let inner = git.find_tree(tree.get_name(folder).unwrap().id()).unwrap();
            let inner = with_entry(git, &inner, rest, id, mode);
            builder.insert(folder, inner, 0o040_000).map(|_| ()).unwrap();
        }
    }
    builder.write().unwrap()
}
