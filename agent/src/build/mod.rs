//! Building candidates: a clean slot per build, cargo without network, the compiler's first errors.
//!
//! A *slot* is a copy of the repository's files (`source`) beside cargo's target directory (`target`). The `pristine` slot
//! holds the night's start, built once. Every candidate is built in a copy of it, made anew for that build, so that only the
//! edited crate is compiled and nothing one build leaves behind reaches another. Where there is a core to spare, the next copy is made
//! before it is wanted (`spare`). The start is built where candidates are, and then moved to its place: the compiler takes what it
//! kept of an earlier compilation only for sources at the same path, and compiling an edit from nothing takes ten times as long.
//! Compiling is confined: the compiler reads files when the code tells it to, and build scripts and macros are programs.

mod cargo;
mod slot;
mod spare;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use sandbox::{Policy, Surroundings};

use crate::flow::{Artifact, BuildFailure};
use crate::hash::sha256_file;
use crate::run::{CoreSet, Job, Launcher, RunError, StopSignal, stopped};
use spare::Spare;

/// The trainer package's second binary: known cheats, which the evaluator is tried on before a night begins.
const RED_TEAM: &str = "redteam";

/// The cargo profile that trainers are built with.
pub const PROFILE: &str = "trainer";

/// Niceness of what runs beside a trial.
pub const NICE_BESIDE: i32 = 15;

/// Why a build could not be done. Never a matter of the edited code; that is a [`BuildFailure`].
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A process could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A slot could not be laid out.
    #[error("cannot {action} {}: {source}; check the disk's space and permissions", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The commit's files could not be written out.
    #[error("cannot write out the files to build: {0}")]
    Export(String),
    /// Cargo failed for a reason that is not in the code.
    #[error("the build failed through no fault of the code: {0}")]
    Machine(String),
    /// The night was stopped.
    #[error("the night was stopped")]
    Stopped,
}

/// Builds trainers.
#[derive(Debug)]
pub struct Builder {
    launcher: Launcher,
    cargo: PathBuf,
    environment: Vec<(String, String)>,
    surroundings: Surroundings,
    slots: PathBuf,
    spare: tokio::sync::Mutex<Spare>,
}

/// One build.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Where the executable is set aside.
    pub executable: &'a Path,
    /// Where cargo's standard error goes.
    pub log: &'a Path,
    /// Cores that trials beside it leave free, which are all that the build may use; `None`: it has the machine to itself.
    pub beside: Option<&'a CoreSet>,
    /// Seconds after which the build is ended: edited code can keep a compiler busy for ever.
    pub most_seconds: f64,
}

impl Builder {
    /// `slots` is the folder of all slots; `environment` and `surroundings` are all that cargo gets to see.
    pub fn new(
        launcher: Launcher,
        cargo: PathBuf,
        environment: Vec<(String, String)>,
        surroundings: Surroundings,
        slots: PathBuf,
    ) -> Self {
        let spare = tokio::sync::Mutex::new(Spare::new(&slots));
        Self { launcher, cargo, environment, surroundings, slots, spare }
    }

    /// Whether the pristine slot is there to be copied.
    pub fn has_start(&self) -> bool {
        self.slots.join("pristine/target").join(PROFILE).join("trainer").exists()
    }

    /// The red team's executable, which every build of a night's start makes beside the trainer.
    pub fn red_team(&self) -> PathBuf {
        self.slots.join("pristine/target").join(PROFILE).join(RED_TEAM)
    }

