//! The champion's own runs: under the seeds that candidates are to be compared under, and one of them again now and then, to see
//! whether the machine is still the same. When it is not, a new *era* begins, whose runs are not compared with older ones.

use super::testing::Testing;
use super::trial::{Role, Shown, Trial};
use super::{Machine, Phase};
use crate::night::messages::{Effect, Ending, Settled};
use crate::stats;
use crate::stats::Run;
use crate::stats::decide;
use crate::stats::race::SEARCH_SEEDS;

/// Trials of the champion in a row that may fail before it is no measure any more.
const FAILURES_BEFORE_GIVING_UP: u32 = 2;

/// A repetition is off when it differs by more than so many standard deviations of a paired difference. Two runs of one commit
/// under one seed differ by less than those of two commits, so normal runs show this by chance less than once in ten thousand times where
/// the noise is known well, and somewhat oftener while it is not: a repetition too many is all that it costs then.
const FAR_OFF: f64 = 4.0;

/// A repetition is off when it did fewer steps than this share of the first, or the first fewer than this share of it. Under a
/// budget of tokens they are always the same.
const LEAST_SHARE_OF_STEPS: f64 = 0.85;

/// What the champion has shown in this era.
#[derive(Debug, Clone, Default)]
pub(super) struct Reign {
    /// One run a seed, on the search text.
    pub runs: Vec<Run>,
    /// Steps of each, by the trainer's word; they decide no verdict, only whether the champion is measured again.
    pub steps: Vec<u64>,
    /// Seeds under which it failed.
    pub failed: Vec<u32>,
    /// Failures in a row.
    pub failures: u32,
    /// How often it was repeated.
    pub repetitions: usize,
    /// Where its last run was so far from what all others let expect that it is to be repeated next: the sd of a pair before that run,
    /// which makes the noise look larger than it is if the machine has changed.
    pub doubted: Option<f64>,
}

impl Reign {
    pub fn new(runs: Vec<Run>, steps: Vec<u64>) -> Self {
        Self { runs, steps, ..Self::default() }
    }

    pub fn has_run(&self, seed: u32) -> bool {
        self.runs.iter().any(|run| run.seed == seed)
    }

    pub fn fails_under(&self, seed: u32) -> bool {
        self.failed.contains(&seed)
    }

    /// A seed that it has not had: one of the candidate's where there is one, so that the two are paired.
    pub fn next_seed(&self, candidate: &[Run]) -> Option<u32> {
        let theirs = candidate.iter().map(|run| run.seed);
        theirs.chain(0..SEARCH_SEEDS).find(|seed| !self.has_run(*seed) && !self.fails_under(*seed))
    }

    /// A seed that it has had, another each time; in doubt the oldest, which is the likeliest to be of before a change. The run that raised
    /// the doubt is the last, and repeating it would show nothing.
    fn seed_to_repeat(&self) -> Option<u32> {
        let doubted = self.doubted.and(self.runs.last()).map(|run| run.seed);
        let usable = |seed: &u32| !self.fails_under(*seed) && Some(*seed) != doubted;
        let usable: Vec<u32> = self.runs.iter().map(|run| run.seed).filter(usable).collect();
        let next = if doubted.is_some() { 0 } else { self.repetitions };
        (!usable.is_empty()).then(|| usable[next % usable.len()])
    }
}

/// Mean of runs, bits per byte.
pub(super) fn mean(runs: &[Run]) -> Option<f64> {
    (!runs.is_empty()).then(|| runs.iter().map(|run| run.val_bpb).sum::<f64>() / runs.len() as f64)
}

/// How a night ends in which a commit that it builds on turned out to break a rule.
pub(super) fn unmasked(number: u32, seed: u32, words: &str) -> Ending {
    if number == 0 {
        return Ending::BadStart(format!(
            "it was rejected under seed {seed}, {words}: nothing is claimed by this night"
        ));
    }
    Ending::ChampionInvalid(format!(
        "the champion, experiment {number}, was rejected as invalid when it ran under seed {seed}: {words}. Its verdict of kept \
         stays on record and does not hold, nor does anything that was kept on top of it or claimed of it in this night"
    ))
}

/// Why a repetition under one seed shows that the machine has changed; `None`: it does not. Values in bits per byte.
fn drift(first: (f64, u64), again: (f64, u64), pair_sd: f64) -> Option<String> {
    let (difference, bound) = (again.0 - first.0, FAR_OFF * pair_sd);
    if difference.abs() > bound {
        return Some(format!("{difference:+.5} bits per byte from what it had been, beyond {bound:.5}"));
    }
    slower(first.1, again.1)
}

