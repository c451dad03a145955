//! Calls of models, and the person's queue.

use nocturne::flow::Verdict;
use nocturne::layout::Layout;
use nocturne::llm::spend::Spent;
use nocturne::records::{ExchangeFailure, ExchangeRecord, NightEnding, QueueEntry, QueueState, Reply};
use nocturne::store::{Enqueued, Reader, Store, StoreError, rebuild};

use crate::fixture::*;

const NIGHT: &str = "2026-03-08-k4";
const CAMPAIGN: &str = "quickstart";

/// A store with a night that has begun.
async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_in(&Layout::new(folder.path())).await.unwrap();
    store.begin_night(&night_record(NIGHT)).await.unwrap();
    (folder, store)
}

fn waiting(entries: &[QueueEntry]) -> Vec<u32> {
    let mut entries: Vec<_> = entries.iter().filter(|entry| entry.state == QueueState::Waiting).collect();
    entries.sort_by_key(|entry| entry.place);
    entries.iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn programs_that_have_ideas_at_once_put_no_more_than_the_most_into_the_queue() {
    const MOST: usize = 5;
    let (folder, store) = store().await;
    let mut programs = tokio::task::JoinSet::new();
    for number in 0..4 * MOST {
        let layout = Layout::new(folder.path());
        programs.spawn(async move {
            let store = Store::open_in(&layout).await.unwrap();
            let words = format!("idea {}", number / 2);
            store.enqueue_within(MOST, "program", CAMPAIGN, &words, None).await.unwrap()
        });
    }
    let enqueued = programs.join_all().await;
    let added = enqueued.iter().filter(|enqueued| matches!(enqueued, Enqueued::Added(_))).count();
    assert_eq!(added, MOST, "{enqueued:?}");
    let entries = store.queue(Some(CAMPAIGN)).await.unwrap();
    assert_eq!(waiting(&entries).len(), MOST);
    let words: std::collections::BTreeSet<&str> = entries.iter().map(|entry| entry.words.as_str()).collect();
    assert_eq!(words.len(), MOST, "the same does not wait twice: {entries:?}");
    assert_eq!(store.enqueue_within(MOST, "program", CAMPAIGN, "another", None).await.unwrap(), Enqueued::Full(MOST));
    // The person may go on.
    store.enqueue(CAMPAIGN, "mine", None).await.unwrap();
}

#[tokio::test]
async fn a_call_is_recorded_once_and_heard_again() {
    let (folder, store) = store().await;
    let night = night_id(NIGHT);
    let (failed, answered) = (exchange(7, 1, false), exchange(7, 2, true));
    for call in [&answered, &failed, &failed] {
        store.record_exchange(&night, call).await.unwrap();
    }
    assert_eq!(store.exchanges(&night).await.unwrap(), [failed.clone(), answered.clone()]);
    assert_eq!(store.exchange(&night, 7, 2).await.unwrap(), Some(answered.clone()));
    assert_eq!(store.exchange(&night, 7, 3).await.unwrap(), None);
    let facts = store.exchange_facts(&night).await.unwrap();
    assert_eq!((facts[1].round, &facts[1].reply), (2, &answered.reply));
    let spent = store.spent(&night).await.unwrap();
    assert_eq!(spent, Spent { usd: 0.1 / 3.0 + 0.1 / 3.0, tokens: 2_468, calls: 3 });

    // How long it took does not make it another; what came back does.
    let again = ExchangeRecord { seconds: 9.0, at: jiff::Timestamp::now(), ..answered.clone() };
    store.record_exchange(&night, &again).await.unwrap();
    let other = ExchangeRecord { reply: failed.reply.clone(), ..answered.clone() };
    let error = store.record_exchange(&night, &other).await.unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error}");
    // One that is under way takes the reply that comes, and no other request.
    let begun = ExchangeRecord { reply: Reply::Failure(ExchangeFailure::under_way()), ..exchange(9, 1, true) };
    store.record_exchange(&night, &begun).await.unwrap();
    let mut another = exchange(9, 1, true);
    another.request.most_tokens += 1;
    let error = store.record_exchange(&night, &another).await.unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error}");
    let ended = exchange(9, 1, true);
    store.record_exchange(&night, &ended).await.unwrap();
    assert_eq!(store.exchange(&night, 9, 1).await.unwrap(), Some(ended.clone()));
    let error = store.record_exchange(&night, &begun).await.unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error}");
    rebuild(&Layout::new(folder.path())).await.unwrap();
    let again = Reader::open(&Layout::new(folder.path()).database()).await.unwrap();
    assert_eq!(again.exchange(&night, 9, 1).await.unwrap(), Some(ended));
    let mut bad = exchange(8, 1, true);
    bad.spent.usd = f64::NAN;
    assert!(matches!(store.record_exchange(&night, &bad).await.unwrap_err(), StoreError::NotFinite { .. }));
    let unknown = store.record_exchange(&night_id("2026-03-08-zz"), &failed).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Constraint { .. }), "{unknown}");
    assert_eq!(store.exchange(&night, 7, 2).await.unwrap(), Some(answered));
    drop(folder);
}

