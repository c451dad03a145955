//! What of the person's no confined process may see, whatever else it must read.

use std::path::{Path, PathBuf};

use super::SetupError;

/// Where every sandbox shows the system's own files anyway.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// Places of the person's that no confined process may see whole: homes, the repository with its held-out text and records,
/// the cargo home with its credentials. As they are written, and with links followed.
pub(super) struct Private {
    places: Vec<PathBuf>,
    /// Those that must not lie where every confined process reads.
    guarded: Vec<PathBuf>,
}

impl Private {
    pub(super) fn of(root: &Path, cargo_home: Option<&Path>) -> Self {
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
    pub(super) fn check(&self) -> Result<(), SetupError> {
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
    pub(super) fn installation(&self, program: &Path) -> Vec<PathBuf> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
}
