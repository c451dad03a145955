//! The real executable, spoken to as the agent does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::process::Trainer;
use protocol::{Budget, Event, Failure, Go, Precision, SampleRequest, Setting, TrainRequest};

const VOCABULARY: u16 = 50;
const CONTEXT: usize = 32;

fn setting() -> Setting {
    common::setting(VOCABULARY.into(), CONTEXT, Precision::Bf16)
}

/// Trains that many steps of 4,096 tokens, from a checkpoint where there is one.
fn train(dir: &Path, from: Option<&str>, steps: u64, to: &str) -> (Vec<Event>, bool) {
    let mut trainer = Trainer::start("train");
    trainer.ask(&TrainRequest {
        setting: setting(),
        seed: 11,
        data_seed: None,
        resume_from: from.map(|name| dir.join(name)),
    });
    match trainer.event() {
        Event::Ready { version: protocol::VERSION, rows_per_step: 128, parameters, .. } => {
            assert!(parameters > 3_000_000)
        }
        other => return (vec![other], trainer.rest().1),
    }
    let budget = Budget::Tokens(20 * 4_096);
    trainer.go(dir, &Go { budget, checkpoint: dir.join(to), stop_after_steps: Some(steps) });
    trainer.rest()
}

/// Mean nats per token of a checkpoint on held-out rows.
fn evaluate(dir: &Path, checkpoint: &str, batch_rows: usize) -> f32 {
    let mut server = Trainer::serve(env!("CARGO_BIN_EXE_trainer"), &setting(), &dir.join(checkpoint), batch_rows);
    let nats = server.score(&common::rows(VOCABULARY, CONTEXT, 6), CONTEXT);
    nats.iter().sum::<f32>() / nats.len() as f32
}

#[test]
fn trains_resumes_evaluates_and_samples() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    common::write_data(dir, VOCABULARY);

    let (events, content) = train(dir, None, 0, "start.safetensors");
    assert!(content && matches!(events[..], [Event::Finished { steps: 0, tokens: 0, .. }]), "{events:?}");
    let before = evaluate(dir, "start.safetensors", 2);
    assert!((before - f32::from(VOCABULARY).ln()).abs() < 0.05, "{before} nats per token before training");

    let (events, content) = train(dir, None, 4, "four.safetensors");
    assert!(content);
    let losses: Vec<f64> =
        events.iter().filter_map(|event| if let Event::Step { loss, .. } = event { *loss } else { None }).collect();
    assert_eq!(losses.len(), 4);
    assert!(losses[3] < losses[0], "{losses:?}");
    match events.last() {
        Some(Event::Finished {
            steps: 4, tokens: 16_384, peak_memory_bytes, peak_device_memory_bytes: None, ..
        }) => {
            assert!(*peak_memory_bytes > 10_000_000);
        }
        other => panic!("{other:?}"),
    }
    let after = evaluate(dir, "four.safetensors", 2);
    assert!(after < before - 0.2, "{before} nats per token before, {after} after");
    assert!((evaluate(dir, "four.safetensors", 6) - after).abs() < 0.02);

    let (_, content) = train(dir, None, 2, "two.safetensors");
    assert!(content);
    let (events, content) = train(dir, Some("two.safetensors"), 2, "two-and-two.safetensors");
    assert!(content && matches!(events[0], Event::Step { step: 3, tokens: 12_288, .. }), "{events:?}");
    let tensors = |name: &str| {
        let bytes = fs::read(dir.join(name)).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[header..].to_vec()
    };
    assert!(tensors("four.safetensors") == tensors("two-and-two.safetensors"), "4 steps are not 2 + 2");

    let sample = |temperature: f64, seed: u64| {
        let mut trainer = Trainer::start("sample");
        trainer.ask(&SampleRequest {
            setting: setting(),
            checkpoint: dir.join("four.safetensors"),
            prompt: vec![data::BOS, 5, 6],
            tokens: CONTEXT + 4,
            temperature,
            top_k: 10,
            seed,
        });
        let (events, content) = trainer.rest();
        assert!(content, "{events:?}");
        let ids: Vec<u16> =
            events.iter().filter_map(|event| if let Event::Token { id } = event { Some(*id) } else { None }).collect();
        assert!(ids.len() == CONTEXT + 4 && ids.iter().all(|&id| id < VOCABULARY));
        ids
    };
    assert_eq!(sample(0.0, 1), sample(0.0, 2));
    assert_eq!(sample(1.0, 1), sample(1.0, 1));
    assert_ne!(sample(1.0, 1), sample(1.0, 2));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    common::write_data(dir, VOCABULARY);
    assert!(train(dir, None, 0, "start.safetensors").1);
    let path = dir.join("start.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (from, to) = metadata.info("model.head").unwrap().data_offsets;
    bytes[8 + header + from..8 + header + to].fill(0xff); // NaN in every float
    fs::write(&path, bytes).unwrap();

    let (events, content) = train(dir, Some("start.safetensors"), 3, "end.safetensors");
    assert!(!content && events.len() == 2, "{events:?}");
    assert!(matches!(events[0], Event::Step { step: 1, loss: None, .. }));
    assert!(matches!(events[1], Event::Failed { kind: Failure::NotFinite, .. }));
    assert!(!dir.join("end.safetensors").exists());
}

