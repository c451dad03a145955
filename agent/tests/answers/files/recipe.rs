//! Every number.

/// What a candidate is trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Blocks.
    pub depth: i64,
    /// Width of the residual stream.
    pub dim: i64,
    /// Muon: matrices.
    pub matrix_rate: f64,
    /// AdamW: embeddings.
    pub embedding_rate: f64,
    /// Which layers see far.
    pub window_pattern: &'static str,
    /// Fraction of the budget in which rates fall.
    pub warmdown: f64,
    /// What is left of the rates at the end.
    pub final_rate: f64,
}

impl Recipe {
    /// Minutes on two cores.
    pub fn cpu() -> Recipe {
        Recipe {
            depth: 4,
            dim: 256,
            ..Recipe::base()
        }
    }

    /// Any recent GPU.
    pub fn gpu() -> Recipe {
        Recipe {
            depth: 6,
            dim: 384,
            ..Recipe::base()
        }
    }

    fn base() -> Recipe {
        Recipe {
            depth: 4,
            dim: 256,
            matrix_rate: 0.04,
            embedding_rate: 0.6,
            window_pattern: "SSSL",
            warmdown: 0.5,
            final_rate: 0.0,
        }
    }
}
