//! Where a number should not be trusted: of a whole night, and of one experiment.

use std::collections::BTreeSet;

use super::answer::Outcome;
use super::percent;
use crate::axis::usable;
use crate::text::{clean, clean_long, counted, signed};
use crate::view::{ExperimentView, NightView};

/// Fewer trials than this are few: their own scatter cannot be told from their effect.
const FEW_TRIALS: u32 = 3;
/// With fewer degrees of freedom the noise itself is hardly known.
const FEW_DEGREES: f64 = 5.0;

/// Warnings of a night, most serious first; those of its own record among them.
pub(super) fn warnings(night: &NightView) -> Vec<String> {
    let mut found: Vec<String> = night.warnings.iter().map(|line| clean_long(line)).collect();
    match (Outcome::of(night), &night.claim) {
        (Outcome::Unconfirmed, Some(claim)) => {
            let why = match (claim.difference.filter(|value| usable(*value)), claim.interval) {
                (None, _) => "nothing could be measured",
                (Some(_), Some((low, _))) if low > 0.0 => "the champion is shown to be worse than the night's start",
                (Some(_), Some((_, high))) if high >= 0.0 => "its interval holds zero",
                (Some(_), _) => "a difference like that comes by luck too often",
            };
            found.push(format!("The morning's claim does not hold: {why}. What was kept may be luck."));
        }
        (Outcome::Unconfirmed, None) => found.push(
            "Nothing was measured on fresh seeds and sealed text. What was kept was picked for looking good, and may be luck."
                .to_owned(),
        ),
        _ => {}
    }
    let rejected: usize = night.verification.rejected.values().fold(0, |sum, count| sum.saturating_add(*count));
    if rejected > 0 {
        let checks: BTreeSet<String> = night.verification.rejected.keys().map(|check| clean(check)).collect();
        let checks: Vec<String> = checks.into_iter().collect();
        found.push(format!(
            "The evaluator rejected {}: {}. See what failed below; no figure of them is used.",
            counted(rejected, "trial"),
            checks.join(", ")
        ));
    }
    if night.verification.uncertified > 0 {
        found.push(format!(
            "{} audited: nothing but the models' own word stands behind its figures.",
            match night.verification.uncertified {
                1 => "1 trial was not".to_owned(),
                count => format!("{count} trials were not"),
            }
        ));
    }
    if let Some(noise) = night.noise.filter(|noise| noise.degrees.is_finite() && noise.degrees < FEW_DEGREES) {
        found.push(format!(
            "How much runs differ anyway is hardly known: it rests on {} ({:.1} degrees of freedom).",
            counted(noise.runs as usize, "run"),
            noise.degrees
        ));
    }
    match night.machine.changes {
        0 => {}
        1 => found.push("The machine changed once in the night: runs before and after are not compared.".to_owned()),
        count => {
            found.push(format!("The machine changed {count} times in the night: runs on either side are not compared."))
        }
    }
    match night.machine.cut_offs {
        0 => {}
        1 => found.push("The night was cut off once and went on later.".to_owned()),
        count => found.push(format!("The night was cut off {count} times and went on later.")),
    }
    found
}

