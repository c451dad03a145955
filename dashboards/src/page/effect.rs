//! A small picture of one effect: measured with its interval, expected again, predicted, beside no change at all.

use maud::{Markup, html};

use crate::axis::usable;
use crate::text::{interval, signed};
use crate::view::ExperimentView;

const WIDTH: f64 = 520.0;
const EDGE: f64 = 14.0;
/// The line on which the measured effect stands.
const MIDDLE: f64 = 22.0;
/// A prediction may widen the picture to so many times the room of what was measured; beyond that it is an arrow at the edge.
const WIDENED: f64 = 2.5;

/// What the pictures of one page reach over, so that they compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Over the effects, intervals and expectations of experiments, and zero; over their predictions as far as those do not make
    /// everything else small. `None` where nothing was measured.
    pub(crate) fn of<'a>(experiments: impl Iterator<Item = &'a ExperimentView> + Clone) -> Option<Self> {
        let measured: Vec<f64> = experiments.clone().flat_map(measured).collect();
        let reach = |values: &[f64]| {
            values.iter().fold((0.0f64, 0.0f64), |(low, high), value| (low.min(*value), high.max(*value)))
        };
        let (low, high) = Some(reach(&measured)).filter(|(low, high)| low < high)?;
        let predicted: Vec<f64> = experiments.filter_map(|e| e.predicted_effect).filter(|p| usable(*p)).collect();
        let (least, most) = reach(&predicted);
        let room = (high - low) * (WIDENED - 1.0) / 2.0;
        let (low, high) = (low.min(least.max(low - room)), high.max(most.min(high + room)));
        Some(Self { low, high })
    }

    fn place(self, value: f64) -> f64 {
        let part = (value - self.low) / (self.high - self.low);
        EDGE + (WIDTH - 2.0 * EDGE) * part.clamp(0.0, 1.0)
    }
}

fn measured(experiment: &ExperimentView) -> Vec<f64> {
    let expected = experiment.evidence.as_ref().map(|evidence| evidence.expected);
    let (low, high) = experiment.interval.unzip();
    [experiment.difference, low, high, expected].into_iter().flatten().filter(|value| usable(*value)).collect()
}

/// The picture; nothing where nothing was measured.
pub(super) fn picture(experiment: &ExperimentView, range: Option<Range>) -> Markup {
    let (Some(range), Some(difference)) = (range, experiment.difference.filter(|value| usable(*value))) else {
        return html! {};
    };
    let expected = experiment.evidence.as_ref().map(|evidence| evidence.expected).filter(|value| usable(*value));
    let predicted = experiment.predicted_effect.filter(|value| usable(*value));
    let bounds = experiment.interval.filter(|(low, high)| usable(*low) && usable(*high) && low <= high);
    let at = |value: f64| format!("{:.1}", range.place(value));
    let zero = at(0.0);
    html! {
        figure.effect {
            svg role="img" viewBox={ "0 0 " (WIDTH) " 60" } width=(WIDTH) height="60" xmlns="http://www.w3.org/2000/svg" {
                title { (words(difference, bounds, expected, predicted)) }
                line.axis x1=(EDGE) x2=(WIDTH - EDGE) y1=(MIDDLE) y2=(MIDDLE) {}
                line.zero x1=(zero) x2=(zero) y1="2" y2="42" {}
                text.label x=(zero) y="55" text-anchor=(anchor(range.place(0.0))) { "no change" }
                @if let Some((low, high)) = bounds {
                    line.interval x1=(at(low)) x2=(at(high)) y1=(MIDDLE) y2=(MIDDLE) {}
                }
                @if let Some(predicted) = predicted { (triangle(range, predicted)) }
                circle.measured cx=(at(difference)) cy=(MIDDLE) r="6" {}
                @if let Some(expected) = expected { (diamond(range.place(expected))) }
            }
            figcaption {
                span.key { "● measured with its 95 % interval" }
                @if expected.is_some() { " " span.key { "◇ expected when measured again" } }
                @if predicted.is_some() { " " span.key { "▽ predicted" } }
                " " span.key { "left is better" }
            }
        }
    }
}

