//! The recipe's numbers of all experiments beside each other.

use std::collections::{BTreeMap, BTreeSet};

use plotters::style::RGBColor;

use crate::axis::{robust_range, usable};
use crate::canvas::{Anchor, BLUE, Canvas, GREEN, GREY, INK, MUTED, SMALL_SIZE, TEXT_SIZE};
use crate::labels;
use crate::legend::{Sample, legend};
use crate::picture::{Area, Drawn, HEIGHT, Picture, PictureError, WIDTH, picture};
use crate::plots::night_line;
use crate::text;
use crate::view::{NightView, RecipeView, Verdict};

/// More axes than this cannot be read; the numbers that most experiments changed are shown.
const AXES: usize = 9;
const TOP: f64 = 196.0;
const BOTTOM: f64 = 612.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 1060.0;
/// From this ratio of the largest value to the smallest on, an axis is logarithmic.
const LOGARITHMIC_FROM: f64 = 20.0;

/// Parallel coordinates: an axis for each number of the recipe in which experiments differ (at most nine, those that most experiments
/// changed) and one for the metric; a line for each measured experiment, in colour where it was kept. The metric is where the
/// experiment stands when equal seeds are compared, lower is better. Axes are logarithmic where the values span a factor of 20.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn parallel(night: &NightView, recipes: &[RecipeView]) -> Result<Picture, PictureError> {
    let lines = lines(night, recipes);
    let names = names(&lines);
    let title = "The recipe's numbers and what came of them".to_owned();
    let subtitle = subtitle(&lines, &names);
    let description = format!("{subtitle}. {}", night_line(night));
    picture("parallel coordinates", &title, &description, |area| draw(area, night, &lines, &names, (&title, &subtitle)))
}

struct Line<'a> {
    number: u32,
    /// The recipe that it changed, where that is known.
    changed: Option<&'a BTreeMap<String, f64>>,
    kept: bool,
    champion: bool,
    numbers: &'a BTreeMap<String, f64>,
    level: f64,
}

impl Line<'_> {
    fn rank(&self) -> u8 {
        match (self.champion, self.number, self.kept) {
            (true, ..) => 3,
            (false, 0, _) => 2,
            (false, _, true) => 1,
            _ => 0,
        }
    }
}

/// Every measured experiment whose recipe is known, and the night's start; the most important last, on top.
fn lines<'a>(night: &NightView, recipes: &'a [RecipeView]) -> Vec<Line<'a>> {
    let recipe_of: BTreeMap<u32, &RecipeView> = recipes.iter().map(|recipe| (recipe.experiment, recipe)).collect();
    let measured = night.experiments.iter().filter(|e| !night.leaves_out(e)).filter_map(|e| {
        let measured = e.counted().is_some_and(Verdict::is_measured);
        let level = e.level.or(e.val_bpb).filter(|level| measured && usable(*level))?;
        let champion = recipe_of.get(&e.champion_number).filter(|champion| champion.experiment != e.number);
        Some((e.number, e.is_kept(), level, champion.map(|champion| &champion.numbers)))
    });
    let start = night.baseline.filter(|value| usable(*value)).map(|value| (0, false, value, None));
    let mut lines: Vec<Line<'a>> = start
        .into_iter()
        .chain(measured)
        .filter_map(|(number, kept, level, changed)| {
            let numbers = &recipe_of.get(&number)?.numbers;
            Some(Line { number, changed, kept, champion: number == night.champion_number, numbers, level })
        })
        .collect();
    lines.sort_by_key(|line| (line.rank(), line.number));
    lines
}

/// The numbers in which the lines differ, those that most experiments changed from their champion's first.
fn names<'a>(lines: &[Line<'a>]) -> Vec<&'a str> {
    let all: BTreeSet<&'a str> = lines.iter().flat_map(|line| line.numbers.keys()).map(String::as_str).collect();
    let mut counted: Vec<(usize, &str)> = all
        .into_iter()
        .filter(|name| {
            let mut values = lines.iter().filter_map(|line| value(line, name));
            values.next().is_some_and(|first| values.any(|other| other != first))
        })
        .map(|name| (lines.iter().filter(|line| changes(line, name)).count(), name))
        .collect();
    counted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    counted.into_iter().map(|(_, name)| name).collect()
}

/// Whether an experiment changed a number of its champion's recipe.
fn changes(line: &Line<'_>, name: &str) -> bool {
    let before = line.changed.map(|numbers| numbers.get(name).copied().filter(|value| usable(*value)));
    before.is_some_and(|before| before != value(line, name))
}

fn value(line: &Line<'_>, name: &str) -> Option<f64> {
    line.numbers.get(name).copied().filter(|value| usable(*value))
}

