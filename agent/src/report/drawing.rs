//! Drawing a night's pictures on all cores and writing them: most of the time that a report takes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dashboards::{CurveAxis, CurveView, NightPicture, NightView, Picture, RecipeView};

use super::{Curves, NightRecords, ReportError};
use crate::files;

/// What a night's pictures are drawn from.
pub(super) struct Drawing<'a> {
    pub records: &'a NightRecords,
    pub view: &'a NightView,
    pub curves: &'a Curves,
    pub recipes: Vec<RecipeView>,
}

/// A picture, and the files that it was written to.
type Drawn = (NightPicture, Picture, Vec<PathBuf>);

impl Drawing<'_> {
    /// Draws all and writes each as SVG into a folder, and most as PNG.
    pub(super) fn draw(&self, folder: &Path) -> Result<Vec<Drawn>, ReportError> {
        let all: Vec<CurveView> = self.curves.all().filter(|curve| !curve.points.is_empty()).collect();
        let spans = self.records.spans();
        let runs = self.records.champion_runs();
        each_on_all_cores(&self.wanted(&all), |what| {
            let picture = match what {
                NightPicture::Progress => dashboards::progress(self.view),
                NightPicture::Effects => dashboards::effects(self.view),
                NightPicture::Loss(axis) => dashboards::losses(self.view, &all, *axis),
                NightPicture::Importance => dashboards::importance(self.view, &self.recipes),
                NightPicture::Parallel => dashboards::parallel(self.view, &self.recipes),
                NightPicture::Calibration => dashboards::calibration(self.view),
                NightPicture::Timeline => dashboards::timeline(self.view, &spans),
                NightPicture::Drift => dashboards::drift(self.view, &runs),
                NightPicture::Experiment(number, axis) => self.experiment(*number, *axis),
            }?;
            let mut written = vec![folder.join(format!("{}.svg", what.name()))];
            files::write_atomically(&written[0], picture.svg.as_bytes())?;
            if self.has_png(*what) {
                written.push(folder.join(format!("{}.png", what.name())));
                files::write_atomically(&written[1], &picture.png()?)?;
            }
            Ok((*what, picture, written))
        })
    }

    /// A PNG takes ten times as long as the SVG that it is made from, so of experiments only the kept ones have any.
    fn has_png(&self, what: NightPicture) -> bool {
        match what {
            NightPicture::Experiment(number, _) => {
                self.view.experiment(number).is_some_and(dashboards::ExperimentView::is_kept)
            }
            _ => true,
        }
    }

    /// The slowest first, so that no thread waits for the last of them.
    fn wanted(&self, all: &[CurveView]) -> Vec<NightPicture> {
        let is_counted = |curve: &CurveView| curve.parameters.is_some_and(|parameters| parameters > 0);
        let mut wanted = vec![NightPicture::Loss(CurveAxis::Tokens), NightPicture::Loss(CurveAxis::Time)];
        if all.iter().any(is_counted) {
            wanted.push(NightPicture::Loss(CurveAxis::Compute));
        }
        wanted.extend([
            NightPicture::Progress,
            NightPicture::Effects,
            NightPicture::Calibration,
            NightPicture::Timeline,
            NightPicture::Drift,
        ]);
        if !self.recipes.is_empty() {
            wanted.extend([NightPicture::Importance, NightPicture::Parallel]);
        }
        for experiment in &self.view.experiments {
            let Some(curve) = all.iter().find(|curve| curve.experiment == experiment.number) else { continue };
            wanted.push(NightPicture::Experiment(experiment.number, CurveAxis::Tokens));
            // What a person decides on is shown against everything.
            if experiment.is_kept() {
                wanted.push(NightPicture::Experiment(experiment.number, CurveAxis::Time));
                if is_counted(curve) {
                    wanted.push(NightPicture::Experiment(experiment.number, CurveAxis::Compute));
                }
            }
        }
        wanted
    }

    fn experiment(&self, number: u32, axis: CurveAxis) -> Result<Picture, dashboards::PictureError> {
        let nothing = Default::default();
        let experiment = self.view.experiment(number).unwrap_or(&nothing);
        let own = self.curves.of(self.records, number);
        let champions = self.curves.of_champion(self.records, number, experiment.champion_number);
        dashboards::experiment(self.view, experiment, &own, &champions, axis)
    }
}

/// Does the work for each of some things on as many threads as there are cores; the results are in the order of the things.
///
/// # Errors
/// The first error; what was begun is ended first.
fn each_on_all_cores<T: Sync, R: Send>(
    things: &[T],
    work: impl Fn(&T) -> Result<R, ReportError> + Sync,
) -> Result<Vec<R>, ReportError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(things.len().max(1));
    let next = AtomicUsize::new(0);
    let one_after_the_other = || {
        let mut done = Vec::new();
        while let Some((place, thing)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, things.get(at)?)))
        {
            let result = work(thing);
            let failed = result.is_err();
            done.push((place, result));
            if failed {
                next.store(things.len(), Ordering::Relaxed);
            }
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one_after_the_other)).collect();
        let ended: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let lost = ended.iter().any(Result::is_err);
        if lost { Err(ReportError::ThreadLost) } else { Ok(ended.into_iter().flatten().flatten().collect::<Vec<_>>()) }
    })?;
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once_each_and_in_order() {
        let things: Vec<u32> = (0..97).collect();
        let done = each_on_all_cores(&things, |thing| Ok(thing * 2)).unwrap();
        assert_eq!(done, things.iter().map(|thing| thing * 2).collect::<Vec<u32>>());
        assert_eq!(each_on_all_cores(&[0u32; 0], |thing| Ok(*thing)).unwrap(), [0u32; 0]);
        let failed =
            each_on_all_cores(&things, |thing| if *thing == 5 { Err(ReportError::ThreadLost) } else { Ok(()) });
        assert!(failed.is_err());
    }
}
