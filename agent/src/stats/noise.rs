//! How much runs differ when nothing that matters differs.
//!
//! Model: a run of commit `c` under seed `s` gives `y = m_c + b_s + e_cs`. The seed's part `b` (initial values, order of the data) is
//! shared by all commits under that seed, with variance `tau^2`; the rest `e` has variance `omega^2`. So one run has the variance
//! `tau^2 + omega^2`, the difference of two runs under one seed `2 omega^2`, and paired runs correlate by `tau^2 / (tau^2 + omega^2)`.
//!
//! Estimation: restricted likelihood (Patterson and Thompson, 1971) of all commits with two or more runs, their means being free,
//! averaged over a grid of correlations with a weak prior; given the correlation, the variance has a scaled inverse chi-squared prior
//! and posterior (Gelman et al., Bayesian Data Analysis, chapters 2 and 5). Outliers are drawn in before (Huber, 1964).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use super::spread::{Scatter, Spread};

/// One run, as far as noise is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The commit, within its night (and era).
    pub group: u64,
    /// The commit of the same night that it was compared with, its champion, where that is known.
    #[serde(default)]
    pub against: Option<u64>,
    /// The night; seeds of different nights are different seeds.
    pub night: u64,
    /// The seed's index in the night's list.
    pub seed: u32,
    /// Bits per byte.
    pub val_bpb: f64,
}

/// What is known of the noise. Variances are in (bits per byte)^2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Variance of what runs of one seed share.
    pub seed_variance: f64,
    /// Variance of the rest.
    pub rest_variance: f64,
    /// How unequally ideas scatter about that.
    pub spread: Spread,
    /// Degrees of freedom of the variance of one run.
    pub run_degrees: f64,
    /// Degrees of freedom of the variance of a paired difference.
    pub pair_degrees: f64,
    /// Runs that told something: those of commits with two or more.
    pub runs: u32,
    /// Commits that these are of.
    pub commits: u32,
    /// Independent comparisons within commits: runs less commits.
    pub contrasts: u32,
}

/// Degrees of freedom that the expected sd of a run is worth.
const PRIOR_DEGREES: f64 = 3.0;

/// Correlations over which the likelihood is averaged; 1 itself is left out, where a single pair would know everything.
const CORRELATIONS: [f64; 16] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99];

/// The prior of the correlation is a beta density with these two parameters, discretised: mean one half.
const PRIOR_CORRELATION: (f64, f64) = (2.0, 2.0);

/// Residuals beyond this many robust standard deviations are drawn in.
const FAR_OUT: f64 = 4.0;

/// Contrasts from which on a robust standard deviation is worth something.
const ENOUGH_TO_JUDGE_OUTLIERS: usize = 8;

impl Noise {
    /// What is believed before anything was measured.
    pub fn expected(rules: &Rules) -> Noise {
        Self::estimate(&[], rules)
    }

    /// Estimates from all runs of this night and of earlier ones. Commits with one run say nothing and are passed over; of several
    /// runs of one commit under one seed their mean counts; figures that are not finite do not count.
    pub fn estimate(observations: &[Observation], rules: &Rules) -> Noise {
        let nights = drawn_in(nights(observations));
        let (mut runs, mut commits) = (0, 0);
        for commit in nights.iter().flatten() {
            runs += commit.len();
            commits += 1;
        }
        let forms: Vec<Form> = nights.iter().map(|night| Form::of(night)).collect();
        let contrasts = runs - commits;
        let degrees = PRIOR_DEGREES + contrasts as f64;
        let prior_squares = PRIOR_DEGREES * rules.expected_run_sd.powi(2);

        // Per correlation: log weight and the variance of a run.
        let points: Vec<(f64, f64, f64)> = CORRELATIONS
            .iter()
            .enumerate()
            .map(|(i, &correlation)| {
                let (mut log_determinant, mut squares) = (0.0, prior_squares);
                for form in &forms {
                    let (determinant, quadratic) = form.at(correlation);
                    log_determinant += determinant;
                    squares += quadratic;
                }
                let log_weight = log_prior(i) - 0.5 * log_determinant - 0.5 * degrees * squares.ln();
                (correlation, log_weight, squares / degrees)
            })
            .collect();
        let most = points.iter().map(|(_, weight, _)| *weight).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = points.iter().map(|(_, weight, _)| (weight - most).exp()).sum();
        let mean = |value: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|&(r, weight, variance)| (weight - most).exp() / total * value(r, variance)).sum()
        };
        let run = mean(&|_, variance| variance);
        let rest = mean(&|r, variance| (1.0 - r) * variance);
        // A chi-squared variance with d degrees has a logarithm whose variance is about 2 / d; not knowing the correlation adds to it.
        let degrees_of = |log: &dyn Fn(f64, f64) -> f64| -> f64 {
            let middle = mean(log);
            let spread = mean(&|r, variance| (log(r, variance) - middle).powi(2));
            2.0 / (2.0 / degrees + spread)
        };
        Noise {
            seed_variance: (run - rest).max(0.0),
            rest_variance: rest,
            spread: if rules.own_spread { Spread::learn(&scatters(observations), 2.0 * rest) } else { Spread::alike() },
            run_degrees: degrees_of(&|_, variance| variance.ln()),
            pair_degrees: degrees_of(&|r, variance| ((1.0 - r) * variance).ln()),
            runs: runs as u32,
            commits: commits as u32,
            contrasts: contrasts as u32,
        }
    }

    /// The same, all ideas being taken to scatter alike.
    pub fn pooled(&self) -> Noise {
        Noise { spread: Spread::alike(), ..*self }
    }

    /// sd of one run, bits per byte.
    pub fn run_sd(&self) -> f64 {
        (self.seed_variance + self.rest_variance).sqrt()
    }

    /// sd of the difference of two commits' runs under one seed, bits per byte.
    pub fn pair_sd(&self) -> f64 {
        (2.0 * self.rest_variance).sqrt()
    }

    /// Correlation of two commits' runs under one seed, 0 to 1.
    pub fn correlation(&self) -> f64 {
        let run = self.seed_variance + self.rest_variance;
        if run > 0.0 { self.seed_variance / run } else { 0.0 }
    }
}

