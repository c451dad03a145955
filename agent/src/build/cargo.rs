//! Cargo's command line and its messages.

use serde::Deserialize;

use super::PROFILE;
use crate::flow::BuildFailure;
use crate::run::process::Ended;

/// How many of the compiler's errors are kept.
const MOST_ERRORS: usize = 3;

/// How much of each, in characters.
const MOST_CHARACTERS: usize = 4_000;

/// `--frozen`: neither the network nor the lock file is touched by a build. `jobs`: so many at once; `None`: as many as there are cores.
pub(super) fn arguments(binaries: &[&str], jobs: Option<usize>) -> Vec<String> {
    let fixed = ["build", "--frozen", "--profile", PROFILE, "--package", "trainer", "--message-format", "json"];
    let mut arguments: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
    arguments.extend(binaries.iter().flat_map(|binary| ["--bin".to_owned(), (*binary).to_owned()]));
    arguments.extend(jobs.map(|jobs| format!("--jobs={jobs}")));
    arguments
}

/// What cargo has said so far.
#[derive(Debug, Default)]
pub(super) struct Messages {
    errors: Vec<String>,
    count: usize,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    message: String,
    code: Option<serde_json::Value>,
    #[serde(default)]
    spans: Vec<serde_json::Value>,
}

impl Messages {
    /// Reads one line of `--message-format json`. Other lines (a build script's output) say nothing to us.
    pub(super) fn take(&mut self, line: &[u8]) {
        let Ok(Message { reason, message: Some(diagnostic) }) = serde_json::from_slice::<Message>(line) else { return };
        // The closing "aborting due to 2 previous errors" is an error without a place and without a code.
        let closing = diagnostic.spans.is_empty()
            && diagnostic.code.is_none()
            && diagnostic.message.starts_with("aborting due to");
        if reason != "compiler-message" || diagnostic.level != "error" || closing {
            return;
        }
        self.count += 1;
        if self.errors.len() < MOST_ERRORS {
            let text = diagnostic.rendered.unwrap_or(diagnostic.message);
            self.errors.push(text.chars().take(MOST_CHARACTERS).collect());
        }
    }

    /// The failure of a build that ended so; `Err` says why it is the machine's and not the code's.
    pub(super) fn failure(self, ended: &Ended, build_seconds: f64) -> Result<BuildFailure, String> {
        let said: String = ended.last_words.chars().take(MOST_CHARACTERS).collect();
        if said.contains("No space left on device") || self.errors.iter().any(|e| e.contains("No space left on device"))
        {
            return Err("no space left on device; free some and start again".to_owned());
        }
        match (self.errors.is_empty(), ended.code) {
            (false, _) => Ok(BuildFailure { errors: self.errors, error_count: self.count, build_seconds }),
            // Cargo itself reports failures with 101; anything else without a compiler error is not about the code.
            (true, Some(101)) if !said.contains("--frozen") => {
                Ok(BuildFailure { errors: vec![said], error_count: 1, build_seconds })
            }
            // A compiler that runs out of memory or stack is killed; with what it was given to compile, that is.
            (true, Some(code)) if code > 128 => {
                let words = format!("the compiler was ended by signal {}: {said}", code - 128);
                Ok(BuildFailure { errors: vec![words], error_count: 1, build_seconds })
            }
            // The sandbox's word for more processes than are allowed: what was compiled started them.
            (true, Some(124)) => Ok(BuildFailure { errors: vec![said], error_count: 1, build_seconds }),
            (true, code) => {
                let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
                Err(format!("cargo ended with {code}: {said}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &str = r#"{"reason":"compiler-message","message":{"level":"error","rendered":"error[E0425]: cannot find value `x`","message":"cannot find value","code":{"code":"E0425"},"spans":[{}]}}"#;
    const WARNING: &str = r#"{"reason":"compiler-message","message":{"level":"warning","rendered":"w","message":"w","code":null,"spans":[{}]}}"#;
    const CLOSING: &str = r#"{"reason":"compiler-message","message":{"level":"error","rendered":"error: aborting due to 5 previous errors","message":"aborting due to 5 previous errors","code":null,"spans":[]}}"#;

    fn ended(code: i32, last_words: &str) -> Ended {
        Ended { code: Some(code), last_words: last_words.to_owned() }
    }

    #[test]
    fn a_build_beside_a_trial_uses_the_cores_that_are_left() {
        assert!(arguments(&["trainer"], Some(3)).contains(&"--jobs=3".to_owned()));
        assert!(!arguments(&["trainer"], None).iter().any(|argument| argument.starts_with("--jobs")));
    }

    #[test]
    fn the_first_three_errors_are_kept_and_all_are_counted() {
        let mut messages = Messages::default();
        for line in [WARNING, ERROR, "not json", ERROR, ERROR, ERROR, ERROR, CLOSING] {
            messages.take(line.as_bytes());
        }
        let failure = messages.failure(&ended(101, "could not compile"), 2.0).unwrap();
        assert_eq!((failure.errors.len(), failure.error_count), (3, 5));
        assert!(failure.errors[0].contains("cannot find value `x`"));
    }

    #[test]
    fn a_full_disk_and_a_cargo_that_cannot_work_are_not_the_codes_fault() {
        let mut messages = Messages::default();
        messages.take(ERROR.as_bytes());
        assert!(messages.failure(&ended(101, "error: No space left on device (os error 28)"), 1.0).is_err());
        assert!(Messages::default().failure(&ended(2, "unknown profile"), 1.0).is_err());
        assert!(Messages::default().failure(&ended(101, "cannot update with --frozen"), 1.0).is_err());
        assert!(Messages::default().failure(&ended(101, "build script failed"), 1.0).is_ok());
        let killed = Messages::default().failure(&ended(137, ""), 1.0).unwrap();
        assert!(killed.errors[0].contains("signal 9"));
    }
}
