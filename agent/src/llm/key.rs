//! The key of a model server: read from a variable or a file, never from the repository, and never printed.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest key that is taken; real ones have some hundred characters.
const MOST_BYTES: u64 = 4_096;

/// Shortest key that is taken: a shorter one would be found, and taken out, in words that have nothing to do with it.
const LEAST_BYTES: usize = 8;

/// Where a key is to be found, as a campaign says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// In this variable of the environment.
    Variable(String),
    /// In this file, which only its owner may read.
    File(PathBuf),
}

/// A key. It has no way to text but [`Key::reveal`]; its debug form is a word.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The variable is not set, or is empty.
    #[error("the variable {0} is not set; export it with the key, or name a file with `key_file`")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("others may read the key file {path} (mode {mode:o}); run: chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is there is no key.
    #[error("{place} holds no key: {problem}")]
    NoKey {
        /// The variable or the file.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Key {
    /// Reads a key. `variable` looks up the environment.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(source: &KeySource, variable: impl Fn(&str) -> Option<String>) -> Result<Self, KeyError> {
        match source {
            KeySource::Variable(name) => {
                let text = variable(name).filter(|text| !text.trim().is_empty());
                let text = text.ok_or_else(|| KeyError::NoVariable(name.clone()))?;
                Self::of(&text).map_err(|problem| KeyError::NoKey { place: format!("the variable {name}"), problem })
            }
            KeySource::File(path) => {
                let text = private_text(path)?;
                Self::of(&text).map_err(|problem| KeyError::NoKey { place: path.display().to_string(), problem })
            }
        }
    }

    /// Printable ASCII in one piece: anything else would break the header that carries it.
    fn of(text: &str) -> Result<Self, &'static str> {
        let key = text.trim();
        if key.is_empty() {
            Err("it is empty")
        } else if key.len() < LEAST_BYTES {
            Err("it has fewer than 8 characters; for a server that takes any key leave `key_env` and `key_file` out")
        } else if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.to_owned()))
        } else {
            Err("a key is one word of printable characters; look for a line break or a space in it")
        }
    }

    /// The key itself, for the header of a request and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The text without the key, wherever it stands in it: servers like to quote what they were sent. Nor is there a part of it left where the
    /// text was shortened, which `...` says, in the middle of it.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(&self.0, "[key]");
        if text.contains("...") {
            for length in (LEAST_BYTES..self.0.len()).rev() {
                if let Some(part) = self.0.get(..length) {
                    text = text.replace(&format!("{part}..."), "[key]...");
                }
            }
        }
        text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

fn private_text(path: &Path) -> Result<String, KeyError> {
    let file = |source| KeyError::File { path: path.to_owned(), source };
    let facts = std::fs::metadata(path).map_err(file)?;
    let mode = facts.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    if !facts.is_file() || facts.len() > MOST_BYTES {
        let problem = "it is no plain file of at most 4,096 bytes";
        return Err(KeyError::NoKey { place: path.display().to_string(), problem });
    }
    std::fs::read_to_string(path).map_err(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_comes_from_a_variable_or_a_private_file() {
        let variable = KeySource::Variable("SOME_KEY".to_owned());
        let read = |text: &str| Key::read(&variable, |name| (name == "SOME_KEY").then(|| text.to_owned()));
        assert_eq!(read(" sk-12345\n").unwrap().reveal(), "sk-12345");
        assert!(read("").unwrap_err().to_string().contains("SOME_KEY is not set"));
        assert!(
            read("a").unwrap_err().to_string().contains("fewer than 8 characters; for a server that takes any key")
        );
        assert!(read("sk 12345").unwrap_err().to_string().contains("one word"));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Key::read(&KeySource::File(path.clone()), |_| None)
        };
        assert_eq!(read("sk-23456\n", 0o600).unwrap().reveal(), "sk-23456");
        for mode in [0o640, 0o604, 0o644] {
            let message = read("sk-23456", mode).unwrap_err().to_string();
            assert!(message.contains("chmod 600"), "{message}");
        }
        assert!(read(&"x".repeat(5_000), 0o600).unwrap_err().to_string().contains("4,096 bytes"));
        let nowhere = KeySource::File(folder.path().join("none"));
        assert!(matches!(Key::read(&nowhere, |_| None), Err(KeyError::File { .. })));
    }

    #[test]
    fn it_is_never_shown() {
        let key = Key("sk-secret".to_owned());
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key.redact("bad key sk-secret, sk-secret!"), "bad key [key], [key]!");
        assert_eq!(key.redact("bad key sk-secre... (400)"), "bad key [key]... (400)");
        assert_eq!(key.redact("sk-..."), "sk-...");
    }
}
