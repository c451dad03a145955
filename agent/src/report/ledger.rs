//! How often each part of the held-out text has been looked at, over all nights of a campaign.

use serde::Serialize;

use crate::flow::NightId;
use crate::records::{HeldOut, LookRecord};

/// The looks at one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartLooks {
    /// Which part.
    pub part: HeldOut,
    /// What it was looked at for in this night.
    pub what_for: Vec<String>,
    /// Models that were asked about it in this night.
    pub this_night: u64,
    /// Models that were asked about it in all nights of the campaign, this one included.
    pub all_nights: u64,
    /// Nights of the campaign in which it was looked at.
    pub nights: u32,
}

/// Sums up a campaign's ledger for one of its nights; both parts are in it, looked at or not.
pub(super) fn looks(night: &NightId, ledger: &[(NightId, LookRecord)]) -> Vec<PartLooks> {
    HeldOut::ALL
        .iter()
        .map(|part| {
            let of_part = || ledger.iter().filter(move |(_, look)| look.part == *part);
            let here = || of_part().filter(|(of, _)| of == night).map(|(_, look)| look);
            let mut nights: Vec<&NightId> = of_part().map(|(of, _)| of).collect();
            nights.dedup();
            PartLooks {
                part: *part,
                what_for: here().map(|look| look.what_for.clone()).collect(),
                this_night: here().map(|look| u64::from(look.evaluations)).sum(),
                all_nights: of_part().map(|(_, look)| u64::from(look.evaluations)).sum(),
                nights: u32::try_from(nights.len()).unwrap_or(u32::MAX),
            }
        })
        .collect()
}
