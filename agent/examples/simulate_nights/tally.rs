//! What came of nights, summed up with standard errors.

/// What came of one night. Gains are in bits per byte, positive is better.
#[derive(Debug, Clone, Copy, Default)]
pub struct Night {
    /// Kept experiments, and those of them whose change was in truth no improvement of the champion of that moment.
    pub keeps: f64,
    pub false_keeps: f64,
    /// The same for every idea in them.
    pub ideas: f64,
    pub false_ideas: f64,
    /// What the last champion is truly better by than the start.
    pub gain: f64,
    pub claims: f64,
    pub wrong_claims: f64,
    /// Intervals, and those that cover the truth: of settled experiments, of what kept ones are expected to be worth, of the claim.
    pub intervals: f64,
    pub covered: f64,
    pub kept_intervals: f64,
    pub kept_covered: f64,
    pub claim_intervals: f64,
    pub claim_covered: f64,
    /// Trial time of experiments that are truly no improvement, and what it would have been without early stops.
    pub bad_time: f64,
    pub bad_whole: f64,
    /// Trials that were stopped early or spared, and those of them that were of a true improvement.
    pub stops: f64,
    pub false_stops: f64,
    /// Experiments that were spared, and those of them that were kept in the end.
    pub spared: f64,
    pub spared_kept: f64,
    /// Counts of trials: of the champion by itself, of the watch for drift, of the morning.
    pub champion_time: f64,
    pub drift_time: f64,
    pub morning_time: f64,
    /// The same of the champion without a kept change.
    pub left_out_time: f64,
    pub experiments: f64,
    pub time: f64,
    /// Trials that followed an evaluation, those of them that had been foreseen during it, and those instead of which another had.
    pub followed: f64,
    pub foreseen: f64,
    pub foreseen_wrongly: f64,
    /// Times that the machine was seen to have changed.
    pub eras: f64,
    /// 1 where the night was given up for faults of the machine.
    pub gave_up: f64,
}

/// A figure of nights: the mean of `above`, or the ratio of two sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    pub value: f64,
    pub standard_error: f64,
}

/// The mean of a figure over nights.
pub fn mean(nights: &[Night], of: impl Fn(&Night) -> f64) -> Figure {
    ratio(nights, of, |_| 1.0)
}

/// The ratio of two sums over nights, with the standard error of the ratio estimator (Cochran, Sampling Techniques, chapter 6).
pub fn ratio(nights: &[Night], above: impl Fn(&Night) -> f64, below: impl Fn(&Night) -> f64) -> Figure {
    let (sum, total) = nights.iter().fold((0.0, 0.0), |(a, b), night| (a + above(night), b + below(night)));
    let value = sum / total;
    let n = nights.len() as f64;
    let squares: f64 = nights.iter().map(|night| (above(night) - value * below(night)).powi(2)).sum();
    Figure { value, standard_error: (squares * n / (n - 1.0)).sqrt() / total }
}
