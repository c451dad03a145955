//! The curves of an experiment and its champion's, out of a night's files.

use crate::campaign::CampaignName;
use crate::flow::ExperimentId;
use crate::layout::Layout;
use crate::propose::tools::Curves;
use crate::records::TrialRecord;
use crate::report::NightRecords;
use crate::run::Curve;
use crate::store::Reader;

/// The training loss of an experiment's last trial, and its champion's under the same seed. Another campaign's experiments are none.
///
/// # Errors
/// What is missing, for whoever asked.
pub async fn curves(
    reader: &Reader,
    layout: &Layout,
    campaign: &CampaignName,
    id: &ExperimentId,
) -> Result<Curves, String> {
    let unknown =
        || format!("there is no experiment {id} in this campaign's history; ask `experiments` which there are");
    let night = reader.night(&id.night).await.map_err(|error| error.to_string())?;
    if night.is_none_or(|night| night.campaign != campaign.as_str()) {
        return Err(unknown());
    }
    let records = NightRecords::read(reader, &id.night).await.map_err(|error| error.to_string())?;
    let experiment = records.experiments.iter().find(|experiment| experiment.id == *id);
    let experiment = experiment.ok_or_else(unknown)?;
    let Some(own) = records.trial(id.number) else { return Ok(Curves::default()) };
    let parent = experiment.candidate.as_ref().map(|candidate| &candidate.parent);
    let champion = records.experiments.iter().find(|other| {
        other.id != *id && other.candidate.as_ref().is_some_and(|candidate| Some(&candidate.commit) == parent)
    });
    let pair = champion.and_then(|champion| {
        let runs = records.runs(champion.id.number).into_iter();
        runs.rev().find(|run| (run.seed, run.era) == (own.seed, own.era))
    });
    Ok(Curves {
        own: read(layout, own)?,
        champion: pair.map(|pair| read(layout, pair)).transpose()?.unwrap_or_default(),
    })
}

fn read(layout: &Layout, trial: &TrialRecord) -> Result<Vec<(f64, f64)>, String> {
    match Curve::read(&layout.curve(&trial.experiment, trial.ordinal), trial.budget) {
        Ok(curve) => Ok(curve.points()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}
