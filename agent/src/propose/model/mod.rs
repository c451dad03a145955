//! Ideas from a language model.
//!
//! One [`ModelProposer`] per model of the campaign. It writes a brief, lets the model use tools, takes its answer apart
//! ([`answer`]), sends back what does not fit ([`draft`]) and what does not compile (`repairs`), and gives up with a reason that is
//! recorded. What all models of a night share is the [`desk`]: limits, record, replay ([`exchange`]).
//!
//! No failure of a model or its server is an error here: the turn goes to another proposer. An error is only that an exchange could not
//! be put on record, for then its answer must not be used.

pub mod answer;
mod away;
pub mod desk;
pub mod draft;
pub mod exchange;
pub(super) mod habits;
mod mending;
pub(super) mod repairs;
mod talk;
mod tries;
pub(super) mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::away::{Away, is_away};
use self::desk::{Desk, News, NoAnswer};
use self::draft::{Draft, Step};
use self::exchange::{Place, RecordError};
use self::talk::Talk;
use super::{Failure, ProposeError, Proposer};
use crate::brief::quote::{quote, quote_exactly};
use crate::campaign::Model;
use crate::edit::blocks;
use crate::flow::{Author, Brief, Proposal};
use crate::llm::client::Server;
use crate::llm::{self, Role, Stop, Tool};
use crate::records::{ExchangeFailure, ExchangeKind, FailureKind, QueueEntry};

/// The word that stands in its proposals' author, whichever model it is.
pub const NAME: &str = "models";

/// Calls of tools in one conversation.
const MOST_CALLS: u32 = 8;

/// Conversations about one thing in one turn that may come to nothing.
const MOST_TRIES: u32 = 3;

/// So long is waited in one turn for a model where nobody else has anything to propose.
const MOST_PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// What a model may call, made for one brief. What comes back is bounded text; `Err` is what the model is told went wrong.
pub trait Tools: Send {
    /// What there is.
    fn tools(&self) -> Vec<Tool>;

    /// Calls one.
    ///
    /// # Errors
    /// What went wrong, for the model.
    fn call(&self, name: &str, arguments: &Value) -> Result<String, String>;
}

/// Makes the tools for a brief.
pub type ToolMaker = Arc<dyn Fn(&Brief) -> Box<dyn Tools> + Send + Sync>;

/// One model that proposes.
pub struct ModelProposer {
    model: Model,
    /// `None` where a night is replayed.
    server: Option<Server>,
    desk: Arc<Desk>,
    tools: Option<ToolMaker>,
    name: String,
    away: Option<Away>,
    asked: Asked,
}

/// What has been asked of it last.
#[derive(Debug, Clone, Default)]
struct Asked {
    turn: u64,
    aim: String,
    /// How many conversations about that came to nothing.
    given_up: u32,
    /// How long it has been waited for.
    waited: Duration,
}

/// How a conversation ended.
enum End {
    Proposal(Box<Proposal>),
    GaveUp(String),
    Away(ExchangeFailure),
    /// Nobody is asked any more.
    Closed,
}

impl ModelProposer {
    /// A model and how it is reached. Tools are offered where the campaign says that it can call them.
    pub fn new(model: Model, server: Option<Server>, desk: Arc<Desk>, tools: Option<ToolMaker>) -> Self {
        let name = format!("{NAME}/{}", model.name);
        let tools = tools.filter(|_| model.tools);
        Self { model, server, desk, tools, name, away: None, asked: Asked::default() }
    }

    fn author(&self) -> Author {
        Author { proposer: NAME.to_owned(), model: Some(self.model.name.clone()), cost_usd: 0.0 }
    }

    fn place(brief: &Brief, repaired: Option<&Proposal>) -> Place {
        Place::of(ExchangeKind::Model, brief, repaired)
    }

