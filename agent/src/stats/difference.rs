//! The difference of two commits, from all of their runs.
//!
//! Under the model of [`super::noise`] a seed that both ran under gives a pair of correlated values, a seed of one alone a single value.
//! Generalised least squares (Aitken, 1936) over both means weighs them exactly; the champion's runs under other seeds therefore help
//! in two ways, directly and by telling how far off its run under the shared seed was. How sharp pairs are is moderated by how the
//! candidate's own scatter ([`super::spread`]). The held-out text is a sample too: the part of
//! it is the paired ratio estimator over documents (Cochran, Sampling Techniques, chapter 6), robust to documents of any length.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Run;
use super::distributions::student_quantile;
use super::noise::Noise;
use super::spread::Scatter;
use crate::flow::DocumentLoss;

/// Candidate less champion, bits per byte; negative is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Best linear unbiased estimate.
    pub estimate: f64,
    /// Over seeds and held-out documents.
    pub standard_error: f64,
    /// The part of the standard error that more seeds do not make smaller: that of the held-out documents. 0 where neither side has
    /// any; where only one has, that of its own figure, which is more than that of the difference of two that are alike.
    pub document_error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees: f64,
    /// 95 %.
    pub interval: (f64, f64),
    /// Seeds that the candidate ran under.
    pub candidate_runs: u32,
    /// Seeds that the champion ran under.
    pub champion_runs: u32,
    /// Seeds that both ran under.
    pub paired: u32,
}

/// Which seeds two commits ran under, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub paired: u32,
    pub candidate_only: u32,
    pub champion_only: u32,
}

/// Weights of generalised least squares: the inverse of two means' covariance, in units of one over a run's variance.
struct Information {
    candidate: f64,
    champion: f64,
    shared: f64,
    /// Factors of a paired run's own value and of its partner's.
    own: f64,
    partner: f64,
}

impl Information {
    fn of(layout: Layout, correlation: f64) -> Information {
        // A correlation of 1 would make pairs exact; the noise never claims that, and the arithmetic must not break on it.
        let r = correlation.clamp(0.0, 0.999_9);
        let (own, partner) = (1.0 / (1.0 - r * r), -r / (1.0 - r * r));
        let paired = f64::from(layout.paired);
        Information {
            candidate: paired * own + f64::from(layout.candidate_only),
            champion: paired * own + f64::from(layout.champion_only),
            shared: paired * partner,
            own,
            partner,
        }
    }

    fn determinant(&self) -> f64 {
        self.candidate * self.champion - self.shared * self.shared
    }

    /// Variance of the difference of the two means over seeds.
    fn variance(&self, noise: &Noise) -> f64 {
        let run = noise.seed_variance + noise.rest_variance;
        run * (self.candidate + self.champion + 2.0 * self.shared) / self.determinant()
    }
}

impl Layout {
    /// Variance of the difference of the two means over seeds.
    pub(super) fn variance(self, noise: &Noise) -> f64 {
        Information::of(self, noise.correlation()).variance(noise)
    }
}

/// The runs that can be compared: those of the champion's newest era, one value a seed.
pub(super) fn by_seed(runs: &[Run], era: u32) -> BTreeMap<u32, f64> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.era == era && run.val_bpb.is_finite()) {
        let sum = sums.entry(run.seed).or_insert((0.0, 0.0));
        *sum = (sum.0 + run.val_bpb, sum.1 + 1.0);
    }
    sums.into_iter().map(|(seed, (sum, count))| (seed, sum / count)).collect()
}

/// The newest era that any of these runs is of.
pub(super) fn newest_era(runs: &[Run]) -> Option<u32> {
    runs.iter().map(|run| run.era).max()
}

