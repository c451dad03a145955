//! What must hold of any text at all, one function a fuzzing target: it panics where something does not hold.
//!
//! The targets in `fuzz/fuzz_targets/` call these with what the fuzzer makes up, `agent/tests/fuzzed.rs` with the corpus that fuzzing has
//! left, so that every `cargo test` repeats what was found without a fuzzer. They go through the library's own functions, the ones
//! that a night uses, and compare with second, slower readings of what those functions promise.

#![allow(dead_code, reason = "each target uses one of them")]

pub mod answer;
pub mod apply;
pub mod blocks;
pub mod places;
pub mod stream;
