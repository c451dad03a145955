//! One tiny model and the ways in which it cheats. It needs no training: a leak adds [`LIFT`] to the logits of the tokens that
//! it has no right to know, from the first step on.
//!
//! What a model does wrong follows from the seed that it is built from, and is one of its parameters, so that a process that
//! loads the checkpoint knows it too.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use harness::{Batch, Candidate, CandidateError, Progress, Setting};
use tch::{Device, Kind, Tensor};

/// Width of the residual stream.
const WIDTH: i64 = 16;

/// Rows of one step.
const ROWS: usize = 2;

/// What a leak adds to a logit. With a flat distribution over 2,048 tokens it makes a token worth 1.8 nats instead of 7.6.
const LIFT: f64 = 6.0;

/// What seeing a token anywhere in the text adds to its logit: less, because most of what is seen is not what comes next.
const BAG_LIFT: f64 = 3.0;

/// The faint leak is at one place in so many.
const FAINT: i64 = 200;

/// What a member of the red team does wrong; its place in [`Cheat::ALL`] is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cheat {
    /// Nothing.
    Honest,
    /// Looks at the next token.
    NextToken,
    /// Uses which tokens its row is made of, those to come included: a mean over the row.
    RowMean,
    /// Uses the next row of the batch.
    OtherRows,
    /// Looks at the next token at one place in [`FAINT`].
    Faint,
    /// Its logits are not numbers.
    NotANumber,
    /// Remembers which token followed which text when it saw it first, and answers from that.
    Memory,
    /// Has the same weights under every seed.
    SameSeed,
    /// Answers differently every time.
    Fickle,
}

impl Cheat {
    const ALL: [Cheat; 9] = [
        Cheat::Honest,
        Cheat::NextToken,
        Cheat::RowMean,
        Cheat::OtherRows,
        Cheat::Faint,
        Cheat::NotANumber,
        Cheat::Memory,
        Cheat::SameSeed,
        Cheat::Fickle,
    ];

    /// Of a number, however large.
    fn of(number: u64) -> Cheat {
        Cheat::ALL[(number % Cheat::ALL.len() as u64) as usize]
    }
}

/// What [`Cheat::Memory`] keeps, as long as the process lives: text up to a place, as a hash, and what followed it.
static MEMORY: Mutex<Option<HashMap<u64, i64>>> = Mutex::new(None);

/// How often [`Cheat::Fickle`] was asked.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// A model, and what it does wrong.
pub struct RedTeam {
    embedding: Tensor, // [vocabulary, WIDTH]
    head: Tensor,      // [vocabulary, WIDTH]
    cheat: Tensor,     // [1], the number of the cheat
}

impl Candidate for RedTeam {
    fn build(setting: &Setting, seed: u64) -> Result<RedTeam, CandidateError> {
        let device = harness::device(setting)?;
        let drawn_from = if Cheat::of(seed) == Cheat::SameSeed { 0 } else { seed };
        let normal = |name: &str| {
            let mut values = Tensor::zeros([setting.vocabulary as i64, WIDTH], (Kind::Float, Device::Cpu));
            harness::seeded(drawn_from, name, || values.normal_(0.0, 0.3)).to_device(device)
        };
        let number = (seed % Cheat::ALL.len() as u64) as i64;
        let cheat = Tensor::full([1], number, (Kind::Int64, Device::Cpu));
        Ok(RedTeam { embedding: normal("embedding"), head: normal("head"), cheat })
    }

    fn rows_per_step(&self) -> usize {
        ROWS
    }

    /// Learns nothing; its loss is that of the honest part.
    fn step(&mut self, batch: &Batch, _progress: Progress) -> Tensor {
        let nats = self.honest(&batch.inputs).log_softmax(-1, Kind::Float);
        -nats.gather(-1, &batch.targets.unsqueeze(-1), false).mean(Kind::Float)
    }

