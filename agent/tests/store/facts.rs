//! Facts there and back, twice, and against each other.

use nocturne::flow::{Purpose, Rejected, TrialEnd, Verdict};
use nocturne::layout::Layout;
use nocturne::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, ClaimRecord, Evaluation, ExperimentState, HeldOut,
    Level, NightEnding, ReviewChoice,
};
use nocturne::store::{Begun, Constraint, Store, StoreError};
use protocol::Budget;
use serde_json::json;

use crate::fixture::*;

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
    (folder, store)
}

const NIGHT: &str = "2026-03-08-k4";

#[tokio::test]
async fn reviews_are_written_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    std::fs::create_dir_all(layout.state()).unwrap();
    let store = Store::open_in(&layout).await.unwrap();
    fill(&store, NIGHT).await;
    let choice = |number, choice, reason: &str| (experiment_id(NIGHT, number), choice, reason.to_owned());
    let accepted = choice(1, ReviewChoice::Accepted, "");
    let on_record = async || store.reviews(None).await.unwrap();

    for wrong in [choice(99, ReviewChoice::Deferred, ""), choice(2, ReviewChoice::Rejected, "")] {
        let refused = store.record_reviews(&[accepted.clone(), wrong]).await;
        assert!(matches!(refused, Err(StoreError::Constraint { .. })), "{refused:?}");
        assert!(on_record().await.is_empty() && !layout.reviews_file().exists());
    }
    let rejected = choice(2, ReviewChoice::Rejected, "too long");
    let recorded = store.record_reviews(&[accepted.clone(), rejected.clone(), accepted.clone()]).await.unwrap();
    let ordinals: Vec<u32> = recorded.iter().map(|review| review.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 1], "the same again is not said again");
    assert_eq!(on_record().await, recorded[..2]);
    let written = std::fs::read(layout.reviews_file()).unwrap();
    assert_eq!(store.record_reviews(&[rejected]).await.unwrap(), recorded[1..2]);
    assert_eq!(std::fs::read(layout.reviews_file()).unwrap(), written);
}

