//! What the machine did when.

use plotters::style::RGBColor;

use crate::axis::{Axis, usable};
use crate::canvas::{
    Anchor, BLUE, Canvas, GREEN, GREY, GRID, INK, MUTED, ORANGE, PURPLE, SMALL_SIZE, TEXT_SIZE, VERMILLION,
};
use crate::labels::Rect;
use crate::picture::{Area, Drawn, HEIGHT, Picture, PictureError, WIDTH, picture};
use crate::plots::night_line;
use crate::text;
use crate::view::{NightView, SpanView, Stage};

const LANES: Rect = Rect { left: 112.0, top: 96.0, right: 880.0, bottom: 402.0 };
const SHARE: Rect = Rect { left: 112.0, top: 462.0, right: 880.0, bottom: 574.0 };
const WORDS: f64 = 898.0;
/// Faults that are told in words, and where.
const FAULTS: usize = 3;
const FAULTS_TOP: f64 = 640.0;
/// Stretches of the night for which the share of training is drawn.
const STRETCHES: usize = 96;
/// A later end of a night than this many minutes (a year) is no night's.
const LONGEST: f64 = 366.0 * 24.0 * 60.0;

/// The machine's night: a lane of bars for each stage, with its time, its share of the night and its longest span beside it; below,
/// the share of time in which a trial trained, stretch by stretch; the faults in words. `spans` in any order; what has no valid
/// beginning and end is left out, and what lies before the night's start is cut off.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn timeline(night: &NightView, spans: &[SpanView]) -> Result<Picture, PictureError> {
    let machine = Machine::of(night, spans);
    let title = machine.title();
    let description = format!("{} {}", machine.description(), night_line(night));
    picture("timeline", &title, &description, |area| draw(area, night, &machine, &title))
}

/// A span from a minute to a minute.
type Stretch = (f64, f64);

struct Machine<'a> {
    /// Minutes from the night's start to its end, or to the end of the last span.
    end: f64,
    /// By stage, each in order of its beginning.
    lanes: Vec<Lane<'a>>,
    /// Time in which nothing was recorded, in order.
    gaps: Vec<Stretch>,
}

struct Lane<'a> {
    stage: Stage,
    spans: Vec<(Stretch, &'a str)>,
    /// The same, with what overlaps joined.
    joined: Vec<Stretch>,
}

impl<'a> Machine<'a> {
    fn of(night: &NightView, spans: &'a [SpanView]) -> Self {
        let valid = |span: &&SpanView| {
            let (begin, end) = (span.begin_minutes, span.end_minutes);
            usable(begin) && usable(end) && begin <= end && (0.0..=LONGEST).contains(&end)
        };
        let mut valid: Vec<&SpanView> = spans.iter().filter(valid).collect();
        valid.sort_by(|a, b| a.begin_minutes.total_cmp(&b.begin_minutes).then(a.end_minutes.total_cmp(&b.end_minutes)));
        let whole = Some(night.seconds_total / 60.0).filter(|minutes| (0.0..=LONGEST).contains(minutes)).unwrap_or(0.0);
        let end = valid.iter().map(|span| span.end_minutes).fold(whole, f64::max);
        let stretch = |span: &SpanView| (span.begin_minutes.max(0.0), span.end_minutes);
        let lane = |stage: Stage| {
            let of_it = valid.iter().filter(|span| span.stage == stage);
            let spans: Vec<(Stretch, &str)> = of_it.map(|span| (stretch(span), span.label.as_str())).collect();
            Lane { stage, joined: joined(spans.iter().map(|(stretch, _)| *stretch), 0.0), spans }
        };
        let covered = joined(valid.iter().map(|span| stretch(span)), 0.0);
        Self { end, lanes: Stage::ALL.into_iter().map(lane).collect(), gaps: gaps(&covered, end) }
    }

    fn minutes_of(&self, stage: Stage) -> f64 {
        self.lanes.iter().filter(|lane| lane.stage == stage).map(|lane| total(&lane.joined)).sum()
    }

