//! The pictures that only the server's pages have: curves of several experiments over each other, and a campaign's nights.

use plotters::style::RGBColor;

use super::campaign::NightRow;
use crate::axis::{Axis, robust_range, usable};
use crate::canvas::{
    Anchor, BLUE, Canvas, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, SKY, SMALL_SIZE, TEXT_SIZE, VERMILLION,
};
use crate::curve::Curve;
use crate::labels::Rect;
use crate::picture::{Area, Drawn, HEIGHT, Picture, PictureError, WIDTH, picture_of_height};
use crate::plots::losses::{loss_axis, nothing, smoothing_note, unit};
use crate::text;
use crate::view::{CurveAxis, CurveView};

/// The colours of a comparison, in the order of what is compared; `site.css` has the same as `.c0` and so on.
const COLORS: [RGBColor; 8] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK, GREY];
/// As many experiments can be told apart.
pub const MOST_COMPARED: usize = COLORS.len();

const CURVES: Rect = Rect { left: 76.0, top: 108.0, right: 860.0, bottom: 612.0 };
const LIST: Rect = Rect { left: 892.0, top: 108.0, right: WIDTH - 20.0, bottom: 640.0 };

const NIGHTS_HEIGHT: f64 = 420.0;
const NIGHTS: Rect = Rect { left: 96.0, top: 104.0, right: WIDTH - 36.0, bottom: 330.0 };

/// Training losses over each other, smoothed, with each step faint behind. `curves` are of what is compared, in that order, at most
/// [`MOST_COMPARED`]; their labels stand beside the plot.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn overlay(curves: &[CurveView], axis: CurveAxis) -> Result<Picture, PictureError> {
    let title = "Training losses compared";
    let words = format!("Smoothed training loss of {}", text::counted(curves.len(), "experiment"));
    picture_of_height("comparison of curves", (title, &words), HEIGHT, |area| draw_curves(area, curves, axis))
}

fn draw_curves(area: &Area<'_>, views: &[CurveView], axis: CurveAxis) -> Drawn {
    let canvas = Canvas::new(area, "Training losses compared", "One trial of each: the newest that was measured")?;
    let curves: Vec<Curve> = views.iter().map(|view| Curve::new(view, axis)).collect();
    let drawable: Vec<&Curve> = curves.iter().filter(|curve| !curve.smooth.is_empty()).collect();
    if drawable.is_empty() {
        return canvas.text((WIDTH / 2.0, HEIGHT / 2.0), nothing(axis), TEXT_SIZE, MUTED, Anchor::Middle);
    }
    let end = drawable.iter().map(|curve| curve.end()).fold(0.0, f64::max);
    let unit = unit(axis, end);
    let x = Axis::new(0.0, end / unit.factor, 8);
    let frame = canvas.frame(CURVES, x, loss_axis(&drawable, 8), (unit.name, "training loss (nats per token)"))?;
    let scaled = |points: &[(f64, f64)]| points.iter().map(|(x, y)| (x / unit.factor, *y)).collect::<Vec<_>>();
    let colored = || curves.iter().zip(COLORS);
    for (curve, color) in colored() {
        for piece in frame.clipped(&scaled(&curve.raw)) {
            canvas.line(&piece, color, 0.12, 0.75)?;
        }
    }
    for (curve, color) in colored() {
        for piece in frame.clipped(&scaled(&curve.smooth)) {
            canvas.line(&piece, color, 1.0, 2.0)?;
        }
    }
    let mut y = LIST.top;
    let left = LIST.left + 34.0;
    for ((curve, color), view) in colored().zip(views) {
        canvas.line(&[(LIST.left, y), (LIST.left + 24.0, y)], color, 1.0, 3.0)?;
        let mut below = y;
        for part in text::wrap(&view.label, TEXT_SIZE, LIST.right - left, 2) {
            canvas.text((left, below), &part, TEXT_SIZE, INK, Anchor::Left)?;
            below += 19.0;
        }
        let last = match curve.last() {
            Some(loss) => format!("ends at {}", text::metric(Some(loss))),
            None => "no loss recorded".to_owned(),
        };
        canvas.text((left, below), &last, SMALL_SIZE, MUTED, Anchor::Left)?;
        y = below + 28.0;
    }
    canvas.text((CURVES.left, 676.0), &smoothing_note(), SMALL_SIZE, MUTED, Anchor::Left)
}

