use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::flow::TrialEnd;
use crate::records::{EffectTimes, NightEnd, NightEnding, OpeningPart, OpeningStage};
use crate::report::fixture;

fn at(second: f64) -> Timestamp {
    Timestamp::from_millisecond((second * 1000.0).round() as i64).unwrap()
}

fn effect(key: &str, begun: f64, ended: Option<f64>) -> EffectTimes {
    fixture::effect(key, at(begun), ended.map(at))
}

fn worked(key: &str, begun: f64, ended: f64, seconds: f64) -> EffectTimes {
    EffectTimes { seconds: Some(seconds), ..effect(key, begun, Some(ended)) }
}

/// A night of one experiment beside the start: opened from 0 to 20, then a trial of the start, then one of experiment 1, which was
/// built beside the first.
fn short_night() -> NightRecords {
    let mut records = fixture::night();
    records.night.started_at = at(18.0);
    records.night.end = Some(NightEnd { at: at(80.0), how: NightEnding::ExperimentsDone, detail: String::new() });
    records.trials.truncate(2);
    for (trial, number, began) in [(0, 0, 21.0), (1, 1, 50.5)] {
        let trial = &mut records.trials[trial];
        (trial.experiment.number, trial.ordinal) = (number, 1);
        (trial.started_at, trial.ended_at) = (at(began), Some(at(began + 21.5)));
        let trained = trial.trained.as_mut().unwrap();
        (trained.start_seconds, trained.training_seconds) = (1.0, 20.0);
        trained.end = TrialEnd::Finished;
        trial.certificate = None;
    }
    let mut certificate = crate::fixture::certificate();
    (certificate.seconds, certificate.claim_seconds) = (4.0, Some(3.0));
    records.trials[0].certificate = Some(certificate);
    let part = |stage, from, seconds| OpeningPart { stage, from: at(from), seconds };
    let opened = EffectTimes {
        opening: vec![
            part(OpeningStage::SettingUp, 0.0, 2.0),
            part(OpeningStage::Building, 2.0, 6.0),
            part(OpeningStage::RedTeam, 8.0, 10.0),
            part(OpeningStage::SettingUp, 18.0, 1.0),
        ],
        ..effect("open/0", 19.0, Some(19.0))
    };
    records.journal = vec![
        opened,
        worked("1.1/build/0/abc", 19.0, 20.5, 1.5),
        effect("1.2/train/0/1", 20.5, Some(42.5)),
        effect("1.3/propose/1/0", 22.0, Some(30.0)),
        effect("1.4/commit/1/abc", 30.0, Some(30.5)),
        // It waited for its turn until 40, and went on after the trial.
        worked("1.5/build/1/abc", 30.5, 45.0, 5.0),
        effect("1.6/evaluate/0/1", 42.5, Some(46.5)),
        effect("1.7/settle/0", 46.5, Some(47.0)),
        effect("1.8/train/1/1", 47.0, Some(72.0)),
        effect("1.9/evaluate/1/1", 72.0, Some(75.0)),
        effect("1.10/settle/1", 75.0, Some(75.5)),
        effect("report/12", 80.0, Some(82.0)),
    ];
    records.waits = vec![(at(48.0), "somebody uses the machine".to_owned())];
    records.cuts = Vec::new();
    records
}

fn told(account: &TimeAccount) -> Vec<(TimeStage, f64, f64)> {
    account.stages.iter().map(|booked| (booked.stage, booked.seconds, booked.beside_training)).collect()
}

#[test]
fn a_night_is_booked_to_its_stages() {
    let account = short_night().time_account();
    assert_eq!((account.begin, account.end, account.seconds), (at(0.0), at(82.0), 82.0));
    let expected = [
        (TimeStage::SettingUp, 3.0, 0.0),
        (TimeStage::BuildingStart, 7.5, 0.0),
        (TimeStage::RedTeam, 10.0, 0.0),
        (TimeStage::Training, 40.0, 0.0),
        (TimeStage::Starting, 2.0, 0.0),
        (TimeStage::Ending, 1.0, 0.0),
        (TimeStage::Claim, 6.0, 0.0),
        (TimeStage::Audit, 1.0, 0.0),
        (TimeStage::Deciding, 1.0, 0.0),
        (TimeStage::Disturbed, 2.5, 0.0),
        (TimeStage::Building, 0.0, 2.0),
        (TimeStage::Checking, 0.0, 0.5),
        (TimeStage::Proposing, 0.0, 8.0),
        (TimeStage::Preparing, 1.5, 0.0),
        (TimeStage::Report, 2.0, 0.0),
        (TimeStage::Between, 4.5, 0.0),
    ];
    assert_eq!(told(&account), expected);
    assert!((account.training_share - 40.0 / 82.0).abs() < 1e-9);
    // 2 + 1 + 6 + 1 + 1 + 1.5 + 4.5, over two trials.
    let cycle = account.cycle.unwrap();
    assert_eq!((cycle.trials, cycle.seconds_besides), (2, 8.5));
    assert!(cycle.share_at_60.is_some_and(|share| (share - 60.0 / 68.5).abs() < 1e-9));
    // The second trial's beginning was disturbed, so the first alone says what precedes one.
    assert_eq!(cycle.to_first_step, Some(ToFirstStep { build: 5.0, prepare: 0.5, start: 1.0 }));
}

