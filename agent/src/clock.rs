//! Times as people read them, by the clocks around here.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The clocks' zone. A system that does not say where it is gets the time that means the same everywhere.
pub fn here() -> TimeZone {
    known(TimeZone::system())
}

fn known(zone: TimeZone) -> TimeZone {
    if zone.is_unknown() { TimeZone::UTC } else { zone }
}

/// `2026-03-08 23:15:07 CET`: with the zone's abbreviation, or its offset where it has none.
pub fn to_the_second(at: Timestamp, zone: &TimeZone) -> String {
    shown(at, zone, "%Y-%m-%d %H:%M:%S %Z")
}

/// `2026-03-08 23:15 CET`.
pub fn to_the_minute(at: Timestamp, zone: &TimeZone) -> String {
    shown(at, zone, "%Y-%m-%d %H:%M %Z")
}

/// `23:15:07`.
pub fn time_of_day(at: Timestamp, zone: &TimeZone) -> String {
    shown(at, zone, "%H:%M:%S")
}

/// `8 March 2026, 23:15`, around here.
pub fn date(at: Timestamp) -> String {
    shown(at, &here(), "%-d %B %Y, %H:%M")
}

fn shown(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    at.to_zoned(known(zone.clone())).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_place_and_say_so() {
        let at: Timestamp = "2026-03-08T22:15:07.25Z".parse().unwrap();
        for (zone, expected) in [
            ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-08 23:15:07 CET"),
            ("<-03>3", "2026-03-08 19:15:07 -03"),
            ("IST-5:30", "2026-03-09 03:45:07 IST"),
        ] {
            assert_eq!(to_the_second(at, &TimeZone::posix(zone).unwrap()), expected);
        }
        assert_eq!(to_the_second(at, &TimeZone::unknown()), "2026-03-08 22:15:07 UTC");
        assert_eq!(to_the_minute(at, &TimeZone::UTC), "2026-03-08 22:15 UTC");
        assert_eq!(time_of_day(at, &TimeZone::posix("IST-5:30").unwrap()), "03:45:07");
    }
}