/// Logarithm of the prior weight of a grid point: the density times the stretch of the axis that the point stands for.
fn log_prior(i: usize) -> f64 {
    let r = CORRELATIONS[i].clamp(0.01, 0.995);
    let low = if i == 0 { 0.0 } else { 0.5 * (CORRELATIONS[i - 1] + CORRELATIONS[i]) };
    let high = if i + 1 == CORRELATIONS.len() { 1.0 } else { 0.5 * (CORRELATIONS[i] + CORRELATIONS[i + 1]) };
    let (a, b) = PRIOR_CORRELATION;
    (a - 1.0) * r.ln() + (b - 1.0) * (1.0 - r).ln() + (high - low).ln()
}

/// A commit's runs: seed and bits per byte.
type Commit = Vec<(u32, f64)>;

/// How the pairs of each commit with its champion scatter, under the seeds that both ran under.
fn scatters(observations: &[Observation]) -> Vec<Scatter> {
    let mut runs: BTreeMap<(u64, u64), BTreeMap<u32, f64>> = BTreeMap::new();
    let mut champions: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for seen in observations.iter().filter(|seen| seen.val_bpb.is_finite()) {
        runs.entry((seen.night, seen.group)).or_default().entry(seen.seed).or_insert(seen.val_bpb);
        if let Some(champion) = seen.against.filter(|champion| *champion != seen.group) {
            champions.insert((seen.night, seen.group), champion);
        }
    }
    let of = |(&(night, group), champion): (&(u64, u64), &u64)| {
        let (ours, theirs) = (runs.get(&(night, group))?, runs.get(&(night, *champion))?);
        let pairs: Vec<f64> = ours.iter().filter_map(|(seed, value)| Some(value - theirs.get(seed)?)).collect();
        Scatter::of(&pairs)
    };
    champions.iter().filter_map(of).collect()
}

/// Commits with two or more seeds, by night, in a fixed order.
fn nights(observations: &[Observation]) -> Vec<Vec<Commit>> {
    let mut sums: BTreeMap<(u64, u64), BTreeMap<u32, (f64, f64)>> = BTreeMap::new();
    for seen in observations.iter().filter(|seen| seen.val_bpb.is_finite()) {
        let commit = sums.entry((seen.night, seen.group)).or_default();
        let sum = commit.entry(seen.seed).or_insert((0.0, 0.0));
        *sum = (sum.0 + seen.val_bpb, sum.1 + 1.0);
    }
    let mut nights: BTreeMap<u64, Vec<Commit>> = BTreeMap::new();
    for ((night, _), runs) in sums.into_iter().filter(|(_, runs)| runs.len() >= 2) {
        let commit = runs.into_iter().map(|(seed, (sum, count))| (seed, sum / count)).collect();
        nights.entry(night).or_default().push(commit);
    }
    nights.into_values().collect()
}