#[tokio::test]
async fn what_is_recorded_is_read_back() {
    let (_folder, store) = store().await;
    fill(&store, NIGHT).await;
    let night = night_id(NIGHT);
    let id = |number| experiment_id(NIGHT, number);

    assert_eq!(store.night(&night).await.unwrap().unwrap(), night_record(NIGHT));
    let first = store.experiment(&id(1)).await.unwrap().unwrap();
    assert_eq!(first.proposal, proposal("one, repaired"));
    assert_eq!(first.candidate.as_ref().unwrap().commit, commit(1));
    assert_eq!(first.decision, Some(decision(Verdict::Kept)));
    assert_eq!(first.attempts.len(), 2);
    assert_eq!(first.attempts[0], attempt(1, AttemptKind::Build, AttemptOutcome::Failed));
    let states: Vec<_> = store.experiments(&night).await.unwrap().iter().map(|e| e.state).collect();
    use ExperimentState::*;
    assert_eq!(states, [Decided, Decided, Decided, Decided, Training, Decided, Proposed]);

    let trials = store.trials(&id(0)).await.unwrap();
    assert_eq!(trials.len(), 3);
    assert_eq!(
        trials[0].trained.as_ref().unwrap().end,
        TrialEnd::MachineFault { message: "the disk is gone\0".to_owned() }
    );
    assert_eq!(trials[1].trained, Some(trained(TrialEnd::Finished, u64::MAX, Budget::Seconds(20.0))));
    assert_eq!(trials[1].evaluation, Some(Evaluation::Verified(verified(2.101_010_101_010_1))));
    assert_eq!((&trials[0].certificate, &trials[1].certificate), (&None, &Some(certificate(None))));
    assert_eq!(trials[1].folder, "nights/2026-03-08-k4/0/trial-2");
    assert_eq!(store.night_trials(&night).await.unwrap().len(), 10);
    let purposes: Vec<_> = store.trials(&id(0)).await.unwrap().iter().map(|trial| (trial.purpose, trial.era)).collect();
    assert_eq!(purposes, [(Purpose::Search, 0), (Purpose::Search, 0), (Purpose::Morning, 1)]);

    let fifth = store.experiment(&id(5)).await.unwrap().unwrap();
    assert_eq!(fifth.proposal.confidence, Some(0.2 / 3.0));
    assert_eq!(fifth.decision, Some(weighed(Verdict::Inconclusive)));
    let trials = store.trials(&id(5)).await.unwrap();
    assert!(
        matches!(&trials[1].trained.as_ref().unwrap().end, TrialEnd::StoppedEarly { message } if message.starts_with("0.04"))
    );
    assert_eq!((trials[1].would_stop, trials[2].would_stop), (None, Some(2)));
    let history = store.history("quickstart").await.unwrap();
    // three trials of 20.1 / 3 seconds and 0.7 to start, one evaluated in 2.5
    assert!((history[4].seconds - (20.1 + 2.1 + 2.5)).abs() < 1e-9, "{}", history[4].seconds);

    assert_eq!(store.claim(&night).await.unwrap(), Some(claim()));
    let withdrawal = store.withdrawal(&night).await.unwrap().unwrap();
    assert_eq!((withdrawal.experiment, withdrawal.spares(0), withdrawal.spares(1)), (1, true, false));
    let looks = store.looks(&night).await.unwrap();
    let looks: Vec<_> = looks.iter().map(|look| (look.part.name(), &*look.what_for, look.evaluations)).collect();
    assert_eq!(looks, [("sealed", "the claim", 1), ("search", "decisions", 2)]);

    assert_eq!(store.champion(&night).await.unwrap().unwrap().experiment, 0, "the last that stands");
    assert_eq!(store.skips(&night).await.unwrap()[0].key, "tie-weights");
    let open: Vec<_> = store.open_effects(&night).await.unwrap().into_iter().map(|effect| effect.key).collect();
    assert_eq!(open, ["build/6/1"]);
    let texts: Vec<_> = store.events(&night).await.unwrap().into_iter().map(|event| event.text).collect();
    assert_eq!(texts, ["begins", "a line\nand another\0"]);
    assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_fact_may_be_recorded_twice() {
    let (_folder, store) = store().await;
    fill(&store, NIGHT).await;
    let before = everything(&store).await;
    let (night, first) = (night_id(NIGHT), experiment_id(NIGHT, 1));
    let tokens = Budget::Tokens(u64::from(u32::MAX) * 2);

    store.begin_night(&night_record(NIGHT)).await.unwrap();
    store.record_experiment(&first, &proposal("one, repaired"), "one", &commit(0xaaaa)).await.unwrap();
    store.revise_experiment(&first, &proposal("one, repaired"), "one", &commit(0xaaaa)).await.unwrap();
    let again = attempt(1, AttemptKind::Build, AttemptOutcome::Failed);
    store.record_attempt(&first, &AttemptRecord { seconds: 9.0, ..again }).await.unwrap();
    store.record_candidate(&first, before.experiments[1].candidate.as_ref().unwrap()).await.unwrap();
    store.begin_trial(&first, 1, 1, tokens, "sha", Purpose::Search, 0).await.unwrap();
    store.end_trial(&first, 1, &trained(TrialEnd::Finished, 1, tokens)).await.unwrap();
    store.record_evaluation(&first, 1, verified(2.1 - 0.012_3), None).await.unwrap();
    let start = experiment_id(NIGHT, 0);
    store.record_evaluation(&start, 2, verified(2.101_010_101_010_1), Some(certificate(None))).await.unwrap();
    store.record_decision(&first, &decision(Verdict::Kept)).await.unwrap();
    store.move_champion(&first, &commit(1)).await.unwrap();
    store.record_skip(&night, "playbook", "tie-weights", &commit(1), "its search text is not there").await.unwrap();
    let payload = json!({"number": 1, "rate": 0.1});
    assert_eq!(store.begin_effect(&night, "build/1/1", "build", &payload).await.unwrap(), Begun::Done(json!(null)));
    store.end_effect(&night, "build/1/1", &json!(null)).await.unwrap();
    let begun = store.begin_effect(&night, "build/6/1", "build", &json!({"number": 6})).await.unwrap();
    assert!(matches!(begun, Begun::Again(effect) if effect.ordinal == 2));

    store.record_claim(&night, &ClaimRecord { at: jiff::Timestamp::UNIX_EPOCH, ..claim() }).await.unwrap();
    store.record_would_stop(&experiment_id(NIGHT, 5), 3, 4).await.unwrap();
    store.withdraw(&night, 1, "it read ahead\0").await.unwrap();

    assert_eq!(everything(&store).await, before);
}

#[tokio::test]
async fn contradictions_are_errors_and_change_nothing() {
    let (folder, store) = store().await;
    fill_and_end(&store, NIGHT).await;
    let before = everything(&store).await;
    let (night, first) = (night_id(NIGHT), experiment_id(NIGHT, 1));
    let tokens = Budget::Tokens(u64::from(u32::MAX) * 2);

    let mut other_night = night_record(NIGHT);
    other_night.seeds = vec![3];
    let errors = [
        store.begin_night(&other_night).await,
        store.end_night(&night, NightEnding::Deadline, "").await,
        store.record_experiment(&first, &proposal("other"), "one", &commit(0xaaaa)).await,
        store.revise_experiment(&first, &proposal("other"), "other", &commit(0xaaaa)).await,
        store.record_attempt(&first, &attempt(1, AttemptKind::Edit, AttemptOutcome::Failed)).await,
        store.record_candidate(&first, &candidate(9, 1)).await,
        store
            .record_artifact(&experiment_id(NIGHT, 0), &ArtifactRecord { sha256: "b".into(), build_seconds: 1.0 })
            .await,
        store.begin_trial(&first, 1, 2, tokens, "sha", Purpose::Search, 0).await,
        store.begin_trial(&first, 1, 1, tokens, "sha", Purpose::Morning, 0).await,
        store.begin_trial(&first, 1, 1, tokens, "sha", Purpose::Search, 1).await,
        store.record_claim(&night, &ClaimRecord { holds: false, ..claim() }).await,
        store.count_look(&night, HeldOut::Sealed, "curiosity").await,
        store.withdraw(&night, 0, "it read ahead\0").await,
        store.end_trial(&first, 1, &trained(TrialEnd::TimedOut, 1, tokens)).await,
        store.end_trial(&experiment_id(NIGHT, 4), 1, &trained(TrialEnd::NotFinite, 7, Budget::Seconds(20.0))).await,
        store.record_evaluation(&first, 1, verified(1.0), None).await,
        store.record_evaluation(&first, 1, verified(2.1 - 0.012_3), Some(certificate(None))).await,
        store.record_evaluation(&experiment_id(NIGHT, 0), 2, verified(2.101_010_101_010_1), None).await,
        store.record_decision(&first, &decision(Verdict::Discarded)).await,
        store.move_champion(&first, &commit(2)).await,
        store.begin_effect(&night, "build/1/1", "build", &json!({"number": 2})).await.map(drop),
        store.end_effect(&night, "build/1/1", &json!("other")).await,
    ];
    for (index, result) in errors.into_iter().enumerate() {
        let error = result.expect_err(&format!("contradiction {index} was taken"));
        assert!(matches!(error, StoreError::Contradiction { .. }), "{index}: {error}");
        let database = folder.path().join("nocturne.db").display().to_string();
        assert!(error.to_string().contains(&database), "{error}");
    }
    assert_eq!(everything(&store).await, before);
}

#[tokio::test]
async fn rows_that_break_the_schema_are_typed_errors() {
    let (_folder, store) = store().await;
    fill(&store, NIGHT).await;
    let before = everything(&store).await;
    let night = night_id(NIGHT);

    let doubled = store.record_experiment(&experiment_id(NIGHT, 9), &proposal("x"), "one", &commit(1)).await;
    assert!(matches!(doubled, Err(StoreError::Constraint { constraint: Constraint::Unique, .. })), "{doubled:?}");
    let orphan = store.record_experiment(&experiment_id("2026-01-01-xx", 1), &proposal("x"), "x", &commit(1)).await;
    assert!(matches!(orphan, Err(StoreError::Constraint { constraint: Constraint::ForeignKey, .. })), "{orphan:?}");
    let negative = AttemptRecord { seconds: -1.0, ..attempt(7, AttemptKind::Edit, AttemptOutcome::Failed) };
    let negative = store.record_attempt(&experiment_id(NIGHT, 6), &negative).await;
    assert!(matches!(negative, Err(StoreError::Constraint { constraint: Constraint::Check, .. })), "{negative:?}");
    let endless = store
        .begin_trial(&experiment_id(NIGHT, 6), 1, 1, Budget::Seconds(f64::INFINITY), "sha", Purpose::Search, 0)
        .await;
    assert!(matches!(endless, Err(StoreError::NotFinite { what: "the budget", .. })), "{endless:?}");
    let unknown = store.record_decision(&experiment_id(NIGHT, 77), &decision(Verdict::Kept)).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
    let unfinished =
        store.begin_trial(&experiment_id(NIGHT, 6), 1, 5, Budget::Seconds(20.0), "sha", Purpose::Search, 0).await;
    unfinished.unwrap();
    let early = store.record_evaluation(&experiment_id(NIGHT, 6), 1, verified(2.0), None).await;
    assert!(matches!(early, Err(StoreError::Unknown { .. })), "{early:?}");
    let sure = nocturne::flow::Proposal { confidence: Some(1.5), ..proposal("sure") };
    let sure = store.record_experiment(&experiment_id(NIGHT, 9), &sure, "sure", &commit(1)).await;
    assert!(matches!(sure, Err(StoreError::Constraint { constraint: Constraint::Check, .. })), "{sure:?}");
    let mut odd = weighed(Verdict::Kept);
    odd.evidence.as_mut().unwrap().expected = f64::NAN;
    let odd = store.record_decision(&experiment_id(NIGHT, 4), &odd).await;
    assert!(matches!(odd, Err(StoreError::NotFinite { what: "the expected difference", .. })), "{odd:?}");
    let nowhere = store.event(&night_id("2026-01-01-xx"), Level::Info, "night", "text").await;
    assert!(matches!(nowhere, Err(StoreError::Constraint { constraint: Constraint::ForeignKey, .. })), "{nowhere:?}");

    assert_eq!(store.night_trials(&night).await.unwrap().len(), before.trials.len() + 1);
    assert_eq!(store.events(&night).await.unwrap(), before.events);
}

/// A hostile model may answer with NaN; what was seen of it is recorded, and recording it again is no contradiction.
#[tokio::test]
async fn figures_that_are_no_numbers_are_recorded_with_a_rejection_and_refused_with_a_metric() {
    let (_folder, store) = store().await;
    fill(&store, NIGHT).await;
    let id = experiment_id(NIGHT, 3);
    let mut made = certificate(Some("audit-largest"));
    if let Some(audit) = &mut made.audit {
        (audit.mean_difference, audit.standard_error) = (f64::NAN, f64::NAN);
    }
    for _ in 0..2 {
        let rejected = Rejected { check: "audit-largest".to_owned(), evidence: "NaN".to_owned() };
        store.record_evaluation(&id, 1, rejected, Some(made.clone())).await.unwrap();
    }
    let read = store.trials(&id).await.unwrap().pop().and_then(|trial| trial.certificate).unwrap();
    let audit = read.audit.unwrap();
    assert!(audit.mean_difference.is_nan() && audit.largest_difference == f64::INFINITY, "{audit:?}");

    let nan = nocturne::flow::Verified { standard_error: f64::NAN, ..verified(2.0) };
    let refused = store.record_evaluation(&experiment_id(NIGHT, 4), 1, nan, Some(certificate(None))).await;
    assert!(matches!(refused, Err(StoreError::NotFinite { what: "the standard error", .. })), "{refused:?}");
}

#[tokio::test]
async fn nights_of_a_campaign_are_told_apart() {
    let (_folder, store) = store().await;
    assert!(store.latest_night("quickstart").await.unwrap().is_none());
    fill_and_end(&store, "2026-03-07-aa").await;
    assert!(store.unfinished_night("quickstart").await.unwrap().is_none());
    fill(&store, "2026-03-08-bb").await;
    let mut other = night_record("2026-03-09-cc");
    other.campaign = "h100".to_owned();
    store.begin_night(&other).await.unwrap();

    assert_eq!(store.latest_night("quickstart").await.unwrap().unwrap().id, night_id("2026-03-08-bb"));
    assert_eq!(store.unfinished_night("quickstart").await.unwrap().unwrap().id, night_id("2026-03-08-bb"));
    assert_eq!(store.unfinished_night("h100").await.unwrap().unwrap().id, other.id);
    assert_eq!(store.nights().await.unwrap().len(), 3);
    let history: Vec<_> =
        store.history("quickstart").await.unwrap().iter().map(|e| (e.id.to_string(), e.verdict)).collect();
    assert_eq!(history.len(), 12);
    // It was kept, and taken back.
    assert_eq!(history[0], ("2026-03-07-aa/1".to_owned(), Some(Verdict::Invalid)));
    assert_eq!(history[11], ("2026-03-08-bb/6".to_owned(), None));
    let seen = store.digests_seen("quickstart").await.unwrap();
    assert!(["start", "one", "six", "attempt-1"].iter().all(|digest| seen.contains(*digest)), "{seen:?}");
    assert!(store.digests_seen("h100").await.unwrap().is_empty());
}

/// What a champion costs later is not charged to the experiment that made it one.
#[tokio::test]
async fn an_experiments_cost_ends_with_its_decision() {
    let (_folder, store) = store().await;
    fill(&store, NIGHT).await;
    let (decided, open) = (experiment_id(NIGHT, 5), experiment_id(NIGHT, 6));
    let before = store.history("quickstart").await.unwrap();
    let seconds = Budget::Seconds(20.0);
    // Later than the decision by the clock, whose figures have three digits.
    std::thread::sleep(std::time::Duration::from_millis(3));
    for (id, ordinal, purpose) in [
        (&decided, 4, Purpose::Search),
        (&decided, 5, Purpose::Morning),
        (&open, 1, Purpose::Search),
        (&open, 2, Purpose::Morning),
    ] {
        store.begin_trial(id, ordinal, 1, seconds, "sha", purpose, 1).await.unwrap();
        store.end_trial(id, ordinal, &trained(TrialEnd::Finished, 1, seconds)).await.unwrap();
    }
    let after = store.history("quickstart").await.unwrap();
    assert_eq!(after[4].seconds, before[4].seconds, "{}", decided);
    assert_eq!(before[5].seconds, 0.0);
    assert!((after[5].seconds - (20.1 / 3.0 + 0.7)).abs() < 1e-9, "{}", after[5].seconds);
}

#[tokio::test]
async fn earlier_nights_on_other_terms_and_what_is_no_idea_tell_nothing() {
    let (_folder, store) = store().await;
    let seconds = Budget::Seconds(20.0);
    let campaign = |rest: &str| {
        format!(
            "title = \"T\"\nscale = \"cpu\"\n[budget]\nseconds = 20\n[night]\nexperiments = 8\n{rest}[data]\nembedded = \"libtorch-python\"\n"
        )
    };
    let night = |name: &str, text: String, libtorch: &str| {
        let mut night = night_record(name);
        night.campaign_text = text;
        night.machine.insert("libtorch".to_owned(), libtorch.to_owned());
        night
    };
    let nights = [
        night("2026-03-01-aa", campaign(""), "2.11.0"),
        night("2026-03-02-bb", campaign("[rules]\nmost_trials = 3\n"), "2.11.0"),
        night("2026-03-02-bc", campaign(""), "2.11.0"),
        night("2026-03-03-cc", campaign("[machine]\nthreads = 1\n"), "2.11.0"),
        night("2026-03-04-dd", campaign("").replace("cpu", "gpu"), "2.11.0"),
        night("2026-03-05-ee", campaign("") + "vocabulary = 512\n", "2.11.0"),
        night("2026-03-06-ff", campaign(""), "2.10.0"),
        night("2026-03-07-gg", campaign(""), "2.11.0"),
    ];
    for night in &nights {
        store.begin_night(night).await.unwrap();
        for (number, proposer) in (1..).zip(["playbook", "leave-one-out", "identical", "combine", "tuner"]) {
            let id = experiment_id(night.id.as_str(), number);
            let mut proposal = proposal("one");
            proposal.author.proposer = proposer.to_owned();
            store.record_experiment(&id, &proposal, proposer, &commit(1)).await.unwrap();
            store.begin_trial(&id, 1, 1, seconds, "sha", Purpose::Search, 0).await.unwrap();
            // One was stopped before anything was vouched for; what was foreseen of it counts.
            if proposer == "tuner" {
                let end = TrialEnd::StoppedEarly { message: "far behind".to_owned() };
                store.end_trial(&id, 1, &trained(end, 1, seconds)).await.unwrap();
                let mut decision = weighed(Verdict::Discarded);
                (decision.difference, decision.interval) = (None, None);
                // That it would have gained something is its own word.
                let forecast = if night.id == night_id("2026-03-02-bb") { -0.006 } else { 0.006 };
                decision.evidence.as_mut().unwrap().forecast = Some(forecast);
                store.record_decision(&id, &decision).await.unwrap();
                continue;
            }
            store.end_trial(&id, 1, &trained(TrialEnd::Finished, 1, seconds)).await.unwrap();
            // One figure is of another evaluator, and all of one night, of which what was foreseen counts no more either.
            let mut figure = verified(2.0);
            if night.id == night_id("2026-03-02-bc") || night.id == night_id("2026-03-02-bb") && number == 3 {
                figure.evaluator = "claim/0".to_owned();
            }
            store.record_evaluation(&id, 1, figure, None).await.unwrap();
            store.record_decision(&id, &weighed(Verdict::Inconclusive)).await.unwrap();
        }
    }
    let newest = night_id("2026-03-07-gg");
    let runs = store.earlier_runs(&newest, seconds).await.unwrap();
    let runs: Vec<_> = runs.into_iter().map(|run| (run.night.to_string(), run.number)).collect();
    let (one, other) = ("2026-03-01-aa", "2026-03-02-bb");
    let expected = [(one, 1), (one, 2), (one, 3), (one, 4), (other, 1), (other, 2), (other, 4)];
    assert_eq!(runs, expected.map(|(night, number)| (night.to_owned(), number)));
    let found = store.earlier_estimates(&newest, seconds).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|found| (found.id.to_string(), found.difference)).collect();
    let seen = weighed(Verdict::Inconclusive).difference.unwrap();
    let expected = [(one, 1, seen), (one, 5, 0.006), (other, 1, seen), (other, 5, 0.0)];
    assert_eq!(found, expected.map(|(night, number, difference)| (format!("{night}/{number}"), difference)));
}

