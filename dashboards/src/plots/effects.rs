//! What each experiment changed, as a forest plot.

use crate::axis::{Axis, robust_range, usable};
use crate::canvas::{Anchor, Canvas, Frame, GREEN, GREY, GRID, INK, MUTED, ORANGE, SMALL_SIZE, TEXT_SIZE};
use crate::labels::Rect;
use crate::legend::{Sample, legend, verdicts};
use crate::picture::{Area, Drawn, EMPTY_HEIGHT, Picture, PictureError, WIDTH, picture_of_height};
use crate::plots::{difference_name, night_line};
use crate::text;
use crate::view::{ExperimentView, NightView, Verdict};

/// More experiments than this are not read row by row; the others become one row of ticks.
const ROWS: usize = 40;
const ROW: f64 = 21.0;
const TOP: f64 = 136.0;
/// The plot's left and right edge, and where the columns beside it stand.
const PLOT: (f64, f64) = (392.0, 850.0);
const NUMBER_END: f64 = 52.0;
const MARK: f64 = 66.0;
const TITLE: (f64, f64) = (80.0, 376.0);
const EFFECT_END: f64 = 938.0;
const INTERVAL_END: f64 = 1106.0;
const TRIALS_END: f64 = WIDTH - 20.0;

/// The effect of each measured experiment on the metric, with its 95 % interval, best first: kept ones in colour, those not kept
/// in grey. The rows are the kept ones and, up to 40 in all, the best of the others; whoever is left out stands as ticks in one row
/// below, with their number and range. A hollow diamond shows what a kept change is expected to bring when it is measured again,
/// because what is kept was picked for looking good.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn effects(night: &NightView) -> Result<Picture, PictureError> {
    let rows = Rows::of(night);
    let title = rows.title(night);
    let height = if rows.shown.is_empty() { EMPTY_HEIGHT } else { rows.bottom() + 78.0 };
    let description = format!("{} {}", rows.description(), night_line(night));
    picture_of_height("effects", (&title, &description), height, |area| draw(area, night, &rows, &title))
}

/// The difference from its champion, where it can be drawn.
pub(crate) fn effect(experiment: &ExperimentView) -> Option<f64> {
    let measured = experiment.counted().is_some_and(Verdict::is_measured);
    experiment.difference.filter(|difference| measured && usable(*difference))
}

/// The 95 % interval of that, where the rule gave one.
pub(crate) fn interval(experiment: &ExperimentView) -> Option<(f64, f64)> {
    effect(experiment)?;
    experiment.interval.filter(|(low, high)| usable(*low) && usable(*high) && low <= high)
}

/// Which experiments get a row.
struct Rows<'a> {
    /// Best first.
    shown: Vec<&'a ExperimentView>,
    /// Measured, but without a row of their own; best first.
    others: Vec<&'a ExperimentView>,
    /// Without a measured effect.
    without: usize,
}

impl<'a> Rows<'a> {
    fn of(night: &'a NightView) -> Self {
        let value = |e: &ExperimentView| effect(e).unwrap_or(f64::INFINITY);
        let best_first =
            |a: &&ExperimentView, b: &&ExperimentView| value(a).total_cmp(&value(b)).then(a.number.cmp(&b.number));
        let mut shown: Vec<&ExperimentView> = night.experiments.iter().filter(|e| !night.leaves_out(e)).collect();
        let ideas = shown.len();
        shown.retain(|e| effect(e).is_some());
        let without = ideas - shown.len();
        shown.sort_by(best_first);
        shown.sort_by_key(|e| !e.is_kept());
        let mut others = shown.split_off(shown.len().min(ROWS));
        others.sort_by(best_first);
        shown.sort_by(best_first);
        Self { shown, others, without }
    }

    fn kept(&self) -> usize {
        self.shown.iter().chain(&self.others).filter(|e| e.is_kept()).count()
    }

