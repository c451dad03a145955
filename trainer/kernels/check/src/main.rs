//! `kernels-check`: what the tests of this crate do, and what only a machine with a device can do. Needs no cargo and no checkout, so it can be
//! taken to such a machine (docs/gpu.md).

use std::process::ExitCode;

use kernels_check::{COMPARISONS, Place};

const HELP: &str = "\
Checks the CUDA kernels.

Usage: kernels-check <what>

  emulation               compare every kernel, emulated on the CPU, with plain code
  compile                 compile the kernels for sm_80, sm_90 and sm_100 with NVRTC
  device [N]              compare every kernel on CUDA device N (0) with plain code
  measure [N]             how long each kernel takes on CUDA device N (0)
  prepare FOLDER [N]      compile the kernels for CUDA device N (0) into FOLDER, which NOCTURNE_KERNEL_CACHE may then name
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["emulation"] => compare(Place::Emulation),
        ["compile"] => compile(),
        ["device", more @ ..] if more.len() < 2 => on_device(more, |device| compare(Place::Device(device))),
        ["measure", more @ ..] if more.len() < 2 => on_device(more, kernels_check::measure),
        ["prepare", folder, more @ ..] if more.len() < 2 => {
            on_device(more, |device| kernels_check::prepare(folder, device))
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Loads what a device needs and does something on the one that is named, or on the first.
fn on_device(named: &[&str], act: impl FnOnce(u16) -> Result<(), String>) -> Result<(), String> {
    let device = match named {
        [] => 0,
        [number, ..] => {
            number.parse().map_err(|_| format!("{number:?} is no number of a device; give 0 for the first one"))?
        }
    };
    kernels_check::load_cuda()?;
    act(device)
}

/// Runs all comparisons, also behind one that fails.
fn compare(place: Place) -> Result<(), String> {
    let mut failed = 0;
    for test in COMPARISONS {
        match kernels_check::run(test, place) {
            Ok(()) => println!("ok      {test}"),
            Err(problem) => {
                failed += 1;
                println!("FAILED  {test}: {problem}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} comparisons failed", COMPARISONS.len())) }
}

fn compile() -> Result<(), String> {
    if let Some(reason) = kernels_check::no_compiler() {
        return Err(reason);
    }
    for target in ["sm_80", "sm_90", "sm_100"] {
        kernels_check::compile(target)?;
        println!("ok      {target}");
    }
    Ok(())
}