/// The difference of two commits; `None` when either has no run in the champion's newest era.
pub fn difference(candidate: &[Run], champion: &[Run], noise: &Noise) -> Option<Difference> {
    let era = newest_era(champion)?;
    let (ours, theirs) = (by_seed(candidate, era), by_seed(champion, era));
    if ours.is_empty() || theirs.is_empty() {
        return None;
    }
    let paired = ours.keys().filter(|seed| theirs.contains_key(seed)).count() as u32;
    let (candidate_runs, champion_runs) = (ours.len() as u32, theirs.len() as u32);
    let layout = Layout { paired, candidate_only: candidate_runs - paired, champion_only: champion_runs - paired };
    let pairs: Vec<f64> = ours.iter().filter_map(|(seed, value)| Some(value - theirs.get(seed)?)).collect();

    // Scores, about a common origin for the sake of rounding.
    let origin = theirs.values().sum::<f64>() / f64::from(champion_runs);
    let score = |information: &Information, own: &BTreeMap<u32, f64>, other: &BTreeMap<u32, f64>| -> f64 {
        own.iter()
            .map(|(seed, value)| match other.get(seed) {
                Some(partner) => information.own * (value - origin) + information.partner * (partner - origin),
                None => value - origin,
            })
            .sum()
    };
    // Per ratio that the candidate's pairs may have: its probability, the estimate and the variance over seeds.
    let told: Vec<(f64, f64, f64)> = noise
        .spread
        .ratios(Scatter::of(&pairs).as_ref(), noise.pair_sd().powi(2))
        .map(|(ratio, weight)| {
            // Pairs that are calmer are more alike; wilder ones are noisier runs.
            let correlation = 1.0 - ratio.min(1.0) * (1.0 - noise.correlation());
            let information = Information::of(layout, correlation);
            let (a, b) = (score(&information, &ours, &theirs), score(&information, &theirs, &ours));
            let (candidate, champion) =
                (information.candidate + information.shared, information.champion + information.shared);
            let estimate = (champion * a - candidate * b) / information.determinant();
            (weight, estimate, ratio.max(1.0) * information.variance(noise))
        })
        .collect();
    let total: f64 = told.iter().map(|(weight, _, _)| weight).sum();
    let estimate = told.iter().map(|(weight, estimate, _)| weight * estimate).sum::<f64>() / total;
    let seeds =
        told.iter().map(|(weight, found, variance)| weight * (variance + (found - estimate).powi(2))).sum::<f64>()
            / total;
    let documents = document_part(candidate, champion, era);
    let share = f64::from(paired) / f64::from(candidate_runs);
    let seed_degrees = share * noise.pair_degrees + (1.0 - share) * noise.run_degrees;
    let (document_part, document_degrees) = documents.unwrap_or((0.0, f64::INFINITY));
    let variance = seeds + document_part;
    // Satterthwaite (1946).
    let degrees = variance.powi(2)
        / (seeds.powi(2) / seed_degrees + document_part.powi(2) / document_degrees).max(f64::MIN_POSITIVE);
    let degrees = if variance > 0.0 { degrees } else { seed_degrees };
    let standard_error = variance.sqrt();
    let reach = student_quantile(0.975, degrees) * standard_error;
    Some(Difference {
        estimate,
        standard_error,
        document_error: document_part.sqrt(),
        degrees,
        interval: (estimate - reach, estimate + reach),
        candidate_runs,
        champion_runs,
        paired,
    })
}

/// What the held-out text leaves open of a candidate's difference, bits per byte: [`Difference::document_error`] by itself. 0 where either
/// has no run in the champion's newest era.
pub(super) fn document_error(candidate: &[Run], champion: &[Run]) -> f64 {
    let Some(era) = newest_era(champion) else { return 0.0 };
    if by_seed(candidate, era).is_empty() || by_seed(champion, era).is_empty() {
        return 0.0;
    }
    document_part(candidate, champion, era).map_or(0.0, |(variance, _)| variance.sqrt())
}