/// Whether the same commit did so many steps more or fewer that the machine is another.
fn slower(first: u64, again: u64) -> Option<String> {
    let (least, most) = (first.min(again) as f64, first.max(again) as f64);
    (least < LEAST_SHARE_OF_STEPS * most)
        .then(|| format!("{again} steps of training in the time in which it had done {first}"))
}

impl Machine {
    /// The night's first trial; settles it where an earlier part of the night had measured it and not recorded that.
    pub(super) fn measure_baseline(&mut self, effects: &mut Vec<Effect>) {
        if self.reign.runs.is_empty() {
            self.try_out(Role::Champion, 0, effects);
        } else {
            self.settle_baseline(effects);
        }
    }

    fn settle_baseline(&mut self, effects: &mut Vec<Effect>) {
        let Some(val_bpb) = self.champion.val_bpb else { return };
        self.testing = Testing::Settling { number: 0, verdict: crate::flow::Verdict::Kept, finding: None };
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number: 0,
                proposal: None,
                candidate: Some(self.baseline.candidate().clone()),
                untried: None,
                attempts: Vec::new(),
                decision: stats::night_start(val_bpb),
                val_bpb: Some(val_bpb),
                without: None,
            }),
        });
    }

    /// Repeats a seed of the champion's where its last run raised a doubt; whether that has begun.
    pub(super) fn settle_doubt(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Some(seed) = self.reign.doubted.and_then(|_| self.reign.seed_to_repeat()) else { return false };
        self.try_out(Role::DriftWatch, seed, effects);
        true
    }

    /// Begins a trial of the champion's that the night wants between experiments; whether one has begun.
    pub(super) fn watch_champion(&mut self, effects: &mut Vec<Effect>) -> bool {
        // Noise first: the night's start runs under its seeds before anything is compared with it.
        let first = self.champion.number == 0 && self.era == 0;
        if first
            && self.reign.runs.len() < self.rules.champion_seeds as usize
            && let Some(seed) = self.reign.next_seed(&[])
        {
            self.try_out(Role::Champion, seed, effects);
            return true;
        }
        let due = self.rules.drift_every > 0
            && (self.since_drift_watch >= f64::from(self.rules.drift_every) || self.reign.doubted.is_some());
        // Where a run under a fresh seed shows as well whether the machine is the same, it tells of the champion too. What looks off
        // is repeated: that alone begins an era.
        if due
            && self.reign.doubted.is_none()
            && let Some(seed) = decide::fresh_watch(&self.known()).filter(|seed| !self.reign.fails_under(*seed))
        {
            self.try_out(Role::Champion, seed, effects);
            return true;
        }
        if due && let Some(seed) = self.reign.seed_to_repeat() {
            self.try_out(Role::DriftWatch, seed, effects);
            return true;
        }
        false
    }

    /// The champion was measured under a seed that it had not had.
    pub(super) fn champion_ran(&mut self, trial: &Trial, shown: Shown, effects: &mut Vec<Effect>) {
        let (seed, val_bpb) = (trial.seed, shown.val_bpb);
        let own = (self.champion.number, self.champion.number);
        self.doubt(seed, (val_bpb, trial.steps), effects);
        self.since_drift_watch = 0.0;
        self.knowledge.ran(&self.rules, own, self.era, seed, val_bpb);
        let run = Run { seed, val_bpb, era: self.era, documents: shown.documents };
        self.reference.champion_ran(run.clone());
        self.reign.runs.push(run);
        self.reign.steps.push(trial.steps);
        self.reign.failures = 0;
        self.champion.val_bpb = mean(&self.reign.runs);
        if !self.baseline_settled {
            self.settle_baseline(effects);
        }
    }

    /// Whether a run under a fresh seed is so far from what is expected that the machine may have changed. While the night's start is
    /// measured too little is known for that.
    fn doubt(&mut self, seed: u32, (val_bpb, steps): (f64, u64), effects: &mut Vec<Effect>) {
        let started = self.champion.number > 0 || self.reign.runs.len() >= self.rules.champion_seeds as usize;
        if !started || self.rules.drift_every == 0 || self.reign.runs.is_empty() {
            return;
        }
        let first = self.reign.steps.first().copied().unwrap_or(steps);
        let why = decide::unexpected(&self.known(), seed, val_bpb).or_else(|| slower(first, steps));
        let Some(why) = why else { return };
        self.reign.doubted = Some(self.knowledge.noise.pair_sd());
        effects.push(Effect::Warn {
            text: format!("the champion, run under another seed, came out with {why}; it repeats a seed that it has had, to see whether the machine has changed"),
        });
    }

    /// The champion has repeated a seed. The repetition itself is no run: what training does anew under one seed is not what it
    /// would do under another.
    pub(super) fn watch_drift(&mut self, seed: u32, val_bpb: f64, steps: u64, effects: &mut Vec<Effect>) {
        self.since_drift_watch = 0.0;
        let pair_sd = self.knowledge.noise.pair_sd();
        let pair_sd = self.reign.doubted.take().map_or(pair_sd, |before| before.min(pair_sd));
        self.reign.failures = 0;
        self.reign.repetitions += 1;
        let Some(at) = self.reign.runs.iter().position(|run| run.seed == seed) else { return };
        let first = (self.reign.runs[at].val_bpb, self.reign.steps.get(at).copied().unwrap_or(steps));
        let Some(why) = drift(first, (val_bpb, steps), pair_sd) else { return };
        let why = format!("the champion, run again under a seed that it had had, came out with {why}");
        self.begin_era(&why, effects);
    }

    /// The machine was seen to have changed for good. Where this era has no run yet there is nothing that would not compare.
    pub(super) fn changed(&mut self, why: &str, effects: &mut Vec<Effect>) {
        // Those before belong to what has been settled with.
        self.faults = 0;
        if self.reign.runs.is_empty() {
            effects.push(Effect::Warn { text: format!("the machine is not as it should be: {why}") });
        } else {
            self.begin_era(why, effects);
        }
    }

    pub(super) fn begin_era(&mut self, why: &str, effects: &mut Vec<Effect>) {
        self.era += 1;
        self.reign = Reign::default();
        self.reference.forget();
        effects.push(Effect::Warn {
            text: format!(
                "the machine seems to have changed: {why}; the champion is measured anew and earlier runs are not compared with \
                 later ones"
            ),
        });
    }

    /// Whether the night's champion or its start, measured before, has this number.
    pub(super) fn builds_on(&self, number: u32) -> bool {
        self.baseline_settled && (number == 0 || number == self.champion.number)
    }

    /// What the night builds on broke a rule under another seed. Under which of them it had cheated unseen cannot be told, so that
    /// the night ends and claims nothing.
    pub(super) fn unmask(&mut self, trial: &Trial, words: &str, effects: &mut Vec<Effect>) {
        let number = trial.launch.number;
        let ending = unmasked(number, trial.seed, words);
        if let Ending::ChampionInvalid(text) | Ending::BadStart(text) = &ending {
            if number > 0 {
                effects.push(Effect::Conclude { number, words: text.clone() });
            }
            let who = if number == 0 { "the night's start: " } else { "" };
            let claimed = matches!(&self.phase, Phase::Morning(morning) if morning.claimed);
            let claim =
                if claimed { "its claim is withdrawn and the night ends" } else { "the night ends without a claim" };
            effects.push(Effect::Warn { text: format!("{who}{text}; {claim}") });
            self.cheat = Some((number, format!("{who}{text}")));
        }
        self.unmasked = Some(ending);
    }

    /// The champion, which had been vouched for, failed under another seed.
    pub(super) fn champion_failed(&mut self, trial: &Trial, words: &str, effects: &mut Vec<Effect>) {
        let number = self.champion.number;
        if trial.role == Role::DriftWatch {
            self.since_drift_watch = 0.0;
            self.reign.doubted = None;
        }
        self.reign.failed.push(trial.seed);
        self.reign.failures += 1;
        let who =
            if number == 0 { "the night's start".to_owned() } else { format!("the champion, experiment {number},") };
        if self.reign.failures < FAILURES_BEFORE_GIVING_UP {
            let text = format!("{who} failed in trial {} under another seed: {words}", trial.ordinal);
            effects.push(Effect::Warn { text });
            return;
        }
        let why = format!("{who} failed under {} seeds in a row, the last time: {words}", self.reign.failures);
        let ending = if number == 0 { Ending::BadStart(why) } else { Ending::MachineFaults(why) };
        self.finish(ending, effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Rules;
    use crate::stats::noise::Noise;

    #[test]
    fn only_what_noise_does_not_explain_is_drift() {
        let noise = Noise::expected(&Rules { expected_run_sd: 0.001, ..Rules::default() });
        let far = FAR_OFF * noise.pair_sd();
        for (first, again, drifted) in [
            ((1.0, 100), (1.0, 100), false),
            ((1.0, 100), (1.0 + 0.9 * far, 100), false),
            ((1.0, 100), (1.0 + 1.1 * far, 100), true),
            ((1.0, 100), (1.0 - 1.1 * far, 100), true),
            ((1.0, 100), (1.0, 90), false),
            ((1.0, 100), (1.0, 80), true),
            ((1.0, 80), (1.0, 100), true),
            // A trainer that counts no steps.
            ((1.0, 0), (1.0, 0), false),
        ] {
            assert_eq!(drift(first, again, noise.pair_sd()).is_some(), drifted, "{first:?} {again:?}");
        }
    }
}
