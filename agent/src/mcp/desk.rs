//! What the tools work on. Every call looks anew: a night may be running meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{curves, try_outs};
use crate::campaign::Campaign;
use crate::edit::Policy;
use crate::flow::{Brief, CommitId, Details, SourceFile, Wish};
use crate::layout::Layout;
use crate::night::is_running;
use crate::propose::tools::{Compiler, ToolFacts};
use crate::queue;
use crate::records::{HistoryEntry, NightRecord, QueueEntry, QueueState};
use crate::repo::Repo;
use crate::store::{Enqueued, Reader, Store};

/// Entries that may wait in a campaign's queue before no more are taken from here: the person's own must not drown in them.
pub const MOST_WAITING: usize = 50;

/// One campaign in one repository.
#[derive(Debug, Clone)]
pub struct Desk {
    layout: Layout,
    campaign: Campaign,
    /// Taken by whoever compiles.
    compiling: try_outs::Turn,
}

/// Where the campaign stands.
pub(super) struct Standing {
    /// The records; `None` before the first night.
    pub reader: Option<Reader>,
    /// The campaign's last night.
    pub night: Option<NightRecord>,
    /// Whether that night runs now.
    pub running: bool,
    /// What edits are checked against: the running night's champion, else the commit that the next night starts from.
    pub champion: CommitId,
    /// Its bits per byte, where a night has measured it.
    pub champion_val_bpb: Option<f64>,
    /// Its candidate files.
    pub files: Vec<SourceFile>,
    /// Past experiments of the campaign.
    pub history: Vec<HistoryEntry>,
}

impl Desk {
    /// A desk for a campaign; opens nothing yet.
    pub fn new(layout: Layout, campaign: Campaign) -> Self {
        Self { layout, campaign, compiling: try_outs::Turn::default() }
    }

    /// The campaign.
    pub(super) fn campaign(&self) -> &Campaign {
        &self.campaign
    }

    async fn reader(&self) -> Result<Option<Reader>, String> {
        let database = self.layout.database();
        match database.exists() {
            true => Reader::open(&database).await.map(Some).map_err(|error| error.to_string()),
            false => Ok(None),
        }
    }

    /// Looks where the campaign stands.
    pub(super) async fn standing(&self) -> Result<Standing, String> {
        let name = self.campaign.name.as_str();
        let reader = self.reader().await?;
        let mut night = None;
        let mut history = Vec::new();
        let mut champion = None;
        let mut champion_val_bpb = None;
        if let Some(reader) = &reader {
            night = reader.latest_night(name).await.map_err(|error| error.to_string())?;
            history = reader.history(name).await.map_err(|error| error.to_string())?;
        }
        let lock_held = is_running(&self.layout).map_err(|error| error.to_string())?;
        let running = lock_held && night.as_ref().is_some_and(|night| night.end.is_none());
        if let (Some(reader), Some(night), true) = (&reader, &night, running) {
            let last = reader.champion(&night.id).await.map_err(|error| error.to_string())?;
            if let Some(last) = last {
                let records = crate::report::NightRecords::read(reader, &night.id).await;
                champion_val_bpb = records.map_err(|error| error.to_string())?.level(last.experiment);
                champion = Some(last.commit);
            } else {
                champion = Some(night.start_commit.clone());
            }
        }
        let root = self.layout.root().to_owned();
        let read = move || {
            let repo = Repo::discover(&root)?;
            let champion = champion.map_or_else(|| repo.start().map(|start| start.commit), Ok)?;
            let files = repo.candidate_files(&champion)?;
            Ok::<_, crate::repo::RepoError>((champion, files))
        };
        let (champion, files) = blocking(read).await?.map_err(|error| error.to_string())?;
        Ok(Standing { reader, night, running, champion, champion_val_bpb, files, history })
    }

