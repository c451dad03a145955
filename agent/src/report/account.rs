//! A whole night's figures: its noise, the way of its champion, what leaving one out showed, the ledger of held-out text, and how good
//! proposers were at predicting.

use jiff::Timestamp;
use serde::Serialize;

use super::experiment::leaves_one_out;
use super::{EarlyStops, ModelAccount, NightRecords, PartLooks, ReportError, ledger, models};
use crate::campaign::{Campaign, CampaignName};
use crate::flow::{CommitId, ExperimentId, NightId, Purpose};
use crate::propose::ablation::WITHOUT;
use crate::records::{ClaimRecord, EarlierRun, ExperimentRecord, LookRecord, WithdrawalRecord};
use crate::stats::Rules;
use crate::stats::calibration::{Calibration, Prediction, calibration};
use crate::stats::noise::{Noise, Observation};
use crate::store::Reader;

/// Eras of the night itself are told from earlier nights by smaller numbers.
const ERAS: u64 = 1 << 32;

/// What a night's records add up to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// How much runs differ anyway; `None` before a commit had two runs in this night or a comparable earlier one.
    pub noise: Option<NoiseAccount>,
    /// The champions in order, the night's start first.
    pub champions: Vec<ChampionStep>,
    /// What is to be expected of all kept changes together, each corrected for having been picked; bits per byte.
    pub expected_gain: Option<f64>,
    /// The morning's claim; it does not hold where it was withdrawn.
    pub claim: Option<ClaimRecord>,
    /// Why nothing is claimed any more, and what was kept does not stand.
    pub withdrawal: Option<WithdrawalRecord>,
    /// What leaving one kept change out showed.
    pub left_out: Vec<LeftOut>,
    /// How often held-out text has been looked at.
    pub looks: Vec<PartLooks>,
    /// Trials that were stopped early; `None` where none was, nor would have been.
    pub early: Option<EarlyStops>,
    /// How good each proposer was at predicting.
    pub calibration: Vec<Calibration>,
    /// What was predicted of each settled experiment, beside what was found.
    pub foretold: Vec<Foretold>,
    /// How far the answers of language models and coding agents got, and what they cost.
    pub models: Vec<ModelAccount>,
}

/// What was predicted of an experiment before it was tested, and found. Effects are in bits per byte, negative is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foretold {
    /// Which.
    pub number: u32,
    /// Who predicted.
    pub proposer: String,
    /// The effect that was predicted.
    pub predicted: Option<f64>,
    /// How probable an improvement was said to be.
    pub confidence: Option<f64>,
    /// The difference that was measured; `None` where it was not.
    pub measured: Option<f64>,
    /// The difference to be expected when it is measured again.
    pub expected: Option<f64>,
    /// How probable an improvement is after all that was seen.
    pub probability: Option<f64>,
}

/// The noise of runs, in bits per byte.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoiseAccount {
    /// sd of one run over seeds.
    pub run_sd: f64,
    /// sd of the difference of two runs under the same seed.
    pub pair_sd: f64,
    /// Correlation of two runs under the same seed.
    pub correlation: f64,
    /// Degrees of freedom of the variance of one run.
    pub run_degrees: f64,
    /// Degrees of freedom of the variance of a pair.
    pub pair_degrees: f64,
    /// Runs that told something: those of commits with two or more.
    pub runs: u32,
    /// Commits that these are of.
    pub commits: u32,
    /// Runs of comparable earlier nights that were taken into account, those of single-run commits included.
    pub earlier_runs: usize,
}

/// One champion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChampionStep {
    /// Its experiment; 0 is the night's start.
    pub number: u32,
    /// What it changed.
    pub title: String,
    /// Its commit.
    pub commit: CommitId,
    /// Its difference from the champion before it, as measured.
    pub difference: Option<f64>,
    /// The difference's 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// The difference to be expected when it is measured again.
    pub expected: Option<f64>,
    /// Whether it still stands: `false` where it, or what it builds on, broke a rule under another seed.
    pub stands: bool,
    /// When.
    pub at: Timestamp,
}

/// The champion without one of the changes that it is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// The experiment that measured it.
    pub number: u32,
    /// Which kept change was taken out, as its proposer names it: an experiment, or a part of one.
    pub without: String,
    /// Its title.
    pub title: String,
    /// The champion without it less the champion, bits per byte: positive says that it is needed.
    pub difference: Option<f64>,
    /// The difference's 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// What that says.
    pub words: &'static str,
}

