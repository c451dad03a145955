//! Which arithmetic a campaign asks for, and what `auto` comes to on a machine.

use protocol::Precision;
use serde::{Deserialize, Serialize};

/// `precision` in `[machine]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionChoice {
    /// bf16 where the device multiplies bf16 matrices fast, else fp32.
    Auto,
    /// 32-bit floats.
    Fp32,
    /// bfloat16 activations and matrix products.
    Bf16,
}

impl PrecisionChoice {
    /// All choices, the default first.
    pub const ALL: [PrecisionChoice; 3] = [PrecisionChoice::Auto, PrecisionChoice::Bf16, PrecisionChoice::Fp32];

    /// The word used in `campaign.toml`.
    pub fn name(self) -> &'static str {
        match self {
            PrecisionChoice::Auto => "auto",
            PrecisionChoice::Fp32 => "fp32",
            PrecisionChoice::Bf16 => "bf16",
        }
    }

    /// What it comes to on `device` (`cpu` or `cuda:N`) of this machine. Only `auto` on a CPU looks at the machine.
    pub fn on(self, device: &str) -> Precision {
        match self {
            PrecisionChoice::Fp32 => Precision::Fp32,
            PrecisionChoice::Bf16 => Precision::Bf16,
            PrecisionChoice::Auto if device != "cpu" => Precision::Bf16,
            PrecisionChoice::Auto => {
                // Where /proc/cpuinfo cannot be read nothing is known of the CPU, and fp32 is right on every one.
                let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
                if multiplies_bf16(&cpuinfo) { Precision::Bf16 } else { Precision::Fp32 }
            }
        }
    }
}

/// Whether every processor that Linux lists in the text of `/proc/cpuinfo` has instructions for products of bf16: AVX512-BF16
/// or AMX on x86-64 (a line `flags`), FEAT_BF16 on AArch64 (a line `Features`). Without them libtorch converts every
/// product's inputs, which takes several times as long as fp32.
pub fn multiplies_bf16(cpuinfo: &str) -> bool {
    let mut processors = cpuinfo.lines().filter_map(|line| {
        let (key, flags) = line.split_once(':')?;
        let wanted: &[&str] = match key.trim() {
            "flags" => &["avx512_bf16", "amx_bf16"],
            "Features" => &["bf16"],
            _ => return None,
        };
        Some(flags.split_whitespace().any(|flag| wanted.contains(&flag)))
    });
    processors.next().is_some_and(|first| first && processors.all(|other| other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_with_products_of_bf16_are_known_by_their_flags() {
        for (cpuinfo, fast, what) in [
            ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", true, "Sapphire Rapids, Zen 4"),
            ("flags\t\t: fpu avx512f amx_bf16\n", true, "AMX alone"),
            ("flags\t\t: fpu avx2 fma\nbugs\t\t: avx512_bf16\n", false, "a laptop; another line's words do not count"),
            ("flags\t\t: fpu avx512f avx512_bf16x\n", false, "a longer word"),
            ("flags\t\t: avx512_bf16\n\nflags\t\t: avx2\n", false, "one processor of two"),
            ("flags\t\t: avx512_bf16\n\nflags\t\t: avx512_bf16\nvmx flags\t: vnmi\n", true, "two of two"),
            ("Features\t: fp asimd bf16 i8mm\n", true, "Neoverse V1"),
            ("Features\t: fp asimd\n", false, "Neoverse N1"),
            ("flags\t\t: bf16\n", false, "AArch64's word on x86-64"),
            ("", false, "unreadable"),
        ] {
            assert_eq!(multiplies_bf16(cpuinfo), fast, "{what}");
        }
    }

    #[test]
    fn what_is_written_stands_and_cuda_gets_bf16() {
        for device in ["cpu", "cuda:0"] {
            assert_eq!(PrecisionChoice::Fp32.on(device), Precision::Fp32);
            assert_eq!(PrecisionChoice::Bf16.on(device), Precision::Bf16);
        }
        assert_eq!(PrecisionChoice::Auto.on("cuda:1"), Precision::Bf16);
    }
}
