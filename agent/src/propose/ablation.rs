//! Leaving one out: proposals that take a kept change back out of the champion, so that a passenger is found (a change that was
//! kept by luck, or that the later ones have made superfluous).
//!
//! Such a proposal measures; it is no idea. It is not meant to be kept, and it says nothing about the proposers' arms. Taking the
//! newest change out leaves the code of the champion before it, so the rule that the same code runs once per campaign must not be
//! put to it.

use super::combine;
use crate::edit::{EditError, Overlap, apply, revert};
use crate::flow::{Author, ExperimentId, PastExperiment, Proposal, SourceFile};

/// The word that stands in the author of such a proposal.
pub const LEAVE_ONE_OUT: &str = "leave-one-out";

/// Stands in a key between a kept combination and the idea that is left out of it.
pub const WITHOUT: &str = " without ";

/// Why a kept change cannot be left out.
#[derive(Debug, thiserror::Error)]
pub enum AblationError {
    /// Later changes lie over it.
    #[error("experiment {id} ({title}) cannot be left out by itself: {overlap}")]
    Overlap {
        /// The kept experiment.
        id: ExperimentId,
        /// What it did.
        title: String,
        /// Where they meet.
        overlap: Overlap,
    },
    /// The files are not those that it was kept on, or its parts do not apply without each other.
    #[error("experiment {id} ({title}) cannot be made again on the champion it was kept on: {error}")]
    Remake {
        /// The kept experiment.
        id: ExperimentId,
        /// What it did, or without which of its parts.
        title: String,
        /// What does not fit.
        error: Box<EditError>,
    },
    /// Nothing of it is left in the champion.
    #[error("experiment {id} ({title}) left nothing in the champion that could be left out")]
    Nothing {
        /// The kept experiment.
        id: ExperimentId,
        /// What it did.
        title: String,
    },
}

/// The present champion without a kept experiment's change. `before` are the candidate files of the champion that it was kept on,
/// `champion` those of the present one.
///
/// # Errors
/// When later changes lie over it; nothing is left out by halves.
pub fn ablation(
    kept: &PastExperiment,
    before: &[SourceFile],
    champion: &[SourceFile],
) -> Result<Proposal, AblationError> {
    let after = remake(kept, &kept.proposal.title, before, &kept.proposal)?;
    without(kept, &kept.proposal, kept.id.to_string(), before, &after, champion)
}

/// Of a kept combination: the champion without one of its ideas, for each of them, in their order. Empty for anything else.
/// `history` is where the ideas are told.
///
/// # Errors
/// For each idea by itself: when the others do not apply without it, or later changes lie over it.
pub fn ablations_of_parts(
    kept: &PastExperiment,
    history: &[PastExperiment],
    before: &[SourceFile],
    champion: &[SourceFile],
) -> Vec<Result<Proposal, AblationError>> {
    let ideas = combine::parts(&kept.proposal, history);
    if ideas.len() < 2 {
        return Vec::new();
    }
    let one = |left_out: &PastExperiment| {
        let title = format!("{}, without {}", kept.proposal.title, left_out.id);
        let others = ideas.iter().filter(|idea| idea.id != left_out.id);
        let edits = others.flat_map(|idea| idea.proposal.edits.clone()).collect();
        let after = remake(kept, &kept.proposal.title, before, &kept.proposal)?;
        let target = remake(kept, &title, before, &Proposal { edits, ..kept.proposal.clone() })?;
        let key = format!("{}{WITHOUT}{}", kept.id, left_out.id);
        let idea = PastExperiment { evidence: left_out.evidence.clone(), ..kept.clone() };
        without(&idea, &left_out.proposal, key, &target, &after, champion)
    };
    ideas.iter().map(|idea| one(idea)).collect()
}

fn remake(
    kept: &PastExperiment,
    title: &str,
    before: &[SourceFile],
    proposal: &Proposal,
) -> Result<Vec<SourceFile>, AblationError> {
    apply(before, &proposal.edits).map_err(|error| AblationError::Remake {
        id: kept.id.clone(),
        title: title.to_owned(),
        error: Box::new(error),
    })
}

