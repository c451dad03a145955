//! Ideas from a person's coding agent: it gets a folder with the champion's files and a brief, changes files, and ends; see
//! [`agent`](super::agent) for what is handed to it and what is taken from it.
//!
//! A turn is one idea: two attempts at most, the second told what was wrong with the first, within one limit of time. What comes of it is
//! on record with the calls of models before it is used, so that a night that goes on, or replays another, hears it again and starts nobody. An
//! agent that fails (is not there, crashes, runs out of time, leaves nothing that can be taken) costs its turn
//! and nothing else: the night asks the next proposer, and one that failed [`MOST_FAILURES`] times in a row is left in peace.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::agent::answer::{self, AGENTS};
use super::agent::process::{self, Ended, Run};
use super::agent::record::{Lost, Record};
use super::agent::secrets::Secrets;
use super::agent::words::{self, Mend, PROMPT};
use super::agent::workplace::Workplace;
use super::alike::alike;
use super::model::desk::Desk;
use super::model::exchange::{Known, Place};
use super::{Failure, ProposeError, Proposer};
use crate::brief::window::TooSmall;
use crate::campaign::CodingAgent;
use crate::edit::{Policy, apply};
use crate::flow::{Brief, CommitId, Proposal, SourceFile};
use crate::records::{ExchangeKind, FailureKind, QueueEntry, Reply};
use crate::run::{Launcher, StopSignal};

/// Turns in a row that come to nothing, after which an agent is not asked again in this night.
pub const MOST_FAILURES: u32 = 3;

/// Attempts of one turn.
const MOST_ATTEMPTS: usize = 2;

/// A second attempt with less time than this is not worth beginning.
const LEAST_SECOND: Duration = Duration::from_secs(20);

/// Writes the files of a commit into a folder.
pub type Export = Box<dyn Fn(&CommitId, &Path) -> Result<(), String> + Send>;

/// What the agents of a night share.
pub struct AgentDesk {
    /// Starts and ends their processes.
    pub launcher: Launcher,
    /// Where they are waited for.
    pub runtime: Handle,
    /// The variables that they get: the person's own, see [`environment_of_process`].
    pub environment: Vec<(String, String)>,
    /// Lays out the champion's files.
    pub export: Export,
    /// The folder that they work in, one after the other; outside of the person's repository. Removed after each turn.
    pub workplace: PathBuf,
    /// Where briefs and logs of their turns are kept.
    pub records: PathBuf,
    /// Where what they are asked and answer is put on record, and taken from there.
    pub desk: Arc<Desk>,
    /// What this night has on record of them already.
    pub past: Vec<Known>,
    /// The rules on edits.
    pub policy: Policy,
    /// Becomes true when the night is to end at once.
    pub stop: StopSignal,
    /// Tells the person, and the record, what became of a turn.
    pub tell: Box<dyn Fn(String) + Send>,
}

/// The coding agents of a campaign, asked in turns.
pub struct Agents {
    agents: Vec<CodingAgent>,
    desk: AgentDesk,
    /// What came of each turn, in their order.
    outcomes: Vec<Outcome>,
    /// What one of them was last asked for: the turn, and the idea of the queue.
    last: Option<(u64, Option<u32>)>,
    secrets: Secrets,
}

#[derive(Debug)]
struct Outcome {
    turn: u64,
    agent: String,
    failed: bool,
}

/// The variables of this process that are text, but for those that are Nocturne's own.
pub fn environment_of_process() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| !name.starts_with("NOCTURNE_")).collect()
}

/// What an agent begins with.
struct Task<'a> {
    brief: &'a Brief,
    agent: &'a CodingAgent,
    files: &'a [SourceFile],
    text: String,
    attempts: usize,
    place: Place,
}

impl Agents {
    /// Agents of a night; none of them is started before it is asked.
    pub fn new(agents: Vec<CodingAgent>, desk: AgentDesk) -> Self {
        let known = desk.past.iter().filter(|known| known.kind == ExchangeKind::Agent);
        let outcome =
            |known: &Known| Outcome { turn: known.turn, agent: known.model.clone(), failed: known.outcome.is_err() };
        let outcomes = known.map(outcome).collect();
        let secrets = Secrets::of(&desk.environment);
        Self { agents, desk, outcomes, last: None, secrets }
    }