    /// What the tools of every proposer work on.
    pub(super) async fn facts(&self) -> Result<ToolFacts, String> {
        let standing = self.standing().await?;
        let (root, commit) = (self.layout.root().to_owned(), standing.champion.clone());
        let harness = blocking(move || Repo::discover(&root).and_then(|repo| repo.harness_files(&commit))).await?;
        let Standing { reader, night, champion, files, history, .. } = standing;
        let source = reader.map(|reader| {
            let (layout, runtime) = (self.layout.clone(), Handle::current());
            let campaign = self.campaign.name.clone();
            let source: crate::propose::tools::CurveSource =
                Box::new(move |id| runtime.block_on(curves::curves(&reader, &layout, &campaign, id)));
            source
        });
        Ok(ToolFacts {
            candidate: files,
            harness: harness.map_err(|error| error.to_string())?,
            night: night.map(|night| night.id),
            history: history.into_iter().map(|entry| entry.for_brief(&champion)).collect(),
            policy: Policy::default(),
            curve: source,
            compile: Some(self.compiler(champion)),
        })
    }

    /// Compiles edits of a commit, on a thread that may block.
    fn compiler(&self, commit: CommitId) -> Compiler {
        let (desk, runtime) = (self.clone(), Handle::current());
        Box::new(move |patch| {
            let Self { layout, campaign, compiling } = &desk;
            runtime.block_on(try_outs::compile(layout, campaign, compiling, &commit, patch))
        })
    }

    /// The facts of a brief.
    pub(super) async fn brief(&self, standing: Standing) -> Result<Brief, String> {
        let told = match &standing.reader {
            Some(reader) => reader.told(&standing.history).await.map_err(|error| error.to_string())?,
            None => BTreeMap::new(),
        };
        let waits = |entry: &QueueEntry| entry.state == QueueState::Waiting;
        let queue = self.queue().await?.into_iter().filter(waits);
        let details = Details {
            budget: Some(self.campaign.budget()),
            told,
            waiting: queue.map(|entry| Wish { id: entry.id, words: entry.words, by: entry.by }).collect(),
            ..Details::default()
        };
        let champion = standing.champion;
        Ok(Brief {
            goal: self.campaign.goal.clone(),
            scale: self.campaign.scale,
            champion_files: standing.files,
            champion_val_bpb: standing.champion_val_bpb,
            history: standing.history.into_iter().map(|entry| entry.for_brief(&champion)).collect(),
            champion,
            stagnation: 0,
            turn: 0,
            proposer_seed: 0,
            details,
        })
    }

    /// The campaign's queue in the order in which it was made.
    pub(super) async fn queue(&self) -> Result<Vec<QueueEntry>, String> {
        match self.reader().await? {
            Some(reader) => reader.queue(Some(self.campaign.name.as_str())).await.map_err(|error| error.to_string()),
            None => Ok(Vec::new()),
        }
    }

    /// Puts an entry of a client into the queue; one that waits there already is not put in twice.
    pub(super) async fn enqueue(
        &self,
        client: &str,
        words: &str,
        patch: Option<&str>,
        files: &[SourceFile],
    ) -> Result<QueueEntry, String> {
        queue::check(words, patch, files).map_err(|error| error.to_string())?;
        let store = Store::open_unchecked_in(&self.layout).await.map_err(|error| error.to_string())?;
        let enqueued = store.enqueue_within(MOST_WAITING, client, self.campaign.name.as_str(), words, patch).await;
        let closed = store.close().await;
        let enqueued = enqueued.map_err(|error| error.to_string())?;
        closed.map_err(|error| error.to_string())?;
        match enqueued {
            Enqueued::Added(entry) => Ok(*entry),
            Enqueued::Waits(id) => Err(format!("the same waits in the queue already, as entry {id}")),
            Enqueued::Full(waiting) => Err(format!(
                "{waiting} entries wait in the queue already, which is as many as are taken from here; the person can remove some with \
                 `nocturne queue remove`"
            )),
        }
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("it broke off: {error}"))
}

/// A desk for several calls at once.
pub(super) type Shared = Arc<Desk>;
