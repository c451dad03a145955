//! A night in which everything happened that can be recorded, and everything that can be read back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nocturne::flow::{
    Audit, Author, Certificate, Check, CommitId, Decision, Edit, Evidence, ExperimentId, NightId, Proposal, Purpose,
    Rejected, Trained, TrialEnd, Verdict, Verified,
};
use nocturne::llm::spend::Spent;
use nocturne::llm::{Answer, Call, Message, Part, Request, Role, Stop, Usage};
use nocturne::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ChampionMove, ClaimRecord,
    EffectRecord, EventRecord, ExchangeFailure, ExchangeKind, ExchangeRecord, ExperimentRecord, FailureKind, HeldOut,
    HistoryEntry, Level, LookRecord, NightEnding, NightRecord, QueueEntry, Reply, SkipRecord, TrialRecord,
    WithdrawalRecord, baseline_proposal,
};
use nocturne::store::{Reader, Store};
use protocol::Budget;
use serde_json::json;

pub fn night_id(name: &str) -> NightId {
    name.parse().unwrap()
}

pub fn experiment_id(night: &str, number: u32) -> ExperimentId {
    ExperimentId { night: night_id(night), number }
}

/// A commit that is told from others by its number.
pub fn commit(number: u32) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

pub fn night_record(name: &str) -> NightRecord {
    NightRecord {
        id: night_id(name),
        campaign: "quickstart".to_owned(),
        start_commit: commit(0xaaaa),
        program_sha256: "1".repeat(64),
        campaign_sha256: "2".repeat(64),
        campaign_text: "# a campaign\nscale = \"cpu\"\n".to_owned(),
        started_at: format!("{}T20:00:00.125Z", &name[..10]).parse::<Timestamp>().unwrap(),
        deadline: Some("2026-03-09T06:30:00Z".parse().unwrap()),
        experiment_limit: Some(8),
        seeds: vec![0, 1, u64::MAX],
        proposer_seed: u64::MAX - 1,
        machine: BTreeMap::from([("cores".to_owned(), "2".to_owned()), ("gpu".to_owned(), "none".to_owned())]),
        end: None,
    }
}

pub fn proposal(key: &str) -> Proposal {
    Proposal {
        key: key.to_owned(),
        title: format!("Raise the rate of {key}"),
        hypothesis: "It is 'too' \"low\"; -- DROP TABLE nights".to_owned(),
        source: "arXiv:2401.00001".to_owned(),
        family: "schedule".to_owned(),
        predicted_effect: Some(-0.1 - 0.2),
        confidence: Some(0.2 / 3.0),
        edits: vec![Edit {
            path: "trainer/src/candidate/recipe.rs".to_owned(),
            search: "0.04".to_owned(),
            replace: format!("0.05 // {key}\n"),
        }],
        author: Author { proposer: "playbook".to_owned(), model: Some("none".to_owned()), cost_usd: 0.012_345_678_9 },
    }
}

pub fn candidate(number: u32, parent: u32) -> CandidateRecord {
    CandidateRecord {
        commit: commit(number),
        parent: commit(parent),
        branch: format!("nocturne/quickstart/night/{number}-idea"),
        lines_added: 3,
        lines_removed: 1,
    }
}

pub fn attempt(ordinal: u32, kind: AttemptKind, outcome: AttemptOutcome) -> AttemptRecord {
    AttemptRecord {
        ordinal,
        kind,
        edits: proposal("attempted").edits,
        patch_digest: Some(format!("attempt-{ordinal}")),
        commit: (kind == AttemptKind::Build).then(|| commit(0xbb00 + ordinal)),
        outcome,
        evidence: "error[E0308]: mismatched types\n  --> recipe.rs:3:5".to_owned(),
        seconds: 1.5,
        at: "2026-03-08T20:10:00Z".parse().unwrap(),
    }
}

pub fn trained(end: TrialEnd, seed: u64, budget: Budget) -> Trained {
    Trained {
        end,
        seed,
        budget,
        steps: 812,
        tokens: u64::MAX,
        parameters: 4_200_000,
        training_seconds: 20.1 / 3.0,
        start_seconds: 0.7,
        peak_memory_bytes: 900 << 20,
        final_loss: Some(5.123_456_789_012_345),
        checkpoint_sha256: Some("c".repeat(64)),
    }
}

pub fn verified(val_bpb: f64) -> Verified {
    Verified {
        val_bpb,
        standard_error: 1.0e-6 / 3.0,
        claimed_bpb: val_bpb + 2.0e-6,
        nats: 1.0 / 3.0,
        bytes: 262_144,
        tokens: 81_234,
        seconds: 2.5,
        evaluator: "claim-and-audit/1".to_owned(),
    }
}

