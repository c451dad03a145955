//! Which numbers of the recipe matter.

use crate::axis::{Axis, robust_range};
use crate::canvas::{Anchor, BLUE, Canvas, Frame, GREEN, GREY, GRID, INK, MUTED, SMALL_SIZE, TEXT_SIZE};
use crate::importance::{Change, Importance, LEAST_CHANGES, Parameter};
use crate::labels::Rect;
use crate::legend::{Sample, legend, verdicts};
use crate::picture::{Area, Drawn, EMPTY_HEIGHT, Picture, PictureError, WIDTH, picture_of_height};
use crate::plots::night_line;
use crate::text;
use crate::view::{ExperimentView, NightView, RecipeView};

const ROWS: usize = 24;
/// A row's height by its number of changes: at least, for each, at most.
const ROW: (f64, f64, f64) = (30.0, 6.0, 96.0);
const TOP: f64 = 142.0;
const NAME: (f64, f64) = (20.0, 236.0);
const TRIED: (f64, f64) = (244.0, 424.0);
const EFFECTS: (f64, f64) = (444.0, 794.0);
const SIZES: (f64, f64) = (840.0, WIDTH - 24.0);

/// Which numbers of the recipe matter, from experiments that changed one number alone: for each such number the measured effects
/// with their 95 % intervals, and beside them its size: how large the effect of changing it usually is, noise taken off, with a
/// 95 % interval. A number that was changed alone only once has no size, and effects that lie far out are in none. Where fewer than three such changes were measured the
/// picture says so and shows nothing.
///
/// No model is fitted; how the size is estimated, from which sources, and what it does not say stands in the module
/// `importance`: `size² = mean(effect² − standard error²)`.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn importance(night: &NightView, recipes: &[RecipeView]) -> Result<Picture, PictureError> {
    let importance = Importance::of(night, recipes);
    let rows: f64 = importance.parameters.iter().take(ROWS).map(height_of).sum();
    let enough = importance.changes() >= LEAST_CHANGES;
    let height = if enough { TOP + rows + 76.0 } else { EMPTY_HEIGHT };
    let title = "Which numbers of the recipe matter".to_owned();
    let subtitle = subtitle(&importance);
    let description = format!("{subtitle}. {}", night_line(night));
    picture_of_height("importance of parameters", (&title, &description), height, |area| {
        draw(area, night, &importance, enough, (&title, &subtitle))
    })
}

fn height_of(parameter: &Parameter<'_>) -> f64 {
    (10.0 + ROW.1 * parameter.changes.len() as f64).clamp(ROW.0, ROW.2)
}

fn subtitle(importance: &Importance<'_>) -> String {
    let alone = text::counted(importance.changes(), "experiment");
    let mut parts = vec![format!("{alone} changed one number alone")];
    if importance.mixed > 0 {
        parts.push(format!("{} changed more and are not counted", importance.mixed));
    }
    if importance.never_alone > 0 {
        parts.push(format!("{} never alone", text::counted(importance.never_alone, "number")));
    }
    if importance.far_out > 0 {
        parts.push(format!("{} far out", text::counted(importance.far_out, "effect")));
    }
    if importance.parameters.len() > ROWS {
        parts.push(format!("the first {ROWS} of {} numbers", importance.parameters.len()));
    }
    parts.join(" · ")
}

fn draw(
    area: &Area<'_>,
    night: &NightView,
    importance: &Importance<'_>,
    enough: bool,
    (title, subtitle): (&str, &str),
) -> Drawn {
    let canvas = Canvas::new(area, title, subtitle)?;
    let shown = &importance.parameters[..importance.parameters.len().min(ROWS)];
    let ends = shown.iter().flat_map(|p| &p.changes).flat_map(|change| [change.interval.0, change.interval.1]);
    let effects: Vec<f64> = shown.iter().flat_map(|p| &p.changes).map(|change| change.effect).collect();
    let may: Vec<f64> = effects.iter().copied().chain(ends).collect();
    let Some((low, high)) = robust_range(&[0.0], &may).filter(|_| enough) else {
        let message = format!("too little data: {LEAST_CHANGES} experiments that changed one number alone are needed");
        return canvas.text((WIDTH / 2.0, EMPTY_HEIGHT * 0.6), &message, TEXT_SIZE, MUTED, Anchor::Middle);
    };
    let mut bottom = TOP;
    let mut middles = Vec::new();
    for (i, parameter) in shown.iter().enumerate() {
        let top = bottom;
        bottom += height_of(parameter);
        middles.push((top + bottom) / 2.0);
        if i % 2 == 1 {
            canvas.fill(Rect { left: 14.0, top, right: WIDTH - 14.0, bottom }, GRID, 0.4)?;
        }
    }
    let unit = match night.metric_unit.as_str() {
        "" => String::new(),
        unit => format!(" ({})", text::fit(unit, SMALL_SIZE, 140.0)),
    };
    let room = (high - low).max(1e-4) * 0.06;
    let plot = Rect { left: EFFECTS.0, top: TOP, right: EFFECTS.1, bottom };
    let effects = canvas.frame(
        plot,
        Axis::new(low - room, high + room, 5),
        Axis::bare(0.0, 1.0),
        (&format!("effect{unit}"), ""),
    )?;
    let sizes: Vec<f64> = shown.iter().filter_map(|p| p.size).flat_map(|size| [size.size, size.high]).collect();
    let (_, most) = robust_range(&[0.0], &sizes).unwrap_or((0.0, 1e-3));
    let plot = Rect { left: SIZES.0, top: TOP, right: SIZES.1, bottom };
    let name = format!("size of the usual effect{unit}");
    let sizes = canvas.frame(plot, Axis::new(0.0, most.max(1e-5) * 1.06, 4), Axis::bare(0.0, 1.0), (&name, ""))?;
    let zero = effects.place((0.0, 0.0)).0;
    canvas.line(&[(zero, TOP), (zero, bottom)], INK, 1.0, 1.2)?;
    let y = TOP - 16.0;
    for (x, name) in [(NAME.0, "number"), (TRIED.0, "tried"), (EFFECTS.0, "← better")] {
        canvas.text((x, y), name, SMALL_SIZE, MUTED, Anchor::Left)?;
    }
    canvas.text((EFFECTS.1, y), "worse →", SMALL_SIZE, MUTED, Anchor::Right)?;
    let mut beyond = false;
    for (parameter, middle) in shown.iter().zip(middles) {
        beyond |= row(&canvas, (&effects, &sizes), parameter, middle)?;
    }
    let all: Vec<&ExperimentView> = shown.iter().flat_map(|p| &p.changes).map(|change| change.experiment).collect();
    let mut entries = verdicts(&all);
    entries.push((Sample::Interval(GREY), "95 % interval".to_owned()));
    entries.push((Sample::Area(BLUE, 0.75), "size, told from noise".to_owned()));
    entries.push((Sample::Area(GREY, 0.75), "size, may be noise".to_owned()));
    if beyond {
        entries.push((Sample::Beyond, "goes on outside".to_owned()));
    }
    legend(&canvas, (20.0, 88.0), WIDTH - 20.0, &entries)
}

