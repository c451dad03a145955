//! What all effects of one night need, fixed when it begins.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::workbench::{Subject, Workbench};
use crate::build::Builder;
use crate::campaign::Campaign;
use crate::edit::Policy;
use crate::flow::{CommitId, ExperimentId, SourceFile};
use crate::layout::Layout;
use crate::propose::Proposer;
use crate::records::NightRecord;
use crate::repo::{Repo, RepoError};
use crate::store::Store;

/// Facts of a patch that the records want and the commit does not carry.
#[derive(Debug, Clone)]
pub(super) struct PatchFacts {
    pub digest: String,
    pub lines_added: u32,
    pub lines_removed: u32,
}

/// One night and everything that it works with.
pub struct Context {
    /// The night's own record.
    pub night: NightRecord,
    /// Its campaign.
    pub campaign: Campaign,
    /// Where its files lie.
    pub layout: Layout,
    /// The records.
    pub store: Store,
    /// How trainers run and are evaluated.
    pub workbench: Workbench,
    /// Builds trainers.
    pub builder: Builder,
    /// What edits may do.
    pub policy: Policy,
    /// Who proposes.
    pub proposer: Mutex<Box<dyn Proposer>>,
    /// Champions that a brief was written for.
    briefed: Mutex<HashSet<CommitId>>,
    /// Facts of the patches committed by this process.
    pub(super) patches: Mutex<HashMap<CommitId, PatchFacts>>,
}

impl Context {
    /// Puts a night's context together.
    pub fn new(
        night: NightRecord,
        campaign: Campaign,
        layout: Layout,
        store: Store,
        workbench: Workbench,
        builder: Builder,
        proposer: Box<dyn Proposer>,
    ) -> Self {
        Self {
            night,
            campaign,
            layout,
            store,
            workbench,
            builder,
            policy: Policy::default(),
            proposer: Mutex::new(proposer),
            briefed: Mutex::new(HashSet::new()),
            patches: Mutex::new(HashMap::new()),
        }
    }

    /// The experiment of this night with a number.
    pub fn id(&self, number: u32) -> ExperimentId {
        ExperimentId { night: self.night.id.clone(), number }
    }

    /// Opens the repository; cheap, and needed wherever git is touched, because handles are not shared between threads.
    ///
    /// # Errors
    /// See [`RepoError`].
    pub fn repo(&self) -> Result<Repo, RepoError> {
        Repo::discover(self.layout.root())
    }

    /// The candidate files at a commit.
    ///
    /// # Errors
    /// See [`RepoError`].
    pub fn candidate_files(&self, commit: &CommitId) -> Result<Vec<SourceFile>, RepoError> {
        self.repo()?.candidate_files(commit)
    }

    /// The executable of a trial and where its files lie.
    pub fn subject(&self, experiment: &ExperimentId, trial: u32, artifact_sha256: &str) -> Subject {
        Subject {
            executable: self.layout.trainer(experiment),
            sha256: artifact_sha256.to_owned(),
            folder: self.layout.trial(experiment, trial),
        }
    }

    /// Whether nobody has asked this about the champion before.
    pub(super) fn first_brief_of(&self, champion: &CommitId) -> bool {
        self.briefed.lock().unwrap_or_else(PoisonError::into_inner).insert(champion.clone())
    }

    pub(super) fn remember_patch(&self, commit: CommitId, facts: PatchFacts) {
        self.patches.lock().unwrap_or_else(PoisonError::into_inner).insert(commit, facts);
    }

    pub(super) fn patch(&self, commit: &CommitId) -> Option<PatchFacts> {
        self.patches.lock().unwrap_or_else(PoisonError::into_inner).get(commit).cloned()
    }
}
