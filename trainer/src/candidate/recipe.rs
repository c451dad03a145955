//! Every number of the trainer. A change of a number is a change of one line.
//!
//! Values are autoresearch's published baseline. Context, vocabulary, device and precision are not here: the campaign
//! fixes them for all experiments.

use harness::Scale;

/// What differs from scale to scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Transformer blocks.
    pub depth: i64,
    /// Width of the residual stream; a multiple of `head_dim`.
    pub dim: i64,
    /// Width of one attention head; even.
    pub head_dim: i64,
    /// Tokens of one optimizer step; a multiple of the context.
    pub tokens_per_step: i64,
    /// Rows of one forward and backward pass; divides the rows of a step. Changes memory and speed only.
    pub micro_batch_rows: i64,
}

/// All the rest, the same at every scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Depth, width and batch.
    pub shape: Shape,

    // The network
    /// Attention window of each layer, repeated over the depth: S short, L long. The last layer is always long.
    pub window_pattern: &'static str,
    /// How far back a short window looks, as a fraction of the context.
    pub short_window: f64,
    /// Base of the rotary embedding's wavelengths.
    pub rotary_base: f64,
    /// Hidden width of the MLP, in multiples of `dim`.
    pub mlp_ratio: i64,
    /// First channels of the residual stream that the gate of the value embeddings looks at.
    pub gate_channels: i64,
    /// Logits are kept within plus and minus this.
    pub softcap: f64,

    // Initial values
    /// Standard deviation of the token embedding.
    pub embedding_std: f64,
    /// Standard deviation of the head.
    pub head_std: f64,
    /// Standard deviation of matrices that read the residual stream, in units of dim^-0.5 (drawn uniformly).
    pub matrix_std: f64,
    /// The same for matrices that write to the residual stream.
    pub output_std: f64,
    /// The same for the value embeddings.
    pub value_embedding_std: f64,
    /// Scalar on the residual stream before each block.
    pub residual_scalar: f64,
    /// Scalar on the embedding that is added to the residual stream before each block.
    pub skip_scalar: f64,

    // Learning rates. AdamW's for embeddings and head are multiplied by (dim / 768)^-0.5
    /// AdamW: token embedding.
    pub embedding_rate: f64,
    /// AdamW: value embeddings.
    pub value_embedding_rate: f64,
    /// AdamW: head.
    pub head_rate: f64,
    /// AdamW: residual scalars.
    pub residual_rate: f64,
    /// AdamW: skip scalars.
    pub skip_rate: f64,
    /// Muon: matrices, multiplied by max(1, rows / columns)^0.5.
    pub matrix_rate: f64,

    // AdamW
    /// Decay of the gradient's mean.
    pub adam_beta1: f64,
    /// Decay of the gradient's mean square.
    pub adam_beta2: f64,
    /// `adam_beta1` of the skip scalars.
    pub skip_beta1: f64,
    /// Added to the root mean square.
    pub adam_epsilon: f64,
    /// Decoupled weight decay of embeddings and head, in units of the learning rate.
    pub adam_weight_decay: f64,

    // Muon
    /// Momentum at the first step.
    pub muon_momentum_start: f64,
    /// Momentum after `muon_momentum_steps`.
    pub muon_momentum_end: f64,
    /// Steps over which the momentum rises.
    pub muon_momentum_steps: f64,
    /// Decay of NorMuon's mean squares.
    pub muon_beta2: f64,
    /// Polar Express iterations, at most 5.
    pub muon_iterations: usize,
    /// Cautious weight decay of matrices at the start, in units of the learning rate.
    pub weight_decay: f64,
    /// What is left of the weight decay at the end, as a fraction.
    pub final_weight_decay: f64,

    // Schedule of all learning rates, over the budget
    /// Fraction of the budget in which rates rise from 0.
    pub warmup: f64,
    /// Fraction of the budget in which rates fall to `final_rate`.
    pub warmdown: f64,
    /// What is left of the rates at the end, as a fraction.
    pub final_rate: f64,
}

impl Recipe {
    /// The recipe of a scale.
    pub fn of(scale: Scale) -> Recipe {
        match scale {
            Scale::Cpu => Recipe::cpu(),
            Scale::Gpu => Recipe::gpu(),
            Scale::H100 => Recipe::h100(),
        }
    }

    /// Minutes on two cores.
    #[rustfmt::skip] // one number a line
    pub fn cpu() -> Recipe {
        Recipe::base(Shape {
            depth: 4,
            dim: 256,
            head_dim: 64,
            tokens_per_step: 4096,
            micro_batch_rows: 16,
        })
    }

    /// Any recent GPU.
    #[rustfmt::skip] // one number a line
    pub fn gpu() -> Recipe {
        Recipe::base(Shape {
            depth: 6,
            dim: 384,
            head_dim: 64,
            tokens_per_step: 65536,
            micro_batch_rows: 16,
        })
    }

    /// An 80 GB accelerator.
    #[rustfmt::skip] // one number a line
    pub fn h100() -> Recipe {
        Recipe::base(Shape {
            depth: 8,
            dim: 512,
            head_dim: 128,
            tokens_per_step: 524288,
            micro_batch_rows: 64,
        })
    }

    fn base(shape: Shape) -> Recipe {
        Recipe {
            shape,

            window_pattern: "SSSL",
            short_window: 0.5,
            rotary_base: 10000.0,
            mlp_ratio: 4,
            gate_channels: 32,
            softcap: 15.0,

            embedding_std: 1.0,
            head_std: 0.001,
            matrix_std: 1.0,
            output_std: 0.0,
            value_embedding_std: 1.0,
            residual_scalar: 1.0,
            skip_scalar: 0.1,

            embedding_rate: 0.6,
            value_embedding_rate: 0.6,
            head_rate: 0.004,
            residual_rate: 0.005,
            skip_rate: 0.5,
            matrix_rate: 0.04,

            adam_beta1: 0.8,
            adam_beta2: 0.95,
            skip_beta1: 0.96,
            adam_epsilon: 1e-10,
            adam_weight_decay: 0.0,

            muon_momentum_start: 0.85,
            muon_momentum_end: 0.95,
            muon_momentum_steps: 300.0,
            muon_beta2: 0.95,
            muon_iterations: 5,
            weight_decay: 0.2,
            final_weight_decay: 0.0,

            warmup: 0.0,
            warmdown: 0.5,
            final_rate: 0.0,
        }
    }
}
