//! Where everything lies on disk. Pure functions from names to paths: nothing here looks whether a file exists.

use std::path::{Path, PathBuf};

use crate::flow::{ExperimentId, NightId};

/// The folder of Nocturne's own state in a repository; git ignores it.
pub const STATE_FOLDER: &str = ".nocturne";

/// The places of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` is the repository's root: the folder that holds `experiments/` and `.nocturne/`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.nocturne/`.
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE_FOLDER)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state().join("nocturne.db")
    }

    /// Held by the running night (an exclusive `flock`).
    pub fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }

    /// The person's own ideas, of all campaigns.
    pub fn queue_file(&self) -> PathBuf {
        self.state().join("queue.json")
    }

    /// What the person made of experiments, of all nights.
    pub fn reviews_file(&self) -> PathBuf {
        self.state().join("reviews.json")
    }

    /// Prepared data sets, one folder each.
    pub fn data(&self) -> PathBuf {
        self.state().join("data")
    }

    /// Build slots, one folder each with `source` and `target`.
    pub fn slots(&self) -> PathBuf {
        self.state().join("slots")
    }

    /// One build slot.
    pub fn slot(&self, name: &str) -> PathBuf {
        self.slots().join(name)
    }

    /// The GPU's kernels, compiled anew when a night begins.
    pub fn kernels(&self) -> PathBuf {
        self.state().join("kernels")
    }

    /// The files of all nights.
    pub fn nights(&self) -> PathBuf {
        self.state().join("nights")
    }

    /// The files of one night.
    pub fn night(&self, night: &NightId) -> PathBuf {
        self.nights().join(night.as_str())
    }

    /// All facts of a night, its experiments aside.
    pub fn night_file(&self, night: &NightId) -> PathBuf {
        self.night(night).join("night.json")
    }

    /// A night's events, one a line.
    pub fn events_file(&self, night: &NightId) -> PathBuf {
        self.night(night).join("events.jsonl")
    }

    /// A night's journal of effects, one a line, the last line of a key counts.
    pub fn effects_file(&self, night: &NightId) -> PathBuf {
        self.night(night).join("effects.jsonl")
    }

    /// What a night's language models were asked and answered, one file a call.
    pub fn exchanges(&self, night: &NightId) -> PathBuf {
        self.night(night).join("exchanges")
    }

    /// One call of a model.
    pub fn exchange_file(&self, night: &NightId, turn: u64, round: u32) -> PathBuf {
        self.exchanges(night).join(format!("{turn}-{round}.json"))
    }

    /// The files of one experiment.
    pub fn experiment(&self, experiment: &ExperimentId) -> PathBuf {
        self.night(&experiment.night).join(experiment.number.to_string())
    }

    /// All facts of an experiment, its trials aside.
    pub fn experiment_file(&self, experiment: &ExperimentId) -> PathBuf {
        self.experiment(experiment).join("experiment.json")
    }

    /// An experiment's executable.
    pub fn trainer(&self, experiment: &ExperimentId) -> PathBuf {
        self.experiment(experiment).join("trainer")
    }

    /// The files of one trial; `ordinal` counts from 1.
    pub fn trial(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.experiment(experiment).join(format!("trial-{ordinal}"))
    }

    /// [`Layout::trial`] relative to `.nocturne/`, with forward slashes: what the database holds.
    pub fn trial_folder(experiment: &ExperimentId, ordinal: u32) -> String {
        format!("nights/{}/{}/trial-{ordinal}", experiment.night, experiment.number)
    }

    /// All facts of a trial.
    pub fn trial_file(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("trial.json")
    }

    /// A trial's loss curve: the trainer's step events, one a line.
    pub fn curve(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("curve.jsonl")
    }

    /// What a trial's process printed.
    pub fn log(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("log.txt")
    }

    /// The one folder that a trial's trainer may write; gone when the trial is over.
    pub fn output(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("output")
    }

    /// A trial's checkpoint, taken from the trainer's output.
    pub fn checkpoint(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("checkpoint.safetensors")
    }

    /// What a trial's model says of its own loss: little-endian f32, nats per target token.
    pub fn claim(&self, experiment: &ExperimentId, ordinal: u32) -> PathBuf {
        self.trial(experiment, ordinal).join("claim.f32")
    }

    /// All campaigns.
    pub fn campaigns(&self) -> PathBuf {
        self.root.join("experiments")
    }

    /// A campaign: `program.md`, `campaign.toml`. The name must be one path component; see `campaign`.
    pub fn campaign(&self, campaign: &str) -> PathBuf {
        self.campaigns().join(campaign)
    }

    /// Where a night leaves its report.
    pub fn reports(&self, campaign: &str, night: &NightId) -> PathBuf {
        self.campaign(campaign).join("nights").join(night.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_the_documents_say() {
        let layout = Layout::new("/repo");
        let id: ExperimentId = "2026-03-08-k4/12".parse().unwrap();
        let shown = |path: PathBuf| path.display().to_string();
        assert_eq!(shown(layout.database()), "/repo/.nocturne/nocturne.db");
        assert_eq!(shown(layout.night_file(&id.night)), "/repo/.nocturne/nights/2026-03-08-k4/night.json");
        assert_eq!(shown(layout.trainer(&id)), "/repo/.nocturne/nights/2026-03-08-k4/12/trainer");
        assert_eq!(shown(layout.trial_file(&id, 2)), "/repo/.nocturne/nights/2026-03-08-k4/12/trial-2/trial.json");
        assert_eq!(layout.state().join(Layout::trial_folder(&id, 2)), layout.trial(&id, 2));
        assert_eq!(shown(layout.reports("quickstart", &id.night)), "/repo/experiments/quickstart/nights/2026-03-08-k4");
    }
}