/// Draws in what lies far out of its commit's middle, so that one broken run does not stand for the noise of all.
fn drawn_in(mut nights: Vec<Vec<Commit>>) -> Vec<Vec<Commit>> {
    let mut sizes: Vec<f64> = Vec::new();
    let mut contrasts = 0;
    for commit in nights.iter().flatten() {
        let middle = median(commit.iter().map(|run| run.1).collect());
        let widen = (commit.len() as f64 / (commit.len() as f64 - 1.0)).sqrt();
        sizes.extend(commit.iter().map(|run| widen * (run.1 - middle).abs()));
        contrasts += commit.len() - 1;
    }
    if contrasts < ENOUGH_TO_JUDGE_OUTLIERS {
        return nights;
    }
    // 1.4826: the median of a normal's absolute value is its sd over this.
    let reach = FAR_OUT * 1.482_6 * median(sizes);
    if reach > 0.0 {
        for commit in nights.iter_mut().flatten() {
            let middle = median(commit.iter().map(|run| run.1).collect());
            for run in commit {
                run.1 = run.1.clamp(middle - reach, middle + reach);
            }
        }
    }
    nights
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[half],
        _ => 0.5 * (values[half - 1] + values[half]),
    }
}

/// What the restricted likelihood of a night needs, commits' means taken out: with `Z` for which run has which seed and `M` for
/// centring within commits, `Z'MZ`, `Z'My` and `y'My`.
struct Form {
    seeds: usize,
    contrasts: f64,
    matrix: Vec<f64>,
    vector: Vec<f64>,
    squares: f64,
}

impl Form {
    fn of(commits: &[Commit]) -> Form {
        let names: BTreeMap<u32, usize> = {
            let mut seeds: Vec<u32> = commits.iter().flatten().map(|run| run.0).collect();
            seeds.sort_unstable();
            seeds.dedup();
            seeds.into_iter().enumerate().map(|(i, seed)| (seed, i)).collect()
        };
        let seeds = names.len();
        let mut form =
            Form { seeds, contrasts: 0.0, matrix: vec![0.0; seeds * seeds], vector: vec![0.0; seeds], squares: 0.0 };
        for commit in commits {
            let count = commit.len() as f64;
            let mean = commit.iter().map(|run| run.1).sum::<f64>() / count;
            form.contrasts += count - 1.0;
            for (seed, value) in commit {
                let i = names[seed];
                form.matrix[i * seeds + i] += 1.0;
                form.vector[i] += value - mean;
                form.squares += (value - mean).powi(2);
                for (other, _) in commit {
                    form.matrix[i * seeds + names[other]] -= 1.0 / count;
                }
            }
        }
        form
    }

