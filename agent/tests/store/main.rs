//! The store from outside: every operation there and back, contradictions, damaged files, other processes, crashes,
//! rebuilding.

mod crash;
mod facts;
mod fixture;
mod opening;
mod rebuild;
mod text;
