//! Branches and notes: the only things a night changes in a repository, and how it keeps from changing more.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use git2::{ErrorCode, Oid};

use super::error::git;
use super::{NOTES, Repo, RepoError, commit_id, oid};
use crate::campaign::CampaignName;
use crate::edit::is_unprintable;
use crate::flow::{BadName, CommitId, ExperimentId, NightId};

/// How often a reference locked by another git process (a `git gc`, a fetch) is tried again, and after how long.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// No other git process holds a reference's lock for so long.
pub(super) const LONGEST_LOCK: Duration = Duration::from_secs(2);

/// An experiment's branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Without `refs/heads/`.
    pub name: String,
    /// The experiment's number in its night.
    pub number: u32,
    /// The experiment's commit.
    pub commit: CommitId,
}

/// `nocturne/<campaign>/<night>/<number>-<slug>`, the number in at least three digits so that branches sort.
pub fn branch_name(campaign: &CampaignName, experiment: &ExperimentId, slug: &str) -> String {
    format!("nocturne/{campaign}/{}/{:03}-{slug}", experiment.night, experiment.number)
}

/// `nocturne/<campaign>/<night>/champion`.
pub fn champion_name(campaign: &CampaignName, night: &NightId) -> String {
    format!("nocturne/{campaign}/{night}/champion")
}

impl Repo {
    /// Creates an experiment's branch and returns its name. `slug` is what [`super::slug`] makes of the title. A branch that is there
    /// with the same commit is fine.
    ///
    /// # Errors
    /// [`RepoError::BranchTaken`] if the branch, or another one of that number, is there already.
    pub fn create_branch(
        &self,
        experiment: &ExperimentId,
        campaign: &CampaignName,
        slug: &str,
        commit: &CommitId,
    ) -> Result<String, RepoError> {
        let sound = (1..=40).contains(&slug.len())
            && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !sound {
            let expected = "the end of a branch's name (lower-case letters, digits and dashes, at most 40)";
            return Err(BadName { text: slug.to_owned(), expected }.into());
        }
        let name = branch_name(campaign, experiment, slug);
        let of_number = self.branches(campaign, &experiment.night)?.into_iter().find(|b| b.number == experiment.number);
        match of_number {
            Some(branch) if branch.name == name && branch.commit == *commit => return Ok(name),
            Some(branch) => return Err(RepoError::BranchTaken { branch: branch.name, found: branch.commit }),
            None => {}
        }
        self.commit(commit)?;
        self.create(&name, oid(commit)?)?;
        Ok(name)
    }

    /// Moves the champion's branch forward, from `from` (`None`: it is not there yet) to `to`, and returns its name. Where it is
    /// at `to` already, nothing is left to do.
    ///
    /// # Errors
    /// It is neither at `from` nor at `to`, `to` does not descend from `from`, or somebody has it checked out.
    pub fn advance_champion(
        &self,
        campaign: &CampaignName,
        night: &NightId,
        from: Option<&CommitId>,
        to: &CommitId,
    ) -> Result<String, RepoError> {
        let name = champion_name(campaign, night);
        let found = self.champion(campaign, night)?;
        if found.as_ref() == Some(to) {
            return Ok(name);
        }
        if found.as_ref() != from {
            return Err(RepoError::ChampionMoved { branch: name, expected: from.cloned(), found });
        }
        self.commit(to)?;
        let Some(from) = from else {
            self.create(&name, oid(to)?)?;
            return Ok(name);
        };
        if !self.descends(to, from)? {
            return Err(RepoError::NotForward { branch: name, from: from.clone(), to: to.clone() });
        }
        self.replace_champion(campaign, night, name, from, to, "new champion")
    }

    /// Points the champion's branch to another commit, unless somebody else has moved it or has it checked out.
    fn replace_champion(
        &self,
        campaign: &CampaignName,
        night: &NightId,
        name: String,
        from: &CommitId,
        to: &CommitId,
        why: &str,
    ) -> Result<String, RepoError> {
        self.refuse_checked_out(&name)?;
        let reference = format!("refs/heads/{name}");
        let log = format!("nocturne: {why} {}", to.short());
        let result =
            patiently(|| self.git.reference_matching(&reference, oid_of(to)?, true, oid_of(from)?, &log).map(|_| ()));
        match result {
            Ok(()) => Ok(name),
            Err(error) if error.code() == ErrorCode::Modified => {
                let found = self.champion(campaign, night)?;
                Err(RepoError::ChampionMoved { branch: name, expected: Some(from.clone()), found })
            }
            Err(error) => Err(git(format!("move the branch `{name}`"))(error)),
        }
    }

