//! Properties of the baseline that need no reference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use harness::{Batch, Candidate, Progress};
use protocol::{Precision, Scale, Setting};
use tch::{Device, Kind, Tensor};
use trainer::candidate::Trainer;
use trainer::candidate::model::{Model, Parameter, Role};
use trainer::candidate::recipe::{Recipe, Shape};

fn tiny() -> Recipe {
    let mut recipe = Recipe::cpu();
    recipe.shape.dim = 64;
    recipe.shape.head_dim = 16;
    recipe.shape.tokens_per_step = 128;
    recipe.shape.micro_batch_rows = 4;
    recipe.output_std = 1.0; // with the baseline's zeros, attention would not reach the logits
    recipe.head_std = 0.5;
    recipe
}

fn random_tokens(rows: i64, context: i64, vocabulary: i64) -> Tensor {
    tch::manual_seed(5);
    Tensor::randint(vocabulary, [rows, context], (Kind::Int64, Device::Cpu))
}

#[test]
fn no_position_sees_a_later_token() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        let setting = common::setting(97, 32, precision);
        let candidate = Trainer::new(tiny(), &setting, 3).unwrap();
        let tokens = random_tokens(2, 32, 97);
        let before = tch::no_grad(|| candidate.logits(&tokens));
        for position in [1, 13, 31] {
            let changed = tokens.copy();
            changed.get(0).get(position).copy_(&((tokens.get(0).get(position) + 1).remainder(97)));
            let after = tch::no_grad(|| candidate.logits(&changed));
            let row = |logits: &Tensor, start, length| logits.get(0).narrow(0, start, length);
            assert!(row(&before, 0, position) == row(&after, 0, position), "{precision:?}: {position} leaks backwards");
            assert!(row(&before, position, 1) != row(&after, position, 1), "{precision:?}: {position} does nothing");
            assert!(before.get(1) == after.get(1), "{precision:?}: rows leak into each other");
        }
    }
}

#[test]
fn a_short_window_looks_back_half_the_context_and_no_further() {
    let mut recipe = tiny();
    recipe.shape.depth = 2; // S, L; the last layer is taken out of play below
    recipe.window_pattern = "S";
    let setting = common::setting(97, 32, Precision::Fp32);
    let candidate = Trainer::new(recipe, &setting, 3).unwrap();
    for (name, mut tensor) in candidate.parameters() {
        if name == "blocks.1.output" {
            let _ = tch::no_grad(|| tensor.zero_());
        }
    }
    let tokens = random_tokens(1, 32, 97);
    let changed = tokens.copy();
    changed.get(0).get(4).copy_(&((tokens.get(0).get(4) + 1).remainder(97)));
    let (before, after) = tch::no_grad(|| (candidate.logits(&tokens).get(0), candidate.logits(&changed).get(0)));
    assert!(before.get(4 + 16) != after.get(4 + 16));
    assert!(before.narrow(0, 4 + 17, 32 - 21) == after.narrow(0, 4 + 17, 32 - 21));
}

#[test]
fn a_shorter_input_gives_the_same_logits() {
    let candidate = Trainer::new(tiny(), &common::setting(97, 32, Precision::Fp32), 3).unwrap();
    let tokens = random_tokens(1, 32, 97);
    let (whole, part) = tch::no_grad(|| (candidate.logits(&tokens), candidate.logits(&tokens.narrow(1, 0, 9))));
    assert!((whole.narrow(1, 0, 9) - part).abs().max().double_value(&[]) < 1e-5);
}

#[test]
fn micro_batches_change_nothing_but_rounding() {
    let setting = common::setting(97, 32, Precision::Fp32);
    let (whole, mut recipe) = (Trainer::new(tiny(), &setting, 3).unwrap(), tiny());
    recipe.shape.micro_batch_rows = 1;
    let split = Trainer::new(recipe, &setting, 3).unwrap();
    let batch = Batch { inputs: random_tokens(4, 32, 97), targets: random_tokens(4, 32, 97) };
    let ((loss, gradients), (split_loss, split_gradients)) = (whole.gradients(&batch), split.gradients(&batch));
    assert!((loss - split_loss).abs().double_value(&[]) < 1e-5);
    for (a, b) in gradients.iter().zip(&split_gradients) {
        assert!((a - b).norm().double_value(&[]) <= 1e-5 * a.norm().double_value(&[]));
    }
}

