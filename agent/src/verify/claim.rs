//! Asking a trained model, in a fresh process, for the nats of every held-out token.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{EvaluateRequest, Event, Failure};

use crate::flow::Rejected;
use crate::run::{Job, Launcher, RunError, StopSignal, stopped};

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct ClaimSpec {
    /// `trainer evaluate`.
    pub job: Job,
    /// What it is asked.
    pub request: EvaluateRequest,
    /// How many numbers the claim must have: rows times context.
    pub expected: usize,
    /// Bound on the whole evaluation, in seconds.
    pub most_seconds: f64,
}

/// Why there is no claim.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The machine is at fault.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The harness, which no experiment can edit, failed.
    #[error("the evaluation failed through no fault of the model: {0}")]
    Machine(String),
    /// The night was stopped.
    #[error("the night was stopped")]
    Stopped,
}

/// Runs the evaluation and reads its claim: nats of each target token, row after row, and the seconds it took.
///
/// # Errors
/// The outer error is the machine's fault or the person's wish; the inner one is the model's.
pub async fn claim(
    launcher: &Launcher,
    spec: &ClaimSpec,
    mut stop: StopSignal,
) -> Result<Result<(Vec<f32>, f64), Rejected>, ClaimError> {
    let began = Instant::now();
    let mut process = launcher.start(&spec.job).await?;
    let mut said = None;
    let talk = async {
        if process.send(&spec.request).await.is_err() {
            return;
        }
        loop {
            match process.line().await {
                Ok(Some(line)) => match protocol::parse::<Event>(&line) {
                    Ok(Event::Ready { .. }) => {}
                    Ok(event) => {
                        said = Some(Ok(event));
                        return;
                    }
                    Err(error) => {
                        said = Some(Err(error.to_string()));
                        return;
                    }
                },
                Ok(None) => return,
                Err(error) => {
                    said = Some(Err(error.to_string()));
                    return;
                }
            }
        }
    };
    let in_time = tokio::select! {
        talked = tokio::time::timeout(Duration::from_secs_f64(spec.most_seconds), talk) => talked.is_ok(),
        () = stopped(&mut stop) => {
            process.stop().await?;
            return Err(ClaimError::Stopped);
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let ended = process.stop().await?;
    let reject = |evidence: String| Ok(Err(Rejected { check: "claim".to_owned(), evidence }));
    if !in_time {
        return reject(format!("the evaluation was not done after {:.0} seconds", spec.most_seconds));
    }
    match said {
        Some(Ok(Event::Evaluated { .. })) => {
            Ok(read_claim(&spec.request.claim, spec.expected).await?.map(|nats| (nats, seconds)))
        }
        // Requests and the files that they name are the agent's; edited code has no part in them.
        Some(Ok(Event::Failed { kind: Failure::Harness | Failure::BadRequest, message })) => {
            Err(ClaimError::Machine(message))
        }
        Some(Ok(Event::Failed { kind: Failure::NotFinite, message })) => {
            Ok(Err(Rejected { check: "finite".to_owned(), evidence: message }))
        }
        Some(Ok(Event::Failed { message, .. })) => reject(message),
        Some(Ok(other)) => reject(format!("the trainer answered {other:?}")),
        Some(Err(nonsense)) => reject(nonsense),
        None => reject(format!("the trainer ended without an answer; last words: {}", ended.last_words)),
    }
}

/// Reads little-endian float32; the size is checked before anything is read.
async fn read_claim(path: &Path, expected: usize) -> Result<Result<Vec<f32>, Rejected>, RunError> {
    let read_error = |source| RunError::File { action: "read the claim", path: path.to_owned(), source };
    let bytes = match tokio::fs::metadata(path).await {
        Ok(found) if found.len() == expected as u64 * 4 => tokio::fs::read(path).await.map_err(read_error)?,
        Ok(found) => {
            let evidence = format!("{} tokens were scored where there are {expected}", found.len() / 4);
            return Ok(Err(Rejected { check: "count".to_owned(), evidence }));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let evidence = "the trainer said it was done and left no claim".to_owned();
            return Ok(Err(Rejected { check: "claim".to_owned(), evidence }));
        }
        Err(source) => return Err(read_error(source)),
    };
    Ok(Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
}
