//! Fifty readers of the live page while a night runs: whether any of them loses an update, and what they cost the night.
//!
//! The first is shown on a night of the pretended trainer, whose readers stay from its start to its end. The second on one real night of
//! the quickstart, whose start is trained many times over: readers come with every second trial and leave with the next, so trials with
//! and without them are of one program, on one machine, minutes apart. A budget in seconds makes what they take show: a trial that
//! loses the processor gets fewer steps.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead as _;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Connection;
use crate::night::Clone;
use crate::pretend::Pretended;
use crate::serve::Server;
use crate::steps;

/// Readers at once.
const READERS: usize = 50;
/// How often a folder is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A night of either kind takes less.
const PATIENCE: Duration = Duration::from_secs(45 * 60);
/// Trials of the start in the real night.
const TRIALS: u32 = 16;
/// The first trials have builds and proposals beside them.
const UNSETTLED: u64 = 2;

/// Both.
pub fn all() -> Result<(), String> {
    let agent = steps::optimised_agent()?;
    all_updates(&agent)?;
    effect(&agent)
}

/// No reader loses an update, alone.
pub fn updates() -> Result<(), String> {
    all_updates(&steps::optimised_agent()?)
}

/// No reader loses an update.
fn all_updates(agent: &Path) -> Result<(), String> {
    let repository = Pretended::new("readers")?;
    let server = Server::start(agent, &repository.folder)?;
    let mut night = Night(repository.night(agent, 12)?);
    let nights = repository.folder.join(".nocturne/nights");
    let name = night.name(&nights)?;
    let readers = Readers::come(&server.address, &name)?;
    night.wait()?;
    let told = readers.leave_after(&nights.join(&name).join("events.jsonl"))?;
    let processor = server.processor_seconds()?;
    println!(
        "{READERS} readers over a night of the pretended trainer: each got all {told} events of the journal, in order; \
         the server took {processor:.1} s of processor time"
    );
    Ok(())
}

