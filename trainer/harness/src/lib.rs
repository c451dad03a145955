//! The part of the trainer that no experiment may edit: it owns data, seeds, clock, progress, checkpoints, evaluation and
//! the conversation with the agent (crate `protocol`). The edited part is whatever implements [`Candidate`].
//!
//! What it must not do: believe the candidate. Candidate code runs with standard output moved aside, its panics are
//! caught, its tensors are checked for names and shapes and its losses for finiteness, and nothing that it prints is an event.
//! What it says of held-out text is only a claim: judging that is the agent's.

mod candidate;
mod checkpoint;
mod clock;
mod feed;
mod machine;
mod model;
mod sample;
mod serve;
mod stop;
mod telemetry;
mod train;
mod wire;

use std::path::Path;
use std::process::ExitCode;

pub use candidate::{Batch, Candidate, CandidateError, Progress, device, seeded};
pub use checkpoint::{Checkpoint, FORMAT as CHECKPOINT_FORMAT};
pub use clock::StepTimer;
pub use protocol::{Precision, Scale, Setting};
pub use stop::Stop;
pub use telemetry::{Part, saw_gradients, spent_on};
pub use train::run_until;

/// The whole `trainer` command for one candidate: `train`, `serve`, `sample`, `probe` or `kernels`, as crate `protocol` describes.
///
/// Call it first thing in `main`: it tunes the allocator and moves standard output aside before anything else runs.
pub fn run_main<C: Candidate>() -> ExitCode {
    machine::tune_allocator();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, folder) = match arguments.as_slice() {
        [command] if command != "kernels" => (command.as_str(), ""),
        [command, folder] if command == "kernels" => (command.as_str(), folder.as_str()),
        _ => ("", ""),
    };
    if !matches!(command, "train" | "serve" | "sample" | "probe" | "kernels") {
        eprintln!(
            "usage: trainer train|serve|sample|probe|kernels FOLDER, with requests on standard input; started by nocturne"
        );
        return ExitCode::from(2);
    }
    converse(command, |wire| match command {
        "train" => train::train(wire, C::build),
        "serve" => serve::serve::<C>(wire),
        "sample" => sample::sample::<C>(wire),
        "kernels" => machine::compile_kernels(Path::new(folder)),
        _ => machine::probe(wire),
    })
}

/// The command `train` alone, for a candidate that `build` makes instead of [`Candidate::build`]: for programs that measure other shapes than
/// the recipe's. Everything else is as in [`run_main`].
pub fn train_main<C: Candidate>(build: impl FnOnce(&Setting, u64) -> Result<C, CandidateError>) -> ExitCode {
    machine::tune_allocator();
    converse("train", |wire| train::train(wire, build))
}

/// Opens the conversation with the agent, serves `command` and tells how it ended.
fn converse(command: &str, serve: impl FnOnce(&mut wire::Wire) -> Result<(), Stop>) -> ExitCode {
    let hears = !matches!(command, "probe" | "kernels");
    if hears && !wire::is_socket() {
        eprintln!(
            "trainer {command}: standard input must be a unix stream socket, because requests carry open files; a terminal \
             or a pipe cannot. `nocturne` starts trainers so, and trainer/tests shows how to talk to one by hand"
        );
        return ExitCode::from(2);
    }
    let mut wire = match wire::Wire::open(hears) {
        Ok(wire) => wire,
        Err(error) => {
            eprintln!("trainer: cannot move standard output aside: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serve(&mut wire) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("trainer: {stop}");
            // Nobody is left to tell when this fails too; the status says it.
            if let Err(error) = wire.send(&stop.event()) {
                eprintln!("trainer: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
