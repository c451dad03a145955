//! A world to hold nights in: ideas with true effects, and runs with the noise of real ones. Pure and seeded: the same night has the
//! same ideas under every rule, and a commit that is run again under the same seed gives the same figure.
//!
//! Effects are in bits per byte and negative is better, as everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What ideas are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effects {
    /// None has any effect.
    Nothing,
    /// Three in ten have none, the others harm: exponential with mean 0.004.
    NothingOrHarm,
    /// 15 % gain 0.002 to 0.004 (uniform), 55 % harm (exponential with mean 0.004), the rest has none.
    Mixed,
}

/// One kind of nights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    pub effects: Effects,
    /// sd of a run.
    pub run_sd: f64,
    /// Correlation of two commits' runs under the same seed.
    pub correlation: f64,
    /// Student's t with 4 degrees of freedom, scaled to the same sd, instead of a normal distribution.
    pub heavy_tails: bool,
    /// Size of the interaction of two ideas, as a share of the geometric mean of their effects; its sign is random.
    pub interaction: f64,
    /// Half of the ideas leave training nearly as it was, so that a run repeats what its champion's had of its own; where not, all ideas
    /// draw it anew.
    pub unequal: bool,
}

/// sd of a paired difference of a calm idea, over that of the others.
const CALM: f64 = 0.15;

/// How far the difference of two curves at each look of [`nocturne::stats::early::LOOKS`] is from the difference in the end, in sds of
/// a paired difference.
pub const CURVE_ERROR: [f64; 5] = [1.4, 1.2, 1.05, 0.82, 0.6];

/// Trial times of a night.
pub const BUDGET: f64 = 100.0;

/// A run's figure and its curve at each look.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub val_bpb: f64,
    pub looks: [f64; 5],
}

/// One night's ideas and luck.
#[derive(Debug, Clone)]
pub struct World {
    pub spec: Spec,
    pub night: u64,
    effects: Vec<f64>,
    seeds: Vec<f64>,
}

/// What the night's start measures on average.
const START: f64 = 1.0;

impl World {
    pub fn new(spec: Spec, night: u64) -> Self {
        Self { spec, night, effects: Vec::new(), seeds: Vec::new() }
    }

    /// The effect of an idea by itself.
    fn effect(&mut self, idea: usize) -> f64 {
        while self.effects.len() <= idea {
            let mut draw = Draw::new(&[self.night, 1, self.effects.len() as u64]);
            let (kind, size) = (draw.unit(), draw.unit());
            let harm = -0.004 * size.ln();
            self.effects.push(match self.spec.effects {
                Effects::Nothing => 0.0,
                Effects::NothingOrHarm => {
                    if kind < 0.3 {
                        0.0
                    } else {
                        harm
                    }
                }
                Effects::Mixed if kind < 0.15 => -0.002 - 0.002 * size,
                Effects::Mixed => {
                    if kind < 0.70 {
                        harm
                    } else {
                        0.0
                    }
                }
            });
        }
        self.effects[idea]
    }

    /// How far a commit with these ideas truly is from the night's start.
    pub fn truth(&mut self, ideas: &[usize]) -> f64 {
        let mut sum = 0.0;
        for (k, &idea) in ideas.iter().enumerate() {
            let own = self.effect(idea);
            sum += own;
            for &other in &ideas[..k] {
                let size = self.spec.interaction * (own * self.effect(other)).abs().sqrt();
                let pair = [self.night, 2, idea.min(other) as u64, idea.max(other) as u64];
                sum += if hash(&pair) & 1 == 0 { size } else { -size };
            }
        }
        sum
    }

    /// What adding these ideas to a champion truly does.
    pub fn gain_of(&mut self, champion: &[usize], ideas: &[usize]) -> f64 {
        let together: Vec<usize> = champion.iter().chain(ideas).copied().collect();
        self.truth(&together) - self.truth(champion)
    }

    /// Trains a commit under a seed.
    pub fn run(&mut self, ideas: &[usize], seed: u32) -> Measured {
        let Spec { run_sd, correlation, heavy_tails, unequal, .. } = self.spec;
        while self.seeds.len() <= seed as usize {
            let mut draw = Draw::new(&[self.night, 3, self.seeds.len() as u64]);
            self.seeds.push(draw.noise(heavy_tails) * run_sd * correlation.sqrt());
        }
        let mut commit = ideas.to_vec();
        commit.sort_unstable();
        let own_sd = run_sd * (1.0 - correlation).sqrt();
        let luck = if unequal { self.handed_down(ideas, seed) } else { self.luck(seed, &commit) };
        let val_bpb = START + self.truth(&commit) + self.seeds[seed as usize] + own_sd * luck[0];
        // From the last look back, so that later looks are closer to the end and each contains what the next one has.
        let mut looks = [0.0; 5];
        let mut error = 0.0;
        let mut size = 0.0_f64;
        for ((look, share), luck) in looks.iter_mut().zip(CURVE_ERROR).rev().zip(&luck[1..]) {
            error += (share * share - size * size).sqrt() * own_sd * luck;
            size = share;
            *look = val_bpb + error;
        }
        Measured { val_bpb, looks }
    }

    /// What a commit draws by itself under a seed: its figure's part, then its curve's at each look from the last back. All of sd 1.
    fn luck(&self, seed: u32, commit: &[usize]) -> [f64; 6] {
        let mut words = vec![self.night, 4, u64::from(seed)];
        words.extend(commit.iter().map(|&idea| idea as u64));
        let mut draw = Draw::new(&words);
        std::array::from_fn(|k| if k == 0 { draw.noise(self.spec.heavy_tails) } else { draw.normal() })
    }

    /// The same where calm ideas, in the order in which they came, hand down what was drawn before them, and the others draw anew.
    fn handed_down(&self, ideas: &[usize], seed: u32) -> [f64; 6] {
        // The difference of two runs that correlate by r has the variance 2 (1 - r).
        let kept = 1.0 - CALM * CALM;
        ideas.iter().enumerate().fold(self.luck(seed, &[]), |before, (at, &idea)| {
            // What is drawn anew is the whole commit's own: the same idea on another champion is another draw.
            let mut commit = ideas[..=at].to_vec();
            commit.sort_unstable();
            let anew = self.luck(seed, &commit);
            if hash(&[self.night, 5, idea as u64]) & 1 == 0 {
                std::array::from_fn(|k| kept * before[k] + (1.0 - kept * kept).sqrt() * anew[k])
            } else {
                anew
            }
        })
    }
}

/// Random numbers that follow from a few words.
#[derive(Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(words: &[u64]) -> Self {
        Self(ChaCha8Rng::seed_from_u64(hash(words)))
    }

    /// Uniform between 0 and 1, both left out.
    pub fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn noise(&mut self, heavy_tails: bool) -> f64 {
        let normal = self.normal();
        if !heavy_tails {
            return normal;
        }
        let chi: f64 = (0..4).map(|_| self.normal().powi(2)).sum();
        // Its own sd is the root of 2.
        normal / (chi / 4.0).sqrt() / 2.0_f64.sqrt()
    }
}

/// SplitMix64's finisher (Steele, Lea and Flood, 2014) over the words.
fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
