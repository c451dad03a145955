//! Servers that fail, break off, are silent or cannot take what is asked: what is tried again, what it is booked at, and what follows.

use std::sync::atomic::{AtomicUsize, Ordering};

use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Respond};

use super::super::exchange::Known;
use super::*;
use crate::campaign::Model;
use crate::llm::spend::Spent;
use crate::records::{ExchangeFailure, ExchangeRecord, FailureKind, Reply};

/// What goes wrong before a good answer, and that it comes all the same; each try is on record, those that failed with their kind.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_pass_is_got_over() {
    use FailureKind::{BrokenOff, Empty, Malformed, RateLimited, Server, TooLong};
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"Title: hal\"}}]}\n\n";
    let raw = |body: &str| ResponseTemplate::new(200).set_body_raw(body.to_owned(), "text/event-stream");
    let cases = [
        (vec![status(500, "oops"), status(529, "overloaded")], vec![Server, Server]),
        (vec![status(429, "slow down").insert_header("retry-after", "1")], vec![RateLimited]),
        (vec![raw(half)], vec![BrokenOff]),
        (vec![raw("data: {not json\n\n")], vec![Malformed]),
        (vec![raw("data: [DONE]\n\n"), raw("")], vec![Empty, BrokenOff]),
        (vec![status(400, "the maximum context length is 4096 tokens")], vec![TooLong]),
        (vec![says("Title: x", "length")], vec![]),
        (vec![says("I would rather not.", "stop")], vec![]),
    ];
    for (mut responses, kinds) in cases {
        let mut room = Room::new();
        responses.push(says(&good(), "stop"));
        let many = responses.len();
        let mock = server(responses).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &small()).await;
        assert!(proposed.unwrap().is_some(), "{kinds:?}: {:?}", room.news());
        let exchanges = room.exchanges();
        let failure = |exchange: &ExchangeRecord| {
            if let Reply::Failure(failed) = &exchange.reply { Some(failed.clone()) } else { None }
        };
        let failed: Vec<ExchangeFailure> = exchanges.iter().filter_map(failure).collect();
        assert_eq!(failed.iter().map(|failed| failed.kind).collect::<Vec<_>>(), kinds);
        // A request that was too long is not sent again as it was.
        let again: Vec<bool> = exchanges.iter().map(|exchange| exchange.again).collect();
        assert!(failed.iter().zip(again).all(|(failed, again)| again != (failed.kind == TooLong)));
        assert!(exchanges.len() == many && exchanges.iter().all(|exchange| exchange.spent.calls == 1));
        let rounds: Vec<usize> = exchanges.iter().map(|exchange| exchange.round as usize).collect();
        assert_eq!(rounds, (1..=many).collect::<Vec<_>>());
        assert!(room.news().is_empty());
    }
}

/// Looks at the record when it is asked.
struct Looking(Arc<Memory>);

