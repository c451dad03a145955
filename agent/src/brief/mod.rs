//! The text that a language model, or a person's coding agent, gets before it proposes.
//!
//! - [`quote`] makes text that others wrote harmless: data, which cannot pose as our words;
//! - [`window`] puts sections together by what they are worth, within what the model can read.
//!
//! Nothing here asks a model anything, or reads a file.

pub mod quote;
pub mod window;
