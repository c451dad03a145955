//! Branches, the champion among them, and notes.

use super::*;

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
fn a_lock_that_a_killed_night_left_is_removed_and_others_stay() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let (campaign, night) = (campaign(), night());
    let start = repo.start().unwrap().commit;
    repo.advance_champion(&campaign, &night, None, &start).unwrap();
    let heads = fixture.git.commondir().join("refs/heads");
    let own = heads.join(format!("{}.lock", champion_name(&campaign, &night)));
    let theirs = heads.join("work.lock");
    for lock in [&own, &theirs] {
        std::fs::write(lock, "").unwrap();
    }
    let one = candidate(&repo, &start, 1, "fn one() {}\n").commit;
    assert!(repo.advance_champion(&campaign, &night, Some(&start), &one).is_err());
    assert_eq!(repo.remove_left_locks(&campaign, &night).unwrap(), [own]);
    assert!(theirs.exists());
    repo.advance_champion(&campaign, &night, Some(&start), &one).unwrap();
    assert!(repo.remove_left_locks(&campaign, &night).unwrap().is_empty());
}
