//! What all pictures are drawn with: the palette, text, marks, lines, the frame with its axes.
//!
//! Coordinates are CSS pixels of the picture, x to the right, y down; plotters gets them scaled (see `picture::SCALE`).

use plotters::chart::ChartBuilder;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use crate::axis::Axis;
use crate::labels::Rect;
use crate::picture::{Area, Drawn, FONT_FAMILY, SCALE, WIDTH};
use crate::text;
use crate::view::Verdict;

/// Text and axes.
pub(crate) const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
/// Text of second rank.
pub(crate) const MUTED: RGBColor = RGBColor(0x57, 0x60, 0x6a);
/// Marks of what was not kept.
pub(crate) const GREY: RGBColor = RGBColor(0x9a, 0xa1, 0xa9);
/// Curves of what was not kept.
pub(crate) const FAINT: RGBColor = RGBColor(0xc4, 0xc9, 0xcf);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xe6, 0xe9, 0xed);

// Okabe and Ito's colours, told apart with any kind of colour vision; their yellow is too light for white paper, their black
// is `INK`.
pub(crate) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(crate) const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub(crate) const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
pub(crate) const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
pub(crate) const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
pub(crate) const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);

/// Font sizes (em) in pixels.
pub(crate) const TITLE_SIZE: f64 = 23.0;
pub(crate) const TEXT_SIZE: f64 = 15.0;
pub(crate) const SMALL_SIZE: f64 = 14.0;

/// Which point of a text its position is; vertically it is always the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Middle,
    Right,
}

/// A picture in the making.
pub(crate) struct Canvas<'a, 'b> {
    area: &'a Area<'b>,
}

fn px(value: f64) -> i32 {
    (value * SCALE).round() as i32
}

fn at((x, y): (f64, f64)) -> (i32, i32) {
    (px(x), px(y))
}

fn stroke(color: RGBColor, opacity: f64, width: f64) -> ShapeStyle {
    color.mix(opacity).stroke_width(px(width).max(1) as u32)
}

impl<'a, 'b> Canvas<'a, 'b> {
    /// White paper with the two lines that every picture begins with.
    pub(crate) fn new(area: &'a Area<'b>, title: &str, subtitle: &str) -> Drawn<Self> {
        area.fill(&WHITE)?;
        let canvas = Self { area };
        let room = WIDTH - 2.0 * 20.0;
        canvas.text((20.0, 27.0), &text::fit(title, TITLE_SIZE, room), TITLE_SIZE, INK, Anchor::Left)?;
        canvas.text((20.0, 54.0), &text::fit(subtitle, TEXT_SIZE, room), TEXT_SIZE, MUTED, Anchor::Left)?;
        Ok(canvas)
    }

    /// One line of text. The caller has made it fit; whatever it is, it is cleaned once more.
    pub(crate) fn text(&self, place: (f64, f64), line: &str, size: f64, color: RGBColor, anchor: Anchor) -> Drawn {
        let position = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let line = text::clean(line);
        if line.is_empty() {
            return Ok(());
        }
        self.area.draw(&Text::new(line, at(place), style(size, color).pos(Pos::new(position, VPos::Center))))
    }

    pub(crate) fn line(&self, points: &[(f64, f64)], color: RGBColor, opacity: f64, width: f64) -> Drawn {
        if points.len() < 2 {
            return Ok(());
        }
        let points: Vec<(i32, i32)> = points.iter().map(|p| at(*p)).collect();
        self.area.draw(&PathElement::new(points, stroke(color, opacity, width)))
    }

    /// A horizontal line of short dashes.
    pub(crate) fn dashed(&self, left: f64, right: f64, y: f64, color: RGBColor) -> Drawn {
        let mut x = left;
        while x < right {
            self.line(&[(x, y), ((x + 4.0).min(right), y)], color, 1.0, 1.4)?;
            x += 9.0;
        }
        Ok(())
    }

    /// A vertical line of short dashes.
    pub(crate) fn dashed_down(&self, x: f64, top: f64, bottom: f64, color: RGBColor) -> Drawn {
        let mut y = top;
        while y < bottom {
            self.line(&[(x, y), (x, (y + 4.0).min(bottom))], color, 1.0, 1.4)?;
            y += 9.0;
        }
        Ok(())
    }

