//! Operations of a GPT's training step that do in one pass over memory what takes several with plain tensor code, each with its gradient.
//!
//! All are plain functions on tensors, and compose with any others:
//!
//! | function | what it does |
//! |---|---|
//! | [`norm`], [`add_norm`], [`mix_norm`] | RMSNorm, alone or after a sum on the residual stream |
//! | [`rotary_norm`] | rotary positions, then QK-norm |
//! | [`gated_value`] | value embeddings through a gate |
//! | [`attention`] | causal attention over a window that computes no scores outside it |
//! | [`linear`], [`linears`] | a linear layer whose master weights are float, or several of one input (fused on the CPU) |
//! | [`squared_relu`] | squared ReLU that keeps its output only |
//! | [`softcap_cross_entropy`] | soft-capped logits and their loss |
//! | [`polar_express`] | the nearest orthogonal matrix of each in a stack (fused on the CPU) |
//! | [`muon_look_ahead`], [`normuon`], [`cautious_update`], [`adamw`] | the optimizer's other passes over a stack of matrices, or over a tensor |
//!
//! The fused form is taken for float and bfloat16 tensors on the CPU (vector code for the processor at hand, on libtorch's threads) and on
//! CUDA devices (source compiled when the program runs). Wherever it does not apply (another kind, shapes that broadcast, a device without
//! a compiler) the same is done by the tensor code in [`plain`]: results then agree up to rounding. What the table says is fused on the CPU is on CUDA devices libtorch's own product. Fused sums do not depend on the number
//! of threads; whether [`polar_express`] is fused does.
//!
//! Like tch's own operators, these panic where libtorch refuses its arguments. A fused operation has no second derivative and says so;
//! [`plain`] has.

mod fused;
pub mod plain;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tch::{Device, Kind, TchError, Tensor};

/// RMSNorm over the last dimension, without weights: `x / sqrt(mean(x^2) + epsilon)`, with the epsilon [`plain::EPSILON`]. Any shape.
pub fn norm(x: &Tensor) -> Tensor {
    if fused::applies(&[x]) { fused::norm(x) } else { plain::norm(x) }
}

/// A step on the residual stream: `sum = x + branch` and its [`norm`]. Both of one shape; returns (sum, norm).
pub fn add_norm(x: &Tensor, branch: &Tensor) -> (Tensor, Tensor) {
    if fused::applies(&[x, branch]) && x.size() == branch.size() {
        fused::add_norm(x, branch)
    } else {
        plain::add_norm(x, branch)
    }
}

/// A mixture on the residual stream: `sum = a x + b other` and its [`norm`]. `a` and `b` are scalars (tensors of one element, float);
/// returns (sum, norm).
pub fn mix_norm(x: &Tensor, a: &Tensor, other: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let scalar = |s: &Tensor| s.numel() == 1 && s.kind() == Kind::Float && s.device() == x.device();
    if fused::applies(&[x, other]) && x.size() == other.size() && scalar(a) && scalar(b) {
        fused::mix_norm(x, a, other, b)
    } else {
        plain::mix_norm(x, a, other, b)
    }
}

/// Turns each pair of channels (c, c + width / 2) of every head by its position's angle, then normalises the head ([`norm`]).
///
/// `x`: [batch, time, heads, width] with an even width; `cos`, `sin`: [at least time, width / 2], float, without gradients.
pub fn rotary_norm(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let size = x.size();
    let table = |t: &Tensor| {
        let long_enough =
            size.len() == 4 && t.size().len() == 2 && t.size()[0] >= size[1] && t.size()[1] * 2 == size[3];
        long_enough && t.kind() == Kind::Float && t.device() == x.device() && t.is_contiguous() && !t.requires_grad()
    };
    if fused::applies(&[x]) && table(cos) && table(sin) {
        fused::rotary_norm(x, cos, sin)
    } else {
        plain::rotary_norm(x, cos, sin)
    }
}

/// Turns each pair of channels as [`rotary_norm`] does, and leaves the norm out. Plain tensor code.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    plain::rotate(x, cos, sin)
}

/// Adds to the values what a gate lets through of an embedding: `value + 2 sigmoid(gate) embedding`.
///
/// `value`, `embedding`: [batch, time, heads, width]; `gate`: [batch, time, heads].
pub fn gated_value(value: &Tensor, gate: &Tensor, embedding: &Tensor) -> Tensor {
    let size = value.size();
    let fits = size.len() == 4 && embedding.size() == size && gate.size() == size[..3];
    if fused::applies(&[value, gate, embedding]) && fits {
        fused::gated_value(value, gate, embedding)
    } else {
        plain::gated_value(value, gate, embedding)
    }
}

