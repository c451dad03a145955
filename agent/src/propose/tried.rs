//! What a brief's history already holds, so that no proposer says the same thing twice.

use std::collections::HashMap;

use crate::edit::{CheckedPatch, Policy};
use crate::flow::{Brief, Edit, PastExperiment, Proposal, SourceFile};

/// The history, looked at by key, by edits and by result.
pub(super) struct Tried<'a> {
    files: &'a [SourceFile],
    keys: HashMap<(&'a str, &'a str), &'a PastExperiment>,
    edits: HashMap<&'a [Edit], &'a PastExperiment>,
    results: HashMap<&'a str, &'a PastExperiment>,
    policy: Policy,
}

impl<'a> Tried<'a> {
    pub fn of(brief: &'a Brief) -> Self {
        let mut tried = Self {
            files: &brief.champion_files,
            keys: HashMap::new(),
            edits: HashMap::new(),
            results: HashMap::new(),
            policy: Policy::default(),
        };
        for past in &brief.history {
            let proposal = &past.proposal;
            tried.keys.insert((&proposal.author.proposer, &proposal.key), past);
            tried.edits.insert(&proposal.edits, past);
            // Other edits may make the same files.
            tried.results.insert(&past.digest, past);
        }
        tried
    }

    /// The experiment that tried this proposer's idea.
    pub fn key(&self, proposer: &str, key: &str) -> Option<&'a PastExperiment> {
        self.keys.get(&(proposer, key)).copied()
    }

    /// Why this proposal cannot be made: its edits do not apply to the champion, change nothing or were tried before.
    pub fn objection(&self, proposal: &Proposal) -> Option<String> {
        if let Some(past) = self.key(&proposal.author.proposer, &proposal.key) {
            return Some(format!("tried in experiment {}: {}", past.id, outcome(past)));
        }
        if let Some(past) = self.edits.get(proposal.edits.as_slice()) {
            return Some(format!("the same edits were tried in experiment {}: {}", past.id, outcome(past)));
        }
        self.misfit(proposal)
    }

    /// Why this proposal cannot be made, though the same edits may have been tried on another champion.
    pub fn misfit(&self, proposal: &Proposal) -> Option<String> {
        let patch = match CheckedPatch::check(proposal, self.files, &self.policy) {
            Ok(patch) => patch,
            Err(error) => return Some(format!("does not fit the champion: {error}")),
        };
        let past = self.results.get(patch.digest())?;
        Some(format!("experiment {} tried the same code: {}", past.id, outcome(past)))
    }
}

/// The verdict in a word.
pub(super) fn outcome(past: &PastExperiment) -> &'static str {
    past.verdict.map_or("still running", |verdict| verdict.name())
}
