//! GPUs, as NVIDIA's own tool lists them.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::pins::OLDEST_DRIVER;
use super::surroundings::{Surroundings, last_words};

/// One NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// For example `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The driver's version, for example `580.65.06`.
    pub driver: String,
}

/// What was found when looking for GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    /// None, and nothing that points to one.
    None,
    /// At least one that CUDA 13 runs on.
    Usable(Vec<Gpu>),
    /// There is something, but it cannot be used: why, in words.
    Unusable(String),
}

impl Gpus {
    /// Asks `nvidia-smi`. A machine without that program has no usable GPU.
    pub async fn find(surroundings: &Surroundings) -> Self {
        let Some(program) = surroundings.find("nvidia-smi") else { return Self::None };
        let arguments =
            ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"].map(OsStr::new);
        match surroundings.ask(&program, &arguments, Path::new("/"), "", Duration::from_secs(30)).await {
            Err(error) => Self::Unusable(format!("nvidia-smi: {error}")),
            Ok(answer) if !answer.ok => {
                // It speaks on either pipe, depending on what is wrong.
                Self::Unusable(format!(
                    "nvidia-smi: {}",
                    last_words(&format!("{}\n{}", answer.stderr, answer.stdout), 2)
                ))
            }
            Ok(answer) => Self::from_list(&answer.stdout),
        }
    }

    fn from_list(text: &str) -> Self {
        let mut gpus = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [name, memory, driver] = fields[..] else {
                return Self::Unusable(format!("nvidia-smi answered {:?}", last_words(line, 1)));
            };
            let major = driver.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
            if major < OLDEST_DRIVER {
                return Self::Unusable(format!(
                    "{}: its driver {} is older than {OLDEST_DRIVER}, which CUDA 13 needs",
                    last_words(name, 1),
                    last_words(driver, 1)
                ));
            }
            gpus.push(Gpu {
                name: last_words(name, 1),
                // Machines whose GPU shares the system's memory answer [N/A].
                memory_mib: memory.parse().unwrap_or(0),
                driver: last_words(driver, 1),
            });
        }
        if gpus.is_empty() { Self::None } else { Self::Usable(gpus) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, program};
    use super::*;

    #[test]
    fn lists_are_read() {
        let h100 = |name: &str| Gpu { name: name.to_owned(), memory_mib: 81559, driver: "580.65.06".to_owned() };
        assert_eq!(
            Gpus::from_list("NVIDIA H100, 81559, 580.65.06\nNVIDIA H100 80GB, 81559, 580.65.06\n"),
            Gpus::Usable(vec![h100("NVIDIA H100"), h100("NVIDIA H100 80GB")])
        );
        assert_eq!(Gpus::from_list("\n"), Gpus::None);
        assert!(matches!(Gpus::from_list("Tesla T4, 15360, 535.104"), Gpus::Unusable(why) if why.contains("580")));
        assert!(matches!(Gpus::from_list("No devices were found"), Gpus::Unusable(_)));
        assert!(matches!(Gpus::from_list("GB10, [N/A], 580.95"), Gpus::Usable(gpus) if gpus[0].memory_mib == 0));
    }

    #[tokio::test]
    async fn a_failing_tool_is_no_gpu() {
        let machine = Machine::new();
        assert_eq!(Gpus::find(&machine.surroundings).await, Gpus::None);
        program(
            &machine.bin,
            "nvidia-smi",
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
        );
        let found = Gpus::find(&machine.surroundings).await;
        assert!(matches!(&found, Gpus::Unusable(why) if why.contains("version mismatch")), "{found:?}");
    }
}
