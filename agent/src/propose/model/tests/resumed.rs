//! What is on record is not asked again: nights that go on, and replays; and what a night leaves behind that ends.

use super::*;

/// What a night asked before it was cut off is not asked again; what it had not asked yet is.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_goes_on_takes_its_answers_from_the_record() {
    let first = Room::new();
    let bad = answer("Raise the rate", "    0.55", "    0.75");
    let mock = server(vec![status(500, "oops"), says(&bad, "stop"), says(&good(), "stop")]).await;
    let (_, proposed) = propose(first.proposer("m", &mock.uri()), &small()).await;
    let proposal = proposed.unwrap().unwrap();
    let exchanges = first.known();
    assert_eq!(exchanges.len(), 3);
    for known in 0..=3 {
        let room = Room::with(Limits::default(), exchanges[..known].to_vec(), None, 0.0, Memory::default());
        let rest = vec![status(500, "oops"), says(&bad, "stop"), says(&good(), "stop")].split_off(known);
        let asked = rest.len();
        let mock = server(rest).await;
        let (_, proposed) = propose(room.proposer("m", &mock.uri()), &small()).await;
        let again = proposed.unwrap().unwrap();
        assert_eq!((again.edits, again.title), (proposal.edits.clone(), proposal.title.clone()), "{known} known");
        assert_eq!(bodies(&mock).await.len(), asked, "{known} known");
        let rounds: Vec<u32> = room.exchanges().iter().map(|exchange| exchange.round).collect();
        assert_eq!(rounds, (u32::try_from(known).unwrap() + 1..=3).collect::<Vec<_>>());
    }
}

