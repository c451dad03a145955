//! View models for `dashboards` from a night's records. Pure.

use dashboards::{
    CalibrationView, CertificateView, Choice, ClaimView, EarlyView, EvidenceView, ExperimentView, LeftOutView,
    LooksView, ModelView, NightView, NoiseView, ReviewView, TrialView, VerificationView,
};

use super::account::left_out_of;
use super::{Account, EarlyStops, ModelAccount, NightRecords, NoiseAccount, TrialAccount, mean, seconds_between};
use crate::flow::{Evidence, Purpose, Trained, TrialEnd, Verdict};
use crate::propose::ablation::WITHOUT;
use crate::records::{Evaluation, ExperimentRecord, ReviewChoice, ReviewRecord, TrialRecord};
use crate::review;

impl NightRecords {
    /// The view model; `diff` gives an experiment's diff.
    pub fn view(&self, account: &Account, diff: impl Fn(&ExperimentRecord) -> String) -> NightView {
        let champion = self.champion();
        let of_champion = self.experiments.iter().find(|experiment| experiment.id.number == champion);
        let candidate = of_champion.and_then(|experiment| experiment.candidate.as_ref());
        NightView {
            campaign: self.night.campaign.clone(),
            night: self.night.id.to_string(),
            date: date(self.night.started_at),
            metric: "val_bpb".to_owned(),
            metric_unit: "bits per byte".to_owned(),
            budget: self.trials.first().map(|trial| budget(trial.budget)).unwrap_or_default(),
            baseline: self.val_bpb(0),
            baseline_trials: count(self.runs(0).len()),
            baseline_error: self.standard_error(0),
            champion: self.level(champion),
            champion_number: champion,
            champion_commit: candidate.map(|c| c.commit.to_string()).unwrap_or_default(),
            champion_branch: self
                .experiments
                .first()
                .and_then(|start| start.candidate.as_ref())
                .map(|start| start.branch.clone())
                .unwrap_or_default(),
            experiments: self
                .experiments
                .iter()
                .filter(|experiment| experiment.id.number > 0)
                .map(|experiment| self.experiment_view(experiment, diff(experiment)))
                .collect(),
            waiting: review::waiting(self, &self.reviews).iter().map(|waiting| waiting.id.number).collect(),
            skipped: self.skips.iter().map(|skip| (skip.proposer.clone(), skip.reason.clone())).collect(),
            claim: account.claim.as_ref().map(|claim| ClaimView {
                holds: claim.holds && self.withdrawal.is_none(),
                withdrawn: self.withdrawal.as_ref().map(|withdrawal| withdrawal.words.clone()),
                difference: claim.difference,
                interval: claim.interval,
                p_value: claim.p_value,
                pairs: claim.pairs,
                expected: account.expected_gain,
            }),
            noise: account.noise.as_ref().map(noise),
            early: account.early.as_ref().map(early),
            left_out: account
                .left_out
                .iter()
                .map(|left| LeftOutView {
                    number: left.number,
                    of: left_out_of(&left.without),
                    part: left.without.split_once(WITHOUT).map(|(_, part)| part.to_owned()),
                    title: left.title.clone(),
                    difference: left.difference,
                    interval: left.interval,
                    words: left.words.to_owned(),
                })
                .collect(),
            looks: account
                .looks
                .iter()
                .map(|looks| LooksView {
                    part: looks.part.name().to_owned(),
                    what_for: looks.what_for.join(", "),
                    this_night: looks.this_night,
                    all_nights: looks.all_nights,
                    nights: looks.nights,
                })
                .collect(),
            calibration: account
                .calibration
                .iter()
                .map(|of| CalibrationView {
                    proposer: of.proposer.clone(),
                    predictions: of.predictions,
                    mean_predicted: of.mean_predicted,
                    mean_found: of.mean_found,
                    slope: of.slope,
                    mean_confidence: of.mean_confidence,
                    mean_probability: of.mean_probability,
                    brier: of.brier,
                })
                .collect(),
            models: account.models.iter().map(model).collect(),
            verification: self.verification(),
            machine: self.machine(),
            faults: self.faults.clone(),
            warnings: self.warnings(),
            seconds_total: self.seconds(),
            seconds_training: self.training_seconds(),
        }
    }

    fn trained(&self, number: u32) -> impl Iterator<Item = &Trained> {
        let of_it = move |trial: &&TrialRecord| trial.experiment.number == number;
        self.trials.iter().filter(of_it).filter_map(|trial| trial.trained.as_ref())
    }

    /// Seconds of training, all trials of an experiment together; `None` where none has ended.
    fn seconds_of(&self, number: u32) -> Option<f64> {
        self.trained(number).map(|trained| trained.training_seconds).reduce(|sum, next| sum + next)
    }

