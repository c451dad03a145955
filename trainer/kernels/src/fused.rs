//! The C++ half (`native/`), called. All of this crate's unsafe code is here.
//!
//! Whether an operation applies is decided here and in the public functions, from kinds, shapes and devices; the other side trusts that.
#![allow(unsafe_code, reason = "tensors are handed to C++ and taken back")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

use crate::AdamStep;
use crate::plain::EPSILON;

// `*mut C_tensor` is an `at::Tensor*`. What the functions return is new and ours to free; what they are given stays the caller's.
unsafe extern "C" {
    fn nocturne_kernels_error() -> *const c_char;
    fn nocturne_kernels_instruction_set() -> *const c_char;
    fn nocturne_kernels_attention_available() -> bool;
    fn nocturne_kernels_cuda_available(x: *mut C_tensor) -> bool;
    fn nocturne_kernels_cuda_why_not() -> *const c_char;
    fn nocturne_kernels_prepare(folder: *const c_char, device: c_int) -> bool;
    fn nocturne_kernels_windowed_available(x: *mut C_tensor) -> bool;
    fn nocturne_windowed_attention(
        query: *mut C_tensor,
        key: *mut C_tensor,
        value: *mut C_tensor,
        window: i64,
        scale: f64,
    ) -> *mut C_tensor;
    fn nocturne_late(x: *mut C_tensor) -> *mut c_void;
    fn nocturne_late_read(late: *const c_void, value: *mut f64) -> bool;
    fn nocturne_late_free(late: *mut c_void);
    fn nocturne_peak_memory(device: c_int, bytes: *mut i64) -> bool;
    fn nocturne_norm(x: *mut C_tensor, epsilon: f64) -> *mut C_tensor;
    fn nocturne_add_norm(out: *mut *mut C_tensor, x: *mut C_tensor, branch: *mut C_tensor, epsilon: f64) -> bool;
    fn nocturne_mix_norm(
        out: *mut *mut C_tensor,
        x: *mut C_tensor,
        a: *mut C_tensor,
        other: *mut C_tensor,
        b: *mut C_tensor,
        epsilon: f64,
    ) -> bool;
    fn nocturne_rotary_norm(x: *mut C_tensor, cos: *mut C_tensor, sin: *mut C_tensor, epsilon: f64) -> *mut C_tensor;
    fn nocturne_kernels_linear_available() -> bool;
    fn nocturne_linears(out: *mut *mut C_tensor, x: *mut C_tensor, weights: *const *mut C_tensor, count: i64) -> bool;
    fn nocturne_squared_relu(x: *mut C_tensor) -> *mut C_tensor;
    fn nocturne_gated_value(value: *mut C_tensor, gate: *mut C_tensor, embedding: *mut C_tensor) -> *mut C_tensor;
    fn nocturne_softcap_loss(logits: *mut C_tensor, targets: *mut C_tensor, cap: f64) -> *mut C_tensor;
    fn nocturne_attention(
        query: *mut C_tensor,
        key: *mut C_tensor,
        value: *mut C_tensor,
        window: i64,
        scale: f64,
    ) -> *mut C_tensor;
    fn nocturne_muon_look(
        gradient: *mut C_tensor,
        momentum: *mut C_tensor,
        mu: f64,
        look: *mut C_tensor,
        squares: *mut C_tensor,
    ) -> bool;
    fn nocturne_kernels_polar_available() -> bool;
    fn nocturne_polar_express(x: *mut C_tensor, coefficients: *const f32, count: i64) -> bool;
    fn nocturne_normuon(direction: *mut C_tensor, second: *mut C_tensor, beta2: f64) -> bool;
    fn nocturne_cautious_update(update: *mut C_tensor, rate: f64, decay: f64, parameter: *mut C_tensor) -> bool;
    fn nocturne_adamw(
        parameter: *mut C_tensor,
        gradient: *mut C_tensor,
        mean: *mut C_tensor,
        square: *mut C_tensor,
        rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        decay: f64,
        bias1: f64,
        bias2: f64,
    ) -> bool;
}

