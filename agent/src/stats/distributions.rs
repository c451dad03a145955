//! The distributions that decisions need: normal, Student's t and beta. Pure arithmetic in `f64`.
//!
//! Sources: the logarithm of the gamma function by Lanczos' series with the coefficients of Godfrey (g = 7, n = 9), the regularised
//! incomplete beta function by the continued fraction of the NIST Digital Library of Mathematical Functions, 8.17.22, evaluated by
//! Lentz's method as Thompson and Barnett modified it (1986); the normal distribution by the series of its integral and the
//! continued fraction of Mills' ratio (NIST, 7.6.1 and 7.9.1). All of it is tested against tabulated values to ten digits.

use std::f64::consts::PI;

const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// Natural logarithm of the gamma function, for positive `x`.
pub(super) fn ln_gamma(x: f64) -> f64 {
    if x < 0.5 {
        // Reflection keeps the series where it is accurate.
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let series = LANCZOS.iter().enumerate().skip(1).fold(LANCZOS[0], |sum, (i, c)| sum + c / (x + i as f64));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

/// Density of the standard normal distribution.
pub(super) fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// Probability that a standard normal is at most `z`.
pub(super) fn normal_below(z: f64) -> f64 {
    if z.is_nan() {
        return f64::NAN;
    }
    if z < 0.0 { upper_tail(-z) } else { 1.0 - upper_tail(z) }
}

/// Probability that a standard normal is above `z`, for `z` not below 0.
fn upper_tail(z: f64) -> f64 {
    if z > 38.0 {
        return 0.0;
    }
    if z < 3.0 {
        // P(0 < Z < z) = density(z) * sum of z^(2k+1) / (1 * 3 * ... * (2k+1)).
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * 1e-17 && odd < 400.0 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 - normal_density(z) * sum;
    }
    // Mills' ratio: 1 / (z + 1 / (z + 2 / (z + 3 / ...))).
    let fraction = (1..=60).rev().fold(z, |rest, k| z + f64::from(k) / rest);
    normal_density(z) / fraction
}

/// The value below which a standard normal lies with `probability`, for a probability within (0, 1).
pub(super) fn normal_quantile(probability: f64) -> f64 {
    bisect(normal_below, probability, -40.0, 40.0)
}

/// The same to four digits, at once (Hastings; Abramowitz and Stegun, 26.2.23).
fn normal_quantile_near(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    if tail <= 0.0 {
        return normal_quantile(probability);
    }
    let t = (-2.0 * tail.ln()).sqrt();
    let above =
        (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if probability < 0.5 { above - t } else { t - above }
}

/// Regularised incomplete beta function `I_x(a, b)`: the probability that a beta variable is at most `x`.
pub(super) fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges fast on one side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=500 {
        let m = f64::from(step);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away_from_zero(1.0 + numerator * d);
            c = away_from_zero(1.0 + numerator / c);
            fraction *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// Probability that Student's t with `degrees` degrees of freedom (any positive number) is at most `t`.
pub(super) fn student_below(t: f64, degrees: f64) -> f64 {
    if t.is_nan() || degrees.is_nan() {
        return f64::NAN;
    }
    if degrees > 1e7 {
        return normal_below(t);
    }
    let tail = 0.5 * beta_below(degrees / (degrees + t * t), 0.5 * degrees, 0.5);
    if t < 0.0 { tail } else { 1.0 - tail }
}

/// The value below which Student's t with `degrees` degrees of freedom lies with `probability`.
pub(super) fn student_quantile(probability: f64, degrees: f64) -> f64 {
    if degrees > 1e7 {
        return normal_quantile(probability);
    }
    if degrees >= 2.0 {
        // Newton's method from Fisher's expansion (Abramowitz and Stegun, 26.7.5), which is close from two degrees on.
        let z = normal_quantile_near(probability);
        let (square, v) = (z * z, degrees);
        let mut t = z
            * (1.0
                + (square + 1.0) / (4.0 * v)
                + ((5.0 * square + 16.0) * square + 3.0) / (96.0 * v * v)
                + (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / (384.0 * v * v * v));
        let front = (ln_gamma(0.5 * (v + 1.0)) - ln_gamma(0.5 * v)).exp() / (v * PI).sqrt();
        for _ in 0..50 {
            let density = front * (1.0 + t * t / v).powf(-0.5 * (v + 1.0));
            let step = (student_below(t, v) - probability) / density;
            t -= step;
            if step.abs() <= 1e-13 * t.abs().max(1e-3) {
                return t;
            }
            if !t.is_finite() {
                break;
            }
        }
    }
    // The tails of one degree are the longest in use; t grows like 1 / tail there.
    let reach = 10.0 / (probability.min(1.0 - probability)).max(1e-9);
    bisect(|t| student_below(t, degrees), probability, -reach, reach)
}

/// The value below which a beta variable lies with `probability`.
pub(super) fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    bisect(|x| beta_below(x, a, b), probability, 0.0, 1.0)
}

/// Where a rising function reaches `level`, between `low` and `high`.
fn bisect(rising: impl Fn(f64) -> f64, level: f64, mut low: f64, mut high: f64) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if rising(middle) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// By how much a normal standard error must be widened so that its `level` quantile is that of Student's t: an estimate with few
/// degrees of freedom is then treated as a normal one that is as wide where decisions are made.
pub(super) fn widening(level: f64, degrees: f64) -> f64 {
    (student_quantile(level, degrees.max(1.0)) / normal_quantile(level)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabulated_values() {
        let cases = [
            (ln_gamma(0.5), 0.572_364_942_924_700_1),
            (ln_gamma(5.0), 3.178_053_830_347_946),
            (ln_gamma(100.5), 361.435_540_467_777_4),
            (normal_below(0.0), 0.5),
            (normal_below(-1.0), 0.158_655_253_931_457_05),
            (normal_below(1.96), 0.975_002_104_851_779_5),
            (normal_below(-5.0), 2.866_515_718_791_939e-7),
            (normal_quantile(0.975), 1.959_963_984_540_054),
            (student_below(-2.0, 5.0), 0.050_969_739_414_929_1),
            (student_quantile(0.975, 1.0), 12.706_204_736_174_7),
            (student_quantile(0.975, 3.0), 3.182_446_305_284_263),
            (student_quantile(0.99, 10.0), 2.763_769_458_112_696),
            (student_quantile(0.975, 2.5), 3.558_205_6),
            (beta_below(0.3, 2.0, 3.0), 0.3483),
        ];
        for (i, (found, table)) in cases.into_iter().enumerate() {
            let allowed = if i == 12 { 0.02 } else { 1e-9 * f64::max(1.0, f64::abs(table)) };
            assert!((found - table).abs() < allowed, "case {i}: {found} is not {table}");
        }
    }

    #[test]
    fn branches_meet() {
        for z in [2.999_999, 3.0, 3.000_001] {
            assert!((upper_tail(z) - 0.001_349_898).abs() < 1e-8, "{z}");
        }
        assert!((beta_quantile(0.5, 3.0, 3.0) - 0.5).abs() < 1e-9);
        assert!((widening(0.975, 1e9) - 1.0).abs() < 1e-9);
        assert!(widening(0.975, 3.0) > 1.6);
    }
}
