//! Progress of the night.

use crate::axis::{Axis, robust_range, usable};
use crate::canvas::{Anchor, BLUE, Canvas, Frame, GREEN, GREY, INK, MUTED, ORANGE, SMALL_SIZE, TEXT_SIZE, mark_radius};
use crate::labels::{self, Labelled, Rect};
use crate::picture::{Area, Drawn, Picture, PictureError, WIDTH, picture};
use crate::plots::{change, metric_name, night_line};
use crate::text;
use crate::view::{ExperimentView, NightView, Verdict};

/// The plot with everything measured; its right margin takes the names of the two lines.
const PLOT: Rect = Rect { left: 82.0, top: 136.0, right: 702.0, bottom: 596.0 };
/// The strip above it with what has no result.
const STRIP: Rect = Rect { left: 82.0, top: 78.0, right: 702.0, bottom: 104.0 };
/// The list of kept experiments.
const LIST: Rect = Rect { left: 808.0, top: 96.0, right: WIDTH - 20.0, bottom: 650.0 };
const LEGEND_Y: f64 = 674.0;
/// Height of a line of the list, and how many there is room for.
const ROW: f64 = 22.0;
const ROWS: usize = 24;
/// Size of the numbers beside marks.
const NUMBER_SIZE: f64 = 13.5;
/// From so many experiments on, marks are drawn smaller.
const MANY: usize = 80;

/// Progress of the night: every experiment's place against its number, as a bar's middle where the difference from its champion has an
/// interval. An experiment stands at its champion's place plus that difference, because means over different seeds do not compare. Kept ones are coloured, numbered and listed beside the
/// plot; the running best is a step line, the night's start a dashed one. What has no trustworthy number (crashed, unbuildable,
/// invalid, not decided) stands in a strip above; what is far outside the range becomes an arrow at the edge.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn progress(night: &NightView) -> Result<Picture, PictureError> {
    let mut experiments: Vec<&ExperimentView> = night.experiments.iter().collect();
    experiments.sort_by_key(|e| e.number);
    let title = title(night, &experiments);
    let description = format!("{title}. {}", night_line(night));
    picture("progress plot", "Progress of the night", &description, |area| draw(area, night, &experiments, &title))
}

fn kept<'a>(experiments: &[&'a ExperimentView]) -> Vec<&'a ExperimentView> {
    experiments.iter().copied().filter(|e| e.is_kept()).collect()
}

fn title(night: &NightView, experiments: &[&ExperimentView]) -> String {
    // What takes a kept change out again is drawn, and is no idea.
    let count = match experiments.iter().filter(|experiment| !night.leaves_out(experiment)).count() {
        0 => "no experiment yet".to_owned(),
        count => format!("{} of {} kept", kept(experiments).len(), text::counted(count, "experiment")),
    };
    let metric = &night.metric;
    match (night.baseline.filter(|v| usable(*v)), night.champion.filter(|v| usable(*v))) {
        (Some(start), Some(end)) if start != end => format!(
            "{metric} {} to {} ({}) · {count}",
            text::metric(Some(start)),
            text::metric(Some(end)),
            change(start, end)
        ),
        (Some(start), _) => format!("{metric} stays at {} · {count}", text::metric(Some(start))),
        _ => format!("{metric} · {count}"),
    }
}

/// Where the experiment stands, where it can be drawn: its champion's place plus the difference, or its metric.
fn measured(experiment: &ExperimentView) -> Option<f64> {
    let place = experiment.val_bpb.and(experiment.level.or(experiment.val_bpb));
    place.filter(|v| usable(*v) && experiment.counted().is_some_and(Verdict::is_measured))
}

/// The 95 % interval around that place, where the rule gave one.
fn interval(experiment: &ExperimentView) -> Option<(f64, f64)> {
    let (low, high) = experiment.interval?;
    let champion = measured(experiment)? - experiment.difference?;
    let (low, high) = (champion + low, champion + high);
    (usable(low) && usable(high) && low <= high).then_some((low, high))
}

/// What the mark of an experiment says; one that was stopped early was discarded without a metric.
fn stopped_early(experiment: &ExperimentView) -> bool {
    experiment.stopped_early && measured(experiment).is_none()
}

