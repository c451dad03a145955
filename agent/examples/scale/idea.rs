//! What is proposed: ideas of the playbook, changed numbers of the recipe, and both together in the words of models. All edits are
//! real ones, fitted to the champion's files and passed by the policy.

use std::collections::BTreeSet;

use nocturne::edit::{CheckedPatch, Policy};
use nocturne::flow::{Author, Edit, Proposal, SourceFile};
use nocturne::propose::{Idea, Playbook};

use crate::chance::Chance;

const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// Numbers of the recipe that may be anything near what they are, with the family that the tuner gives them.
const NUMBERS: [(&str, &str); 14] = [
    ("matrix_rate", "rates"),
    ("embedding_rate", "rates"),
    ("value_embedding_rate", "rates"),
    ("head_rate", "rates"),
    ("residual_rate", "rates"),
    ("skip_rate", "rates"),
    ("embedding_std", "initial"),
    ("matrix_std", "initial"),
    ("skip_scalar", "initial"),
    ("rotary_base", "position"),
    ("softcap", "loss"),
    ("muon_momentum_steps", "optimizer"),
    ("weight_decay", "optimizer"),
    ("short_window", "attention"),
];

/// Models by the names that campaigns give them, with dollars per million tokens of request and answer.
pub const MODELS: [(&str, f64, f64); 3] = [("careful", 3.0, 15.0), ("quick", 0.25, 1.25), ("local", 0.0, 0.0)];

/// What a page must show and never do. One model's idea in forty says one of these.
const HOSTILE: [&str; 5] = [
    "<script>window.hostile = true</script>",
    "<img src=x onerror=\"window.hostile = true\">",
    "\"><svg onload=window.hostile=true>",
    "[click](javascript:window.hostile=true) & 'quoted' \"words\" </textarea></title></style>",
    "a\u{202e}desrever\u{202c} word, {{ braces }}, ${dollars}, and an emoji 🌙",
];

/// An idea that has been fitted to its champion.
pub struct Fitted {
    /// In its author's words.
    pub proposal: Proposal,
    /// Its commit.
    pub patch: CheckedPatch,
}

/// Draws ideas until one fits the champion's files and is new in the night.
pub fn draw(
    chance: &mut Chance,
    playbook: &Playbook,
    files: &[SourceFile],
    tried: &mut BTreeSet<String>,
) -> Result<Fitted, String> {
    let policy = Policy::default();
    for _ in 0..200 {
        let Some(proposal) = proposal(chance, playbook, files) else { continue };
        let Ok(patch) = CheckedPatch::check(&proposal, files, &policy) else { continue };
        if tried.insert(patch.digest().to_owned()) {
            return Ok(Fitted { proposal, patch });
        }
    }
    Err("200 ideas in a row did not fit or were not new; the recipe's numbers may have other names now".to_owned())
}

fn proposal(chance: &mut Chance, playbook: &Playbook, files: &[SourceFile]) -> Option<Proposal> {
    let kind = chance.uniform();
    let (number, other) = (number(chance, files)?, number(chance, files)?);
    let idea = chance.pick(playbook.ideas());
    let key = chance.digest()[..16].to_owned();
    if kind < 0.12 {
        return Some(idea.proposal());
    }
    if kind < 0.45 {
        return Some(Proposal {
            title: number.title(),
            hypothesis: format!(
                "{} is {} in the recipe. The nights before have not told on which side of that the best value lies.",
                number.name, number.from
            ),
            source: "a step of the recipe's number".to_owned(),
            family: number.family.to_owned(),
            predicted_effect: Some(chance.between(-0.01, 0.0)),
            confidence: Some(chance.between(0.2, 0.5)),
            edits: vec![number.edit()],
            author: author("tuner", None, 0.0),
            key,
        });
    }
    if kind < 0.60 && number.name != other.name {
        return Some(Proposal {
            title: shortened(&format!("{} and {}", number.title(), other.title().to_lowercase())),
            hypothesis: format!("Each of {} and {} looked promising by itself.", number.name, other.name),
            source: "near misses of this night".to_owned(),
            family: number.family.to_owned(),
            predicted_effect: Some(chance.between(-0.02, 0.0)),
            confidence: Some(chance.between(0.3, 0.6)),
            edits: vec![number.edit(), other.edit()],
            author: author("combine", None, 0.0),
            key,
        });
    }
    Some(of_a_model(chance, idea, &number, key))
}

