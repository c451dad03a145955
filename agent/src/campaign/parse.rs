//! From the text of the two files to a [`Campaign`]: what each key means, its limits and its default.

use std::ops::Range;
use std::path::Path;

use protocol::{Budget, Scale};
use sandbox::Level;
use toml::de::DeTable;

use super::models::{CodingAgent, Model, Spending};
use super::parse_data::read_data;
use super::parse_models::{match_proposers, read_coding_agents, read_models};
use super::parse_rules::{OldRules, read_rules};
use super::reader::{Reader, Section};
use super::{
    Campaign, CampaignName, Data, Device, Evaluation, Machine, Night, PrecisionChoice, Problem, Problems, ProposerName,
    Rules, Sandbox,
};

const WEEK_SECONDS: f64 = 7.0 * 24.0 * 3600.0;

impl Campaign {
    /// Reads a campaign from the text of its two files. `file_name` is the path of `campaign.toml` as the person should read it in
    /// messages; its folder is where relative data files are looked for.
    ///
    /// # Errors
    /// All problems of `campaign.toml`, in the order of the file.
    pub fn parse(
        name: CampaignName,
        toml_text: &str,
        program_text: &str,
        file_name: impl AsRef<Path>,
    ) -> Result<Self, Problems> {
        Self::parse_with(name, toml_text, program_text, file_name, OldRules::Refused)
    }

    /// The same for the text that a night was recorded with: words of earlier versions are still understood, so that its experiments can
    /// be replayed.
    ///
    /// # Errors
    /// As [`Campaign::parse`].
    pub fn parse_recorded(
        name: CampaignName,
        toml_text: &str,
        program_text: &str,
        file_name: impl AsRef<Path>,
    ) -> Result<Self, Problems> {
        Self::parse_with(name, toml_text, program_text, file_name, OldRules::Understood)
    }

    fn parse_with(
        name: CampaignName,
        toml_text: &str,
        program_text: &str,
        file_name: impl AsRef<Path>,
        old_rules: OldRules,
    ) -> Result<Self, Problems> {
        let file_name = file_name.as_ref();
        let refuse = |mut list: Vec<Problem>, secrets: &[Range<usize>]| {
            list.sort_by_key(|problem| (problem.span.start, problem.span.end));
            Problems { file: file_name.display().to_string(), text: without(toml_text, secrets), list }
        };
        let (table, errors) = DeTable::parse_recoverable(toml_text);
        if !errors.is_empty() {
            return Err(refuse(errors.iter().map(|error| not_toml(error, toml_text.len())).collect(), &[]));
        }
        let mut reader = Reader::default();
        let top = reader.top(table.get_ref(), toml_text.trim_end().len());
        let parts = read_parts(&mut reader, &top, old_rules);
        match parts {
            Some(parts) if reader.problems.is_empty() => Ok(Self {
                name,
                folder: file_name.parent().map(Path::to_path_buf).unwrap_or_default(),
                title: parts.title,
                goal: program_text.to_owned(),
                scale: parts.scale,
                budget: parts.budget,
                night: parts.night,
                data: parts.data,
                machine: parts.machine,
                sandbox: parts.sandbox,
                evaluation: parts.evaluation,
                rules: parts.rules,
                models: parts.models,
                spending: parts.spending,
                coding_agents: parts.coding_agents,
                campaign_sha256: crate::hash::sha256(toml_text.as_bytes()),
                program_sha256: crate::hash::sha256(program_text.as_bytes()),
            }),
            _ => Err(refuse(reader.problems, &reader.secrets)),
        }
    }
}

/// The text with nothing to be read of its secrets, every byte where it was.
fn without(text: &str, secrets: &[Range<usize>]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        // A value may span lines; places after it are counted by them.
        let hidden: Option<String> = text
            .get(secret.clone())
            .map(|shown| shown.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect());
        if let Some(hidden) = hidden {
            text.replace_range(secret.clone(), &hidden);
        }
    }
    text
}

fn not_toml(error: &toml::de::Error, end: usize) -> Problem {
    let message = error.message().lines().next().unwrap_or("cannot be read");
    let (message, expected) = match message.split_once(", expected ") {
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (message, "cannot be read on from here".to_owned()),
    };
    Problem {
        message: format!("not TOML: {}", crate::terminal::clean(message)),
        expected: crate::terminal::clean(&expected),
        help: None,
        span: error.span().unwrap_or(end..end),
    }
}

struct Parts {
    title: String,
    scale: Scale,
    budget: Budget,
    night: Night,
    data: Data,
    machine: Machine,
    sandbox: Sandbox,
    evaluation: Evaluation,
    rules: Rules,
    models: Vec<Model>,
    spending: Spending,
    coding_agents: Vec<CodingAgent>,
}

