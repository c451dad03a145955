//! All loss curves of a night.

use plotters::style::RGBColor;

use crate::axis::{Axis, Unit, compute_unit, time_unit, token_unit, usable};
use crate::canvas::{
    Anchor, BLUE, Canvas, FAINT, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, SKY, SMALL_SIZE, TEXT_SIZE, VERMILLION,
};
use crate::curve::{Curve, MEMORY};
use crate::labels::Rect;
use crate::picture::{Area, Drawn, HEIGHT, Picture, PictureError, WIDTH, picture};
use crate::plots::night_line;
use crate::text;
use crate::view::{CurveAxis, CurveView, ExperimentView, NightView, Verdict};

const PLOT: Rect = Rect { left: 76.0, top: 108.0, right: 800.0, bottom: 612.0 };
const LIST: Rect = Rect { left: 832.0, top: 108.0, right: WIDTH - 20.0, bottom: 640.0 };
/// As many kept curves are told apart by colour; the night's start has ink.
const COLORS: [RGBColor; 6] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY];
/// The part of a run at whose loss the plot is cut off above, so that the first steep fall does not squeeze the rest.
const CUT_AT: f64 = 0.1;

struct Line {
    curve: Curve,
    number: u32,
    title: String,
    color: RGBColor,
}

/// Loss curves of the night against tokens, time or compute (curves of an unknown number of parameters are left out of that). The night's start and up to six kept experiments (the champion and those
/// that gained most) are smoothed and coloured, with each step faint behind them; all others are thin grey lines. `curves` in any
/// order; the night's start has number 0.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn losses(night: &NightView, curves: &[CurveView], axis: CurveAxis) -> Result<Picture, PictureError> {
    let against = match axis {
        CurveAxis::Tokens => "tokens",
        CurveAxis::Time => "time",
        CurveAxis::Compute => "compute",
    };
    let title = format!("Training loss against {against}");
    picture("loss curves", &title, &night_line(night), |area| draw(area, night, curves, axis, &title))
}

fn draw(area: &Area<'_>, night: &NightView, curves: &[CurveView], axis: CurveAxis, title: &str) -> Drawn {
    let canvas = Canvas::new(area, title, &night_line(night))?;
    let (lines, rest) = sort_out(night, curves, axis);
    let everything = || lines.iter().map(|l| &l.curve).chain(&rest);
    if everything().all(|curve| curve.smooth.is_empty()) {
        return canvas.text((WIDTH / 2.0, HEIGHT / 2.0), nothing(axis), TEXT_SIZE, MUTED, Anchor::Middle);
    }
    let end = everything().map(Curve::end).fold(0.0, f64::max);
    let unit = unit(axis, end);
    let important: Vec<&Curve> =
        if lines.is_empty() { rest.iter().collect() } else { lines.iter().map(|l| &l.curve).collect() };
    let x = Axis::new(0.0, end / unit.factor, 8);
    let frame = canvas.frame(PLOT, x, loss_axis(&important, 8), (unit.name, "training loss (nats per token)"))?;
    let scaled = |points: &[(f64, f64)]| points.iter().map(|(x, y)| (x / unit.factor, *y)).collect::<Vec<_>>();

    for curve in &rest {
        // A third of the points is plenty for a thin line.
        let thin: Vec<(f64, f64)> =
            scaled(&curve.smooth).into_iter().step_by(if curve.smooth.len() > 200 { 3 } else { 1 }).collect();
        for piece in frame.clipped(&thin) {
            canvas.line(&piece, FAINT, 0.8, 0.75)?;
        }
    }
    for line in &lines {
        for piece in frame.clipped(&scaled(&line.curve.raw)) {
            canvas.line(&piece, line.color, 0.12, 0.75)?;
        }
    }
    for line in &lines {
        for piece in frame.clipped(&scaled(&line.curve.smooth)) {
            canvas.line(&piece, line.color, 1.0, 2.0)?;
        }
    }
    list(&canvas, &lines, rest.len())?;
    canvas.text((PLOT.left, 676.0), &smoothing_note(), SMALL_SIZE, MUTED, Anchor::Left)
}

/// What stands in the place of a plot without a curve.
pub(crate) fn nothing(axis: CurveAxis) -> &'static str {
    match axis {
        CurveAxis::Tokens | CurveAxis::Time => "no loss was recorded",
        CurveAxis::Compute => "no loss was recorded of a model whose number of parameters is known",
    }
}

