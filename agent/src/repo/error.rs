//! What can be wrong with a repository. Each message says what to do about it.

use std::path::PathBuf;

use crate::flow::{BadName, CommitId};

/// A repository that cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// No repository.
    #[error("{} is not in a git repository; run this inside a clone of the project, or `git init` and commit it", path.display())]
    NotARepository {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error(
        "the git repository at {0} belongs to another user, and git does not trust it; if you do, run \
         `git config --global --add safe.directory '{0}'`",
        path.display()
    )]
    NotOwned {
        /// Where it is.
        path: PathBuf,
    },
    /// It has no checkout.
    #[error("{} is a bare repository; run this in a checkout of it (`git clone` or `git worktree add`)", path.display())]
    Bare {
        /// Where it is.
        path: PathBuf,
    },
    /// It has no commits.
    #[error("the repository at {} has no commits on its current branch; commit the project first: a night starts from a commit", root.display())]
    NoCommits {
        /// Its checkout.
        root: PathBuf,
    },
    /// HEAD is on no branch.
    #[error("HEAD is detached at {}: a night starts from a branch{what_to_do}", commit.short())]
    DetachedHead {
        /// The commit.
        commit: CommitId,
        /// How to get onto a branch.
        what_to_do: &'static str,
    },
    /// The commit lacks a file that experiments edit, or has something else in its place.
    #[error("commit {}: {path} {problem}; start from a commit that has the whole trainer", commit.short())]
    CandidateFile {
        /// The commit.
        commit: CommitId,
        /// The file.
        path: String,
        /// `is missing`, ...
        problem: String,
    },
    /// A branch has the name that a folder of branches needs.
    #[error(
        "the branch `{branch}` is in the way of the branches `{branch}/...` of the nights; rename it: `git branch -m {branch} {branch}-mine`"
    )]
    BranchInTheWay {
        /// The branch.
        branch: String,
    },
    /// A tree holds something that cannot be written out.
    #[error("commit {}: {path} {problem}; remove it from the repository, since the trainer is built from a copy of all files", commit.short())]
    Unexportable {
        /// The commit.
        commit: CommitId,
        /// The entry.
        path: String,
        /// `is a symbolic link`, ...
        problem: &'static str,
    },
    /// The checkout holds something that cannot be written out.
    #[error("{} {problem}; remove it, since the trainer is built from a copy of all files", path.display())]
    UnexportableCheckout {
        /// The file.
        path: PathBuf,
        /// `is a symbolic link`, ...
        problem: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// A patch was checked against another commit than the one it is to be put on.
    #[error("{path} in commit {} is not the file that the patch was checked against; check the proposal again on this commit", parent.short())]
    StalePatch {
        /// The commit.
        parent: CommitId,
        /// The file.
        path: String,
    },
    /// A patch of a file that is not the candidate's.
    #[error(
        "{path} is not one of the candidate's files, so no experiment may change it; this is a mistake of nocturne's"
    )]
    NotEditable {
        /// The file.
        path: String,
    },
    /// A text that cannot be part of a branch's name.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The branch, or one of the same number, is there and holds another commit.
    #[error("the branch `{branch}` exists already, at commit {}; an experiment's branch is never moved", found.short())]
    BranchTaken {
        /// The branch that is there.
        branch: String,
        /// Its commit.
        found: CommitId,
    },
    /// The champion's branch is not where it was left.
    #[error(
        "the branch `{branch}` should be {} and is {}; something else moved it, so it is left as it is",
        place(expected.as_ref()),
        place(found.as_ref())
    )]
    ChampionMoved {
        /// The branch.
        branch: String,
        /// Where it was left; `None`: not there yet.
        expected: Option<CommitId>,
        /// Where it is.
        found: Option<CommitId>,
    },
    /// A champion that does not descend from the one before.
    #[error("the branch `{branch}` only moves forward: {} does not descend from {}", to.short(), from.short())]
    NotForward {
        /// The branch.
        branch: String,
        /// Where it is.
        from: CommitId,
        /// Where it should have gone.
        to: CommitId,
    },
    /// The branch to move is somebody's current branch.
    #[error("the branch `{branch}` is checked out (see {}), and a checked-out branch is never moved; switch to another one", at.display())]
    CheckedOut {
        /// The branch.
        branch: String,
        /// The file of git's that says so.
        at: PathBuf,
    },
    /// Every name that a new branch might have had is taken.
    #[error(
        "the branches `{branch}` to `{branch}-99` are all there already; delete those that you no longer need (`git branch -D`)"
    )]
    TooManyBranches {
        /// The first of them.
        branch: String,
    },
    /// A name that stands for no commit.
    #[error("{name:?} is no branch, tag or commit of this repository ({reason})")]
    NoSuchRevision {
        /// As given.
        name: String,
        /// The library's words.
        reason: String,
    },
    /// `user.name` or `user.email` cannot be used.
    #[error(
        "git's user.name ({name:?}) and user.email ({email:?}) cannot sign a commit: {reason}; set them with `git config --global`"
    )]
    Identity {
        /// As configured.
        name: String,
        /// As configured.
        email: String,
        /// The library's words.
        reason: String,
    },
    /// Git's library failed.
    #[error("cannot {action}: {}", source.message())]
    Git {
        /// What was tried.
        action: String,
        /// Its answer.
        source: git2::Error,
    },
}

fn place(commit: Option<&CommitId>) -> String {
    commit.map_or_else(|| "absent".to_owned(), |commit| format!("at {}", commit.short()))
}

/// Gives an error of git's library its place.
pub(super) fn git(action: impl Into<String>) -> impl FnOnce(git2::Error) -> RepoError {
    let action = action.into();
    move |source| RepoError::Git { action, source }
}
