//! The champion in a brief: its files, and what its last run showed.

use super::sections::piece;
use super::window::{Piece, Section};
use crate::flow::{Brief, SourceFile, Telemetry};
use crate::llm::spend::estimated_tokens;
use crate::run::{MeasuredStep, resident};

/// Parts of the budget at which a curve is told.
const CURVE_PARTS: usize = 16;

/// Lines from which on a part of a file that is shown in parts may end.
const PART_LINES: usize = 24;

/// Which files are worth most when not all can be shown: those in which a change takes fewest words.
const ORDER: [(&str, f64); 4] = [("recipe.rs", 1.0), ("training.rs", 0.9), ("optimizer.rs", 0.8), ("model.rs", 0.7)];

/// The files that may be edited, whole where the window has room for all of them twice, else in parts.
pub(super) fn files(files: &[SourceFile], window: u64) -> Section {
    let whole = 2 * files.iter().map(|file| estimated_tokens(&file.text)).sum::<u64>() <= window;
    let rank = |file: &SourceFile| ORDER.iter().position(|(name, _)| file.path.ends_with(name)).unwrap_or(ORDER.len());
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by_key(|file| (rank(file), file.path.as_str()));
    let list: Vec<String> =
        sorted.iter().map(|file| format!("`{}` ({} lines)", file.path, file.text.lines().count())).collect();
    let head = format!(
        "These files, and no others, may be edited: {}. They are shown as they are now; the fences around them are no part of them.\n\n",
        list.join(", ")
    );
    let pieces = sorted.iter().flat_map(|file| {
        let worth = ORDER.get(rank(file)).map_or(0.5, |(_, worth)| *worth);
        if whole { vec![piece(fenced(&file.path, &file.text), worth)] } else { parts(file, worth) }
    });
    let title = "The champion's files".to_owned();
    Section { title, head, pieces: pieces.collect(), worth: 50.0, what: "parts of files" }
}

/// A file in parts that end between items.
fn parts(file: &SourceFile, worth: f64) -> Vec<Piece> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut parts = Vec::new();
    let mut first = 0;
    for end in 1..=lines.len() {
        let between = end == lines.len()
            || (end - first >= PART_LINES && lines[end - 1].trim().is_empty() && !lines[end].starts_with([' ', '}']));
        if between {
            let title = format!("{}, lines {} to {end}", file.path, first + 1);
            parts.push(piece(fenced(&title, &lines[first..end].join("\n")), worth));
            first = end;
        }
    }
    parts
}

/// A text between fences that it cannot close.
pub(crate) fn fenced(title: &str, text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{title}:\n{fence}rust\n{}\n{fence}\n\n", text.trim_end_matches('\n'))
}

/// The champion's last run, where there is one on record.
pub(super) fn run(brief: &Brief) -> Option<Section> {
    let telemetry = brief.details.champion.as_ref()?;
    let title = "The champion's last run".to_owned();
    Some(Section { title, head: told(telemetry), pieces: Vec::new(), worth: 20.0, what: "lines" })
}

fn told(telemetry: &Telemetry) -> String {
    let Telemetry { experiment, val_bpb, trained, curve, measured, evaluation_seconds } = telemetry;
    let mut text = match experiment {
        0 => "The champion is the night's start.\n".to_owned(),
        number => format!("The champion is this night's experiment {number}.\n"),
    };
    if !val_bpb.is_empty() {
        let figures: Vec<String> = val_bpb.iter().map(|figure| format!("{figure:.4}")).collect();
        text.push_str(&format!("- val_bpb under {} seeds: {}\n", val_bpb.len(), figures.join(", ")));
    }
    let milliseconds = 1e3 * trained.training_seconds / trained.steps.max(1) as f64;
    text.push_str(&format!(
        "- {} optimizer steps of {:.1} ms on average, {:.3} million tokens, in {:.1} s of training\n",
        trained.steps,
        milliseconds,
        trained.tokens as f64 / 1e6,
        trained.training_seconds
    ));
    text.push_str(&format!(
        "- {:.3} million parameters; at most {:.0} MB of memory\n",
        trained.parameters as f64 / 1e6,
        trained.peak_memory_bytes as f64 / 1e6
    ));
    let points = told_curve(curve);
    if !points.is_empty() {
        let points: Vec<String> = points.iter().map(|(at, loss)| format!("{:.0} %: {loss:.3}", at * 100.0)).collect();
        text.push_str(&format!("- training loss (nats per token) along the budget: {}\n", points.join(", ")));
    }
    text.push_str(&told_measured(measured));
    text.push_str(&format!("- its evaluation took {evaluation_seconds:.1} s, outside the budget\n"));
    text
}

/// Where a step's time goes and how large gradients are, by the trainer's word. Names of groups were checked when they came in.
fn told_measured(steps: &[MeasuredStep]) -> String {
    let median = |of: &dyn Fn(&MeasuredStep) -> f64| {
        let mut all: Vec<f64> = steps.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let parts = [
        ("forward", median(&|step| step.measured.forward)),
        ("backward", median(&|step| step.measured.backward)),
        ("optimizer", median(&|step| step.measured.optimizer)),
        ("data", median(&|step| step.measured.data)),
        ("rest", median(&|step| step.measured.rest)),
    ];
    let whole: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
    if whole <= 0.0 {
        return String::new();
    }
    let share =
        |(name, seconds): &(&str, f64)| format!("{name} {:.1} ms ({:.0} %)", 1e3 * seconds, 100.0 * seconds / whole);
    let mut text = format!(
        "- where the time of a step goes, by the trainer's word, medians of {} sampled steps: {}\n",
        steps.len(),
        parts.iter().map(share).collect::<Vec<_>>().join(", ")
    );
    if let Some([(first, before), (last, after)]) = resident(steps) {
        text.push_str(&format!(
            "- resident memory, by its word: {:.0} MB at step {first}, {:.0} MB at step {last}\n",
            before as f64 / 1e6,
            after as f64 / 1e6
        ));
    }
    let norms: Vec<String> = steps
        .iter()
        .filter_map(|step| Some(format!("{:.0} %: {}", 100.0 * step.fraction, figure(step.measured.gradient_norm?))))
        .collect();
    if !norms.is_empty() {
        text.push_str(&format!("- norm of all gradients along the budget, by its word: {}\n", norms.join(", ")));
    }
    if let Some(step) = steps.iter().rfind(|step| !step.measured.groups.is_empty()) {
        let groups = step.measured.groups.iter().map(|(name, norm)| format!("`{name}` {}", figure(*norm)));
        text.push_str(&format!(
            "- by group of parameters at {:.0} %: {}\n",
            100.0 * step.fraction,
            groups.collect::<Vec<_>>().join(", ")
        ));
    }
    text
}

/// Three figures of a number of any size.
fn figure(value: f64) -> String {
    if value == 0.0 || (0.001..1000.0).contains(&value) { format!("{value:.3}") } else { format!("{value:.2e}") }
}

/// Mean losses over equal parts of the budget, each at its end.
fn told_curve(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let parts = CURVE_PARTS as f64;
    let of = |part: usize| {
        let (from, to) = (part as f64 / parts, (part + 1) as f64 / parts);
        let last = part + 1 == CURVE_PARTS;
        let inside: Vec<f64> =
            curve.iter().filter(|(at, _)| *at >= from && (*at < to || last)).map(|(_, loss)| *loss).collect();
        (!inside.is_empty()).then(|| (to, inside.iter().sum::<f64>() / inside.len() as f64))
    };
    (0..CURVE_PARTS).filter_map(of).collect()
}
