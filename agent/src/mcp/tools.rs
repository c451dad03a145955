//! The tools that only exist here: the brief, the queue, the night. Their arguments are as little trusted as those of a model.

use serde_json::Value;

use super::desk::{Desk, Shared, blocking};
use super::told;
use crate::brief::quote::inline;
use crate::edit::{CheckedPatch, blocks, is_unprintable};
use crate::flow::{Author, Proposal};
use crate::llm::Tool;
use crate::propose::alike::{self, alike};
use crate::propose::tools::{Arguments, ToolFacts, Toolbox, seen_before, tool};

pub(super) const BRIEF: &str = "brief";
pub(super) const PROPOSE: &str = "propose";
pub(super) const SUGGEST: &str = "suggest";
pub(super) const QUEUE: &str = "queue";
pub(super) const STATUS: &str = "status";
pub(super) const RESULTS: &str = "results";

/// Characters of a title, and of words; what is added to them must fit into the queue as well.
const MOST_TITLE: usize = 72;
const MOST_WORDS: usize = 3_500;

/// Whether a tool writes; all others only read.
pub(super) fn writes(name: &str) -> bool {
    matches!(name, PROPOSE | SUGGEST)
}

/// The tools that are only here.
pub(super) fn own_tools() -> Vec<Tool> {
    vec![
        tool(
            BRIEF,
            "Begin here: the goal, where the campaign stands, past experiments, the rules on edits, and how to write them.",
            &[],
            &[],
        ),
        tool(
            PROPOSE,
            "Puts an experiment with its edits into the person's queue, under your name. The next or the running night commits, builds, trains and \
             measures it as it is. Policy and novelty are checked first; what does not pass is not put in, and whether it compiles is for you to \
             `check` before. An idea that looks like a past experiment is put in only with `differs`.",
            &[
                ("title", "string", "what is changed, in the imperative, at most 72 characters"),
                ("hypothesis", "string", "why it should lower val_bpb, in a few sentences"),
                ("predicted", "number", "the change of val_bpb that you expect, such as -0.002"),
                ("edits", "string", "SEARCH/REPLACE blocks against the champion's files; see `brief`"),
                (
                    "differs",
                    "string",
                    "how it differs in substance from past experiments that look like it; asked for where there are some",
                ),
            ],
            &["title", "hypothesis", "edits"],
        ),
        tool(
            SUGGEST,
            "Puts an idea in words into the person's queue, under your name, for the campaign's language model or coding agent to work out. Without \
             either it waits. Past experiments that look like it are told.",
            &[("words", "string", "the idea, in a few sentences")],
            &["words"],
        ),
        tool(QUEUE, "The campaign's queue: what waits, what was taken, and what came of it.", &[], &[]),
        tool(STATUS, "Whether a night runs, and how far it is.", &[], &[]),
        tool(
            RESULTS,
            "What a night found: every experiment with verdict, difference, interval and reason, and the morning's claim.",
            &[("night", "string", "its name, such as 2026-03-08-k4; the campaign's last one if left out")],
            &[],
        ),
    ]
}

/// Everything that is offered.
pub(super) fn all_tools(facts: &Toolbox) -> Vec<Tool> {
    let mut tools = own_tools();
    tools.extend(facts.tools());
    tools
}

/// Calls a tool; `client` is who asks, in its own words.
pub(super) async fn call(desk: &Shared, client: &str, name: &str, arguments: Value) -> Result<String, String> {
    let own = own_tools();
    let Some(known) = own.iter().find(|tool| tool.name == name) else {
        let toolbox = Toolbox::new(desk.facts().await?);
        let name = name.to_owned();
        return blocking(move || match toolbox.tools().iter().any(|tool| tool.name == name) {
            true => toolbox.call(&name, &arguments),
            false => {
                let known: Vec<String> = all_tools(&toolbox).into_iter().map(|tool| tool.name).collect();
                Err(format!("there is no tool `{}`; there are {}", inline(&name, 60), known.join(", ")))
            }
        })
        .await?;
    };
    let arguments = Arguments::of(known, &arguments)?;
    match name {
        BRIEF => told::brief(desk).await,
        PROPOSE => propose(desk, client, &arguments).await,
        SUGGEST => suggest(desk, client, &arguments).await,
        QUEUE => Ok(told::queue(&desk.queue().await?)),
        STATUS => told::status(desk).await,
        _ => told::results(desk, arguments.text("night")?).await,
    }
}

