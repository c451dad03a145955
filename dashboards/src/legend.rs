//! What marks, lines and areas mean: one row of samples with words, outside the data.

use plotters::style::RGBColor;

use crate::canvas::{Anchor, Canvas, GREY, INK, SMALL_SIZE};
use crate::labels::Rect;
use crate::picture::Drawn;
use crate::text;
use crate::view::{ExperimentView, Verdict};

/// Height of a line of the legend.
const LINE: f64 = 22.0;

/// What stands before the words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sample {
    /// The mark of an experiment.
    Mark(Option<Verdict>),
    /// A line of a width.
    Line(RGBColor, f64),
    /// A dashed line.
    Dashes(RGBColor),
    /// An area of an opacity.
    Area(RGBColor, f64),
    /// A filled circle.
    Disc(RGBColor),
    /// A hollow diamond.
    Diamond(RGBColor),
    /// The bar of an interval.
    Interval(RGBColor),
    /// An arrow head at an edge.
    Beyond,
}

impl Sample {
    fn width(self) -> f64 {
        match self {
            Sample::Mark(_) | Sample::Disc(_) | Sample::Diamond(_) | Sample::Beyond => 18.0,
            Sample::Line(..) | Sample::Dashes(_) | Sample::Area(..) | Sample::Interval(_) => 29.0,
        }
    }

    fn draw(self, canvas: &Canvas<'_, '_>, x: f64, y: f64) -> Drawn {
        match self {
            Sample::Mark(verdict) => canvas.mark((x + 6.0, y), verdict, 1.0),
            Sample::Line(color, width) => canvas.line(&[(x, y), (x + 22.0, y)], color, 1.0, width),
            Sample::Dashes(color) => canvas.dashed(x, x + 22.0, y, color),
            Sample::Area(color, opacity) => {
                canvas.fill(Rect { left: x, top: y - 6.0, right: x + 22.0, bottom: y + 6.0 }, color, opacity)
            }
            Sample::Disc(color) => canvas.disc((x + 6.0, y), 4.5, color),
            Sample::Diamond(color) => canvas.diamond((x + 6.0, y), 5.0, color),
            Sample::Interval(color) => canvas.line(&[(x, y), (x + 22.0, y)], color, 0.9, 2.0),
            Sample::Beyond => canvas.aside((x + 6.0, y), true, GREY),
        }
    }
}

/// Draws the entries from the left, going on in the next line where they would pass `right`.
pub(crate) fn legend(
    canvas: &Canvas<'_, '_>,
    (left, top): (f64, f64),
    right: f64,
    entries: &[(Sample, String)],
) -> Drawn {
    let (mut x, mut y) = (left, top);
    for (sample, words) in entries {
        let words = text::fit(words, SMALL_SIZE, right - left - sample.width());
        let width = sample.width() + text::width(&words, SMALL_SIZE);
        if x > left && x + width > right {
            (x, y) = (left, y + LINE);
        }
        sample.draw(canvas, x, y)?;
        canvas.text((x + sample.width(), y), &words, SMALL_SIZE, INK, Anchor::Left)?;
        x += width + 18.0;
    }
    Ok(())
}

/// The verdicts that occur, with counts.
pub(crate) fn verdicts(experiments: &[&ExperimentView]) -> Vec<(Sample, String)> {
    let of = |verdict: Option<Verdict>| {
        let count = experiments.iter().filter(|e| e.counted() == verdict).count();
        let name = verdict.map_or("not decided", Verdict::name);
        (count > 0).then(|| (Sample::Mark(verdict), format!("{name} {count}")))
    };
    Verdict::ALL.into_iter().map(Some).chain([None]).filter_map(of).collect()
}
