//! Every fused operation against plain tensor code in float64, values and gradients, over random shapes, strides and kinds; and its
//! gradients against differences of its own values.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use kernels::{AdamStep, plain};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

/// How far off a kind may be, of the largest value of what is compared.
fn tolerance(kind: Kind) -> f64 {
    if kind == Kind::Float { 2e-5 } else { 2e-2 }
}

/// A tensor of a shape and a kind, some other way laid out in memory.
fn draw(seed: i64, shape: &[i64], kind: Kind, layout: u8) -> Tensor {
    let _guard = SEED.lock().unwrap();
    tch::manual_seed(seed);
    let values = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
    match layout {
        // Whole in memory.
        0 => values(shape),
        // A slice of the middle of something larger along the first dimension, and every second of it.
        1 => {
            let mut larger = shape.to_vec();
            larger[0] = larger[0] * 2 + 1;
            values(&larger).slice(0, 1, larger[0], 2)
        }
        // The first two dimensions exchanged.
        2 if shape.len() > 1 => {
            let mut other = shape.to_vec();
            other.swap(0, 1);
            values(&other).transpose(0, 1)
        }
        // The last dimension with gaps.
        _ => {
            let mut larger = shape.to_vec();
            *larger.last_mut().unwrap() *= 2;
            values(&larger).slice(-1, None, None, 2)
        }
    }
}

/// torch's generator is one for the whole process.
static SEED: std::sync::Mutex<()> = std::sync::Mutex::new(());

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Vec<Tensor>;

/// Values and gradients (of a weighted sum of all values) of an operation, in float64.
fn values_and_gradients(inputs: &[Tensor], weights: &[Tensor], operation: Operation) -> (Vec<Tensor>, Vec<Tensor>) {
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.detach().set_requires_grad(true)).collect();
    let out = operation(&leaves);
    let total = out
        .iter()
        .zip(weights)
        .map(|(y, w)| (y.to_kind(Kind::Double) * w).sum(Kind::Double))
        .reduce(|a, b| a + b)
        .unwrap();
    let gradients = Tensor::run_backward(&[total], &leaves, false, false);
    let double = |all: Vec<Tensor>| all.into_iter().map(|x| x.detach().to_kind(Kind::Double)).collect();
    (double(out), double(gradients))
}

/// Largest difference, in units of the largest expected value.
fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    // A single number is a sum over all rows, of which little may be left.
    difference_above(if expected.numel() == 1 { 50.0 } else { 0.1 }, got, expected)
}

/// Largest difference, in units of the largest expected value, or of `least` where that is more: what is the rest of large numbers that
/// cancel out is rounded as they are.
fn difference_above(least: f64, got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.size(), expected.size());
    let size = expected.abs().max().double_value(&[]).max(least);
    (got - expected).abs().max().double_value(&[]) / size
}

fn agree(seed: i64, inputs: &[Tensor], fused: Operation, plain: Operation) {
    agree_by(&difference, seed, inputs, fused, plain);
}