#[test]
fn every_scale_builds_with_the_published_number_of_parameters() {
    for (scale, millions) in [(Scale::Cpu, 5.2), (Scale::Gpu, 26.3), (Scale::H100, 50.3)] {
        let setting = Setting { scale, ..common::setting(scale.vocabulary(), scale.context(), Precision::Fp32) };
        let recipe = Recipe::of(scale);
        let model = Model::new(&recipe, &setting, 1).unwrap();
        assert_eq!((model.parameter_count() as f64 / 1e5).round() / 10.0, millions, "{scale}");
        let rows = recipe.shape.tokens_per_step / setting.context as i64;
        assert_eq!(rows * setting.context as i64, recipe.shape.tokens_per_step);
        assert_eq!(rows % recipe.shape.micro_batch_rows, 0);
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused_in_words() {
    let setting = common::setting(97, 32, Precision::Fp32);
    type Spoil = fn(&mut Recipe);
    let spoilers: [(Spoil, &str); 5] = [
        (|r| r.shape.dim = 65, "head_dim"),
        (|r| r.shape.depth = 0, "depth"),
        (|r| r.shape.tokens_per_step = 100, "tokens_per_step"),
        (|r| r.shape.micro_batch_rows = 3, "micro_batch_rows"),
        (|r| r.window_pattern = "", "window_pattern"),
    ];
    for (spoil, word) in spoilers {
        let mut recipe = tiny();
        spoil(&mut recipe);
        let error = Trainer::new(recipe, &setting, 3).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(word), "{error:?} does not name {word}");
    }
}

#[test]
fn initial_values_depend_on_seed_and_name_only() {
    let setting = common::setting(97, 32, Precision::Fp32);
    let values = |recipe: Recipe, seed| Trainer::new(recipe, &setting, seed).unwrap().parameters();
    let mut deeper = tiny();
    deeper.shape.depth = 6;
    let (base, other_seed, deeper) = (values(tiny(), 3), values(tiny(), 4), values(deeper, 3));
    for (name, tensor) in &base {
        let same = deeper.iter().find(|(other, _)| other == name).map(|(_, other)| other).unwrap();
        if tensor.size() == same.size() {
            assert!(tensor == same, "{name} changed with the depth");
        }
    }
    assert!(base[0].1 != other_seed[0].1);
}

/// The baseline's numbers, a second time: a change of one is meant and is made in both places.
#[test]
fn the_baseline_has_the_published_numbers_at_every_scale() {
    for (scale, [depth, dim, head_dim, tokens_per_step, micro_batch_rows]) in [
        (Scale::Cpu, [4, 256, 64, 4_096, 16]),
        (Scale::Gpu, [6, 384, 64, 65_536, 16]),
        (Scale::H100, [8, 512, 128, 524_288, 64]),
    ] {
        let shape = Shape { depth, dim, head_dim, tokens_per_step, micro_batch_rows };
        let published = Recipe {
            shape,
            window_pattern: "SSSL",
            short_window: 0.5,
            rotary_base: 10000.0,
            mlp_ratio: 4,
            gate_channels: 32,
            softcap: 15.0,
            embedding_std: 1.0,
            head_std: 0.001,
            matrix_std: 1.0,
            output_std: 0.0,
            value_embedding_std: 1.0,
            residual_scalar: 1.0,
            skip_scalar: 0.1,
            embedding_rate: 0.6,
            value_embedding_rate: 0.6,
            head_rate: 0.004,
            residual_rate: 0.005,
            skip_rate: 0.5,
            matrix_rate: 0.04,
            adam_beta1: 0.8,
            adam_beta2: 0.95,
            skip_beta1: 0.96,
            adam_epsilon: 1e-10,
            adam_weight_decay: 0.0,
            muon_momentum_start: 0.85,
            muon_momentum_end: 0.95,
            muon_momentum_steps: 300.0,
            muon_beta2: 0.95,
            muon_iterations: 5,
            weight_decay: 0.2,
            final_weight_decay: 0.0,
            warmup: 0.0,
            warmdown: 0.5,
            final_rate: 0.0,
        };
        assert_eq!(Recipe::of(scale), published, "{scale}");
    }
}

#[test]
fn initial_values_have_the_published_spread() {
    let setting = common::setting(2_048, 32, Precision::Fp32);
    let candidate = Trainer::new(Recipe::cpu(), &setting, 3).unwrap();
    let unit = 256f64.powf(-0.5);
    for Parameter { name, role, tensor } in &candidate.model.parameters {
        let kind = name.rsplit('.').next().unwrap();
        // Mean, standard deviation, and the largest size where the values are uniform.
        let (mean, std, most) = match (role, kind) {
            (Role::Embedding, _) => (0.0, 1.0, None),
            (Role::Head, _) => (0.0, 0.001, None),
            (Role::ValueEmbedding, _) | (Role::Matrix, "query" | "key" | "value" | "up") => {
                (0.0, unit, Some(3f64.sqrt() * unit))
            }
            (Role::Matrix, "output" | "down" | "gate") => (0.0, 0.0, Some(0.0)),
            (Role::Residual, _) => (1.0, 0.0, None),
            (Role::Skip, _) => (0.1, 0.0, None),
            other => panic!("{name} is {other:?}, which this test does not know"),
        };
        let values = tensor.detach().to_kind(Kind::Double);
        let (got_mean, got_std) = (values.mean(None).double_value(&[]), values.std(false).double_value(&[]));
        assert!((got_mean - mean).abs() <= 0.02 * std + 1e-6, "{name}: mean {got_mean}");
        assert!((got_std - std).abs() <= 0.01 * std + 1e-6, "{name}: standard deviation {got_std}, not {std}");
        if let Some(most) = most {
            let got = values.abs().max().double_value(&[]);
            assert!((0.99 * most..=1.0001 * most).contains(&got), "{name}: values up to {got}, not {most}");
        }
    }
}

#[test]
fn schedules_begin_and_end_where_the_recipe_says() {
    let candidate = Trainer::new(tiny(), &common::setting(97, 32, Precision::Fp32), 3).unwrap();
    let at = |step, fraction| candidate.schedule(Progress { step, fraction });
    assert_eq!((at(1, 0.0).rate, at(1, 0.0).momentum, at(1, 0.0).weight_decay), (1.0, 0.85, 0.2));
    assert_eq!(at(200, 0.5).rate, 1.0);
    assert!((at(301, 0.75).rate - 0.5).abs() < 1e-12);
    assert!((at(301, 0.75).momentum - 0.95).abs() < 1e-12);
    assert_eq!((at(999, 1.0).rate, at(999, 1.0).weight_decay), (0.0, 0.0));
}
