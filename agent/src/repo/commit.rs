//! Makes an experiment's commit, object by object, without index or checkout.

use git2::build::TreeUpdateBuilder;
use git2::{Config, ErrorCode, FileMode, Signature, Time};

use super::error::git;
use super::{Repo, RepoError, commit_id};
use crate::edit::{CANDIDATE_FILES, CheckedPatch};
use crate::flow::{Candidate, CommitId};

/// Who commits where git has no name for the person.
pub(super) const NOBODY: (&str, &str) = ("Nocturne", "nocturne@localhost");

impl Repo {
    /// Commits `patch` on top of `parent`. No branch leads to the commit yet; see [`Repo::create_branch`]. The same arguments make
    /// the same commit, so a night that recorded `when` before it was killed finds its commit again.
    ///
    /// # Errors
    /// [`RepoError::StalePatch`] if `parent`'s files are not those that the patch was checked against;
    /// [`RepoError::CandidateFile`] if one of them is not a regular file there, or lies behind a link or in a submodule.
    pub fn commit_patch(
        &self,
        parent: &CommitId,
        patch: &CheckedPatch,
        message: &str,
        when: jiff::Timestamp,
    ) -> Result<Candidate, RepoError> {
        let above = self.commit(parent)?;
        let tree = above.tree().map_err(git(format!("read the files of commit {parent}")))?;
        let mut update = TreeUpdateBuilder::new();
        for (before, after) in patch.base().iter().zip(patch.files()) {
            let path = after.path.as_str();
            let stale = || RepoError::StalePatch { parent: parent.clone(), path: path.to_owned() };
            // The patch names nothing else; what is about to be written is asked all the same.
            if !CANDIDATE_FILES.contains(&path) {
                return Err(RepoError::NotEditable { path: path.to_owned() });
            }
            let entry = self.regular_file(&tree, path).map_err(|problem| RepoError::CandidateFile {
                commit: parent.clone(),
                path: path.to_owned(),
                problem,
            })?;
            let blob = self.git.find_blob(entry).map_err(|_| stale())?;
            if before.path != path || blob.content() != before.text.as_bytes() {
                return Err(stale());
            }
            let blob = self.git.blob(after.text.as_bytes()).map_err(git(format!("store {path}")))?;
            update.upsert(path, blob, FileMode::Blob);
        }
        let tree = update.create_updated(&self.git, &tree).map_err(git("store the experiment's files"))?;
        let tree = self.git.find_tree(tree).map_err(git("read the experiment's files back"))?;
        let signature = self.signature(when)?;
        let commit = self
            .git
            .commit(None, &signature, &signature, message, &tree, &[&above])
            .map_err(git("store the experiment's commit"))?;
        Ok(Candidate { commit: commit_id(commit)?, parent: parent.clone() })
    }

    pub(super) fn signature(&self, when: jiff::Timestamp) -> Result<Signature<'static>, RepoError> {
        let config = self.git.config().map_err(git("read git's configuration"))?;
        let (name, email) = identity(&config)?;
        // In UTC, so that the same moment makes the same commit wherever the night is resumed.
        Signature::new(&name, &email, &Time::new(when.as_second(), 0)).map_err(|error| RepoError::Identity {
            name,
            email,
            reason: error.message().to_owned(),
        })
    }
}

/// The person's name and address as configured; Nocturne's own unless both are.
pub(super) fn identity(config: &Config) -> Result<(String, String), RepoError> {
    let read = |key: &str| match config.get_string(key) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(git(format!("read {key} from git's configuration"))(error)),
    };
    match (read("user.name")?, read("user.email")?) {
        (Some(name), Some(email)) => Ok((name, email)),
        _ => Ok((NOBODY.0.to_owned(), NOBODY.1.to_owned())),
    }
}
