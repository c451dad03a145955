//! What confined processes need of this machine: folders to read, a GPU's device files, and a cargo home without secrets.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cargo_settings::{has_no_secrets, settings_above, without_secrets};
use super::private::Private;
use super::{Environment, SetupError};

/// Programs that a build starts by their names, besides cargo and rustc.
const BUILD_TOOLS: [&str; 8] = ["cc", "c++", "gcc", "g++", "ld", "as", "ar", "ld.lld"];

impl Environment {
    /// All that is the same for every confined process of a night: `device` is `cpu` or `cuda:N`, `memory_bytes` what
    /// training may use, `root` the repository (cargo reads the settings of the folders above a build).
    ///
    /// # Errors
    /// When folders of the machine cannot be looked at, or something secret lies where every confined process can read.
    pub fn confined(
        &self,
        root: &Path,
        device: &str,
        memory_bytes: Option<u64>,
        level: sandbox::Level,
    ) -> Result<sandbox::Surroundings, SetupError> {
        let private = Private::of(root, self.cargo_home().as_deref());
        if level > sandbox::Level::Off {
            private.check()?;
        }
        if level == sandbox::Level::Landlock
            && let Some(file) = settings_above(root).into_iter().find(|file| file.is_file() && !has_no_secrets(file))
        {
            return Err(SetupError::BadRepository {
                path: file,
                detail: "cargo reads these settings in every build below, and they hold a secret that edited code must not see"
                    .to_owned(),
                remedy: "Move the secret into credentials.toml of the cargo home".to_owned(),
            });
        }
        let mut libraries: Vec<PathBuf> = self.libtorch.as_ref().map(super::LibTorch::read_paths).unwrap_or_default();
        // A view of libtorch is a folder of links; what they point to must be readable as well.
        libraries.extend(real_paths(&libraries));
        Ok(sandbox::Surroundings {
            toolchain: self.build_paths(root, &private),
            libraries: outermost(libraries),
            devices: if device == "cpu" { Vec::new() } else { gpu_devices(Path::new("/dev"))? },
            memory_bytes: match memory_bytes {
                Some(bytes) => Some(bytes),
                None => Some(machine_memory()? / 10 * 9),
            },
        })
    }

    /// The variables of a confined build: [`Environment::build_env`] with a cargo home and a temporary folder of its own.
    pub fn confined_build_env(&self, cargo_home: &Path) -> Vec<(String, String)> {
        let mut variables = self.build_env();
        variables.retain(|(name, _)| !matches!(name.as_str(), "CARGO_HOME" | "RUSTUP_HOME" | "HOME"));
        variables.push(("CARGO_HOME".to_owned(), cargo_home.to_string_lossy().into_owned()));
        // A wrapper that some settings above the repository name (sccache) is not there in the sandbox; empty means none.
        for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            variables.push((name.to_owned(), String::new()));
        }
        variables
    }

    /// The person's cargo home.
    fn cargo_home(&self) -> Option<PathBuf> {
        self.build_env().into_iter().find(|(name, _)| name == "CARGO_HOME").map(|(_, folder)| PathBuf::from(folder))
    }

    /// Makes a cargo home for confined builds in `folder`: the downloaded crates by links, settings without tokens, and
    /// nothing else; credentials stay where they are.
    ///
    /// # Errors
    /// When the folder cannot be written or the person's settings cannot be read.
    pub fn make_cargo_home(&self, folder: &Path) -> Result<(), SetupError> {
        fs::create_dir_all(folder).map_err(SetupError::io("create", folder))?;
        let Some(home) = self.cargo_home() else { return Ok(()) };
        let home = home.canonicalize().unwrap_or(home);
        for name in ["registry", "git"] {
            let (real, link) = (home.join(name), folder.join(name));
            if fs::read_link(&link).is_ok_and(|target| target == real) {
                continue;
            }
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SetupError::io("replace", &link)(error));
                }
                _ => {}
            }
            if real.is_dir() {
                std::os::unix::fs::symlink(&real, &link).map_err(SetupError::io("create", &link))?;
            }
        }
        let own = folder.join("config.toml");
        let mut settings = String::new();
        for name in ["config.toml", "config"] {
            let file = home.join(name);
            if file.is_file() {
                let text = fs::read_to_string(&file).map_err(SetupError::io("read", &file))?;
                settings = without_secrets(&text).map_err(|error| {
                    SetupError::io("read", &file)(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
                })?;
                break;
            }
        }
        if fs::read_to_string(&own).is_ok_and(|old| old == settings) {
            return Ok(());
        }
        fs::write(&own, settings).map_err(SetupError::io("write", &own))
    }

    /// Folders and files that compiling must be able to read, besides libtorch and the sources.
    fn build_paths(&self, root: &Path, private: &Private) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        // .../toolchains/NAME/bin/cargo: the whole toolchain.
        paths.extend(private.installation(&self.toolchain.cargo.path));
        paths.extend(private.installation(&self.toolchain.rustc.path));
        let search: Vec<PathBuf> = self
            .build_env()
            .iter()
            .find(|(name, _)| name == "PATH")
            .map(|(_, path)| std::env::split_paths(path).collect())
            .unwrap_or_default();
        let tools =
            BUILD_TOOLS.iter().filter_map(|tool| search.iter().map(|f| f.join(tool)).find(|path| path.is_file()));
        for tool in tools.chain([self.toolchain.cxx.path.clone()]) {
            paths.extend(private.installation(&tool));
            paths.extend(tool.canonicalize().map(|tool| private.installation(&tool)).unwrap_or_default());
        }
        if let Some(home) = self.cargo_home() {
            let home = home.canonicalize().unwrap_or(home);
            paths.extend(["registry", "git"].map(|name| home.join(name)).into_iter().filter(|path| path.is_dir()));
        }
        // Cargo reads the settings of every folder above the one that it works in; those with secrets stay hidden.
        paths.extend(settings_above(root).into_iter().filter(|file| has_no_secrets(file)));
        outermost(paths)
    }
}

