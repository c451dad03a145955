//! What there is to show of the night as it goes on.

use serde::Serialize;

use crate::site::drawing::Drawing;
use crate::text::clean;

/// The night at one moment. Times are milliseconds since 1970, so that the script can go on counting.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NowView {
    /// When this was put together; durations are counted from it.
    pub at: i64,
    /// `none`, `preparing`, `running`, `ended` or `cut-off`.
    pub state: String,
    /// The page's heading.
    pub heading: String,
    /// What is going on, in one line.
    pub stage: String,
    /// Since when.
    pub stage_since: Option<i64>,
    /// The night's name.
    pub night: Option<String>,
    /// Its campaign.
    pub campaign: String,
    /// When it began, for people.
    pub began: String,
    /// The same to count from; only while it runs.
    pub began_at: Option<i64>,
    /// When it has to end, or ended, for people.
    pub until: Option<String>,
    /// Which of the two: `until` or `ended`.
    pub until_name: String,
    /// When it has to end; only while it runs.
    pub until_at: Option<i64>,
    /// How many experiments have a verdict, of how many: `3 of 8`.
    pub done: String,
    /// What is being tried.
    pub trial: Option<TrialNow>,
    /// The loss of the run under way.
    pub curve: Option<Drawing>,
    /// From the night's start to its champion.
    pub standing: Vec<Fact>,
    /// What is being made, and the person's ideas in their order.
    pub next: Vec<Line>,
    /// What the models cost.
    pub spend: Vec<Fact>,
    /// Decisions that wait for the person, most valuable first; perhaps not all.
    pub waiting: Vec<Line>,
    /// How many there are.
    pub waiting_count: usize,
    /// What keeps the server from knowing more.
    pub problem: Option<String>,
}

/// The experiment under test.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TrialNow {
    /// `Experiment 4: Halve the batch`.
    pub title: String,
    /// Its page; none for the night's start.
    pub href: Option<String>,
    /// Why it should help.
    pub hypothesis: String,
    /// Who proposed it, which run this is, and what else there is to know of it.
    pub facts: Vec<Fact>,
    /// How much of the run's budget is used, 0 to 1; `None` while that is not known.
    pub progress: Option<f64>,
    /// The same in words: `12 s of 20 s`.
    pub progress_words: String,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A line that may lead somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Line {
    /// The words.
    pub text: String,
    /// Where they lead.
    pub href: Option<String>,
    /// What is said behind them.
    pub note: String,
    /// The experiment that the keyboard decides on here: `NIGHT/NUMBER`.
    pub experiment: Option<String>,
}

/// A line of the night's journal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EventLine {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// The time of day.
    pub clock: String,
    /// `debug`, `info`, `warning` or `error`.
    pub level: String,
    /// Which stage tells it.
    pub stage: String,
    /// What happened.
    pub text: String,
}

impl NowView {
    /// With every text fit for a page: what the script shows is what the page would.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        let texts = [&mut self.heading, &mut self.stage, &mut self.campaign, &mut self.began, &mut self.done];
        texts.into_iter().for_each(|text| *text = clean(text));
        for text in [&mut self.until, &mut self.problem].into_iter().flatten() {
            *text = clean(text);
        }
        if let Some(trial) = &mut self.trial {
            let texts = [&mut trial.title, &mut trial.hypothesis, &mut trial.progress_words];
            texts.into_iter().for_each(|text| *text = clean(text));
        }
        if let Some(curve) = &mut self.curve {
            (curve.champion_name, curve.words) = (clean(&curve.champion_name), clean(&curve.words));
        }
        let facts = self.trial.iter_mut().flat_map(|trial| &mut trial.facts);
        for fact in facts.chain(&mut self.standing).chain(&mut self.spend) {
            (fact.name, fact.value) = (clean(&fact.name), clean(&fact.value));
        }
        for line in self.next.iter_mut().chain(&mut self.waiting) {
            (line.text, line.note) = (clean(&line.text), clean(&line.note));
        }
        self
    }
}

impl EventLine {
    /// As [`NowView::cleaned`].
    #[must_use]
    pub fn cleaned(self) -> Self {
        Self { stage: clean(&self.stage), text: clean(&self.text), ..self }
    }
}

impl Fact {
    /// Both of them.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}
