//! Many nights that never were, for measuring what the pages and the report cost when there is a lot to show.
//!
//! `cargo run --example scale -- FOLDER [--nights 100] [--experiments 100] [--points 300] [--long 1000] [--seed 1]`
//!
//! Makes `FOLDER`, which must not exist, a git repository with the campaigns of this one, `--nights` nights of `--experiments`
//! experiments and one night of `--long`, each trial with a curve of `--points` points. Every experiment has its real commit (edits of
//! this repository's candidate files that pass the policy) and its branch. The same arguments make the same records, but for what of the
//! playbook and the candidate has changed since.
//!
//! Records go the way by which a lost database is made again: the nights' own files are written first, then
//! [`nocturne::store::rebuild`] reads them. That is the store's own interface, it keeps the times that a night would have had (writing
//! through [`nocturne::store::Store`] would stamp all with now), and a night is one transaction instead of some thousands with a disk's
//! wait each. Left out, because no page reads them: notes on commits, logs, checkpoints, sampled steps.

mod certificate;
mod chance;
mod files;
mod idea;
mod journal;
mod night;
mod outcome;
mod repository;
mod trials;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nocturne::layout::Layout;

use files::Reviews;
use night::{Night, Size};

/// Threads that write nights: git and the disk are waited for, so more than cores do not hurt.
const THREADS: usize = 4;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| fill(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Arguments {
    folder: PathBuf,
    nights: u32,
    experiments: u32,
    points: u32,
    long: u32,
    seed: u64,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let usage = "usage: scale FOLDER [--nights N] [--experiments N] [--points N] [--long N] [--seed N]";
        let folder = words.next().filter(|word| !word.starts_with("--")).ok_or(usage)?;
        let folder = PathBuf::from(folder);
        let mut arguments = Self { folder, nights: 100, experiments: 100, points: 300, long: 1_000, seed: 1 };
        while let Some(word) = words.next() {
            let value = words.next().and_then(|value| value.parse::<u32>().ok());
            let value = value.ok_or_else(|| format!("{word} wants a whole number; {usage}"))?;
            match word.as_str() {
                "--nights" => arguments.nights = value,
                "--experiments" => arguments.experiments = value,
                "--points" => arguments.points = value.max(1),
                "--long" => arguments.long = value,
                "--seed" => arguments.seed = u64::from(value),
                _ => return Err(format!("there is no {word}; {usage}")),
            }
        }
        Ok(arguments)
    }

    /// The nights in their order. The long one comes last but one, and is another campaign's, so that there are two.
    fn sizes(&self) -> Vec<Size> {
        let size = |index, campaign, experiments| Size { index, campaign, experiments, points: self.points };
        let mut sizes: Vec<Size> = (0..self.nights).map(|i| size(i, "quickstart", self.experiments)).collect();
        if self.long > 0 {
            let place = sizes.len().saturating_sub(1);
            sizes.insert(place, size(self.nights, "gpu", self.long));
        }
        sizes
    }
}

fn fill(arguments: &Arguments) -> Result<(), String> {
    let began = Instant::now();
    let base = repository::begin(&arguments.folder)?;
    let layout = Layout::new(&arguments.folder);
    let sizes = arguments.sizes();
    let next = AtomicU32::new(0);
    let work = || -> Result<Vec<Night>, String> {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(size) = sizes.get(place) else { return Ok(done) };
            done.push(night::make(&layout, &base, size, arguments.seed)?);
        }
    };
    let mut nights = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            nights.extend(thread.join().map_err(|_| "a thread that writes nights was lost")??);
        }
        Ok::<(), String>(())
    })?;
    nights.sort_by(|a, b| a.id.cmp(&b.id));
    // What the person has made of the earlier two thirds; the rest waits for them.
    let reviewed = nights.len() - nights.len().div_ceil(3);
    let reviews = Reviews::of(&nights[..reviewed], arguments.seed);
    files::json(&layout.reviews_file(), &reviews.file())?;
    files::json(&layout.queue_file(), &files::queue(&nights))?;
    eprintln!("{} nights written after {:.0} s", nights.len(), began.elapsed().as_secs_f64());

    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start a runtime: {error}"))?;
    let rebuilt = runtime.block_on(nocturne::store::rebuild(&layout)).map_err(|error| error.to_string())?;
    if let Some(problem) = rebuilt.problems.first() {
        let count = rebuilt.problems.len();
        return Err(format!("{count} records were not taken, first {}: {}", problem.path.display(), problem.problem));
    }
    let points: u64 = nights.iter().map(|night| night.points).sum();
    println!(
        "{} nights, {} experiments, {} trials, {points} curve points, {} calls of models, {} reviews after {:.0} s",
        rebuilt.nights,
        rebuilt.experiments,
        rebuilt.trials,
        rebuilt.exchanges,
        rebuilt.reviews,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