    /// Whose turn it is: of the one whose answer is on record; nobody's when all have failed too often.
    fn of_turn(&self, place: &Place) -> Option<&CodingAgent> {
        if let Some(owes) = self.agents.iter().find(|agent| self.desk.desk.owes(place, &agent.name)) {
            return Some(owes);
        }
        let willing: Vec<&CodingAgent> =
            self.agents.iter().filter(|agent| !self.is_left_alone(&agent.name, place.turn)).collect();
        let count = u64::try_from(willing.len()).ok().filter(|count| *count > 0 && !self.desk.desk.replays())?;
        willing.get(usize::try_from(place.turn % count).ok()?).copied()
    }

    /// Turns in a row, up to this one, that came to nothing.
    fn failures(&self, agent: &str, turn: u64) -> u32 {
        let before = self.outcomes.iter().rev().filter(|outcome| outcome.agent == agent && outcome.turn < turn);
        u32::try_from(before.take_while(|outcome| outcome.failed).count()).unwrap_or(u32::MAX)
    }

    fn is_left_alone(&self, agent: &str, turn: u64) -> bool {
        self.failures(agent, turn) >= MOST_FAILURES
    }

    /// One turn, from the record where it is there.
    fn turn(&mut self, task: &Task<'_>) -> Result<Option<Proposal>, ProposeError> {
        let (place, name) = (&task.place, &task.agent.name);
        let request = Record::request(name, &task.text);
        let desk = Arc::clone(&self.desk.desk);
        let goes_on = desk.has_answer(place, name);
        if !desk.begin(name, place) {
            return Ok(None);
        }
        if let Some(reply) = desk.heard(name, place, &request)? {
            if !goes_on {
                self.outcomes.push(Outcome { turn: place.turn, agent: name.clone(), failed: reply.answer().is_none() });
            }
            return Ok(self.told_again(name, &reply));
        }
        let mut record = Record::default();
        let made = self.work(task, &self.desk.records.join(place.turn.to_string()), &mut record);
        let made = self.without_secrets(made, &mut record);
        let removed = crate::files::remove_folder(&self.desk.workplace);
        if let Err(error) = removed {
            (self.desk.tell)(format!("cannot remove {}: {error}", self.desk.workplace.display()));
        }
        // A turn that the machine or the night's end broke off was none, and is not on record.
        if let Some(reply) = record.reply(&made)? {
            desk.put(name, place, request, reply, record.took())?;
        }
        if !matches!(made, Err(Lost::Stopped | Lost::Machine(_))) {
            self.outcomes.push(Outcome { turn: place.turn, agent: name.clone(), failed: made.is_err() });
        }
        match made {
            Ok(proposal) => Ok(Some(proposal)),
            Err(lost) => {
                self.lose(name, place.turn, lost);
                Ok(None)
            }
        }
    }

    /// What came of a turn without keys of the person's: they are taken out of words, and what would be code is not taken at all, for other
    /// code would be used than was proposed.
    fn without_secrets(&self, made: Result<Proposal, Lost>, record: &mut Record) -> Result<Proposal, Lost> {
        for words in record.attempts.iter_mut().flatten() {
            *words = self.secrets.taken_out_of(words);
        }
        match made {
            Ok(proposal) => {
                let written = serde_json::to_string(&proposal).map_err(|error| Lost::Machine(error.to_string()))?;
                match self.secrets.found_in(&written) {
                    None => Ok(proposal),
                    Some(name) => Err(Lost::Agent(
                        FailureKind::Malformed,
                        format!(
                            "what it proposes holds the value of the variable {name}, and is neither kept nor used"
                        ),
                    )),
                }
            }
            Err(Lost::Agent(kind, why)) => Err(Lost::Agent(kind, self.secrets.taken_out_of(&why))),
            Err(other) => Err(other),
        }
    }

