//! One night, from its start to the morning's claim.

mod morning;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use git2::Repository;
use jiff::{SignedDuration, Timestamp};
use nocturne::campaign::CampaignName;
use nocturne::flow::{CommitId, Decision, ExperimentId, NightId, Proposal, Purpose, SourceFile, Verdict};
use nocturne::hash::sha256;
use nocturne::layout::Layout;
use nocturne::propose::Playbook;
use nocturne::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ChampionMove, ExperimentFile,
    ExperimentRecord, ExperimentState, FILE_VERSION, Level, NightRecord, SkipRecord, baseline_proposal,
};
use nocturne::repo::{Repo, branch_name, champion_name, commit_message, slug};
use serde_json::json;

use crate::chance::Chance;
use crate::journal::{Clock, Journal, count};
use crate::outcome::{self, Fate};
use crate::trials::{self, Course, Trial};
use crate::{files, idea, repository};

/// 2026-08-01, 22:00 UTC: the first night begins.
const FIRST: i64 = 1_785_621_600;
/// Bits per byte below which no change leads.
const BEST: f64 = 1.6;
/// Trials of the night's start.
const START_TRIALS: u32 = 4;
/// Seeds of a night: those of the search first.
const SEEDS: usize = 16;

/// What the compiler says of what does not build.
const UNBUILDABLE: &str = "error[E0308]: mismatched types
  --> trainer/src/candidate/model.rs:118:31
   |
118 |         let gate = self.gate * x;
   |                                ^ expected `f64`, found `&Tensor`";

/// What a night is to hold.
pub struct Size {
    /// Counted from 0; the date follows from it.
    pub index: u32,
    /// Whose it is.
    pub campaign: &'static str,
    /// Experiments, the night's start aside.
    pub experiments: u32,
    /// Points of a whole trial's curve.
    pub points: u32,
}

/// What is left of a night that was written.
pub struct Night {
    /// Its name.
    pub id: NightId,
    /// What was kept and stands.
    pub kept: Vec<ExperimentId>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Points of all its curves.
    pub points: u64,
}

/// Makes a night and writes all its files, commits and branches.
pub fn make(layout: &Layout, start: &CommitId, size: &Size, seed: u64) -> Result<Night, String> {
    let mut making = Making::new(layout, start, size, seed)?;
    making.start()?;
    for number in 1..=size.experiments {
        making.experiment(number)?;
    }
    making.morning()
}

struct Making<'a> {
    layout: &'a Layout,
    size: &'a Size,
    id: NightId,
    campaign: CampaignName,
    playbook: Playbook,
    repo: Repo,
    git: Repository,
    chance: Chance,
    clock: Clock,
    journal: Journal,
    night: NightRecord,
    /// What each seed does to a run.
    of_seeds: Vec<f64>,
    champions: Vec<ChampionMove>,
    skips: Vec<SkipRecord>,
    tried: BTreeSet<String>,
    /// The champion's files, level in bits per byte, executable, and how many trials it has had.
    files: Vec<SourceFile>,
    level: f64,
    artifact: String,
    trials: u32,
    /// The start's level.
    start_level: f64,
    points: u64,
    evaluations: u32,
}

