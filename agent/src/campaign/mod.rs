//! What a person wants researched: `experiments/<campaign>/program.md` (prose, for the proposers) and `campaign.toml`
//! (budget, data, machine, rules).
//!
//! Reading is pure ([`Campaign::parse`]); [`load`] is the thin part that touches files. `auto` and `0` stay what they are until the
//! night resolves them ([`Campaign::setting`]). Every mistake in a file is reported, with its place and what to do.

mod layout;
mod load;
mod models;
mod parse;
mod parse_data;
mod parse_models;
mod parse_rules;
mod precision;
mod problems;
mod reader;
mod report;
mod scaffold;
mod trust;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use protocol::{Budget, Scale, Setting};
use serde::{Deserialize, Serialize};

use crate::flow::BadName;

pub use load::{CampaignError, load, locate};
pub use models::{CodingAgent, Model, Spending};
pub use precision::{PrecisionChoice, multiplies_bf16};
pub use problems::{Place, Problem, Problems};
pub use report::{ProblemReport, Report};
pub use scaffold::{ScaffoldError, scaffold};
pub use trust::{Evaluation, Sandbox};

/// `[rules]`.
pub use crate::stats::Rules;

/// The name of a campaign: its folder's name and a part of its branches' names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CampaignName(String);

impl CampaignName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest name that would do, for a suggestion; `None` where nothing of the text can be used.
    pub fn like(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        let dashed: String =
            lower.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
        let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
        let name: String = parts.join("-").chars().take(40).collect();
        Self::try_from(name.trim_end_matches('-').to_owned()).ok()
    }
}

impl TryFrom<String> for CampaignName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let fits = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text))
        } else {
            let expected = "a campaign's name (lower-case letters, digits and inner dashes, at most 40: it becomes part of branch names)";
            Err(BadName { text, expected })
        }
    }
}

impl FromStr for CampaignName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::try_from(text.to_owned())
    }
}

impl From<CampaignName> for String {
    fn from(name: CampaignName) -> Self {
        name.0
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A campaign as its two files say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its folder's name.
    pub name: CampaignName,
    /// The folder of its two files; relative data files are looked for here.
    pub folder: PathBuf,
    /// One line for people.
    pub title: String,
    /// `program.md`, whole.
    pub goal: String,
    /// Which constructor of the recipe.
    pub scale: Scale,
    /// How long every trial trains.
    pub budget: Budget,
    /// When a night ends and who proposes.
    pub night: Night,
    /// What is trained and measured on.
    pub data: Data,
    /// What it runs on.
    pub machine: Machine,
    /// What the code under test is confined by.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// How figures are verified.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// How results are judged.
    pub rules: Rules,
    /// Language models that may be asked, in the order of the file.
    #[serde(default)]
    pub models: Vec<Model>,
    /// What a night may spend on them.
    #[serde(default)]
    pub spending: Spending,
    /// Coding agents that may be asked, in the order of the file.
    #[serde(default)]
    pub coding_agents: Vec<CodingAgent>,
    /// SHA-256 of `campaign.toml`, hexadecimal.
    pub campaign_sha256: String,
    /// SHA-256 of `program.md`, hexadecimal.
    pub program_sha256: String,
}

/// `[night]`: whichever limit is reached first ends the night; there is at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Night {
    /// Experiments, the baseline not counted.
    pub experiments: Option<u32>,
    /// Hours by the clock.
    pub hours: Option<f64>,
    /// Who is asked for proposals, in this order; at least one.
    pub proposers: Vec<ProposerName>,
}

/// A proposer that a campaign can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposerName {
    /// Curated ideas.
    Playbook,
    /// Numeric search around the recipe's constants.
    Tuner,
    /// Near misses once more: together, or on a champion that has moved.
    Combine,
    /// Programs that are the champion's: an A/A test.
    Identical,
    /// The campaign's language models.
    Models,
    /// The campaign's coding agents.
    Agents,
}

impl ProposerName {
    /// All proposers.
    pub const ALL: [ProposerName; 6] = [
        ProposerName::Playbook,
        ProposerName::Tuner,
        ProposerName::Combine,
        ProposerName::Identical,
        ProposerName::Models,
        ProposerName::Agents,
    ];

    /// Those of a campaign that names none: who looks for something better. Models and agents join them where it describes some.
    pub const USUAL: [ProposerName; 3] = [ProposerName::Playbook, ProposerName::Tuner, ProposerName::Combine];