    /// An experiment's search trials that finished, beside which its champion's are: of the newest era in which it was measured, because the
    /// machine changed between two.
    fn comparable(&self, number: u32, era_of: u32) -> impl Iterator<Item = &Trained> {
        let era = self.runs(era_of).first().map(|trial| trial.era);
        let is_comparable = move |trial: &&TrialRecord| {
            let finished = trial.trained.as_ref().is_some_and(|trained| matches!(trained.end, TrialEnd::Finished));
            trial.experiment.number == number && Some(trial.era) == era && trial.purpose == Purpose::Search && finished
        };
        self.trials.iter().filter(is_comparable).filter_map(|trial| trial.trained.as_ref())
    }

    /// Tokens trained on in a second, the mean over comparable trials.
    fn speed(&self, number: u32, era_of: u32) -> Option<f64> {
        let trained = self.comparable(number, era_of).filter(|trained| trained.training_seconds > 0.0);
        mean(trained.map(|trained| trained.tokens as f64 / trained.training_seconds))
    }

    /// What the evaluator did with an experiment's trials.
    fn certificate(&self, number: u32) -> Option<CertificateView> {
        let trials = || self.trials.iter().filter(move |trial| trial.experiment.number == number);
        let passed = trials().rfind(|trial| trial.certificate.is_some() && trial.val_bpb().is_some());
        let told = passed.or_else(|| trials().rfind(|trial| trial.certificate.is_some()))?;
        let certificate = told.certificate.as_ref()?;
        let audit = certificate.audit.as_ref();
        let rejected = |trial: &&TrialRecord| matches!(trial.evaluation, Some(Evaluation::Rejected(_)));
        Some(CertificateView {
            evaluator: certificate.evaluator.clone(),
            sandbox: certificate.sandbox.clone(),
            checks: certificate.checks.iter().map(|check| (check.name.clone(), check.passed)).collect(),
            cuts: audit.map(|audit| audit.cuts),
            largest_difference: audit.map(|audit| audit.largest_difference),
            standard_error: audit.map(|audit| audit.standard_error),
            verified: count(trials().filter(|trial| trial.val_bpb().is_some()).count()),
            rejected: count(trials().filter(rejected).count()),
        })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.experiments.iter().any(|e| e.decision.as_ref().is_some_and(|d| d.rule.starts_with("lower-is-kept"))) {
            warnings.push(
                "Kept means lower in a single run of each, with the same seed. Differences of the size of the noise are \
                 kept by luck: repeat what you want to merge (`nocturne replay`)."
                    .to_owned(),
            );
        }
        if let Some(withdrawal) = &self.withdrawal {
            warnings.push(format!(
                "Taken back: {}. The champion that stands is #{}.",
                withdrawal.words,
                self.champion()
            ));
        }
        warnings.extend(dashboards::drift_warning(&self.champion_runs()));
        if self.night.end.is_none() {
            warnings.push("This night has not ended: it runs, or was cut off.".to_owned());
        }
        warnings
    }

    fn verification(&self) -> VerificationView {
        let mut view = VerificationView::default();
        for trial in &self.trials {
            match &trial.evaluation {
                None => continue,
                Some(Evaluation::Verified(_)) => view.verified += 1,
                Some(Evaluation::Rejected(rejected)) => *view.rejected.entry(rejected.check.clone()).or_default() += 1,
            }
            let Some(certificate) = &trial.certificate else {
                view.uncertified += 1;
                continue;
            };
            for (known, name) in
                [(&mut view.evaluators, &certificate.evaluator), (&mut view.sandboxes, &certificate.sandbox)]
            {
                if !known.contains(name) {
                    known.push(name.clone());
                }
            }
            if let Some(cuts) = certificate.audit.as_ref().map(|audit| audit.cuts) {
                let (fewest, most) = view.cuts.unwrap_or((cuts, cuts));
                view.cuts = Some((fewest.min(cuts), most.max(cuts)));
            }
        }
        view
    }