/// What the paths are once links are followed, and what the links directly in them point to.
fn real_paths(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut real = BTreeSet::new();
    for path in paths {
        real.extend(path.canonicalize().ok());
        for folder in [path.clone(), path.join("lib")] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
            real.extend(links.filter_map(|link| link.path().canonicalize().ok()));
        }
    }
    real.into_iter().collect()
}

/// Without those that lie within another.
fn outermost(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let all: BTreeSet<PathBuf> = paths.into_iter().collect();
    let within = |path: &PathBuf| all.iter().any(|other| other != path && path.starts_with(other));
    all.iter().filter(|path| !within(path)).cloned().collect()
}

/// An NVIDIA driver's device files: the control devices and every GPU; which of them are used is the trainer's environment's
/// matter.
fn gpu_devices(dev: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(dev).map_err(SetupError::io("read", dev))? {
        let entry = entry.map_err(SetupError::io("read", dev))?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("nvidia")) else { continue };
        let wanted = matches!(rest, "ctl" | "-uvm" | "-uvm-tools" | "-modeset")
            || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        if wanted {
            devices.push(entry.path());
        }
    }
    // Parts of a GPU (MIG) are opened by capabilities of their own.
    let parts = dev.join("nvidia-caps");
    if parts.is_dir() {
        for entry in fs::read_dir(&parts).map_err(SetupError::io("read", &parts))? {
            devices.push(entry.map_err(SetupError::io("read", &parts))?.path());
        }
    }
    devices.sort();
    Ok(devices)
}

/// Memory that this process may use, bytes: the machine's, or what a container or a service is granted of it.
fn machine_memory() -> Result<u64, SetupError> {
    Ok(total_memory()?.min(granted_memory(Path::new("/sys/fs/cgroup"))))
}

/// The least bound on memory of the control groups that this process is in; `u64::MAX` for none.
fn granted_memory(hierarchy: &Path) -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut least = u64::MAX;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = match controllers {
            "" => (hierarchy.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (hierarchy.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(group.trim_start_matches('/')).ancestors() {
            let bound = fs::read_to_string(base.join(above).join(file)).ok();
            // "max", or a file that is not there, is no bound.
            least = least.min(bound.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX));
        }
    }
    least
}

/// All of the machine's memory, bytes.
fn total_memory() -> Result<u64, SetupError> {
    let file = Path::new("/proc/meminfo");
    let text = fs::read_to_string(file).map_err(SetupError::io("read", file))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| {
        SetupError::io("read", file)(io::Error::new(io::ErrorKind::InvalidData, "it has no line MemTotal"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_others_are_left_out() {
        let paths = ["/a/b", "/a", "/a/b/c", "/ab"].map(PathBuf::from).to_vec();
        assert_eq!(outermost(paths), ["/a", "/ab"].map(PathBuf::from).to_vec());
    }

    #[test]
    fn gpu_devices_are_told_from_the_rest() {
        let dev = tempfile::tempdir().unwrap();
        for name in
            ["nvidia0", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidiax", "nvidia", "sda", "null"]
        {
            fs::write(dev.path().join(name), "").unwrap();
        }
        let found = gpu_devices(dev.path()).unwrap();
        let names: Vec<&str> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia12", "nvidiactl"]);
    }

    #[test]
    fn a_bound_of_a_control_group_counts() {
        let hierarchy = tempfile::tempdir().unwrap();
        assert_eq!(granted_memory(hierarchy.path()), u64::MAX);
        fs::write(hierarchy.path().join("memory.max"), "1073741824\n").unwrap();
        fs::create_dir(hierarchy.path().join("memory")).unwrap();
        fs::write(hierarchy.path().join("memory/memory.limit_in_bytes"), "1073741824\n").unwrap();
        assert_eq!(granted_memory(hierarchy.path()), 1 << 30);
    }

    #[test]
    fn memory_is_known() {
        assert!(machine_memory().unwrap() > 100 << 20);
    }
}
