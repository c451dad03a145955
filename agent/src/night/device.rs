//! Which devices trainers use, and what they get to know of the machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Event;

use super::open::OpenError;
use super::workbench::Workbench;
use crate::campaign::{Campaign, Device};
use crate::conditions::Conditions;
use crate::run::Job;
use crate::setup::{Environment, Gpu};

/// A device of a night: what trials on it run with, and what watches it.
#[derive(Debug, Clone)]
pub struct Station {
    /// What it is called on record.
    pub name: String,
    /// The whole environment of trainers on it.
    pub environment: Vec<(String, String)>,
    /// Watches it and the machine around its trials.
    pub conditions: Arc<Conditions>,
}

/// A device of a night's trainers, and all that they get to know of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// What it is called on record: `cpu` or `cuda:1`, and where the CPU is divided `cpu:1`. Counted from 0 among the person's.
    pub name: String,
    /// `cpu` or `cuda:0`: a trainer sees one GPU only.
    pub device: String,
    /// The whole environment of a trainer. The run path leads it to libtorch and libtorch to its CUDA half, so it needs nothing
    /// but the choice of the GPU and, where a night compiled any, the folder of its kernels. `LD_LIBRARY_PATH` is left out on purpose: a system's cuDNN on it would shadow the one that
    /// belongs to libtorch.
    pub environment: Vec<(String, String)>,
}

impl Chosen {
    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.device.starts_with("cuda")
    }

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
            name: index.map_or("cpu".to_owned(), |index| format!("cuda:{index}")),
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

/// The device that the campaign asks for and the machine has; of several the first.
///
/// # Errors
/// [`OpenError::NoSuchDevice`].
pub fn choose(campaign: &Campaign, environment: &Environment) -> Result<Chosen, OpenError> {
    choose_device(campaign.machine.device, environment)
}

/// All devices that the campaign asks for: the one that it names and those that follow, all alike.
///
/// # Errors
/// [`OpenError::NoSuchDevice`], [`OpenError::UnfitNames`], [`OpenError::UnlikeDevices`].
pub fn choose_all(campaign: &Campaign, environment: &Environment) -> Result<Vec<Chosen>, OpenError> {
    let visible = std::env::var(VISIBLE_DEVICES).ok();
    let first = choose(campaign, environment)?;
    several(first, campaign.machine.devices, &environment.gpus, visible.as_deref())
}

/// The device and those that follow it. Pure.
fn several(first: Chosen, asked: usize, gpus: &[Gpu], visible: Option<&str>) -> Result<Vec<Chosen>, OpenError> {
    if asked == 1 {
        return Ok(vec![first]);
    }
    let Some(index) = first.name.strip_prefix("cuda:").and_then(|index| index.parse::<usize>().ok()) else {
        let named = |place| Chosen { name: format!("cpu:{place}"), ..first.clone() };
        return Ok((0..asked).map(named).collect());
    };
    let found = usable_gpus(gpus.len(), visible);
    if index + asked > found {
        return Err(OpenError::NoSuchDevice { asked: format!("cuda:{}", index + asked - 1), found });
    }
    let chosen: Vec<Chosen> = (index..index + asked).map(|index| Chosen::new(Some(index), visible)).collect();
    let names: Vec<&str> = chosen.iter().filter_map(own_name).collect();
    if let Some(why) = unfit(&names, gpus.len()) {
        return Err(OpenError::UnfitNames { devices: asked, why });
    }
    let is = |chosen: &Chosen| match gpu_of(chosen, gpus) {
        Some(Gpu { name, memory_mib, .. }) => format!("{name}, {memory_mib} MiB"),
        None => "of which it cannot be told what it is: name it by its number in CUDA_VISIBLE_DEVICES".to_owned(),
    };
    let alike = |other: &Chosen| {
        let kind = |chosen| gpu_of(chosen, gpus).map(|gpu| (&gpu.name, gpu.memory_mib));
        kind(other).is_some() && kind(other) == kind(&first)
    };
    match chosen.iter().find(|other| !alike(other)) {
        Some(other) => Err(OpenError::UnlikeDevices {
            one: format!("{} ({})", first.name, is(&first)),
            other: format!("{} ({})", other.name, is(other)),
        }),
        None => Ok(chosen),
    }
}

/// What is wrong with the names of several devices, on a machine with so many GPUs; `None` where nothing is. Pure.
fn unfit(names: &[&str], gpus: usize) -> Option<String> {
    let number = |name: &str| name.parse::<usize>().ok();
    names.iter().enumerate().find_map(|(place, name)| {
        let same = |other: &&str| other == name || number(other).is_some_and(|other| number(name) == Some(other));
        if names.iter().take(place).any(same) {
            return Some(format!("it names {name} twice, and two trials on one GPU would slow each other down"));
        }
        if name.starts_with("MIG-") {
            return Some(format!("{name} is a slice of a GPU, and it cannot be told whether slices are alike"));
        }
        let beyond = number(name).is_some_and(|number| number >= gpus);
        beyond.then(|| format!("it names {name}, and this machine's {gpus} GPUs are numbered from 0"))
    })
}

