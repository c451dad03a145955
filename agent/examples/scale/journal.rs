//! What a night writes down beside its experiments: effects, events, calls of models, and the clock that they all go by.

use jiff::{SignedDuration, Timestamp};
use nocturne::flow::{NightId, Proposal};
use nocturne::layout::Layout;
use nocturne::llm::spend::Spent;
use nocturne::llm::{Answer, Message, Part, Request, Role, Stop, Usage};
use nocturne::records::{
    EffectRecord, EventRecord, ExchangeFile, ExchangeKind, ExchangeRecord, FILE_VERSION, Level, Reply,
};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::files;

/// A night's clock, which only goes forward.
pub struct Clock(Timestamp);

impl Clock {
    /// From this time on.
    pub fn new(at: Timestamp) -> Self {
        Self(at)
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        self.0
    }

    /// Lets seconds pass, to the millisecond as records have them, and says what it shows then.
    pub fn pass(&mut self, seconds: f64) -> Timestamp {
        let passed = SignedDuration::from_millis((seconds * 1e3).round() as i64);
        self.0 = self.0.checked_add(passed).unwrap_or(self.0);
        self.0
    }
}

/// A night's journal.
#[derive(Default)]
pub struct Journal {
    effects: Vec<EffectRecord>,
    events: Vec<EventRecord>,
    calls: u64,
}

impl Journal {
    /// An effect that was begun and ended.
    pub fn effect(&mut self, kind: &str, of: &str, payload: Value, from: Timestamp, to: Timestamp, outcome: &str) {
        let ordinal = count(self.effects.len() + 1);
        self.effects.push(EffectRecord {
            ordinal,
            key: format!("0.{ordinal}/{kind}/{of}"),
            kind: kind.to_owned(),
            payload,
            begun_at: from,
            ended_at: Some(to),
            outcome: Some(json!({ "event": outcome })),
        });
    }

    /// Something told.
    pub fn event(&mut self, at: Timestamp, level: Level, stage: &str, text: String) {
        let ordinal = count(self.events.len() + 1);
        self.events.push(EventRecord { ordinal, at, level, stage: stage.to_owned(), text });
    }

    /// A call of the model that made `proposal` for the experiment `number`; writes its file.
    pub fn call(
        &mut self,
        layout: &Layout,
        night: &NightId,
        chance: &mut Chance,
        at: Timestamp,
        number: u32,
        proposal: &Proposal,
    ) -> Result<(), String> {
        let Some(model) = &proposal.author.model else { return Ok(()) };
        self.calls += 1;
        let (turn, round) = (self.calls, 1);
        // As long as a brief for a small window; what a model really reads is several times that.
        let brief: String = (0..60).map(|line| format!("| experiment {line}: {}\n", proposal.title)).collect();
        let (input, output) = (chance.between(9e3, 4e4) as u64, chance.between(400.0, 4e3) as u64);
        let exchange = ExchangeRecord {
            kind: ExchangeKind::Model,
            turn,
            round,
            number,
            aim: "an idea".to_owned(),
            model: model.clone(),
            request: Request {
                model: model.clone(),
                system: "You are a researcher in machine learning who improves a small GPT trainer.".to_owned(),
                messages: vec![Message {
                    role: Role::User,
                    parts: vec![Part::Text { text: format!("## The task\n\nPropose the next experiment.\n\n{brief}") }],
                }],
                tools: Vec::new(),
                most_tokens: 4_000,
                temperature: None,
            },
            reply: Reply::Answer(Answer {
                model: Some(model.clone()),
                text: format!("title: {}\n\n{}", proposal.title, proposal.hypothesis),
                calls: Vec::new(),
                stop: Stop::Done,
                usage: Usage { input: Some(input), cached: None, output: Some(output) },
            }),
            again: false,
            spent: Spent { usd: proposal.author.cost_usd, tokens: input + output, calls: 1 },
            seconds: chance.between(3.0, 40.0),
            at,
        };
        files::json(&layout.exchange_file(night, turn, round), &ExchangeFile { version: FILE_VERSION, exchange })
    }

    /// Writes effects and events.
    pub fn write(&self, layout: &Layout, night: &NightId) -> Result<(), String> {
        files::lines(&layout.effects_file(night), &self.effects)?;
        files::lines(&layout.events_file(night), &self.events)
    }
}

/// A count as records have it; no night comes near the end of it.
pub fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