fn subtitle(lines: &[Line<'_>], names: &[&str]) -> String {
    let more = match names.len() {
        0..=AXES => String::new(),
        count => format!(" · the {AXES} of {count} changed numbers that most experiments changed"),
    };
    let count = lines.iter().filter(|line| line.number > 0).count();
    format!("{}{more}", text::counted(count, "measured experiment"))
}

/// One axis: a value's part of the way from the bottom to the top.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { low, high, logarithmic: low > 0.0 && high / low >= LOGARITHMIC_FROM }
    }

    fn part(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let part = (scaled(value) - scaled(self.low)) / (scaled(self.high) - scaled(self.low));
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.5 }
    }
}

fn y(part: f64) -> f64 {
    BOTTOM - part * (BOTTOM - TOP)
}

fn draw(
    area: &Area<'_>,
    night: &NightView,
    lines: &[Line<'_>],
    names: &[&str],
    (title, subtitle): (&str, &str),
) -> Drawn {
    let canvas = Canvas::new(area, title, subtitle)?;
    let names = &names[..names.len().min(AXES)];
    let must: Vec<f64> = lines.iter().filter(|line| line.rank() > 0).map(|line| line.level).collect();
    let may: Vec<f64> = lines.iter().map(|line| line.level).collect();
    let Some((low, high)) = robust_range(&must, &may).filter(|_| !names.is_empty()) else {
        let message = "too little data: no two measured experiments differ in a number of the recipe";
        return canvas.text((WIDTH / 2.0, HEIGHT / 2.0), message, TEXT_SIZE, MUTED, Anchor::Middle);
    };
    let metric = Scale { low, high, logarithmic: false };
    let scales: Vec<Scale> = names
        .iter()
        .map(|name| Scale::of(&lines.iter().filter_map(|line| value(line, name)).collect::<Vec<f64>>()))
        .collect();
    let apart = (RIGHT - LEFT) / names.len() as f64;
    let x = |i: usize| LEFT + apart * i as f64;

    for line in lines {
        let (color, opacity, width) = style(line);
        let places: Vec<Option<(f64, f64)>> = names
            .iter()
            .zip(&scales)
            .enumerate()
            .map(|(i, (name, scale))| value(line, name).map(|value| (x(i), y(scale.part(value)))))
            .chain([Some((RIGHT, y(metric.part(line.level))))])
            .collect();
        // Where a number is missing the line is broken.
        for piece in places.split(Option::is_none) {
            let piece: Vec<(f64, f64)> = piece.iter().copied().flatten().collect();
            canvas.line(&piece, color, opacity, width)?;
        }
    }
    for (i, (name, scale)) in names.iter().zip(&scales).enumerate() {
        let ends = (text::plain(scale.low), text::plain(scale.high));
        // Names of the recipe are words joined by underscores, which is where they are broken.
        let name = name.replace('_', " ");
        let name = if scale.logarithmic { format!("{name} (log)") } else { name };
        axis(&canvas, x(i), apart, &name, (&ends.0, &ends.1))?;
    }
    let unit = if night.metric_unit.is_empty() { String::new() } else { format!(" ({})", night.metric_unit) };
    let ends = (text::metric(Some(low)), text::metric(Some(high)));
    axis(&canvas, RIGHT, apart.min(150.0), &format!("{}{unit}", night.metric), (&ends.0, &ends.1))?;
    ends_of(&canvas, lines, &metric)?;
    key(&canvas, lines, lines.iter().any(|line| !(low..=high).contains(&line.level)))
}

fn style(line: &Line<'_>) -> (RGBColor, f64, f64) {
    match line.rank() {
        3 => (BLUE, 1.0, 2.6),
        2 => (INK, 1.0, 2.0),
        1 => (GREEN, 0.85, 1.6),
        _ => (GREY, 0.4, 1.0),
    }
}

/// An axis with its name above, broken over lines, and the values at its ends.
fn axis(canvas: &Canvas<'_, '_>, x: f64, apart: f64, name: &str, (low, high): (&str, &str)) -> Drawn {
    let room = apart.min(2.0 * LEFT) - 8.0;
    canvas.line(&[(x, TOP), (x, BOTTOM)], INK, 1.0, 1.2)?;
    let fit = |words: &str| text::fit(words, SMALL_SIZE, room);
    canvas.text((x, TOP - 14.0), &fit(high), SMALL_SIZE, INK, Anchor::Middle)?;
    canvas.text((x, BOTTOM + 16.0), &fit(low), SMALL_SIZE, INK, Anchor::Middle)?;
    let lines = text::wrap(name, SMALL_SIZE, room, 3);
    for (i, line) in lines.iter().enumerate() {
        let up = (lines.len() - 1 - i) as f64 * 17.0;
        canvas.text((x, TOP - 36.0 - up), line, SMALL_SIZE, MUTED, Anchor::Middle)?;
    }
    Ok(())
}

/// Where start and champion end.
fn ends_of(canvas: &Canvas<'_, '_>, lines: &[Line<'_>], metric: &Scale) -> Drawn {
    let named: Vec<(f64, String, RGBColor)> = lines
        .iter()
        .filter(|line| line.rank() >= 2)
        .map(|line| {
            let name = if line.number == 0 { "start".to_owned() } else { format!("#{} champion", line.number) };
            (y(metric.part(line.level)), name, style(line).0)
        })
        .collect();
    let places = labels::spread(&named.iter().map(|n| n.0).collect::<Vec<f64>>(), 17.0, TOP, BOTTOM);
    for ((_, name, color), y) in named.iter().zip(places) {
        let name = text::fit(name, SMALL_SIZE, WIDTH - RIGHT - 22.0);
        canvas.text((RIGHT + 10.0, y), &name, SMALL_SIZE, *color, Anchor::Left)?;
    }
    Ok(())
}

fn key(canvas: &Canvas<'_, '_>, lines: &[Line<'_>], outside: bool) -> Drawn {
    let has = |rank: u8| lines.iter().filter(|line| line.rank() == rank).count();
    let mut entries = Vec::new();
    for (rank, sample, name) in [
        (3, Sample::Line(BLUE, 2.6), "champion"),
        (2, Sample::Line(INK, 2.0), "start of the night"),
        (1, Sample::Line(GREEN, 1.6), "kept"),
        (0, Sample::Line(GREY, 1.0), "not kept"),
    ] {
        match has(rank) {
            0 => {}
            1 if rank >= 2 => entries.push((sample, name.to_owned())),
            count => entries.push((sample, format!("{name} {count}"))),
        }
    }
    legend(canvas, (20.0, 88.0), WIDTH - 20.0, &entries)?;
    let note = "The metric's axis: below is better.";
    let note = if outside { format!("{note} What lies outside its ends is drawn at them.") } else { note.to_owned() };
    canvas.text((20.0, 676.0), &note, SMALL_SIZE, MUTED, Anchor::Left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ExperimentView;

    #[test]
    fn the_numbers_that_most_changed_are_shown_and_constant_ones_are_not() {
        let mut night = NightView { baseline: Some(1.9), ..NightView::default() };
        let mut recipes = vec![];
        for number in 0..6u32 {
            let kind = f64::from(number);
            let numbers = [("same", 4.0), ("often", kind), ("once", f64::from(number == 3)), ("bad", f64::NAN)];
            let numbers = numbers.map(|(name, value)| (name.to_owned(), value)).into();
            recipes.push(RecipeView { experiment: number, numbers, other_changes: false });
            if number > 0 {
                let verdict = Some(if number == 5 { Verdict::Crashed } else { Verdict::Discarded });
                let level = Some(1.9 + 0.01 * kind);
                night.experiments.push(ExperimentView { number, verdict, level, ..ExperimentView::default() });
            }
        }
        let lines = lines(&night, &recipes);
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<u32>>(), [1, 2, 3, 4, 0]);
        assert_eq!(names(&lines), ["often", "once"]);
    }

    #[test]
    fn what_a_champion_brought_was_changed_once() {
        // The first experiment was kept: the others have its depth too, and changed the rate.
        let recipe = |experiment, depth, rate| RecipeView {
            experiment,
            numbers: [("depth".to_owned(), depth), ("rate".to_owned(), rate)].into(),
            other_changes: false,
        };
        let recipes = [recipe(0, 4.0, 0.1), recipe(1, 5.0, 0.1), recipe(2, 5.0, 0.2), recipe(3, 5.0, 0.3)];
        let experiment = |number, champion_number| ExperimentView {
            number,
            champion_number,
            verdict: Some(if number == 1 { Verdict::Kept } else { Verdict::Discarded }),
            level: Some(1.9),
            ..ExperimentView::default()
        };
        let experiments = vec![experiment(1, 0), experiment(2, 1), experiment(3, 1)];
        let night = NightView { baseline: Some(1.9), experiments, ..NightView::default() };
        assert_eq!(names(&lines(&night, &recipes)), ["rate", "depth"]);
    }

    #[test]
    fn wide_ranges_are_logarithmic() {
        let scale = Scale::of(&[0.001, 0.01, 0.1]);
        assert!(scale.logarithmic && (scale.part(0.01) - 0.5).abs() < 1e-9);
        assert!(!Scale::of(&[0.0, 100.0]).logarithmic);
        assert_eq!(Scale::of(&[2.0]).part(2.0), 0.5);
    }
}
