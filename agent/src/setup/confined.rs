//! What confined processes need of this machine: folders to read, a GPU's device files, and a cargo home without secrets.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Environment, SetupError};

/// Programs that a build starts by their names, besides cargo and rustc.
const BUILD_TOOLS: [&str; 8] = ["cc", "c++", "gcc", "g++", "ld", "as", "ar", "ld.lld"];

/// Where every sandbox shows the system's own files anyway.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

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

/// Places of the person's that no confined process may see whole: homes, the repository with its held-out text and records,
/// the cargo home with its credentials. As they are written, and with links followed.
struct Private {
    places: Vec<PathBuf>,
    /// Those that must not lie where every confined process reads.
    guarded: Vec<PathBuf>,
}

impl Private {
    fn of(root: &Path, cargo_home: Option<&Path>) -> Self {
        let mut places = vec![PathBuf::from("/home"), PathBuf::from("/root"), root.to_owned()];
        let mut guarded = vec![root.to_owned()];
        if let Some(home) = std::env::home_dir() {
            places.extend([home.join(".local"), home.join(".config"), home]);
        }
        if let Some(home) = cargo_home {
            guarded.extend(["credentials.toml", "credentials"].map(|name| home.join(name)));
            places.push(home.to_owned());
        }
        for list in [&mut places, &mut guarded] {
            let real: Vec<PathBuf> = list.iter().filter_map(|place| place.canonicalize().ok()).collect();
            list.extend(real);
        }
        Self { places, guarded }
    }

    /// Refuses secrets that lie in the system's folders, which every sandbox shows.
    fn check(&self) -> Result<(), SetupError> {
        let shown =
            self.guarded.iter().find(|path| path.exists() && SYSTEM.iter().any(|folder| path.starts_with(folder)));
        match shown {
            None => Ok(()),
            Some(path) => Err(SetupError::BadRepository {
                path: path.clone(),
                detail: "it lies in a folder of the system, which code under test can read".to_owned(),
                remedy: "Move it (a clone into your home; CARGO_HOME elsewhere or its credentials away), or set least = \"off\" \
                         under [sandbox] in campaign.toml"
                    .to_owned(),
            }),
        }
    }

    /// What to show of the installation that a program belongs to, where the sandbox does not show it anyway: the folder above
    /// its `bin`, or where that holds something private only the parts that programs need.
    fn installation(&self, program: &Path) -> Vec<PathBuf> {
        let Some(bin) = program.parent() else { return Vec::new() };
        if SYSTEM.iter().any(|folder| bin.starts_with(folder)) {
            return Vec::new();
        }
        let whole = bin.parent().filter(|_| bin.file_name().is_some_and(|name| name == "bin"));
        match whole {
            Some(above) if !self.holds(above) => vec![above.to_owned()],
            Some(above) => {
                let parts = ["bin", "lib", "lib32", "lib64", "libexec", "include"].map(|part| above.join(part));
                parts.into_iter().filter(|part| part.is_dir() && !self.holds(part)).collect()
            }
            None if self.holds(bin) => vec![program.to_owned()],
            None => vec![bin.to_owned()],
        }
    }

    /// Whether a folder is one of the private places or holds one.
    fn holds(&self, folder: &Path) -> bool {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        // Somebody's home (under sudo it is not ours), and the folders in it that keep more than programs.
        let home = real.parent() == Some(Path::new("/home"));
        let hidden = real.file_name().is_some_and(|name| [".local", ".cargo", ".config"].iter().any(|n| name == *n));
        home || hidden
            || folder.parent().is_none()
            || self.places.iter().any(|place| place.starts_with(folder) || place.starts_with(&real))
    }
}

/// Where cargo looks for settings when it works below a folder.
fn settings_above(root: &Path) -> Vec<PathBuf> {
    root.ancestors().flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(".cargo").join(name))).collect()
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

/// Whether a file of cargo's settings can be shown to edited code as it is.
fn has_no_secrets(file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return false };
    match text.parse::<toml::Table>() {
        Ok(table) => !holds_secrets(&table),
        Err(_) => false,
    }
}

/// Names under which cargo's settings can hold a secret or run a program that knows one.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "passw", "credential", "auth", "key"].iter().any(|word| name.contains(word))
}

fn holds_secrets(table: &toml::Table) -> bool {
    table.iter().any(|(name, value)| {
        is_secret(name)
            || match value {
                toml::Value::Table(inner) => holds_secrets(inner),
                toml::Value::String(text) => is_url_with_login(text),
                toml::Value::Array(values) => values.iter().any(|value| match value {
                    toml::Value::Table(inner) => holds_secrets(inner),
                    toml::Value::String(text) => is_url_with_login(text),
                    _ => false,
                }),
                _ => false,
            }
    })
}

/// `https://user:password@host/`.
fn is_url_with_login(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')))
}

