//! Whether the machine disturbed a trial. Pure.

use protocol::Budget;

use super::gpu::{Computing, reasons};
use super::{Cpu, Reading};
use crate::flow::TrialEnd;

/// Windows shorter than this are not judged by shares of time: a clock tick is a hundredth of a second.
const LEAST_WINDOW_SECONDS: f64 = 1.0;

/// Everything waiting for memory for more than this share of the time is a disturbance.
const MOST_STALLED: f64 = 0.1;

/// As long as this program's own processes hold no more than this share of the memory that a trial may take, it is not they who make
/// it short.
const OWN_MEMORY: f64 = 0.5;

/// A processor whose clock heat held down for more than this share of the time.
const MOST_THROTTLED: f64 = 0.5;

/// A GPU whose clock was found lowered in more than this share of the readings, and in at least two.
const MOST_LOWERED: f64 = 0.1;

/// What a campaign and its machine allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Share of the cores that a trial uses which others may take; 1 or more looks away from other programs altogether.
    pub most_foreign_load: f64,
    /// Cores that a trial uses.
    pub cores: f64,
    /// Whether it keeps to these, and cannot make way on others.
    pub pinned: bool,
    /// Bytes of memory that a trial may take, where it is known.
    pub memory_bytes: Option<u64>,
}

/// What disturbed a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Other programs on the processors.
    ForeignLoad,
    /// Memory is short, and others have it.
    Memory,
    /// Heat held a processor's clock down.
    HotProcessor,
    /// Other programs on the GPU.
    ForeignGpu,
    /// The GPU's hardware lowered its clock.
    GpuHardware,
    /// Heat lowered the GPU's clock.
    HotGpu,
    /// The GPU reported errors, or is gone.
    GpuError,
}

/// Why a trial does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disturbance {
    /// What it was.
    pub cause: Cause,
    /// What was found and what to do, for people.
    pub words: String,
}

/// What of the machine disturbed a trial that ended so, from readings before, during and after it; the gravest first.
///
/// A budget in seconds buys less training on a disturbed machine; one in tokens only takes longer, so that only errors of the hardware
/// count. A crash or a loss that is not finite is no matter of speed either.
pub fn judge(
    before: &Reading,
    during: &[Reading],
    after: &Reading,
    budget: Budget,
    end: &TrialEnd,
    limits: &Limits,
) -> Vec<Disturbance> {
    if matches!(end, TrialEnd::Stopped | TrialEnd::MachineFault { .. }) {
        return Vec::new();
    }
    let error = gpu_error(before, after, end).map(|words| Disturbance { cause: Cause::GpuError, words });
    let memory_was_refused = matches!(end, TrialEnd::OutOfMemory { .. });
    let matter_of_speed = matches!(budget, Budget::Seconds(_))
        && !matches!(end, TrialEnd::Crashed { .. } | TrialEnd::NotFinite | TrialEnd::OutOfMemory { .. });
    let mut found: Vec<Disturbance> = error.into_iter().collect();
    if matter_of_speed || memory_was_refused {
        found.extend(foreign_on_gpu(std::iter::once(before).chain(during), limits));
    }
    if matter_of_speed {
        found.extend(lowered(during));
        found.extend(disturbed_host(before, after, limits));
    }
    found
}

/// What is wrong with the machine now, between two trials, from the readings at both ends of a window; the gravest first.
pub fn judge_pause(before: &Reading, after: &Reading, budget: Budget, limits: &Limits) -> Vec<Disturbance> {
    let mut found = Vec::new();
    if let Some(Err(why)) = &after.gpu {
        found.push(Disturbance { cause: Cause::GpuError, words: format!("the GPU does not answer: {why}") });
    }
    if matches!(budget, Budget::Seconds(_)) {
        let lowered = after.gpu.as_ref().and_then(|gpu| gpu.as_ref().ok()?.lowered).unwrap_or(0);
        found.extend(foreign_on_gpu([after], limits));
        if lowered & reasons::HARDWARE != 0 {
            found.push(Disturbance { cause: Cause::GpuHardware, words: hardware_words(lowered) });
        }
        found.extend(disturbed_host(before, after, limits));
    }
    found
}

/// The share of the cores that a trial uses which other programs took between two readings; `None` where the time is too short or the
/// system does not say. Cores that are left over are nobody's loss, unless the trial is `pinned`: then other programs may all have been on
/// its own, and are taken to.
pub fn foreign_load(before: &Reading, after: &Reading, cores: f64, pinned: bool) -> Option<f64> {
    let (from, to) = (before.cpu?, after.cpu?);
    if after.at - before.at < LEAST_WINDOW_SECONDS || from.cores.count != to.cores.count {
        return None;
    }
    let all = to.cores.all.checked_sub(from.cores.all).filter(|all| *all > 0)?;
    let busy = to.cores.busy.saturating_sub(from.cores.busy);
    // The most that may be our own: a process that ended while it was counted must not look like somebody else's.
    let own = to.own.1.saturating_sub(from.own.0);
    let count = f64::from(to.cores.count);
    let foreign = busy.saturating_sub(own) as f64 / all as f64 * count;
    let wanted = cores.clamp(f64::MIN_POSITIVE, count);
    let lost = if pinned { foreign } else { wanted - (count - foreign) };
    Some((lost / wanted).clamp(0.0, 1.0))
}

fn disturbed_host(before: &Reading, after: &Reading, limits: &Limits) -> Vec<Disturbance> {
    let found =
        [foreign_programs(before, after, limits), short_memory(before, after, limits), hot_processor(before, after)];
    found.into_iter().flatten().collect()
}