/// Causal attention: every position mixes the values of itself and of up to `window` positions before it (all, where `window` is at least
/// the time), by the softmax of `query . key / sqrt(width)`.
///
/// `query`, `key`, `value`: [batch, time, heads, width]; keys and values may have fewer heads, which are then repeated for those of the
/// queries. The result is as `query`. The fused form is the CPU's, for bfloat16, as many
/// heads of each and processors with AVX512-BF16. On CUDA devices it is libtorch's flash attention, which leaves out what the window hides, for
/// bfloat16; elsewhere libtorch's scaled dot-product attention chooses its own.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, window: i64) -> Tensor {
    if fused::attention_applies(query, key, value) && window >= 0 {
        fused::attention(query, key, value, window)
    } else if window >= 0 && fused::windowed_applies(query, key, value, window) {
        fused::windowed_attention(query, key, value, window)
    } else {
        plain::attention(query, key, value, window)
    }
}

/// `x W^T`, with the weights rounded to the kind of `x`; their gradient comes in their own kind.
///
/// `x`: [.., inputs]; `weight`: [outputs, inputs]; returns [.., outputs], as `x`. The fused form is the CPU's, for bfloat16 and float
/// weights, sides that are multiples of 64 and processors with AVX512-BF16; elsewhere it is libtorch's product after a cast.
pub fn linear(x: &Tensor, weight: &Tensor) -> Tensor {
    let [y] = linears(x, [weight]);
    y
}

/// Several layers of one input, each as [`linear`]: `x W^T` for every weight, in their order. The gradient of `x` is summed up within one
/// product.
pub fn linears<const LAYERS: usize>(x: &Tensor, weights: [&Tensor; LAYERS]) -> [Tensor; LAYERS] {
    if LAYERS > 0 && weights.iter().all(|weight| fused::linear_applies(x, weight)) {
        return fused::linears(x, weights);
    }
    weights.map(|weight| {
        if LAYERS > 1 && fused::linear_applies(x, weight) { linear(x, weight) } else { plain::linear(x, weight) }
    })
}

/// `max(x, 0)^2`, any shape. Its gradient comes from the result, so the input need not be kept.
pub fn squared_relu(x: &Tensor) -> Tensor {
    if fused::applies(&[x]) { fused::squared_relu(x) } else { plain::squared_relu(x) }
}

/// Mean cross-entropy, in nats, of soft-capped logits: `cap * tanh(logits / cap)` against the target tokens.
///
/// `logits`: [.., vocabulary], given away: the fused form puts their gradient in their place. `targets`: int64 of the leading shape, each
/// in 0..vocabulary. Returns a float scalar.
pub fn softcap_cross_entropy(logits: Tensor, targets: &Tensor, cap: f64) -> Tensor {
    let vocabulary = logits.size().last().copied().unwrap_or(0);
    let fits = targets.kind() == Kind::Int64 && targets.numel() as i64 * vocabulary == logits.numel() as i64;
    if fused::applies(&[&logits]) && fits && targets.device() == logits.device() && cap.is_finite() && cap > 0.0 {
        fused::softcap_cross_entropy(&logits, targets, cap)
    } else {
        plain::softcap_cross_entropy(&logits, targets, cap)
    }
}

/// Muon's first pass: moves the momentum towards the gradient and looks ahead along it (Nesterov).
///
/// `gradient`, `momentum`: [members, rows, columns], float; `momentum` becomes `lerp(momentum, gradient, 1 - mu)`. Returns
/// `lerp(gradient, momentum, mu)` divided by 1.02 times its Frobenius norm (the margin that Polar Express asks for), in `kind`: each
/// matrix of the stack by its own.
pub fn muon_look_ahead(gradient: &Tensor, momentum: &mut Tensor, mu: f64, kind: Kind) -> Tensor {
    if fused::applies_to_state(&[gradient, momentum], kind) && gradient.dim() == 3 && gradient.size() == momentum.size()
    {
        fused::muon_look_ahead(gradient, momentum, mu, kind)
    } else {
        plain::muon_look_ahead(gradient, momentum, mu, kind)
    }
}

/// The nearest semi-orthogonal matrix of each matrix in a stack (Polar Express, Amsel et al. 2025): for each of the coefficients (a, b, c)
/// in turn `x <- a x + (b s + c s^2) x` with `s = x x^T`.
///
/// The fused form takes two iterations of a long matrix at once, on the smaller matrix `s`, which the plain form does not: the two agree
/// as far as bfloat16 reaches over the iterations, not to its last digit.
///
/// `x`: [members, rows, columns], given away, each matrix of a norm below 1. Returns the same, in its kind. The fused form is the CPU's, for
/// bfloat16, sides that are multiples of 64 and a matrix for every thread, on processors with AVX512-BF16; elsewhere these are batched products.
pub fn polar_express(mut x: Tensor, coefficients: &[(f64, f64, f64)]) -> Tensor {
    if fused::polar_applies(&x) {
        fused::polar_express(&mut x, coefficients);
        x
    } else {
        plain::polar_express(&x, coefficients)
    }
}

