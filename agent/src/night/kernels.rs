//! The CUDA kernels of a night on a GPU, compiled once before its first trial: else every trainer would compile the same text again.
//!
//! What is compiled runs on the device with all rights of a trainer, so nothing that runs edited code may ever write it. The trainer of the
//! night's start compiles it: it is built by then, carries the text that every trainer of the night carries (no experiment may edit
//! `trainer/kernels`), and its command `kernels` calls nothing of the candidate. It is confined as in training, and may write a new, empty
//! folder and nothing else. Training and serving get to read the folder only after it has ended, and a night that is opened again makes it
//! anew, so nobody has to know what an older one was made from. The devices of a night are of one kind: one folder serves all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{Level, Policy, Surroundings};

use super::device::Chosen;
use super::live::Watcher;
use super::workbench::Workbench;
use crate::files;
use crate::run::{Job, Launcher, RunError};
use crate::terminal::Notice;

/// Names the folder to trainers, which only read from it (`trainer/kernels/src/native/cuda/cache.h`).
pub const VARIABLE: &str = "NOCTURNE_KERNEL_CACHE";

/// Time for starting CUDA and compiling all parts; for a compiler that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Seconds between SIGTERM and SIGKILL.
const GRACE_SECONDS: f64 = 2.0;

/// Bytes of one file and of all: the images are some megabytes, and trainers take none above 64 MiB.
const MOST_BYTES: (u64, u64) = (65 << 20, 512 << 20);

/// Why there are no compiled kernels.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// Edited code could write them.
    #[error("the sandbox is off ({0}), so an edited trainer could change what the others run")]
    Unprotected(String),
    /// The folder cannot be made.
    #[error("cannot make the folder {} anew: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The trainer cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The trainer says why, or nothing.
    #[error("the trainer ended with status {status} after {seconds:.0} s of at most {}: {last_words} (log: {})", PATIENCE.as_secs(), log.display())]
    Failed {
        /// Its exit code; -1 for none.
        status: i32,
        /// How long it ran, seconds.
        seconds: f64,
        /// The end of its standard error.
        last_words: String,
        /// All of it.
        log: PathBuf,
    },
}

/// Compiles the kernels for a night on a GPU into `folder` and gives them to all its trainers; on a CPU nothing is done. `start` is the
/// trainer of the night's start. Where that fails the night goes on and says so: each trainer then compiles for itself.
pub(super) async fn before_the_night(
    start: &Path,
    folder: &Path,
    workbench: &mut Workbench,
    devices: &mut [Chosen],
    watcher: &mut dyn Watcher,
) {
    let Some(first) = devices.first().filter(|_| workbench.on_gpu()) else { return };
    watcher.notice(&Notice::Stage { text: "Compiling the GPU's kernels".to_owned() });
    match compile(&workbench.launcher, &workbench.surroundings, &first.environment, start, folder).await {
        Ok(()) => {
            let each = devices.iter_mut().map(|device| &mut device.environment);
            give(folder, &mut workbench.surroundings, std::iter::once(&mut workbench.environment).chain(each));
        }
        Err(why) => {
            let text = format!(
                "the GPU's kernels were not compiled before the night, so each trainer compiles them for itself when it starts: {why}"
            );
            watcher.notice(&Notice::Warning { text });
        }
    }
}

/// Makes `folder` anew and has the trainer `start` compile the kernels into it, confined, for the device that `environment` shows.
///
/// # Errors
/// See [`NotCompiled`]; what is in the folder then must not be used.
pub async fn compile(
    launcher: &Launcher,
    surroundings: &Surroundings,
    environment: &[(String, String)],
    start: &Path,
    folder: &Path,
) -> Result<(), NotCompiled> {
    let confinement = launcher.confinement();
    if confinement.level() == Level::Off {
        return Err(NotCompiled::Unprotected(confinement.describe()));
    }
    files::remove_folder(folder)
        .and_then(|()| std::fs::create_dir(folder))
        .map_err(|source| NotCompiled::Folder { folder: folder.to_owned(), source })?;
    let job = job(surroundings, environment, start, folder);
    let began = Instant::now();
    let ended = launcher.start(&job).await?.finish(PATIENCE).await?;
    match ended.code {
        Some(0) => Ok(()),
        code => Err(NotCompiled::Failed {
            status: code.unwrap_or(-1),
            seconds: began.elapsed().as_secs_f64(),
            last_words: ended.last_words,
            log: job.log,
        }),
    }
}

/// The one process that may write the folder. Pure.
fn job(surroundings: &Surroundings, environment: &[(String, String)], start: &Path, folder: &Path) -> Job {
    let mut policy = Policy::train(surroundings, start, folder);
    (policy.limits.file_bytes, policy.limits.output_bytes) = MOST_BYTES;
    Job {
        program: start.to_owned(),
        arguments: vec!["kernels".to_owned(), folder.to_string_lossy().into_owned()],
        environment: environment.to_vec(),
        folder: folder.to_owned(),
        nice: 0,
        cores: None,
        grace_seconds: GRACE_SECONDS,
        log: start.with_file_name("kernels.log"),
        policy: Some(policy),
    }
}

/// Lets all that runs in these surroundings read the folder, and names it in the environments of trainers. Pure.
pub fn give<'a>(
    folder: &Path,
    surroundings: &mut Surroundings,
    environments: impl Iterator<Item = &'a mut Vec<(String, String)>>,
) {
    surroundings.libraries.push(folder.to_owned());
    let named = (VARIABLE.to_owned(), folder.to_string_lossy().into_owned());
    environments.for_each(|environment| environment.push(named.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_alone_may_write_the_kernels_and_trainers_read_them() {
        let (start, folder) = (Path::new("/r/.nocturne/redteam/trainer"), Path::new("/r/.nocturne/kernels"));
        let mut surroundings = Surroundings { libraries: vec!["/torch".into()], ..Surroundings::default() };
        let gpu = |index: &str| vec![("CUDA_VISIBLE_DEVICES".to_owned(), index.to_owned())];
        let made = job(&surroundings, &gpu("2"), start, folder);
        let policy = made.policy.unwrap();
        assert_eq!(
            (policy.write, made.environment),
            (vec![folder.to_owned()], gpu("2")),
            "which reads no older folder"
        );
        assert_eq!(made.arguments, ["kernels", "/r/.nocturne/kernels"]);
        assert!(!made.log.starts_with(folder));

        let mut environments = [gpu("2"), gpu("3")];
        give(folder, &mut surroundings, environments.iter_mut());
        let named = (VARIABLE.to_owned(), "/r/.nocturne/kernels".to_owned());
        assert!(environments.iter().all(|environment| environment.len() == 2 && environment.contains(&named)));
        let edited = Path::new("/r/.nocturne/nights/n/1/trainer");
        let output = Path::new("/r/.nocturne/nights/n/1/trial-1/output");
        let (train, serve) = (Policy::train(&surroundings, edited, output), Policy::serve(&surroundings, edited));
        assert!(train.read.contains(&folder.to_owned()) && serve.read.contains(&folder.to_owned()));
        assert_eq!((train.write, serve.write), (vec![output.to_owned()], Vec::new()));
    }
}
