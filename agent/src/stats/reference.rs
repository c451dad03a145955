//! What a run of the champion would measure, as far as everything that the night has run tells it.
//!
//! A candidate is compared with its champion's *level*. The champion's own runs tell it, but so do others: a new champion's level is
//! its predecessor's plus the effect for which it was kept, which is known to lie within what effects are like; and most candidates
//! differ little from their champion, so that their runs place it too (as Efron's empirical null is placed by the bulk of all that was
//! tested; Large-Scale Inference, 2010, chapter 6). With every run counting, hardly any run is spent on the champion alone.
//!
//! Model: as in [`super::noise`], `y = level + effect + b_s + e`. Level, effect under test and the seeds' parts are jointly normal and
//! updated run by run (Kalman, 1960); the effect's distribution, a mixture, enters as the normal one that has the right posterior
//! moments (assumed-density filtering, as in Minka, Expectation propagation, 2001). Everything is computed anew from the runs, because what
//! is known of noise and effects changes with each of them.
//!
//! Ideas scatter unequally ([`super::spread`]): where the pairs of one have a smaller variance than is usual, `ratio` times it, its `e` is
//! in part its champion's, `1 - ratio` times that one's run under the same seed; where they have a larger one, its own `e` is larger.
//! How likely its runs are by each ratio, whatever the effect (restricted likelihood), says which it is, and all are accounted for.

use std::collections::BTreeMap;

use super::Run;
use super::difference::newest_era;
use super::mixture::{Mixture, Seen};
use super::noise::Noise;
use super::race::SEARCH_SEEDS;
use super::spread::Spread;

/// What a trial that was stopped early showed of how it would have ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glimpse {
    /// Seed's index.
    pub seed: u32,
    /// Bits per byte that it would have ended at.
    pub val_bpb: f64,
    /// sd of the error of that, beyond a run's own noise.
    pub error: f64,
    /// As in [`Run`].
    pub era: u32,
}

/// A settled experiment, as far as the level is concerned.
#[derive(Debug, Clone, PartialEq)]
struct Settled {
    runs: Vec<Run>,
    glimpse: Option<Glimpse>,
    /// What was believed of its effect beforehand, where that was not what is believed of any fresh idea.
    prior: Option<Mixture>,
    kept: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Champion(Run),
    Settled(Settled),
}

/// The night's runs so far: the champion's, and those of everything that was tested.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reference {
    entries: Vec<Entry>,
    champion: Vec<Run>,
    learnt: u64,
}

impl Reference {
    /// Nothing run yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs of the present champion, those that it had as a candidate included.
    pub fn champion(&self) -> &[Run] {
        &self.champion
    }

    /// Grows whenever something is learnt or forgotten: as long as it is the same, so is the level under the same noise and beliefs.
    pub fn learnt(&self) -> u64 {
        self.learnt
    }

    /// Nothing that ran so far can be used any more.
    pub fn forget(&mut self) {
        self.learnt += 1;
        self.entries.clear();
        self.champion.clear();
    }

    /// The champion had a run. A run of a newer era makes all that was before unusable, for everyone.
    pub fn champion_ran(&mut self, run: Run) {
        self.learnt += 1;
        if newest_era(&self.champion).is_some_and(|era| run.era > era) {
            self.forget();
        }
        // A seed that is run again (to watch for drift) tells no more of the level than it did: the run is the same one.
        if !self.champion.iter().any(|ran| ran.seed == run.seed) {
            self.entries.push(Entry::Champion(run.clone()));
        }
        self.champion.push(run);
    }

    /// An experiment was dropped or left open. `prior`: what was believed of its effect, where it was no fresh idea.
    pub fn dropped(&mut self, runs: Vec<Run>, glimpse: Option<Glimpse>, prior: Option<Mixture>) {
        self.learnt += 1;
        self.entries.push(Entry::Settled(Settled { runs, glimpse, prior, kept: false }));
    }

    /// An experiment was kept: it is the champion from now on.
    pub fn kept(&mut self, runs: Vec<Run>, prior: Option<Mixture>) {
        self.learnt += 1;
        self.champion = runs.clone();
        self.entries.push(Entry::Settled(Settled { runs, glimpse: None, prior, kept: true }));
    }

