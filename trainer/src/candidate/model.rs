//! The network: a pre-norm GPT with rotary positions, QK-norm, alternating attention windows, value embeddings, squared
//! ReLU, residual and skip scalars, and soft-capped logits.
//!
//! Shapes are in the comments. `dim` is the width of the residual stream, `heads * head_dim == dim`. Master weights are fp32; with
//! bf16 precision they are cast where they are used, so activations and matrix products are bf16 and gradients arrive in fp32.
//!
//! What crate `kernels` offers (`norm`, `mix_norm`, `attention` and so on) does in one pass what tensor code does in several;
//! `kernels::plain` says in tensor code what each computes. Anything here may be written with tch's own operators instead.

use harness::{CandidateError, Precision, Setting};
use kernels::{add_norm, attention, gated_value, mix_norm, norm, rotary_norm, softcap_cross_entropy, squared_relu};
use tch::{Device, Kind, Tensor};

use super::recipe::Recipe;

/// What the optimizer needs to know of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Token embedding.
    Embedding,
    /// Value embedding of a layer.
    ValueEmbedding,
    /// Output projection onto the vocabulary.
    Head,
    /// Weight matrix inside a block.
    Matrix,
    /// Scalars on the residual stream.
    Residual,
    /// Scalars on the skip connection to the embedding.
    Skip,
}

/// A trained tensor.
pub struct Parameter {
    /// Unique; names the tensor in checkpoints and its stream of initial values.
    pub name: String,
    /// How it is trained.
    pub role: Role,
    /// fp32, on the setting's device.
    pub tensor: Tensor,
}

/// Draws initial values and collects parameters. Every parameter has a random stream of its own, from the seed and its
/// name: adding or removing one leaves the others' initial values as they were, which keeps paired comparisons sharp.
struct Initializer {
    seed: u64,
    device: Device,
    parameters: Vec<Parameter>,
}

impl Initializer {
    fn normal(&mut self, name: &str, role: Role, shape: &[i64], std: f64) -> Tensor {
        let mut values = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let values = harness::seeded(self.seed, name, || values.normal_(0.0, std));
        self.add(name, role, values)
    }

    fn uniform(&mut self, name: &str, role: Role, shape: &[i64], std: f64) -> Tensor {
        let bound = 3f64.sqrt() * std;
        let mut values = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let values = harness::seeded(self.seed, name, || values.uniform_(-bound, bound));
        self.add(name, role, values)
    }

    fn constant(&mut self, name: &str, role: Role, shape: &[i64], value: f64) -> Tensor {
        self.add(name, role, Tensor::full(shape, value, (Kind::Float, Device::Cpu)))
    }

    fn add(&mut self, name: &str, role: Role, values: Tensor) -> Tensor {
        let tensor = values.to_device(self.device).set_requires_grad(true);
        self.parameters.push(Parameter { name: name.to_owned(), role, tensor: tensor.shallow_clone() });
        tensor
    }
}

/// One transformer block.
struct Block {
    query: Tensor,  // [dim, dim]
    key: Tensor,    // [dim, dim]
    value: Tensor,  // [dim, dim]
    output: Tensor, // [dim, dim]
    up: Tensor,     // [mlp_ratio * dim, dim]
    down: Tensor,   // [dim, mlp_ratio * dim]
    value_embedding: Option<ValueEmbedding>,
    long: bool,
}

/// Adds to the values a learnt vector of the token itself.
struct ValueEmbedding {
    table: Tensor, // [vocabulary, dim]
    gate: Tensor,  // [heads, gate_channels]
}

/// The whole network.
pub struct Model {
    /// Everything that is trained, in a fixed order.
    pub parameters: Vec<Parameter>,
    embedding: Tensor, // [vocabulary, dim]
    blocks: Vec<Block>,
    head: Tensor,      // [vocabulary, dim]
    residual: Tensor,  // [depth]
    skip: Tensor,      // [depth]
    cos: Tensor,       // [context, head_dim / 2]
    sin: Tensor,       // [context, head_dim / 2]
    short_window: i64, // positions before its own that a query of a short layer sees
    head_dim: i64,
    gate_channels: i64,
    softcap: f64,
    /// Kind of activations and matrix products.
    pub kind: Kind,
}