/// What thick and faint lines are.
pub(crate) fn smoothing_note() -> String {
    format!(
        "Thick: exponential average, memory {:.0} % of the run. Faint: every step. Cut off above, where the loss falls steeply.",
        MEMORY * 100.0
    )
}

/// The unit of the x axis.
pub(crate) fn unit(axis: CurveAxis, end: f64) -> Unit {
    match axis {
        CurveAxis::Tokens => token_unit(end),
        CurveAxis::Time => time_unit(end),
        CurveAxis::Compute => compute_unit(end),
    }
}

/// From the least smoothed loss to the greatest after the first few per cent of a run.
pub(crate) fn loss_axis(curves: &[&Curve], ticks: usize) -> Axis {
    let after_start = |curve: &&Curve| {
        let from = curve.end() * CUT_AT;
        let first = curve.smooth.iter().position(|p| p.0 >= from).unwrap_or(0);
        curve.smooth[first.min(curve.smooth.len().saturating_sub(1))..].to_vec()
    };
    let shown: Vec<f64> = curves.iter().flat_map(after_start).map(|p| p.1).collect();
    let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let high = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let room = (high - low) * 0.06;
    Axis::new(low - room, high + room, ticks)
}

/// Which curves get a colour, and the others.
fn sort_out(night: &NightView, curves: &[CurveView], axis: CurveAxis) -> (Vec<Line>, Vec<Curve>) {
    let of = |number: u32| night.experiments.iter().find(|e: &&ExperimentView| e.number == number);
    let gain = |curve: &CurveView| {
        let champion = curve.experiment == night.champion_number;
        let difference = of(curve.experiment).and_then(|e| e.difference).filter(|d| usable(*d));
        if champion { f64::NEG_INFINITY } else { difference.unwrap_or(f64::INFINITY) }
    };
    let mut kept: Vec<&CurveView> =
        curves.iter().filter(|c| c.experiment != 0 && c.verdict == Some(Verdict::Kept)).collect();
    kept.sort_by(|a, b| gain(a).total_cmp(&gain(b)).then(a.experiment.cmp(&b.experiment)));
    kept.truncate(COLORS.len());
    kept.sort_by_key(|c| c.experiment);

    let mut lines = Vec::new();
    let mut rest = Vec::new();
    for view in curves {
        let curve = Curve::new(view, axis);
        let color = match kept.iter().position(|k| std::ptr::eq(*k, view)) {
            Some(at) => COLORS[at],
            None if view.experiment == 0 => INK,
            None => {
                rest.push(curve);
                continue;
            }
        };
        lines.push(Line { curve, number: view.experiment, title: view.label.clone(), color });
    }
    // From the highest end to the lowest, as the curves lie.
    let last = |line: &Line| line.curve.last().unwrap_or(f64::INFINITY);
    lines.sort_by(|a, b| last(b).total_cmp(&last(a)).then(a.number.cmp(&b.number)));
    (lines, rest)
}

fn list(canvas: &Canvas<'_, '_>, lines: &[Line], others: usize) -> Drawn {
    canvas.text((LIST.left, LIST.top - 16.0), "In the order of their ends", SMALL_SIZE, MUTED, Anchor::Left)?;
    let mut y = LIST.top + 12.0;
    let left = LIST.left + 34.0;
    // One start and six kept ones; more starts than that are not to be expected, and do not fit.
    for line in lines.iter().take(8) {
        canvas.line(&[(LIST.left, y), (LIST.left + 24.0, y)], line.color, 1.0, 3.0)?;
        let name = if line.number == 0 { line.title.clone() } else { format!("#{} {}", line.number, line.title) };
        let mut below = y;
        for part in text::wrap(&name, TEXT_SIZE, LIST.right - left, 2) {
            canvas.text((left, below), &part, TEXT_SIZE, INK, Anchor::Left)?;
            below += 19.0;
        }
        let last = match line.curve.last() {
            Some(loss) => format!("ends at {} nats per token", text::metric(Some(loss))),
            None => "no loss recorded".to_owned(),
        };
        canvas.text((left, below), &last, SMALL_SIZE, MUTED, Anchor::Left)?;
        y = below + 32.0;
    }
    if others > 0 {
        canvas.line(&[(LIST.left, y), (LIST.left + 24.0, y)], GREY, 1.0, 1.0)?;
        let name = text::counted(others, "other experiment");
        canvas.text((left, y), &name, TEXT_SIZE, MUTED, Anchor::Left)?;
    }
    Ok(())
}
