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
/// row, and all that is left is the difference between two ways to take a log-softmax. Measured on fourteen architectures
/// (`agent/tests/honest`), experts that gather their tokens among them: 9e-7 at most at one cut, 4e-8 in the mean. What leaks
/// least of the tests' cheats shows 3e-3 at its worst cut.
pub const CPU_FP32: Tolerance = Tolerance { largest: 1e-3, mean: 1e-4 };

/// On a CPU in bfloat16: the same bits are repeated, so the same was measured.
pub const CPU_BF16: Tolerance = CPU_FP32;

/// What bfloat16's own rounding could do to a model whose products differ by their shapes.
const NOT_MEASURED: Tolerance = Tolerance { largest: 0.25, mean: 4e-3 };

/// On a GPU in float32: NOT measured on a GPU yet: wide enough for one that rounds bfloat16 otherwise each time.
pub const GPU_FP32: Tolerance = NOT_MEASURED;

/// On a GPU in bfloat16: NOT measured on a GPU yet: the same.
pub const GPU_BF16: Tolerance = NOT_MEASURED;

/// The tolerance for a device (`cpu` or `cuda:N`) and a precision.
pub fn tolerance(device: &str, precision: Precision) -> Tolerance {
    match (device, precision) {
        ("cpu", Precision::Fp32) => CPU_FP32,
        ("cpu", Precision::Bf16) => CPU_BF16,
        (_, Precision::Fp32) => GPU_FP32,
        (_, Precision::Bf16) => GPU_BF16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_leak_of_a_hundredth_of_a_bit_is_beyond_every_mean() {
        for device in ["cpu", "cuda:0", "cuda:1"] {
            for precision in [Precision::Fp32, Precision::Bf16] {
                let Tolerance { largest, mean } = tolerance(device, precision);
                // 0.01 bits per byte at three bytes a token.
                assert!(mean * 5.0 < 0.01 * std::f64::consts::LN_2 * 3.0 && mean < largest, "{device} {precision:?}");
            }
        }
        assert_eq!(tolerance("cpu", Precision::Fp32), CPU_FP32);
        assert_eq!(tolerance("cuda:1", Precision::Bf16), GPU_BF16);
    }
}