/// Between a kill and the resumption the queue may change: an answer is for what was asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_on_record_is_for_the_idea_that_it_was_asked_for() {
    let wish = |id: u32| {
        let mut brief = small();
        brief.details.asked = Some(Wish { id, words: format!("the idea {id}"), by: None });
        brief
    };
    let first = Room::new();
    let mock = server(vec![says(&good(), "stop")]).await;
    let (_, proposed) = propose(first.proposer("m", &mock.uri()), &wish(1)).await;
    assert_eq!(proposed.unwrap().unwrap().key, "queue-1");
    let other = answer("Lower the other", "    0.25", "    0.2");
    for (brief, title, asked) in
        [(wish(2), "Lower the other", 1), (small(), "Lower the other", 1), (wish(1), "Raise the rate", 0)]
    {
        let limits = Limits { calls: Some(2), ..Limits::default() };
        let room = Room::with(limits, first.known(), None, 0.0, Memory::default());
        let mock = server(vec![says(&other, "stop")]).await;
        let proposer = room.proposer("m", &mock.uri());
        assert_eq!(proposer.owes(&brief), asked == 0);
        let (proposer, proposed) = propose(proposer, &brief).await;
        assert_eq!((proposed.unwrap().unwrap().title.as_str(), bodies(&mock).await.len()), (title, asked));
        // What was asked before the kill is paid, whoever it is for now.
        let (_, third) = propose(proposer, &Brief { turn: 8, ..small() }).await;
        assert_eq!((third.unwrap().is_some(), bodies(&mock).await.len()), (asked == 0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nights_answers_give_the_same_proposals_without_a_server() {
    let first = Room::new();
    let bad = answer("Raise the rate", "    0.55", "    0.75");
    let second = answer("Lower the other", "    0.25", "    0.2").replace("rates", "other");
    let mock = server(vec![
        status(500, "oops"),
        says(&bad, "stop"),
        says(&good(), "stop"),
        says("", "content_filter"),
        says(&second, "stop"),
    ])
    .await;
    let mut told = Vec::new();
    let mut proposer = first.proposer("m", &mock.uri());
    for turn in [2, 3, 6] {
        let proposed;
        (proposer, proposed) = propose(proposer, &Brief { turn, ..small() }).await;
        told.push(proposed.unwrap().map(|proposal| (proposal.key, proposal.title, proposal.edits)));
    }
    let record = first.known();
    // Another night, other turns; cut off after each number of answers and gone on with.
    for cut in 0..=record.len() {
        let whole = Room::with(Limits::default(), Vec::new(), Some(record.clone()), 0.0, Memory::default());
        let mut replayed = Vec::new();
        let mut proposer = ModelProposer::new(model("m", "http://localhost:1"), None, Arc::clone(&whole.desk), None);
        for turn in [0, 1, 2, 3] {
            let proposed;
            (proposer, proposed) = propose(proposer, &Brief { turn, ..small() }).await;
            replayed.push(proposed.unwrap().map(|proposal| (proposal.key, proposal.title, proposal.edits)));
        }
        assert_eq!(replayed[..3], told);
        assert_eq!(replayed[3], None);
        let own = whole.known();
        assert!(own.len() == record.len() && own.iter().all(|known| known.spent.usd == 0.0));
        let from = own.get(cut).map_or(3, |known| known.turn);
        let room = Room::with(Limits::default(), own[..cut].to_vec(), Some(record.clone()), 0.0, Memory::default());
        let mut proposer = ModelProposer::new(model("m", "http://localhost:1"), None, Arc::clone(&room.desk), None);
        for turn in from..3 {
            let proposed;
            (proposer, proposed) = propose(proposer, &Brief { turn, ..small() }).await;
            let proposed = proposed.unwrap().map(|proposal| (proposal.key, proposal.title, proposal.edits));
            assert_eq!(proposed, told[usize::try_from(turn).unwrap()], "cut off after {cut}, turn {turn}");
        }
    }
}

/// Who is asked first is drawn anew in every turn, from what is known then; a replay goes by the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_two_models_is_replayed_in_its_order_through_their_outages_and_at_once() {
    let first = Room::new();
    let idea = |count: u32| answer(&format!("Idea {count}"), "    0.5", &format!("    0.5{count}"));
    let one =
        server(vec![says(&idea(1), "stop"), status(401, "away"), says("", "content_filter"), says(&idea(2), "stop")]);
    let other =
        server(vec![says(&idea(3), "stop"), says(&idea(4), "stop"), status(401, "away"), says(&idea(5), "stop")]);
    let (one, other) = (one.await, other.await);
    let mut mix: Mix =
        Mix::new(vec![Box::new(first.proposer("z", &one.uri())), Box::new(first.proposer("a", &other.uri()))]);
    let mut told = Vec::new();
    for turn in 0..5 {
        let proposed;
        (mix, proposed) = propose_again(mix, &Brief { turn, ..small() }).await;
        told.push(proposed.unwrap().title);
    }
    let asked: std::collections::BTreeSet<String> = first.exchanges().into_iter().map(|it| it.model).collect();
    assert_eq!(asked.len(), 2, "{told:?}");
    for names in [["a", "z"], ["z", "a"]] {
        let room = Room::with(Limits::default(), Vec::new(), Some(first.known()), 1.0, Memory::default());
        let of = |name: &str| {
            let model = model(name, "http://localhost:1");
            Box::new(ModelProposer::new(model, None, Arc::clone(&room.desk), None)) as Box<dyn Proposer>
        };
        let mut mix = Mix::new(vec![of(names[0]), of(names[1])]);
        let mut replayed = Vec::new();
        for turn in 40.. {
            let brief = Brief { turn, proposer_seed: 99, ..small() };
            let proposed;
            (mix, proposed) = propose_again(mix, &brief).await;
            let Some(proposal) = proposed else { break };
            replayed.push(proposal.title);
        }
        assert_eq!(replayed, told);
        // Cut off after any answer, and gone on with.
        let own = room.known();
        for cut in 1..own.len() {
            let (own, from) = (own[..cut].to_vec(), own[cut - 1].turn);
            let room = Room::with(Limits::default(), own, Some(first.known()), 1.0, Memory::default());
            let of = |name: &str| {
                let model = model(name, "http://localhost:1");
                Box::new(ModelProposer::new(model, None, Arc::clone(&room.desk), None)) as Box<dyn Proposer>
            };
            let mut mix = Mix::new(vec![of(names[0]), of(names[1])]);
            let mut rest = Vec::new();
            for turn in from..45 {
                let proposed;
                (mix, proposed) = propose_again(mix, &Brief { turn, proposer_seed: 99, ..small() }).await;
                rest.push(proposed.map(|proposal| proposal.title));
            }
            let expected: Vec<_> = told[usize::try_from(from).unwrap() - 40..].iter().cloned().map(Some).collect();
            assert_eq!(rest, expected, "cut off after {cut}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_ends_waits_for_no_model() {
    let room = Room::new();
    let mock = server(vec![says(&good(), "stop").set_delay(Duration::from_secs(600))]).await;
    let brief = small();
    let proposing = propose(room.proposer("m", &mock.uri()), &brief);
    let stop = async {
        // Only once the call is under way is there something to stop.
        while mock.received_requests().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        room.stop.send(true).unwrap();
    };
    let ((_, proposed), ()) = tokio::join!(proposing, stop);
    assert_eq!(proposed.unwrap(), None);
    let exchanges = room.exchanges();
    assert!(room.known()[0].outcome.as_ref().unwrap_err().words.contains("the night ended"));
    // It may have to be paid, and is asked anew when the night goes on.
    assert!(exchanges[0].spent.usd > 0.0);
    let mock = server(vec![says(&good(), "stop")]).await;
    let again = Room::with(Limits::default(), room.known(), None, 0.0, Memory::default());
    let (_, proposed) = propose(again.proposer("m", &mock.uri()), &small()).await;
    assert!(proposed.unwrap().is_some());
    assert_eq!(again.exchanges()[0].round, 2);
}
