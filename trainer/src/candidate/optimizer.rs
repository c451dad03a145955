//! Muon for the matrices, AdamW for everything else.
//!
//! Muon (Jordan et al. 2024) replaces a matrix's momentum by the nearest semi-orthogonal matrix, here by five Polar
//! Express iterations (Amsel et al. 2025), then evens out the size of rows or columns (NorMuon, Li et al. 2025) and
//! decays only weights that the update shrinks as well (cautious weight decay, Chen et al. 2025). Matrices of one shape
//! are updated together as a stack. `kernels::plain` says in tensor code what the functions of `kernels` compute.

use kernels::{AdamStep, adamw, cautious_update, muon_look_ahead, normuon, polar_express};
use tch::{Kind, Tensor};

use super::model::{Parameter, Role};
use super::recipe::Recipe;

/// Coefficients (a, b, c) of the Polar Express iterations x -> a x + (b s + c s^2) x with s = x x^T, for a 2 % safety
/// margin on the norm.
const POLAR_EXPRESS: [(f64, f64, f64); 5] = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
];

/// What changes over the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Multiplies every learning rate.
    pub rate: f64,
    /// Muon's momentum.
    pub momentum: f64,
    /// Muon's weight decay.
    pub weight_decay: f64,
    /// Step number, from 1, for AdamW's bias correction.
    pub step: u64,
}

/// Optimizer state of all parameters.
pub struct Optimizer {
    muon: Vec<Muon>,
    adam: Vec<Adam>,
}

/// Matrices of one shape.
struct Muon {
    members: Vec<usize>, // indices into the model's parameters
    parameters: Vec<Tensor>,
    momentum: Tensor, // [members, rows, columns]
    second: Tensor,   // [members, rows, 1] or [members, 1, columns], along the longer side
    rate: f64,
    beta2: f64,
    iterations: usize,
    kind: Kind, // of the iterations
}

/// One parameter under AdamW.
struct Adam {
    member: usize, // index into the model's parameters
    parameter: Tensor,
    mean: Tensor,
    square: Tensor,
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl Optimizer {
    /// Groups the parameters by role and shape; all state starts at zero. `kind` is the precision of Muon's iterations.
    pub fn new(recipe: &Recipe, parameters: &[Parameter], kind: Kind) -> Optimizer {
        let mut optimizer = Optimizer { muon: Vec::new(), adam: Vec::new() };
        let wide = (recipe.shape.dim as f64 / 768.0).powf(-0.5);
        for (member, Parameter { role, tensor, .. }) in parameters.iter().enumerate() {
            let (rate, beta1, weight_decay) = match role {
                Role::Matrix => {
                    optimizer.add_matrix(recipe, member, tensor, kind);
                    continue;
                }
                Role::Embedding => (recipe.embedding_rate * wide, recipe.adam_beta1, recipe.adam_weight_decay),
                Role::ValueEmbedding => {
                    (recipe.value_embedding_rate * wide, recipe.adam_beta1, recipe.adam_weight_decay)
                }
                Role::Head => (recipe.head_rate * wide, recipe.adam_beta1, recipe.adam_weight_decay),
                Role::Residual => (recipe.residual_rate, recipe.adam_beta1, 0.0),
                Role::Skip => (recipe.skip_rate, recipe.skip_beta1, 0.0),
            };
            optimizer.adam.push(Adam {
                member,
                parameter: tensor.shallow_clone(),
                mean: tensor.zeros_like().detach(),
                square: tensor.zeros_like().detach(),
                rate,
                beta1,
                beta2: recipe.adam_beta2,
                epsilon: recipe.adam_epsilon,
                weight_decay,
            });
        }
        optimizer
    }

    fn add_matrix(&mut self, recipe: &Recipe, member: usize, tensor: &Tensor, kind: Kind) {
        let (rows, columns) = (tensor.size()[0], tensor.size()[1]);
        let second = if rows >= columns { [1, rows, 1] } else { [1, 1, columns] };
        let group = match self.muon.iter_mut().find(|group| group.momentum.size()[1..] == [rows, columns]) {
            Some(group) => group,
            None => {
                self.muon.push(Muon {
                    members: Vec::new(),
                    parameters: Vec::new(),
                    momentum: Tensor::zeros([0, rows, columns], (Kind::Float, tensor.device())),
                    second: Tensor::zeros([0, second[1], second[2]], (Kind::Float, tensor.device())),
                    rate: recipe.matrix_rate * (rows as f64 / columns as f64).max(1.0).sqrt(),
                    beta2: recipe.muon_beta2,
                    iterations: recipe.muon_iterations,
                    kind,
                });
                let last = self.muon.len() - 1;
                &mut self.muon[last]
            }
        };
        group.members.push(member);
        group.parameters.push(tensor.shallow_clone());
        let options = (Kind::Float, tensor.device());
        group.momentum = Tensor::cat(&[&group.momentum, &Tensor::zeros([1, rows, columns], options)], 0);
        group.second = Tensor::cat(&[&group.second, &Tensor::zeros(second, options)], 0);
    }

    /// One update in place. `gradients` has one fp32 tensor for each of the model's parameters, in their order.
    pub fn step(&mut self, gradients: &[Tensor], schedule: Schedule) {
        tch::no_grad(|| {
            for group in &mut self.muon {
                group.step(gradients, schedule);
            }
            for parameter in &mut self.adam {
                parameter.step(&gradients[parameter.member], schedule);
            }
        });
    }

    /// Every tensor that a resumed run needs, by name.
    pub fn state(&self, parameters: &[Parameter]) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        for group in &self.muon {
            let (rows, columns) = (group.momentum.size()[1], group.momentum.size()[2]);
            state.push((format!("muon.{rows}x{columns}.momentum"), group.momentum.shallow_clone()));
            state.push((format!("muon.{rows}x{columns}.second"), group.second.shallow_clone()));
        }
        for adam in &self.adam {
            let name = &parameters[adam.member].name;
            state.push((format!("adam.{name}.mean"), adam.mean.shallow_clone()));
            state.push((format!("adam.{name}.square"), adam.square.shallow_clone()));
        }
        state
    }
}

impl Muon {
    fn step(&mut self, gradients: &[Tensor], schedule: Schedule) {
        let gradients: Vec<&Tensor> = self.members.iter().map(|&member| &gradients[member]).collect();
        let gradient = Tensor::stack(&gradients, 0); // [members, rows, columns]
        let look = muon_look_ahead(&gradient, &mut self.momentum, schedule.momentum, self.kind);
        let direction = polar_express(look, &POLAR_EXPRESS[..self.iterations.min(POLAR_EXPRESS.len())]);
        let update = normuon(direction, &mut self.second, self.beta2);
        cautious_update(&mut self.parameters, &update, self.rate * schedule.rate, schedule.weight_decay);
    }
}

impl Adam {
    fn step(&mut self, gradient: &Tensor, schedule: Schedule) {
        let step = AdamStep {
            rate: self.rate * schedule.rate,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            step: schedule.step,
        };
        adamw(&mut self.parameter, gradient, &mut self.mean, &mut self.square, step);
    }
}
