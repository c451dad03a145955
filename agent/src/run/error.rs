//! Why a process could not be run.

use std::io;
use std::path::PathBuf;

/// Why a process could not be run. Always a matter of the machine, never of the edited code.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The helper or the program is not there or not executable.
    #[error("cannot start {}: {source}; is it still there and executable?", program.display())]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the run cannot be written or read.
    #[error("cannot {action} {}: {source}; check the disk's space and permissions", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What an earlier night left in a control group cannot be ended.
    #[error("{0}; end what is in it by hand")]
    Group(#[from] sandbox::GroupError),
    /// The sandbox does not hold what it promises on this machine.
    #[error("the sandbox does not hold on this machine: {0}; `nocturne doctor` says what the machine offers")]
    Leaks(String),
    /// The disk that it writes to was full, whoever filled it.
    #[error("{} was ended: {why}; free some space on the disk", program.display())]
    FullDisk {
        /// What was run.
        program: PathBuf,
        /// What the helper said.
        why: String,
    },
    /// Waiting for it failed.
    #[error("cannot wait for {}: {source}", program.display())]
    Wait {
        /// What was waited for.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}
