//! A trainer that only pretends: it speaks the protocol, takes its time, and its model is as good as its recipe says. Nights of
//! the tests build it with the real compiler; std only, so that this takes a second.

mod candidate;
mod model;
mod pretend;
mod wire;

fn main() {
    pretend::run(candidate::recipe::Recipe::of("cpu").loss(), |_| 0, candidate::training::misbehave);
}