    fn experiment_view(&self, experiment: &ExperimentRecord, diff: String) -> ExperimentView {
        let number = experiment.id.number;
        let trial = self.trial(number);
        let first = self.trials.iter().find(|trial| trial.experiment.number == number);
        let trained = trial.and_then(|trial| trial.trained.as_ref());
        let candidate = experiment.candidate.as_ref();
        let decision = experiment.decision.as_ref();
        let champion = self.number_of(&experiment.champion);
        ExperimentView {
            number,
            title: experiment.proposal.title.clone(),
            hypothesis: experiment.proposal.hypothesis.clone(),
            source: experiment.proposal.source.clone(),
            verdict: decision.map(|decision| shown(decision.verdict)),
            taken_back: !self.stands(number),
            reason: reason(experiment),
            val_bpb: self.val_bpb(number),
            trials_measured: count(self.runs(number).len()),
            trials_decided: decision.map_or(0, |decision| decision.trials),
            level: decision.and_then(|_| self.level(number)),
            standard_error: self.standard_error(number),
            difference: decision.and_then(|decision| decision.difference),
            interval: decision.and_then(|decision| decision.interval),
            evidence: decision
                .and_then(|decision| decision.evidence.as_deref())
                .filter(|evidence| evidence.vouched())
                .map(evidence),
            trials: self
                .account_of(number)
                .map(|account| account.trials.iter().map(trial_view).collect())
                .unwrap_or_default(),
            stopped_early: self
                .trained(number)
                .last()
                .is_some_and(|trained| matches!(trained.end, TrialEnd::StoppedEarly { .. })),
            confidence: experiment.proposal.confidence,
            predicted_effect: experiment.proposal.predicted_effect,
            champion_number: champion,
            proposer: experiment.proposal.author.proposer.clone(),
            family: experiment.proposal.family.clone(),
            commit: candidate.map(|c| c.commit.to_string()).unwrap_or_default(),
            branch: candidate.map(|c| c.branch.clone()).unwrap_or_default(),
            diff,
            lines_added: candidate.map_or(0, |c| c.lines_added),
            lines_removed: candidate.map_or(0, |c| c.lines_removed),
            training_seconds: self.seconds_of(number),
            peak_memory_bytes: memory(self.comparable(number, number)).or_else(|| memory(self.trained(number))),
            champion_memory_bytes: memory(self.comparable(champion, number)),
            tokens: trained.map(|trained| trained.tokens),
            tokens_per_second: self.speed(number, number),
            champion_tokens_per_second: self.speed(champion, number),
            certificate: self.certificate(number),
            review: review::latest(&self.reviews).get(&number).map(|review| review_view(review)),
            started_at_minutes: first.map(|trial| seconds_between(self.night.started_at, trial.started_at) / 60.0),
        }
    }
}

fn memory<'a>(trained: impl Iterator<Item = &'a Trained>) -> Option<u64> {
    trained.map(|trained| trained.peak_memory_bytes).max()
}

/// The decision in words; of what the compiler refused with its first complaint, which says more than a number of errors.
fn reason(experiment: &ExperimentRecord) -> String {
    let Some(decision) = &experiment.decision else { return String::new() };
    let complaint =
        experiment.attempts.last().and_then(|attempt| attempt.evidence.lines().find(|line| !line.is_empty()));
    match complaint.filter(|line| decision.verdict == Verdict::Unbuildable && !decision.reason.contains(line.trim())) {
        Some(complaint) => format!("{}: {}", decision.reason, complaint.trim()),
        None => decision.reason.clone(),
    }
}

fn review_view(review: &ReviewRecord) -> ReviewView {
    ReviewView {
        choice: match review.choice {
            ReviewChoice::Accepted => Choice::Accepted,
            ReviewChoice::Rejected => Choice::Rejected,
            ReviewChoice::Deferred => Choice::Deferred,
        },
        reason: review.reason.clone(),
        date: date(review.at),
    }
}

fn evidence(evidence: &Evidence) -> EvidenceView {
    EvidenceView {
        expected: evidence.expected,
        expected_interval: evidence.expected_interval,
        probability: evidence.probability,
        least_effect: evidence.least_effect,
        standard_error: Some(evidence.standard_error),
        story: evidence.story.clone(),
    }
}

fn trial_view(trial: &TrialAccount) -> TrialView {
    let mut what = match trial.purpose {
        Purpose::Search => String::new(),
        Purpose::Morning => "morning".to_owned(),
    };
    let mut add = |words: &str| {
        what = if what.is_empty() { words.to_owned() } else { format!("{what}, {words}") };
    };
    match (trial.end, &trial.rejected) {
        (_, Some(check)) => add(&format!("rejected by check {check}")),
        (Some("finished"), None) => {}
        (Some(end), None) => add(&end.replace('-', " ")),
        (None, None) => add("under way, or cut off"),
    }
    if trial.would_stop.is_some() {
        add("left to finish as a sample");
    }
    if trial.era > 0 {
        add(&format!("era {}", trial.era));
    }
    TrialView {
        seed: trial.seed,
        what,
        val_bpb: trial.val_bpb,
        paired_with: trial.paired_with,
        difference: trial.difference,
    }
}

fn model(of: &ModelAccount) -> ModelView {
    ModelView {
        model: of.model.clone(),
        calls: of.calls,
        failed: of.failed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        answers: of.answers,
        parsed: of.parsed,
        applied: of.applied,
        compiled: of.compiled,
        ran: of.ran,
        kept: of.kept,
        tokens: of.tokens,
        dollars: of.dollars,
        dollars_per_thousandth: of.dollars_per_thousandth,
    }
}

