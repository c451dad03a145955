//! Building an experiment's commit again and training it again, with the night's own campaign and seed. Changes no record;
//! the files of a replay lie in a folder of their own.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::{EvaluateRequest, Go, TrainRequest};
use serde::Serialize;
use tokio::sync::watch;

use crate::build::{BuildError, Builder, Order};
use crate::campaign::{Campaign, CampaignError};
use crate::flow::{CommitId, ExperimentId, Rejected, TrialEnd};
use crate::layout::Layout;
use crate::night::device;
use crate::night::open::{self, OpenError};
use crate::night::{self, Lock, Watcher};
use crate::prepare;
use crate::records::NightRecord;
use crate::repo::{Repo, RepoError};
use crate::run::{Job, RunError, TrialSpec, train};
use crate::store::{Reader, StoreError};
use crate::terminal::Notice;
use crate::verify::{ClaimError, ClaimSpec, claim, verify};

/// What a replay found.
#[derive(Debug, Clone, Serialize)]
pub struct Replayed {
    /// Bits per byte in the night.
    pub then: Option<f64>,
    /// Bits per byte now.
    pub now: f64,
    /// Optimizer steps now.
    pub steps: u64,
    /// Tokens trained on now.
    pub tokens: u64,
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
    /// There is no claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
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
    Campaign::parse(present.name, &night.campaign_text, &present.goal, file)
        .map_err(|problems| CampaignError::Problems(Box::new(problems)))
}

/// Builds and trains an experiment again under the seed of its first trial.
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
    let seed = trials.first().map(|trial| trial.seed).or(record.seeds.first().copied()).ok_or_else(no_commit)?;
    let campaign = campaign_of(layout, &record)?;
    let _lock = Lock::take(&layout.lock())?;
    let environment = prepare::environment(layout.root(), &campaign, watcher).await.map_err(OpenError::from)?;
    let data = prepare::data(layout, &campaign, &environment, watcher).await.map_err(OpenError::from)?;
    let setting = campaign.setting(campaign.machine.threads, device::device(&campaign, &environment)?);

    let folder = layout.state().join("replays").join(format!("{}-{}", id.night, id.number));
    std::fs::create_dir_all(&folder).map_err(|source| ReplayError::Folder { path: folder.clone(), source })?;
    let launcher = open::launcher(layout)?;
    let builder =
        Builder::new(launcher.clone(), environment.cargo().to_owned(), environment.build_env(), layout.slots());
    // Never sent: Ctrl-C ends this program, and with it everything it started.
    let (_never, stop) = watch::channel(false);
    let executable = folder.join("trainer");
    let order = Order {
        executable: &executable,
        log: &folder.join("build.log"),
        nice: 0,
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
    compiled(builder.build(order, export(commit), stop.clone()).await?)?;

    watcher.notice(&Notice::Stage { text: format!("Training experiment {id} under its seed") });
    let job = |command: &str, log: &str| Job {
        program: executable.clone(),
        arguments: vec![command.to_owned()],
        environment: device::trainer_environment(),
        folder: folder.clone(),
        nice: 0,
        grace_seconds: 2.0,
        log: folder.join(log),
        policy: None,
    };
    let checkpoint = folder.join("checkpoint.safetensors");
    let output = folder.join("output");
    std::fs::create_dir_all(&output).map_err(|source| ReplayError::Folder { path: output.clone(), source })?;
    let spec = TrialSpec {
        job: job("train", "log.txt"),
        request: TrainRequest { setting: setting.clone(), seed, resume_from: None },
        go: Go { budget: campaign.budget(), checkpoint: output.join("checkpoint.safetensors"), stop_after_steps: None },
        data: data.folder.clone(),
        checkpoint: checkpoint.clone(),
        curve: folder.join("curve.jsonl"),
        grace_seconds: campaign.machine.grace_seconds,
        most_seconds: night::MOST_TRIAL_SECONDS,
    };
    let trained = train(&launcher, &spec, stop.clone(), |_| {}).await?;
    if trained.end != TrialEnd::Finished {
        return Err(ReplayError::NotFinished(trained.end));
    }
    let spec = ClaimSpec {
        job: job("evaluate", "evaluate.log"),
        request: EvaluateRequest {
            setting,
            checkpoint,
            rows: data.search_rows,
            claim: folder.join("claim.f32"),
            batch_rows: night::EVALUATION_ROWS,
        },
        expected: data.held_out.bytes().len(),
        most_seconds: night::MOST_EVALUATION_SECONDS,
    };
    let (nats, seconds) = claim(&launcher, &spec, stop).await?.map_err(ReplayError::Rejected)?;
    let verified = verify(&nats, data.held_out.bytes(), seconds).map_err(ReplayError::Rejected)?;
    Ok(Replayed {
        then: trials.iter().rev().find_map(|trial| trial.val_bpb()),
        now: verified.val_bpb,
        steps: trained.steps,
        tokens: trained.tokens,
        folder,
    })
}
