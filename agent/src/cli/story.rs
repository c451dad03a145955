//! Why an experiment ended as it did, and what a whole night adds up to, as `nocturne show` prints it. Pure.

use std::fmt::Write;

use super::models::models_text;
use crate::flow::{Evidence, Purpose};
use crate::records::ExperimentRecord;
use crate::report::{Account, ExperimentAccount, Foretold, TrialAccount};
use crate::terminal::{clean, fit};

/// Columns of a line of a story that are shown: it may quote what a trainer said.
const WORDS: usize = 600;

/// What the decision on an experiment rests on, line by line; each line is ended.
pub(super) fn experiment_text(experiment: &ExperimentRecord, account: &ExperimentAccount) -> String {
    let mut text = String::new();
    let mut line = |label: &str, words: String| {
        // Writing to a text cannot fail.
        let _infallible = writeln!(text, "{label:<11} {words}");
    };
    let decision = experiment.decision.as_ref();
    let evidence = decision.and_then(|decision| decision.evidence.as_deref());
    if let Some(difference) = account.difference {
        let against = match account.champion {
            0 => "the night's start".to_owned(),
            number => format!("experiment {number}"),
        };
        let error = evidence.map(|evidence| {
            let degrees = evidence.degrees;
            format!("; standard error {:.5} with {} degrees of freedom", evidence.standard_error, figure(degrees))
        });
        let interval = interval(account.interval);
        line("found:", format!("{difference:+.5} against {against}{interval}{}", error.unwrap_or_default()));
    }
    if let Some(evidence) = evidence.filter(|_| account.stands) {
        evidence_lines(evidence, &mut line);
    }
    let confidence = account.confidence.map(|confidence| format!(", with a confidence of {}", percent(confidence)));
    match (account.predicted, confidence) {
        (Some(effect), confidence) => line("predicted:", format!("{effect:+.5}{}", confidence.unwrap_or_default())),
        (None, Some(confidence)) => line("predicted:", format!("an improvement{confidence}")),
        (None, None) => {}
    }
    if let Some(val_bpb) = account.val_bpb {
        let of = match account.runs {
            1 => "its one search trial".to_owned(),
            runs => format!("the mean over its {runs} search trials, whichever seeds they had"),
        };
        line("val_bpb:", format!("{val_bpb:.6}: {of}"));
    }
    for (index, told) in account.story.iter().enumerate() {
        let label = if index == 0 { "story:" } else { "" };
        line(label, format!("{}. {}", index + 1, fit(&clean(told), WORDS)));
    }
    text + &trials_table(&account.trials, account.several_devices)
}

fn evidence_lines(evidence: &Evidence, line: &mut impl FnMut(&str, String)) {
    if let Some(forecast) = evidence.forecast {
        let words = "by what its trainer said of its loss, which nobody vouches for; it was stopped by that";
        line("forecast:", format!("{forecast:+.5} +/- {:.5} {words}", evidence.standard_error));
        return line("worth it:", format!("from {:.5} on, for the lines that it adds", evidence.least_effect));
    }
    let again = format!("{:+.5} when measured again{}", evidence.expected, interval(Some(evidence.expected_interval)));
    let sure = percent(evidence.probability);
    line("expected:", format!("{again}: corrected for having been picked; an improvement with {sure}"));
    line("worth it:", format!("from {:.5} on, for the lines that it adds", evidence.least_effect));
    let (run, pair) = (evidence.run_sd, evidence.pair_sd);
    line("noise:", format!("sd of a run {run:.5}, of two runs' difference under one seed {pair:.5}"));
    if evidence.near_miss {
        line("near miss:", "worth trying again with others, or on another champion".to_owned());
    }
}