#[test]
fn end_of_file_on_standard_input_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), VOCABULARY);
    for trains in [false, true] {
        let mut trainer = Trainer::start("train");
        trainer.ask(&TrainRequest { setting: setting(), seed: 11, data_seed: None, resume_from: None });
        assert!(matches!(trainer.event(), Event::Ready { .. }));
        if trains {
            let checkpoint = dir.path().join("never.safetensors");
            let budget = Budget::Seconds(3_600.0);
            trainer.go(dir.path(), &Go { budget, checkpoint, stop_after_steps: None });
            assert!(matches!(trainer.event(), Event::Step { step: 1, .. }));
        }
        trainer.requests = None;
        let (events, content) = trainer.rest();
        assert!(!content && events.iter().all(|event| matches!(event, Event::Step { .. })), "{events:?}");
    }
    assert!(!dir.path().join("never.safetensors").exists());
}

#[test]
fn bad_requests_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), VOCABULARY);
    let request = |setting: Setting| TrainRequest { setting, seed: 1, data_seed: None, resume_from: None };
    for (setting, words) in [
        (Setting { device: "tpu".to_owned(), ..setting() }, "neither cpu nor cuda:N"),
        (Setting { device: "cuda:64".to_owned(), ..setting() }, "cuda:64"),
    ] {
        let mut trainer = Trainer::start("train");
        trainer.ask(&request(setting));
        let (events, content) = trainer.rest();
        assert!(!content);
        let [Event::Failed { kind: Failure::BadRequest, message }] = &events[..] else { panic!("{events:?}") };
        assert!(message.contains(words), "{message}");
    }
    let mut trainer = Trainer::start("train");
    trainer.ask(&"train, please");
    let (events, content) = trainer.rest();
    assert!(!content && matches!(events[..], [Event::Failed { kind: Failure::BadRequest, .. }]), "{events:?}");
    let (events, content) = train(dir.path(), Some("nothing.safetensors"), 1, "end.safetensors");
    assert!(!content && matches!(events[..], [Event::Failed { kind: Failure::BadRequest, .. }]), "{events:?}");
    assert!(train(dir.path(), None, 0, "start.safetensors").1);
    let resume_from = Some(dir.path().join("start.safetensors"));
    for (request, words) in [
        (
            TrainRequest { setting: setting(), seed: 12, data_seed: None, resume_from: resume_from.clone() },
            "another seed",
        ),
        (
            TrainRequest { setting: setting(), seed: 11, data_seed: Some(12), resume_from: resume_from.clone() },
            "another data seed",
        ),
        (
            TrainRequest {
                setting: Setting { precision: Precision::Fp32, ..setting() },
                seed: 11,
                data_seed: None,
                resume_from,
            },
            "another precision",
        ),
    ] {
        let mut trainer = Trainer::start("train");
        trainer.ask(&request);
        let (events, content) = trainer.rest();
        let [Event::Failed { kind: Failure::BadRequest, message }] = &events[..] else { panic!("{events:?}") };
        assert!(!content && message.contains(words), "{message}");
    }
    assert_eq!(Command::new(env!("CARGO_BIN_EXE_trainer")).stderr(Stdio::null()).status().unwrap().code(), Some(2));
}

