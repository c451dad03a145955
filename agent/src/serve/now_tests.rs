//! Records in, words out.

use dashboards::site::Fact;
use serde_json::json;

use super::*;
use crate::flow::{ExperimentId, NightId, Purpose};
use crate::llm::spend::Spent;
use crate::records::{
    EffectRecord, ExperimentRecord, ExperimentState, Level, NightEnd, NightEnding, QueueEntry, QueueState,
    ReviewChoice, ReviewRecord, TrialRecord, WithdrawalRecord,
};
use crate::report::fixture;
use crate::serve::live::{Making, Testing, Watcher};
use crate::store::{ExperimentLine, Glance, Store};

const UTC: TimeZone = TimeZone::UTC;

/// The fixture's night as it stood when all but experiment 4's verdict was known.
fn seen(running: bool) -> Seen {
    let records = fixture::night();
    let mut experiments = records.experiments.clone();
    for experiment in experiments.iter_mut().filter(|it| it.id.number == 4) {
        experiment.decision = None;
    }
    let line = |it: &ExperimentRecord| ExperimentLine {
        number: it.id.number,
        proposer: it.proposal.author.proposer.clone(),
        verdict: it.decision.as_ref().map(|decision| decision.verdict),
    };
    let glance = Glance {
        lines: experiments.iter().filter(|it| it.id.number > 0).map(line).collect(),
        champions: records.champions.clone(),
        claim: None,
        withdrawal: None,
        experiments: Vec::new(),
        // As they are read: of the start, the champion and what has no verdict.
        trials: records.trials.iter().filter(|it| [0, 1, 4].contains(&it.experiment.number)).cloned().collect(),
        effects: Vec::new(),
        calls: Vec::new(),
        events: Vec::new(),
        queue: Vec::new(),
        reviews: Vec::new(),
        night: records.night,
    };
    let kept = experiments.into_iter().filter(|it| [0, 1, 4].contains(&it.id.number));
    Seen {
        running,
        at_work: running,
        glance: Some(glance),
        experiments: kept.map(|it| (it.id.number, it)).collect(),
        ..Seen::default()
    }
}

/// The same night in a database.
async fn recorded(store: &Store) {
    let records = fixture::night();
    store.begin_night(&records.night).await.unwrap();
    for mut experiment in records.experiments {
        match experiment.id.number {
            4 => (experiment.decision, experiment.state) = (None, ExperimentState::Measured),
            _ => experiment.decided_at = Some(Timestamp::UNIX_EPOCH),
        }
        store.enlist(&experiment).await.unwrap();
    }
    for trial in &records.trials {
        let (id, ordinal, sha256) = (&trial.experiment, trial.ordinal, trial.artifact_sha256.as_str());
        store.begin_trial(id, ordinal, trial.seed, trial.budget, sha256, trial.purpose, trial.era).await.unwrap();
        store.end_trial(id, ordinal, trial.trained.as_ref().unwrap()).await.unwrap();
        if let Some(evaluation) = trial.evaluation.clone() {
            store.record_evaluation(id, ordinal, evaluation, trial.certificate.clone()).await.unwrap();
        }
    }
    for champion in &records.champions {
        let id = ExperimentId { night: records.night.id.clone(), number: champion.experiment };
        store.move_champion(&id, &champion.commit).await.unwrap();
    }
}

#[tokio::test]
async fn the_page_says_of_a_database_what_it_says_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("nocturne.db")).await.unwrap();
    recorded(&store).await;
    let night: NightId = "n".parse().unwrap();
    let search = json!({ "purpose": "search" });
    store.begin_effect(&night, "0.9/train/4/2", "train", &search).await.unwrap();
    let mut watcher = Watcher::of_a_night_at_work();
    let told = still(watcher.has_read(&store).await, &UTC);
    let mut by_hand = seen(true);
    by_hand.doing.testing = testing(4, Purpose::Search, Step::Starting);
    let expected = still(&by_hand, &UTC);
    assert_eq!(told.stage, "Starting experiment 4, run 2: Raise the rate");
    assert!(told.stage_since.is_some());
    // But for since when the run is tested, by the clock.
    assert_eq!(NowView { stage_since: expected.stage_since, ..told }, expected);

    // What is written next is read on from there: the verdict, and the next experiment.
    let fourth = fixture::night().experiments.remove(4);
    store.end_effect(&night, "0.9/train/4/2", &json!("finished")).await.unwrap();
    store.record_decision(&fourth.id, fourth.decision.as_ref().unwrap()).await.unwrap();
    let building = json!({ "commit": "0", "parent": "1" });
    store.begin_effect(&night, "0.11/build/6/0123456", "build", &building).await.unwrap();
    let seen = watcher.has_read(&store).await;
    assert_eq!(seen.experiments.keys().copied().collect::<Vec<u32>>(), [0, 1]);
    let told = still(seen, &UTC);
    assert_eq!((told.stage.as_str(), told.done.as_str()), ("Building experiment 6", "4 experiments"));
    assert_eq!(fact(&told.standing, "others"), "3 discarded");
    assert_eq!(told.standing[..2], expected.standing[..2]);
    store.close().await.unwrap();
}