    /// The word used in `campaign.toml`, on the command line and in [`crate::flow::Author`].
    pub const fn name(self) -> &'static str {
        match self {
            ProposerName::Playbook => "playbook",
            ProposerName::Tuner => "tuner",
            ProposerName::Combine => "combine",
            ProposerName::Identical => "identical",
            ProposerName::Models => "models",
            ProposerName::Agents => "agents",
        }
    }
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Where the text comes from.
    pub source: DataSource,
    /// Tokens in the vocabulary, special tokens included; at least 257 (256 bytes and BOS), at most 65,536 (ids are 16 bit).
    pub vocabulary: usize,
    /// Tokens a position can look back on; rows of data hold one more.
    pub context: usize,
    /// Rows of `context + 1` tokens that experiments are measured on during the night.
    pub search_rows: usize,
    /// Rows kept for the morning; nothing during the night sees them.
    pub sealed_rows: usize,
    /// Training text beyond this many bytes is left out; `None` takes all.
    pub max_train_bytes: Option<u64>,
    /// Longer documents are cut into pieces of at most this many bytes; `None` leaves the choice to
    /// [`Options::for_source`](data::prepare::Options::for_source).
    #[serde(default)]
    pub max_piece_bytes: Option<usize>,
    /// The tokenizer is trained on at most this many bytes of the training text.
    pub tokenizer_sample_bytes: u64,
}

/// Where a campaign's text comes from. Paths of the hub are relative to the repository there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSource {
    /// The Python sources that libtorch's wheel ships.
    LibtorchPython,
    /// Local files.
    Files {
        /// `.txt`, `.jsonl` or `.parquet`, or folders of them; relative ones are relative to the campaign's folder ([`Campaign::data_source`] joins).
        files: Vec<PathBuf>,
        /// The field or column that holds the text.
        text_field: String,
    },
    /// Files of a data set repository on the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// The 40 hexadecimal digits of a commit there.
        revision: String,
        /// Which of its files.
        files: HubFiles,
        /// The field or column that holds the text.
        text_field: String,
    },
}

/// Which files of a hub repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HubFiles {
    /// These.
    Named(Vec<String>),
    /// Those whose path begins so, in the order of their names.
    Prefix {
        /// Beginning of the path.
        prefix: String,
        /// At most so many; `None` takes all.
        max_files: Option<usize>,
    },
}

/// `[machine]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Where training runs.
    pub device: Device,
    /// How many such devices train at once, each a trial of its own; at least one. On the CPU each is `threads` cores.
    #[serde(default = "Machine::one_device")]
    pub devices: usize,
    /// Arithmetic of the forward and backward pass.
    pub precision: PrecisionChoice,
    /// Threads of libtorch's CPU operations in a trial; 0 for all cores, divided among the devices.
    pub threads: usize,
    /// Seconds that a trial may take beyond its budget (last step, checkpoint) before it is ended.
    pub grace_seconds: f64,
    /// The night stops before the disk has less than this left, in 10^9 bytes.
    pub disk_reserve_gb: f64,
    /// Share of the cores that a trial uses, 0 to 1, which other programs may take while it trains; beyond that it is run again. 1
    /// looks away from other programs, on a GPU too.
    #[serde(default = "Machine::usual_foreign_load")]
    pub most_foreign_load: f64,
}

impl Machine {
    /// The default of [`Machine::devices`].
    pub(crate) fn one_device() -> usize {
        1
    }

    /// The default of [`Machine::most_foreign_load`].
    pub(crate) fn usual_foreign_load() -> f64 {
        0.25
    }
}

/// Where training runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(u32),
}

impl Campaign {
    /// Whether somebody among those who propose can make edits of an idea in words: a language model or a coding agent.
    pub fn reads_words(&self) -> bool {
        self.night.proposers.iter().any(|name| matches!(name, ProposerName::Models | ProposerName::Agents))
    }

    /// What the trainer is built from, once the night knows how many threads and which device (`cpu` or `cuda:N`). A precision of
    /// `auto` is resolved here, which on a CPU reads what instructions it has.
    pub fn setting(&self, threads: usize, device: impl Into<String>) -> Setting {
        let device = device.into();
        let precision = self.machine.precision.on(&device);
        Setting {
            scale: self.scale,
            vocabulary: self.data.vocabulary,
            context: self.data.context,
            device,
            precision,
            threads,
        }
    }

    /// How long every trial trains.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Where the text comes from, with local paths that can be opened from here.
    pub fn data_source(&self) -> DataSource {
        match &self.data.source {
            DataSource::Files { files, text_field } => DataSource::Files {
                files: files.iter().map(|file| self.folder.join(file)).collect(),
                text_field: text_field.clone(),
            },
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
