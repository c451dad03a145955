//! Schedule and loss.

use tch::{Reduction, Tensor};

use super::recipe::Recipe;

/// Factor on every learning rate when `done` of the budget is used, from 0 to 1.
pub fn rate(recipe: &Recipe, done: f64) -> f64 {
    if done < 1.0 - recipe.warmdown {
        return 1.0;
    }
    let left = (1.0 - done) / recipe.warmdown.max(1e-9);
    left + (1.0 - left) * recipe.final_rate
}

/// Mean negative log-likelihood of the targets: [batch, time, vocabulary] and [batch, time] to a scalar.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    let vocabulary = logits.size()[2];
    logits.view([-1, vocabulary]).cross_entropy_loss::<&Tensor>(
        &targets.reshape([-1]),
        None,
        Reduction::Mean,
        -100,
        0.0,
    )
}
