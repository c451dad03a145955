//! Whether another trial pays: the race as a problem of optimal stopping.
//!
//! An experiment that is kept gains what it is expected to gain; every trial costs what a trial of a fresh idea would gain on average.
//! Under the mixture of [`super::belief`] the estimate after `n` trials is all that is known, so the best policy follows by going
//! backwards from the last trial that is allowed (Wald, Sequential Analysis, 1947; DeGroot, Optimal Statistical Decisions, 1970,
//! chapter 12). What a trial of a fresh idea gains is the ratio of gain to trials of that very policy, found by Dinkelbach's
//! iteration (1967): the value of a fresh idea is then zero.

use super::belief::{Belief, Kind};
use super::distributions::normal_below;

/// One stage of an experiment: what is known after its `n`-th trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stage {
    /// Variance of the estimate, (bits per byte)^2.
    pub variance: f64,
    /// Trials that it takes to come here from the stage before; more than one when the champion must run under a new seed too.
    pub cost: f64,
    /// Whether an experiment may be kept here.
    pub may_keep: bool,
}

/// When an experiment is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bar {
    /// Largest probability of no improvement.
    pub false_keep: f64,
    /// Least expected improvement, bits per byte.
    pub least: f64,
}

/// What going on is expected to bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prospect {
    /// Probability that the experiment ends kept.
    pub chance: f64,
    /// Expected gain, bits per byte; what is not kept gains nothing.
    pub gain: f64,
    /// Expected further trials.
    pub trials: f64,
}

/// The best policy.
#[derive(Debug, Clone)]
pub(super) struct Plan<'a> {
    belief: &'a Belief,
    stages: Vec<Stage>,
    grid: Grid,
    /// Per stage, the prospects at each point of the grid under the best policy.
    prospects: Vec<Vec<Prospect>>,
    /// What a trial of a fresh idea gains, bits per byte.
    pub rate: f64,
}

const NOTHING: Prospect = Prospect { chance: 0.0, gain: 0.0, trials: 0.0 };

