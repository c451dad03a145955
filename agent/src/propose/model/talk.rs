//! A conversation with a model as it is sent: what never changes, the brief as large as there is room for, and what was said since.

use crate::brief::window::{self, TooSmall};
use crate::brief::{SYSTEM, answer_format, sections};
use crate::campaign::Model;
use crate::flow::Brief;
use crate::llm::spend::estimated_tokens;
use crate::llm::{Message, Part, Request, Role, Tool};

/// What is left of a brief's window when a server finds it too long after all.
const SHRUNK: f64 = 2.0 / 3.0;

/// A conversation so far.
pub(super) struct Talk<'a> {
    brief: &'a Brief,
    model: &'a Model,
    tools: Vec<Tool>,
    /// What was said after the brief.
    said: Vec<Message>,
    shrunk: bool,
}

impl<'a> Talk<'a> {
    pub fn new(brief: &'a Brief, model: &'a Model, tools: Vec<Tool>) -> Self {
        Self { brief, model, tools, said: Vec::new(), shrunk: false }
    }

    /// Makes the brief smaller by a third, once; `false` when it is already.
    pub fn shrink(&mut self) -> bool {
        !std::mem::replace(&mut self.shrunk, true)
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
        let window = if self.shrunk { (left as f64 * SHRUNK) as u64 } else { left };
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
