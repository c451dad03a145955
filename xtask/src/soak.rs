//! `cargo xtask soak-trainer`: a long training whose memory must stay flat, looked at from outside every second.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{steps, torch};

/// The trainer's program, as the system names it.
const PROGRAM: &str = "throughput";

/// Growth of resident memory from the middle of the training to its end that is still called flat: the allocator moves by less, a tensor of
/// 4 KiB kept in every step of 0.4 s would grow by more in 30 minutes.
const MOST_GROWTH_MIB: f64 = 8.0;

/// Trains for so many minutes and fails if memory grew in the second half.
pub fn trainer(minutes: &str) -> Result<(), String> {
    let minutes: f64 = match minutes.parse() {
        Ok(minutes) if (0.1..=10_000.0).contains(&minutes) => minutes,
        _ => return Err(format!("{minutes} is no number of minutes")),
    };
    let agent = steps::agent()?;
    let seconds = format!("{}", 60.0 * minutes);
    let mut child = Command::new(&agent)
        .args(["bench", "throughput", "--seconds", &seconds])
        .current_dir(steps::root()?)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", agent.display()))?;
    let mut samples: Vec<(f64, u64)> = Vec::new();
    let mut began = None;
    while child.try_wait().map_err(|error| format!("cannot wait for the training: {error}"))?.is_none() {
        sleep(Duration::from_secs(1));
        if let Some(bytes) = below(child.id(), PROGRAM).and_then(resident) {
            let began = *began.get_or_insert_with(Instant::now);
            samples.push((began.elapsed().as_secs_f64(), bytes));
        }
    }
    let output = child.wait_with_output().map_err(|error| format!("cannot wait for the training: {error}"))?;
    if !output.status.success() {
        return Err(format!("the training failed ({})", output.status));
    }
    let path = torch::folder()?.join("soak.csv");
    let lines: Vec<String> = samples.iter().map(|(second, bytes)| format!("{second:.1},{bytes}")).collect();
    fs::write(&path, format!("seconds,resident_bytes\n{}\n", lines.join("\n")))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{}", String::from_utf8_lossy(&output.stdout).trim());
    let Growth { middle, end } = growth(&samples)?;
    println!(
        "Resident memory over {minutes} minutes, {} samples: {middle:.1} MiB in the middle, {end:.1} MiB at the end; in {}",
        samples.len(),
        path.display()
    );
    if end - middle > MOST_GROWTH_MIB {
        return Err(format!(
            "it grew by {:.1} MiB in the second half; at most {MOST_GROWTH_MIB} are allowed",
            end - middle
        ));
    }
    Ok(())
}

/// Median resident memory in MiB.
struct Growth {
    /// Of the sixth tenth of the time.
    middle: f64,
    /// Of the last.
    end: f64,
}

fn growth(samples: &[(f64, u64)]) -> Result<Growth, String> {
    let whole = samples.last().map_or(0.0, |(second, _)| *second);
    let tenth = |number: f64| {
        let range = whole * (number - 1.0) / 10.0..=whole * number / 10.0;
        let mut values: Vec<u64> =
            samples.iter().filter(|(second, _)| range.contains(second)).map(|(_, bytes)| *bytes).collect();
        values.sort_unstable();
        values.get(values.len() / 2).map(|bytes| *bytes as f64 / f64::from(1 << 20))
    };
    match (tenth(6.0), tenth(10.0)) {
        (Some(middle), Some(end)) => Ok(Growth { middle, end }),
        _ => Err(format!("{} samples in {whole:.0} s tell nothing; train longer", samples.len())),
    }
}

/// The process of this name that `ancestor` started, or one that it started did.
fn below(ancestor: u32, name: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.into_iter().find(|&process| {
        let mut at = process;
        process_of(process).is_some_and(|(its, _)| its == name)
            && std::iter::from_fn(|| {
                at = process_of(at)?.1;
                Some(at)
            })
            .any(|parent| parent == ancestor)
    })
}

/// Name and parent of a process.
fn process_of(process: u32) -> Option<(String, u32)> {
    named(&fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat")).ok()?)
}

/// The same out of its `stat`: `PID (NAME) STATE PARENT ...`, where the name may hold anything.
fn named(stat: &str) -> Option<(String, u32)> {
    let (before, behind) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    Some((name.to_owned(), behind.split_whitespace().nth(1)?.parse().ok()?))
}

/// Resident memory of a process, bytes.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_a_large_beginning() {
        // Ten minutes, a sample a second: memory rises for a minute, then stays.
        let flat: Vec<(f64, u64)> =
            (0..600_u32).map(|second| (f64::from(second), u64::from(second.min(60)) << 20)).collect();
        let Growth { middle, end } = growth(&flat).unwrap();
        assert_eq!((middle, end), (60.0, 60.0));
        let leaking: Vec<(f64, u64)> =
            (0..600_u32).map(|second| (f64::from(second), u64::from(second) << 20)).collect();
        let Growth { middle, end } = growth(&leaking).unwrap();
        assert!((end - middle - 240.0).abs() < 2.0, "{middle} {end}");
        assert!(growth(&[]).is_err());
    }

    #[test]
    fn processes_are_found_by_name_below_their_ancestor() {
        assert_eq!(named("12 (a) b (c) S 7 12 12 0").unwrap(), ("a) b (c".to_owned(), 7));
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        // Until it has become the program that it was started for.
        while process_of(child.id()).is_some_and(|(name, _)| name != "sleep") {
            sleep(Duration::from_millis(5));
        }
        let (found, none) = (below(own, "sleep"), below(child.id(), "sleep"));
        let bytes = resident(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((found, none), (Some(child.id()), None));
        assert!(bytes.is_some_and(|bytes| bytes > 0));
    }
}