fn draw(area: &Area<'_>, night: &NightView, experiments: &[&ExperimentView], title: &str) -> Drawn {
    let canvas = Canvas::new(area, title, &night_line(night))?;
    let start = night.baseline.filter(|v| usable(*v));
    let kept = kept(experiments);
    // Intervals of what was kept are shown whole; others may leave the plot.
    let of_kept = kept.iter().filter_map(|e| interval(e)).flat_map(|(low, high)| [low, high]);
    let must: Vec<f64> = kept.iter().filter_map(|e| measured(e)).chain(of_kept).chain(start).collect();
    let may: Vec<f64> = experiments.iter().filter_map(|e| measured(e)).collect();
    let Some((low, high)) = robust_range(&must, &may) else {
        let message = if experiments.is_empty() { "no experiment yet" } else { "nothing was measured" };
        canvas.text((WIDTH / 2.0, 350.0), message, TEXT_SIZE, MUTED, Anchor::Middle)?;
        return strip(&canvas, experiments, &x_axis(experiments)).and_then(|()| legend(&canvas, experiments, false));
    };
    // A night without a difference must not look like one: at least 0.1 % of the metric is shown. More room below, where the
    // numbers of the kept ones go.
    let least = high.abs() * 1e-3;
    let (low, high) = if high - low < least { (low - least, high + least) } else { (low, high) };
    let room = high - low;
    let y = Axis::new(low - 0.12 * room, high + 0.05 * room, 8);
    let paired = experiments.iter().any(|e| interval(e).is_some());
    let name = if paired { metric_name(night) + ", equal seeds compared" } else { metric_name(night) };
    let frame = canvas.frame(PLOT, x_axis(experiments), y, ("experiment", &name))?;

    strip(&canvas, experiments, &frame.x)?;
    let steps = running_best(&frame, start, &kept);
    if let Some(start) = start {
        canvas.dashed(PLOT.left, PLOT.right, frame.place((0.0, start)).1, MUTED)?;
    }
    canvas.line(&steps, BLUE, 1.0, 2.0)?;
    let mut obstacles: Vec<Rect> = steps.windows(2).map(|pair| around_line(pair[0], pair[1])).collect();
    let size = if experiments.len() > MANY { 0.75 } else { 1.0 };
    intervals(&canvas, &frame, experiments, size)?;
    obstacles
        .extend(kept.iter().filter_map(|e| bar(&frame, e)).map(|(x, top, bottom)| around_line((x, top), (x, bottom))));
    let mut clipped = false;
    // Kept ones last, on top of the rest.
    let rest = experiments.iter().filter(|e| !e.is_kept());
    for experiment in rest.chain(&kept) {
        let Some(value) = measured(experiment) else { continue };
        let (x, y) = frame.place((f64::from(experiment.number), value));
        if (PLOT.top..=PLOT.bottom).contains(&y) {
            canvas.mark((x, y), experiment.counted(), size)?;
            obstacles.push(Rect::around((x, y), mark_radius(experiment.counted()) * size));
        } else {
            let (up, edge) = (y < PLOT.top, y.clamp(PLOT.top + 7.0, PLOT.bottom - 7.0));
            canvas.beyond((x, edge), up)?;
            obstacles.push(Rect::around((x, edge), 6.0));
            clipped = true;
        }
    }
    let listed = listed(&kept);
    numbers(&canvas, &frame, &listed, &obstacles, size)?;
    line_names(&canvas, &frame, start, steps.last().map(|p| p.1), night)?;
    list(&canvas, &listed, kept.len() - listed.len())?;
    legend(&canvas, experiments, clipped)
}

/// A bar's place on the picture: its x, its top and its bottom, cut off where it leaves the plot; `None` where nothing of it is
/// inside.
fn bar(frame: &Frame, experiment: &ExperimentView) -> Option<(f64, f64, f64)> {
    let (low, high) = interval(experiment)?;
    let number = f64::from(experiment.number);
    let ((x, bottom), (_, top)) = (frame.place((number, low)), frame.place((number, high)));
    (top < PLOT.bottom && bottom > PLOT.top).then_some((x, top.max(PLOT.top), bottom.min(PLOT.bottom)))
}

/// The intervals' bars, behind the marks; those of kept ones stand out.
fn intervals(canvas: &Canvas<'_, '_>, frame: &Frame, experiments: &[&ExperimentView], size: f64) -> Drawn {
    for experiment in experiments {
        let Some((x, top, bottom)) = bar(frame, experiment) else { continue };
        let (color, opacity, width) = match experiment.counted() {
            Some(Verdict::Kept) => (GREEN, 0.9, 2.0),
            Some(Verdict::Inconclusive) => (ORANGE, 0.6, 1.4),
            _ => (GREY, 0.5, 1.2),
        };
        canvas.line(&[(x, top), (x, bottom)], color, opacity, width * size)?;
    }
    Ok(())
}

fn x_axis(experiments: &[&ExperimentView]) -> Axis {
    let last = experiments.last().map_or(1.0, |e| f64::from(e.number)).max(1.0);
    Axis::whole(0.0, last + (last * 0.02).max(0.5), 10)
}

