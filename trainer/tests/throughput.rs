//! The program behind `nocturne bench throughput`: the candidate in a shape that its arguments give.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::process::{Command, Stdio};

use common::process::Trainer;
use protocol::{Budget, Event, Failure, Go, Precision, TrainRequest};

const PROGRAM: &str = env!("CARGO_BIN_EXE_throughput");

/// Trains for three steps of three rows of 32 tokens, out of a vocabulary of 50.
fn train(shape: [&str; 4]) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), 50);
    let mut trainer = Trainer::start_with(PROGRAM, &shape);
    let setting = common::setting(50, 32, Precision::Fp32);
    trainer.ask(&TrainRequest { setting, seed: 5, data_seed: None, resume_from: None });
    let mut events = vec![trainer.event()];
    if matches!(events[0], Event::Ready { .. }) {
        let checkpoint = dir.path().join("checkpoint.safetensors");
        trainer.go(dir.path(), &Go { budget: Budget::Tokens(3 * 3 * 32), checkpoint, stop_after_steps: None });
        events.extend(trainer.rest().0);
    }
    events
}

#[test]
fn the_arguments_give_the_shape_and_the_end_tells_time_and_memory() {
    let events = train(["1", "32", "16", "3"]);
    // Embedding, value embedding and head; four square matrices, the MLP and the gate; the scalars of the only layer.
    let parameters = 3 * 50 * 32 + 4 * 32 * 32 + 2 * 4 * 32 * 32 + 2 * 32 + 2;
    match events[0] {
        Event::Ready { parameters: found, rows_per_step: 3, threads: Some(1..), .. } => assert_eq!(found, parameters),
        ref other => panic!("{other:?}"),
    }
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Step { loss: Some(_), .. })).count(), 3);
    match events.last() {
        Some(&Event::Finished { steps: 3, seconds, peak_memory_bytes, memory, first_step_seconds, .. }) => {
            let (memory, first) = (memory.unwrap(), first_step_seconds.unwrap());
            // The system counts what is resident to within some pages a core.
            let most = memory.peak + (4 << 20);
            assert!(memory.early > 10_000_000 && memory.early <= most && memory.late <= most, "{memory:?}");
            assert!(memory.peak <= peak_memory_bytes);
            // It holds the loading of libtorch and the building of the model, which `seconds` does not.
            assert!(first > 0.0 && first < 600.0 && seconds > 0.0, "{first} {seconds}");
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_shape_that_cannot_be_is_refused() {
    let events = train(["1", "32", "15", "3"]);
    let [Event::Failed { kind: Failure::Candidate, message }] = &events[..] else { panic!("{events:?}") };
    assert!(message.contains("head_dim 15"), "{message}");
    for arguments in [&[][..], &["1", "32", "16"], &["1", "32", "16", "0"], &["1", "32", "16", "3", "x"]] {
        let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("usage: throughput DEPTH"), "{arguments:?}: {said}");
    }
}