    /// Whether there is any use in asking now. A night that is replayed says itself what was asked how often.
    fn may_be_asked(&self, place: &Place) -> bool {
        if self.desk.owes(place, &self.model.name) || self.desk.replays() {
            return true;
        }
        let paused = self.away.is_some_and(|away| Instant::now() < away.until);
        !self.desk.is_closed() && !paused && self.asked_of(place).is_none_or(|asked| asked.given_up < MOST_TRIES)
    }

    /// What has been asked of it about this; what was counted in another turn says nothing of this one.
    fn asked_of(&self, place: &Place) -> Option<&Asked> {
        Some(&self.asked).filter(|asked| asked.turn == place.turn && asked.aim == place.aim)
    }

    fn turn_to(&mut self, place: &Place) {
        match (self.asked_of(place).is_some(), self.away) {
            (true, Some(away)) => self.asked.waited += away.pause,
            (true, None) => {}
            (false, _) => self.asked = Asked { turn: place.turn, aim: place.aim.clone(), ..Asked::default() },
        }
    }

    /// A conversation about a new idea.
    fn think(&mut self, brief: &Brief) -> Result<End, RecordError> {
        let place = Self::place(brief, None);
        self.turn_to(&place);
        if !self.desk.begin(&self.model.name, &place) {
            return Ok(End::Closed);
        }
        let key = brief.details.asked.as_ref().map(|wish| QueueEntry::key(wish.id));
        let tools = self.tools.as_ref().map(|make| make(brief));
        let mut draft = Draft::fresh(brief, self.author(), key);
        let listed = tools.as_ref().map_or_else(Vec::new, |tools| tools.tools());
        let mut talk = Talk::new(brief, &self.model, listed);
        self.converse(&place, &mut talk, &mut draft, tools.as_deref())
    }

    fn converse(
        &self,
        place: &Place,
        talk: &mut Talk<'_>,
        draft: &mut Draft<'_>,
        tools: Option<&dyn Tools>,
    ) -> Result<End, RecordError> {
        let mut calls = 0;
        loop {
            let request = match talk.request() {
                Ok(request) => request,
                Err(small) => return Ok(too_long(talk, &talk.too_small(&small))),
            };
            let answer = match self.desk.ask(&self.model, self.server.as_ref(), place, &request) {
                Ok((answer, dollars)) => {
                    draft.paid(dollars);
                    answer
                }
                Err(NoAnswer::Failed(failed)) if failed.kind == FailureKind::TooLong && talk.shrink() => continue,
                Err(NoAnswer::Failed(failed)) if failed.kind == FailureKind::TooLong => {
                    return Ok(too_long(talk, &failed.words));
                }
                Err(NoAnswer::Failed(failed)) if is_away(&failed) => return Ok(End::Away(failed)),
                Err(NoAnswer::Failed(failed)) => return Ok(End::GaveUp(failed.words)),
                Err(NoAnswer::NotOnRecord) => {
                    return Ok(End::GaveUp("the night that is replayed has no further answer to this".to_owned()));
                }
                Err(NoAnswer::UsedUp | NoAnswer::Stopped) => return Ok(End::Closed),
                Err(NoAnswer::Record(error)) => return Err(error),
            };
            let mut parts: Vec<llm::Part> = Vec::new();
            if !answer.text.trim().is_empty() {
                parts.push(llm::Part::Text { text: answer.text.clone() });
            }
            let step = match answer.stop {
                Stop::Refused => {
                    return Ok(End::GaveUp("the model, or a filter beside it, refused to answer".to_owned()));
                }
                // A call in an answer that was cut off is as good as none.
                Stop::Length => draft.cut_off(self.model.answer_tokens),
                Stop::Calls if !answer.calls.is_empty() => {
                    parts.extend(answer.calls.iter().cloned().map(llm::Part::Call));
                    let before = calls;
                    let results: Vec<llm::Part> =
                        answer.calls.iter().map(|call| called(tools, call, &mut calls)).collect();
                    talk.assistant(parts);
                    talk.push(Role::User, results);
                    // Beyond the last one the model is told so; if it goes on, that is an answer which is none.
                    if before < MOST_CALLS && tools.is_some() {
                        continue;
                    }
                    match draft.called("there are no calls of tools left") {
                        Step::Ask(question) => talk.user(question),
                        Step::GiveUp(reason) => return Ok(End::GaveUp(reason)),
                        Step::Done(proposal) => return Ok(End::Proposal(proposal)),
                    }
                    continue;
                }
                // Calls that are announced and not there are an answer like any other: it takes a round.
                Stop::Done | Stop::Calls => draft.take(&answer.text),
            };
            match step {
                Step::Done(proposal) => return Ok(End::Proposal(proposal)),
                Step::GiveUp(reason) => return Ok(End::GaveUp(reason)),
                Step::Ask(question) => {
                    // An assistant's message may not be empty, and half an answer is not worth its room.
                    if parts.is_empty() || answer.stop == Stop::Length {
                        parts = vec![llm::Part::Text { text: "(no answer)".to_owned() }];
                    }
                    talk.assistant(parts);
                    talk.user(question);
                }
            }
        }
    }

