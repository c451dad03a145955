//! Choices against the fixture's night, and branches in real repositories.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use tempfile::TempDir;

use super::*;
use crate::report::fixture;

/// Lines of a file far enough apart that changes of two of them fit together.
fn lines(changed: &[(usize, &str)]) -> String {
    let text = |index: usize| {
        let changed = changed.iter().rfind(|(at, _)| *at == index).map(|(_, text)| (*text).to_owned());
        changed.unwrap_or_else(|| format!("line {index}"))
    };
    (0..40).map(|index| text(index) + "\n").collect()
}

struct Fixture {
    _temp: TempDir,
    root: PathBuf,
    git: Repository,
}

impl Fixture {
    fn new() -> (Self, CommitId) {
        let temp = TempDir::new().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let options = &mut RepositoryInitOptions::new();
        let git = Repository::init_opts(&root, options.initial_head("work").external_template(false)).unwrap();
        let fixture = Self { _temp: temp, root, git };
        let base = fixture.commit(None, "recipe.rs", &lines(&[]));
        (fixture, base)
    }

    /// A commit on `parent` that leads nowhere but for the first.
    fn commit(&self, parent: Option<&CommitId>, file: &str, text: &str) -> CommitId {
        let who = Signature::now("Test Person", "person@example.org").unwrap();
        let parent = parent.map(|id| self.git.find_commit(id.as_str().parse().unwrap()).unwrap());
        let mut index = self.git.index().unwrap();
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree().unwrap()).unwrap();
        }
        fs::write(self.root.join(file), text).unwrap();
        index.add_all([file], IndexAddOption::DEFAULT, None).unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let head = if parent.is_none() { Some("HEAD") } else { None };
        let id = self.git.commit(head, &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap();
        id.to_string().parse().unwrap()
    }

    fn repo(&self) -> Repo {
        Repo::discover(&self.root).unwrap()
    }

    fn text(&self, commit: &CommitId, file: &str) -> String {
        let commit = self.git.find_commit(commit.as_str().parse().unwrap()).unwrap();
        let entry = commit.tree().unwrap().get_path(Path::new(file)).unwrap();
        String::from_utf8(self.git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap()
    }
}

fn change(number: u32, commit: &CommitId, stood_on: &[u32]) -> Accepted {
    Accepted {
        number,
        commit: commit.clone(),
        name: format!("{number:03}-idea"),
        message: format!("Idea {number}\n"),
        when: jiff::Timestamp::UNIX_EPOCH,
        stood_on: stood_on.to_vec(),
    }
}

/// Changes 1 (line 5), 2 (line 15), 3 (line 5 again, made of what 1 made of it) and 4 (line 30), each on top of those before.
fn night() -> (Fixture, CommitId, Vec<Accepted>) {
    let (fixture, base) = Fixture::new();
    let one = fixture.commit(Some(&base), "recipe.rs", &lines(&[(5, "one")]));
    let two = fixture.commit(Some(&one), "recipe.rs", &lines(&[(5, "one"), (15, "two")]));
    let three = fixture.commit(Some(&two), "recipe.rs", &lines(&[(5, "three"), (15, "two")]));
    let four = fixture.commit(Some(&three), "recipe.rs", &lines(&[(5, "three"), (15, "two"), (30, "four")]));
    let accepted =
        vec![change(1, &one, &[]), change(2, &two, &[1]), change(3, &three, &[1, 2]), change(4, &four, &[1, 2, 3])];
    (fixture, base, accepted)
}

#[test]
fn each_change_stands_on_the_base_with_no_more_than_it_needs() {
    let (fixture, base, accepted) = night();
    let repo = fixture.repo();
    let plan = plan(&repo, &base, &accepted, Arrangement::Independent).unwrap();
    assert_eq!((plan.clashes.len(), plan.blocked.len()), (0, 0), "{plan:?}");
    let experiments: Vec<&[u32]> = plan.branches.iter().map(|branch| branch.experiments.as_slice()).collect();
    // Only the third needs another, and not the second.
    assert_eq!(experiments, [&[1][..], &[2], &[1, 3], &[4]]);
    let expected = [&[(5, "one")][..], &[(15, "two")], &[(5, "three")], &[(30, "four")]];
    for (branch, expected) in plan.branches.iter().zip(expected) {
        assert_eq!(fixture.text(&branch.commit, "recipe.rs"), lines(expected), "{}", branch.name);
    }
    // What it stands on is the very commit of the other branch.
    assert_eq!(repo.parent(&plan.branches[2].commit).unwrap(), Some(plan.branches[0].commit.clone()));
    assert_eq!(super::plan(&repo, &base, &accepted, Arrangement::Independent).unwrap(), plan, "not repeatable");
}

