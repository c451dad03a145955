//! How the driver starts each effect: journalled, then performed in a task of its own, so that the night goes on meanwhile.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;

use super::ahead::Wanted;
use super::driver::{Done, Driver, DriverError};
use super::machine::Foreseen;
use super::messages::{Effect, Event};
use super::perform::Fault;
use super::smoke::{self, InFlight};
use super::telling::{current, words_of_trial};
use super::{claim, enlist, evaluate, making, perform, trial};
use crate::run::StopSignal;
use crate::terminal::Stage;

impl Driver<'_> {
    /// Journals an effect and performs it in a task of its own; what fails before that is the answer.
    pub(super) async fn start(&mut self, effect: Effect) -> Result<Option<Event>, DriverError> {
        let context = Arc::clone(&self.context);
        let stop: StopSignal = self.stop.subscribe();
        let champion = self.machine.champion().clone();
        match effect {
            Effect::Propose { number, turn } => {
                let key = self
                    .journal(&format!("propose/{number}/{turn}"), "propose", json!({ "champion": champion.commit }))
                    .await?;
                self.view.next = Some((number, "proposing".to_owned()));
                let asked = making::Asked { champion, number, turn, repair: None };
                self.spawn_making(key, number, making::propose(context, asked));
            }
            Effect::Repair { number, turn, proposal, setback } => {
                let key =
                    self.journal(&format!("repair/{number}/{turn}"), "repair", json!({ "key": proposal.key })).await?;
                self.view.next = Some((number, "repairing".to_owned()));
                let repair = Some((*proposal, *setback));
                let asked = making::Asked { champion, number, turn, repair };
                self.spawn_making(key, number, making::propose(context, asked));
            }
            Effect::Commit { number, proposal, parent } => {
                let key = self
                    .journal(
                        &format!("commit/{number}/{}", parent.short()),
                        "commit",
                        json!({ "key": proposal.key, "parent": parent }),
                    )
                    .await?;
                self.view.next = Some((number, "committing".to_owned()));
                self.spawn_making(key, number, making::commit(context, number, *proposal, parent));
            }
            Effect::Build { number, candidate } => {
                let key = self
                    .journal(
                        &format!("build/{number}/{}", candidate.commit.short()),
                        "build",
                        json!({ "commit": candidate.commit, "parent": candidate.parent }),
                    )
                    .await?;
                match &mut self.view.next {
                    Some((next, what)) if *next == number => "building".clone_into(what),
                    _ => self.view.current = Some(current(number, "", Stage::Building)),
                }
                self.spawn_making(key, number, making::build(context, number, candidate, stop));
            }
            Effect::SmokeTest { launch } => {
                let number = launch.number;
                let payload = json!({ "commit": launch.candidate.commit });
                let what = format!("smoke/{number}/{}", launch.candidate.commit.short());
                let key = self.journal(&what, "smoke", payload).await?;
                if let Some((next, what)) = &mut self.view.next
                    && *next == number
                {
                    "trying a few steps".clone_into(what);
                }
                let (in_flight, enough) = InFlight::of(number);
                // Of one before it, which is made again from another champion.
                self.smoke.replace(in_flight).into_iter().for_each(InFlight::end);
                self.spawn_making(key, number, smoke::smoke_test(context, launch, stop, enough));
            }
            Effect::Train { launch, trial, seed, purpose, era } => {
                let asked =
                    Foreseen { launch: Arc::clone(&launch), trial, seed, purpose, era, champion: champion.number };
                let adopted = self.adopt(&asked);
                let device = match &adopted {
                    Some(adopted) => adopted.device,
                    None => self.device_for(&asked),
                };
                self.ran_on.insert((launch.number, seed, purpose), device);
                self.device = self.device_of_evaluation(device);
                let key = self
                    .journal_since(
                        &format!("train/{}/{trial}", launch.number),
                        "train",
                        json!({ "commit": launch.candidate.commit, "seed": seed, "purpose": purpose, "era": era }),
                        adopted.as_ref().map_or_else(perform::now, |adopted| adopted.begun_at),
                    )
                    .await?;
                let words = words_of_trial(&launch, trial, purpose, champion.number);
                self.view.current = Some(current(launch.number, &words, Stage::Starting));
                self.view.next = self.view.next.take().filter(|(next, _)| *next != launch.number);
                self.smoke.take_if(|smoke| smoke.number == launch.number).into_iter().for_each(InFlight::end);
                // Before anything else is begun: the next proposal is made in the knowledge of this one.
                if let Err(what) = enlist::enlist(&context, &launch).await {
                    return Ok(Some(Event::Fault(what)));
                }
                if let Some(adopted) = adopted {
                    self.early = Some((launch.number, trial, adopted.early.clone()));
                    self.spawn(key, adopted.follow(stop));
                    return Ok(None);
                }
                let progress = self.progress.clone();
                let (signal, early) = watch::channel(None);
                self.early = Some((launch.number, trial, signal));
                let wait = self.machine.may_wait(self.now());
                let (wanted, champion) = (Wanted::now(), champion.number);
                let (hold, serial) = (false, 0);
                let asked =
                    trial::Asked { launch, trial, seed, purpose, era, wait, champion, wanted, hold, serial, device };
                let leaving = self.still_leaving();
                self.spawn(key, async move {
                    leaving.await;
                    trial::run_trial(context, asked, stop, early, progress).await
                });
            }
            Effect::Evaluate { number, trial, purpose } => {
                let payload = json!({ "purpose": purpose });
                let key = self.journal(&format!("evaluate/{number}/{trial}"), "evaluate", payload).await?;
                if let Some(current) = &mut self.view.current {
                    current.verifying(0.0);
                }
                let progress = self.progress.clone();
                let asked = evaluate::Asked { number, trial, purpose, champion: champion.number, device: self.device };
                self.spawn(key, evaluate::evaluate(context, asked, stop, progress));
            }
            Effect::ProposeWithout { of, number, turn } => {
                let payload = json!({ "champion": champion.commit, "without": of.kept, "idea": of.idea });
                let key = self.journal(&format!("propose/{number}/{turn}"), "propose", payload).await?;
                self.view.next = Some((number, "proposing".to_owned()));
                self.spawn_making(key, number, making::propose_without(context, champion.commit, of));
            }
            Effect::Claim { claim, start, champion } => {
                let payload = json!({ "start": start, "champion": champion.commit, "holds": claim.holds });
                let key = self.journal("claim", "claim", payload).await?;
                self.told_claim(&claim, &champion).await?;
                self.spawn(key, claim::record(context, *claim, start, champion));
            }
            Effect::StopEarly { number, trial, reason } => self.stop_early(number, trial, reason).await?,
            Effect::Spare { number, trial, look } => self.spare(number, trial, look).await?,
            Effect::Conclude { number, words } => self.concluded(number, &words).await?,
            Effect::Warn { text } => self.warn("night", &text).await?,
            Effect::Skip { .. } | Effect::Settle { .. } | Effect::Finish(_) => {}
        }
        Ok(None)
    }

    /// Performs an effect of the testing lane: what goes wrong there beyond a trial's own faults ends the night.
    fn spawn(&mut self, key: String, effect: impl Future<Output = Result<Event, Fault>> + Send + 'static) {
        self.tasks.spawn(async move {
            let event = effect.await.unwrap_or_else(Event::Fault);
            Done { key, event }
        });
    }

    /// Performs an effect of the making lane: what goes wrong there costs one candidate.
    fn spawn_making(
        &mut self,
        key: String,
        number: u32,
        effect: impl Future<Output = Result<Event, Fault>> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            let event = effect.await.unwrap_or_else(|what| Event::MakingFault { number, what });
            Done { key, event }
        });
    }

    /// Tells the training run in flight to end, if it is still that one. It ends as one that was stopped early.
    async fn stop_early(&mut self, number: u32, trial: u32, reason: String) -> Result<(), DriverError> {
        let key = self.journal(&format!("stop/{number}/{trial}"), "stop-early", json!({ "reason": reason })).await?;
        let heard = match self.early.take_if(|(of, which, _)| (*of, *which) == (number, trial)) {
            // Nobody listens any more to a run that has just ended.
            Some((_, _, signal)) => signal.send(Some(reason)).is_ok(),
            None => false,
        };
        self.end(&key, if heard { "told to stop" } else { "had ended" }).await
    }

    /// Records that the training run in flight would have been stopped at this look.
    async fn spare(&mut self, number: u32, trial: u32, look: usize) -> Result<(), DriverError> {
        let look = u32::try_from(look).unwrap_or(u32::MAX);
        Ok(self.context.store.record_would_stop(&self.context.id(number), trial, look).await?)
    }
}