    /// What follows from how a conversation ended.
    fn ended(&mut self, brief: &Brief, what: &str, end: End) -> Option<Proposal> {
        if !matches!(end, End::Away(_) | End::Closed)
            && let Some(away) = self.away.take()
        {
            let times = away.failures;
            self.desk.tell(News::Warning(format!(
                "the model {} answers again, after {times} failed turns",
                self.model.name
            )));
        }
        match end {
            End::Proposal(proposal) => return Some(*proposal),
            End::GaveUp(reason) => {
                self.asked.given_up += 1;
                let key = format!("turn-{}/{what}", brief.turn);
                if let Some(wish) = &brief.details.asked {
                    self.desk.refuse(wish.id, &format!("the model {}: {reason}", self.model.name));
                }
                let (proposer, champion) = (self.name.clone(), brief.champion.clone());
                self.desk.tell(News::GivenUp { proposer, key, champion, reason });
            }
            End::Away(failed) => self.went_away(&failed),
            End::Closed => {}
        }
        None
    }

    fn went_away(&mut self, failed: &ExchangeFailure) {
        let failures = self.away.map_or(0, |away| away.failures) + 1;
        let pause = away::pause(failures, failed.kind, self.model.timeout_seconds);
        self.away = Some(Away { failures, pause, until: Instant::now() + self.desk.paced(pause) });
        let words = format!("the model {} gives no answers: {}", self.model.name, failed.words);
        let news = match failures {
            1 => News::Warning(format!("{words}; the night goes on with the other proposers and asks it again later")),
            _ => News::Note(format!("{words}; asked again in {} seconds", pause.as_secs())),
        };
        self.desk.tell(news);
    }
}

/// A conversation that no longer fits. If it is the brief that does not, nothing was answered, and the campaign is to be mended.
fn too_long(talk: &Talk<'_>, why: &str) -> End {
    let words = talk.too_long(why);
    match talk.opens() {
        true => End::Away(ExchangeFailure { kind: FailureKind::TooLong, words }),
        false => End::GaveUp(words),
    }
}

/// Calls a tool for a model, or says why not.
fn called(tools: Option<&dyn Tools>, call: &llm::Call, calls: &mut u32) -> llm::Part {
    let outcome = match tools {
        None => Err("there are no tools here".to_owned()),
        Some(_) if *calls >= MOST_CALLS => Err(format!("all {MOST_CALLS} calls of tools are used up; answer now")),
        Some(tools) => {
            *calls += 1;
            tools.call(&call.name, &call.arguments)
        }
    };
    let failed = outcome.is_err();
    let text = outcome.unwrap_or_else(|why| why);
    // Search text is copied out of what tools show, and they bound it themselves.
    llm::Part::Result { id: call.id.clone(), text: quote_exactly(&text), failed }
}