impl Respond for Looking {
    fn respond(&self, _: &wiremock::Request) -> ResponseTemplate {
        let kept = self.0.kept.lock().unwrap();
        let (last, before) = kept.split_last().unwrap();
        assert!(last.reply.is_under_way() && !before.iter().any(|try_| try_.reply.is_under_way()), "{kept:?}");
        // Not more than this: the whole request, and the longest answer of 1,000 tokens.
        assert!(last.spent.calls == 1 && last.spent.tokens > 1_000 && last.spent.usd > 0.015, "{:?}", last.spent);
        if before.is_empty() { status(500, "oops") } else { says(&good(), "stop") }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_is_on_record_before_the_server_knows_of_it() {
    let room = Room::new();
    let mock = MockServer::start().await;
    Mock::given(method("POST")).respond_with(Looking(Arc::clone(&room.memory))).mount(&mock).await;
    let (_, proposed) = propose(room.proposer("m", &mock.uri()), &small()).await;
    assert!(proposed.unwrap().is_some());
    assert!(room.exchanges().len() == 2 && !room.exchanges().iter().any(|try_| try_.reply.is_under_way()));
}

/// A kill leaves a try that is under way. It counts, at the most that it can have cost, and is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_try_during_which_nocturne_was_killed_counts_and_is_made_again() {
    let first = Room::new();
    let mock = server(vec![status(500, "oops"), says(&good(), "stop")]).await;
    propose(first.proposer("m", &mock.uri()), &small()).await.1.unwrap().unwrap();
    let mut killed = first.exchanges();
    killed[1].reply = Reply::Failure(ExchangeFailure::under_way());
    killed[1].spent = Spent { usd: 0.1, tokens: 9_000, calls: 1 };
    let own = || killed.iter().cloned().map(Known::of).collect::<Vec<_>>();
    for (limit, asked) in [(0.05, 0), (0.5, 1)] {
        let limits = Limits { usd: Some(limit), ..Limits::default() };
        let mut room = Room::with(limits, own(), None, 0.0, Memory::default());
        let mock = server(vec![says(&good(), "stop")]).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &small()).await;
        assert_eq!(proposed.unwrap().is_some(), asked == 1);
        assert_eq!((bodies(&mock).await.len(), room.warnings().len()), (asked, 1 - asked));
        assert_eq!(room.exchanges().iter().map(|try_| try_.round).collect::<Vec<_>>(), vec![3; asked]);
    }
}

/// What does not pass: the turn goes to others, with a reason that says what happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pass_costs_the_turn_and_no_more() {
    let nonsense = || says("Blah blah.", "stop");
    let cases = [
        (vec![says("", "content_filter")], "refused to answer"),
        (vec![nonsense(), nonsense(), nonsense(), nonsense(), nonsense()], "given up after 3 rounds"),
    ];
    for (responses, reason) in cases {
        let mut room = Room::new();
        let many = responses.len();
        let mock = server(responses).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &small()).await;
        assert_eq!(proposed.unwrap(), None);
        let given_up = room.given_up();
        assert!(given_up.len() == 1 && given_up[0].contains(reason), "{given_up:?}");
        let calls: u64 = room.exchanges().iter().map(|exchange| exchange.spent.calls).sum();
        assert_eq!(calls, many as u64, "{reason}");
    }
}

