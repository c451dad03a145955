//! The loop: a pure state machine ([`machine`]) and one driver ([`driver`]) that performs what the machine asks for.
//!
//! The machine knows nothing of files, processes, clocks or SQL: events and a time in seconds go in, effects come out. Every
//! decision of a night can therefore be tested without a night.

pub mod machine;

pub use machine::{Effect, Event, Limits, Machine};
