//! Campaign errors as miette diagnostics, for the command line's edge: labels into the file, all problems at once.

use miette::{Diagnostic, NamedSource, SourceSpan};

use super::{CampaignError, Problems};

/// A [`CampaignError`] as the command line shows it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Report {
    message: String,
    #[help]
    help: Option<String>,
    #[related]
    problems: Vec<ProblemReport>,
}

/// One problem of a `campaign.toml` with its place.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct ProblemReport {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("{label}")]
    span: SourceSpan,
    label: String,
}

impl From<Problems> for Report {
    fn from(problems: Problems) -> Self {
        let count = match problems.list.len() {
            1 => "a problem".to_owned(),
            count => format!("{count} problems"),
        };
        let message = format!("{} has {count}", crate::terminal::clean(&problems.file));
        let text = display_text(&problems.text);
        let reports = problems.list.iter().map(|problem| ProblemReport {
            message: problem.message.clone(),
            help: problem.help.clone(),
            source_code: NamedSource::new(crate::terminal::clean(&problems.file), text.clone()),
            span: problem.span.clone().into(),
            label: problem.expected.clone(),
        });
        Self { message, help: None, problems: reports.collect() }
    }
}

impl From<CampaignError> for Report {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Problems(problems) => (*problems).into(),
            other => Self { message: other.to_string(), help: other.help(), problems: Vec::new() },
        }
    }
}

/// The text with control characters replaced by spaces of the same length in bytes, so that labels stay where they belong.
fn display_text(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let (shown, times) = if c.is_control() && c != '\n' { (' ', c.len_utf8()) } else { (c, 1) };
            std::iter::repeat_n(shown, times)
        })
        .collect()
}
