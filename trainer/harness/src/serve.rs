//! `trainer serve`: answers the evaluator's questions about one checkpoint, for as long as it asks. Questions and answers are
//! shared memory that comes with each line, so no path of the agent's is visible in here.
//!
//! Whatever leaves this process is a claim: nothing here decides whether it is true, plausible or even finite. That is the
//! evaluator's, in the agent.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use protocol::{Ask, Event, Failure, ServeRequest, Setting, WeightsDigest};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::candidate::Candidate;
use crate::checkpoint::{Bytes, Checkpoint};
use crate::machine;
use crate::model::{self, nats};
use crate::stop::{Stop, guarded};
use crate::wire::Wire;

/// Least time between two reports of how far a question has come.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Answers until the agent closes its end, which ends the process.
///
/// # Errors
/// Whatever ends it early; the caller reports it.
pub fn serve<C: Candidate>(wire: &mut Wire) -> Result<(), Stop> {
    let (request, [checkpoint]) = wire.request_with::<ServeRequest, 1>()?;
    if request.batch_rows == 0 {
        return Err(Stop::bad_request("batch_rows must be at least 1"));
    }
    let setting = &request.setting;
    let device = machine::prepare(setting)?;
    let candidate = guarded("building the model", || C::build(setting, request.seed))??;
    let initial = weights(&candidate)?;
    Checkpoint::load_file(&File::from(checkpoint), setting, &candidate).map_err(made_by_candidate)?;
    let (rows_per_step, parameters) = model::describe(&candidate)?;
    wire.send(&Event::Ready {
        version: protocol::VERSION,
        parameters,
        rows_per_step: rows_per_step as u64,
        threads: Some(machine::threads()?),
    })?;
    let server = Server { candidate, setting, batch_rows: request.batch_rows, device };
    loop {
        let message = wire.message()?;
        let ask: Ask = message.parse().map_err(|error| Stop::bad_request(error.to_string()))?;
        let wrong = |error: protocol::ReadError| Stop::bad_request(error.to_string());
        match ask {
            Ask::Score { rows } => {
                let [question, answer] = message.take().map_err(wrong)?;
                server.score(wire, rows, &question.into(), &answer.into())?;
                wire.send(&Event::Answered)?;
            }
            Ask::Logits { positions } => {
                let [question, answer] = message.take().map_err(wrong)?;
                server.logits(&positions, &question.into(), &answer.into())?;
                wire.send(&Event::Answered)?;
            }
            Ask::Weights => {
                let [] = message.take().map_err(wrong)?;
                wire.send(&Event::Weights { tensors: initial.clone() })?;
            }
        }
    }
}

/// What is wrong with a checkpoint is the candidate's doing, not the agent's: it was written by a process that ran edited code.
fn made_by_candidate(stop: Stop) -> Stop {
    if stop.kind == Failure::BadRequest { Stop { kind: Failure::Candidate, ..stop } } else { stop }
}

/// A loaded checkpoint.
struct Server<'a, C> {
    candidate: C,
    setting: &'a Setting,
    batch_rows: usize,
    device: Device,
}