    fn title(&self) -> String {
        if self.end <= 0.0 {
            return "The machine's night".to_owned();
        }
        let share = 100.0 * self.minutes_of(Stage::Training) / self.end;
        format!("The machine's night: {} long, {share:.0} % of it training", text::duration(60.0 * self.end))
    }

    fn description(&self) -> String {
        let lanes = self.lanes.iter().filter(|lane| !lane.spans.is_empty());
        lanes.map(|lane| format!("{}: {}.", lane.stage.name(), self.amount(&lane.joined))).collect::<Vec<_>>().join(" ")
    }

    /// `6 h 12 min · 78 %`.
    fn amount(&self, stretches: &[Stretch]) -> String {
        let minutes = total(stretches);
        let share = if self.end > 0.0 { format!(" · {:.0} %", 100.0 * minutes / self.end) } else { String::new() };
        format!("{}{share}", text::duration(60.0 * minutes))
    }
}

/// Stretches in order of their beginnings, joined where they overlap or are no further apart than `apart`.
fn joined(stretches: impl Iterator<Item = Stretch>, apart: f64) -> Vec<Stretch> {
    let mut done: Vec<Stretch> = Vec::new();
    for (begin, end) in stretches {
        match done.last_mut() {
            Some(last) if begin <= last.1 + apart => last.1 = last.1.max(end),
            _ => done.push((begin, end)),
        }
    }
    done
}

fn gaps(covered: &[Stretch], end: f64) -> Vec<Stretch> {
    let begins = std::iter::once(0.0).chain(covered.iter().map(|stretch| stretch.1));
    let ends = covered.iter().map(|stretch| stretch.0).chain([end]);
    begins.zip(ends).filter(|(begin, end)| end > begin).collect()
}

fn total(stretches: &[Stretch]) -> f64 {
    stretches.iter().map(|(begin, end)| end - begin).sum()
}

/// The stretch that lasted longest; the first of several.
fn longest<T>(of: impl Iterator<Item = (Stretch, T)>) -> Option<(Stretch, T)> {
    of.reduce(|best, next| if next.0.1 - next.0.0 > best.0.1 - best.0.0 { next } else { best })
}

fn color(stage: Stage) -> RGBColor {
    match stage {
        Stage::Proposing => PURPLE,
        Stage::Building => ORANGE,
        Stage::Training => BLUE,
        Stage::Evaluating => GREEN,
        Stage::Waiting => GREY,
        Stage::Fault => VERMILLION,
    }
}

fn draw(area: &Area<'_>, night: &NightView, machine: &Machine<'_>, title: &str) -> Drawn {
    let canvas = Canvas::new(area, title, &night_line(night))?;
    if machine.end <= 0.0 {
        return canvas.text((WIDTH / 2.0, HEIGHT / 2.0), "nothing was recorded", TEXT_SIZE, MUTED, Anchor::Middle);
    }
    let (factor, unit) = match machine.end {
        minutes if minutes > 180.0 => (60.0, "hours from the night's start"),
        minutes if minutes > 3.0 => (1.0, "minutes from the night's start"),
        _ => (1.0 / 60.0, "seconds from the night's start"),
    };
    let x = Axis::new(0.0, machine.end / factor, 10);
    let frame = canvas.frame(LANES, x.clone(), Axis::bare(0.0, 1.0), ("", ""))?;
    let place = |minutes: f64| frame.place((minutes / factor, 0.0)).0;
    let height = LANES.height() / machine.lanes.len() as f64;
    for (i, lane) in machine.lanes.iter().enumerate() {
        let middle = LANES.top + height * (i as f64 + 0.5);
        if i > 0 {
            canvas.line(
                &[(LANES.left, middle - height / 2.0), (LANES.right, middle - height / 2.0)],
                GRID,
                1.0,
                1.0,
            )?;
        }
        canvas.text((LANES.left - 12.0, middle), lane.stage.name(), TEXT_SIZE, INK, Anchor::Right)?;
        bars(&canvas, lane, (middle, height * 0.3), place)?;
        words(&canvas, machine, lane, middle)?;
    }
    let names = (unit, "share of time in which a trial trained (%)");
    let below = canvas.frame(SHARE, x, Axis::new(0.0, 100.0, 3), names)?;
    let training = machine.lanes.iter().filter(|lane| lane.stage == Stage::Training);
    let training: Vec<Stretch> = training.flat_map(|lane| lane.joined.iter().copied()).collect();
    let steps: Vec<(f64, f64)> = shares(&training, machine.end)
        .into_iter()
        .flat_map(|((begin, end), share)| [(begin, share), (end, share)])
        .map(|(minutes, share)| below.place((minutes / factor, 100.0 * share)))
        .collect();
    let corners = [below.place((0.0, 0.0)), below.place((machine.end / factor, 0.0))];
    let outline: Vec<(f64, f64)> = [corners[0]].into_iter().chain(steps.iter().copied()).chain([corners[1]]).collect();
    canvas.shade(&outline, BLUE, 0.2)?;
    canvas.line(&steps, BLUE, 1.0, 1.6)?;
    beside(&canvas, machine)?;
    faults(&canvas, machine)
}