/// The step line of the best so far, in pixels: from the night's start over the kept ones in order, to the plot's edge.
fn running_best(frame: &Frame, start: Option<f64>, kept: &[&ExperimentView]) -> Vec<(f64, f64)> {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    let mut best = start;
    steps.extend(start.map(|value| frame.place((0.0, value))));
    for experiment in kept {
        let Some(value) = measured(experiment) else { continue };
        let number = f64::from(experiment.number);
        steps.extend(best.map(|before| frame.place((number, before))));
        steps.push(frame.place((number, value)));
        // What was kept is the champion from then on, whatever rule kept it: the line shows the champion, not the minimum.
        best = Some(value);
    }
    steps.extend(best.map(|value| frame.place((frame.x.high, value))));
    steps
}

fn around_line(from: (f64, f64), to: (f64, f64)) -> Rect {
    Rect {
        left: from.0.min(to.0) - 1.5,
        top: from.1.min(to.1) - 1.5,
        right: from.0.max(to.0) + 1.5,
        bottom: from.1.max(to.1) + 1.5,
    }
}

/// What has no result: marks in a strip above the plot.
fn strip(canvas: &Canvas<'_, '_>, experiments: &[&ExperimentView], x: &Axis) -> Drawn {
    let without: Vec<_> = experiments.iter().filter(|e| measured(e).is_none()).collect();
    if without.is_empty() {
        return Ok(());
    }
    canvas.fill(STRIP, crate::canvas::GRID, 0.55)?;
    let middle = STRIP.center().1;
    canvas.text((STRIP.left - 8.0, middle), "no result", SMALL_SIZE, MUTED, Anchor::Right)?;
    for experiment in without {
        let at = STRIP.left + x.fraction(f64::from(experiment.number)) * STRIP.width();
        // What was stopped early looks like what was discarded: that is what became of it.
        let verdict = experiment.counted().filter(|v| !v.is_measured() || stopped_early(experiment));
        canvas.mark((at, middle), verdict, 1.0)?;
    }
    Ok(())
}

/// Which kept experiments are numbered and listed: all of them while they fit, else those that gained most.
fn listed<'a>(kept: &[&'a ExperimentView]) -> Vec<&'a ExperimentView> {
    let mut listed = kept.to_vec();
    if kept.len() > ROWS {
        let gain = |e: &ExperimentView| e.difference.filter(|d| usable(*d)).unwrap_or(f64::MAX);
        listed.sort_by(|a, b| gain(a).total_cmp(&gain(b)));
        listed.truncate(ROWS - 1);
        listed.sort_by_key(|e| e.number);
    }
    listed
}

fn numbers(
    canvas: &Canvas<'_, '_>,
    frame: &Frame,
    listed: &[&ExperimentView],
    obstacles: &[Rect],
    mark_size: f64,
) -> Drawn {
    let mut items = Vec::new();
    let mut names = Vec::new();
    for experiment in listed {
        let Some(value) = measured(experiment) else { continue };
        let name = experiment.number.to_string();
        let size = (text::width(&name, NUMBER_SIZE) + 2.0, NUMBER_SIZE + 2.0);
        let at = frame.place((f64::from(experiment.number), value));
        items.push(Labelled { at, radius: mark_radius(experiment.counted()) * mark_size, size });
        names.push(name);
    }
    for (placed, name) in labels::place(&items, obstacles, PLOT).iter().zip(&names) {
        let Some(placed) = placed else { continue };
        if let Some((from, to)) = placed.leader {
            canvas.line(&[from, to], MUTED, 0.6, 0.75)?;
        }
        canvas.text(placed.rect.center(), name, NUMBER_SIZE, INK, Anchor::Middle)?;
    }
    Ok(())
}

/// Names of the dashed line and of the step line, beside their ends.
fn line_names(
    canvas: &Canvas<'_, '_>,
    frame: &Frame,
    start: Option<f64>,
    best_y: Option<f64>,
    night: &NightView,
) -> Drawn {
    let start = start.map(|value| (frame.place((0.0, value)).1, format!("start {}", text::metric(Some(value))), MUTED));
    let best = best_y.zip(night.champion.filter(|v| usable(*v)));
    let best = best.map(|(y, value)| (y, format!("best {}", text::metric(Some(value))), BLUE));
    let same = night.baseline == night.champion;
    let names: Vec<_> = start.into_iter().chain(best.filter(|_| !same)).collect();
    let places = labels::spread(&names.iter().map(|n| n.0).collect::<Vec<f64>>(), 17.0, PLOT.top, PLOT.bottom);
    for ((_, name, color), y) in names.iter().zip(places) {
        let room = LIST.left - PLOT.right - 12.0;
        canvas.text((PLOT.right + 7.0, y), &text::fit(name, SMALL_SIZE, room), SMALL_SIZE, *color, Anchor::Left)?;
    }
    Ok(())
}

