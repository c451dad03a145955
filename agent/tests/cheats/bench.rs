//! Trains and evaluates candidates as a night does: through the helper, in the strongest sandbox that this machine offers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data::{Rows, Shards, TokenBytes};
use nocturne::flow::Trained;
use nocturne::hash::sha256_file;
use nocturne::run::{Job, Launcher, TrialSpec, not_early, train};
use nocturne::verify::tolerance::tolerance;
use nocturne::verify::{Evaluated, EvaluationSpec, HeldOut, evaluate, read_claim};
use protocol::{Budget, Go, Precision, TrainRequest};
use sandbox::{Confinement, Level, Surroundings};

use super::workshop::{Workshop, secrets};

/// Rows of every batch that the evaluator asks for, as in a night.
pub const BATCH_ROWS: usize = 16;

const MEMORY: u64 = 1_536 << 20;

/// What trains and evaluates.
pub struct Bench<'a> {
    workshop: &'a Workshop,
    folder: tempfile::TempDir,
    launcher: Launcher,
    confined: bool,
    surroundings: Surroundings,
    precision: Precision,
    held_out: Arc<HeldOut>,
    documents: Arc<Shards>,
}

/// The agent's executable.
fn nocturne() -> PathBuf {
    env!("CARGO_BIN_EXE_nocturne").into()
}

/// Where libtorch's libraries really lie, and those that it needs.
fn libraries() -> Vec<PathBuf> {
    let view = PathBuf::from(std::env::var_os("LIBTORCH").unwrap()).join("lib");
    let real = view.join("libtorch_cpu.so").canonicalize().unwrap().parent().unwrap().to_owned();
    let beside = real.join("../../nvidia");
    let mut all = vec![view.canonicalize().unwrap(), real];
    all.extend(beside.canonicalize());
    all
}

impl<'a> Bench<'a> {
    /// In the strongest sandbox there is; `None`, with a word on why, where there is none.
    pub fn confined(workshop: &'a Workshop, precision: Precision, test: &str) -> Option<Self> {
        let offer = sandbox::probe(&nocturne());
        match Confinement::new(&offer, Level::Landlock) {
            Ok(confinement) => {
                println!("confined by {}", confinement.describe());
                Some(Self::new(workshop, precision, confinement, true))
            }
            Err(why) => {
                eprintln!("skipped: {test}: {why}");
                None
            }
        }
    }

    /// Without any.
    pub fn open(workshop: &'a Workshop) -> Self {
        Self::new(workshop, Precision::Fp32, Confinement::off(), false)
    }

    fn new(workshop: &'a Workshop, precision: Precision, confinement: Confinement, confined: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let launcher = Launcher::new(nocturne(), &folder.path().join("lock"), confinement);
        let surroundings =
            Surroundings { libraries: libraries(), memory_bytes: Some(MEMORY), ..Surroundings::default() };
        workshop.lay_out(folder.path(), precision);
        let size = workshop.size;
        let rows = Rows::open(&folder.path().join(data::files::SEARCH_ROWS), size.context).unwrap();
        let lengths = TokenBytes::open(&folder.path().join(data::files::TOKEN_BYTES), size.vocabulary).unwrap();
        let lengths = lengths.scored(&rows).unwrap();
        let held_out = Arc::new(HeldOut::new(rows, lengths).unwrap());
        let documents = Arc::new(Shards::open(folder.path()).unwrap());
        Bench { workshop, folder, launcher, confined, surroundings, precision, held_out, documents }
    }

