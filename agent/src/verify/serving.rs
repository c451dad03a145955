//! The conversation with one confined `trainer serve`. Everything that it says is data from edited code.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use protocol::{Ask, Event, Failure, ServeRequest};

use crate::flow::Rejected;
use crate::run::process::Ended;
use crate::run::{Answer, Process, Question, RunError, StopSignal, stopped};

/// More of a process's words than this is not taken into evidence.
const MOST_WORDS: usize = 2_000;

/// Why a conversation did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The other side went away.
    Gone,
    /// It said something else than an answer.
    Nonsense(String),
    /// It said that it cannot go on.
    Failed(Failure, String),
    /// A number in an answer is none.
    NotFinite(String),
    /// Its protocol is another one.
    Version(u32),
    /// There is no memory for questions or answers, or it cannot be read.
    Memory(std::io::Error),
    /// The evaluator contradicts itself.
    Own(String),
    /// The person wants it to end.
    Stopped,
    /// It took too long, seconds.
    TimedOut(f64),
}

/// Why there is no verdict at all.
#[derive(Debug)]
pub(super) enum NoVerdict {
    /// The machine is at fault.
    Machine(String),
    /// The person wants it to end.
    Stopped,
}

impl Trouble {
    /// The same from a process that has been asked at a cut. It knows now where it is audited, so whatever it says ends in a
    /// verdict: were a fault of the harness believed here, which edited code in that process can pretend, the trial would be run
    /// again under other cuts, until they suit it.
    pub(super) fn after_a_question(self) -> Trouble {
        match self {
            Trouble::Failed(Failure::Harness | Failure::BadRequest, message) => {
                Trouble::Failed(Failure::Candidate, message)
            }
            other => other,
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Memory(error)
    }
}

/// Talks at most so long, and no longer than the person wants. The process must be ended afterwards, whatever came of it.
pub(super) async fn within<T>(
    seconds: f64,
    stop: &mut StopSignal,
    talk: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    tokio::select! {
        talked = tokio::time::timeout(Duration::from_secs_f64(seconds), talk) => {
            talked.unwrap_or(Err(Trouble::TimedOut(seconds)))
        }
        () = stopped(stop) => Err(Trouble::Stopped),
    }
}

/// Hands the checkpoint over and waits until the model is loaded.
pub(super) async fn hand_over(
    process: &mut Process,
    request: &ServeRequest,
    checkpoint: &Question,
) -> Result<(), Trouble> {
    process.send_with(request, &[checkpoint.as_fd()]).await.map_err(|_| Trouble::Gone)?;
    match event(process).await? {
        Event::Ready { version, .. } if version == protocol::VERSION => Ok(()),
        Event::Ready { version, .. } => Err(Trouble::Version(version)),
        other => Err(unexpected(other)),
    }
}

/// Asks a question whose answer is numbers, and reads them once: the other side can write to that memory for as long as it
/// lives, but not to the copy. `progress` hears which part of the rows is scored, by the other side's word.
pub(super) async fn numbers(
    process: &mut Process,
    ask: &Ask,
    tokens: &[u16],
    count: usize,
    mut progress: impl FnMut(f64),
) -> Result<Vec<f32>, Trouble> {
    let question = Question::of_tokens(tokens)?;
    let answer = Answer::for_f32(count)?;
    say(process, ask, &[question.as_fd(), answer.as_fd()]).await?;
    loop {
        match event(process).await? {
            Event::Answered => return Ok(answer.read_f32()?),
            Event::Scored { rows, of } if matches!(ask, Ask::Score { .. }) => {
                progress((rows as f64 / of.max(1) as f64).clamp(0.0, 1.0));
            }
            other => return Err(unexpected(other)),
        }
    }
}

/// Asks for digests of the initial weights.
pub(super) async fn weights(process: &mut Process) -> Result<Vec<protocol::WeightsDigest>, Trouble> {
    say(process, &Ask::Weights, &[]).await?;
    match event(process).await? {
        Event::Weights { tensors } => Ok(tensors),
        other => Err(unexpected(other)),
    }
}

async fn say(process: &mut Process, ask: &Ask, descriptors: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
    process.send_with(ask, descriptors).await.map_err(|_| Trouble::Gone)
}

async fn event(process: &mut Process) -> Result<Event, Trouble> {
    match process.line().await {
        Ok(Some(line)) => protocol::parse(&line).map_err(|error| Trouble::Nonsense(error.to_string())),
        Ok(None) => Err(Trouble::Gone),
        Err(error) => Err(Trouble::Nonsense(error.to_string())),
    }
}

fn unexpected(event: Event) -> Trouble {
    match event {
        Event::Failed { kind, message } => Trouble::Failed(kind, message),
        other => {
            // Digests of a large model would fill pages.
            let said: String = format!("{other:?}").chars().take(200).collect();
            Trouble::Nonsense(format!("it said {said} where that was no answer"))
        }
    }
}

/// What follows from a conversation that failed: a rejection by `check` (or `finite`) with its evidence, or no verdict.
///
/// The process's standard error stays in its log and is no evidence: it may quote held-out text, and evidence is read
/// by whoever makes the next change.
pub(super) fn settle(check: &str, trouble: Trouble, ended: &Ended, log: &Path) -> Result<Rejected, NoVerdict> {
    let short = |words: &str| words.chars().take(MOST_WORDS).collect::<String>();
    let reject = |check: &str, evidence: String| Ok(Rejected { check: check.to_owned(), evidence: short(&evidence) });
    match trouble {
        Trouble::Stopped => Err(NoVerdict::Stopped),
        Trouble::Memory(error) => {
            Err(NoVerdict::Machine(format!("the machine has no memory for questions and answers: {error}; free some")))
        }
        Trouble::Version(version) => Err(NoVerdict::Machine(format!(
            "the trainer speaks version {version} of the protocol, not {}; build it anew",
            protocol::VERSION
        ))),
        Trouble::Own(words) => Err(NoVerdict::Machine(words)),
        // The harness says this, which no experiment can edit, about requests that edited code has no part in. But it says so in a
        // process that runs edited code, which could say it as well. Before the first cut is shown that gains a cheat
        // nothing but never to be measured, because after three faults in a row the experiment is left alone; afterwards it
        // is not believed ([`Trouble::after_a_question`]).
        Trouble::Failed(Failure::Harness | Failure::BadRequest, message) => Err(NoVerdict::Machine(short(&message))),
        Trouble::Failed(Failure::NotFinite, message) | Trouble::NotFinite(message) => reject("finite", message),
        Trouble::Failed(Failure::Candidate | Failure::OutOfMemory, message) => reject(check, message),
        Trouble::Nonsense(words) => reject(check, format!("the model's process broke the protocol: {words}")),
        Trouble::TimedOut(seconds) => {
            reject(check, format!("the model's process had not answered everything after {seconds:.0} seconds"))
        }
        Trouble::Gone => {
            let how = match ended.code {
                Some(code) if code > 128 => format!("by signal {}", code - 128),
                Some(code) => format!("with exit code {code}"),
                None => "for no known reason".to_owned(),
            };
            let log = log.display();
            reject(
                check,
                format!("the model's process ended {how} before it had answered; its last words are in {log}"),
            )
        }
    }
}

impl From<RunError> for NoVerdict {
    fn from(error: RunError) -> Self {
        NoVerdict::Machine(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_does_is_evidence_and_what_the_machine_does_is_not() {
        let ended = Ended { code: Some(139), last_words: "the secret text".to_owned() };
        let log = Path::new("serve.log");
        let settle = |check, trouble, ended| settle(check, trouble, ended, log);
        let failed = |kind| Trouble::Failed(kind, "why".to_owned());
        for (trouble, check, words) in [
            (Trouble::Gone, "audit", "signal 11"),
            (Trouble::Gone, "audit", "last words are in serve.log"),
            (Trouble::Nonsense("x".to_owned()), "audit", "protocol: x"),
            (Trouble::TimedOut(7.0), "audit", "after 7 seconds"),
            (failed(Failure::Candidate), "audit", "why"),
            (failed(Failure::OutOfMemory), "audit", "why"),
            (failed(Failure::NotFinite), "finite", "why"),
            (failed(Failure::Harness).after_a_question(), "audit", "why"),
            (failed(Failure::BadRequest).after_a_question(), "audit", "why"),
            (failed(Failure::NotFinite).after_a_question(), "finite", "why"),
            (Trouble::Nonsense("é".repeat(9_999)), "audit", "éé"),
            (Trouble::NotFinite("logit 3".to_owned()), "finite", "logit 3"),
        ] {
            let rejected = settle("audit", trouble, &ended).unwrap();
            assert_eq!(rejected.check, check);
            assert!(rejected.evidence.contains(words), "{}", rejected.evidence);
            assert!(!rejected.evidence.contains("secret") && rejected.evidence.chars().count() <= MOST_WORDS);
        }
        for trouble in
            [failed(Failure::Harness), failed(Failure::BadRequest), Trouble::Version(9), Trouble::Own("why".to_owned())]
        {
            assert!(matches!(settle("audit", trouble, &ended), Err(NoVerdict::Machine(_))));
        }
        assert!(matches!(settle("audit", Trouble::Stopped, &ended), Err(NoVerdict::Stopped)));
    }
}