    /// What an answer that is on record proposed.
    fn told_again(&self, name: &str, reply: &Reply) -> Option<Proposal> {
        match Record::proposal(reply) {
            Ok(proposal) => proposal,
            Err(why) => {
                (self.desk.tell)(format!(
                    "what the coding agent {name} proposed cannot be read from the record: {why}"
                ));
                None
            }
        }
    }

    /// The brief, if it could be written.
    fn told(&self, agent: &str, brief: Result<String, TooSmall>) -> Option<String> {
        brief.map_err(|error| (self.desk.tell)(format!("the coding agent {agent} is not asked: {error}"))).ok()
    }

    fn lose(&self, name: &str, turn: u64, lost: Lost) {
        let why = match lost {
            Lost::Stopped => return,
            Lost::Agent(_, why) => why,
            Lost::Machine(why) => format!("through no fault of its own: {why}"),
        };
        let failures = self.failures(name, turn.saturating_add(1));
        let after = match failures >= MOST_FAILURES {
            true => format!("; that was {failures} times in a row, so it is asked no more tonight"),
            false => String::new(),
        };
        (self.desk.tell)(format!("the coding agent {name} proposed nothing: {why}{after}"));
    }

    /// Lets the agent work. An idea that only looks like an earlier one stands where the attempt to tell them apart came to nothing.
    fn work(&self, task: &Task<'_>, kept: &Path, record: &mut Record) -> Result<Proposal, Lost> {
        let mut shown = None;
        match (self.attempts(task, kept, record, &mut shown), shown) {
            (Err(Lost::Agent(..)), Some(first)) => Ok(first),
            (made, _) => made,
        }
    }

    /// Lays out the folder and lets the agent work in it, as often as there are attempts. `shown`: a proposal that could be taken, and whose
    /// author was shown past experiments that it looks like.
    fn attempts(
        &self,
        task: &Task<'_>,
        kept: &Path,
        record: &mut Record,
        shown: &mut Option<Proposal>,
    ) -> Result<Proposal, Lost> {
        let Task { brief, agent, files, text, attempts, .. } = task;
        let desk = &self.desk;
        let machine = |error: crate::files::FileError| Lost::Machine(error.to_string());
        crate::files::create_folder(kept).map_err(machine)?;
        let prompt = kept.join("prompt.txt");
        crate::files::write_atomically(&prompt, PROMPT.as_bytes()).map_err(machine)?;
        let workplace = Workplace::lay_out(
            &desk.workplace,
            |folder| (desk.export)(&brief.champion, folder),
            &brief.champion_files,
            files,
        )
        .map_err(Lost::Machine)?;
        let mut left = Duration::from_secs_f64(agent.minutes * 60.0);
        let least = LEAST_SECOND.min(Duration::from_secs_f64(agent.minutes * 6.0));
        let mut problems: Vec<String> = Vec::new();
        for attempt in 1..=*attempts {
            let text = match (shown.is_some(), problems.is_empty()) {
                (true, _) => problems.concat() + text,
                (false, true) => text.clone(),
                (false, false) => words::second_attempt(&problems) + text,
            };
            workplace.write_brief(&text).map_err(Lost::Machine)?;
            crate::files::write_atomically(&kept.join(format!("brief-{attempt}.md")), text.as_bytes())
                .map_err(machine)?;
            let run = Run {
                command: &agent.command,
                environment: &desk.environment,
                folder: workplace.folder(),
                input: prompt.clone(),
                log: kept.join(format!("log-{attempt}.txt")),
                limit: left,
                secrets: &self.secrets,
            };
            let ran = process::run(&desk.launcher, &desk.runtime, &desk.stop, &run);
            self.secrets.taken_out_of_file(&run.log).map_err(machine)?;
            let (ended, took) = ran.map_err(|error| Lost::Machine(error.to_string()))?;
            record.seconds += took.as_secs_f64();
            record.runs += 1;
            left = left.saturating_sub(took);
            match ended {
                Ended::Done => {}
                Ended::Stopped => return Err(Lost::Stopped),
                Ended::TimedOut => {
                    let why = format!("it was not done after {} minutes", agent.minutes);
                    return Err(Lost::Agent(FailureKind::TimedOut, why));
                }
                Ended::Failed(why) => return Err(Lost::Agent(FailureKind::BrokenOff, why)),
                Ended::Missing(why) => return Err(Lost::Agent(FailureKind::Unreachable, why)),
            }
            let malformed = |why| Lost::Agent(FailureKind::Malformed, why);
            let changed = workplace.changed(&desk.policy).map_err(malformed)?;
            match answer::proposal(brief, &desk.policy, &agent.name, changed, workplace.proposal()) {
                Ok(proposal) => {
                    let near = alike(&proposal.title, Some(&proposal.family), &brief.history);
                    if near.is_empty() || attempt == *attempts || left < least {
                        record.attempts.push(Vec::new());
                        return Ok(proposal);
                    }
                    let words = words::looks_like(&near, brief.details.asked.is_some());
                    record.attempts.push(vec![words.clone()]);
                    problems = vec![words];
                    *shown = Some(proposal);
                }
                Err(found) => {
                    record.attempts.push(found.clone());
                    problems = found;
                }
            }
            if left < least {
                break;
            }
        }
        let first = problems.first().map_or("nothing", String::as_str);
        let first = crate::brief::quote::inline(first, 200);
        let why = format!("what it left could not be taken ({} complaints, the first: {first})", problems.len());
        Err(Lost::Agent(FailureKind::Malformed, why))
    }
}