fn foreign_programs(before: &Reading, after: &Reading, limits: &Limits) -> Option<Disturbance> {
    let load = foreign_load(before, after, limits.cores, limits.pinned)?;
    (limits.most_foreign_load < 1.0 && load > limits.most_foreign_load).then(|| {
        let words = format!(
            "other programs took {:.0} % of the {:.0} cores that a trial uses; end them, or allow more than {:.0} % with \
             `most_foreign_load` under [machine] in campaign.toml",
            load * 100.0,
            limits.cores,
            limits.most_foreign_load * 100.0
        );
        Disturbance { cause: Cause::ForeignLoad, words }
    })
}

fn short_memory(before: &Reading, after: &Reading, limits: &Limits) -> Option<Disturbance> {
    let seconds = window(before, after)?;
    let held = |reading: &Reading| reading.cpu.map(|Cpu { own_bytes, .. }| own_bytes as f64);
    let own = held(before)?.max(held(after)?) / limits.memory_bytes? as f64;
    let stalled = after.stalled_micros?.saturating_sub(before.stalled_micros?) as f64 / 1e6 / seconds;
    let swapped = after.swapped_pages.unwrap_or(0).saturating_sub(before.swapped_pages.unwrap_or(0));
    (limits.most_foreign_load < 1.0 && own < OWN_MEMORY && stalled > MOST_STALLED).then(|| {
        let words = format!(
            "memory was short: everything waited for it {:.0} % of the time and {swapped} pages were swapped, while the night's own \
             processes held little; end the programs that take it",
            stalled * 100.0
        );
        Disturbance { cause: Cause::Memory, words }
    })
}

/// The share of the time between two readings for which heat held a processor's clock down, the worst of them; `None` where they do not
/// count it.
pub fn throttled(before: &Reading, after: &Reading) -> Option<f64> {
    let seconds = window(before, after)?;
    let counters = before.throttled_millis.iter().zip(&after.throttled_millis);
    let most = counters.map(|(from, to)| to.saturating_sub(*from)).max()?;
    Some((most as f64 / 1e3 / seconds).min(1.0))
}

fn hot_processor(before: &Reading, after: &Reading) -> Option<Disturbance> {
    let share = throttled(before, after)?;
    (share > MOST_THROTTLED).then(|| {
        let words = format!(
            "heat held a processor's clock down {:.0} % of the time; cool the machine, or lower `threads` under [machine]",
            share * 100.0
        );
        Disturbance { cause: Cause::HotProcessor, words }
    })
}

fn window(before: &Reading, after: &Reading) -> Option<f64> {
    Some(after.at - before.at).filter(|seconds| *seconds >= LEAST_WINDOW_SECONDS)
}

fn foreign_on_gpu<'a>(readings: impl IntoIterator<Item = &'a Reading>, limits: &Limits) -> Option<Disturbance> {
    if limits.most_foreign_load >= 1.0 {
        return None;
    }
    let Computing { pid, memory_mib, name } = readings.into_iter().find_map(|reading| reading.foreign.first())?;
    let memory = memory_mib.map_or_else(String::new, |mib| format!(", {mib} MiB"));
    let words = format!(
        "another program used the GPU: {name} (process {pid}{memory}); end it, give the night another GPU with `device` under [machine], \
         or look away with `most_foreign_load = 1`"
    );
    Some(Disturbance { cause: Cause::ForeignGpu, words })
}

fn lowered(during: &[Reading]) -> Option<Disturbance> {
    let masks: Vec<u64> = during.iter().filter_map(|reading| reading.gpu.as_ref()?.as_ref().ok()?.lowered).collect();
    let often = |bits: u64| {
        let found = masks.iter().filter(|mask| *mask & bits != 0).count();
        found >= 2 && found as f64 > MOST_LOWERED * masks.len() as f64
    };
    if often(reasons::HARDWARE) {
        let all = masks.iter().fold(0, |all, mask| all | mask);
        return Some(Disturbance { cause: Cause::GpuHardware, words: hardware_words(all) });
    }
    often(reasons::HEAT).then(|| {
        let words =
            "heat lowered the GPU's clock; cool the machine, or lower its power limit (`nvidia-smi -pl`)".to_owned();
        Disturbance { cause: Cause::HotGpu, words }
    })
}

fn hardware_words(mask: u64) -> String {
    let why = match mask {
        mask if mask & 0x40 != 0 => "it is far too hot; see to its cooling",
        mask if mask & 0x80 != 0 => "the power supply asked for it; see to the power supply and its cables",
        _ => "it is too hot or draws too much power; see to its cooling and its power supply",
    };
    format!("the GPU's hardware lowered its clock: {why}")
}

fn gpu_error(before: &Reading, after: &Reading, end: &TrialEnd) -> Option<String> {
    let read = |reading: &Reading| reading.gpu.as_ref().and_then(|gpu| gpu.clone().ok());
    let first = read(before)?;
    let new = after.xids.iter().skip(before.xids.len());
    for xid in new.filter(|xid| xid.is_of(&first.bus)) {
        if let Some(what) = xid.of_the_machine() {
            return Some(format!(
                "the GPU reported Xid {}: {what}; see the kernel's log and NVIDIA's Xid catalogue",
                xid.number
            ));
        }
    }
    match &after.gpu {
        Some(Ok(last)) => {
            let errors = last.uncorrected?.saturating_sub(first.uncorrected?);
            (errors > 0)
                .then(|| format!("the GPU's memory had {errors} errors that could not be corrected; reset the GPU"))
        }
        // A driver that hangs while a trial ends well has not disturbed it.
        Some(Err(why)) if *end != TrialEnd::Finished => Some(format!("the GPU does not answer any more: {why}")),
        _ => None,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
