//! Ideas from a language model.

pub mod answer;
pub(super) mod habits;
