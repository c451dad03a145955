//! Runs an agent: its output into a log, its time limited, its whole tree of processes ended with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::secrets::Secrets;
use crate::run::{Job, Launcher, RunError, StopSignal, stopped};

/// Seconds from the wish that it may end until it is killed: agents put their own things in order.
const GRACE_SECONDS: f64 = 5.0;

/// Agents think; what they compute meanwhile must not slow down a trial.
const NICE: i32 = 15;

/// Exit codes of a shell for a program that is not there or cannot be executed.
const NOT_THERE: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Characters of the last words that are told.
const MOST_WORDS: usize = 400;

/// How an agent ended.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::propose) enum Ended {
    /// By itself, and well.
    Done,
    /// By itself, and not well; in words.
    Failed(String),
    /// Its program is not there; in words.
    Missing(String),
    /// Its time was over.
    TimedOut,
    /// The night is to end at once.
    Stopped,
}

/// What to run.
#[derive(Debug)]
pub(in crate::propose) struct Run<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// All of its variables.
    pub environment: &'a [(String, String)],
    /// Where it works.
    pub folder: &'a Path,
    /// The file that it gets as standard input.
    pub input: PathBuf,
    /// Where its output goes, bounded.
    pub log: PathBuf,
    /// How long it may take.
    pub limit: Duration,
    /// What is taken out of its last words, before they are shortened.
    pub secrets: &'a Secrets,
}

/// Why it is waited for no longer.
enum Why {
    Itself,
    Time,
    Stop,
}

/// Runs it to its end. Called on a thread that may block.
///
/// # Errors
/// When the helper that runs it cannot be started or does not end: the machine's fault.
pub(in crate::propose) fn run(
    launcher: &Launcher,
    runtime: &Handle,
    stop: &StopSignal,
    run: &Run<'_>,
) -> Result<(Ended, Duration), RunError> {
    let Run { command, environment, folder, input, log, limit, secrets } = run;
    // A shell puts both of its outputs into the log and gives it its input; the command reaches it as arguments, which no shell reads.
    let mut arguments = vec!["-c".to_owned(), r#"exec "$@" <"$0" 1>&2"#.to_owned(), input.display().to_string()];
    arguments.extend(command.iter().cloned());
    let job = Job {
        program: PathBuf::from("/bin/sh"),
        arguments,
        environment: environment.to_vec(),
        folder: folder.to_path_buf(),
        nice: NICE,
        cores: None,
        grace_seconds: GRACE_SECONDS,
        log: log.clone(),
        policy: None,
    };
    let (launcher, mut stop, limit) = (launcher.clone(), stop.clone(), *limit);
    let began = Instant::now();
    // The helper is tied to the thread that starts it, which must be one of the runtime's own.
    let running = runtime.spawn(async move {
        let mut process = launcher.start(&job).await?;
        let why = {
            // The helper's own output closes when it ends; the agent's goes elsewhere.
            let ends = async { while matches!(process.line().await, Ok(Some(_))) {} };
            tokio::select! {
                () = ends => Why::Itself,
                () = tokio::time::sleep(limit) => Why::Time,
                () = stopped(&mut stop) => Why::Stop,
            }
        };
        let ended = match why {
            Why::Itself => process.finish(Duration::from_secs(60)).await?,
            Why::Time | Why::Stop => process.stop().await?,
        };
        Ok((why, ended))
    });
    let (why, ended) = runtime.block_on(running).unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(RunError::Wait { program: PathBuf::from("/bin/sh"), source })
    })?;
    let ended = match (why, ended.code) {
        (Why::Time, _) => Ended::TimedOut,
        (Why::Stop, _) => Ended::Stopped,
        (Why::Itself, Some(0)) => Ended::Done,
        (Why::Itself, code) => told(code.unwrap_or_default(), &secrets.taken_out_of(&ended.last_words)),
    };
    Ok((ended, began.elapsed()))
}

fn told(code: i32, last_words: &str) -> Ended {
    let words: Vec<&str> = last_words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = words[words.len().saturating_sub(3)..].join(" / ");
    let skip = tail.chars().count().saturating_sub(MOST_WORDS);
    let tail: String = tail.chars().skip(skip).collect();
    let tail = crate::brief::quote::inline(&tail, MOST_WORDS);
    match code {
        NOT_THERE | NOT_EXECUTABLE => Ended::Missing(format!("it cannot be started (exit code {code}): `{tail}`")),
        129.. => Ended::Failed(format!("signal {} ended it: `{tail}`", code - 128)),
        _ => Ended::Failed(format!("it ended with exit code {code}: `{tail}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_last_words() {
        let long = format!("first\n\n{}\nsecond last\nlast\u{1b}[31m `x`\n", "y".repeat(600));
        let Ended::Failed(words) = told(3, &long) else { panic!() };
        assert!(
            words.starts_with("it ended with exit code 3: `yyy") && words.ends_with("last\\u{1b}[31m  x`"),
            "{words}"
        );
        assert!(words.chars().count() < 500);
        assert!(matches!(told(127, "sh: exec: nobody: not found"), Ended::Missing(words) if words.contains("nobody")));
        assert!(matches!(told(137, ""), Ended::Failed(words) if words.starts_with("signal 9 ended it")));
    }
}