    pub(crate) fn disc(&self, center: (f64, f64), radius: f64, color: RGBColor) -> Drawn {
        self.area.draw(&Circle::new(at(center), px(radius), color.filled()))
    }

    pub(crate) fn ring(&self, center: (f64, f64), radius: f64, color: RGBColor, width: f64) -> Drawn {
        self.area.draw(&Circle::new(at(center), px(radius), stroke(color, 1.0, width)))
    }

    pub(crate) fn polygon(&self, points: &[(f64, f64)], color: RGBColor) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(|p| at(*p)).collect();
        self.area.draw(&Polygon::new(points, color.filled()))
    }

    /// A see-through area, for bands.
    pub(crate) fn shade(&self, points: &[(f64, f64)], color: RGBColor, opacity: f64) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(|p| at(*p)).collect();
        self.area.draw(&Polygon::new(points, color.mix(opacity).filled()))
    }

    /// A white diamond with a coloured edge.
    pub(crate) fn diamond(&self, (x, y): (f64, f64), radius: f64, color: RGBColor) -> Drawn {
        let r = radius;
        let corners = [(x, y - r), (x + r, y), (x, y + r), (x - r, y), (x, y - r)];
        self.polygon(&corners, WHITE)?;
        self.line(&corners, color, 1.0, 1.6)
    }

    pub(crate) fn fill(&self, rect: Rect, color: RGBColor, opacity: f64) -> Drawn {
        let corners = [at((rect.left, rect.top)), at((rect.right, rect.bottom))];
        self.area.draw(&Rectangle::new(corners, color.mix(opacity).filled()))
    }

    /// The mark of an experiment, `size` times as large as usual. Shapes differ as well as colours.
    pub(crate) fn mark(&self, (x, y): (f64, f64), verdict: Option<Verdict>, size: f64) -> Drawn {
        let r = mark_radius(verdict) * size;
        match verdict {
            Some(Verdict::Kept) => {
                self.disc((x, y), r + 1.0, WHITE)?;
                self.disc((x, y), r, GREEN)
            }
            Some(Verdict::Discarded) => self.disc((x, y), r, GREY),
            Some(Verdict::Inconclusive) => {
                self.disc((x, y), r, WHITE)?;
                self.ring((x, y), r, ORANGE, 1.8)
            }
            Some(Verdict::Crashed) => {
                self.line(&[(x - r, y - r), (x + r, y + r)], VERMILLION, 1.0, 2.0)?;
                self.line(&[(x - r, y + r), (x + r, y - r)], VERMILLION, 1.0, 2.0)
            }
            Some(Verdict::Unbuildable) => {
                let corners = [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r), (x - r, y - r)];
                self.line(&corners, MUTED, 1.0, 1.6)
            }
            Some(Verdict::Invalid) => {
                let r = r * 1.3;
                self.polygon(&[(x, y - r), (x + r, y), (x, y + r), (x - r, y)], PURPLE)
            }
            None => self.line(&[(x - r, y), (x + r, y)], GREY, 1.0, 2.0),
        }
    }

    /// An arrow head that stands for a mark beyond the top (or bottom) edge.
    pub(crate) fn beyond(&self, (x, y): (f64, f64), up: bool) -> Drawn {
        let tip = if up { -5.0 } else { 5.0 };
        self.polygon(&[(x - 4.5, y - tip), (x, y + tip), (x + 4.5, y - tip)], GREY)
    }

    /// An arrow head that stands for what goes on beyond the right (or left) edge.
    pub(crate) fn aside(&self, (x, y): (f64, f64), right: bool, color: RGBColor) -> Drawn {
        let tip = if right { 4.0 } else { -4.0 };
        self.polygon(&[(x - tip, y - 4.0), (x + tip, y), (x - tip, y + 4.0)], color)
    }

    /// Axes, grid and tick labels around `plot`, and the names of the axes: x below, y above.
    pub(crate) fn frame(&self, plot: Rect, x: Axis, y: Axis, names: (&str, &str)) -> Drawn<Frame> {
        // plotters draws ticks and their labels beside the plot; it gets the plot and what is left of and below it.
        let (beside, below) = (76.0, 28.0);
        let x = x.thinned(plot.width(), |label| text::width(label, SMALL_SIZE) + 10.0);
        // Only absurd numbers are too wide for the room beside the plot.
        let y = y.with_labels(|label| text::width(label, SMALL_SIZE) <= beside - 10.0);
        let below_name = text::fit(names.0, SMALL_SIZE, plot.width());
        let above_name = text::fit(names.1, SMALL_SIZE, plot.width() + 56.0);
        let size = (px(plot.width() + beside), px(plot.height() + below));
        let area = self.area.clone().shrink((px(plot.left - beside), px(plot.top)), size);
        let mut chart = ChartBuilder::on(&area)
            .y_label_area_size(px(beside))
            .x_label_area_size(px(below))
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .label_style(style(SMALL_SIZE, INK))
            .axis_style(stroke(GREY, 1.0, 1.0))
            .bold_line_style(stroke(GRID, 1.0, 1.0))
            .light_line_style(GRID.mix(0.0))
            .set_all_tick_mark_size(px(4.0))
            .draw()?;
        let middle = (plot.left + plot.right) / 2.0;
        self.text((middle, plot.bottom + 38.0), &below_name, SMALL_SIZE, MUTED, Anchor::Middle)?;
        self.text((plot.left - 56.0, plot.top - 16.0), &above_name, SMALL_SIZE, MUTED, Anchor::Left)?;
        Ok(Frame { plot, x, y })
    }
}

