//! The process's environment as a value, so that tests can make one up; and asking programs short questions in it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::SetupError;

/// The variables that set-up looks at. Nothing else in this module reads the process's environment.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `PATH`.
    pub path: OsString,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `LIBTORCH`; an empty one counts as unset.
    pub libtorch: Option<PathBuf>,
    /// `NOCTURNE_CACHE`.
    pub nocturne_cache: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<PathBuf>,
    /// `CARGO_HOME`.
    pub cargo_home: Option<PathBuf>,
    /// `RUSTUP_HOME`.
    pub rustup_home: Option<PathBuf>,
    /// `CXX`.
    pub cxx: Option<OsString>,
}

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it exited with 0.
    pub ok: bool,
    /// Its exit status in words.
    pub status: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Surroundings {
    /// This process's own.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name: &str| variable(name).map(PathBuf::from);
        Self {
            path: variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            home: folder("HOME"),
            libtorch: folder("LIBTORCH"),
            nocturne_cache: folder("NOCTURNE_CACHE"),
            xdg_cache_home: folder("XDG_CACHE_HOME"),
            cargo_home: folder("CARGO_HOME"),
            rustup_home: folder("RUSTUP_HOME"),
            cxx: variable("CXX"),
        }
    }

    /// Where everything that is fetched goes: `NOCTURNE_CACHE`, else `XDG_CACHE_HOME/nocturne`, else `~/.cache/nocturne`.
    pub fn cache(&self) -> Result<PathBuf, SetupError> {
        // The XDG specification says that a relative path is to be ignored.
        let xdg =
            self.xdg_cache_home.as_ref().filter(|folder| folder.is_absolute()).map(|folder| folder.join("nocturne"));
        let home =
            self.home.as_ref().filter(|folder| folder.is_absolute()).map(|folder| folder.join(".cache/nocturne"));
        let own = match &self.nocturne_cache {
            Some(folder) => Some(std::path::absolute(folder).map_err(SetupError::io("find", folder))?),
            None => None,
        };
        let folder = own.or(xdg).or(home).ok_or(SetupError::NoCache)?;
        match folder.to_str() {
            Some(_) => Ok(folder),
            // It goes into LIBTORCH and into linkers' command lines, which take text.
            None => Err(SetupError::Cache { folder, detail: "its path is not UTF-8".to_owned() }),
        }
    }

    /// The first executable of that name on `PATH`; a name with a slash is taken as it is.
    pub fn find(&self, program: impl AsRef<OsStr>) -> Option<PathBuf> {
        let program = Path::new(program.as_ref());
        let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        if program.components().count() > 1 {
            return runs(program).then(|| program.to_owned());
        }
        std::env::split_paths(&self.path).map(|folder| folder.join(program)).find(|path| runs(path))
    }

    /// A command in these surroundings that dies with the future that waits for it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path).kill_on_drop(true).stdin(Stdio::null());
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
    }

    /// Runs a program to its end and takes down what it says.
    pub(crate) async fn ask(
        &self,
        program: &Path,
        arguments: &[&OsStr],
        folder: &Path,
        input: &str,
        limit: Duration,
    ) -> io::Result<Answer> {
        let mut command = self.command(program);
        command.args(arguments).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input closes the pipe: that is its answer, not a failure of ours.
            match stdin.write_all(input.as_bytes()).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(stdin),
            }
        }
        let output = tokio::time::timeout(limit, child.wait_with_output()).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("it did not answer within {} seconds", limit.as_secs()))
        })??;
        Ok(Answer {
            ok: output.status.success(),
            status: output.status.to_string(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// The last lines of a program's words on one line, without control characters, at most 600 characters: fit for a message.
pub(crate) fn last_words(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = all[all.len().saturating_sub(lines)..].join("; ");
    let clean: String = joined.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().rev().nth(599) {
        Some((start, _)) if start > 0 => format!("...{}", &clean[start..]),
        _ => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_variables() {
        let full = Surroundings {
            home: Some("/home/a".into()),
            xdg_cache_home: Some("/xdg".into()),
            nocturne_cache: Some("/n".into()),
            ..Surroundings::default()
        };
        assert_eq!(full.cache().unwrap(), Path::new("/n"));
        let xdg = Surroundings { nocturne_cache: None, ..full.clone() };
        assert_eq!(xdg.cache().unwrap(), Path::new("/xdg/nocturne"));
        let relative_xdg = Surroundings { xdg_cache_home: Some("xdg".into()), ..xdg };
        assert_eq!(relative_xdg.cache().unwrap(), Path::new("/home/a/.cache/nocturne"));
        assert!(matches!(Surroundings::default().cache(), Err(SetupError::NoCache)));
    }

    #[test]
    fn last_words_are_short_and_clean() {
        assert_eq!(last_words("one\n\ntwo\x1b[31m\nthree\n", 2), "two [31m; three");
        assert_eq!(last_words("", 3), "");
        let long = last_words(&"ä".repeat(1000), 1);
        assert_eq!((long.chars().count(), &long[..3]), (603, "..."));
    }

    #[tokio::test]
    async fn programs_answer_or_run_out_of_time() {
        let here = Surroundings::of_process();
        let shell = here.find("sh").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &'static str| [OsStr::new("-c"), OsStr::new(text)];
        let second = Duration::from_secs(20);
        let answer = here.ask(&shell, &script("cat; echo no >&2; exit 3"), folder.path(), "yes", second).await.unwrap();
        assert_eq!((answer.ok, answer.stdout.as_str(), answer.stderr.as_str()), (false, "yes", "no\n"));
        let error =
            here.ask(&shell, &script("exec sleep 60"), folder.path(), "", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(here.find("no-such-program").is_none());
    }
}
