//! What has come of an answer so far, for the account: an answer that breaks off, or that nobody waits for any more, may have to be paid
//! all the same.

use std::sync::{Mutex, PoisonError};

use super::Usage;

/// What has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Came {
    /// Bytes of text, thoughts, and names and arguments of calls.
    pub bytes: u64,
    /// Tokens by the server's word so far.
    pub usage: Usage,
    /// Whether the server has said why the answer ended; what it says of tokens is its last word then.
    pub ended: bool,
}

/// The same while it comes, for whoever gives the call up in between.
#[derive(Debug, Default)]
pub struct Received(Mutex<Came>);

impl Received {
    /// What has come by now.
    pub fn came(&self) -> Came {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, came: Came) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = came;
    }
}
