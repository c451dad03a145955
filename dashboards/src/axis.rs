//! Ranges and ticks of axes.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::Ranged;

use crate::text::minus;

/// Numbers beyond this are treated as if they were not there: no metric, loss or count of this world is so large, and sums of
/// what is left cannot overflow.
const LARGEST: f64 = 1e15;

/// Whether a number can be drawn.
pub(crate) fn usable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// A linear axis. `low < high` always.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Round numbers within `low..=high`, ascending; about as many as were asked for.
    pub(crate) ticks: Vec<f64>,
    step: f64,
}

impl Axis {
    /// An axis from `low` to `high` with about `count` ticks (at least two). A range that is empty, upside down or not finite is
    /// widened around what is usable of it.
    pub(crate) fn new(low: f64, high: f64, count: usize) -> Self {
        let (mut low, mut high) = match (usable(low), usable(high)) {
            (true, true) => (low.min(high), low.max(high)),
            (true, false) => (low, low),
            (false, true) => (high, high),
            (false, false) => (0.0, 1.0),
        };
        let largest = low.abs().max(high.abs());
        if high - low < (largest * 1e-6).max(1e-9) {
            let half = (largest * 0.01).max(1e-3);
            (low, high) = (low - half, high + half);
        }
        let step = round_step((high - low) / count.max(2) as f64);
        let ticks = (((low / step) - 1e-9).ceil() as i64..=((high / step) + 1e-9).floor() as i64)
            .map(|k| k as f64 * step)
            .collect();
        Self { low, high, ticks, step }
    }

    /// An axis over whole numbers from `low` to `high`.
    pub(crate) fn whole(low: f64, high: f64, count: usize) -> Self {
        let mut axis = Self::new(low, high, count);
        if axis.step < 1.0 {
            axis.step = 1.0;
            axis.ticks = (axis.low.ceil() as i64..=axis.high.floor() as i64).map(|k| k as f64).collect();
        }
        axis
    }

    /// A tick's text, with as many decimals as tell neighbouring ticks apart.
    pub(crate) fn label(&self, tick: f64) -> String {
        let decimals = (-(self.step.log10() + 1e-9).floor()).max(0.0) as usize;
        let largest = self.low.abs().max(self.high.abs());
        if decimals > 6 || largest >= 1e7 {
            let digits = ((largest / self.step).log10().ceil()).clamp(0.0, 8.0) as usize;
            return minus(format!("{tick:.digits$e}"));
        }
        minus(format!("{tick:.decimals$}"))
    }

    /// With every second tick, or fewer, where the labels of all of them would not fit beside each other on so many pixels.
    pub(crate) fn thinned(mut self, room: f64, width: impl Fn(&str) -> f64) -> Self {
        let widest = self.ticks.iter().map(|tick| width(&self.label(*tick))).fold(1.0, f64::max);
        let gap = room * self.step / (self.high - self.low);
        let every = (widest / gap.max(1e-9)).ceil().clamp(1.0, 1e6) as usize;
        self.ticks = self.ticks.into_iter().step_by(every).collect();
        self
    }

    /// Without the ticks whose label is not wanted.
    pub(crate) fn with_labels(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        let ticks = std::mem::take(&mut self.ticks);
        self.ticks = ticks.into_iter().filter(|tick| wanted(&self.label(*tick))).collect();
        self
    }

    /// Without ticks: for a direction that has rows instead of numbers.
    pub(crate) fn bare(low: f64, high: f64) -> Self {
        Self { ticks: Vec::new(), ..Self::new(low, high, 2) }
    }

    /// 0 at `low`, 1 at `high`.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// So that plotters draws its grid at this axis' ticks, and no finer one.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.fraction(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(tick: &f64) -> String {
        tick.to_string()
    }

    fn format_ext(&self, tick: &f64) -> String {
        self.label(*tick)
    }
}

/// The nearest of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = match step / power {
        ratio if ratio < 1.5 => 1.0,
        ratio if ratio < 3.2 => 2.0,
        ratio if ratio < 7.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// A range that shows what matters and as much of the rest as does not squeeze it: all of `must`, the middle half of everything,
/// and those of `may` that lie no further outside of these than the larger of `must`'s own span and 1.5 times the interquartile
/// range of everything (Tukey's fences). `None` where there is no usable number.
pub(crate) fn robust_range(must: &[f64], may: &[f64]) -> Option<(f64, f64)> {
    let usable_of = |values: &[f64]| values.iter().copied().filter(|v| usable(*v)).collect::<Vec<f64>>();
    let (must, may) = (usable_of(must), usable_of(may));
    let mut all = [must.as_slice(), may.as_slice()].concat();
    all.sort_by(f64::total_cmp);
    let quantile = |p: f64| all.get(((all.len().max(1) - 1) as f64 * p).round() as usize).copied();
    let (q1, q3) = (quantile(0.25)?, quantile(0.75)?);
    let (low, high) = span(&must).unwrap_or((q1, q3));
    let reach = (high - low).max(1.5 * (q3 - q1));
    let fences = q1.min(low) - reach..=q3.max(high) + reach;
    let shown = may.into_iter().filter(|v| fences.contains(v));
    span(&shown.chain([low, high]).collect::<Vec<f64>>())
}

