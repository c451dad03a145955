//! Starting, watching and ending one supervised process.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use sandbox::{Confinement, Level, Ordeal, Surroundings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::core_set::CoreSet;
pub use super::error::RunError;
use super::supervise::{COULD_NOT_START, Confined};

/// Captured standard error is cut off here; the process never blocks on it.
pub const MAX_LOG_BYTES: u64 = 10 << 20;

/// How much of the end of standard error is kept in memory, for messages.
const LAST_WORDS_BYTES: usize = 4 << 10;

/// Names the night's lock file in the environment of everything it starts, so that leftovers can be recognised.
pub const TAG_VARIABLE: &str = "NOCTURNE_RUN";

/// Becomes true when running processes are to be ended at once.
pub type StopSignal = watch::Receiver<bool>;

/// Waits until running processes are to be ended.
pub async fn stopped(stop: &mut StopSignal) {
    // An error means that nobody can ask any more; then this never ends, and whatever it is raced against does.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The self-check of a sandbox takes some hundredths of a second; longer than this, and it hangs.
const SELF_CHECK_PATIENCE: Duration = Duration::from_secs(60);

/// A command to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Added to its niceness: builds must not slow down the trial that runs beside them. What is nicer than the agent is the first to go where
    /// memory runs out, too.
    pub nice: i32,
    /// These cores are all that it may use, for something else runs beside it; `None`: it may use all.
    pub cores: Option<CoreSet>,
    /// Seconds between SIGTERM and SIGKILL when it is stopped.
    pub grace_seconds: f64,
    /// Where its standard error goes, up to [`MAX_LOG_BYTES`].
    pub log: PathBuf,
    /// What it may touch; `None` only for trusted tools, which run unconfined.
    pub policy: Option<sandbox::Policy>,
}

/// Starts processes through the supervising helper.
#[derive(Debug, Clone)]
pub struct Launcher {
    helper: PathBuf,
    tag: String,
    confinement: Confinement,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: PathBuf,
    input: Option<UnixStream>,
    output: BufReader<ChildStdout>,
    log: JoinHandle<io::Result<String>>,
    grace: Duration,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; 128 and more are signals.
    pub code: Option<i32>,
    /// The end of its standard error; text from edited code.
    pub last_words: String,
}

impl Launcher {
    /// `helper` is the `nocturne` executable itself; `lock` is the night's lock file, which at most one night holds;
    /// `confinement` is how jobs with a policy are confined.
    pub fn new(helper: PathBuf, lock: &Path, confinement: Confinement) -> Self {
        Self { helper, tag: lock.to_string_lossy().into_owned(), confinement }
    }

