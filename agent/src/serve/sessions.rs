//! Browsers that have shown the token. Each gets a random name of its own in a cookie, which says nothing of the token; the server keeps a hash of
//! it in memory, and knows it until its time is up or the server ends.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::guard::{NoRandomness, random};
use crate::hash::sha256;

/// How long a browser is known: a week of mornings.
pub(super) const LASTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Browsers that are known at once; beyond them the oldest is forgotten.
const MOST: usize = 256;

/// Browsers that are known, the oldest first.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<VecDeque<Session>>,
}

struct Session {
    digest: String,
    ends: Instant,
}

impl Sessions {
    /// What a browser that has shown the token is to show from now on: 256 random bits, hexadecimal.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn begin(&self, now: Instant) -> Result<String, NoRandomness> {
        let name = random()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|session| now < session.ends);
        while open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(Session { digest: sha256(name.as_bytes()), ends: now + LASTS });
        Ok(name)
    }

    /// Whether this is the name of a browser that is known still, in a time that says nothing of how near it is to one.
    pub fn knows(&self, given: &str, now: Instant) -> bool {
        let digest = sha256(given.as_bytes());
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |session: &Session| now < session.ends && equal(&session.digest, &digest);
        open.iter().fold(false, |known, session| known | is_it(session))
    }
}

/// Whether two digests are equal, in a time that says nothing of where they differ.
pub(super) fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_by_its_own_name_until_its_time_is_up() {
        let sessions = Sessions::default();
        let begun = Instant::now();
        let one = sessions.begin(begun).unwrap();
        let other = sessions.begin(begun + LASTS / 2).unwrap();
        assert!(one.len() == 64 && one != other);
        for (after, knows) in [
            (Duration::ZERO, [true, true]),
            (LASTS - Duration::from_secs(1), [true, true]),
            (LASTS, [false, true]),
            (LASTS + LASTS / 2, [false, false]),
        ] {
            assert_eq!([&one, &other].map(|name| sessions.knows(name, begun + after)), knows, "{after:?}");
        }
        for wrong in ["", &one[..63], &sha256(one.as_bytes()), &one.to_uppercase()] {
            assert!(!sessions.knows(wrong, begun), "{wrong}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_where_there_are_too_many() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let names: Vec<String> = (0..=MOST).map(|_| sessions.begin(now).unwrap()).collect();
        assert_eq!(names.iter().filter(|name| sessions.knows(name, now)).count(), MOST);
        assert!(!sessions.knows(&names[0], now));
        // Those whose time is up make room.
        sessions.begin(now + LASTS).unwrap();
        assert_eq!(sessions.open.lock().unwrap().len(), 1);
    }
}