/// Whether activations of these kinds, on these devices, have fused operations: float or bfloat16, all alike, not empty, with as much
/// as one dimension.
pub fn applies(tensors: &[&Tensor]) -> bool {
    let first = tensors[0];
    let kind = first.kind();
    matches!(kind, Kind::Float | Kind::BFloat16)
        && tensors.iter().all(|x| x.kind() == kind && x.device() == first.device() && x.numel() > 0 && x.dim() > 0)
        && device_applies(first)
}

/// Whether state (float, contiguous, on one device) has fused operations whose other operand is of `kind`.
pub fn applies_to_state(tensors: &[&Tensor], kind: Kind) -> bool {
    let first = tensors[0];
    matches!(kind, Kind::Float | Kind::BFloat16)
        && tensors
            .iter()
            .all(|x| x.kind() == Kind::Float && x.device() == first.device() && x.numel() > 0 && x.is_contiguous())
        && device_applies(first)
}

fn device_applies(x: &Tensor) -> bool {
    match x.device() {
        Device::Cpu => true,
        // SAFETY: the tensor lives through the call, which does not keep it.
        Device::Cuda(_) => unsafe { nocturne_kernels_cuda_available(x.as_ptr().cast_mut()) },
        _ => false,
    }
}

/// Whether the CPU's products of a linear layer take these: bfloat16 rows, a float matrix, sides that its blocks divide.
pub fn linear_applies(x: &Tensor, weight: &Tensor) -> bool {
    let size = weight.size();
    [x, weight].iter().all(|tensor| tensor.device() == Device::Cpu && tensor.numel() > 0)
        && (x.kind(), weight.kind()) == (Kind::BFloat16, Kind::Float)
        && size.len() == 2
        && size.iter().all(|side| side % 64 == 0)
        && x.size().last() == size.last()
        // SAFETY: it reads what the processor is.
        && unsafe { nocturne_kernels_linear_available() }
}

pub fn linears<const LAYERS: usize>(x: &Tensor, weights: [&Tensor; LAYERS]) -> [Tensor; LAYERS] {
    let mut out = [std::ptr::null_mut(); LAYERS];
    // SAFETY: both lists have as many tensors as is said; see norm for these.
    done(unsafe { nocturne_linears(out.as_mut_ptr(), ptr(x), weights.map(ptr).as_ptr(), LAYERS as i64) });
    out.map(one)
}

/// Whether the CPU's attention takes these: bfloat16, one shape, a width that its blocks divide.
pub fn attention_applies(query: &Tensor, key: &Tensor, value: &Tensor) -> bool {
    let size = query.size();
    size.len() == 4
        && [query, key, value]
            .iter()
            .all(|x| x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && x.size() == size && x.numel() > 0)
        && size[3] % 32 == 0
        && size[3] <= 256
        && has_attention()
}

/// Whether libtorch's flash attention takes these on a device, which has no window for any other: bfloat16, one shape, a window that hides
/// something.
pub fn windowed_applies(query: &Tensor, key: &Tensor, value: &Tensor, window: i64) -> bool {
    let size = query.size();
    size.len() == 4
        && window < size[1] - 1
        && [query, key, value].iter().all(|x| {
            matches!(x.device(), Device::Cuda(_))
                && x.device() == query.device()
                && x.kind() == Kind::BFloat16
                && x.size() == size
                && x.numel() > 0
        })
        // SAFETY: the tensor lives through the call, which does not keep it.
        && unsafe { nocturne_kernels_windowed_available(ptr(query)) }
}

pub fn windowed_attention(query: &Tensor, key: &Tensor, value: &Tensor, window: i64) -> Tensor {
    let width = query.size().last().copied().unwrap_or(1);
    // SAFETY: see norm.
    one(unsafe { nocturne_windowed_attention(ptr(query), ptr(key), ptr(value), window, (width as f64).powf(-0.5)) })
}

/// Why the kernels are not used on a device, or nothing where they are. The first question compiles them, or reads them.
pub fn get_ready(device: Device) -> Option<String> {
    for width in [64, 128] {
        let heads = Tensor::zeros([1, 1, 1, width], (Kind::BFloat16, device));
        // SAFETY: the tensor lives through the call, which does not keep it. What it says is kept there.
        unsafe { nocturne_kernels_windowed_available(ptr(&heads)) };
    }
    let on_it = Tensor::zeros([1], (Kind::Float, device));
    // SAFETY: the tensor lives through the call; the text lives as long as the program.
    (!device_applies(&on_it))
        .then(|| unsafe { CStr::from_ptr(nocturne_kernels_cuda_why_not()) }.to_string_lossy().into_owned())
}

