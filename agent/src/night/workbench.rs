//! How trainers run and are evaluated here: one place that makes confined jobs, trials and evaluations, for the night, for
//! `replay` and for the red team alike.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Budget, Go, Setting, TrainRequest};

use crate::flow::Purpose;
use crate::hash::sha256_file;
use crate::prepare::DataError;
use crate::run::{Job, Launcher, TrialSpec};
use crate::sealed::Sealed;
use crate::seeds;
use crate::verify::tolerance::Tolerance;
use crate::verify::{EvaluationSpec, HeldOut};

/// Bound on an evaluation. A model that trains at all evaluates faster than it trains; this is for the ones that hang.
const MOST_EVALUATION_SECONDS: f64 = 600.0;

/// Rows of every evaluation batch; small enough for the logits of the largest vocabulary to fit anywhere.
pub const EVALUATION_ROWS: usize = 16;

/// Largest checkpoint that is taken, on any machine.
const MOST_CHECKPOINT_BYTES: u64 = 8 << 30;

/// Seconds between SIGTERM and SIGKILL for a trainer that has nothing more to say.
const JOB_GRACE_SECONDS: f64 = 2.0;

/// All that is the same for every trial of a night.
#[derive(Debug, Clone)]
pub struct Workbench {
    /// Starts confined processes.
    pub launcher: Launcher,
    /// What they get to see.
    pub surroundings: sandbox::Surroundings,
    /// All variables of a trainer.
    pub environment: Vec<(String, String)>,
    /// How many trials run at a time.
    pub devices: usize,
    /// What every trainer is built from.
    pub setting: Setting,
    /// Folder of the training shards.
    pub shards: PathBuf,
    /// The same, opened: the evaluator takes the text after a cut from them.
    pub documents: Arc<data::Shards>,
    /// What trials are measured on while the night searches.
    pub held_out: Arc<HeldOut>,
    /// What those of the morning are measured on; unread until then.
    pub sealed: Arc<Sealed>,
    /// Cuts of an audit.
    pub cuts: usize,
    /// What rounding explains where the night's models are served. The red team, which runs on the CPU, is judged by it
    /// too: what passes the night's wider limits must be found out, not what passes the CPU's.
    pub tolerance: Tolerance,
    /// SHA-256 of this very executable, which holds the evaluator.
    pub evaluator_sha256: String,
}

/// One executable and where the files of its trial go.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The trainer.
    pub executable: PathBuf,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Logs, curve, checkpoint and claim.
    pub folder: PathBuf,
}

impl Subject {
    /// The one folder that the trainer may write.
    pub fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The checkpoint, once taken from there.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    /// Makes the folders; what an earlier attempt left in the output folder is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn create_folders(&self) -> io::Result<()> {
        let output = self.output();
        crate::files::remove_folder(&output)?;
        std::fs::create_dir_all(output)
    }
}

/// SHA-256 of this program.
///
/// # Errors
/// When the system does not let it read itself.
pub fn own_sha256() -> io::Result<String> {
    sha256_file(Path::new("/proc/self/exe"))
}

/// Bytes that a trial may write at most, where so many run at a time: all of them together leave half of what is free.
fn most_output(bound: u64, free: u64, trials: usize) -> u64 {
    bound.min(free / (2 * trials.max(1) as u64))
}

impl Workbench {
    /// Whether trainers compute on a GPU.
    pub fn on_gpu(&self) -> bool {
        self.setting.device.starts_with("cuda")
    }

    /// A training process: may write the subject's output folder and nothing else.
    fn train_job(&self, subject: &Subject) -> Job {
        let mut policy = sandbox::Policy::train(&self.surroundings, &subject.executable, &subject.output());
        // Who writes too much must pass a limit of its own before the disk is full, which would be the machine's fault. Where the
        // space is not known the policy's own bound stands.
        if let Ok(space) = crate::setup::space_at(&subject.folder) {
            policy.limits.output_bytes = most_output(policy.limits.output_bytes, space.available.0, self.devices);
        }
        self.job(subject, "train", "log.txt", policy, subject.output())
    }

    /// A serving process: may write nothing.
    pub fn serve_job(&self, subject: &Subject) -> Job {
        let policy = sandbox::Policy::serve(&self.surroundings, &subject.executable);
        self.job(subject, "serve", "serve.log", policy, PathBuf::from("/"))
    }

