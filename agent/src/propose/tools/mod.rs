//! What somebody who proposes may look at and try before answering: a language model in its turn, and a person's coding agent through
//! `nocturne mcp`. The same tools for both.
//!
//! - [`calculate()`] small arithmetic;
//! - `read` the champion's files, and those of the harness that are public anyway;
//! - `past` experiments of the campaign, with effects, intervals, reasons and curves;
//! - `check` edits, as far as can be told before a training run: policy, novelty, and a confined build.
//!
//! Tools only read. What they are asked with comes from a machine and is taken apart with care ([`arguments`]); what they answer with is
//! bounded, and words of others in it (hypotheses, logs, compiler messages) are quoted as data. A [`Toolbox`] gets to see exactly its
//! [`ToolFacts`], so no argument can name what is not among them: there is no path here that is opened, no seed and no held-out text.

mod arguments;
mod calculate;
mod check;
mod facts;
mod past;
mod read;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::llm::Tool;
pub(crate) use arguments::Arguments;

pub use calculate::calculate;
pub(crate) use check::seen_before;
pub use facts::{Compiled, Compiler, CurveSource, Curves, ToolFacts};

/// Characters of one answer; what is longer is cut at a line's end and says so.
pub const MOST_ANSWER: usize = 16_000;

/// Names of the tools, in the order in which they are offered.
const READ_FILE: &str = "read_file";
const SEARCH: &str = "search";
const EXPERIMENTS: &str = "experiments";
const EXPERIMENT: &str = "experiment";
const CURVE: &str = "curve";
const CHECK: &str = "check";
const CALCULATE: &str = "calculate";

/// The tools, over the facts of one moment.
pub struct Toolbox {
    facts: ToolFacts,
}

impl Toolbox {
    /// Tools over these facts.
    pub fn new(facts: ToolFacts) -> Self {
        Self { facts }
    }

    /// What it works on.
    pub fn facts(&self) -> &ToolFacts {
        &self.facts
    }

    /// The tools, as a model is told of them. A tool whose facts are missing is not offered.
    pub fn tools(&self) -> Vec<Tool> {
        let mut tools = all_tools(self.facts.compile.is_some());
        tools.retain(|tool| tool.name != CURVE || self.facts.curve.is_some());
        tools
    }

    /// Calls a tool. Both answers are texts for the caller of at most [`MOST_ANSWER`] characters.
    ///
    /// # Errors
    /// What is wrong with the call, or with the edits that it checks.
    pub fn call(&self, name: &str, arguments: &Value) -> Result<String, String> {
        self.dispatch(name, arguments).map(bounded).map_err(bounded)
    }

    fn dispatch(&self, name: &str, arguments: &Value) -> Result<String, String> {
        let tools = self.tools();
        let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
            let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
            let name = crate::brief::quote::inline(name, 60);
            return Err(format!("there is no tool `{name}`; there are {}", known.join(", ")));
        };
        let arguments = Arguments::of(tool, arguments)?;
        match name {
            READ_FILE => read::read_file(&self.facts, &arguments),
            SEARCH => read::search(&self.facts, &arguments),
            EXPERIMENTS => past::experiments(&self.facts, &arguments),
            EXPERIMENT => past::experiment(&self.facts, &arguments),
            CURVE => past::curve(&self.facts, &arguments),
            CHECK => check::check(&self.facts, &arguments),
            _ => arguments.need_text("expression").and_then(|expression| {
                calculate(expression).map(|value| format!("{} = {value}", crate::brief::quote::inline(expression, 400)))
            }),
        }
    }
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toolbox").finish_non_exhaustive()
    }
}

/// A text that is not longer than an answer may be.
fn bounded(text: String) -> String {
    let Some((end, _)) = text.char_indices().nth(MOST_ANSWER) else { return text };
    let shown = text.get(..end).unwrap_or_default();
    let shown = shown.rfind('\n').and_then(|line| shown.get(..line)).unwrap_or(shown);
    let mut cut = shown.to_owned();
    let _infallible = write!(cut, "\n[cut off here, after {MOST_ANSWER} characters; ask for a smaller part]");
    cut
}

/// One tool; `properties` names each argument with its type and meaning.
pub(crate) fn tool(name: &str, description: &str, properties: &[(&str, &str, &str)], required: &[&str]) -> Tool {
    let properties: serde_json::Map<String, Value> = properties
        .iter()
        .map(|(name, kind, meaning)| ((*name).to_owned(), json!({ "type": kind, "description": meaning })))
        .collect();
    let arguments = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    Tool { name: name.to_owned(), description: description.to_owned(), arguments }
}

fn all_tools(compiles: bool) -> Vec<Tool> {
    let check = match compiles {
        true => {
            "Tries edits without training: whether they apply to the champion, keep the rules and are new; then compiles them, confined, as they \
             would be built for a trial. Errors come back with the code that they name. Compiling may wait for a trial to end, and is done a few \
             times for one idea. Nothing is kept of it."
        }
        false => {
            "Tries edits without training: whether they apply to the champion, keep the rules and are new. It does not compile them. Nothing is \
             kept of it."
        }
    };
    vec![
        tool(
            READ_FILE,
            "Lines of a file: one of the candidate files, which you may edit, or of the harness, which you may not. Without `first` and \
             `last` from the beginning, as many as fit. Lines are exactly as in the file; where they come behind bars, the bar and the space after it are no part of them.",
            &[
                ("path", "string", "relative to the repository's root, such as trainer/src/candidate/recipe.rs"),
                ("first", "integer", "the first line wanted, counted from 1"),
                ("last", "integer", "the last line wanted"),
            ],
            &["path"],
        ),
        tool(
            SEARCH,
            "Lines that contain a text, with their places, in the candidate files and those of the harness. Plain text, no pattern.",
            &[
                ("text", "string", "what to look for; capitals count"),
                ("path", "string", "only in files whose path contains this"),
                ("most", "integer", "so many hits at most (40, up to 200)"),
            ],
            &["text"],
        ),
        tool(
            EXPERIMENTS,
            "Past experiments of the campaign, newest first: verdict, effect in bits per byte (negative is better), interval, reason.",
            &[
                (
                    "verdict",
                    "string",
                    "only these: kept, discarded, inconclusive, invalid, crashed, unbuildable, near-miss or open",
                ),
                ("family", "string", "only this family of ideas"),
                ("text", "string", "only where title or hypothesis contain this; capitals do not count"),
                ("most", "integer", "so many at most (20, up to 60)"),
            ],
            &[],
        ),
        tool(
            EXPERIMENT,
            "One past experiment whole: hypothesis, prediction, what was found after each trial, and its edits.",
            &[("experiment", "string", "its number in this night, such as 12, or night/number")],
            &["experiment"],
        ),
        tool(
            CURVE,
            "The training loss of an experiment over its budget beside its champion's under the same seed, averaged over parts.",
            &[
                ("experiment", "string", "its number in this night (0 is the night's start), or night/number"),
                ("points", "integer", "so many rows (20, up to 100)"),
            ],
            &["experiment"],
        ),
        tool(
            CHECK,
            check,
            &[("edits", "string", "SEARCH/REPLACE blocks, in the same form as in an answer")],
            &["edits"],
        ),
        tool(
            CALCULATE,
            "Small arithmetic: + - * / ^, parentheses, sqrt, log (natural), log2, log10, exp, abs, min, max, pi.",
            &[("expression", "string", "such as 0.04 * (512 / 768) ^ -0.5")],
            &["expression"],
        ),
    ]
}

#[cfg(test)]
mod tests;
