//! What a brief's history already holds, so that no proposer says the same thing twice.

use std::collections::HashMap;

use crate::flow::{Brief, Edit, PastExperiment, Proposal, SourceFile};

/// The history, looked at by key, by edits and by result.
pub(super) struct Tried<'a> {
    files: &'a [SourceFile],
    keys: HashMap<(&'a str, &'a str), &'a PastExperiment>,
    edits: HashMap<&'a [Edit], &'a PastExperiment>,
    results: Vec<(Vec<SourceFile>, &'a PastExperiment)>,
}

impl<'a> Tried<'a> {
    pub fn of(brief: &'a Brief) -> Self {
        let mut tried =
            Self { files: &brief.champion_files, keys: HashMap::new(), edits: HashMap::new(), results: Vec::new() };
        for past in &brief.history {
            let proposal = &past.proposal;
            tried.keys.insert((&proposal.author.proposer, &proposal.key), past);
            tried.edits.insert(&proposal.edits, past);
            // Other edits to the same champion may make the same files.
            if past.same_champion && let Ok(files) = apply(tried.files, &proposal.edits) {
                tried.results.push((files, past));
            }
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
        let files = match apply(self.files, &proposal.edits) {
            Ok(files) => files,
            Err(reason) => return Some(format!("does not fit the champion: {reason}")),
        };
        if files == self.files {
            return Some("changes nothing in the champion".to_owned());
        }
        let (_, past) = self.results.iter().find(|(result, _)| *result == files)?;
        Some(format!("experiment {} tried the same code: {}", past.id, outcome(past)))
    }
}

/// The verdict in a word.
pub(super) fn outcome(past: &PastExperiment) -> &'static str {
    past.verdict.map_or("still running", |verdict| verdict.name())
}

/// The files after all of the edits, or why one of them does not apply.
fn apply(files: &[SourceFile], edits: &[Edit]) -> Result<Vec<SourceFile>, String> {
    let mut files = files.to_vec();
    for edit in edits {
        let file = files
            .iter_mut()
            .find(|file| file.path == edit.path)
            .ok_or_else(|| format!("there is no {}", edit.path))?;
        match file.text.matches(&edit.search).count() {
            1 => file.text = file.text.replacen(&edit.search, &edit.replace, 1),
            0 => return Err(format!("{}: not found: {:?}", edit.path, edit.search)),
            n => return Err(format!("{}: found {n} times: {:?}", edit.path, edit.search)),
        }
    }
    Ok(files)
}
