//! Why a night did not begin.

use std::io;
use std::path::PathBuf;

use super::redteam::RedTeamError;
use crate::campaign::CampaignError;
use crate::flow::NightId;
use crate::prepare::DataError;
use crate::propose::ProposeError;
use crate::repo::RepoError;
use crate::run::RunError;
use crate::setup::SetupError;
use crate::store::StoreError;

/// Why a night did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The repository is not fit.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The campaign is not.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The machine is not.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The data is not.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The records are not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A proposer is not.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Processes cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No such proposer.
    #[error("there is no proposer {name:?}; there are {known}")]
    NoSuchProposer {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A proposer was asked for that the campaign does not describe.
    #[error("the campaign has nobody to ask as {name:?}; describe one in a section `[[{list}]]` of campaign.toml")]
    NobodyToAsk {
        /// What was asked for.
        name: &'static str,
        /// The section that is missing.
        list: &'static str,
    },
    /// A model cannot be asked.
    #[error("the model {name:?} cannot be asked: {why}")]
    Model {
        /// Its name in campaign.toml.
        name: String,
        /// Why.
        why: String,
    },
    /// What is to be replayed is no night's name.
    #[error("cannot replay: {0}")]
    NotANight(#[source] crate::flow::BadName),
    /// There is no such night to replay.
    #[error("cannot replay night {0}, for there is none of that name here; `nocturne list` shows the nights there are")]
    NoNightToReplay(NightId),
    /// The night that is to be replayed is of another campaign, where its proposals meet other code and other data.
    #[error(
        "cannot replay night {night}: it is of the campaign {its}, and this is {this}; replay it with experiments/{its}"
    )]
    ReplayOfAnother {
        /// The night.
        night: NightId,
        /// Its campaign.
        its: String,
        /// The one of the night that was to begin.
        this: String,
    },
    /// The night that is to be replayed asked nobody.
    #[error(
        "cannot replay night {0}: it has no answers of models or coding agents on record; `nocturne models {0}` shows whom it asked"
    )]
    NothingToReplay(NightId),
    /// Another night runs in this repository.
    #[error("another night is running in this repository (it holds {}); `nocturne status` shows it", .0.display())]
    Running(PathBuf),
    /// A file of ours cannot be used.
    #[error("cannot {action} {}: {source}; check permissions and space", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The start could not be found or mended.
    #[error("cannot go on with night {night}: {why}")]
    Resume {
        /// Which night.
        night: NightId,
        /// Why.
        why: String,
    },
    /// A GPU was asked for that is not there.
    #[error("the campaign asks for {asked}, but this machine has {found} usable GPUs; set `device` in campaign.toml")]
    NoSuchDevice {
        /// What was asked for.
        asked: String,
        /// How many there are.
        found: usize,
    },
    /// Several GPUs were asked for that are not of one kind.
    #[error(
        "{one} and {other} are not alike: a budget of seconds buys more training on one than on the other, so trials on them do not \
         compare; choose like ones with CUDA_VISIBLE_DEVICES, or set `devices = 1` under [machine] in campaign.toml"
    )]
    UnlikeDevices {
        /// One of them and what it is.
        one: String,
        /// The first that is another.
        other: String,
    },
    /// The names of the GPUs that are the person's to use do not give several devices.
    #[error(
        "CUDA_VISIBLE_DEVICES does not give {devices} devices of one kind: {why}; name GPUs there by the numbers that nvidia-smi shows, each \
         once, or set `devices = 1` under [machine] in campaign.toml"
    )]
    UnfitNames {
        /// How many devices were asked for.
        devices: usize,
        /// What is wrong with the names.
        why: String,
    },
    /// Groups of cores were asked for that the machine does not have.
    #[error(
        "{devices} devices of {each} threads each need {} cores of their own, and this machine lets the night use {cores}; lower \
         `devices` or `threads` under [machine] in campaign.toml", devices.saturating_mul(*each)
    )]
    TooFewCores {
        /// How many devices were asked for.
        devices: usize,
        /// Threads of a trial.
        each: usize,
        /// Cores that there are.
        cores: usize,
    },
    /// The machine confines edited code less than the campaign accepts.
    #[error(transparent)]
    TooWeak(#[from] sandbox::TooWeak),
    /// The red team found that the night's figures could not be trusted.
    #[error(transparent)]
    RedTeam(#[from] RedTeamError),
    /// No random numbers, no calendar.
    #[error("cannot name the night or draw its seeds: {0}")]
    Lots(String),
}

impl OpenError {
    /// The process's exit code: 2 for bad input, 3 for an unfit environment, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            OpenError::Campaign(_)
            | OpenError::NoSuchProposer { .. }
            | OpenError::NobodyToAsk { .. }
            | OpenError::Model { .. }
            | OpenError::NotANight(_)
            | OpenError::NothingToReplay(_)
            | OpenError::NoNightToReplay(_)
            | OpenError::ReplayOfAnother { .. }
            | OpenError::Repo(_) => 2,
            OpenError::Setup(error) => error.exit_code(),
            OpenError::Data(error) => error.exit_code(),
            OpenError::TooWeak(_)
            | OpenError::Run(_)
            | OpenError::Running(_)
            | OpenError::File { .. }
            | OpenError::NoSuchDevice { .. }
            | OpenError::UnlikeDevices { .. }
            | OpenError::UnfitNames { .. }
            | OpenError::TooFewCores { .. }
            | OpenError::Lots(_) => 3,
            OpenError::Store(_) | OpenError::Propose(_) | OpenError::Resume { .. } | OpenError::RedTeam(_) => 1,
        }
    }
}
