//! The same operations as plain tensor code: what the fused ones are tested against, and what is done where they do not apply.

use tch::{Kind, Reduction, Tensor};

use crate::AdamStep;

/// What is added to a mean square: the spacing of float's numbers at 1, whatever the kind, as in libtorch's own `rms_norm` of floats.
pub const EPSILON: f64 = f32::EPSILON as f64;

/// See [`crate::norm`].
pub fn norm(x: &Tensor) -> Tensor {
    let width = x.size().last().copied().unwrap_or(1);
    x.rms_norm([width], None::<&Tensor>, Some(EPSILON))
}

/// See [`crate::add_norm`].
pub fn add_norm(x: &Tensor, branch: &Tensor) -> (Tensor, Tensor) {
    let sum = x + branch;
    let normed = norm(&sum);
    (sum, normed)
}

/// See [`crate::mix_norm`].
pub fn mix_norm(x: &Tensor, a: &Tensor, other: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let sum = x * a.to_kind(x.kind()) + other * b.to_kind(x.kind());
    let normed = norm(&sum);
    (sum, normed)
}

/// See [`crate::rotary_norm`].
pub fn rotary_norm(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    norm(&rotate(x, cos, sin))
}

/// See [`crate::rotate`].
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let table = |t: &Tensor| t.narrow(0, 0, x.size()[1]).unsqueeze(1).to_kind(x.kind()); // [time, 1, width / 2]
    let (cos, sin) = (table(cos), table(sin));
    let halves = x.chunk(2, -1);
    let (p, q) = (&halves[0], &halves[1]);
    Tensor::cat(&[p * &cos + q * &sin, q * &cos - p * &sin], -1)
}

/// See [`crate::gated_value`].
pub fn gated_value(value: &Tensor, gate: &Tensor, embedding: &Tensor) -> Tensor {
    value + (gate.sigmoid() * 2.0).unsqueeze(-1) * embedding
}

/// See [`crate::attention`].
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, window: i64) -> Tensor {
    let time = query.size()[1];
    let whole = window >= time - 1;
    let mask = (!whole).then(|| {
        let position = Tensor::arange(time, (Kind::Int64, query.device()));
        let distance = position.unsqueeze(1) - position.unsqueeze(0); // [time, time]: query - key
        distance.ge(0).logical_and(&distance.le(window))
    });
    let mixed = Tensor::scaled_dot_product_attention(
        &query.transpose(1, 2), // [batch, heads, time, width]
        &key.transpose(1, 2),
        &value.transpose(1, 2),
        mask.as_ref(),
        0.0,
        whole,
        None,
        key.size()[2] != query.size()[2],
    );
    mixed.transpose(1, 2)
}

/// See [`crate::linear`].
pub fn linear(x: &Tensor, weight: &Tensor) -> Tensor {
    x.linear(&weight.to_kind(x.kind()), None::<&Tensor>)
}

/// See [`crate::squared_relu`].
pub fn squared_relu(x: &Tensor) -> Tensor {
    x.relu().square()
}

/// See [`crate::softcap_cross_entropy`].
pub fn softcap_cross_entropy(logits: &Tensor, targets: &Tensor, cap: f64) -> Tensor {
    let vocabulary = logits.size().last().copied().unwrap_or(1);
    // Narrow kinds are widened first: a bfloat16 logit of 10 is known to 0.06 only, and a loss of 3 would be worse.
    let kind = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let capped = (logits.to_kind(kind) / cap).tanh() * cap;
    capped.reshape([-1, vocabulary]).cross_entropy_loss::<&Tensor>(
        &targets.reshape([-1]),
        None,
        Reduction::Mean,
        -100,
        0.0,
    )
}

/// See [`crate::muon_look_ahead`].
pub fn muon_look_ahead(gradient: &Tensor, momentum: &mut Tensor, mu: f64, kind: Kind) -> Tensor {
    let _ = momentum.lerp_(gradient, 1.0 - mu);
    let look = gradient.lerp(momentum, mu).to_kind(kind);
    let norm = look.norm_scalaropt_dim(2.0, [-2i64, -1].as_slice(), true);
    &look / (norm * 1.02 + 1e-6)
}

/// See [`crate::polar_express`].
pub fn polar_express(x: &Tensor, coefficients: &[(f64, f64, f64)]) -> Tensor {
    let tall = x.size()[1] > x.size()[2];
    let mut x = x.shallow_clone();
    for &(a, b, c) in coefficients {
        // The smaller of the two Gram matrices.
        let s = if tall { x.transpose(1, 2).matmul(&x) } else { x.matmul(&x.transpose(1, 2)) };
        let s = s.baddbmm(&s, &s, b, c); // b s + c s^2
        x = if tall { x.baddbmm(&x, &s, a, 1.0) } else { x.baddbmm(&s, &x, a, 1.0) };
    }
    x
}

/// See [`crate::normuon`].
pub fn normuon(direction: &Tensor, second: &mut Tensor, beta2: f64) -> Tensor {
    let (rows, columns) = (direction.size()[1], direction.size()[2]);
    let (dim, length) = if rows >= columns { (-1, columns) } else { (-2, rows) };
    let square = direction.to_kind(second.kind()).square().mean_dim(dim, true, None); // as second
    let norm = (square.sum_dim_intlist([-2i64, -1].as_slice(), true, None) * length as f64).sqrt();
    let _ = second.lerp_(&square, 1.0 - beta2);
    let scale = second.clamp_min(1e-10).rsqrt();
    let scaled = (square * length as f64 * scale.square()).sum_dim_intlist([-2i64, -1].as_slice(), true, None);
    let scale = scale * (norm / scaled.sqrt().clamp_min(1e-10));
    direction * scale.to_kind(direction.kind())
}

/// See [`crate::cautious_update`].
pub fn cautious_update(parameter: &mut Tensor, update: &Tensor, rate: f64, weight_decay: f64) {
    let update = update.to_kind(parameter.kind());
    let cautious = (&update * &*parameter).ge(0.0);
    *parameter -= &update * rate + &*parameter * (rate * weight_decay) * cautious;
}

/// See [`crate::adamw`].
pub fn adamw(parameter: &mut Tensor, gradient: &Tensor, mean: &mut Tensor, square: &mut Tensor, step: AdamStep) {
    let _ = mean.lerp_(gradient, 1.0 - step.beta1);
    let _ = square.g_mul_scalar_(step.beta2).addcmul_(&(gradient * (1.0 - step.beta2)), gradient);
    let (bias1, bias2) = step.biases();
    let size = square.sqrt() / bias2.sqrt() + step.epsilon;
    if step.weight_decay != 0.0 {
        *parameter *= 1.0 - step.rate * step.weight_decay;
    }
    let _ = parameter.addcdiv_(&(&*mean * (-step.rate / bias1)), &size);
}

impl AdamStep {
    /// What the means are short of, because they started at zero.
    pub(crate) fn biases(self) -> (f64, f64) {
        let step = self.step as f64;
        (1.0 - self.beta1.powf(step), 1.0 - self.beta2.powf(step))
    }
}
