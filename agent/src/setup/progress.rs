//! How set-up tells a person what it is doing. No terminal in here.

use super::disk::Bytes;

/// Something worth showing.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new stage begins, in words: `Downloading libtorch 2.11.0`.
    Stage(String),
    /// How far the present stage is; reported every second or so.
    Amount {
        /// Bytes so far.
        done: Bytes,
        /// Bytes expected; an estimate, `done` may end a little below or above.
        expected: Bytes,
    },
    /// Something a person should know that is no error.
    Note(String),
}

/// Receives the events of a set-up.
pub trait Progress: Send {
    /// Called often; must not block for long.
    fn report(&mut self, event: Event);
}

impl<F: FnMut(Event) + Send> Progress for F {
    fn report(&mut self, event: Event) {
        self(event);
    }
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn report(&mut self, _event: Event) {}
}
