//! What changing one number of the recipe does, from experiments that changed one number alone.
//!
//! No model is fitted: with the tens of experiments of a night, of which most changed different numbers, a random forest's
//! variances (F. Hutter, H. Hoos, K. Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance") would be its
//! own guesses. What a verified experiment that changed one number alone found is that number's effect around the champion of that
//! moment, with an interval: what ablation measures on purpose (C. Fawcett, H. Hoos 2016, "Analysing differences between algorithm
//! configurations through ablation"). It says nothing of interactions, nor of values that nobody tried (A. Saltelli, P. Annoni 2010,
//! "How to avoid a perfunctory sensitivity analysis").

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::usable;
use crate::plots::effects::{effect, interval};
use crate::view::{ExperimentView, NightView, RecipeView};

/// Fewer changes of one number alone, over all numbers, say nothing of what matters.
pub(crate) const LEAST_CHANGES: usize = 3;
/// Fewer of the same number say nothing of its usual effect.
const LEAST_OF_ONE: usize = 2;
/// From so many changes on, effects that lie far out are told from the others.
const LEAST_FOR_FENCES: usize = 8;
/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_964;

/// A measured change of one number alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change<'a> {
    pub(crate) experiment: &'a ExperimentView,
    /// The champion's value and the experiment's.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// The difference of the metric, its 95 % interval, and its standard error.
    pub(crate) effect: f64,
    pub(crate) interval: (f64, f64),
    pub(crate) error: f64,
}

/// How large the effect of changing a number usually is, whichever its sign: the root of the mean square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size {
    pub(crate) size: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// One number of the recipe.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    /// Best first.
    pub(crate) changes: Vec<Change<'a>>,
    /// `None` with fewer than two changes that do not lie far out.
    pub(crate) size: Option<Size>,
}

/// What a night's experiments say of the recipe's numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Importance<'a> {
    /// Those changed alone: by their size, then those with one change by its effect.
    pub(crate) parameters: Vec<Parameter<'a>>,
    /// Measured experiments that changed several numbers, or something else besides: whose effect is nobody's alone.
    pub(crate) mixed: usize,
    /// Numbers that were changed, but never alone.
    pub(crate) never_alone: usize,
    /// Changes whose effect lies far out: they are shown, but are in no size.
    pub(crate) far_out: usize,
}

impl<'a> Importance<'a> {
    pub(crate) fn of(night: &'a NightView, recipes: &'a [RecipeView]) -> Self {
        let recipe_of: BTreeMap<u32, &RecipeView> = recipes.iter().map(|recipe| (recipe.experiment, recipe)).collect();
        let mut alone: BTreeMap<&'a str, Vec<Change<'a>>> = BTreeMap::new();
        let mut touched: BTreeSet<&'a str> = BTreeSet::new();
        let mut mixed = 0;
        for experiment in night.experiments.iter().filter(|e| night.left_out.iter().all(|left| left.number != e.number))
        {
            let (Some(effect), Some(interval)) = (effect(experiment), interval(experiment)) else { continue };
            let champion = recipe_of.get(&experiment.champion_number);
            let (Some(own), Some(champion)) = (recipe_of.get(&experiment.number), champion) else { continue };
            let changed = changed(&champion.numbers, &own.numbers);
            touched.extend(changed.iter().map(|(name, ..)| *name));
            match changed.as_slice() {
                [] => {}
                [(name, Some(from), Some(to))] if !own.other_changes => {
                    let error = standard_error(experiment, interval);
                    let change = Change { experiment, from: *from, to: *to, effect, interval, error };
                    alone.entry(name).or_default().push(change);
                }
                _ => mixed += 1,
            }
        }
        let never_alone = touched.iter().filter(|name| !alone.contains_key(**name)).count();
        let fence = fence(alone.values().flatten().map(|change| change.effect.abs()).collect());
        let far_out = alone.values().flatten().filter(|change| change.effect > fence).count();
        let mut parameters: Vec<Parameter<'a>> =
            alone.into_iter().map(|(name, changes)| parameter(name, changes, fence)).collect();
        let rank = |parameter: &Parameter<'_>| {
            let largest = parameter.changes.iter().map(|change| change.effect.abs()).fold(0.0, f64::max);
            (parameter.size.map_or(-1.0, |size| size.size), largest)
        };
        parameters.sort_by(|a, b| {
            let ((a_size, a_largest), (b_size, b_largest)) = (rank(a), rank(b));
            b_size.total_cmp(&a_size).then(b_largest.total_cmp(&a_largest)).then(a.name.cmp(b.name))
        });
        Self { parameters, mixed, never_alone, far_out }
    }

    /// Changes of one number alone, over all numbers.
    pub(crate) fn changes(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.changes.len()).sum()
    }
}