/// A lane's bars. What is so short or so near to the next that it cannot be told apart is one bar, so that a night of ten thousand
/// spans makes no more bars than there are pixels.
fn bars(canvas: &Canvas<'_, '_>, lane: &Lane<'_>, (middle, half): (f64, f64), place: impl Fn(f64) -> f64) -> Drawn {
    let color = color(lane.stage);
    let on_picture = lane.spans.iter().map(|((begin, end), _)| (place(*begin), place(*end)));
    // Neighbours are told apart by a gap where both are wide.
    let wide = |(left, right): Stretch| right - left > 4.0;
    let mut bars: Vec<Stretch> = Vec::new();
    for (left, right) in on_picture {
        match bars.last_mut() {
            Some(last) if left < last.1 + 0.75 && !(wide(*last) && wide((left, right)) && left >= last.1 - 0.25) => {
                last.1 = last.1.max(right);
            }
            _ => bars.push((left, right)),
        }
    }
    for (left, right) in bars {
        let right = if wide((left, right)) { right - 0.75 } else { right.max(left + 1.0) };
        canvas.fill(
            Rect { left, top: middle - half, right: right.min(LANES.right), bottom: middle + half },
            color,
            1.0,
        )?;
    }
    Ok(())
}

/// What stands beside a lane.
fn words(canvas: &Canvas<'_, '_>, machine: &Machine<'_>, lane: &Lane<'_>, middle: f64) -> Drawn {
    let room = WIDTH - 16.0 - WORDS;
    let Some(((begin, end), label)) = longest(lane.spans.iter().copied()) else {
        return canvas.text((WORDS, middle), "none", SMALL_SIZE, MUTED, Anchor::Left);
    };
    let amount = format!("{} · {}", machine.amount(&lane.joined), text::counted(lane.spans.len(), "span"));
    canvas.text((WORDS, middle - 9.5), &text::fit(&amount, SMALL_SIZE, room), SMALL_SIZE, INK, Anchor::Left)?;
    let longest = format!("longest {}", text::duration(60.0 * (end - begin)));
    let longest = if text::clean(label).is_empty() { longest } else { format!("{longest}: {label}") };
    canvas.text((WORDS, middle + 9.5), &text::fit(&longest, SMALL_SIZE, room), SMALL_SIZE, MUTED, Anchor::Left)
}

/// What stands beside the share of training: how long nothing was recorded.
fn beside(canvas: &Canvas<'_, '_>, machine: &Machine<'_>) -> Drawn {
    let room = WIDTH - 16.0 - WORDS;
    let mut lines = vec![format!("nothing recorded {}", machine.amount(&machine.gaps))];
    if let Some(((begin, end), ())) = longest(machine.gaps.iter().map(|gap| (*gap, ()))) {
        lines.push(format!("longest {}, at {}", text::duration(60.0 * (end - begin)), text::duration(60.0 * begin)));
    }
    for (i, line) in lines.iter().enumerate() {
        let y = SHARE.top + 12.0 + 20.0 * i as f64;
        canvas.text((WORDS, y), &text::fit(line, SMALL_SIZE, room), SMALL_SIZE, MUTED, Anchor::Left)?;
    }
    Ok(())
}

