//! The red team of the pretended trainer: as the real one, what a model does wrong follows from the seed it is built from.

#[path = "../model.rs"]
mod model;
#[path = "../pretend.rs"]
mod pretend;
#[path = "../wire.rs"]
mod wire;

/// How many kinds there are; 0 is honest.
const KINDS: u64 = 9;

fn main() {
    pretend::run(2.2, |seed| seed % KINDS, || {});
}