/// The numbers in which two recipes differ; one that only one of them has, or that is no number, has no value there.
fn changed<'a>(
    champion: &'a BTreeMap<String, f64>,
    own: &'a BTreeMap<String, f64>,
) -> Vec<(&'a str, Option<f64>, Option<f64>)> {
    let names: BTreeSet<&str> = champion.keys().chain(own.keys()).map(String::as_str).collect();
    let value = |of: &BTreeMap<String, f64>, name: &str| of.get(name).copied().filter(|value| value.is_finite());
    names
        .into_iter()
        .map(|name| (name, value(champion, name), value(own, name)))
        .filter(|(_, from, to)| from != to)
        .collect()
}

/// Beyond what size an effect lies far out: Tukey's outer fence, three interquartile ranges above the upper quartile of all sizes
/// (J. Tukey 1977, "Exploratory data analysis"). A value that breaks the training says that the number can be set wrong, not
/// what changing it usually does; in a mean of squares one such effect would be all that is seen.
fn fence(mut sizes: Vec<f64>) -> f64 {
    sizes.sort_by(f64::total_cmp);
    let quantile = |part: f64| sizes.get((sizes.len() as f64 * part) as usize).copied();
    match (quantile(0.25), quantile(0.75)) {
        (Some(q1), Some(q3)) if sizes.len() >= LEAST_FOR_FENCES => q3 + 3.0 * (q3 - q1),
        _ => f64::INFINITY,
    }
}

fn parameter<'a>(name: &'a str, mut changes: Vec<Change<'a>>, fence: f64) -> Parameter<'a> {
    changes.sort_by(|a, b| a.effect.total_cmp(&b.effect).then(a.experiment.number.cmp(&b.experiment.number)));
    let measured: Vec<(f64, f64)> = changes
        .iter()
        // What made training worse by far broke it; a gain of that size is what is looked for.
        .filter(|change| change.effect <= fence)
        .map(|change| (change.effect, change.error))
        .collect();
    Parameter { name, size: (measured.len() >= LEAST_OF_ONE).then(|| size(&measured)), changes }
}

/// The standard error on record; where there is none, that of a normal interval: from Student's it comes out too large.
fn standard_error(experiment: &ExperimentView, (low, high): (f64, f64)) -> f64 {
    let known = experiment.evidence.as_ref().and_then(|evidence| evidence.standard_error);
    known.filter(|error| usable(*error) && *error > 0.0).unwrap_or((high - low) / (2.0 * Z))
}