/// A model's idea: one of the playbook's in other words, with a number that it says goes with it. The longest texts are these.
fn of_a_model(chance: &mut Chance, idea: &Idea, number: &Number, key: String) -> Proposal {
    let (model, input, output) = *chance.pick(&MODELS);
    let cost = (chance.between(9e3, 4e4) * input + chance.between(400.0, 4e3) * output) / 1e6;
    let mut title = format!("{}, with {} at {}", idea.title, number.name, number.to);
    let mut hypothesis = format!(
        "{}\n\nThe number {} has to follow: at {} the update of the matrices concerned keeps its size, while at {} it would grow by about \
         {:.0} % over the run. What the last trials show of the norm of the gradients agrees with that. If this is wrong, the curve will \
         fall behind its champion's within the first fifth of the budget, and the trial can be stopped there.",
        idea.hypothesis,
        number.name,
        number.to,
        number.from,
        chance.between(5.0, 40.0)
    );
    if chance.happens(0.025) {
        let hostile = chance.pick(&HOSTILE);
        title = format!("{hostile} {title}");
        hypothesis = format!("{hostile}\n\n{hypothesis}");
    }
    let mut edits = idea.edits.clone();
    edits.push(number.edit());
    Proposal {
        title: shortened(&title),
        hypothesis,
        source: idea.source.clone(),
        family: idea.family.clone(),
        predicted_effect: Some(chance.between(-0.04, -0.002)),
        confidence: Some(chance.between(0.3, 0.8)),
        edits,
        author: author("models", Some(model), cost),
        key,
    }
}

fn author(proposer: &str, model: Option<&str>, cost_usd: f64) -> Author {
    Author { proposer: proposer.to_owned(), model: model.map(str::to_owned), cost_usd }
}

fn shortened(title: &str) -> String {
    title.chars().take(72).collect::<String>().trim_end().to_owned()
}

/// A number of the recipe and what it is to become.
struct Number {
    name: &'static str,
    family: &'static str,
    from: String,
    to: String,
}

impl Number {
    fn title(&self) -> String {
        let raised = self.to.parse::<f64>().ok() > self.from.parse::<f64>().ok();
        format!("{} {} from {} to {}", if raised { "Raise" } else { "Lower" }, self.name, self.from, self.to)
    }

    fn edit(&self) -> Edit {
        // With the line's indentation, so that `weight_decay` is not found in `final_weight_decay`.
        let line = |value: &str| format!("            {}: {value},", self.name);
        Edit { path: RECIPE.to_owned(), search: line(&self.from), replace: line(&self.to) }
    }
}

/// A number of the recipe as the files have it, and another value for it; `None` where the files have no such number.
fn number(chance: &mut Chance, files: &[SourceFile]) -> Option<Number> {
    let (name, family) = *chance.pick(&NUMBERS);
    let text = &files.iter().find(|file| file.path == RECIPE)?.text;
    let prefix = format!("            {name}: ");
    let from = text.lines().find_map(|line| line.strip_prefix(&prefix)?.strip_suffix(','))?;
    let value: f64 = from.parse().ok()?;
    let value = value * chance.between(-0.9, 0.9).exp2();
    // Champions move on; what has got too far off stays where it is.
    if !(1e-6..1e6).contains(&value) {
        return None;
    }
    // Three digits, as a person would write it, and never nothing after the point.
    let digits = (2 - value.log10().floor() as i32).clamp(0, 8);
    let mut to = format!("{value:.*}", usize::try_from(digits).ok()?);
    if !to.contains('.') {
        to += ".0";
    }
    Some(Number { name, family, from: from.to_owned(), to })
}