fn failed(error: RecordError) -> ProposeError {
    ProposeError::Record(error)
}

impl Proposer for ModelProposer {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrote(&self, author: &Author) -> bool {
        author.proposer == NAME && author.model.as_deref() == Some(self.model.name.as_str())
    }

    /// Not while it is away: words wait for it then.
    fn reads(&self) -> bool {
        !self.desk.is_closed() && self.away.is_none_or(|away| Instant::now() >= away.until)
    }

    fn owes(&self, brief: &Brief) -> bool {
        self.desk.owes(&Self::place(brief, None), &self.model.name)
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        if !self.may_be_asked(&Self::place(brief, None)) {
            return Ok(None);
        }
        let end = self.think(brief).map_err(failed)?;
        Ok(self.ended(brief, "idea", end))
    }

    /// A model that could not be reached is waited for, and one that gave up is asked again.
    fn again(&self, brief: &Brief) -> Option<Duration> {
        let place = Self::place(brief, None);
        let asked = self.asked_of(&place);
        let patient = asked.is_none_or(|asked| asked.given_up < MOST_TRIES && asked.waited < MOST_PATIENCE);
        if self.owes(brief) && (patient || self.desk.replays()) {
            return Some(Duration::ZERO);
        }
        let willing = patient && !self.desk.is_closed() && !self.desk.replays();
        let until = self.away.map_or(Duration::ZERO, |away| away.until.saturating_duration_since(Instant::now()));
        willing.then_some(until)
    }

    fn repair(
        &mut self,
        brief: &Brief,
        proposal: &Proposal,
        failure: &Failure,
    ) -> Result<Option<Proposal>, ProposeError> {
        let place = Self::place(brief, Some(proposal));
        if !self.may_be_asked(&place) {
            return Ok(None);
        }
        self.turn_to(&place);
        if !self.desk.begin(&self.model.name, &place) {
            return Ok(None);
        }
        let mut author = self.author();
        author.cost_usd = proposal.author.cost_usd;
        let tools = self.tools.as_ref().map(|make| make(brief));
        let listed = tools.as_ref().map_or_else(Vec::new, |tools| tools.tools());
        let mut talk = Talk::new(brief, &self.model, listed);
        talk.assistant(vec![llm::Part::Text { text: said(proposal) }]);
        let on_top = Draft::on_top_of(brief, proposal, author.clone());
        let (mut draft, question) = match (on_top, failure) {
            (Some(draft), Failure::Build(failure)) => {
                let question = repairs::question(failure, draft.files());
                (draft, question)
            }
            (_, failure) => {
                let why = match failure {
                    Failure::Edit(why) | Failure::Policy(why) => why.clone(),
                    Failure::Build(_) => "the champion has moved since, and these edits no longer fit it".to_owned(),
                };
                let question = format!(
                    "This was refused:\n\n{}\nSend the whole answer again, mended, with its lines.\n",
                    quote(&why, 80)
                );
                (Draft::fresh(brief, author, Some(proposal.key.clone())), question)
            }
        };
        talk.user(question);
        let end = self.converse(&place, &mut talk, &mut draft, tools.as_deref()).map_err(failed)?;
        Ok(self.ended(brief, "repair", end))
    }
}

/// A proposal as its author would have written it.
fn said(proposal: &Proposal) -> String {
    let Proposal { title, hypothesis, family, predicted_effect, confidence, edits, .. } = proposal;
    let written = blocks::render(edits).unwrap_or_else(|_| "(edits that cannot be written as blocks)\n".to_owned());
    format!(
        "Title: {title}\nHypothesis: {hypothesis}\nFamily: {family}\nPredicted: {}\nConfidence: {}\nEdits: {}\n\n{written}",
        predicted_effect.unwrap_or_default(),
        confidence.unwrap_or_default(),
        edits.len()
    )
}

#[cfg(test)]
mod draft_tests;
#[cfg(test)]
mod tests;
