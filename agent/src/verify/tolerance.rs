//! How much claim and audit of an honest model may differ. Pure.

use protocol::Precision;

/// What rounding explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Largest difference at one cut, nats.
    pub largest: f64,
    /// Largest mean difference over all tokens, nats per token.
    pub mean: f64,
}

/// On a CPU in float32.
///
/// In equal shapes libtorch's products are repeated to the last bit whatever stands in the other rows and in the rest of the
/// row, so the only difference of a plain model is that of two ways to take a log-softmax (1e-6). A mixture of experts that gathers rows by
/// token has other shapes in every batch.
pub const CPU_FP32: Tolerance = Tolerance { largest: 1e-2, mean: 5e-4 };

/// On a CPU in bfloat16.
pub const CPU_BF16: Tolerance = Tolerance { largest: 0.25, mean: 4e-3 };

/// On a GPU in float32: NOT measured on a GPU yet, set as for bfloat16 on a CPU.
pub const GPU_FP32: Tolerance = CPU_BF16;

/// On a GPU in bfloat16: NOT measured on a GPU yet, set as for bfloat16 on a CPU.
pub const GPU_BF16: Tolerance = CPU_BF16;

/// The tolerance for a device (`cpu` or `cuda:N`) and a precision.
pub fn tolerance(device: &str, precision: Precision) -> Tolerance {
    match (device, precision) {
        ("cpu", Precision::Fp32) => CPU_FP32,
        ("cpu", Precision::Bf16) => CPU_BF16,
        (_, Precision::Fp32) => GPU_FP32,
        (_, Precision::Bf16) => GPU_BF16,
    }
}
