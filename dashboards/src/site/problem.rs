//! The page of a request that cannot be answered.

use maud::{Markup, html};

use crate::text::clean;

/// What happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProblemView {
    /// In three words.
    pub title: String,
    /// What happened, and why.
    pub words: String,
    /// What to do; may be empty.
    pub help: String,
}

/// The page's content. The words may quote anything.
pub fn problem(view: &ProblemView) -> Markup {
    html! {
        h1 { (clean(&view.title)) }
        p { (clean(&view.words)) }
        @if !view.help.is_empty() { p { (clean(&view.help)) } }
        p { a href="/" { "The night now" } " · " a href="/nights" { "All nights" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_escaped() {
        let hostile = "<script>alert(1)</script>".to_owned();
        let view = ProblemView { title: hostile.clone(), words: hostile.clone(), help: hostile };
        let page = problem(&view).into_string();
        assert!(!page.contains("<script") && page.matches("&lt;script&gt;").count() == 3, "{page}");
    }
}
