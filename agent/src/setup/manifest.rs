//! What the repository's own files say that its trainer needs.

use std::path::Path;

use super::SetupError;
use super::pins::{TORCH_SYS_VERSION, TORCH_VERSION};

/// What a repository asks of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    /// Whether anything in it is built against libtorch.
    pub libtorch: bool,
    /// The oldest Rust that its manifest names.
    pub oldest_rust: Option<String>,
}

impl Wants {
    /// Reads `Cargo.lock` and `Cargo.toml`.
    pub(super) fn read(repository: &Path) -> Result<Self, SetupError> {
        let table = |name: &str| {
            let path = repository.join(name);
            let bad = |detail: String| SetupError::BadRepository {
                path: path.clone(),
                detail,
                remedy: "Run this from a clone of Nocturne's repository, or restore the file from git".to_owned(),
            };
            let text = std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
            text.parse::<toml::Table>()
                .map_err(|error| bad(error.message().to_owned()))
                .map(|table| (path.clone(), table))
        };
        let (lock_file, lock) = table("Cargo.lock")?;
        let packages = lock.get("package").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let binding = packages.iter().find(|package| text(package, "name").as_deref() == Some("torch-sys"));
        if let Some(found) = binding.and_then(|package| text(package, "version"))
            && found != TORCH_SYS_VERSION
        {
            return Err(SetupError::WrongBinding {
                lock_file,
                found,
                needed: TORCH_SYS_VERSION,
                libtorch: TORCH_VERSION,
            });
        }
        let (_, manifest) = table("Cargo.toml")?;
        let package = manifest.get("workspace").and_then(|workspace| workspace.get("package"));
        let package = package.or_else(|| manifest.get("package"));
        let oldest_rust = package.and_then(|package| text(package, "rust-version"));
        Ok(Self { libtorch: binding.is_some(), oldest_rust })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lock: Option<&str>, manifest: &str) -> Result<Wants, SetupError> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(lock) = lock {
            std::fs::write(folder.path().join("Cargo.lock"), lock).unwrap();
        }
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        Wants::read(folder.path())
    }

    #[test]
    fn libtorch_is_wanted_where_the_lock_file_names_its_binding() {
        let with = "version = 4\n\n[[package]]\nname = \"torch-sys\"\nversion = \"0.24.0\"\n";
        let workspace = "[workspace.package]\nrust-version = \"1.95\"\n";
        assert_eq!(
            read(Some(with), workspace).unwrap(),
            Wants { libtorch: true, oldest_rust: Some("1.95".to_owned()) }
        );
        let without = "[[package]]\nname = \"torch\"\nversion = \"0.26.0\"\n";
        assert_eq!(
            read(Some(without), "[package]\nname = \"a\"\n").unwrap(),
            Wants { libtorch: false, oldest_rust: None }
        );
        assert!(!read(Some("version = 4\n"), "").unwrap().libtorch);
    }

    #[test]
    fn an_unfit_repository_is_said_to_be_one() {
        let other = "[[package]]\nname = \"torch-sys\"\nversion = \"0.26.0\"\n";
        let error = read(Some(other), "").unwrap_err();
        assert!(error.to_string().contains("torch-sys 0.26.0") && error.to_string().contains("0.24.0"), "{error}");
        for (lock, manifest) in [(None, ""), (Some("package = ["), ""), (Some(""), "=")] {
            let error = read(lock, manifest).unwrap_err();
            assert!(matches!(error, SetupError::BadRepository { .. }), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn this_repository_fits() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(Wants::read(&root).unwrap().libtorch);
    }
}
