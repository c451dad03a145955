//! How the champion's runs varied over the night.

use plotters::style::RGBColor;

use crate::axis::{Axis, robust_range, usable};
use crate::canvas::{Anchor, BLUE, Canvas, Frame, GREY, INK, MUTED, SMALL_SIZE, TEXT_SIZE, VERMILLION};
use crate::labels::{self, Labelled, Rect};
use crate::legend::{Sample, legend};
use crate::picture::{Area, Drawn, HEIGHT, Picture, PictureError, WIDTH, picture};
use crate::plots::{metric_name, night_line};
use crate::text;
use crate::view::{NightView, RunView};

const VALUES: Rect = Rect { left: 96.0, top: 156.0, right: WIDTH - 40.0, bottom: 408.0 };
const DEVIATIONS: Rect = Rect { left: 96.0, top: 466.0, right: WIDTH - 40.0, bottom: 592.0 };
const ERAS_Y: f64 = 118.0;
/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_964;
/// With fewer degrees of freedom nothing is said of a drift.
const LEAST_DEGREES: usize = 3;

/// The champions' runs over the night: above each run's metric around its champion's mean, with the band in which 95 % of its runs
/// are to be expected; below the same as differences from that mean, where a drift of the machine would show as a slope. A champion's
/// runs in different eras (between two the machine changed) have means of their own. `runs` in any order.
///
/// The drift is the slope of a least-squares line through runs that one commit repeated under one seed, with a level of its own for each such
/// commit, seed and era: every champion is run under the same seeds in about the same order, so that neither better champions nor what a seed
/// does to all of them may look like drift. Its interval is Student's with as many degrees of freedom as are left.
///
/// # Errors
/// Only where the build is broken, see [`PictureError`].
pub fn drift(night: &NightView, runs: &[RunView]) -> Result<Picture, PictureError> {
    let drift = slope(&repeats(runs));
    let groups = groups(runs);
    let title = "Noise and drift: the champions' runs".to_owned();
    let subtitle = subtitle(night, &groups, drift);
    let description = format!("{subtitle}. {}", night_line(night));
    picture("noise and drift", &title, &description, |area| draw(area, night, &groups, drift, (&title, &subtitle)))
}

/// A sentence for the person where the machine drifted by more than its noise: where the interval of the slope that [`drift`] draws
/// holds no zero.
pub fn drift_warning(runs: &[RunView]) -> Option<String> {
    let repeats = repeats(runs);
    let found = slope(&repeats).filter(Slope::is_shown)?;
    let (over, change, bounds) = over(&repeats, found);
    Some(format!(
        "The machine drifted by more than its noise: the same code under the same seed changed by {change} over {over} (95 % interval \
         {bounds}). What was measured early and late in the night compares badly."
    ))
}

/// A slope over the time that was seen, in words: how long that is, the change, its interval. Per hour it would be a guess in a short night.
fn over(groups: &[Group], Slope { slope, half }: Slope) -> (String, String, String) {
    let hours = || groups.iter().flat_map(|group| group.runs.iter().map(|run| run.0));
    let seen = hours().fold(0.0, f64::max) - hours().fold(f64::INFINITY, f64::min);
    let bounds = text::interval((seen * (slope - half), seen * (slope + half)));
    (text::duration(3600.0 * seen), text::signed(Some(seen * slope)), bounds)
}

/// Runs of one commit in one era, in order.
struct Group {
    experiment: u32,
    era: u32,
    /// Hours from the night's start, and the metric.
    runs: Vec<(f64, f64)>,
    mean: f64,
}

/// Runs by champion and era.
fn groups(runs: &[RunView]) -> Vec<Group> {
    grouped(runs, |one, other| (one.experiment, one.era) == (other.experiment, other.era))
}

/// Runs by champion, era and seed: only these differ by nothing but the machine.
fn repeats(runs: &[RunView]) -> Vec<Group> {
    grouped(runs, |one, other| (one.experiment, one.era, one.seed) == (other.experiment, other.era, other.seed))
}