/// The range of all but the least and greatest 2 % of the usable values; `None` where there is none.
pub(crate) fn central_range(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| usable(*v)).collect();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 50;
    Some((*sorted.get(cut)?, *sorted.get(sorted.len() - 1 - cut)?))
}

fn span(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some((low, high))
}

/// A unit for the larger numbers of an axis: divide by the factor.
pub(crate) struct Unit {
    pub(crate) factor: f64,
    pub(crate) name: &'static str,
}

/// The unit in which a count of tokens up to `largest` reads well.
pub(crate) fn token_unit(largest: f64) -> Unit {
    let (factor, name) = match largest {
        l if l >= 1e9 => (1e9, "billion tokens"),
        l if l >= 1e6 => (1e6, "million tokens"),
        l if l >= 2e4 => (1e3, "thousand tokens"),
        _ => (1.0, "tokens"),
    };
    Unit { factor, name }
}

/// The unit in which a time of up to `largest` seconds reads well.
pub(crate) fn time_unit(largest: f64) -> Unit {
    let (factor, name) = match largest {
        l if l >= 3.0 * 3600.0 => (3600.0, "hours of training"),
        l if l >= 180.0 => (60.0, "minutes of training"),
        _ => (1.0, "seconds of training"),
    };
    Unit { factor, name }
}

/// The unit in which up to `largest` billion floating-point operations read well.
pub(crate) fn compute_unit(largest: f64) -> Unit {
    let (factor, name) = match largest {
        l if l >= 1e12 => (1e12, "zettaFLOP of training, estimated as 6 × parameters × tokens"),
        l if l >= 1e9 => (1e9, "exaFLOP of training, estimated as 6 × parameters × tokens"),
        l if l >= 1e6 => (1e6, "petaFLOP of training, estimated as 6 × parameters × tokens"),
        l if l >= 1e3 => (1e3, "teraFLOP of training, estimated as 6 × parameters × tokens"),
        _ => (1.0, "gigaFLOP of training, estimated as 6 × parameters × tokens"),
    };
    Unit { factor, name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_tell_themselves_apart() {
        let axis = Axis::new(1.8021, 1.8467, 6);
        let labels: Vec<String> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
        assert_eq!(labels, ["1.81", "1.82", "1.83", "1.84"]);
        let axis = Axis::new(-0.00031, 0.00012, 4);
        let labels: Vec<String> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
        assert_eq!(labels, ["−0.0003", "−0.0002", "−0.0001", "0.0000", "0.0001"]);
        let axis = Axis::whole(0.0, 3.0, 8);
        let labels: Vec<String> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
        assert_eq!(labels, ["0", "1", "2", "3"]);
    }

    #[test]
    fn ticks_without_room_are_left_out() {
        let axis = Axis::new(0.0, 10.0, 10);
        assert_eq!(axis.clone().thinned(100.0, |_| 10.0).ticks.len(), 11);
        assert_eq!(axis.clone().thinned(100.0, |_| 11.0).ticks, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(axis.thinned(100.0, |_| 1e9).ticks, [0.0]);
    }

    #[test]
    fn one_bad_value_does_not_squeeze_the_rest() {
        let (low, high) = robust_range(&[1.84, 1.80], &[1.85, 1.83, 7.0, -1e14, f64::NAN]).unwrap();
        assert_eq!((low, high), (1.80, 1.85));
        assert_eq!(robust_range(&[], &[f64::NAN, f64::INFINITY]), None);
        assert_eq!(robust_range(&[], &[3.0]), Some((3.0, 3.0)));
    }

    proptest! {
        #[test]
        fn any_range_gives_an_axis(low in proptest::num::f64::ANY, high in proptest::num::f64::ANY, count in 0usize..20) {
            for axis in [Axis::new(low, high, count), Axis::new(low, low, count)] {
                prop_assert!(axis.low < axis.high);
                // Round steps are at most twice as fine as what was asked for.
                prop_assert!(!axis.ticks.is_empty() && axis.ticks.len() <= 2 * count.max(2) + 2, "{axis:?}");
                for tick in &axis.ticks {
                    prop_assert!(!axis.label(*tick).is_empty());
                    prop_assert!((-1e-6..=1.0 + 1e-6).contains(&axis.fraction(*tick)));
                }
            }
        }
    }
}
