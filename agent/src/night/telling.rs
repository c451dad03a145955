//! What the driver tells people and the records of what happens. Nothing is decided by it.

use std::time::Duration;

use serde_json::json;

use super::driver::{Driver, DriverError};
use super::journal::{CHANGED, CONCLUDE, LOOK, MORNING, TRIAL_FAULT};
use super::looks::Look;
use super::messages::{Champion, Ending, Event, Launch, Settled};
use super::perform::Fault;
use super::settle;
use crate::flow::{Purpose, TrialEnd, Verdict};
use crate::records::{Level, NightEnding};
use crate::stats::claim::Claim;
use crate::terminal::{Current, Notice, Stage};

impl Driver<'_> {
    /// Tells people, and the records, what is worth a line.
    pub(super) async fn tell(&mut self, event: &Event) -> Result<(), DriverError> {
        match event {
            Event::Refused(refusal) => self.record(Level::Debug, "edit", &format!("{refusal:?}")).await,
            Event::Built { number, result } => {
                if let Some((next, what)) = &mut self.view.next
                    && next == number
                {
                    if result.is_ok() { "built" } else { "does not compile" }.clone_into(what);
                }
                match result {
                    Ok(_) => Ok(()),
                    Err(failure) => {
                        let text = format!("experiment {number}: {} compiler errors", failure.error_count);
                        self.record(Level::Info, "build", &text).await
                    }
                }
            }
            Event::SmokeTested { number, failed, .. } => {
                if let Some((next, what)) = &mut self.view.next
                    && next == number
                {
                    if failed.is_none() { "ready" } else { "fails" }.clone_into(what);
                }
                match failed {
                    None => Ok(()),
                    Some(words) => self.record(Level::Info, "smoke", &format!("experiment {number}: {words}")).await,
                }
            }
            Event::Trained(trained) => match &trained.end {
                TrialEnd::MachineFault { message } => self.warn("train", message).await,
                _ => Ok(()),
            },
            // Until another trial begins nothing is being tested, however long somebody is asked for an idea.
            Event::Evaluated(_) => {
                self.view.current = None;
                Ok(())
            }
            Event::MakingFault { what, .. } => self.warn("make", what).await,
            Event::TrialFault(what) => self.warn("evaluate", what).await,
            Event::NotBegun(why) => self.warn("conditions", why).await,
            Event::Fault(what) => self.warn("night", what).await,
            Event::Stop { at_once: false } => {
                self.view.stopping = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn told_settled(&mut self, settled: &Settled) -> Result<(), DriverError> {
        let decision = &settled.decision;
        if settled.number == 0 {
            self.view.baseline = settled.val_bpb;
        }
        if decision.verdict == Verdict::Kept {
            self.view.best = settled.val_bpb;
        }
        if self.view.current.as_ref().is_some_and(|current| current.number == settled.number) {
            self.view.current = None;
        }
        let title = settled.proposal.as_ref().map_or("baseline", |proposal| proposal.title.as_str());
        self.watcher.notice(&Notice::Verdict {
            number: settled.number,
            title: title.to_owned(),
            verdict: decision.verdict,
            val_bpb: settled.val_bpb,
            difference: decision.difference,
            interval: decision.interval,
            trials: decision.trials,
            reason: decision.reason.clone(),
        });
        let text = format!("experiment {} ({title}): {}: {}", settled.number, decision.verdict, decision.reason);
        self.record(Level::Info, "decision", &text).await
    }

    /// What was concluded after a trial stands in the journal too, with the trial's number: a night that is gone on with takes up
    /// its story from there.
    pub(super) async fn concluded(&mut self, number: u32, words: &str) -> Result<(), DriverError> {
        let trials = self.context.store.trials(&self.context.id(number)).await?;
        let trial = trials.last().map(|trial| trial.ordinal);
        let payload = json!({ "number": number, "trial": trial, "words": words });
        let key = self.journal(&format!("conclude/{number}"), CONCLUDE, payload).await?;
        self.watcher.notice(&Notice::Stage { text: format!("#{number} {words}") });
        self.record(Level::Info, "decision", &format!("experiment {number}: {words}")).await?;
        self.end(&key, "concluded").await
    }

    /// What a look at the trial in flight showed is on record before the machine hears of it: a night that is gone on with learns from
    /// it once more.
    pub(super) async fn looked(&mut self, look: Look) -> Result<(), DriverError> {
        let Look { number, trial, look, curve_difference } = look;
        let payload = json!({ "number": number, "trial": trial, "look": look, "difference": curve_difference });
        let key = self.journal(&format!("look/{number}/{trial}/{look}"), LOOK, payload).await?;
        self.end(&key, "look").await
    }

    /// As [`Self::looked`], that the machine has changed for good while a trial ran.
    pub(super) async fn changed(&mut self, number: u32, trial: u32, why: &str) -> Result<(), DriverError> {
        let payload = json!({ "number": number, "trial": trial, "words": why });
        let key = self.journal(&format!("changed/{number}/{trial}"), CHANGED, payload).await?;
        self.end(&key, "changed").await
    }

    /// Writes down why the search has ended, once.
    pub(super) async fn note_morning(&mut self) -> Result<(), DriverError> {
        if self.morning_noted {
            return Ok(());
        }
        let Some((how, _)) = self.machine.search_ended().and_then(recorded) else { return Ok(()) };
        self.morning_noted = true;
        // The morning looks for nothing new.
        self.context.asking.stop();
        let key = self.journal("morning", MORNING, json!({ "ending": how.name() })).await?;
        self.end(&key, "the search has ended").await
    }

    /// Takes back what broke a rule, once; again in a night that goes on after it was cut off in between.
    pub(super) async fn withdraw(&mut self) -> Result<Result<(), Fault>, DriverError> {
        let Some((number, words)) = self.machine.cheat().filter(|_| !self.withdrawn) else { return Ok(Ok(())) };
        let words = words.to_owned();
        self.withdrawn = true;
        let key = self.journal(&format!("withdraw/{number}"), "withdraw", json!({ "words": words })).await?;
        let done = settle::withdraw(&self.context, number, &words).await;
        self.end(&key, if done.is_ok() { "withdrawn" } else { "fault" }).await?;
        Ok(done)
    }

    pub(super) async fn told_claim(&mut self, claim: &Claim, champion: &Champion) -> Result<(), DriverError> {
        let text = format!("morning: champion #{} against the night's start: {}", champion.number, claim.words);
        self.watcher.notice(&Notice::Stage { text: text.clone() });
        self.record(Level::Info, "claim", &text).await
    }

    pub(super) async fn warn(&mut self, stage: &str, text: &str) -> Result<(), DriverError> {
        self.watcher.notice(&Notice::Warning { text: text.to_owned() });
        self.record(Level::Warning, stage, text).await
    }

    pub(super) async fn record(&self, level: Level, stage: &str, text: &str) -> Result<(), DriverError> {
        Ok(self.context.store.event(&self.context.night.id, level, stage, text).await?)
    }

    pub(super) fn show(&mut self) {
        let now = self.now();
        self.view.time_left = self.deadline.map(|deadline| Duration::from_secs_f64((deadline - now).max(0.0)));
        self.watcher.update(&self.view);
    }
}

pub(super) fn current(number: u32, title: &str, stage: Stage) -> Current {
    Current { number, title: title.to_owned(), stage, progress: None, loss: None }
}

/// An event in a word, for the journal.
pub(super) fn summary(event: &Event) -> &'static str {
    match event {
        Event::Begin => "begin",
        Event::Proposed(Some(_)) => "proposed",
        Event::Proposed(None) => "nothing to propose",
        Event::Committed { .. } => "committed",
        Event::Refused(_) => "refused",
        Event::Built { result: Ok(_), .. } => "built",
        Event::Built { result: Err(_), .. } => "not built",
        Event::SmokeTested { failed: None, .. } => "nothing wrong was seen",
        Event::SmokeTested { failed: Some(_), .. } => "failed its smoke test",
        Event::Look { .. } => "look",
        Event::Changed(_) => "changed",
        Event::Trained(_) => "trained",
        Event::Evaluated(Ok(_)) => "verified",
        Event::Evaluated(Err(_)) => "rejected",
        Event::Settled { .. } => "settled",
        Event::Claimed => "claimed",
        Event::TrialFault(_) => TRIAL_FAULT,
        Event::NotBegun(_) => "not begun",
        Event::MakingFault { .. } => "making fault",
        Event::Tick => "tick",
        Event::Fault(_) => "fault",
        Event::Stop { .. } => "stopped",
    }
}

/// The machine's ending in the records' words; `None` leaves the night to be gone on with, once the machine is mended.
pub(super) fn recorded(ending: &Ending) -> Option<(NightEnding, String)> {
    Some(match ending {
        Ending::ExperimentsDone => (NightEnding::ExperimentsDone, String::new()),
        Ending::Deadline => (NightEnding::Deadline, String::new()),
        Ending::NothingLeft => (NightEnding::NothingLeft, String::new()),
        Ending::Stopped => (NightEnding::Stopped, String::new()),
        Ending::BadStart(why) => (NightEnding::Failed, format!("the night's start cannot be measured: {why}")),
        Ending::ChampionInvalid(why) => (NightEnding::Failed, why.clone()),
        Ending::MachineFaults(_) => return None,
    })
}

/// What a trial is, for people: whose, and why it is run.
pub(super) fn words_of_trial(launch: &Launch, trial: u32, purpose: Purpose, champion: u32) -> String {
    let title = launch.proposal.as_ref().map_or("the night's start", |proposal| proposal.title.as_str());
    match purpose {
        Purpose::Morning => format!("{title} (morning, fresh seed, sealed text)"),
        Purpose::Search if launch.number == champion && launch.number > 0 => format!("{title} (champion, run {trial})"),
        Purpose::Search if trial > 1 => format!("{title} (run {trial})"),
        Purpose::Search => title.to_owned(),
    }
}
