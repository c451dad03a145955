//! `trainer sample`: goes on from a prompt, one token after the other.

use protocol::{Event, SampleRequest};
use tch::{Device, Kind, Tensor};

use crate::candidate::Candidate;
use crate::checkpoint::Checkpoint;
use crate::stop::{Stop, guarded};
use crate::wire::Wire;
use crate::{machine, model};

/// Serves one sampling request.
///
/// # Errors
/// Whatever ends it early; the caller reports it.
pub fn sample<C: Candidate>(wire: &mut Wire) -> Result<(), Stop> {
    let request: SampleRequest = wire.request()?;
    let (setting, vocabulary) = (&request.setting, request.setting.vocabulary);
    if request.prompt.is_empty() {
        return Err(Stop::bad_request("the prompt needs at least one token (BOS)"));
    }
    if let Some(token) = request.prompt.iter().find(|&&token| usize::from(token) >= vocabulary) {
        return Err(Stop::bad_request(format!("prompt token {token} is outside the vocabulary of {vocabulary}")));
    }
    if !(request.temperature.is_finite() && request.temperature >= 0.0) {
        return Err(Stop::bad_request(format!("a temperature of {} is not one", request.temperature)));
    }
    let device = machine::prepare(setting)?;
    let candidate = guarded("building the model", || C::build(setting, 0))??;
    Checkpoint::load(&request.checkpoint, setting, &candidate)?;
    tch::manual_seed((request.seed >> 1) as i64);
    let mut text: Vec<i64> = request.prompt.iter().map(|&token| i64::from(token)).collect();
    for _ in 0..request.tokens {
        let recent = &text[text.len().saturating_sub(setting.context)..];
        let id = guarded("sampling", || draw(&candidate, recent, &request, device))??;
        text.push(i64::from(id));
        wire.send(&Event::Token { id })?;
    }
    Ok(())
}

fn draw<C: Candidate>(candidate: &C, recent: &[i64], request: &SampleRequest, device: Device) -> Result<u16, Stop> {
    let tokens = Tensor::from_slice(recent).unsqueeze(0).to_device(device); // [1, time]
    let logits = model::logits(candidate, &tokens, request.setting.vocabulary)?;
    let last = logits.get(0).get(-1).to_device(Device::Cpu); // [vocabulary]
    let id = if request.temperature == 0.0 {
        last.argmax(-1, false).int64_value(&[])
    } else {
        let most = if request.top_k == 0 { request.setting.vocabulary } else { request.top_k };
        let (values, ids) = last.topk(most.min(request.setting.vocabulary) as i64, -1, true, true);
        let chosen = (values / request.temperature).softmax(-1, Kind::Float).multinomial(1, false);
        ids.gather(0, &chosen, false).int64_value(&[0])
    };
    u16::try_from(id).map_err(|_| Stop::harness(format!("drew token {id}, which is none")))
}
