//! From what an agent left behind to a proposal, or to everything that it has to mend. Pure.

use crate::edit::{CheckedPatch, Policy, apply, revert};
use crate::flow::{Author, Brief, Edit, PastExperiment, Proposal, SourceFile};
use crate::propose::model::answer::{self, AnswerError, Idea};
use crate::propose::tools::seen_before;

/// The word in [`Author::proposer`].
pub(in crate::propose) const AGENTS: &str = "agents";

/// Digits of a proposal's digest in its key.
const KEY_DIGITS: usize = 12;

/// Puts a proposal together from the candidate files as an agent left them and from its lines about the idea.
///
/// # Errors
/// All that it has to mend.
pub(in crate::propose) fn proposal(
    brief: &Brief,
    policy: &Policy,
    agent: &str,
    files: Result<Vec<SourceFile>, Vec<String>>,
    lines: Result<String, String>,
) -> Result<Proposal, Vec<String>> {
    let mut problems = Vec::new();
    let idea = match lines.and_then(|text| read_lines(&text).map_err(|error| error.to_string())) {
        Ok(idea) => Some(idea),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let edits = match files {
        Ok(files) => edits_between(&brief.champion_files, &files),
        Err(complaints) => {
            problems.extend(complaints);
            Vec::new()
        }
    };
    let nothing = edits.is_empty() && problems.iter().all(|problem| problem.starts_with("the answer's lines"));
    if nothing {
        problems
            .push("no candidate file was changed; make the change that you propose in the files themselves".to_owned());
    }
    let mut proposal = unnamed(agent, edits);
    if let Some(Idea { title, hypothesis, family, predicted, confidence, .. }) = idea {
        proposal = Proposal {
            title,
            hypothesis,
            family,
            predicted_effect: Some(predicted),
            confidence: Some(confidence),
            ..proposal
        };
    }
    if !proposal.edits.is_empty() {
        match CheckedPatch::check(&proposal, &brief.champion_files, policy) {
            Ok(patch) => {
                if let Some(same) = same_code(&brief.history, patch.digest()) {
                    problems.push(seen_before(same));
                }
                let digits = patch.digest().get(..KEY_DIGITS).unwrap_or_default();
                proposal.key = format!("{agent}/{digits}");
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(proposal) } else { Err(problems) }
}

fn same_code<'a>(history: &'a [PastExperiment], digest: &str) -> Option<&'a PastExperiment> {
    history.iter().rev().find(|past| past.digest == digest)
}

fn unnamed(agent: &str, edits: Vec<Edit>) -> Proposal {
    Proposal {
        key: String::new(),
        title: String::new(),
        hypothesis: String::new(),
        source: format!("the coding agent {agent}"),
        family: String::new(),
        predicted_effect: None,
        confidence: None,
        edits,
        author: Author { proposer: AGENTS.to_owned(), model: Some(agent.to_owned()), cost_usd: 0.0 },
    }
}

/// The lines about an idea, as they stand in front of a model's blocks. Blocks are not wanted here; what begins like one ends the lines.
fn read_lines(text: &str) -> Result<Idea, AnswerError> {
    const ANY_BLOCK: &str = "\n\nany.rs\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n";
    let lines: Vec<&str> = text.lines().take_while(|line| !line.trim_start().starts_with("<<<<<")).collect();
    answer::read(&(lines.join("\n") + ANY_BLOCK))
}

/// Edits that turn the one into the other, as small as they can be: small ones still fit when the champion moves.
fn edits_between(old: &[SourceFile], new: &[SourceFile]) -> Vec<Edit> {
    // Taking `new -> old` back out of `old` is going from `old` to `new`.
    if let Ok(edits) = revert(new, old, old)
        && apply(old, &edits).is_ok_and(|after| after == new)
    {
        return edits;
    }
    let changed = new.iter().filter(|file| !old.contains(file));
    changed.map(|file| Edit { path: file.path.clone(), search: String::new(), replace: file.text.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Verdict;
    use crate::propose::fixture::{baseline, brief, past};

    const RECIPE: &str = "trainer/src/candidate/recipe.rs";
    const LINES: &str = "# My idea\n\nTitle: Raise the rate\nHypothesis: It is low.\nFamily: optimizer\nPredicted: -0.002\nConfidence: 0.4\n";

    fn with(old: &str, new: &str) -> Vec<SourceFile> {
        let mut files = baseline();
        let file = files.iter_mut().find(|file| file.path == RECIPE).unwrap();
        assert!(file.text.contains(old));
        file.text = file.text.replace(old, new);
        files
    }

    fn made(files: Result<Vec<SourceFile>, Vec<String>>, lines: Result<&str, &str>) -> Result<Proposal, String> {
        let lines = lines.map(str::to_owned).map_err(str::to_owned);
        proposal(&brief(baseline()), &Policy::default(), "coder", files, lines).map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn changed_files_and_lines_are_a_proposal() {
        let proposal = made(Ok(with("matrix_rate: 0.04", "matrix_rate: 0.05")), Ok(LINES)).unwrap();
        assert_eq!((proposal.title.as_str(), proposal.predicted_effect), ("Raise the rate", Some(-0.002)));
        assert_eq!((proposal.author.proposer.as_str(), proposal.author.model.as_deref()), ("agents", Some("coder")));
        assert!(proposal.key.starts_with("coder/") && proposal.key.len() == 18, "{}", proposal.key);
        assert!(proposal.edits.len() == 1 && proposal.edits[0].search.lines().count() < 5, "{:?}", proposal.edits);
        let patch = CheckedPatch::check(&proposal, &baseline(), &Policy::default()).unwrap();
        assert_eq!((patch.lines_added(), patch.lines_removed()), (1, 1));
    }

    #[test]
    fn whatever_is_changed_the_edits_lead_there() {
        let old = baseline();
        let mut all_new = old.clone();
        all_new.iter_mut().for_each(|file| file.text = file.text.to_uppercase());
        let mut ends = old.clone();
        ends[0].text = format!("// First.\n{}// Last.\n", ends[0].text);
        let mut doubled = old.clone();
        doubled[1].text = format!("{0}{0}", doubled[1].text);
        let mut emptied = old.clone();
        emptied[2].text = String::new();
        let mut no_end = old.clone();
        no_end[3].text.pop();
        for new in [all_new, ends, doubled, emptied, no_end, old.clone()] {
            let edits = edits_between(&old, &new);
            let after = if edits.is_empty() { old.clone() } else { apply(&old, &edits).unwrap() };
            assert!(after == new, "{edits:?}");
        }
    }

    #[test]
    fn everything_to_mend_is_said_at_once() {
        let changed = || Ok(with("matrix_rate: 0.04", "matrix_rate: 0.05"));
        for (files, lines, expected) in [
            (Ok(baseline()), Ok(LINES), vec!["no candidate file was changed"]),
            (Ok(baseline()), Ok("Title: x"), vec!["`Hypothesis:` is missing", "no candidate file was changed"]),
            (changed(), Err("`NOCTURNE_PROPOSAL.md` is missing"), vec!["`NOCTURNE_PROPOSAL.md` is missing"]),
            (
                changed(),
                Ok("Title: x\nFamily: y\nPredicted: 0\nConfidence: 2"),
                vec!["`Hypothesis:`", "`Confidence: 2` is no"],
            ),
            (
                Ok(with("matrix_rate: 0.04", "matrix_rate: { std::process::abort() }")),
                Ok("Title: x"),
                vec!["`Hypothesis:` is missing", "(rule process)"],
            ),
            (Err(vec!["`a` is new".to_owned()]), Ok(LINES), vec!["`a` is new"]),
            (Ok(with("matrix_rate", "// Other words.\nmatrix_rate")), Ok(LINES), vec!["change nothing but comments"]),
        ] {
            let problems = made(files, lines).unwrap_err();
            for expected in &expected {
                assert!(problems.contains(expected), "{expected}: {problems}");
            }
            assert!(
                problems.contains("no candidate file") == expected.iter().any(|e| e.contains("no candidate file")),
                "{problems}"
            );
        }
    }

    #[test]
    fn the_same_code_again_goes_back() {
        let mut brief = brief(baseline());
        let files = with("matrix_rate: 0.04", "matrix_rate: 0.05");
        let mut same = past("playbook", "optimizer", Some(Verdict::Discarded), 0.001, None);
        same.digest = crate::edit::content_digest(&files);
        brief.history.push(same);
        let problems = proposal(&brief, &Policy::default(), "coder", Ok(files), Ok(LINES.to_owned())).unwrap_err();
        assert!(problems[0].contains("is experiment 2026-03-08-k4/1 already"), "{problems:?}");
    }

    #[test]
    fn blocks_in_the_lines_are_not_edits() {
        let lines =
            format!("{LINES}\ntrainer/src/candidate/model.rs\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n");
        let proposal = made(Ok(with("matrix_rate: 0.04", "matrix_rate: 0.05")), Ok(&lines)).unwrap();
        assert!(proposal.edits.iter().all(|edit| edit.path == RECIPE));
    }
}
