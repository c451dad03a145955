//! The options of `nocturne bench`, and which values they take.

use std::path::PathBuf;

use clap::Args;

use super::args::positive;
use crate::campaign::Device;

/// Options of `nocturne bench noise`.
#[derive(Debug, Clone, Args)]
pub(super) struct NoiseArgs {
    /// The campaign's folder, for example experiments/quickstart
    pub(super) campaign: PathBuf,
    /// So many seeds of initial values
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(super) seeds: u32,
    /// So many seeds of the data order
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(super) orders: u32,
    /// So many runs once more, under the same seeds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=64))]
    pub(super) repeats: u32,
    /// Train on so many tokens instead of the campaign's budget: repeatable on a machine with other work
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) tokens: Option<u64>,
    /// Threads of libtorch instead of the campaign's
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// Measure this commit (40 digits) instead of HEAD
    #[arg(long)]
    pub(super) commit: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne bench throughput`; names and defaults are those of xtask/reference/throughput.py.
#[derive(Debug, Clone, Args)]
pub(super) struct ThroughputArgs {
    /// Transformer blocks
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) depth: u32,
    /// Width of the residual stream; a multiple of --head-dim
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(super) dim: u32,
    /// Width of an attention head; even
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub(super) head_dim: u32,
    /// Tokens of the vocabulary
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub(super) vocab: u32,
    /// Tokens of a row
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(super) seq: u32,
    /// Rows of a step, all in one pass
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(super) batch: u32,
    /// Train for so many steps
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) steps: u32,
    /// Train for so many seconds instead
    #[arg(long, conflicts_with = "steps", value_parser = positive)]
    pub(super) seconds: Option<f64>,
    /// Arithmetic of the forward and backward pass: fp32 or bf16
    #[arg(long, default_value = "bf16", value_parser = precision)]
    pub(super) dtype: protocol::Precision,
    /// cpu, cuda or cuda:N; the first GPU if there is one, else the CPU
    #[arg(long, default_value = "auto", hide_default_value = true, value_parser = device)]
    pub(super) device: Device,
    /// Threads of libtorch; 0 leaves its own choice
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Does nothing: taken so that the reference's options fit. Nothing is compiled while a trainer runs
    #[arg(long)]
    pub(super) compile: bool,
}

fn precision(text: &str) -> Result<protocol::Precision, String> {
    match text {
        "fp32" => Ok(protocol::Precision::Fp32),
        "bf16" => Ok(protocol::Precision::Bf16),
        _ => Err("there are fp32 and bf16".to_owned()),
    }
}

fn device(text: &str) -> Result<Device, String> {
    match text {
        "auto" => Ok(Device::Auto),
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda(0)),
        other => other
            .strip_prefix("cuda:")
            .and_then(|number| number.parse().ok())
            .map(Device::Cuda)
            .ok_or_else(|| "write cpu, cuda or cuda:N".to_owned()),
    }
}
