//! Ideas that look like one another: the same family and much the same words in the title. Nothing is refused for it; whoever proposes is
//! shown what became of the other, once, and says what is different or thinks of something else.

use crate::brief::quote::inline;
use crate::flow::PastExperiment;

/// How alike two titles have to be, from 0 to 1 (Sørensen and Dice on pairs of letters).
const ALIKE: f64 = 0.75;

/// Experiments that are shown.
const MOST_SHOWN: usize = 4;

/// Past experiments whose idea looks like one with this title, the most alike first; of its family where it is known.
pub(crate) fn alike<'a>(title: &str, family: Option<&str>, history: &'a [PastExperiment]) -> Vec<&'a PastExperiment> {
    let (title, family) = (plain(title), family.map(plain));
    let mut found: Vec<(f64, &PastExperiment)> = history
        .iter()
        .filter(|past| family.as_ref().is_none_or(|family| plain(&past.proposal.family) == *family))
        .map(|past| (strsim::sorensen_dice(&title, &plain(&past.proposal.title)), past))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(MOST_SHOWN).map(|(_, past)| past).collect()
}

/// Words without numbers, which differ between variants of one idea.
fn plain(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| c.is_alphabetic() || *c == ' ').collect()
}

/// A line for each: which it was, and what came of it.
pub(crate) fn told(alike: &[&PastExperiment]) -> String {
    let mut text = String::new();
    for past in alike {
        let outcome = past.verdict.map_or("still being tested", |verdict| verdict.name());
        let effect = past.difference.filter(|difference| difference.is_finite());
        let effect = effect.map_or_else(String::new, |difference| format!(", {difference:+.4} bits per byte"));
        text.push_str(&format!("- {}: `{}`: {outcome}{effect}\n", past.id, inline(&past.proposal.title, 80)));
    }
    text
}

/// What a model is asked about them. The idea that the queue asks for stays the idea, whatever was tried.
pub(super) fn question(alike: &[&PastExperiment], of_the_queue: bool) -> String {
    let what = match of_the_queue {
        true => {
            "The idea that you were asked to work out stays the one to test. If yours differs from these in substance, send the whole answer \
             again and let its hypothesis say how. Otherwise work it out so that it does, and send that, whole, with its lines.\n"
        }
        false => {
            "If yours differs in substance, or has become worth trying since, send the whole answer again and let its hypothesis say why. \
             Otherwise send another idea, whole, with its lines.\n"
        }
    };
    format!("Your edits fit. But the idea looks like what was tried before:\n\n{}\n{what}", told(alike))
}