/// The proposal that takes `idea` out of `champion`, where it led from `before` to `after`.
fn without(
    kept: &PastExperiment,
    idea: &Proposal,
    key: String,
    before: &[SourceFile],
    after: &[SourceFile],
    champion: &[SourceFile],
) -> Result<Proposal, AblationError> {
    let (id, title) = (kept.id.clone(), idea.title.clone());
    let edits = match revert(before, after, champion) {
        Ok(edits) if edits.is_empty() => return Err(AblationError::Nothing { id, title }),
        Ok(edits) => edits,
        Err(overlap) => return Err(AblationError::Overlap { id, title, overlap }),
    };
    let expected = kept.evidence.as_ref().map(|evidence| evidence.expected).or(idea.predicted_effect);
    let told =
        expected.map_or(String::new(), |effect| format!(" It was expected to be worth {effect:+.4} bits per byte."));
    Ok(Proposal {
        key,
        title: super::shorten(&format!("Without: {title}"), 72),
        hypothesis: format!(
            "Experiment {id} was kept. If the champion is no worse without it, it was kept by luck or later changes have made it \
             superfluous, and it need not be merged.{told}"
        ),
        source: format!("leaving one out; experiment {id}"),
        family: idea.family.clone(),
        predicted_effect: expected.map(|effect| -effect),
        confidence: kept.evidence.as_ref().map(|evidence| (1.0 - evidence.probability).clamp(0.0, 1.0)),
        edits,
        author: Author { proposer: LEAVE_ONE_OUT.to_owned(), model: None, cost_usd: 0.0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Edit, Verdict};
    use crate::propose::fixture::{id, past};

    const PATH: &str = "trainer/src/candidate/recipe.rs";

    fn file(text: &str) -> Vec<SourceFile> {
        vec![SourceFile { path: PATH.to_owned(), text: text.to_owned() }]
    }

    /// Kept: `two` became `2`.
    fn kept() -> PastExperiment {
        let mut kept = past("playbook", "rates", Some(Verdict::Kept), -0.006, Some(-0.004));
        kept.proposal.title = "Write the second line as a number".to_owned();
        kept.proposal.edits =
            vec![Edit { path: PATH.to_owned(), search: "two\n".to_owned(), replace: "2\n".to_owned() }];
        kept
    }

    #[test]
    fn what_was_kept_is_proposed_to_be_left_out() {
        let champion = file("one\n2\nthree\nfour\n");
        let out = ablation(&kept(), &file("one\ntwo\nthree\n"), &champion).unwrap();
        assert_eq!(apply(&champion, &out.edits).unwrap(), file("one\ntwo\nthree\nfour\n"));
        assert_eq!(
            (out.key.as_str(), out.title.as_str()),
            ("2026-03-08-k4/1", "Without: Write the second line as a number")
        );
        assert_eq!((out.author.proposer.as_str(), out.family.as_str()), (LEAVE_ONE_OUT, "rates"));
        assert_eq!((out.predicted_effect, out.confidence), (Some(0.004), Some(0.5)));
        assert!(out.hypothesis.contains("expected to be worth -0.0040 bits per byte"), "{}", out.hypothesis);
        assert!(ablations_of_parts(&kept(), &[kept()], &file("one\ntwo\n"), &champion).is_empty());
    }

    #[test]
    fn what_cannot_be_left_out_is_told() {
        let before = file("one\ntwo\nthree\n");
        let cases = [
            (
                &before,
                "one\n2.0\nthree\n",
                "cannot be left out by itself: trainer/src/candidate/recipe.rs: what the change left",
            ),
            (&before, "one\ntwo\nthree\n", "cannot be left out by itself"),
            (
                &file("one\nthree\n"),
                "one\n2\nthree\n",
                "cannot be made again on the champion it was kept on: edit 1 of 1",
            ),
            (&file("one\ntwo\nthree\n2\n"), "one\n2\nthree\n2\n", ""),
        ];
        for (before, champion, expected) in cases {
            match ablation(&kept(), before, &file(champion)) {
                Ok(_) => assert!(expected.is_empty(), "{champion:?} should not have worked"),
                Err(error) => {
                    let message = error.to_string();
                    let named = message.starts_with("experiment 2026-03-08-k4/1 (Write the second line as a number)");
                    assert!(named && !expected.is_empty() && message.contains(expected), "{message}");
                }
            }
        }
        let mut nothing = kept();
        nothing.proposal.edits.clear();
        let message = ablation(&nothing, &before, &before).unwrap_err().to_string();
        assert!(message.contains("left nothing in the champion"), "{message}");
    }

    #[test]
    fn the_ideas_of_a_combination_are_left_out_one_by_one() {
        let edit = |search: &str, replace: &str| Edit {
            path: PATH.to_owned(),
            search: search.to_owned(),
            replace: replace.to_owned(),
        };
        // The third idea builds on what the first one wrote, so the first cannot be left out alone.
        let edits = [edit("one\n", "1\n"), edit("three\n", "3\n"), edit("1\n", "1.0\n")];
        let history: Vec<PastExperiment> = edits
            .iter()
            .enumerate()
            .map(|(place, edit)| {
                let mut idea = past("tuner", "rates", Some(Verdict::Inconclusive), -0.001, Some(-0.001));
                (idea.id, idea.proposal.edits) = (id(place + 1), vec![edit.clone()]);
                idea.proposal.title = format!("Idea {}", place + 1);
                idea
            })
            .collect();
        let mut together = past(combine::NAME, "combination", Some(Verdict::Kept), -0.004, Some(-0.003));
        together.id = id(9);
        together.proposal.key = "2026-03-08-k4/1+2026-03-08-k4/2+2026-03-08-k4/3".to_owned();
        together.proposal.edits = edits.to_vec();
        let champion = file("1.0\ntwo\n3\n");
        let out = ablations_of_parts(&together, &history, &file("one\ntwo\nthree\n"), &champion);
        let told: Vec<String> = out
            .into_iter()
            .map(|out| match out {
                Ok(out) => {
                    let text = apply(&champion, &out.edits).unwrap().remove(0).text;
                    assert_eq!(out.predicted_effect, Some(0.001));
                    format!("{}: {} {}", out.key, out.title, text.replace('\n', " "))
                }
                Err(error) => error.to_string().chars().take(70).collect(),
            })
            .collect();
        let expected = [
            "experiment 2026-03-08-k4/9 (Do it, without 2026-03-08-k4/1) cannot be ",
            "2026-03-08-k4/9 without 2026-03-08-k4/2: Without: Idea 2 1.0 two three ",
            "2026-03-08-k4/9 without 2026-03-08-k4/3: Without: Idea 3 1 two 3 ",
        ];
        assert_eq!(told, expected);
    }
}
