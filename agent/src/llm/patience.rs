//! How long an answer is waited for.
//!
//! Two bounds: so long may nothing of the answer come, and so long may the call take as a whole. Only what a model writes (text, thoughts,
//! calls) puts the first off. Pings and comments, with which servers keep a connection open, do not: llama-cpp-python sends one every 15
//! seconds, whether or not anything will ever come. Nothing puts the second off: a model can think without end.

use std::time::Duration;

use tokio::time::Instant;

/// How long is waited still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    silence: Duration,
    /// When the silence has been too long.
    silent: Instant,
    /// When the call has been too long.
    end: Instant,
    /// Bytes of the answer by now.
    bytes: u64,
}

/// Which of the bounds was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Late {
    /// Nothing came for too long.
    #[error("the stream is silent")]
    Silent,
    /// There was no end.
    #[error("the answer does not end")]
    Endless,
}

impl Patience {
    /// For a call that begins now.
    pub fn new(now: Instant, silence: Duration, longest: Duration) -> Self {
        Self { silence, silent: now + silence, end: now + longest, bytes: 0 }
    }

    /// When to stop waiting, as it stands.
    pub fn deadline(&self) -> Instant {
        self.silent.min(self.end)
    }

    /// Why waiting ends when it does.
    pub fn late(&self) -> Late {
        if self.end <= self.silent { Late::Endless } else { Late::Silent }
    }

    /// The server has begun to answer: it took the request, and may read it in silence.
    pub fn begins(&mut self, now: Instant) {
        self.silent = now + self.silence;
    }

    /// So much of the answer is there now.
    pub fn saw(&mut self, now: Instant, bytes: u64) {
        if bytes > self.bytes {
            (self.bytes, self.silent) = (bytes, now + self.silence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_writes_puts_off_one_bound_and_nothing_the_other() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut patience = Patience::new(began, Duration::from_secs(10), Duration::from_secs(60));
        patience.begins(at(5));
        assert_eq!((patience.deadline(), patience.late()), (at(15), Late::Silent));
        // A ping: no more is there than before.
        patience.saw(at(14), 0);
        assert_eq!(patience.deadline(), at(15));
        for (now, bytes) in [(14, 3), (24, 4), (34, 5), (44, 9)] {
            patience.saw(at(now), bytes);
            assert_eq!((patience.deadline(), patience.late()), (at(now + 10), Late::Silent));
        }
        patience.saw(at(52), 10);
        assert_eq!((patience.deadline(), patience.late()), (at(60), Late::Endless));
    }
}