/// Evens out the size of rows, or of columns where there are more of them (NorMuon, Li et al. 2025): divides each by its running root mean
/// square, then restores the norm of the whole matrix.
///
/// `direction`: [members, rows, columns], float or bfloat16, given away; `second`: [members, rows, 1] (or [members, 1, columns]), float,
/// the running mean squares, which this moves by `1 - beta2`. Returns the update, as `direction`.
pub fn normuon(mut direction: Tensor, second: &mut Tensor, beta2: f64) -> Tensor {
    let size = direction.size();
    let lines = size.len() == 3 && second.numel() as i64 == size[0] * size[1].max(size[2]);
    let one_device = direction.device() == second.device();
    if fused::applies_to_state(&[second], direction.kind()) && direction.is_contiguous() && lines && one_device {
        fused::normuon(&mut direction, second, beta2);
        direction
    } else {
        plain::normuon(&direction, second, beta2)
    }
}

/// Takes a step, and decays only weights that the step shrinks as well (cautious weight decay, Chen et al. 2025):
/// `p - rate u - rate decay p [u p >= 0]`.
///
/// `parameters`: the members of a stack, each [rows, columns], float, changed in place; `update`: [members, rows, columns], float or
/// bfloat16; `weight_decay` is in units of the rate.
pub fn cautious_update(parameters: &mut [Tensor], update: &Tensor, rate: f64, weight_decay: f64) {
    for (parameter, update) in parameters.iter_mut().zip(update.unbind(0)) {
        let fits = parameter.size() == update.size() && parameter.device() == update.device() && update.is_contiguous();
        if fused::applies_to_state(&[parameter], update.kind()) && fits {
            fused::cautious_update(parameter, &update, rate, weight_decay);
        } else {
            plain::cautious_update(parameter, &update, rate, weight_decay);
        }
    }
}

/// How [`adamw`] changes a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the gradient's mean.
    pub beta1: f64,
    /// Decay of the gradient's mean square.
    pub beta2: f64,
    /// Added to the root mean square.
    pub epsilon: f64,
    /// Decoupled weight decay, in units of the rate.
    pub weight_decay: f64,
    /// Number of the step, from 1, for the correction of both means' start at zero.
    pub step: u64,
}

/// One AdamW step in place. All four are float tensors of one shape; `mean` and `square` start at zero.
pub fn adamw(parameter: &mut Tensor, gradient: &Tensor, mean: &mut Tensor, square: &mut Tensor, step: AdamStep) {
    let size = parameter.size();
    let one_shape = [gradient, mean, square].iter().all(|tensor| tensor.size() == size);
    if fused::applies_to_state(&[parameter, gradient, mean, square], Kind::Float) && one_shape {
        fused::adamw(parameter, gradient, mean, square, step);
    } else {
        plain::adamw(parameter, gradient, mean, square, step);
    }
}

/// Which vector code the CPU's fused operations use here: `avx512_bf16`, `avx512`, `avx2` or `portable`.
pub fn instruction_set() -> String {
    fused::instruction_set()
}

/// Compiles the CUDA kernels for the device of this number and writes them to `folder`, which exists: processes whose variable
/// `NOCTURNE_KERNEL_CACHE` names it need not compile them. libtorch's CUDA half is loaded already. What is in the folder runs on devices, so
/// this is for the harness: nobody who runs edited code may ever write to it.
///
/// # Errors
/// When there is no such device, no compiler, or the folder cannot be written to.
pub fn prepare_cache(folder: &Path, device: u16) -> Result<(), TchError> {
    let path = CString::new(folder.as_os_str().as_bytes())
        .map_err(|_| TchError::Torch(format!("{} has a zero byte in its name", folder.display())))?;
    fused::prepare_cache(&path, device)
}

/// Gets the fused operations ready for a CUDA device, before anything is timed: reads their compiled form, or compiles it, and tries attention over windows
/// with the usual widths of heads (another is tried when it is first met). Returns why they are not used, or nothing where they are. libtorch's CUDA half
/// is loaded already.
pub fn get_ready(device: Device) -> Option<String> {
    fused::get_ready(device)
}

/// A number on its way from a CUDA device: reading it does not wait for what was started on the device after this was made.
#[derive(Debug)]
pub struct Late(fused::Late);

impl Late {
    /// Begins to copy `x`, of one element on a CUDA device.
    ///
    /// # Errors
    /// libtorch's; also where `x` is no such tensor.
    pub fn of(x: &Tensor) -> Result<Late, TchError> {
        fused::Late::of(x).map(Late)
    }

    /// Waits for the number.
    ///
    /// # Errors
    /// What went wrong on the device until then.
    pub fn read(&self) -> Result<f64, TchError> {
        self.0.read()
    }
}

/// The most bytes that tensors have had of a CUDA device's memory at once; nothing where libtorch has not used that device.
pub fn peak_device_memory(device: u16) -> Option<u64> {
    fused::peak_memory(device.into())
}

/// Whether [`attention`] has a fused form on this processor.
pub fn has_fused_attention() -> bool {
    fused::has_attention()
}