    /// What is known of the champion's level. `fresh` is what is believed of a fresh idea. `None` before the champion has run.
    pub fn level(&self, fresh: &Mixture, noise: &Noise) -> Option<Level> {
        let era = newest_era(&self.champion)?;
        let origin = self.champion.first()?.val_bpb;
        let mut level = Level::new(era, origin, noise);
        for entry in &self.entries {
            match entry {
                Entry::Champion(run) => {
                    level.observe(&Point::of(run), false, 1.0);
                    level.partners.insert(run.seed, run.val_bpb);
                }
                Entry::Settled(settled) => {
                    let points = points(&settled.runs, settled.glimpse.as_ref(), era);
                    level.settle(&points, settled.prior.as_ref().unwrap_or(fresh), settled.kept);
                }
            }
        }
        Some(level)
    }
}

/// A run or a glimpse of one.
#[derive(Debug, Clone, Copy)]
struct Point {
    seed: u32,
    value: f64,
    /// Variance beyond that of a run.
    extra: f64,
}

impl Point {
    fn of(run: &Run) -> Point {
        Point { seed: run.seed, value: run.val_bpb, extra: 0.0 }
    }
}

fn points(runs: &[Run], glimpse: Option<&Glimpse>, era: u32) -> Vec<Point> {
    let run = runs.iter().filter(|run| run.era == era && run.val_bpb.is_finite()).map(Point::of);
    let glimpse = glimpse.filter(|glimpse| glimpse.era == era);
    run.chain(glimpse.map(|g| Point { seed: g.seed, value: g.val_bpb, extra: g.error * g.error })).collect()
}

/// Joint normal distribution of the champion's level, the effect under test and the seeds' parts, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Runs of another era do not compare with it.
    era: u32,
    origin: f64,
    mean: [f64; SIZE],
    covariance: [[f64; SIZE]; SIZE],
    rest: f64,
    spread: Spread,
    /// The champion's own runs, by seed.
    partners: BTreeMap<u32, f64>,
}

/// What a run is a measure of, where the pairs of its idea have `ratio` times the usual variance: `value` is what is left of it once
/// the champion's share is taken out, `share` the share of level and seed that is left too, `own` the variance of its own.
struct Residue {
    value: f64,
    share: f64,
    own: f64,
}

const SIZE: usize = 2 + SEARCH_SEEDS as usize;
const LEVEL: usize = 0;
const EFFECT: usize = 1;

/// What was seen by one ratio.
struct Compared {
    estimate: f64,
    error: f64,
    /// Restricted: whatever the difference.
    log_likelihood: f64,
}

/// Accounts by less than this share of the best one's weight are left out.
const NEGLIGIBLE: f64 = 1e-3;

/// Nothing is known of the first level: its sd in sds of a run.
const UNKNOWN: f64 = 1e3;

impl Level {
    fn new(era: u32, origin: f64, noise: &Noise) -> Level {
        let mut covariance = [[0.0; SIZE]; SIZE];
        covariance[LEVEL][LEVEL] = (UNKNOWN * noise.run_sd()).powi(2);
        for (i, row) in covariance.iter_mut().enumerate().skip(2) {
            row[i] = noise.seed_variance;
        }
        Level {
            era,
            origin,
            mean: [0.0; SIZE],
            covariance,
            rest: noise.rest_variance,
            spread: noise.spread,
            partners: BTreeMap::new(),
        }
    }

    fn seed(seed: u32) -> usize {
        2 + (seed % SEARCH_SEEDS) as usize
    }

    /// A run without what it has of its champion's run under the same seed.
    fn residue(&self, point: &Point, ratio: f64) -> Residue {
        let (value, theirs) = (point.value - self.origin, self.partners.get(&point.seed));
        match theirs.filter(|_| ratio < 1.0) {
            Some(theirs) => {
                let taken = 1.0 - ratio;
                let own = self.rest * (1.0 - taken * taken) + point.extra;
                Residue { value: value - taken * (theirs - self.origin), share: ratio, own }
            }
            None => Residue { value, share: 1.0, own: self.rest * (2.0 * ratio.max(1.0) - 1.0) + point.extra },
        }
    }

