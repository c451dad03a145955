//! What the pages and the report cost over ten thousand experiments and five million points: a server's answers timed over one kept
//! connection, its memory, and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::http::Connection;
use crate::serve::Server;
use crate::steps;

/// Milliseconds that the slowest twentieth of the requests for a page may begin at.
const MOST_P95: f64 = 50.0;
/// Bytes of memory that the server may have had.
const MOST_MEMORY: u64 = 200_000_000;
/// Seconds that a report may take.
const MOST_REPORT: f64 = 5.0;

/// Distinct addresses of a page that has many.
const PLACES: usize = 200;
/// Requests for each address, the first one counted by itself.
const ROUNDS: usize = 6;

/// A repository full of nights.
pub struct Data {
    /// Where.
    pub folder: PathBuf,
    /// Its nights by name, each with how many experiments it has, the night's start aside; in their order.
    pub nights: Vec<(String, u32)>,
}

impl Data {
    /// Fills `target/NAME`, or takes what is there of the same arguments and schema.
    pub fn fill(name: &str, arguments: &[&str]) -> Result<Self, String> {
        let root = steps::root()?;
        let folder = root.join("target").join(name);
        let stamp = format!("{}\n{}\n", arguments.join(" "), migrations(&root.join("migrations"))?.join("\n"));
        let stamped = root.join("target").join(format!("{name}.made-of"));
        if folder.is_dir() && fs::read_to_string(&stamped).is_ok_and(|found| found == stamp) {
            eprintln!("==> Nights of {}: there already", folder.display());
        } else {
            remove(&folder)?;
            let program = steps::example("scale")?;
            steps::run("Make nights", Command::new(program).arg(&folder).args(arguments))?;
            fs::write(&stamped, stamp).map_err(|error| format!("cannot write {}: {error}", stamped.display()))?;
        }
        let nights = nights(&folder)?;
        Ok(Self { folder, nights })
    }

    /// The night of the most experiments.
    pub fn longest(&self) -> Result<&(String, u32), String> {
        self.nights.iter().max_by_key(|(_, experiments)| *experiments).ok_or_else(|| "there are no nights".to_owned())
    }

    /// The newest night of the usual length.
    pub fn newest(&self) -> Result<&(String, u32), String> {
        let longest = self.longest()?;
        self.nights.iter().rfind(|night| *night != longest).ok_or_else(|| "there is but one night".to_owned())
    }
}

