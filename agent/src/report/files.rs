//! A night's pictures, its page and `results.tsv`: hands view models to `dashboards`, writes what comes back.

use std::path::PathBuf;

use dashboards::NightPictures;

use super::drawing::Drawing;
use super::experiment::came_to;
use super::{Account, Curves, NightRecords, ReportError};
use crate::files;
use crate::flow::{NightId, Verdict};
use crate::layout::Layout;
use crate::records::ExperimentRecord;
use crate::repo::{Repo, RepoError};
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
    // The page shows the changes of what was kept.
    let is_shown = |experiment: &ExperimentRecord| came_to(experiment, Verdict::Kept);
    let view = records.view(account, |experiment| match is_shown(experiment) {
        true => diff(Ok(&repo), experiment),
        false => String::new(),
    });
    let curves = Curves::read(records, layout)?;
    let drawn = Drawing { records, view: &view, curves: &curves, recipes: records.recipes(&repo) }.draw(&folder)?;
    let mut written = vec![folder.join("report.html")];
    let mut pictures = Vec::with_capacity(drawn.len());
    for (which, picture, files) in drawn {
        pictures.push((which, picture));
        written.extend(files);
    }
    let pictures: NightPictures = pictures.into_iter().collect();
    let table = folder.join("results.tsv");
    files::write_atomically(&table, results::results_tsv(records).as_bytes())?;
    written.push(table);
    files::write_atomically(&folder.join("report.html"), dashboards::page(&view, &pictures).as_bytes())?;
    Ok(written)
}

/// The change that an experiment makes, as a diff; where git cannot say, why. Empty where it has no commit of its own.
pub(crate) fn diff(repo: Result<&Repo, &RepoError>, experiment: &ExperimentRecord) -> String {
    let Some(candidate) = experiment.candidate.as_ref().filter(|it| it.commit != it.parent) else {
        return String::new();
    };
    let why_not = |error: &RepoError| format!("(the diff cannot be shown: {error})\n");
    match repo.map(|repo| repo.diff(&candidate.parent, &candidate.commit)) {
        Ok(Ok(diff)) => diff,
        Ok(Err(error)) => why_not(&error),
        Err(error) => why_not(error),
    }
}
