//! Language models and coding agents in a night: how they are reached, what is on record of them, what they may look at, and who is told of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::driver::{Driver, DriverError};
use super::open_error::OpenError;
use super::replaying::{after, on_record};
use super::try_outs::{TryOuts, Wanted};
use crate::campaign::{Campaign, CodingAgent, Model, ProposerName};
use crate::edit::{CheckedPatch, Policy};
use crate::flow::{Brief, CommitId, ExperimentId, NightId, Purpose, SourceFile};
use crate::layout::Layout;
use crate::llm::client::{Format, Server};
use crate::llm::key::Key;
use crate::llm::spend::Price;
use crate::propose::command::environment_of_process;
use crate::propose::model::desk::{Desk, News, Opening};
use crate::propose::model::exchange::{Exchanges, Known, RecordError};
use crate::propose::model::{ModelProposer, ToolMaker, Tools};
use crate::propose::tools::{Compiled, Curves, ToolFacts, Toolbox};
use crate::propose::{AgentDesk, Agents, Proposer};
use crate::records::{ExchangeKind, ExchangeRecord, Level};
use crate::repo::Repo;
use crate::run::{Curve, Launcher, StopSignal};
use crate::setup::Surroundings;
use crate::store::Store;

/// What a night has to do with models.
pub struct Asking {
    desk: Option<Arc<Desk>>,
    news: Mutex<Option<mpsc::UnboundedReceiver<News>>>,
    stop: watch::Sender<bool>,
    /// Turn and experiment of every call on record.
    on_record: Vec<(u64, u32)>,
    /// Nights that a replay must know nothing of: the one that it replays, and those after it.
    forgotten: HashSet<NightId>,
    /// Compiles what models check.
    try_outs: TryOuts,
}

/// Where models are asked from.
pub(super) struct Place<'a> {
    pub campaign: &'a Campaign,
    pub layout: &'a Layout,
    pub store: &'a Arc<Store>,
    pub night: &'a NightId,
    /// What may be read of the trainer beside the candidate.
    pub harness: Vec<SourceFile>,
    /// The night whose answers are used instead of asking.
    pub replay: Option<&'a NightId>,
    /// Starts coding agents.
    pub launcher: &'a Launcher,
}

impl Asking {
    /// A night that asks no models.
    pub(super) fn nobody() -> Self {
        let stop = watch::Sender::new(false);
        Self {
            desk: None,
            news: Mutex::new(None),
            stop,
            on_record: Vec::new(),
            forgotten: HashSet::new(),
            try_outs: TryOuts::default(),
        }
    }

    /// Where what models check is compiled.
    pub(super) fn try_outs(&self) -> &TryOuts {
        &self.try_outs
    }

    /// Whose desk it is, where models are asked.
    pub(super) fn desk(&self) -> Option<&Desk> {
        self.desk.as_deref()
    }

    /// Whether what a night tried is remembered. A night that replays another begins with what that one knew; else all that it proposes
    /// would have been tried before.
    pub(super) fn remembers(&self, night: &NightId) -> bool {
        !self.forgotten.contains(night)
    }

