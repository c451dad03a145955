//! Small statistics of the study. Pure.

use super::design::{FACTORS, SEEDS, folded, seed};

/// Arithmetic mean.
pub fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Sample standard deviation; NaN of one number.
pub fn sd(numbers: &[f64]) -> f64 {
    let mean = mean(numbers);
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (squares / (numbers.len() as f64 - 1.0)).sqrt()
}

/// A least-squares line of y on x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// y per x.
    pub slope: f64,
    /// y at 0.
    pub intercept: f64,
    /// Standard deviation of what the line leaves.
    pub residual: f64,
    /// Pearson's.
    pub correlation: f64,
}

/// The line through some points (x, y); `None` of fewer than four.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    if points.len() < 4 {
        return None;
    }
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let (mx, my) = (mean(&x), mean(&y));
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| of(x - mx, y - my)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    let slope = xy / xx;
    let residual = ((yy - slope * xy).max(0.0) / (points.len() as f64 - 2.0)).sqrt();
    Some(Line { slope, intercept: my - slope * mx, residual, correlation: xy / (xx * yy).sqrt() })
}

/// What a folded block says.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// On less off, of each factor.
    pub effects: Vec<f64>,
    /// Of each effect; the design is orthogonal, so all are known alike.
    pub standard_error: f64,
    /// Of a run about the fitted sum of effects and seeds: noise and pair interactions.
    pub residual: f64,
    /// Degrees of freedom of that.
    pub degrees: usize,
}

/// Effects of a complete folded design from (number, result); the runs of each seed have a mean of their own. `None` while runs are missing.
pub fn fit(runs: &[(usize, f64)]) -> Option<Fit> {
    let design = folded();
    if runs.len() != design.len() {
        return None;
    }
    let of_seed = |of: u32| -> Vec<f64> { runs.iter().filter(|run| seed(run.0) == of).map(|run| run.1).collect() };
    let centred: Vec<(usize, f64)> =
        runs.iter().map(|&(number, y)| (number, y - mean(&of_seed(seed(number))))).collect();
    let sign = |number: usize, factor: usize| if design[number][factor] { 1.0 } else { -1.0 };
    let count = runs.len() as f64;
    let effects: Vec<f64> = (0..FACTORS)
        .map(|factor| 2.0 / count * centred.iter().map(|&(number, y)| sign(number, factor) * y).sum::<f64>())
        .collect();
    let left = |&(number, y): &(usize, f64)| {
        y - effects.iter().enumerate().map(|(factor, effect)| sign(number, factor) * effect / 2.0).sum::<f64>()
    };
    let degrees = runs.len() - FACTORS - SEEDS as usize;
    let residual = (centred.iter().map(|run| left(run).powi(2)).sum::<f64>() / degrees as f64).sqrt();
    Some(Fit { effects, standard_error: 2.0 * residual / count.sqrt(), residual, degrees })
}

/// Standard error, in bits per byte, of sum(nats) / sum(bytes) as an estimate for all text of the kind that these documents were drawn
/// from: the ratio estimator's (Cochran 1977, *Sampling Techniques*, 6.3). `documents` are (nats, bytes).
pub fn sampling_error(documents: &[(f64, f64)]) -> f64 {
    let (nats, bytes) = documents.iter().fold((0.0, 0.0), |sum, document| (sum.0 + document.0, sum.1 + document.1));
    let squares: f64 = documents.iter().map(|document| (document.0 - nats / bytes * document.1).powi(2)).sum();
    let count = documents.len() as f64;
    (count / (count - 1.0) * squares).sqrt() / bytes / std::f64::consts::LN_2
}

/// The 97.5 % point of Student's t, by the expansion about the normal (Abramowitz and Stegun 1964, 26.7.5).
pub fn student_975(degrees: usize) -> f64 {
    let (z, n) = (1.959_963_985_f64, degrees as f64);
    let powers = |i: i32| z.powi(i);
    z + (powers(3) + z) / (4.0 * n)
        + (5.0 * powers(5) + 16.0 * powers(3) + 3.0 * z) / (96.0 * n * n)
        + (3.0 * powers(7) + 19.0 * powers(5) + 17.0 * powers(3) - 15.0 * z) / (384.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_adding_effects_gives_them_back_and_a_pair_interaction_leaves_them_alone() {
        let truth: Vec<f64> = (0..FACTORS).map(|factor| 0.01 * factor as f64 - 0.04).collect();
        let result = |number: usize, pair: f64| {
            let run = folded()[number];
            let sum: f64 = run.iter().zip(&truth).filter(|(on, _)| **on).map(|(_, effect)| effect).sum();
            let both = if run[0] == run[3] { pair } else { -pair };
            2.0 + f64::from(seed(number)) * 0.3 + sum + both
        };
        for pair in [0.0, 0.02] {
            let runs: Vec<(usize, f64)> = (0..folded().len()).map(|number| (number, result(number, pair))).collect();
            let fit = fit(&runs).unwrap();
            assert!(fit.effects.iter().zip(&truth).all(|(found, truth)| (found - truth).abs() < 1e-12), "{fit:?}");
            assert_eq!(fit.residual > 1e-9, pair > 0.0, "the misfit must show an interaction and nothing else");
        }
        assert!(fit(&[(0, 1.0)]).is_none());
    }

    #[test]
    fn equal_documents_have_no_sampling_error_and_unequal_ones_the_mean_s() {
        assert!(sampling_error(&[(2.0, 4.0), (1.0, 2.0), (3.0, 6.0)]) < 1e-12);
        // Documents of one byte: the standard error of a mean, 1 / sqrt(3), in bits.
        let found = sampling_error(&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]);
        assert!((found - 1.0 / 3f64.sqrt() / std::f64::consts::LN_2).abs() < 1e-12, "{found}");
    }

    #[test]
    fn lines_and_quantiles_are_the_textbook_ones() {
        let found = line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]).unwrap();
        assert!((found.slope - 2.0).abs() < 1e-12 && (found.intercept - 1.0).abs() < 1e-12 && found.residual < 1e-6);
        for (degrees, t) in [(6, 2.4469), (11, 2.2010), (30, 2.0423)] {
            assert!((student_975(degrees) - t).abs() < 3e-3, "{degrees}: {}", student_975(degrees));
        }
        assert!((sd(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
    }
}
