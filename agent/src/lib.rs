//! Nocturne's trusted half: everything that decides, records and shows. It never links libtorch; edited code runs in
//! processes of its own and reaches this crate only as data (see ARCHITECTURE.md).

pub mod bench;
pub mod brief;
pub mod build;
pub mod campaign;
mod causes;
pub mod cli;
mod clock;
pub mod conditions;
pub mod edit;
pub mod export;
mod figure;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod flow;
pub mod hash;
pub mod layout;
pub mod llm;
pub mod mcp;
pub mod night;
pub mod prepare;
pub mod propose;
pub mod queue;
pub mod records;
pub mod replay;
pub mod repo;
pub mod report;
pub mod results;
pub mod review;
pub mod run;
pub mod sealed;
pub mod seeds;
pub mod serve;
pub mod setup;
pub mod stats;
pub mod store;
pub mod terminal;
pub mod verify;
