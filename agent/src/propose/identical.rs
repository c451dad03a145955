//! Changes that change nothing: an A/A test of the whole loop. The same number is written with more zeros (`0.04` as `0.040`), so
//! the program that trains is the same to the last bit, while the source differs and takes the usual way through commit, build,
//! training, evaluation and decision. A night of these must keep nothing; what it measures is noise and nothing else.
//!
//! Only for people who ask for it (`--proposer identical`), and for the tests.

use super::recipe::{Constant, constants};
use super::tuner::{edit, recipe_file, recipe_path};
use super::{Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Author, Brief, Proposal};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "identical";

/// Zeros appended at most; nobody needs more candidates than that many times the recipe's numbers.
const MOST_ZEROS: usize = 12;

/// Proposes programs that are the champion's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identical;

impl Identical {
    fn proposal(brief: &Brief, constant: &Constant, zeros: usize) -> Option<Proposal> {
        let file = recipe_file(brief)?;
        let literal = format!("{}{}", &file.text[constant.span.clone()], "0".repeat(zeros));
        let name: String = constant.name.chars().take(30).collect();
        Some(Proposal {
            key: format!("{}/{}/{literal}", brief.scale, constant.name),
            title: format!("Write {name} as {literal}"),
            hypothesis: "The same program: whatever difference is measured is noise, so this must not be kept."
                .to_owned(),
            source: "an A/A test".to_owned(),
            family: NAME.to_owned(),
            predicted_effect: Some(0.0),
            confidence: Some(0.0),
            edits: vec![edit(file, constant, &literal)],
            author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
        })
    }
}

/// The recipe's numbers whose value stays when zeros are appended: `0.04`, and neither `3`, `1e-3` nor `0.5_f64`.
fn decimals(brief: &Brief) -> Vec<Constant> {
    let Some(file) = recipe_file(brief) else { return Vec::new() };
    let mut all = constants(&file.text, brief.scale);
    all.retain(|constant| {
        let literal = &file.text[constant.span.clone()];
        literal.split_once('.').is_some_and(|(whole, fraction)| {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            !whole.is_empty() && !fraction.is_empty() && digits(whole) && digits(fraction) && literal.len() <= 16
        })
    });
    all
}

impl Proposer for Identical {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let tried = |proposal: &Proposal| {
            brief.history.iter().any(|past| {
                past.proposal.author.proposer == NAME
                    && (past.proposal.key == proposal.key || past.proposal.edits == proposal.edits)
            })
        };
        let all = decimals(brief);
        let mut proposals = (1..=MOST_ZEROS)
            .flat_map(|zeros| all.iter().map(move |constant| (constant, zeros)))
            .filter_map(|(constant, zeros)| Self::proposal(brief, constant, zeros));
        Ok(proposals.find(|proposal| !tried(proposal)))
    }

    /// What does not build is no A/A test.
    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        let reason = format!("no plain decimal numbers found in fn {} of {}", brief.scale, recipe_path());
        let none = decimals(brief).is_empty();
        none.then(|| Skipped { key: format!("{}/*", brief.scale), reason }).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{CheckedPatch, Policy, apply};
    use crate::flow::Verdict;
    use crate::propose::fixture::{baseline, brief, remember};

    #[test]
    fn every_proposal_is_new_to_git_and_the_same_to_the_trainer() {
        let mut brief = brief(baseline());
        let numbers = |brief: &Brief, files: &[crate::flow::SourceFile]| -> Vec<f64> {
            let recipe = files.iter().find(|file| file.path == recipe_path()).unwrap();
            constants(&recipe.text, brief.scale).iter().map(|constant| constant.value).collect()
        };
        let before = numbers(&brief, &brief.champion_files);
        let mut digests = std::collections::HashSet::new();
        for _ in 0..30 {
            let proposal = Identical.propose(&brief).unwrap().unwrap();
            let patch = CheckedPatch::check(&proposal, &brief.champion_files, &Policy::default()).unwrap();
            assert!(digests.insert(patch.digest().to_owned()), "{} again", proposal.title);
            let after = apply(&brief.champion_files, &proposal.edits).unwrap();
            assert_ne!(after, brief.champion_files);
            assert_eq!(numbers(&brief, &after), before, "{}", proposal.title);
            remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.001));
        }
        assert!(Identical.skipped(&brief).is_empty());
    }

    #[test]
    fn without_a_recipe_it_is_silent_and_says_why() {
        let mut brief = brief(baseline());
        brief.champion_files.clear();
        assert_eq!(Identical.propose(&brief).unwrap(), None);
        assert_eq!(Identical.skipped(&brief).len(), 1);
    }
}
