//! What is worth another try, and after how long.

use std::time::Duration;

use super::AskError;

/// Waits double from here.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// No wait is longer, whatever a server asks for: the night goes on with other proposers meanwhile.
pub const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Tries of one request, the first included.
pub const MOST_TRIES: u32 = 5;

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask the same again after this time.
    Wait(Duration),
    /// Asking the same again does not help, or not now.
    GiveUp,
}

/// What to do after try number `tried` (from 1) failed. `share` (0 to 1) spreads the waits of several who were refused together: a
/// wait is between half and all of what its turn allows ("equal jitter", Brooker, Exponential backoff and jitter, 2015). A server that
/// says how long to wait is believed, up to [`LONGEST_WAIT`]; one that wants longer is given up for now.
pub fn next(error: &AskError, tried: u32, share: f64) -> Next {
    let asked = match error {
        AskError::RateLimited { wait_seconds, .. } | AskError::Server { wait_seconds, .. } => *wait_seconds,
        AskError::Unreachable { .. } | AskError::BrokenOff(_) | AskError::Malformed(_) | AskError::Empty => None,
        // Each further try of a silent server would cost as long again, and it is asked again later anyway.
        AskError::TimedOut { .. }
        | AskError::Endless { .. }
        | AskError::NotAllowed { .. }
        | AskError::TooLong { .. }
        | AskError::BadRequest { .. }
        | AskError::TooMuch { .. } => return Next::GiveUp,
    };
    if tried >= MOST_TRIES {
        return Next::GiveUp;
    }
    match asked.map(Duration::from_secs) {
        Some(asked) if asked > LONGEST_WAIT => Next::GiveUp,
        Some(asked) => Next::Wait(asked.max(Duration::from_millis(100))),
        None => {
            let turn = FIRST_WAIT.saturating_mul(1 << (tried.max(1) - 1).min(16)).min(LONGEST_WAIT);
            Next::Wait(turn.mul_f64(0.5 + 0.5 * share.clamp(0.0, 1.0)))
        }
    }
}

/// The value of a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3), which is told from `now`.
pub fn retry_after(value: &str, now: jiff::Timestamp) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| seconds.ceil() as u64);
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    Some(u64::try_from(date.timestamp().duration_since(now).as_secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(wait_seconds: Option<u64>) -> AskError {
        AskError::RateLimited { wait_seconds, message: String::new() }
    }

    #[test]
    fn what_can_pass_is_tried_again_and_what_cannot_is_not() {
        let text = String::new;
        for (error, again) in [
            (limited(None), true),
            (AskError::Server { status: 503, wait_seconds: None, message: text() }, true),
            (AskError::Unreachable { endpoint: text(), reason: text() }, true),
            (AskError::TimedOut { endpoint: text(), seconds: 60 }, false),
            (AskError::Endless { endpoint: text(), seconds: 60 }, false),
            (AskError::BrokenOff(text()), true),
            (AskError::Malformed(text()), true),
            (AskError::Empty, true),
            (AskError::NotAllowed { status: 401, message: text() }, false),
            (AskError::TooLong { message: text() }, false),
            (AskError::BadRequest { status: 400, message: text() }, false),
            (AskError::TooMuch { limit: 1 }, false),
        ] {
            assert_eq!(next(&error, 1, 0.5) != Next::GiveUp, again, "{error}");
            assert_eq!(next(&error, MOST_TRIES, 0.5), Next::GiveUp, "{error}");
        }
    }

    #[test]
    fn waits_double_are_spread_and_bounded() {
        let seconds = |tried, share| match next(&AskError::Empty, tried, share) {
            Next::Wait(wait) => wait.as_secs_f64(),
            Next::GiveUp => f64::NAN,
        };
        assert_eq!([seconds(1, 1.0), seconds(2, 1.0), seconds(3, 1.0), seconds(4, 1.0)], [2.0, 4.0, 8.0, 16.0]);
        assert_eq!([seconds(1, 0.0), seconds(3, 0.5), seconds(1, 7.0)], [1.0, 6.0, 2.0]);
    }

    #[test]
    fn a_server_that_says_how_long_is_believed_within_reason() {
        assert_eq!(next(&limited(Some(7)), 1, 0.0), Next::Wait(Duration::from_secs(7)));
        assert_eq!(next(&limited(Some(0)), 1, 0.0), Next::Wait(Duration::from_millis(100)));
        assert_eq!(next(&limited(Some(3_600)), 1, 0.0), Next::GiveUp);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2026-03-08T12:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("30", Some(30)),
            (" 1.2 ", Some(2)),
            ("0", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("Sun, 08 Mar 2026 12:01:40 GMT", Some(100)),
            ("Sun, 08 Mar 2026 11:00:00 GMT", Some(0)),
        ] {
            assert_eq!(retry_after(value, now), seconds, "{value:?}");
        }
    }
}