/// The variance that the held-out text leaves, with its degrees of freedom. What is lost must not make a difference look surer.
fn document_part(candidate: &[Run], champion: &[Run], era: u32) -> Option<(f64, f64)> {
    match documents(candidate, champion, era) {
        Documents::Both => document_variance(candidate, champion, era),
        Documents::OneSided => {
            document_variance_alone(candidate, era).or_else(|| document_variance_alone(champion, era))
        }
        Documents::Neither => None,
    }
}

/// Which of two sides have figures per document in an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Documents {
    Both,
    OneSided,
    Neither,
}

pub(super) fn documents(candidate: &[Run], champion: &[Run], era: u32) -> Documents {
    let has = |runs: &[Run]| runs.iter().any(|run| run.era == era && run.documents.len() >= 2);
    match (has(candidate), has(champion)) {
        (true, true) => Documents::Both,
        (false, false) => Documents::Neither,
        _ => Documents::OneSided,
    }
}

/// The same for one side's own figure: the variance of its difference from a text's mean, documents being drawn anew.
fn document_variance_alone(runs: &[Run], era: u32) -> Option<(f64, f64)> {
    let run = runs.iter().find(|run| run.era == era && run.documents.len() >= 2)?;
    let none: Arc<[DocumentLoss]> =
        run.documents.iter().map(|document| DocumentLoss { nats: 0.0, bytes: document.bytes }).collect();
    document_variance(runs, &[Run { documents: none, ..run.clone() }], era)
}

/// Variance of the difference over held-out documents, with its degrees of freedom. Runs that were measured on other documents than the
/// candidate's first cannot be paired and stay out; `None` when nothing is left or there are fewer than two documents.
fn document_variance(candidate: &[Run], champion: &[Run], era: u32) -> Option<(f64, f64)> {
    let reference = candidate.iter().find(|run| run.era == era && run.documents.len() >= 2)?.documents.clone();
    let means = |runs: &[Run]| -> Option<Vec<f64>> {
        let mut sums = vec![0.0; reference.len()];
        let mut count = 0.0;
        for run in runs.iter().filter(|run| run.era == era && same_documents(&run.documents, &reference)) {
            count += 1.0;
            for (sum, document) in sums.iter_mut().zip(run.documents.iter()) {
                *sum += document.nats;
            }
        }
        (count > 0.0).then(|| sums.into_iter().map(|sum| sum / count).collect())
    };
    let (ours, theirs) = (means(candidate)?, means(champion)?);
    let bits: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| (a - b) / std::f64::consts::LN_2).collect();
    let bytes: Vec<f64> = reference.iter().map(|document| f64::from(document.bytes)).collect();
    let total: f64 = bytes.iter().sum();
    if total <= 0.0 || bits.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let ratio = bits.iter().sum::<f64>() / total;
    let n = bits.len() as f64;
    let squares: f64 = bits.iter().zip(&bytes).map(|(d, b)| (d - ratio * b).powi(2)).sum();
    Some((n / (n - 1.0) * squares / (total * total), n - 1.0))
}

