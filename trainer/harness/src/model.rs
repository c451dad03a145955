//! What the harness asks of a candidate's model, with the answers' shapes checked.

use tch::{Device, Kind, Tensor};

use crate::candidate::Candidate;
use crate::stop::{Stop, guarded};

/// Rows a step and scalars of a candidate.
pub fn describe<C: Candidate>(candidate: &C) -> Result<(usize, u64), Stop> {
    let (rows, parameters) = guarded("describing the candidate", || {
        (candidate.rows_per_step(), candidate.parameters().iter().map(|(_, tensor)| tensor.numel() as u64).sum())
    })?;
    if rows == 0 {
        return Err(Stop::candidate("rows_per_step is 0"));
    }
    Ok((rows, parameters))
}

/// Logits of a batch of rows as fp32, checked for their shape: [batch, time, vocabulary].
pub fn logits<C: Candidate>(candidate: &C, tokens: &Tensor, vocabulary: usize) -> Result<Tensor, Stop> {
    let logits = tch::no_grad(|| candidate.logits(tokens)).to_kind(Kind::Float);
    let mut expected = tokens.size();
    expected.push(vocabulary as i64);
    if logits.size() != expected {
        return Err(Stop::candidate(format!("logits are {:?}, expected {expected:?}", logits.size())));
    }
    Ok(logits)
}

/// Nats of each target of a batch of rows of context + 1 tokens, row after row.
pub fn nats<C: Candidate>(
    candidate: &C,
    batch: &[i64],
    vocabulary: usize,
    context: usize,
    device: Device,
) -> Result<Vec<f32>, Stop> {
    let rows = Tensor::from_slice(batch).view([-1, context as i64 + 1]).to_device(device);
    let (inputs, targets) = (rows.narrow(1, 0, context as i64), rows.narrow(1, 1, context as i64));
    let logits = logits(candidate, &inputs.contiguous(), vocabulary)?;
    let nats = -logits.log_softmax(-1, Kind::Float).gather(-1, &targets.unsqueeze(-1), false);
    Ok(values(&nats))
}

/// All numbers of an fp32 tensor, the last dimension fastest.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut values = vec![0f32; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}
