//! Who looks on while a night runs.

use crate::terminal::{Display, LiveView, Notice};

/// Shows a night to a person, or to nobody.
pub trait Watcher: Send {
    /// The night moved on; called several times a second.
    fn update(&mut self, view: &LiveView);

    /// Something happened that is worth a line.
    fn notice(&mut self, notice: &Notice);
}

impl Watcher for Display {
    fn update(&mut self, view: &LiveView) {
        Display::update(self, view);
    }

    fn notice(&mut self, notice: &Notice) {
        Display::notice(self, notice);
    }
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn update(&mut self, _view: &LiveView) {}

    fn notice(&mut self, _notice: &Notice) {}
}
