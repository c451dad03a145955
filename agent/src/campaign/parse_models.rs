//! `[[models]]`, `[spending]` and `[[coding_agents]]`.

use std::path::{Path, PathBuf};

use super::models::{CodingAgent, Model, Spending, USUAL_TIMEOUT, USUAL_TIMEOUTS};
use super::reader::{Found, Reader, Section};
use super::{Night, ProposerName};
use crate::llm::client::Format;
use crate::llm::key::KeySource;
use crate::llm::spend::Price;
use crate::terminal::clean;

/// More of either are a mistake: a night asks one after the other.
const MOST: usize = 16;
const LEAST_CONTEXT: u64 = 1_024;
const MOST_CONTEXT: u64 = 100_000_000;
/// An answer holds at least a small change.
const LEAST_ANSWER: u64 = 128;
const USUAL_ANSWER: u32 = 8_192;
const DAY_SECONDS: u64 = 24 * 3_600;
/// US dollars per million tokens.
const MOST_PRICE: f64 = 10_000.0;

const FORMATS: [(&str, Format); 2] = [("openai", Format::OpenAi), ("anthropic", Format::Anthropic)];

/// Reads the models and what may be spent on them.
pub(super) fn read_models(reader: &mut Reader, top: &Section<'_>) -> (Vec<Model>, Spending) {
    let sections = reader.tables(top, "models", MOST);
    let (mut models, mut names) = (Vec::new(), Vec::new());
    for section in &sections {
        let name = read_name(reader, section, &mut names);
        models.extend(read_model(reader, section, name));
    }
    let section = reader.section(top, "spending");
    let dollars = reader.number(&section, "dollars", (0.0, false), 1e6, "US dollars");
    let tokens = reader.integer(&section, "tokens", 1..=u64::MAX, "tokens");
    let calls = reader.integer(&section, "calls", 1..=u64::MAX, "calls");
    let spending = Spending {
        dollars: dollars.map(|(dollars, _)| dollars),
        tokens: tokens.map(|(tokens, _)| tokens),
        calls: calls.map(|(calls, _)| calls),
    };
    let limited = ["dollars", "tokens", "calls"].into_iter().any(|key| reader.wrote(&section, key));
    let costly = models.iter().find(|model| model.price != Price::default());
    if let (Some(model), false) = (costly, limited) {
        let message = format!("\"{}\" costs money, and nothing says how much a night may spend", model.name);
        let help = "add a section `[spending]` with `dollars = 5` (or a limit of `tokens` or `calls`)".to_owned();
        let span = sections.first().map_or(section.span.clone(), |first| first.span.clone());
        reader.problem(span, message, "expected a limit", Some(help));
    }
    if section.has("dollars") {
        refuse_keys_without_a_price(reader, &sections);
    }
    (models, spending)
}