impl Account {
    /// Reads what other nights of the campaign know besides, and works a night's account out.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn read(reader: &Reader, records: &NightRecords) -> Result<Self, ReportError> {
        let night = &records.night;
        let ledger = reader.campaign_looks(&night.campaign).await?;
        let earlier = match records.trials.first() {
            Some(trial) => reader.earlier_runs(&night.id, trial.budget).await?,
            None => Vec::new(),
        };
        Ok(Self::of(records, &earlier, &ledger))
    }

    /// The account of a night, given runs of comparable earlier nights and the campaign's ledger. Pure.
    pub fn of(records: &NightRecords, earlier: &[EarlierRun], ledger: &[(NightId, LookRecord)]) -> Self {
        let withdrawal = &records.withdrawal;
        let champions = champions(records);
        let stand = champions.iter().filter(|champion| champion.stands);
        let expected: Vec<f64> = stand.filter_map(|champion| champion.expected).collect();
        Self {
            noise: noise(records, earlier),
            expected_gain: (!expected.is_empty()).then(|| expected.iter().sum()),
            champions,
            claim: records
                .claim
                .clone()
                .map(|claim| ClaimRecord { holds: claim.holds && withdrawal.is_none(), ..claim }),
            withdrawal: withdrawal.clone(),
            left_out: records.left_out(),
            looks: ledger::looks(&records.night.id, ledger),
            early: EarlyStops::of(records),
            calibration: calibration(&predictions(records)),
            foretold: records.experiments.iter().filter_map(|experiment| foretold(records, experiment)).collect(),
            models: models::models(records),
        }
    }
}

fn noise(records: &NightRecords, earlier: &[EarlierRun]) -> Option<NoiseAccount> {
    let mut observations = EarlierRun::observations(earlier, ERAS);
    let own = records.trials.iter().filter(|trial| trial.purpose == Purpose::Search);
    observations.extend(own.filter_map(|trial| {
        // An era is to the noise what a night is: the machine changed, and with it what the runs of one seed share.
        Some(Observation {
            group: u64::from(trial.experiment.number),
            against: None,
            night: u64::from(trial.era),
            seed: records.seed_index(trial)?,
            val_bpb: trial.val_bpb()?,
        })
    }));
    let noise = Noise::estimate(&observations, &rules(records));
    (noise.contrasts > 0).then(|| NoiseAccount {
        run_sd: noise.run_sd(),
        pair_sd: noise.pair_sd(),
        correlation: noise.correlation(),
        run_degrees: noise.run_degrees,
        pair_degrees: noise.pair_degrees,
        runs: noise.runs,
        commits: noise.commits,
        earlier_runs: earlier.len(),
    })
}

fn champions(records: &NightRecords) -> Vec<ChampionStep> {
    let step = |moved: &crate::records::ChampionMove| {
        let experiment = records.experiments.iter().find(|experiment| experiment.id.number == moved.experiment);
        let decision = experiment.and_then(|experiment| experiment.decision.as_ref());
        ChampionStep {
            number: moved.experiment,
            title: experiment.map(|experiment| experiment.proposal.title.clone()).unwrap_or_default(),
            commit: moved.commit.clone(),
            difference: decision.and_then(|decision| decision.difference),
            interval: decision.and_then(|decision| decision.interval),
            expected: decision.and_then(|decision| decision.evidence.as_ref()).map(|evidence| evidence.expected),
            stands: records.stands(moved.experiment),
            at: moved.at,
        }
    };
    records.champions.iter().map(step).collect()
}

impl NightRecords {
    /// What leaving one kept change out of the champion showed, in the order in which it was measured.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let of = |experiment: &crate::records::ExperimentRecord| {
            let decision = experiment.decision.as_ref();
            let interval = decision.and_then(|decision| decision.interval);
            LeftOut {
                number: experiment.id.number,
                without: experiment.proposal.key.clone(),
                title: match experiment.proposal.key.split_once(WITHOUT) {
                    Some((kept, _)) => format!("{} (one idea of {kept})", experiment.proposal.title),
                    None => experiment.proposal.title.clone(),
                },
                difference: decision.and_then(|decision| decision.difference),
                interval,
                words: match interval {
                    Some((low, _)) if low > 0.0 => "it is needed: the champion is worse without it",
                    Some((_, high)) if high < 0.0 => "a passenger: the champion is better without it",
                    Some(_) => "not shown to matter: the champion may be as good without it",
                    None => "not measured",
                },
            }
        };
        self.experiments.iter().filter(|experiment| leaves_one_out(experiment)).map(of).collect()
    }
}

/// The number of the kept experiment that a proposal takes out again, whole or in part, by the key that its proposer gave it.
pub(super) fn left_out_of(key: &str) -> Option<u32> {
    let kept = key.split_once(WITHOUT).map_or(key, |(kept, _)| kept);
    Some(kept.parse::<ExperimentId>().ok()?.number)
}

