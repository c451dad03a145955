//! A night's pictures, its page and `results.tsv`: hands view models to `dashboards`, writes what comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dashboards::{CurveAxis, CurveView, NightPictures, Picture};

use super::{Account, NightRecords, ReportError};
use crate::files::{self, FileError};
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
    let all: Vec<CurveView> = curves.values().filter(|curve| !curve.points.is_empty()).cloned().collect();

    let mut written = vec![folder.join("report.html")];
    let mut keep = |name: &str, picture: &Picture| -> Result<(), FileError> {
        for (extension, content) in [("svg", picture.svg.as_bytes()), ("png", picture.png.as_slice())] {
            let path = folder.join(format!("{name}.{extension}"));
            files::write_atomically(&path, content)?;
            written.push(path);
        }
        Ok(())
    };
    let mut pictures = NightPictures::default();
    let progress = dashboards::progress(&view)?;
    keep("progress", &progress)?;
    pictures.progress = Some(progress);
    let tokens = dashboards::losses(&view, &all, CurveAxis::Tokens)?;
    keep("loss-tokens", &tokens)?;
    pictures.loss_tokens = Some(tokens);
    let time = dashboards::losses(&view, &all, CurveAxis::Time)?;
    keep("loss-time", &time)?;
    pictures.loss_time = Some(time);
    for experiment in &view.experiments {
        let Some(curve) = curves.get(&experiment.number) else { continue };
        if curve.points.is_empty() {
            continue;
        }
        let champion = records.curve_of_champion(layout, experiment.number, experiment.champion_number)?;
        let champion = Some(&champion).filter(|champion| !champion.points.is_empty());
        let picture = dashboards::experiment(&view, experiment, curve, champion, CurveAxis::Tokens)?;
        keep(&format!("experiment-{:03}", experiment.number), &picture)?;
        pictures.experiments.insert(experiment.number, picture);
    }
    let table = folder.join("results.tsv");
    files::write_atomically(&table, results::results_tsv(records).as_bytes())?;
    written.push(table);
    files::write_atomically(&folder.join("report.html"), dashboards::page(&view, &pictures).as_bytes())?;
    Ok(written)
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
