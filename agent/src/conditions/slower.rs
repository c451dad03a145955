//! Whether the machine has become slower. Pure.

/// A run with fewer than this share of the steps that the same run had before was made on another machine, for all that matters.
pub const LEAST_SPEED: f64 = 0.8;

/// How fast the machine is now, against before: the steps of one commit under one seed and one budget in seconds, divided by the median of
/// the steps that it had in earlier runs; `None` without any. Under a budget in tokens this is always 1.
pub fn speed(now_steps: u64, before_steps: &[u64]) -> Option<f64> {
    let mut before: Vec<u64> = before_steps.iter().copied().filter(|steps| *steps > 0).collect();
    before.sort_unstable();
    let middle = before.len() / 2;
    let median = if before.len() % 2 == 1 {
        *before.get(middle)? as f64
    } else {
        (*before.get(middle.checked_sub(1)?)? as f64 + *before.get(middle)? as f64) / 2.0
    };
    Some(now_steps as f64 / median)
}

/// The [`speed`], where it is below [`LEAST_SPEED`]: what was measured before does not compare with what is measured now.
pub fn slower(now_steps: u64, before_steps: &[u64]) -> Option<f64> {
    speed(now_steps, before_steps).filter(|speed| *speed < LEAST_SPEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_slower_is_another_machine() {
        for (now, before, found) in [
            (100, &[100][..], None),
            (80, &[100], None),
            (79, &[100], Some(0.79)),
            (0, &[100], Some(0.0)),
            (200, &[100], None),
            // One strange run among the earlier ones changes nothing.
            (100, &[100, 30, 900], None),
            (70, &[90, 110, 100, 100], Some(0.7)),
            (100, &[], None),
            (100, &[0, 0], None),
        ] {
            assert_eq!(slower(now, before), found, "{now} after {before:?}");
        }
        assert_eq!(speed(200, &[100]), Some(2.0));
    }
}