/// What [`agree`] does, with another measure for gradients.
fn agree_by(off: &dyn Fn(&Tensor, &Tensor) -> f64, seed: i64, inputs: &[Tensor], fused: Operation, plain: Operation) {
    let kind = inputs[0].kind();
    let exact: Vec<Tensor> = inputs.iter().map(|x| x.to_kind(Kind::Double)).collect();
    let shapes: Vec<Vec<i64>> = plain(&exact).iter().map(Tensor::size).collect();
    // Weights that bfloat16 holds exactly: what flows back is then the same for both.
    let weights: Vec<Tensor> =
        (0..).zip(&shapes).map(|(i, s)| draw(seed + 100 + i, s, Kind::BFloat16, 0).to_kind(Kind::Double)).collect();
    let (expected, expected_gradients) = values_and_gradients(&exact, &weights, plain);
    let (got, got_gradients) = values_and_gradients(inputs, &weights, fused);
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let off = difference(got, expected);
        assert!(off <= tolerance(kind), "{kind:?}: value {i} is off by {off:.1e} of the largest");
    }
    for (i, (got, expected)) in got_gradients.iter().zip(&expected_gradients).enumerate() {
        let off = off(got, expected);
        assert!(off <= 2.0 * tolerance(kind), "{kind:?}: gradient {i} is off by {off:.1e} of the largest");
    }
    // The reference's own gradients, along a random direction, against differences of its values.
    let directions: Vec<Tensor> =
        (0..).zip(&exact).map(|(i, x)| draw(seed + 200 + i, &x.size(), Kind::Double, 0)).collect();
    let along = |step: f64| {
        let moved: Vec<Tensor> = exact.iter().zip(&directions).map(|(x, d)| x + d * step).collect();
        plain(&moved).iter().zip(&weights).map(|(y, w)| (y * w).sum(Kind::Double).double_value(&[])).sum::<f64>()
    };
    let numeric = (along(1e-6) - along(-1e-6)) / 2e-6;
    let analytic: f64 =
        expected_gradients.iter().zip(&directions).map(|(g, d)| (g * d).sum(Kind::Double).double_value(&[])).sum();
    // A kink (of the squared ReLU's slope) within the step is too small to matter.
    assert!(
        (numeric - analytic).abs() <= 1e-4 * analytic.abs().max(1.0),
        "{numeric} by differences, {analytic} by formula"
    );
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Float), Just(Kind::BFloat16)]
}

