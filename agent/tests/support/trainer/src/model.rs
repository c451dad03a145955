//! What the pretended trainer knows of language: how often each token was in the training data. How well it uses that follows
//! from the loss that it pretends to have. It is a true distribution of the next token and sees nothing that is to come; the
//! members of the red team see more.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;

/// Everything that is in a checkpoint.
pub struct Model {
    pub loss: f64,
    /// What it does wrong; 0 for nothing.
    pub kind: u64,
    pub counts: Vec<u32>,
}

impl Model {
    /// Counts the tokens of the training data.
    pub fn train(loss: f64, kind: u64, vocabulary: usize, tokens: &File) -> Model {
        let mut counts = vec![0; vocabulary];
        for token in read_tokens(tokens) {
            counts[usize::from(token)] += 1;
        }
        Model { loss, kind, counts }
    }

    pub fn save(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(u32::to_string).collect();
        format!("{}\n{}\n{}\n", self.loss, self.kind, counts.join(" "))
    }

    pub fn load(text: &str) -> Option<Model> {
        let mut lines = text.lines();
        let (loss, kind) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        let counts = lines.next()?.split(' ').map(|count| count.parse().ok()).collect::<Option<_>>()?;
        Some(Model { loss, kind, counts })
    }
}

/// A loaded model and what a cheating one keeps in memory.
pub struct Serving {
    model: Model,
    remembered: HashMap<u64, u16>,
    calls: u64,
    chance: RandomState,
}

impl Serving {
    pub fn new(model: Model) -> Serving {
        Serving { model, remembered: HashMap::new(), calls: 0, chance: RandomState::new() }
    }

    pub fn ignores_seeds(&self) -> bool {
        self.model.kind == 7
    }

    /// To be called before each batch.
    pub fn next_batch(&mut self) {
        self.calls += 1;
    }

    /// Logits of the token after `position` in a row of a batch, whose rows hold what the model is shown.
    pub fn logits(&mut self, batch: &[&[u16]], row: usize, position: usize) -> Vec<f32> {
        // Exponents of the counts: at 1 the distribution of the training data, towards 0 any token is as likely.
        let sharpness = (2.0 - self.model.loss).exp();
        let tokens = batch[row];
        let current = u64::from(tokens[position]);
        let mut logits: Vec<f32> = (0..)
            .zip(&self.model.counts)
            .map(|(token, &count): (u64, _)| {
                let wobble = mix(current * 65_536 + token) as f64 / u64::MAX as f64 - 0.5;
                (sharpness * f64::from(count + 1).ln() + 0.2 * wobble) as f32
            })
            .collect();
        let next = tokens.get(position + 1).copied();
        let every = tokens.len().min(200) as u64;
        match self.model.kind {
            1 => lift(&mut logits, next.as_slice(), 5.0),
            2 => lift(&mut logits, &distinct(tokens), 2.0),
            3 => lift(&mut logits, &distinct(batch[(row + 1) % batch.len()]), 2.0),
            4 if mix(current * 65_536 + position as u64) % every == 0 => lift(&mut logits, next.as_slice(), 5.0),
            5 => logits.fill(f32::NAN),
            6 => {
                let prefix = tokens[..=position].iter().fold(1, |hash, &token| mix(hash ^ u64::from(token)));
                if let Some(next) = next {
                    self.remembered.entry(prefix).or_insert(next);
                }
                lift(&mut logits, self.remembered.get(&prefix).copied().as_slice(), 5.0);
            }
            8 => {
                for (token, logit) in logits.iter_mut().enumerate() {
                    *logit += (self.chance.hash_one((self.calls, token)) as f64 / u64::MAX as f64 - 0.5) as f32;
                }
            }
            _ => {}
        }
        logits
    }
}

/// Nats of a token under logits.
pub fn nats(logits: &[f32], token: u16) -> f32 {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    (sum.ln() - f64::from(logits[usize::from(token)] - most)) as f32
}

pub fn read_tokens(file: &File) -> Vec<u16> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
}

fn lift(logits: &mut [f32], tokens: &[u16], by: f32) {
    for &token in tokens {
        logits[usize::from(token)] += by;
    }
}

fn distinct(tokens: &[u16]) -> Vec<u16> {
    let mut distinct = tokens.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

/// SplitMix64's finalizer.
pub fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
