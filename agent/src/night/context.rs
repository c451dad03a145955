//! What all effects of one night need, fixed when it begins.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::asking::Asking;
use super::cores::Cores;
use super::device::Station;
use super::workbench::{Subject, Workbench};
use crate::build::Builder;
use crate::campaign::Campaign;
use crate::edit::Policy;
use crate::flow::{CommitId, ExperimentId, SourceFile};
use crate::layout::Layout;
use crate::propose::Proposer;
use crate::records::NightRecord;
use crate::repo::{Repo, RepoError};
use crate::stats::race::SEARCH_SEEDS;
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
    pub store: Arc<Store>,
    /// How trainers run and are evaluated.
    pub workbench: Workbench,
    /// Builds trainers.
    pub builder: Builder,
    /// What edits may do.
    pub policy: Policy,
    /// Who proposes.
    pub proposer: Mutex<Box<dyn Proposer>>,
    /// What the night has to do with language models.
    pub asking: Asking,
    /// The devices that trials run on.
    pub stations: Vec<Station>,
    /// Champions that a brief was written for.
    briefed: Mutex<HashSet<CommitId>>,
    /// Facts of the patches committed by this process.
    pub(super) patches: Mutex<HashMap<CommitId, PatchFacts>>,
    /// Held while something is built: all candidates are built in one slot.
    pub(super) building: tokio::sync::Mutex<()>,
    /// Taken by trials and builds.
    pub(super) cores: Cores,
}

/// Where in a night's list of seeds the one with an index stands. The first half of the list is for the search, the second for the
/// morning; nights begun by an older version have shorter lists.
fn place_of_seed(listed: usize, index: u32) -> Option<usize> {
    let (half, index) = (listed / 2, usize::try_from(index).ok()?);
    let search = SEARCH_SEEDS as usize;
    if index < search {
        (index < half).then_some(index)
    } else {
        (index - search < listed - half).then_some(half + index - search)
    }
}

impl Context {
    /// Puts a night's context together; it has at least one device.
    #[expect(clippy::too_many_arguments, reason = "each is one part of it")]
    pub(super) fn new(
        night: NightRecord,
        campaign: Campaign,
        layout: Layout,
        store: Arc<Store>,
        workbench: Workbench,
        builder: Builder,
        (proposer, asking): (Box<dyn Proposer>, Asking),
        (stations, cores): (Vec<Station>, Cores),
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
            asking,
            stations,
            briefed: Mutex::new(HashSet::new()),
            patches: Mutex::new(HashMap::new()),
            building: tokio::sync::Mutex::new(()),
            cores,
        }
    }

    /// The experiment of this night with a number.
    pub fn id(&self, number: u32) -> ExperimentId {
        ExperimentId { night: self.night.id.clone(), number }
    }

    /// The secret seed with an index. Indices from [`SEARCH_SEEDS`] on are those of the morning, which nothing was decided by.
    /// `None` when the night, begun by an older version, has too few.
    pub fn seed(&self, index: u32) -> Option<u64> {
        self.night.seeds.get(place_of_seed(self.night.seeds.len(), index)?).copied()
    }

    /// The index of a seed of this night.
    pub fn seed_index(&self, seed: u64) -> Option<u32> {
        let place = self.night.seeds.iter().position(|known| *known == seed)?;
        (0..2 * SEARCH_SEEDS).find(|index| place_of_seed(self.night.seeds.len(), *index) == Some(place))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_morning_has_seeds_of_its_own() {
        for (listed, index, place) in [
            (32, 0, Some(0)),
            (32, 15, Some(15)),
            (32, 16, Some(16)),
            (32, 31, Some(31)),
            (32, 32, None),
            // A night of an older version.
            (16, 7, Some(7)),
            (16, 8, None),
            (16, 16, Some(8)),
            (16, 23, Some(15)),
            (16, 24, None),
            (0, 0, None),
        ] {
            assert_eq!(place_of_seed(listed, index), place, "seed {index} of {listed}");
        }
    }
}
