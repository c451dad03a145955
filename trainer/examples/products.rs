//! How much of a training step at the scale `cpu` is matrix products: what the step's own products take alone, next to the step itself, in
//! turns. `products [ROUNDS]`; two threads, bfloat16.
//!
//! Alone are timed: the products of every linear layer, forward and both backward, as libtorch does them, and Muon's iterations, as libtorch's
//! batched products and as `kernels::polar_express`. Attention's products are not counted.

use std::process::ExitCode;
use std::time::Instant;

use harness::{Batch, Candidate, Precision, Progress, Scale, Setting};
use tch::{Device, Kind, Tensor};
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

const OPTIONS: (Kind, Device) = (Kind::BFloat16, Device::Cpu);

/// Coefficients do not change how long an iteration takes.
const COEFFICIENTS: [(f64, f64, f64); 5] = [(0.5, 0.1, 0.1); 5];

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

    // Outputs, inputs and how many there are of each linear layer.
    let layers = [(dim, dim, 4 * depth), (hidden, dim, depth), (dim, hidden, depth), (vocabulary, dim, 1)];
    let linear: Vec<_> = layers
        .iter()
        .map(|&(outputs, inputs, count)| {
            let random = |rows, columns| Tensor::randn([rows, columns], OPTIONS);
            (random(tokens, inputs), random(outputs, inputs), random(tokens, outputs), count)
        })
        .collect();
    let stacks: Vec<Tensor> = [(4 * depth, dim, dim), (depth, hidden, dim), (depth, dim, hidden)]
        .map(|(members, rows, columns)| Tensor::randn([members, rows, columns], OPTIONS) * 1e-3)
        .into();
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds + 2 {
        let step = Progress { step: round as u64 + 1, fraction: 0.0 };
        let all = [
            seconds(&mut || {
                let _ = candidate.step(&batch, step).double_value(&[]);
            }),
            tch::no_grad(|| {
                seconds(&mut || {
                    for (input, weight, gradient, count) in &linear {
                        for _ in 0..*count {
                            let _ = input.linear(weight, None::<&Tensor>);
                            let _ = gradient.mm(weight);
                            let _ = gradient.tr().mm(input);
                        }
                    }
                })
            }),
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
    let [step, linear, batched, fused] = times.map(|times| median(times) * 1e3);
    println!("step {step:.1} ms, {:.0} tokens/s", tokens as f64 / step * 1e3);
    println!(
        "linear layers' products alone {linear:.1} ms, Muon's as batched products {batched:.1} ms, fused {fused:.1} ms"
    );
    println!(
        "share of the step: {:.1} % with Muon's batched products, {:.1} % with the fused ones",
        100.0 * (linear + batched) / step,
        100.0 * (linear + fused) / step
    );
    ExitCode::SUCCESS
}
