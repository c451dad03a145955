//! Building an experiment's commit again and training it again, with the night's own campaign and seed. Changes no record;
//! the files of a replay lie in a folder of their own.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::build::{BuildError, Order};
use crate::campaign::{Campaign, CampaignError};
use crate::flow::{Certificate, CommitId, ExperimentId, Purpose, Rejected, TrialEnd};
use crate::layout::Layout;
use crate::night::open::OpenError;
use crate::night::ready::{self, Ready};
use crate::night::workbench::Subject;
use crate::night::{self, Lock, Watcher};
use crate::prepare;
use crate::records::{NightRecord, TrialRecord};
use crate::repo::{Repo, RepoError};
use crate::run::{RunError, not_early, train};
use crate::seeds::NoRandomness;
use crate::store::{Reader, StoreError};
use crate::terminal::Notice;
use crate::verify::{self, Evaluated, EvaluationError};

/// What a replay found.
#[derive(Debug, Clone, Serialize)]
pub struct Replayed {
    /// Bits per byte in the night.
    pub then: Option<f64>,
    /// Bits per byte now.
    pub now: f64,
    /// Standard error of the evaluator's correction in that, bits per byte.
    pub standard_error: f64,
    /// Optimizer steps now.
    pub steps: u64,
    /// Tokens trained on now.
    pub tokens: u64,
    /// What the evaluator did.
    pub certificate: Certificate,
    /// Where curve, log and checkpoint lie.
    pub folder: PathBuf,
}

/// Why it could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The night or the experiment has no commit to replay.
    #[error("experiment {0} has no commit to build: it never got so far")]
    NoCommit(ExperimentId),
    /// The recorded campaign can no longer be read.
    #[error("the campaign as it was that night cannot be read: {0}")]
    Campaign(#[from] CampaignError),
    /// Something that a night needs as well.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The records cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The build could not be done.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It no longer compiles.
    #[error("it does not compile any more: {0}")]
    DoesNotCompile(String),
    /// The run could not be done.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It did not finish.
    #[error("it did not finish this time: {0:?}")]
    NotFinished(TrialEnd),
    /// It could not be evaluated.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// No secret seeds for the evaluator.
    #[error(transparent)]
    Lots(#[from] NoRandomness),
    /// The evaluator does not vouch for it.
    #[error("the evaluator rejects it this time: check '{}' failed: {}", .0.check, .0.evidence)]
    Rejected(Rejected),
    /// A folder cannot be made.
    #[error("cannot create {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The campaign as it was in a night; its goal is the present one.
///
/// # Errors
/// When the campaign's folder is gone or the recorded text cannot be read.
pub fn campaign_of(layout: &Layout, night: &NightRecord) -> Result<Campaign, CampaignError> {
    let present = crate::campaign::load(&layout.campaign(&night.campaign))?;
    let file = present.folder.join("campaign.toml");
    Campaign::parse_recorded(present.name, &night.campaign_text, &present.goal, file)
        .map_err(|problems| CampaignError::Problems(Box::new(problems)))
}

/// Builds and trains an experiment again under the seed of its first trial that was measured.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(
    layout: &Layout,
    reader: &Reader,
    id: &ExperimentId,
    watcher: &mut dyn Watcher,
) -> Result<Replayed, ReplayError> {
    let no_commit = || ReplayError::NoCommit(id.clone());
    let record = reader.night(&id.night).await?.ok_or_else(no_commit)?;
    let experiment = reader.experiment(id).await?.ok_or_else(no_commit)?;
    let commit = experiment.candidate.ok_or_else(no_commit)?.commit;
    let trials = reader.trials(id).await?;
    // The first that was measured, else the first that was run.
    let of_search = |trial: &&TrialRecord| trial.purpose == Purpose::Search;
    let first = trials.iter().filter(of_search).find(|trial| trial.val_bpb().is_some()).or(trials.first());
    let seed = first.map(|trial| trial.seed).or(record.seeds.first().copied()).ok_or_else(no_commit)?;
    let campaign = campaign_of(layout, &record)?;
    let _lock = Lock::take(&layout.lock())?;
    let environment = prepare::environment(layout.root(), &campaign, watcher).await.map_err(OpenError::from)?;
    let launcher = ready::launcher(layout.lock(), &campaign)?;
    let Ready { workbench, builder, .. } = ready::ready(layout, &campaign, &environment, launcher, watcher).await?;

    let folder = layout.state().join("replays").join(format!("{}-{}", id.night, id.number));
    std::fs::create_dir_all(&folder).map_err(|source| ReplayError::Folder { path: folder.clone(), source })?;
    // Never sent: Ctrl-C ends this program, and with it everything it started.
    let (_never, stop) = watch::channel(false);
    let executable = folder.join("trainer");
    let order = Order {
        executable: &executable,
        log: &folder.join("build.log"),
        beside: None,
        most_seconds: night::MOST_START_SECONDS,
    };
    let export = |commit: CommitId| {
        let root = Arc::new(layout.root().to_owned());
        move |to: &std::path::Path| {
            let exported = Repo::discover(&root).and_then(|repo| repo.export(&commit, to));
            exported.map(drop).map_err(|error| error.to_string())
        }
    };
    watcher.notice(&Notice::Stage { text: format!("Building experiment {id}") });
    let compiled = |built: Result<_, crate::flow::BuildFailure>| {
        built.map_err(|failure| ReplayError::DoesNotCompile(failure.errors.join("\n")))
    };
    compiled(builder.build_start(order, export(record.start_commit.clone()), stop.clone()).await?)?;
    let artifact = compiled(builder.build(order, export(commit), stop.clone()).await?)?;

    watcher.notice(&Notice::Stage { text: format!("Training experiment {id} under its seed") });
    let subject = Subject { executable, sha256: artifact.sha256, folder: folder.clone() };
    subject.create_folders().map_err(|source| ReplayError::Folder { path: subject.output(), source })?;
    let grace_seconds = campaign.machine.grace_seconds;
    let spec = workbench.trial(&subject, seed, campaign.budget(), grace_seconds, night::MOST_TRIAL_SECONDS);
    let trained = train(&workbench.launcher, &spec, stop.clone(), not_early(), |_| {}).await?;
    let checkpoint = match (trained.end, trained.checkpoint_sha256) {
        (TrialEnd::Finished, Some(sha256)) => sha256,
        (end, _) => return Err(ReplayError::NotFinished(end)),
    };
    watcher.notice(&Notice::Stage { text: format!("Verifying what experiment {id} claims") });
    let spec = workbench.evaluation(&subject, checkpoint, Arc::clone(&workbench.held_out), None)?;
    let Evaluated { outcome, certificate } = verify::evaluate(&workbench.launcher, &spec, stop, |_, _| {}).await?;
    let verified = outcome.map_err(ReplayError::Rejected)?;
    Ok(Replayed {
        then: first.and_then(TrialRecord::val_bpb),
        now: verified.val_bpb,
        standard_error: verified.standard_error,
        steps: trained.steps,
        tokens: trained.tokens,
        certificate,
        folder,
    })
}
