//! Deciding: what waits for the person, what they decided, and which branches come of what they accept.

use maud::{Markup, html};
use serde::Serialize;

use super::experiment::{Told, short_of};
use super::experiments::titled;
use super::parts::{NightHead, choice, crumbs, done, number_words, seen};
use super::url;
use crate::page::effect::Range;
use crate::text::{clean, counted};
use crate::view::{Choice, NightView};

/// Everything of a night that is decided or waits.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ReviewPage {
    /// The night.
    pub night: NightHead,
    /// What of the night the articles tell: the metric, what was left out.
    #[serde(skip)]
    pub about: NightView,
    /// What waits, most valuable first, as much of it as a page can hold.
    pub waiting: Vec<Told>,
    /// How many wait besides.
    pub more: u32,
    /// What was decided, the newest first.
    pub decided: Vec<DecidedRow>,
    /// What comes of what is accepted; `None` where nothing is.
    pub plan: Option<PlanView>,
    /// What was accepted and cannot be taken any more, and why; branches of it may have been made before.
    pub fallen: Vec<(u32, String)>,
    /// Branches that were made of this night's experiments, by name, each with whether what it has was taken back since.
    pub made: Vec<(String, bool)>,
    /// What has just been done, in words.
    pub done: Option<String>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecidedRow {
    /// The experiment.
    pub number: u32,
    /// What it changed.
    pub title: String,
    /// The last word on it.
    pub choice: Choice,
    /// Why, in the person's words.
    pub reason: String,
    /// When, as a person reads it.
    pub date: String,
}

/// Branches that would be made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PlanView {
    /// The commit that they would stand on, and what the person calls it.
    pub base: String,
    /// Names all that follows: it is another where anything of it is.
    pub digest: String,
    /// Why it is not known what would be made; nothing of it is told then.
    pub problem: Option<String>,
    /// One branch each: the end of its name, and its changes in the order of their commits.
    pub branches: Vec<(String, Vec<u32>)>,
    /// Two that do not fit together, and where.
    pub clashes: Vec<(String, String, Vec<String>)>,
    /// Of what no branch can be made, and why.
    pub blocked: Vec<(u32, String)>,
    /// All in one branch: its changes in order.
    pub stack: Vec<u32>,
    /// What does not fit into that, and why.
    pub stack_blocked: Vec<(u32, String)>,
}

/// The page. `csrf` goes into its forms.
pub fn review(view: &ReviewPage, csrf: &str) -> Markup {
    let night = &view.night;
    let waiting = view.waiting.len() + view.more as usize;
    let range = Range::of(view.waiting.iter().map(|told| &told.experiment));
    html! {
        (crumbs(night))
        h1 { "Review of night " (clean(&night.night)) }
        (done(view.done.as_deref()))
        p {
            @match waiting {
                0 => { "Nothing waits for you." }
                count => { strong { (counted(count, "decision")) " to make" } ", the most valuable first. "
                    span.muted { "Keys: " kbd { "j" } " " kbd { "k" } " move, " kbd { "a" } " accepts, " kbd { "r" } " rejects, " kbd { "d" } " defers." } }
            }
        }
        @for told in &view.waiting { (short_of(&view.about, told, &night.night, csrf, range)) }
        @if view.more > 0 {
            p { "And " (view.more) " more: they come up as you decide, or stand in the "
                a href={ (url::night(&night.night)) "?verdict=kept&sort=value" } { "table, by value" } "." }
        }
        (branches(view, csrf))
        (decided(view))
    }
}

fn branches(view: &ReviewPage, csrf: &str) -> Markup {
    let numbers = |of: &[u32]| of.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(", then ");
    let blocked = |of: &[(u32, String)]| {
        html! { @for (number, why) in of { li { "No branch for #" (number) ": " (clean(why)) "." } } }
    };
    html! {
        h2 #branches { "Branches" }
        @if !view.fallen.is_empty() {
            section.warning {
                p { "You accepted what does not stand any more. No branch is made of it now; do not merge one that was made before." }
                ul { @for (number, why) in &view.fallen { li { "#" (number) ": " (clean(why)) "." } } }
            }
        }
        @match &view.plan {
            None => { p { "Nothing is accepted yet. Of what you accept, clean branches are made on top of your own; nothing is merged for you." } }
            Some(PlanView { problem: Some(problem), .. }) => { p.warning { "Which branches would come of it is not known: " (clean(problem)) } }
            Some(plan) => {
                p { "On top of " (clean(&plan.base)) ". Branches are added, nothing of yours is moved or merged." }
                @if !plan.branches.is_empty() {
                    div data-row tabindex="-1" {
                        h3 { "One branch for each change" }
                        ul {
                            @for (name, of) in &plan.branches { li { code { "accepted/" (clean(name)) } ": " (numbers(of)) } }
                            @for (one, other, files) in &plan.clashes {
                                li { strong { "Clash" } ": " code { (clean(one)) } " and " code { (clean(other)) } " do not fit together in "
                                    (clean(&files.join(", "))) ": merge one of them, then the other by hand." }
                            }
                            (blocked(&plan.blocked))
                        }
                        (make(view, csrf, &plan.digest, "independent", &format!("Make {}", branches_words(plan.branches.len()))))
                    }
                } @else { ul { (blocked(&plan.blocked)) } }
                @if plan.stack.len() > 1 {
                    div data-row tabindex="-1" {
                        h3 { "Or all in one" }
                        ul { li { code { "accepted/stack" } ": " (numbers(&plan.stack)) } (blocked(&plan.stack_blocked)) }
                        (make(view, csrf, &plan.digest, "stacked", "Make one branch of all"))
                    }
                }
            }
        }
        @if !view.made.is_empty() {
            h3 #made { "Made" }
            ul {
                @for (name, fallen) in &view.made {
                    li { code { (clean(name)) } @if *fallen { " " span.taken-back { "has what was taken back since: do not merge it" } } }
                }
            }
            p { "Merge what you want: " code { "git merge BRANCH" } "." }
        }
    }
}

