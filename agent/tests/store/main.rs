//! The store from outside: every operation there and back, contradictions, damaged files, other processes, crashes,
//! rebuilding.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code, helpers too")]

mod crash;
mod facts;
mod fixture;
mod live;
mod migrate;
mod models;
mod opening;
mod rebuild;
mod text;