    fn title(&self, night: &NightView) -> String {
        let measured = self.shown.len() + self.others.len();
        let count = match measured {
            0 => "none measured".to_owned(),
            count => format!("{} of {} kept", self.kept(), text::counted(count, "measured experiment")),
        };
        format!("Effect of each experiment on {} · {count}", text::fit(&night.metric, 15.0, 200.0))
    }

    fn description(&self) -> String {
        let best = self.shown.first().map(|e| {
            let title = text::clean(&e.title);
            format!("The best is number {}, {title}, with {}.", e.number, text::signed(e.difference))
        });
        [best, self.left_out_words().map(|words| format!("{words} are drawn as ticks."))]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// `143 more, +0.0041 to +0.9000`.
    fn left_out_words(&self) -> Option<String> {
        let (first, last) = (self.others.first()?, self.others.last()?);
        let kept = match self.others.iter().filter(|e| e.is_kept()).count() {
            0 => String::new(),
            kept => format!(" ({kept} kept)"),
        };
        let range = format!("{} to {}", text::signed(first.difference), text::signed(last.difference));
        Some(format!("{} more{kept}, {range}", self.others.len()))
    }

    fn bottom(&self) -> f64 {
        let strip = if self.others.is_empty() { 0.0 } else { 1.5 };
        TOP + ROW * (self.shown.len() as f64 + strip)
    }
}

fn draw(area: &Area<'_>, night: &NightView, rows: &Rows<'_>, title: &str) -> Drawn {
    let mut subtitle = night_line(night);
    if rows.without > 0 {
        subtitle = format!("{} without a measured effect · {subtitle}", text::counted(rows.without, "experiment"));
    }
    let canvas = Canvas::new(area, title, &subtitle)?;
    // Of kept ones the whole interval is shown, of others at least the effect where it is not absurd.
    let kept = rows.shown.iter().filter(|e| e.is_kept());
    let ends = kept.filter_map(|e| interval(e)).flat_map(|(low, high)| [low, high]);
    let must: Vec<f64> =
        ends.chain(rows.shown.iter().filter(|e| e.is_kept()).filter_map(|e| effect(e))).chain([0.0]).collect();
    let may: Vec<f64> = rows
        .shown
        .iter()
        .flat_map(|e| effect(e).into_iter().chain(interval(e).map(|i| i.0)).chain(interval(e).map(|i| i.1)))
        .collect();
    let Some((low, high)) = robust_range(&must, &may).filter(|_| !rows.shown.is_empty()) else {
        return canvas.text(
            (WIDTH / 2.0, EMPTY_HEIGHT * 0.6),
            "no effect was measured",
            TEXT_SIZE,
            MUTED,
            Anchor::Middle,
        );
    };
    let room = (high - low).max(1e-4) * 0.05;
    let plot = Rect { left: PLOT.0, top: TOP, right: PLOT.1, bottom: rows.bottom() };
    let name = difference_name(night);
    let frame = canvas.frame(plot, Axis::new(low - room, high + room, 6), Axis::bare(0.0, 1.0), (&name, ""))?;
    headings(&canvas)?;
    for i in (1..rows.shown.len()).step_by(2) {
        let top = TOP + ROW * i as f64;
        canvas.fill(Rect { left: 14.0, top, right: WIDTH - 14.0, bottom: top + ROW }, GRID, 0.4)?;
    }
    let zero = frame.place((0.0, 0.0)).0;
    canvas.line(&[(zero, plot.top), (zero, plot.bottom)], INK, 1.0, 1.2)?;
    let mut beyond = false;
    for (i, experiment) in rows.shown.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        beyond |= bar(&canvas, &frame, experiment, y)?;
        words(&canvas, experiment, y)?;
    }
    beyond |= strip(&canvas, &frame, rows)?;
    key(&canvas, rows, beyond)
}