/// The two seeds change what they are meant for and nothing else; a data seed that is the run's own changes not a bit.
#[test]
fn initial_values_and_data_order_have_seeds_that_can_be_taken_apart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    common::write_data(dir, VOCABULARY);
    // The losses of two steps and all trained weights, as bits.
    let trained = |seed: u64, data_seed: Option<u64>, steps: u64| {
        let mut trainer = Trainer::start("train");
        trainer.ask(&TrainRequest { setting: setting(), seed, data_seed, resume_from: None });
        assert!(matches!(trainer.event(), Event::Ready { .. }));
        let checkpoint = dir.join("checkpoint.safetensors");
        let budget = Budget::Tokens(2 * 4_096);
        trainer.go(dir, &Go { budget, checkpoint: checkpoint.clone(), stop_after_steps: Some(steps) });
        let (events, content) = trainer.rest();
        assert!(content);
        let losses: Vec<u64> = events
            .iter()
            .filter_map(
                |event| if let Event::Step { loss: Some(loss), .. } = event { Some(loss.to_bits()) } else { None },
            )
            .collect();
        (losses, weights(&checkpoint))
    };
    let one_seed = trained(11, None, 2);
    assert_eq!(trained(11, Some(11), 2), one_seed);
    let other_order = trained(11, Some(12), 2);
    assert!(other_order.0 != one_seed.0 && other_order.1 != one_seed.1);
    assert_eq!(trained(11, Some(12), 0).1, trained(11, None, 0).1, "the data seed changed initial values");
    let other_values = trained(12, Some(11), 2);
    assert!(other_values.0 != one_seed.0 && other_values.0 != trained(12, None, 2).0);
}

/// The bytes of every trained tensor, by name.
fn weights(checkpoint: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(checkpoint).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut weights: Vec<(String, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.starts_with("model."))
        .map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect();
    weights.sort();
    weights
}

/// Talked to through a pipe it must say what it needs, and not wait for what can never come.
#[test]
fn standard_input_must_be_a_socket() {
    for command in ["train", "serve", "sample"] {
        let trainer = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = trainer.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(output.stdout.is_empty() && words.contains("must be a unix stream socket"), "{words}");
    }
}

#[test]
fn probe_needs_no_request() {
    let (events, content) = Trainer::start("probe").rest();
    assert!(
        content && matches!(events[..], [Event::Probed { version: protocol::VERSION, threads: 1.., .. }]),
        "{events:?}"
    );
}

/// With every GPU hidden, whatever the machine has.
#[test]
fn without_a_gpu_no_kernels_are_compiled_and_why_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&Path]| {
        let mut trainer = Command::new(env!("CARGO_BIN_EXE_trainer"));
        let output = trainer.args(arguments).env("CUDA_VISIBLE_DEVICES", "").stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, events, words) = run(&[Path::new("kernels"), folder.path()]);
    let event: Event = protocol::parse(events.trim().as_bytes()).unwrap();
    assert!(matches!(event, Event::Failed { kind: Failure::Harness, .. }), "{event:?}");
    assert!(code == Some(1) && words.contains("cannot "), "{code:?} {words}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let (code, events, words) = run(&[Path::new("kernels")]);
    assert!(code == Some(2) && events.is_empty() && words.contains("kernels FOLDER"), "{code:?} {words}");
}