/// Each trial with the index of its seed, and beside it the run of its champion under that seed; with its device, where the night had several.
fn trials_table(trials: &[TrialAccount], several_devices: bool) -> String {
    if trials.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "trials:\n  {:>3} {:>4}  {:<8} {:>9} {:>11} {:>10}  {}\n",
        "#", "seed", "purpose", "val_bpb", "paired with", "difference", "came to"
    );
    for trial in trials {
        let seed = trial.seed.map_or("-".to_owned(), |seed| seed.to_string());
        let value = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.6}"));
        let difference = trial.difference.map_or("-".to_owned(), |difference| format!("{difference:+.6}"));
        let row = format!(
            "  {:>3} {seed:>4}  {:<8} {:>9} {:>11} {difference:>10}  {}",
            trial.ordinal,
            trial.purpose.name(),
            value(trial.val_bpb),
            value(trial.paired_with),
            outcome(trial, several_devices)
        );
        text += row.trim_end();
        text += "\n";
    }
    let morning = trials.iter().any(|trial| trial.purpose == Purpose::Morning);
    let night_start = if morning { "; in the morning with the night's start, on the sealed text" } else { "" };
    text + &format!("  paired with its champion's run under the same seed{night_start}; seeds by their index\n")
}

fn outcome(trial: &TrialAccount, several_devices: bool) -> String {
    let mut words = match (&trial.rejected, trial.end) {
        (Some(check), _) => format!("rejected by check '{}'", clean(check)),
        (None, Some(end)) => end.replace('-', " "),
        (None, None) => "under way, or cut off".to_owned(),
    };
    if trial.would_stop.is_some() {
        words += "; looked hopeless, left to finish as a sample";
    }
    if trial.era > 0 {
        words += &format!("; after change {} of the machine", trial.era);
    }
    // The only one that there is needs no word.
    if let Some(device) = trial.device.as_deref().filter(|_| several_devices) {
        words += &format!("; on {}", clean(device));
    }
    if let Some(other) = &trial.pair_device {
        words += &format!(", its pair on {}", clean(other));
    }
    words
}

/// What a night adds up to, section by section; empty for a night that was decided without statistics.
pub(super) fn night_text(account: &Account) -> String {
    let mut sections = Vec::new();
    if let Some(noise) = &account.noise {
        let of = format!("{} runs of {} commits", noise.runs, noise.commits);
        let earlier = if noise.earlier_runs > 0 { ", comparable earlier nights included" } else { "" };
        sections.push(format!(
            "Noise: sd of one run {:.5} bits per byte ({} degrees of freedom), of two runs' difference under one seed {:.5} ({}); \
             correlation {:.2}.\n  From {of}{earlier}.",
            noise.run_sd,
            figure(noise.run_degrees),
            noise.pair_sd,
            figure(noise.pair_degrees),
            noise.correlation
        ));
    }
    if account.champions.len() > 1 {
        let steps = account.champions.iter().skip(1).map(|step| {
            let difference = step.difference.map_or("-".to_owned(), |difference| format!("{difference:+.5}"));
            let expected = step.expected.map(|expected| format!(", {expected:+.5} to be expected")).unwrap_or_default();
            let stands = if step.stands { "" } else { "; does not stand" };
            let title = clean(&step.title);
            format!("\n  {:>3}  {title}: {difference}{}{expected}{stands}", step.number, interval(step.interval))
        });
        sections.push(format!("Champions:{}", steps.collect::<String>()));
    }
    if let Some(withdrawal) = &account.withdrawal {
        let what = if account.claim.is_some() { "The morning's claim is withdrawn" } else { "Taken back" };
        sections.push(format!("{what}: {}.", clean(&withdrawal.words)));
    } else if let Some(claim) = &account.claim {
        let expected = account.expected_gain.map(|gain| {
            format!("\n  Of all kept changes together {gain:+.5} was to be expected; picking the lucky ones is corrected for.")
        });
        sections.push(format!("The morning's claim {}.{}", clean(&claim.words), expected.unwrap_or_default()));
    }
    if !account.left_out.is_empty() {
        let lines = account.left_out.iter().map(|left| {
            let difference = left.difference.map_or("-".to_owned(), |difference| format!("{difference:+.5}"));
            format!(
                "\n  {:>3}  {}: {difference}{}: {}",
                left.number,
                clean(&left.title),
                interval(left.interval),
                left.words
            )
        });
        sections.push(format!("Leaving one out:{}", lines.collect::<String>()));
    }
    if account.looks.iter().any(|looks| looks.all_nights > 0) {
        let lines = account.looks.iter().map(|looks| {
            let what = if looks.what_for.is_empty() {
                String::new()
            } else {
                format!(" for {}", clean(&looks.what_for.join(", ")))
            };
            format!(
                "\n  {:<6}  {} in this night{what}; {} in {} of the campaign",
                looks.part.name(),
                counted(looks.this_night, "evaluation"),
                looks.all_nights,
                counted(u64::from(looks.nights), "night")
            )
        });
        sections.push(format!("Looks at held-out text:{}", lines.collect::<String>()));
    }
    if let Some(early) = &account.early {
        let share = early
            .share_saved
            .map(|share| format!(", {} of what trials of discarded ideas would have taken", percent(share)));
        let mut text = format!(
            "Early stops: {} stopped, {:.0} s of training saved{}.",
            counted(u64::from(early.stopped), "trial"),
            early.seconds_saved,
            share.unwrap_or_default()
        );
        text += &match early.false_stops {
            None => {
                "\n  None was left to finish as a sample yet, so how often a stop is wrong is not known.".to_owned()
            }
            Some(stops) => format!(
                "\n  Of {} that looked hopeless and were left to finish, {} were kept in the end (95 % interval of the share: {} to {}).",
                stops.spared,
                stops.wrong,
                percent(stops.interval.0),
                percent(stops.interval.1)
            ),
        };
        sections.push(text);
    }
    if !account.models.is_empty() {
        let text = models_text(&account.models);
        sections.push(format!("Language models and coding agents:\n{}", text.trim_end()));
    }
    if account.foretold.iter().any(|one| one.predicted.is_some() || one.confidence.is_some()) {
        let lines = account.calibration.iter().map(|of| format!("\n  {}", clean(&of.words)));
        let each = account.foretold.iter().map(|one| format!("\n  {}", foretold(one)));
        sections.push(format!("Predictions, against what was found:{}", lines.chain(each).collect::<String>()));
    }
    sections.iter().map(|section| format!("\n{section}\n")).collect()
}