    /// Logarithm of the determinant of the contrasts' covariance and their quadratic form, for a run's variance of 1.
    fn at(&self, correlation: f64) -> (f64, f64) {
        let (n, ratio) = (self.seeds, correlation / (1.0 - correlation));
        // Cholesky factor of I + ratio Z'MZ, which is positive definite, and the solution of its system on the way.
        let mut factor = vec![0.0; n * n];
        let mut solved = vec![0.0; n];
        let mut log_determinant = self.contrasts * (1.0 - correlation).ln();
        for i in 0..n {
            for j in 0..=i {
                let inner: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
                let value = f64::from(u8::from(i == j)) + ratio * self.matrix[i * n + j] - inner;
                factor[i * n + j] = if i == j { value.max(1e-12).sqrt() } else { value / factor[j * n + j] };
            }
            let inner: f64 = (0..i).map(|k| factor[i * n + k] * solved[k]).sum();
            solved[i] = (self.vector[i] - inner) / factor[i * n + i];
            log_determinant += 2.0 * factor[i * n + i].ln();
        }
        let explained: f64 = solved.iter().map(|value| value * value).sum();
        (log_determinant, (self.squares - ratio * explained).max(0.0) / (1.0 - correlation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Lots;

    /// Runs of `commits` commits under the first `seeds` seeds of a night, none of them picked.
    fn observed(run_sd: f64, correlation: f64, commits: u64, seeds: u32, lot: u64) -> Vec<Observation> {
        let mut lots = Lots::new(lot);
        let shared: Vec<f64> = (0..seeds).map(|_| run_sd * correlation.sqrt() * lots.normal()).collect();
        let mut all = Vec::new();
        for group in 0..commits {
            for seed in 0..seeds {
                let rest = run_sd * (1.0 - correlation).sqrt() * lots.normal();
                let val_bpb = 1.0 + 0.01 * group as f64 + shared[seed as usize] + rest;
                all.push(Observation { group, against: None, night: 1, seed, val_bpb });
            }
        }
        all
    }

    #[test]
    fn what_was_put_in_is_found() {
        let rules = Rules::default();
        for (run_sd, correlation) in [(0.0015, 0.0), (0.0015, 0.5), (0.0015, 0.9), (0.01, 0.5)] {
            let noise = Noise::estimate(&observed(run_sd, correlation, 20, 16, 7), &rules);
            assert!((noise.run_sd() / run_sd - 1.0).abs() < 0.25, "{} for {run_sd} {correlation}", noise.run_sd());
            let pair_sd = run_sd * (2.0 * (1.0 - correlation)).sqrt();
            assert!((noise.pair_sd() / pair_sd - 1.0).abs() < 0.12, "{} for {pair_sd}", noise.pair_sd());
            assert!(noise.pair_degrees > 100.0 && noise.run_degrees > 10.0, "{noise:?}");
            assert_eq!((noise.runs, noise.commits, noise.contrasts), (320, 20, 300));
        }
    }

    #[test]
    fn nothing_measured_is_the_expectation_with_few_degrees() {
        let rules = Rules { expected_run_sd: 0.004, ..Rules::default() };
        let noise = Noise::expected(&rules);
        assert!((noise.run_sd() - 0.004).abs() < 1e-12 && (noise.correlation() - 0.5).abs() < 0.02, "{noise:?}");
        assert!(noise.run_degrees <= PRIOR_DEGREES + 1e-9 && noise.pair_degrees < noise.run_degrees);
    }

    #[test]
    fn single_runs_and_broken_figures_say_nothing() {
        let rules = Rules::default();
        let mut all = observed(0.0015, 0.5, 8, 6, 3);
        let before = Noise::estimate(&all, &rules);
        all.push(Observation { group: 100, against: None, night: 1, seed: 0, val_bpb: 9.0 });
        all.push(Observation { group: 3, against: None, night: 1, seed: 12, val_bpb: f64::NAN });
        assert_eq!(Noise::estimate(&all, &rules), before);
    }

    #[test]
    fn one_broken_run_does_not_stand_for_the_noise() {
        let rules = Rules::default();
        let mut all = observed(0.0015, 0.5, 8, 6, 5);
        let before = Noise::estimate(&all, &rules).run_sd();
        all[20].val_bpb += 0.5;
        let after = Noise::estimate(&all, &rules).run_sd();
        assert!(after < 2.0 * before, "{after} after {before}");
    }

    #[test]
    fn an_idea_is_held_against_its_own_champion() {
        let mut lots = Lots::new(9);
        let champion: Vec<f64> = (0..6).map(|_| 0.01 * lots.normal()).collect();
        let mut calm = Vec::new();
        for group in 0..12 {
            for seed in 0..3 {
                let luck = champion[seed as usize] + 0.0002 * lots.normal();
                let val_bpb = 1.0 + 0.001 * group as f64 + luck;
                calm.push(Observation { group, against: Some(0), night: 1, seed, val_bpb });
            }
        }
        // The same runs, of ideas whose champion is not known or is another.
        let of = |against: Option<u64>| -> Spread {
            let all: Vec<Observation> = calm.iter().map(|seen| Observation { against, ..*seen }).collect();
            let scatters = scatters(&all);
            Spread::learn(&scatters, 2.0 * 0.01_f64.powi(2))
        };
        assert!(of(Some(0)).wild() < 0.6 && of(None).wild() > 0.9 && of(Some(77)) == of(None), "{:?}", of(Some(0)));
    }

    proptest::proptest! {
        #[test]
        fn any_figures_give_a_noise_that_can_be_used(
            figures in proptest::collection::vec((0_u64..4, 0_u64..3, 0_u32..5, -1e3..1e3_f64), 0..40)
        ) {
            let all: Vec<Observation> = figures.into_iter()
                .map(|(group, night, seed, val_bpb)| Observation { group, against: (group > 0).then_some(0), night, seed, val_bpb }).collect();
            let noise = Noise::estimate(&all, &Rules::default());
            proptest::prop_assert!(noise.run_sd() > 0.0 && noise.run_sd().is_finite());
            proptest::prop_assert!((0.0..=1.0).contains(&noise.correlation()));
            proptest::prop_assert!(noise.pair_sd() <= 2.0_f64.sqrt() * noise.run_sd() * (1.0 + 1e-9));
            proptest::prop_assert!(noise.run_degrees > 0.0 && noise.pair_degrees > 0.0);
        }
    }
}