    /// A sampling process: may read the checkpoint and write nothing.
    pub fn sample_job(&self, subject: &Subject, checkpoint: &Path) -> Job {
        let mut policy = sandbox::Policy::serve(&self.surroundings, &subject.executable);
        policy.read.push(checkpoint.to_owned());
        self.job(subject, "sample", "sample.log", policy, PathBuf::from("/"))
    }

    /// A process that says which devices it can use; confined like a serving one.
    pub fn probe_job(&self, executable: &Path, folder: &Path) -> Job {
        let subject = Subject { executable: executable.to_owned(), sha256: String::new(), folder: folder.to_owned() };
        let policy = sandbox::Policy::serve(&self.surroundings, executable);
        self.job(&subject, "probe", "probe.log", policy, PathBuf::from("/"))
    }

    fn job(&self, subject: &Subject, command: &str, log: &str, policy: sandbox::Policy, folder: PathBuf) -> Job {
        Job {
            program: subject.executable.clone(),
            arguments: vec![command.to_owned()],
            environment: self.environment.clone(),
            folder,
            nice: 0,
            cores: None,
            grace_seconds: JOB_GRACE_SECONDS,
            log: subject.folder.join(log),
            policy: Some(policy),
        }
    }

    /// A training run under a seed.
    pub fn trial(
        &self,
        subject: &Subject,
        seed: u64,
        budget: Budget,
        grace_seconds: f64,
        most_seconds: f64,
    ) -> TrialSpec {
        TrialSpec {
            job: self.train_job(subject),
            request: TrainRequest { setting: self.setting.clone(), seed, data_seed: None, resume_from: None },
            go: Go { budget, checkpoint: subject.output().join("checkpoint.safetensors"), stop_after_steps: None },
            data: self.shards.clone(),
            checkpoint: subject.checkpoint(),
            curve: subject.folder.join("curve.jsonl"),
            grace_seconds,
            most_seconds,
            most_checkpoint_bytes: self.most_checkpoint_bytes(),
            hold: None,
        }
    }

    /// A checkpoint is copied into memory for each process that is handed it, beside that process's own copies.
    fn most_checkpoint_bytes(&self) -> u64 {
        self.surroundings.memory_bytes.map_or(MOST_CHECKPOINT_BYTES, |bytes| MOST_CHECKPOINT_BYTES.min(bytes / 4))
    }

    /// The rows that a trial is measured on. For one of the morning this opens the sealed text: blocks.
    ///
    /// # Errors
    /// When the sealed text cannot be read or is not what was prepared.
    pub fn held_out_for(&self, purpose: Purpose) -> Result<Arc<HeldOut>, DataError> {
        match purpose {
            Purpose::Search => Ok(Arc::clone(&self.held_out)),
            Purpose::Morning => self.sealed.open(),
        }
    }

    /// The evaluation of the subject's checkpoint on `held_out`. `reference` is the champion's claim on the same rows, where there
    /// is one.
    ///
    /// # Errors
    /// When no secret seeds can be drawn.
    pub fn evaluation(
        &self,
        subject: &Subject,
        checkpoint_sha256: String,
        held_out: Arc<HeldOut>,
        reference: Option<Vec<f32>>,
    ) -> Result<EvaluationSpec, seeds::NoRandomness> {
        Ok(EvaluationSpec {
            job: self.serve_job(subject),
            setting: self.setting.clone(),
            checkpoint: subject.checkpoint(),
            checkpoint_sha256,
            trainer_sha256: subject.sha256.clone(),
            evaluator_sha256: self.evaluator_sha256.clone(),
            sandbox: self.launcher.confinement().describe(),
            held_out,
            documents: Arc::clone(&self.documents) as Arc<dyn data::Documents + Send + Sync>,
            reference,
            cuts: self.cuts,
            tolerance: self.tolerance,
            audit_seed: seeds::random()?,
            weight_seeds: [seeds::random()?, seeds::random()?],
            batch_rows: EVALUATION_ROWS,
            claim: subject.folder.join("claim.f32"),
            most_seconds: MOST_EVALUATION_SECONDS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_that_run_at_a_time_leave_half_of_what_is_free() {
        assert_eq!(most_output(1000, 600, 1), 300);
        assert_eq!(most_output(1000, 600, 3), 100);
        assert_eq!(most_output(50, 600, 3), 50, "the bound that holds anyway");
    }
}
