//! AdamW, and momentum for the matrices.

use tch::Tensor;

/// State of one parameter.
pub struct Slot {
    /// Mean of the gradient.
    pub mean: Tensor,
    /// Mean square of the gradient.
    pub square: Tensor,
    /// Whether it is a matrix.
    pub matrix: bool,
}

impl Slot {
    /// Takes one step; `rate` is the learning rate of this moment.
    pub fn step(&mut self, parameter: &mut Tensor, gradient: &Tensor, rate: f64) {
        let _ = self.mean.lerp_(gradient, 0.1);
        if self.matrix {
            let update = &self.mean * rate;
            *parameter -= update;
        } else {
            let _ = self.square.lerp_(&gradient.square(), 0.05);
            for _ in 0..1 {
                let update = &self.mean * rate;
                *parameter -= update / (self.square.sqrt() + 1e-8);
            }
        }
    }
}
