//! The programs that builds rest on: cargo and rustc, a C++ compiler, git.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::SetupError;
use super::surroundings::{Surroundings, last_words};

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// The executable.
    pub path: PathBuf,
    /// Its version as it prints it, for example `1.95.0`.
    pub version: String,
}

/// Everything a build needs besides libtorch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Toolchain {
    /// The toolchain's own cargo, not rustup's stand-in, which would want to write into its home.
    pub cargo: Tool,
    /// The toolchain's own compiler.
    pub rustc: Tool,
    /// The target that it builds for by default, for example `x86_64-unknown-linux-gnu`.
    pub host: String,
    /// The C++ compiler that torch-sys will be compiled with.
    pub cxx: Tool,
}

const QUICK: Duration = Duration::from_secs(60);

/// Uses what libtorch's headers rest on: C++17, the standard library, its headers.
const CXX_PROBE: &str = "#include <optional>\n#include <string>\n#include <vector>\n\
                         int main() { std::optional<std::vector<std::string>> v; return v ? 1 : 0; }\n";

impl Toolchain {
    /// Finds everything and tries it in the repository, whose `rust-toolchain.toml` may choose another Rust.
    pub async fn find(
        surroundings: &Surroundings,
        repository: &Path,
        oldest_rust: Option<&str>,
    ) -> Result<Self, SetupError> {
        let (cargo, rustc, host) = find_rust(surroundings, repository, oldest_rust).await?;
        let cxx = find_cxx(surroundings).await?;
        Ok(Self { cargo, rustc, host, cxx })
    }

    /// `PATH` for a build: the toolchain's own folder first, so that cargo and rustc are a pair.
    pub fn path(&self, surroundings: &Surroundings) -> OsString {
        let own = self.cargo.path.parent().map(Path::to_owned).into_iter();
        let all = own.chain(std::env::split_paths(&surroundings.path));
        // Only a folder with a colon in its name cannot be joined; then the programs are found as before.
        std::env::join_paths(all).unwrap_or_else(|_| surroundings.path.clone())
    }
}

const RUST_REMEDY: &str = "Install Rust with rustup (https://rustup.rs)";

async fn find_rust(
    surroundings: &Surroundings,
    repository: &Path,
    oldest: Option<&str>,
) -> Result<(Tool, Tool, String), SetupError> {
    let missing = |program: &str| SetupError::Missing {
        program: program.to_owned(),
        purpose: "to build the trainer and its experiments",
        remedy: RUST_REMEDY.to_owned(),
    };
    let rustc = surroundings.find("rustc").ok_or_else(|| missing("rustc"))?;
    let about = ask(surroundings, &rustc, &["-vV"], repository, RUST_REMEDY).await?;
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned());
    let broken = |program: &Path, said: &str| SetupError::Broken {
        program: program.to_owned(),
        detail: format!("it answered {:?}", last_words(said, 1)),
        remedy: RUST_REMEDY.to_owned(),
    };
    let (Some(version), Some(host)) = (field("release:"), field("host:")) else { return Err(broken(&rustc, &about)) };
    if let Some(oldest) = oldest
        && numbers(&version) < numbers(oldest)
    {
        return Err(SetupError::TooOld {
            program: rustc,
            found: version,
            needed: oldest.to_owned(),
            remedy: "Update it with rustup update".to_owned(),
        });
    }
    let sysroot = ask(surroundings, &rustc, &["--print", "sysroot"], repository, RUST_REMEDY).await?;
    let own = Path::new(sysroot.trim()).join("bin");
    let cargo =
        surroundings.find(own.join("cargo")).or_else(|| surroundings.find("cargo")).ok_or_else(|| missing("cargo"))?;
    let said = ask(surroundings, &cargo, &["--version"], repository, RUST_REMEDY).await?;
    // "cargo 1.95.0 (f2d3ce0bd 2026-03-21)"
    let cargo_version = said.split_whitespace().nth(1).map(str::to_owned).ok_or_else(|| broken(&cargo, &said))?;
    let rustc = surroundings.find(own.join("rustc")).unwrap_or(rustc);
    Ok((Tool { path: cargo, version: cargo_version }, Tool { path: rustc, version }, host))
}

