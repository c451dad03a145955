//! One experiment against its champion.

use std::collections::BTreeSet;

use plotters::style::RGBColor;

use crate::axis::{Axis, central_range};
use crate::canvas::{
    Anchor, BLUE, Canvas, Frame, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, SMALL_SIZE, TEXT_SIZE, TITLE_SIZE, VERMILLION,
};
use crate::curve::{Curve, band};
use crate::labels::Rect;
use crate::picture::{Area, Drawn, Picture, PictureError, WIDTH, picture};
use crate::plots::losses::{loss_axis, nothing, smoothing_note, unit};
use crate::text;
use crate::view::{CurveAxis, CurveView, ExperimentView, NightView, Verdict};

const LOSS: Rect = Rect { left: 96.0, top: 134.0, right: WIDTH - 36.0, bottom: 426.0 };
const DIFFERENCE: Rect = Rect { left: 96.0, top: 492.0, right: WIDTH - 36.0, bottom: 618.0 };
const LEGEND_Y: f64 = 88.0;
/// The difference's range is taken after this part of the run; before it both curves fall steeply and the smallest shift in time
/// looks like a large difference.
const SETTLED_FROM: f64 = 0.1;
/// Opacity of the band.
const BAND: f64 = 0.16;

/// One experiment's training loss over its champion's, and the difference of the two below, both over the band of the champion's
/// runs: from the lowest to the highest of them. The title has the metric, the subtitle verdict and
/// prediction. `champions` holds the champion's runs, the one under the experiment's own seed first; it is empty where they are lost.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn experiment(
    night: &NightView,
    experiment: &ExperimentView,
    curve: &CurveView,
    champions: &[CurveView],
    axis: CurveAxis,
) -> Result<Picture, PictureError> {
    let title = title(night, experiment);
    let subtitle = subtitle(experiment);
    let name = format!("Training loss of experiment {title}");
    picture("curve of an experiment", &name, &subtitle, |area| {
        draw(area, experiment, curve, champions, axis, (&title, &subtitle))
    })
}

/// The end of the title must not be cut off, so its beginning is shortened.
fn title(night: &NightView, experiment: &ExperimentView) -> String {
    let mut result = match experiment.val_bpb {
        Some(value) => format!(": {} {}", night.metric, text::metric(Some(value))),
        None => ": no result".to_owned(),
    };
    if let Some(difference) = experiment.difference {
        result = format!("{result} ({})", text::signed(Some(difference)));
    }
    let result = text::fit(&result, TITLE_SIZE, 500.0);
    let room = WIDTH - 44.0 - text::width(&result, TITLE_SIZE);
    format!("{}{result}", text::fit(&format!("#{} {}", experiment.number, experiment.title), TITLE_SIZE, room))
}

fn subtitle(experiment: &ExperimentView) -> String {
    let mut parts = vec![verdict_words(experiment).to_owned()];
    if let Some((low, high)) = experiment.interval {
        parts.push(format!("95 % interval {} to {}", text::signed(Some(low)), text::signed(Some(high))));
    }
    if experiment.trials_measured > 1 {
        parts.push(format!("mean of {} trials", experiment.trials_measured));
    }
    match experiment.predicted_effect {
        Some(predicted) => parts.push(format!("predicted {}", text::signed(Some(predicted)))),
        None => parts.push("no prediction".to_owned()),
    }
    if !experiment.proposer.is_empty() {
        parts.push(format!("proposed by {}", experiment.proposer));
    }
    if !experiment.family.is_empty() {
        parts.push(experiment.family.clone());
    }
    parts.join(" · ")
}

fn verdict_words(experiment: &ExperimentView) -> &'static str {
    if experiment.has_fallen() {
        "kept, does not stand"
    } else {
        experiment.verdict.map_or("not decided", Verdict::name)
    }
}

fn color(verdict: Option<Verdict>) -> RGBColor {
    match verdict {
        Some(Verdict::Kept) => GREEN,
        Some(Verdict::Inconclusive) => ORANGE,
        Some(Verdict::Invalid) => PURPLE,
        Some(Verdict::Crashed | Verdict::Unbuildable) => VERMILLION,
        Some(Verdict::Discarded) | None => BLUE,
    }
}