/// The root mean square of true effects, from measured ones with their standard errors. The square of a measured effect is on average
/// the true square plus the squared standard error, so that is taken off; the variance of such a square is 4 δ² s² + 2 s⁴ (the
/// moments of the noncentral chi-squared distribution with one degree of freedom: N. Johnson, S. Kotz, N. Balakrishnan,
/// "Continuous univariate distributions", volume 2, chapter 29), with the estimate put in for δ. The 95 % interval is the normal
/// one of the mean square, and a size is never below zero.
fn size(measured: &[(f64, f64)]) -> Size {
    let count = measured.len().max(1) as f64;
    let squares = measured.iter().map(|(effect, error)| effect * effect - error * error);
    let mean = squares.clone().sum::<f64>() / count;
    let variance: f64 = measured
        .iter()
        .zip(squares)
        .map(|((_, error), square)| 4.0 * square.max(0.0) * error.powi(2) + 2.0 * error.powi(4))
        .sum();
    let half = Z * variance.sqrt() / count;
    let root = |square: f64| if usable(square) { square.max(0.0).sqrt() } else { 0.0 };
    Size { size: root(mean), low: root(mean - half), high: root(mean + half) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{EvidenceView, LeftOutView, Verdict};

    fn night(effects: &[f64]) -> NightView {
        let experiment = |(i, effect): (usize, &f64)| ExperimentView {
            number: i as u32 + 1,
            verdict: Some(Verdict::Discarded),
            difference: Some(*effect),
            interval: Some((effect - 0.001, effect + 0.001)),
            ..ExperimentView::default()
        };
        NightView { experiments: effects.iter().enumerate().map(experiment).collect(), ..NightView::default() }
    }

    fn recipe(experiment: u32, numbers: &[(&str, f64)]) -> RecipeView {
        let numbers = numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        RecipeView { experiment, numbers, other_changes: false }
    }

    #[test]
    fn only_what_was_changed_alone_counts() {
        let mut night = night(&[0.01, -0.02, 0.03, 0.04, 0.05, 0.06, 0.5]);
        night.left_out = vec![LeftOutView { number: 7, ..LeftOutView::default() }];
        let recipes = [
            recipe(0, &[("depth", 4.0), ("rate", 0.04), ("warmup", 0.0)]),
            recipe(1, &[("depth", 5.0), ("rate", 0.04), ("warmup", 0.0)]),
            recipe(2, &[("depth", 6.0), ("rate", 0.04), ("warmup", 0.0)]),
            recipe(3, &[("depth", 6.0), ("rate", 0.02), ("warmup", 0.0)]),
            recipe(4, &[("depth", 4.0), ("rate", 0.08), ("warmup", 0.0)]),
            RecipeView { other_changes: true, ..recipe(5, &[("depth", 4.0), ("rate", 0.04), ("warmup", 0.1)]) },
            recipe(6, &[("depth", 4.0), ("rate", 0.04), ("warmup", 0.0), ("new", 1.0)]),
            recipe(7, &[("depth", 9.0), ("rate", 0.04), ("warmup", 0.0)]),
        ];
        let importance = Importance::of(&night, &recipes);
        let found: Vec<(&str, Vec<u32>)> = importance
            .parameters
            .iter()
            .map(|p| (p.name, p.changes.iter().map(|change| change.experiment.number).collect()))
            .collect();
        assert_eq!(found, [("depth", vec![2, 1]), ("rate", vec![4])]);
        assert_eq!((importance.mixed, importance.never_alone, importance.changes()), (3, 2, 3));
        assert!(importance.parameters[0].size.is_some() && importance.parameters[1].size.is_none());
    }

    #[test]
    fn a_change_that_breaks_the_training_is_in_no_size() {
        let night = night(&[0.01, 0.012, 0.009, 0.011, 0.01, 0.008, 0.012, 0.9]);
        let numbers = |rate: u32| recipe(rate, &[("rate", f64::from(rate))]);
        let recipes: Vec<RecipeView> = (0..=8).map(numbers).collect();
        let importance = Importance::of(&night, &recipes);
        assert_eq!((importance.far_out, importance.changes()), (1, 8));
        assert!(importance.parameters[0].size.unwrap().high < 0.02);
    }

    #[test]
    fn the_standard_error_on_record_counts_and_not_the_width_of_students_interval() {
        let mut experiment = ExperimentView { interval: Some((-0.001, 0.001)), ..ExperimentView::default() };
        assert!((standard_error(&experiment, (-0.001, 0.001)) - 0.000_51).abs() < 1e-5);
        for (known, used) in [(0.0002, 0.0002), (f64::NAN, 0.001 / Z), (0.0, 0.001 / Z)] {
            experiment.evidence = Some(EvidenceView { standard_error: Some(known), ..EvidenceView::default() });
            assert_eq!(standard_error(&experiment, (-0.001, 0.001)), used);
        }
    }

    #[test]
    fn noise_alone_has_no_size() {
        let nothing = size(&[(0.001, 0.001), (-0.0009, 0.001), (0.0002, 0.001)]);
        assert_eq!((nothing.size, nothing.low), (0.0, 0.0));
        assert!(nothing.high > 0.0005);
        let sure = size(&[(0.01, 0.0001), (-0.01, 0.0001)]);
        assert!((sure.size - 0.01).abs() < 1e-5 && sure.low > 0.0098 && sure.high < 0.0102, "{sure:?}");
    }

    #[test]
    fn the_interval_holds_the_true_size_about_as_often_as_it_says() {
        // A congruential generator (Knuth's), and sums of twelve as normal deviates: the same everywhere.
        let mut state = 7u64;
        let mut normal = || {
            let mut sum = -6.0;
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 11) as f64 / (1u64 << 53) as f64;
            }
            sum
        };
        for (effects, error) in
            [([0.003, -0.004, 0.002, 0.005], 0.001), ([0.0, 0.0, 0.0, 0.0], 0.001), ([0.002, 0.0, 0.0, 0.0], 0.001)]
        {
            let truth = (effects.iter().map(|e: &f64| e * e).sum::<f64>() / 4.0).sqrt();
            let (mut held, mut sum) = (0, 0.0);
            for _ in 0..2000 {
                let found = size(&effects.map(|effect| (effect + error * normal(), error)));
                held += u32::from(found.low <= truth && truth <= found.high);
                sum += found.size;
            }
            let share = f64::from(held) / 2000.0;
            assert!((0.88..=1.0).contains(&share), "{share} of the intervals hold {truth}");
            assert!((sum / 2000.0 - truth).abs() < 0.0006, "{} on average, {truth} in truth", sum / 2000.0);
        }
    }
}