/// `  3  tuner: -0.00200 predicted, an improvement with 40 %; -0.00110 measured, -0.00080 to be expected, an improvement with 71 %`.
fn foretold(one: &Foretold) -> String {
    let sure = |share: Option<f64>| share.map(|share| format!(", an improvement with {}", percent(share)));
    let predicted = one.predicted.map_or("nothing".to_owned(), |effect| format!("{effect:+.5}"));
    let measured = one.measured.map_or("not measured".to_owned(), |effect| format!("{effect:+.5} measured"));
    let expected = one.expected.map(|effect| format!(", {effect:+.5} to be expected")).unwrap_or_default();
    format!(
        "{:>3}  {}: {predicted} predicted{}; {measured}{expected}{}",
        one.number,
        clean(&one.proposer),
        sure(one.confidence).unwrap_or_default(),
        sure(one.probability).unwrap_or_default()
    )
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map(|(low, high)| format!(" (95 % interval {low:+.5} to {high:+.5})")).unwrap_or_default()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Degrees of freedom: endless ones are those of a noise that is taken for known.
fn figure(degrees: f64) -> String {
    if degrees.is_finite() { format!("{degrees:.1}") } else { "endless".to_owned() }
}

fn counted(count: u64, singular: &str) -> String {
    format!("{count} {singular}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    use crate::flow::Verdict;
    use crate::records::WithdrawalRecord;
    use crate::report::fixture::{ledger, night};

    #[test]
    fn the_story_of_each_experiment_is_told() {
        let mut records = night();
        records.concluded.push((2, "not shown: the decision has a story of its own".to_owned()));
        let open = &mut records.experiments[3];
        open.decision = None;
        records.concluded.push((3, "1 trial: promising,\u{1b}[2J another trial".to_owned()));
        records.trials[5].trained = None;
        records.trials[6].era = 1;
        let mut shown = String::new();
        for experiment in &records.experiments {
            let number = experiment.id.number;
            let account = records.account_of(number).unwrap();
            shown += &format!("--- {number}\n{}", experiment_text(experiment, &account));
        }
        assert!(!shown.contains('\u{1b}'), "an escape sequence got through");
        assert!(!crate::report::fixture::SEEDS.iter().any(|seed| shown.contains(&seed.to_string())), "a seed is shown");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_trials_device_is_told_where_the_night_had_several() {
        let mut records = night();
        let told = |records: &crate::report::NightRecords| {
            experiment_text(&records.experiments[1], &records.account_of(1).unwrap())
        };
        records.trials.iter_mut().for_each(|trial| trial.device = Some("cuda:0".to_owned()));
        assert!(!told(&records).contains("on cuda"), "{}", told(&records));
        // The other device is another experiment's.
        let other = records.trials.iter_mut().find(|trial| trial.experiment.number == 2).unwrap();
        other.device = Some("cuda:1".to_owned());
        assert!(told(&records).contains("; on cuda:0"), "{}", told(&records));
    }

    #[test]
    fn what_a_night_adds_up_to_is_told() {
        insta::assert_snapshot!(night_text(&Account::of(&night(), &[], &ledger())));
    }

    #[test]
    fn a_claim_that_was_withdrawn_is_told_to_be_and_what_stands_is_named() {
        let mut records = night();
        let words = "the champion, experiment 1, was rejected when it ran under seed 5".to_owned();
        records.withdrawal = Some(WithdrawalRecord { experiment: 1, words: words.clone(), at: Timestamp::UNIX_EPOCH });
        assert_eq!((records.champion(), records.stands(0), records.stands(1)), (0, true, false));
        let account = Account::of(&records, &[], &ledger());
        assert_eq!(account.expected_gain, None);
        let shown = night_text(&account);
        assert!(shown.contains(&format!("The morning's claim is withdrawn: {words}.")), "{shown}");
        assert!(!shown.contains("claim holds") && shown.contains("; does not stand"), "{shown}");
        let view = records.view(&account, |_| String::new());
        assert!(view.claim.is_some_and(|claim| !claim.holds && claim.withdrawn == Some(words.clone())));
        assert!(view.warnings.iter().any(|warning| warning.contains(&words) && warning.contains("#0")));
        assert!(account.claim.as_ref().is_some_and(|claim| !claim.holds));
        let fallen = &view.experiments[0];
        assert!(fallen.has_fallen() && !fallen.is_kept(), "{fallen:?}");
        for (number, stands) in [(0, true), (1, false), (2, false)] {
            let account = records.account_of(number).unwrap();
            assert_eq!((account.stands, account.expected), (stands, None), "experiment {number}");
            let experiment = &records.experiments[number as usize];
            assert!(!experiment_text(experiment, &account).contains("expected:"));
        }
        records.claim = None;
        assert!(night_text(&Account::of(&records, &[], &[])).contains(&format!("Taken back: {words}.")));
    }

    #[test]
    fn a_forecast_is_called_one() {
        let mut records = night();
        records.experiments[3].decision = Some(crate::report::fixture::foreseen(0.006));
        let told = experiment_text(&records.experiments[3], &records.account_of(3).unwrap());
        assert!(told.contains("forecast:   +0.00600 +/- ") && told.contains("which nobody vouches for"), "{told}");
        assert!(!told.contains("expected:") && !told.contains("picked"), "{told}");
    }

    /// As of a night under the rule `lower-is-kept/1`: one trial each, no evidence, no claim.
    #[test]
    fn an_old_night_is_told_as_it_was() {
        let mut records = night();
        records.claim = None;
        records.trials.retain(|trial| trial.ordinal == 1 && trial.experiment.number < 3);
        records.experiments.truncate(3);
        for experiment in &mut records.experiments {
            experiment.proposal.confidence = None;
            if let Some(decision) = &mut experiment.decision {
                (decision.evidence, decision.interval, decision.trials) = (None, None, 1);
            }
        }
        let account = Account::of(&records, &[], &[]);
        assert_eq!((account.noise, account.expected_gain, account.early), (None, None, None));
        let first = &records.experiments[1];
        assert_eq!(first.decision.as_ref().map(|decision| decision.verdict), Some(Verdict::Kept));
        let told = experiment_text(first, &records.account_of(1).unwrap());
        assert_eq!(
            told,
            "found:      -0.00400 against the night's start\n\
             predicted:  -0.00300\n\
             val_bpb:    1.835000: its one search trial\n\
             trials:\n\
             \x20   # seed  purpose    val_bpb paired with difference  came to\n\
             \x20   1    0  search    1.835000    1.840000  -0.005000  finished\n\
             \x20 paired with its champion's run under the same seed; seeds by their index\n"
        );
    }
}
