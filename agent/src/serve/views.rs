//! View models of the pages from what the store lists. Pure.

use std::collections::HashMap;

use dashboards::Choice;
use dashboards::site::{
    AccumulatedRow, CampaignView, ExperimentRow, ExperimentsQuery, ExperimentsView, NightClaim, NightHead, NightRow,
    Outcome, TreeNode, TreeView,
};

use crate::clock::date;
use crate::flow::{CommitId, NightId};
use crate::records::{ChampionMove, NightRecord, ReviewChoice};
use crate::report::shown;
use crate::store::{KeptChange, Listed, ListedExperiment, ListedNight, Listing, TreeExperiment};

pub(super) fn choice(choice: ReviewChoice) -> Choice {
    match choice {
        ReviewChoice::Accepted => Choice::Accepted,
        ReviewChoice::Rejected => Choice::Rejected,
        ReviewChoice::Deferred => Choice::Deferred,
    }
}

pub(super) fn head(night: &NightRecord) -> NightHead {
    NightHead {
        campaign: night.campaign.clone(),
        night: night.id.to_string(),
        date: date(night.started_at),
        ended: night.end.is_some(),
    }
}

fn outcome(of: &Listing) -> Outcome {
    Outcome::of(of.verdict.map(shown), of.stands)
}

pub(super) fn experiments(night: &NightRecord, query: ExperimentsQuery, listed: Listed) -> ExperimentsView {
    let mut view = ExperimentsView {
        night: head(night),
        query,
        rows: listed.rows.into_iter().map(row).collect(),
        all: listed.counts.iter().map(|(_, count)| count).sum(),
        matching: listed.matching,
        outcomes: Outcome::ALL.into_iter().map(|outcome| (outcome, 0)).collect(),
        proposers: Vec::new(),
        families: Vec::new(),
    };
    for (of, count) in &listed.counts {
        add(&mut view.outcomes, &outcome(of), *count);
        add(&mut view.proposers, &of.proposer, *count);
        add(&mut view.families, &of.family, *count);
    }
    view.proposers.sort();
    view.families.sort();
    view
}

fn add<T: PartialEq + Clone>(counts: &mut Vec<(T, u32)>, of: &T, count: u32) {
    match counts.iter_mut().find(|(known, _)| known == of) {
        Some((_, sum)) => *sum += count,
        None => counts.push((of.clone(), count)),
    }
}

fn row(of: ListedExperiment) -> ExperimentRow {
    ExperimentRow {
        number: of.number,
        outcome: outcome(&of.listing),
        title: of.title,
        val_bpb: of.val_bpb,
        runs: of.runs,
        difference: of.difference,
        interval: of.interval,
        expected: of.expected,
        predicted: of.predicted,
        lines: of.lines,
        seconds: of.seconds,
        proposer: of.listing.proposer,
        family: of.listing.family,
        choice: of.choice.map(choice),
    }
}

pub(super) fn tree(
    night: &NightRecord,
    start: Option<f64>,
    champions: &[ChampionMove],
    experiments: Vec<TreeExperiment>,
) -> TreeView {
    let number_of = |commit: &CommitId| {
        champions.iter().find(|champion| champion.commit == *commit).map(|champion| champion.experiment).or_else(|| {
            experiments.iter().find(|other| other.commit.as_ref() == Some(commit)).map(|other| other.number)
        })
    };
    let nodes = experiments.iter().map(|of| TreeNode {
        number: of.number,
        title: of.title.clone(),
        outcome: outcome(&of.listing),
        difference: of.difference,
        proposer: of.listing.proposer.clone(),
        champion: number_of(&of.champion).unwrap_or(0),
        choice: of.choice.map(choice),
    });
    TreeView {
        night: head(night),
        start,
        champions: champions.iter().map(|champion| champion.experiment).filter(|number| *number > 0).collect(),
        experiments: nodes.collect(),
    }
}

/// One view a campaign, the one with the newest night first. `cut_off` has the seconds for which a night did not run between its beginning and
/// its end, where there are any.
pub(super) fn campaigns(nights: Vec<ListedNight>, cut_off: &HashMap<NightId, f64>) -> Vec<CampaignView> {
    let mut campaigns: Vec<CampaignView> = Vec::new();
    for night in nights {
        let place = match campaigns.iter().position(|campaign| campaign.campaign == night.campaign) {
            Some(place) => place,
            None => {
                campaigns.push(CampaignView { campaign: night.campaign.clone(), ..CampaignView::default() });
                campaigns.len() - 1
            }
        };
        // Whichever got a night last is the newest so far.
        let mut campaign = campaigns.remove(place);
        let cut_off = cut_off.get(&night.night).copied().unwrap_or(0.0);
        campaign.nights.push(night_row(night, cut_off));
        campaigns.push(campaign);
    }
    campaigns.reverse();
    campaigns
}

fn night_row(night: ListedNight, cut_off: f64) -> NightRow {
    let of_clock = night.end.map(|(at, _)| at.duration_since(night.started_at).as_secs_f64());
    NightRow {
        night: night.night.to_string(),
        date: date(night.started_at),
        ending: night.end.map(|(_, ending)| ending.name().to_owned()),
        tried: night.tried,
        kept: night.kept,
        waiting: night.waiting,
        start: night.start,
        champion: night.start.zip(night.change).map(|(start, change)| start + change),
        claim: night.claim.map(|claim| NightClaim {
            holds: claim.holds,
            withdrawn: night.withdrawn,
            difference: claim.difference,
            interval: claim.interval,
        }),
        seconds: of_clock.map(|seconds| (seconds - cut_off).max(0.0)),
        dollars: night.dollars,
    }
}

pub(super) fn accumulated(kept: Vec<KeptChange>) -> Vec<AccumulatedRow> {
    let row = |of: KeptChange| AccumulatedRow {
        night: of.night.to_string(),
        number: of.number,
        title: of.title,
        difference: of.difference,
        choice: of.choice.map(choice),
    };
    kept.into_iter().map(row).collect()
}