    /// Covariance of everything with what such a run measures.
    fn gains(&self, seed: u32, share: f64, with_effect: bool) -> [f64; SIZE] {
        let i = Self::seed(seed);
        std::array::from_fn(|k| {
            let row = &self.covariance[k];
            share * (row[LEVEL] + row[i]) + if with_effect { row[EFFECT] } else { 0.0 }
        })
    }

    fn observe(&mut self, point: &Point, with_effect: bool, ratio: f64) {
        let i = Self::seed(point.seed);
        let Residue { value, share, own } = self.residue(point, ratio);
        let gains = self.gains(point.seed, share, with_effect);
        let effect = |values: &[f64; SIZE]| if with_effect { values[EFFECT] } else { 0.0 };
        let expected = share * (self.mean[LEVEL] + self.mean[i]) + effect(&self.mean);
        let variance = share * (gains[LEVEL] + gains[i]) + effect(&gains) + own;
        let surprise = (value - expected) / variance.max(f64::MIN_POSITIVE);
        for (mean, gain) in self.mean.iter_mut().zip(&gains) {
            *mean += gain * surprise;
        }
        for (row, a) in self.covariance.iter_mut().zip(&gains) {
            for (value, b) in row.iter_mut().zip(&gains) {
                *value -= a * b / variance.max(f64::MIN_POSITIVE);
            }
        }
    }

    /// Takes in what a settled experiment told; one that was kept moves the level by its effect, and its runs are the champion's.
    fn settle(&mut self, points: &[Point], prior: &Mixture, kept: bool) {
        self.take_in(points, prior, kept);
        if kept {
            self.partners = points.iter().map(|point| (point.seed, point.value)).collect();
        }
    }

    fn take_in(&mut self, points: &[Point], prior: &Mixture, kept: bool) {
        let accounts = self.accounts(points);
        let Some(&(ratio, Seen { estimate, error, .. })) =
            accounts.iter().max_by(|a, b| a.1.weight.total_cmp(&b.1.weight))
        else {
            return;
        };
        let seen: Vec<Seen> = accounts.iter().map(|(_, seen)| *seen).collect();
        let (mean, variance) = prior.after(&seen).moments();
        let believed = (mean, variance);
        // The normal prior of the effect that gives these moments by the most probable account.
        let told = 1.0 / (error * error).max(f64::MIN_POSITIVE);
        let precision = 1.0 / variance.max(f64::MIN_POSITIVE) - told;
        let (mean, variance) = if precision > 1e-3 * told {
            ((mean / variance - estimate * told) / precision, 1.0 / precision)
        } else if kept {
            (estimate, 1e3 / told)
        } else {
            // It may be anything: it tells nothing of the level.
            return;
        };
        self.mean[EFFECT] = mean;
        self.covariance[EFFECT][EFFECT] = variance;
        for point in points {
            self.observe(point, true, ratio);
        }
        if kept {
            // Accounts that disagree leave more open than the most probable one by itself.
            self.mean[EFFECT] = believed.0;
            self.covariance[EFFECT][EFFECT] = self.covariance[EFFECT][EFFECT].max(believed.1);
            self.mean[LEVEL] += self.mean[EFFECT];
            let effect = self.covariance[EFFECT];
            for (value, more) in self.covariance[LEVEL].iter_mut().zip(effect) {
                *value += more;
            }
            let column: [f64; SIZE] = std::array::from_fn(|k| self.covariance[k][EFFECT]);
            for (row, value) in self.covariance.iter_mut().zip(column) {
                row[LEVEL] += value;
            }
        }
        self.mean[EFFECT] = 0.0;
        self.covariance[EFFECT] = [0.0; SIZE];
        for row in &mut self.covariance {
            row[EFFECT] = 0.0;
        }
    }

    /// A candidate's difference from the level, by each ratio that its pairs may have: best linear unbiased estimate and its standard
    /// error, by generalised least squares. Empty without any run of the level's era.
    pub fn difference(&self, runs: &[Run], glimpse: Option<&Glimpse>) -> Vec<Seen> {
        self.accounts(&points(runs, glimpse, self.era)).into_iter().map(|(_, seen)| seen).collect()
    }