    /// Moves the champion's branch back, from `from` to the champion before it, `to`: `from` broke a rule, and no name may stay on it.
    /// This is the one move that is not forward, of the one branch that a night moves at all; every commit has a branch of its own, so
    /// that none is lost. Where it is at `to` already, nothing is left to do.
    ///
    /// # Errors
    /// It is neither at `from` nor at `to`, `from` does not descend from `to`, or somebody has it checked out.
    pub fn retreat_champion(
        &self,
        campaign: &CampaignName,
        night: &NightId,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<String, RepoError> {
        let name = champion_name(campaign, night);
        let found = self.champion(campaign, night)?;
        if found.as_ref() == Some(to) {
            return Ok(name);
        }
        if found.as_ref() != Some(from) {
            return Err(RepoError::ChampionMoved { branch: name, expected: Some(from.clone()), found });
        }
        self.commit(to)?;
        if !self.descends(from, to)? {
            return Err(RepoError::NotForward { branch: name, from: to.clone(), to: from.clone() });
        }
        self.replace_champion(campaign, night, name, from, to, "back to the champion")
    }

    /// Where the champion's branch is.
    pub fn champion(&self, campaign: &CampaignName, night: &NightId) -> Result<Option<CommitId>, RepoError> {
        self.lookup(&format!("refs/heads/{}", champion_name(campaign, night)))?.map(commit_id).transpose()
    }

    /// The experiments' branches of a night, by number. Branches of other names, the champion's among them, are left out.
    pub fn branches(&self, campaign: &CampaignName, night: &NightId) -> Result<Vec<Branch>, RepoError> {
        let prefix = format!("refs/heads/nocturne/{campaign}/{night}/");
        let list = || format!("list the branches of night {night}");
        let mut branches = Vec::new();
        for reference in self.git.references_glob(&format!("{prefix}*")).map_err(git(list()))? {
            let reference = reference.map_err(git(list()))?;
            let parts = std::str::from_utf8(reference.name_bytes()).ok().and_then(|name| name.strip_prefix(&prefix));
            let number = parts.and_then(|rest| rest.split_once('-')?.0.parse().ok());
            if let (Some(rest), Some(number), Some(commit)) = (parts, number, reference.target()) {
                let name = format!("nocturne/{campaign}/{night}/{rest}");
                branches.push(Branch { name, number, commit: commit_id(commit)? });
            }
        }
        branches.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
        Ok(branches)
    }

    /// Puts `text` as the note on `commit` in [`NOTES`], in place of the one before. Control characters are left out.
    pub fn add_note(&self, commit: &CommitId, text: &str, when: jiff::Timestamp) -> Result<(), RepoError> {
        let mut text: String = text.chars().filter(|c| matches!(c, '\n' | '\t') || !is_unprintable(*c)).collect();
        text.truncate(text.trim_end().len());
        text.push('\n');
        if self.note(commit)?.as_ref() == Some(&text) {
            return Ok(());
        }
        self.commit(commit)?;
        let signature = self.signature(when)?;
        let target = oid(commit)?;
        patiently(|| self.git.note(&signature, &signature, Some(NOTES), target, &text, true).map(|_| ()))
            .map_err(git(format!("add a note to {commit}")))
    }

    /// Creates a branch that is not there; there already at the same commit is fine.
    pub(super) fn create(&self, name: &str, target: Oid) -> Result<(), RepoError> {
        self.refuse_checked_out(name)?;
        let reference = format!("refs/heads/{name}");
        let Err(error) =
            patiently(|| self.git.reference(&reference, target, false, "nocturne: new branch").map(|_| ()))
        else {
            return Ok(());
        };
        match self.lookup(&reference)? {
            Some(found) if found == target => Ok(()),
            Some(found) => Err(RepoError::BranchTaken { branch: name.to_owned(), found: commit_id(found)? }),
            None => match self.branch_above(name)? {
                Some(branch) => Err(RepoError::BranchInTheWay { branch }),
                None => Err(git(format!("create the branch `{name}`"))(error)),
            },
        }
    }

    /// A branch whose name is a folder in `name`'s.
    fn branch_above(&self, name: &str) -> Result<Option<String>, RepoError> {
        for (end, _) in name.match_indices('/') {
            if self.lookup(&format!("refs/heads/{}", &name[..end]))?.is_some() {
                return Ok(Some(name[..end].to_owned()));
            }
        }
        Ok(None)
    }

    /// Refuses if the branch is the current one of any checkout, or one that a rebase will come back to: moving it there would
    /// change what the person has in hand.
    fn refuse_checked_out(&self, name: &str) -> Result<(), RepoError> {
        let common = self.git.commondir();
        let mut folders: Vec<PathBuf> = vec![common.to_owned()];
        let worktrees = common.join("worktrees");
        match fs::read_dir(&worktrees) {
            Ok(entries) => {
                for entry in entries {
                    let entry =
                        entry.map_err(|source| RepoError::File { action: "list", path: worktrees.clone(), source })?;
                    folders.push(entry.path());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(RepoError::File { action: "list", path: worktrees, source }),
        }
        for folder in folders {
            for file in ["HEAD", "rebase-merge/head-name", "rebase-apply/head-name"] {
                let at = folder.join(file);
                let content = match fs::read_to_string(&at) {
                    Ok(content) => content,
                    Err(error)
                        if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
                    {
                        continue;
                    }
                    Err(source) => return Err(RepoError::File { action: "read", path: at, source }),
                };
                let head = content.trim();
                let head = head.strip_prefix("ref:").unwrap_or(head).trim();
                if head.strip_prefix("refs/heads/") == Some(name) {
                    return Err(RepoError::CheckedOut { branch: name.to_owned(), at });
                }
            }
        }
        Ok(())
    }
}

fn oid_of(id: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_str(id.as_str())
}

/// Tries again for a while where another git process holds a lock.
fn patiently(mut write: impl FnMut() -> Result<(), git2::Error>) -> Result<(), git2::Error> {
    for _ in 1..LOCK_TRIES {
        match write() {
            Err(error) if error.code() == ErrorCode::Locked => sleep(LOCK_PAUSE),
            result => return result,
        }
    }
    write()
}