fn draw(
    area: &Area<'_>,
    experiment: &ExperimentView,
    curve: &CurveView,
    champions: &[CurveView],
    axis: CurveAxis,
    (title, subtitle): (&str, &str),
) -> Drawn {
    let canvas = Canvas::new(area, title, subtitle)?;
    let own = Curve::new(curve, axis);
    let runs: Vec<Curve> = champions.iter().map(|c| Curve::new(c, axis)).collect();
    let other = runs.first().cloned().unwrap_or_default();
    let spread = band(&runs);
    let color = color(experiment.counted());
    legend(&canvas, experiment, (&own, color), (&other, champions.first()))?;
    let drawable: Vec<&Curve> = [&own, &other].into_iter().filter(|c| !c.smooth.is_empty()).collect();
    if drawable.is_empty() {
        return canvas.text((WIDTH / 2.0, 350.0), nothing(axis), TEXT_SIZE, MUTED, Anchor::Middle);
    }
    let end = own.end().max(other.end());
    let unit = unit(axis, end);
    let x = Axis::new(0.0, end / unit.factor, 10);
    let scaled = |points: &[(f64, f64)]| points.iter().map(|(x, y)| (x / unit.factor, *y)).collect::<Vec<_>>();

    let frame = canvas.frame(LOSS, x.clone(), loss_axis(&drawable, 6), ("", "training loss (nats per token)"))?;
    shade(&canvas, &frame, &spread, unit.factor)?;
    for (curve, color) in [(&other, INK), (&own, color)] {
        for piece in frame.clipped(&scaled(&curve.raw)) {
            canvas.line(&piece, color, 0.2, 0.75)?;
        }
    }
    for (curve, color) in [(&other, INK), (&own, color)] {
        for piece in frame.clipped(&scaled(&curve.smooth)) {
            canvas.line(&piece, color, 1.0, 2.0)?;
        }
    }

    let difference = own.minus(&other);
    let settled: Vec<f64> = difference.iter().filter(|p| p.0 >= end * SETTLED_FROM).map(|p| p.1).collect();
    if let Some((low, high)) = central_range(&settled) {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let room = (high - low).max(1e-4) * 0.15;
        let y = Axis::new(low - room, high + room, 4);
        let name = "difference (experiment minus champion), below zero is better";
        let frame = canvas.frame(DIFFERENCE, x, y, (unit.name, name))?;
        // The champion's other runs, as they differ from the one that the experiment is compared with.
        let around = |(x, low, high): &(f64, f64, f64)| other.at(*x).map(|paired| (*x, low - paired, high - paired));
        shade(&canvas, &frame, &spread.iter().filter_map(around).collect::<Vec<_>>(), unit.factor)?;
        let zero = frame.place((0.0, 0.0)).1;
        canvas.line(&[(DIFFERENCE.left, zero), (DIFFERENCE.right, zero)], INK, 1.0, 1.2)?;
        for piece in frame.clipped(&scaled(&difference)) {
            canvas.line(&piece, color, 1.0, 2.0)?;
        }
    } else {
        let place = ((LOSS.left + LOSS.right) / 2.0, LOSS.bottom + 38.0);
        canvas.text(place, unit.name, SMALL_SIZE, MUTED, Anchor::Middle)?;
        let message = "no difference: one of the two curves is missing";
        canvas.text(DIFFERENCE.center(), message, TEXT_SIZE, MUTED, Anchor::Middle)?;
    }
    let words = match runs.iter().filter(|run| !run.smooth.is_empty()).count() {
        0 => return canvas.text((LOSS.left, 690.0), &smoothing_note(), SMALL_SIZE, MUTED, Anchor::Left),
        1 => "One run of the champion is known, so its spread over seeds is not.".to_owned(),
        _ if spread.is_empty() => {
            "The champion's runs have nothing in common that a band could be drawn of.".to_owned()
        }
        count => format!("Band: from the lowest to the highest of the champion's {count} runs{}.", seeds(champions)),
    };
    if !spread.is_empty() {
        canvas.fill(Rect { left: LOSS.left - 32.0, top: 666.0, right: LOSS.left - 8.0, bottom: 678.0 }, INK, BAND)?;
    }
    canvas.text((LOSS.left, 672.0), &words, SMALL_SIZE, MUTED, Anchor::Left)?;
    canvas.text((LOSS.left, 690.0), &smoothing_note(), SMALL_SIZE, MUTED, Anchor::Left)
}