fn testing(number: u32, purpose: Purpose, step: Step) -> Option<Testing> {
    Some(Testing { number, trial: 2, purpose, step, since: Timestamp::UNIX_EPOCH })
}

fn fact<'a>(facts: &'a [Fact], name: &str) -> &'a str {
    facts.iter().find(|fact| fact.name == name).map_or("", |fact| fact.value.as_str())
}

#[test]
fn the_stage_is_told_in_one_line() {
    let (search, morning) = (Purpose::Search, Purpose::Morning);
    let unfit = Step::Waiting("other programs take 60 % of the cores".to_owned());
    let making = |number, what| Some(Making { number, what, key: None, since: Timestamp::UNIX_EPOCH });
    for (test, made, expected) in [
        (None, None, "Between two steps"),
        (None, making(0, "building"), "Building the night's start"),
        (None, making(5, "proposing"), "Proposing experiment 5"),
        (testing(4, search, Step::Starting), making(5, "building"), "Starting experiment 4, run 2: Raise the rate"),
        // On record, and without a loss so far.
        (testing(4, search, Step::Training), None, "Starting experiment 4, run 2: Raise the rate"),
        (testing(4, search, Step::Verifying), None, "Verifying experiment 4, run 2: Raise the rate"),
        (testing(0, search, Step::Starting), None, "Starting the night's start, run 2"),
        (
            testing(1, morning, Step::Verifying),
            None,
            "Verifying experiment 1, run 2 for the morning's claim: Halve the batch",
        ),
        (
            testing(4, search, unfit),
            None,
            "Waiting with experiment 4, run 2: Raise the rate. other programs take 60 % of the cores",
        ),
    ] {
        let mut seen = seen(true);
        (seen.doing.testing, seen.doing.making) = (test, made);
        let view = still(&seen, &UTC);
        assert_eq!((view.stage.as_str(), view.state.as_str()), (expected, "running"));
    }
}

#[test]
fn a_night_is_running_ended_cut_off_or_being_prepared() {
    let end = |how, detail: &str| Some(NightEnd { at: Timestamp::UNIX_EPOCH, how, detail: detail.to_owned() });
    for (running, end, state, stage) in [
        (true, None, "running", "Between two steps"),
        (false, None, "cut-off", "Cut off; `nocturne night experiments/quickstart` goes on with it."),
        (false, end(NightEnding::Deadline, ""), "ended", "Ended: its time was up."),
        (false, end(NightEnding::Failed, "no disk"), "ended", "Ended: it could not go on: no disk"),
        (true, end(NightEnding::Deadline, ""), "preparing", "A night is being prepared"),
    ] {
        let mut seen = seen(running);
        if let Some(glance) = &mut seen.glance {
            glance.night.end = end;
        }
        let view = still(&seen, &UTC);
        assert_eq!(view.state, state);
        assert!(view.stage.starts_with(stage), "{}", view.stage);
        assert_eq!(view.began_at.is_some(), state == "running");
        // Somebody holds the lock, and nothing of this night has moved since: another one is being prepared.
        if state == "running" {
            seen.at_work = false;
            assert_eq!(still(&seen, &UTC).state, "preparing");
        }
    }
    assert_eq!(still(&Seen::default(), &UTC).state, "none");
    assert_eq!(still(&Seen { running: true, ..Seen::default() }, &UTC).state, "preparing");
}