fn noise(noise: &NoiseAccount) -> NoiseView {
    NoiseView {
        run_sd: noise.run_sd,
        pair_sd: noise.pair_sd,
        correlation: noise.correlation,
        degrees: noise.pair_degrees,
        runs: noise.runs,
        commits: noise.commits,
    }
}

fn early(early: &EarlyStops) -> EarlyView {
    EarlyView {
        stopped: early.stopped,
        seconds_saved: early.seconds_saved,
        share_saved: early.share_saved,
        spared: early.false_stops.map_or(0, |stops| stops.spared),
        wrong: early.false_stops.map_or(0, |stops| stops.wrong),
        wrong_interval: early.false_stops.map(|stops| stops.interval),
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

pub(crate) fn shown(verdict: Verdict) -> dashboards::Verdict {
    match verdict {
        Verdict::Kept => dashboards::Verdict::Kept,
        Verdict::Discarded => dashboards::Verdict::Discarded,
        Verdict::Inconclusive => dashboards::Verdict::Inconclusive,
        Verdict::Invalid => dashboards::Verdict::Invalid,
        Verdict::Crashed => dashboards::Verdict::Crashed,
        Verdict::Unbuildable => dashboards::Verdict::Unbuildable,
    }
}

pub(crate) fn date(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %B %Y, %H:%M").to_string()
}

fn budget(budget: protocol::Budget) -> String {
    match budget {
        protocol::Budget::Seconds(seconds) => format!("{seconds} s"),
        protocol::Budget::Tokens(tokens) => format!("{:.1} million tokens", tokens as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{certificate, trial, verified};
    use crate::flow::Rejected;
    use crate::report::fixture;

    #[test]
    fn verification_is_told_over_all_trials() {
        let certified = |number, evaluation: Evaluation, cuts: Option<u32>| {
            let mut made = certificate();
            made.audit = made.audit.zip(cuts).map(|(audit, cuts)| crate::flow::Audit { cuts, ..audit });
            TrialRecord { certificate: Some(made), ..trial(number, TrialEnd::Finished, Some(evaluation)) }
        };
        let rejected = |check: &str| Rejected { check: check.to_owned(), evidence: String::new() };
        let records = NightRecords {
            trials: vec![
                trial(0, TrialEnd::Finished, Some(verified(1.9, 0.0).into())),
                certified(1, verified(1.8, 2.0e-6).into(), Some(256)),
                certified(2, rejected("audit-largest").into(), Some(64)),
                certified(3, rejected("finite").into(), None),
                certified(4, rejected("finite").into(), None),
                trial(5, TrialEnd::TimedOut, None),
            ],
            ..fixture::empty()
        };
        let view = records.view(&Account::of(&records, &[], &[]), |_| String::new());
        let expected = VerificationView {
            evaluators: vec![certificate().evaluator],
            cuts: Some((64, 256)),
            sandboxes: vec![certificate().sandbox],
            verified: 2,
            rejected: [("audit-largest".to_owned(), 1), ("finite".to_owned(), 2)].into(),
            uncertified: 1,
        };
        assert_eq!(view.verification, expected);
        // Nothing audited the first, so nothing is known of its error.
        assert_eq!((view.baseline_error, records.standard_error(1)), (None, Some(2.0e-6)));
        assert_eq!((records.standard_error(2), records.standard_error(9)), (None, None));
    }

    #[test]
    fn costs_are_compared_within_an_era_and_decisions_count_their_own_trials() {
        let mut records = fixture::night();
        for trial in &mut records.trials {
            if let Some(trained) = &mut trial.trained {
                (trained.tokens, trained.training_seconds, trained.peak_memory_bytes) = (1_000, 10.0, 100);
            }
        }
        let view = |records: &NightRecords| {
            let view = records.view(&Account::of(records, &[], &[]), |_| String::new());
            let first = view.experiment(1).unwrap().clone();
            (first, view)
        };
        let (first, night) = view(&records);
        assert_eq!((first.tokens_per_second, first.champion_tokens_per_second), (Some(100.0), Some(100.0)));
        assert_eq!((first.peak_memory_bytes, first.champion_memory_bytes), (Some(100), Some(100)));
        assert_eq!((first.trials_decided, first.certificate.as_ref().unwrap().verified), (3, 5));
        assert_eq!((night.waiting, night.left_out[0].of), (vec![1], Some(1)));
        // The machine changed, and the start was not run again.
        for trial in records.trials.iter_mut().filter(|trial| trial.experiment.number == 1) {
            trial.era = 1;
        }
        let (first, night) = view(&records);
        assert_eq!((first.tokens_per_second, first.champion_tokens_per_second), (Some(100.0), None));
        assert_eq!((first.champion_memory_bytes, night.machine.changes), (None, 1));
    }
}