impl<'a> Making<'a> {
    fn new(layout: &'a Layout, start: &CommitId, size: &'a Size, seed: u64) -> Result<Self, String> {
        let mut chance = Chance::new(seed, u64::from(size.index));
        let begins =
            Timestamp::from_second(FIRST + 86_400 * i64::from(size.index)).map_err(|error| error.to_string())?;
        let suffix: String = chance.digest().chars().take(2).collect();
        let id = format!("{}-{suffix}", begins.strftime("%Y-%m-%d"));
        let id = NightId::try_from(id).map_err(|error| error.to_string())?;
        let campaign = size.campaign.parse::<CampaignName>().map_err(|error| error.to_string())?;
        let folder = layout.campaign(size.campaign);
        let read = |name: &str| {
            let path: PathBuf = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let (program, text) = (read("program.md")?, read("campaign.toml")?);
        let machine = [
            ("cpu", "A processor of 2 cores"),
            ("cores", "2"),
            ("memory", "24 GiB"),
            ("device", "cpu"),
            ("precision", "fp32"),
            ("libtorch", "2.11.0"),
            ("rustc", "1.95.0"),
            ("data", "ae06c5a4ae878f59"),
        ];
        let repo = Repo::discover(layout.root()).map_err(|error| error.to_string())?;
        let files = repo.candidate_files(start).map_err(|error| error.to_string())?;
        let level = 1.96 + 0.004 * chance.normal();
        let night = NightRecord {
            id: id.clone(),
            campaign: size.campaign.to_owned(),
            start_commit: start.clone(),
            program_sha256: sha256(program.as_bytes()),
            campaign_sha256: sha256(text.as_bytes()),
            campaign_text: text,
            started_at: begins,
            deadline: Some(begins.checked_add(SignedDuration::from_hours(24)).map_err(|error| error.to_string())?),
            experiment_limit: Some(size.experiments),
            seeds: (0..SEEDS).map(|_| chance.seed()).collect(),
            proposer_seed: chance.seed(),
            machine: machine
                .iter()
                .map(|(name, fact)| ((*name).to_owned(), (*fact).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            end: None,
        };
        Ok(Self {
            layout,
            size,
            id,
            campaign,
            playbook: Playbook::load().map_err(|error| error.to_string())?,
            git: Repository::open(layout.root()).map_err(|error| error.to_string())?,
            repo,
            of_seeds: (0..SEEDS).map(|_| outcome::of_seed(&mut chance)).collect(),
            level,
            start_level: level,
            trials: START_TRIALS,
            artifact: chance.digest(),
            chance,
            clock: Clock::new(begins),
            journal: Journal::default(),
            night,
            champions: Vec::new(),
            skips: Vec::new(),
            tried: BTreeSet::new(),
            files,
            points: 0,
            evaluations: 0,
        })
    }

    fn experiment_id(&self, number: u32) -> ExperimentId {
        ExperimentId { night: self.id.clone(), number }
    }

    /// The champion; the night's start until one was kept.
    fn champion(&self) -> &CommitId {
        self.champions.last().map_or(&self.night.start_commit, |last| &last.commit)
    }

    /// Writes one trial under the seed of that index; returns nothing but the trouble.
    fn trial(
        &mut self,
        number: u32,
        ordinal: u32,
        seed: u32,
        artifact: &str,
        course: Course,
        purpose: Purpose,
    ) -> Result<(), String> {
        let experiment = self.experiment_id(number);
        let trial = Trial {
            experiment: &experiment,
            ordinal,
            seed: self.night.seeds[seed as usize],
            purpose,
            artifact,
            course,
        };
        let from = self.clock.now();
        let evaluated = matches!(trial.course, Course::Verified(_) | Course::Rejected);
        self.evaluations += u32::from(evaluated && purpose == Purpose::Search);
        self.points += trials::write(self.layout, &mut self.chance, &mut self.clock, self.size, &trial)?;
        let payload = json!({ "era": 0, "purpose": purpose.name(), "seed": seed });
        let (to, of) = (self.clock.now(), format!("{number}/{ordinal}"));
        self.journal.effect("train", &of, payload, from, to, "trained");
        if evaluated {
            self.journal.effect("evaluate", &of, json!({ "purpose": purpose.name() }), to, to, "verified");
        }
        Ok(())
    }

    /// Bits per byte of a run of something at `level` under the seed of that index.
    fn run(&mut self, level: f64, seed: u32) -> f64 {
        level + self.of_seeds[seed as usize] + 0.004 * self.chance.normal()
    }

    fn start(&mut self) -> Result<(), String> {
        let proposed_at = self.clock.now();
        let artifact = self.artifact.clone();
        for ordinal in 1..=START_TRIALS {
            let val_bpb = self.run(self.level, ordinal - 1);
            self.trial(0, ordinal, ordinal - 1, &artifact, Course::Verified(val_bpb), Purpose::Search)?;
        }
        let (start, at) = (self.night.start_commit.clone(), self.clock.now());
        let reason = format!("the night's start: {:.6} bits per byte", self.level);
        self.journal.event(at, Level::Info, "decision", format!("experiment 0 (baseline): kept: {reason}"));
        self.champions.push(ChampionMove { ordinal: 1, experiment: 0, commit: start.clone(), at });
        let decision = Decision {
            verdict: Verdict::Kept,
            difference: None,
            interval: None,
            trials: 1,
            rule: "race/6".to_owned(),
            reason,
            evidence: None,
        };
        self.record(ExperimentRecord {
            id: self.experiment_id(0),
            proposal: baseline_proposal(),
            patch_digest: start.to_string(),
            champion: start.clone(),
            state: ExperimentState::Decided,
            candidate: Some(CandidateRecord {
                commit: start.clone(),
                parent: start,
                branch: champion_name(&self.campaign, &self.id),
                lines_added: 0,
                lines_removed: 0,
            }),
            artifact: Some(ArtifactRecord { sha256: artifact, build_seconds: 0.6 }),
            attempts: Vec::new(),
            decision: Some(decision),
            proposed_at,
            decided_at: Some(at),
        })
    }

    fn record(&self, experiment: ExperimentRecord) -> Result<(), String> {
        let path = self.layout.experiment_file(&experiment.id);
        files::json(&path, &ExperimentFile { version: FILE_VERSION, experiment })
    }

    fn experiment(&mut self, number: u32) -> Result<(), String> {
        let idea = idea::draw(&mut self.chance, &self.playbook, &self.files, &mut self.tried)?;
        let (proposal, patch) = (idea.proposal, idea.patch);
        let fate = outcome::draw(&mut self.chance, (self.level - BEST) / (self.start_level - BEST));
        let id = self.experiment_id(number);
        if self.chance.happens(0.05) {
            self.skip(&proposal);
        }
        let asked_at = self.clock.now();
        let at = self.clock.pass(2.0);
        self.journal.call(self.layout, &self.id, &mut self.chance, at, number, &proposal)?;
        self.journal.effect(
            "propose",
            &number.to_string(),
            json!({ "champion": self.champion() }),
            asked_at,
            at,
            "proposed",
        );

        let parent = self.champion().clone();
        let committed = self
            .repo
            .commit_patch(&parent, &patch, &commit_message(&id, &proposal), at)
            .map_err(|error| error.to_string())?;
        let branch = branch_name(&self.campaign, &id, &slug(&proposal.title));
        repository::branch(&self.git, &branch, &committed.commit)?;

        let built = !matches!(fate, Fate::Unbuildable);
        let build_seconds = self.chance.between(9.0, 16.0);
        let built_at = self.clock.pass(build_seconds);
        self.journal.effect("build", &number.to_string(), json!({ "commit": committed.commit }), at, built_at, "built");
        let attempt = AttemptRecord {
            ordinal: 1,
            kind: AttemptKind::Build,
            edits: proposal.edits.clone(),
            patch_digest: Some(patch.digest().to_owned()),
            commit: Some(committed.commit.clone()),
            outcome: if built { AttemptOutcome::Succeeded } else { AttemptOutcome::Failed },
            evidence: if built { String::new() } else { UNBUILDABLE.to_owned() },
            seconds: build_seconds,
            at: built_at,
        };

        let artifact = self.chance.digest();
        for ordinal in 1..=fate.trials() {
            let course = match &fate {
                Fate::Measured { difference, .. } => {
                    let level = self.level + difference;
                    Course::Verified(self.run(level, ordinal - 1))
                }
                Fate::Invalid => Course::Rejected,
                Fate::StoppedEarly(_) => Course::StoppedEarly,
                Fate::Crashed(words) => Course::Crashed(words),
                Fate::Unbuildable => break,
            };
            self.trial(number, ordinal, ordinal - 1, &artifact, course, Purpose::Search)?;
        }
        let decision = fate.decision();
        let decided_at = self.clock.pass(0.1);
        let words = format!("experiment {number} ({}): {}: {}", proposal.title, decision.verdict, decision.reason);
        self.journal.event(decided_at, Level::Info, "decision", words);
        self.journal.effect(
            "settle",
            &number.to_string(),
            json!({ "verdict": decision.verdict }),
            decided_at,
            decided_at,
            "settled",
        );
        if self.chance.happens(0.01) {
            let words = "another program used 0.71 of 2 cores; the trial was run again".to_owned();
            self.journal.event(decided_at, Level::Warning, "conditions", words);
        }
        if decision.verdict == Verdict::Kept {
            self.level += decision.difference.unwrap_or(0.0);
            self.artifact.clone_from(&artifact);
            self.trials = fate.trials();
            self.files = self.repo.candidate_files(&committed.commit).map_err(|error| error.to_string())?;
            let ordinal = count(self.champions.len() + 1);
            let commit = committed.commit.clone();
            self.champions.push(ChampionMove { ordinal, experiment: number, commit, at: decided_at });
        }
        self.record(ExperimentRecord {
            id,
            patch_digest: patch.digest().to_owned(),
            proposal,
            champion: parent,
            state: ExperimentState::Decided,
            candidate: Some(CandidateRecord {
                commit: committed.commit,
                parent: committed.parent,
                branch,
                lines_added: count(patch.lines_added()),
                lines_removed: count(patch.lines_removed()),
            }),
            artifact: built.then_some(ArtifactRecord { sha256: artifact, build_seconds }),
            attempts: vec![attempt],
            decision: Some(decision),
            proposed_at: at,
            decided_at: Some(decided_at),
        })
    }

    fn skip(&mut self, proposal: &Proposal) {
        self.skips.push(SkipRecord {
            ordinal: count(self.skips.len() + 1),
            proposer: proposal.author.proposer.clone(),
            key: self.chance.digest()[..16].to_owned(),
            champion: self.champion().clone(),
            reason: "the same edit was tried in an earlier night".to_owned(),
            at: self.clock.now(),
        });
    }
}