/// A certificate whose last check is `failed`, where one did; then the audit saw figures that are not finite.
pub fn certificate(failed: Option<&str>) -> Certificate {
    let check = |name: &str, passed, detail: &str| Check { name: name.to_owned(), passed, detail: detail.to_owned() };
    let figure = |finite: f64, other: f64| if failed.is_none() { finite } else { other };
    let mut checks = vec![check("count", true, "81,234 tokens, as there are\0"), check("text", true, "'\"--;")];
    checks.extend(failed.map(|name| check(name, false, "NaN at row 3")));
    Certificate {
        evaluator: "claim-and-audit/1".to_owned(),
        evaluator_sha256: "1".repeat(64),
        data_sha256: "2".repeat(64),
        checkpoint_sha256: "c".repeat(64),
        trainer_sha256: "4".repeat(64),
        sandbox: "namespaces (bubblewrap 0.8.0), seccomp, Landlock 7".to_owned(),
        checks,
        audit: Some(Audit {
            cuts: 256,
            weighted_cuts: 128,
            largest_difference: figure(1.0 / 3.0 * 1e-6, f64::INFINITY),
            mean_difference: figure(-1.0e-7 / 3.0, f64::NEG_INFINITY),
            standard_error: figure(0.0, f64::INFINITY),
            claimed_bpb: figure(2.101_010_101_010_2, f64::NEG_INFINITY),
        }),
        seconds: 3.25,
        claim_seconds: Some(2.0),
    }
}

pub fn decision(verdict: Verdict) -> Decision {
    Decision {
        verdict,
        difference: Some(-0.012_3),
        interval: Some((-0.02, -0.004_6)),
        trials: 1,
        rule: "lower-is-kept/1".to_owned(),
        reason: "0.0123 bits per byte lower".to_owned(),
        evidence: None,
    }
}

/// A decision of a rule that weighs evidence, the degrees of its standard error being known.
pub fn weighed(verdict: Verdict) -> Decision {
    Decision {
        rule: "race/1".to_owned(),
        trials: 2,
        evidence: Some(Box::new(Evidence {
            standard_error: 0.001 / 3.0,
            degrees: f64::INFINITY,
            probability: 0.75,
            expected: -0.000_7,
            expected_interval: (-0.002, 0.000_1),
            least_effect: 0.000_5,
            run_sd: 0.0015,
            pair_sd: 0.0009,
            near_miss: true,
            story: vec!["seed 0: 0.0008 lower\0".to_owned(), "again: 'it may be luck'".to_owned()],
            forecast: None,
        })),
        ..decision(verdict)
    }
}

pub fn claim() -> ClaimRecord {
    ClaimRecord {
        start: commit(0xaaaa),
        champion: commit(1),
        pairs: 4,
        difference: Some(-0.012 / 3.0),
        interval: Some((-0.006, -0.002)),
        p_value: Some(0.001 / 3.0),
        holds: true,
        words: "lower by 0.004 on text that nothing was decided by".to_owned(),
        at: "2026-03-09T06:00:00Z".parse().unwrap(),
    }
}

/// A call that was answered, or one that was not.
pub fn exchange(turn: u64, round: u32, answered: bool) -> ExchangeRecord {
    let message = Message { role: Role::User, parts: vec![Part::Text { text: "the brief\0'\"--".to_owned() }] };
    let request = Request {
        model: "smol".to_owned(),
        system: "You are".to_owned(),
        messages: vec![message],
        tools: Vec::new(),
        most_tokens: 1_000,
        temperature: Some(0.1 + 0.2),
    };
    let call = Call { id: "1".to_owned(), name: "read_file".to_owned(), arguments: json!({"path": "a\0", "n": [1.5]}) };
    let reply = if answered {
        Reply::Answer(Answer {
            model: Some("smol-2".to_owned()),
            text: "Title: '; DROP TABLE exchanges; --\0".to_owned(),
            calls: vec![call],
            stop: Stop::Calls,
            usage: Usage { input: Some(u64::MAX), cached: None, output: Some(9) },
        })
    } else {
        Reply::Failure(ExchangeFailure { kind: FailureKind::RateLimited, words: "status 429\0".to_owned() })
    };
    ExchangeRecord {
        turn,
        round,
        number: 6,
        kind: if answered { ExchangeKind::Agent } else { ExchangeKind::Model },
        aim: "a repair of x'".to_owned(),
        model: "local".to_owned(),
        request,
        again: !answered,
        reply,
        spent: Spent { usd: 0.1 / 3.0, tokens: 1_234, calls: u64::from(round) },
        seconds: 2.5,
        at: "2026-03-08T20:09:00Z".parse().unwrap(),
    }
}

/// Every kind of record at least once. The night is left running with an experiment and an effect under way.
pub async fn fill(store: &Store, name: &str) {
    fill_standing(store, name).await;
    store.withdraw(&night_id(name), 1, "it read ahead\0").await.unwrap();
}

