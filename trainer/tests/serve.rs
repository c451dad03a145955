//! `trainer serve`, spoken to as the evaluator does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use common::process::{Trainer, memory, tokens_in_memory};
use harness::{Candidate, Checkpoint};
use protocol::{Ask, Event, Failure, Precision, ServeRequest, Setting, WeightsDigest};

const TRAINER: &str = env!("CARGO_BIN_EXE_trainer");
const VOCABULARY: u16 = 50;
const CONTEXT: usize = 32;
const BATCH_ROWS: usize = 4;

fn setting() -> Setting {
    common::setting(VOCABULARY.into(), CONTEXT, Precision::Bf16)
}

/// An untrained model whose attention and head are not zero, so that every token matters.
fn checkpoint(folder: &Path) -> PathBuf {
    let path = folder.join("checkpoint.safetensors");
    let candidate = trainer::candidate::Trainer::build(&setting(), 3).unwrap();
    tch::manual_seed(3);
    for (name, mut tensor) in candidate.parameters() {
        if name == "head" || name.ends_with("output") || name.ends_with("down") {
            let _ = tch::no_grad(|| tensor.normal_(0.0, 0.1));
        }
    }
    Checkpoint::start(&setting(), 3).save(&candidate, &path).unwrap();
    path
}

/// Rows of `width` tokens that are not all alike.
fn rows(count: usize, width: usize) -> Vec<u16> {
    (0..count * width).map(|i| if i % width == 0 { data::BOS } else { ((i * i * 7 + i) % 49 + 1) as u16 }).collect()
}

fn failure(trainer: Trainer) -> String {
    let (events, content) = trainer.rest();
    let [Event::Failed { kind: Failure::BadRequest, message }] = &events[..] else { panic!("{events:?}") };
    assert!(!content);
    message.clone()
}

#[test]
fn nats_and_logits_of_one_model_agree_to_the_last_bit_whatever_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint(dir.path());
    let held_out = rows(2 * BATCH_ROWS, CONTEXT + 1);
    let claim = Trainer::serve(TRAINER, &setting(), &path, BATCH_ROWS).score(&held_out, CONTEXT);
    assert_eq!(claim.len(), 2 * BATCH_ROWS * CONTEXT);

    let mut auditor = Trainer::serve(TRAINER, &setting(), &path, BATCH_ROWS);
    for (batch, cut) in [(0, 0), (1, 13), (0, CONTEXT - 1)] {
        // Each row up to its own cut, in reversed order; then something else.
        let mut question = Vec::new();
        let picked: Vec<usize> = (0..BATCH_ROWS).rev().map(|row| batch * BATCH_ROWS + row).collect();
        let positions: Vec<usize> = (0..BATCH_ROWS).map(|i| cut.saturating_sub(i)).collect();
        for (&row, &position) in picked.iter().zip(&positions) {
            let tokens = &held_out[row * (CONTEXT + 1)..][..CONTEXT];
            question.extend_from_slice(&tokens[..=position]);
            question.extend(tokens[position + 1..].iter().map(|token| 1 + (token + 5) % 49));
        }
        let asked: Vec<u32> = positions.iter().map(|&position| position as u32).collect();
        let logits = auditor.logits(&question, &asked, VOCABULARY.into());
        for (i, (&row, &position)) in picked.iter().zip(&positions).enumerate() {
            let logits = &logits[i * usize::from(VOCABULARY)..][..usize::from(VOCABULARY)];
            let target = usize::from(held_out[row * (CONTEXT + 1) + position + 1]);
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
            let nats = sum.ln() + f64::from(most - logits[target]);
            let claimed = f64::from(claim[row * CONTEXT + position]);
            assert!((nats - claimed).abs() < 1e-5, "row {row}, position {position}: {nats} against {claimed}");
        }
    }
}

#[test]
fn the_same_question_has_the_same_answer_at_any_place_in_a_checkpoint_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint(dir.path());
    let held_out = rows(BATCH_ROWS, CONTEXT + 1);
    let mut server = Trainer::serve(TRAINER, &setting(), &path, BATCH_ROWS);
    let first = server.score(&held_out, CONTEXT);
    assert_eq!(server.score(&held_out, CONTEXT), first);
    let mut file = File::open(&path).unwrap();
    file.seek(std::io::SeekFrom::End(0)).unwrap();
    let mut moved = Trainer::start("serve");
    moved.ask_with(&ServeRequest { setting: setting(), batch_rows: BATCH_ROWS, seed: 5 }, &[file.as_fd()]);
    assert!(matches!(moved.event(), Event::Ready { .. }));
    assert_eq!(moved.score(&held_out, CONTEXT), first);
}