#[test]
fn devices_that_train_at_a_time_have_each_their_time_and_the_night_each_second_once() {
    let mut records = short_night();
    assert_eq!(records.time_account().devices, [], "on record before devices were");
    for (trial, (device, began)) in records.trials.iter_mut().zip([("cpu:0", 21.0), ("cpu:1", 26.0)]) {
        trial.device = Some(device.to_owned());
        (trial.started_at, trial.ended_at) = (at(began), Some(at(began + 21.5)));
    }
    let account = records.time_account();
    // From 22 to 42 on the one, from 27 to 47 on the other.
    let of = |stage| account.stages.iter().find(|booked| booked.stage == stage).map_or(0.0, |booked| booked.seconds);
    assert_eq!(of(TimeStage::Training), 25.0);
    assert!((account.stages.iter().map(|booked| booked.seconds).sum::<f64>() - account.seconds).abs() < 1e-9);
    let times: Vec<(&str, f64)> = account.devices.iter().map(|it| (it.device.as_str(), it.seconds)).collect();
    assert_eq!(times, [("cpu:0", 20.0), ("cpu:1", 20.0)]);
    assert!((account.devices[1].share - 20.0 / account.seconds).abs() < 1e-9);
    // Trials that go on at a time do not add up to a night.
    assert!(account.cycle.is_some_and(|cycle| (cycle.share_at_60, cycle.share_at_300) == (None, None)));
    // A trial that counts for nothing is no training of its device.
    records.trials[1].trained.as_mut().unwrap().end = TrialEnd::MachineFault { message: "heat".to_owned() };
    assert_eq!(records.time_account().devices[1].seconds, 0.0);
    records.trials[1].device = Some("cpu:0".to_owned());
    assert_eq!(records.time_account().devices, [], "there was one device");
}

#[test]
fn what_was_cut_off_or_lost_is_no_training() {
    let mut records = short_night();
    records.journal.truncate(4);
    records.journal[3].ended_at = None;
    records.journal.push(effect("4.1/train/1/1", 60.0, None));
    records.cuts = vec![(at(35.0), at(60.0))];
    // Resumed at 55: its opening is told, and its cut-off trial was ended then.
    let opening = vec![OpeningPart { stage: OpeningStage::RedTeam, from: at(55.0), seconds: 5.0 }];
    records.journal.insert(4, EffectTimes { opening, ..effect("open/5", 60.0, Some(60.0)) });
    let first = &mut records.trials[0];
    first.ended_at = Some(at(56.0));
    let trained = first.trained.as_mut().unwrap();
    (trained.end, trained.start_seconds, trained.training_seconds) = (TrialEnd::Stopped, 0.0, 0.0);
    records.trials[1].started_at = at(61.0);
    (records.trials[1].ended_at, records.trials[1].trained) = (None, None);
    records.night.end = None;
    records.trials[1].evaluated_at = None;
    let account = records.time_account();
    let of = |stage| account.stages.iter().find(|booked| booked.stage == stage).map_or(0.0, |booked| booked.seconds);
    assert_eq!((of(TimeStage::CutOff), of(TimeStage::RedTeam), of(TimeStage::Lost)), (20.0, 15.0, 14.0));
    // It trains, and nothing newer is on record than that it began.
    assert_eq!((of(TimeStage::Training), account.end, account.cycle.map(|cycle| cycle.trials)), (0.0, at(61.0), None));

    // Once the night is over, a trial without an end came to nothing.
    records.night.end = Some(NightEnd { at: at(70.0), how: NightEnding::Abandoned, detail: String::new() });
    let account = records.time_account();
    let of = |stage| account.stages.iter().find(|booked| booked.stage == stage).map_or(0.0, |booked| booked.seconds);
    assert_eq!((of(TimeStage::Training), of(TimeStage::Lost)), (0.0, 23.0));
}

#[test]
fn a_night_of_which_nothing_is_on_record_has_no_time() {
    let account = fixture::empty().time_account();
    assert_eq!((account.seconds, account.training_share, account.stages.len()), (0.0, 0.0, 0));
    assert_eq!(account.cycle, None);
}

fn stretch() -> impl Strategy<Value = Stretch> {
    (0..TimeStage::ALL.len(), -50..150_i64, -20..90_i64).prop_map(|(place, from, length)| Stretch {
        stage: TimeStage::ALL[place],
        from,
        to: from + length,
    })
}

proptest! {
    #[test]
    fn every_millisecond_is_booked_once(to in 0..120_i64, stretches in prop::collection::vec(stretch(), 0..24)) {
        let books = book(0, to, &stretches);
        prop_assert_eq!(books.iter().map(|(own, _)| own).sum::<i64>(), to);
        // The same, one millisecond at a time.
        let mut expected: Books = [(0, 0); TimeStage::ALL.len()];
        for at in 0..to {
            let covers = |place: usize| {
                stretches.iter().any(|one| one.stage.place() == place && one.from <= at && at < one.to)
            };
            let first = (0..TimeStage::ALL.len()).find(|place| covers(*place)).unwrap_or(TimeStage::Between.place());
            expected[first].0 += 1;
            if TimeStage::ALL[first].trains() {
                let others = (0..TimeStage::ALL.len()).filter(|other| covers(*other) && !TimeStage::ALL[*other].trains());
                others.for_each(|other| expected[other].1 += 1);
            }
        }
        prop_assert_eq!(books, expected);
    }
}

#[test]
fn stages_stand_in_the_order_of_their_precedence() {
    for (place, stage) in TimeStage::ALL.into_iter().enumerate() {
        assert_eq!(stage.place(), place, "{stage:?}");
    }
}