    /// Whether any night is forgotten.
    pub(super) fn forgets(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// Nobody is asked any more, and what is being asked is given up.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Becomes true when nobody is asked any more.
    pub(super) fn stop_signal(&self) -> StopSignal {
        self.stop.subscribe()
    }

    /// What is told of models; for the one who drives the night.
    pub(super) fn news(&self) -> Option<mpsc::UnboundedReceiver<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The turn with which a night goes on: the first of those that were for the experiment which comes next and for which something is on
    /// record, so that it hears the same again; else `turn`, which none had.
    pub(super) fn first_turn(&self, turn: u64, next_number: u32) -> u64 {
        let again = self.on_record.iter().filter(|(_, number)| *number >= next_number).map(|(turn, _)| *turn).min();
        again.map_or(turn, |again| again.min(turn))
    }

    /// The campaign's models and coding agents, as far as they are among those who propose, and what the night keeps of them.
    pub(super) async fn of(
        place: &Place<'_>,
        names: &[ProposerName],
    ) -> Result<(Self, Vec<Box<dyn Proposer>>), OpenError> {
        let (news, heard) = mpsc::unbounded_channel();
        let mut asking = Self { news: Mutex::new(Some(heard)), ..Self::nobody() };
        let asks = |name| names.contains(&name);
        if !asks(ProposerName::Models) && !asks(ProposerName::Agents) {
            return Ok((asking, Vec::new()));
        }
        let Place { campaign, store, night, replay, .. } = place;
        let own: Vec<(u64, u32, Known)> = match replay {
            // What opened a conversation is seen in what was asked.
            Some(_) => store.exchanges(night).await?.into_iter().map(known).collect(),
            None => {
                let facts = store.exchange_facts(night).await?;
                facts.into_iter().map(|facts| (facts.turn, facts.number, Known::without_request(facts))).collect()
            }
        };
        asking.on_record = own.iter().map(|(turn, number, _)| (*turn, *number)).collect();
        let own: Vec<Known> = own.into_iter().map(|(_, _, known)| known).collect();
        let replayed: Option<Vec<Known>> = match replay {
            Some(other) => {
                asking.forgotten = after(store, other, night).await?;
                Some(store.exchanges(other).await?.into_iter().map(Known::of).collect())
            }
            None => None,
        };
        let runtime = Handle::current();
        let record = StoreExchanges { store: Arc::clone(store), night: (*night).clone(), runtime: runtime.clone() };
        let past = own.clone();
        let opening = Opening {
            limits: campaign.spending.limits(),
            own,
            replay: replayed.clone(),
            record: Arc::new(record),
            news: news.clone(),
            stop: asking.stop.subscribe(),
            pace: 1.0,
        };
        let desk = Arc::new(Desk::open(opening, runtime.clone()));
        let mut proposers: Vec<Box<dyn Proposer>> = Vec::new();
        if asks(ProposerName::Models) {
            let models: Vec<(Model, Option<Server>)> = match &replayed {
                None => servers(campaign)?.into_iter().map(|(model, server)| (model, Some(server))).collect(),
                Some(known) => {
                    let names = on_record(known, ExchangeKind::Model);
                    names.into_iter().map(|name| (on_record_only(name), None)).collect()
                }
            };
            let tools = tools(place, runtime, asking.try_outs.clone(), asking.stop.subscribe());
            proposers.extend(models.into_iter().map(|(model, server)| {
                Box::new(ModelProposer::new(model, server, Arc::clone(&desk), Some(Arc::clone(&tools))))
                    as Box<dyn Proposer>
            }));
        }
        if asks(ProposerName::Agents) {
            let agents = match &replayed {
                None => campaign.coding_agents.clone(),
                // Nobody is started: these answer from the record alone.
                Some(known) => on_record(known, ExchangeKind::Agent)
                    .into_iter()
                    .map(|name| CodingAgent { name, command: Vec::new(), minutes: 0.0 })
                    .collect(),
            };
            let desk = agent_desk(place, (news, asking.stop.subscribe()), Arc::clone(&desk), past)?;
            proposers.push(Box::new(Agents::new(agents, desk)));
        }
        asking.desk = Some(desk);
        Ok((asking, proposers))
    }
}

/// What coding agents work with.
fn agent_desk(
    place: &Place<'_>,
    (news, stop): (mpsc::UnboundedSender<News>, StopSignal),
    desk: Arc<Desk>,
    past: Vec<Known>,
) -> Result<AgentDesk, OpenError> {
    let root = place.layout.root().to_owned();
    let export = move |commit: &CommitId, folder: &Path| {
        let exported = Repo::discover(&root).and_then(|repo| repo.export(commit, folder));
        exported.map(drop).map_err(|error| error.to_string())
    };
    let tell = move |text: String| {
        // Nobody listening means that the night has ended.
        let _nobody = news.send(News::Warning(text));
    };
    Ok(AgentDesk {
        launcher: place.launcher.clone(),
        runtime: Handle::current(),
        environment: environment_of_process(),
        export: Box::new(export),
        // Not in the person's repository, where an agent would take itself for asked about that.
        workplace: Surroundings::of_process().cache()?.join("agents").join(place.night.as_str()),
        records: place.layout.night(place.night).join("agents"),
        desk,
        past,
        policy: Policy::default(),
        stop,
        tell: Box::new(tell),
    })
}

fn known(exchange: ExchangeRecord) -> (u64, u32, Known) {
    (exchange.turn, exchange.number, Known::of(exchange))
}

/// A model that answers from the record alone: no limit of its own is known, and none matters.
fn on_record_only(name: String) -> Model {
    Model {
        model: name.clone(),
        name,
        format: Format::OpenAi,
        endpoint: String::new(),
        key: None,
        context_tokens: 1_000_000,
        answer_tokens: 100_000,
        tools: true,
        temperature: None,
        timeout_seconds: 1,
        longest_seconds: 1,
        price: Price::default(),
    }
}

/// The campaign's models, each with how it is reached; connects to nothing.
pub(super) fn servers(campaign: &Campaign) -> Result<Vec<(Model, Server)>, OpenError> {
    let home = std::env::home_dir();
    let reached = |model: &Model| {
        let key = model.key_source(home.as_deref()).map(|source| Key::read(&source, |name| std::env::var(name).ok()));
        let key =
            key.transpose().map_err(|error| OpenError::Model { name: model.name.clone(), why: error.to_string() })?;
        let server = Server::new(model.endpoint(), key);
        let server = server.map_err(|error| OpenError::Model { name: model.name.clone(), why: error.to_string() })?;
        Ok((model.clone(), server))
    };
    campaign.models.iter().map(reached).collect()
}

/// Whether models are among those who propose.
pub(super) fn asks(names: &[ProposerName]) -> bool {
    names.contains(&ProposerName::Models)
}

/// Puts exchanges into the night's records, and waits until they are there.
struct StoreExchanges {
    store: Arc<Store>,
    night: NightId,
    runtime: Handle,
}

impl Exchanges for StoreExchanges {
    fn record(&self, exchange: &ExchangeRecord) -> Result<(), RecordError> {
        let recorded = self.runtime.block_on(self.store.record_exchange(&self.night, exchange));
        recorded.map_err(|error| RecordError(error.to_string()))
    }
}

impl Tools for Toolbox {
    fn tools(&self) -> Vec<crate::llm::Tool> {
        Toolbox::tools(self)
    }