    /// Builds the night's start and the red team in the pristine slot; `export` writes its files into a folder, changed
    /// files only.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build_start(
        &self,
        order: Order<'_>,
        export: impl FnOnce(&Path) -> Result<(), String> + Send + 'static,
        stop: StopSignal,
    ) -> Result<Result<Artifact, BuildFailure>, BuildError> {
        let began = Instant::now();
        self.spare.lock().await.forget().await;
        let start = slot::Start::new(&self.slots);
        let taken = start.clone();
        blocking(move || taken.take_out()).await?;
        let built = self.build_in(start.place().to_owned(), began, &["trainer", RED_TEAM], order, export, stop).await;
        // Whatever came of it: what was compiled need not be compiled again.
        blocking(move || start.put_back()).await?;
        built
    }

    /// Builds a candidate in a fresh copy of the pristine slot.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build(
        &self,
        order: Order<'_>,
        export: impl FnOnce(&Path) -> Result<(), String> + Send + 'static,
        stop: StopSignal,
    ) -> Result<Result<Artifact, BuildFailure>, BuildError> {
        let began = Instant::now();
        let start = slot::Start::new(&self.slots);
        let fresh = start.place().to_owned();
        let spare_taken = self.spare.lock().await.take(fresh.clone()).await?;
        blocking(move || start.lend(spare_taken)).await?;
        self.build_in(fresh, began, &["trainer"], order, export, stop).await
    }

    /// Begins to lay out the slot of the next candidate. [`Self::build`] then finds it, and copies nothing.
    pub async fn lay_out_ahead(&self) {
        if self.has_start() {
            self.spare.lock().await.prepare(self.slots.join("pristine"));
        }
    }

    /// Builds one program of the trainer's package in a slot `name` of its own, which stays for the next time. Where there is none yet it
    /// begins as a copy of the pristine slot, if that has been built.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build_apart(
        &self,
        name: &str,
        program: &str,
        order: Order<'_>,
        export: impl FnOnce(&Path) -> Result<(), String> + Send + 'static,
        stop: StopSignal,
    ) -> Result<Result<Artifact, BuildFailure>, BuildError> {
        let began = Instant::now();
        let (pristine, slot) = (self.slots.join("pristine"), self.slots.join(name));
        if self.has_start() && !slot.exists() {
            let slot = slot.clone();
            blocking(move || slot::copy_afresh(&pristine, &slot)).await?;
        }
        self.build_in(slot, began, &[program], order, export, stop).await
    }

    /// Finds out whether a candidate builds, as [`Builder::build`] would, in a slot `name` that is made for it and removed: no executable
    /// is kept, and the slot that experiments are built in is not touched. Answers with the seconds that the build took.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn try_out(
        &self,
        name: &str,
        beside: Option<&CoreSet>,
        most_seconds: f64,
        export: impl FnOnce(&Path) -> Result<(), String> + Send + 'static,
        stop: StopSignal,
    ) -> Result<Result<f64, BuildFailure>, BuildError> {
        let began = Instant::now();
        let (pristine, slot) = (self.slots.join("pristine"), self.slots.join(name));
        let laid_out = slot.clone();
        let built = match blocking(move || slot::copy_afresh(&pristine, &laid_out)).await {
            Ok(()) => {
                let (executable, log) = (slot.join("trainer"), slot.join("build.log"));
                let order = Order { executable: &executable, log: &log, beside, most_seconds };
                self.build_in(slot.clone(), began, &["trainer"], order, export, stop).await
            }
            Err(error) => Err(error),
        };
        blocking(move || {
            let removed = crate::files::remove_folder(&slot);
            removed.map_err(|source| BuildError::File { action: "remove the slot", path: slot, source })
        })
        .await?;
        built.map(|built| built.map(|artifact| artifact.build_seconds))
    }

    /// Builds `binaries`, of which the first is set aside. `began`: when the slot was begun to be laid out, which counts as building.
    async fn build_in(
        &self,
        slot: PathBuf,
        began: Instant,
        binaries: &[&str],
        order: Order<'_>,
        export: impl FnOnce(&Path) -> Result<(), String> + Send + 'static,
        mut stop: StopSignal,
    ) -> Result<Result<Artifact, BuildFailure>, BuildError> {
        let (source, target) = (slot.join("source"), slot.join("target"));
        let temporary = target.join("tmp");
        for folder in [&source, &target, &temporary] {
            std::fs::create_dir_all(folder).map_err(|error| BuildError::File {
                action: "create the folder",
                path: folder.clone(),
                source: error,
            })?;
        }
        let export_to = source.clone();
        blocking(move || export(&export_to).map_err(BuildError::Export)).await?;

        let mut environment = self.environment.clone();
        for (name, folder) in [("CARGO_TARGET_DIR", &target), ("TMPDIR", &temporary), ("HOME", &temporary)] {
            environment.push((name.to_owned(), folder.to_string_lossy().into_owned()));
        }
        let job = Job {
            program: self.cargo.clone(),
            arguments: cargo::arguments(binaries, order.beside.map(CoreSet::count)),
            policy: Some(Policy::build(&self.surroundings, &source, &target)),
            environment,
            folder: source,
            nice: if order.beside.is_some() { NICE_BESIDE } else { 0 },
            cores: order.beside.cloned(),
            grace_seconds: 2.0,
            log: order.log.to_owned(),
        };
        let mut process = self.launcher.start(&job).await?;
        let mut messages = cargo::Messages::default();
        let read = async {
            // A message that is too long or a broken pipe ends the reading, not the build: the exit code decides.
            while let Ok(Some(line)) = process.line().await {
                messages.take(&line);
            }
        };
        let deadline = std::time::Duration::from_secs_f64(order.most_seconds);
        tokio::select! {
            () = read => {}
            () = tokio::time::sleep(deadline) => {
                process.stop().await?;
                let errors = vec![format!("the compiler was still at work after {} seconds", order.most_seconds)];
                let build_seconds = began.elapsed().as_secs_f64();
                return Ok(Err(BuildFailure { errors, error_count: 1, build_seconds }));
            }
            () = stopped(&mut stop) => {
                process.stop().await?;
                return Err(BuildError::Stopped);
            }
        }
        let ended = process.finish(std::time::Duration::from_secs(60)).await?;
        let build_seconds = began.elapsed().as_secs_f64();
        if ended.code != Some(0) {
            return messages.failure(&ended, build_seconds).map(Err).map_err(BuildError::Machine);
        }
        let built = target.join(PROFILE).join(binaries.first().copied().unwrap_or("trainer"));
        let set_aside = order.executable.to_owned();
        match blocking(move || set_aside_copy(&built, &set_aside)).await? {
            Some(sha256) => Ok(Ok(Artifact { path: order.executable.to_owned(), sha256, build_seconds })),
            None => {
                let errors = vec!["the build left no plain file where its executable should be".to_owned()];
                Ok(Err(BuildFailure { errors, error_count: 1, build_seconds }))
            }
        }
    }
}