#[test]
fn weights_follow_from_the_seed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint(dir.path());
    let under = |seed: u64| -> Vec<WeightsDigest> {
        let mut server = Trainer::start("serve");
        let file = File::open(&path).unwrap();
        server.ask_with(&ServeRequest { setting: setting(), batch_rows: BATCH_ROWS, seed }, &[file.as_fd()]);
        assert!(matches!(server.event(), Event::Ready { .. }));
        server.ask(&Ask::Weights);
        match server.event() {
            Event::Weights { tensors } => tensors,
            other => panic!("{other:?}"),
        }
    };
    let (one, two) = (under(5), under(6));
    assert_eq!(one, under(5));
    assert!(one.is_sorted_by(|a, b| a.name < b.name));
    for (one, two) in one.iter().zip(&two) {
        let WeightsDigest { name, scalars, constant, sha256, sample } = one;
        assert!(*scalars > 0 && sha256.len() == 64, "{name}");
        assert_eq!(sample.len() as u64, (*scalars).min(64), "{name}");
        // Zeros and ones at first are the same under every seed; everything else is drawn.
        assert_eq!(*sha256 == two.sha256, *constant, "{name}");
        assert_eq!(*sample == two.sample, *constant, "{name}");
    }
    let embedding = one.iter().find(|digest| digest.name == "embedding").unwrap();
    assert!(!embedding.constant && embedding.scalars == 50 * 256);
    assert!(one.iter().any(|digest| digest.constant));
}

#[test]
fn logits_that_are_not_finite_are_handed_on_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint(dir.path());
    let candidate = trainer::candidate::Trainer::build(&setting(), 3).unwrap();
    for (name, mut tensor) in candidate.parameters() {
        if name == "head" {
            let _ = tch::no_grad(|| tensor.fill_(f64::NAN));
        }
    }
    Checkpoint::start(&setting(), 3).save(&candidate, &path).unwrap();
    let claim = Trainer::serve(TRAINER, &setting(), &path, BATCH_ROWS).score(&rows(BATCH_ROWS, CONTEXT + 1), CONTEXT);
    assert!(claim.iter().all(|nats| nats.is_nan()));
}

#[test]
fn questions_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint(dir.path());
    let serve = || Trainer::serve(TRAINER, &setting(), &path, BATCH_ROWS);
    let (scored, logits) = (BATCH_ROWS * CONTEXT * 4, BATCH_ROWS * usize::from(VOCABULARY) * 4);
    let mut outside = rows(BATCH_ROWS, CONTEXT + 1);
    outside[7] = VOCABULARY;
    let positions = |last: u32| Ask::Logits { positions: vec![0, 1, 2, last] };
    for (ask, tokens, answer, words) in [
        (Ask::Score { rows: 3 }, rows(3, CONTEXT + 1), scored, "not whole batches of 4"),
        (Ask::Score { rows: 0 }, Vec::new(), 0, "not whole batches of 4"),
        (Ask::Score { rows: BATCH_ROWS }, rows(BATCH_ROWS, CONTEXT), scored, "the rows came in"),
        (Ask::Score { rows: BATCH_ROWS }, rows(BATCH_ROWS, CONTEXT + 1), scored + 4, "the answer came in"),
        (Ask::Score { rows: BATCH_ROWS }, outside, scored, "token 50 is outside the vocabulary of 50"),
        (positions(CONTEXT as u32), rows(BATCH_ROWS, CONTEXT), logits, "4 positions below 32"),
        (Ask::Logits { positions: vec![0; 3] }, rows(3, CONTEXT), logits, "4 positions below 32"),
        (positions(3), rows(BATCH_ROWS, CONTEXT + 1), logits, "the rows came in"),
        (positions(3), rows(BATCH_ROWS, CONTEXT), logits - 4, "the answer came in"),
    ] {
        let (question, answer) = (tokens_in_memory(&tokens), memory(answer));
        let mut trainer = serve();
        trainer.ask_with(&ask, &[question.as_fd(), answer.as_fd()]);
        let message = failure(trainer);
        assert!(message.contains(words), "{message:?} lacks {words:?}");
    }
    for files in [0, 1, 3] {
        let held = memory(4);
        let mut trainer = serve();
        trainer.ask_with(&Ask::Score { rows: BATCH_ROWS }, &vec![held.as_fd(); files]);
        assert!(failure(trainer).contains(&format!("{files} descriptors instead of 2")));
    }
    let mut trainer = serve();
    trainer.ask(&"how are you?");
    assert!(failure(trainer).contains("not a message"));

    let mut trainer = Trainer::start("serve");
    let checkpoint = File::open(&path).unwrap();
    trainer.ask_with(&ServeRequest { setting: setting(), batch_rows: 0, seed: 5 }, &[checkpoint.as_fd()]);
    assert!(failure(trainer).contains("batch_rows"));
}

/// The checkpoint was written by a process that ran edited code: what is wrong with it is no fault of the machine.
#[test]
fn a_checkpoint_that_cannot_be_loaded_is_the_candidates_fault() {
    let mut trainer = Trainer::start("serve");
    trainer.ask_with(&ServeRequest { setting: setting(), batch_rows: BATCH_ROWS, seed: 5 }, &[memory(100).as_fd()]);
    let (events, content) = trainer.rest();
    let [Event::Failed { kind: Failure::Candidate, message }] = &events[..] else { panic!("{events:?}") };
    assert!(!content && message.contains("checkpoint that was handed over"), "{message}");
}