fn grouped(runs: &[RunView], same: impl Fn(&RunView, &RunView) -> bool) -> Vec<Group> {
    let mut runs: Vec<&RunView> =
        runs.iter().filter(|r| usable(r.minutes) && r.minutes >= 0.0 && usable(r.value)).collect();
    runs.sort_by(|a, b| a.minutes.total_cmp(&b.minutes).then(a.seed.cmp(&b.seed)));
    let mut groups: Vec<Group> = Vec::new();
    let mut firsts: Vec<&RunView> = Vec::new();
    for run in runs {
        let point = (run.minutes / 60.0, run.value);
        match firsts.iter().position(|first| same(first, run)) {
            Some(place) => groups[place].runs.push(point),
            None => {
                firsts.push(run);
                groups.push(Group { experiment: run.experiment, era: run.era, runs: vec![point], mean: 0.0 });
            }
        }
    }
    for group in &mut groups {
        group.mean = mean(group.runs.iter().map(|run| run.1));
    }
    groups
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// sd of one run around its group's mean; `None` where no group has two.
fn own_sd(groups: &[Group]) -> Option<f64> {
    let degrees: usize = groups.iter().map(|group| group.runs.len() - 1).sum();
    let squares: f64 = groups.iter().flat_map(|group| group.runs.iter().map(|run| (run.1 - group.mean).powi(2))).sum();
    (degrees > 0).then(|| (squares / degrees as f64).sqrt())
}

/// The night's own estimate, which knows earlier nights too, before that from the runs that are drawn.
fn run_sd(night: &NightView, groups: &[Group]) -> Option<f64> {
    let known = night.noise.map(|noise| noise.run_sd).filter(|sd| usable(*sd) && *sd > 0.0);
    known.or_else(|| own_sd(groups)).filter(|sd| usable(*sd))
}

/// A slope per hour with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slope {
    slope: f64,
    half: f64,
}

impl Slope {
    /// Whether it is told from none. A line that is not would look like a finding.
    fn is_shown(&self) -> bool {
        self.slope.abs() > self.half
    }
}

fn slope(groups: &[Group]) -> Option<Slope> {
    let (mut xx, mut xy, mut yy, mut count) = (0.0, 0.0, 0.0, 0usize);
    for group in groups {
        let middle = mean(group.runs.iter().map(|run| run.0));
        for (x, y) in &group.runs {
            let (x, y) = (x - middle, y - group.mean);
            (xx, xy, yy, count) = (xx + x * x, xy + x * y, yy + y * y, count + 1);
        }
    }
    let degrees = count.checked_sub(groups.len() + 1).filter(|degrees| *degrees >= LEAST_DEGREES)?;
    let slope = xy / xx;
    let error = ((yy - slope * xy).max(0.0) / degrees as f64 / xx).sqrt();
    let half = error * student(degrees as f64);
    (xx > 1e-9 && usable(slope) && usable(half)).then_some(Slope { slope, half })
}

/// The 97.5 % point of Student's distribution by its expansion around the normal one (Abramowitz and Stegun 26.7.5); from three
/// degrees on it is off by less than one in a hundred.
fn student(degrees: f64) -> f64 {
    let powers = |coefficients: &[(f64, i32)]| coefficients.iter().map(|(c, p)| c * Z.powi(*p)).sum::<f64>();
    Z + powers(&[(1.0, 3), (1.0, 1)]) / (4.0 * degrees)
        + powers(&[(5.0, 5), (16.0, 3), (3.0, 1)]) / (96.0 * degrees.powi(2))
        + powers(&[(3.0, 7), (19.0, 5), (17.0, 3), (-15.0, 1)]) / (384.0 * degrees.powi(3))
}

fn subtitle(night: &NightView, groups: &[Group], drift: Option<Slope>) -> String {
    let count: usize = groups.iter().map(|group| group.runs.len()).sum();
    if count == 0 {
        return "No run of a champion was measured".to_owned();
    }
    let sd = match run_sd(night, groups) {
        Some(sd) => format!("sd of one run {}", text::metric(Some(sd))),
        None => "no champion has two runs, so the noise is not known".to_owned(),
    };
    let drift = match drift {
        Some(found) => {
            let shown = if found.is_shown() { "it drifts" } else { "no drift shown" };
            let (over, change, bounds) = over(groups, found);
            format!("{shown}: {change} over {over} (95 % interval {bounds})")
        }
        None => "too few runs repeated to tell a drift".to_owned(),
    };
    format!("{} · {sd} · {drift}", text::counted(count, "run"))
}

