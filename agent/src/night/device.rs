//! Which device trainers use, and what they get to know of the machine.

use std::path::Path;
use std::time::Duration;

use protocol::Event;

use super::open::OpenError;
use super::workbench::Workbench;
use crate::campaign::{Campaign, Device};
use crate::setup::Environment;

/// The device of a night's trainers, and all that they get to know of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// `cpu` or `cuda:0`: a trainer sees one GPU only.
    pub device: String,
    /// The whole environment of a trainer. The run path leads it to libtorch and libtorch to its CUDA half, so it needs nothing
    /// but the choice of the GPU. `LD_LIBRARY_PATH` is left out on purpose: a system's cuDNN on it would shadow the one that
    /// belongs to libtorch.
    pub environment: Vec<(String, String)>,
}

impl Chosen {
    /// No GPU, or the one with this index among those that are the person's to use (the value of `CUDA_VISIBLE_DEVICES`);
    /// devices are numbered as `nvidia-smi` numbers them. The others are hidden: more of them than the budget means would be
    /// an unfair advantage.
    fn new(index: Option<usize>, visible: Option<&str>) -> Self {
        let own = match (index, visible) {
            (None, _) => String::new(),
            (Some(index), None) => index.to_string(),
            (Some(index), Some(list)) => list.split(',').nth(index).unwrap_or_default().trim().to_owned(),
        };
        Self {
            device: if index.is_some() { "cuda:0" } else { "cpu" }.to_owned(),
            environment: vec![
                ("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned()),
                (VISIBLE_DEVICES.to_owned(), own),
            ],
        }
    }
}

/// How the person says which GPUs are theirs.
pub(super) const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// How many of the machine's GPUs are the person's to use, by the value of `CUDA_VISIBLE_DEVICES`.
fn usable_gpus(found: usize, visible: Option<&str>) -> usize {
    match visible {
        None => found,
        // CUDA stops at the first entry that is no device.
        Some(list) => list.split(',').take_while(|entry| !matches!(entry.trim(), "" | "-1")).count().min(found),
    }
}

/// The device that the campaign asks for and the machine has.
///
/// # Errors
/// [`OpenError::NoSuchDevice`].
pub fn choose(campaign: &Campaign, environment: &Environment) -> Result<Chosen, OpenError> {
    choose_device(campaign.machine.device, environment)
}

/// The device that is asked for, if the machine has it.
///
/// # Errors
/// [`OpenError::NoSuchDevice`].
pub fn choose_device(device: Device, environment: &Environment) -> Result<Chosen, OpenError> {
    let visible = std::env::var(VISIBLE_DEVICES).ok();
    let found = usable_gpus(environment.gpus.len(), visible.as_deref());
    let index = match device {
        Device::Auto => (found > 0).then_some(0),
        Device::Cpu => None,
        Device::Cuda(index) if (index as usize) < found => Some(index as usize),
        Device::Cuda(index) => return Err(OpenError::NoSuchDevice { asked: format!("cuda:{index}"), found }),
    };
    Ok(Chosen::new(index, visible.as_deref()))
}

/// Why the device cannot be used by confined trainers.
#[derive(Debug, thiserror::Error)]
#[error(
    "{device} cannot be used inside the sandbox ({sandbox}): {why}; `nocturne doctor` shows the driver and the sandbox, and \
     `device = \"cpu\"` under [machine] in campaign.toml does without"
)]
pub struct NotUsableInside {
    /// `cuda:N`.
    device: String,
    /// What confines trainers, in words.
    sandbox: String,
    /// What the trainer said.
    why: String,
}

/// Has a trainer really initialise the campaign's device inside the sandbox: a driver that works outside may not do so in
/// there. `folder` gets its log.
///
/// # Errors
/// [`NotUsableInside`]; never for the CPU, which needs no trying.
pub async fn try_inside(bench: &Workbench, executable: &Path, folder: &Path) -> Result<(), NotUsableInside> {
    let device = bench.setting.device.as_str();
    let Some(index) = device.strip_prefix("cuda:").and_then(|index| index.parse::<u64>().ok()) else { return Ok(()) };
    let unusable = |why: String| NotUsableInside {
        device: device.to_owned(),
        sandbox: bench.launcher.confinement().describe(),
        why,
    };
    let job = bench.probe_job(executable, folder);
    let mut process = bench.launcher.start(&job).await.map_err(|error| unusable(error.to_string()))?;
    let line = tokio::time::timeout(PROBE_PATIENCE, process.line()).await;
    let ended = process.stop().await.map_err(|error| unusable(error.to_string()))?;
    let said = match line {
        Ok(Ok(line)) => line,
        Ok(Err(error)) => return Err(unusable(error.to_string())),
        Err(_) => return Err(unusable(format!("it was not initialised after {} s", PROBE_PATIENCE.as_secs()))),
    };
    sees(said.as_deref(), index).map_err(|why| unusable(format!("{why}; last words: {}", ended.last_words)))
}

/// Whether the probe's answer names a device of that number. Pure.
fn sees(answer: Option<&[u8]>, index: u64) -> Result<(), String> {
    let answer = answer.ok_or("the trainer ended without an answer")?;
    match protocol::parse(answer).map_err(|error| error.to_string())? {
        Event::Probed { cuda_devices, .. } if index < cuda_devices => Ok(()),
        Event::Probed { cuda_devices, .. } => Err(format!("libtorch sees {cuda_devices} devices there")),
        other => Err(format!("the trainer answered {other:?}")),
    }
}

/// Time for initialising CUDA, which takes seconds on a machine with many devices.
const PROBE_PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_device_that_the_probe_initialised_counts() {
        let probed = |devices: u64| format!(r#"{{"event":"probed","version":2,"threads":4,"cuda_devices":{devices}}}"#);
        assert_eq!(sees(Some(probed(2).as_bytes()), 1), Ok(()));
        assert!(sees(Some(probed(1).as_bytes()), 1).unwrap_err().contains("sees 1 devices"));
        assert!(sees(Some(probed(0).as_bytes()), 0).is_err());
        assert!(sees(None, 0).is_err() && sees(Some(b"nonsense"), 0).is_err());
        assert!(sees(Some(br#"{"event":"answered"}"#), 0).unwrap_err().contains("Answered"));
    }

    #[test]
    fn a_trainer_sees_the_chosen_gpu_only() {
        for (index, visible, device, own) in [
            (None, None, "cpu", ""),
            (None, Some("0,1"), "cpu", ""),
            (Some(1), None, "cuda:0", "1"),
            (Some(1), Some("4, 6"), "cuda:0", "6"),
            (Some(0), Some("GPU-1a2b"), "cuda:0", "GPU-1a2b"),
        ] {
            let chosen = Chosen::new(index, visible);
            assert_eq!(chosen.device, device);
            assert_eq!(chosen.environment[1], (VISIBLE_DEVICES.to_owned(), own.to_owned()), "{index:?} of {visible:?}");
        }
    }

    #[test]
    fn gpus_that_the_person_hides_are_not_used() {
        for (found, visible, usable) in [
            (4, None, 4),
            (4, Some(""), 0),
            (4, Some("-1"), 0),
            (4, Some("2"), 1),
            (4, Some("2,3"), 2),
            (4, Some("0,-1,2"), 1),
            (1, Some("0,1"), 1),
            (2, Some("GPU-1a2b"), 1),
        ] {
            assert_eq!(usable_gpus(found, visible), usable, "{visible:?} of {found}");
        }
    }
}
