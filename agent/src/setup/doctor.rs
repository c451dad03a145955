//! Looks at everything and changes nothing: what `nocturne doctor` shows.

use std::path::Path;

use serde::Serialize;

use super::disk::{Bytes, space_at};
use super::gpu::Gpus;
use super::manifest::Wants;
use super::pins::{Pins, TORCH_VERSION};
use super::python::Python;
use super::sandbox_offer::sandbox_findings;
use super::toolchain::{Toolchain, find_git};
use super::{GpuWish, Options, SetupError, libtorch};

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// A night works, but something is missing or will be fetched.
    Warn,
    /// A night would not start.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For example `C++ compiler`.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do, where something is to be done. For an error of set-up the detail already says it.
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), remedy: None }
    }

    pub(crate) fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Warn, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn fail(name: &'static str, error: &SetupError) -> Self {
        Self { name, state: State::Fail, detail: error.to_string(), remedy: None }
    }
}

/// Looks at the machine as a night from this repository would find it; `offer` is what was found out about its sandbox.
/// Never fails: what cannot be asked is a finding.
pub async fn doctor(repository: &Path, options: &Options, offer: &sandbox::Offer) -> Vec<Finding> {
    let surroundings = &options.surroundings;
    let mut findings = Vec::new();
    let wants = Wants::read(repository);
    findings.push(match &wants {
        Ok(_) => Finding::ok("repository", repository.display().to_string()),
        Err(error) => Finding::fail("repository", error),
    });
    let oldest = wants.as_ref().ok().and_then(|wants| wants.oldest_rust.as_deref());
    match Toolchain::find(surroundings, repository, oldest).await {
        Ok(toolchain) => {
            findings.push(Finding::ok("Rust", format!("{} ({})", toolchain.rustc.version, toolchain.host)));
            findings.push(Finding::ok("C++ compiler", toolchain.cxx.version));
        }
        Err(error) => findings.push(Finding::fail("Rust and C++", &error)),
    }
    findings.push(match find_git(surroundings).await {
        Ok(git) => Finding::ok("git", git.version),
        Err(error) => {
            Finding::warn("git", "not found; nights work, but reading their branches needs it", error.to_string())
        }
    });
    let gpus = if options.gpu == GpuWish::No { Gpus::None } else { Gpus::find(surroundings).await };
    findings.push(match &gpus {
        Gpus::Usable(gpus) => {
            let names: Vec<String> =
                gpus.iter().map(|gpu| format!("{}, {} MiB, driver {}", gpu.name, gpu.memory_mib, gpu.driver)).collect();
            Finding::ok("GPU", names.join("; "))
        }
        Gpus::None => Finding::ok("GPU", "none; nights run on the CPU"),
        Gpus::Unusable(why) => {
            Finding::warn("GPU", why.clone(), "Install NVIDIA's driver 580 or newer; until then nights run on the CPU")
        }
    });
    libtorch_and_disk(repository, options, wants.as_ref().ok(), matches!(gpus, Gpus::Usable(_)), &mut findings).await;
    findings.push(prepared_data(repository));
    findings.extend(sandbox_findings(offer));
    findings
}

async fn libtorch_and_disk(
    repository: &Path,
    options: &Options,
    wants: Option<&Wants>,
    cuda: bool,
    findings: &mut Vec<Finding>,
) {
    let surroundings = &options.surroundings;
    let cache = match surroundings.cache() {
        Ok(cache) => cache,
        Err(error) => return findings.push(Finding::fail("cache", &error)),
    };
    let mut space = Bytes(0);
    if wants.is_none_or(|wants| wants.libtorch) {
        let pins = Pins::of(std::env::consts::ARCH, cuda);
        match libtorch::locate(surroundings, &cache, pins.as_ref()) {
            Err(error) => findings.push(Finding::fail("libtorch", &error)),
            Ok(Some(found)) => findings.push(Finding::ok("libtorch", describe(&found.libtorch))),
            Ok(None) => {
                space = pins.as_ref().map(Pins::space).unwrap_or_default();
                let download = pins.as_ref().map(Pins::download).unwrap_or_default();
                findings.extend(from_python_or_pip(options, &cache, cuda, download).await);
            }
        }
    }
    for (name, folder, needed) in [
        ("disk at the repository", repository, options.repository_space),
        ("disk at the cache", cache.as_path(), space),
    ] {
        findings.push(match space_at(folder) {
            Err(error) => Finding::fail(name, &SetupError::io("ask for the free space at", folder)(error)),
            Ok(found) if found.available < needed => Finding {
                name,
                state: State::Fail,
                detail: format!("{} free at {}, {needed} needed", found.available, folder.display()),
                remedy: Some(format!("Free {}", needed.less(found.available))),
            },
            Ok(found) => Finding::ok(name, format!("{} free at {}", found.available, folder.display())),
        });
    }
}

fn describe(libtorch: &super::LibTorch) -> String {
    format!("{}{} at {}", libtorch.version, if libtorch.cuda { " with CUDA" } else { "" }, libtorch.root.display())
}

async fn from_python_or_pip(options: &Options, cache: &Path, cuda: bool, download: Bytes) -> Vec<Finding> {
    let python = match Python::find(&options.surroundings).await {
        Ok(python) => python,
        Err(error) => return vec![Finding::fail("Python", &error)],
    };
    let found = Finding::ok("Python", format!("{} at {}", python.version, python.path.display()));
    if let Some(torch) = python.torch.as_ref().and_then(|torch| libtorch::from_python(torch, cache, cuda)) {
        return vec![found, Finding::ok("libtorch", describe(&torch.libtorch))];
    }
    let libtorch = match python.pip(&options.surroundings).await {
        Ok(version) => Finding::warn(
            "libtorch",
            format!("{TORCH_VERSION} is not installed"),
            format!("Nothing: the first night (or nocturne setup) fetches it, {download}, with pip {version}"),
        ),
        Err(error) => Finding::fail("libtorch", &error),
    };
    vec![found, libtorch]
}

fn prepared_data(repository: &Path) -> Finding {
    let entries = std::fs::read_dir(repository.join(".nocturne/data")).ok().into_iter().flatten().flatten();
    // The manifest is written last: a folder without it is not finished.
    let sets = entries.filter(|entry| entry.path().join("manifest.json").is_file()).count();
    match sets {
        0 => Finding::warn(
            "data",
            "none prepared yet",
            "Nothing: a night (or nocturne prepare) prepares its campaign's data",
        ),
        1 => Finding::ok("data", "1 data set prepared"),
        _ => Finding::ok("data", format!("{sets} data sets prepared")),
    }
}