impl Model {
    /// Builds the network with fresh initial values.
    ///
    /// # Errors
    /// When the recipe's numbers do not fit together.
    pub fn new(recipe: &Recipe, setting: &Setting, seed: u64) -> Result<Model, CandidateError> {
        let shape = &recipe.shape;
        let (depth, dim, head_dim) = (shape.depth, shape.dim, shape.head_dim);
        let (vocabulary, context) = (setting.vocabulary as i64, setting.context as i64);
        if depth < 1 || head_dim < 2 || head_dim % 2 != 0 || dim < 1 || dim % head_dim != 0 {
            return Err(CandidateError::new(format!(
                "depth {depth}, dim {dim} and head_dim {head_dim} do not fit: dim must be a multiple of an even head_dim"
            )));
        }
        if recipe.gate_channels > dim || recipe.window_pattern.is_empty() {
            return Err(CandidateError::new("gate_channels must not exceed dim, window_pattern must not be empty"));
        }
        let device = harness::device(setting)?;
        let mut draw = Initializer { seed, device, parameters: Vec::new() };

        let embedding = draw.normal("embedding", Role::Embedding, &[vocabulary, dim], recipe.embedding_std);
        let unit = (dim as f64).powf(-0.5);
        let (inner, outer) = (recipe.matrix_std * unit, recipe.output_std * unit);
        let hidden = recipe.mlp_ratio * dim;
        let mut blocks = Vec::new();
        for layer in 0..depth {
            let mut matrix = |name: &str, rows, columns, std| {
                draw.uniform(&format!("blocks.{layer}.{name}"), Role::Matrix, &[rows, columns], std)
            };
            let (query, key) = (matrix("query", dim, dim, inner), matrix("key", dim, dim, inner));
            let (value, output) = (matrix("value", dim, dim, inner), matrix("output", dim, dim, outer));
            let (up, down) = (matrix("up", hidden, dim, inner), matrix("down", dim, hidden, outer));
            // On every second layer, counted so that the last one has it. A zero gate starts as 2 * sigmoid(0) = 1.
            let value_embedding = (layer % 2 == (depth - 1) % 2).then(|| ValueEmbedding {
                table: draw.uniform(
                    &format!("blocks.{layer}.value_embedding"),
                    Role::ValueEmbedding,
                    &[vocabulary, dim],
                    recipe.value_embedding_std * unit,
                ),
                gate: draw.constant(
                    &format!("blocks.{layer}.gate"),
                    Role::Matrix,
                    &[dim / head_dim, recipe.gate_channels],
                    0.0,
                ),
            });
            let letter = recipe.window_pattern.as_bytes()[layer as usize % recipe.window_pattern.len()];
            let long = layer == depth - 1 || letter == b'L';
            blocks.push(Block { query, key, value, output, up, down, value_embedding, long });
        }
        let head = draw.normal("head", Role::Head, &[vocabulary, dim], recipe.head_std);
        let residual = draw.constant("residual", Role::Residual, &[depth], recipe.residual_scalar);
        let skip = draw.constant("skip", Role::Skip, &[depth], recipe.skip_scalar);

        let (cos, sin) = rotary(context, head_dim, recipe.rotary_base, device);
        let short_window = (recipe.short_window * context as f64).floor() as i64;
        let kind = match setting.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        Ok(Model {
            parameters: draw.parameters,
            embedding,
            blocks,
            head,
            residual,
            skip,
            cos,
            sin,
            short_window,
            head_dim,
            gate_channels: recipe.gate_channels,
            softcap: recipe.softcap,
            kind,
        })
    }

