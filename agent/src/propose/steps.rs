//! One step of a recipe's number: by a factor, kept to values that make sense for its kind, and written the way the
//! recipe writes it.

use protocol::Scale;

use super::breadth::Breadth;
use super::recipe::Constant;

/// The first size of a step in the usual case.
const USUAL: f64 = 1.5;

/// A change of a model's or a step's size by more than this makes another machine necessary.
const MOST_OF_A_SIZE: f64 = 3.0;

/// Sizes of a step, in the order in which they are tried.
pub(super) fn sizes(breadth: Breadth) -> &'static [f64] {
    match breadth {
        Breadth::Usual => &[USUAL, 1.25, 2.0, 1.1, 3.0],
        Breadth::Wide => &[2.0, 3.0, USUAL, 1.25],
        Breadth::Widest => &[4.0, 2.0, 3.0, USUAL],
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// What values a number may take; decided by its name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Any positive number: rates, scales.
    Positive,
    /// Any positive number, of which only the order of magnitude matters.
    Magnitude,
    /// From 0 to 1: a part of something.
    Fraction,
    /// A decay just below 1, of which the distance to 1 matters.
    Decay,
    /// 0, to be tried at this value and others near it.
    Start(f64),
    /// A positive multiple of this unit.
    Multiple(f64),
    /// A count, at most this.
    Count(f64),
    /// Half or double, and a divisor of this number.
    Divisor(f64),
    /// Left alone.
    Fixed,
}

/// What numbers that are 0 in the recipe are first tried at; other zeros are left alone.
const STARTS: [(&str, f64); 5] = [
    ("adam_weight_decay", 0.002),
    ("final_rate", 0.1),
    ("final_weight_decay", 0.5),
    ("output_std", 0.3),
    ("warmup", 0.05),
];

fn kind(constant: &Constant, all: &[Constant], scale: Scale) -> Kind {
    let (name, value) = (constant.name.as_str(), constant.value);
    let has = |part: &str| name.contains(part);
    let other = |name: &str| all.iter().find(|other| other.name == name).map(|other| other.value);
    if value <= 0.0 {
        return STARTS.iter().find(|(start, _)| *start == name).map_or(Kind::Fixed, |(_, start)| Kind::Start(*start));
    }
    match name {
        "head_dim" => other("dim").map_or(Kind::Fixed, Kind::Divisor),
        "dim" => Kind::Multiple(other("head_dim").unwrap_or(128.0)),
        "tokens_per_step" => Kind::Multiple(scale.context() as f64 * other("micro_batch_rows").unwrap_or(1.0)),
        // Memory and speed only, and another one may not divide the rows of a step.
        "micro_batch_rows" => Kind::Fixed,
        "gate_channels" => Kind::Multiple(8.0),
        // There are coefficients for five.
        "muon_iterations" => Kind::Count(5.0),
        "rotary_base" => Kind::Magnitude,
        "short_window" | "warmup" | "warmdown" | "final_rate" | "final_weight_decay" => Kind::Fraction,
        _ if constant.integer => Kind::Multiple(1.0),
        _ if has("epsilon") => Kind::Magnitude,
        _ if (has("beta") || has("momentum") || has("decay")) && (0.5..1.0).contains(&value) => Kind::Decay,
        _ if (has("beta") || has("momentum") || has("fraction")) && value <= 1.0 => Kind::Fraction,
        _ => Kind::Positive,
    }
}

