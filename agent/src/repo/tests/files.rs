//! What is committed and exported, and what is refused.

use super::*;

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
fn the_checkout_is_exported_as_it_is_on_disk() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let start = repo.start().unwrap().commit;
    let temp = TempDir::new().unwrap();
    let slot = temp.path().join("source");
    let clean = Checkout { commit: Some(start.clone()), modified: false };
    assert_eq!(repo.export_checkout(&slot).unwrap(), clean);
    // Byte for byte what the commit holds, modes included.
    assert_eq!(repo.export(&start, &slot).unwrap(), Exported { written: 0, unchanged: 10, removed: 0 });

    fixture.write(RECIPE, "fn edited() {}\n");
    fixture.write("trainer/src/new/deep.rs", "// not added\n");
    fixture.write("target/debug/built", "ignored");
    fs::remove_file(fixture.root.join("docs/old.txt")).unwrap();
    let before = fixture.everything();
    assert_eq!(repo.export_checkout(&slot).unwrap(), Checkout { modified: true, ..clean });
    assert_eq!(fixture.everything(), before);
    let text = |path: &str| fs::read_to_string(slot.join(path));
    assert_eq!(text(RECIPE).unwrap(), "fn edited() {}\n");
    assert_eq!(text("trainer/src/new/deep.rs").unwrap(), "// not added\n");
    assert!(text("docs/old.txt").is_err() && text("target/debug/built").is_err());
    assert_eq!(repo.export(&start, &slot).unwrap(), Exported { written: 2, unchanged: 8, removed: 1 });

    symlink("/etc/passwd", fixture.root.join("trainer/src/linked.rs")).unwrap();
    let message = repo.export_checkout(&slot).unwrap_err().to_string();
    assert!(message.contains("trainer/src/linked.rs is a symbolic link"), "{message}");
    let empty = Fixture::without_commits();
    assert_eq!(empty.repo().export_checkout(&slot).unwrap(), Checkout { commit: None, modified: false });
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

#[test]
fn of_the_trainer_only_what_is_text_and_public_is_read() {
    let fixture = Fixture::new();
    for path in ["trainer/harness/src/lib.rs", "trainer/harness/src/a/b.rs", "trainer/src/bin/redteam/model.rs", "a.rs"]
    {
        fixture.write(path, "// text\n");
    }
    fixture.write("trainer/harness/src/large.rs", &"x".repeat(200 * 1024));
    fs::write(fixture.root.join("trainer/harness/src/binary.rs"), [0xff, 0xfe]).unwrap();
    symlink("/etc/passwd", fixture.root.join("trainer/harness/src/link.rs")).unwrap();
    let commit = fixture.commit_all();
    let files = fixture.repo().harness_files(&commit).unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["trainer/harness/src/a/b.rs", "trainer/harness/src/lib.rs", "trainer/src/main.rs"]);
    assert_eq!(files[1].text, "// text\n");
}
