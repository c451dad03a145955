//! What can go wrong with a measurement.

use std::path::PathBuf;

use crate::build::BuildError;
use crate::campaign::CampaignError;
use crate::edit::EditError;
use crate::files::FileError;
use crate::night::open::OpenError;
use crate::prepare::DataError;
use crate::repo::RepoError;
use crate::run::RunError;
use crate::seeds::NoRandomness;
use crate::setup::SetupError;
use crate::verify::EvaluationError;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The campaign cannot be read.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// Something that a night needs as well.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Set-up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The build could not be done.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Edits that do not fit the commit or break the policy.
    #[error("variant {variant}: {source}")]
    Edit {
        /// Whose.
        variant: String,
        /// Why.
        source: EditError,
    },
    /// A variant that is no program.
    #[error("variant {variant} does not compile:\n{errors}")]
    DoesNotCompile {
        /// Which.
        variant: String,
        /// The compiler's first errors.
        errors: String,
    },
    /// The run could not be done.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A trainer that did not come to its end.
    #[error("the trainer did not finish: {why}; its own words are in {}", log.display())]
    Unfinished {
        /// What it said, or how it ended.
        why: String,
        /// Where its standard error is.
        log: PathBuf,
    },
    /// It could not be evaluated.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// No secret seeds for the evaluator.
    #[error(transparent)]
    Lots(#[from] NoRandomness),
    /// A file of the measurement.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the measurement, said with what was tried.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line of an earlier measurement that is none.
    #[error("line {line} of {} is no row of a measurement ({source}); remove the line, or the folder to begin anew", path.display())]
    Row {
        /// Where.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        source: serde_json::Error,
    },
}
