//! The training loop in one process: exact resumption, budgets, and candidates that go wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use harness::{Batch, Candidate, CandidateError, Checkpoint, Progress, Stop, run_until};
use protocol::{Budget, Event, Failure, Go, Precision, Setting};
use tch::Tensor;
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

/// The baseline, small, with a mishap at one step.
struct Small {
    inner: Trainer,
    mishap: Option<(u64, Mishap)>,
}

#[derive(Clone, Copy)]
enum Mishap {
    Panic,
    TorchError,
    NotANumber,
}

impl Candidate for Small {
    fn build(setting: &Setting, seed: u64) -> Result<Small, CandidateError> {
        let mut recipe = Recipe::cpu();
        recipe.shape.dim = 64;
        recipe.shape.head_dim = 16;
        recipe.shape.tokens_per_step = 128;
        recipe.shape.micro_batch_rows = 2;
        Ok(Small { inner: Trainer::new(recipe, setting, seed)?, mishap: None })
    }

    fn rows_per_step(&self) -> usize {
        self.inner.rows_per_step()
    }

    fn step(&mut self, batch: &Batch, progress: Progress) -> Tensor {
        let loss = self.inner.step(batch, progress);
        match self.mishap {
            Some((step, mishap)) if step == progress.step => match mishap {
                Mishap::Panic => panic!("the edited code gave up"),
                Mishap::TorchError => loss.view([3, 3]),
                Mishap::NotANumber => loss * f64::NAN,
            },
            _ => loss,
        }
    }

    fn logits(&self, tokens: &Tensor) -> Tensor {
        self.inner.logits(tokens)
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.inner.parameters()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.inner.state()
    }
}

fn go(dir: &Path, budget: Budget, stop_after_steps: Option<u64>) -> Go {
    Go { budget, checkpoint: dir.join("unused"), stop_after_steps }
}

fn small(precision: Precision) -> (Small, Checkpoint) {
    let setting = common::setting(50, 32, precision);
    (Small::build(&setting, 7).unwrap(), Checkpoint::start(&setting, 7))
}

fn train(dir: &Path, candidate: &mut Small, run: &mut Checkpoint, go: &Go) -> (Vec<Event>, Result<f64, Stop>) {
    let mut events = Vec::new();
    let result = run_until(candidate, run, go, &common::training_files(dir), &mut |event| {
        events.push(event.clone());
        Ok(())
    });
    (events, result)
}

fn losses(events: &[Event]) -> Vec<Option<f64>> {
    events.iter().map(|event| if let Event::Step { loss, .. } = event { *loss } else { None }).collect()
}

#[test]
fn twenty_steps_are_ten_and_a_checkpoint_and_ten_bit_for_bit() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        let dir = tempfile::tempdir().unwrap();
        common::write_data(dir.path(), 50);
        let (twenty, path) = (Budget::Tokens(20 * 128), dir.path().join("checkpoint.safetensors"));

        let (mut straight, mut run) = small(precision);
        let (events, result) = train(dir.path(), &mut straight, &mut run, &go(dir.path(), twenty, None));
        result.unwrap();
        assert_eq!(run.step, 20);

        let (mut first, mut run) = small(precision);
        let (mut halves, result) = train(dir.path(), &mut first, &mut run, &go(dir.path(), twenty, Some(10)));
        result.unwrap();
        run.save(&first, &path).unwrap();
        let (mut second, fresh) = small(precision);
        let mut run = Checkpoint::load(&path, &fresh.setting, &second).unwrap();
        assert_eq!((run.step, run.tokens), (10, 10 * 128));
        let (rest, result) = train(dir.path(), &mut second, &mut run, &go(dir.path(), twenty, None));
        result.unwrap();
        halves.extend(rest);

        assert_eq!(losses(&events), losses(&halves), "{precision:?}");
        let all = |small: &Small| small.parameters().into_iter().chain(small.state()).collect::<Vec<_>>();
        for ((name, a), (_, b)) in all(&straight).into_iter().zip(all(&second)) {
            assert!(a == b, "{precision:?}: {name} differs");
        }
    }
}

#[test]
fn tokens_are_rounded_up_to_steps_and_progress_runs_from_0_to_1() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), 50);
    let (mut candidate, mut run) = small(Precision::Fp32);
    let (events, result) =
        train(dir.path(), &mut candidate, &mut run, &go(dir.path(), Budget::Tokens(3 * 128 + 1), None));
    result.unwrap();
    let seen: Vec<(u64, u64)> = events
        .iter()
        .map(|event| match event {
            Event::Step { step, tokens, progress, .. } => {
                assert_eq!(*progress, (tokens - 128) as f64 / 385.0);
                (*step, *tokens)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, [(1, 128), (2, 256), (3, 384), (4, 512)]);
}

#[test]
fn mishaps_are_reported_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), 50);
    for (mishap, kind, words) in [
        (Mishap::Panic, Failure::Candidate, "the edited code gave up"),
        (Mishap::TorchError, Failure::Candidate, "shape '[3, 3]' is invalid"),
        (Mishap::NotANumber, Failure::NotFinite, "the loss of step 2 is NaN"),
    ] {
        let (mut candidate, mut run) = small(Precision::Fp32);
        candidate.mishap = Some((2, mishap));
        let (events, result) =
            train(dir.path(), &mut candidate, &mut run, &go(dir.path(), Budget::Tokens(10 * 128), None));
        let stop = result.unwrap_err();
        assert_eq!(stop.kind, kind);
        assert!(stop.message.contains(words), "{:?} lacks {words:?}", stop.message);
        let expected = if kind == Failure::NotFinite { 2 } else { 1 };
        assert_eq!(events.len(), expected);
        assert!(losses(&events)[0].is_some());
    }
}

#[test]
fn bad_requests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), 60);
    for (budget, words) in [
        (Budget::Seconds(f64::NAN), "NaN seconds"),
        (Budget::Seconds(0.0), "0 seconds"),
        (Budget::Tokens(0), "0 tokens"),
        (Budget::Tokens(128), "outside the vocabulary of 50"),
    ] {
        let (mut candidate, mut run) = small(Precision::Fp32);
        let (_, result) = train(dir.path(), &mut candidate, &mut run, &go(dir.path(), budget, None));
        let stop = result.unwrap_err();
        assert_eq!(stop.kind, Failure::BadRequest);
        assert!(stop.message.contains(words), "{:?} lacks {words:?}", stop.message);
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let (candidate, run) = small(Precision::Fp32);
    run.save(&candidate, &path).unwrap();
    let mut other = run.setting.clone();
    other.vocabulary = 51;
    let stop = Checkpoint::load(&path, &other, &candidate).unwrap_err();
    assert!(stop.message.contains("vocabulary 50") && stop.kind == Failure::BadRequest, "{stop}");

    let wider = Trainer::new(Recipe::cpu(), &common::setting(50, 256, Precision::Fp32), 7).unwrap();
    let stop = Checkpoint::load(&path, &run.setting, &wider).unwrap_err();
    assert!(stop.message.contains("candidate"), "{stop}");

    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() - 1], &whole[..40], b"{}", b""] {
        std::fs::write(&path, bytes).unwrap();
        let stop = Checkpoint::load(&path, &run.setting, &candidate).unwrap_err();
        assert_eq!(stop.kind, Failure::BadRequest, "{stop}");
    }
    let nowhere = dir.path().join("no/such/folder/checkpoint.safetensors");
    assert_eq!(run.save(&candidate, &nowhere).unwrap_err().kind, Failure::Harness);
}