#[tokio::test]
async fn ideas_are_taken_in_the_persons_order() {
    let (_folder, store) = store().await;
    for (words, patch) in [("one", None), ("two", Some("a patch")), ("three", None), ("four", None)] {
        store.enqueue(CAMPAIGN, words, patch).await.unwrap();
    }
    let other = store.enqueue("other", "elsewhere", None).await.unwrap();
    assert_eq!((other.id, other.place), (5, 1));
    let order = store.move_queued(3, 1).await.unwrap();
    assert_eq!(order.iter().map(|entry| entry.id).collect::<Vec<_>>(), [3, 1, 2, 4]);
    store.move_queued(1, 99).await.unwrap();
    store.move_queued(4, 0).await.unwrap();
    assert_eq!(waiting(&store.queue(Some(CAMPAIGN)).await.unwrap()), [4, 3, 2, 1]);
    assert_eq!(store.remove_queued(4).await.unwrap().state, QueueState::Removed);

    // Without a model only what has a patch can be tried.
    let by = experiment_id(NIGHT, 1);
    let two = store.take_next(CAMPAIGN, &by, false).await.unwrap().unwrap();
    assert_eq!((two.words.as_str(), two.patch.as_deref(), two.taken.unwrap().by), ("two", Some("a patch"), by.clone()));
    assert_eq!(store.take_next(CAMPAIGN, &by, false).await.unwrap(), None);
    assert_eq!(store.take_next(CAMPAIGN, &by, true).await.unwrap().unwrap().words, "three");
    for id in [2, 4] {
        let error = store.remove_queued(id).await.unwrap_err();
        assert!(matches!(error, StoreError::NotWaiting { .. }), "{error}");
        assert!(matches!(store.move_queued(id, 1).await.unwrap_err(), StoreError::NotWaiting { .. }));
    }
    assert!(matches!(store.remove_queued(6).await.unwrap_err(), StoreError::Unknown { .. }));

    store.settle_queued(3, QueueState::Refused, "no model understood it").await.unwrap();
    store.settle_queued(3, QueueState::Refused, "no model understood it").await.unwrap();
    let error = store.settle_queued(3, QueueState::Done, "kept").await.unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error}");
    assert_eq!(waiting(&store.queue(Some(CAMPAIGN)).await.unwrap()), [1]);
    // A new one goes behind all others, and gets a number that nothing had.
    assert_eq!(store.enqueue(CAMPAIGN, "five", None).await.unwrap().id, 6);
    assert_eq!(waiting(&store.queue(Some(CAMPAIGN)).await.unwrap()), [1, 6]);
    assert_eq!(store.queue(None).await.unwrap().len(), 6);
}