/// Nodes and weights of five-point Gauss-Hermite quadrature for a standard normal.
const NODES: [(f64, f64); 5] = [
    (-2.856_970_013_872_806, 0.011_257_411_327_720_69),
    (-1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (0.0, 0.533_333_333_333_333_3),
    (1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (2.856_970_013_872_806, 0.011_257_411_327_720_69),
];

/// Rungs less probable than this do not count in a forecast.
const NEGLIGIBLE: f64 = 1e-4;

/// Rounds of Dinkelbach's iteration; it converges faster than linearly.
const ROUNDS: usize = 6;

/// Estimates at which policies are computed: dense about zero, sparse far out, in units of the first estimate's sd.
#[derive(Debug, Clone)]
struct Grid {
    points: Vec<f64>,
    unit: f64,
}

impl Grid {
    const LOW: f64 = -4.2;
    const STEP: f64 = 0.125;
    const POINTS: usize = 56;

    fn new(unit: f64) -> Grid {
        let points = (0..Self::POINTS).map(|i| unit * (Self::LOW + Self::STEP * i as f64).sinh()).collect();
        Grid { points, unit }
    }

    /// The point below and the share of the point above, clamped to the grid.
    fn place(&self, x: f64) -> (usize, f64) {
        let at = ((x / self.unit).asinh() - Self::LOW) / Self::STEP;
        let at = at.clamp(0.0, (Self::POINTS - 1) as f64 - 1e-9);
        let below = at.floor();
        (below as usize, at - below)
    }
}

impl<'a> Plan<'a> {
    /// The best policy over these stages. They must not be empty.
    pub(super) fn new(belief: &'a Belief, stages: Vec<Stage>, bar: Bar) -> Plan<'a> {
        let unit = stages.first().map_or(1.0, |stage| stage.variance.sqrt()).max(f64::MIN_POSITIVE);
        let grid = Grid::new(unit);
        // What does not depend on the rate: the gain of keeping, and where the next trial leads.
        let keeping: Vec<Vec<Option<f64>>> = stages
            .iter()
            .map(|stage| {
                grid.points.iter().map(|x| stage.may_keep.then(|| kept(belief, *x, stage.variance, bar))?).collect()
            })
            .collect();
        let steps: Vec<Vec<Vec<(usize, f64)>>> = stages
            .windows(2)
            .map(|pair| {
                grid.points.iter().map(|x| forecast(belief, &grid, *x, pair[0].variance, pair[1].variance)).collect()
            })
            .collect();
        let first = stages.first().map(|stage| fresh(belief, &grid, stage.variance)).unwrap_or_default();
        let first_cost = stages.first().map_or(1.0, |stage| stage.cost);
        let mut plan = Plan { belief, stages, grid, prospects: Vec::new(), rate: 0.0 };
        for _ in 0..ROUNDS {
            plan.prospects = plan.backwards(&keeping, &steps);
            let Some(earliest) = plan.prospects.first() else { break };
            let value = mix(earliest, &first);
            let rate = value.gain / (value.trials + first_cost);
            if (rate - plan.rate).abs() <= 1e-3 * rate {
                break;
            }
            plan.rate = rate;
        }
        plan
    }

    fn backwards(&self, keeping: &[Vec<Option<f64>>], steps: &[Vec<Vec<(usize, f64)>>]) -> Vec<Vec<Prospect>> {
        let mut later: Vec<Prospect> = Vec::new();
        let mut all = Vec::new();
        for n in (0..self.stages.len()).rev() {
            let cost = self.stages.get(n + 1).map(|next| next.cost);
            let here: Vec<Prospect> = (0..Grid::POINTS)
                .map(|i| match (keeping[n][i], cost) {
                    (Some(gain), _) => Prospect { chance: 1.0, gain, trials: 0.0 },
                    (None, Some(cost)) => {
                        let ahead = mix(&later, &steps[n][i]);
                        let ahead = Prospect { trials: ahead.trials + cost, ..ahead };
                        if ahead.gain > self.rate * ahead.trials { ahead } else { NOTHING }
                    }
                    (None, None) => NOTHING,
                })
                .collect();
            all.push(here.clone());
            later = here;
        }
        all.reverse();
        all
    }

    /// What going on promises after trial number `n` (counted from 1) with this estimate and its variance; `None` after the last.
    pub(super) fn ahead(&self, n: usize, estimate: f64, variance: f64) -> Option<Prospect> {
        let next = self.stages.get(n)?;
        let ahead = mix(&self.prospects[n], &forecast(self.belief, &self.grid, estimate, variance, next.variance));
        Some(Prospect { trials: ahead.trials + next.cost, ..ahead })
    }
}

fn mix(prospects: &[Prospect], weights: &[(usize, f64)]) -> Prospect {
    weights.iter().fold(NOTHING, |sum, &(i, weight)| Prospect {
        chance: sum.chance + weight * prospects[i].chance,
        gain: sum.gain + weight * prospects[i].gain,
        trials: sum.trials + weight * prospects[i].trials,
    })
}

/// What keeping gains, where it is allowed.
fn kept(belief: &Belief, estimate: f64, variance: f64, bar: Bar) -> Option<f64> {
    let (mut improvement, mut expected) = (0.0, 0.0);
    for (rung, share) in belief.rungs.iter().zip(belief.shares(estimate, variance.sqrt())) {
        let precision = rung.sd.powi(2) / (rung.sd.powi(2) + variance).max(f64::MIN_POSITIVE);
        let mean = rung.centre + precision * (estimate - rung.centre);
        expected += share * mean;
        if rung.kind != Kind::Null && share > 1e-9 {
            let sd = (variance * precision).sqrt();
            improvement += share * if sd > 0.0 { normal_below(-mean / sd) } else { f64::from(u8::from(mean < 0.0)) };
        }
    }
    (1.0 - improvement <= bar.false_keep && -expected >= bar.least).then_some(-expected)
}

/// Where the estimate goes with the next trial: points of the grid with their probabilities.
fn forecast(belief: &Belief, grid: &Grid, estimate: f64, variance: f64, next: f64) -> Vec<(usize, f64)> {
    // In terms of information (one over the variance) estimates move like Brownian motion with the true effect as drift.
    let gained = (1.0 / next - 1.0 / variance).max(1e-6 / variance);
    let total = 1.0 / variance + gained;
    let (stay, go) = (1.0 / variance / total, gained / total);
    let mut weights = [0.0; Grid::POINTS];
    for (rung, share) in belief.rungs.iter().zip(belief.shares(estimate, variance.sqrt())) {
        if share < NEGLIGIBLE {
            continue;
        }
        let precision = rung.sd.powi(2) / (rung.sd.powi(2) + variance).max(f64::MIN_POSITIVE);
        let mean = stay * estimate + go * (rung.centre + precision * (estimate - rung.centre));
        spread(grid, &mut weights, share, mean, go * (variance * precision + 1.0 / gained).sqrt());
    }
    sparse(&weights)
}

/// Where the first trial of a fresh idea leads.
fn fresh(belief: &Belief, grid: &Grid, variance: f64) -> Vec<(usize, f64)> {
    let mut weights = [0.0; Grid::POINTS];
    for rung in belief.rungs.iter().filter(|rung| rung.weight >= NEGLIGIBLE) {
        spread(grid, &mut weights, rung.weight, rung.centre, (rung.sd.powi(2) + variance).sqrt());
    }
    sparse(&weights)
}

fn spread(grid: &Grid, weights: &mut [f64; Grid::POINTS], share: f64, mean: f64, sd: f64) {
    for (node, weight) in NODES {
        let (below, part) = grid.place(mean + sd * node);
        weights[below] += share * weight * (1.0 - part);
        weights[below + 1] += share * weight * part;
    }
}

fn sparse(weights: &[f64]) -> Vec<(usize, f64)> {
    weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0.0).collect()
}
