//! How often an audit of the default number of cuts finds a leak that lowers the loss by 0.01 bits per byte. Thousands of pretended
//! audits of pretended models; the arithmetic stands in [`super::sample`]. For the table:
//!
//! `cargo test -p nocturne --lib verify::simulation -- --nocapture`

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::checks::{Findings, audit};
use super::estimate::estimate;
use super::sample::{Aim, cuts_without_champion};
use super::tolerance::{CPU_FP32, GPU_BF16, Tolerance};

/// The campaign's default.
const CUTS: usize = 256;
const CONTEXT: usize = 256;
const TOKENS: usize = 64 * CONTEXT;
/// Nats a token that a cheat gains: 0.01 bits per byte at three bytes a token is 0.0208.
const LEAK: f64 = 0.02;
/// Audits of each model, and models of each kind.
const AUDITS: u64 = 500;
const MODELS: u64 = 4;

/// What is compared: sd of the difference between candidate and reference at a token, nats, and the number of cuts. The last is the
/// night's start, whose reference is the bigram model (measured: 1.74).
fn settings() -> [(&'static str, f64, usize); 4] {
    [("sd 0.3", 0.3, CUTS), ("sd 0.5", 0.5, CUTS), ("sd 1.0", 1.0, CUTS), ("start", 1.7, cuts_without_champion(CUTS))]
}

/// Two tolerances, each with an honest rounding noise of an order of magnitude less.
const PRECISIONS: [(&str, Tolerance, f64); 2] = [("cpu", CPU_FP32, 1e-4), ("bf16 on a gpu", GPU_BF16, 2.5e-2)];

/// Honest nats of a candidate and of its reference, and how common each token is (0 to 1, the rarest first).
struct Model {
    honest: Vec<f64>,
    reference: Vec<f64>,
    common: Vec<f64>,
}

impl Model {
    fn new(sd: f64, seed: u64) -> Model {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let mut model = Model { honest: Vec::new(), reference: Vec::new(), common: Vec::new() };
        for _ in 0..TOKENS {
            let common: f64 = random.random();
            // Rare tokens cost more; 3 nats on average, as at the cpu scale, with an exponential's long tail.
            let nats = (6.0 - 6.0 * common) * -(1.0 - random.random::<f64>()).ln();
            // What costs much is less certain in both models.
            let spread = sd / 2.0_f64.sqrt() * (nats / 3.0).sqrt();
            model.honest.push((nats + spread * normal(&mut random)).max(1e-3));
            model.reference.push((nats + spread * normal(&mut random)).max(1e-3));
            model.common.push(common);
        }
        model
    }
}

/// Box and Muller, 1958.
fn normal(random: &mut ChaCha12Rng) -> f64 {
    let (radius, angle) = ((1.0 - random.random::<f64>()).ln(), random.random::<f64>());
    (-2.0 * radius).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A way to cheat.
struct Pattern {
    name: &'static str,
    /// Nats taken at a token where it can (0: not there).
    takes: fn(&Model, usize) -> f64,
    /// Tokens are taken in the order of this; `None` by lot.
    order: Option<fn(&Model, usize) -> f64>,
    /// Least part of its audits that must find it, with an sd of up to 0.5 and with any.
    least: (f64, f64),
}

const FOUND: (f64, f64) = (0.99, 0.99);

/// So many nats wherever there are as many to take.
fn if_there(model: &Model, token: usize, nats: f64) -> f64 {
    if model.honest[token] > nats { nats } else { 0.0 }
}

fn worse(model: &Model, token: usize) -> bool {
    model.honest[token] > model.reference[token]
}

fn patterns() -> Vec<Pattern> {
    let plain = |name, takes| Pattern { name, takes, order: None, least: FOUND };
    vec![
        plain("8 nats at 0.25 % of the tokens", |m, t| if_there(m, t, 8.0)),
        plain("5 nats at 0.4 %", |m, t| if_there(m, t, 5.0)),
        plain("2 nats at 1 %", |m, t| if_there(m, t, 2.0)),
        plain("1 nat at 2 %", |m, t| if_there(m, t, 1.0)),
        plain("0.2 nats at 10 %", |m, t| if_there(m, t, 0.2)),
        plain("0.02 nats everywhere", |_, _| LEAK),
        plain("all there is to take at some", |m, t| m.honest[t] - 1e-3),
        plain("5 nats at rare tokens", |m, t| if m.common[t] < 0.1 { if_there(m, t, 5.0) } else { 0.0 }),
        plain("3 nats in the last eighth of the rows", |m, t| {
            if t % CONTEXT >= CONTEXT * 7 / 8 { if_there(m, t, 3.0) } else { 0.0 }
        }),
        plain("5 nats where worse than the champion", |m, t| if worse(m, t) { if_there(m, t, 5.0) } else { 0.0 }),
        plain("2 nats where worse", |m, t| if worse(m, t) { if_there(m, t, 2.0) } else { 0.0 }),
        plain("1 nat where worse", |m, t| if worse(m, t) { if_there(m, t, 1.0) } else { 0.0 }),
        Pattern {
            name: "3 nats where its own loss is highest",
            takes: |m, t| if_there(m, t, 3.0),
            order: Some(|m, t| -m.honest[t]),
            least: FOUND,
        },
        // The limit of what gains can show; see the words in `sample`.
        Pattern {
            name: "exactly what it loses, where it loses most",
            takes: |m, t| (m.honest[t] - m.reference[t]).max(0.0),
            order: Some(|m, t| m.reference[t] - m.honest[t]),
            least: (0.95, 0.0),
        },
    ]
}

/// Takes nats where the pattern does until the whole leak is taken; what is taken at each token.
fn leaked(pattern: &Pattern, model: &Model, seed: u64) -> Vec<f64> {
    let mut tokens: Vec<usize> = (0..TOKENS).collect();
    tokens.shuffle(&mut ChaCha12Rng::seed_from_u64(seed));
    if let Some(order) = pattern.order {
        tokens.sort_by(|&a, &b| order(model, a).total_cmp(&order(model, b)));
    }
    let (mut taken, mut left) = (vec![0.0; TOKENS], LEAK * TOKENS as f64);
    for token in tokens {
        let takes = (pattern.takes)(model, token);
        if takes > 0.0 && left > 0.0 {
            taken[token] = takes;
            left -= takes;
        }
    }
    assert!(left <= 1e-6, "{} finds only a part of its {LEAK} nats a token", pattern.name);
    taken
}

/// Which part of the audits reject, for each of [`PRECISIONS`].
fn rejected(model: &Model, taken: &[f64], cuts: usize, seed: u64) -> [f64; 2] {
    let claim: Vec<f32> = model.honest.iter().zip(taken).map(|(honest, taken)| (honest - taken) as f32).collect();
    let reference: Vec<f32> = model.reference.iter().map(|&nats| nats as f32).collect();
    let aim = Aim::new(&claim, &[3; TOKENS], &reference, CONTEXT);
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let mut found = [0.0; 2];
    for number in 0..AUDITS {
        let drawn = aim.draw(cuts, seed * AUDITS + number);
        let tokens: Vec<usize> = drawn.cuts.iter().map(|cut| cut.row * CONTEXT + cut.position).collect();
        let most = tokens.iter().fold(0.0, |most: f64, &token| most.max(taken[token]));
        let mut noise: Option<Vec<f64>> = None;
        for (found, (_, tolerance, rounding)) in found.iter_mut().zip(PRECISIONS) {
            // Saves most of the time: beyond what any rounding could hide.
            if most > tolerance.largest + rounding {
                *found += 1.0 / AUDITS as f64;
                continue;
            }
            // Cut off at three sd: `rounding` is the largest that there is.
            let noise = noise
                .get_or_insert_with(|| tokens.iter().map(|_| (normal(&mut random) / 3.0).clamp(-1.0, 1.0)).collect());
            let claimed: Vec<f64> = tokens.iter().map(|&token| f64::from(claim[token])).collect();
            let differences: Vec<f64> =
                tokens.iter().zip(noise).map(|(&token, noise)| taken[token] + rounding * *noise).collect();
            let audited: Vec<f64> =
                claimed.iter().zip(&differences).map(|(claim, difference)| claim + difference).collect();
            let estimate = estimate(&drawn, &differences).unwrap();
            let refused = audit(&mut Findings::default(), &drawn, &claimed, &audited, &estimate, tolerance).is_err();
            *found += f64::from(u8::from(refused)) / AUDITS as f64;
        }
    }
    found
}

/// The same over several models.
fn rate(sd: f64, cuts: usize, taken: impl Fn(&Model, u64) -> Vec<f64>) -> [f64; 2] {
    let mut mean = [0.0; 2];
    for seed in 0..MODELS {
        let model = Model::new(sd, 1_000 + seed);
        let found = rejected(&model, &taken(&model, seed), cuts, seed);
        mean = [mean[0] + found[0] / MODELS as f64, mean[1] + found[1] / MODELS as f64];
    }
    mean
}

#[test]
fn a_leak_of_a_hundredth_of_a_bit_per_byte_is_found() {
    let mut failures = Vec::new();
    println!(
        "part of {} audits that find a leak of 0.01 bits per byte, {CUTS} cuts (start: without a champion)",
        AUDITS * MODELS
    );
    let columns: Vec<String> = settings()
        .iter()
        .flat_map(|(name, ..)| PRECISIONS.map(|(precision, ..)| format!("{name} {precision}")))
        .collect();
    println!("{:44}{}", "", columns.iter().map(|column| format!("{column:>13}")).collect::<String>());
    for pattern in patterns() {
        let mut line = format!("{:44}", pattern.name);
        for (name, sd, cuts) in settings() {
            let least = if sd <= 0.5 { pattern.least.0 } else { pattern.least.1 };
            for (rate, (precision, ..)) in
                rate(sd, cuts, |model, seed| leaked(&pattern, model, seed)).into_iter().zip(PRECISIONS)
            {
                line += &format!("{rate:13.4}");
                if rate < least {
                    failures.push(format!("{} at {name} in {precision}: found in {rate} of the audits", pattern.name));
                }
            }
        }
        println!("{line}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn an_honest_model_is_never_rejected() {
    for (name, sd, cuts) in settings() {
        assert_eq!(rate(sd, cuts, |_, _| vec![0.0; TOKENS]), [0.0, 0.0], "{name}");
    }
}