/// The kept experiments in words, with room for details while they are few.
fn list(canvas: &Canvas<'_, '_>, listed: &[&ExperimentView], more: usize) -> Drawn {
    canvas.text((LIST.left, LIST.top - 10.0), "Kept", TEXT_SIZE, INK, Anchor::Left)?;
    if listed.is_empty() {
        return canvas.text((LIST.left, LIST.top + 18.0), "none", TEXT_SIZE, MUTED, Anchor::Left);
    }
    let title_lines = match listed.len() {
        0..=7 => 2,
        8..=11 => 1,
        _ => 0,
    };
    let number_room = listed.iter().map(|e| text::width(&e.number.to_string(), SMALL_SIZE)).fold(14.0, f64::max);
    let left = LIST.left + 18.0 + number_room;
    let room = LIST.right - left;
    let effect_width = |e: &&ExperimentView| text::width(&text::signed(e.difference), SMALL_SIZE);
    let column = listed.iter().map(effect_width).fold(0.0, f64::max) + 12.0;
    let mut y = LIST.top + 18.0;
    for experiment in listed {
        canvas.disc((LIST.left + 5.0, y), 4.5, GREEN)?;
        canvas.text((left - 6.0, y), &experiment.number.to_string(), SMALL_SIZE, INK, Anchor::Right)?;
        let effect = text::signed(experiment.difference);
        if title_lines == 0 {
            canvas.text((left + column - 9.0, y), &effect, SMALL_SIZE, INK, Anchor::Right)?;
            let title = text::fit(&experiment.title, SMALL_SIZE, room - column);
            canvas.text((left + column, y), &title, SMALL_SIZE, INK, Anchor::Left)?;
            y += ROW;
            continue;
        }
        for line in text::wrap(&experiment.title, TEXT_SIZE, room, title_lines) {
            canvas.text((left, y), &line, TEXT_SIZE, INK, Anchor::Left)?;
            y += 19.0;
        }
        let mut facts = effect;
        if let Some((low, high)) = experiment.interval.filter(|(low, high)| usable(*low) && usable(*high)) {
            facts += &format!(" ({} to {})", text::signed(Some(low)), text::signed(Some(high)));
        }
        let predicted =
            experiment.predicted_effect.map(|predicted| format!(", predicted {}", text::signed(Some(predicted))));
        // The prediction is the first to go where there is no room.
        if let Some(predicted) =
            predicted.filter(|words| text::width(&facts, SMALL_SIZE) + text::width(words, SMALL_SIZE) <= room)
        {
            facts += &predicted;
        }
        canvas.text((left, y), &text::fit(&facts, SMALL_SIZE, room), SMALL_SIZE, MUTED, Anchor::Left)?;
        y += 30.0;
    }
    if more > 0 {
        canvas.text((left, y), &format!("and {more} more that gained less"), SMALL_SIZE, MUTED, Anchor::Left)?;
    }
    Ok(())
}

/// What the marks mean, with counts; only those that occur.
fn legend(canvas: &Canvas<'_, '_>, experiments: &[&ExperimentView], clipped: bool) -> Drawn {
    let mut x = PLOT.left;
    for verdict in Verdict::ALL.into_iter().map(Some).chain([None]) {
        let count = experiments.iter().filter(|e| e.counted() == verdict).count();
        if count == 0 {
            continue;
        }
        let name = format!("{} {count}", verdict.map_or("not decided", Verdict::name));
        canvas.mark((x + 6.0, LEGEND_Y), verdict, 1.0)?;
        canvas.text((x + 18.0, LEGEND_Y), &name, SMALL_SIZE, INK, Anchor::Left)?;
        x += 18.0 + text::width(&name, SMALL_SIZE) + 16.0;
    }
    if experiments.iter().any(|e| interval(e).is_some()) {
        canvas.line(&[(x + 4.0, LEGEND_Y - 8.0), (x + 4.0, LEGEND_Y + 8.0)], GREY, 1.0, 1.6)?;
        canvas.text((x + 12.0, LEGEND_Y), "95 % interval", SMALL_SIZE, INK, Anchor::Left)?;
        x += 12.0 + text::width("95 % interval", SMALL_SIZE) + 16.0;
    }
    if clipped {
        canvas.beyond((x + 6.0, LEGEND_Y), true)?;
        canvas.text((x + 18.0, LEGEND_Y), "far outside", SMALL_SIZE, INK, Anchor::Left)?;
        x += 18.0 + text::width("far outside", SMALL_SIZE) + 16.0;
    }
    if experiments.iter().any(|e| measured(e).is_some()) {
        canvas.line(&[(x, LEGEND_Y), (x + 22.0, LEGEND_Y)], BLUE, 1.0, 2.0)?;
        canvas.text((x + 28.0, LEGEND_Y), "champion", SMALL_SIZE, INK, Anchor::Left)?;
    }
    Ok(())
}