fn draw(
    area: &Area<'_>,
    night: &NightView,
    groups: &[Group],
    drift: Option<Slope>,
    (title, subtitle): (&str, &str),
) -> Drawn {
    let canvas = Canvas::new(area, title, subtitle)?;
    let sd = run_sd(night, groups);
    let half = sd.map_or(0.0, |sd| Z * sd);
    let bands: Vec<f64> = groups.iter().flat_map(|group| [group.mean - half, group.mean + half]).collect();
    let values: Vec<f64> = groups.iter().flat_map(|group| group.runs.iter().map(|run| run.1)).collect();
    let Some((low, high)) = robust_range(&[], &[bands, values].concat()) else {
        let message = "no run of a champion was measured";
        return canvas.text((WIDTH / 2.0, HEIGHT / 2.0), message, TEXT_SIZE, MUTED, Anchor::Middle);
    };
    let last = groups.iter().flat_map(|group| group.runs.iter().map(|run| run.0)).fold(0.0, f64::max);
    let end = Some(night.seconds_total / 3600.0).filter(|hours| usable(*hours)).unwrap_or(0.0).max(last).max(1e-3);
    let (factor, unit) =
        if end > 3.0 { (1.0, "hours from the night's start") } else { (60.0, "minutes from the night's start") };
    let x = Axis::new(0.0, end * factor * 1.01, 10);
    let room = (high - low).max(high.abs() * 1e-4) * 0.08;
    let frame = canvas.frame(VALUES, x.clone(), Axis::new(low - room, high + room, 6), ("", &metric_name(night)))?;
    let mut outside = levels(&canvas, &frame, groups, half, (end, factor))?;

    let deviations: Vec<f64> =
        groups.iter().flat_map(|group| group.runs.iter().map(|run| run.1 - group.mean)).collect();
    let (low, high) = robust_range(&[-half, half], &deviations).unwrap_or((-half, half));
    let room = (high - low).max(1e-4) * 0.1;
    let name = match night.metric_unit.as_str() {
        "" => "difference from its champion's mean".to_owned(),
        unit => format!("difference from its champion's mean ({})", text::fit(unit, SMALL_SIZE, 300.0)),
    };
    let below = canvas.frame(DEVIATIONS, x, Axis::new(low - room, high + room, 4), (unit, &name))?;
    let drift = drift.filter(Slope::is_shown);
    outside |= differences(&canvas, &below, groups, half, factor, drift)?;
    eras(&canvas, groups, &frame, factor)?;
    key(&canvas, groups, sd.is_some(), drift.is_some(), outside)
}

/// Neighbours differ in colour and in shape.
fn color(index: usize) -> RGBColor {
    if index.is_multiple_of(2) { BLUE } else { VERMILLION }
}

fn mark(canvas: &Canvas<'_, '_>, frame: &Frame, value: (f64, f64), index: usize) -> Drawn<bool> {
    let (x, y) = frame.place(value);
    let plot = frame.plot;
    if !(plot.top..=plot.bottom).contains(&y) {
        canvas.beyond((x, y.clamp(plot.top + 7.0, plot.bottom - 7.0)), y < plot.top)?;
        return Ok(true);
    }
    if index.is_multiple_of(2) {
        canvas.disc((x, y), 4.0, BLUE)?
    } else {
        canvas.diamond((x, y), 4.5, VERMILLION)?
    }
    Ok(false)
}

fn band(
    canvas: &Canvas<'_, '_>,
    plot: Rect,
    (left, right): (f64, f64),
    (top, bottom): (f64, f64),
    color: RGBColor,
) -> Drawn {
    let (top, bottom) = (top.max(plot.top), bottom.min(plot.bottom));
    if top < bottom { canvas.fill(Rect { left, top, right, bottom }, color, 0.15) } else { Ok(()) }
}

