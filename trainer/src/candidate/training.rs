//! A training step: schedules, micro-batches, loss, and how the harness drives the candidate.

use harness::{Batch, Candidate, CandidateError, Part, Progress, Setting, saw_gradients, spent_on};
use tch::{Kind, Tensor};

use super::model::Model;
use super::optimizer::{Optimizer, Schedule};
use super::recipe::Recipe;

/// The candidate: a recipe, its model and its optimizer.
pub struct Trainer {
    /// All numbers.
    pub recipe: Recipe,
    /// The network.
    pub model: Model,
    /// Its optimizer.
    pub optimizer: Optimizer,
    rows_per_step: i64,
}

impl Trainer {
    /// Builds a candidate from any recipe.
    ///
    /// # Errors
    /// When the recipe's numbers do not fit together or to the setting.
    pub fn new(recipe: Recipe, setting: &Setting, seed: u64) -> Result<Trainer, CandidateError> {
        let (tokens, context) = (recipe.shape.tokens_per_step, setting.context as i64);
        let (rows_per_step, micro) = (tokens / context, recipe.shape.micro_batch_rows);
        if tokens < context || tokens % context != 0 || micro < 1 || rows_per_step % micro != 0 {
            return Err(CandidateError::new(format!(
                "tokens_per_step {tokens} must be a multiple of the context {context}, and its rows of micro_batch_rows {micro}"
            )));
        }
        let model = Model::new(&recipe, setting, seed)?;
        let optimizer = Optimizer::new(&recipe, &model.parameters, model.kind);
        Ok(Trainer { recipe, model, optimizer, rows_per_step })
    }

    /// Learning rate, momentum and weight decay at a moment of the run.
    pub fn schedule(&self, progress: Progress) -> Schedule {
        let recipe = &self.recipe;
        let done = progress.fraction;
        let rate = if done < recipe.warmup {
            done / recipe.warmup
        } else if done < 1.0 - recipe.warmdown {
            1.0
        } else {
            let left = (1.0 - done) / recipe.warmdown.max(1e-9);
            left + (1.0 - left) * recipe.final_rate
        };
        let risen = ((progress.step - 1) as f64 / recipe.muon_momentum_steps.max(1.0)).min(1.0);
        let momentum = recipe.muon_momentum_start + risen * (recipe.muon_momentum_end - recipe.muon_momentum_start);
        let weight_decay = recipe.weight_decay * (1.0 - done * (1.0 - recipe.final_weight_decay));
        Schedule { rate, momentum, weight_decay, step: progress.step }
    }

    /// Mean cross-entropy in nats per token and its gradients, one for each parameter in their order.
    pub fn gradients(&self, batch: &Batch) -> (Tensor, Vec<Tensor>) {
        let parameters: Vec<&Tensor> = self.model.parameters.iter().map(|parameter| &parameter.tensor).collect();
        let micro = self.recipe.shape.micro_batch_rows.min(batch.inputs.size()[0]);
        let inputs = batch.inputs.split(micro, 0);
        let targets = batch.targets.split(micro, 0);
        let parts = inputs.len() as f64;
        let mut mean_loss = Tensor::zeros([], (Kind::Float, batch.inputs.device()));
        let mut sum: Vec<Tensor> = Vec::new();
        for (inputs, targets) in inputs.iter().zip(&targets) {
            let loss = self.model.loss(inputs, targets) / parts;
            mean_loss += loss.detach();
            spent_on(Part::Forward);
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            if sum.is_empty() {
                sum = gradients;
            } else {
                for (sum, gradient) in sum.iter_mut().zip(gradients) {
                    *sum += gradient;
                }
            }
            spent_on(Part::Backward);
        }
        saw_gradients(self.model.parameters.iter().map(|parameter| parameter.name.as_str()).zip(&sum));
        (mean_loss, sum)
    }
}

impl Candidate for Trainer {
    fn build(setting: &Setting, seed: u64) -> Result<Trainer, CandidateError> {
        Trainer::new(Recipe::of(setting.scale), setting, seed)
    }

    fn rows_per_step(&self) -> usize {
        self.rows_per_step as usize
    }

    fn step(&mut self, batch: &Batch, progress: Progress) -> Tensor {
        let (loss, gradients) = self.gradients(batch);
        let schedule = self.schedule(progress);
        self.optimizer.step(&gradients, schedule);
        spent_on(Part::Optimizer);
        loss
    }

    fn logits(&self, tokens: &Tensor) -> Tensor {
        self.model.forward(tokens)
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.model.parameters.iter().map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.optimizer.state(&self.model.parameters)
    }
}