    fn call(&self, name: &str, arguments: &serde_json::Value) -> Result<String, String> {
        Toolbox::call(self, name, arguments)
    }
}

/// Makes the tools of each turn: its champion, its history, the harness as the night began.
fn tools(place: &Place<'_>, runtime: Handle, try_outs: TryOuts, stop: StopSignal) -> ToolMaker {
    let (store, layout, night) = (Arc::clone(place.store), place.layout.clone(), place.night.clone());
    let harness = place.harness.clone();
    let replays = place.replay.is_some();
    Arc::new(move |brief: &Brief| {
        let (try_outs, runtime_of, stop) = (try_outs.clone(), runtime.clone(), stop.clone());
        let (turn, champion) = (brief.turn, brief.champion.clone());
        let compile = move |patch: &CheckedPatch| match replays {
            // What the model was told then is on record, and nobody reads it again.
            true => Compiled::NotTried("answers are replayed".to_owned()),
            false => try_outs.compile(&runtime_of, stop.clone(), &Wanted { turn, champion: &champion, patch }),
        };
        let curves = CurveFiles { store: Arc::clone(&store), layout: layout.clone(), runtime: runtime.clone() };
        Box::new(Toolbox::new(ToolFacts {
            candidate: brief.champion_files.clone(),
            harness: harness.clone(),
            night: Some(night.clone()),
            history: brief.history.clone(),
            policy: Policy::default(),
            curve: Some(Box::new(move |id| curves.of(id))),
            compile: Some(Box::new(compile)),
        })) as Box<dyn Tools>
    })
}

/// Finds curves by experiment.
struct CurveFiles {
    store: Arc<Store>,
    layout: Layout,
    runtime: Handle,
}

impl CurveFiles {
    fn of(&self, id: &ExperimentId) -> Result<Curves, String> {
        let trials = self.runtime.block_on(self.store.trials(id)).map_err(|error| error.to_string())?;
        let trial = trials.iter().rfind(|trial| trial.purpose == Purpose::Search);
        let trial = trial.ok_or_else(|| format!("experiment {id} has not been trained"))?;
        let path: PathBuf = self.layout.curve(id, trial.ordinal);
        match Curve::read(&path, trial.budget) {
            Ok(curve) => Ok(Curves { own: curve.points(), champion: Vec::new() }),
            Err(error) if error.is_not_found() => Err(format!("the curve of experiment {id} is not there any more")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Driver<'_> {
    /// Tells people, and the records, what happened with models.
    pub(super) async fn news(&mut self, news: News) -> Result<(), DriverError> {
        match news {
            News::Warning(text) => self.warn("models", &text).await,
            News::Note(text) => self.record(Level::Info, "models", &text).await,
            News::GivenUp { proposer, key, champion, reason } => {
                let night = &self.context.night.id;
                self.context.store.record_skip(night, &proposer, &key, &champion, &reason).await?;
                self.record(Level::Info, "models", &format!("{proposer}: {reason}")).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_goes_on_with_the_first_turn_that_is_on_record_for_what_comes_next() {
        let mut asking = Asking::nobody();
        // Turns 2 and 3 became experiment 1, turns 5 and 6 were on the way to experiment 2.
        asking.on_record = vec![(2, 1), (3, 1), (5, 2), (6, 2), (6, 2)];
        assert_eq!((asking.first_turn(8, 2), asking.first_turn(8, 3), asking.first_turn(4, 2)), (5, 8, 4));
        assert_eq!(Asking::nobody().first_turn(8, 1), 8);
    }
}
