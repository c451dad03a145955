//! The morning of a night: the claim of its last champion, what it has to take back, its end.

use jiff::Timestamp;
use nocturne::flow::Purpose;
use nocturne::records::{
    ClaimRecord, FILE_VERSION, HeldOut, Level, LookRecord, NightEnd, NightEnding, NightFile, WithdrawalRecord,
};
use nocturne::repo::champion_name;

use super::{Making, Night, START_TRIALS};
use crate::trials::Course;
use crate::{files, repository};

/// Pairs of the morning.
const PAIRS: u32 = 4;
/// Every so many nights, what was kept last turns out to have broken a rule.
const WITHDRAWN_EVERY: u32 = 9;

impl Making<'_> {
    /// The claim of the last champion, the night's end, and the files of the night as a whole.
    pub(super) fn morning(mut self) -> Result<Night, String> {
        let kept: Vec<u32> = self.champions.iter().skip(1).map(|champion| champion.experiment).collect();
        let (start, first_at) = (self.night.start_commit.clone(), self.night.started_at);
        let mut claim = None;
        if let Some(last) = kept.last().copied() {
            let gain = self.level - self.start_level;
            for pair in 0..PAIRS {
                for (number, trials, level) in [(0, START_TRIALS, self.start_level), (last, self.trials, self.level)] {
                    let seed = 8 + pair;
                    let course = Course::Verified(self.run(level, seed));
                    let artifact = self.artifact.clone();
                    self.trial(number, trials + 1 + pair, seed, &artifact, course, Purpose::Morning)?;
                }
            }
            let holds = gain < -0.02;
            let p_value = if holds { 0.003 } else { 0.08 };
            let words = format!(
                "{gain:+.5} bits per byte (95 % {:+.5} to {:+.5}, p = {p_value}, {PAIRS} pairs): {}",
                gain - 0.012,
                gain + 0.012,
                if holds { "the champion is better than the night's start" } else { "not shown" }
            );
            self.journal.event(self.clock.now(), Level::Info, "claim", format!("morning: champion #{last}: {words}"));
            claim = Some(ClaimRecord {
                start: start.clone(),
                champion: self.champion().clone(),
                pairs: PAIRS,
                difference: Some(gain),
                interval: Some((gain - 0.012, gain + 0.012)),
                p_value: Some(p_value),
                holds,
                words,
                at: self.clock.now(),
            });
        }
        let found = kept.last().filter(|_| self.size.index % WITHDRAWN_EVERY == WITHDRAWN_EVERY - 1);
        let withdrawal = found.map(|experiment| WithdrawalRecord {
            experiment: *experiment,
            words: format!("experiment {experiment} broke a rule under another seed: audit-largest, 4.71 nats"),
            at: self.clock.now(),
        });
        let stands = |number: &u32| withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.spares(*number));
        let champion = self.champions.iter().rev().find(|champion| stands(&champion.experiment));
        let champion = champion.map_or(&start, |champion| &champion.commit).clone();
        repository::branch(&self.git, &champion_name(&self.campaign, &self.id), &champion)?;

        let ended_at = self.clock.pass(1.0);
        let mut looks = vec![look(HeldOut::Search, "decisions", self.evaluations, first_at, ended_at)];
        looks.extend(claim.as_ref().map(|_| look(HeldOut::Sealed, "the claim", 2 * PAIRS, first_at, ended_at)));
        let detail = String::new();
        self.night.end = Some(NightEnd { at: ended_at, how: NightEnding::ExperimentsDone, detail });
        let kept = kept.into_iter().filter(stands).map(|number| self.experiment_id(number)).collect();
        self.journal.write(self.layout, &self.id)?;
        let file = NightFile {
            version: FILE_VERSION,
            night: self.night,
            champions: self.champions,
            skips: self.skips,
            claim,
            withdrawal,
            looks,
        };
        files::json(&self.layout.night_file(&self.id), &file)?;
        Ok(Night { id: self.id, kept, ended_at, points: self.points })
    }
}

fn look(part: HeldOut, what_for: &str, evaluations: u32, first_at: Timestamp, last_at: Timestamp) -> LookRecord {
    LookRecord { part, what_for: what_for.to_owned(), evaluations: evaluations.max(1), first_at, last_at }
}