/// A limit in dollars holds only where it is known what tokens cost. Who has no key is not paid.
fn refuse_keys_without_a_price(reader: &mut Reader, models: &[Section<'_>]) {
    for section in models {
        let keyed = section.has("key_env") || section.has("key_file");
        if keyed && !reader.wrote(section, "input_price") && !reader.wrote(section, "output_price") {
            let help = "add `input_price` and `output_price` in dollars per million tokens (0 where it is free), or limit \
                        `tokens` or `calls` instead of `dollars`";
            reader.problem(
                section.span.clone(),
                "`dollars` cannot limit a model without a price",
                "no price",
                Some(help.to_owned()),
            );
        }
    }
}

fn read_model(reader: &mut Reader, section: &Section<'_>, name: Option<String>) -> Option<Model> {
    for key in ["format", "endpoint", "model", "context_tokens"] {
        require(reader, section, key);
    }
    let format = reader.choice(section, "format", &FORMATS.map(|(word, _)| word));
    let endpoint = read_endpoint(reader, section);
    let model = reader.text(section, "model", "the model's name for its server").filter(|(model, span)| {
        let fits = model.len() <= 200 && !model.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fits {
            reader.problem(span.clone(), "`model` is no name", "expected at most 200 characters without spaces", None);
        }
        fits
    });
    let key = read_key(reader, section);
    let context = reader.integer(section, "context_tokens", LEAST_CONTEXT..=MOST_CONTEXT, "tokens");
    let answer = reader.integer(section, "answer_tokens", LEAST_ANSWER..=MOST_CONTEXT, "tokens");
    if let (Some((context, _)), Some((answer, span))) = (&context, &answer)
        && answer >= context
    {
        let help =
            format!("`context_tokens` holds brief and answer together: leave most of its {context} to the brief");
        reader.problem(span.clone(), "the answer leaves no room for the brief", "too many", Some(help));
    }
    let tools = reader.flag(section, "tools").unwrap_or(true);
    let temperature = reader.number(section, "temperature", (0.0, true), 2.0, "degrees");
    let timeout = reader.integer(section, "timeout_seconds", 1..=DAY_SECONDS, "seconds");
    let timeout_seconds = timeout.map_or(USUAL_TIMEOUT, |(seconds, _)| seconds);
    let longest = reader.integer(section, "longest_seconds", 1..=DAY_SECONDS, "seconds");
    if let Some((seconds, span)) = &longest
        && *seconds < timeout_seconds
    {
        let message = "the longest call is shorter than the longest silence in it".to_owned();
        let help =
            format!("a server may be silent for `timeout_seconds`, which is {timeout_seconds}: allow more than that");
        reader.problem(span.clone(), message, "too short", Some(help));
    }
    let price = read_price(reader, section);
    let whole = |found: Option<Found<u64>>| found.and_then(|(number, _)| u32::try_from(number).ok());
    let context_tokens = whole(context)?;
    let (word, _) = format?;
    Some(Model {
        name: name?,
        format: FORMATS.into_iter().find(|(known, _)| *known == word).map(|(_, format)| format)?,
        endpoint: endpoint?,
        model: model?.0,
        key,
        context_tokens,
        // A quarter of a small window, so that the larger part is the brief's.
        answer_tokens: whole(answer).unwrap_or(USUAL_ANSWER.min(context_tokens / 4)),
        tools,
        temperature: temperature.map(|(temperature, _)| temperature),
        timeout_seconds,
        longest_seconds: longest.map_or((USUAL_TIMEOUTS * timeout_seconds).min(DAY_SECONDS), |(seconds, _)| seconds),
        price,
    })
}

fn require(reader: &mut Reader, section: &Section<'_>, key: &str) {
    if !reader.wrote(section, key) {
        let message = format!("{} has no `{key}`", section.title());
        reader.problem(section.span.clone(), message, format!("expected `{key}`"), None);
    }
}

/// A name that goes into tables, records and commit messages; no two are the same.
fn read_name(reader: &mut Reader, section: &Section<'_>, names: &mut Vec<String>) -> Option<String> {
    require(reader, section, "name");
    let (name, span) = reader.text(section, "name", "a short name")?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let fits = name.len() <= 40 && name.bytes().all(inner) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !fits {
        let expected = "expected at most 40 lower-case letters, digits and inner `-`, `_`, `.`";
        reader.problem(span, "`name` is no short name", expected, None);
        return None;
    }
    if names.contains(&name) {
        let message = format!("there are two of {} with the name \"{name}\"", section.title());
        reader.problem(span, message, "already taken", Some("records go by the name: choose another".to_owned()));
        return None;
    }
    names.push(name.clone());
    Some(name)
}

fn read_endpoint(reader: &mut Reader, section: &Section<'_>) -> Option<String> {
    let (endpoint, span) = reader.text(section, "endpoint", "an address, as \"https://api.openai.com/v1\"")?;
    let url = reqwest::Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url.filter(reqwest::Url::has_host) else {
        let help =
            "for example \"https://api.openai.com/v1\", \"https://api.anthropic.com\" or \"http://localhost:8080/v1\"";
        reader.problem(span, "`endpoint` is no address", "expected http:// or https://", Some(help.to_owned()));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        // That is how keys get into addresses.
        reader.secrets.push(span.clone());
        let help = "a key goes into a variable named with `key_env`, or a file named with `key_file`".to_owned();
        reader.problem(span, "`endpoint` holds more than an address", "expected no @, ? or #", Some(help));
        return None;
    }
    Some(endpoint)
}

fn read_key(reader: &mut Reader, section: &Section<'_>) -> Option<KeySource> {
    let variable = reader.text(section, "key_env", "the name of a variable").filter(|(name, span)| {
        let fits = name.len() <= 100
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !fits {
            // Most likely the key itself.
            reader.secrets.push(span.clone());
            let help = "name the variable that holds the key, as `key_env = \"OPENAI_API_KEY\"`; the key itself stands in no file of \
                        the repository";
            reader.problem(span.clone(), "`key_env` is no name of a variable", "expected letters, digits and _", Some(help.to_owned()));
        }
        fits
    });
    let file = reader.text(section, "key_file", "a path").filter(|(file, span)| {
        let fits = Path::new(file).is_absolute() || file.starts_with("~/");
        if !fits {
            reader.secrets.push(span.clone());
            let help = "keys stay outside of the repository, for example in \"~/.config/nocturne/key\" with mode 0600";
            reader.problem(
                span.clone(),
                "`key_file` is no whole path",
                "expected / or ~/ at its beginning",
                Some(help.to_owned()),
            );
        }
        fits
    });
    if section.has("key_env") && section.has("key_file") {
        let help = Some("keep one place of the key".to_owned());
        let message = format!("{} has both `key_env` and `key_file`", section.title());
        reader.problem(section.key_span("key_file"), message, "a second key", help);
        return None;
    }
    let variable = variable.map(|(name, _)| KeySource::Variable(name));
    variable.or(file.map(|(file, _)| KeySource::File(PathBuf::from(file))))
}

fn read_price(reader: &mut Reader, section: &Section<'_>) -> Price {
    let mut price = |key: &str| {
        let found = reader.number(section, key, (0.0, true), MOST_PRICE, "US dollars per million tokens");
        found.map(|(price, _)| price)
    };
    let (input, cached, output) = (price("input_price"), price("cached_input_price"), price("output_price"));
    for (there, missing) in [("input_price", "output_price"), ("output_price", "input_price")] {
        if section.has(there) && !reader.wrote(section, missing) {
            let help = format!("add `{missing}` (0 where it is free)");
            let message = format!("{} has `{there}` without `{missing}`", section.title());
            reader.problem(section.key_span(there), message, "half a price", Some(help));
        }
    }
    if section.has("cached_input_price") && !reader.wrote(section, "input_price") {
        let help = Some("add `input_price` and `output_price`".to_owned());
        let message = format!("{} has `cached_input_price` without `input_price`", section.title());
        reader.problem(section.key_span("cached_input_price"), message, "half a price", help);
    }
    // Who does not say that the server's cache is cheaper pays in full.
    let input = input.unwrap_or(0.0);
    Price { input, cached: cached.unwrap_or(input), output: output.unwrap_or(0.0) }
}

/// Reads the coding agents.
pub(super) fn read_coding_agents(reader: &mut Reader, top: &Section<'_>) -> Vec<CodingAgent> {
    let (mut agents, mut names) = (Vec::new(), Vec::new());
    for section in reader.tables(top, "coding_agents", MOST) {
        let name = read_name(reader, &section, &mut names);
        require(reader, &section, "command");
        let command = reader.words(&section, "command", "a program and its arguments").filter(|(words, span)| {
            let program = words.first().is_some_and(|(program, _)| !program.trim().is_empty());
            let nul = words.iter().any(|(word, _)| word.contains('\0'));
            if !program || nul {
                let help =
                    "for example `command = [\"claude\", \"-p\", \"--permission-mode\", \"acceptEdits\"]`".to_owned();
                reader.problem(span.clone(), "`command` names no program", "expected a program first", Some(help));
            }
            program && !nul
        });
        let minutes = reader.number(&section, "minutes", (0.0, false), 24.0 * 60.0, "minutes");
        let minutes = minutes.map_or(CodingAgent::USUAL_MINUTES, |(minutes, _)| minutes);
        let command = command.map(|(words, _)| words.into_iter().map(|(word, _)| word).collect());
        agents.extend(name.zip(command).map(|(name, command)| CodingAgent { name, command, minutes }));
    }
    agents
}

/// Proposers that are named but not described; those that are described but no proposers were named join the usual ones.
pub(super) fn match_proposers(reader: &mut Reader, top: &Section<'_>, night: &mut Night) {
    let section = reader.section(top, "night");
    for (proposer, list) in [(ProposerName::Models, "models"), (ProposerName::Agents, "coding_agents")] {
        if !section.has("proposers") {
            night.proposers.extend(top.has(list).then_some(proposer));
        } else if night.proposers.contains(&proposer) && !reader.wrote(top, list) {
            let message = format!("`proposers` names \"{}\", and there is no [[{list}]]", proposer.name());
            let help = format!("describe one in a section `[[{list}]]`, or remove \"{}\"", proposer.name());
            reader.problem(section.key_span("proposers"), clean(&message), "nobody to ask", Some(help));
        }
    }
}
