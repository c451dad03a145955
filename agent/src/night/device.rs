//! Which device trainers use, and what they get to know of the machine.

use super::open::OpenError;
use crate::campaign::{Campaign, Device};
use crate::setup::Environment;

/// The whole environment of a trainer. The run path leads it to libtorch and libtorch to its CUDA half, so it needs nothing
/// but the person's choice of GPUs; devices are numbered as `nvidia-smi` numbers them. `LD_LIBRARY_PATH` is left out on purpose: a
/// system's cuDNN on it would shadow the one that belongs to libtorch.
pub fn trainer_environment() -> Vec<(String, String)> {
    let mut environment = vec![("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned())];
    if let Ok(visible) = std::env::var(VISIBLE_DEVICES) {
        environment.push((VISIBLE_DEVICES.to_owned(), visible));
    }
    environment
}

/// How the person says which GPUs are theirs.
const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// How many of the machine's GPUs are the person's to use, by the value of `CUDA_VISIBLE_DEVICES`.
fn usable_gpus(found: usize, visible: Option<&str>) -> usize {
    match visible {
        None => found,
        // CUDA stops at the first entry that is no device.
        Some(list) => list.split(',').take_while(|entry| !matches!(entry.trim(), "" | "-1")).count().min(found),
    }
}

/// `cpu` or `cuda:N`, as the campaign asks and the machine has it.
///
/// # Errors
/// [`OpenError::NoSuchDevice`].
pub fn device(campaign: &Campaign, environment: &Environment) -> Result<String, OpenError> {
    let found = usable_gpus(environment.gpus.len(), std::env::var(VISIBLE_DEVICES).ok().as_deref());
    match campaign.machine.device {
        Device::Auto if found == 0 => Ok("cpu".to_owned()),
        Device::Auto => Ok("cuda:0".to_owned()),
        Device::Cpu => Ok("cpu".to_owned()),
        Device::Cuda(index) if (index as usize) < found => Ok(format!("cuda:{index}")),
        Device::Cuda(index) => Err(OpenError::NoSuchDevice { asked: format!("cuda:{index}"), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