/// Its name among all of the machine's GPUs.
fn own_name(chosen: &Chosen) -> Option<&str> {
    chosen.environment.iter().find(|(name, _)| name == VISIBLE_DEVICES).map(|(_, own)| own.as_str())
}

/// The GPU that this is, among all of the machine. Named by its UUID it can only be told where all are alike.
fn gpu_of<'a>(chosen: &Chosen, gpus: &'a [Gpu]) -> Option<&'a Gpu> {
    let own = own_name(chosen)?;
    let kind = |gpu: &'a Gpu| (&gpu.name, gpu.memory_mib);
    match own.parse::<usize>() {
        Ok(number) => gpus.get(number),
        Err(_) => gpus.first().filter(|first| gpus.iter().all(|gpu| kind(gpu) == kind(first))),
    }
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

/// Has a trainer really initialise a device of the campaign's inside the sandbox: a driver that works outside may not do so in
/// there. `folder` gets its log.
///
/// # Errors
/// [`NotUsableInside`]; never for the CPU, which needs no trying.
pub async fn try_inside(
    bench: &Workbench,
    which: &Chosen,
    executable: &Path,
    folder: &Path,
) -> Result<(), NotUsableInside> {
    let device = bench.setting.device.as_str();
    let Some(index) = device.strip_prefix("cuda:").and_then(|index| index.parse::<u64>().ok()) else { return Ok(()) };
    let unusable = |why: String| NotUsableInside {
        device: which.name.clone(),
        sandbox: bench.launcher.confinement().describe(),
        why,
    };
    let job = Job { environment: which.environment.clone(), ..bench.probe_job(executable, folder) };
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
    fn several_devices_follow_the_one_that_is_named_and_are_alike() {
        let gpu = |name: &str, memory_mib| Gpu { name: name.to_owned(), memory_mib, driver: "580.65.06".to_owned() };
        let (h100, a100) = (|| gpu("H100", 81_559), || gpu("A100", 81_920));
        let gpus = [h100(), h100(), a100(), h100()];
        let found = |index, asked, gpus: &[Gpu], visible: Option<&str>| {
            let found = several(Chosen::new(index, visible), asked, gpus, visible);
            let words = |chosen: &Chosen| format!("{}={}", chosen.name, chosen.environment[1].1);
            found.map(|all| all.iter().map(words).collect::<Vec<_>>().join(" ")).map_err(|error| error.to_string())
        };
        let chosen = |index, asked, visible| found(index, asked, &gpus, visible).unwrap();
        assert_eq!(chosen(None, 1, None), "cpu=");
        assert_eq!(chosen(None, 2, None), "cpu:0= cpu:1=");
        assert_eq!(chosen(Some(0), 2, None), "cuda:0=0 cuda:1=1");
        assert_eq!(chosen(Some(2), 1, None), "cuda:2=2", "one alone is like itself");
        assert_eq!(chosen(Some(0), 3, Some("0,1,3")), "cuda:0=0 cuda:1=1 cuda:2=3");
        let why = found(Some(1), 2, &gpus, None).unwrap_err();
        assert!(why.contains("cuda:1 (H100, 81559 MiB) and cuda:2 (A100, 81920 MiB)"), "{why}");
        let memory = found(Some(0), 2, &[gpu("H100", 81_559), gpu("H100", 95_830)], None);
        assert!(memory.unwrap_err().contains("95830"), "the same name with other memory");
        assert!(found(Some(0), 5, &gpus, None).unwrap_err().contains("cuda:4"));
        assert!(found(Some(0), 3, &gpus, Some("0,1")).unwrap_err().contains("cuda:2"));
        let named = Some("GPU-1a,GPU-2b");
        assert_eq!(found(Some(0), 2, &[h100(), h100()], named).unwrap(), "cuda:0=GPU-1a cuda:1=GPU-2b");
        assert!(found(Some(0), 2, &gpus, named).unwrap_err().contains("by its number"));
    }

    #[test]
    fn names_that_do_not_give_several_devices_are_refused() {
        for (names, why) in [
            (&["0", "1", "3"][..], None),
            (&["GPU-1a", "GPU-2b"], None),
            (&["0", "1", "0"], Some("names 0 twice")),
            (&["0", "00"], Some("names 00 twice")),
            (&["GPU-1a", "GPU-1a"], Some("names GPU-1a twice")),
            (&["MIG-1a", "MIG-2b"], Some("MIG-1a is a slice")),
            (&["0", "7"], Some("names 7, and this machine's 4 GPUs")),
        ] {
            let said = unfit(names, 4);
            assert_eq!(said.is_some(), why.is_some(), "{names:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(why.unwrap_or_default()), "{names:?}");
        }
        let h100 = || Gpu { name: "H100".to_owned(), memory_mib: 81_559, driver: "580.65.06".to_owned() };
        let twice = several(Chosen::new(Some(0), Some("0,0")), 2, &[h100(), h100()], Some("0,0"));
        assert!(twice.unwrap_err().to_string().contains("names 0 twice"));
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
