//! What recurs with every trial, and what it makes of a night with other budgets.

use serde::Serialize;

use super::sources::Sources;
use super::{Books, TimeStage, seconds};
use crate::flow::TrialEnd;
use crate::report::seconds_between;

/// What each trial costs besides its training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cycle {
    /// Trials that ended and count.
    pub trials: u32,
    /// Mean seconds a trial in which none trained, for what recurs with every trial: no red team, no fault of the machine.
    pub seconds_besides: f64,
    /// Share of training in a long night with budgets of 60 s, 0 to 1, if a trial costs that much besides. `None` where several devices
    /// trained: their trials go on at a time, so a night is not their sum.
    pub share_at_60: Option<f64>,
    /// The same of 300 s.
    pub share_at_300: Option<f64>,
    /// Medians over experiments, seconds.
    pub to_first_step: Option<ToFirstStep>,
}

/// From an accepted edit to the first step of training, for an experiment that nothing else keeps waiting: medians, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ToFirstStep {
    /// Copying the slot, compiling, setting the executable aside.
    pub build: f64,
    /// What precedes a trial.
    pub prepare: f64,
    /// Process, model and data, until the trainer is told to go.
    pub start: f64,
}

impl ToFirstStep {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.build + self.prepare + self.start
    }
}

impl Cycle {
    /// `None` where no trial counts. `several_devices`: whether trials ran on more than one.
    pub(super) fn of(sources: &Sources<'_>, books: &Books, several_devices: bool) -> Option<Self> {
        let counted = sources
            .trained()
            .filter(|trained| !matches!(trained.end, TrialEnd::MachineFault { .. } | TrialEnd::Stopped));
        let trials = u32::try_from(counted.count()).ok().filter(|trials| *trials > 0)?;
        let recurring = TimeStage::ALL.into_iter().zip(books).filter(|(stage, _)| stage.recurs());
        let besides = recurring.map(|(_, (own, _))| seconds(*own)).sum::<f64>() / f64::from(trials);
        let share = |budget: f64| (!several_devices).then(|| budget / (budget + besides));
        Some(Self {
            trials,
            seconds_besides: besides,
            share_at_60: share(60.0),
            share_at_300: share(300.0),
            to_first_step: ToFirstStep::of(sources),
        })
    }
}

impl ToFirstStep {
    fn of(sources: &Sources<'_>) -> Option<Self> {
        let prepared = sources.of_kind("train").filter_map(|effect| {
            let begun = sources.began_in(effect)?.started_at;
            // Waiting until the machine is fit is no part of it.
            let disturbed = sources.unfit_in(effect.begun_at, begun).is_some();
            (!disturbed).then(|| seconds_between(effect.begun_at, begun))
        });
        let started = sources.trained().filter(|trained| trained.end == TrialEnd::Finished);
        Some(Self {
            build: median(
                sources.of_kind("build").filter(|effect| effect.built() != Some(0)).filter_map(|effect| effect.seconds),
            )?,
            prepare: median(prepared)?,
            start: median(started.map(|trained| trained.start_seconds))?,
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().saturating_sub(1) / 2);
    Some((values.get(lower)? + values.get(upper)?) / 2.0)
}
