//! `nocturne serve` over real connections: readers of the journal who are slow, who come back, and who leave; a night in another process; and
//! the program itself, from its first line to its end. No test waits for a time: each waits for an end that it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use nocturne::flow::NightId;
use nocturne::layout::Layout;
use nocturne::records::{Level, NightEnding, NightRecord};
use nocturne::serve::Server;
use nocturne::store::Store;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use support::Fixture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const NIGHT: &str = "2026-03-08-k4";
/// More than are kept at hand for readers.
const EVENTS: u32 = 700;
const READERS: u64 = 50;
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn night() -> NightId {
    NIGHT.parse().unwrap()
}

fn record() -> NightRecord {
    NightRecord {
        id: night(),
        campaign: "quickstart".to_owned(),
        start_commit: "a".repeat(40).parse().unwrap(),
        program_sha256: String::new(),
        campaign_sha256: String::new(),
        campaign_text: String::new(),
        started_at: "2026-03-08T20:00:00Z".parse::<Timestamp>().unwrap(),
        deadline: None,
        experiment_limit: None,
        seeds: Vec::new(),
        proposer_seed: 1,
        machine: BTreeMap::new(),
        end: None,
    }
}

/// A server that answers, until it is told to end.
struct Running {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(layout: &Layout) -> Self {
        let server = Server::bind(layout.clone(), ([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let address = server.address();
        let (end, told) = oneshot::channel();
        let ended = tokio::spawn(async move { server.run(async { drop(told.await) }).await.unwrap() });
        Self { address, end, ended }
    }

    async fn end(self) {
        self.end.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

/// An event of a stream.
#[derive(Debug, Clone, Default)]
struct Told {
    name: String,
    id: Option<u32>,
    data: String,
}

/// A browser's stream of events, by hand: HTTP/1.0, so that nothing stands between the events.
struct Stream {
    connection: TcpStream,
    text: String,
}

impl Stream {
    async fn open(address: SocketAddr, path: &str, last: Option<u32>) -> Self {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{last}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { connection, text: String::new() };
        let head = stream.until("\r\n\r\n", 1024).await.unwrap();
        assert!(head.starts_with("HTTP/1.0 200") && head.contains("text/event-stream"), "{head}");
        stream
    }

    /// The next event, read in pieces of at most so many bytes; `None` at the stream's end. One that never comes is a failure, not a test
    /// that never ends.
    async fn next(&mut self, piece: usize) -> Option<Told> {
        loop {
            let block = tokio::time::timeout(PATIENCE, self.until("\n\n", piece)).await;
            let block = block.expect("an event never came")?;
            let mut told = Told::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", name)) => told.name = name.to_owned(),
                    Some(("id", id)) => told.id = Some(id.parse().unwrap()),
                    Some(("data", data)) => told.data = data.to_owned(),
                    _ => {}
                }
            }
            if !told.name.is_empty() {
                return Some(told);
            }
        }
    }

    async fn until(&mut self, end: &str, piece: usize) -> Option<String> {
        let mut bytes = vec![0; piece];
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let read = self.connection.read(&mut bytes).await.unwrap();
            if read == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
}

/// Reads until the journal's last line and the state of an ended night have come; pauses and reads as the lot falls.
async fn slow_reader(address: SocketAddr, lot: u64) -> (Vec<u32>, String) {
    let mut lots = StdRng::seed_from_u64(lot);
    let mut stream = Stream::open(address, &format!("/events?night={NIGHT}"), None).await;
    let (mut ordinals, mut last, mut ended) = (Vec::new(), String::new(), false);
    while !ended || ordinals.last() != Some(&EVENTS) {
        if lots.random_range(0..4) == 0 {
            tokio::time::sleep(Duration::from_millis(lots.random_range(0..30))).await;
        }
        let told = stream.next(lots.random_range(1..400)).await.unwrap();
        match told.name.as_str() {
            "journal" => ordinals.extend(told.id),
            "now" => {
                let state: Value = serde_json::from_str(&told.data).unwrap();
                last = state["state"].as_str().unwrap().to_owned();
                ended = last == "ended";
            }
            other => panic!("an event {other}"),
        }
    }
    (ordinals, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_slow_readers_each_get_every_line_once_and_the_last_state() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let store = Store::open(&layout.database()).await.unwrap();
    store.begin_night(&record()).await.unwrap();
    let server = Running::start(&layout).await;
    let readers: Vec<_> = (0..READERS).map(|lot| tokio::spawn(slow_reader(server.address, lot))).collect();
    // Some who never read a byte hold nobody up, the writer least of all.
    let mut deaf = Vec::new();
    for _ in 0..5 {
        deaf.push(Stream::open(server.address, &format!("/events?night={NIGHT}"), None).await);
    }
    for ordinal in 1..=EVENTS {
        store.event(&night(), Level::Info, "train", &format!("line {ordinal}: <script>")).await.unwrap();
    }
    store.end_night(&night(), NightEnding::NothingLeft, "").await.unwrap();
    for reader in readers {
        let (ordinals, last) = reader.await.unwrap();
        assert!(ordinals.iter().copied().eq(1..=EVENTS), "{} lines: {ordinals:?}", ordinals.len());
        assert_eq!(last, "ended");
    }
    // A line that changes nothing else of what is seen comes as well.
    let mut open = Stream::open(server.address, &format!("/events?night={NIGHT}&after={EVENTS}"), None).await;
    assert_eq!(open.next(4096).await.unwrap().name, "now");
    store.event(&night(), Level::Debug, "late", "one more").await.unwrap();
    assert_eq!(open.next(4096).await.unwrap().id, Some(EVENTS + 1));
    // The server ends although streams are open, and they end with it.
    while open.next(4096).await.unwrap().name != "now" {}
    server.end().await;
    assert!(open.next(4096).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_comes_back_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let store = Store::open(&layout.database()).await.unwrap();
    store.begin_night(&record()).await.unwrap();
    let server = Running::start(&layout).await;
    let mut heard = Vec::new();
    let mut written = 0;
    // Each time it comes back it is further behind: from what is at hand, then from the database.
    for (more, reads) in [(3, 2), (20, 7), (EVENTS - 23, 300)] {
        for _ in 0..more {
            written += 1;
            store.event(&night(), Level::Info, "train", &written.to_string()).await.unwrap();
        }
        let after = heard.last().copied();
        let mut stream =
            Stream::open(server.address, &format!("/events?night={NIGHT}&after=1000000"), after.or(Some(0))).await;
        let mut read = 0;
        while read < reads {
            let told = stream.next(999).await.unwrap();
            if told.name == "journal" {
                let line: Value = serde_json::from_str(&told.data).unwrap();
                assert_eq!(
                    (line["ordinal"].as_u64(), line["text"].as_str().unwrap().parse().ok()),
                    (told.id.map(u64::from), told.id)
                );
                heard.extend(told.id);
                read += 1;
            }
        }
    }
    assert!(heard.iter().copied().eq(1..=309), "{heard:?}");
    let mut rest = Stream::open(server.address, &format!("/events?night={NIGHT}&after=309"), None).await;
    while heard.last() != Some(&EVENTS) {
        heard.extend(rest.next(4096).await.unwrap().id);
    }
    assert!(heard.iter().copied().eq(1..=EVENTS), "{heard:?}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_in_another_process_is_seen_step_by_step() {
    let fixture = Fixture::new();
    let layout = Layout::new(fixture.root());
    let server = Running::start(&layout).await;
    let mut stream = Stream::open(server.address, "/events", None).await;
    let first: Value = serde_json::from_str(&stream.next(4096).await.unwrap().data).unwrap();
    assert_eq!((first["state"].as_str(), first["night"].as_str()), (Some("none"), None));
    let mut process = fixture.nocturne(&["night", "experiments/pretend", "--json"]).spawn().unwrap();
    let waited = std::thread::spawn(move || {
        let mut said = String::new();
        process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (process.wait().unwrap(), said)
    });
    let (mut states, mut last) = (Vec::new(), Value::Null);
    while last["state"] != "ended" {
        let told = stream.next(65_536).await.unwrap();
        last = serde_json::from_str(&told.data).unwrap();
        let state = last["state"].as_str().unwrap().to_owned();
        if states.last() != Some(&state) {
            states.push(state);
        }
        assert!(last["problem"].is_null(), "{last}");
    }
    let (status, said) = waited.join().unwrap();
    assert!(status.success(), "{said}");
    // Which of its short steps were seen is chance; what it came to is not.
    assert_eq!(states.last().map(String::as_str), Some("ended"), "{states:?}");
    let status = fixture.json(&["status", "--json"]);
    assert_eq!(last["night"], status["night"]);
    let tried = status["experiments"].as_array().unwrap().iter().filter(|it| it["proposer"] != "leave-one-out").count();
    assert_eq!(last["done"].as_str().unwrap(), format!("{tried} of 3 experiments"));
    server.end().await;
}

#[test]
fn the_program_says_where_it_is_and_ends_when_it_is_told() {
    let fixture = Fixture::new();
    let mut process = fixture.nocturne(&["serve", "--listen", "127.0.0.1:0", "--json"]).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((document["token_needed"].as_bool(), &document["token"]), (Some(false), &Value::Null));
    let address: SocketAddr = document["listen"].as_str().unwrap().parse().unwrap();
    assert_eq!(document["url"].as_str().unwrap(), format!("http://{address}/"));
    // A second one at the same place says so, and what to do.
    let second = fixture.run(&["serve", "--listen", &address.to_string()]);
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("is taken") && complaint.contains("--listen 127.0.0.1:0"), "{complaint}");
    // An open stream does not keep it.
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    let idle = std::net::TcpStream::connect(address).unwrap();
    let id = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    drop(idle);
}
