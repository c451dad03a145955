//! Where tests plant what a bad experiment does.

/// Runs after the model is built and the budget has begun.
pub fn misbehave() {}