/// The upper plot; whether a run lies outside of it.
fn levels(
    canvas: &Canvas<'_, '_>,
    frame: &Frame,
    groups: &[Group],
    half: f64,
    (end, factor): (f64, f64),
) -> Drawn<bool> {
    let mut items = Vec::new();
    let mut names = Vec::new();
    let mut obstacles = Vec::new();
    let mut outside = false;
    for (i, group) in groups.iter().enumerate() {
        let from = group.runs.first().map_or(0.0, |run| run.0);
        // A champion's level holds until the next one's first run, and as long as it was run itself.
        let until = groups.get(i + 1).and_then(|next| next.runs.first()).map_or(end, |run| run.0);
        let until = group.runs.last().map_or(until, |run| run.0.max(until));
        let ((left, middle), (right, _)) =
            (frame.place((from * factor, group.mean)), frame.place((until * factor, 0.0)));
        let (top, bottom) = (frame.place((0.0, group.mean + half)).1, frame.place((0.0, group.mean - half)).1);
        band(canvas, frame.plot, (left, right), (top, bottom), color(i))?;
        if (frame.plot.top..=frame.plot.bottom).contains(&middle) {
            canvas.line(&[(left, middle), (right, middle)], color(i), 1.0, 1.4)?;
            obstacles.push(Rect { left, top: middle - 1.5, right, bottom: middle + 1.5 });
        }
        let name = if group.experiment == 0 { "start".to_owned() } else { format!("#{}", group.experiment) };
        let size = (text::width(&name, SMALL_SIZE) + 2.0, SMALL_SIZE + 2.0);
        items.push(Labelled {
            at: ((left + right) / 2.0, middle.clamp(frame.plot.top, frame.plot.bottom)),
            radius: 3.0,
            size,
        });
        names.push(name);
        obstacles.extend(group.runs.iter().map(|run| Rect::around(frame.place((run.0 * factor, run.1)), 6.5)));
    }
    for (i, group) in groups.iter().enumerate() {
        for run in &group.runs {
            outside |= mark(canvas, frame, (run.0 * factor, run.1), i)?;
        }
    }
    for (placed, name) in labels::place(&items, &obstacles, frame.plot).iter().zip(&names) {
        // A name far from its level would be taken for another's.
        let Some(placed) = placed.filter(|placed| placed.leader.is_none()) else { continue };
        canvas.text(placed.rect.center(), name, SMALL_SIZE, INK, Anchor::Middle)?;
    }
    Ok(outside)
}

/// The lower plot; whether a run lies outside of it.
fn differences(
    canvas: &Canvas<'_, '_>,
    frame: &Frame,
    groups: &[Group],
    half: f64,
    factor: f64,
    drift: Option<Slope>,
) -> Drawn<bool> {
    let plot = frame.plot;
    let (top, bottom) = (frame.place((0.0, half)).1, frame.place((0.0, -half)).1);
    band(canvas, plot, (plot.left, plot.right), (top, bottom), GREY)?;
    let zero = frame.place((0.0, 0.0)).1;
    canvas.line(&[(plot.left, zero), (plot.right, zero)], INK, 1.0, 1.0)?;
    let mut outside = false;
    for (i, group) in groups.iter().enumerate() {
        for run in &group.runs {
            outside |= mark(canvas, frame, (run.0 * factor, run.1 - group.mean), i)?;
        }
    }
    // A piece for each champion: the points under it are differences from that one's mean.
    for group in groups.iter().filter(|_| drift.is_some()) {
        let slope = drift.map_or(0.0, |drift| drift.slope);
        let middle = mean(group.runs.iter().map(|run| run.0));
        let at = |hours: f64| (hours * factor, slope * (hours - middle));
        let (Some(first), Some(last)) = (group.runs.first(), group.runs.last()) else { continue };
        for piece in frame.clipped(&[at(first.0), at(last.0)]) {
            canvas.line(&piece, INK, 1.0, 2.0)?;
        }
    }
    Ok(outside)
}

/// Where eras begin, and their names where there is room.
fn eras(canvas: &Canvas<'_, '_>, groups: &[Group], frame: &Frame, factor: f64) -> Drawn {
    let mut begins: Vec<(u32, f64)> = Vec::new();
    for group in groups {
        let from = group.runs.first().map_or(0.0, |run| run.0);
        if begins.iter().all(|(era, _)| *era != group.era) {
            begins.push((group.era, from));
        }
    }
    let mut free_from = 0.0;
    for (i, (era, from)) in begins.iter().enumerate().filter(|_| begins.len() > 1) {
        let x = if i == 0 { frame.plot.left } else { frame.place((from * factor, 0.0)).0 - 5.0 };
        if i > 0 {
            canvas.dashed_down(x, VALUES.top, VALUES.bottom, MUTED)?;
            canvas.dashed_down(x, DEVIATIONS.top, DEVIATIONS.bottom, MUTED)?;
        }
        let name = format!("era {era}");
        let width = text::width(&name, SMALL_SIZE);
        if x >= free_from && x + width <= WIDTH - 8.0 {
            canvas.text((x, ERAS_Y), &name, SMALL_SIZE, MUTED, Anchor::Left)?;
            free_from = x + width + 10.0;
        }
    }
    Ok(())
}

