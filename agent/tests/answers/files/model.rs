//! The network.

use tch::{Kind, Tensor};

/// One transformer block.
pub struct Block {
    /// [4 * dim, dim]
    pub up: Tensor,
    /// [dim, 4 * dim]
    pub down: Tensor,
}

/// The whole network.
pub struct Model {
    /// From first to last.
    pub blocks: Vec<Block>,
    /// [vocabulary, dim]
    pub head: Tensor,
    /// Bound on logits.
    pub softcap: f64,
}

impl Model {
    /// Logits of the next token: [batch, time, dim] to [batch, time, vocabulary].
    pub fn forward(&self, embedded: &Tensor) -> Tensor {
        let mut x = embedded.shallow_clone();
        for block in &self.blocks {
            x = &x + mlp(block, &norm(&x));
        }
        let logits = linear(&norm(&x), &self.head).to_kind(Kind::Float);
        (logits / self.softcap).tanh() * self.softcap
    }
}

/// Squared ReLU.
fn mlp(block: &Block, x: &Tensor) -> Tensor {
    let hidden = linear(x, &block.up).relu().square();
    linear(&hidden, &block.down)
}

fn linear(x: &Tensor, weight: &Tensor) -> Tensor {
    x.linear(weight, None::<&Tensor>)
}

/// RMSNorm over the last dimension, without weights.
fn norm(x: &Tensor) -> Tensor {
    let width = x.size().last().copied().unwrap_or(1);
    x.rms_norm([width], None::<&Tensor>, None)
}