/// plotters writes a font size of `size / 1.24` into the SVG.
fn style(size: f64, color: RGBColor) -> TextStyle<'static> {
    (FONT_FAMILY, size * SCALE * 1.24).into_font().color(&color)
}

/// Half the size of an experiment's mark.
pub(crate) fn mark_radius(verdict: Option<Verdict>) -> f64 {
    match verdict {
        Some(Verdict::Kept) => 6.0,
        Some(Verdict::Discarded) => 3.5,
        _ => 4.0,
    }
}

/// A plot's place and its axes.
pub(crate) struct Frame {
    pub(crate) plot: Rect,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

impl Frame {
    /// Where a point lies on the picture; outside the plot where it is outside the axes.
    pub(crate) fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.plot.left + self.x.fraction(x) * self.plot.width(),
            self.plot.bottom - self.y.fraction(y) * self.plot.height(),
        )
    }

    /// A curve's pieces on the picture, cut off where they leave the plot at its top or bottom.
    pub(crate) fn clipped(&self, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let (top, bottom) = (self.plot.top, self.plot.bottom);
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        let placed: Vec<(f64, f64)> = points.iter().map(|p| self.place(*p)).collect();
        let mut joined = false;
        for pair in placed.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            if y0.max(y1) < top || y0.min(y1) > bottom {
                joined = false;
                continue;
            }
            let along = |y: f64| if y1 == y0 { x0 } else { x0 + (x1 - x0) * ((y - y0) / (y1 - y0)) };
            let cut = |x: f64, y: f64| {
                let inside = y.clamp(top, bottom);
                if inside == y { (x, y) } else { (along(inside), inside) }
            };
            if !joined {
                pieces.push(vec![cut(x0, y0)]);
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push(cut(x1, y1));
            }
            joined = (top..=bottom).contains(&y1);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_end_at_the_edge_of_the_plot() {
        let plot = Rect { left: 0.0, top: 0.0, right: 100.0, bottom: 100.0 };
        let frame = Frame { plot, x: Axis::new(0.0, 10.0, 5), y: Axis::new(0.0, 10.0, 5) };
        let pieces = frame.clipped(&[(0.0, 20.0), (2.0, 0.0), (4.0, 20.0), (6.0, 30.0), (8.0, 0.0), (10.0, -1e9)]);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0], [(10.0, 0.0), (20.0, 100.0), (30.0, 0.0)]);
        for (x, y) in pieces.concat() {
            assert!((0.0..=100.0).contains(&y) && (0.0..=100.0).contains(&x), "({x}, {y})");
        }
        assert!(frame.clipped(&[(0.0, 50.0), (1.0, 50.0)]).is_empty());
        assert!(frame.clipped(&[(0.0, 5.0)]).is_empty());
    }
}
