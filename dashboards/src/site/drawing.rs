//! The loss of the run under way beside its champion's, as coordinates: the page draws them, and so does its script.

use serde::Serialize;

use crate::axis::{Axis, usable};
use crate::text::{duration, metric, plain, width};

/// Width of the picture, in its own units.
pub const WIDTH: f64 = 720.0;
/// Its height.
pub const HEIGHT: f64 = 300.0;

const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 46.0;

/// The first losses are those of a model that knows nothing; they would press all that follows into a line. The axis is for what comes after so
/// much of the run.
const WARMED_UP: f64 = 0.05;

/// Points of a line: more than a screen tells apart would only be sent.
const MOST_POINTS: usize = 240;

/// What is to be drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossNow {
    /// The run's (part of the budget used, 0 to 1; training loss in nats per token), in order.
    pub own: Vec<(f64, f64)>,
    /// The same of the champion's run.
    pub champion: Vec<(f64, f64)>,
    /// Which run that is: `champion #3, the same seed`.
    pub champion_name: String,
    /// The whole budget, in seconds or in tokens.
    pub budget: f64,
    /// Whether it is one of seconds.
    pub seconds: bool,
}

/// The picture: lines as `points` of a polyline, ticks with their places, and what it shows in words.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Drawing {
    /// The run's line.
    pub own: String,
    /// The champion's line; may be empty.
    pub champion: String,
    /// What the champion's line is called.
    pub champion_name: String,
    /// Ticks of time or tokens.
    pub x_ticks: Vec<Tick>,
    /// Ticks of the loss.
    pub y_ticks: Vec<Tick>,
    /// What runs to the right.
    pub x_name: String,
    /// Where the plot's edges are.
    pub left: f64,
    /// The right edge.
    pub right: f64,
    /// The upper edge.
    pub top: f64,
    /// The lower edge.
    pub bottom: f64,
    /// What the picture shows, for whoever does not see it.
    pub words: String,
}

/// A tick of an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    /// Its place.
    pub at: f64,
    /// Its number.
    pub label: String,
}

/// Draws; a run without a loss so far has its champion's line alone. `None` where there is nothing that can be drawn.
pub fn drawing(loss: &LossNow) -> Option<Drawing> {
    let own = drawable(&loss.own);
    let champion = drawable(&loss.champion);
    let newest = own.last().copied();
    if own.is_empty() && champion.is_empty() {
        return None;
    }
    let warm_of = |points: &[(f64, f64)]| -> Vec<f64> {
        let warm: Vec<f64> = points.iter().filter(|(part, _)| *part >= WARMED_UP).map(|(_, loss)| *loss).collect();
        // What has only just begun is shown as it is.
        if warm.is_empty() { points.iter().map(|(_, loss)| *loss).collect() } else { warm }
    };
    let shown = [warm_of(&own), warm_of(&champion)].concat();
    let (low, high) = shown.iter().fold((f64::MAX, f64::MIN), |(low, high), loss| (low.min(*loss), high.max(*loss)));
    let room = ((high - low) * 0.05).max(1e-3);
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    let y = Axis::new(low - room, high + room, 5);
    let budget = if usable(loss.budget) && loss.budget > 0.0 { loss.budget } else { 1.0 };
    let (scale, x_name) = match (loss.seconds, budget) {
        (true, _) => (1.0, "seconds of training"),
        (false, 1e6..) => (1e6, "millions of tokens"),
        (false, _) => (1e3, "thousands of tokens"),
    };
    let x = Axis::new(0.0, budget / scale, 8).thinned(right - left, |label| width(label, 12.0) + 12.0);
    let across = |part: f64| left + part.clamp(0.0, 1.0) * (right - left);
    let down = |loss: f64| bottom - y.fraction(loss) * (bottom - top);
    let line = |points: &[(f64, f64)]| {
        let seen = points.iter().filter(|(_, loss)| *loss <= y.high && *loss >= y.low).copied().collect::<Vec<_>>();
        let place = |(part, loss): &(f64, f64)| format!("{:.1},{:.1}", across(*part), down(*loss));
        thinned(&seen).iter().map(place).collect::<Vec<_>>().join(" ")
    };
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    Some(Drawing {
        own: line(&own),
        champion: line(&champion),
        champion_name: loss.champion_name.clone(),
        x_ticks: x
            .ticks
            .iter()
            .map(|at| Tick { at: tenth(across(at * scale / budget)), label: x.label(*at) })
            .collect(),
        y_ticks: y.ticks.iter().map(|at| Tick { at: tenth(down(*at)), label: y.label(*at) }).collect(),
        x_name: x_name.to_owned(),
        left,
        right,
        top,
        bottom,
        words: newest.map_or_else(
            || format!("The run has told of no loss yet; beside it will be {}.", loss.champion_name),
            |newest| words(loss, newest, &champion),
        ),
    })
}

fn words(loss: &LossNow, (part, newest): (f64, f64), champion: &[(f64, f64)]) -> String {
    let used = part.clamp(0.0, 1.0) * loss.budget;
    let used = if loss.seconds { duration(used) } else { format!("{} tokens", plain(used.round())) };
    let beside = at(champion, part).map_or_else(String::new, |other| {
        let how = if newest < other { "lower" } else { "higher" };
        format!(
            "; {} had {} there, this is {} {how}",
            loss.champion_name,
            metric(Some(other)),
            metric(Some((newest - other).abs()))
        )
    });
    format!(
        "Training loss {} nats per token after {used}{beside}. By the trainer's own word: nothing is decided by it alone.",
        metric(Some(newest))
    )
}

