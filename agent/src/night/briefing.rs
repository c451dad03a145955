//! What a brief tells proposers that read: the champion's last run, what was decided on past experiments, the terms of every trial.
//! Everything is on record already; nothing is decided here. What only a figure follows from stands in the brief itself.

use std::sync::Arc;

use super::context::Context;
use super::messages::Champion;
use super::perform::{Fault, fault};
use super::queue;
use crate::flow::{Details, Purpose, Telemetry};
use crate::records::HistoryEntry;
use crate::run::{Curve, measured};

/// Puts together what there is to read for the experiment that will have a number.
pub(super) async fn details(
    context: &Arc<Context>,
    champion: &Champion,
    number: u32,
    history: &[HistoryEntry],
) -> Result<Details, Fault> {
    let campaign = &context.campaign;
    let reads = context.asking.desk().is_some() || !campaign.models.is_empty() || !campaign.coding_agents.is_empty();
    if !reads {
        return Ok(Details { number, ..Details::default() });
    }
    Ok(Details {
        number,
        budget: Some(context.campaign.budget()),
        setting: Some(context.workbench.setting.clone()),
        champion: telemetry(context, champion.number).await?,
        told: context.store.told(history).await.map_err(|error| fault("cannot read past experiments")(&error))?,
        asked: None,
        waiting: queue::waiting(context).await?,
    })
}

/// The last verified run of an experiment of this night.
async fn telemetry(context: &Arc<Context>, number: u32) -> Result<Option<Telemetry>, Fault> {
    let trials = context.store.trials(&context.id(number)).await;
    let trials = trials.map_err(|error| fault("cannot read the champion's runs")(&error))?;
    let verified = || {
        trials
            .iter()
            .filter(|trial| trial.purpose == Purpose::Search)
            .filter_map(|trial| Some((trial, trial.verified()?, trial.trained.as_ref()?)))
    };
    let Some((last, evaluated, trained)) = verified().next_back() else { return Ok(None) };
    let path = context.layout.curve(&last.experiment, last.ordinal);
    let curve = match Curve::read(&path, trained.budget) {
        Ok(curve) => curve.points(),
        // A person may clean up; a brief without a curve is a brief.
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(fault("cannot read the champion's curve")(&error)),
    };
    let measured = measured(&path).map_err(|error| fault("cannot read what the champion's run told")(&error))?;
    let val_bpb = verified().map(|(_, verified, _)| verified.val_bpb).collect();
    let evaluation_seconds = evaluated.seconds;
    Ok(Some(Telemetry { experiment: number, val_bpb, trained: trained.clone(), curve, measured, evaluation_seconds }))
}
