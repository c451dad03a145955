//! Campaigns over many nights.

use maud::{Markup, html};
use serde::Serialize;

use super::parts::{choice, direction, seen};
use super::url;
use crate::page::figure;
use crate::picture::Picture;
use crate::text::{clean, counted, duration, interval, metric, signed};
use crate::view::Choice;

/// A campaign, or all of them one after the other.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CampaignView {
    /// Its name.
    pub campaign: String,
    /// Its nights, the oldest first.
    pub nights: Vec<NightRow>,
    /// What its nights kept and still stands, in order; empty where only an overview is asked for.
    pub accumulated: Vec<AccumulatedRow>,
    /// The picture of its nights; `None` where there is none.
    #[serde(skip)]
    pub picture: Option<Picture>,
}

/// A night of a campaign.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NightRow {
    /// Its id.
    pub night: String,
    /// When it began, as a person reads it.
    pub date: String,
    /// How it ended, in a word; `None` where it has not.
    pub ending: Option<String>,
    /// Experiments that were tried.
    pub tried: u32,
    /// Experiments that were kept and stand.
    pub kept: u32,
    /// Kept experiments that wait for a decision of the person's.
    pub waiting: u32,
    /// The metric of its start.
    pub start: Option<f64>,
    /// The place of its last champion, equal seeds compared.
    pub champion: Option<f64>,
    /// The morning's claim.
    pub claim: Option<NightClaim>,
    /// Seconds from its beginning to its end, without those in which it was cut off.
    pub seconds: Option<f64>,
    /// US dollars for language models; `None` where none was asked.
    pub dollars: Option<f64>,
}

/// The morning's claim in a line.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NightClaim {
    /// Whether it holds, and was not taken back.
    pub holds: bool,
    /// Whether it was taken back.
    pub withdrawn: bool,
    /// Champion less start.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
}

/// One change that a campaign kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccumulatedRow {
    /// The night.
    pub night: String,
    /// The experiment.
    pub number: u32,
    /// What it changed.
    pub title: String,
    /// The measured difference from its champion.
    pub difference: Option<f64>,
    /// What the person made of it.
    pub choice: Option<Choice>,
}

/// The page of all campaigns and their nights.
pub fn nights(campaigns: &[CampaignView]) -> Markup {
    let count: usize = campaigns.iter().map(|campaign| campaign.nights.len()).sum();
    html! {
        h1 { "Nights" }
        @if count == 0 {
            p { "There is no night yet. Begin with " code { "nocturne night experiments/quickstart" } "." }
        } @else {
            p { (counted(count, "night")) " of " (counted(campaigns.len(), "campaign")) ", the newest first." }
        }
        @for campaign in campaigns {
            section aria-label={ "Campaign " (clean(&campaign.campaign)) } {
                h2 { a href=(url::campaign(&campaign.campaign)) { (clean(&campaign.campaign)) } }
                (table(campaign))
            }
        }
    }
}

/// The page of one campaign.
pub fn campaign(view: &CampaignView) -> Markup {
    let (tried, kept, seconds, dollars) = sums(&view.nights);
    html! {
        p.crumbs.muted { a href="/nights" { "all nights" } }
        h1 { "Campaign " (clean(&view.campaign)) }
        p.lead {
            (counted(view.nights.len(), "night")) ", " (counted(tried as usize, "experiment")) ", " (kept) " kept, "
            (duration(seconds))
            @if let Some(dollars) = dollars { ", " (money(dollars)) " for models" }
            "."
        }
        p { (gain(&view.nights)) }
        (figure(view.picture.as_ref(), "Progress over the nights"))
        h2 { "Nights" }
        (table(view))
        h2 { "What was kept" }
        (accumulated(view))
    }
}

/// In how many mornings a gain was shown. Nothing is added up, and figures of different nights are not compared: a night need not begin from what
/// the one before it found, nor have its seeds, its budget or its machine.
fn gain(nights: &[NightRow]) -> Markup {
    let made = nights.iter().filter(|night| night.claim.is_some()).count();
    let held = nights.iter().filter(|night| night.claim.as_ref().is_some_and(|claim| claim.holds)).count();
    html! {
        @match made {
            0 => { "No morning's claim was made yet." }
            made => { "The morning's claim holds in " (held) " of " (counted(made, "night")) " that made one." }
        }
    }
}

fn sums(nights: &[NightRow]) -> (u32, u32, f64, Option<f64>) {
    let tried = nights.iter().map(|night| night.tried).sum();
    let kept = nights.iter().map(|night| night.kept).sum();
    let seconds = nights.iter().filter_map(|night| night.seconds).sum();
    let dollars = nights.iter().filter_map(|night| night.dollars).reduce(|sum, next| sum + next);
    (tried, kept, seconds, dollars)
}

fn money(dollars: f64) -> String {
    if dollars.is_finite() { format!("${dollars:.2}") } else { "–".to_owned() }
}

