//! Where ideas come from. A [`Proposer`] reads a [`Brief`] and answers with the next [`Proposal`]: the [`Playbook`]
//! from curated ideas, the [`Tuner`] from the numbers of the champion's recipe, [`Combine`] from what was nearly kept, a
//! [`ModelProposer`](model::ModelProposer) from a language model, the [`Mix`] from several proposers. [`ablation()`] proposes to leave a kept change out, which measures and is no idea.
//!
//! Every proposal foretells its effect and how sure its author is, so that the two can be held against what is found.
//!
//! Nothing in here builds, runs, measures or commits anything. What the proposers say follows from the brief alone, so a night
//! that is resumed goes on as it would have; models, which are asked over the network, are put on record for that.

pub mod ablation;
mod agent;
pub(crate) mod alike;
mod bandit;
mod breadth;
mod combine;
pub mod command;
#[cfg(test)]
pub(crate) mod fixture;
mod identical;
mod mix;
pub mod model;
mod playbook;
mod recipe;
mod slopes;
mod steps;
pub mod tools;
mod tried;
mod tuner;

pub use ablation::{AblationError, LEAVE_ONE_OUT, ablation, ablations_of_parts};
pub(crate) use agent::words::facts as agent_facts;
pub use combine::{Combine, tried_again};
pub use command::{AgentDesk, Agents};
pub use identical::Identical;
pub use mix::Mix;
pub use playbook::{Idea, Playbook};
pub use recipe::{Constant, constants};
pub use tuner::Tuner;

use std::time::Duration;

use crate::flow::{Author, Brief, BuildFailure, Proposal};

/// Folder of the files that an experiment may edit, relative to the repository's root.
pub const CANDIDATE_FOLDER: &str = "trainer/src/candidate";

/// At most `limit` characters of a text, and a sign where some are missing.
fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short + "…"
}

/// A source of ideas. Called on a thread that may block.
///
/// All variation must come from the brief (`history`, `turn`, `proposer_seed`): the driver makes proposers anew after a
/// restart and expects them to go on where they were.
pub trait Proposer: Send {
    /// The word that stands in [`Author::proposer`](crate::flow::Author::proposer) of its proposals.
    fn name(&self) -> &str;

    /// Whether a proposal of this author is its own.
    fn wrote(&self, author: &Author) -> bool {
        author.proposer == self.name()
    }

    /// Whether it can work out an idea in words now (`details.asked` of the brief).
    fn reads(&self) -> bool {
        false
    }

    /// Whether its answer is on record already, from before the night was cut off or in the night that is replayed: then it is asked first.
    fn owes(&self, _brief: &Brief) -> bool {
        false
    }

    /// The next idea; `None` when there is nothing left to propose for this brief.
    ///
    /// # Errors
    /// When the proposer itself failed; the night may ask again or ask another.
    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError>;

    /// Where it has just had nothing: after how long asking it once more in the same turn may help, because what stood in the way passes or
    /// another try may do. `None`: it has nothing more in this turn.
    fn again(&self, _brief: &Brief) -> Option<Duration> {
        None
    }

    /// Another attempt at an idea that could not be edited, passed or built; `None` gives it up.
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    fn repair(
        &mut self,
        brief: &Brief,
        proposal: &Proposal,
        failure: &Failure,
    ) -> Result<Option<Proposal>, ProposeError>;

    /// The ideas that it leaves out for this brief, and why.
    fn skipped(&self, _brief: &Brief) -> Vec<Skipped> {
        Vec::new()
    }
}

/// What stood in a proposal's way.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Its edits do not apply; the reason.
    Edit(String),
    /// The compiler refused the edited code.
    Build(BuildFailure),
    /// It touches what experiments may not touch; the reason.
    Policy(String),
}

/// An idea that is not proposed for a brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The proposer's name for the idea.
    pub key: String,
    /// Why, for a person.
    pub reason: String,
}

/// Why a proposer could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// A file of the embedded playbook is malformed: a mistake in the source, caught by the tests.
    #[error("agent/playbook/{file}: {problem}; correct the file and build again")]
    Playbook {
        /// Name of the file.
        file: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// What a model was asked could not be put on record, so that its answer must not be used.
    #[error(transparent)]
    Record(#[from] model::exchange::RecordError),
}

#[cfg(test)]
mod tests {
    use super::fixture::{baseline, brief, past, remember};
    use super::*;
    use crate::flow::{Edit, Verdict};

    /// Predict, then test: what a proposer says before is held against what is found.
    #[test]
    fn every_proposer_says_what_it_expects_and_how_sure_it_is() {
        let proposers: Vec<(Box<dyn Proposer>, usize)> =
            vec![(Box::new(Playbook::load().unwrap()), 20), (Box::new(Tuner), 20), (Box::new(Identical), 5)];
        let mut said: Vec<Proposal> = Vec::new();
        for (mut proposer, many) in proposers {
            let mut brief = brief(baseline());
            for turn in 0..many {
                brief.turn = turn as u64;
                let proposal = proposer.propose(&brief).unwrap().unwrap();
                said.push(proposal.clone());
                let verdict = if turn % 2 == 0 { Verdict::Inconclusive } else { Verdict::Discarded };
                remember(&mut brief, proposal, Some(verdict), Some(0.001));
            }
        }
        let mut kept = past("playbook", "rates", Some(Verdict::Kept), -0.006, Some(-0.004));
        let path = format!("{CANDIDATE_FOLDER}/recipe.rs");
        kept.proposal.edits = vec![Edit { path: path.clone(), search: "two".to_owned(), replace: "2".to_owned() }];
        let file = |text: &str| vec![crate::flow::SourceFile { path: path.clone(), text: text.to_owned() }];
        said.push(ablation(&kept, &file("one\ntwo\n"), &file("one\n2\n")).unwrap());
        for proposal in said {
            let told = (proposal.predicted_effect, proposal.confidence);
            let fit = matches!(told, (Some(effect), Some(sure)) if effect.is_finite() && (0.0..=1.0).contains(&sure));
            assert!(fit, "{} by {}: {told:?}", proposal.key, proposal.author.proposer);
        }
    }
}