/// A call that brings no answer has one consequence, whatever went wrong: the model is away, which is told once, and then asked again.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_model_without_an_answer_is_asked_again_later() {
    let raw = |body: &str| ResponseTemplate::new(200).set_body_raw(body.to_owned(), "text/event-stream");
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"Title: hal\"}}]}\n\n";
    let cases = [
        (vec![raw(half); 5], "the answer broke off"),
        (vec![raw("data: {not json\n\n"); 5], "does not keep to its format"),
        (vec![stream(&[]); 5], "the answer is empty"),
        (vec![status(500, "oops"); 5], "the server failed (status 500): oops"),
        (vec![status(400, "no such parameter")], "does not take the request (status 400)"),
        (vec![status(429, "tomorrow").insert_header("retry-after", "86400")], "asks to wait (status 429)"),
    ];
    for (responses, reason) in cases {
        let mut room = Room::new();
        let many = responses.len();
        // Where a model is all there is, it is waited for: here twice.
        let mock = server([responses.clone(), responses, vec![says(&good(), "stop")]].concat()).await;
        let mut brief = small();
        brief.details.asked = Some(Wish { id: 12, words: "try a longer warm-down".to_owned(), by: None });
        let mix = Mix::new(vec![Box::new(room.proposer("m", &mock.uri()))]);
        let (_, proposed) = propose_again(mix, &brief).await;
        assert_eq!(proposed.unwrap().key, "queue-12", "{reason}");
        assert_eq!((bodies(&mock).await.len(), room.desk.take_refused()), (2 * many + 1, None), "{reason}");
        let warnings = room.warnings();
        assert!(warnings.len() == 2 && warnings[0].contains(reason), "{warnings:?}");
        assert!(warnings[1].contains("answers again, after 2 failed turns"), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brief_that_is_too_long_is_made_shorter_until_it_fits() {
    let long = || status(400, "maximum context length");
    let mut brief = small();
    brief.goal = "Lower the loss, please, by whatever it takes.\n\n".repeat(2_000);
    let lengths = |bodies: &[Value]| -> Vec<usize> {
        bodies.iter().map(|body| body["messages"][1]["content"].as_str().unwrap().len()).collect()
    };
    for times in 0..=2 {
        let room = Room::new();
        let mock = server([vec![long(); times], vec![says(&good(), "stop")]].concat()).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &brief).await;
        assert!(proposed.unwrap().is_some());
        let lengths = lengths(&bodies(&mock).await);
        // Estimates are generous, so that a context of 16,000 tokens is never passed: 3 bytes make one.
        assert!(lengths[0] <= 3 * 15_000 && lengths[0] > 3 * 13_000, "{lengths:?}");
        for (length, share) in lengths.iter().zip([1.0, 0.667, 0.333]) {
            let shrunk = *length as f64 / lengths[0] as f64;
            assert!((shrunk - share).abs() < 0.04, "{lengths:?}");
        }
    }
    // And not for ever.
    let mut room = Room::new();
    let mock = server(vec![long(); 9]).await;
    let large = Model { context_tokens: 60_000, ..model("m", &mock.uri()) };
    let (_, proposed) = propose(room.proposer_of(large, None), &brief).await;
    assert_eq!((proposed.unwrap(), bodies(&mock).await.len()), (None, 5));
    let warnings = room.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("the brief was made smaller 4 times"), "{warnings:?}");
    assert!(warnings[0].contains("less than context_tokens = 60000; set that to"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_is_told_of_once_and_again_when_it_is_back() {
    let mut room = Room::new();
    let mock = server(vec![status(401, "who are you"), status(404, "no such model"), says(&good(), "stop")]).await;
    let (proposer, first) = propose(room.proposer("m", &mock.uri()), &small()).await;
    let (proposer, second) = propose(proposer, &Brief { turn: 8, ..small() }).await;
    assert_eq!((first.unwrap(), second.unwrap()), (None, None));
    let warnings = room.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("the night goes on with the other proposers"), "{warnings:?}");
    let (_, third) = propose(proposer, &Brief { turn: 9, ..small() }).await;
    assert!(third.unwrap().is_some());
    let warnings = room.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].contains("the model m answers again, after 2 failed turns"),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_during_a_pause() {
    let mut room = Room::with(Limits::default(), Vec::new(), None, 1.0, Memory::default());
    let mock = server(vec![status(429, "tomorrow").insert_header("retry-after", "86400")]).await;
    let (proposer, first) = propose(room.proposer("m", &mock.uri()), &small()).await;
    let (_, second) = propose(proposer, &Brief { turn: 8, ..small() }).await;
    assert_eq!((first.unwrap(), second.unwrap()), (None, None));
    assert_eq!((bodies(&mock).await.len(), room.warnings().len()), (1, 1));
}

/// Accepts everybody and says nothing to anybody; counts who came.
async fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            open.push(socket);
        }
    });
    (address, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_waited_for_once_a_turn() {
    let mut room = Room::new();
    let (url, came) = silent().await;
    let slow = Model { timeout_seconds: 1, ..model("m", &url) };
    let mut proposer = room.proposer_of(slow, None);
    for turn in 1..=2 {
        let proposed;
        (proposer, proposed) = propose(proposer, &Brief { turn, ..small() }).await;
        assert_eq!(proposed.unwrap(), None);
    }
    assert_eq!(came.load(Ordering::SeqCst), 2);
    let warnings = room.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("was silent for 1 seconds"), "{warnings:?}");
    assert!(warnings[0].contains("the night goes on with the other proposers"), "{warnings:?}");
    let exchanges = room.exchanges();
    let kind = if let Reply::Failure(failed) = &exchanges[0].reply { Some(failed.kind) } else { None };
    assert_eq!((exchanges.len(), kind), (2, Some(FailureKind::TimedOut)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_goes_on_with_the_others_where_nobody_answers() {
    let mut room = Room::new();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mix = Mix::new(vec![Box::new(room.proposer("m", &format!("http://{closed}"))), Box::new(Tuner)]);
    let mut brief = Brief { champion_files: crate::propose::fixture::baseline(), ..small() };
    let mut mix = mix;
    for turn in 0..12 {
        brief.turn = turn;
        let proposed;
        (mix, proposed) = propose(mix, &brief).await;
        assert_eq!(proposed.unwrap().unwrap().author.proposer, "tuner");
    }
    assert_eq!(room.warnings().len(), 1);
    assert!(room.exchanges().iter().all(|exchange| exchange.spent.usd == 0.0));
}

/// Streams that break off, several models at once: what is on record passes the limit by one call at most, and no try is free.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_off_are_paid_and_end_at_the_limit() {
    let thinks = json!({ "choices": [{ "delta": { "reasoning_content": "hm ".repeat(400) } }] });
    let says = json!({ "choices": [{ "delta": { "content": "Title: hal" } }] });
    let half = format!("data: {thinks}\n\ndata: {says}\n\n");
    let limits = Limits { usd: Some(0.2), ..Limits::default() };
    let room = Room::with(limits, Vec::new(), None, 0.0, Memory::default());
    let mock = MockServer::start().await;
    let broken = ResponseTemplate::new(200).set_body_raw(half, "text/event-stream");
    Mock::given(method("POST")).respond_with(broken).mount(&mock).await;
    let brief = small();
    let [a, b, c] = ["a", "b", "c"].map(|name| propose(room.proposer(name, &mock.uri()), &brief));
    let (a, b, c) = tokio::join!(a, b, c);
    assert_eq!([a.1.unwrap(), b.1.unwrap(), c.1.unwrap()], [None, None, None]);
    let exchanges = room.exchanges();
    assert_eq!(bodies(&mock).await.len(), exchanges.len());
    let most = exchanges.iter().map(|try_| try_.spent.usd).fold(0.0, f64::max);
    let all: f64 = exchanges.iter().map(|try_| try_.spent.usd).sum();
    // Each with its request, and with the 1,000 tokens that it was allowed at 15 dollars a million.
    assert!(exchanges.iter().all(|try_| try_.spent.usd > 0.015 + 0.003), "{exchanges:?}");
    assert!((0.2..0.2 + most).contains(&all), "{all}");
}

/// Words of the person wait where no answer came: for a later time, or for a night with more to spend.
#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_person_are_refused_only_by_an_answer() {
    let raw = |body: &str| ResponseTemplate::new(200).set_body_raw(body.to_owned(), "text/event-stream");
    let mut brief = small();
    brief.details.asked = Some(Wish { id: 12, words: "try a longer warm-down".to_owned(), by: None });
    let long = || status(400, "maximum context length");
    for (responses, calls, refused) in [
        (vec![raw("data: {\"choices\":[{\"delta\":{\"content\":\"Title\"}}]}\n\n"); 5], None, false),
        // The limit is reached between two tries.
        (vec![status(500, "oops"); 5], Some(1), false),
        (vec![long(); 9], None, false),
        (vec![says("", "content_filter")], None, true),
        (vec![says("Blah blah.", "stop"); 5], None, true),
    ] {
        let limits = Limits { calls, ..Limits::default() };
        let mut room = Room::with(limits, Vec::new(), None, 0.0, Memory::default());
        let mock = server(responses).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &brief).await;
        assert_eq!(proposed.unwrap(), None);
        assert_eq!(room.desk.take_refused().is_some(), refused, "{:?}", room.news());
    }
}
