//! Python and pip: whether they are there, and whether a torch lies in the environment that they belong to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::SetupError;
use super::surroundings::{Surroundings, last_words};

/// A Python interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The executable.
    pub path: PathBuf,
    /// Its version, for example `3.11.7`.
    pub version: String,
    /// The torch in its environment.
    pub torch: Option<PythonTorch>,
}

/// A torch that a Python environment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonTorch {
    /// The package's folder.
    pub folder: PathBuf,
    /// Its version, for example `2.11.0+cu130`.
    pub version: String,
}

/// Asks without importing torch, which takes seconds and runs its code.
const PROBE: &str = r#"
import importlib.metadata, importlib.util, json, platform
version = folder = None
try:
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.submodule_search_locations:
        folder = list(spec.submodule_search_locations)[0]
        version = importlib.metadata.version("torch")
except (ImportError, ValueError):
    pass
print(json.dumps({"python": platform.python_version(), "folder": folder, "version": version}))
"#;

#[derive(Deserialize)]
struct ProbeAnswer {
    python: String,
    folder: Option<PathBuf>,
    version: Option<String>,
}

/// How long a short question may take: a cold disk, a slow network home.
const PATIENCE: Duration = Duration::from_secs(60);

impl Python {
    /// Finds `python3` on PATH and asks it. An activated virtual environment stands first there.
    pub async fn find(surroundings: &Surroundings) -> Result<Self, SetupError> {
        let path = surroundings.find("python3").ok_or_else(|| SetupError::Missing {
            program: "python3".to_owned(),
            purpose: "to fetch libtorch with pip",
            remedy:
                "Install it (Debian and Ubuntu: apt install python3 python3-pip), or set LIBTORCH to a libtorch 2.11.0"
                    .to_owned(),
        })?;
        let broken = |detail: String| SetupError::Broken {
            program: path.clone(),
            detail,
            remedy: "Repair this Python or put another one first on PATH".to_owned(),
        };
        // -c puts the current folder on the search path; from the root nothing of the repository's can be picked up.
        let arguments = ["-c", PROBE].map(OsStr::new);
        let answer = surroundings.ask(&path, &arguments, Path::new("/"), "", PATIENCE).await;
        let answer = answer.map_err(|error| broken(error.to_string()))?;
        if !answer.ok {
            return Err(broken(format!("{} ({})", last_words(&answer.stderr, 2), answer.status)));
        }
        let probe: ProbeAnswer = serde_json::from_str(answer.stdout.trim())
            .map_err(|_| broken(format!("it answered {:?}", last_words(&answer.stdout, 1))))?;
        let torch = match (probe.folder, probe.version) {
            (Some(folder), Some(version)) => Some(PythonTorch { folder, version }),
            _ => None,
        };
        Ok(Self { path, version: probe.python, torch })
    }

    /// pip's version, when it is there and new enough to be told the platform of a wheel.
    pub async fn pip(&self, surroundings: &Surroundings) -> Result<String, SetupError> {
        let arguments = ["-m", "pip", "--version"].map(OsStr::new);
        let answer = surroundings.ask(&self.path, &arguments, Path::new("/"), "", PATIENCE).await;
        let missing = || SetupError::Missing {
            program: "pip".to_owned(),
            purpose: "to fetch libtorch",
            remedy: format!(
                "Install it for {} (Debian and Ubuntu: apt install python3-pip; elsewhere: python3 -m ensurepip --user), \
                 or set LIBTORCH to a libtorch 2.11.0",
                self.path.display()
            ),
        };
        let answer = answer.map_err(|error| SetupError::Broken {
            program: self.path.clone(),
            detail: error.to_string(),
            remedy: "Repair this Python or put another one first on PATH".to_owned(),
        })?;
        if !answer.ok {
            return Err(missing());
        }
        // "pip 23.2.1 from /usr/lib/python3/dist-packages/pip (python 3.11)"
        let version = answer.stdout.split_whitespace().nth(1).unwrap_or_default().to_owned();
        match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            None => Err(missing()),
            Some(major) if major < 21 => Err(SetupError::TooOld {
                program: "pip".into(),
                found: version,
                needed: "21".to_owned(),
                remedy: "Update it with python3 -m pip install --user --upgrade pip".to_owned(),
            }),
            Some(_) => Ok(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, program};
    use super::*;

    const NOTHING: &str = r#"{"python": "3.11.7", "folder": null, "version": null}"#;

    #[tokio::test]
    async fn a_real_shaped_python_is_understood() {
        let machine = Machine::new();
        let answer = r#"{"python": "3.12.1", "folder": "/env/torch", "version": "2.11.0+cpu"}"#;
        program(
            &machine.bin,
            "python3",
            &format!("if [ \"$1\" = -m ]; then echo 'pip 23.2.1 from /x'; else echo '{answer}'; fi"),
        );
        let python = Python::find(&machine.surroundings).await.unwrap();
        assert_eq!(python.version, "3.12.1");
        assert_eq!(python.torch, Some(PythonTorch { folder: "/env/torch".into(), version: "2.11.0+cpu".to_owned() }));
        assert_eq!(python.pip(&machine.surroundings).await.unwrap(), "23.2.1");
    }

    #[tokio::test]
    async fn without_python_or_pip_the_remedy_names_the_package() {
        let machine = Machine::new();
        let error = Python::find(&machine.surroundings).await.unwrap_err();
        assert!(error.to_string().contains("apt install python3"), "{error}");

        program(
            &machine.bin,
            "python3",
            &format!("if [ \"$1\" = -m ]; then echo 'No module named pip' >&2; exit 1; fi; echo '{NOTHING}'"),
        );
        let python = Python::find(&machine.surroundings).await.unwrap();
        assert_eq!(python.torch, None);
        let error = python.pip(&machine.surroundings).await.unwrap_err();
        assert!(error.to_string().contains("apt install python3-pip"), "{error}");
        assert_eq!(error.exit_code(), 3);

        program(&machine.bin, "python3", &format!("[ \"$1\" = -m ] && echo 'pip 20.3.4 from /x' || echo '{NOTHING}'"));
        let error = Python::find(&machine.surroundings).await.unwrap().pip(&machine.surroundings).await.unwrap_err();
        assert!(error.to_string().contains("20.3.4") && error.to_string().contains("upgrade pip"), "{error}");

        program(&machine.bin, "python3", "echo 'bad interpreter' >&2; exit 126");
        let error = Python::find(&machine.surroundings).await.unwrap_err();
        assert!(error.to_string().contains("bad interpreter"), "{error}");
    }

    #[tokio::test]
    async fn the_probe_runs_in_a_real_python() {
        let surroundings = Surroundings::of_process();
        if surroundings.find("python3").is_none() {
            return;
        }
        let python = Python::find(&surroundings).await.unwrap();
        assert!(python.version.starts_with("3."), "{}", python.version);
    }
}
