//! Near misses once more.

use super::{Failure, ProposeError, Proposer};
use crate::flow::{Brief, PastExperiment, Proposal};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "combine";

/// Proposes near misses again: together, or alone on a champion that has moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Combine;

/// The experiments that a proposal puts together, as `history` tells them; empty when it is no combination of these.
pub(super) fn parts<'a>(proposal: &Proposal, history: &'a [PastExperiment]) -> Vec<&'a PastExperiment> {
    if proposal.author.proposer != NAME {
        return Vec::new();
    }
    let set = proposal.key.split('@').next().unwrap_or_default();
    let found = set.split('+').map(|id| history.iter().find(|past| past.id.to_string() == id));
    found.collect::<Option<_>>().unwrap_or_default()
}

impl Proposer for Combine {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, _brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }

    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }
}
