//! Checks the CUDA kernels of the crate `kernels`, as far as a machine can:
//!
//! - on an *emulation*, anywhere: the kernels' own text is compiled as plain C++ and run thread by thread, and what comes out is compared
//!   with float64 tensor code (`src/native/`);
//! - with NVIDIA's *compiler*, where that is installed: the text compiles for the devices that matter, without warnings;
//! - on a *device*, where there is one: the same comparisons as on the emulation, and how long each kernel takes.
//!
//! Nothing but tests and people depends on this crate.

#[allow(unsafe_code)]
mod native;

pub use native::{load_cuda, measure, never_launched, no_compiler, prepare};

/// Comparisons with plain float64 code.
pub const COMPARISONS: [&str; 12] = [
    "norms",
    "norms_of_sums",
    "many_rows",
    "heads",
    "squared_relu",
    "scaled",
    "windows",
    "loss",
    "muon",
    "cautious_update",
    "adamw",
    "empty_tensors",
];

/// Where kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The CPU, thread by thread.
    Emulation,
    /// The CUDA device of this number; [`load_cuda`] must have been called.
    Device(u16),
}

/// Runs a comparison, or one of the tests of `src/native/host.cpp`, by name.
///
/// # Errors
/// What does not hold.
pub fn run(test: &str, place: Place) -> Result<(), String> {
    native::run(test, place)
}

/// Compiles all kernels for a target such as `sm_90`, with NVIDIA's compiler.
///
/// # Errors
/// The compiler's, or its warnings. Where there is no compiler: see [`no_compiler`].
pub fn compile(target: &str) -> Result<(), String> {
    native::compile(target)
}