/// The same, and nothing is taken back.
pub async fn fill_standing(store: &Store, name: &str) {
    let night = night_id(name);
    let id = |number| experiment_id(name, number);
    let seconds = Budget::Seconds(20.0);
    store.begin_night(&night_record(name)).await.unwrap();
    store.event(&night, Level::Info, "night", "begins").await.unwrap();

    // 0: the night's start, measured after a fault of the machine
    store.record_experiment(&id(0), &baseline_proposal(), "start", &commit(0xaaaa)).await.unwrap();
    store
        .record_candidate(&id(0), &CandidateRecord { branch: format!("{name}/0"), ..candidate(0xaaaa, 0xaaaa) })
        .await
        .unwrap();
    store.record_artifact(&id(0), &ArtifactRecord { sha256: "a".repeat(64), build_seconds: 61.5 }).await.unwrap();
    store.begin_trial(&id(0), 1, u64::MAX, seconds, "sha", Purpose::Search, 0).await.unwrap();
    let fault = TrialEnd::MachineFault { message: "the disk is gone\0".to_owned() };
    store.end_trial(&id(0), 1, &trained(fault, u64::MAX, seconds)).await.unwrap();
    store.begin_trial(&id(0), 2, u64::MAX, seconds, "sha", Purpose::Search, 0).await.unwrap();
    store.end_trial(&id(0), 2, &trained(TrialEnd::Finished, u64::MAX, seconds)).await.unwrap();
    store.record_evaluation(&id(0), 2, verified(2.101_010_101_010_1), Some(certificate(None))).await.unwrap();
    let bare = Decision { difference: None, interval: None, ..decision(Verdict::Kept) };
    store.record_decision(&id(0), &bare).await.unwrap();
    store.move_champion(&id(0), &commit(0xaaaa)).await.unwrap();

    // 1: repaired once, then kept
    let begun = store.begin_effect(&night, "build/1/1", "build", &json!({"number": 1, "rate": 0.1})).await.unwrap();
    assert_eq!(begun, nocturne::store::Begun::First);
    store.record_experiment(&id(1), &proposal("one"), "one-broken", &commit(0xaaaa)).await.unwrap();
    store.record_attempt(&id(1), &attempt(1, AttemptKind::Build, AttemptOutcome::Failed)).await.unwrap();
    store.revise_experiment(&id(1), &proposal("one, repaired"), "one", &commit(0xaaaa)).await.unwrap();
    store.record_attempt(&id(1), &attempt(2, AttemptKind::Build, AttemptOutcome::Succeeded)).await.unwrap();
    store.end_effect(&night, "build/1/1", &json!(null)).await.unwrap();
    store
        .record_candidate(&id(1), &CandidateRecord { branch: format!("{name}/1"), ..candidate(1, 0xaaaa) })
        .await
        .unwrap();
    store.begin_trial(&id(1), 1, 1, Budget::Tokens(u64::from(u32::MAX) * 2), "sha", Purpose::Search, 0).await.unwrap();
    store.end_trial(&id(1), 1, &trained(TrialEnd::Finished, 1, Budget::Tokens(u64::from(u32::MAX) * 2))).await.unwrap();
    store.record_evaluation(&id(1), 1, verified(2.1 - 0.012_3), None).await.unwrap();
    store.record_decision(&id(1), &decision(Verdict::Kept)).await.unwrap();
    store.move_champion(&id(1), &commit(1)).await.unwrap();

    // 2: cheated; 3 to 5: did not finish
    let ends = [
        TrialEnd::Finished,
        TrialEnd::Crashed { message: "panicked at 'index out of bounds'".to_owned() },
        TrialEnd::NotFinite,
        TrialEnd::OutOfMemory { message: String::new() },
    ];
    for (number, end) in (2..).zip(ends) {
        store.record_experiment(&id(number), &proposal("more"), &format!("more-{number}"), &commit(1)).await.unwrap();
        store.begin_trial(&id(number), 1, 1, seconds, "sha", Purpose::Search, 0).await.unwrap();
        store.end_trial(&id(number), 1, &trained(end, 1, seconds)).await.unwrap();
    }
    let rejected = Rejected { check: "finite".to_owned(), evidence: "NaN at row 3".to_owned() };
    store.record_evaluation(&id(2), 1, rejected, Some(certificate(Some("finite")))).await.unwrap();
    store.record_decision(&id(2), &decision(Verdict::Invalid)).await.unwrap();
    store
        .record_decision(&id(3), &Decision { difference: None, interval: None, ..decision(Verdict::Crashed) })
        .await
        .unwrap();

    // 5 once more: stopped early under another seed, another left to finish though it looked hopeless, and the morning
    store.begin_trial(&id(5), 2, 0, seconds, "sha", Purpose::Search, 1).await.unwrap();
    let hopeless = TrialEnd::StoppedEarly { message: "0.04 behind at a quarter".to_owned() };
    store.end_trial(&id(5), 2, &trained(hopeless, 0, seconds)).await.unwrap();
    store.begin_trial(&id(5), 3, 1, seconds, "sha", Purpose::Search, 1).await.unwrap();
    store.record_would_stop(&id(5), 3, 2).await.unwrap();
    store.end_trial(&id(5), 3, &trained(TrialEnd::Finished, 1, seconds)).await.unwrap();
    store.record_evaluation(&id(5), 3, verified(2.2), None).await.unwrap();
    store.record_decision(&id(5), &weighed(Verdict::Inconclusive)).await.unwrap();
    store.begin_trial(&id(0), 3, 0, seconds, "sha", Purpose::Morning, 1).await.unwrap();
    for (part, what_for) in
        [(HeldOut::Search, "decisions"), (HeldOut::Sealed, "the claim"), (HeldOut::Search, "decisions")]
    {
        store.count_look(&night, part, what_for).await.unwrap();
    }
    store.record_claim(&night, &claim()).await.unwrap();

    // 6: being built when the pen was put down
    store.record_experiment(&id(6), &proposal("six"), "six", &commit(1)).await.unwrap();
    store.record_attempt(&id(6), &attempt(1, AttemptKind::Edit, AttemptOutcome::Succeeded)).await.unwrap();
    store.begin_effect(&night, "build/6/1", "build", &json!({"number": 6})).await.unwrap();
    store.record_skip(&night, "playbook", "tie-weights", &commit(1), "its search text is not there").await.unwrap();
    store.event(&night, Level::Warning, "run", "a line\nand another\0").await.unwrap();

    // what a model was asked meanwhile, and the person's own ideas: one is being tested, the others wait
    for (turn, round, answered) in [(u64::MAX, 1, true), (2, 1, false), (2, 2, true)] {
        store.record_exchange(&night, &exchange(turn, round, answered)).await.unwrap();
    }
    store.enqueue("quickstart", "try a longer warm-down\0", None).await.unwrap();
    store.enqueue("quickstart", "'; DROP TABLE queue; --", Some("--- a/x\n+++ b/x\n")).await.unwrap();
    store.take_next("quickstart", &id(6), true).await.unwrap();
}