/// A line's height at a part of the run, between its neighbouring points; `None` outside of it.
fn at(points: &[(f64, f64)], part: f64) -> Option<f64> {
    let after = points.iter().position(|(at, _)| *at >= part)?;
    let (right, high) = points[after];
    let (left, low) = points[after.checked_sub(1)?];
    let share = if right > left { (part - left) / (right - left) } else { 1.0 };
    Some(low + share * (high - low))
}

fn drawable(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().filter(|(part, loss)| usable(*part) && usable(*loss)).copied().collect()
}

/// Means of neighbours where there are too many points; the newest stays as it is.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let of = points.len().div_ceil(MOST_POINTS).max(1);
    if of == 1 {
        return points.to_vec();
    }
    let mean = |chunk: &[(f64, f64)]| {
        let count = chunk.len() as f64;
        (chunk.iter().map(|point| point.0).sum::<f64>() / count, chunk.iter().map(|point| point.1).sum::<f64>() / count)
    };
    points.chunks(of).map(mean).chain(points.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(points: usize, to: f64, last: f64) -> Vec<(f64, f64)> {
        let part = |k: usize| k as f64 / points as f64 * to;
        (1..=points).map(|k| (part(k), last + 4.0 * (-20.0 * part(k)).exp())).collect()
    }

    fn places(line: &str) -> Vec<(f64, f64)> {
        let place = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
        line.split(' ').filter_map(place).collect()
    }

    #[test]
    fn lines_stay_inside_and_move_to_the_right() {
        let loss = LossNow {
            own: run(5_000, 0.5, 3.0),
            champion: run(5_000, 1.0, 3.1),
            champion_name: "champion #2".to_owned(),
            budget: 20.0,
            seconds: true,
        };
        let drawn = drawing(&loss).unwrap();
        for line in [&drawn.own, &drawn.champion] {
            let places = places(line);
            assert!(places.len() > 100 && places.len() <= MOST_POINTS + 1, "{}", places.len());
            assert!(places.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            assert!(
                places
                    .iter()
                    .all(|(x, y)| (drawn.left..=drawn.right).contains(x) && (drawn.top..=drawn.bottom).contains(y))
            );
        }
        let middle = places(&drawn.own).last().unwrap().0;
        assert!((middle - (drawn.left + drawn.right) / 2.0).abs() < 1.0, "{middle}");
        assert!(drawn.x_ticks.len() >= 4 && drawn.y_ticks.len() >= 3 && drawn.x_name == "seconds of training");
        assert!(
            drawn.words.starts_with("Training loss 3.00") && drawn.words.contains("after 10 s; champion #2 had 3.1"),
            "{}",
            drawn.words
        );
        assert!(drawn.words.contains("0.0999 lower") || drawn.words.contains("0.1000 lower"), "{}", drawn.words);
    }

    #[test]
    fn absurd_numbers_are_left_out() {
        for own in [vec![], vec![(0.5, f64::NAN)], vec![(f64::INFINITY, 3.0)], vec![(0.1, 1e300)]] {
            assert_eq!(drawing(&LossNow { own, budget: 20.0, seconds: true, ..LossNow::default() }), None);
        }
        for budget in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let loss = LossNow { own: vec![(0.5, 3.0), (7.0, 3.1)], budget, ..LossNow::default() };
            let drawn = drawing(&loss).unwrap();
            assert!(!drawn.own.contains("NaN") && !drawn.own.contains("inf"), "{}", drawn.own);
        }
    }

    #[test]
    fn before_the_first_loss_there_is_the_champions_line() {
        let champion = run(100, 1.0, 3.0);
        let loss = LossNow { champion, champion_name: "the champion".to_owned(), budget: 20.0, ..LossNow::default() };
        let drawn = drawing(&loss).unwrap();
        assert!(drawn.own.is_empty() && !drawn.champion.is_empty());
        assert_eq!(drawn.words, "The run has told of no loss yet; beside it will be the champion.");
    }

    #[test]
    fn a_run_that_has_just_begun_is_drawn_whole_beside_its_champion() {
        let loss =
            LossNow { own: run(50, 0.04, 3.0), champion: run(1_000, 1.0, 3.0), budget: 20.0, ..LossNow::default() };
        assert_eq!(places(&drawing(&loss).unwrap().own).len(), 50);
    }

    #[test]
    fn a_run_that_has_just_begun_is_drawn() {
        let drawn = drawing(&LossNow { own: vec![(0.001, 7.6)], budget: 5e6, ..LossNow::default() }).unwrap();
        assert_eq!(places(&drawn.own).len(), 1);
        assert_eq!(drawn.x_name, "millions of tokens");
        assert!(drawn.words.contains("after 5000 tokens"), "{}", drawn.words);
    }

    #[test]
    fn a_champion_that_ended_earlier_is_compared_with_nothing() {
        let loss = LossNow { own: vec![(0.6, 3.0)], champion: run(10, 0.5, 3.0), budget: 20.0, ..LossNow::default() };
        assert!(!drawing(&loss).unwrap().words.contains("had"));
    }
}
