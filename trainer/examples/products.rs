//! How much of a training step at the scale `cpu` is matrix products: what the step's own products take alone, next to the step itself, in
//! turns. `products [ROUNDS]`; two threads, bfloat16.
//!
//! Alone are timed, each in two forms: the products of every linear layer, forward and both backward, as libtorch does them and as the step does
//! (`kernels::linears`, with all that belongs to it); and Muon's iterations, as libtorch's batched products and as `kernels::polar_express`.
//! Attention's products are not counted.

use std::process::ExitCode;
use std::time::Instant;

use harness::{Batch, Candidate, Precision, Progress, Scale, Setting};
use tch::{Device, Kind, Tensor};
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

const OPTIONS: (Kind, Device) = (Kind::BFloat16, Device::Cpu);

/// Coefficients do not change how long an iteration takes.
const COEFFICIENTS: [(f64, f64, f64); 5] = [(0.5, 0.1, 0.1); 5];

/// Layers of one input: what they are called with, and how many such there are.
struct Layers<const COUNT: usize> {
    input: Tensor,
    weights: [Tensor; COUNT],
    gradients: [Tensor; COUNT],
    count: i64,
}

impl<const COUNT: usize> Layers<COUNT> {
    fn new(tokens: i64, inputs: i64, outputs: i64, count: i64) -> Self {
        Layers {
            input: Tensor::randn([tokens, inputs], OPTIONS),
            weights: std::array::from_fn(|_| Tensor::randn([outputs, inputs], (Kind::Float, Device::Cpu))),
            gradients: std::array::from_fn(|_| Tensor::randn([tokens, outputs], OPTIONS)),
            count,
        }
    }

    /// All products by libtorch, of weights that are bfloat16 already: seconds.
    fn by_libtorch(&self) -> f64 {
        let weights = self.weights.each_ref().map(|weight| weight.to_kind(Kind::BFloat16));
        let run = || {
            for _ in 0..self.count {
                for (weight, gradient) in weights.iter().zip(&self.gradients) {
                    let _ = self.input.linear(weight, None::<&Tensor>);
                    let _ = gradient.mm(weight);
                    let _ = gradient.tr().mm(&self.input);
                }
            }
        };
        tch::no_grad(|| seconds(&mut { run }))
    }

    /// The layers as the step has them, less what handing over their outputs' gradients takes: seconds.
    fn as_the_step_does(&self) -> f64 {
        let leaf = |x: &Tensor| x.detach().set_requires_grad(true);
        let backward = |outputs: &[Tensor; COUNT], of: &[Tensor]| {
            let given = outputs.iter().zip(&self.gradients);
            let sums: Vec<Tensor> =
                given.map(|(output, gradient)| output.flatten(0, -1).dot(&gradient.flatten(0, -1))).collect();
            let _ = Tensor::run_backward(&sums, of, false, false);
        };
        let weights = || self.weights.each_ref().map(leaf);
        let whole = seconds(&mut || {
            for _ in 0..self.count {
                let (input, weights) = (leaf(&self.input), weights());
                let outputs = kernels::linears(&input, weights.each_ref());
                let of: Vec<Tensor> = std::iter::once(input).chain(weights).collect();
                backward(&outputs, &of);
            }
        });
        let outputs = self.gradients.each_ref().map(leaf);
        let handing_over = seconds(&mut || {
            for _ in 0..self.count {
                backward(&outputs, &outputs);
            }
        });
        whole - handing_over
    }
}

/// Seconds of `run`, once.
fn seconds(run: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    run();
    begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> ExitCode {
    let rounds: usize = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(10);
    let recipe = Recipe::cpu();
    let (depth, dim, tokens) = (recipe.shape.depth, recipe.shape.dim, recipe.shape.tokens_per_step);
    let (context, vocabulary) = (256, 2048);
    let setting = Setting {
        scale: Scale::Cpu,
        vocabulary: vocabulary as usize,
        context: context as usize,
        device: "cpu".to_owned(),
        precision: Precision::Bf16,
        threads: 2,
    };
    tch::set_num_threads(2);
    let hidden = recipe.mlp_ratio * dim;
    let mut candidate = match Trainer::new(recipe, &setting, 1) {
        Ok(candidate) => candidate,
        Err(error) => {
            eprintln!("products: {error}");
            return ExitCode::FAILURE;
        }
    };
    let draw = || Tensor::randint(vocabulary, [tokens / context, context], (Kind::Int64, Device::Cpu));
    let batch = Batch { inputs: draw(), targets: draw() };

    let attended = Layers::<3>::new(tokens, dim, dim, depth);
    let others = [(dim, dim, depth), (dim, hidden, depth), (hidden, dim, depth), (dim, vocabulary, 1)]
        .map(|(inputs, outputs, count)| Layers::<1>::new(tokens, inputs, outputs, count));
    let stacks: Vec<Tensor> = [(4 * depth, dim, dim), (depth, hidden, dim), (depth, dim, hidden)]
        .map(|(members, rows, columns)| Tensor::randn([members, rows, columns], OPTIONS) * 1e-3)
        .into();
    let mut times: [Vec<f64>; 5] = Default::default();
    for round in 0..rounds + 2 {
        let step = Progress { step: round as u64 + 1, fraction: 0.0 };
        let all = [
            seconds(&mut || {
                let _ = candidate.step(&batch, step).double_value(&[]);
            }),
            attended.by_libtorch() + others.iter().map(Layers::by_libtorch).sum::<f64>(),
            attended.as_the_step_does() + others.iter().map(Layers::as_the_step_does).sum::<f64>(),
            tch::no_grad(|| {
                seconds(&mut || {
                    for stack in &stacks {
                        let _ = kernels::plain::polar_express(stack, &COEFFICIENTS);
                    }
                })
            }),
            tch::no_grad(|| {
                seconds(&mut || {
                    for stack in &stacks {
                        let _ = kernels::polar_express(stack.copy(), &COEFFICIENTS);
                    }
                })
            }),
        ];
        // The first two rounds touch memory and make libtorch's kernels.
        if round >= 2 {
            times.iter_mut().zip(all).for_each(|(times, seconds)| times.push(seconds));
        }
    }
    let [step, linear, linear_own, batched, fused] = times.map(|times| median(times) * 1e3);
    println!("step {step:.1} ms, {:.0} tokens/s", tokens as f64 / step * 1e3);
    println!("linear layers' products alone: {linear:.1} ms by libtorch, {linear_own:.1} ms as the step does them");
    println!("Muon's products alone: {batched:.1} ms as batched products, {fused:.1} ms as the step does them");
    println!(
        "share of the step: {:.1} % of what libtorch takes for them, {:.1} % of what they take as the step does them",
        100.0 * (linear + batched) / step,
        100.0 * (linear_own + fused) / step
    );
    ExitCode::SUCCESS
}
