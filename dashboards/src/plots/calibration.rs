//! Predictions against what was found.

use crate::axis::{Axis, robust_range, usable};
use crate::canvas::{Anchor, BLUE, Canvas, Frame, GREEN, GREY, INK, MUTED, SMALL_SIZE, TEXT_SIZE};
use crate::labels::Rect;
use crate::legend::{Sample, legend, verdicts};
use crate::picture::{Area, Drawn, Picture, PictureError, WIDTH, picture};
use crate::plots::effects::{effect, interval};
use crate::plots::night_line;
use crate::text;
use crate::view::{ExperimentView, NightView};

const EFFECTS: Rect = Rect { left: 96.0, top: 148.0, right: 580.0, bottom: 600.0 };
const CONFIDENCE: Rect = Rect { left: 716.0, top: 148.0, right: WIDTH - 40.0, bottom: 600.0 };
/// Stated confidences are taken together in so many bins of equal width.
const BINS: usize = 5;
/// So many pixels equal predictions take beside each other.
const BESIDE: f64 = 44.0;
/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_964;

/// How good proposers were at predicting. Left: the measured effect with its 95 % interval against the predicted one; on the
/// diagonal a prediction was right. Right: the share of experiments that improved against the confidence that their proposers had
/// stated, in bins of a fifth. Whether one improved is known with a probability only (see
/// [`EvidenceView::probability`](crate::EvidenceView::probability)), so the share is the mean of these; its bar is Wilson's 95 %
/// interval for so many experiments (E. B. Wilson 1927, "Probable inference, the law of succession, and statistical inference").
///
/// Experiments that leave a kept change out are no ideas and count in neither half, those that were taken back do not either.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn calibration(night: &NightView) -> Result<Picture, PictureError> {
    let ideas = ideas(night);
    let pairs = pairs(&ideas);
    let bins = bins(&ideas);
    let title = "Predictions against what was found".to_owned();
    let subtitle = subtitle(&pairs);
    let description = format!("{subtitle}. {}", night_line(night));
    picture("calibration", &title, &description, |area| draw(area, night, &pairs, &bins, (&title, &subtitle)))
}

fn ideas(night: &NightView) -> Vec<&ExperimentView> {
    night.experiments.iter().filter(|e| !e.has_fallen() && !night.leaves_out(e)).collect()
}

/// An experiment with its predicted and its measured effect.
type Pair<'a> = (&'a ExperimentView, f64, f64);

fn pairs<'a>(ideas: &[&'a ExperimentView]) -> Vec<Pair<'a>> {
    let predicted = |e: &ExperimentView| e.predicted_effect.filter(|value| usable(*value));
    let mut pairs: Vec<Pair<'a>> = ideas.iter().filter_map(|e| Some((*e, predicted(e)?, effect(e)?))).collect();
    // Kept ones last, on top of the rest.
    pairs.sort_by_key(|(e, ..)| (e.is_kept(), e.number));
    pairs
}

