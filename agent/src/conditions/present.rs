//! What `nocturne doctor` says of the present conditions.

use std::time::Duration;

use super::judge::{foreign_load, throttled};
use super::read::Reader;
use super::{Reading, gpu::reasons};
use crate::campaign::Machine;
use crate::setup::{Finding, Gpus, Surroundings};

/// The processors are looked at for so long.
const LOOK: Duration = Duration::from_millis(1_500);

/// Looks at this machine for a moment. Changes nothing and never fails.
pub async fn present(surroundings: &Surroundings) -> Vec<Finding> {
    let host = Reader::new(surroundings.clone(), None);
    let before = host.read(false).await;
    tokio::time::sleep(LOOK).await;
    let after = host.read(false).await;
    let mut findings = host_findings(&before, &after);
    let Gpus::Usable(gpus) = Gpus::find(surroundings).await else { return findings };
    for number in 0..gpus.len() {
        let reader = Reader::new(surroundings.clone(), Some(number.to_string()));
        findings.push(gpu_finding(number, &reader.read(false).await));
        if number + 1 == gpus.len() {
            findings.push(log_finding(reader.sees_kernel_log()));
        }
    }
    findings
}

fn host_findings(before: &Reading, after: &Reading) -> Vec<Finding> {
    let cores = after.cpu.map_or(1, |cpu| cpu.cores.count);
    let most = Machine::usual_foreign_load();
    let mut findings = vec![match foreign_load(before, after, f64::from(cores), false) {
        None => Finding::ok(
            "load",
            "cannot be told apart from the night's own on this machine; trials are not judged by it",
        ),
        Some(load) => {
            let detail = format!("other programs take {:.0} % of the {cores} cores", load * 100.0);
            if load <= most {
                Finding::ok("load", detail)
            } else {
                let remedy = "End them before a night: it waits for them, and under a budget in seconds runs disturbed trials again \
                              (`most_foreign_load` under [machine] in campaign.toml)";
                Finding::warn("load", detail, remedy)
            }
        }
    }];
    match throttled(before, after) {
        Some(share) if share > 0.0 => findings.push(Finding::warn(
            "heat",
            format!("holds a processor's clock down {:.0} % of the time", share * 100.0),
            "Cool the machine, or use fewer `threads` under [machine]",
        )),
        Some(_) => findings.push(Finding::ok("heat", "holds no processor's clock down")),
        None => {}
    }
    findings
}

fn gpu_finding(number: usize, reading: &Reading) -> Finding {
    const NAME: &str = "GPU conditions";
    let gpu = match &reading.gpu {
        Some(Ok(gpu)) => gpu,
        Some(Err(why)) => {
            return Finding::warn(
                NAME,
                format!("cuda:{number}: {why}"),
                "Until it answers, trials on it are not judged by them",
            );
        }
        None => return Finding::ok(NAME, format!("cuda:{number}: not known")),
    };
    let lowered = gpu.lowered.unwrap_or(0);
    if let Some(other) = reading.foreign.first() {
        let many = reading.foreign.len();
        let detail =
            format!("cuda:{number}: {many} other programs use it, for one {} (process {})", other.name, other.pid);
        return Finding::warn(
            NAME,
            detail,
            "End them, or choose another GPU with `device` under [machine] in campaign.toml",
        );
    }
    if lowered & (reasons::HARDWARE | reasons::HEAT) != 0 {
        let detail = format!("cuda:{number}: its clock is lowered because of heat or power (reasons {lowered:#x})");
        return Finding::warn(NAME, detail, "See to its cooling and its power supply");
    }
    if let Some(errors @ 1..) = gpu.uncorrected {
        let detail = format!("cuda:{number}: its memory had {errors} errors that could not be corrected");
        return Finding::warn(
            NAME,
            detail,
            "Restart the machine, which lets the GPU replace bad rows; replace it if they come again",
        );
    }
    Finding::ok(NAME, format!("cuda:{number}: nobody else on it, clock not lowered by heat or power, no memory errors"))
}

fn log_finding(readable: bool) -> Finding {
    const NAME: &str = "GPU errors";
    if readable {
        return Finding::ok(NAME, "Xid errors are read from the kernel's log");
    }
    Finding::warn(
        NAME,
        "the kernel's log cannot be read, so Xid errors are not seen; memory errors and a lost GPU still are",
        "sudo sysctl kernel.dmesg_restrict=0, if others on this machine may read the log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Cpu;
    use crate::conditions::cpu::Cores;
    use crate::conditions::gpu::{Computing, Gpu};
    use crate::setup::State;

    fn at(at: f64, busy: u64) -> Reading {
        let cores = Cores { count: 4, busy, all: (at * 400.0) as u64 };
        let cpu = Some(Cpu { cores, own: (0, 0), own_bytes: 0 });
        Reading { at, cpu, ..Reading::default() }
    }

    #[test]
    fn a_loaded_or_hot_machine_gets_a_note() {
        let told = |busy, millis: [Option<u64>; 2]| {
            let counters = |millis: Option<u64>| millis.into_iter().collect();
            let before = Reading { throttled_millis: counters(millis[0]), ..at(10.0, 0) };
            let after = Reading { throttled_millis: counters(millis[1]), ..at(12.0, busy) };
            host_findings(&before, &after).into_iter().map(|found| (found.name, found.state)).collect::<Vec<_>>()
        };
        use State::{Ok, Warn};
        assert_eq!(told(80, [None, None]), [("load", Ok)]);
        assert_eq!(told(400, [Some(5), Some(5)]), [("load", Warn), ("heat", Ok)]);
        assert_eq!(told(0, [Some(5), Some(900)]), [("load", Ok), ("heat", Warn)]);
        let unknown = host_findings(&Reading::default(), &Reading::default());
        assert_eq!((unknown.len(), unknown[0].state), (1, Ok));
    }

    #[test]
    fn a_disturbed_gpu_gets_a_note() {
        let quiet = Gpu { lowered: Some(4), uncorrected: Some(0), ..Gpu::default() };
        let stranger = Computing { pid: 7, memory_mib: None, name: "python".to_owned() };
        for (gpu, foreign, state, words) in [
            (Ok(quiet.clone()), vec![], State::Ok, "nobody else"),
            (Ok(quiet.clone()), vec![stranger], State::Warn, "python (process 7)"),
            (Ok(Gpu { lowered: Some(0x20), ..quiet.clone() }), vec![], State::Warn, "lowered"),
            (Ok(Gpu { lowered: Some(0x88), ..quiet.clone() }), vec![], State::Warn, "0x88"),
            (Ok(Gpu { uncorrected: Some(2), ..quiet.clone() }), vec![], State::Warn, "2 errors"),
            (Ok(Gpu { lowered: None, uncorrected: None, ..quiet }), vec![], State::Ok, "nobody else"),
            (Err("it is lost".to_owned()), vec![], State::Warn, "lost"),
        ] {
            let found = gpu_finding(0, &Reading { gpu: Some(gpu), foreign, ..Reading::default() });
            assert_eq!(found.state, state, "{found:?}");
            assert!(found.detail.contains(words), "{found:?}");
        }
        assert_eq!((log_finding(true).state, log_finding(false).state), (State::Ok, State::Warn));
    }

    #[tokio::test]
    async fn this_machine_has_conditions() {
        let nowhere = Surroundings { path: "/no/such/folder".into(), ..Surroundings::default() };
        assert_eq!(present(&nowhere).await.first().map(|found| found.name), Some("load"));
    }
}
