//! Losses of the baseline on text that a formula makes, for a comparison with the PyTorch reference, which `xtask/reference/losses.py`
//! trains on the same: `losses SEED STEPS bf16|fp32` prints the loss of each step, one a line.

use std::process::ExitCode;

use harness::{Batch, Candidate, Precision, Progress, Scale, Setting};
use tch::Tensor;
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

const ROWS: u64 = 16;
const CONTEXT: u64 = 256;
const VOCABULARY: u64 = 2048;

/// The reference's constants: one AdamW group, nothing scheduled.
fn recipe() -> Recipe {
    let mut recipe = Recipe::cpu();
    // The trainer scales AdamW's rates by (dim / 768)^-0.5; the reference does not.
    let rate = 0.004 * (recipe.shape.dim as f64 / 768.0).sqrt();
    (recipe.embedding_rate, recipe.value_embedding_rate, recipe.head_rate) = (rate, rate, rate);
    (recipe.residual_rate, recipe.skip_rate) = (0.004, 0.004);
    recipe.skip_beta1 = 0.8;
    recipe.muon_momentum_start = 0.95;
    recipe
}

/// SplitMix64's finalizer.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A step's rows: each token follows from the two before it and from one of sixteen chances. [16, 257].
fn rows(step: u64) -> Vec<i64> {
    let mut tokens = Vec::new();
    for row in 0..ROWS {
        let (mut before, mut token) = (0, mix(step * ROWS + row) % VOCABULARY);
        for place in 0..=CONTEXT {
            tokens.push(token as i64);
            let chance = mix(((step * ROWS + row) << 16) + place + (1 << 60)) % 16;
            (before, token) = (token, (5 * token + 3 * (before % 2) + 1 + chance) % VOCABULARY);
        }
    }
    tokens
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(seed), Some(steps), Some(precision)) = (
        arguments.first().and_then(|word| word.parse().ok()),
        arguments.get(1).and_then(|word| word.parse::<u64>().ok()),
        arguments.get(2).and_then(|word| match word.as_str() {
            "bf16" => Some(Precision::Bf16),
            "fp32" => Some(Precision::Fp32),
            _ => None,
        }),
    ) else {
        eprintln!("usage: losses SEED STEPS bf16|fp32");
        return ExitCode::from(2);
    };
    let setting = Setting {
        scale: Scale::Cpu,
        vocabulary: VOCABULARY as usize,
        context: CONTEXT as usize,
        device: "cpu".to_owned(),
        precision,
        threads: 0,
    };
    let mut candidate = match Trainer::new(recipe(), &setting, seed) {
        Ok(candidate) => candidate,
        Err(error) => {
            eprintln!("losses: {error}");
            return ExitCode::FAILURE;
        }
    };
    for step in 1..=steps {
        let rows = Tensor::from_slice(&rows(step)).view([ROWS as i64, CONTEXT as i64 + 1]);
        let side = |start| rows.narrow(1, start, CONTEXT as i64).contiguous();
        let batch = Batch { inputs: side(0), targets: side(1) };
        println!("{}", candidate.step(&batch, Progress { step, fraction: 0.0 }).double_value(&[]));
    }
    ExitCode::SUCCESS
}
