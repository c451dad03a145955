//! The pictures, one module each.

pub(crate) mod calibration;
pub(crate) mod drift;
pub(crate) mod effects;
pub(crate) mod experiment;
pub(crate) mod importance;
pub(crate) mod losses;
pub(crate) mod parallel;
pub(crate) mod progress;
pub(crate) mod timeline;

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
    let metric = text::fit(&night.metric, 14.0, 200.0);
    match text::fit(&night.metric_unit, 14.0, 200.0).as_str() {
        "" => format!("{metric}, lower is better"),
        unit => format!("{metric} ({unit}), lower is better"),
    }
}

/// What an axis of differences is called.
fn difference_name(night: &NightView) -> String {
    match text::fit(&night.metric_unit, 14.0, 200.0).as_str() {
        "" => "difference from its champion".to_owned(),
        unit => format!("difference from its champion ({unit})"),
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
