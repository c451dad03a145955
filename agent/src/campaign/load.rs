//! The part of reading a campaign that touches files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::problems::nearest;
use super::{Campaign, CampaignName, Problems};
use crate::flow::BadName;
use crate::llm::key::KeySource;
use crate::terminal::clean;

/// No campaign is this long; something else was named.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why there is no campaign to run.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// There is no such folder, or it holds no campaign.
    #[error("there is no campaign {}: no folder of that name holds a campaign.toml", clean(&named.display().to_string()))]
    NotFound {
        /// What the person named.
        named: PathBuf,
        /// Names of campaigns in `experiments/` that look like it, or all of them.
        known: Vec<String>,
        /// Whether `known` holds only the nearest one.
        near: bool,
    },
    /// One of the two files is missing.
    #[error("{} is missing, so {} is not a campaign", clean(&file.display().to_string()), clean(&folder.display().to_string()))]
    Incomplete {
        /// The missing file.
        file: PathBuf,
        /// The campaign's folder.
        folder: PathBuf,
    },
    /// The folder's name cannot name branches.
    #[error("{}: the folder's name cannot be a campaign's: {source}", clean(&folder.display().to_string()))]
    Name {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        source: BadName,
    },
    /// A file that says nothing.
    #[error("{} is empty: proposers would not know what to look for", clean(&.0.display().to_string()))]
    NoGoal(PathBuf),
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", clean(&path.display().to_string()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is far too long for a campaign.
    #[error("{} has more than {MAX_FILE_BYTES} bytes", clean(&.0.display().to_string()))]
    TooLong(PathBuf),
    /// A file that is not text.
    #[error("{}:{line}:{column}: not UTF-8", clean(&path.display().to_string()))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line of the first bad byte, from 1.
        line: usize,
        /// Column of the first bad byte in characters, from 1.
        column: usize,
    },
    /// The file of a key is where files are committed.
    #[error("the key file {} of the model \"{model}\" lies in the repository {}", clean(&file.display().to_string()), clean(&root.display().to_string()))]
    KeyInRepository {
        /// The file.
        file: PathBuf,
        /// The model.
        model: String,
        /// The repository.
        root: PathBuf,
    },
    /// `campaign.toml` is wrong.
    #[error(transparent)]
    Problems(Box<Problems>),
}

impl CampaignError {
    /// What to do about it, where the message alone does not say.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { known, near: true, .. } => {
                Some(format!("did you mean {}? (`nocturne new NAME` makes a new campaign)", known.join(" or ")))
            }
            Self::NotFound { known, .. } if known.is_empty() => Some("`nocturne new NAME` makes a campaign".to_owned()),
            Self::NotFound { known, .. } => {
                Some(format!("there are {} (`nocturne new NAME` makes another)", known.join(", ")))
            }
            Self::Incomplete { folder, .. } => Some(format!(
                "`nocturne new {}` writes what is missing and leaves what is there",
                CampaignName::like(&folder.file_name().unwrap_or_default().to_string_lossy())
                    .map_or("NAME".to_owned(), String::from),
            )),
            Self::Name { folder, .. } => {
                let like = CampaignName::like(&folder.file_name().unwrap_or_default().to_string_lossy())?;
                Some(format!("rename the folder, for example to `{like}`"))
            }
            Self::NoGoal(_) => Some("write down what to look for, what is known and what is off limits".to_owned()),
            Self::Read { .. } => Some("check that it is a file and that you may read it".to_owned()),
            Self::TooLong(_) => Some("a campaign's files are written by hand; is it the right file?".to_owned()),
            Self::NotUtf8 { .. } => Some("save it as UTF-8".to_owned()),
            Self::KeyInRepository { .. } => Some(
                "move it out, for example to ~/.config/nocturne/, and write its new place into `key_file`".to_owned(),
            ),
            Self::Problems(_) => None,
        }
    }
}