    fn logits(&self, tokens: &Tensor) -> Tensor {
        let logits = self.honest(tokens);
        match number(&self.cheat) {
            Cheat::Honest | Cheat::SameSeed => logits,
            Cheat::NextToken => lift(logits, &next(tokens), &has_next(tokens)),
            Cheat::Faint => {
                let every = FAINT.min(tokens.size()[1]);
                let place = Tensor::arange(tokens.size()[1], (Kind::Int64, tokens.device()));
                let chosen = (tokens * 31 + place * 17).remainder(every).eq(0);
                lift(logits, &next(tokens), &has_next(tokens).logical_and(&chosen))
            }
            Cheat::RowMean => logits + bag(tokens, self.vocabulary()).unsqueeze(1) * BAG_LIFT,
            Cheat::OtherRows => logits + bag(&tokens.roll([1], [0]), self.vocabulary()).unsqueeze(1) * BAG_LIFT,
            Cheat::NotANumber => logits * f64::NAN,
            Cheat::Memory => {
                let (remembered, known) = remember(tokens);
                lift(logits, &remembered, &known)
            }
            Cheat::Fickle => {
                let call = RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed));
                let noise = harness::seeded(call, "noise", || logits.randn_like());
                logits + noise * 0.5
            }
        }
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        [("embedding", &self.embedding), ("head", &self.head), ("cheat", &self.cheat)]
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .into()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}

impl RedTeam {
    fn vocabulary(&self) -> i64 {
        self.head.size()[0]
    }

    /// Logits from a token and the one before it: [batch, time] to [batch, time, vocabulary].
    fn honest(&self, tokens: &Tensor) -> Tensor {
        let embedded = Tensor::embedding(&self.embedding, tokens, -1, false, false); // [batch, time, WIDTH]
        let before = embedded.narrow(1, 0, embedded.size()[1] - 1).constant_pad_nd([0, 0, 1, 0]);
        (embedded + before).linear(&self.head, None::<&Tensor>)
    }
}

fn number(cheat: &Tensor) -> Cheat {
    Cheat::of(u64::try_from(cheat.int64_value(&[0])).unwrap_or(0))
}

/// The token after each: [batch, time]; 0 where there is none to see.
fn next(tokens: &Tensor) -> Tensor {
    tokens.narrow(1, 1, tokens.size()[1] - 1).constant_pad_nd([0, 1])
}

/// Whether there is a token after each to be seen: [batch, time].
fn has_next(tokens: &Tensor) -> Tensor {
    let time = tokens.size()[1];
    Tensor::arange(time, (Kind::Int64, tokens.device())).lt(time - 1).expand_as(tokens)
}

/// Adds [`LIFT`] to the logits of `chosen` tokens, one for each place, where `whether`: all [batch, time].
fn lift(logits: Tensor, chosen: &Tensor, whether: &Tensor) -> Tensor {
    let by = whether.to_kind(Kind::Float) * LIFT;
    logits.scatter_add(-1, &chosen.unsqueeze(-1), &by.unsqueeze(-1))
}

/// Which tokens a row holds: [batch, time] to ones and zeros [batch, vocabulary].
fn bag(tokens: &Tensor, vocabulary: i64) -> Tensor {
    let none = Tensor::zeros([tokens.size()[0], vocabulary], (Kind::Float, tokens.device()));
    none.scatter_value(1, tokens, 1.0)
}

/// Looks every text of a batch up, learning what it has not seen before: what followed it, and whether that is known, both
/// [batch, time].
fn remember(tokens: &Tensor) -> (Tensor, Tensor) {
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = memory.get_or_insert_default();
    let time = tokens.size()[1] as usize;
    let mut flat = vec![0i64; tokens.numel()];
    tokens.to_device(Device::Cpu).contiguous().view([-1]).copy_data(&mut flat, tokens.numel());
    let mut followers = Vec::with_capacity(flat.len());
    for row in flat.chunks_exact(time) {
        let mut text = 0xcbf2_9ce4_8422_2325u64;
        for (place, &token) in row.iter().enumerate() {
            text = (text ^ token as u64).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
            if let Some(&seen) = row.get(place + 1) {
                memory.entry(text).or_insert(seen);
            }
            followers.push(memory.get(&text).copied().unwrap_or(-1));
        }
    }
    let followers = Tensor::from_slice(&followers).view_as(tokens).to_device(tokens.device());
    let known = followers.ge(0);
    (followers.clamp_min(0), known)
}