fn anchor(place: f64) -> &'static str {
    match place {
        place if place > WIDTH - 40.0 => "end",
        place if place < 40.0 => "start",
        _ => "middle",
    }
}

/// Points down at the prediction; at an edge, and sideways, where that lies beyond.
fn triangle(range: Range, value: f64) -> Markup {
    let x = range.place(value);
    let points = match value {
        value if value < range.low => format!("{:.1},8 {:.1},2 {:.1},14", x - 9.0, x + 1.0, x + 1.0),
        value if value > range.high => format!("{:.1},8 {:.1},2 {:.1},14", x + 9.0, x - 1.0, x - 1.0),
        _ => format!("{:.1},2 {:.1},2 {:.1},14", x - 6.5, x + 6.5, x),
    };
    html! { polygon.predicted points=(points) {} }
}

fn diamond(x: f64) -> Markup {
    let points =
        format!("{:.1},{MIDDLE} {x:.1},{} {:.1},{MIDDLE} {x:.1},{}", x - 7.0, MIDDLE - 7.0, x + 7.0, MIDDLE + 7.0);
    html! { polygon.expected points=(points) {} }
}

fn words(difference: f64, bounds: Option<(f64, f64)>, expected: Option<f64>, predicted: Option<f64>) -> String {
    let mut parts = vec![format!("measured {}", signed(Some(difference)))];
    parts.extend(bounds.map(|bounds| format!("95 % interval {}", interval(bounds))));
    parts.extend(expected.map(|value| format!("expected when measured again {}", signed(Some(value)))));
    parts.extend(predicted.map(|value| format!("predicted {}", signed(Some(value)))));
    format!("Effect: {}. Negative is better.", parts.join(", "))
}

/// What was predicted beside what was measured, in words.
pub(super) fn against_prediction(experiment: &ExperimentView) -> Option<&'static str> {
    let predicted = experiment.predicted_effect.filter(|value| usable(*value))?;
    let found = experiment.difference.filter(|value| usable(*value))?;
    Some(match experiment.interval {
        Some((low, high)) if (low..=high).contains(&predicted) => "which the interval holds",
        _ if predicted * found < 0.0 => "which is the other direction",
        _ if predicted.abs() > found.abs() => "more than was found",
        _ => "less than was found",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::EvidenceView;

    fn experiment(difference: f64, predicted: Option<f64>) -> ExperimentView {
        ExperimentView {
            difference: Some(difference),
            interval: Some((difference - 0.002, difference + 0.002)),
            predicted_effect: predicted,
            evidence: Some(EvidenceView { expected: difference * 0.75, ..EvidenceView::default() }),
            ..ExperimentView::default()
        }
    }

    #[test]
    fn one_prediction_does_not_make_all_else_small() {
        let all = [experiment(-0.004, Some(-0.003)), experiment(-0.001, Some(-0.5))];
        let range = Range::of(all.iter()).unwrap();
        assert!((range.low + 0.006 + 0.75 * 0.007).abs() < 1e-9 && range.high == 0.001, "{range:?}");
        assert_eq!(range.place(-0.5), EDGE);
        assert_eq!(Range::of([ExperimentView::default()].iter()), None);
        assert_eq!(picture(&ExperimentView::default(), Some(range)).into_string(), "");
    }

    #[test]
    fn the_picture_says_what_it_shows() {
        let one = experiment(-0.004, Some(-0.003));
        insta::assert_snapshot!(picture(&one, Range::of([&one].into_iter())).into_string().replace("><", ">\n<"));
    }

    #[test]
    fn predictions_are_judged() {
        let judged = |difference, predicted| against_prediction(&experiment(difference, predicted));
        assert_eq!(judged(-0.004, Some(-0.003)), Some("which the interval holds"));
        assert_eq!(judged(-0.004, Some(0.003)), Some("which is the other direction"));
        assert_eq!(judged(-0.004, Some(-0.03)), Some("more than was found"));
        assert_eq!(judged(-0.004, Some(-0.001)), Some("less than was found"));
        assert_eq!(judged(-0.004, None), None);
    }
}
