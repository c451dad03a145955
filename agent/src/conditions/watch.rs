//! Watches the machine around each trial of a night, and waits until a disturbance is over.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Budget;
use tokio::task::JoinHandle;

use super::Reading;
use super::judge::{Cause, Disturbance, Limits, judge, judge_pause};
use super::read::Reader;
use crate::flow::TrialEnd;
use crate::run::{StopSignal, stopped};

/// Time between two readings of a running trial: at first, and after so many of them.
const READ_EVERY: (Duration, usize, Duration) = (Duration::from_secs(5), 360, Duration::from_secs(60));

/// A reading of this age, in seconds, still tells what there was before a trial.
const FRESH_SECONDS: f64 = 1.0;

/// Of long waits that are all alike, one in so many is told: one an hour.
const TELL_EVERY: usize = 12;

/// How long is waited for a disturbance to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The first wait; each next one is twice as long.
    pub first: Duration,
    /// The longest of them.
    pub longest: Duration,
    /// All of them together, where nothing else says how long there is time to wait. A night's length: whoever begins one without a
    /// deadline does not wait for longer than that for its first figures.
    pub most: Duration,
    /// At the end of each, what the machine does is seen over so long.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(15),
            longest: Duration::from_secs(300),
            most: Duration::from_secs(12 * 3_600),
            look: Duration::from_secs(3),
        }
    }
}

impl Patience {
    /// The waits, one after the other, `most` in all.
    fn pauses(self, most: Duration) -> impl Iterator<Item = Duration> {
        let (mut next, mut left) = (self.first, most);
        std::iter::from_fn(move || {
            let pause = next.min(left);
            left -= pause;
            next = (next * 2).min(self.longest);
            (!pause.is_zero()).then_some(pause)
        })
    }
}

/// The conditions of one night.
#[derive(Debug)]
pub struct Conditions {
    reader: Reader,
    budget: Budget,
    limits: Limits,
    patience: Patience,
    known: Mutex<Known>,
}

/// What earlier trials of this process have shown.
#[derive(Debug, Default)]
struct Known {
    /// The newest reading.
    last: Option<Reading>,
    /// What disturbed the newest trial.
    disturbed: Option<Disturbance>,
    /// Causes that came again with the trial after a wait: the machine does that by itself, and every trial is the same.
    usual: HashSet<Cause>,
}

/// How a wait before a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The machine is as it should be.
    Calm,
    /// It was asked to stop.
    Stopped,
    /// It did not become so in time; why, in words.
    Never(String),
}

/// What the conditions of a trial mean for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It counts.
    Counts,
    /// It does not, and is to be run again: a fault of the machine.
    Fault(String),
    /// As [`Judged::Fault`], but what disturbed it will not go away: from now on it counts as the machine's way, and what was measured
    /// before does not compare with what comes.
    Changed(String),
}

impl Known {
    /// What is not the machine's usual way, the gravest first.
    fn unusual(&self, found: Vec<Disturbance>) -> Option<Disturbance> {
        found.into_iter().find(|found| !self.usual.contains(&found.cause))
    }

    /// What a trial's disturbances mean for it, when the trial before it had been disturbed by `earlier`. Heat that trials make themselves
    /// comes again however long one waits: the second time in a row it is taken for the machine's way, which champion and candidates share
    /// from then on; earlier trials, which ran cool, are no longer their measure.
    fn judge(&mut self, found: Vec<Disturbance>, earlier: Option<Cause>) -> Judged {
        let Some(found) = self.unusual(found) else { return Judged::Counts };
        if matches!(found.cause, Cause::HotProcessor | Cause::HotGpu) && earlier == Some(found.cause) {
            self.usual.insert(found.cause);
            let words = format!("{}; waiting did not help, so from now on trials count all the same", found.words);
            return Judged::Changed(words);
        }
        let words = found.words.clone();
        self.disturbed = Some(found);
        Judged::Fault(words)
    }
}

