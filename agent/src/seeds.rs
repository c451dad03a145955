//! What a night draws by lot: its name, and the seeds of its trials.
//!
//! Seeds come from the operating system and stay secret from proposers (a proposer that knew them could pick a change that
//! is lucky under them); champion and candidates train under the same list, so that differences are paired. Drawn once
//! at the start of a night and written down with it: nothing here is drawn again after a crash.

use jiff::civil::Date;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use crate::flow::{BadName, NightId};

/// Letters and digits that are not taken for one another when read aloud or off a screen: no 0 and o, 1 and l and i, 2 and z, 5 and s,
/// 8 and b, u and v; no vowels, so that no words appear.
const CHARACTERS: &[u8] = b"34679cdfghjkmnpqrtwxy";

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random numbers: {0}; /dev/urandom or getrandom(2) must be usable here")]
pub struct NoRandomness(String);

/// The lots of one night.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    /// Training seeds: trial `k` of any experiment trains under number `k`.
    training: Vec<u64>,
    /// The proposers' own seed; independent of the training seeds and no secret.
    proposer: u64,
}

/// Secrets do not belong into logs.
impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seeds({} secret, proposer {})", self.training.len(), self.proposer)
    }
}

impl Seeds {
    /// Draws the lots of a night in which no experiment has more than `trials` trials.
    ///
    /// # Errors
    /// When the operating system has no random numbers to give.
    pub fn draw(trials: usize) -> Result<Self, NoRandomness> {
        let mut training = Vec::with_capacity(trials);
        while training.len() < trials {
            let seed = random()?;
            if !training.contains(&seed) {
                training.push(seed);
            }
        }
        Ok(Self { training, proposer: random()? })
    }

    /// The secret seeds, for the record of the night; never for a proposer.
    pub fn training(&self) -> &[u64] {
        &self.training
    }

    /// What proposers may vary with.
    pub fn proposer(&self) -> u64 {
        self.proposer
    }
}

/// A random number from the operating system. Below 2^63, for SQLite's integers and libtorch's seeds are signed.
///
/// # Errors
/// When the operating system has none to give.
pub fn random() -> Result<u64, NoRandomness> {
    SysRng.try_next_u64().map(|number| number >> 1).map_err(|error| NoRandomness(error.to_string()))
}

/// A night's name: the date on which it begins and two characters that tell nights of one day apart, for example `2026-03-08-k4`.
/// Two nights of a day share a name once in 441 pairs; the caller draws again when the name is taken.
///
/// # Errors
/// For a date whose year has no four digits.
pub fn night_id(date: Date, random: u64) -> Result<NightId, BadName> {
    let count = CHARACTERS.len() as u64;
    let character = |number: u64| char::from(CHARACTERS[(number % count) as usize]);
    format!("{date}-{}{}", character(random / count), character(random)).parse()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_night_is_named_after_its_date() {
        let day = date(2026, 3, 8);
        assert_eq!(night_id(day, 0).unwrap().as_str(), "2026-03-08-33");
        assert_eq!(night_id(day, 1).unwrap().as_str(), "2026-03-08-34");
        assert_eq!(night_id(day, u64::MAX).unwrap().as_str().len(), 13);
        let names: HashSet<NightId> = (0..441).map(|number| night_id(day, number).unwrap()).collect();
        assert_eq!(names.len(), 441, "two numbers gave one name");
        assert!(night_id(date(-5, 1, 1), 0).is_err());
    }

    #[test]
    fn no_two_characters_look_alike() {
        let confusable = ["0o", "1li", "2z", "5s", "8b", "uv"];
        for pair in confusable {
            let used = pair.bytes().filter(|c| CHARACTERS.contains(c)).count();
            assert!(used <= 1, "{pair}");
        }
        assert_eq!(CHARACTERS.iter().collect::<HashSet<_>>().len(), CHARACTERS.len());
    }

    #[test]
    fn seeds_differ_and_stay_out_of_logs() {
        let (one, two) = (Seeds::draw(64).unwrap(), Seeds::draw(64).unwrap());
        assert_eq!(one.training().iter().collect::<HashSet<_>>().len(), 64);
        assert!(one.training().iter().all(|seed| i64::try_from(*seed).is_ok()));
        assert_ne!(one, two);
        let logged = format!("{one:?}");
        assert!(one.training().iter().all(|seed| !logged.contains(&seed.to_string())), "{logged}");
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Seeds>(&json).unwrap(), one);
    }
}