/// Why what is told of an experiment should be taken with care; empty where nothing says so.
pub(super) fn doubts(night: &NightView, experiment: &ExperimentView) -> Vec<String> {
    let mut found = Vec::new();
    let measured = experiment.difference.is_some_and(usable);
    if measured && (1..FEW_TRIALS).contains(&experiment.trials_decided) {
        found.push(format!("It was decided on {} only.", counted(experiment.trials_decided as usize, "trial")));
    }
    if measured && experiment.interval.is_some_and(|(low, high)| low < 0.0 && high >= 0.0) {
        found.push("Its interval holds zero: it may be no improvement at all.".to_owned());
    }
    if let Some(evidence) = &experiment.evidence
        && evidence.probability.is_finite()
        && evidence.probability < 0.9
        && experiment.is_kept()
    {
        found.push(format!("It is an improvement with {} only.", percent(evidence.probability)));
    }
    if let Some(certificate) = experiment.certificate.as_ref().filter(|certificate| certificate.rejected > 0) {
        found.push(format!(
            "The evaluator rejected {} of it, and vouches for {}.",
            counted(certificate.rejected as usize, "trial"),
            certificate.verified
        ));
    }
    for left in night.left_out.iter().filter(|left| left.of == Some(experiment.number)) {
        if let Some((_, high)) = left.interval.filter(|(low, _)| *low <= 0.0) {
            let so = if high < 0.0 { "is better" } else { "may be as good" };
            let what = match &left.part {
                Some(part) => format!("without one of its ideas, {}", clean(part)),
                None => "without it".to_owned(),
            };
            let (metric, difference) = (clean(&night.metric), signed(left.difference));
            found.push(format!("The champion {so} {what}: leaving that out changed {metric} by {difference}."));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{
        CertificateView, ClaimView, EvidenceView, LeftOutView, MachineView, NoiseView, Verdict, VerificationView,
    };

    #[test]
    fn a_night_that_can_be_trusted_has_no_warning() {
        let night = NightView {
            baseline: Some(1.8),
            champion_number: 2,
            claim: Some(ClaimView { holds: true, ..ClaimView::default() }),
            noise: Some(NoiseView { degrees: 9.0, ..NoiseView::default() }),
            ..NightView::default()
        };
        assert_eq!(warnings(&night), [""; 0]);
        let sound = ExperimentView {
            difference: Some(-0.004),
            interval: Some((-0.006, -0.002)),
            trials_decided: 4,
            verdict: Some(Verdict::Kept),
            evidence: Some(EvidenceView { probability: 0.97, ..EvidenceView::default() }),
            certificate: Some(CertificateView { verified: 4, ..CertificateView::default() }),
            ..ExperimentView::default()
        };
        assert_eq!(doubts(&night, &sound), [""; 0]);
    }

    #[test]
    fn every_reason_for_care_is_told() {
        let night = NightView {
            baseline: Some(1.8),
            champion_number: 2,
            metric: "val_bpb".into(),
            claim: Some(ClaimView {
                difference: Some(-0.0015),
                interval: Some((-0.004, 0.001)),
                ..ClaimView::default()
            }),
            noise: Some(NoiseView { degrees: 2.0, runs: 4, ..NoiseView::default() }),
            verification: VerificationView {
                rejected: [("finite".to_owned(), 1), ("audit-largest".to_owned(), 2)].into(),
                uncertified: 1,
                ..VerificationView::default()
            },
            machine: MachineView { cut_offs: 2, changes: 1, ..MachineView::default() },
            warnings: vec!["first".into()],
            left_out: vec![LeftOutView {
                of: Some(2),
                part: Some("n/1".into()),
                difference: Some(-0.001),
                interval: Some((-0.002, 0.001)),
                ..LeftOutView::default()
            }],
            ..NightView::default()
        };
        let experiment = ExperimentView {
            number: 2,
            difference: Some(-0.004),
            interval: Some((-0.006, 0.002)),
            trials_decided: 2,
            verdict: Some(Verdict::Kept),
            evidence: Some(EvidenceView { probability: 0.8, ..EvidenceView::default() }),
            certificate: Some(CertificateView { verified: 2, rejected: 1, ..CertificateView::default() }),
            ..ExperimentView::default()
        };
        let mut all = warnings(&night);
        all.push(String::new());
        all.extend(doubts(&night, &experiment));
        insta::assert_snapshot!(all.join("\n"));
        let told = |difference, interval| {
            let claim = Some(ClaimView { difference, interval, ..ClaimView::default() });
            warnings(&NightView { claim, ..night.clone() })[1].clone()
        };
        assert!(told(None, None).contains("nothing could be measured"));
        assert!(told(Some(0.004), Some((0.002, 0.006))).contains("shown to be worse"));
        assert!(told(Some(-0.004), Some((-0.006, -0.002))).contains("comes by luck too often"));
        let unmeasured = NightView { claim: None, ..night };
        assert!(warnings(&unmeasured)[1].contains("Nothing was measured on fresh seeds"));
    }
}
