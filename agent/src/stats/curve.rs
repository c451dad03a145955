//! Curves of training loss, compared at the same progress. A curve is the trainer's own word: it may end a trial early, never keep one.

/// Smoothing width, as a share of the whole budget: noise of single batches averages out, the trend hardly moves.
const WIDTH: f64 = 0.03;

/// How far smoothing looks back.
const REACH: f64 = 4.0 * WIDTH;

/// Points within reach of the place from which on a curve is smoothed.
const DENSE: usize = 6;

/// Steps that each curve must have before the place. Where they are too few for smoothing, the last so many are compared one by one:
/// under one data order a step's batch is the same in both runs, so that its noise is paired, and single steps tell as much as smoothed
/// ones (docs/noise.md).
const ENOUGH: usize = 3;

/// Smoothed training loss of the candidate less that of the champion at progress `at` (0 to 1), in the curves' unit. Points are
/// (progress, loss), in any order; of the candidate's, those after `at` are not looked at, and of neither those that are not finite.
/// `None` while either curve has too few points there.
pub fn difference(candidate: &[(f64, f64)], champion: &[(f64, f64)], at: f64) -> Option<f64> {
    match (smoothed(candidate, at), smoothed(champion, at)) {
        (Some(ours), Some(theirs)) => Some(ours - theirs),
        _ => step_by_step(candidate, champion, at),
    }
}

/// Mean weighted by an exponential that looks back only.
fn smoothed(curve: &[(f64, f64)], at: f64) -> Option<f64> {
    let (mut weights, mut sum, mut points) = (0.0, 0.0, 0);
    for &(progress, loss) in curve {
        let back = at - progress;
        if !loss.is_finite() || !(0.0..=REACH).contains(&back) {
            continue;
        }
        let weight = (-back / WIDTH).exp();
        weights += weight;
        sum += weight * loss;
        points += 1;
    }
    (points >= DENSE).then(|| sum / weights)
}

/// Mean difference over the candidate's last steps before `at`, each against the champion's loss at the very same progress, so that
/// the trend, which is steep where steps are few, drops out.
fn step_by_step(candidate: &[(f64, f64)], champion: &[(f64, f64)], at: f64) -> Option<f64> {
    let (ours, theirs) = (in_order(candidate), in_order(champion));
    let before = ours.partition_point(|point| point.0 <= at);
    let last = &ours[before.checked_sub(ENOUGH)?..before];
    // A step that is due and has not been told leaves the curve without a word about the place.
    let (first, newest) = (last.first()?.0, last.last()?.0);
    let step = (newest - first) / (ENOUGH - 1) as f64;
    let told = theirs.partition_point(|point| point.0 <= at);
    if at - newest > REACH.max(1.5 * step) || told < ENOUGH {
        return None;
    }
    let differences: Option<Vec<f64>> = last.iter().map(|point| Some(point.1 - between(&theirs, point.0)?)).collect();
    differences.map(|differences| differences.iter().sum::<f64>() / ENOUGH as f64)
}

/// Finite points, by progress.
fn in_order(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> =
        curve.iter().copied().filter(|point| point.0.is_finite() && point.1.is_finite()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The loss at this progress, on straight lines between points; `None` outside of them.
fn between(points: &[(f64, f64)], at: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.0 < at);
    let right = points.get(after)?;
    if right.0 <= at {
        return Some(right.1);
    }
    let left = points.get(after.checked_sub(1)?)?;
    Some(left.1 + (right.1 - left.1) * (at - left.0) / (right.0 - left.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::early::LOOKS;

    fn curve(steps: u32, loss: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (1..=steps).map(|step| f64::from(step) / f64::from(steps)).map(|at| (at, loss(at))).collect()
    }

    #[test]
    fn a_constant_lead_is_found_whatever_the_steps() {
        let champion = curve(400, |at| 5.0 - at);
        // Fewer steps in the same time: compared at the same progress, not at the same step.
        let candidate = curve(300, |at| 4.9 - at);
        for at in [0.3, 0.5, 0.8] {
            let found = difference(&candidate, &champion, at).unwrap();
            assert!((found + 0.1).abs() < 2e-3, "{found} at {at}");
        }
    }

    #[test]
    fn a_few_steps_are_compared_one_by_one() {
        // A steep trend, and batches whose noise both runs share.
        let loss = |at: f64| 5.0 + (-5.0 * at).exp() + 0.3 * (40.0 * at).sin();
        for steps in [10, 12, 20, 24] {
            let (champion, candidate) = (curve(steps, loss), curve(steps, |at| loss(at) - 0.1 * at));
            for at in LOOKS {
                let found = difference(&candidate, &champion, at).unwrap();
                assert!((-0.1 * at..=-0.1 * at * 0.5).contains(&found), "{found} at {at} of {steps} steps");
            }
        }
        // One step in twenty fewer in the same time: no trend is taken for a lead.
        let (champion, candidate) = (curve(20, |at| 9.0 - 4.0 * at), curve(19, |at| 9.0 - 4.0 * at));
        assert!(LOOKS.iter().all(|at| difference(&candidate, &champion, *at).unwrap().abs() < 1e-9));
    }

    #[test]
    fn nothing_after_the_place_is_looked_at_and_too_little_says_nothing() {
        let champion = curve(400, |at| 5.0 - at);
        let turned = curve(400, |at| if at <= 0.5 { 5.0 - at } else { 100.0 });
        assert!(difference(&turned, &champion, 0.5).unwrap().abs() < 1e-12);
        let broken = curve(400, |at| if at < 0.45 { f64::NAN } else { 5.0 - at });
        assert!(difference(&broken, &champion, 0.3).is_none());
        assert!(difference(&broken, &champion, 0.5).is_some());
        // What it told long ago is no word about the place.
        let silent = curve(400, |at| if at > 0.3 { f64::NAN } else { 5.0 - at });
        assert!(difference(&silent, &champion, 0.5).is_none());
        let few = curve(4, |_| 1.0);
        assert!(difference(&[], &champion, 0.5).is_none() && difference(&champion, &few, 0.5).is_none());
        assert!(difference(&few, &few, 0.5).is_none() && difference(&few, &few, 0.8).is_some());
        let late = curve(20, |at| if at < 0.25 { f64::NAN } else { 1.0 });
        assert!(difference(&curve(20, |_| 1.0), &late, 0.3).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_curves_are_borne_and_a_shift_is_found(
            points in proptest::collection::vec((0.0..1.0_f64, -1e3..1e3_f64), 0..40),
            other in proptest::collection::vec((0.0..1.0_f64, -1e3..1e3_f64), 0..40),
            at in 0.0..1.0_f64,
            shift in -10.0..10.0_f64,
        ) {
            let shifted: Vec<(f64, f64)> = points.iter().map(|point| (point.0, point.1 + shift)).collect();
            match (difference(&points, &other, at), difference(&shifted, &other, at)) {
                (Some(before), Some(after)) => proptest::prop_assert!((after - before - shift).abs() < 1e-6),
                (before, after) => proptest::prop_assert!(before.is_none() && after.is_none()),
            }
        }
    }
}