/// A campaign's nights, the oldest first: from each night's start to its champion.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn progress_of_nights(nights: &[NightRow]) -> Result<Picture, PictureError> {
    let title = "Progress over the nights";
    let words = format!("Start and champion of {}", text::counted(nights.len(), "night"));
    picture_of_height("progress over nights", (title, &words), NIGHTS_HEIGHT, |area| draw_nights(area, nights, title))
}

fn draw_nights(area: &Area<'_>, nights: &[NightRow], title: &str) -> Drawn {
    let middle = (WIDTH / 2.0, NIGHTS_HEIGHT / 2.0);
    let subtitle = "val_bpb, lower is better; nights compare only where budget, data and machine are the same";
    let canvas = Canvas::new(area, title, subtitle)?;
    let levels: Vec<f64> = nights
        .iter()
        .flat_map(|night| [night.start, night.champion])
        .flatten()
        .filter(|value| usable(*value))
        .collect();
    let Some((low, high)) = robust_range(&levels, &levels) else {
        return canvas.text(middle, "nothing was measured", TEXT_SIZE, MUTED, Anchor::Middle);
    };
    let room = ((high - low) * 0.12).max(high.abs() * 5e-4);
    let x = Axis::whole(0.4, nights.len() as f64 + 0.6, 12);
    let frame = canvas.frame(
        NIGHTS,
        x,
        Axis::new(low - room, high + room, 6),
        ("night, in order", "val_bpb (bits per byte)"),
    )?;
    for (place, night) in (1..).zip(nights) {
        let (start, champion) = (night.start.filter(|v| usable(*v)), night.champion.filter(|v| usable(*v)));
        let at = |value: f64| frame.place((f64::from(place), value));
        if let Some((start, champion)) = start.zip(champion).filter(|(start, champion)| start != champion) {
            canvas.line(&[at(start), at(champion)], MUTED, 1.0, 1.5)?;
        }
        if let Some(start) = start {
            canvas.ring(at(start), 4.0, MUTED, 1.5)?;
        }
    }
    let radius = if nights.len() > 60 { 4.0 } else { 5.5 };
    for (place, night) in (1..).zip(nights) {
        let Some(champion) = night.champion.filter(|value| usable(*value)) else { continue };
        let at = frame.place((f64::from(place), champion));
        match night.claim.as_ref().is_some_and(|claim| claim.holds && !claim.withdrawn) {
            true => canvas.disc(at, radius, GREEN)?,
            false => canvas.diamond(at, radius, MUTED)?,
        }
    }
    let y = NIGHTS_HEIGHT - 22.0;
    canvas.ring((NIGHTS.left, y), 4.0, MUTED, 1.5)?;
    canvas.text((NIGHTS.left + 14.0, y), "the night's start", SMALL_SIZE, INK, Anchor::Left)?;
    canvas.disc((NIGHTS.left + 170.0, y), 5.5, GREEN)?;
    canvas.text((NIGHTS.left + 184.0, y), "champion whose morning's claim holds", SMALL_SIZE, INK, Anchor::Left)?;
    canvas.diamond((NIGHTS.left + 480.0, y), 5.5, MUTED)?;
    canvas.text((NIGHTS.left + 494.0, y), "champion without such a claim", SMALL_SIZE, INK, Anchor::Left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::CurvePoint;

    fn curve(label: &str, count: u64) -> CurveView {
        let point =
            |step: u64| CurvePoint { tokens: step * 4096, seconds: step as f64, loss: Some(5.0 - step as f64 / 100.0) };
        CurveView { label: label.to_owned(), points: (0..count).map(point).collect(), ..CurveView::default() }
    }

    #[test]
    fn curves_lie_over_each_other_and_labels_are_text() {
        let svg = overlay(&[curve("<script>", 80), curve("b", 60), curve("c", 0)], CurveAxis::Tokens).unwrap().svg;
        assert!(
            svg.contains("&lt;script&gt;") && !svg.contains("<script>") && svg.contains("no loss recorded"),
            "{svg}"
        );
        assert!(overlay(&[], CurveAxis::Time).unwrap().svg.contains("no loss was recorded"));
    }

    #[test]
    fn nights_are_drawn_whatever_is_missing() {
        let night = |start, champion| NightRow { start, champion, ..NightRow::default() };
        for nights in [
            vec![],
            vec![night(None, None)],
            vec![night(Some(1.9), Some(1.8)), night(None, Some(f64::NAN)), night(Some(1.8), None)],
            vec![night(Some(1.8), Some(1.8)); 120],
        ] {
            assert!(progress_of_nights(&nights).unwrap().svg.starts_with("<svg"));
        }
    }
}