/// Finds the compiler that the `cc` crate would take and compiles a few lines, writing nothing.
async fn find_cxx(surroundings: &Surroundings) -> Result<Tool, SetupError> {
    let remedy = "Install a C++ compiler (Debian and Ubuntu: apt install g++), or name one with CXX";
    let chosen = surroundings.cxx.clone().unwrap_or_else(|| "c++".into());
    let path = surroundings.find(&chosen).ok_or_else(|| SetupError::Missing {
        program: last_words(&chosen.to_string_lossy(), 1),
        purpose: "to compile the binding to libtorch",
        remedy: remedy.to_owned(),
    })?;
    let broken = |detail: String| SetupError::Broken { program: path.clone(), detail, remedy: remedy.to_owned() };
    let arguments = ["-std=c++17", "-fsyntax-only", "-x", "c++", "-"].map(OsStr::new);
    let answer = surroundings.ask(&path, &arguments, Path::new("/"), CXX_PROBE, QUICK).await;
    let answer = answer.map_err(|error| broken(error.to_string()))?;
    if !answer.ok {
        return Err(broken(format!("it cannot compile C++17: {}", last_words(&answer.stderr, 3))));
    }
    let said = ask(surroundings, &path, &["--version"], Path::new("/"), remedy).await?;
    Ok(Tool { version: last_words(said.lines().next().unwrap_or_default(), 1), path })
}

/// git, which the person reads the branches with. The agent has its own implementation.
pub async fn find_git(surroundings: &Surroundings) -> Result<Tool, SetupError> {
    let remedy = "Install it (Debian and Ubuntu: apt install git)";
    let path = surroundings.find("git").ok_or_else(|| SetupError::Missing {
        program: "git".to_owned(),
        purpose: "to read and merge the branches of a night",
        remedy: remedy.to_owned(),
    })?;
    let said = ask(surroundings, &path, &["--version"], Path::new("/"), remedy).await?;
    // "git version 2.39.2"
    Ok(Tool { version: said.split_whitespace().nth(2).unwrap_or("unknown").to_owned(), path })
}

/// Makes sure that every dependency in `Cargo.lock` is on this machine, so that builds can be cut off from the network.
/// Asks the network only for what is missing.
pub async fn fetch_dependencies(
    surroundings: &Surroundings,
    toolchain: &Toolchain,
    repository: &Path,
    note: &mut (dyn FnMut() + Send),
) -> Result<(), SetupError> {
    let fetch = |offline: bool| {
        let mut arguments = vec!["fetch", "--locked", "--quiet", "--target", &toolchain.host];
        if offline {
            arguments.push("--offline");
        }
        let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
        let surroundings = Surroundings { path: toolchain.path(surroundings), ..surroundings.clone() };
        async move {
            let limit = Duration::from_secs(if offline { 120 } else { 1200 });
            let answer = surroundings.ask(&toolchain.cargo.path, &arguments, repository, "", limit).await;
            answer.map_err(|error| SetupError::Child {
                what: "cargo fetch".to_owned(),
                status: "no exit".to_owned(),
                detail: error.to_string(),
            })
        }
    };
    if fetch(true).await?.ok {
        return Ok(());
    }
    note();
    let answer = fetch(false).await?;
    if answer.ok {
        return Ok(());
    }
    let said = last_words(&answer.stderr, 6);
    if answer.stderr.contains("--locked") {
        return Err(SetupError::BadRepository {
            path: repository.join("Cargo.lock"),
            detail: format!("it does not belong to the Cargo.toml files: {said}"),
            remedy: "Run cargo update --workspace, look at the change and commit it".to_owned(),
        });
    }
    let network = ["download", "network", "resolve host", "connect", "registry", "timed out", "SSL"];
    if network.iter().any(|word| answer.stderr.contains(word)) {
        return Err(SetupError::Network { what: "the crates in Cargo.lock (cargo fetch)".to_owned(), detail: said });
    }
    Err(SetupError::Child { what: "cargo fetch".to_owned(), status: answer.status, detail: said })
}

async fn ask(
    surroundings: &Surroundings,
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    remedy: &str,
) -> Result<String, SetupError> {
    let broken = |detail: String| SetupError::Broken { program: program.to_owned(), detail, remedy: remedy.to_owned() };
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let answer = surroundings.ask(program, &arguments, folder, "", QUICK).await;
    let answer = answer.map_err(|error| broken(error.to_string()))?;
    if !answer.ok {
        return Err(broken(format!("{} ({})", last_words(&answer.stderr, 3), answer.status)));
    }
    Ok(answer.stdout)
}