/// `None` where something that has no default is missing or wrong; the reader then holds why.
fn read_parts(reader: &mut Reader, top: &Section<'_>, old_rules: OldRules) -> Option<Parts> {
    let title = read_title(reader, top);
    let scale = read_scale(reader, top);
    let budget = read_budget(reader, top);
    let mut night = read_night(reader, top);
    let data = read_data(reader, top, scale.unwrap_or(Scale::Cpu));
    let machine = read_machine(reader, top, scale.unwrap_or(Scale::Cpu));
    let sandbox = read_sandbox(reader, top);
    let evaluation = read_evaluation(reader, top);
    let rules = read_rules(reader, top, old_rules);
    let (models, spending) = read_models(reader, top);
    let coding_agents = read_coding_agents(reader, top);
    if let Some(night) = &mut night {
        match_proposers(reader, top, night);
    }
    refuse_trials_longer_than_the_night(reader, top, budget, night.as_ref());
    let (title, scale, budget, night, data) = (title?, scale?, budget?, night?, data?);
    Some(Parts {
        title,
        scale,
        budget,
        night,
        data,
        machine,
        sandbox,
        evaluation,
        rules,
        models,
        spending,
        coding_agents,
    })
}

fn read_title(reader: &mut Reader, top: &Section<'_>) -> Option<String> {
    if !reader.wrote(top, "title") {
        reader.problem(
            top.span.clone(),
            "`title` is missing",
            "expected a title",
            Some("add a line `title = \"...\"` at the top".to_owned()),
        );
    }
    let (title, span) = reader.text(top, "title", "one line for people")?;
    if title.chars().count() > 100 || title.chars().any(char::is_control) {
        reader.problem(span, "`title` is not one short line", "expected one line of at most 100 characters", None);
        return None;
    }
    Some(title)
}

fn read_scale(reader: &mut Reader, top: &Section<'_>) -> Option<Scale> {
    let words = Scale::ALL.map(Scale::name);
    if !reader.wrote(top, "scale") {
        let help = "add a line `scale = \"cpu\"` at the top (or \"gpu\", \"h100\")".to_owned();
        reader.problem(top.span.clone(), "`scale` is missing", "expected a scale", Some(help));
    }
    let (word, _) = reader.choice(top, "scale", &words)?;
    Scale::ALL.into_iter().find(|scale| scale.name() == word)
}

fn read_budget(reader: &mut Reader, top: &Section<'_>) -> Option<Budget> {
    let budget = reader.section(top, "budget");
    let seconds = reader.number(&budget, "seconds", (0.0, false), WEEK_SECONDS, "seconds");
    let tokens = reader.integer(&budget, "tokens", 1..=u64::MAX, "tokens");
    match (reader.wrote(&budget, "seconds"), reader.wrote(&budget, "tokens")) {
        (true, true) if budget.has("seconds") && budget.has("tokens") => {
            let help = "keep one: `seconds` is what a night is planned by, `tokens` is repeatable on a noisy machine";
            reader.problem(
                budget.key_span("tokens"),
                "[budget] has both `seconds` and `tokens`",
                "a second budget",
                Some(help.to_owned()),
            );
            None
        }
        (false, false) => {
            let help = "add a section `[budget]` with `seconds = 20` or `tokens = 1_000_000`".to_owned();
            reader.problem(
                budget.span.clone(),
                "the budget of a trial is missing",
                "expected `seconds` or `tokens`",
                Some(help),
            );
            None
        }
        _ => seconds.map(|(seconds, _)| Budget::Seconds(seconds)).or(tokens.map(|(tokens, _)| Budget::Tokens(tokens))),
    }
}

fn read_night(reader: &mut Reader, top: &Section<'_>) -> Option<Night> {
    let night = reader.section(top, "night");
    let experiments = reader.integer(&night, "experiments", 1..=100_000, "experiments");
    let hours = reader.number(&night, "hours", (0.0, false), 24.0 * 31.0, "hours");
    if !reader.wrote(&night, "experiments") && !reader.wrote(&night, "hours") {
        let help = "add `experiments = 8` or `hours = 9` (or both) to a section `[night]`".to_owned();
        reader.problem(night.span.clone(), "a night without a limit", "expected `experiments` or `hours`", Some(help));
    }
    let words = ProposerName::ALL.map(ProposerName::name);
    let mut proposers = Vec::new();
    if night.has("proposers") {
        for (word, span) in reader.texts(&night, "proposers", "proposers").into_iter().flat_map(|(texts, _)| texts) {
            match ProposerName::ALL.into_iter().find(|proposer| proposer.name() == word) {
                Some(proposer) => proposers.push(proposer),
                None => reader.unknown_word("proposers", &word, span, &words),
            }
        }
    } else {
        proposers.extend(ProposerName::USUAL);
    }
    let experiments = experiments.and_then(|(number, _)| u32::try_from(number).ok());
    Some(Night { experiments, hours: hours.map(|(hours, _)| hours), proposers })
}

