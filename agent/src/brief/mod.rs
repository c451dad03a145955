//! The text that a language model, or a person's coding agent, gets before it proposes.
//!
//! - [`sections`] what it consists of, from a [`Brief`](crate::flow::Brief): the task, the goal, the champion's files and its last run, past
//!   experiments, the person's queue, the rules, the form of an answer;
//! - [`quote`] makes text that others wrote harmless: data, which cannot pose as our words;
//! - [`window`] puts sections together by what they are worth, within what the model can read.
//!
//! Nothing here asks a model anything, or reads a file.

mod champion;
mod history;
pub mod quote;
mod rules;
pub mod sections;
pub mod window;

pub(crate) use champion::fenced;
pub use rules::answer_format;
pub use sections::{SYSTEM, facts, sections};

#[cfg(test)]
mod tests;
