//! View models for `dashboards` from a night's records. Pure.

use dashboards::{
    CalibrationView, Choice, ClaimView, EarlyView, EvidenceView, ExperimentView, LeftOutView, LooksView, ModelView,
    NightView, NoiseView, ReviewView, TrialView,
};

use super::account::left_out_of;
use super::measures::memory;
use super::{Account, EarlyStops, ModelAccount, NightRecords, NoiseAccount, TrialAccount, seconds_between};
use crate::clock::date;
use crate::flow::{Evidence, Purpose, Trained, TrialEnd, Verdict};
use crate::propose::ablation::WITHOUT;
use crate::records::{ExperimentRecord, ReviewChoice, ReviewRecord, TrialRecord};
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
    if let Some((device, other)) = trial.device.as_ref().zip(trial.pair_device.as_ref()) {
        add(&format!("on {device}, its pair on {other}"));
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

pub(super) fn count(of: usize) -> u32 {
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

fn budget(budget: protocol::Budget) -> String {
    match budget {
        protocol::Budget::Seconds(seconds) => format!("{seconds} s"),
        protocol::Budget::Tokens(tokens) => format!("{:.1} million tokens", tokens as f64 / 1e6),
    }
}
