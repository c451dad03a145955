//! Why a command ends early, and the boundary around candidate code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::{Event, Failure};

use crate::candidate::CandidateError;

/// The end of a command, as the agent is told.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// What kind of failure.
    pub kind: Failure,
    /// One sentence for a person.
    pub message: String,
}

/// Longer messages are cut: edited code may panic with anything.
const MAX_MESSAGE_CHARS: usize = 4_000;

impl Stop {
    /// A request, or a file it names, is bad.
    pub fn bad_request(message: impl Into<String>) -> Stop {
        Stop { kind: Failure::BadRequest, message: message.into() }
    }

    /// Disk, libtorch or the machine.
    pub fn harness(message: impl Into<String>) -> Stop {
        Stop { kind: Failure::Harness, message: message.into() }
    }

    /// Edited code went wrong; told apart from running out of memory by the words of libtorch's allocators.
    pub fn candidate(message: impl Into<String>) -> Stop {
        let message = message.into();
        let kind = if is_out_of_memory(&message) { Failure::OutOfMemory } else { Failure::Candidate };
        Stop { kind, message }
    }

    /// What is sent.
    pub fn event(&self) -> Event {
        Event::Failed { kind: self.kind, message: self.message.chars().take(MAX_MESSAGE_CHARS).collect() }
    }
}

impl From<CandidateError> for Stop {
    fn from(error: CandidateError) -> Stop {
        // Whatever the error: edited code can return any. The request's device was checked before that code ran.
        Stop::candidate(error.to_string())
    }
}

fn is_out_of_memory(message: &str) -> bool {
    // The last is what cuBLAS and cuDNN say.
    ["not enough memory", "out of memory", "can't allocate memory", "Cannot allocate memory", "STATUS_ALLOC_FAILED"]
        .iter()
        .any(|words| message.contains(words))
}

/// Runs candidate code or torch operations on its tensors; a panic becomes a [`Stop`] that says during what.
///
/// # Errors
/// When the code panics.
pub fn guarded<T>(during: &str, code: impl FnOnce() -> T) -> Result<T, Stop> {
    // The candidate is dropped, never used again, after a panic: no broken invariant can be seen.
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| Stop::candidate(format!("{during}: {}", words(&*panic))))
}

/// The first line of what a panic said.
pub fn words(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let message = message.unwrap_or("panic without a message").replace("\\n", "\n");
    // tch unwraps: what libtorch said is inside, followed by a C++ backtrace of many lines.
    let message = message.strip_prefix("called `Result::unwrap()` on an `Err` value: Torch(\"").unwrap_or(&message);
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_with_its_first_line() {
        let stop = guarded("in a step", || -> () { panic!("mat1 and mat2 do not fit\nframe #0") }).unwrap_err();
        assert_eq!((stop.kind, stop.message.as_str()), (Failure::Candidate, "in a step: mat1 and mat2 do not fit"));
    }

    #[test]
    fn no_error_that_edited_code_returns_is_the_machines_fault() {
        let stop = Stop::from(CandidateError::Device("cuda:9".to_owned()));
        assert_eq!(stop.kind, Failure::Candidate, "{}", stop.message);
    }

    #[test]
    fn allocators_are_understood() {
        for words in [
            "[enforce fail at alloc_cpu.cpp:125] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
            "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes.",
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ] {
            assert_eq!(Stop::candidate(words).kind, Failure::OutOfMemory, "{words}");
        }
        assert_eq!(Stop::candidate("index out of range").kind, Failure::Candidate);
    }
}