    /// How jobs with a policy are confined.
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Starts a job. Must be called from a thread that lives as long as the process shall (a runtime's worker, not a
    /// blocking thread), because the helper is tied to it.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn start(&self, job: &Job) -> Result<Process, RunError> {
        let log = tokio::fs::File::create(&job.log).await.map_err(|source| RunError::File {
            action: "create the log",
            path: job.log.clone(),
            source,
        })?;
        let not_connected = |source| RunError::Start { program: job.program.clone(), source };
        let (input, theirs) = input_pair().map_err(not_connected)?;
        let mut command = tokio::process::Command::new(&self.helper);
        command.arg("supervise");
        if let Some(policy) = &job.policy {
            let confined = Confined { confinement: self.confinement.clone(), policy: policy.clone() };
            let orders = serde_json::to_string(&confined).map_err(|error| not_connected(io::Error::other(error)))?;
            command.arg("--confined").arg(orders);
        }
        let mut child = command
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--nice")
            .arg(job.nice.to_string())
            .args(job.cores.as_ref().map(|cores| format!("--cores={cores}")))
            .arg("--grace-seconds")
            .arg(job.grace_seconds.to_string())
            .arg("--")
            .arg(&job.program)
            .args(&job.arguments)
            .env_clear()
            .envs(job.environment.iter().map(|(name, value)| (name, value)))
            .env(TAG_VARIABLE, &self.tag)
            .current_dir(&job.folder)
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| RunError::Start { program: job.program.clone(), source })?;
        let missing = || RunError::Start {
            program: job.program.clone(),
            source: io::Error::other("its standard streams were not connected"),
        };
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let errors = child.stderr.take().ok_or_else(missing)?;
        Ok(Process {
            child,
            program: job.program.clone(),
            input: Some(input),
            output,
            log: tokio::spawn(capture(errors, log)),
            grace: Duration::from_secs_f64(job.grace_seconds),
        })
    }

    /// Ends what an earlier night, killed without warning, may have left running. Only the holder of the lock may call this:
    /// whatever carries the lock's name in its environment, or is in a control group of its name, is then a leftover. Returns
    /// how many processes were ended.
    ///
    /// # Errors
    /// When a control group that was left cannot be removed.
    pub fn end_leftovers(&self) -> Result<usize, RunError> {
        let needle = format!("{TAG_VARIABLE}={}", self.tag);
        let own = std::process::id();
        let mut ended = 0;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
            let tagged = environment.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes());
            let pid = i32::try_from(pid).ok().filter(|_| tagged && pid != own).and_then(Pid::from_raw);
            if let Some(pid) = pid
                && rustix::process::kill_process(pid, Signal::KILL).is_ok()
            {
                ended += 1;
            }
        }
        if let Some(cgroup) = self.confinement.cgroup() {
            ended += sandbox::end_groups(cgroup, &sandbox::group_prefix(&self.tag))?;
        }
        Ok(ended)
    }

    /// Has a confined process really try what it must not be able to do: read and write files outside of its policy, use
    /// sockets, kill another process. What it reaches for is laid out in a new folder in `within`, and removed again. Does
    /// nothing at [`Level::Off`], at which all of that can be done.
    ///
    /// # Errors
    /// [`RunError::Leaks`] names what it could do, or what it should have been able to do and could not.
    pub async fn self_check(&self, within: &Path) -> Result<(), RunError> {
        if self.confinement.level() == Level::Off {
            return Ok(());
        }
        let laid_out = Ordeal::lay_out(within, &self.helper).map_err(|source| RunError::File {
            action: "lay out the sandbox's self-check in",
            path: within.to_owned(),
            source,
        });
        let ordeal = laid_out?;
        let job = Job {
            program: self.helper.clone(),
            arguments: ordeal.arguments(),
            environment: Vec::new(),
            folder: ordeal.folder().to_owned(),
            nice: 0,
            cores: None,
            grace_seconds: 0.5,
            log: ordeal.log(),
            policy: Some(ordeal.policy(&Surroundings::default(), &self.helper)),
        };
        let mut process = self.start(&job).await?;
        let told = tokio::time::timeout(SELF_CHECK_PATIENCE, process.line()).await;
        let ended = process.stop().await?;
        let printed = match told {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None) | Err(_)) | Err(_) => {
                return Err(RunError::Leaks(format!("the self-check does not answer: {}", ended.last_words)));
            }
        };
        ordeal.judge(&printed).map_err(RunError::Leaks)
    }
}

impl Process {
    /// Sends one line.
    ///
    /// # Errors
    /// When the process has closed its input or is gone.
    pub async fn send<T: serde::Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// Sends one line that carries open files, at most [`protocol::descriptors::MAX_DESCRIPTORS`] of them. The other side
    /// gets copies.
    ///
    /// # Errors
    /// When the process has closed its input or is gone.
    pub async fn send_with<T: serde::Serialize>(
        &mut self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let line = protocol::descriptors::line(message)?;
        let input = self.input.as_ref().ok_or_else(|| io::Error::other("its input is closed already"))?;
        let mut sent = 0;
        while let Some(rest) = line.get(sent..).filter(|rest| !rest.is_empty()) {
            let carried = if sent == 0 { descriptors } else { &[] };
            let part = || protocol::descriptors::send_part(input, rest, carried);
            sent += input.async_io(Interest::WRITABLE, part).await?;
        }
        Ok(())
    }

