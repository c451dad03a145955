//! Which branches come of what a person accepts, found out before any of them is made: every change on the person's base by itself where it
//! fits there, else on the accepted changes that it cannot do without.
//!
//! Writes commits, to which nothing leads until [`super::branches`] is asked to make branches of them.

use serde::Serialize;

use crate::flow::CommitId;
use crate::repo::{Picked, Repo, RepoError};

/// A change that a person accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Number of its experiment.
    pub number: u32,
    /// The experiment's commit; its parent is the champion of that time.
    pub commit: CommitId,
    /// The end of the branch's name.
    pub name: String,
    /// The message of the clean commit.
    pub message: String,
    /// The clean commit's time, so that the same review makes the same commits.
    pub when: jiff::Timestamp,
    /// Experiments that had been kept before it and that its champion stood on, oldest first.
    pub stood_on: Vec<u32>,
}

/// How accepted changes are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// A branch for each change.
    Independent,
    /// One branch, a change on top of the other, in the order of their numbers.
    Stacked,
}

/// A branch that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The end of its name.
    pub name: String,
    /// Its changes in the order of their commits; the last one is what the branch is for.
    pub experiments: Vec<u32>,
    /// Its last commit.
    pub commit: CommitId,
}

/// Two branches that cannot both be merged without work by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clash {
    /// Name of one.
    pub one: String,
    /// Name of the other.
    pub other: String,
    /// Where they do not fit together, sorted.
    pub files: Vec<String>,
}

/// A change of which no branch can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// Number of its experiment.
    pub number: u32,
    /// Where it does not fit, sorted; empty where the base has all of it already.
    pub files: Vec<String>,
    /// Changes that it stood on and that were not accepted, oldest first: one of them may be what it needs.
    pub lacks: Vec<u32>,
}

impl Blocked {
    /// Why, in words.
    pub fn why(&self) -> String {
        if self.files.is_empty() {
            return "the base has all of it already".to_owned();
        }
        let at = format!("it does not fit in {}", self.files.join(", "));
        match self.lacks.as_slice() {
            [] => format!("{at}: the base has changed there since"),
            lacks => {
                let lacks: Vec<String> = lacks.iter().map(|number| format!("#{number}")).collect();
                format!("{at}: it was made on top of {}, which you have not accepted", lacks.join(", "))
            }
        }
    }
}

/// What would be made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// Branches, in the order of what they are for.
    pub branches: Vec<Planned>,
    /// Branches that do not fit together.
    pub clashes: Vec<Clash>,
    /// What does not fit at all.
    pub blocked: Vec<Blocked>,
}

/// Works out the branches for `accepted`, in the order of their numbers, on `base`. Pure but for the commits that it writes.
///
/// # Errors
/// Where the repository cannot be read or written.
pub fn plan(repo: &Repo, base: &CommitId, accepted: &[Accepted], arrangement: Arrangement) -> Result<Plan, RepoError> {
    let mut order: Vec<&Accepted> = accepted.iter().collect();
    order.sort_by_key(|change| change.number);
    match arrangement {
        Arrangement::Independent => independent(repo, base, &order),
        Arrangement::Stacked => stacked(repo, base, &order),
    }
}

fn independent(repo: &Repo, base: &CommitId, accepted: &[&Accepted]) -> Result<Plan, RepoError> {
    let mut plan = Plan::default();
    for change in accepted {
        let below: Vec<&Accepted> =
            accepted.iter().filter(|other| change.stood_on.contains(&other.number)).copied().collect();
        match series(repo, base, &[change])? {
            Series::Fits(commit) => plan.branches.push(planned(&[change], commit)),
            Series::Nothing => plan.blocked.push(blocked(change, Vec::new(), accepted)),
            Series::Conflict(files) => match on_top_of(repo, base, change, below)? {
                Some((experiments, commit)) => plan.branches.push(planned(&experiments, commit)),
                None => plan.blocked.push(blocked(change, files, accepted)),
            },
        }
    }
    for (index, one) in plan.branches.iter().enumerate() {
        for other in &plan.branches[index + 1..] {
            let for_one = |branch: &Planned| branch.experiments.last().copied();
            // A branch that has the other's change in it goes on from that.
            if for_one(one).is_some_and(|number| other.experiments.contains(&number)) {
                continue;
            }
            let files = repo.clashes(&one.commit, &other.commit)?;
            if !files.is_empty() {
                plan.clashes.push(Clash { one: one.name.clone(), other: other.name.clone(), files });
            }
        }
    }
    Ok(plan)
}