/// The numbers of a version, for comparison: `1.95.0-nightly` is `[1, 95, 0]`.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+', ' ']).next().unwrap_or_default();
    let mut numbers: Vec<u64> = plain.split('.').map_while(|part| part.parse().ok()).collect();
    // 1.95 and 1.95.0 are the same.
    numbers.resize(3, 0);
    numbers
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, program};
    use super::*;

    fn with_rust(machine: &Machine, version: &str) {
        program(
            &machine.bin,
            "rustc",
            &format!(
                "case $1 in -vV) echo 'rustc {version}'; echo 'host: x86_64-unknown-linux-gnu'; echo 'release: {version}';; *) echo /none;; esac"
            ),
        );
        program(&machine.bin, "cargo", &format!("echo 'cargo {version} (abc 2026-01-01)'"));
    }

    #[tokio::test]
    async fn what_is_missing_is_named_with_its_remedy() {
        let machine = Machine::new();
        let find = async |oldest| Toolchain::find(&machine.surroundings, machine.folder.path(), oldest).await;
        assert!(find(None).await.unwrap_err().to_string().contains("rustup.rs"));
        with_rust(&machine, "1.95.0");
        let error = find(Some("1.95")).await.unwrap_err();
        assert!(error.to_string().contains("apt install g++"), "{error}");
        program(&machine.bin, "c++", "echo 'fatal error: vector: No such file or directory' >&2; exit 1");
        let error = find(None).await.unwrap_err();
        assert!(error.to_string().contains("vector: No such file"), "{error}");
        program(&machine.bin, "c++", "echo 'c++ (Test) 12.2.0'");
        let found = find(Some("1.95")).await.unwrap();
        assert_eq!((found.cargo.version.as_str(), found.cxx.version.as_str()), ("1.95.0", "c++ (Test) 12.2.0"));
        assert_eq!(found.host, "x86_64-unknown-linux-gnu");
        let error = find(Some("1.96")).await.unwrap_err();
        assert!(error.to_string().contains("1.95.0") && error.to_string().contains("rustup update"), "{error}");
        assert_eq!(error.exit_code(), 3);
        assert!(find_git(&machine.surroundings).await.unwrap_err().to_string().contains("apt install git"));
    }

    #[tokio::test]
    async fn a_chosen_compiler_is_the_one_that_is_tried() {
        let mut machine = Machine::new();
        with_rust(&machine, "1.95.0");
        machine.surroundings.cxx = Some("my-clang".into());
        let error = Toolchain::find(&machine.surroundings, machine.folder.path(), None).await.unwrap_err();
        assert!(error.to_string().starts_with("my-clang was not found"), "{error}");
    }

    #[tokio::test]
    async fn crates_are_fetched_from_the_network_only_when_missing() {
        let machine = Machine::new();
        with_rust(&machine, "1.95.0");
        program(&machine.bin, "c++", "echo c++ 1");
        let toolchain = Toolchain::find(&machine.surroundings, machine.folder.path(), None).await.unwrap();
        let fetch = async || {
            let mut noted = false;
            let result =
                fetch_dependencies(&machine.surroundings, &toolchain, machine.folder.path(), &mut || noted = true)
                    .await;
            (result, noted)
        };
        program(&machine.bin, "cargo", "exit 0");
        assert!(matches!(fetch().await, (Ok(()), false)));
        program(&machine.bin, "cargo", "case \"$*\" in *--offline*) exit 101;; esac");
        assert!(matches!(fetch().await, (Ok(()), true)));
        program(
            &machine.bin,
            "cargo",
            "echo 'error: failed to download from registry: could not resolve host' >&2; exit 101",
        );
        assert!(matches!(fetch().await.0, Err(SetupError::Network { detail, .. }) if detail.contains("resolve host")));
        program(
            &machine.bin,
            "cargo",
            "echo 'the lock file needs to be updated but --locked was passed' >&2; exit 101",
        );
        assert_eq!(fetch().await.0.unwrap_err().exit_code(), 2);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.95.0"));
        assert!(numbers("1.95.0-nightly") >= numbers("1.95"));
        assert_eq!(numbers("1.95"), numbers("1.95.0 (abc)"));
    }
}