fn foretold(records: &NightRecords, experiment: &ExperimentRecord) -> Option<Foretold> {
    let stands = records.stands(experiment.id.number);
    let decision = experiment.decision.as_ref().filter(|_| experiment.id.number > 0)?;
    // In the morning, a probability is not what is asked for; and what a curve alone foresaw was not found.
    let evidence =
        decision.evidence.as_deref().filter(|found| stands && found.vouched() && !leaves_one_out(experiment));
    Some(Foretold {
        number: experiment.id.number,
        proposer: experiment.proposal.author.proposer.clone(),
        predicted: experiment.proposal.predicted_effect,
        confidence: experiment.proposal.confidence,
        measured: decision.difference.filter(|_| stands),
        expected: evidence.map(|evidence| evidence.expected),
        probability: evidence.map(|evidence| evidence.probability),
    })
}

/// What was predicted of settled experiments, and found. Experiments that leave one out are no ideas.
fn predictions(records: &NightRecords) -> Vec<Prediction> {
    let ideas = records.experiments.iter().filter(|experiment| experiment.id.number > 0 && !leaves_one_out(experiment));
    // What was taken back was found of something else than what it was said of.
    let ideas = ideas.filter(|experiment| records.stands(experiment.id.number));
    ideas
        .filter_map(|experiment| {
            let evidence = experiment.decision.as_ref()?.evidence.as_ref().filter(|found| found.vouched())?;
            Some(Prediction {
                proposer: experiment.proposal.author.proposer.clone(),
                predicted: experiment.proposal.predicted_effect,
                confidence: experiment.proposal.confidence,
                expected: evidence.expected,
                probability: evidence.probability,
            })
        })
        .collect()
}

/// The rules that the night was started with. The noise needs no more of them than what a run's sd was expected to be, so where a
/// text of another version cannot be read, what is expected without one is as good.
fn rules(records: &NightRecords) -> Rules {
    let night = &records.night;
    let name = CampaignName::like(&night.campaign);
    let campaign = name.map(|name| Campaign::parse_recorded(name, &night.campaign_text, "", "campaign.toml"));
    campaign.and_then(Result::ok).map(|campaign| campaign.rules).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_night_adds_up() {
        let records = fixture::night();
        let account = Account::of(&records, &[], &fixture::ledger());
        let noise = account.noise.unwrap();
        assert_eq!((noise.runs, noise.commits, noise.earlier_runs), (8, 3, 0));
        assert!(noise.run_sd > 0.0005 && noise.run_sd < 0.004, "{}", noise.run_sd);
        let path: Vec<(u32, Option<f64>)> = account.champions.iter().map(|step| (step.number, step.expected)).collect();
        assert_eq!(path, [(0, None), (1, Some(-0.003))]);
        assert_eq!(account.expected_gain, Some(-0.003));
        assert_eq!(account.left_out.len(), 1);
        assert!(account.left_out[0].words.contains("needed"), "{:?}", account.left_out);
        let looks: Vec<(u64, u64, u32)> =
            account.looks.iter().map(|looks| (looks.this_night, looks.all_nights, looks.nights)).collect();
        assert_eq!(looks, [(11, 51, 2), (4, 4, 1)]);
        // Leaving one out is no idea, and what was stopped early has no effect to compare.
        let predictions: Vec<(&str, u32)> =
            account.calibration.iter().map(|of| (of.proposer.as_str(), of.predictions)).collect();
        assert_eq!(predictions, [("playbook", 3)]);
    }

    #[test]
    fn what_a_curve_alone_foresaw_is_not_told_as_found() {
        let mut records = fixture::night();
        let before = Account::of(&records, &[], &[]);
        records.experiments[3].decision = Some(fixture::foreseen(0.006));
        let account = Account::of(&records, &[], &[]);
        assert_eq!(account.calibration, before.calibration);
        let told = account.foretold.iter().find(|one| one.number == 3).unwrap();
        assert_eq!((told.measured, told.expected, told.probability), (None, None, None));
        let experiment = records.account_of(3).unwrap();
        assert_eq!((experiment.expected, experiment.probability, experiment.story.len()), (None, None, 1));
        let view = records.view(&account, |_| String::new());
        let stopped = view.experiments.iter().find(|experiment| experiment.number == 3).unwrap();
        assert!(stopped.evidence.is_none() && stopped.stopped_early);
    }

    #[test]
    fn earlier_nights_sharpen_the_noise() {
        let records = fixture::night();
        let run = |number, seed, val_bpb| EarlierRun { night: "m".parse().unwrap(), number, era: 0, seed, val_bpb };
        let earlier: Vec<EarlierRun> = (0..10)
            .flat_map(|n| (0..4).map(move |seed| run(n, seed, 2.0 + 0.001 * f64::from((n * 7 + seed * 3) % 5))))
            .collect();
        let alone = Account::of(&records, &[], &[]).noise.unwrap();
        let pooled = Account::of(&records, &earlier, &[]).noise.unwrap();
        assert_eq!((pooled.earlier_runs, pooled.runs), (40, alone.runs + 40));
        assert!(pooled.run_degrees > alone.run_degrees);
    }
}
