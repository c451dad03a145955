//! The answer of a night in two sentences, and a word that can be read from across the room.

use maud::{Markup, html};

use super::{percent, short};
use crate::axis::usable;
use crate::plots::change;
use crate::text::{self, clean, counted, duration, metric, signed};
use crate::view::{ClaimView, ExperimentView, NightView};

/// What a night comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The champion is better, on fresh seeds and sealed text.
    Confirmed,
    /// Something was kept, and fresh seeds do not show that it is better, or were not asked.
    Unconfirmed,
    /// What was claimed is taken back.
    Withdrawn,
    /// The start is still the champion.
    Nothing,
    /// The start has no metric.
    Unmeasured,
}

impl Outcome {
    pub(crate) fn of(night: &NightView) -> Self {
        let claim = night.claim.as_ref();
        match (night.baseline.filter(|value| usable(*value)), claim) {
            (None, _) => Outcome::Unmeasured,
            (_, Some(claim)) if claim.withdrawn.is_some() => Outcome::Withdrawn,
            _ if night.champion_number == 0 => Outcome::Nothing,
            (_, Some(claim)) if claim.holds => Outcome::Confirmed,
            _ => Outcome::Unconfirmed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Confirmed => "Confirmed",
            Outcome::Unconfirmed => "Not confirmed",
            Outcome::Withdrawn => "Withdrawn",
            Outcome::Nothing => "Nothing found",
            Outcome::Unmeasured => "Not measured",
        }
    }
}

/// The word, the two sentences, and where the champion is.
pub(super) fn answer(night: &NightView) -> Markup {
    let outcome = Outcome::of(night);
    let commit = short(&night.champion_commit);
    html! {
        p.outcome { strong class=(if outcome == Outcome::Confirmed { "badge good" } else { "badge" }) { (outcome.word()) } }
        p.answer { (found(night, outcome)) " " (cost(night)) }
        @if night.champion_number != 0 && !commit.is_empty() {
            p.where {
                "The champion is #" (night.champion_number) ", commit " code { (commit) }
                @if !night.champion_branch.is_empty() { " on branch " code { (clean(&night.champion_branch)) } }
                "."
            }
        }
    }
}

/// From start to champion, and whether that is so.
fn found(night: &NightView, outcome: Outcome) -> String {
    let (name, unit) = (clean(&night.metric), clean(&night.metric_unit));
    let usable_of = |value: Option<f64>| value.filter(|value| usable(*value));
    let start = metric(usable_of(night.baseline));
    let way = match (usable_of(night.baseline), usable_of(night.champion)) {
        (Some(from), Some(to)) => format!("from {} to {} {unit} ({})", start, metric(Some(to)), change(from, to)),
        _ => format!("from {start} {unit} to a champion without one"),
    };
    let measured = night.claim.as_ref().and_then(|claim| claimed(claim, &unit));
    match (outcome, measured) {
        (Outcome::Unmeasured, _) => format!("The night's start has no {name}, so nothing can be compared with it."),
        (Outcome::Nothing, _) => format!("Nothing better was found: {name} stays at {start} {unit}."),
        (Outcome::Withdrawn, _) if night.champion_number == 0 => {
            format!("What the night claimed is withdrawn: {name} stays at {start} {unit}.")
        }
        (Outcome::Withdrawn, _) => {
            format!("What the night claimed is withdrawn; of what still stands, {name} seems to have gone {way}.")
        }
        (Outcome::Confirmed, Some(claimed)) => {
            format!(
                "The champion is better than the night's start, by {claimed} on fresh seeds and sealed text; the search saw {name} go {way}."
            )
        }
        (Outcome::Confirmed, None) => {
            format!(
                "The champion is better than the night's start on fresh seeds and sealed text; the search saw {name} go {way}."
            )
        }
        (Outcome::Unconfirmed, Some(claimed)) => {
            format!(
                "The champion is not shown to be better than the night's start: {claimed} on fresh seeds and sealed text; the search saw {name} go {way}."
            )
        }
        (Outcome::Unconfirmed, None) => {
            format!(
                "The search saw {name} go {way}, and nothing was measured on fresh seeds and sealed text that would confirm it."
            )
        }
    }
}

