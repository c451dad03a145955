//! NVIDIA's run-time compiler, which the tests of the CUDA kernels use where it is. The packages of a libtorch for a machine without a GPU do
//! not bring it; it is one of those that a machine with one gets, and needs no GPU itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps;

/// The package of the compiler, as the lists of pinned wheels name it.
const PACKAGE: &str = "nvidia-cuda-nvrtc==";

/// Names the library to the tests, which say that they are skipped, and why, where it does not.
pub const VARIABLE: &str = "NOCTURNE_NVRTC";

/// The compiler that tests are to be given, fetched into the target folder by the first call (90 MB). `None` where there is none, with a word
/// on why, and where the person names one: whoever does wants that.
pub fn found() -> Option<PathBuf> {
    if std::env::var_os(VARIABLE).is_some() {
        return None;
    }
    library().inspect_err(|problem| eprintln!("==> Without NVIDIA's run-time compiler: {problem}")).ok()
}

/// The library, from the target folder or fetched by pip, which checks the pinned hash.
fn library() -> Result<PathBuf, String> {
    let root = steps::root()?;
    let architecture = std::env::consts::ARCH;
    let pins = root.join(format!("agent/src/setup/pins/{architecture}-cuda.txt"));
    let pins = fs::read_to_string(&pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    let pin = pins
        .lines()
        .find(|line| line.starts_with(PACKAGE))
        .ok_or_else(|| format!("the wheels for {architecture} name no {PACKAGE}"))?;
    let version = pin[PACKAGE.len()..].split(' ').next().unwrap_or_default();
    let folder = root.join("target").join(format!("nvrtc-{version}"));
    if let Some(found) = find(&folder) {
        return Ok(found);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    let requirements = folder.join("requirements.txt");
    // What follows the hash is a comment of the list's own.
    let line = pin.split("  #").next().unwrap_or(pin);
    fs::write(&requirements, format!("{line}\n")).map_err(failed)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    pip.arg("--require-hashes").arg("--target").arg(&folder).arg("--requirement").arg(&requirements);
    steps::run("Fetch NVIDIA's run-time compiler", &mut pip)?;
    find(&folder).ok_or_else(|| format!("pip installed it into {}, and it is not there", folder.display()))
}

/// `nvidia/<CUDA>/lib/libnvrtc.so.<version>` in a folder.
fn find(folder: &Path) -> Option<PathBuf> {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut libraries: Vec<PathBuf> = entries(folder.join("nvidia"))
        .flat_map(|cuda| entries(cuda.join("lib")))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.strip_prefix("libnvrtc.so.").is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect();
    libraries.sort();
    libraries.pop()
}