fn table(view: &CampaignView) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label={ "Nights of " (clean(&view.campaign)) } {
            table {
                caption {
                    span.words {
                        "val_bpb of each night's start and of its last champion, equal seeds compared; nights compare only where budget, data and \
                         machine are the same. Models: US dollars for language models, without what coding agents cost their owner."
                    }
                }
                thead {
                    tr {
                        th scope="col" { "night" }
                        th.number scope="col" { "start" }
                        th.number scope="col" { "champion" }
                        th scope="col" { "the morning's claim" }
                        th.number scope="col" { "kept of tried" }
                        th scope="col" { "review" }
                        th.number scope="col" { "took" }
                        th.number scope="col" { "models" }
                        th scope="col" { "ended" }
                    }
                }
                tbody { @for night in view.nights.iter().rev() { (row(night)) } }
            }
        }
    }
}

fn row(night: &NightRow) -> Markup {
    html! {
        tr data-row tabindex="-1" {
            td { a href=(url::night(&night.night)) { (clean(&night.night)) } small.muted { (clean(&night.date)) } }
            td.number { (metric(night.start)) }
            td.number {
                (metric(night.champion))
                @let change = night.champion.zip(night.start).map(|(champion, start)| champion - start);
                @if night.kept > 0 { small class=[direction(change)] { (signed(change)) } }
            }
            td { (claim(night.claim.as_ref())) }
            td.number { (night.kept) " of " (night.tried) }
            td {
                @if night.waiting > 0 { a href=(url::review(&night.night)) { (night.waiting) " to decide" } }
                @else if night.kept > 0 { span.muted { "decided" } }
            }
            td.number { (night.seconds.map_or("–".to_owned(), duration)) }
            td.number { (night.dollars.map_or("–".to_owned(), money)) }
            td { @match &night.ending { Some(ending) => { (clean(&ending.replace('-', " "))) } None => { strong { "not ended" } } } }
        }
    }
}

fn claim(claim: Option<&NightClaim>) -> Markup {
    html! {
        @match claim {
            None => { span.muted { "none" } }
            Some(claim) if claim.withdrawn => { span.taken-back { "withdrawn" } }
            Some(claim) => {
                @if claim.holds { span.kept { "holds" } } @else { "not shown" }
                ": " (signed(claim.difference))
                @if let Some(bounds) = claim.interval { small.muted { (interval(bounds)) } }
            }
        }
    }
}

fn accumulated(view: &CampaignView) -> Markup {
    html! {
        @if view.accumulated.is_empty() { p { "Nothing yet." } } @else {
            div.table tabindex="0" role="region" aria-label="What was kept" {
                table {
                    caption { span.words { "Every change that became a champion and still stands, in order; each was measured against the one before it in its night." } }
                    thead {
                        tr {
                            th scope="col" { "night" }
                            th.number scope="col" { "#" }
                            th scope="col" { "change" }
                            th.number scope="col" { "effect" }
                            th scope="col" { "review" }
                        }
                    }
                    tbody {
                        @for of in &view.accumulated {
                            tr data-row tabindex="-1" data-experiment={ (of.night) "/" (of.number) } data-seen=(seen(of.choice)) data-title={ "#" (of.number) " " (clean(&of.title)) } {
                                td { (clean(&of.night)) }
                                td.number { (of.number) }
                                td.title { a href=(url::experiment(&of.night, of.number)) { (super::experiments::titled(&of.title)) } }
                                td.number { span class=[direction(of.difference)] { (signed(of.difference)) } }
                                td { (choice(of.choice)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::experiments::tests::{SCRIPT, harmless};
    use super::*;

    fn view() -> CampaignView {
        let night = NightRow {
            night: SCRIPT.into(),
            date: SCRIPT.into(),
            ending: Some(SCRIPT.into()),
            tried: 100,
            kept: 4,
            waiting: 3,
            start: Some(1.9),
            champion: Some(1.85),
            claim: Some(NightClaim {
                holds: true,
                difference: Some(-0.04),
                interval: Some((-0.06, -0.02)),
                ..NightClaim::default()
            }),
            seconds: Some(28_800.0),
            dollars: Some(1.234),
        };
        let later = NightRow { ending: None, claim: None, dollars: None, champion: Some(1.8), ..night.clone() };
        let kept = AccumulatedRow {
            night: SCRIPT.into(),
            number: 3,
            title: SCRIPT.into(),
            difference: Some(-0.01),
            choice: Some(Choice::Rejected),
        };
        CampaignView { campaign: SCRIPT.into(), nights: vec![night, later], accumulated: vec![kept], picture: None }
    }

    #[test]
    fn a_campaign_adds_up_and_nothing_becomes_markup() {
        let page = campaign(&view()).into_string();
        harmless(&page);
        assert!(page.contains("2 nights, 200 experiments, 8 kept, 16 h 00 min, $1.23 for models."), "{page}");
        assert!(page.contains("The morning's claim holds in 1 of 1 night that made one."), "{page}");
        assert!(page.contains("3 to decide") && page.contains("not ended"));
        harmless(&nights(&[view()]).into_string());
        assert!(nights(&[]).into_string().contains("no night yet"));
    }

    #[test]
    fn the_newest_night_comes_first() {
        let mut view = view();
        (view.nights[0].night, view.nights[1].night) = ("older".into(), "newer".into());
        let page = nights(&[view]).into_string();
        assert!(page.find("newer") < page.find("older"), "{page}");
    }
}
