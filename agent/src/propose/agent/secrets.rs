//! Keys of the person's that an agent has in its environment, taken out of whatever it says before anybody keeps that.
//!
//! An agent needs them and may print them, most likely where it is refused: "incorrect API key provided: ...". Known are the values of variables
//! whose names say so; a key that an agent reads from a file of its own is not.

use std::path::Path;

use crate::files::{self, FileError};

/// What a variable's name holds that keeps a secret.
const NAMES: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];

/// A shorter value would be found in words that have nothing to do with it.
const LEAST_LENGTH: usize = 8;

/// No log of an agent is longer; see `run`'s limit on output.
const MOST_LOG_BYTES: u64 = 256 << 20;

/// Secrets by the names of their variables.
#[derive(Debug, Clone, Default)]
pub(in crate::propose) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of an environment.
    pub fn of(environment: &[(String, String)]) -> Self {
        let secret = |(name, value): &&(String, String)| {
            let upper = name.to_ascii_uppercase();
            value.len() >= LEAST_LENGTH && NAMES.iter().any(|part| upper.contains(part))
        };
        let mut secrets: Vec<(String, String)> = environment.iter().filter(secret).cloned().collect();
        // One may be a part of another.
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        Self(secrets)
    }

    /// The name of a variable whose value stands in a text.
    pub fn found_in(&self, text: &str) -> Option<&str> {
        self.0.iter().find(|(_, value)| text.contains(value.as_str())).map(|(name, _)| name.as_str())
    }

    /// A text with the variables' names in place of their values.
    pub fn taken_out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.0 {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), &format!("[value of {name}]"));
            }
        }
        text
    }

    /// Takes them out of a file that is kept.
    ///
    /// # Errors
    /// It cannot be read or written; then it may still hold one.
    pub fn taken_out_of_file(&self, path: &Path) -> Result<(), FileError> {
        let bytes = match files::read_capped(path, MOST_LOG_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes);
        match self.found_in(&text) {
            Some(_) => files::write_atomically(path, self.taken_out_of(&text).as_bytes()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_variables_are_taken_out_and_nothing_else() {
        let variables = [
            ("OPENAI_API_KEY", "sk-0123456789"),
            ("OTHER_KEY", "sk-0123456789-longer"),
            ("gh_token", "ghp_abcdefgh"),
            ("KEY_OF_NOTHING", "short"),
            ("HOME", "/home/person"),
        ];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = Secrets::of(&environment);
        let said = "refused: sk-0123456789, sk-0123456789-longer and ghp_abcdefgh in /home/person, short";
        let expected =
            "refused: [value of OPENAI_API_KEY], [value of OTHER_KEY] and [value of gh_token] in /home/person, short";
        assert_eq!(secrets.taken_out_of(said), expected);
        assert_eq!((secrets.found_in("a ghp_abcdefgh b"), secrets.found_in(expected)), (Some("gh_token"), None));
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        secrets.taken_out_of_file(&log).unwrap();
        std::fs::write(&log, said).unwrap();
        secrets.taken_out_of_file(&log).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);
    }
}