    /// Scalars in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.tensor.numel()).sum()
    }

    /// Logits of the next token: [batch, time] token ids to [batch, time, vocabulary] in fp32. Position t sees tokens 0..=t.
    pub fn forward(&self, tokens: &Tensor) -> Tensor {
        let logits = self.uncapped_logits(tokens).to_kind(Kind::Float);
        (logits / self.softcap).tanh() * self.softcap
    }

    /// Mean cross-entropy of those logits, in nats: [batch, time] token ids and the tokens that follow to a scalar.
    pub fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Tensor {
        softcap_cross_entropy(self.uncapped_logits(tokens), targets, self.softcap)
    }

    /// Logits before the soft cap, in the precision of the activations.
    fn uncapped_logits(&self, tokens: &Tensor) -> Tensor {
        self.linear(&self.hidden(tokens), &self.head)
    }

    /// What the head reads: [batch, time] token ids to [batch, time, dim].
    fn hidden(&self, tokens: &Tensor) -> Tensor {
        let embedded = norm(&self.lookup(&self.embedding, tokens)); // [batch, time, dim]
        let mut x = embedded.shallow_clone();
        for (layer, block) in (0..).zip(&self.blocks) {
            let (mixed, normed) = mix_norm(&x, &self.residual.get(layer), &embedded, &self.skip.get(layer));
            let (attended, normed) = add_norm(&mixed, &self.attention(block, &normed, tokens));
            x = attended + self.mlp(block, &normed);
        }
        norm(&x)
    }

    /// Causal attention over the block's window: [batch, time, dim] to the same.
    fn attention(&self, block: &Block, x: &Tensor, tokens: &Tensor) -> Tensor {
        let (batch, time) = (x.size()[0], x.size()[1]);
        let heads = |x: &Tensor| x.view([batch, time, -1, self.head_dim]); // [batch, time, heads, head_dim]
        let [query, key, mut value] = kernels::linears(x, [&block.query, &block.key, &block.value]).map(|x| heads(&x));
        if let Some(ValueEmbedding { table, gate }) = &block.value_embedding {
            let gate = self.linear(&x.narrow(-1, 0, self.gate_channels), gate); // [batch, time, heads]
            value = gated_value(&value, &gate, &heads(&self.lookup(table, tokens)));
        }
        let (query, key) = (rotary_norm(&query, &self.cos, &self.sin), rotary_norm(&key, &self.cos, &self.sin));
        let window = if block.long { time } else { self.short_window };
        let mixed = attention(&query, &key, &value, window); // [batch, time, heads, head_dim]
        self.linear(&mixed.reshape([batch, time, -1]), &block.output)
    }

    /// Squared-ReLU MLP: [batch, time, dim] to the same.
    fn mlp(&self, block: &Block, x: &Tensor) -> Tensor {
        self.linear(&squared_relu(&self.linear(x, &block.up)), &block.down)
    }

    /// x W^T: [.., inputs] and [outputs, inputs] to [.., outputs].
    fn linear(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        kernels::linear(x, weight)
    }

    /// Rows of a table, cast after the lookup so that the table's gradient is summed in fp32.
    fn lookup(&self, table: &Tensor, tokens: &Tensor) -> Tensor {
        self.cast(&Tensor::embedding(table, tokens, -1, false, false))
    }

    fn cast(&self, x: &Tensor) -> Tensor {
        x.to_kind(self.kind)
    }
}

/// Cosines and sines of the rotary angles, each [context, head_dim / 2].
fn rotary(context: i64, head_dim: i64, base: f64, device: Device) -> (Tensor, Tensor) {
    let channel = Tensor::arange_start_step(0, head_dim, 2, (Kind::Float, device)) / head_dim as f64;
    let frequency = Tensor::pow_scalar(base, &channel).reciprocal(); // [head_dim / 2]
    let angle = Tensor::arange(context, (Kind::Float, device)).outer(&frequency);
    (angle.cos(), angle.sin())
}