/// What runs differ by: their seeds, or, where they repeat one, the machine alone.
fn seeds(runs: &[CurveView]) -> String {
    let seeds: Option<BTreeSet<u32>> = runs.iter().map(|run| run.seed).collect();
    match seeds.map_or(0, |seeds| seeds.len()) {
        0 => String::new(),
        1 => " under one seed: they differ by the machine alone".to_owned(),
        count if count == runs.len() => ", which differ by their seeds".to_owned(),
        count => format!(" under {count} seeds; those of one seed differ by the machine alone"),
    }
}

/// A band of (x, lowest, highest), cut off where it leaves the plot.
fn shade(canvas: &Canvas<'_, '_>, frame: &Frame, band: &[(f64, f64, f64)], factor: f64) -> Drawn {
    if band.len() < 2 {
        return Ok(());
    }
    let at = |x: f64, y: f64| {
        let (x, y) = frame.place((x / factor, y));
        (x, y.clamp(frame.plot.top, frame.plot.bottom))
    };
    let lower = band.iter().map(|(x, low, _)| at(*x, *low));
    let upper = band.iter().rev().map(|(x, _, high)| at(*x, *high));
    canvas.shade(&lower.chain(upper).collect::<Vec<_>>(), INK, BAND)
}

fn legend(
    canvas: &Canvas<'_, '_>,
    experiment: &ExperimentView,
    (own, color): (&Curve, RGBColor),
    (other, champion): (&Curve, Option<&CurveView>),
) -> Drawn {
    let ends = |curve: &Curve| match curve.last() {
        Some(loss) => format!(", ends at {}", text::metric(Some(loss))),
        None => ", no loss recorded".to_owned(),
    };
    let own_name = format!("#{}{}", experiment.number, ends(own));
    let mut x = LOSS.left - 56.0;
    canvas.line(&[(x, LEGEND_Y), (x + 24.0, LEGEND_Y)], color, 1.0, 3.0)?;
    canvas.text((x + 32.0, LEGEND_Y), &own_name, TEXT_SIZE, INK, Anchor::Left)?;
    x += 32.0 + text::width(&own_name, TEXT_SIZE) + 24.0;
    canvas.line(&[(x, LEGEND_Y), (x + 24.0, LEGEND_Y)], if champion.is_some() { INK } else { GREY }, 1.0, 3.0)?;
    let number = experiment.champion_number;
    let label = champion.map_or("", |c| c.label.as_str());
    let name = if number == 0 { "the night's start".to_owned() } else { format!("#{number} {label}") };
    let tail = ends(other);
    let room = LOSS.right - x - 32.0 - text::width(&tail, TEXT_SIZE);
    let name = format!("{}{tail}", text::fit(&format!("its champion, {name}"), TEXT_SIZE, room));
    canvas.text((x + 32.0, LEGEND_Y), &name, TEXT_SIZE, INK, Anchor::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_says_what_its_runs_differ_by() {
        let of = |listed: &[Option<u32>]| {
            seeds(&listed.iter().map(|seed| CurveView { seed: *seed, ..CurveView::default() }).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Some(0), Some(2)]), ", which differ by their seeds");
        assert_eq!(of(&[Some(1), Some(1)]), " under one seed: they differ by the machine alone");
        assert_eq!(of(&[Some(0), Some(1), Some(1)]), " under 2 seeds; those of one seed differ by the machine alone");
        assert_eq!((of(&[Some(0), None]), of(&[])), (String::new(), String::new()));
    }
}