fn headings(canvas: &Canvas<'_, '_>) -> Drawn {
    let y = TOP - 16.0;
    canvas.text((PLOT.0, y), "← better", SMALL_SIZE, MUTED, Anchor::Left)?;
    canvas.text((PLOT.1, y), "worse →", SMALL_SIZE, MUTED, Anchor::Right)?;
    for (x, name) in [(EFFECT_END, "effect"), (INTERVAL_END, "95 % interval"), (TRIALS_END, "trials")] {
        canvas.text((x, y), name, SMALL_SIZE, MUTED, Anchor::Right)?;
    }
    Ok(())
}

/// Interval and mark of a row; whether something of them lies outside the plot.
fn bar(canvas: &Canvas<'_, '_>, frame: &Frame, experiment: &ExperimentView, y: f64) -> Drawn<bool> {
    let (left, right) = (frame.plot.left, frame.plot.right);
    let x = |value: f64| frame.place((value, 0.0)).0;
    let (color, width) = match experiment.counted() {
        Some(Verdict::Kept) => (GREEN, 2.4),
        Some(Verdict::Inconclusive) => (ORANGE, 1.6),
        _ => (GREY, 1.6),
    };
    let mut beyond = false;
    if let Some((low, high)) = interval(experiment) {
        let (from, to) = (x(low), x(high));
        if from < right && to > left {
            canvas.line(&[(from.max(left), y), (to.min(right), y)], color, 0.9, width)?;
        }
        for (outside, edge, is_right) in [(from < left, left + 4.0, false), (to > right, right - 4.0, true)] {
            if outside {
                canvas.aside((edge, y), is_right, color)?;
                beyond = true;
            }
        }
    }
    let Some(at) = effect(experiment).map(x) else { return Ok(beyond) };
    if (left..=right).contains(&at) {
        canvas.mark((at, y), experiment.counted(), 0.85)?;
    } else {
        let is_right = at > right;
        canvas.aside((if is_right { right - 4.0 } else { left + 4.0 }, y), is_right, color)?;
        beyond = true;
    }
    if let Some(again) = expected(experiment).map(x).filter(|x| (left..=right).contains(x)) {
        canvas.diamond((again, y), 4.5, GREEN)?;
    }
    Ok(beyond)
}

/// What a kept change is expected to bring again.
fn expected(experiment: &ExperimentView) -> Option<f64> {
    let evidence = experiment.evidence.as_ref().filter(|_| experiment.is_kept())?;
    Some(evidence.expected).filter(|expected| usable(*expected))
}

fn words(canvas: &Canvas<'_, '_>, experiment: &ExperimentView, y: f64) -> Drawn {
    let kept = experiment.is_kept();
    let ink = if kept { INK } else { MUTED };
    let number = text::fit(&experiment.number.to_string(), SMALL_SIZE, NUMBER_END - 12.0);
    canvas.text((NUMBER_END, y), &number, SMALL_SIZE, ink, Anchor::Right)?;
    canvas.mark((MARK, y), experiment.counted(), 0.85)?;
    let title = text::fit(&experiment.title, SMALL_SIZE, TITLE.1 - TITLE.0);
    canvas.text((TITLE.0, y), &title, SMALL_SIZE, ink, Anchor::Left)?;
    let effect = text::fit(&text::signed(experiment.difference), SMALL_SIZE, EFFECT_END - PLOT.1 - 12.0);
    canvas.text((EFFECT_END, y), &effect, SMALL_SIZE, INK, Anchor::Right)?;
    let interval = interval(experiment).map_or("–".to_owned(), text::interval);
    let interval = text::fit(&interval, SMALL_SIZE, INTERVAL_END - EFFECT_END - 12.0);
    canvas.text((INTERVAL_END, y), &interval, SMALL_SIZE, MUTED, Anchor::Right)?;
    let trials = text::fit(&experiment.trials_measured.to_string(), SMALL_SIZE, TRIALS_END - INTERVAL_END - 12.0);
    canvas.text((TRIALS_END, y), &trials, SMALL_SIZE, MUTED, Anchor::Right)
}

