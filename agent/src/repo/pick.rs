//! What a person accepts, put on their own base: three-way merges object by object, without index or checkout.

use git2::{ErrorCode, Index, MergeOptions, Tree};

use super::error::git;
use super::{Repo, RepoError, commit_id, oid};
use crate::campaign::CampaignName;
use crate::flow::{CommitId, NightId};

/// Changes on top of each other that are looked through.
const MOST_ON_TOP: usize = 500;

/// Branches of one name that may stand beside each other before somebody has to clear up.
const MOST_OF_A_NAME: u32 = 99;

/// What became of a change on another commit than the one that it was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    /// It fits; this is the commit, to which no branch leads yet.
    Commit(CommitId),
    /// All of it is there already.
    Nothing,
    /// It does not fit in these files, sorted.
    Conflict(Vec<String>),
}

impl Repo {
    /// Puts what `change` does to its parent on top of `onto`, as a commit with `message`. The same arguments make the same commit.
    ///
    /// # Errors
    /// A commit cannot be read or written, or `change` has no parent.
    pub fn pick(
        &self,
        change: &CommitId,
        onto: &CommitId,
        message: &str,
        when: jiff::Timestamp,
    ) -> Result<Picked, RepoError> {
        let doing = || format!("put {} on {}", change.short(), onto.short());
        let (from, above) = (self.commit(change)?, self.commit(onto)?);
        let before = from.parent(0).and_then(|parent| parent.tree()).map_err(git(doing()))?;
        let (ours, theirs) = (self.tree(onto)?, self.tree(change)?);
        let mut merged = self.merged(&before, &ours, &theirs).map_err(git(doing()))?;
        if merged.has_conflicts() {
            return Ok(Picked::Conflict(conflicts(&merged).map_err(git(doing()))?));
        }
        let tree = merged.write_tree_to(&self.git).map_err(git(doing()))?;
        if tree == ours.id() {
            return Ok(Picked::Nothing);
        }
        let tree = self.git.find_tree(tree).map_err(git(doing()))?;
        let signature = self.signature(when)?;
        let commit = self.git.commit(None, &signature, &signature, message, &tree, &[&above]).map_err(git(doing()))?;
        Ok(Picked::Commit(commit_id(commit)?))
    }

    /// Files, sorted, in which two commits with a common ancestor do not fit together, as a merge of the two would find it.
    ///
    /// # Errors
    /// A commit cannot be read, or they have no ancestor in common.
    pub fn clashes(&self, one: &CommitId, other: &CommitId) -> Result<Vec<String>, RepoError> {
        let doing = || format!("see whether {} and {} fit together", one.short(), other.short());
        let base = commit_id(self.git.merge_base(oid(one)?, oid(other)?).map_err(git(doing()))?)?;
        let merged = self.merged(&self.tree(&base)?, &self.tree(one)?, &self.tree(other)?).map_err(git(doing()))?;
        conflicts(&merged).map_err(git(doing()))
    }

    fn merged(&self, before: &Tree<'_>, ours: &Tree<'_>, theirs: &Tree<'_>) -> Result<Index, git2::Error> {
        let mut options = MergeOptions::new();
        // The files of a candidate keep their names; a guess at renames could only put a change into another file.
        options.find_renames(false);
        self.git.merge_trees(before, ours, theirs, Some(&options))
    }