    /// Ratios and what was seen by each.
    fn accounts(&self, points: &[Point]) -> Vec<(f64, Seen)> {
        let found: Vec<(f64, f64, Compared)> = self
            .spread
            .ratios(None, 1.0)
            .filter_map(|(ratio, weight)| {
                let compared = self.compare(points, ratio)?;
                Some((ratio, weight.ln() + compared.log_likelihood, compared))
            })
            .collect();
        let most = found.iter().map(|(_, log, _)| *log).fold(f64::NEG_INFINITY, f64::max);
        found
            .into_iter()
            .map(|(ratio, log, Compared { estimate, error, .. })| {
                (ratio, Seen { weight: (log - most).exp(), estimate, error })
            })
            .filter(|(_, seen)| seen.weight > NEGLIGIBLE)
            .collect()
    }

    fn compare(&self, points: &[Point], ratio: f64) -> Option<Compared> {
        let count = points.len();
        if count == 0 {
            return None;
        }
        let parts: Vec<Residue> = points.iter().map(|point| self.residue(point, ratio)).collect();
        // Cholesky factor of the covariance of the points about the level; ones and residuals, solved for on the way.
        let mut factor = vec![0.0; count * count];
        let (mut ones, mut residuals) = (vec![0.0; count], vec![0.0; count]);
        let mut log_determinant = 0.0;
        for a in 0..count {
            let seed = Self::seed(points[a].seed);
            let gains = self.gains(points[a].seed, parts[a].share, false);
            for b in 0..=a {
                let own = if a == b { parts[a].own } else { 0.0 };
                let inner: f64 = (0..b).map(|k| factor[a * count + k] * factor[b * count + k]).sum();
                let shared = parts[b].share * (gains[LEVEL] + gains[Self::seed(points[b].seed)]);
                let value = shared + own - inner;
                factor[a * count + b] =
                    if a == b { value.max(f64::MIN_POSITIVE).sqrt() } else { value / factor[b * count + b] };
            }
            let residual = parts[a].value - parts[a].share * (self.mean[LEVEL] + self.mean[seed]);
            let solve = |solved: &[f64], value: f64| {
                let inner: f64 = (0..a).map(|k| factor[a * count + k] * solved[k]).sum();
                (value - inner) / factor[a * count + a]
            };
            (ones[a], residuals[a]) = (solve(&ones, 1.0), solve(&residuals, residual));
            log_determinant += 2.0 * factor[a * count + a].ln();
        }
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let information = dot(&ones, &ones);
        let estimate = dot(&ones, &residuals) / information;
        let squares = dot(&residuals, &residuals) - information * estimate * estimate;
        let log_likelihood = -0.5 * (log_determinant + information.ln() + squares.max(0.0));
        (information > 0.0).then(|| Compared { estimate, error: (1.0 / information).sqrt(), log_likelihood })
    }

    /// Standard error of a candidate's difference, had it runs under these seeds and the champion one more under each of `more`.
    pub fn error_with(&self, seeds: &[u32], more: &[u32]) -> Option<f64> {
        let at = |&seed: &u32| Point { seed, value: self.origin, extra: 0.0 };
        let mut then = self.clone();
        for seed in more {
            then.observe(&at(seed), false, 1.0);
        }
        then.compare(&seeds.iter().map(at).collect::<Vec<_>>(), 1.0).map(|compared| compared.error)
    }

    /// What the champion is expected to measure under this seed, and the sd about that, bits per byte.
    pub fn expected(&self, seed: u32) -> (f64, f64) {
        let gains = self.gains(seed, 1.0, false);
        let i = Self::seed(seed);
        (self.origin + self.mean[LEVEL] + self.mean[i], (gains[LEVEL] + gains[i] + self.rest).max(0.0).sqrt())
    }

    /// Variance of a run about its seed's part, (bits per byte)^2: the least that a difference from a known level can have.
    pub fn rest_variance(&self) -> f64 {
        self.rest
    }
}

#[cfg(test)]
mod tests;
