//! Ideas from a language model.

pub mod answer;
mod habits;