/// The row of those without a row; whether one of them lies outside the plot.
fn strip(canvas: &Canvas<'_, '_>, frame: &Frame, rows: &Rows<'_>) -> Drawn<bool> {
    let Some(words) = rows.left_out_words() else { return Ok(false) };
    let (left, right) = (frame.plot.left, frame.plot.right);
    let y = rows.bottom() - ROW * 0.75;
    canvas.line(&[(14.0, y - ROW * 0.75), (WIDTH - 14.0, y - ROW * 0.75)], GREY, 1.0, 1.0)?;
    let words = text::fit(&words, SMALL_SIZE, TITLE.1 - 20.0);
    canvas.text((20.0, y), &words, SMALL_SIZE, INK, Anchor::Left)?;
    let mut outside = [0usize; 2];
    for experiment in &rows.others {
        let Some(value) = effect(experiment) else { continue };
        let x = frame.place((value, 0.0)).0;
        if (left..=right).contains(&x) {
            let color = if experiment.is_kept() { GREEN } else { MUTED };
            canvas.line(&[(x, y - 8.0), (x, y + 8.0)], color, 0.7, 1.2)?;
        } else {
            outside[usize::from(x > right)] += 1;
        }
    }
    for (count, edge, is_right) in [(outside[0], left + 4.0, false), (outside[1], right - 4.0, true)] {
        if count > 0 {
            canvas.aside((edge, y), is_right, GREY)?;
        }
    }
    let told: Vec<String> = [(outside[0], "further left"), (outside[1], "further right")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, side)| format!("{count} of them {side}"))
        .collect();
    canvas.text((PLOT.1 + 14.0, y), &told.join(", "), SMALL_SIZE, MUTED, Anchor::Left)?;
    Ok(outside != [0, 0])
}

fn key(canvas: &Canvas<'_, '_>, rows: &Rows<'_>, beyond: bool) -> Drawn {
    let all: Vec<&ExperimentView> = rows.shown.iter().chain(&rows.others).copied().collect();
    let mut entries = verdicts(&all);
    if rows.shown.iter().any(|e| interval(e).is_some()) {
        entries.push((Sample::Interval(GREY), "95 % interval".to_owned()));
    }
    if rows.shown.iter().any(|e| expected(e).is_some()) {
        entries.push((Sample::Diamond(GREEN), "expected when measured again".to_owned()));
    }
    if beyond {
        entries.push((Sample::Beyond, "goes on outside".to_owned()));
    }
    legend(canvas, (20.0, 88.0), WIDTH - 20.0, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(number: u32, verdict: Verdict, difference: f64) -> ExperimentView {
        let interval = Some((difference - 0.001, difference + 0.001));
        ExperimentView {
            number,
            verdict: Some(verdict),
            difference: Some(difference),
            interval,
            ..ExperimentView::default()
        }
    }

    #[test]
    fn kept_ones_come_before_the_best_of_the_others_and_what_is_left_out_is_told() {
        let mut night = NightView::default();
        for number in 1..=60 {
            night.experiments.push(measured(number, Verdict::Discarded, 0.001 * f64::from(number)));
        }
        night.experiments.push(measured(61, Verdict::Kept, -0.002));
        night.experiments.push(measured(62, Verdict::Kept, 0.5));
        night.experiments.push(ExperimentView { number: 63, verdict: Some(Verdict::Crashed), ..Default::default() });
        night.experiments.push(measured(64, Verdict::Discarded, f64::NAN));
        let rows = Rows::of(&night);
        let numbers: Vec<u32> = rows.shown.iter().map(|e| e.number).collect();
        assert_eq!((numbers[0], numbers[1], numbers[39], numbers.len()), (61, 1, 62, 40));
        assert_eq!(rows.left_out_words().unwrap(), "22 more, +0.0390 to +0.0600");
        assert_eq!(rows.without, 2);
    }

    #[test]
    fn what_was_taken_back_has_no_effect() {
        let fallen = ExperimentView { taken_back: true, ..measured(1, Verdict::Kept, -0.01) };
        assert_eq!((effect(&fallen), interval(&fallen)), (None, None));
    }
}
