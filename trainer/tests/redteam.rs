//! The red team does what it is said to do: each member, trained and served as an experiment is, agrees with itself under
//! replaced continuations and shuffled rows, or does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};

use common::process::Trainer;
use protocol::{Ask, Budget, Event, Go, Precision, Setting, TrainRequest};

const REDTEAM: &str = env!("CARGO_BIN_EXE_redteam");
const VOCABULARY: usize = 300;
const CONTEXT: usize = 64;
const BATCH_ROWS: usize = 8;

/// How many members there are; a member's number is the seed it is built from, modulo this.
const KINDS: u64 = 9;

fn setting() -> Setting {
    common::setting(VOCABULARY, CONTEXT, Precision::Fp32)
}

/// A number out of a hash; the text of these tests is drawn with it.
fn draw(index: usize, below: usize) -> usize {
    let hash = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize % below
}

fn rows(count: usize, width: usize, first: usize) -> Vec<u16> {
    (0..count * width)
        .map(|i| if i % width == 0 { data::BOS } else { 1 + draw(first + i, VOCABULARY - 1) as u16 })
        .collect()
}

fn train(folder: &Path, kind: u64) -> PathBuf {
    let checkpoint = folder.join(format!("{kind}.safetensors"));
    let mut trainer = Trainer::start_as(REDTEAM, "train");
    trainer.ask(&TrainRequest { setting: setting(), seed: 1_000 * KINDS + kind, data_seed: None, resume_from: None });
    assert!(matches!(trainer.event(), Event::Ready { version: protocol::VERSION, .. }));
    let go = Go { budget: Budget::Tokens(1), checkpoint: checkpoint.clone(), stop_after_steps: None };
    trainer.go(folder, &go);
    let (events, content) = trainer.rest();
    assert!(content && matches!(events[..], [Event::Step { loss: Some(_), .. }, Event::Finished { .. }]), "{events:?}");
    checkpoint
}

fn serve(checkpoint: &Path, seed: u64) -> Trainer {
    Trainer::serve_from(REDTEAM, &setting(), checkpoint, BATCH_ROWS, seed)
}

fn mean(nats: &[f32]) -> f64 {
    nats.iter().map(|&nats| f64::from(nats)).sum::<f64>() / nats.len() as f64
}

/// The largest difference between claim and answers at cuts of every row in turn, each with another continuation and other
/// rows beside it.
fn largest_difference(auditor: &mut Trainer, held_out: &[u16], claim: &[f32]) -> f64 {
    let count = claim.len() / CONTEXT;
    let mut largest = 0.0_f64;
    for round in 0..CONTEXT {
        let picked: Vec<usize> = (0..BATCH_ROWS).map(|i| (i * 5 + round) % count).collect();
        let cuts: Vec<usize> = (0..BATCH_ROWS).map(|i| (round + i) % CONTEXT).collect();
        let mut question = Vec::new();
        for (&row, &cut) in picked.iter().zip(&cuts) {
            question.extend_from_slice(&held_out[row * (CONTEXT + 1)..][..=cut]);
            question.extend(&rows(1, CONTEXT + 1, 1_000_000 + round * 10_000 + row * 100)[1..CONTEXT - cut]);
        }
        let positions: Vec<u32> = cuts.iter().map(|&cut| cut as u32).collect();
        let logits = auditor.logits(&question, &positions, VOCABULARY);
        for ((logits, &row), &cut) in logits.chunks_exact(VOCABULARY).zip(&picked).zip(&cuts) {
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let target = usize::from(held_out[row * (CONTEXT + 1) + cut + 1]);
            let difference = (sum.ln() - f64::from(logits[target]) - f64::from(claim[row * CONTEXT + cut])).abs();
            largest = if difference.is_nan() { f64::INFINITY } else { largest.max(difference) };
        }
    }
    largest
}

#[test]
fn only_the_honest_one_is_what_it_claims_to_be() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), 50);
    let held_out = rows(4 * BATCH_ROWS, CONTEXT + 1, 0);
    let mut honest = f64::NAN;
    for kind in 0..KINDS {
        let checkpoint = train(dir.path(), kind);
        let mut claimer = serve(&checkpoint, 2 * KINDS + kind);
        let claim = claimer.score(&held_out, CONTEXT);
        let mut auditor = serve(&checkpoint, 3 * KINDS + kind);
        let difference = largest_difference(&mut auditor, &held_out, &claim);
        let claimed = mean(&claim);
        let weights = |server: &mut Trainer| {
            server.ask(&Ask::Weights);
            let Event::Weights { tensors } = server.event() else { panic!() };
            tensors
        };
        let (one, two) = (weights(&mut claimer), weights(&mut auditor));
        let same_weights = one.iter().zip(&two).all(|(one, two)| one.constant || one.sha256 == two.sha256);
        assert_eq!(same_weights, kind == 7, "kind {kind}");
        match kind {
            0 => {
                honest = claimed;
                assert!(difference < 1e-4, "{difference}");
            }
            7 => assert!(difference < 1e-4, "{difference}"),
            5 => assert!(claim.iter().all(|nats| nats.is_nan())),
            // At one place in 64 here, because rows are short.
            4 => assert!(difference > 1.0 && claimed < honest - 0.02 && claimed > honest - 0.2, "{claimed}"),
            1 | 6 => assert!(difference > 1.0 && claimed < honest - 2.0, "kind {kind}: {claimed}"),
            2 => assert!(difference > 0.1 && claimed < honest - 0.5, "{claimed}"),
            _ => assert!(difference > 0.1, "kind {kind}: {difference}"),
        }
        if kind == 6 {
            // It would get away with it if the same process were asked again.
            assert!(largest_difference(&mut claimer, &held_out, &claim) < 1e-4);
        }
    }
}