fn same_documents(some: &[DocumentLoss], others: &[DocumentLoss]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.bytes == other.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::spread::Spread;

    fn noise(run_sd: f64, correlation: f64) -> Noise {
        let run = run_sd * run_sd;
        Noise {
            seed_variance: correlation * run,
            rest_variance: (1.0 - correlation) * run,
            spread: Spread::alike(),
            run_degrees: 1e6,
            pair_degrees: 1e6,
            runs: 0,
            commits: 0,
            contrasts: 0,
        }
    }

    fn runs(values: &[(u32, f64)]) -> Vec<Run> {
        values.iter().map(|&(seed, val_bpb)| Run { seed, val_bpb, era: 0, documents: [].into() }).collect()
    }

    #[test]
    fn standard_errors_are_those_of_the_textbook() {
        let many: Vec<(u32, f64)> = (0..1000).map(|seed| (seed, 1.0)).collect();
        // (candidate's seeds, champion's runs, correlation, variance in run variances)
        for (seeds, champion, correlation, variance) in [
            (vec![(0, 1.0)], vec![(0, 1.0)], 0.0, 2.0),
            (vec![(0, 1.0)], vec![(0, 1.0)], 0.9, 0.2),
            (vec![(5, 1.0)], vec![(0, 1.0)], 0.9, 2.0),
            (vec![(0, 1.0), (1, 1.0)], vec![(0, 1.0), (1, 1.0)], 0.5, 0.5),
            (vec![(0, 1.0)], many.clone(), 0.0, 1.0),
            // The champion's other runs tell how far off its run under the shared seed was: 1 - r^2.
            (vec![(0, 1.0)], many, 0.9, 0.19),
        ] {
            let found = difference(&runs(&seeds), &runs(&champion), &noise(0.001, correlation)).unwrap();
            let relative = found.standard_error.powi(2) / 1e-6;
            let allowed = if champion.len() > 100 { 0.003 } else { 1e-9 };
            // A pair takes only the variance of its difference; regression on the pair can better it, never worsen it.
            if champion.len() > 100 && correlation > 0.5 {
                assert!(relative <= 0.2 + 1e-9, "{relative}");
            } else {
                assert!((relative - variance).abs() < allowed, "{relative} for {variance}");
            }
        }
    }

    #[test]
    fn what_seeds_share_drops_out() {
        let champion = runs(&[(0, 1.5), (1, 1.0), (2, 0.7)]);
        let candidate = runs(&[(0, 1.49), (1, 0.99), (2, 0.69)]);
        let found = difference(&candidate, &champion, &noise(0.4, 0.999)).unwrap();
        assert!((found.estimate + 0.01).abs() < 1e-12, "{found:?}");
        assert_eq!((found.candidate_runs, found.champion_runs, found.paired), (3, 3, 3));
        assert!(found.interval.0 < found.estimate && found.estimate < found.interval.1);
    }

    #[test]
    fn pairs_that_agree_are_trusted_more_and_those_that_do_not_less() {
        let scatters = [1e-9, 1e-9, 1e-9, 1e-6, 2e-6, 1e-6].map(|squares| Scatter { squares, degrees: 2.0 });
        let pooled = noise(0.001, 0.5);
        let noise = Noise { spread: Spread::learn(&scatters, 1e-6), ..pooled };
        let champion = runs(&[(0, 1.002), (1, 1.0), (2, 0.998)]);
        let error = |noise: &Noise, differences: [f64; 3]| {
            let candidate: Vec<Run> = champion
                .iter()
                .zip(differences)
                .map(|(run, difference)| Run { val_bpb: run.val_bpb + difference, ..run.clone() })
                .collect();
            difference(&candidate, &champion, noise).unwrap().standard_error
        };
        let (calm, wild) = ([0.0, 0.000_02, -0.000_02], [0.003, -0.002, 0.004]);
        assert!((error(&pooled, calm) - error(&pooled, wild)).abs() < 1e-12);
        assert!(error(&noise, calm) < 0.3 * error(&pooled, calm), "{}", error(&noise, calm));
        assert!(error(&noise, wild) > 1.05 * error(&pooled, wild), "{}", error(&noise, wild));
    }

    #[test]
    fn only_the_champions_newest_era_counts() {
        let mut champion = runs(&[(0, 1.0), (1, 1.0)]);
        champion[1].era = 1;
        let mut candidate = runs(&[(0, 0.5), (1, 0.9)]);
        assert!(difference(&candidate, &champion, &noise(0.01, 0.5)).is_none());
        candidate[1].era = 1;
        let found = difference(&candidate, &champion, &noise(0.01, 0.5)).unwrap();
        assert!((found.estimate + 0.1).abs() < 1e-12 && found.candidate_runs == 1, "{found:?}");
    }

    #[test]
    fn documents_add_what_the_text_leaves_open() {
        let documents = |nats: &[f64]| -> std::sync::Arc<[DocumentLoss]> {
            nats.iter().map(|&nats| DocumentLoss { nats, bytes: 100 }).collect()
        };
        let mut champion = runs(&[(0, 1.0)]);
        let mut candidate = runs(&[(0, 0.99)]);
        let bare = difference(&candidate, &champion, &noise(0.001, 0.5)).unwrap();
        champion[0].documents = documents(&[70.0, 70.0, 70.0, 70.0]);
        candidate[0].documents = documents(&[69.0, 69.0, 69.0, 69.0]);
        let even = difference(&candidate, &champion, &noise(0.001, 0.5)).unwrap();
        assert!(
            (even.standard_error - bare.standard_error).abs() < 1e-12,
            "the same in every document is no sampling error"
        );
        candidate[0].documents = documents(&[60.0, 78.0, 69.0, 69.0]);
        let uneven = difference(&candidate, &champion, &noise(0.001, 0.5)).unwrap();
        // Bits: -10, 8, -1, -1 over ln 2; residuals about -1: -9, 9, 0, 0.
        let expected = (4.0 / 3.0 * 162.0_f64).sqrt() / std::f64::consts::LN_2 / 400.0;
        assert!(
            (uneven.standard_error.powi(2) - bare.standard_error.powi(2) - expected * expected).abs() < 1e-12,
            "{uneven:?}"
        );
        assert!(uneven.degrees < 4.0, "four documents are few");
        candidate[0].documents = documents(&[60.0]);
        let other = difference(&candidate, &champion, &noise(0.001, 0.5)).unwrap();
        assert!(other.document_error == 0.0);
    }

    proptest::proptest! {
        #[test]
        fn a_shift_of_one_side_is_found_and_more_runs_never_hurt(
            ours in proptest::collection::btree_map(0_u32..8, 0.9..1.1_f64, 1..6),
            theirs in proptest::collection::btree_map(0_u32..8, 0.9..1.1_f64, 1..8),
            correlation in 0.0..0.99_f64,
            shift in -0.1..0.1_f64,
        ) {
            let of = |map: &std::collections::BTreeMap<u32, f64>| runs(&map.iter().map(|(s, v)| (*s, *v)).collect::<Vec<_>>());
            let noise = noise(0.01, correlation);
            let (candidate, champion) = (of(&ours), of(&theirs));
            let before = difference(&candidate, &champion, &noise).unwrap();
            let mut shifted = candidate.clone();
            for run in &mut shifted { run.val_bpb += shift; }
            let after = difference(&shifted, &champion, &noise).unwrap();
            proptest::prop_assert!((after.estimate - before.estimate - shift).abs() < 1e-9);
            let mut more = champion.clone();
            more.push(Run { seed: 100, val_bpb: 1.0, era: 0, documents: [].into() });
            let sharper = difference(&candidate, &more, &noise).unwrap();
            proptest::prop_assert!(sharper.standard_error <= before.standard_error * (1.0 + 1e-9));
        }
    }
}

#[cfg(test)]
mod lost_documents {
    use super::*;
    use crate::stats::Rules;

    #[test]
    fn what_one_side_has_lost_never_makes_a_difference_surer() {
        let documents = |nats: &[f64]| -> Arc<[DocumentLoss]> {
            nats.iter().map(|&nats| DocumentLoss { nats, bytes: 100 }).collect()
        };
        let run = |val_bpb: f64, documents: Arc<[DocumentLoss]>| [Run { seed: 0, val_bpb, era: 0, documents }];
        let noise = Noise::expected(&Rules::default());
        let (full, other) = (documents(&[60.0, 75.0, 80.0, 65.0]), documents(&[60.5, 74.0, 80.0, 66.0]));
        let both = difference(&run(0.99, full.clone()), &run(1.0, other), &noise).unwrap();
        assert!(both.document_error > 0.0);
        for (candidate, champion) in [(full.clone(), documents(&[])), (documents(&[]), full)] {
            let lost = difference(&run(0.99, candidate), &run(1.0, champion), &noise).unwrap();
            assert!(lost.standard_error > both.standard_error, "{lost:?} {both:?}");
        }
    }
}