/// What they cost.
fn effect(agent: &Path) -> Result<(), String> {
    let clone = Clone::new(steps::root()?, "readers-night")?;
    clone.shorten()?;
    seeds(clone.folder())?;
    let server = Server::start(agent, clone.folder())?;
    let mut command = Command::new(agent);
    command.args(["night", "experiments/quickstart", "--experiments", "1", "--proposer", "identical", "--json"]);
    command.current_dir(clone.folder()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut night = Night(command.spawn().map_err(|error| format!("cannot start {}: {error}", agent.display()))?);
    let nights = clone.folder().join(".nocturne/nights");
    let name = night.name(&nights)?;
    let start = nights.join(&name).join("0");
    let mut readers: Option<Readers> = None;
    let mut processor = BTreeMap::new();
    for trial in 1..=u64::from(TRIALS) {
        night.until(|| start.join(format!("trial-{trial}")).is_dir(), "the next trial begins")?;
        processor.insert(trial, server.processor_seconds()?);
        match readers.take() {
            Some(present) => present.leave()?,
            None => readers = Some(Readers::come(&server.address, &name)?),
        }
    }
    if let Some(present) = readers.take() {
        present.leave()?;
    }
    night.wait()?;
    let mut steps_of: [Vec<f64>; 2] = Default::default();
    let mut served: [Vec<f64>; 2] = Default::default();
    for trial in UNSETTLED + 1..u64::from(TRIALS) {
        let path = start.join(format!("trial-{trial}/trial.json"));
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let record: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let steps =
            record["trial"]["trained"]["steps"].as_f64().ok_or_else(|| format!("{} has no steps", path.display()))?;
        // They came with the first.
        let with = usize::from(trial % 2 == 1);
        steps_of[with].push(steps);
        if let (Some(from), Some(to)) = (processor.get(&trial), processor.get(&(trial + 1))) {
            served[with].push(to - from);
        }
    }
    let [without, with] = steps_of.map(|figures| Mean::of(&figures));
    let ratio = with.mean / without.mean;
    let error = ratio * ((with.error / with.mean).powi(2) + (without.error / without.mean).powi(2)).sqrt();
    let [idle, busy] = served.map(|figures| Mean::of(&figures));
    println!("steps of a trial: {with} with {READERS} readers, {without} without");
    println!("with over without: {ratio:.4} (standard error {error:.4})");
    println!("the server's processor time for a trial and its evaluation: {busy} s with readers, {idle} s without");
    Ok(())
}

/// Many trials of the start; the least of everything else.
fn seeds(clone: &Path) -> Result<(), String> {
    let path = clone.join("experiments/quickstart/campaign.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("champion_seeds", _)) => format!("champion_seeds = {TRIALS}"),
        Some(("morning_pairs", _)) => "morning_pairs = 0".to_owned(),
        _ => line.to_owned(),
    });
    let changed = lines.collect::<Vec<_>>().join("\n") + "\n";
    fs::write(&path, changed).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A night that runs; ended with this if it has not ended by itself.
struct Night(Child);

impl Night {
    /// Waits until there is a night, and returns its name.
    fn name(&mut self, nights: &Path) -> Result<String, String> {
        let find = || {
            fs::read_dir(nights).ok()?.flatten().next().map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        self.until(|| find().is_some(), "there is a night")?;
        find().ok_or_else(|| format!("there is no night in {}", nights.display()))
    }

    /// Waits until something is so.
    fn until(&mut self, is_so: impl Fn() -> bool, what: &str) -> Result<(), String> {
        let began = Instant::now();
        while !is_so() {
            if let Some(status) = self.0.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("the night ended ({status}) before {what}"));
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("waited {} s, and not yet: {what}", PATIENCE.as_secs()));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    fn wait(mut self) -> Result<(), String> {
        let status = self.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the night failed ({status})")) }
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// What a reader has got so far: the ordinals of events, as they came.
type Seen = Arc<Mutex<Vec<u64>>>;

/// A reader: a thread with a connection of its own.
struct Reader {
    seen: Seen,
    connection: TcpStream,
    thread: JoinHandle<Result<(), String>>,
}

/// Readers of a night's events.
struct Readers {
    readers: Vec<Reader>,
    gone: Arc<AtomicBool>,
}

impl Readers {
    fn come(address: &str, night: &str) -> Result<Self, String> {
        let gone = Arc::new(AtomicBool::new(false));
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let connection = Connection::open(address)?;
            let handle = connection.handle()?;
            let lines = connection.events(&format!("/events?night={night}"))?;
            let (seen, is_gone) = (Seen::default(), Arc::clone(&gone));
            let seeing = Arc::clone(&seen);
            let thread = std::thread::spawn(move || {
                for line in lines.lines() {
                    let line = match line {
                        Ok(line) => line,
                        // It was shut on purpose.
                        Err(_) if is_gone.load(Ordering::Relaxed) => return Ok(()),
                        Err(error) => return Err(format!("a reader's stream broke off: {error}")),
                    };
                    if let Some(id) = line.strip_prefix("id:") {
                        let id = id.trim().parse().map_err(|_| format!("{line:?} names no event"))?;
                        seeing.lock().map_err(|_| "another reader failed")?.push(id);
                    }
                }
                if is_gone.load(Ordering::Relaxed) {
                    Ok(())
                } else {
                    Err("the server ended a reader's stream".to_owned())
                }
            });
            readers.push(Reader { seen, connection: handle, thread });
        }
        Ok(Self { readers, gone })
    }

    /// All go at once.
    fn leave(self) -> Result<(), String> {
        self.gone.store(true, Ordering::Relaxed);
        for reader in &self.readers {
            reader.connection.shutdown(Shutdown::Both).map_err(|error| format!("a reader cannot leave: {error}"))?;
        }
        for reader in self.readers {
            reader.thread.join().map_err(|_| "a reader was lost")??;
        }
        Ok(())
    }

    /// Waits until each has all events of the journal, and says how many that is.
    fn leave_after(self, journal: &Path) -> Result<u64, String> {
        let text =
            fs::read_to_string(journal).map_err(|error| format!("cannot read {}: {error}", journal.display()))?;
        let all: Vec<u64> = (1..=text.lines().count() as u64).collect();
        let began = Instant::now();
        for reader in &self.readers {
            loop {
                let seen = reader.seen.lock().map_err(|_| "a reader failed")?.clone();
                if seen == all {
                    break;
                }
                if !all.starts_with(&seen) || reader.thread.is_finished() || began.elapsed() > Duration::from_secs(60) {
                    return Err(format!("the journal has the events 1 to {}, and a reader got {seen:?}", all.len()));
                }
                sleep(LOOK);
            }
        }
        self.leave()?;
        Ok(all.len() as u64)
    }
}

/// A mean with its standard error.
struct Mean {
    mean: f64,
    error: f64,
    count: usize,
}

impl Mean {
    fn of(figures: &[f64]) -> Self {
        let count = figures.len();
        let mean = figures.iter().sum::<f64>() / count as f64;
        let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
        Self { mean, error: (squares / (count as f64 - 1.0) / count as f64).sqrt(), count }
    }
}

impl std::fmt::Display for Mean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} (standard error {:.2}, {} trials)", self.mean, self.error, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_says_how_sure_it_is() {
        let of = Mean::of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((of.mean, of.count), (2.5, 4));
        assert!((of.error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }
}