impl Proposer for Agents {
    fn name(&self) -> &str {
        AGENTS
    }

    fn reads(&self) -> bool {
        !self.desk.desk.replays() && self.agents.iter().any(|agent| !self.is_left_alone(&agent.name, u64::MAX))
    }

    fn owes(&self, brief: &Brief) -> bool {
        let place = Place::of(ExchangeKind::Agent, brief, None);
        self.agents.iter().any(|agent| self.desk.desk.owes(&place, &agent.name))
    }

    /// Only what is on record: an agent has its time in every turn, and no more of it.
    fn again(&self, brief: &Brief) -> Option<Duration> {
        self.owes(brief).then_some(Duration::ZERO)
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let place = Place::of(ExchangeKind::Agent, brief, None);
        // Asked for the same again in one turn, because nobody else had anything, it has had its time.
        let asked = Some((place.turn, brief.details.asked.as_ref().map(|wish| wish.id)));
        if asked == self.last && !self.owes(brief) {
            return Ok(None);
        }
        let Some(agent) = self.of_turn(&place).cloned() else { return Ok(None) };
        self.last = asked;
        let Some(text) = self.told(&agent.name, words::brief(brief, agent.minutes, None)) else { return Ok(None) };
        let files = &brief.champion_files;
        let made = self.turn(&Task { brief, agent: &agent, files, text, attempts: MOST_ATTEMPTS, place })?;
        // What the person asked for in words is theirs, under the name by which their queue knows it.
        let asked = brief.details.asked.as_ref().map(|wish| QueueEntry::key(wish.id));
        Ok(made.map(|made| Proposal { key: asked.unwrap_or(made.key.clone()), ..made }))
    }

    fn repair(
        &mut self,
        brief: &Brief,
        proposal: &Proposal,
        failure: &Failure,
    ) -> Result<Option<Proposal>, ProposeError> {
        let place = Place::of(ExchangeKind::Agent, brief, Some(proposal));
        let author = proposal.author.model.as_deref();
        let agent = self.agents.iter().find(|agent| Some(agent.name.as_str()) == author).cloned();
        let Some(agent) = agent.filter(|agent| !self.is_left_alone(&agent.name, place.turn)) else { return Ok(None) };
        let applied = apply(&brief.champion_files, &proposal.edits).ok();
        let mend = Mend { proposal, failure, applied: applied.is_some() };
        let Some(text) = self.told(&agent.name, words::brief(brief, agent.minutes, Some(&mend))) else {
            return Ok(None);
        };
        let files = applied.as_deref().unwrap_or(&brief.champion_files);
        let repaired = self.turn(&Task { brief, agent: &agent, files, text, attempts: 1, place })?;
        // It stays the same idea, under the name that it has.
        Ok(repaired.map(|repaired| Proposal { key: proposal.key.clone(), ..repaired }))
    }
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agents").field("agents", &self.agents).finish_non_exhaustive()
    }
}
