//! `nocturne mcp`: a campaign as tools for a person's own coding agent, over the Model Context Protocol on standard input and output.
//!
//! - [`Desk`] what the tools work on: the records (read-only), the repository's committed files, and the queue;
//! - `tools` the tools that this adds to those that every proposer has ([`Toolbox`](crate::propose::tools::Toolbox));
//! - `told` what they answer with;
//! - [`Server`] the protocol, by the official SDK.
//!
//! Whoever is on the other end is a program that a person lets speak, not the person. It gets no way round policy and evaluator: all that
//! it can do is put entries into the person's queue, where the person sees them, and where a night takes them through everything
//! that any proposal goes through. Nothing else is written; seeds and held-out text are in nothing that is told.

mod curves;
mod desk;
mod server;
mod told;
mod tools;
mod try_outs;

pub use curves::curves;
pub use desk::{Desk, MOST_WAITING};
pub use server::{Server, serve};