#[test]
fn how_the_night_stands_is_what_the_report_says() {
    let records = fixture::night();
    let view = still(&seen(true), &UTC);
    let level = records.level(1).unwrap();
    assert_eq!(fact(&view.standing, "val_bpb"), format!("1.8400 → {level:.4} (−0.0040)"));
    assert_eq!(fact(&view.standing, "champion"), "#1 Halve the batch");
    // Five experiments: one without a verdict, one that only leaves a kept change out.
    assert_eq!(fact(&view.standing, "kept"), "1 of 3 tried");
    assert_eq!(fact(&view.standing, "others"), "2 discarded");
    assert_eq!(view.done, "3 experiments");
    assert_eq!((view.waiting_count, view.waiting[0].text.as_str()), (1, "#1 Halve the batch"));
    assert_eq!(view.waiting[0].note, "−0.0040 (95 % −0.0060 to −0.0020)");
    assert_eq!(view.waiting[0].href.as_deref(), Some("/nights/n/1"));
    let mut seen = seen(true);
    // A champion that a withdrawal took back is none: the start is what stands, whatever trials were read.
    let withdrawn = WithdrawalRecord { experiment: 1, words: "it read ahead".to_owned(), at: Timestamp::UNIX_EPOCH };
    if let Some(glance) = &mut seen.glance {
        glance.withdrawal = Some(withdrawn);
    }
    let view = still(&seen, &UTC);
    assert_eq!((fact(&view.standing, "champion"), fact(&view.standing, "val_bpb")), ("the night's start", "1.8400"));
    assert_eq!((fact(&view.standing, "kept"), fact(&view.standing, "taken back")), ("0 of 3 tried", "it read ahead"));
    assert_eq!(view.waiting_count, 0);
    // A figure that is not there is not made up, nor left out.
    if let Some(glance) = &mut seen.glance {
        glance.withdrawal = None;
        glance.trials.retain(|trial| trial.experiment.number != 1);
    }
    for experiment in seen.experiments.values_mut().filter(|it| it.id.number == 1) {
        experiment.decision.as_mut().unwrap().difference = None;
    }
    assert_eq!(fact(&still(&seen, &UTC).standing, "val_bpb"), "1.8400 → not known");
    let mut seen = self::seen(true);
    if let Some(glance) = &mut seen.glance {
        let id = crate::flow::ExperimentId { night: "n".parse().unwrap(), number: 1 };
        let (choice, at) = (ReviewChoice::Accepted, Timestamp::UNIX_EPOCH);
        glance.reviews = vec![ReviewRecord { ordinal: 1, experiment: id, choice, reason: String::new(), at }];
    }
    assert_eq!(still(&seen, &UTC).waiting_count, 0);
}

#[test]
fn what_comes_next_is_the_persons_queue_in_its_order() {
    let entry = |id, place, words: &str| QueueEntry {
        id,
        campaign: "quickstart".to_owned(),
        place,
        words: words.to_owned(),
        by: (id == 2).then(|| "an agent".to_owned()),
        patch: (id == 1).then(|| "diff".to_owned()),
        state: QueueState::Waiting,
        taken: None,
        result: None,
        created_at: Timestamp::UNIX_EPOCH,
        settled_at: None,
    };
    let mut seen = seen(true);
    seen.doing.testing = testing(4, Purpose::Search, Step::Starting);
    let (number, since) = (5, Timestamp::UNIX_EPOCH);
    seen.doing.making = Some(Making { number, what: "building", key: Some("queue-9".to_owned()), since });
    if let Some(glance) = &mut seen.glance {
        let taken = QueueEntry { state: QueueState::Taken, ..entry(9, 1, "the\nthird") };
        glance.queue = vec![taken, entry(1, 4, "the second"), entry(2, 3, &"long ".repeat(100))];
        glance.queue.extend((10..20).map(|id| entry(id, id, "later")));
    }
    let view = still(&seen, &UTC);
    let told: Vec<(&str, &str)> = view.next.iter().map(|line| (line.text.as_str(), line.note.as_str())).collect();
    assert_eq!(told[0], ("Experiment 5: building", "the third"));
    assert!(told[1].0.ends_with('…') && told[1].1 == "idea 2 of the queue, by an agent", "{told:?}");
    assert_eq!(told[2], ("the second", "idea 1 of the queue, with a patch"));
    assert_eq!(told.last().unwrap().0, "and 4 more: nocturne queue list");
}