fn row(canvas: &Canvas<'_, '_>, (effects, sizes): (&Frame, &Frame), parameter: &Parameter<'_>, y: f64) -> Drawn<bool> {
    let name = text::fit(parameter.name, SMALL_SIZE, NAME.1 - NAME.0);
    canvas.text((NAME.0, y), &name, SMALL_SIZE, INK, Anchor::Left)?;
    let tried = text::fit(&tried(&parameter.changes), SMALL_SIZE, TRIED.1 - TRIED.0);
    canvas.text((TRIED.0, y), &tried, SMALL_SIZE, MUTED, Anchor::Left)?;
    let mut beyond = false;
    let apart = (height_of(parameter) - 12.0) / parameter.changes.len().max(2) as f64;
    let top = y - apart * (parameter.changes.len() as f64 - 1.0) / 2.0;
    for (i, change) in parameter.changes.iter().enumerate() {
        beyond |= point(canvas, effects, change, top + apart * i as f64, (apart / 9.0).clamp(0.4, 0.8))?;
    }
    let Some(size) = parameter.size else {
        let words = text::fit("too few changes", SMALL_SIZE, SIZES.1 - SIZES.0 - 10.0);
        canvas.text((SIZES.0 + 8.0, y), &words, SMALL_SIZE, MUTED, Anchor::Left)?;
        return Ok(beyond);
    };
    let (left, right) = (sizes.plot.left, sizes.plot.right);
    let x = |value: f64| sizes.place((value, 0.0)).0;
    let color = if size.low > 0.0 { BLUE } else { GREY };
    if x(size.size) > left + 0.25 {
        canvas.fill(Rect { left, top: y - 7.0, right: x(size.size).min(right), bottom: y + 7.0 }, color, 0.75)?;
    }
    if x(size.low) < right {
        canvas.line(&[(x(size.low), y), (x(size.high).min(right), y)], INK, 1.0, 1.6)?;
    }
    if x(size.high) > right {
        canvas.aside((right - 4.0, y), true, INK)?;
        beyond = true;
    }
    Ok(beyond)
}

/// One change; whether something of it lies outside of the plot.
fn point(canvas: &Canvas<'_, '_>, frame: &Frame, change: &Change<'_>, y: f64, size: f64) -> Drawn<bool> {
    let (left, right) = (frame.plot.left, frame.plot.right);
    let x = |value: f64| frame.place((value, 0.0)).0;
    let (from, to, at) = (x(change.interval.0), x(change.interval.1), x(change.effect));
    let color = if change.experiment.is_kept() { GREEN } else { GREY };
    if from < right && to > left {
        canvas.line(&[(from.max(left), y), (to.min(right), y)], color, 0.8, 2.0 * size)?;
    }
    if (left..=right).contains(&at) {
        canvas.mark((at, y), change.experiment.counted(), size)?;
    }
    for (outside, edge, is_right) in [(from < left, left + 4.0, false), (to > right, right - 4.0, true)] {
        if outside {
            canvas.aside((edge, y), is_right, color)?;
        }
    }
    Ok(from < left || to > right)
}

/// The values that were tried, with the one that a champion had: `0.04 → 0.02 to 0.08`.
fn tried(changes: &[Change<'_>]) -> String {
    let mut values: Vec<f64> = changes.iter().map(|change| change.to).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let to = match values.as_slice() {
        [] => String::new(),
        [one] => text::plain(*one),
        [first, .., last] => format!("{} to {}", text::plain(*first), text::plain(*last)),
    };
    let mut from: Vec<f64> = changes.iter().map(|change| change.from).collect();
    from.sort_by(f64::total_cmp);
    from.dedup();
    match from.as_slice() {
        [one] => format!("{} → {to}", text::plain(*one)),
        _ => to,
    }
}
