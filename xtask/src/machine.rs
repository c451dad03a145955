//! What the machine is and what else it does: figures stand with both.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Today, the processor, the cores that may be used, memory and kernel, in words.
pub fn describe() -> Result<String, String> {
    let cpus = read("/proc/cpuinfo")?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // ARM machines name no model.
    let model = field(&cpus, "model name").unwrap_or_else(|| "an unnamed processor".to_owned());
    let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let kibibytes = memory.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_err(|error| format!("cannot count the cores: {error}"))?;
    let flags = field(&cpus, "flags").unwrap_or_default();
    let bf16 = if flags.split(' ').any(|flag| flag == "avx512_bf16") { " with AVX512-BF16" } else { "" };
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!("{}, {model}{bf16}, {cores} cores, {} GiB, Linux {}", today()?, kibibytes >> 20, kernel.trim()))
}

fn today() -> Result<String, String> {
    let output =
        Command::new("date").args(["--utc", "+%F"]).output().map_err(|error| format!("cannot run date: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Part of the processor that was used in the second that this takes, 0 to 1.
pub fn busy() -> Result<f64, String> {
    let before = times(&read("/proc/stat")?)?;
    sleep(Duration::from_secs(1));
    let after = times(&read("/proc/stat")?)?;
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    Ok(if all > 0.0 { 1.0 - idle / all } else { 0.0 })
}

/// Idle time and all time of all cores, out of `/proc/stat`, in ticks: `cpu user nice system idle iowait irq softirq steal ...`.
fn times(stat: &str) -> Result<(f64, f64), String> {
    let unreadable = || "the first line of /proc/stat is not as it should be".to_owned();
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or_else(unreadable)?;
    let numbers: Result<Vec<f64>, _> = line.split_whitespace().take(8).map(str::parse).collect();
    match numbers.map_err(|_| unreadable())?.as_slice() {
        numbers @ [_, _, _, idle, waiting, ..] => Ok((idle + waiting, numbers.iter().sum())),
        _ => Err(unreadable()),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_told_from_work() {
        assert_eq!(times("cpu  10 20 30 400 5 6 7 8 9 9\ncpu0 1 2 3\n").unwrap(), (405.0, 486.0));
        assert!(times("cpu 1 2").is_err() && times("intr 1").is_err());
    }
}