/// A number on its way from a device, freed with this.
#[derive(Debug)]
pub struct Late(NonNull<c_void>);

impl Late {
    pub fn of(x: &Tensor) -> Result<Late, TchError> {
        // SAFETY: what comes back is ours to free, or null; C++ exceptions are caught on the other side.
        NonNull::new(unsafe { nocturne_late(ptr(x)) }).map(Late).ok_or_else(error)
    }

    pub fn read(&self) -> Result<f64, TchError> {
        let mut value = f64::NAN;
        // SAFETY: it was made by nocturne_late and is not freed yet; one number is written.
        if unsafe { nocturne_late_read(self.0.as_ptr(), &raw mut value) } { Ok(value) } else { Err(error()) }
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        // SAFETY: it was made by nocturne_late, and nobody has it any more.
        unsafe { nocturne_late_free(self.0.as_ptr()) }
    }
}

pub fn peak_memory(device: c_int) -> Option<u64> {
    let mut bytes = -1;
    // SAFETY: one number is written.
    let told = unsafe { nocturne_peak_memory(device, &raw mut bytes) };
    u64::try_from(bytes).ok().filter(|_| told)
}

pub fn has_attention() -> bool {
    // SAFETY: it reads what the processor is.
    unsafe { nocturne_kernels_attention_available() }
}

pub fn instruction_set() -> String {
    // SAFETY: a text that lives as long as the program.
    unsafe { CStr::from_ptr(nocturne_kernels_instruction_set()) }.to_string_lossy().into_owned()
}

pub fn prepare_cache(folder: &CStr, device: u16) -> Result<(), TchError> {
    // SAFETY: the folder is a C string that lives through the call; C++ exceptions are caught on the other side.
    if unsafe { nocturne_kernels_prepare(folder.as_ptr(), c_int::from(device)) } { Ok(()) } else { Err(error()) }
}

pub fn norm(x: &Tensor) -> Tensor {
    // SAFETY: as for all calls below: tensors live through the call, and what comes back is a tensor of our own or null.
    one(unsafe { nocturne_norm(ptr(x), EPSILON) })
}

pub fn add_norm(x: &Tensor, branch: &Tensor) -> (Tensor, Tensor) {
    // SAFETY: `out` has room for two.
    two(|out| unsafe { nocturne_add_norm(out, ptr(x), ptr(branch), EPSILON) })
}

pub fn mix_norm(x: &Tensor, a: &Tensor, other: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    // SAFETY: `out` has room for two.
    two(|out| unsafe { nocturne_mix_norm(out, ptr(x), ptr(a), ptr(other), ptr(b), EPSILON) })
}

pub fn rotary_norm(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    // SAFETY: see norm.
    one(unsafe { nocturne_rotary_norm(ptr(x), ptr(cos), ptr(sin), EPSILON) })
}

pub fn squared_relu(x: &Tensor) -> Tensor {
    // SAFETY: see norm.
    one(unsafe { nocturne_squared_relu(ptr(x)) })
}

pub fn gated_value(value: &Tensor, gate: &Tensor, embedding: &Tensor) -> Tensor {
    // SAFETY: see norm.
    one(unsafe { nocturne_gated_value(ptr(value), ptr(gate), ptr(embedding)) })
}

pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, window: i64) -> Tensor {
    let width = query.size().last().copied().unwrap_or(1);
    // SAFETY: see norm.
    one(unsafe { nocturne_attention(ptr(query), ptr(key), ptr(value), window, (width as f64).powf(-0.5)) })
}

pub fn softcap_cross_entropy(logits: &Tensor, targets: &Tensor, cap: f64) -> Tensor {
    let vocabulary = logits.size().last().copied().unwrap_or(1);
    let (logits, targets) = (logits.contiguous().view([-1, vocabulary]), targets.reshape([-1]).contiguous());
    // SAFETY: see norm.
    one(unsafe { nocturne_softcap_loss(ptr(&logits), ptr(&targets), cap) })
}

