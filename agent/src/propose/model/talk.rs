//! A conversation with a model as it is sent: what never changes, the brief as large as there is room for, and what was said since.

use crate::brief::window::{self, TooSmall};
use crate::brief::{SYSTEM, answer_format, sections};
use crate::campaign::Model;
use crate::flow::Brief;
use crate::llm::spend::estimated_tokens;
use crate::llm::{Message, Part, Request, Role, Tool};

/// What is left of a brief's window when a server finds it too long after all, at first; then half of that, and so on.
const SHRUNK: f64 = 2.0 / 3.0;

/// How often it is made smaller: to a twelfth in the end.
const MOST_SHRUNK: i32 = 4;

/// A conversation so far.
pub(super) struct Talk<'a> {
    brief: &'a Brief,
    model: &'a Model,
    tools: Vec<Tool>,
    /// What was said after the brief.
    said: Vec<Message>,
    shrunk: i32,
}

impl<'a> Talk<'a> {
    pub fn new(brief: &'a Brief, model: &'a Model, tools: Vec<Tool>) -> Self {
        Self { brief, model, tools, said: Vec::new(), shrunk: 0 }
    }

    /// Makes the brief smaller, by a third at first and by half later; `false` when it is small enough for any model.
    pub fn shrink(&mut self) -> bool {
        self.shrunk += 1;
        self.shrunk <= MOST_SHRUNK
    }

    /// Whether nothing was said after the brief.
    pub fn opens(&self) -> bool {
        self.said.is_empty()
    }

    /// What to tell a person where it does not fit. `why`: what was found too long.
    pub fn too_long(&self, why: &str) -> String {
        let Model { context_tokens, answer_tokens, .. } = self.model;
        match self.shrunk.min(MOST_SHRUNK) {
            0 => why.to_owned(),
            times => format!(
                "{why}; the brief was made smaller {times} times: what the server holds seems to be far less than context_tokens = \
                 {context_tokens}; set that to what it was started with, and answer_tokens = {answer_tokens} so that most is left to the brief"
            ),
        }
    }

    /// The same where the brief cannot be made so small.
    pub fn too_small(&self, small: &TooSmall) -> String {
        match self.shrunk {
            0 => small.to_string(),
            _ => format!("the server finds the request too long, and a brief needs {} tokens at least", small.needed),
        }
    }

    pub fn user(&mut self, text: String) {
        self.push(Role::User, vec![Part::Text { text }]);
    }

    pub fn assistant(&mut self, parts: Vec<Part>) {
        self.push(Role::Assistant, parts);
    }

    pub fn push(&mut self, role: Role, parts: Vec<Part>) {
        self.said.push(Message { role, parts });
    }

    /// What is sent next.
    pub fn request(&self) -> Result<Request, TooSmall> {
        let tools: u64 = self.tools.iter().map(|tool| estimated_tokens(&format!("{tool:?}"))).sum();
        let said: u64 = self.said.iter().map(|message| estimated_tokens(&format!("{message:?}"))).sum();
        let all = u64::from(self.model.context_tokens.saturating_sub(self.model.answer_tokens));
        let left = all.saturating_sub(estimated_tokens(SYSTEM) + tools + said);
        let window = match self.shrunk {
            0 => left,
            times => (left as f64 * SHRUNK * 0.5_f64.powi(times - 1)) as u64,
        };
        let mut sections = sections(self.brief, window);
        sections.push(answer_format());
        let text = window::fill(&sections, window)?;
        let first = Message { role: Role::User, parts: vec![Part::Text { text }] };
        Ok(Request {
            model: self.model.model.clone(),
            system: SYSTEM.to_owned(),
            messages: std::iter::once(first).chain(self.said.iter().cloned()).collect(),
            tools: self.tools.clone(),
            most_tokens: self.model.answer_tokens,
            temperature: self.model.temperature,
        })
    }
}
