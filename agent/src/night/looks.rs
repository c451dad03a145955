//! Looking at a running trial: at each look of [`stats::early::LOOKS`], how its smoothed training loss differs from that of the
//! champion's run under the same seed.
//!
//! The losses are the trainers' word. Whoever lies about them can only end trials, and those that are left to finish as a sample show
//! how often that was wrong.

use std::sync::Arc;

use protocol::Budget;

use super::context::Context;
use super::perform::{Fault, blocking, fault, warn};
use crate::flow::{Purpose, TrialEnd};
use crate::run::{Curve, CurvePoint};
use crate::stats::curve;
use crate::stats::early::LOOKS;

/// What was seen at a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// The experiment's number.
    pub number: u32,
    /// Counted from 1.
    pub trial: u32,
    /// Which of the looks.
    pub look: usize,
    /// The trial's smoothed loss less the champion's, nats per token.
    pub curve_difference: f64,
}

/// A trial under way, with the champion's curve beside it.
#[derive(Debug)]
pub(super) struct Looks {
    number: u32,
    trial: u32,
    budget: Budget,
    /// The champion's curve; `None` while it is not known.
    champion: Option<Vec<(f64, f64)>>,
    own: Curve,
    next: usize,
    /// Looks that were passed before the champion's curve was known, with the trial's curve then.
    passed: Vec<(usize, Vec<(f64, f64)>)>,
}

impl Looks {
    /// For a trial whose champion's curve is not known yet.
    pub(super) fn new(number: u32, trial: u32, budget: Budget) -> Looks {
        Looks { number, trial, budget, champion: None, own: Curve::default(), next: 0, passed: Vec::new() }
    }

    /// Says what the champion's curve is; what is seen at the looks that were passed before.
    pub(super) fn beside(&mut self, champion: &Curve) -> Vec<Look> {
        self.champion = Some(champion.points());
        std::mem::take(&mut self.passed).iter().filter_map(|(look, own)| self.seen(*look, own)).collect()
    }

    fn seen(&self, look: usize, own: &[(f64, f64)]) -> Option<Look> {
        let curve_difference = curve::difference(own, self.champion.as_ref()?, LOOKS[look])?;
        Some(Look { number: self.number, trial: self.trial, look, curve_difference })
    }

    /// Takes a step in; what is seen at the looks that it passes. A look at which either curve has too little to say is left out.
    pub(super) fn step(&mut self, point: &CurvePoint) -> Vec<Look> {
        let Some(at) = LOOKS.get(self.next) else { return Vec::new() };
        self.own.push(self.budget, point);
        let progress = point.fraction(self.budget);
        if progress < *at {
            return Vec::new();
        }
        let own = self.own.points();
        let passed = self.next..LOOKS.iter().filter(|at| **at <= progress).count();
        self.next = passed.end;
        if self.champion.is_none() {
            self.passed.extend(passed.map(|look| (look, own.clone())));
            return Vec::new();
        }
        passed.filter_map(|look| self.seen(look, &own)).collect()
    }
}

/// The curve of the champion's newest verified search run under a seed; `None` where it has none, or the file is gone.
pub(super) async fn champions_curve(
    context: &Arc<Context>,
    champion: u32,
    seed: u64,
    era: u32,
    budget: Budget,
) -> Result<Option<Curve>, Fault> {
    let id = context.id(champion);
    let trials = context.store.trials(&id).await.map_err(|error| fault("cannot read the champion's trials")(&error))?;
    let fits = |trial: &&crate::records::TrialRecord| {
        let finished = trial.trained.as_ref().is_some_and(|trained| trained.end == TrialEnd::Finished);
        (trial.seed, trial.purpose, trial.era, trial.budget) == (seed, Purpose::Search, era, budget)
            && finished
            && trial.val_bpb().is_some()
    };
    let Some(trial) = trials.iter().rfind(fits) else { return Ok(None) };
    let path = context.layout.curve(&id, trial.ordinal);
    let read = blocking("reading the champion's curve", move || Ok(Curve::read(&path, budget))).await?;
    match read {
        Ok(curve) => Ok(Some(curve)),
        Err(error) => {
            let text =
                format!("trial {} of experiment {id} cannot be compared while it trains: {error}", trial.ordinal);
            warn(context, "train", &text).await?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget::Seconds(10.0);

    fn point(step: u64, of: u64, loss: f64) -> CurvePoint {
        CurvePoint { step, tokens: step, seconds: 10.0 * step as f64 / of as f64, loss: Some(loss) }
    }

    fn champion(steps: u64) -> Curve {
        let mut curve = Curve::default();
        (1..=steps).for_each(|step| curve.push(BUDGET, &point(step, steps, 3.0)));
        curve
    }

    fn beside(champion: &Curve) -> Looks {
        let mut looks = Looks::new(3, 1, BUDGET);
        assert_eq!(looks.beside(champion), []);
        looks
    }

    fn seen(looks: &mut Looks, steps: u64, loss: impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
        let step = |step| looks.step(&point(step, steps, loss(step as f64 / steps as f64)));
        (1..=steps).flat_map(step).map(|look| (look.look, look.curve_difference)).collect()
    }

    #[test]
    fn each_look_is_passed_once_and_in_order() {
        let mut looks = beside(&champion(400));
        let seen = seen(&mut looks, 300, |_| 3.25);
        assert_eq!(seen.iter().map(|(look, _)| *look).collect::<Vec<_>>(), (0..LOOKS.len()).collect::<Vec<_>>());
        assert!(seen.iter().all(|(_, difference)| (difference - 0.25).abs() < 1e-9), "{seen:?}");
    }

    #[test]
    fn what_comes_after_a_look_does_not_count_for_it() {
        let mut looks = beside(&champion(400));
        let seen = seen(&mut looks, 400, |progress| if progress > LOOKS[0] { 9.0 } else { 3.0 });
        assert!(seen[0].1.abs() < 1e-9 && seen[1].1 > 1.0, "{seen:?}");
    }

    /// A trial that is begun ahead may end before the champion's run under its seed is known.
    #[test]
    fn what_was_passed_before_the_champions_curve_is_known_is_seen_then() {
        let (mut at_once, mut later) = (beside(&champion(400)), Looks::new(3, 1, BUDGET));
        let loss = |progress: f64| 4.0 - progress;
        let expected = seen(&mut at_once, 300, loss);
        assert_eq!(seen(&mut later, 150, loss), [], "nothing is there to compare with");
        let mut later = Looks::new(3, 1, BUDGET);
        assert_eq!(seen(&mut later, 300, loss), []);
        let found: Vec<_> =
            later.beside(&champion(400)).iter().map(|look| (look.look, look.curve_difference)).collect();
        assert_eq!(found, expected);
        assert_eq!(later.beside(&champion(400)), [], "each is seen once");
    }

    #[test]
    fn curves_that_say_too_little_are_not_compared() {
        assert_eq!(seen(&mut beside(&champion(3)), 400, |_| 3.0), []);
        assert_eq!(seen(&mut beside(&champion(400)), 2, |_| 3.0), []);
        assert_eq!(seen(&mut beside(&Curve::default()), 400, |_| 3.0), []);
        assert_eq!(seen(&mut beside(&champion(400)), 400, |_| f64::NAN), []);
    }
}