/// The parts of cargo's settings that decide how dependencies are found and built, secrets left out.
fn without_secrets(text: &str) -> Result<String, toml::de::Error> {
    let table: toml::Table = text.parse()?;
    let kept: toml::Table = table
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "source" | "registries" | "registry" | "target" | "build"))
        .map(|(name, value)| (name, clean(value)))
        .collect();
    Ok(kept.to_string())
}

fn clean(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => toml::Value::Table(
            table
                .into_iter()
                .filter(|(name, value)| {
                    let login = value.as_str().is_some_and(is_url_with_login);
                    // A wrapper around the compiler or a folder elsewhere is not there in the sandbox.
                    let elsewhere = matches!(
                        name.as_str(),
                        "rustc-wrapper" | "rustc-workspace-wrapper" | "target-dir" | "build-dir"
                    );
                    !is_secret(name) && !login && !elsewhere
                })
                .map(|(name, value)| (name, clean(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lose_their_secrets_and_keep_what_finds_crates() {
        let text = r#"
            [registries.mine]
            index = "sparse+https://crates.example.org/"
            token = "cio-secret"
            [registries.other]
            index = "https://me:pass@crates.example.org/index"
            [source.crates-io]
            replace-with = "mirror"
            [source.mirror]
            registry = "sparse+https://mirror.example.org/"
            [build]
            rustc-wrapper = "sccache"
            jobs = 2
            [net]
            offline = true
            [alias]
            x = "run"
        "#;
        let kept = without_secrets(text).unwrap();
        for gone in ["secret", "token", "pass", "sccache", "alias", "offline"] {
            assert!(!kept.contains(gone), "{gone} in {kept}");
        }
        let table: toml::Table = kept.parse().unwrap();
        assert_eq!(table["registries"]["mine"]["index"].as_str(), Some("sparse+https://crates.example.org/"));
        assert_eq!(table["source"]["crates-io"]["replace-with"].as_str(), Some("mirror"));
        assert_eq!(table["source"]["mirror"]["registry"].as_str(), Some("sparse+https://mirror.example.org/"));
        assert_eq!(table["build"]["jobs"].as_integer(), Some(2));
        assert!(without_secrets("not toml [").is_err());
    }

    #[test]
    fn a_file_of_settings_is_shown_only_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for (text, harmless) in [
            ("[alias]\nxtask = \"run\"\n", true),
            ("[registry]\ntoken = \"x\"\n", false),
            ("[registries.a]\ncredential-provider = \"y\"\n", false),
            ("[source.a]\nregistry = \"https://me:pw@host/\"\n", false),
            ("broken [", false),
        ] {
            let file = folder.path().join("config.toml");
            fs::write(&file, text).unwrap();
            assert_eq!(has_no_secrets(&file), harmless, "{text}");
        }
        assert!(!has_no_secrets(&folder.path().join("missing")));
    }

    #[test]
    fn what_is_private_is_never_shown_for_a_program_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let home = base.join("real/home");
        for part in [
            "home/bin",
            "home/.ssh",
            "home/.local/bin",
            "home/.local/lib",
            "home/.local/share",
            "home/conda/bin",
            "clone/bin",
        ] {
            fs::create_dir_all(base.join("real").join(part)).unwrap();
        }
        std::os::unix::fs::symlink(base.join("real"), base.join("linked")).unwrap();
        let linked = base.join("linked/home");
        let mut places = vec![linked.clone(), linked.join(".local"), base.join("real/clone")];
        places.extend(places.clone().iter().filter_map(|place| place.canonicalize().ok()));
        let private = Private { places, guarded: Vec::new() };
        for (program, shown) in [
            (home.join("bin/cc"), vec![home.join("bin")]),
            (linked.join("bin/cc"), vec![linked.join("bin")]),
            (home.join(".local/bin/cc"), vec![home.join(".local/bin"), home.join(".local/lib")]),
            (home.join("conda/bin/cc"), vec![home.join("conda")]),
            (base.join("real/clone/bin/cc"), vec![base.join("real/clone/bin")]),
            (home.join("cc"), vec![home.join("cc")]),
            ("/usr/bin/cc".into(), vec![]),
            ("/home/nobody-of-that-name/bin/cc".into(), vec![]),
            ("/opt/conda/bin/g++".into(), vec!["/opt/conda".into()]),
        ] {
            assert_eq!(private.installation(&program), shown, "{}", program.display());
        }
    }

    #[test]
    fn a_clone_in_a_folder_of_the_system_is_refused() {
        let error = Private::of(Path::new("/usr/bin"), None).check().unwrap_err();
        assert!(error.to_string().contains("Move it"), "{error}");
        let clone = tempfile::tempdir().unwrap();
        assert!(Private::of(clone.path(), None).check().is_ok());
    }

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
