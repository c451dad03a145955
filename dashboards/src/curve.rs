//! Loss curves made fit to draw: in order, finite, smoothed, thinned.

use crate::axis::usable;
use crate::view::{CurveAxis, CurveView};

/// How much of a run the smoothing remembers, as a part of its steps.
pub(crate) const MEMORY: f64 = 0.03;

/// Points of a drawn curve; the plot is some 750 pixels wide.
const BUCKETS: usize = 360;
/// Places at which the band of several curves is taken.
const BAND_PLACES: usize = 180;

/// A curve ready for drawing; x is tokens, seconds or billions of floating-point operations, y nats per token, x never falls.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Curve {
    /// Each step's loss; where there are many, the first, least, greatest and last of each of a few hundred stretches.
    pub(crate) raw: Vec<(f64, f64)>,
    /// The smoothed loss.
    pub(crate) smooth: Vec<(f64, f64)>,
}

impl Curve {
    /// Sorts by x, leaves out what is missing or not finite, smooths and thins.
    pub(crate) fn new(view: &CurveView, axis: CurveAxis) -> Self {
        let parameters = view.parameters.filter(|count| *count > 0);
        let mut points: Vec<(f64, f64)> = view
            .points
            .iter()
            .filter_map(|point| {
                let x = match axis {
                    CurveAxis::Tokens => point.tokens as f64,
                    CurveAxis::Time => point.seconds,
                    CurveAxis::Compute => 6.0 * parameters? as f64 * point.tokens as f64 / 1e9,
                };
                point.loss.filter(|loss| usable(*loss) && usable(x) && x >= 0.0).map(|loss| (x, loss))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { smooth: thin_to_last(&smoothed(&points)), raw: thin_to_extremes(&points) }
    }

    /// The largest x; 0 for an empty curve.
    pub(crate) fn end(&self) -> f64 {
        self.smooth.last().map_or(0.0, |p| p.0)
    }

    /// The smoothed loss at the end.
    pub(crate) fn last(&self) -> Option<f64> {
        self.smooth.last().map(|p| p.1)
    }

    /// The smoothed loss at x, linear between points; `None` beyond the curve's ends.
    pub(crate) fn at(&self, x: f64) -> Option<f64> {
        let after = self.smooth.partition_point(|p| p.0 < x);
        let right = self.smooth.get(after)?;
        if right.0 == x {
            return Some(right.1);
        }
        let left = self.smooth.get(after.checked_sub(1)?)?;
        Some(left.1 + (right.1 - left.1) * (x - left.0) / (right.0 - left.0))
    }

    /// This smoothed curve minus another, where both are defined.
    pub(crate) fn minus(&self, other: &Curve) -> Vec<(f64, f64)> {
        self.smooth.iter().filter_map(|(x, y)| Some((*x, y - other.at(*x)?))).collect()
    }
}

/// Between which smoothed losses all of the curves lie, (x, lowest, highest) at places from where the last of them begins to where
/// the first one ends. Empty where fewer than two have any points: one run has no spread.
pub(crate) fn band(curves: &[Curve]) -> Vec<(f64, f64, f64)> {
    let curves: Vec<&Curve> = curves.iter().filter(|curve| !curve.smooth.is_empty()).collect();
    let from = curves.iter().filter_map(|curve| curve.smooth.first()).map(|p| p.0).fold(0.0, f64::max);
    let to = curves.iter().map(|curve| curve.end()).fold(f64::INFINITY, f64::min);
    if curves.len() < 2 || from >= to {
        return Vec::new();
    }
    let place = |i: usize| from + (to - from) * i as f64 / BAND_PLACES as f64;
    (0..=BAND_PLACES)
        .map(|i| if i == BAND_PLACES { to } else { place(i) })
        .filter_map(|x| {
            let values: Option<Vec<f64>> = curves.iter().map(|curve| curve.at(x)).collect();
            let values = values?;
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Some((x, low, high))
        })
        .collect()
}

/// Exponential moving average, forwards and then backwards over its own result, so that the curve does not lag behind a falling
/// loss. The weight of a step falls to 1/e over 3 % of the run's steps, so curves of different lengths are smoothed alike. The
/// end is the plain forward average over what came before it.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = (-1.0 / (MEMORY * points.len().max(1) as f64)).exp();
    let mut values: Vec<f64> = points.iter().map(|p| p.1).collect();
    average(values.iter_mut(), keep);
    average(values.iter_mut().rev(), keep);
    points.iter().zip(values).map(|((x, _), value)| (*x, value)).collect()
}

/// One pass in place, without the bias of its start (corrected as Adam corrects its moments).
fn average<'a>(values: impl Iterator<Item = &'a mut f64>, keep: f64) {
    let (mut sum, mut weight) = (0.0, 0.0);
    for value in values {
        sum = sum * keep + *value * (1.0 - keep);
        weight = weight * keep + (1.0 - keep);
        *value = sum / weight;
    }
}