    /// Reads one line of at most [`protocol::MAX_LINE_BYTES`] from standard output; `None` at its end. Can be dropped and
    /// called again only at the end of a line: use it with a deadline after which the process is stopped.
    ///
    /// # Errors
    /// When the pipe fails or the line is too long.
    pub async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let most = protocol::MAX_LINE_BYTES as u64 + 1;
        let got = (&mut self.output).take(most).read_until(b'\n', &mut line).await?;
        if got > protocol::MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it printed a line that is too long for a message"));
        }
        Ok((got > 0).then_some(line))
    }

    /// Waits for the end at most so long, then ends it; whatever it still prints is read and thrown away.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn finish(mut self, patience: Duration) -> Result<Ended, RunError> {
        // End of input tells a trainer that nobody listens any more.
        drop(self.input.take());
        match tokio::time::timeout(patience, self.drain_and_wait()).await {
            Ok(status) => self.ended(status).await,
            Err(_) => self.stop().await,
        }
    }

    /// Ends the process and everything it started: SIGTERM, the grace period, SIGKILL.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn stop(mut self) -> Result<Ended, RunError> {
        drop(self.input.take());
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // Gone already is as good as stopped.
            let _gone = rustix::process::kill_process(pid, Signal::TERM);
        }
        // The helper kills after the grace period; it only fails to when it was killed itself.
        let patience = self.grace + Duration::from_secs(15);
        match tokio::time::timeout(patience, self.drain_and_wait()).await {
            Ok(status) => self.ended(status).await,
            Err(_) => Err(RunError::Wait {
                program: self.program,
                source: io::Error::other("it does not end although it was killed"),
            }),
        }
    }

    async fn drain_and_wait(&mut self) -> io::Result<ExitStatus> {
        let mut rest = [0; 8192];
        while matches!(self.output.read(&mut rest).await, Ok(1..)) {}
        self.child.wait().await
    }

    async fn ended(self, status: io::Result<ExitStatus>) -> Result<Ended, RunError> {
        let program = self.program;
        let wait_failed = |source| RunError::Wait { program: program.clone(), source };
        let status = status.map_err(wait_failed)?;
        let last_words = self.log.await.map_err(|error| wait_failed(io::Error::other(error)))?.map_err(wait_failed)?;
        if status.code() == Some(i32::from(COULD_NOT_START)) {
            return Err(RunError::Start { program, source: io::Error::other(last_words) });
        }
        if status.code() == Some(i32::from(sandbox::FULL_DISK)) {
            return Err(RunError::FullDisk { program, why: last_words });
        }
        Ok(Ended { code: status.code().or(status.signal().map(|signal| 128 + signal)), last_words })
    }
}

/// The two ends of a process's standard input: ours, and the one that it is started with. A socket, because a pipe carries no
/// descriptors; closed in our direction, so that nothing can be sent to the agent over it.
fn input_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.shutdown(Shutdown::Read)?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// Copies standard error into the log up to the limit, then only reads it. Returns the last words.
async fn capture(mut from: ChildStderr, mut log: tokio::fs::File) -> io::Result<String> {
    let mut last: VecDeque<u8> = VecDeque::with_capacity(LAST_WORDS_BYTES);
    let mut buffer = vec![0; 64 << 10];
    let (mut written, mut dropped) = (0_u64, 0_u64);
    loop {
        let got = from.read(&mut buffer).await?;
        if got == 0 {
            break;
        }
        let chunk = buffer.get(..got).unwrap_or_default();
        let room = usize::try_from(MAX_LOG_BYTES - written).unwrap_or(usize::MAX).min(got);
        if let Some(fits) = chunk.get(..room) {
            log.write_all(fits).await?;
        }
        written += room as u64;
        dropped += (got - room) as u64;
        let tail = chunk.get(got.saturating_sub(LAST_WORDS_BYTES)..).unwrap_or_default();
        last.extend(tail);
        last.drain(..last.len().saturating_sub(LAST_WORDS_BYTES));
    }
    if dropped > 0 {
        log.write_all(format!("\n[{dropped} more bytes were not kept]\n").as_bytes()).await?;
    }
    log.flush().await?;
    let bytes: Vec<u8> = last.into();
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
