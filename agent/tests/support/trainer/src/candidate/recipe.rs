//! Numbers of the pretended trainer, laid out like the real one's.

pub struct Shape {
    pub depth: i64,
    pub dim: i64,
    pub head_dim: i64,
    pub tokens_per_step: i64,
    pub micro_batch_rows: i64,
}

pub struct Recipe {
    pub shape: Shape,
    pub matrix_rate: f64,
    pub embedding_rate: f64,
    pub softcap: f64,
    pub warmdown: f64,
}

impl Recipe {
    pub fn of(_scale: &str) -> Recipe {
        Recipe::cpu()
    }

    #[rustfmt::skip] // one number a line
    pub fn cpu() -> Recipe {
        Recipe::base(Shape {
            depth: 4,
            dim: 256,
            head_dim: 64,
            tokens_per_step: 4096,
            micro_batch_rows: 16,
        })
    }

    fn base(shape: Shape) -> Recipe {
        Recipe {
            shape,
            matrix_rate: 0.04,
            embedding_rate: 0.6,
            softcap: 15.0,
            warmdown: 0.5,
        }
    }

    /// Lowest at values somewhat off the ones above, so that a tuner finds something to gain.
    pub fn loss(&self) -> f64 {
        let off = |value: f64, best: f64| (value / best).ln().powi(2);
        2.0 + off(self.matrix_rate, 0.06) + off(self.embedding_rate, 0.4) + off(self.softcap, 20.0)
            + off(self.warmdown, 0.6)
            + off(self.shape.depth as f64 * self.shape.dim as f64, 1024.0)
            + off(self.shape.tokens_per_step as f64, 4096.0)
            + off(self.shape.micro_batch_rows as f64, 16.0) * 0.01
            + off(self.shape.head_dim as f64, 64.0) * 0.01
    }
}
