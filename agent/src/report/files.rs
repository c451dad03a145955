//! A night's pictures, its page and `results.tsv`: hands view models to `dashboards`, writes what comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dashboards::{CurveAxis, CurveView, NightPictures, NightView};

use super::{Account, NightRecords, ReportError};
use crate::files;
use crate::flow::NightId;
use crate::layout::Layout;
use crate::records::ExperimentRecord;
use crate::repo::Repo;
use crate::results;
use crate::store::Reader;

/// Writes all of a night's pictures, its page and `results.tsv`; returns the files, the page first.
///
/// # Errors
/// See [`ReportError`].
pub async fn write(layout: &Layout, reader: &Reader, id: &NightId) -> Result<Vec<PathBuf>, ReportError> {
    let records = NightRecords::read(reader, id).await?;
    let account = Account::read(reader, &records).await?;
    let layout = layout.clone();
    tokio::task::spawn_blocking(move || write_files(&layout, &records, &account)).await?
}

fn write_files(layout: &Layout, records: &NightRecords, account: &Account) -> Result<Vec<PathBuf>, ReportError> {
    let folder = layout.reports(&records.night.campaign, &records.night.id);
    let repo = Repo::discover(layout.root())?;
    let view = records.view(account, |experiment| diff(&repo, experiment));
    let mut curves: BTreeMap<u32, CurveView> = BTreeMap::new();
    for experiment in &records.experiments {
        curves.insert(experiment.id.number, records.curve(layout, experiment.id.number)?);
    }
    let pictures = pictures(layout, records, &repo, &view, &curves)?;
    let mut written = vec![folder.join("report.html")];
    for (name, picture) in pictures.all() {
        for (extension, content) in [("svg", picture.svg.as_bytes()), ("png", picture.png.as_slice())] {
            let path = folder.join(format!("{name}.{extension}"));
            files::write_atomically(&path, content)?;
            written.push(path);
        }
    }
    let table = folder.join("results.tsv");
    files::write_atomically(&table, results::results_tsv(records).as_bytes())?;
    written.push(table);
    files::write_atomically(&folder.join("report.html"), dashboards::page(&view, &pictures).as_bytes())?;
    Ok(written)
}

fn pictures(
    layout: &Layout,
    records: &NightRecords,
    repo: &Repo,
    view: &NightView,
    curves: &BTreeMap<u32, CurveView>,
) -> Result<NightPictures, ReportError> {
    let all: Vec<CurveView> = curves.values().filter(|curve| !curve.points.is_empty()).cloned().collect();
    let is_counted = |curve: &CurveView| curve.parameters.is_some_and(|parameters| parameters > 0);
    let compute = all.iter().any(is_counted).then_some(CurveAxis::Compute);
    let recipes = Some(records.recipes(repo)).filter(|recipes| !recipes.is_empty());
    let mut pictures = NightPictures {
        progress: Some(dashboards::progress(view)?),
        effects: Some(dashboards::effects(view)?),
        loss_tokens: Some(dashboards::losses(view, &all, CurveAxis::Tokens)?),
        loss_time: Some(dashboards::losses(view, &all, CurveAxis::Time)?),
        loss_compute: compute.map(|axis| dashboards::losses(view, &all, axis)).transpose()?,
        importance: recipes.as_ref().map(|recipes| dashboards::importance(view, recipes)).transpose()?,
        parallel: recipes.as_ref().map(|recipes| dashboards::parallel(view, recipes)).transpose()?,
        calibration: Some(dashboards::calibration(view)?),
        timeline: Some(dashboards::timeline(view, &records.spans())?),
        drift: Some(dashboards::drift(view, &records.champion_runs())?),
        ..NightPictures::default()
    };
    for experiment in &view.experiments {
        let number = experiment.number;
        let Some(curve) = curves.get(&number).filter(|curve| !curve.points.is_empty()) else { continue };
        let champions = records.curves_of_champion(layout, number, experiment.champion_number)?;
        let draw = |axis| dashboards::experiment(view, experiment, curve, &champions, axis);
        pictures.experiments.insert(number, draw(CurveAxis::Tokens)?);
        // What a person decides on is shown against everything.
        if experiment.is_kept() {
            pictures.experiments_time.insert(number, draw(CurveAxis::Time)?);
            if is_counted(curve) {
                pictures.experiments_compute.insert(number, draw(CurveAxis::Compute)?);
            }
        }
    }
    Ok(pictures)
}

/// The change that an experiment makes; empty where it has no commit or git cannot say.
fn diff(repo: &Repo, experiment: &ExperimentRecord) -> String {
    let Some(candidate) = &experiment.candidate else { return String::new() };
    if candidate.commit == candidate.parent {
        return String::new();
    }
    repo.diff(&candidate.parent, &candidate.commit)
        .unwrap_or_else(|error| format!("(the diff cannot be shown: {error})\n"))
}