/// The number after a step by `factor`; `None` where there is no such step.
pub(super) fn step(
    constant: &Constant,
    all: &[Constant],
    scale: Scale,
    direction: Direction,
    factor: f64,
) -> Option<f64> {
    let value = constant.value;
    let scaled = |value: f64, up: bool| two_digits(if up { value * factor } else { value / factor });
    let up = direction == Direction::Up;
    let to = match kind(constant, all, scale) {
        Kind::Fixed => return None,
        Kind::Positive => scaled(value, up),
        Kind::Magnitude => two_digits(value * if up { factor.powi(3) } else { factor.powi(-3) }),
        Kind::Start(start) if up => two_digits(start * factor / USUAL),
        Kind::Start(_) => return None,
        Kind::Fraction => scaled(value, up).min(1.0),
        // Rounded, because 1 - 0.08 is not 0.92.
        Kind::Decay => ((1.0 - scaled(1.0 - value, !up)) * 1e9).round() / 1e9,
        Kind::Multiple(unit) => {
            let least = if up { value + unit } else { value - unit };
            let factor = factor.min(MOST_OF_A_SIZE);
            let to = two_digits(if up { value * factor } else { value / factor });
            let to = (to / unit).round() * unit;
            if up { to.max(least) } else { to.min(least) }
        }
        Kind::Count(most) => if up { value + 1.0 } else { value - 1.0 }.min(most),
        Kind::Divisor(whole) => {
            let to = if up { value * 2.0 } else { value / 2.0 };
            // Rotary embeddings turn pairs, and tiny heads cannot tell positions apart.
            if to < 16.0 || to % 2.0 != 0.0 || whole % to != 0.0 {
                return None;
            }
            to
        }
    };
    (to.is_finite() && to > 0.0 && to < 1e15).then_some(to)
}

fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// A number as a Rust literal of the same type as the original, and in its style.
pub(super) fn literal(value: f64, integer: bool, original: &str) -> String {
    if !integer {
        let scientific = original.contains(['e', 'E']) || value.abs() < 1e-3;
        return if scientific { format!("{value:e}") } else { format!("{value:?}") };
    }
    let digits = format!("{value:.0}");
    if !original.contains('_') && digits.len() < 5 {
        return digits;
    }
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('_');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(name: &str, value: f64, integer: bool) -> Constant {
        Constant { name: name.to_owned(), value, integer, span: 0..0 }
    }

    #[test]
    fn steps_stay_within_what_makes_sense() {
        let all = [constant("dim", 256.0, true), constant("head_dim", 64.0, true)];
        let both = |name: &str, value: f64, integer: bool, factor: f64| {
            let constant = constant(name, value, integer);
            [Direction::Up, Direction::Down].map(|d| step(&constant, &all, Scale::Cpu, d, factor))
        };
        assert_eq!(both("matrix_lr", 0.04, false, 1.5), [Some(0.06), Some(0.027)]);
        assert_eq!(both("warmdown", 0.9, false, 1.5), [Some(1.0), Some(0.6)]);
        assert_eq!(both("beta2", 0.95, false, 1.5), [Some(0.967), Some(0.925)]);
        assert_eq!(both("depth", 4.0, true, 1.1), [Some(5.0), Some(3.0)]);
        assert_eq!(both("depth", 1.0, true, 1.5), [Some(2.0), None]);
        assert_eq!(both("dim", 256.0, true, 1.1), [Some(320.0), Some(192.0)]);
        assert_eq!(both("dim", 256.0, true, 1.5), [Some(384.0), Some(192.0)]);
        assert_eq!(both("head_dim", 64.0, true, 1.5), [Some(128.0), Some(32.0)]);
        assert_eq!(both("tokens_per_step", 4096.0, true, 1.5), [Some(6144.0), Some(2816.0)]);
        assert_eq!(both("muon_iterations", 5.0, true, 1.5), [Some(5.0), Some(4.0)]);
        assert_eq!(both("muon_momentum_steps", 300.0, false, 1.5), [Some(450.0), Some(200.0)]);
        assert_eq!(both("rotary_base", 10_000.0, false, 1.5), [Some(34_000.0), Some(3_000.0)]);
        assert_eq!(both("warmup", 0.0, false, 1.5), [Some(0.05), None]);
        assert_eq!(both("unknown", 0.0, false, 1.5), [None, None]);
        assert_eq!(both("micro_batch_rows", 16.0, true, 1.5), [None, None]);
    }

    #[test]
    fn literals_keep_type_and_style() {
        assert_eq!(literal(6144.0, true, "4_096"), "6_144");
        assert_eq!(literal(6144.0, true, "4096"), "6144");
        assert_eq!(literal(1_000_000.0, true, "500000"), "1_000_000");
        assert_eq!(literal(20.0, false, "15.0"), "20.0");
        assert_eq!(literal(0.06, false, "0.04"), "0.06");
        assert_eq!(literal(1.5e-10, false, "1e-10"), "1.5e-10");
        assert_eq!(literal(0.0005, false, "0.001"), "5e-4");
    }
}
