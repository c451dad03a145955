//! Builds variants of a commit and runs each under chosen seeds, once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Budget, Setting};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::rows::{Place, Row, read_rows};
use super::{BenchError, disk};
use crate::build::{Builder, Order};
use crate::campaign::{self, Campaign};
use crate::edit::{self, Policy};
use crate::files;
use crate::flow::{CommitId, Edit, SourceFile, TrialEnd};
use crate::hash::{sha256, sha256_file};
use crate::layout::Layout;
use crate::night::ready::{self, Ready};
use crate::night::workbench::{Subject, Workbench};
use crate::night::{self, Lock, Watcher};
use crate::prepare;
use crate::repo::Repo;
use crate::run::{StopSignal, not_early, train};
use crate::terminal::Notice;
use crate::verify;

/// What to measure with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The commit that is measured; HEAD if `None`.
    pub commit: Option<CommitId>,
    /// A budget in tokens instead of the campaign's own: repeatable on a machine with other work.
    pub tokens: Option<u64>,
    /// Threads of libtorch instead of the campaign's.
    pub threads: Option<usize>,
    /// Cuts of the audits instead of the campaign's: fewer will do for code that nobody suspects.
    pub cuts: Option<u32>,
}

/// A commit with edits on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Names it in tables.
    pub name: String,
    /// Applied one after the other; none for the commit itself.
    pub edits: Vec<Edit>,
}

impl Variant {
    /// The commit itself.
    pub fn unedited() -> Variant {
        Variant { name: "unedited".to_owned(), edits: Vec::new() }
    }
}

/// What must be the same for rows to be compared; `bench.json` of a measurement's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Header {
    campaign: String,
    commit: CommitId,
    setting: Setting,
    budget: Budget,
    held_out_sha256: String,
    evaluator: String,
}

/// The seed that a small number stands for: `purpose` is `initial` or `order`.
pub fn seed(purpose: &str, number: u32) -> u64 {
    let digest = sha256(format!("nocturne bench {purpose} {number}").as_bytes());
    // Sixteen hexadecimal digits are a number always; below 2^63, for libtorch's seeds are signed.
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default() >> 1
}

/// Runs variants of one commit.
#[derive(Debug)]
pub struct Runner {
    layout: Layout,
    commit: CommitId,
    campaign: Campaign,
    budget: Budget,
    workbench: Workbench,
    builder: Builder,
    folder: PathBuf,
    rows: Vec<Row>,
    has_start: bool,
    stop: StopSignal,
    _never: watch::Sender<bool>,
    _lock: Lock,
}