#[test]
fn a_stack_has_all_in_order() {
    let (fixture, base, mut accepted) = night();
    accepted.reverse();
    let plan = plan(&fixture.repo(), &base, &accepted, Arrangement::Stacked).unwrap();
    assert_eq!(plan.branches.len(), 1);
    assert_eq!((plan.branches[0].name.as_str(), plan.branches[0].experiments.as_slice()), ("stack", &[1, 2, 3, 4][..]));
    let all = lines(&[(5, "three"), (15, "two"), (30, "four")]);
    assert_eq!(fixture.text(&plan.branches[0].commit, "recipe.rs"), all);
}

#[test]
fn what_does_not_fit_says_why_beforehand() {
    let (fixture, base, accepted) = night();
    let repo = fixture.repo();
    // The third was made of what the first made of the line, and the first is not wanted.
    let without: Vec<Accepted> = accepted.iter().filter(|it| it.number != 1).cloned().collect();
    let plan = plan(&repo, &base, &without, Arrangement::Independent).unwrap();
    assert_eq!(plan.branches.iter().map(|it| it.experiments[0]).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(plan.blocked, [Blocked { number: 3, files: vec!["recipe.rs".to_owned()], lacks: vec![1] }]);
    assert!(plan.blocked[0].why().contains("on top of #1, which you have not accepted"), "{}", plan.blocked[0].why());

    // Two changes of one line, each fine by itself.
    let other = fixture.commit(Some(&base), "recipe.rs", &lines(&[(5, "other")]));
    let both = [accepted[0].clone(), change(9, &other, &[])];
    let plan = super::plan(&repo, &base, &both, Arrangement::Independent).unwrap();
    assert_eq!(plan.branches.len(), 2);
    let clash = Clash { one: "001-idea".to_owned(), other: "009-idea".to_owned(), files: vec!["recipe.rs".to_owned()] };
    assert_eq!(plan.clashes, [clash]);
    let plan = super::plan(&repo, &base, &both, Arrangement::Stacked).unwrap();
    assert_eq!((plan.branches[0].experiments.as_slice(), plan.blocked[0].number), (&[1][..], 9));

    // The person's base has moved on: one change is in it already, one of the same line is in the way.
    let moved = fixture.commit(Some(&base), "recipe.rs", &lines(&[(15, "two"), (30, "mine")]));
    let plan = super::plan(&repo, &moved, &accepted, Arrangement::Independent).unwrap();
    let blocked: Vec<(u32, String)> = plan.blocked.iter().map(|it| (it.number, it.why())).collect();
    assert_eq!(blocked[0], (2, "the base has all of it already".to_owned()));
    assert_eq!(blocked[1], (4, "it does not fit in recipe.rs: the base has changed there since".to_owned()));
}

#[test]
fn one_that_does_not_fit_does_not_keep_others_from_what_they_need() {
    let (fixture, base, accepted) = night();
    let repo = fixture.repo();
    // The base has changed where the second change would: the third needs the first alone and gets it.
    let moved = fixture.commit(Some(&base), "recipe.rs", &lines(&[(15, "mine")]));
    let plan = plan(&repo, &moved, &accepted, Arrangement::Independent).unwrap();
    let experiments: Vec<&[u32]> = plan.branches.iter().map(|branch| branch.experiments.as_slice()).collect();
    assert_eq!(experiments, [&[1][..], &[1, 3], &[4]]);
    assert_eq!(plan.blocked.iter().map(|blocked| blocked.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn branches_on_the_same_change_clash_only_where_a_merge_would() {
    let (fixture, base) = Fixture::new();
    let repo = fixture.repo();
    let first = fixture.commit(Some(&base), "recipe.rs", &lines(&[(5, "one"), (6, "one")]));
    // Both need the first: they change lines that it made, and not the same ones.
    let above = fixture.commit(Some(&first), "recipe.rs", &lines(&[(5, "two"), (6, "one"), (20, "two")]));
    let below = fixture.commit(Some(&first), "notes.txt", "three\n");
    let below = fixture.commit(Some(&below), "recipe.rs", &lines(&[(5, "one"), (6, "one"), (30, "three")]));
    let accepted = [change(1, &first, &[]), change(2, &above, &[1]), change(3, &below, &[1])];
    let plan = plan(&repo, &base, &accepted, Arrangement::Independent).unwrap();
    assert_eq!(plan.clashes, [], "{plan:?}");
    // As a merge with the base for an ancestor would not have it.
    assert!(repo.clashes(&plan.branches[1].commit, &plan.branches[0].commit).unwrap().is_empty());
}

#[test]
fn branches_are_made_once_and_never_moved() {
    let (fixture, base, accepted) = night();
    let repo = fixture.repo();
    let records = fixture::empty();
    let first = plan(&repo, &base, &accepted[..2], Arrangement::Independent).unwrap();
    let made = branches(&repo, &records, &first).unwrap();
    assert_eq!(made[0].branch, "nocturne/quickstart/n/accepted/001-idea");
    assert_eq!(branches(&repo, &records, &first).unwrap(), made, "made again");
    // The person works on one of them; a review on another base gives it another name.
    let moved = fixture.commit(Some(&base), "notes.txt", "mine\n");
    let second = plan(&repo, &moved, &accepted[..1], Arrangement::Independent).unwrap();
    let again = branches(&repo, &records, &second).unwrap();
    assert_eq!(again[0].branch, "nocturne/quickstart/n/accepted/001-idea-2");
    let name = "refs/heads/nocturne/quickstart/n/accepted/001-idea";
    let at = fixture.git.refname_to_id(name).unwrap().to_string();
    assert_eq!(at, made[0].commit.to_string());
    // The night's own branches are not mixed up with them.
    assert!(repo.branches(&"quickstart".parse().unwrap(), &records.night.id).unwrap().is_empty());
}

#[test]
fn choices_are_checked_against_what_was_found() {
    let records = fixture::night();
    let id = |number: u32| ExperimentId { night: records.night.id.clone(), number };
    let kept = records
        .experiments
        .iter()
        .find(|it| why_not(&records, it).is_none() && it.id.number > 0)
        .expect("the fixture has a kept experiment")
        .id
        .number;
    assert_eq!(check(&records, &id(kept), ReviewChoice::Accepted, " fine \n").unwrap(), "fine");
    assert!(matches!(check(&records, &id(kept), ReviewChoice::Rejected, " \n"), Err(ReviewError::NoReason)));
    let long = "x".repeat(MOST_REASON + 1);
    assert!(matches!(check(&records, &id(kept), ReviewChoice::Deferred, &long), Err(ReviewError::TooLong(_))));
    for number in [0, 4_000] {
        let refused = check(&records, &id(number), ReviewChoice::Deferred, "");
        assert!(matches!(refused, Err(ReviewError::NoSuchExperiment(_))), "{number}");
    }
    for experiment in records.experiments.iter().filter(|it| it.id.number > 0) {
        let verdict = experiment.decision.as_ref().map(|decision| decision.verdict);
        let acceptable = check(&records, &experiment.id, ReviewChoice::Accepted, "").is_ok();
        if matches!(verdict, None | Some(Verdict::Invalid | Verdict::Crashed | Verdict::Unbuildable)) {
            assert!(!acceptable, "{}", experiment.id);
        }
    }
}

#[test]
fn what_waits_is_what_was_kept_and_not_decided() {
    let records = fixture::night();
    let before: Vec<u32> = waiting(&records, &[]).iter().map(|it| it.id.number).collect();
    assert!(!before.is_empty());
    let review = |number: u32, ordinal: u32, choice: ReviewChoice| ReviewRecord {
        ordinal,
        experiment: ExperimentId { night: records.night.id.clone(), number },
        choice,
        reason: "because".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let first = before[0];
    for (choice, waits) in
        [(ReviewChoice::Accepted, false), (ReviewChoice::Rejected, false), (ReviewChoice::Deferred, true)]
    {
        let now = waiting(&records, &[review(first, 1, choice)]);
        assert_eq!(now.iter().any(|it| it.id.number == first), waits, "{choice}");
    }
    // The last word counts.
    let changed = [review(first, 1, ReviewChoice::Accepted), review(first, 2, ReviewChoice::Rejected)];
    assert!(accepted(&records, &changed).is_empty());
    let wanted = accepted(&records, &changed[..1]);
    assert_eq!(wanted.len(), 1);
    insta::assert_snapshot!(wanted[0].message);
}

#[test]
fn what_leaving_it_out_came_to_is_told_of_the_change_that_was_left_out() {
    let mut records = fixture::night();
    let id = |number: u32| ExperimentId { night: "n".parse().unwrap(), number };
    let told = left_out(&records, &id(1));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("Without it the champion changed by +0.0035"), "{told:?}");
    assert!(left_out(&records, &id(2)).is_empty() && left_out(&records, &id(11)).is_empty());
    let measured = records.experiments.iter_mut().find(|it| it.proposal.author.proposer == LEAVE_ONE_OUT).unwrap();
    measured.proposal.key = "n/1 without n/0".to_owned();
    let told = left_out(&records, &id(1));
    assert!(told[0].starts_with("Without n/0, one of its ideas the champion changed"), "{told:?}");
}