/// The longest faults in words, in order.
fn faults(canvas: &Canvas<'_, '_>, machine: &Machine<'_>) -> Drawn {
    let Some(lane) = machine.lanes.iter().find(|lane| lane.stage == Stage::Fault && !lane.spans.is_empty()) else {
        return canvas.text((20.0, FAULTS_TOP), "No fault of the machine.", SMALL_SIZE, MUTED, Anchor::Left);
    };
    let mut told = lane.spans.clone();
    told.sort_by(|a, b| (b.0.1 - b.0.0).total_cmp(&(a.0.1 - a.0.0)));
    let more = told.len().saturating_sub(FAULTS);
    told.truncate(FAULTS);
    told.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    for (i, ((begin, end), label)) in told.iter().enumerate() {
        let more = if i + 1 == told.len() && more > 0 { format!(" (and {more} shorter)") } else { String::new() };
        let head =
            format!("Fault at {}, {} long: ", text::duration(60.0 * begin), text::duration(60.0 * (end - begin)));
        let room = WIDTH - 40.0 - text::width(&head, SMALL_SIZE) - text::width(&more, SMALL_SIZE);
        let line = format!("{head}{}{more}", text::fit(label, SMALL_SIZE, room));
        canvas.text((20.0, FAULTS_TOP + 20.0 * i as f64), &line, SMALL_SIZE, INK, Anchor::Left)?;
    }
    Ok(())
}

/// The share of each stretch of the night that is covered.
fn shares(covered: &[Stretch], end: f64) -> Vec<(Stretch, f64)> {
    let step = end / STRETCHES as f64;
    (0..STRETCHES)
        .map(|i| {
            let (from, to) = (step * i as f64, step * (i + 1) as f64);
            let inside: f64 = covered.iter().map(|(begin, end)| (end.min(to) - begin.max(from)).max(0.0)).sum();
            ((from, to), (inside / step).clamp(0.0, 1.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(stage: Stage, begin_minutes: f64, end_minutes: f64) -> SpanView {
        SpanView { stage, begin_minutes, end_minutes, label: String::new() }
    }

    #[test]
    fn overlaps_count_once_and_gaps_are_found() {
        let spans = [
            span(Stage::Training, 4.0, 8.0),
            span(Stage::Training, -1.0, 5.0),
            span(Stage::Building, 7.0, 9.0),
            span(Stage::Training, 12.0, 14.0),
            span(Stage::Training, 20.0, 19.0),
            span(Stage::Training, f64::NAN, 19.0),
            span(Stage::Training, 1.0, f64::INFINITY),
        ];
        let night = NightView { seconds_total: 16.0 * 60.0, ..NightView::default() };
        let machine = Machine::of(&night, &spans);
        assert_eq!(machine.minutes_of(Stage::Training), 10.0);
        assert_eq!(machine.gaps, [(9.0, 12.0), (14.0, 16.0)]);
        assert_eq!(machine.title(), "The machine's night: 16 min long, 62 % of it training");
        let training = &machine.lanes[2];
        let of_two = shares(&training.joined, 16.0);
        let found: f64 = of_two.iter().map(|((from, to), share)| (to - from) * share).sum();
        assert!((found - 10.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_night_of_a_hundred_thousand_spans_makes_a_small_picture() {
        let spans: Vec<SpanView> =
            (0..100_000).map(|i| span(Stage::ALL[i % 6], 0.005 * i as f64, 0.005 * i as f64 + 0.002)).collect();
        let picture = timeline(&NightView::default(), &spans).unwrap();
        assert!(picture.svg.len() < 1_000_000, "{} bytes", picture.svg.len());
    }
}