#[tokio::test]
async fn a_revised_experiment_forgets_its_candidate() {
    let (_folder, store) = store().await;
    store.begin_night(&night_record(NIGHT)).await.unwrap();
    let id = experiment_id(NIGHT, 1);
    store.record_experiment(&id, &proposal("one"), "one", &commit(1)).await.unwrap();
    store.record_candidate(&id, &candidate(2, 1)).await.unwrap();
    store.record_artifact(&id, &ArtifactRecord { sha256: "a".into(), build_seconds: 1.0 }).await.unwrap();
    store.revise_experiment(&id, &proposal("one"), "one again", &commit(3)).await.unwrap();
    let revised = store.experiment(&id).await.unwrap().unwrap();
    assert_eq!((revised.state, revised.candidate, revised.artifact), (ExperimentState::Proposed, None, None));
    assert_eq!(revised.champion, commit(3));
    store.record_candidate(&id, &candidate(4, 3)).await.unwrap();
}

#[tokio::test]
async fn what_a_night_took_back_teaches_later_ones_nothing() {
    let seconds = Budget::Seconds(20.0);
    let weighed_at = |number: u32| if number == 1 { Verdict::Kept } else { Verdict::Inconclusive };
    for (withdrawn, runs, estimates, verdicts) in [
        (None, vec![0, 1, 2, 3], vec![1, 2, 3], [Verdict::Kept, Verdict::Inconclusive, Verdict::Inconclusive]),
        (Some(2), vec![0, 1], vec![1], [Verdict::Kept, Verdict::Invalid, Verdict::Inconclusive]),
        (Some(1), vec![0], vec![], [Verdict::Invalid, Verdict::Inconclusive, Verdict::Inconclusive]),
        (Some(0), vec![], vec![], [Verdict::Inconclusive; 3]),
    ] {
        let (_folder, store) = store().await;
        let (old, new) = (night_record("2026-03-05-aa"), night_record("2026-03-06-bb"));
        store.begin_night(&old).await.unwrap();
        for number in 0..4 {
            let id = experiment_id(old.id.as_str(), number);
            store.record_experiment(&id, &proposal("one"), &number.to_string(), &commit(1)).await.unwrap();
            store.begin_trial(&id, 1, 1, seconds, "sha", Purpose::Search, 0).await.unwrap();
            store.end_trial(&id, 1, &trained(TrialEnd::Finished, 1, seconds)).await.unwrap();
            store.record_evaluation(&id, 1, verified(2.0), None).await.unwrap();
            store.record_decision(&id, &weighed(weighed_at(number))).await.unwrap();
        }
        if let Some(number) = withdrawn {
            store.withdraw(&old.id, number, "it read ahead").await.unwrap();
        }
        store.begin_night(&new).await.unwrap();
        let found = store.earlier_runs(&new.id, seconds).await.unwrap();
        assert_eq!(found.iter().map(|run| run.number).collect::<Vec<_>>(), runs, "{withdrawn:?}");
        let found = store.earlier_estimates(&new.id, seconds).await.unwrap();
        assert_eq!(found.iter().map(|found| found.id.number).collect::<Vec<_>>(), estimates, "{withdrawn:?}");
        let history = store.history("quickstart").await.unwrap();
        for (entry, verdict) in history.iter().zip(verdicts) {
            assert_eq!(entry.verdict, Some(verdict), "{withdrawn:?} {}", entry.id);
            let trusted = withdrawn.is_none_or(|withdrawn| entry.id.number < withdrawn);
            assert_eq!((entry.evidence.is_some(), entry.difference.is_some()), (trusted, trusted), "{}", entry.id);
        }
        assert_eq!(history.len(), 3);
    }
}