/// Removes a folder; there being none is fine.
pub fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn migrations(folder: &Path) -> Result<Vec<String>, String> {
    let mut names = names(folder)?;
    names.sort();
    Ok(names)
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

fn nights(folder: &Path) -> Result<Vec<(String, u32)>, String> {
    let nights = folder.join(".nocturne/nights");
    let mut found = Vec::new();
    for name in names(&nights)? {
        let numbers = names(&nights.join(&name))?.iter().filter_map(|name| name.parse::<u32>().ok()).max();
        found.push((name, numbers.unwrap_or(0)));
    }
    found.sort();
    Ok(found)
}

/// `cargo xtask scale`.
pub fn pages() -> Result<(), String> {
    let data = Data::fill("scale", &["--nights", "100", "--experiments", "100", "--points", "300", "--long", "1000"])?;
    let agent = steps::optimised_agent()?;
    let mut failures = Vec::new();
    for (what, (night, experiments)) in [("newest", data.newest()?), ("longest", data.longest()?)] {
        let seconds = report(&agent, &data.folder, night)?;
        println!("nocturne report, the {what} night ({experiments} experiments): {seconds:.2} s");
        if seconds >= MOST_REPORT {
            failures.push(format!("the report of {night} took {seconds:.2} s, and may take {MOST_REPORT} s"));
        }
    }
    let server = Server::start(&agent, &data.folder)?;
    let idle = server.peak_memory()?;
    let times = times(&server, &data)?;
    println!(
        "{:<34} {:>8} | {:>7} {:>7} {:>7} | {:>8} {:>7} {:>7} {:>7} | {:>9}",
        "page", "first", "p50 ms", "p95", "max", "again", "p50 ms", "p95", "max", "bytes"
    );
    for (page, found) in &times {
        let (first, again) = (Summary::of(&found.first), Summary::of(&found.again));
        println!("{page:<34} {first} | {again} | {:>9}", found.bytes);
        for (when, summary) in [("at first", first), ("again", again)] {
            if summary.p95 >= MOST_P95 {
                failures.push(format!(
                    "{page}, asked for {when}: {:.1} ms at p95, and {MOST_P95} are allowed",
                    summary.p95
                ));
            }
        }
    }
    let peak = server.peak_memory()?;
    println!("memory: {:.1} MB at the start, {:.1} MB at the most", idle as f64 / 1e6, peak as f64 / 1e6);
    println!("processor time of the server: {:.1} s", server.processor_seconds()?);
    if peak >= MOST_MEMORY {
        failures.push(format!("the server had {:.1} MB, and may have 200", peak as f64 / 1e6));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n       ")) }
}

fn report(agent: &Path, folder: &Path, night: &str) -> Result<f64, String> {
    let began = Instant::now();
    steps::answer("Write a report", Command::new(agent).args(["report", night]).current_dir(folder))?;
    Ok(began.elapsed().as_secs_f64())
}

/// What was measured of one kind of page. Milliseconds.
#[derive(Default)]
struct Times {
    first: Vec<f64>,
    again: Vec<f64>,
    bytes: usize,
}

fn times(server: &Server, data: &Data) -> Result<BTreeMap<String, Times>, String> {
    let mut requests = addresses(data)?;
    let mut chance = Chance(1);
    let mut connection = Connection::open(&server.address)?;
    let mut times: BTreeMap<String, Times> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for _ in 0..ROUNDS {
        chance.shuffle(&mut requests);
        for (page, path) in &requests {
            let began = Instant::now();
            let response = connection.get(path)?;
            let milliseconds = began.elapsed().as_secs_f64() * 1e3;
            if response.status != 200 {
                return Err(format!("GET {path} was answered with status {}", response.status));
            }
            let of = times.entry((*page).to_owned()).or_default();
            of.bytes = of.bytes.max(response.body.len());
            if asked.insert(path.clone()) { of.first.push(milliseconds) } else { of.again.push(milliseconds) }
        }
    }
    Ok(times)
}

/// Kinds of pages with all the addresses that are asked for.
fn addresses(data: &Data) -> Result<Vec<(&'static str, String)>, String> {
    let mut chance = Chance(2);
    let (newest, longest) = (&data.newest()?.0, data.longest()?);
    let mut all: Vec<(&'static str, String)> = Vec::new();
    for path in ["/", "/nights", "/campaigns/quickstart", "/campaigns/gpu"] {
        // They are one address each: asked for as often as others have addresses, less would say little of p95.
        all.extend(std::iter::repeat_n((path, path.to_owned()), 20));
    }
    for _ in 0..PLACES {
        let (night, experiments) = &data.nights[chance.below(data.nights.len())];
        let mut number = || 1 + chance.below(*experiments as usize);
        let (one, three, four) = (number(), number(), number());
        let two = 1 + one % *experiments as usize;
        let other = if night == newest { &longest.0 } else { newest };
        let word = ["matrix", "rate", "window", "<script>"][one % 4];
        let (sort, verdict) = (["-effect", "value", "metric", "time"][two % 4], ["kept", "discarded"][three % 2]);
        all.extend([
            ("/nights/N", format!("/nights/{night}")),
            ("/nights/N?verdict", format!("/nights/{night}?verdict={verdict}&sort={sort}")),
            ("/nights/N?q", format!("/nights/{night}?q={}&sort={sort}", word.replace('<', "%3C").replace('>', "%3E"))),
            ("/nights/N/E", format!("/nights/{night}/{one}")),
            ("/nights/N/tree", format!("/nights/{night}/tree")),
            ("/nights/N/review", format!("/nights/{night}/review")),
            ("/compare, 2 of a night", format!("/compare?e={night}/{one}&e={night}/{two}")),
            (
                "/compare, 4 of two nights",
                format!("/compare?e={night}/{one}&e={night}/{two}&e={other}/1&e={other}/{}", 2 + three % 9),
            ),
            ("/api/nights/N/experiments", format!("/api/nights/{night}/experiments")),
        ]);
        let (night, experiments) = longest;
        let page = 1 + four % (experiments.div_ceil(100) as usize);
        all.extend([
            ("/nights/LONG, a page of it", format!("/nights/{night}?page={page}&sort={sort}")),
            ("/nights/LONG/E", format!("/nights/{night}/{}", 1 + chance.below(*experiments as usize))),
        ]);
    }
    let long = &longest.0;
    for (page, path) in [
        ("/nights/LONG/tree", format!("/nights/{long}/tree")),
        ("/nights/LONG/review", format!("/nights/{long}/review")),
        ("/nights/LONG/report", format!("/nights/{long}/report")),
        ("/nights/N/report", format!("/nights/{newest}/report")),
    ] {
        all.extend(std::iter::repeat_n((page, path), 20));
    }
    Ok(all)
}

/// A few figures of many. Milliseconds.
struct Summary {
    count: usize,
    p50: f64,
    p95: f64,
    max: f64,
}

impl Summary {
    /// Of at least one figure; of none, all are 0. The p95 is the smallest figure that at least 95 % do not exceed.
    fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { count: sorted.len(), p50: at(0.5), p95: at(0.95), max: at(1.0) }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8} | {:>7.2} {:>7.2} {:>7.2}", self.count, self.p50, self.p95, self.max)
    }
}

/// Random enough to mix requests, and the same every time (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_twentieth_begins_where_it_should() {
        let figures: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let of = Summary::of(&figures);
        assert_eq!((of.count, of.p50, of.p95, of.max), (100, 50.0, 95.0, 100.0));
        // Of few figures, the largest.
        assert_eq!(Summary::of(&[3.0, 1.0]).p95, 3.0);
        assert_eq!(Summary::of(&[]).p95, 0.0);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut of: Vec<usize> = (0..50).collect();
        Chance(1).shuffle(&mut of);
        assert_ne!(of, (0..50).collect::<Vec<_>>());
        of.sort_unstable();
        assert_eq!(of, (0..50).collect::<Vec<_>>());
    }
}
