//! Curves of training loss, compared at the same progress. A curve is the trainer's own word: it may end a trial early, never keep one.

/// Smoothing width, as a share of the whole budget: noise of single batches averages out, the trend hardly moves.
const WIDTH: f64 = 0.03;

/// Points that each curve must have within reach of the place.
const ENOUGH: f64 = 3.0;

/// Smoothed training loss of the candidate less that of the champion at progress `at` (0 to 1), in the curves' unit. Points are
/// (progress, loss), in any order; those after `at` are not looked at, nor those that are not finite. `None` while either curve has
/// too few points there.
pub fn difference(candidate: &[(f64, f64)], champion: &[(f64, f64)], at: f64) -> Option<f64> {
    Some(smoothed(candidate, at)? - smoothed(champion, at)?)
}

/// Mean weighted by an exponential that looks back only.
fn smoothed(curve: &[(f64, f64)], at: f64) -> Option<f64> {
    let (mut weights, mut sum, mut points) = (0.0, 0.0, 0.0);
    for &(progress, loss) in curve {
        let back = at - progress;
        if !loss.is_finite() || !(0.0..=4.0 * WIDTH).contains(&back) {
            continue;
        }
        let weight = (-back / WIDTH).exp();
        weights += weight;
        sum += weight * loss;
        points += 1.0;
    }
    (points >= ENOUGH).then(|| sum / weights)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn nothing_after_the_place_is_looked_at_and_too_little_says_nothing() {
        let champion = curve(400, |at| 5.0 - at);
        let turned = curve(400, |at| if at <= 0.5 { 5.0 - at } else { 100.0 });
        assert!(difference(&turned, &champion, 0.5).unwrap().abs() < 1e-12);
        let broken = curve(400, |at| if at < 0.45 { f64::NAN } else { 5.0 - at });
        assert!(difference(&broken, &champion, 0.3).is_none());
        assert!(difference(&broken, &champion, 0.5).is_some());
        assert!(difference(&[], &champion, 0.5).is_none() && difference(&champion, &curve(10, |_| 1.0), 0.5).is_none());
    }
}
