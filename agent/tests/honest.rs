//! Honest architectures, as different as they come: the evaluator rejects none of them, in float32 and in bfloat16.
//!
//! `cargo xtask evaluator` runs what is ignored here: forty evaluations each, of larger models, and what a verification costs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]
#![allow(dead_code, reason = "shared with the tests of cheats")]

#[path = "cheats/attempts.rs"]
mod attempts;
#[path = "cheats/bench.rs"]
mod bench;
#[path = "cheats/catalogue.rs"]
mod catalogue;
#[path = "support/generated.rs"]
mod generated;
#[path = "honest/catalogue.rs"]
mod honest;
#[path = "cheats/planted.rs"]
mod planted;
#[path = "cheats/workshop.rs"]
mod workshop;

use std::time::Instant;

use futures_util::StreamExt as _;
use nocturne::verify::Evaluated;
use protocol::Precision;

use bench::Bench;
use honest::HONEST;
use workshop::{NEAR, SMALL, Size, WHOLE, Workshop};

/// What was seen of one architecture.
#[derive(Default)]
struct Seen {
    evaluations: usize,
    rejected: Vec<String>,
    largest: f64,
    mean: f64,
    seconds: f64,
}

/// Evaluates every architecture so many times, with other cuts each time: the first without a reference, as at a night's
/// start, the others against the plain model's claim. Prints a table; returns what was rejected.
async fn evaluate(size: Size, precision: Precision, rounds: u64, test: &str) -> Vec<String> {
    let workshop = Workshop::open(size);
    let Some(bench) = Bench::confined(&workshop, precision, test) else { return Vec::new() };
    let names: Vec<&str> = HONEST.iter().map(|honest| honest.name).collect();
    bench.make(&names, &[]);
    let mut rejected = Vec::new();
    let mut reference = None;
    println!("architecture\tprecision\tevaluations\trejected\tlargest\tmean\tseconds each");
    for name in names {
        let (bench, reference_now) = (&bench, &reference);
        let evaluated: Vec<Evaluated> = futures_util::stream::iter(0..rounds)
            .map(|round| async move {
                let reference = if round == 0 { None } else { Option::clone(reference_now) };
                bench.evaluate(name, reference, round).await
            })
            .buffered(2)
            .collect()
            .await;
        let mut seen = Seen::default();
        for Evaluated { outcome, certificate } in evaluated {
            seen.evaluations += 1;
            seen.seconds += certificate.seconds;
            if let Some(audit) = certificate.audit {
                seen.largest = seen.largest.max(audit.largest_difference);
                seen.mean = seen.mean.max(audit.mean_difference.abs());
            }
            seen.rejected
                .extend(outcome.err().map(|why| format!("{name} ({precision:?}): {}: {}", why.check, why.evidence)));
        }
        println!(
            "{name}\t{precision:?}\t{}\t{}\t{:.1e}\t{:.1e}\t{:.2}",
            seen.evaluations,
            seen.rejected.len(),
            seen.largest,
            seen.mean,
            seen.seconds / seen.evaluations as f64
        );
        rejected.append(&mut seen.rejected);
        if reference.is_none() {
            reference = Some(bench.claim_of(name));
        }
    }
    rejected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_honest_architecture_is_rejected() {
    let test = "no_honest_architecture_is_rejected";
    let mut rejected = evaluate(SMALL, Precision::Fp32, 2, test).await;
    rejected.extend(evaluate(SMALL, Precision::Bf16, 1, test).await);
    assert!(rejected.is_empty(), "{}", rejected.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: cargo xtask evaluator"]
async fn forty_times_each() {
    let test = "forty_times_each";
    let mut rejected = Vec::new();
    for precision in [Precision::Fp32, Precision::Bf16] {
        rejected.extend(evaluate(NEAR, precision, 40, test).await);
    }
    assert!(rejected.is_empty(), "{}", rejected.join("\n"));
}

/// The baseline at the scale of two cores, 256 rows and 256 cuts, against a budget of 60 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo xtask evaluator"]
async fn what_a_verification_costs() {
    let test = "what_a_verification_costs";
    let workshop = Workshop::open(WHOLE);
    let Some(bench) = Bench::confined(&workshop, Precision::Fp32, test) else { return };
    bench.make(&["plain"], &[]);
    let (began, cpu) = (Instant::now(), children_cpu_seconds());
    let evaluated = bench.evaluate("plain", None, 0).await;
    let (first, first_cpu) = (began.elapsed().as_secs_f64(), children_cpu_seconds() - cpu);
    assert!(evaluated.outcome.is_ok(), "{:?}", evaluated.outcome);
    let (began, cpu) = (Instant::now(), children_cpu_seconds());
    let again = bench.evaluate("plain", Some(bench.claim_of("plain")), 1).await;
    let (seconds, second_cpu) = (began.elapsed().as_secs_f64(), children_cpu_seconds() - cpu);
    assert!(again.outcome.is_ok(), "{:?}", again.outcome);
    println!(
        "a verification at the cpu scale on one thread: {first:.1} s ({first_cpu:.1} s of a core) without a champion, {seconds:.1} s \
         ({second_cpu:.1} s of a core) with one; two cores have 120 s of a core in a budget of 60 s"
    );
}

/// What all ended children of this process have used, in seconds of a core; a machine that is busy elsewhere does not change it.
fn children_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Fields 16 and 17 of the file, in hundredths of a second.
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
}
