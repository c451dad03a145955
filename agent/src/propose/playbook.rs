//! Curated research ideas, embedded from `agent/playbook/*.toml`. The most promising idea goes first: the belief on each
//! is its own predicted effect, corrected by what the ideas of its family have gained so far.

use std::collections::HashMap;

use protocol::Scale;
use serde::Deserialize;

use super::bandit::{self, Arm};
use super::tried::Tried;
use super::{CANDIDATE_FOLDER, Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Author, Brief, Edit, Proposal};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "playbook";

/// A prediction weighs as much as two tries of its family.
const PREDICTION_WEIGHT: f64 = 2.0;

macro_rules! embedded {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../playbook/", $file)))),*]
    };
}

/// One file per group of families.
const FILES: &[(&str, &str)] = embedded![
    "activation.toml",
    "attention.toml",
    "initial.toml",
    "loss.toml",
    "optimizer.toml",
    "position.toml",
    "residual.toml",
    "schedule.toml",
    "shape.toml",
    "simplify.toml",
];

/// One idea of the playbook.
#[derive(Debug, Clone, PartialEq)]
pub struct Idea {
    /// Names it for good: history refers to it.
    pub id: String,
    /// One line in the imperative.
    pub title: String,
    /// Why it should help.
    pub hypothesis: String,
    /// Where it comes from.
    pub source: String,
    /// Groups ideas that vary the same thing.
    pub family: String,
    /// Predicted change in bits per byte; negative is better.
    pub predicted_effect: f64,
    /// The scales at which it makes sense.
    pub scales: Vec<Scale>,
    /// Its change of the candidate.
    pub edits: Vec<Edit>,
}

impl Idea {
    /// The idea as a proposal.
    pub fn proposal(&self) -> Proposal {
        Proposal {
            key: self.id.clone(),
            title: self.title.clone(),
            hypothesis: self.hypothesis.clone(),
            source: self.source.clone(),
            family: self.family.clone(),
            predicted_effect: Some(self.predicted_effect),
            edits: self.edits.clone(),
            author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
        }
    }
}

/// Proposes the embedded ideas, each once.
#[derive(Debug, Clone)]
pub struct Playbook {
    ideas: Vec<Idea>,
}

impl Playbook {
    /// Reads the embedded files.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub fn load() -> Result<Self, ProposeError> {
        let mut ideas: Vec<Idea> = Vec::new();
        for (file, text) in FILES {
            let bad = |problem: String| ProposeError::Playbook { file: (*file).to_owned(), problem };
            for idea in parse(text).map_err(bad)? {
                if ideas.iter().any(|other| other.id == idea.id) {
                    return Err(bad(format!("the id {:?} is taken", idea.id)));
                }
                ideas.push(idea);
            }
        }
        Ok(Self { ideas })
    }

    /// All ideas, file by file.
    pub fn ideas(&self) -> &[Idea] {
        &self.ideas
    }

    /// Each idea with what speaks against it for this brief.
    fn assess<'a>(&'a self, brief: &'a Brief) -> impl Iterator<Item = (&'a Idea, Proposal, Option<String>)> {
        let tried = Tried::of(brief);
        self.ideas.iter().map(move |idea| {
            let proposal = idea.proposal();
            let objection = if idea.scales.contains(&brief.scale) {
                tried.objection(&proposal)
            } else {
                Some(format!("not for the {} scale", brief.scale))
            };
            (idea, proposal, objection)
        })
    }
}

impl Proposer for Playbook {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let mut families: HashMap<&str, (f64, f64)> = HashMap::new();
        for past in brief.history.iter().filter(|past| past.proposal.author.proposer == NAME) {
            let (tries, gain) = families.entry(&past.proposal.family).or_default();
            *tries += 1.0;
            *gain += bandit::gain(past);
        }
        let spread = bandit::spread(brief);
        let mut random = bandit::random(brief, 1);
        let mut best: Option<(f64, Proposal)> = None;
        for (idea, proposal, objection) in self.assess(brief) {
            let mut arm = Arm::new(-idea.predicted_effect, PREDICTION_WEIGHT);
            if let Some(&(tries, gain)) = families.get(idea.family.as_str()) {
                arm.observe(gain / tries, tries);
            }
            let draw = arm.draw(spread, &mut random);
            if objection.is_none() && best.as_ref().is_none_or(|(highest, _)| draw > *highest) {
                best = Some((draw, proposal));
            }
        }
        Ok(best.map(|(_, proposal)| proposal))
    }

    /// A curated idea that does not build is given up: there is nothing to learn from in its place.
    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        self.assess(brief)
            .filter_map(|(idea, _, objection)| Some(Skipped { key: idea.id.clone(), reason: objection? }))
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    family: String,
    idea: Vec<IdeaText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdeaText {
    id: String,
    title: String,
    hypothesis: String,
    source: String,
    /// Where it differs from the file's.
    family: Option<String>,
    predicted_effect: f64,
    #[serde(default = "all_scales")]
    scales: Vec<Scale>,
    edit: Vec<EditText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditText {
    /// Name within the candidate's folder.
    file: String,
    search: String,
    replace: String,
}

fn all_scales() -> Vec<Scale> {
    Scale::ALL.to_vec()
}

/// Reads one playbook file; the error says where and what.
fn parse(text: &str) -> Result<Vec<Idea>, String> {
    let file: FileText = toml::from_str(text).map_err(|error| error.to_string())?;
    let ideas = file.idea.into_iter().map(|idea| {
        let edits = idea.edit.into_iter().map(|edit| Edit {
            path: format!("{CANDIDATE_FOLDER}/{}", edit.file),
            search: edit.search,
            replace: edit.replace,
        });
        Idea {
            // Line breaks in the file are for its reader.
            hypothesis: idea.hypothesis.split_whitespace().collect::<Vec<_>>().join(" "),
            family: idea.family.unwrap_or_else(|| file.family.clone()),
            edits: edits.collect(),
            id: idea.id,
            title: idea.title,
            source: idea.source,
            predicted_effect: idea.predicted_effect,
            scales: idea.scales,
        }
    });
    Ok(ideas.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::edit::{CheckedPatch, Policy};
    use crate::propose::fixture;

    #[test]
    fn every_idea_applies_to_the_baseline() {
        let files = fixture::baseline();
        let failures: Vec<String> = Playbook::load()
            .unwrap()
            .ideas()
            .iter()
            .filter_map(|idea| {
                let error = CheckedPatch::check(&idea.proposal(), &files, &Policy::default()).err()?;
                Some(format!("{}: {error}", idea.id))
            })
            .collect();
        assert!(failures.is_empty(), "{} ideas do not apply:\n{}", failures.len(), failures.join("\n"));
    }
}