#[tokio::test]
async fn an_idea_is_settled_with_its_experiment() {
    let (_folder, store) = store().await;
    let (night, id) = (night_id(NIGHT), experiment_id(NIGHT, 2));
    for words in ["tested", "skipped"] {
        store.enqueue(CAMPAIGN, words, Some("a patch")).await.unwrap();
        store.take_next(CAMPAIGN, &experiment_id(NIGHT, 1), true).await.unwrap().unwrap();
    }
    let other = store.enqueue(CAMPAIGN, "waits", None).await.unwrap();
    store.record_experiment(&id, &proposal(&QueueEntry::key(1)), "digest", &commit(1)).await.unwrap();
    store.record_decision(&id, &decision(Verdict::Discarded)).await.unwrap();
    store.record_skip(&night, "person", &QueueEntry::key(2), &commit(1), "seen before").await.unwrap();
    // A key that only looks like one, and one of an idea that nobody took.
    store.record_skip(&night, "person", &QueueEntry::key(other.id), &commit(1), "no").await.unwrap();
    let queue = store.queue(None).await.unwrap();
    assert_eq!(
        (queue[0].state, queue[0].result.as_deref()),
        (QueueState::Done, Some("discarded: 0.0123 bits per byte lower"))
    );
    assert_eq!(queue[0].taken.as_ref().unwrap().by, id);
    assert_eq!((queue[1].state, queue[1].result.as_deref()), (QueueState::Refused, Some("seen before")));
    assert_eq!(queue[2], other);
}

#[tokio::test]
async fn what_a_night_took_and_made_nothing_of_waits_again() {
    let (_folder, store) = store().await;
    let (night, id) = (night_id(NIGHT), |number| experiment_id(NIGHT, number));
    for words in ["nothing", "under way", "nothing either", "last"] {
        store.enqueue(CAMPAIGN, words, None).await.unwrap();
    }
    for number in 1..4 {
        store.take_next(CAMPAIGN, &id(number), true).await.unwrap();
    }
    store.record_experiment(&id(2), &proposal(&QueueEntry::key(2)), "digest", &commit(1)).await.unwrap();
    assert_eq!(store.put_back_queued("other").await.unwrap(), []);
    let back = store.put_back_queued(CAMPAIGN).await.unwrap();
    assert_eq!(back.iter().map(|entry| entry.id).collect::<Vec<_>>(), [1, 3]);
    let queue = store.queue(None).await.unwrap();
    assert_eq!(waiting(&queue), [1, 3, 4]);
    assert_eq!((queue[1].state, &queue[0].taken), (QueueState::Taken, &None));

    // The night ends without a verdict.
    store.end_night(&night, NightEnding::Abandoned, "cut off").await.unwrap();
    store.put_back_queued(CAMPAIGN).await.unwrap();
    let queue = store.queue(None).await.unwrap();
    assert_eq!(queue[1].state, QueueState::Done);
    assert!(queue[1].result.as_ref().unwrap().contains("before there was a verdict"), "{:?}", queue[1]);
    assert_eq!(waiting(&queue), [1, 3, 4]);
}

/// Two stores stand for two processes: a night, and a person with ideas.
#[tokio::test]
async fn a_queue_that_several_write_loses_nothing_and_its_file_is_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let (night, person) = (Store::open_in(&layout).await.unwrap(), Store::open_in(&layout).await.unwrap());
    night.begin_night(&night_record(NIGHT)).await.unwrap();
    let takes = async {
        let mut taken = Vec::new();
        for number in 1..=20 {
            taken.extend(night.take_next(CAMPAIGN, &experiment_id(NIGHT, number), true).await.unwrap());
        }
        taken
    };
    let adds = async {
        for count in 0..20 {
            person.enqueue(CAMPAIGN, &format!("idea {count}"), None).await.unwrap();
        }
    };
    let (taken, ()) = tokio::join!(takes, adds);
    let queue = night.queue(None).await.unwrap();
    assert_eq!(queue.len(), 20);
    assert_eq!(queue.iter().filter(|entry| entry.state == QueueState::Taken).count(), taken.len());
    person.close().await.unwrap();
    night.close().await.unwrap();
    std::fs::remove_file(layout.database()).unwrap();
    assert_eq!(rebuild(&layout).await.unwrap().queue, 20);
    assert_eq!(Reader::open(&layout.database()).await.unwrap().queue(None).await.unwrap(), queue);
}