impl Runner {
    /// Makes everything ready and reads what an earlier measurement of the same kind has found. No night can begin meanwhile.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub async fn open(
        here: &Path,
        campaign: &Path,
        options: &Options,
        watcher: &mut dyn Watcher,
    ) -> Result<Runner, BenchError> {
        let repo = Repo::discover(here)?;
        let layout = Layout::new(repo.root());
        let commit = match &options.commit {
            Some(commit) => commit.clone(),
            None => repo.start()?.commit,
        };
        repo.candidate_files(&commit)?;
        let mut campaign = campaign::load(&campaign::locate(layout.root(), campaign)?)?;
        campaign.machine.threads = options.threads.unwrap_or(campaign.machine.threads);
        campaign.evaluation.cuts = options.cuts.unwrap_or(campaign.evaluation.cuts);
        files::create_folder(&layout.state())?;
        let lock = Lock::take(&layout.lock())?;
        let environment = prepare::environment(layout.root(), &campaign, watcher).await?;
        let launcher = ready::launcher(layout.state().join("bench"), &campaign)?;
        let Ready { workbench, builder, .. } =
            ready::ready(&layout, &campaign, &environment, launcher, watcher).await?;
        let budget = options.tokens.map_or(campaign.budget(), Budget::Tokens);
        let header = Header {
            campaign: campaign.name.to_string(),
            commit: commit.clone(),
            setting: workbench.setting.clone(),
            budget,
            held_out_sha256: workbench.held_out.sha256().to_owned(),
            evaluator: verify::EVALUATOR.to_owned(),
        };
        let text = serde_json::to_string(&header).unwrap_or_default();
        let digest = sha256(text.as_bytes());
        let name = format!("{}-{}-{}", campaign.name, commit.short(), digest.get(..8).unwrap_or_default());
        let folder = layout.state().join("bench").join(name);
        files::create_folder(&folder.join("runs"))?;
        files::create_folder(&layout.state().join("bench").join("trainers"))?;
        files::write_json_atomically(&folder.join("bench.json"), &header)?;
        let rows = read_rows(&folder.join("rows.jsonl"))?;
        // Never sent: Ctrl-C ends this program, and with it everything it started.
        let (never, stop) = watch::channel(false);
        Ok(Runner {
            layout,
            commit,
            campaign,
            budget,
            workbench,
            builder,
            folder,
            rows,
            has_start: false,
            stop,
            _never: never,
            _lock: lock,
        })
    }

    /// The commit that variants are made of.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// What every run is built from.
    pub fn setting(&self) -> &Setting {
        &self.workbench.setting
    }

    /// What every run may use.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Where rows, curves and claims lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All runs so far, in the order in which they were made.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Runs a variant under these seeds, or returns what an earlier run of them found.
    ///
    /// # Errors
    /// See [`BenchError`]; a run that ends badly is a row without a figure, not an error.
    pub async fn run(&mut self, variant: &Variant, place: Place, watcher: &mut dyn Watcher) -> Result<Row, BenchError> {
        let files = self.candidate(variant)?;
        let digest = edit::content_digest(&files);
        if let Some(row) = self.rows.iter().find(|row| row.digest == digest && row.place == place) {
            return Ok(row.clone());
        }
        let (executable, trainer_sha256) = self.build(variant, &digest, files, watcher).await?;
        let Place { initial, order, repeat } = place;
        let words = format!("{} under initial values {initial}, data order {order}, run {repeat}", variant.name);
        watcher.notice(&Notice::Stage { text: format!("Training {words}") });
        let name = format!("{}-{initial}-{order}-{repeat}", digest.get(..12).unwrap_or(&digest));
        let folder = self.folder.join("runs").join(&name);
        let subject = Subject { executable, sha256: trainer_sha256, folder: folder.clone() };
        subject.create_folders().map_err(disk("create", &subject.output()))?;
        let grace_seconds = self.campaign.machine.grace_seconds;
        let mut spec = self.workbench.trial(
            &subject,
            seed("initial", initial),
            self.budget,
            grace_seconds,
            night::MOST_TRIAL_SECONDS,
        );
        spec.request.data_seed = Some(seed("order", order));
        let trained = train(&self.workbench.launcher, &spec, self.stop.clone(), not_early(), |_| {}).await?;
        let mut row = Row {
            variant: variant.name.clone(),
            digest,
            place,
            val_bpb: None,
            end: format!("{:?}", trained.end),
            steps: trained.steps,
            tokens: trained.tokens,
            training_seconds: trained.training_seconds,
            evaluation_seconds: 0.0,
            files: name,
        };
        if let (TrialEnd::Finished, Some(checkpoint)) = (&trained.end, trained.checkpoint_sha256) {
            let held_out = Arc::clone(&self.workbench.held_out);
            let spec = self.workbench.evaluation(&subject, checkpoint, held_out, self.reference()?)?;
            let evaluated = verify::evaluate(&self.workbench.launcher, &spec, self.stop.clone(), |_, _| {}).await?;
            row.evaluation_seconds = evaluated.certificate.seconds;
            match evaluated.outcome {
                Ok(verified) => row.val_bpb = Some(verified.val_bpb),
                Err(rejected) => row.end = format!("rejected by {}: {}", rejected.check, rejected.evidence),
            }
        }
        // Twelve megabytes a run that nobody looks at again.
        files::remove_folder(&subject.checkpoint()).map_err(disk("remove", &subject.checkpoint()))?;
        files::append_json_line(&self.folder.join("rows.jsonl"), &row)?;
        self.rows.push(row.clone());
        Ok(row)
    }

    /// The claim of the first run that has one: the audits of all others are aimed by it, as a night's are by the champion's.
    fn reference(&self) -> Result<Option<Vec<f32>>, BenchError> {
        let Some(first) = self.rows.iter().find(|row| row.val_bpb.is_some()) else { return Ok(None) };
        let path = self.claim(first);
        Ok(Some(verify::read_claim(&path, self.workbench.held_out.bytes().len())?))
    }

    /// Nats of every held-out target token by a run's claim: little-endian f32.
    pub fn claim(&self, row: &Row) -> PathBuf {
        self.folder.join("runs").join(&row.files).join("claim.f32")
    }

    /// A run's loss curve: one [`CurvePoint`](crate::run::CurvePoint) a line.
    pub fn curve(&self, row: &Row) -> PathBuf {
        self.folder.join("runs").join(&row.files).join("curve.jsonl")
    }

    /// The candidate files of a variant, applied and checked.
    fn candidate(&self, variant: &Variant) -> Result<Vec<SourceFile>, BenchError> {
        let wrong = |source| BenchError::Edit { variant: variant.name.clone(), source };
        let repo = Repo::discover(self.layout.root())?;
        let files = repo.candidate_files(&self.commit)?;
        let after = edit::apply(&files, &variant.edits).map_err(wrong)?;
        let policy = Policy::default();
        for (_, file) in files.iter().zip(&after).filter(|(before, after)| before.text != after.text) {
            policy.check_file(file).map_err(wrong)?;
        }
        Ok(after)
    }

    /// The variant's executable and its SHA-256, built unless an earlier call has done so.
    async fn build(
        &mut self,
        variant: &Variant,
        digest: &str,
        files: Vec<SourceFile>,
        watcher: &mut dyn Watcher,
    ) -> Result<(PathBuf, String), BenchError> {
        let trainers = self.layout.state().join("bench").join("trainers");
        let executable = trainers.join(format!("{}-{}", self.commit.short(), digest.get(..16).unwrap_or(digest)));
        if executable.exists() {
            let sha256 = sha256_file(&executable).map_err(disk("read", &executable))?;
            return Ok((executable, sha256));
        }
        let (start, log) = (trainers.join("start"), trainers.join("build.log"));
        let order = |executable| Order { executable, log: &log, beside: None, most_seconds: night::MOST_START_SECONDS };
        let (root, commit) = (Arc::new(self.layout.root().to_owned()), self.commit.clone());
        let export = move |to: &Path| {
            let exported = Repo::discover(&root).and_then(|repo| repo.export(&commit, to));
            exported.map(drop).map_err(|error| error.to_string())
        };
        let compiled = |built: Result<_, crate::flow::BuildFailure>| {
            let variant = variant.name.clone();
            built.map_err(|failure| BenchError::DoesNotCompile { variant, errors: failure.errors.join("\n") })
        };
        if !self.has_start {
            watcher.notice(&Notice::Stage { text: format!("Building commit {}", self.commit.short()) });
            compiled(self.builder.build_start(order(&start), export.clone(), self.stop.clone()).await?)?;
            self.has_start = true;
        }
        watcher.notice(&Notice::Stage { text: format!("Building {}", variant.name) });
        let edited = move |to: &Path| {
            export(to)?;
            files.iter().try_for_each(|file| write_if_changed(&to.join(&file.path), &file.text))
        };
        let artifact = compiled(self.builder.build(order(&executable), edited, self.stop.clone()).await?)?;
        Ok((executable, artifact.sha256))
    }
}

/// An unchanged file keeps its time, so that cargo builds only what changed.
fn write_if_changed(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::read(path).map_err(failed)? == text.as_bytes() {
        return Ok(());
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_follow_from_their_numbers_and_differ() {
        let seeds: std::collections::HashSet<u64> =
            (0..50).flat_map(|number| [seed("initial", number), seed("order", number)]).collect();
        assert_eq!(seeds.len(), 100);
        assert!(seeds.iter().all(|seed| *seed > 0 && i64::try_from(*seed).is_ok()));
        assert_eq!(seed("initial", 3), seed("initial", 3));
    }
}
