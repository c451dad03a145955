//! What is going on: the stage in a line, and what is tested.

use dashboards::site::{Fact, TrialNow, url};
use jiff::Timestamp;

use super::standing::difference;
use crate::flow::Purpose;
use crate::records::NightEnding;
use crate::serve::live::{Seen, Step, Testing};
use crate::store::Glance;

/// While the trainer loads.
pub(super) const STARTING: &str = "Starting";

/// What is going on in one line, and since when.
pub(super) fn stage(seen: &Seen, glance: &Glance, state: &str) -> (String, Option<Timestamp>) {
    let campaign = &glance.night.campaign;
    match (state, &glance.night.end) {
        ("running", _) => {}
        ("preparing", _) => {
            let words = "A night is being prepared, or gone on with: data, the first build and the red team come before anything of it is on record.";
            return (words.to_owned(), None);
        }
        (_, Some(end)) if end.detail.is_empty() => return (format!("Ended: {}.", ending(end.how)), None),
        (_, Some(end)) => return (format!("Ended: {}: {}", ending(end.how), end.detail), None),
        _ => {
            let words = format!("Cut off; `nocturne night experiments/{campaign}` goes on with it.");
            return (words, None);
        }
    }
    if let Some(testing) = &seen.doing.testing {
        let mut words = format!("{} {}", word(&testing.step), subject(seen, testing));
        if let Step::Waiting(why) = &testing.step {
            words = format!("{words}. {why}");
        }
        return (words, Some(testing.since));
    }
    if let Some(making) = &seen.doing.making {
        let who = match making.number {
            0 => "the night's start".to_owned(),
            number => format!("experiment {number}"),
        };
        let mut what = making.what.to_owned();
        what[..1].make_ascii_uppercase();
        return (format!("{what} {who}"), Some(making.since));
    }
    ("Between two steps".to_owned(), None)
}

fn ending(how: NightEnding) -> &'static str {
    match how {
        NightEnding::ExperimentsDone => "as many experiments as were asked for have their verdict",
        NightEnding::Deadline => "its time was up",
        NightEnding::NothingLeft => "no proposer had anything left",
        NightEnding::Stopped => "it was stopped by hand",
        NightEnding::Failed => "it could not go on",
        NightEnding::Abandoned => "it was given up for another night after it had been cut off",
    }
}

/// The stage's word, as the terminal has it; a run that is on record and has no loss yet is starting, see [`moving`].
fn word(step: &Step) -> &'static str {
    match step {
        Step::Waiting(_) => "Waiting with",
        Step::Starting | Step::Training => STARTING,
        Step::Verifying => "Verifying",
    }
}

/// What is tested: `experiment 4, run 2: Halve the batch`.
fn subject(seen: &Seen, testing: &Testing) -> String {
    let run = testing.trial;
    let who = match testing.number {
        0 => "the night's start".to_owned(),
        number => format!("experiment {number}"),
    };
    let morning = if testing.purpose == Purpose::Morning { " for the morning's claim" } else { "" };
    let title = seen.experiments.get(&testing.number).filter(|_| testing.number > 0);
    let title = title.map_or_else(String::new, |experiment| format!(": {}", experiment.proposal.title));
    format!("{who}, run {run}{morning}{title}")
}

pub(super) fn trial(seen: &Seen, glance: &Glance, testing: &Testing) -> TrialNow {
    let Some(experiment) = seen.experiments.get(&testing.number) else {
        return TrialNow { title: subject(seen, testing), ..TrialNow::default() };
    };
    let number = testing.number;
    let proposal = &experiment.proposal;
    let mut facts = vec![Fact::new("run", testing.trial.to_string())];
    if testing.purpose == Purpose::Morning {
        facts.push(Fact::new("for", "the morning's claim: fresh seed, sealed text"));
    }
    let of_it = glance.trials.iter().filter(|trial| trial.experiment.number == number);
    let measured = of_it.filter(|trial| trial.purpose == Purpose::Search).filter_map(|trial| trial.val_bpb());
    let measured: Vec<String> = measured.map(|value| format!("{value:.4}")).collect();
    if !measured.is_empty() {
        facts.push(Fact::new("val_bpb of its runs", measured.join(", ")));
    }
    if number > 0 {
        let author = &proposal.author;
        let by = author.model.as_ref().map_or_else(String::new, |model| format!(" ({model})"));
        facts.push(Fact::new("proposed by", format!("{}{by}", author.proposer)));
        if let Some(predicted) = proposal.predicted_effect {
            facts.push(Fact::new("predicted", format!("{} bits per byte", difference(predicted))));
        }
        if let Some(candidate) = &experiment.candidate {
            facts.push(Fact::new("lines", format!("+{} −{}", candidate.lines_added, candidate.lines_removed)));
        }
    }
    let title = match number {
        0 => "The night's start".to_owned(),
        number => format!("Experiment {number}: {}", proposal.title),
    };
    TrialNow {
        title,
        href: (number > 0).then(|| url::experiment(glance.night.id.as_str(), number)),
        hypothesis: proposal.hypothesis.clone(),
        facts,
        progress: None,
        progress_words: String::new(),
    }
}