fn subtitle(pairs: &[Pair<'_>]) -> String {
    if pairs.is_empty() {
        return "No experiment has both a predicted and a measured effect".to_owned();
    }
    // Of one that broke the training the mean would say more than of all others.
    let median = |of: fn(&Pair<'_>) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let upper = values.get(values.len() / 2)?;
        let lower = values.get((values.len() - 1) / 2)?;
        Some((lower + upper) / 2.0)
    };
    let within =
        pairs.iter().filter(|(e, predicted, _)| interval(e).is_some_and(|(l, h)| l <= *predicted && *predicted <= h));
    let with_interval = pairs.iter().filter(|(e, ..)| interval(e).is_some()).count();
    let covered = match with_interval {
        0 => String::new(),
        count => format!(" · the prediction lies within the measured 95 % interval for {} of {count}", within.count()),
    };
    format!(
        "{} · median {} predicted, {} measured{covered}",
        text::counted(pairs.len(), "prediction"),
        text::signed(median(|p| p.1)),
        text::signed(median(|p| p.2))
    )
}

/// Experiments of about the same stated confidence.
#[derive(Debug, Clone, PartialEq)]
struct Bin {
    /// Which, from 0 for the least confident.
    index: usize,
    /// Mean stated confidence.
    confidence: f64,
    /// Mean probability of an improvement after measurement.
    share: f64,
    count: usize,
}

fn bins(ideas: &[&ExperimentView]) -> Vec<Bin> {
    let valid = |share: &f64| (0.0..=1.0).contains(share);
    let known: Vec<(f64, f64)> = ideas
        .iter()
        .filter_map(|e| {
            let probability = e.evidence.as_ref().map(|evidence| evidence.probability).filter(valid)?;
            Some((e.confidence.filter(valid)?, probability))
        })
        .collect();
    (0..BINS)
        .filter_map(|index| {
            let of = |(confidence, _): &&(f64, f64)| ((confidence * BINS as f64) as usize).min(BINS - 1) == index;
            let inside: Vec<&(f64, f64)> = known.iter().filter(of).collect();
            let mean = |part: fn(&(f64, f64)) -> f64| inside.iter().map(|p| part(p)).sum::<f64>() / inside.len() as f64;
            (!inside.is_empty()).then(|| Bin {
                index,
                confidence: mean(|p| p.0),
                share: mean(|p| p.1),
                count: inside.len(),
            })
        })
        .collect()
}

/// Wilson's 95 % interval of a share that was found in `count` cases.
fn wilson(share: f64, count: usize) -> (f64, f64) {
    let n = count.max(1) as f64;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn draw(
    area: &Area<'_>,
    night: &NightView,
    pairs: &[Pair<'_>],
    bins: &[Bin],
    (title, subtitle): (&str, &str),
) -> Drawn {
    let canvas = Canvas::new(area, title, subtitle)?;
    let shown: Vec<&ExperimentView> = pairs.iter().map(|(e, ..)| *e).collect();
    let mut entries = verdicts(&shown);
    if shown.iter().any(|e| interval(e).is_some()) {
        entries.push((Sample::Interval(GREY), "95 % interval".to_owned()));
    }
    if !pairs.is_empty() || !bins.is_empty() {
        entries.push((Sample::Dashes(INK), "as predicted".to_owned()));
    }
    let beyond = effects(&canvas, night, pairs)?;
    if beyond {
        entries.push((Sample::Beyond, "far outside".to_owned()));
    }
    if !bins.is_empty() {
        entries.push((Sample::Disc(BLUE), "experiments of about the same confidence".to_owned()));
    }
    legend(&canvas, (20.0, 88.0), WIDTH - 20.0, &entries)?;
    if !pairs.is_empty() {
        let note = "Equal predictions are drawn beside each other.";
        canvas.text((20.0, 676.0), note, SMALL_SIZE, MUTED, Anchor::Left)?;
    }
    confidence(&canvas, bins)
}

/// The left half; whether something lies outside of the plot.
fn effects(canvas: &Canvas<'_, '_>, night: &NightView, pairs: &[Pair<'_>]) -> Drawn<bool> {
    let predicted: Vec<f64> = pairs.iter().map(|p| p.1).collect();
    let measured: Vec<f64> = pairs.iter().map(|p| p.2).collect();
    // What was predicted is shown on both axes, so that the diagonal is to be seen where the predictions are.
    let ranges = robust_range(&[0.0], &predicted).and_then(|x| Some((x, robust_range(&[0.0, x.0, x.1], &measured)?)));
    let Some((x, y)) = ranges else { return Ok(false) };
    if pairs.is_empty() {
        canvas.text(EFFECTS.center(), "no effect was predicted and measured", TEXT_SIZE, MUTED, Anchor::Middle)?;
        return Ok(false);
    }
    let axis = |(low, high): (f64, f64), count| {
        let room = (high - low).max(1e-4) * 0.08;
        Axis::new(low - room, high + room, count)
    };
    let unit = match night.metric_unit.as_str() {
        "" => String::new(),
        unit => format!(" ({})", text::fit(unit, SMALL_SIZE, 150.0)),
    };
    let names = (format!("predicted effect{unit}"), format!("measured effect{unit}, negative is better"));
    let frame = canvas.frame(EFFECTS, axis(x, 5), axis(y, 8), (&names.0, &names.1))?;
    let (zero_x, zero_y) = frame.place((0.0, 0.0));
    canvas.line(&[(EFFECTS.left, zero_y), (EFFECTS.right, zero_y)], GREY, 1.0, 1.0)?;
    canvas.line(&[(zero_x, EFFECTS.top), (zero_x, EFFECTS.bottom)], GREY, 1.0, 1.0)?;
    diagonal(canvas, &frame)?;
    let mut beyond = false;
    for ((experiment, predicted, measured), aside) in pairs.iter().zip(beside(&frame, pairs)) {
        beyond |= point(canvas, &frame, experiment, (*predicted, *measured), aside)?;
    }
    Ok(beyond)
}

/// How many pixels each prediction is moved aside: proposers that always say the same would else be drawn on one another.
fn beside(frame: &Frame, pairs: &[Pair<'_>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    // In the order of the experiments' numbers: in that of their effects they would look like a trend.
    order.sort_by(|a, b| pairs[*a].1.total_cmp(&pairs[*b].1).then(pairs[*a].0.number.cmp(&pairs[*b].0.number)));
    let x = |i: usize| frame.place((pairs[i].1, 0.0)).0;
    let mut aside = vec![0.0; pairs.len()];
    for same in order.chunk_by(|a, b| (x(*a) - x(*b)).abs() < 0.5) {
        let apart = (BESIDE / same.len() as f64).min(7.0);
        for (i, of) in same.iter().enumerate() {
            aside[*of] = apart * (i as f64 - (same.len() as f64 - 1.0) / 2.0);
        }
    }
    aside
}

/// Where what was found is what was said.
fn diagonal(canvas: &Canvas<'_, '_>, frame: &Frame) -> Drawn {
    // In pieces of equal length, every other one drawn.
    let (low, high) = (frame.x.low.max(frame.y.low), frame.x.high.min(frame.y.high));
    if low >= high {
        return Ok(());
    }
    let (from, to) = (frame.place((low, low)), frame.place((high, high)));
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let at = |along: f64| {
        let part = (along / length.max(1e-9)).min(1.0);
        (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
    };
    for dash in 0..(length / 9.0).ceil() as usize {
        let begin = dash as f64 * 9.0;
        canvas.line(&[at(begin), at(begin + 4.0)], INK, 1.0, 1.4)?;
    }
    Ok(())
}

/// One prediction; whether it lies outside of the plot.
fn point(
    canvas: &Canvas<'_, '_>,
    frame: &Frame,
    experiment: &ExperimentView,
    value: (f64, f64),
    aside: f64,
) -> Drawn<bool> {
    let (x, y) = frame.place(value);
    let plot = frame.plot;
    let inside = (plot.left..=plot.right).contains(&x);
    let x = if inside { (x + aside).clamp(plot.left, plot.right) } else { x };
    if !inside {
        let is_right = x > plot.right;
        let edge = if is_right { plot.right - 5.0 } else { plot.left + 5.0 };
        canvas.aside((edge, y.clamp(plot.top + 6.0, plot.bottom - 6.0)), is_right, GREY)?;
        return Ok(true);
    }
    if let Some((low, high)) = interval(experiment) {
        let (bottom, top) = (frame.place((value.0, low)).1, frame.place((value.0, high)).1);
        if top < plot.bottom && bottom > plot.top {
            let (color, opacity, width) = if experiment.is_kept() { (GREEN, 0.9, 2.0) } else { (GREY, 0.4, 1.2) };
            canvas.line(&[(x, top.max(plot.top)), (x, bottom.min(plot.bottom))], color, opacity, width)?;
        }
    }
    if !(plot.top..=plot.bottom).contains(&y) {
        canvas.beyond((x, y.clamp(plot.top + 7.0, plot.bottom - 7.0)), y < plot.top)?;
        return Ok(true);
    }
    canvas.mark((x, y), experiment.counted(), 0.85)?;
    Ok(false)
}

/// The right half.
fn confidence(canvas: &Canvas<'_, '_>, bins: &[Bin]) -> Drawn {
    if bins.is_empty() {
        let message = "no confidence was stated and judged";
        return canvas.text(CONFIDENCE.center(), message, TEXT_SIZE, MUTED, Anchor::Middle);
    }
    let names = ("stated confidence (%)", "share that improved (%), as measured");
    let frame = canvas.frame(CONFIDENCE, Axis::new(0.0, 100.0, 5), Axis::new(0.0, 100.0, 5), names)?;
    diagonal(canvas, &frame)?;
    for bin in bins {
        let (low, high) = wilson(bin.share, bin.count);
        let at = |share: f64| frame.place((100.0 * bin.confidence, 100.0 * share));
        canvas.line(&[at(low), at(high)], BLUE, 0.6, 2.0)?;
        canvas.disc(at(bin.share), 5.5, BLUE)?;
    }
    let y = CONFIDENCE.bottom + 62.0;
    canvas.text((CONFIDENCE.left - 12.0, y), "experiments", SMALL_SIZE, MUTED, Anchor::Right)?;
    for bin in bins {
        let place = (bin.index as f64 + 0.5) * 100.0 / BINS as f64;
        canvas.text((frame.place((place, 0.0)).0, y), &bin.count.to_string(), SMALL_SIZE, MUTED, Anchor::Middle)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{EvidenceView, LeftOutView, Verdict};

    fn idea(number: u32, confidence: f64, probability: f64) -> ExperimentView {
        ExperimentView {
            number,
            verdict: Some(Verdict::Discarded),
            predicted_effect: Some(-0.002),
            difference: Some(0.001),
            interval: Some((-0.001, 0.003)),
            confidence: Some(confidence),
            evidence: Some(EvidenceView { probability, ..EvidenceView::default() }),
            ..ExperimentView::default()
        }
    }

    #[test]
    fn wilson_is_as_published() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, 15 of 148, 0 of 20.
        for (found, count, low, high) in
            [(81.0, 263, 0.2553, 0.3662), (15.0, 148, 0.0624, 0.1605), (0.0, 20, 0.0, 0.1611)]
        {
            let interval = wilson(found / f64::from(count), count as usize);
            assert!((interval.0 - low).abs() < 1e-4 && (interval.1 - high).abs() < 1e-4, "{interval:?}");
        }
    }

    #[test]
    fn confidences_are_taken_together_by_fifths() {
        let ideas =
            [idea(1, 0.1, 0.0), idea(2, 0.19, 1.0), idea(3, 1.0, 0.5), idea(4, 2.0, 0.5), idea(5, 0.5, f64::NAN)];
        let ideas: Vec<&ExperimentView> = ideas.iter().collect();
        let found = bins(&ideas);
        assert_eq!(found.len(), 2);
        assert!((found[0].confidence - 0.145).abs() < 1e-12 && found[0].share == 0.5 && found[0].count == 2);
        assert_eq!(found[1], Bin { index: 4, confidence: 1.0, share: 0.5, count: 1 });
    }

    #[test]
    fn what_leaves_a_change_out_or_was_taken_back_is_no_prediction() {
        let mut night = NightView { experiments: (1..=3).map(|n| idea(n, 0.5, 0.5)).collect(), ..NightView::default() };
        let svg = |night: &NightView| calibration(night).unwrap().svg;
        assert!(svg(&night).contains("3 predictions · median −0.0020 predicted, +0.0010 measured"));
        night.left_out = vec![LeftOutView { number: 2, ..LeftOutView::default() }];
        (night.experiments[2].verdict, night.experiments[2].taken_back) = (Some(Verdict::Kept), true);
        assert!(svg(&night).contains("1 prediction ·"));
        assert_eq!(bins(&ideas(&night))[0].count, 1);
    }
}