async fn propose(desk: &Desk, client: &str, arguments: &Arguments<'_>) -> Result<String, String> {
    let title = one_line(arguments.need_text("title")?);
    let hypothesis = plain(arguments.need_text("hypothesis")?);
    let predicted = arguments.number("predicted")?;
    if title.is_empty() || title.chars().count() > MOST_TITLE {
        return Err(format!("`title` has {} characters; write 1 to {MOST_TITLE}", title.chars().count()));
    }
    if hypothesis.is_empty() || hypothesis.chars().count() > MOST_WORDS {
        return Err(format!("`hypothesis` has {} characters; write 1 to {MOST_WORDS}", hypothesis.chars().count()));
    }
    let edits = blocks::parse(arguments.need_text("edits")?).map_err(|error| error.to_string())?;
    let proposal = Proposal {
        key: "mcp".to_owned(),
        title: title.clone(),
        hypothesis: hypothesis.clone(),
        source: client.to_owned(),
        family: "queue".to_owned(),
        predicted_effect: predicted,
        confidence: None,
        edits,
        author: Author { proposer: "outside".to_owned(), model: None, cost_usd: 0.0 },
    };
    let ToolFacts { candidate, history, policy, .. } = desk.facts().await?;
    let checked = blocking(move || {
        let checked = CheckedPatch::check(&proposal, &candidate, &policy);
        (checked, candidate)
    });
    let (checked, candidate) = checked.await?;
    let patch = checked.map_err(|error| error.to_string())?;
    if let Some(same) = history.iter().rev().find(|past| past.digest == patch.digest()) {
        return Err(seen_before(same));
    }
    let near = alike(&title, None, &history);
    let differs = arguments.text("differs")?.map(plain).filter(|words| !words.is_empty());
    if !near.is_empty() && differs.is_none() {
        return Err(format!(
            "Your edits pass. But the idea looks like what was tried before, and was not put in:\n\n{}\nIf yours differs in substance, or has become \
             worth trying since, propose it again and say how in `differs`. Otherwise propose another idea.",
            alike::told(&near)
        ));
    }
    let hypothesis = match differs {
        None => hypothesis,
        Some(differs) => format!("{hypothesis}\n\nDiffers from what was tried: {differs}"),
    };
    if hypothesis.chars().count() > MOST_WORDS {
        return Err(format!("`hypothesis` and `differs` together have more than {MOST_WORDS} characters; write less"));
    }
    let foretold = predicted.map_or(String::new(), |predicted| format!(" Predicted: {predicted:+}."));
    let words = format!("{title}\n\n{hypothesis}\n\n(Proposed by {client} over MCP.{foretold})");
    let entry = desk.enqueue(client, &words, Some(patch.diff()), &candidate).await?;
    Ok(format!(
        "Entry {} of the queue: {} lines added, {} removed. A night takes it in its turn, builds it, and tests it; `queue` says what came of it.",
        entry.id,
        patch.lines_added(),
        patch.lines_removed()
    ))
}

async fn suggest(desk: &Desk, client: &str, arguments: &Arguments<'_>) -> Result<String, String> {
    let words = plain(arguments.need_text("words")?);
    if words.is_empty() || words.chars().count() > MOST_WORDS {
        return Err(format!("`words` has {} characters; write 1 to {MOST_WORDS}", words.chars().count()));
    }
    let entry = desk.enqueue(client, &format!("{words}\n\n(Suggested by {client} over MCP.)"), None, &[]).await?;
    let whether = match desk.campaign().reads_words() {
        false => {
            " The campaign has no language model or coding agent yet, so it waits until there is one, or until somebody proposes edits."
        }
        true => "",
    };
    let ToolFacts { history, .. } = desk.facts().await?;
    let first = words.split(['\n', '.']).next().unwrap_or_default();
    let near = alike(first, None, &history);
    let near = match near.is_empty() {
        true => String::new(),
        false => format!("\n\nIt looks like what was tried before:\n\n{}", alike::told(&near)),
    };
    Ok(format!("Entry {} of the queue.{whether}{near}", entry.id))
}

/// Text without what moves a cursor, hides or reorders; lines stay.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| matches!(c, '\n' | '\t') || !is_unprintable(*c)).collect();
    text.trim().to_owned()
}

fn one_line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