impl<C: Candidate> Server<'_, C> {
    /// [`Ask::Score`]: batch after batch, each written as soon as it is known.
    fn score(&self, wire: &mut Wire, rows: usize, question: &File, answer: &File) -> Result<(), Stop> {
        let (context, batch_rows) = (self.setting.context, self.batch_rows);
        if rows == 0 || !rows.is_multiple_of(batch_rows) {
            return Err(Stop::bad_request(format!("{rows} rows are not whole batches of {batch_rows}")));
        }
        expect_size("rows", question, rows * (context + 1), 2)?;
        expect_size("answer", answer, rows * context, 4)?;
        let mut reported = Instant::now();
        for start in (0..rows).step_by(batch_rows) {
            let batch = self.read_tokens(question, start * (context + 1), batch_rows * (context + 1))?;
            let nats = guarded("evaluating", || {
                nats(&self.candidate, &batch, self.setting.vocabulary, context, self.device)
            })??;
            write_f32(answer, start * context, &nats)?;
            if reported.elapsed() >= REPORT_EVERY {
                wire.send(&Event::Scored { rows: (start + batch_rows) as u64, of: rows as u64 })?;
                reported = Instant::now();
            }
        }
        Ok(())
    }

    /// [`Ask::Logits`]: the same shapes as a batch of [`Ask::Score`], so that an honest model does the same arithmetic.
    fn logits(&self, positions: &[u32], question: &File, answer: &File) -> Result<(), Stop> {
        let (context, vocabulary, batch_rows) = (self.setting.context, self.setting.vocabulary, self.batch_rows);
        if positions.len() != batch_rows || positions.iter().any(|&position| position as usize >= context) {
            return Err(Stop::bad_request(format!(
                "{batch_rows} positions below {context} were expected, not {positions:?}"
            )));
        }
        expect_size("rows", question, batch_rows * context, 2)?;
        expect_size("answer", answer, batch_rows * vocabulary, 4)?;
        let batch = self.read_tokens(question, 0, batch_rows * context)?;
        let positions: Vec<i64> = positions.iter().map(|&position| i64::from(position)).collect();
        let values = guarded("evaluating", || {
            let inputs = Tensor::from_slice(&batch).view([-1, context as i64]).to_device(self.device);
            let logits = model::logits(&self.candidate, &inputs, vocabulary)?; // [batch, context, vocabulary]
            let at = Tensor::from_slice(&positions).view([-1, 1, 1]).to_device(self.device);
            let chosen = logits.gather(1, &at.expand([-1, 1, vocabulary as i64], false), false);
            Ok::<_, Stop>(model::values(&chosen))
        })??;
        write_f32(answer, 0, &values)
    }

    /// Token ids from shared memory, checked: an id outside of the vocabulary would be an error deep inside libtorch.
    fn read_tokens(&self, from: &File, first: usize, count: usize) -> Result<Vec<i64>, Stop> {
        let mut bytes = vec![0; count * 2];
        from.read_exact_at(&mut bytes, first as u64 * 2)
            .map_err(|error| Stop::harness(format!("cannot read the rows: {error}")))?;
        let tokens: Vec<i64> = bytes.as_chunks::<2>().0.iter().map(|&two| i64::from(u16::from_le_bytes(two))).collect();
        let vocabulary = self.setting.vocabulary;
        match tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(token) => Err(Stop::bad_request(format!("token {token} is outside the vocabulary of {vocabulary}"))),
            None => Ok(tokens),
        }
    }
}

/// [`Ask::Weights`], before the checkpoint replaces them.
fn weights<C: Candidate>(candidate: &C) -> Result<Vec<WeightsDigest>, Stop> {
    let mut parameters = guarded("listing parameters", || candidate.parameters())?;
    parameters.sort_by(|a, b| a.0.cmp(&b.0));
    let most = (WeightsDigest::SAMPLES / parameters.len().max(1)).min(WeightsDigest::SAMPLE);
    let digest = |(name, tensor): (String, Tensor)| {
        let Bytes { data, shape, .. } = guarded("copying a tensor", || Bytes::of(&tensor))??;
        let count = shape.iter().product::<usize>();
        let width = data.len().checked_div(count).unwrap_or(0).max(1);
        let mut scalars = data.chunks(width);
        let first = scalars.next();
        let constant = scalars.all(|scalar| Some(scalar) == first);
        let taken = count.min(most);
        let places: Vec<i64> = (0..taken).map(|index| (index * count / taken) as i64).collect();
        let sample = guarded("sampling a tensor", || {
            let places = Tensor::from_slice(&places).to_device(tensor.device());
            model::values(&tensor.detach().reshape([-1]).index_select(0, &places).to_kind(Kind::Float))
        })?;
        Ok(WeightsDigest { name, scalars: count as u64, constant, sha256: hex(&Sha256::digest(&data)), sample })
    };
    parameters.into_iter().map(digest).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses memory of another size than `count` numbers of `width` bytes.
fn expect_size(what: &str, memory: &File, count: usize, width: usize) -> Result<(), Stop> {
    let found =
        memory.metadata().map_err(|error| Stop::harness(format!("cannot see the size of the {what}: {error}")))?.len();
    let expected = (count * width) as u64;
    if found == expected {
        return Ok(());
    }
    Err(Stop::bad_request(format!("the {what} came in {found} bytes of memory, {expected} were expected")))
}

/// Writes little-endian float32 from the number `first` on.
fn write_f32(to: &File, first: usize, values: &[f32]) -> Result<(), Stop> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    to.write_all_at(&bytes, first as u64 * 4).map_err(|error| Stop::harness(format!("cannot write an answer: {error}")))
}
