//! Briefs for tests.

use std::path::Path;

use crate::edit::{CANDIDATE_FILES, apply, content_digest};
use crate::flow::{
    Author, Brief, CommitId, Details, Edit, Evidence, ExperimentId, NightId, PastExperiment, Proposal, SourceFile,
    Verdict,
};

/// The repository's own candidate files.
pub fn baseline() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    CANDIDATE_FILES.iter().map(|path| SourceFile { path: (*path).to_owned(), text: read(path) }).collect()
}

/// The first brief of a night on these files.
pub fn brief(champion_files: Vec<SourceFile>) -> Brief {
    Brief {
        goal: String::new(),
        scale: protocol::Scale::Cpu,
        champion_files,
        champion: CommitId::try_from("a".repeat(40)).unwrap(),
        champion_val_bpb: None,
        history: Vec::new(),
        stagnation: 0,
        turn: 0,
        proposer_seed: 1,
        details: Details::default(),
    }
}

/// An experiment of a night.
pub fn id(number: usize) -> ExperimentId {
    let night = NightId::try_from("2026-03-08-k4".to_owned()).unwrap();
    ExperimentId { night, number: u32::try_from(number).unwrap() }
}

/// Goes on to the next turn with this proposal in the history.
pub fn remember(brief: &mut Brief, proposal: Proposal, verdict: Option<Verdict>, difference: Option<f64>) {
    brief.turn += 1;
    let digest = apply(&brief.champion_files, &proposal.edits).map(|files| content_digest(&files));
    brief.history.push(PastExperiment {
        id: id(brief.history.len() + 1),
        digest: digest.unwrap_or_default(),
        proposal,
        verdict,
        difference,
        evidence: None,
        seconds: 0.0,
        same_champion: true,
    });
}

/// Experiment 1, which replaces nothing by nothing.
pub fn past(
    proposer: &str,
    family: &str,
    verdict: Option<Verdict>,
    difference: f64,
    expected: Option<f64>,
) -> PastExperiment {
    PastExperiment {
        id: id(1),
        proposal: proposal(proposer, family, Vec::new()),
        digest: String::new(),
        verdict,
        difference: Some(difference),
        evidence: expected.map(|expected| Box::new(evidence(expected, 0.5, false))),
        seconds: 100.0,
        same_champion: true,
    }
}

/// A proposal of these edits: path, search, replace.
pub fn proposal(proposer: &str, family: &str, edits: Vec<Edit>) -> Proposal {
    Proposal {
        key: "key".to_owned(),
        title: "Do it".to_owned(),
        hypothesis: "It may help.".to_owned(),
        source: "a test".to_owned(),
        family: family.to_owned(),
        predicted_effect: Some(-0.001),
        confidence: Some(0.5),
        edits,
        author: Author { proposer: proposer.to_owned(), model: None, cost_usd: 0.0 },
    }
}

/// Figures behind a verdict.
pub fn evidence(expected: f64, probability: f64, near_miss: bool) -> Evidence {
    Evidence {
        standard_error: 0.001,
        degrees: 10.0,
        probability,
        expected,
        expected_interval: (expected - 0.002, expected + 0.002),
        least_effect: 0.0005,
        run_sd: 0.0015,
        pair_sd: 0.001,
        near_miss,
        story: Vec::new(),
        forecast: None,
    }
}
