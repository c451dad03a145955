//! A part of a night's records: what bears on some of its experiments, for pages that are made when they are asked for.

use std::collections::BTreeSet;

use super::{DECISION, NightRecords, ReportError, concluded};
use crate::flow::NightId;
use crate::store::Reader;

impl NightRecords {
    /// Reads what bears on some experiments of a night: they and their trials, what was concluded of those that are not decided, the champions that they stand on with the trials that they are
    /// compared with, what leaving a kept change out came to, the claim and what was taken back. Accounts of those experiments come out as from
    /// the whole; whatever counts or adds up all of the night does not. Numbers that there are not are passed over.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub async fn read_part(reader: &Reader, id: &NightId, numbers: &[u32]) -> Result<Self, ReportError> {
        let night = reader.night(id).await?.ok_or_else(|| ReportError::NoSuchNight(id.clone()))?;
        let champions = reader.champion_moves(id).await?;
        let mut wanted: BTreeSet<u32> = numbers.iter().copied().chain([0]).collect();
        wanted.extend(champions.iter().map(|champion| champion.experiment));
        wanted.extend(reader.ablations(id).await?);
        let experiments = reader.experiments_of(id, &wanted).await?;
        // Figures of a champion are needed where one of those asked for was measured against it.
        let mut measured: BTreeSet<u32> = numbers.iter().copied().chain([0]).collect();
        for experiment in experiments.iter().filter(|it| numbers.contains(&it.id.number)) {
            let below = champions.iter().filter(|champion| champion.commit == experiment.champion);
            measured.extend(below.map(|champion| champion.experiment));
        }
        // What is decided has a story of its own.
        let undecided = experiments.iter().any(|it| it.decision.is_none() && numbers.contains(&it.id.number));
        let told = if undecided { reader.events_of_stage(id, DECISION).await? } else { Vec::new() };
        Ok(Self {
            trials: reader.trials_of(id, &measured).await?,
            claim: reader.claim(id).await?,
            withdrawal: reader.withdrawal(id).await?,
            night,
            experiments,
            champions,
            calls: Vec::new(),
            concluded: told.iter().filter_map(concluded).collect(),
            waits: Vec::new(),
            faults: Vec::new(),
            skips: Vec::new(),
            journal: Vec::new(),
            cuts: Vec::new(),
            reviews: reader.reviews(Some(id)).await?,
        })
    }
}