/// So many of each, unless PROPTEST_CASES asks for others.
fn cases() -> u32 {
    std::env::var_os("PROPTEST_CASES").map_or(24, |_| ProptestConfig::default().cases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    // Not the narrowest (nor below, of heads): of two numbers, little of a gradient may be left after the norm, and its rounding is large beside that.
    #[test]
    fn norms(seed in 0..1000i64, rows in 1..70i64, width in 5..150i64, kind in kinds(), layout in 0..4u8) {
        let shape = [3, rows, width];
        let x = || draw(seed, &shape, kind, layout);
        let other = || draw(seed + 1, &shape, kind, (layout + 1) % 4);
        agree(seed, &[x()], &|x| vec![kernels::norm(&x[0])], &|x| vec![plain::norm(&x[0])]);
        let pair = |(a, b)| vec![a, b];
        agree(seed, &[x(), other()], &|x| pair(kernels::add_norm(&x[0], &x[1])), &|x| pair(plain::add_norm(&x[0], &x[1])));
        // Only one of the two results is used.
        for one in [0, 1] {
            let only = |(a, b)| vec![if one == 0 { a } else { b }];
            agree(seed, &[x(), other()], &|x| only(kernels::add_norm(&x[0], &x[1])), &|x| only(plain::add_norm(&x[0], &x[1])));
        }
        // Not near nothing: what the norm makes of a small sum is large, and so is the rounding of its gradient.
        let scalar = |seed| draw(seed, &[1], Kind::Float, 0).abs() + 0.5;
        let (a, b) = (scalar(seed + 2), scalar(seed + 3));
        for one in [None, Some(0), Some(1)] {
            let chosen = |(s, n)| match one { None => vec![s, n], Some(0) => vec![s], Some(_) => vec![n] };
            agree(seed, &[x(), other(), a.copy(), b.copy()],
                &|x| chosen(kernels::mix_norm(&x[0], &x[2], &x[1], &x[3])), &|x| chosen(plain::mix_norm(&x[0], &x[2], &x[1], &x[3])));
        }
    }

    #[test]
    fn rotary_norms(seed in 0..1000i64, batch in 1..4i64, time in 1..20i64, heads in 1..4i64, half in 4..40i64, kind in kinds(), layout in 0..4u8) {
        let x = draw(seed, &[batch, time, heads, 2 * half], kind, layout);
        let angle = draw(seed + 1, &[time + 3, half], Kind::Float, 0);
        let (cos, sin) = (angle.cos(), angle.sin());
        agree(seed, &[x], &|x| vec![kernels::rotary_norm(&x[0], &cos, &sin)], &|x| vec![plain::rotary_norm(&x[0], &cos, &sin)]);
    }

    #[test]
    fn linears(seed in 0..1000i64, rows in prop_oneof![1..120i64, 500..1100i64], inputs in 1..4i64, outputs in 1..4i64, long in 0..5u8, ragged in 0..4u8, kind in kinds(), layout in 0..4u8) {
        // Sides that the blocks divide, and others; now and then a sum that is taken in parts.
        let side = |blocks: i64| if ragged == 0 { 24 * blocks } else { 64 * blocks };
        let (inputs, outputs) = match long { 0 => (2112, side(outputs)), 1 => (side(inputs), 2176), _ => (side(inputs), side(outputs)) };
        let rows = if long < 2 { rows % 120 + 1 } else { rows };
        let inputs = [draw(seed, &[1, rows, inputs], kind, layout), draw(seed + 1, &[outputs, inputs], Kind::BFloat16, (layout + 1) % 4).to_kind(Kind::Float)];
        agree(seed, &inputs, &|x| vec![kernels::linear(&x[0], &x[1])], &|x| vec![plain::linear(&x[0], &x[1])]);
        // Several layers of the input, of other widths, and one that nobody reads.
        let narrow = draw(seed + 2, &[64, inputs[0].size()[2]], Kind::BFloat16, layout).to_kind(Kind::Float);
        let several = [inputs[0].shallow_clone(), inputs[1].shallow_clone(), narrow];
        let unread = (&inputs[1] * f64::INFINITY).set_requires_grad(true);
        let read = |all: [Tensor; 3]| all.into_iter().take(2).collect::<Vec<_>>();
        agree(seed, &several[..3], &|x| kernels::linears(&x[0], [&x[1], &x[2]]).into(), &|x| vec![plain::linear(&x[0], &x[1]), plain::linear(&x[0], &x[2])]);
        agree(seed, &several[..3], &|x| read(kernels::linears(&x[0], [&x[1], &x[2], &unread])), &|x| vec![plain::linear(&x[0], &x[1]), plain::linear(&x[0], &x[2])]);
        // Only the weight's gradient is asked for, then only the input's.
        let (input, weight) = (&inputs[0], &inputs[1]);
        agree(seed, &inputs, &|x| vec![kernels::linear(input, &x[1]), &x[0] * 1.0], &|x| vec![plain::linear(&input.to_kind(Kind::Double), &x[1]), &x[0] * 1.0]);
        agree(seed, &inputs, &|x| vec![kernels::linear(&x[0], weight), &x[1] * 1.0], &|x| vec![plain::linear(&x[0], &weight.to_kind(Kind::Double)), &x[1] * 1.0]);
    }

    #[test]
    fn squared_relus(seed in 0..1000i64, rows in 1..70i64, width in 1..150i64, kind in kinds(), layout in 0..4u8) {
        let x = draw(seed, &[rows, width], kind, layout);
        agree(seed, &[x], &|x| vec![kernels::squared_relu(&x[0])], &|x| vec![plain::squared_relu(&x[0])]);
    }

    #[test]
    fn gated_values(seed in 0..1000i64, batch in 1..4i64, time in 1..20i64, heads in 1..4i64, width in 1..70i64, kind in kinds(), layout in 0..4u8) {
        let shape = [batch, time, heads, width];
        let inputs = [draw(seed, &shape, kind, layout), draw(seed + 1, &shape[..3], kind, layout), draw(seed + 2, &shape, kind, (layout + 1) % 4)];
        agree(seed, &inputs, &|x| vec![kernels::gated_value(&x[0], &x[1], &x[2])], &|x| vec![plain::gated_value(&x[0], &x[1], &x[2])]);
    }

    #[test]
    fn attentions(seed in 0..1000i64, batch in 1..3i64, time in 1..200i64, heads in 1..4i64, widths in 1..5i64, window in 0..220i64, kind in kinds(), layout in 0..4u8) {
        let inputs: Vec<Tensor> = (0..3).map(|i| draw(seed + i, &[batch, time, heads, 32 * widths], kind, layout)).collect();
        // The gradient of a softmax is what is left of a difference; over few keys, or one that outweighs all others, it is next to nothing.
        agree_by(&|got, expected| difference_above(1.0, got, expected), seed, &inputs, &|x| vec![kernels::attention(&x[0], &x[1], &x[2], window)], &|x| vec![plain::attention(&x[0], &x[1], &x[2], window)]);
    }

    #[test]
    fn losses(seed in 0..1000i64, rows in 1..40i64, vocabulary in 1..300i64, cap in prop_oneof![Just(15.0), 0.5..100.0], kind in kinds(), layout in 0..4u8) {
        let logits = draw(seed, &[2, rows, vocabulary], kind, layout) * 5.0;
        let targets = draw(seed + 1, &[2, rows], Kind::Float, 0).abs().multiply_scalar(1e6).to_kind(Kind::Int64).remainder(vocabulary);
        agree(seed, &[logits], &|x| vec![kernels::softcap_cross_entropy(&x[0] * 1.0, &targets, cap)], &|x| vec![plain::softcap_cross_entropy(&x[0], &targets, cap)]);
    }

    #[test]
    fn muon_steps(seed in 0..1000i64, members in 1..4i64, rows in 1..60i64, columns in 1..60i64, kind in kinds()) {
        let shape = [members, rows, columns];
        let (gradient, momentum) = (draw(seed, &shape, Kind::Float, 0), draw(seed + 1, &shape, Kind::Float, 0));
        let (mut own, mut exact) = (momentum.copy(), momentum.to_kind(Kind::Double));
        let look = kernels::muon_look_ahead(&gradient, &mut own, 0.93, kind);
        let expected = plain::muon_look_ahead(&gradient.to_kind(Kind::Double), &mut exact, 0.93, Kind::Double);
        prop_assert!(difference(&own.to_kind(Kind::Double), &exact) < 1e-6);
        prop_assert!(difference(&look.to_kind(Kind::Double), &expected) < tolerance(kind));

        let lines = if rows >= columns { [members, rows, 1] } else { [members, 1, columns] };
        let second = draw(seed + 2, &lines, Kind::Float, 0).abs();
        let (mut own_second, mut exact_second) = (second.copy(), second.to_kind(Kind::Double));
        let update = kernels::normuon(look.copy(), &mut own_second, 0.95);
        let expected = plain::normuon(&look.to_kind(Kind::Double), &mut exact_second, 0.95);
        prop_assert!(difference(&own_second.to_kind(Kind::Double), &exact_second) < 1e-5);
        prop_assert!(difference(&update.to_kind(Kind::Double), &expected) < tolerance(kind));

        let parameters = draw(seed + 3, &shape, Kind::Float, 0);
        let (mut own, mut exact) = (parameters.copy().unbind(0), parameters.to_kind(Kind::Double));
        kernels::cautious_update(&mut own, &update, 0.03, 0.2);
        plain::cautious_update(&mut exact, &update.to_kind(Kind::Double), 0.03, 0.2);
        prop_assert!(difference(&Tensor::stack(&own, 0).to_kind(Kind::Double), &exact) < 1e-6);
    }

    #[test]
    fn polar_expresses(seed in 0..1000i64, members in 2..4i64, rows in 1..9i64, columns in 1..9i64, steps in 1..6usize, ragged in 0..4u8, kind in kinds()) {
        // The fused form is for a matrix or more for each thread.
        tch::set_num_threads(2);
        // Sides that the blocks divide, and others.
        let side = |blocks: i64| if ragged == 0 { 24 * blocks } else { 64 * blocks };
        let x = draw(seed, &[members, side(rows), side(columns)], Kind::Float, 0);
        let x = (&x / (x.norm_scalaropt_dim(2.0, [-2i64, -1].as_slice(), true) * 1.02)).to_kind(kind);
        // Five of Polar Express's own lift what is left of rounding in the smallest singular values to the size of the rest. As many iterations
        // as training takes are tried with gentler ones, each of its own.
        let coefficients: &[(f64, f64, f64)] = match steps {
            ..4 => &[(8.1565, -22.4833, 15.8788), (4.0429, -2.8089, 0.5), (3.8917, -2.7725, 0.5061)],
            _ => &[(1.9, -1.3, 0.4), (1.6, -0.8, 0.2), (1.75, -1.0, 0.25), (1.5, -0.6, 0.1), (1.85, -1.2, 0.35)],
        };
        let coefficients = &coefficients[..steps];
        let got = kernels::polar_express(x.copy(), coefficients);
        let expected = plain::polar_express(&x.to_kind(Kind::Double), coefficients);
        // Each iteration goes on with what the one before it rounded.
        let off = ((got.to_kind(Kind::Double) - &expected).norm() / expected.norm()).double_value(&[]);
        prop_assert!(off < tolerance(kind) * steps as f64, "off by {off:.1e} of the norm");
    }

    #[test]
    fn adam_steps(seed in 0..1000i64, count in 1..5000i64, steps in 1..5u64, decay in prop_oneof![Just(0.0), 0.0..0.5]) {
        let start = draw(seed, &[count], Kind::Float, 0);
        let mut own = [start.copy(), start.zeros_like(), start.zeros_like()];
        let mut exact = own.each_ref().map(|x| x.to_kind(Kind::Double));
        for step in 1..=steps {
            let gradient = draw(seed + step as i64, &[count], Kind::Float, 0);
            let how = AdamStep { rate: 0.01, beta1: 0.8, beta2: 0.95, epsilon: 1e-10, weight_decay: decay, step };
            let [p, m, s] = &mut own;
            kernels::adamw(p, &gradient, m, s, how);
            let [p, m, s] = &mut exact;
            plain::adamw(p, &gradient.to_kind(Kind::Double), m, s, how);
        }
        for (own, exact) in own.iter().zip(&exact) {
            prop_assert!(difference(&own.to_kind(Kind::Double), exact) < 1e-5);
        }
    }
}

/// What processors with less have: the same tests, in a process that takes that vector code instead of the best.
#[test]
fn lesser_instruction_sets_agree_as_well() {
    let best = expected_instruction_set();
    for set in ["portable", "avx2", "avx512", "avx512_bf16"].into_iter().take_while(|set| *set != best) {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--skip", "lesser_instruction_sets"])
            .envs([(SET, set), ("PROPTEST_CASES", "8")])
            .output()
            .unwrap();
        assert!(again.status.success(), "{set}:\n{}", String::from_utf8_lossy(&again.stdout));
    }
}

/// The variable by which a test asks for other vector code than the best.
const SET: &str = "NOCTURNE_INSTRUCTION_SET";

/// A build that left the vector code of this processor out would be slow, and its results would agree all the same.
#[test]
fn the_best_vector_code_for_this_processor_is_used() {
    assert_eq!(kernels::instruction_set(), std::env::var(SET).unwrap_or(expected_instruction_set().to_owned()));
    if !kernels::has_fused_attention() {
        eprintln!("skipped: fused attention: this processor or compiler has no products of bf16 in vector code");
    }
}

#[cfg(target_arch = "x86_64")]
fn expected_instruction_set() -> &'static str {
    let v4 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512cd");
    let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2");
    if v4 && kernels::has_fused_attention() {
        "avx512_bf16"
    } else if v4 {
        "avx512"
    } else if v3 {
        "avx2"
    } else {
        "portable"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn expected_instruction_set() -> &'static str {
    "portable"
}
