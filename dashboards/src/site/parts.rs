//! What several pages share: how an experiment came out and what the person made of it, as data and as marks; pages of a list.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::url;
use crate::text::clean;
use crate::view::{Choice, Verdict};

/// How an experiment came out, as it counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Kept, and it stands.
    Kept,
    /// Not better.
    Discarded,
    /// The trials did not tell.
    Inconclusive,
    /// Broke a rule.
    Invalid,
    /// The trainer did not finish.
    Crashed,
    /// The compiler refused it.
    Unbuildable,
    /// Kept once; it, or what it builds on, turned out to break a rule.
    TakenBack,
    /// Not decided yet, or never.
    Open,
}

impl Outcome {
    /// All of them, in the order of filters.
    pub const ALL: [Outcome; 8] = [
        Outcome::Kept,
        Outcome::Discarded,
        Outcome::Inconclusive,
        Outcome::Invalid,
        Outcome::Crashed,
        Outcome::Unbuildable,
        Outcome::TakenBack,
        Outcome::Open,
    ];

    /// From a verdict, and whether it still stands.
    pub fn of(verdict: Option<Verdict>, stands: bool) -> Self {
        match verdict {
            None => Outcome::Open,
            Some(Verdict::Kept) if !stands => Outcome::TakenBack,
            Some(Verdict::Kept) => Outcome::Kept,
            Some(Verdict::Discarded) => Outcome::Discarded,
            Some(Verdict::Inconclusive) => Outcome::Inconclusive,
            Some(Verdict::Invalid) => Outcome::Invalid,
            Some(Verdict::Crashed) => Outcome::Crashed,
            Some(Verdict::Unbuildable) => Outcome::Unbuildable,
        }
    }

    /// The word in addresses, JSON and classes.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Kept => "kept",
            Outcome::Discarded => "discarded",
            Outcome::Inconclusive => "inconclusive",
            Outcome::Invalid => "invalid",
            Outcome::Crashed => "crashed",
            Outcome::Unbuildable => "unbuildable",
            Outcome::TakenBack => "taken-back",
            Outcome::Open => "open",
        }
    }

    /// The word on pages.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::TakenBack => "taken back",
            Outcome::Open => "not decided",
            other => other.name(),
        }
    }

    /// The outcome of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A night as its pages name it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NightHead {
    /// Name of the campaign.
    pub campaign: String,
    /// The night's id.
    pub night: String,
    /// When it began, as a person reads it.
    pub date: String,
    /// Whether it has ended.
    pub ended: bool,
}

/// An outcome by word and mark (the mark is the class's).
pub(super) fn outcome(outcome: Outcome) -> Markup {
    html! { span class={ "verdict " (outcome.name()) } { (outcome.words()) } }
}

/// What the person made of it.
pub(super) fn choice(choice: Option<Choice>) -> Markup {
    html! { @if let Some(choice) = choice { span class=(choice.name()) { (choice.name()) } } }
}

/// The last word on an experiment, as a page says which one it shows: empty where there is none.
pub(super) fn seen(choice: Option<Choice>) -> &'static str {
    choice.map_or("", Choice::name)
}

/// What has just been done, for whoever comes back from a form.
pub(super) fn done(words: Option<&str>) -> Markup {
    html! { @if let Some(words) = words { p.done role="status" { (clean(words)) } } }
}

/// The line above a heading that leads back.
pub(super) fn crumbs(head: &NightHead) -> Markup {
    html! {
        p.crumbs.muted {
            a href=(url::campaign(&head.campaign)) { (clean(&head.campaign)) }
            " · night " a href=(url::night(&head.night)) { (clean(&head.night)) }
            " · " (clean(&head.date))
            @if !head.ended { " · " strong { "not ended" } }
        }
    }
}

/// `#3`, or what number 0 is called.
pub(super) fn number_words(number: u32) -> String {
    match number {
        0 => "the night's start".to_owned(),
        number => format!("#{number}"),
    }
}

/// A class for a difference, negative being better; none for one that is no number.
pub(super) fn direction(difference: Option<f64>) -> Option<&'static str> {
    match difference {
        Some(value) if value < 0.0 => Some("better"),
        Some(value) if value > 0.0 => Some("worse"),
        _ => None,
    }
}

/// Links to the pages of a list, where it has more than one. `address` makes that of a page, counted from 1.
pub(super) fn pager(page: u32, pages: u32, address: impl Fn(u32) -> String) -> Markup {
    let around = page.saturating_sub(2).max(1)..=page.saturating_add(2).min(pages);
    html! {
        @if pages > 1 {
            nav.steps aria-label="Pages" {
                @if page > 1 { a rel="prev" href=(address(page - 1)) { "← earlier" } } @else { span {} }
                span {
                    @if *around.start() > 1 { a href=(address(1)) { "1" } " … " }
                    @for at in around.clone() {
                        @if at == page { strong aria-current="page" { "page " (at) " of " (pages) } }
                        @else { a href=(address(at)) aria-label={ "page " (at) } { (at) } }
                        " "
                    }
                    @if *around.end() < pages { "… " a href=(address(pages)) { (pages) } }
                }
                @if page < pages { a rel="next" href=(address(page + 1)) { "later →" } } @else { span {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_names_that_find_them() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::named(outcome.name()), Some(outcome));
        }
        assert_eq!(Outcome::named("liked"), None);
        assert_eq!(Outcome::of(Some(Verdict::Kept), false), Outcome::TakenBack);
        assert_eq!(Outcome::of(Some(Verdict::Crashed), false), Outcome::Crashed);
    }

    #[test]
    fn every_page_can_be_reached() {
        let at = |page| pager(page, 9, |page| format!("/p?page={page}")).into_string();
        assert!(at(1).contains("page=2\">later") && !at(1).contains("earlier"), "{}", at(1));
        assert!(
            at(5).contains("page=1\">1") && at(5).contains("page=9\">9") && at(5).contains("page 5 of 9"),
            "{}",
            at(5)
        );
        assert!(at(9).contains("page=8\">← earlier") && !at(9).contains("later"), "{}", at(9));
        assert_eq!(pager(1, 1, |_| String::new()).into_string(), "");
    }
}
