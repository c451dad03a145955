//! What a person sees when a command fails.

use std::fmt::Display;
use std::io::Write;

use miette::Diagnostic;

/// A failed command: its exit code and what to print.
#[derive(Debug)]
pub struct Fault {
    /// 1 failed, 2 wrong use or bad input, 3 the environment is not fit; 0 when only nobody reads the results any more.
    pub code: u8,
    /// Nothing where there is nothing to say.
    report: Option<miette::Report>,
}

/// A message and what to do about it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
struct Plain {
    message: String,
    #[help]
    help: Option<String>,
}

impl Fault {
    fn plain(code: u8, message: impl Display, help: Option<String>) -> Self {
        Self { code, report: Some(Plain { message: message.to_string(), help }.into()) }
    }

    /// With this exit code.
    pub fn new(code: u8, message: impl Display) -> Self {
        Self::plain(code, message, None)
    }

    /// Something did not work.
    pub fn failed(message: impl Display) -> Self {
        Self::plain(1, message, None)
    }

    /// Wrong use or bad input.
    pub fn usage(message: impl Display) -> Self {
        Self::plain(2, message, None)
    }

    /// The environment is not fit.
    pub fn environment(message: impl Display) -> Self {
        Self::plain(3, message, None)
    }

    /// With what to do about it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        self.report = self.report.map(|report| Plain { message: report.to_string(), help }.into());
        self
    }

    /// Bad input that can be shown in its place.
    pub fn diagnostic(code: u8, diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { code, report: Some(diagnostic.into()) }
    }

    /// Whoever read standard output has gone: the command ends, and quietly.
    pub fn nobody_reads() -> Self {
        Self { code: 0, report: None }
    }

    /// Prints it on standard error.
    pub fn print(&self) {
        if let Some(report) = &self.report {
            // There is no other place to complain; the exit code still tells.
            let _unprintable = writeln!(std::io::stderr(), "{report:?}");
        }
    }
}