/// Does what keeps a thread waiting for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BuildError::Machine(error.to_string()))?
}

/// Copies the executable to its place and returns its hash; `None` when what was built is no plain file. Whatever ran during the
/// build could write there: a link would lead to somebody else's file, a pipe nowhere.
fn set_aside_copy(built: &Path, place: &Path) -> Result<Option<String>, BuildError> {
    let file_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { action, path, source }
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut from = match rustix::fs::open(built, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(file_error("open the executable", built)(error.into())),
    };
    if !from.metadata().map_err(file_error("inspect", built))?.is_file() {
        return Ok(None);
    }
    // A running executable cannot be overwritten, and a half-written one must not be taken for whole.
    let temporary = place.with_extension("writing");
    let copied = File::create(&temporary).and_then(|mut to| {
        to.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        std::io::copy(&mut from, &mut to)
    });
    copied.map_err(file_error("copy the executable to", &temporary))?;
    std::fs::rename(&temporary, place).map_err(file_error("put the executable at", place))?;
    sha256_file(place).map(Some).map_err(file_error("read", place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_a_plain_file_is_set_aside_and_its_mode_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (built, place, secret) =
            (folder.path().join("built"), folder.path().join("place"), folder.path().join("secret"));
        std::fs::write(&secret, "held out").unwrap();
        symlink(&secret, &built).unwrap();
        assert_eq!(set_aside_copy(&built, &place).unwrap(), None);
        std::fs::remove_file(&built).unwrap();
        std::fs::create_dir(&built).unwrap();
        assert_eq!(set_aside_copy(&built, &place).unwrap(), None);
        std::fs::remove_dir(&built).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &built, pipe, Mode::RUSR, 0).unwrap();
        assert_eq!(set_aside_copy(&built, &place).unwrap(), None);
        assert!(!place.exists());
        std::fs::remove_file(&built).unwrap();
        std::fs::write(&built, "abc").unwrap();
        std::fs::set_permissions(&built, std::fs::Permissions::from_mode(0o6755)).unwrap();
        assert!(set_aside_copy(&built, &place).unwrap().is_some());
        assert_eq!(std::fs::read(&place).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