/// The claim's figures; `None` where nothing was measured.
fn claimed(claim: &ClaimView, unit: &str) -> Option<String> {
    let difference = claim.difference.filter(|value| usable(*value))?;
    Some(match claim.interval {
        Some(bounds) => format!("{} {unit} (95 % interval {})", signed(Some(difference)), text::interval(bounds)),
        None => format!("{} {unit}, without an interval,", signed(Some(difference))),
    })
}

/// Hours, money, and what came of how many experiments.
fn cost(night: &NightView) -> String {
    let share = percent(night.seconds_training / night.seconds_total);
    let share = if share == "–" { String::new() } else { format!(" ({share} of it training)") };
    // Taking a kept change out again is no idea.
    let ideas: Vec<&ExperimentView> =
        night.experiments.iter().filter(|experiment| !night.leaves_out(experiment)).collect();
    let kept = ideas.iter().filter(|experiment| experiment.is_kept()).count();
    let waiting = match super::decisions::waiting(night).len() {
        0 => "none waits for you".to_owned(),
        1 => "1 waits for you".to_owned(),
        count => format!("{count} wait for you"),
    };
    format!(
        "The night took {}{share} and {}; it kept {kept} of {}, and {waiting}.",
        duration(night.seconds_total),
        money(night),
        counted(ideas.len(), "experiment")
    )
}

/// What was spent on language models and agents, as far as anybody knows.
fn money(night: &NightView) -> String {
    let asked: Vec<Option<f64>> =
        night.models.iter().filter(|model| model.calls > 0).map(|model| model.dollars).collect();
    let known: f64 = asked.iter().flatten().filter(|dollars| dollars.is_finite()).sum();
    let unknown = asked.iter().any(|dollars| dollars.is_none_or(|dollars| !dollars.is_finite()));
    match (asked.is_empty(), unknown) {
        (true, _) => "no money (no language model was asked)".to_owned(),
        (false, false) => format!("{known:.2} US dollars for language models"),
        (false, true) if known > 0.0 => {
            format!("{known:.2} US dollars for language models (what agents took is not known)")
        }
        (false, true) => "money that nobody counted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{LeftOutView, ModelView, Verdict};

    fn night() -> NightView {
        NightView {
            metric: "val_bpb".into(),
            metric_unit: "bits per byte".into(),
            baseline: Some(1.8423),
            champion: Some(1.8423),
            experiments: vec![ExperimentView::default(), ExperimentView::default()],
            seconds_total: 25_500.0,
            seconds_training: 19_890.0,
            ..NightView::default()
        }
    }

    fn told(night: &NightView) -> String {
        let markup = answer(night).into_string();
        let mut inside = false;
        let markup = markup.replace("</p>", "\n");
        markup
            .chars()
            .filter(|c| {
                inside = (inside || *c == '<') && *c != '>';
                !inside && *c != '>'
            })
            .collect()
    }

    #[test]
    fn each_outcome_has_its_two_sentences() {
        let mut night = night();
        let mut all = vec![told(&night)];
        (night.experiments[1].number, night.experiments[1].verdict) = (2, Some(Verdict::Kept));
        (night.champion, night.champion_number, night.waiting) = (Some(1.8239), 2, vec![2]);
        night.champion_commit = "0123456789abcdef0123456789abcdef01234567".into();
        night.champion_branch = "nocturne/q/n/champion".into();
        all.push(told(&night));
        let claim = ClaimView {
            holds: true,
            difference: Some(-0.0166),
            interval: Some((-0.0186, -0.0146)),
            pairs: 6,
            ..ClaimView::default()
        };
        night.claim = Some(claim.clone());
        night.experiments.push(ExperimentView {
            number: 3,
            verdict: Some(Verdict::Discarded),
            ..ExperimentView::default()
        });
        night.left_out = vec![LeftOutView { number: 3, of: Some(2), ..LeftOutView::default() }];
        night.models = vec![ModelView { calls: 3, dollars: Some(4.31), ..ModelView::default() }];
        all.push(told(&night));
        night.claim = Some(ClaimView { holds: false, interval: Some((-0.0186, 0.0146)), ..claim.clone() });
        night.models.push(ModelView { calls: 1, dollars: None, ..ModelView::default() });
        all.push(told(&night));
        night.claim = Some(ClaimView { withdrawn: Some("it cheats".into()), ..claim });
        night.models.remove(0);
        all.push(told(&night));
        night.champion_number = 0;
        all.push(told(&night));
        (night.baseline, night.seconds_total) = (Some(f64::NAN), 0.0);
        all.push(told(&night));
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
