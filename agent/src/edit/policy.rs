//! What a candidate may be.

use super::check;
use super::error::EditError;
use crate::flow::{Edit, Proposal, SourceFile};

/// The only files that an experiment may edit, sorted.
pub const CANDIDATE_FILES: [&str; 4] = [
    "trainer/src/candidate/model.rs",
    "trainer/src/candidate/optimizer.rs",
    "trainer/src/candidate/recipe.rs",
    "trainer/src/candidate/training.rs",
];

/// Limits on a proposal and on the files it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The paths that may be edited, exactly as written.
    pub paths: Vec<String>,
    /// Bytes of a file, a search text and a replacement.
    pub max_file_bytes: usize,
    /// Lines of a file, a search text and a replacement.
    pub max_file_lines: usize,
    /// Edits in one proposal.
    pub max_edits: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            paths: CANDIDATE_FILES.iter().map(ToString::to_string).collect(),
            max_file_bytes: 64 * 1024,
            max_file_lines: 5_000,
            max_edits: 64,
        }
    }
}

impl Policy {
    /// What a proposal foretells must be figures that can be compared with what is found.
    pub(super) fn check_prediction(proposal: &Proposal) -> Result<(), EditError> {
        if let Some(effect) = proposal.predicted_effect.filter(|effect| !effect.is_finite()) {
            return Err(EditError::NotAnEffect { effect: effect.to_string() });
        }
        if let Some(confidence) = proposal.confidence.filter(|confidence| !(0.0..=1.0).contains(confidence)) {
            return Err(EditError::NotAProbability { confidence: confidence.to_string() });
        }
        Ok(())
    }

    /// The part that is decided before the edits are applied: how many and how large they are.
    pub(super) fn check_edits(&self, edits: &[Edit]) -> Result<(), EditError> {
        if edits.is_empty() {
            return Err(EditError::NoEdits);
        }
        if edits.len() > self.max_edits {
            return Err(EditError::TooManyEdits { count: edits.len(), limit: self.max_edits });
        }
        for edit in edits {
            self.check_size(&edit.path, "the search text", &edit.search)?;
            self.check_size(&edit.path, "the replacement", &edit.replace)?;
        }
        Ok(())
    }

    /// The part that is decided on a changed file.
    ///
    /// # Errors
    /// The first rule that is broken, or the forbidden constructs.
    pub fn check_file(&self, file: &SourceFile) -> Result<(), EditError> {
        let SourceFile { path, text } = file;
        self.check_size(path, "the file after the edits", text)?;
        for (line, content) in (1..).zip(text.split('\n')) {
            // White space beyond ASCII's looks like a space, and the compiler takes it for none.
            let odd = |c: &char| is_unprintable(*c) || (c.is_whitespace() && !c.is_ascii());
            if let Some(c) = content.chars().find(odd) {
                return Err(EditError::ControlCharacter { path: path.clone(), line, code: u32::from(c) });
            }
        }
        if !text.ends_with('\n') {
            return Err(EditError::NoFinalNewline { path: path.clone(), empty: text.is_empty() });
        }
        let violations = check::violations(path, text).map_err(|(line, message)| EditError::NotRust {
            path: path.clone(),
            line,
            message,
        })?;
        if violations.is_empty() {
            return Ok(());
        }
        Err(EditError::Forbidden(violations))
    }

    /// Keeps an absurd text away from the search, whose work grows with the product of the two lengths.
    pub(super) fn check_size(&self, path: &str, what: &'static str, text: &str) -> Result<(), EditError> {
        let bytes = (text.len(), "bytes", self.max_file_bytes);
        let lines = (text.lines().count(), "lines", self.max_file_lines);
        for (size, unit, limit) in [bytes, lines] {
            if size > limit {
                return Err(EditError::TooLarge { path: path.to_owned(), what, size, unit, limit });
            }
        }
        Ok(())
    }
}

/// Control characters, and those that reorder text or show as nothing, so that a person reads something else than the compiler.
pub(crate) fn is_unprintable(c: char) -> bool {
    let reorders_or_hides = matches!(
        c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    );
    (c.is_control() && c != '\t') || reorders_or_hides
}