    /// Stands in the command line of everything that is started here.
    pub fn mark(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Trains a candidate for two steps. Returns what the agent saw and what the process printed.
    pub async fn train(&self, name: &str) -> (Trained, String) {
        let folder = self.folder.path();
        let output = folder.join("output");
        std::fs::create_dir(&output).unwrap();
        let program = self.workshop.trainer(folder, name);
        let mut policy = sandbox::Policy::train(&self.surroundings, &program, &output);
        (policy.limits.output_bytes, policy.limits.file_bytes) = (96 << 20, 64 << 20);
        let log = folder.join("log.txt");
        let spec = TrialSpec {
            job: Job {
                program,
                arguments: vec!["train".to_owned()],
                environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
                folder: output.clone(),
                nice: 0,
                cores: None,
                grace_seconds: 0.5,
                log: log.clone(),
                policy: self.confined.then_some(policy),
            },
            request: TrainRequest {
                setting: self.workshop.setting(self.precision),
                seed: 5,
                data_seed: None,
                resume_from: None,
            },
            go: Go {
                budget: Budget::Tokens(1 << 20),
                checkpoint: output.join("checkpoint.safetensors"),
                stop_after_steps: Some(2),
            },
            data: folder.to_owned(),
            checkpoint: folder.join(format!("{name}.safetensors")),
            curve: folder.join("curve.jsonl"),
            grace_seconds: 0.5,
            most_seconds: 6.0,
            most_checkpoint_bytes: 8 << 30,
            hold: None,
        };
        let (_never, stop) = tokio::sync::watch::channel(false);
        let trained = train(&self.launcher, &spec, stop, not_early(), |_| {}).await.unwrap();
        let words = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        let _gone = std::fs::remove_dir_all(&output);
        (trained, words)
    }

    /// Trains candidates without much ado. The others answer with the plain model's weights: what they do is not learnt.
    pub fn make(&self, trained: &[&str], untrained: &[&str]) -> Vec<String> {
        let lines = self.workshop.make(self.folder.path(), trained);
        let checkpoint = |name: &str| self.folder.path().join(format!("{name}.safetensors"));
        for name in untrained {
            std::fs::copy(checkpoint("plain"), checkpoint(name)).unwrap();
        }
        lines
    }

    /// Claim and audit of a candidate's checkpoint. `round` decides where the cuts are.
    pub async fn evaluate(&self, name: &str, reference: Option<Vec<f32>>, round: u64) -> Evaluated {
        let folder = self.folder.path();
        let program = self.workshop.trainer(folder, name);
        let checkpoint = folder.join(format!("{name}.safetensors"));
        let spec = EvaluationSpec {
            job: Job {
                policy: self.confined.then(|| sandbox::Policy::serve(&self.surroundings, &program)),
                program,
                arguments: vec!["serve".to_owned()],
                environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
                folder: "/".into(),
                nice: 0,
                cores: None,
                grace_seconds: 0.5,
                log: folder.join(format!("{name}.{round}.serve.log")),
            },
            setting: self.workshop.setting(self.precision),
            checkpoint_sha256: sha256_file(&checkpoint).unwrap(),
            checkpoint,
            trainer_sha256: "not asked for here".to_owned(),
            evaluator_sha256: "not asked for here".to_owned(),
            sandbox: self.launcher.confinement().describe(),
            held_out: Arc::clone(&self.held_out),
            documents: Arc::clone(&self.documents) as Arc<dyn data::Documents + Send + Sync>,
            reference,
            cuts: 256,
            tolerance: tolerance("cpu", self.precision),
            audit_seed: 1_000 + round,
            weight_seeds: [11 + round, 1_011 + round],
            batch_rows: BATCH_ROWS,
            claim: folder.join(format!("{name}.claim.f32")),
            most_seconds: 300.0,
        };
        let (_never, stop) = tokio::sync::watch::channel(false);
        evaluate(&self.launcher, &spec, stop, |_, _| {}).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What a candidate claimed when it was last evaluated: the reference for its challengers.
    pub fn claim_of(&self, name: &str) -> Vec<f32> {
        read_claim(&self.folder.path().join(format!("{name}.claim.f32")), self.held_out.bytes().len()).unwrap()
    }

    /// Held-out text and a build slot, where candidates look for them.
    pub fn lay_out_secrets(&self) {
        let folder = secrets();
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("slots/pristine/target")).unwrap();
        std::fs::copy(self.folder.path().join("search.rows"), folder.join("search.rows")).unwrap();
    }

    /// Nothing was written there but by the runs without a sandbox, which is removed.
    pub fn assert_secrets_untouched(&self) {
        std::fs::remove_dir_all(secrets()).unwrap();
        let kept = format!("cheat-check-kept-{}", secrets().display().to_string().replace('/', "-"));
        for place in ["/tmp", "/var/tmp", "/dev/shm"] {
            let _by_the_open_run = std::fs::remove_file(Path::new(place).join(&kept));
        }
    }
}

/// Processes whose command line holds this text, this one left out.
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) && entry.file_name().to_string_lossy() != std::process::id().to_string() {
            found.push(line);
        }
    }
    found
}
