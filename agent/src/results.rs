//! `results.tsv`: a night in the five columns of the ancestor's log, for whoever has scripts that read it.
//!
//! Tab-separated with a header: `commit` (7 digits), `val_bpb` (6 decimals, `0.000000` where there is none), `memory_gb`
//! (peak in GiB, 1 decimal), `status` (`keep`, `discard` or `crash`), `description` (one line). The metric of an experiment with
//! several trials is the mean over those on the search text. So that there are five columns still, the rest stands behind the
//! description: of how many trials it is the mean, the difference from the champion with half of its 95 % interval, and the
//! standard error of the evaluator's correction where it is seen in the decimals shown.

use crate::flow::{Decision, TrialEnd, Verdict};
use crate::records::TrialRecord;
use crate::report::NightRecords;

const HEADER: &str = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n";

/// The decided experiments in order, experiment 0 first.
pub fn results_tsv(records: &NightRecords) -> String {
    let mut text = HEADER.to_owned();
    for experiment in &records.experiments {
        let Some(decision) = &experiment.decision else { continue };
        let number = experiment.id.number;
        let trials: Vec<&TrialRecord> =
            records.trials.iter().filter(|trial| trial.experiment == experiment.id).collect();
        let commit = experiment.candidate.as_ref().map_or("0000000", |candidate| candidate.commit.short());
        let val_bpb = records.val_bpb(number).unwrap_or(0.0);
        let stands = records.stands(number);
        let status = match decision.verdict {
            Verdict::Kept if stands => "keep",
            Verdict::Kept => "discard",
            Verdict::Discarded | Verdict::Inconclusive | Verdict::Invalid => "discard",
            Verdict::Crashed | Verdict::Unbuildable => "crash",
        };
        let mut trained = trials.iter().filter_map(|trial| trial.trained.as_ref());
        let peak = if status == "crash" { 0 } else { trained.clone().map(|t| t.peak_memory_bytes).max().unwrap_or(0) };
        let memory_gb = peak as f64 / f64::from(1 << 30);
        let remark = match decision.verdict {
            Verdict::Kept if stands => None,
            Verdict::Kept => Some("does not stand"),
            Verdict::Crashed | Verdict::Discarded => trained.next_back().and_then(|trained| remark_on(&trained.end)),
            verdict => Some(verdict.name()),
        };
        let runs = records.runs(number).len();
        let mean = (runs > 1).then(|| format!("mean of {runs} trials"));
        let error = records.standard_error(number).filter(|error| *error >= 5e-7);
        let error = error.map(|error| format!("± {error:.0e}"));
        let remark = remark.map(str::to_owned);
        let remarks: Vec<String> = [remark, mean, difference(decision), error].into_iter().flatten().collect();
        let title = one_line(&experiment.proposal.title);
        let description = if remarks.is_empty() { title } else { format!("{title} ({})", remarks.join(", ")) };
        text.push_str(&format!("{commit}\t{val_bpb:.6}\t{memory_gb:.1}\t{status}\t{description}\n"));
    }
    text
}

/// The difference with half of its interval, where the rule gave one: a mean alone compares other seeds.
fn difference(decision: &Decision) -> Option<String> {
    let (low, high) = decision.interval?;
    Some(format!("{:+.4} ± {:.4}", decision.difference?, (high - low) / 2.0))
}

fn remark_on(end: &TrialEnd) -> Option<&'static str> {
    match end {
        TrialEnd::TimedOut => Some("timed out"),
        TrialEnd::OutOfMemory { .. } => Some("OOM"),
        TrialEnd::NotFinite => Some("loss not finite"),
        TrialEnd::StoppedEarly { .. } => Some("stopped early"),
        TrialEnd::Finished | TrialEnd::Crashed { .. } | TrialEnd::Stopped | TrialEnd::MachineFault { .. } => None,
    }
}