fn read_machine(reader: &mut Reader, top: &Section<'_>, scale: Scale) -> Machine {
    let machine = reader.section(top, "machine");
    let device = reader.text(&machine, "device", "\"auto\", \"cpu\" or \"cuda:0\"").and_then(|(word, span)| {
        let device = device(&word);
        if device.is_none() {
            let help = match word.as_str() {
                "cuda" | "gpu" => Some("did you mean \"cuda:0\"?".to_owned()),
                _ => Some("\"auto\" takes the first CUDA device if there is one, else the CPU".to_owned()),
            };
            let message = format!("`device` cannot be \"{}\"", crate::terminal::clean(&word));
            reader.problem(span, message, "expected \"auto\", \"cpu\" or \"cuda:0\"", help);
        }
        device
    });
    let precision = reader.choice(&machine, "precision", &PrecisionChoice::ALL.map(PrecisionChoice::name));
    let devices = reader.integer(&machine, "devices", 1..=64, "devices that train at once");
    let threads = reader.integer(&machine, "threads", 0..=1_024, "threads (0 for all cores)");
    let grace = reader.number(&machine, "grace_seconds", (0.0, true), 3_600.0, "seconds");
    let reserve = reader.number(&machine, "disk_reserve_gb", (0.0, true), 1e6, "gigabytes");
    let foreign = reader.share(&machine, "most_foreign_load", (0.0, true), 1.0);
    let default_reserve = match scale {
        Scale::Cpu => 2.0,
        Scale::Gpu => 10.0,
        Scale::H100 => 20.0,
    };
    Machine {
        device: device.unwrap_or(Device::Auto),
        devices: devices.and_then(|(number, _)| usize::try_from(number).ok()).unwrap_or_else(Machine::one_device),
        precision: precision
            .and_then(|(word, _)| PrecisionChoice::ALL.into_iter().find(|choice| choice.name() == word))
            .unwrap_or(PrecisionChoice::Auto),
        threads: threads.and_then(|(number, _)| usize::try_from(number).ok()).unwrap_or(0),
        grace_seconds: grace.map_or(30.0, |(seconds, _)| seconds),
        disk_reserve_gb: reserve.map_or(default_reserve, |(gigabytes, _)| gigabytes),
        most_foreign_load: foreign.map_or_else(Machine::usual_foreign_load, |(share, _)| share),
    }
}

fn device(word: &str) -> Option<Device> {
    match word {
        "auto" => Some(Device::Auto),
        "cpu" => Some(Device::Cpu),
        _ => {
            let number = word.strip_prefix("cuda:").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            number.parse().ok().filter(|number| *number < 128).map(Device::Cuda)
        }
    }
}

fn read_sandbox(reader: &mut Reader, top: &Section<'_>) -> Sandbox {
    let sandbox = reader.section(top, "sandbox");
    let least = reader.choice(&sandbox, "least", &Level::ALL.map(Level::name));
    let memory = reader.number(&sandbox, "memory_gb", (0.5, true), 1e5, "gigabytes");
    let least = least.and_then(|(word, _)| Level::ALL.into_iter().find(|level| level.name() == word));
    Sandbox { least: least.unwrap_or(Sandbox::default().least), memory_gb: memory.map(|(gigabytes, _)| gigabytes) }
}

fn read_evaluation(reader: &mut Reader, top: &Section<'_>) -> Evaluation {
    let evaluation = reader.section(top, "evaluation");
    let limits = u64::from(*Evaluation::CUTS.start())..=u64::from(*Evaluation::CUTS.end());
    let cuts = reader.integer(&evaluation, "cuts", limits, "cuts");
    let cuts = cuts.and_then(|(number, _)| u32::try_from(number).ok());
    cuts.map_or_else(Evaluation::default, |cuts| Evaluation { cuts })
}

/// A night has to hold the baseline and one experiment.
fn refuse_trials_longer_than_the_night(
    reader: &mut Reader,
    top: &Section<'_>,
    budget: Option<Budget>,
    night: Option<&Night>,
) {
    let (Some(Budget::Seconds(seconds)), Some(hours)) = (budget, night.and_then(|night| night.hours)) else { return };
    if 2.0 * seconds > hours * 3_600.0 {
        let section = reader.section(top, "night");
        let message = format!("a night of {hours} h cannot hold the baseline and one experiment of {seconds} s each");
        let help = "raise `hours` in [night] or lower `seconds` in [budget]".to_owned();
        reader.problem(section.key_span("hours"), message, "too short for the budget", Some(help));
    }
}
