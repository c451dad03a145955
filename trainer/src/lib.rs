//! A GPT trainer on libtorch. Experiments edit [`candidate`]; everything else is the harness's (crate `harness`).

pub mod candidate;
