//! Curated research ideas, embedded from `agent/playbook/*.toml`. The most promising family goes first: the belief on each is the
//! best predicted effect among its untried ideas, corrected by what its ideas have gained per hour so far. Inside a family the
//! predicted effects decide, and chance a little. When the search broadens, families that were never tried come first.

use protocol::Scale;
use serde::Deserialize;

use super::bandit::{self, Arm, Record};
use super::breadth::Breadth;
use super::tried::Tried;
use super::{CANDIDATE_FOLDER, Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Author, Brief, Edit, PastExperiment, Proposal};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "playbook";

/// A prediction weighs as much as two tries of its family.
const PREDICTION_TRIES: f64 = 2.0;

/// A confidence given beforehand weighs as much as four tries of its family.
const CONFIDENCE_TRIES: f64 = 4.0;

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
    /// How probable it is that it is an improvement at all, before anything of its family was tried.
    pub confidence: f64,
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
            confidence: Some(self.confidence),
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

    /// The ideas that may still be tried at this scale, by family, in the files' order.
    fn families(&self, brief: &Brief, tried: &Tried<'_>) -> Vec<Vec<&Idea>> {
        let mut families: Vec<Vec<&Idea>> = Vec::new();
        let open = |idea: &&Idea| idea.scales.contains(&brief.scale) && tried.key(NAME, &idea.id).is_none();
        for idea in self.ideas.iter().filter(open) {
            match families.iter_mut().find(|ideas| ideas[0].family == idea.family) {
                Some(ideas) => ideas.push(idea),
                None => families.push(vec![idea]),
            }
        }
        families
    }

    /// The belief on a family, given its ideas that may still be tried.
    fn arm(ideas: &[&Idea], record: &Record<'_>) -> Arm {
        let best = ideas.iter().map(|idea| -idea.predicted_effect).fold(f64::NEG_INFINITY, f64::max);
        record.arm(Arm::new(best, PREDICTION_TRIES), |past| is_of(past, ideas[0]))
    }

    /// How probable it is that the idea is an improvement: its own confidence, corrected by how its family has fared.
    fn confidence(idea: &Idea, brief: &Brief) -> f64 {
        let fared = || brief.history.iter().filter(|past| is_of(past, idea)).filter_map(bandit::improved);
        let tries = CONFIDENCE_TRIES + fared().count() as f64;
        let confidence = (idea.confidence * CONFIDENCE_TRIES + fared().sum::<f64>()) / tries;
        (confidence * 100.0).round() / 100.0
    }

    /// What speaks against an idea for this brief.
    fn objection(idea: &Idea, brief: &Brief, tried: &Tried<'_>) -> Option<String> {
        if !idea.scales.contains(&brief.scale) {
            return Some(format!("not for the {} scale", brief.scale));
        }
        tried.objection(&idea.proposal())
    }
}

impl Proposer for Playbook {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let tried = Tried::of(brief);
        let record = Record::of(brief);
        let breadth = Breadth::of(brief);
        let mut random = bandit::random(brief, 1);
        let families = self.families(brief, &tried);
        let arms: Vec<Arm> = families.iter().map(|ideas| Self::arm(ideas, &record)).collect();
        let mut order = bandit::ranked(&arms, record.spread, breadth, &mut random);
        let is_new = |ideas: &[&Idea]| !brief.history.iter().any(|past| is_of(past, ideas[0]));
        if breadth > Breadth::Usual {
            order.sort_by_key(|index| !is_new(&families[*index]));
        }
        for index in order {
            let ideas = &families[index];
            let alone = |idea: &&Idea| Arm::new(-idea.predicted_effect, PREDICTION_TRIES);
            let arms: Vec<Arm> = ideas.iter().map(alone).collect();
            let order = bandit::ranked(&arms, record.spread, breadth, &mut random);
            let mut ideas_in_order = order.into_iter().map(|index| ideas[index]);
            if let Some(idea) = ideas_in_order.find(|idea| Self::objection(idea, brief, &tried).is_none()) {
                let mut proposal = idea.proposal();
                proposal.confidence = Some(Self::confidence(idea, brief));
                if is_new(ideas) {
                    let so = "a family of ideas that was never tried comes first";
                    proposal.hypothesis = breadth.tell(brief, &proposal.hypothesis, so);
                }
                return Ok(Some(proposal));
            }
        }
        Ok(None)
    }

    /// A curated idea that does not build is given up: there is nothing to learn from in its place.
    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        let tried = Tried::of(brief);
        let skipped = self
            .ideas
            .iter()
            .filter_map(|idea| Some(Skipped { key: idea.id.clone(), reason: Self::objection(idea, brief, &tried)? }));
        skipped.collect()
    }
}

/// Whether a past experiment was this playbook's, of the idea's family.
fn is_of(past: &PastExperiment, idea: &Idea) -> bool {
    past.proposal.author.proposer == NAME && past.proposal.family == idea.family
}

/// What to think of an idea before anything was tried, where its entry does not say: of those that are predicted to change
/// nothing one in four helps, of those that are predicted to gain 0.002 bits per byte, half.
fn usual_confidence(predicted_effect: f64) -> f64 {
    1.0 / (1.0 + (1.1 + predicted_effect / 0.0018).exp())
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
    /// Where [`usual_confidence`] does not fit.
    confidence: Option<f64>,
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
            confidence: idea.confidence.unwrap_or_else(|| usual_confidence(idea.predicted_effect)),
            scales: idea.scales,
        }
    });
    Ok(ideas.collect())
}

#[cfg(test)]
#[path = "playbook_tests.rs"]
mod tests;
