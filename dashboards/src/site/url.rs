//! Addresses of the server's pages.

use std::fmt::Write;

/// Text as one segment of a path, or as a name or value of a query: everything but letters, digits, `-`, `.`, `_` and `~` is encoded.
pub fn encoded(text: &str) -> String {
    let mut done = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => done.push(char::from(byte)),
            _ => {
                // Writing to a text cannot fail.
                let _infallible = write!(done, "%{byte:02X}");
            }
        }
    }
    done
}

/// The page of a campaign.
pub fn campaign(name: &str) -> String {
    format!("/campaigns/{}", encoded(name))
}

/// The table of a night's experiments.
pub fn night(night: &str) -> String {
    format!("/nights/{}", encoded(night))
}

/// The page of one experiment.
pub fn experiment(night: &str, number: u32) -> String {
    format!("/nights/{}/{number}", encoded(night))
}

/// A night's experiments as a tree.
pub fn tree(night: &str) -> String {
    format!("/nights/{}/tree", encoded(night))
}

/// What of a night waits for a decision.
pub fn review(night: &str) -> String {
    format!("/nights/{}/review", encoded(night))
}

/// The page that was written in the morning.
pub fn report(night: &str) -> String {
    format!("/nights/{}/report", encoded(night))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place_in_an_address() {
        assert_eq!(night("2026-03-08-k4"), "/nights/2026-03-08-k4");
        assert_eq!(experiment("a/../b?c#d\"<", 3), "/nights/a%2F..%2Fb%3Fc%23d%22%3C/3");
        assert_eq!(encoded("é &=+"), "%C3%A9%20%26%3D%2B");
    }
}