#[test]
fn what_models_cost_is_told_beside_its_limit() {
    let mut seen = seen(true);
    assert_eq!(still(&seen, &UTC).spend, [Fact::new("models", "none was asked")]);
    seen.spent = Spent { usd: 0.04123, tokens: 81_234, calls: 7 };
    let view = still(&seen, &UTC);
    assert_eq!(fact(&view.spend, "dollars"), "0.0412");
    assert_eq!(fact(&view.spend, "limits"), "not known: the night's campaign.toml cannot be read");
    if let Some(glance) = &mut seen.glance {
        glance.night.campaign_text =
            include_str!("../../../experiments/quickstart/campaign.toml").to_owned() + "\n[spending]\ndollars = 5\n";
        seen.limits = Some(limits(&glance.night));
    }
    let view = still(&seen, &UTC);
    assert_eq!((fact(&view.spend, "dollars"), fact(&view.spend, "calls")), ("0.0412 of 5.00", "7"));
    assert_eq!(fact(&view.spend, "limits"), "");
}

fn effect(ordinal: u32, key: &str, kind: &str, payload: Value) -> EffectRecord {
    let begun_at = Timestamp::from_second(i64::from(ordinal)).unwrap();
    EffectRecord {
        ordinal,
        key: key.to_owned(),
        kind: kind.to_owned(),
        payload,
        begun_at,
        ended_at: None,
        outcome: None,
    }
}

#[test]
fn the_journal_tells_what_is_under_way() {
    let search = json!({ "purpose": "search" });
    let train = |trial: u32| effect(30, &format!("9.4/train/4/{trial}"), "train", search.clone());
    let run = |at: i64| {
        let found = fixture::night().trials.into_iter().find(|trial| trial.experiment.number == 4);
        TrialRecord { started_at: Timestamp::from_second(at).unwrap(), trained: None, ..found.unwrap() }
    };
    let unfit = |at: i64| EventRecord {
        ordinal: 1,
        at: Timestamp::from_second(at).unwrap(),
        level: Level::Warning,
        stage: "conditions".to_owned(),
        text: "it is hot".to_owned(),
    };
    let building = effect(31, "9.5/build/5/0123456", "build", json!({ "commit": "0", "parent": "1" }));
    let committing = effect(31, "9.5/commit/5/0123456", "commit", json!({ "key": "queue-3", "parent": "1" }));
    let evaluate = effect(32, "9.6/evaluate/4/1", "evaluate", json!({ "purpose": "morning" }));
    let cut_off = effect(2, "0.2/train/3/1", "train", search.clone());
    for (effects, trials, events, step, making) in [
        (vec![], vec![], vec![], None, None),
        (vec![train(1)], vec![], vec![], Some(Step::Starting), None),
        (vec![train(1)], vec![run(29)], vec![], Some(Step::Starting), None),
        (vec![train(1)], vec![run(31)], vec![unfit(30)], Some(Step::Training), None),
        (vec![train(1)], vec![], vec![unfit(29)], Some(Step::Starting), None),
        (vec![train(1)], vec![], vec![unfit(31)], Some(Step::Waiting("it is hot".to_owned())), None),
        (vec![train(1), building], vec![], vec![], Some(Step::Starting), Some(("building", None))),
        (vec![committing], vec![], vec![], None, Some(("committing", Some("queue-3")))),
        (vec![evaluate], vec![run(31)], vec![], Some(Step::Verifying), None),
        // What an earlier part of the night was at when it was cut off is not under way.
        (vec![cut_off, train(1)], vec![], vec![], Some(Step::Starting), None),
    ] {
        let mut glance = seen(true).glance.unwrap();
        (glance.effects, glance.trials, glance.events) = (effects, trials, events);
        let mut watcher = Watcher::of_a_night_at_work();
        let doing = &watcher.has_learnt(glance).doing;
        assert_eq!(doing.testing.as_ref().map(|testing| testing.step.clone()), step);
        let made = doing.making.as_ref().map(|making| (making.what, making.key.as_deref()));
        assert_eq!(made, making);
        assert!(doing.testing.as_ref().is_none_or(|testing| (testing.number, testing.trial) == (4, 1)));
    }
}