    /// Makes a branch `nocturne/<campaign>/<night>/accepted/<name>` at `commit`, and returns its name and where it is: at a commit with the
    /// same changes on the same base, where one of that name is there already. A branch of that name that is
    /// elsewhere stays where it is, whether by an earlier review or by the person's own commits on it: the new one is then called
    /// `<name>-2`, and so on.
    ///
    /// # Errors
    /// There are too many of that name, or git refuses.
    pub fn create_accepted(
        &self,
        campaign: &CampaignName,
        night: &NightId,
        name: &str,
        commit: &CommitId,
    ) -> Result<(String, CommitId), RepoError> {
        self.commit(commit)?;
        let mut branch = accepted_name(campaign, night, name);
        for count in 2..=MOST_OF_A_NAME {
            match self.create(&branch, oid(commit)?) {
                Ok(()) => return Ok((branch, commit.clone())),
                Err(RepoError::BranchTaken { found, .. }) if self.same_changes(&found, commit)? => {
                    return Ok((branch, found));
                }
                Err(RepoError::BranchTaken { .. }) => {}
                // Whoever works on it has it as it was made, or as they made it since.
                Err(RepoError::CheckedOut { .. }) if self.lookup_branch(&branch)?.as_ref() == Some(commit) => {
                    return Ok((branch, commit.clone()));
                }
                Err(RepoError::CheckedOut { .. }) => {}
                Err(error) => return Err(error),
            }
            branch = accepted_name(campaign, night, &format!("{name}-{count}"));
        }
        Err(RepoError::TooManyBranches { branch: accepted_name(campaign, night, name) })
    }

    /// Whether two commits make the same changes on the same base, whatever their messages say: a remark that was added later is no reason for
    /// another branch.
    fn same_changes(&self, one: &CommitId, other: &CommitId) -> Result<bool, RepoError> {
        let (mut one, mut other) = (one.clone(), other.clone());
        for _ in 0..MOST_ON_TOP {
            if one == other {
                return Ok(true);
            }
            if self.tree(&one)?.id() != self.tree(&other)?.id() {
                return Ok(false);
            }
            match (self.parent(&one)?, self.parent(&other)?) {
                (Some(before), Some(before_other)) => (one, other) = (before, before_other),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Branches that were made of what a person accepted of a night, by name, sorted; `campaign` may be any text.
    ///
    /// # Errors
    /// Git refuses.
    pub fn accepted_branches(&self, campaign: &str, night: &NightId) -> Result<Vec<String>, RepoError> {
        // A name that no branch can have, has none.
        let Ok(campaign) = campaign.parse::<CampaignName>() else { return Ok(Vec::new()) };
        let under = format!("refs/heads/{}", accepted_name(&campaign, night, ""));
        let doing = || format!("list the branches under {under}");
        let mut names = Vec::new();
        for reference in self.git.references_glob(&format!("{under}*")).map_err(git(doing()))? {
            let reference = reference.map_err(git(doing()))?;
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            names.extend(name.strip_prefix("refs/heads/").map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// The commit of a branch, a tag or whatever else git knows by `name`: what a person names as their base.
    ///
    /// # Errors
    /// [`RepoError::NoSuchRevision`] where it stands for no commit.
    pub fn revision(&self, name: &str) -> Result<CommitId, RepoError> {
        let found = self.git.revparse_single(name).and_then(|object| object.peel_to_commit());
        match found {
            Ok(commit) => commit_id(commit.id()),
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel | ErrorCode::Ambiguous
                ) =>
            {
                Err(RepoError::NoSuchRevision { name: name.to_owned(), reason: error.message().to_owned() })
            }
            Err(error) => Err(git(format!("read {name:?}"))(error)),
        }
    }

    fn lookup_branch(&self, name: &str) -> Result<Option<CommitId>, RepoError> {
        self.lookup(&format!("refs/heads/{name}"))?.map(commit_id).transpose()
    }
}

/// `nocturne/<campaign>/<night>/accepted/<name>`.
pub fn accepted_name(campaign: &CampaignName, night: &NightId, name: &str) -> String {
    format!("nocturne/{campaign}/{night}/accepted/{name}")
}

fn conflicts(index: &Index) -> Result<Vec<String>, git2::Error> {
    let mut paths = Vec::new();
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        let entry = conflict.our.or(conflict.their).or(conflict.ancestor);
        paths.extend(entry.map(|entry| String::from_utf8_lossy(&entry.path).into_owned()));
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}
