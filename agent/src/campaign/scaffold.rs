//! `nocturne new <campaign>`: a campaign's two files from templates inside the binary.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::Scale;

use super::CampaignName;
use crate::flow::BadName;
use crate::terminal::clean;

/// Why no campaign was written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The name cannot name branches.
    #[error("{source}{}", like(&source.text))]
    Name {
        /// What is wrong with it.
        source: BadName,
    },
    /// Both files are there already; nothing was changed.
    #[error("{} is a campaign already; nothing was changed", clean(&.0.display().to_string()))]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", clean(&path.display().to_string()))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn like(text: &str) -> String {
    CampaignName::like(text).map_or_else(String::new, |name| format!("; `{name}` would do"))
}

const CAMPAIGN: &str = include_str!("template/campaign.toml");
const PROGRAM: &str = include_str!("template/program.md");
const EMBEDDED: &str = include_str!("template/data-embedded.toml");
const CLIMBMIX: &str = include_str!("template/data-climbmix.toml");

/// The two files of a new campaign: `campaign.toml` and `program.md`.
pub(super) fn render(name: &CampaignName, scale: Scale) -> (String, String) {
    let (seconds, night, data) = match scale {
        Scale::Cpu => ("20", "experiments = 8", EMBEDDED),
        Scale::Gpu | Scale::H100 => ("300", "hours = 9", CLIMBMIX),
    };
    let title = name.as_str().replace('-', " ");
    let fill = |template: &str| {
        template
            .replace("@TITLE@", &title)
            .replace("@NAME@", name.as_str())
            .replace("@SCALE@", scale.name())
            .replace("@SECONDS@", seconds)
            .replace("@NIGHT@", night)
            .replace("@DATA@", data.trim_end())
    };
    (fill(CAMPAIGN), fill(PROGRAM))
}

/// Writes `experiments/<name>/campaign.toml` and `program.md` and returns the folder. A file that is there is left as it is.
///
/// # Errors
/// See [`ScaffoldError`].
pub fn scaffold(repo_root: &Path, name: &str, scale: Scale) -> Result<PathBuf, ScaffoldError> {
    let name: CampaignName = name.parse().map_err(|source| ScaffoldError::Name { source })?;
    let folder = repo_root.join("experiments").join(name.as_str());
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ScaffoldError::Write { path, source }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let (campaign, program) = render(&name, scale);
    let mut written = 0;
    for (file, text) in [("campaign.toml", campaign), ("program.md", program)] {
        let path = folder.join(file);
        match fs::File::create_new(&path) {
            Ok(mut file) => {
                if let Err(source) = file.write_all(text.as_bytes()) {
                    // Half a file would be taken for the person's own the next time.
                    drop(fs::remove_file(&path));
                    return Err(ScaffoldError::Write { path, source });
                }
                written += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    if written == 0 { Err(ScaffoldError::Exists(folder)) } else { Ok(folder) }
}