/// A filled night that ended.
pub async fn fill_and_end(store: &Store, name: &str) {
    fill(store, name).await;
    store.end_night(&night_id(name), NightEnding::Stopped, "by a person").await.unwrap();
}

/// All that a [`Reader`] tells.
#[derive(Debug, PartialEq)]
pub struct Everything {
    pub nights: Vec<NightRecord>,
    pub experiments: Vec<ExperimentRecord>,
    pub trials: Vec<TrialRecord>,
    pub champions: Vec<ChampionMove>,
    pub skips: Vec<SkipRecord>,
    pub effects: Vec<EffectRecord>,
    pub events: Vec<EventRecord>,
    pub history: Vec<HistoryEntry>,
    pub digests: BTreeSet<String>,
    pub claims: Vec<Option<ClaimRecord>>,
    pub withdrawals: Vec<Option<WithdrawalRecord>>,
    pub looks: Vec<(NightId, LookRecord)>,
    pub exchanges: Vec<ExchangeRecord>,
    pub queue: Vec<QueueEntry>,
}

pub async fn everything(reader: &Reader) -> Everything {
    let mut all = Everything {
        nights: reader.nights().await.unwrap(),
        experiments: Vec::new(),
        trials: Vec::new(),
        champions: Vec::new(),
        skips: Vec::new(),
        effects: Vec::new(),
        events: Vec::new(),
        history: reader.history("quickstart").await.unwrap(),
        digests: reader.digests_seen("quickstart").await.unwrap().into_iter().collect(),
        claims: Vec::new(),
        withdrawals: Vec::new(),
        looks: reader.campaign_looks("quickstart").await.unwrap(),
        exchanges: Vec::new(),
        queue: reader.queue(None).await.unwrap(),
    };
    for night in &all.nights {
        all.experiments.extend(reader.experiments(&night.id).await.unwrap());
        all.trials.extend(reader.night_trials(&night.id).await.unwrap());
        all.champions.extend(reader.champion_moves(&night.id).await.unwrap());
        all.claims.push(reader.claim(&night.id).await.unwrap());
        all.withdrawals.push(reader.withdrawal(&night.id).await.unwrap());
        all.skips.extend(reader.skips(&night.id).await.unwrap());
        all.effects.extend(reader.effects(&night.id).await.unwrap());
        all.events.extend(reader.events(&night.id).await.unwrap());
        all.exchanges.extend(reader.exchanges(&night.id).await.unwrap());
    }
    all
}
