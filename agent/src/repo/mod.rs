//! The person's git repository: what a night reads from it and the few things it adds.
//!
//! Objects and references are written directly. The person's checkout, index, HEAD, current branch and everything not yet
//! committed are never touched; only `refs/heads/nocturne/*` and `refs/notes/nocturne` are ever written, each by
//! compare-and-swap, and nothing is deleted, nor moved back but for the champion's branch when the champion broke a rule. Every write
//! is idempotent: done again after a crash, with the same arguments, it ends in the same state.
//!
//! Synchronous and not shareable: one [`Repo`] serves one thread at a time. It is `Send`, and [`Repo::reopen`] is cheap.

mod commit;
mod error;
mod export;
mod harness;
mod locks;
mod message;
mod own;
mod pick;
mod read;
mod references;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Oid, Repository, RepositoryState};

pub use error::RepoError;
pub use export::{Checkout, Exported};
pub use message::{accepted_message, commit_message, slug};
pub use own::begin_own;
pub use pick::{Picked, accepted_name};
pub use references::{Branch, branch_name, champion_name};

use crate::flow::CommitId;
use error::git;

/// The reference that holds the notes.
pub const NOTES: &str = "refs/notes/nocturne";

/// An open repository with a checkout.
pub struct Repo {
    git: Repository,
    root: PathBuf,
}

/// Where a night starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The commit that HEAD names.
    pub commit: CommitId,
    /// The current branch, without `refs/heads/`.
    pub branch: String,
}

impl Repo {
    /// Opens the repository that `path` lies in; a subfolder or a linked worktree will do. Reading commands need no more; a night
    /// asks for [`Repo::start`] as well.
    ///
    /// # Errors
    /// There is none, it is bare, it belongs to another user, or git's library cannot read it.
    pub fn discover(path: &Path) -> Result<Self, RepoError> {
        let git = Repository::discover(path).map_err(|source| match source.code() {
            ErrorCode::NotFound => RepoError::NotARepository { path: path.to_owned() },
            ErrorCode::Owner => RepoError::NotOwned { path: path.to_owned() },
            _ => RepoError::Git { action: format!("open the repository at {}", path.display()), source },
        })?;
        let Some(workdir) = git.workdir() else {
            return Err(RepoError::Bare { path: git.path().to_owned() });
        };
        // Without the slash at the end that git's library puts there.
        let root = workdir.components().collect();
        Ok(Self { git, root })
    }

    /// Opens the same repository again, for another thread.
    pub fn reopen(&self) -> Result<Self, RepoError> {
        Self::discover(&self.root)
    }

    /// The folder of the checkout that was discovered; of the linked worktree, if it is one.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks that a night can start from here and says from what. Writes nothing.
    ///
    /// # Errors
    /// No commits, a detached HEAD, no trainer in the commit, or a branch `nocturne` where a folder of branches has to be.
    pub fn start(&self) -> Result<Start, RepoError> {
        let head = self.git.head().map_err(|source| match source.code() {
            ErrorCode::UnbornBranch | ErrorCode::NotFound => RepoError::NoCommits { root: self.root.clone() },
            _ => RepoError::Git { action: "read HEAD".to_owned(), source },
        })?;
        let commit = head.peel_to_commit().map_err(git("read HEAD's commit"))?.id();
        if !head.is_branch() {
            let during = match self.git.state() {
                RepositoryState::Rebase | RepositoryState::RebaseInteractive | RepositoryState::RebaseMerge => {
                    "; a rebase is going on: finish it or `git rebase --abort`, then start again"
                }
                RepositoryState::Bisect => "; a bisection is going on: `git bisect reset`, then start again",
                _ => "; `git switch <branch>`, or `git switch -c <new branch>` to keep this commit, then start again",
            };
            return Err(RepoError::DetachedHead { commit: commit_id(commit)?, what_to_do: during });
        }
        let branch = String::from_utf8_lossy(head.shorthand_bytes()).into_owned();
        let commit = commit_id(commit)?;
        self.candidate_files(&commit)?;
        if self.lookup("refs/heads/nocturne")?.is_some() {
            return Err(RepoError::BranchInTheWay { branch: "nocturne".to_owned() });
        }
        Ok(Start { commit, branch })
    }

    fn commit(&self, id: &CommitId) -> Result<git2::Commit<'_>, RepoError> {
        self.git.find_commit(oid(id)?).map_err(git(format!("read commit {id}")))
    }

    fn tree(&self, id: &CommitId) -> Result<git2::Tree<'_>, RepoError> {
        self.commit(id)?.tree().map_err(git(format!("read the files of commit {id}")))
    }

    /// The commit that a full reference name stands for.
    fn lookup(&self, name: &str) -> Result<Option<Oid>, RepoError> {
        match self.git.refname_to_id(name) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(git(format!("read {name}"))(error)),
        }
    }
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo").field("root", &self.root).finish_non_exhaustive()
    }
}

fn oid(id: &CommitId) -> Result<Oid, RepoError> {
    Oid::from_str(id.as_str()).map_err(git(format!("read the commit id {id}")))
}

fn commit_id(oid: Oid) -> Result<CommitId, RepoError> {
    Ok(CommitId::try_from(oid.to_string())?)
}