fn key(canvas: &Canvas<'_, '_>, groups: &[Group], has_band: bool, has_drift: bool, outside: bool) -> Drawn {
    let mut entries = vec![(Sample::Disc(BLUE), "a run of the champion".to_owned())];
    if groups.len() > 1 {
        entries.push((Sample::Diamond(VERMILLION), "of the next one, in turn".to_owned()));
    }
    if has_band {
        entries.push((Sample::Area(GREY, 0.3), "95 % of its runs, as seeds vary".to_owned()));
    }
    if has_drift {
        entries.push((Sample::Line(INK, 2.0), "drift".to_owned()));
    }
    if groups.iter().any(|group| Some(group.era) != groups.first().map(|first| first.era)) {
        entries.push((Sample::Dashes(MUTED), "the machine changed".to_owned()));
    }
    if outside {
        entries.push((Sample::Beyond, "far outside".to_owned()));
    }
    legend(canvas, (20.0, 88.0), WIDTH - 20.0, &entries)?;
    let note = "A mark outside its band is no fault: one run in twenty is.";
    canvas.text((20.0, 676.0), note, SMALL_SIZE, MUTED, Anchor::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(experiment: u32, era: u32, minutes: f64, value: f64) -> RunView {
        RunView { experiment, minutes, value, seed: None, era }
    }

    #[test]
    fn better_champions_are_no_drift_and_a_slope_is_found() {
        // Two champions 0.1 apart; the second under two eras. Within each, 0.002 an hour.
        let runs: Vec<RunView> = (0..12)
            .map(|i| {
                let (experiment, era) = if i < 4 { (0, 0) } else { (3, u32::from(i >= 8)) };
                let hours = f64::from(i) * 0.5;
                let level = 1.9 - if i < 4 { 0.0 } else { 0.1 } + if i >= 8 { 0.03 } else { 0.0 };
                let wobble = if i % 2 == 0 { 1e-5 } else { -1e-5 };
                run(experiment, era, 60.0 * hours, level + 0.002 * hours + wobble)
            })
            .collect();
        let groups = groups(&runs);
        assert_eq!(groups.len(), 3);
        let found = slope(&repeats(&runs)).unwrap();
        assert!((found.slope - 0.002).abs() < 5e-5 && found.half < 2e-4 && found.half > 0.0, "{found:?}");
        assert!(subtitle(&NightView::default(), &groups, Some(found)).contains("it drifts: +0.0110 over 5 h 30 min"));
    }

    #[test]
    fn little_is_said_of_few_runs() {
        let runs = [run(0, 0, 0.0, 1.8), run(0, 0, 10.0, 1.801), run(2, 0, 20.0, f64::NAN)];
        assert_eq!(slope(&repeats(&runs)), None);
        let groups = groups(&runs);
        assert!((own_sd(&groups).unwrap() - 0.000_707).abs() < 1e-6);
        assert!(subtitle(&NightView::default(), &groups, None).ends_with("too few runs repeated to tell a drift"));
    }

    #[test]
    fn what_seeds_do_to_every_champion_is_no_drift() {
        // Three champions under the same four seeds in the same order, each seed worse than the one before it.
        let mut runs = Vec::new();
        for i in 0..12_u32 {
            let (champion, seed) = (i / 4, i % 4);
            let value = 1.9 - 0.05 * f64::from(champion) + 0.01 * f64::from(seed);
            runs.push(RunView { seed: Some(seed), ..run(champion, 0, 10.0 * f64::from(i), value) });
        }
        assert_eq!(slope(&repeats(&runs)), None);
        assert!(slope(&groups(&runs)).unwrap().is_shown(), "as one champion's runs they do look like it");
    }

    #[test]
    fn students_points_are_those_of_the_tables() {
        for (degrees, point) in [(3.0, 3.182), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042)] {
            assert!((student(degrees) / point - 1.0).abs() < 0.01, "{degrees}");
        }
    }
}