pub fn muon_look_ahead(gradient: &Tensor, momentum: &mut Tensor, mu: f64, kind: Kind) -> Tensor {
    let mut look = Tensor::empty(gradient.size(), (kind, gradient.device()));
    let squares = Tensor::empty([gradient.size()[0]], (Kind::Float, gradient.device()));
    // SAFETY: see norm; momentum, look and squares are written, and are not seen by others meanwhile.
    done(unsafe { nocturne_muon_look(ptr(gradient), ptr(momentum), mu, ptr(&look), ptr(&squares)) });
    let shrink = (squares.sqrt() * 1.02 + 1e-6).reciprocal().view([-1, 1, 1]).to_kind(kind);
    look *= shrink;
    look
}

/// Whether the CPU's Polar Express takes a stack: bfloat16, sides that its blocks divide, and a matrix for every thread.
pub fn polar_applies(x: &Tensor) -> bool {
    let size = x.size();
    x.device() == Device::Cpu
        && x.kind() == Kind::BFloat16
        && size.len() == 3
        && size[1..].iter().all(|side| *side > 0 && side % 64 == 0)
        && size[0] >= i64::from(tch::get_num_threads())
        && x.is_contiguous()
        // SAFETY: it reads what the processor is.
        && unsafe { nocturne_kernels_polar_available() }
}

pub fn polar_express(x: &mut Tensor, coefficients: &[(f64, f64, f64)]) {
    let numbers: Vec<f32> = coefficients.iter().flat_map(|&(a, b, c)| [a as f32, b as f32, c as f32]).collect();
    // SAFETY: there are three numbers for each; see muon_look_ahead for the tensor.
    done(unsafe { nocturne_polar_express(ptr(x), numbers.as_ptr(), coefficients.len() as i64) });
}

pub fn normuon(direction: &mut Tensor, second: &mut Tensor, beta2: f64) {
    // SAFETY: see muon_look_ahead.
    done(unsafe { nocturne_normuon(ptr(direction), ptr(second), beta2) });
}

pub fn cautious_update(parameter: &mut Tensor, update: &Tensor, rate: f64, weight_decay: f64) {
    // SAFETY: see muon_look_ahead.
    done(unsafe { nocturne_cautious_update(ptr(update), rate, weight_decay, ptr(parameter)) });
}

pub fn adamw(parameter: &mut Tensor, gradient: &Tensor, mean: &mut Tensor, square: &mut Tensor, step: AdamStep) {
    let (bias1, bias2) = step.biases();
    let AdamStep { rate, beta1, beta2, epsilon, weight_decay, .. } = step;
    let (p, g, m, s) = (ptr(parameter), ptr(gradient), ptr(mean), ptr(square));
    // SAFETY: see muon_look_ahead.
    done(unsafe { nocturne_adamw(p, g, m, s, rate, beta1, beta2, epsilon, weight_decay, bias1, bias2) });
}

/// The C++ side takes pointers to tensors that it may write into; that it does so only where it says is its side of the bargain.
fn ptr(x: &Tensor) -> *mut C_tensor {
    x.as_ptr().cast_mut()
}

fn one(made: *mut C_tensor) -> Tensor {
    if made.is_null() {
        refused();
    }
    // SAFETY: a tensor that was made for us, and that nobody else frees.
    unsafe { Tensor::from_ptr(made) }
}

fn two(make: impl FnOnce(*mut *mut C_tensor) -> bool) -> (Tensor, Tensor) {
    let mut out = [std::ptr::null_mut(); 2];
    done(make(out.as_mut_ptr()));
    (one(out[0]), one(out[1]))
}

fn done(success: bool) {
    if !success {
        refused();
    }
}

/// Ends as tch's operators do where libtorch refuses: whoever calls them expects that, and the trainer's harness catches it.
#[allow(clippy::panic, reason = "tch's own operators panic on a torch error")]
fn refused() -> ! {
    panic!("{}", error());
}

/// What stood in the way of this thread's last call that failed.
fn error() -> TchError {
    // SAFETY: the text lives until this thread's next error.
    TchError::Torch(unsafe { CStr::from_ptr(nocturne_kernels_error()) }.to_string_lossy().into_owned())
}