#[tokio::test]
async fn earlier_nights_tell_of_their_noise_and_effects_where_they_compare() {
    let (_folder, store) = store().await;
    let seconds = Budget::Seconds(20.0);
    for name in ["2026-03-05-aa", "2026-03-06-bb", "2026-03-08-k4", "2026-03-09-dd"] {
        fill_standing(&store, name).await;
    }
    let mut elsewhere = night_record("2026-03-07-cc");
    elsewhere.machine.insert("cpu".to_owned(), "another".to_owned());
    let mut other = night_record("2026-03-04-ee");
    other.campaign = "h100".to_owned();
    for night in [elsewhere, other] {
        store.begin_night(&night).await.unwrap();
        let id = experiment_id(night.id.as_str(), 0);
        let start = nocturne::records::baseline_proposal();
        store.record_experiment(&id, &start, "start", &commit(1)).await.unwrap();
        store.begin_trial(&id, 1, 1, seconds, "sha", Purpose::Search, 0).await.unwrap();
        store.end_trial(&id, 1, &trained(TrialEnd::Finished, 1, seconds)).await.unwrap();
        store.record_evaluation(&id, 1, verified(9.0), None).await.unwrap();
        store.record_decision(&id, &weighed(Verdict::Discarded)).await.unwrap();
    }

    let told = |runs: Vec<nocturne::records::EarlierRun>| -> Vec<(String, u32, u32, u32, f64)> {
        runs.into_iter().map(|run| (run.night.to_string(), run.number, run.era, run.seed, run.val_bpb)).collect()
    };
    let of = |night: &str| [(night.to_owned(), 0, 0, 2, 2.101_010_101_010_1), (night.to_owned(), 5, 1, 1, 2.2)];
    let runs = store.earlier_runs(&night_id(NIGHT), seconds).await.unwrap();
    assert_eq!(told(runs), [of("2026-03-05-aa"), of("2026-03-06-bb")].concat());
    let tokens = store.earlier_runs(&night_id(NIGHT), Budget::Tokens(u64::from(u32::MAX) * 2)).await.unwrap();
    assert_eq!(told(tokens).iter().map(|run| run.1).collect::<Vec<_>>(), [1, 1]);
    assert!(store.earlier_runs(&night_id("2026-03-05-aa"), seconds).await.unwrap().is_empty());

    let found = store.earlier_estimates(&night_id("2026-03-06-bb"), seconds).await.unwrap();
    let expected = nocturne::records::EarlierEstimate {
        id: experiment_id("2026-03-05-aa", 5),
        proposer: "playbook".to_owned(),
        family: "schedule".to_owned(),
        difference: -0.012_3,
        standard_error: 0.001 / 3.0,
    };
    assert_eq!(found, [expected]);
    assert!(store.earlier_estimates(&night_id(NIGHT), Budget::Seconds(21.0)).await.unwrap().is_empty());
}
