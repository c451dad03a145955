//! `trainer evaluate`: what a checkpoint says of held-out rows, in nats per token. Only a claim until the agent's
//! evaluator has checked it.

use std::fs;
use std::io::Write;
use std::time::Instant;

use protocol::{EvaluateRequest, Event, Failure};

use crate::candidate::Candidate;
use crate::checkpoint::Checkpoint;
use crate::machine;
use crate::model::{describe, nats};
use crate::stop::{Stop, guarded};
use crate::wire::Wire;

/// Serves one evaluation.
///
/// # Errors
/// Whatever ends it early; the caller reports it.
pub fn evaluate<C: Candidate>(wire: &mut Wire) -> Result<(), Stop> {
    let request: EvaluateRequest = wire.request()?;
    let (setting, context) = (&request.setting, request.setting.context);
    if request.batch_rows == 0 {
        return Err(Stop::bad_request("batch_rows must be at least 1"));
    }
    let device = machine::prepare(setting)?;
    let candidate = guarded("building the model", || C::build(setting, 0))??;
    Checkpoint::load(&request.checkpoint, setting, &candidate)?;
    let (rows_per_step, parameters) = describe(&candidate)?;
    wire.send(&Event::Ready { version: protocol::VERSION, parameters, rows_per_step: rows_per_step as u64 })?;

    let started = Instant::now();
    let tokens = read_rows(&request)?;
    let rows = tokens.len() / (context + 1);
    let mut claim: Vec<u8> = Vec::with_capacity(rows * context * 4);
    for batch in tokens.chunks(request.batch_rows * (context + 1)) {
        let batch: Vec<i64> = batch.iter().map(|&token| i64::from(token)).collect();
        let nats = guarded("evaluating", || nats(&candidate, &batch, setting.vocabulary, context, device))??;
        if let Some(at) = nats.iter().position(|value| !value.is_finite()) {
            let (row, position) = (claim.len() / 4 / context + at / context, at % context);
            let message = format!("the loss of token {position} of held-out row {row} is {}", nats[at]);
            return Err(Stop { kind: Failure::NotFinite, message });
        }
        claim.extend(nats.iter().flat_map(|value| value.to_le_bytes()));
    }
    let path = &request.claim;
    fs::File::create(path)
        .and_then(|mut file| file.write_all(&claim).and_then(|()| file.sync_all()))
        .map_err(|error| Stop::harness(format!("cannot write {}: {error}", path.display())))?;
    wire.send(&Event::Evaluated { rows: rows as u64, seconds: started.elapsed().as_secs_f64() })
}

fn read_rows(request: &EvaluateRequest) -> Result<Vec<u16>, Stop> {
    let bad = |what: String| Stop::bad_request(format!("held-out rows {}: {what}", request.rows.display()));
    let bytes = fs::read(&request.rows).map_err(|error| bad(error.to_string()))?;
    let row_bytes = 2 * (request.setting.context + 1);
    if bytes.is_empty() || bytes.len() % row_bytes != 0 {
        return Err(bad(format!("{} bytes are not whole rows of {row_bytes} bytes", bytes.len())));
    }
    let tokens: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    match tokens.iter().find(|&&token| usize::from(token) >= request.setting.vocabulary) {
        Some(token) => Err(bad(format!("token {token} is outside the vocabulary of {}", request.setting.vocabulary))),
        None => Ok(tokens),
    }
}
