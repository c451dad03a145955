//! What the program is told of the world outside, on its command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct World(BTreeMap<String, String>);

impl World {
    pub fn new(words: &[&str]) -> Self {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub fn add(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }

    /// What stands under the key; a missing key is a mistake of the test, not an attempt that was held.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("{key}=... is missing"))
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn number(&self, key: &str) -> i64 {
        self.get(key).parse().unwrap_or_else(|_| panic!("{key}=... is no number"))
    }

    pub fn pid(&self, key: &str) -> i32 {
        self.number(key) as i32
    }

    /// A file with the secret in it.
    pub fn secret(&self, place: &str) -> &Path {
        Path::new(self.get(place))
    }

    /// A file in the same folder.
    pub fn beside(&self, place: &str, name: &str) -> PathBuf {
        self.secret(place).with_file_name(name)
    }

    /// The folder that may be written, where the stage has one.
    pub fn output(&self) -> Option<&Path> {
        self.find("output").map(Path::new)
    }

    /// Whether this run is not confined at all, to show that the attempts would work.
    pub fn is_control(&self) -> bool {
        self.find("control").is_some()
    }
}
