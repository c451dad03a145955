//! Several proposers as one. Who is asked first in a turn is drawn from the belief on what each one's ideas gain
//! (Thompson sampling, see [`bandit`](super::bandit)); when it has nothing, the next is asked.

use super::bandit::{self, Arm};
use super::{Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Brief, Proposal};

/// Bits per byte that an untried proposer's idea is expected to gain, as firmly as after [`PRIOR_WEIGHT`] tries.
const PRIOR_GAIN: f64 = 0.001;
const PRIOR_WEIGHT: f64 = 3.0;

/// Asks the proposer whose ideas seem to pay most.
pub struct Mix {
    proposers: Vec<Box<dyn Proposer>>,
}

impl Mix {
    /// The name it goes by; its proposals carry their own proposer's.
    pub const NAME: &'static str = "mix";

    /// Mixes these; an earlier one goes first where nothing else decides.
    pub fn new(proposers: Vec<Box<dyn Proposer>>) -> Self {
        Self { proposers }
    }

    /// The proposers' indices in the order in which they are asked this turn.
    fn order(&self, brief: &Brief) -> Vec<usize> {
        let spread = bandit::spread(brief);
        let mut random = bandit::random(brief, 0);
        let draws = self.proposers.iter().map(|proposer| {
            let mut arm = Arm::new(PRIOR_GAIN, PRIOR_WEIGHT);
            for past in brief.history.iter().filter(|past| past.proposal.author.proposer == proposer.name()) {
                arm.observe(bandit::gain(past), 1.0);
            }
            arm.draw(spread, &mut random)
        });
        let mut draws: Vec<(usize, f64)> = draws.enumerate().collect();
        draws.sort_by(|a, b| b.1.total_cmp(&a.1));
        draws.into_iter().map(|(index, _)| index).collect()
    }
}

impl Proposer for Mix {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        for index in self.order(brief) {
            if let Some(proposal) = self.proposers[index].propose(brief)? {
                return Ok(Some(proposal));
            }
        }
        Ok(None)
    }

    fn repair(
        &mut self,
        brief: &Brief,
        proposal: &Proposal,
        failure: &Failure,
    ) -> Result<Option<Proposal>, ProposeError> {
        match self.proposers.iter_mut().find(|proposer| proposer.name() == proposal.author.proposer) {
            Some(author) => author.repair(brief, proposal, failure),
            None => Ok(None),
        }
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        self.proposers.iter().flat_map(|proposer| proposer.skipped(brief)).collect()
    }
}
