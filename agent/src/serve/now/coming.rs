//! What comes next, and what there is left to spend on it.

use dashboards::site::{Fact, Line};

use super::MOST_LINES;
use crate::campaign::{Campaign, CampaignName, Spending};
use crate::records::{NightRecord, QueueEntry, QueueState};
use crate::serve::live::Seen;
use crate::store::Glance;
use crate::terminal::fit;

/// Columns of a line of the queue.
const MOST_WORDS: usize = 160;

/// What is being made, then the person's ideas in their order.
pub(super) fn next(seen: &Seen, glance: &Glance, runs: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(making) = seen.doing.making.as_ref().filter(|_| runs && seen.doing.testing.is_some()) {
        let note = making.key.as_ref().map(|key| idea(key, &glance.queue)).unwrap_or_default();
        lines.push(Line { text: format!("Experiment {}: {}", making.number, making.what), note, ..Line::default() });
    }
    let mut queue: Vec<&QueueEntry> = glance.queue.iter().filter(|it| it.state == QueueState::Waiting).collect();
    queue.sort_by_key(|entry| (entry.place, entry.id));
    lines.extend(queue.iter().take(MOST_LINES).map(|entry| {
        let patch = if entry.patch.is_some() { ", with a patch" } else { "" };
        let by = entry.by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
        let note = format!("idea {} of the queue{patch}{by}", entry.id);
        Line { text: words(&entry.words), note, ..Line::default() }
    }));
    let more = queue.len().saturating_sub(MOST_LINES);
    if more > 0 {
        lines.push(Line { text: format!("and {more} more: nocturne queue list"), ..Line::default() });
    }
    lines
}

/// What a proposal's key tells a person: the words of their idea, where it is one.
fn idea(key: &str, queue: &[QueueEntry]) -> String {
    let of = QueueEntry::id_of(key).and_then(|id| queue.iter().find(|entry| entry.id == id));
    of.map_or_else(|| key.to_owned(), |entry| words(&entry.words))
}

fn words(text: &str) -> String {
    fit(&text.split_whitespace().collect::<Vec<_>>().join(" "), MOST_WORDS)
}

/// What a night may spend, as its campaign said when it began; `None` where that cannot be read.
pub(in crate::serve) fn limits(night: &NightRecord) -> Option<Spending> {
    let name = night.campaign.parse::<CampaignName>().ok()?;
    Campaign::parse_recorded(name, &night.campaign_text, "", "campaign.toml").ok().map(|campaign| campaign.spending)
}

pub(super) fn spend(seen: &Seen) -> Vec<Fact> {
    let spent = seen.spent;
    let limits = seen.limits.flatten();
    let limit = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let Spending { dollars, tokens, calls } = limits.unwrap_or_default();
    if spent.calls == 0 && dollars.or(tokens.map(|n| n as f64)).or(calls.map(|n| n as f64)).is_none() {
        return vec![Fact::new("models", "none was asked")];
    }
    let mut facts = vec![
        Fact::new("dollars", format!("{:.4}{}", spent.usd, limit(dollars.map(|dollars| format!("{dollars:.2}"))))),
        Fact::new("tokens", format!("{}{}", spent.tokens, limit(tokens.map(|tokens| tokens.to_string())))),
        Fact::new("calls", format!("{}{}", spent.calls, limit(calls.map(|calls| calls.to_string())))),
    ];
    if limits.is_none() {
        facts.push(Fact::new("limits", "not known: the night's campaign.toml cannot be read"));
    }
    facts
}
