//! When a model is left alone, and for how long.

use std::time::{Duration, Instant};

use crate::records::{ExchangeFailure, FailureKind};

/// A model that brought no answer is asked again after this long, then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// One that was silent is left alone this many times as long as it was waited for: a fourth of the night's time at most goes into that.
const LEFT_ALONE: u32 = 3;

/// A model that is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Away {
    /// Turns in a row without an answer.
    pub failures: u32,
    /// How long it is left alone.
    pub pause: Duration,
    /// Until when.
    pub until: Instant,
}

/// Whether a failure makes the model away: left alone for a while, then asked again. So it is with every call that brought no answer, whether
/// nobody was there, the server did not want us, or its streams broke: what each of them needs is time or a person. It is not so where the
/// model did answer, only that nothing can be made of it, nor where the request is to be sent again, shorter.
pub(super) fn is_away(failed: &ExchangeFailure) -> bool {
    !matches!(failed.kind, FailureKind::TooMuch | FailureKind::TooLong)
}

/// How long a model is left alone after so many turns without an answer in a row. `silence`: the seconds that it was waited for.
pub(super) fn pause(failures: u32, kind: FailureKind, silence: u64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let waited = if kind == FailureKind::TimedOut { Duration::from_secs(silence) } else { Duration::ZERO };
    doubled.min(LONGEST_PAUSE).max(waited.saturating_mul(LEFT_ALONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_long_where_much_time_was_lost() {
        for (failures, kind, silence, seconds) in [
            (1, FailureKind::Unreachable, 300, 30),
            (3, FailureKind::BrokenOff, 300, 120),
            (40, FailureKind::Unreachable, 300, 1_800),
            (1, FailureKind::TimedOut, 300, 900),
            (1, FailureKind::TimedOut, 5, 30),
            (9, FailureKind::TimedOut, 300, 1_800),
            (1, FailureKind::TimedOut, 3_600, 10_800),
        ] {
            assert_eq!(pause(failures, kind, silence).as_secs(), seconds, "{failures} {kind:?} {silence}");
        }
    }
}