/// A proposer's words as one cell: tabs, line ends and other control characters become spaces.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::flow::{CommitId, Decision, ExperimentId};
    use crate::records::{CandidateRecord, ExperimentRecord, ExperimentState, baseline_proposal};
    use crate::report;

    fn experiment(number: u32, title: &str, commit: Option<char>, verdict: Option<Verdict>) -> ExperimentRecord {
        let commit_of = |digit: char| CommitId::try_from(digit.to_string().repeat(40)).unwrap();
        let mut proposal = baseline_proposal();
        proposal.title = title.to_owned();
        ExperimentRecord {
            id: ExperimentId { night: "n".parse().unwrap(), number },
            proposal,
            patch_digest: number.to_string(),
            champion: commit_of('f'),
            state: ExperimentState::Decided,
            candidate: commit.map(|digit| CandidateRecord {
                commit: commit_of(digit),
                parent: commit_of('f'),
                branch: String::new(),
                lines_added: 0,
                lines_removed: 0,
            }),
            artifact: None,
            attempts: Vec::new(),
            decision: verdict.map(|verdict| Decision {
                verdict,
                difference: None,
                interval: None,
                trials: 1,
                rule: String::new(),
                reason: String::new(),
                evidence: None,
            }),
            proposed_at: jiff::Timestamp::UNIX_EPOCH,
            decided_at: None,
        }
    }

    fn trial(number: u32, end: TrialEnd, figures: Option<(f64, f64)>) -> TrialRecord {
        let evaluation = figures.map(|(val_bpb, error)| fixture::verified(val_bpb, error).into());
        let certificate = figures.map(|_| fixture::certificate());
        TrialRecord { certificate, ..fixture::trial(number, end, evaluation) }
    }

    #[test]
    fn lines_are_as_the_ancestor_writes_them() {
        let experiments = vec![
            experiment(0, "baseline", Some('a'), Some(Verdict::Kept)),
            experiment(1, "raise\tthe\nrate \u{1b}[31m", Some('b'), Some(Verdict::Discarded)),
            experiment(2, "double the width", Some('c'), Some(Verdict::Crashed)),
            experiment(3, "misspell", None, Some(Verdict::Unbuildable)),
            experiment(4, "under way", Some('d'), None),
        ];
        let trials = vec![
            trial(0, TrialEnd::Finished, Some((0.9979, 0.0))),
            trial(1, TrialEnd::Finished, Some((1.005, 0.000_02))),
            trial(2, TrialEnd::OutOfMemory { message: String::new() }, None),
        ];
        let expected = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n\
                        aaaaaaa\t0.997900\t44.0\tkeep\tbaseline\n\
                        bbbbbbb\t1.005000\t44.0\tdiscard\traise the rate [31m (± 2e-5)\n\
                        ccccccc\t0.000000\t0.0\tcrash\tdouble the width (OOM)\n\
                        0000000\t0.000000\t0.0\tcrash\tmisspell (unbuildable)\n";
        let records = NightRecords { experiments, trials, ..report::fixture::empty() };
        assert_eq!(results_tsv(&records), expected);
    }

    #[test]
    fn what_was_kept_and_taken_back_is_not_a_line_to_go_by() {
        let mut records = report::fixture::night();
        let (words, at) = ("it cheats".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        records.withdrawal = Some(crate::records::WithdrawalRecord { experiment: 1, words, at });
        let text = results_tsv(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("\tkeep\tbaseline"), "{text}");
        assert!(lines[2].contains("\tdiscard\tHalve the batch (does not stand, mean of 3 trials"), "{text}");
        assert!(!lines[3].contains("does not stand"), "{text}");
    }

    #[test]
    fn several_trials_are_one_line_with_their_mean_and_the_difference() {
        let text = results_tsv(&report::fixture::night());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("\t1.840000\t44.0\tkeep\tbaseline (mean of 3 trials, "), "{text}");
        assert!(
            lines[2].contains("\t1.835667\t44.0\tkeep\tHalve the batch (mean of 3 trials, -0.0040 ± 0.0020, "),
            "{text}"
        );
        assert!(lines[3].contains("discard\tDouble the width (+0.0090 ± 0.0020, ± 2e-6)"), "{text}");
        assert!(lines[4].contains("\t0.000000\t44.0\tdiscard\tRemove the warm-down (stopped early)"), "{text}");
        assert!(lines.iter().all(|line| line.split('\t').count() == 5), "{text}");
    }
}
