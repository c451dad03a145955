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
