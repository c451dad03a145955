//! Briefs for tests.

use std::path::Path;

use crate::edit::CANDIDATE_FILES;
use crate::flow::{Brief, CommitId, ExperimentId, NightId, PastExperiment, Proposal, SourceFile, Verdict};

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
    }
}

/// Goes on to the next turn with this proposal in the history.
pub fn remember(brief: &mut Brief, proposal: Proposal, verdict: Option<Verdict>, difference: Option<f64>) {
    brief.turn += 1;
    let night = NightId::try_from("2026-03-08-k4".to_owned()).unwrap();
    let id = ExperimentId { night, number: u32::try_from(brief.history.len()).unwrap() + 1 };
    brief.history.push(PastExperiment {
        id,
        proposal,
        verdict,
        difference,
        evidence: None,
        seconds: 0.0,
        same_champion: true,
    });
}
