//! What becomes of an experiment: verdicts as often as real nights of a toy see them, and the figures and words behind them.

use nocturne::flow::{Decision, Evidence, Verdict};

use crate::chance::Chance;

/// Bits per byte by which two runs under one seed differ for no reason.
const PAIR_SD: f64 = 0.011;
/// Bits per byte by which two runs differ under different seeds.
const RUN_SD: f64 = 0.022;
/// The least improvement worth having.
const LEAST: f64 = 0.002;
/// How trainers end by themselves.
const LAST_WORDS: [&str; 3] = [
    "exit status 101: the loss was not a number at step 17",
    "killed by signal 9",
    "exit status 101: shapes do not match",
];
/// Name of the rule, as the program has it.
const RULE: &str = "race/6";

/// What is going to happen to an experiment.
pub enum Fate {
    /// The compiler refuses it to the end.
    Unbuildable,
    /// Its first trial ends by itself, with these last words.
    Crashed(&'static str),
    /// The evaluator does not vouch for its first trial.
    Invalid,
    /// Its first trial is stopped because its curve is hopeless.
    StoppedEarly(f64),
    /// It is measured by so many trials, with this difference from its champion.
    Measured {
        /// Trials.
        trials: u32,
        /// Bits per byte, negative is better.
        difference: f64,
    },
}

/// Draws a fate. `room` is what is left to be gained of what there was at the night's start, 0 to 1.
pub fn draw(chance: &mut Chance, room: f64) -> Fate {
    let kind = chance.uniform();
    if kind < 0.04 {
        return Fate::Unbuildable;
    }
    if kind < 0.07 {
        return Fate::Crashed(LAST_WORDS[chance.below(LAST_WORDS.len())]);
    }
    if kind < 0.09 {
        return Fate::Invalid;
    }
    let difference = 0.012 + 0.018 * chance.normal();
    let difference = if difference < 0.0 { room * difference } else { difference };
    if difference > 0.045 {
        return Fate::StoppedEarly(difference);
    }
    // What is clearly worse is dropped after one trial; what may be better is tried again.
    let trials = if difference > 0.012 { 1 } else { 2 + u32::from(difference.abs() < 0.012) };
    Fate::Measured { trials, difference: difference + 0.5 * PAIR_SD * chance.normal() / f64::from(trials).sqrt() }
}

impl Fate {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        match self {
            Fate::Unbuildable => Verdict::Unbuildable,
            Fate::Crashed(_) => Verdict::Crashed,
            Fate::Invalid => Verdict::Invalid,
            Fate::StoppedEarly(_) => Verdict::Discarded,
            Fate::Measured { trials, difference } => {
                let error = PAIR_SD / f64::from(*trials).sqrt();
                match difference {
                    better if *better < -LEAST - 1.3 * error => Verdict::Kept,
                    worse if *worse > 0.0 => Verdict::Discarded,
                    _ => Verdict::Inconclusive,
                }
            }
        }
    }

    /// Trials that it has.
    pub fn trials(&self) -> u32 {
        match self {
            Fate::Unbuildable => 0,
            Fate::Crashed(_) | Fate::Invalid | Fate::StoppedEarly(_) => 1,
            Fate::Measured { trials, .. } => *trials,
        }
    }

    /// The decision.
    pub fn decision(&self) -> Decision {
        let decision = |difference, interval, trials, reason: String, evidence| Decision {
            verdict: self.verdict(),
            difference,
            interval,
            trials,
            rule: RULE.to_owned(),
            reason,
            evidence,
        };
        match self {
            Fate::Unbuildable => {
                decision(None, None, 0, "the compiler refused it and two repairs: error[E0308]: mismatched types".to_owned(), None)
            }
            Fate::Crashed(words) => decision(None, None, 0, format!("the trainer ended by itself ({words})"), None),
            Fate::Invalid => decision(
                None,
                None,
                0,
                "the evaluator does not vouch for it (audit-largest): a claim of 0.0021 nats where the audit found 4.7120".to_owned(),
                None,
            ),
            Fate::StoppedEarly(forecast) => {
                let reason = format!("stopped early: its curve foretold {forecast:+.5} bits per byte at a third of the budget");
                let evidence = evidence(*forecast, 1, vec![reason.clone()], Some(*forecast));
                decision(None, None, 0, reason, Some(Box::new(evidence)))
            }
            Fate::Measured { trials, difference } => {
                let story: Vec<String> = (1..=*trials).map(|trial| self.line(*difference, trial, trial == *trials)).collect();
                let reason = story.last().cloned().unwrap_or_default();
                let half = 2.2 * PAIR_SD / f64::from(*trials).sqrt();
                let interval = Some((difference - half, difference + half));
                decision(Some(*difference), interval, *trials, reason, Some(Box::new(evidence(*difference, *trials, story, None))))
            }
        }
    }

    /// A line of the story, as the rule writes it.
    fn line(&self, difference: f64, trial: u32, last: bool) -> String {
        let end = match (last, self.verdict()) {
            (false, _) => "promising, another trial",
            (true, Verdict::Kept) => "kept",
            (true, _) => "dropped, another trial does not pay",
        };
        let error = PAIR_SD / f64::from(trial).sqrt();
        let plural = if trial == 1 { "" } else { "s" };
        format!(
            "{trial} trial{plural}: {difference:+.5} +/- {error:.5} bits per byte against the champion's 4 ({trial} under the same seed); \
             with all other runs of the night {:.0} % probable to be better by {LEAST:.5} or more, {:+.5} to be expected: {end}",
            100.0 * probability(difference, error),
            0.6 * difference
        )
    }
}

fn evidence(difference: f64, trials: u32, story: Vec<String>, forecast: Option<f64>) -> Evidence {
    let error = PAIR_SD / f64::from(trials).sqrt();
    let expected = 0.6 * difference;
    Evidence {
        standard_error: error,
        degrees: 3.0 + f64::from(trials),
        probability: probability(difference, error),
        expected,
        expected_interval: (expected - 1.7 * error, expected + 1.7 * error),
        least_effect: LEAST,
        run_sd: RUN_SD,
        pair_sd: PAIR_SD,
        near_miss: difference < 0.0 && difference > -0.012,
        story,
        forecast,
    }
}

/// Roughly the normal probability of being better than the least effect; nothing is decided by it here.
fn probability(difference: f64, error: f64) -> f64 {
    1.0 / (1.0 + (1.7 * (difference + LEAST) / error).exp())
}

/// Bits per byte by which a run's seed moves it.
pub fn of_seed(chance: &mut Chance) -> f64 {
    RUN_SD * chance.normal()
}
