//! A night's experiments as a tree: the line of its champions, and what was tried on each.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Serialize;

use super::experiments::titled;
use super::parts::{NightHead, Outcome, choice, crumbs, direction, number_words, outcome, seen};
use super::url;
use crate::text::{clean, counted, metric, signed};
use crate::view::Choice;

/// As many experiments on a champion are shown without being asked for.
const MOST_OPEN: usize = 12;

/// All of a night's experiments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TreeView {
    /// The night.
    pub night: NightHead,
    /// The metric of the night's start.
    pub start: Option<f64>,
    /// The champions in their order, without the night's start.
    pub champions: Vec<u32>,
    /// All experiments.
    pub experiments: Vec<TreeNode>,
}

/// An experiment of the tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TreeNode {
    /// Counted from 1 in the night.
    pub number: u32,
    /// What was changed.
    pub title: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The measured difference from its champion.
    pub difference: Option<f64>,
    /// Who proposed it.
    pub proposer: String,
    /// Number of the champion that it was made on; 0 is the night's start.
    pub champion: u32,
    /// What the person made of it.
    pub choice: Option<Choice>,
}

/// The page.
pub fn tree(view: &TreeView) -> Markup {
    let mut on: BTreeMap<u32, Vec<&TreeNode>> = BTreeMap::new();
    for node in &view.experiments {
        on.entry(node.champion).or_default().push(node);
    }
    let nodes: BTreeMap<u32, &TreeNode> = view.experiments.iter().map(|node| (node.number, node)).collect();
    html! {
        (crumbs(&view.night))
        h1 { "Tree of night " (clean(&view.night.night)) }
        p {
            "Each champion with what was tried on it. "
            (counted(view.experiments.len(), "experiment")) ", "
            (counted(view.champions.len(), "new champion")) "."
        }
        ul.tree {
            (champion(view, None, &on))
            @for number in &view.champions {
                @if let Some(node) = nodes.get(number) { (champion(view, Some(node), &on)) }
            }
            (orphans(view, &on))
        }
    }
}

/// A champion of the line with what was tried on it; the one who followed it stands after it, not in it: the line can be long.
fn champion(view: &TreeView, node: Option<&TreeNode>, on: &BTreeMap<u32, Vec<&TreeNode>>) -> Markup {
    let number = node.map_or(0, |node| node.number);
    let tried = on.get(&number).map_or(&[][..], Vec::as_slice);
    let line = html! {
        @match node {
            None => {
                a href=(url::experiment(&view.night.night, 0)) { "The night's start" }
                " " span.muted { "val_bpb " (metric(view.start)) }
            }
            Some(node) => { (leaf(&view.night.night, node)) }
        }
    };
    let data = node.map(|node| format!("{}/{}", view.night.night, node.number));
    let title = node.map(|node| format!("#{} {}", node.number, clean(&node.title)));
    html! {
        li.champion {
            div.leaf data-row tabindex="-1" data-experiment=[data] data-seen=[node.map(|node| seen(node.choice))] data-title=[title] { (line) }
            @if tried.is_empty() {
                p.muted.leaf { "Nothing was tried on it." }
            } @else {
                // The line of champions is what one looks for first; what was tried is a click away where there is much of it.
                details id={ "on-" (number) } open[tried.len() <= MOST_OPEN] {
                    summary { "Tried on it: " (summary(tried)) }
                    ul {
                        @for node in tried {
                            li {
                                @if view.champions.contains(&node.number) {
                                    div.leaf { "→ #" (node.number) " " (titled(&node.title)) ", the next champion" }
                                } @else {
                                    (row(&view.night.night, node))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Experiments on a champion that is not in the line: of records that do not fit together.
fn orphans(view: &TreeView, on: &BTreeMap<u32, Vec<&TreeNode>>) -> Markup {
    let is_known = |number: &u32| *number == 0 || view.champions.contains(number);
    html! {
        @for (number, tried) in on.iter().filter(|(number, _)| !is_known(number)) {
            li {
                details id={ "on-" (number) } {
                    summary { "On " (number_words(*number)) ", which is no champion: " (summary(tried)) }
                    ul { @for node in tried { li { (row(&view.night.night, node)) } } }
                }
            }
        }
    }
}

fn summary(tried: &[&TreeNode]) -> String {
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for node in tried {
        *counts.entry(node.outcome).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
    parts.join(", ")
}

fn row(night: &str, node: &TreeNode) -> Markup {
    html! {
        div.leaf data-row tabindex="-1" data-experiment={ (night) "/" (node.number) } data-seen=(seen(node.choice)) data-title={ "#" (node.number) " " (clean(&node.title)) } {
            (leaf(night, node))
        }
    }
}

fn leaf(night: &str, node: &TreeNode) -> Markup {
    html! {
        "#" (node.number) " " a href=(url::experiment(night, node.number)) { (titled(&node.title)) }
        " " (outcome(node.outcome))
        @if node.difference.is_some() { " " span class=[direction(node.difference)] { (signed(node.difference)) } }
        " " span.muted { (clean(&node.proposer)) }
        @if node.choice.is_some() { " " (choice(node.choice)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::experiments::tests::{SCRIPT, harmless, head};
    use super::*;

    fn node(number: u32, champion: u32, outcome: Outcome) -> TreeNode {
        TreeNode {
            number,
            title: SCRIPT.into(),
            outcome,
            difference: Some(-0.001),
            proposer: SCRIPT.into(),
            champion,
            choice: None,
        }
    }

    fn view(count: u32) -> TreeView {
        let mut experiments = vec![node(1, 0, Outcome::Discarded), node(2, 0, Outcome::Kept)];
        experiments.extend((3..=count).map(|number| node(number, 2, Outcome::Discarded)));
        TreeView { night: head(), start: Some(1.9), champions: vec![2], experiments }
    }

    #[test]
    fn the_line_of_champions_holds_what_was_tried_on_each() {
        let page = tree(&view(6)).into_string();
        harmless(&page);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
        assert!(at("The night's start") < at("data-experiment=\"n/1\""));
        assert!(at("data-experiment=\"n/1\"") < at("data-experiment=\"n/2\""), "{page}");
        assert!(at("data-experiment=\"n/2\"") < at("data-experiment=\"n/6\""));
        assert!(page.contains("Tried on it: 1 kept, 1 discarded") && page.contains("Tried on it: 4 discarded"));
        assert!(page.contains("<details id=\"on-2\" open>"), "{page}");
        // Once as a row each: the champion in its own place alone.
        assert_eq!(page.matches("data-experiment=\"n/2\"").count(), 1);
    }

    #[test]
    fn a_thousand_experiments_are_folded_away() {
        let page = tree(&view(1_000)).into_string();
        assert!(page.contains("<details id=\"on-2\"><summary"), "what was tried is folded");
        assert!(page.len() < 600_000, "{}", page.len());
    }

    #[test]
    fn records_that_do_not_fit_together_are_shown_all_the_same() {
        let mut view = view(3);
        view.experiments.push(node(9, 7, Outcome::Open));
        assert!(tree(&view).into_string().contains("On #7, which is no champion"));
    }
}
