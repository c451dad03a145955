//! The PyTorch that the trainer is compared with: `xtask/reference/throughput.py` in a Python environment below `target/`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::steps;

/// What glibc reads at the start of a process: the settings for large tensors that the trainer makes for itself in `harness::machine`, which also
/// has one arena and huge pages.
const TUNED_MALLOC: [(&str, &str); 3] =
    [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "1073741824"), ("MALLOC_TOP_PAD_", "67108864")];

/// Everything of these measurements: the Python environment, caches, tables.
pub fn folder() -> Result<PathBuf, String> {
    let folder = steps::root()?.join("target/throughput");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// The reference program, ready to be run.
pub struct Reference {
    python: PathBuf,
    script: PathBuf,
    compiled: PathBuf,
}

impl Reference {
    /// Makes the Python environment, unless it is there with what is asked for now, and removes what earlier measurements compiled, so that
    /// the first compiled run of this one is a first one.
    pub fn prepare() -> Result<Reference, String> {
        let (folder, sources) = (folder()?, steps::root()?.join("xtask/reference"));
        let environment = folder.join("venv");
        let (python, pinned) = (environment.join("bin/python3"), sources.join("requirements.txt"));
        let wanted =
            fs::read_to_string(&pinned).map_err(|error| format!("cannot read {}: {error}", pinned.display()))?;
        // Written last, so that what was installed by halves is installed again.
        let mark = folder.join("installed.txt");
        if !fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
            let mut venv = Command::new("python3");
            steps::run("Make a Python environment", venv.args(["-m", "venv", "--clear"]).arg(&environment))?;
            eprintln!("==> PyTorch is 3 GB with what it needs; {} says how to have less", pinned.display());
            let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"];
            steps::run("Install PyTorch", Command::new(&python).args(pip).arg(&pinned))?;
            fs::write(&mark, wanted).map_err(|error| format!("cannot write {}: {error}", mark.display()))?;
        }
        let compiled = folder.join("inductor");
        if compiled.exists() {
            fs::remove_dir_all(&compiled).map_err(|error| format!("cannot remove {}: {error}", compiled.display()))?;
        }
        Ok(Reference { python, script: sources.join("throughput.py"), compiled })
    }

    /// A run of the reference program with these options; `tuned`: with the trainer's settings of malloc.
    pub fn command(&self, options: &[String], tuned: bool) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).args(options).stdin(Stdio::null());
        command.env("TORCHINDUCTOR_CACHE_DIR", &self.compiled);
        for (name, value) in TUNED_MALLOC {
            if tuned {
                command.env(name, value);
            } else {
                command.env_remove(name);
            }
        }
        command
    }
}
