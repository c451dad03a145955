//! What was measured of trials beside the metric, as view models: how they were verified, and what they cost. Pure.

use dashboards::{CertificateView, VerificationView};

use super::view::count;
use super::{NightRecords, mean};
use crate::flow::{Purpose, Trained, TrialEnd};
use crate::records::{Evaluation, TrialRecord};

impl NightRecords {
    /// An experiment's search trials that finished, beside which its champion's are: of the newest era in which it was measured, because the
    /// machine changed between two.
    pub(super) fn comparable(&self, number: u32, era_of: u32) -> impl Iterator<Item = &Trained> {
        let era = self.runs(era_of).first().map(|trial| trial.era);
        let is_comparable = move |trial: &&TrialRecord| {
            let finished = trial.trained.as_ref().is_some_and(|trained| matches!(trained.end, TrialEnd::Finished));
            trial.experiment.number == number && Some(trial.era) == era && trial.purpose == Purpose::Search && finished
        };
        self.trials.iter().filter(is_comparable).filter_map(|trial| trial.trained.as_ref())
    }

    /// Tokens trained on in a second, the mean over comparable trials.
    pub(super) fn speed(&self, number: u32, era_of: u32) -> Option<f64> {
        let trained = self.comparable(number, era_of).filter(|trained| trained.training_seconds > 0.0);
        mean(trained.map(|trained| trained.tokens as f64 / trained.training_seconds))
    }

    /// What the evaluator did with an experiment's trials.
    pub(super) fn certificate(&self, number: u32) -> Option<CertificateView> {
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

    pub(super) fn verification(&self) -> VerificationView {
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
}

pub(super) fn memory<'a>(trained: impl Iterator<Item = &'a Trained>) -> Option<u64> {
    trained.map(|trained| trained.peak_memory_bytes).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{certificate, trial, verified};
    use crate::flow::Rejected;
    use crate::report::{Account, fixture};

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
