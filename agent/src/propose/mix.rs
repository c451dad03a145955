//! Several proposers as one. Who is asked first in a turn is drawn from the belief on what each one's ideas gain per hour
//! (Thompson sampling, see [`bandit`](super::bandit)); when it has nothing, the next is asked.

use std::time::Duration;

use super::bandit::{self, Arm, Record};
use super::breadth::Breadth;
use super::{Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Brief, Proposal};

/// Bits per byte that an untried proposer's idea is expected to gain, as firmly as after [`PRIOR_TRIES`] tries.
const PRIOR_GAIN: f64 = 0.001;
const PRIOR_TRIES: f64 = 3.0;

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
        let record = Record::of(brief);
        let of = |proposer: &dyn Proposer| {
            record.arm(Arm::new(PRIOR_GAIN, PRIOR_TRIES), |past| proposer.wrote(&past.proposal.author))
        };
        let arms: Vec<Arm> = self.proposers.iter().map(|proposer| of(proposer.as_ref())).collect();
        let mut order = bandit::ranked(&arms, record.spread, Breadth::of(brief), &mut bandit::random(brief, 0));
        // An answer that is on record goes before everything; then words of the person, which not everybody reads.
        let asked = brief.details.asked.is_some();
        order.sort_by_key(|index| {
            let proposer = &self.proposers[*index];
            (!proposer.owes(brief), asked && !proposer.reads())
        });
        order
    }
}

impl Proposer for Mix {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let order = self.order(brief);
        for index in order {
            if let Some(proposal) = self.proposers[index].propose(brief)? {
                return Ok(Some(proposal));
            }
        }
        Ok(None)
    }

    /// As soon as any of them may have something: one that cannot be reached keeps nobody from asking another.
    fn again(&self, brief: &Brief) -> Option<Duration> {
        self.proposers.iter().filter_map(|proposer| proposer.again(brief)).min()
    }

    fn repair(
        &mut self,
        brief: &Brief,
        proposal: &Proposal,
        failure: &Failure,
    ) -> Result<Option<Proposal>, ProposeError> {
        match self.proposers.iter_mut().find(|proposer| proposer.wrote(&proposal.author)) {
            Some(author) => author.repair(brief, proposal, failure),
            None => Ok(None),
        }
    }

    fn reads(&self) -> bool {
        self.proposers.iter().any(|proposer| proposer.reads())
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        self.proposers.iter().flat_map(|proposer| proposer.skipped(brief)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::flow::Verdict;
    use crate::propose::fixture::{baseline, brief, remember};
    use crate::propose::{Playbook, Tuner};

    fn mix() -> Mix {
        Mix::new(vec![Box::new(Playbook::load().unwrap()), Box::new(Tuner)])
    }

    /// How often each proposer is asked first over some turns.
    fn shares(brief: &mut Brief) -> HashMap<usize, usize> {
        let mix = mix();
        let mut shares = HashMap::new();
        for turn in 0..100 {
            brief.turn = turn;
            *shares.entry(mix.order(brief)[0]).or_default() += 1;
        }
        shares
    }

    #[test]
    fn both_have_a_say_and_the_one_that_gains_has_more() {
        let mut brief = brief(baseline());
        let even = shares(&mut brief);
        assert!(even[&0] > 25 && even[&1] > 25, "{even:?}");
        for (proposer, verdict, difference) in
            [("playbook", Verdict::Discarded, 0.004), ("tuner", Verdict::Kept, -0.004)].repeat(3)
        {
            let mut proposal = mix().propose(&brief).unwrap().unwrap();
            proposal.author.proposer = proposer.to_owned();
            remember(&mut brief, proposal, Some(verdict), Some(difference));
        }
        let learnt = shares(&mut brief);
        assert!(learnt[&1] > 65, "{learnt:?}");
    }

    #[test]
    fn the_same_brief_gives_the_same_proposal() {
        let brief = brief(baseline());
        assert_eq!(mix().propose(&brief).unwrap(), mix().propose(&brief).unwrap());
    }

    #[test]
    fn when_one_has_nothing_the_other_is_asked() {
        let mut brief = brief(baseline());
        for file in &mut brief.champion_files {
            file.text.clear();
        }
        assert!(mix().propose(&brief).unwrap().is_none());
        let all = Playbook::load().unwrap().ideas().len();
        assert_eq!(mix().skipped(&brief).len(), all + 1);
    }
}