/// The points in stretches of equally many, about `BUCKETS` of them.
fn stretches(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunks(points.len().div_ceil(BUCKETS).max(1))
}

fn thin_to_last(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let first = points.first().copied().filter(|_| points.len() > BUCKETS);
    first.into_iter().chain(stretches(points).filter_map(|stretch| stretch.last().copied())).collect()
}

/// Keeps spikes: of each stretch the first, least, greatest and last point, in order.
fn thin_to_extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for stretch in stretches(points) {
        if stretch.len() <= 4 {
            kept.extend_from_slice(stretch);
            continue;
        }
        let by_loss = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        let least = stretch.iter().enumerate().min_by(by_loss).map_or(0, |p| p.0);
        let greatest = stretch.iter().enumerate().max_by(by_loss).map_or(0, |p| p.0);
        let mut chosen = vec![0, least, greatest, stretch.len() - 1];
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|i| stretch[i]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CurvePoint;

    fn view(losses: impl IntoIterator<Item = Option<f64>>) -> CurveView {
        let points = losses
            .into_iter()
            .enumerate()
            .map(|(i, loss)| CurvePoint { tokens: 100 * i as u64, seconds: i as f64, loss })
            .collect();
        CurveView { points, ..CurveView::default() }
    }

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_fall() {
        let constant = Curve::new(&view(vec![Some(3.0); 500]), CurveAxis::Time);
        assert!(constant.smooth.iter().all(|p| (p.1 - 3.0).abs() < 1e-12));
        let falling = Curve::new(&view((0..500).map(|i| Some(8.0 - 0.01 * i as f64))), CurveAxis::Time);
        // No lag within; at the end that of the forward pass: the mean age of what a memory of 15 steps remembers is 14.5.
        let within = falling.smooth.iter().find(|p| p.0 >= 250.0).unwrap();
        assert!((within.1 - (8.0 - 0.01 * within.0)).abs() < 1e-6, "{within:?}");
        assert!((falling.last().unwrap() - (8.0 - 4.99 + 0.145)).abs() < 1e-3, "{:?}", falling.last());
    }

    #[test]
    fn a_hundred_thousand_points_become_few_and_keep_their_spike() {
        let curve =
            Curve::new(&view((0..100_000).map(|i| Some(if i == 77_777 { 9.0 } else { 3.0 }))), CurveAxis::Tokens);
        assert!(curve.raw.len() <= 4 * BUCKETS && curve.smooth.len() <= BUCKETS + 1);
        assert!(curve.raw.contains(&(7_777_700.0, 9.0)));
        assert_eq!((curve.smooth[0].0, curve.end()), (0.0, 9_999_900.0));
    }

    #[test]
    fn what_is_missing_or_out_of_order_is_dealt_with() {
        let mut shuffled = view([Some(5.0), None, Some(f64::NAN), Some(f64::INFINITY), Some(4.0), Some(1e300)]);
        shuffled.points.swap(0, 4);
        shuffled.points[1].seconds = f64::NAN;
        let curve = Curve::new(&shuffled, CurveAxis::Time);
        assert_eq!(curve.raw, [(0.0, 5.0), (4.0, 4.0)]);
        assert_eq!(Curve::new(&view([]), CurveAxis::Time), Curve::default());
    }

    #[test]
    fn the_band_holds_every_curve_where_all_of_them_are() {
        let flat = |loss: f64, count: usize| Curve::new(&view(vec![Some(loss); count]), CurveAxis::Time);
        let found = band(&[flat(3.0, 50), flat(3.2, 80), Curve::default(), flat(2.9, 60)]);
        assert_eq!((found[0].0, found.last().unwrap().0), (0.0, 49.0));
        assert!(found.iter().all(|(_, low, high)| (low - 2.9).abs() < 1e-9 && (high - 3.2).abs() < 1e-9));
        assert!(band(&[flat(3.0, 50), Curve::default()]).is_empty() && band(&[]).is_empty());
    }

    #[test]
    fn compute_is_six_operations_a_parameter_and_token() {
        let mut known = view([Some(5.0), Some(4.0)]);
        assert_eq!(Curve::new(&known, CurveAxis::Compute), Curve::default());
        known.parameters = Some(2_000_000);
        assert_eq!(Curve::new(&known, CurveAxis::Compute).raw, [(0.0, 5.0), (1.2, 4.0)]);
    }

    #[test]
    fn differences_are_taken_at_the_same_place() {
        let slow = Curve { smooth: vec![(0.0, 4.0), (2.0, 2.0), (4.0, 0.0)], raw: vec![] };
        let fast = Curve { smooth: vec![(1.0, 2.0), (3.0, 1.0), (5.0, 0.5)], raw: vec![] };
        assert_eq!(fast.minus(&slow), [(1.0, -1.0), (3.0, 0.0)]);
        assert_eq!(slow.at(-1.0), None);
        assert_eq!(slow.at(0.0), Some(4.0));
    }
}