fn stacked(repo: &Repo, base: &CommitId, accepted: &[&Accepted]) -> Result<Plan, RepoError> {
    let mut plan = Plan::default();
    let mut top = base.clone();
    let mut experiments = Vec::new();
    for change in accepted {
        match repo.pick(&change.commit, &top, &change.message, change.when)? {
            Picked::Commit(commit) => {
                top = commit;
                experiments.push(change.number);
            }
            Picked::Nothing => plan.blocked.push(blocked(change, Vec::new(), accepted)),
            Picked::Conflict(files) => plan.blocked.push(blocked(change, files, accepted)),
        }
    }
    if !experiments.is_empty() {
        plan.branches.push(Planned { name: "stack".to_owned(), experiments, commit: top });
    }
    Ok(plan)
}

/// What came of putting changes on top of each other.
enum Series {
    Fits(CommitId),
    /// The last one adds nothing.
    Nothing,
    Conflict(Vec<String>),
}

/// Puts changes on the base, one on top of the other. One in the middle that adds nothing is passed over.
fn series(repo: &Repo, base: &CommitId, changes: &[&Accepted]) -> Result<Series, RepoError> {
    let mut top = base.clone();
    let mut added = false;
    for change in changes {
        match repo.pick(&change.commit, &top, &change.message, change.when)? {
            Picked::Commit(commit) => (top, added) = (commit, true),
            Picked::Nothing => added = false,
            Picked::Conflict(files) => return Ok(Series::Conflict(files)),
        }
    }
    Ok(if added { Series::Fits(top) } else { Series::Nothing })
}

/// Those of `changes` that fit on the base on top of each other, oldest first. One that does not is no hindrance to the others.
fn fitting<'a>(repo: &Repo, base: &CommitId, changes: Vec<&'a Accepted>) -> Result<Vec<&'a Accepted>, RepoError> {
    let mut top = base.clone();
    let mut fitting = Vec::new();
    for change in changes {
        if let Picked::Commit(commit) = repo.pick(&change.commit, &top, &change.message, change.when)? {
            top = commit;
            fitting.push(change);
        }
    }
    Ok(fitting)
}

/// The change on as few of `below` as it can do with, oldest first; `None` where it does not fit even on all of them that fit.
fn on_top_of<'a>(
    repo: &Repo,
    base: &CommitId,
    change: &'a Accepted,
    below: Vec<&'a Accepted>,
) -> Result<Option<(Vec<&'a Accepted>, CommitId)>, RepoError> {
    let mut below = fitting(repo, base, below)?;
    let tried = |below: &[&'a Accepted]| {
        let mut changes = below.to_vec();
        changes.push(change);
        series(repo, base, &changes)
    };
    let Series::Fits(mut commit) = tried(&below)? else { return Ok(None) };
    let mut index = 0;
    while index < below.len() {
        let mut fewer = below.clone();
        fewer.remove(index);
        match tried(&fewer)? {
            Series::Fits(found) => (below, commit) = (fewer, found),
            Series::Nothing | Series::Conflict(_) => index += 1,
        }
    }
    below.push(change);
    Ok(Some((below, commit)))
}

fn planned(changes: &[&Accepted], commit: CommitId) -> Planned {
    let name = changes.last().map(|change| change.name.clone()).unwrap_or_default();
    Planned { name, experiments: changes.iter().map(|change| change.number).collect(), commit }
}

fn blocked(change: &Accepted, files: Vec<String>, accepted: &[&Accepted]) -> Blocked {
    let has = |number: &u32| accepted.iter().any(|other| other.number == *number);
    let lacks = change.stood_on.iter().filter(|number| !has(number)).copied().collect();
    Blocked { number: change.number, files, lacks }
}