/// `1 branch`, `2 branches`.
fn branches_words(count: usize) -> String {
    if count == 1 { "1 branch".to_owned() } else { format!("{count} branches") }
}

fn make(view: &ReviewPage, csrf: &str, digest: &str, arrangement: &str, words: &str) -> Markup {
    html! {
        form method="post" action={ (url::night(&view.night.night)) "/branches" } {
            input type="hidden" name="csrf" value=(csrf);
            input type="hidden" name="arrangement" value=(arrangement);
            input type="hidden" name="plan" value=(digest);
            button.primary data-open { (words) }
        }
    }
}

fn decided(view: &ReviewPage) -> Markup {
    let night = &view.night.night;
    html! {
        h2 { "Decided" }
        @if view.decided.is_empty() { p { "Nothing yet." } } @else {
            div.table tabindex="0" role="region" aria-label="Decided" {
                table {
                    caption { span.words { "The last word on each; decide again on its page, or here by the keys." } }
                    thead {
                        tr {
                            th.number scope="col" { "#" }
                            th scope="col" { "experiment" }
                            th scope="col" { "decision" }
                            th scope="col" { "reason" }
                            th scope="col" { "when" }
                        }
                    }
                    tbody {
                        @for of in &view.decided {
                            tr data-row tabindex="-1" data-experiment={ (night) "/" (of.number) } data-seen=(seen(Some(of.choice))) data-title={ "#" (of.number) " " (clean(&of.title)) } {
                                td.number { (of.number) }
                                td.title { a href=(url::experiment(night, of.number)) { (titled(&of.title)) } }
                                td { (choice(Some(of.choice))) }
                                td { (clean(&of.reason)) }
                                td { (clean(&of.date)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The form by which one experiment is decided. `back` is the page to which the browser goes from there; `why_not` says why it cannot be
/// accepted.
pub(super) fn form(
    night: &str,
    number: u32,
    why_not: Option<&str>,
    said_last: Option<Choice>,
    csrf: &str,
    back: &str,
) -> Markup {
    let id = format!("reason-{number}");
    html! {
        form method="post" action="/reviews" aria-label={ "Your decision on " (number_words(number)) } {
            input type="hidden" name="csrf" value=(csrf);
            input type="hidden" name="experiment" value={ (night) "/" (number) };
            input type="hidden" name="seen" value=(seen(said_last));
            input type="hidden" name="back" value=(back);
            label for=(id) { "Reason " span.muted { "(a rejection needs one: it goes into later briefs)" } }
            textarea id=(id) name="reason" rows="2" maxlength="2000" required {}
            p.buttons {
                button.primary name="choice" value="accepted" formnovalidate disabled[why_not.is_some()] { "Accept" }
                button name="choice" value="rejected" { "Reject" }
                button name="choice" value="deferred" formnovalidate { "Defer" }
            }
            @if let Some(why) = why_not { p.muted { "It cannot be accepted: " (clean(why)) "." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::experiment::tests::told;
    use super::super::experiments::tests::{SCRIPT, harmless, head};
    use super::*;

    fn view() -> ReviewPage {
        let text = || SCRIPT.to_owned();
        let plan = PlanView {
            base: text(),
            digest: text(),
            problem: None,
            branches: vec![(text(), vec![3]), (text(), vec![3, 5])],
            clashes: vec![(text(), text(), vec![text(), text()])],
            blocked: vec![(9, text())],
            stack: vec![3, 5],
            stack_blocked: vec![(9, text())],
        };
        let decided = DecidedRow { number: 5, title: text(), choice: Choice::Rejected, reason: text(), date: text() };
        ReviewPage {
            night: head(),
            about: NightView::default(),
            waiting: vec![told(3), told(4)],
            more: 2,
            decided: vec![decided],
            plan: Some(plan),
            fallen: vec![(9, text())],
            made: vec![(text(), true)],
            done: Some(text()),
        }
    }

    #[test]
    fn what_waits_is_decided_by_forms_that_prove_where_they_come_from() {
        let page = review(&view(), "the-token").into_string();
        harmless(&page);
        assert!(page.contains("<strong>4 decisions to make</strong>") && page.contains("And 2 more: "), "{page}");
        assert_eq!(page.matches("method=\"post\"").count(), page.matches("name=\"csrf\" value=\"the-token\"").count());
        assert_eq!(page.matches("method=\"post\"").count(), 4, "two decisions, two ways to make branches");
        assert!(page.contains("Make 2 branches") && page.contains("#3, then #5") && page.contains("Clash"), "{page}");
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let once: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_plan_that_cannot_be_made_is_no_reason_to_show_nothing() {
        let plan = PlanView { problem: Some("HEAD has no commit".to_owned()), ..PlanView::default() };
        let page = review(&ReviewPage { plan: Some(plan), ..view() }, "t").into_string();
        assert!(page.contains("is not known: HEAD has no commit") && page.contains("4 decisions"), "{page}");
        assert!(!page.contains("/branches\""), "nothing can be made: {page}");
    }

    #[test]
    fn a_night_in_which_nothing_waits_says_so() {
        let page = review(&ReviewPage { night: head(), ..ReviewPage::default() }, "t").into_string();
        assert!(page.contains("Nothing waits for you.") && page.contains("Nothing is accepted yet."), "{page}");
        assert!(!page.contains("<form"));
    }
}