/// The folder that a person means: a path to it (or to its `campaign.toml`), from here or from the repository's root, or the bare name
/// of a campaign in `experiments/`.
///
/// # Errors
/// [`CampaignError::NotFound`] with the names that are near.
pub fn locate(repo_root: &Path, named: &Path) -> Result<PathBuf, CampaignError> {
    let named_folder = if named.file_name().is_some_and(|name| name == "campaign.toml") {
        named.parent().unwrap_or(Path::new(""))
    } else {
        named
    };
    let here = if named_folder.as_os_str().is_empty() { Path::new(".") } else { named_folder };
    let experiments = repo_root.join("experiments");
    for candidate in [here.to_path_buf(), repo_root.join(named_folder), experiments.join(named_folder)] {
        if candidate.join("campaign.toml").is_file() || candidate.join("program.md").is_file() {
            return Ok(candidate);
        }
    }
    let names = campaigns_in(&experiments);
    let written = named_folder.file_name().unwrap_or_default().to_string_lossy();
    Err(match nearest(&written, names.iter().map(String::as_str)) {
        Some(near) => {
            let known = vec![format!("experiments/{near}")];
            CampaignError::NotFound { named: named.to_path_buf(), known, near: true }
        }
        None => CampaignError::NotFound {
            named: named.to_path_buf(),
            known: names.iter().map(|name| format!("experiments/{name}")).collect(),
            near: false,
        },
    })
}

/// Names of the campaigns in a folder, sorted. A folder that cannot be listed has none: this serves suggestions only.
fn campaigns_in(experiments: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(experiments) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("campaign.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| clean(&name))
        .collect();
    names.sort();
    names
}

/// Reads the campaign in `folder`.
///
/// # Errors
/// See [`CampaignError`].
pub fn load(folder: &Path) -> Result<Campaign, CampaignError> {
    if !folder.is_dir() {
        return Err(CampaignError::NotFound { named: folder.to_path_buf(), known: Vec::new(), near: false });
    }
    let (toml_path, program_path) = (folder.join("campaign.toml"), folder.join("program.md"));
    let toml_text = read_text(&toml_path, folder)?;
    let program_text = read_text(&program_path, folder)?;
    // `.` has no name of its own.
    let whole =
        fs::canonicalize(folder).map_err(|source| CampaignError::Read { path: folder.to_path_buf(), source })?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let root = whole.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_path_buf);
    let name = CampaignName::try_from(name).map_err(|source| CampaignError::Name { folder: whole, source })?;
    if program_text.trim().is_empty() {
        return Err(CampaignError::NoGoal(program_path));
    }
    let campaign = Campaign::parse(name, &toml_text, &program_text, &toml_path)
        .map_err(|problems| CampaignError::Problems(Box::new(problems)))?;
    match root {
        Some(root) => refuse_keys_in(&root, &campaign).map(|()| campaign),
        None => Ok(campaign),
    }
}

/// What lies in a repository may be committed, and pushed with it.
fn refuse_keys_in(root: &Path, campaign: &Campaign) -> Result<(), CampaignError> {
    let home = std::env::home_dir();
    for model in &campaign.models {
        let Some(KeySource::File(file)) = model.key_source(home.as_deref()) else { continue };
        // A file that is not there cannot be resolved; whoever reads it says so.
        let place = fs::canonicalize(&file).unwrap_or(file);
        if place.starts_with(root) {
            let (model, root) = (model.name.clone(), root.to_path_buf());
            return Err(CampaignError::KeyInRepository { file: place, model, root });
        }
    }
    Ok(())
}

fn read_text(path: &Path, folder: &Path) -> Result<String, CampaignError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CampaignError::Incomplete { file: path.to_path_buf(), folder: folder.to_path_buf() },
        _ => CampaignError::Read { path: path.to_path_buf(), source },
    };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CampaignError::TooLong(path.to_path_buf()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let place = super::Place::of(&valid, valid.len());
        CampaignError::NotUtf8 { path: path.to_path_buf(), line: place.line, column: place.column }
    })
}
