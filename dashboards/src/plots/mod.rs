//! The pictures, one module each.

pub(crate) mod experiment;
pub(crate) mod losses;
pub(crate) mod progress;

use crate::text;
use crate::view::NightView;

/// Second line of a night's pictures: which night this is.
fn night_line(night: &NightView) -> String {
    let mut parts = vec![format!("campaign {}", night.campaign), format!("night {}", night.night)];
    if !night.date.is_empty() {
        parts.push(night.date.clone());
    }
    if !night.budget.is_empty() {
        parts.push(format!("{} of training per trial", night.budget));
    }
    parts.join(" · ")
}

/// The metric's name with its unit, as an axis is named.
fn metric_name(night: &NightView) -> String {
    match night.metric_unit.as_str() {
        "" => format!("{}, lower is better", night.metric),
        unit => format!("{} ({unit}), lower is better", night.metric),
    }
}

/// `−0.0321, −1.74 %` from a start to an end.
pub(crate) fn change(start: f64, end: f64) -> String {
    let percent = (end - start) / start * 100.0;
    if percent.is_finite() && percent.abs() < 1e4 {
        let sign = if percent > 0.0 { "+" } else { "" };
        format!("{}, {}", text::signed(Some(end - start)), text::minus(format!("{sign}{percent:.2} %")))
    } else {
        text::signed(Some(end - start))
    }
}