impl Conditions {
    /// For a night with this budget.
    pub fn new(reader: Reader, budget: Budget, limits: Limits, patience: Patience) -> Arc<Self> {
        Arc::new(Self { reader, budget, limits, patience, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before a trial until the machine is as it should be: at once where nothing speaks against it, else 15 seconds, then twice
    /// that, up to five minutes, and so on, for `most` in all; `None`: for as long as [`Patience::most`] says. `tell` hears what it waits
    /// for. A trial that was disturbed is always waited after.
    pub async fn settle(&self, stop: &mut StopSignal, most: Option<Duration>, mut tell: impl FnMut(&str)) -> Settled {
        let most = most.unwrap_or(self.patience.most);
        let disturbed = self.known().disturbed.clone();
        let mut wrong = match disturbed {
            Some(disturbed) => disturbed,
            None if !self.looks_bad().await => return Settled::Calm,
            // What was measured since the last trial looks bad; only now is worth a look of its own.
            None => match self.look(stop).await {
                Look::Stopped => return Settled::Stopped,
                Look::Calm => return Settled::Calm,
                Look::Wrong(wrong) => wrong,
            },
        };
        let mut told = None;
        for (number, pause) in self.patience.pauses(most).enumerate() {
            // The record says that it waits and how often it looks, and from then on now and then that it still does.
            if told.replace(pause) != Some(pause) || number % TELL_EVERY == 0 {
                tell(&format!("waiting {:.0} s, then looking again: {}", pause.as_secs_f64(), wrong.words));
            }
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(self.patience.look)) => {}
                () = stopped(stop) => return Settled::Stopped,
            }
            match self.look(stop).await {
                Look::Stopped => return Settled::Stopped,
                Look::Calm => return Settled::Calm,
                Look::Wrong(still) => wrong = still,
            }
        }
        Settled::Never(format!(
            "the machine was not fit for a trial for {:.0} minutes: {}",
            most.as_secs_f64() / 60.0,
            wrong.words
        ))
    }

    /// Whether anything that was measured since the last trial speaks against the machine.
    async fn looks_bad(&self) -> bool {
        let now = self.reader.read(false).await;
        let mut known = self.known();
        let last = known.last.replace(now.clone()).unwrap_or_else(|| now.clone());
        known.unusual(judge_pause(&last, &now, self.budget, &self.limits)).is_some()
    }

    /// Looks at what the machine does now.
    async fn look(&self, stop: &mut StopSignal) -> Look {
        let before = self.reader.read(false).await;
        tokio::select! {
            () = tokio::time::sleep(self.patience.look) => {}
            () = stopped(stop) => return Look::Stopped,
        }
        let after = self.reader.read(false).await;
        let mut known = self.known();
        let wrong = known.unusual(judge_pause(&before, &after, self.budget, &self.limits));
        known.last = Some(after);
        wrong.map_or(Look::Calm, Look::Wrong)
    }

    /// Begins to watch a trial's training.
    pub async fn watch(self: &Arc<Self>) -> Watch {
        self.begin(self.budget).await
    }

    /// Begins to watch an evaluation, to which only errors of the hardware matter.
    pub async fn watch_evaluation(self: &Arc<Self>) -> Watch {
        self.begin(Budget::Tokens(1)).await
    }

    async fn begin(self: &Arc<Self>, budget: Budget) -> Watch {
        let last = self.known().last.take().filter(|last| self.reader.now() - last.at < FRESH_SECONDS);
        let before = match last {
            Some(last) => last,
            None => self.reader.read(false).await,
        };
        let during = Arc::new(Mutex::new(Vec::new()));
        let (conditions, readings) = (Arc::clone(self), Arc::clone(&during));
        let task = tokio::spawn(async move {
            let (mut wait, many, later) = READ_EVERY;
            loop {
                tokio::time::sleep(wait).await;
                let reading = conditions.reader.read(true).await;
                let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
                readings.push(reading);
                if readings.len() > many {
                    wait = later;
                }
            }
        });
        Watch { conditions: Arc::clone(self), budget, before, during, task }
    }
}

/// What was found when looking at the machine.
enum Look {
    Calm,
    Wrong(Disturbance),
    Stopped,
}

/// Reads while a trial runs; reading ends with it.
#[derive(Debug)]
pub struct Watch {
    conditions: Arc<Conditions>,
    budget: Budget,
    before: Reading,
    during: Arc<Mutex<Vec<Reading>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Judges what ended so. Call it as soon as it has.
    pub async fn end(self, end: &TrialEnd) -> Judged {
        self.task.abort();
        let after = self.conditions.reader.read(false).await;
        let during = std::mem::take(&mut *self.during.lock().unwrap_or_else(PoisonError::into_inner));
        let found = judge(&self.before, &during, &after, self.budget, end, &self.conditions.limits);
        let mut known = self.conditions.known();
        known.last = Some(after);
        let earlier = known.disturbed.take().map(|earlier| earlier.cause);
        known.judge(found, earlier)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::setup::Surroundings;
    use crate::setup::testing::program;

    fn disturbance(cause: Cause) -> Disturbance {
        Disturbance { cause, words: format!("{cause:?}") }
    }

    #[test]
    fn pauses_double_and_end() {
        let patience = Patience::default();
        let half_an_hour = patience.pauses(Duration::from_secs(1_800));
        let seconds: Vec<u64> = half_an_hour.map(|pause| pause.as_secs()).collect();
        assert_eq!(seconds, [15, 30, 60, 120, 240, 300, 300, 300, 300, 135]);
        assert_eq!(patience.pauses(Duration::ZERO).count(), 0);
    }

    #[test]
    fn heat_that_comes_again_is_the_machines_way() {
        use Cause::*;
        let mut known = Known::default();
        let mut trial = |found: &[Cause]| {
            let earlier = known.disturbed.take().map(|earlier| earlier.cause);
            match known.judge(found.iter().copied().map(disturbance).collect(), earlier) {
                Judged::Counts => "counts".to_owned(),
                Judged::Changed(words) => format!("changed {}", words.split(';').next().unwrap_or_default()),
                Judged::Fault(words) => format!("fault {words}"),
            }
        };
        for (found, judged) in [
            (&[][..], "counts"),
            (&[HotGpu], "fault HotGpu"),
            // A calm trial between them: it was the weather.
            (&[], "counts"),
            (&[HotGpu], "fault HotGpu"),
            (&[HotGpu], "changed HotGpu"),
            (&[HotGpu], "counts"),
            // What is usual hides nothing else.
            (&[HotGpu, ForeignLoad], "fault ForeignLoad"),
            (&[ForeignLoad], "fault ForeignLoad"),
            (&[ForeignLoad], "fault ForeignLoad"),
            (&[HotProcessor], "fault HotProcessor"),
            (&[HotProcessor], "changed HotProcessor"),
            (&[GpuHardware], "fault GpuHardware"),
            (&[GpuHardware], "fault GpuHardware"),
        ] {
            assert_eq!(trial(found), judged, "{found:?}");
        }
    }

    /// Waits of no length, on a machine whose `nvidia-smi` is this script.
    fn conditions(folder: &std::path::Path, script: &str) -> Arc<Conditions> {
        program(folder, "nvidia-smi", script);
        let surroundings = Surroundings { path: folder.as_os_str().to_owned(), ..Surroundings::default() };
        let limits = Limits { most_foreign_load: 0.25, cores: 1.0, pinned: false, memory_bytes: None };
        let milli = Duration::from_millis(1);
        let patience = Patience { first: milli, longest: 2 * milli, most: 20 * milli, look: Duration::ZERO };
        Conditions::new(Reader::new(surroundings, Some("0".to_owned())), Budget::Seconds(20.0), limits, patience)
    }

    const CALM: &str = "case $1 in --query-gpu=*) echo '0, GPU-1, 00000000:01:00.0, Disabled, 0x4, 2';; esac";

    /// A stranger computes for so many questions.
    fn stranger(folder: &std::path::Path, questions: usize) -> String {
        let count = folder.join("count").display().to_string();
        format!(
            "case $1 in --query-gpu=*) echo '0, GPU-1, 00000000:01:00.0, Disabled, 0x4, 2';;\n\
             *) echo x >>{count}; test $(wc -l <{count}) -le {questions} && echo 'GPU-1, 4000000, 10, python'; true;; esac"
        )
    }

    fn told(tell: &Cell<usize>) -> impl FnMut(&str) {
        |words| {
            assert!(words.starts_with("waiting") && words.contains("python"), "{words}");
            tell.set(tell.get() + 1);
        }
    }

    #[tokio::test]
    async fn a_disturbance_is_waited_out() {
        // The script calls its tools by name; the shell's own PATH has them.
        let folder = tempfile::tempdir().unwrap();
        let script = format!("PATH=/usr/bin:/bin\n{}", stranger(folder.path(), 5));
        let (_, mut stop) = tokio::sync::watch::channel(false);
        let (tell, conditions) = (Cell::new(0), conditions(folder.path(), &script));
        assert_eq!(conditions.settle(&mut stop, None, told(&tell)).await, Settled::Calm);
        assert!(tell.get() >= 1);
        assert_eq!(conditions.watch().await.end(&TrialEnd::Finished).await, Judged::Counts);
    }

    #[tokio::test]
    async fn what_never_ends_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("PATH=/usr/bin:/bin\n{}", stranger(folder.path(), 1_000_000));
        let (_, mut stop) = tokio::sync::watch::channel(false);
        let conditions = conditions(folder.path(), &script);
        // As long as there is time, and no longer.
        for (most, told) in [(None, 2..=3), (Some(Duration::from_millis(60)), 3..=5), (Some(Duration::ZERO), 0..=0)] {
            let tell = Cell::new(0);
            let settled = conditions.settle(&mut stop, most, self::told(&tell)).await;
            assert!(matches!(&settled, Settled::Never(words) if words.contains("python")), "{settled:?}");
            assert!(told.contains(&tell.get()), "{} for {most:?}", tell.get());
        }
        let judged = conditions.watch().await.end(&TrialEnd::Finished).await;
        assert!(matches!(&judged, Judged::Fault(words) if words.contains("4000000")), "{judged:?}");
        // An evaluation does not mind.
        assert_eq!(conditions.watch_evaluation().await.end(&TrialEnd::Finished).await, Judged::Counts);
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_night_does() {
        let folder = tempfile::tempdir().unwrap();
        let conditions = conditions(folder.path(), CALM);
        let (stopper, mut stop) = tokio::sync::watch::channel(false);
        assert_eq!(conditions.settle(&mut stop, None, |_| {}).await, Settled::Calm);
        conditions.known().disturbed = Some(disturbance(Cause::ForeignLoad));
        stopper.send(true).unwrap();
        assert_eq!(conditions.settle(&mut stop, None, |_| {}).await, Settled::Stopped);
    }
}
