//! What a stage may touch, as data. No IO.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the confined process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The compiler, on edited code.
    Build,
    /// Training.
    Train,
    /// Answering the evaluator.
    Serve,
}

/// Bounds on what a confined process and all that it starts may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all its processes together, bytes; `None` for no bound.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub tasks: u64,
    /// Largest single file, bytes.
    pub file_bytes: u64,
    /// All files in the folders that it may write, together, bytes.
    pub output_bytes: u64,
    /// Open descriptors of one process.
    pub descriptors: u64,
}

/// What a confined process gets to see and to do. Whatever is not named is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What it is for.
    pub stage: Stage,
    /// Files and folders that may be read and executed, absolute.
    pub read: Vec<PathBuf>,
    /// Folders that may be written, absolute.
    pub write: Vec<PathBuf>,
    /// Device files that may be read and written, absolute: a GPU's.
    pub devices: Vec<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

/// What is the same for every confined process of a night.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// What compiling needs to read: toolchain, sources of dependencies, cargo's own settings.
    pub toolchain: Vec<PathBuf>,
    /// What running needs to read: libtorch, and a night's compiled kernels.
    pub libraries: Vec<PathBuf>,
    /// A GPU's device files, where one is used.
    pub devices: Vec<PathBuf>,
    /// Memory for training and serving, bytes.
    pub memory_bytes: Option<u64>,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Policy {
    /// Compiling: reads toolchain, libraries and `source`; writes `target`.
    pub fn build(surroundings: &Surroundings, source: &Path, target: &Path) -> Policy {
        let mut read = surroundings.toolchain.clone();
        read.extend(surroundings.libraries.iter().cloned());
        read.push(source.to_owned());
        Policy {
            stage: Stage::Build,
            read,
            write: vec![target.to_owned()],
            devices: Vec::new(),
            limits: Limits {
                memory_bytes: surroundings.memory_bytes,
                tasks: 1_024,
                file_bytes: 4 * GIB,
                output_bytes: 16 * GIB,
                descriptors: 4_096,
            },
        }
    }

    /// Training: reads the executable and libraries; writes `output`. Training data is no path: it arrives as descriptors.
    pub fn train(surroundings: &Surroundings, executable: &Path, output: &Path) -> Policy {
        Policy {
            stage: Stage::Train,
            write: vec![output.to_owned()],
            limits: Limits { file_bytes: 8 * GIB, output_bytes: 16 * GIB, ..run_limits(surroundings) },
            ..Policy::serve(surroundings, executable)
        }
    }

    /// Answering the evaluator: reads the executable and libraries, writes nothing. Checkpoint, questions and answers are
    /// descriptors.
    pub fn serve(surroundings: &Surroundings, executable: &Path) -> Policy {
        let mut read = surroundings.libraries.clone();
        read.push(executable.to_owned());
        Policy {
            stage: Stage::Serve,
            read,
            write: Vec::new(),
            devices: surroundings.devices.clone(),
            limits: run_limits(surroundings),
        }
    }
}

fn run_limits(surroundings: &Surroundings) -> Limits {
    Limits {
        memory_bytes: surroundings.memory_bytes,
        tasks: 1_024,
        file_bytes: 64 * MIB,
        output_bytes: 64 * MIB,
        descriptors: 1_024,
    }
}
