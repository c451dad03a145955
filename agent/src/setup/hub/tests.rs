//! Downloads from a small server on this machine that speaks the hub's routes and misbehaves on request.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::setup::Silent;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does instead of answering properly, once.
#[derive(Clone, Copy)]
enum Mischief {
    /// Announces everything and closes the connection after so many bytes.
    BreakAfter(usize),
    /// Answers with this status, and `Retry-After: 0`.
    Status(u16),
    /// Sends the whole file whatever part is asked for.
    IgnoreRange,
}

#[derive(Default)]
struct State {
    /// Path without query -> pages of the listing, or one content.
    contents: HashMap<String, Vec<Vec<u8>>>,
    mischief: HashMap<String, VecDeque<Mischief>>,
    /// Request lines with the headers that matter here.
    requests: Vec<String>,
}

#[derive(Clone)]
struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { address: format!("http://{}", listener.local_addr().unwrap()), state: Arc::default() };
        let state = Arc::clone(&server.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&state)));
            }
        });
        server
    }

    fn hub(&self, token: Option<&str>) -> Hub {
        Hub::new(&self.address, token, Duration::from_millis(1)).unwrap()
    }

    /// A data set of these files, listed on pages of two.
    fn publish(&self, files: &[(&str, &[u8])]) {
        let entry = |(name, content): &(&str, &[u8])| {
            let oid = git2::Oid::hash_object(git2::ObjectType::Blob, content).unwrap().to_string();
            let mut entry = serde_json::json!({"type": "file", "path": name, "size": content.len(), "oid": oid});
            if name.ends_with(".parquet") {
                let sha256 = hex::encode(Sha256::digest(content));
                entry["lfs"] = serde_json::json!({"oid": sha256, "size": content.len(), "pointerSize": 134});
            }
            entry
        };
        let mut entries = vec![serde_json::json!({"type": "directory", "path": "data", "size": 0, "oid": "d"})];
        entries.extend(files.iter().map(entry));
        let pages = entries.chunks(2).map(|page| serde_json::to_vec(page).unwrap()).collect();
        let mut state = self.state.lock().unwrap();
        state.contents.insert(format!("/api/datasets/o/n/tree/{COMMIT}"), pages);
        for (name, content) in files {
            state.contents.insert(format!("/datasets/o/n/resolve/{COMMIT}/{name}"), vec![content.to_vec()]);
        }
    }

    fn misbehave(&self, name: &str, mischief: impl IntoIterator<Item = Mischief>) {
        let path = format!("/datasets/o/n/resolve/{COMMIT}/{name}");
        self.state.lock().unwrap().mischief.entry(path).or_default().extend(mischief);
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn answer(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let target = lines[0].split(' ').nth(1).unwrap().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (range, authorization) = (header("range"), header("authorization"));
    let (contents, mischief) = {
        let mut state = state.lock().unwrap();
        let kept = [range.clone(), header("if-range"), authorization].into_iter().flatten();
        state.requests.push([target.clone()].into_iter().chain(kept).collect::<Vec<_>>().join(" "));
        let mischief = state.mischief.get_mut(path).and_then(VecDeque::pop_front);
        (state.contents.get(path).cloned(), mischief)
    };
    let page: usize = query.split('&').find_map(|part| part.strip_prefix("cursor=")).map_or(0, |n| n.parse().unwrap());
    let (status, headers, body) = match (contents, mischief) {
        (_, Some(Mischief::Status(status))) => (status, "Retry-After: 0\r\n".to_owned(), b"sorry".to_vec()),
        (None, _) => (404, String::new(), b"{\"error\":\"not found\"}".to_vec()),
        (Some(pages), _) if pages.len() > 1 => {
            let next = format!(
                "Link: <https://huggingface.example{path}?recursive=true&cursor={}>; rel=\"next\"\r\n",
                page + 1
            );
            (200, if page + 1 < pages.len() { next } else { String::new() }, pages[page].clone())
        }
        (Some(pages), mischief) => {
            let all = pages[0].clone();
            let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let etag = "ETag: \"e1\"\r\n";
            match from {
                Some(from) if !matches!(mischief, Some(Mischief::IgnoreRange)) => {
                    let content_range =
                        format!("{etag}Content-Range: bytes {from}-{}/{}\r\n", all.len() - 1, all.len());
                    (206, content_range, all[from..].to_vec())
                }
                _ => (200, etag.to_owned(), all),
            }
        }
    };
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    let sent = match mischief {
        Some(Mischief::BreakAfter(bytes)) => &body[..bytes.min(body.len())],
        _ => &body[..],
    };
    let mut stream = stream.into_inner();
    // The client may have hung up; that is its right.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(sent).await;
    let _ = stream.shutdown().await;
    let _ = stream.read(&mut [0; 64]).await;
}

fn data_set() -> DataSet {
    DataSet::new("o/n", COMMIT).unwrap()
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

async fn fetch_all(hub: &Hub, cache: &Path) -> Result<Vec<HubFile>, String> {
    let wanted = HubFiles::Prefix { prefix: "data/".into(), max_files: None };
    fetch(hub, &data_set(), &wanted, cache, &mut Silent).await.map_err(|error| error.to_string())
}

/// Files in the cache, without folders.
fn names(cache: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![cache.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path.strip_prefix(cache).unwrap().display().to_string())
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn files_are_listed_over_pages_fetched_checked_and_kept() {
    let server = Server::start().await;
    let (a, b) = (content(300_000), content(20));
    server.publish(&[("README.md", b"read me"), ("data/a.parquet", &a), ("data/b.jsonl", &b), ("data/c.csv", b"c")]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(None);
    let files = fetch_all(&hub, cache.path()).await.unwrap();
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["data/a.parquet", "data/b.jsonl"]);
    assert_eq!(std::fs::read(&files[0].path).unwrap(), a);
    assert_eq!(std::fs::read(&files[1].path).unwrap(), b);
    assert_eq!(files[0].sha256.as_deref(), Some(hex::encode(Sha256::digest(&a)).as_str()));
    assert_eq!(files[1].sha256, None);
    let folder = format!("hub/o--n/{COMMIT}");
    let expected = [format!("{folder}.json"), format!("{folder}/data/a.parquet"), format!("{folder}/data/b.jsonl")];
    assert_eq!(names(cache.path()), expected, "nothing half-done is left");
    let asked = server.requests().len();
    assert_eq!(asked, 3 + 2, "three pages and two files");
    assert_eq!(fetch_all(&hub, cache.path()).await.unwrap().len(), 2);
    assert_eq!(server.requests().len(), asked, "what is in the cache needs no network");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke() {
    let server = Server::start().await;
    let a = content(400_000);
    server.publish(&[("data/a.parquet", &a)]);
    server.misbehave(
        "data/a.parquet",
        [Mischief::BreakAfter(150_000), Mischief::Status(503), Mischief::BreakAfter(100_000)],
    );
    let cache = tempfile::tempdir().unwrap();
    let files = fetch_all(&server.hub(None), cache.path()).await.unwrap();
    assert_eq!(std::fs::read(&files[0].path).unwrap(), a);
    let requests: Vec<String> = server.requests().into_iter().filter(|r| r.contains("resolve")).collect();
    let suffixes: Vec<&str> = requests.iter().map(|r| r.split_once(".parquet").unwrap().1).collect();
    assert_eq!(suffixes, ["", " bytes=150000- \"e1\"", " bytes=150000- \"e1\"", " bytes=250000- \"e1\""]);
}

#[tokio::test]
async fn an_interrupted_run_is_taken_up_by_the_next() {
    let server = Server::start().await;
    let a = content(400_000);
    server.publish(&[("data/a.parquet", &a)]);
    server.misbehave("data/a.parquet", [Mischief::BreakAfter(150_000)].into_iter().chain([Mischief::Status(500); 6]));
    let cache = tempfile::tempdir().unwrap();
    let error = fetch_all(&server.hub(None), cache.path()).await.unwrap_err();
    assert!(error.contains("data/a.parquet") && error.contains("status 500") && error.contains("is kept"), "{error}");
    assert_eq!(names(cache.path()).len(), 2, "the list and half a file");
    let first = server.requests().len();
    let files = fetch_all(&server.hub(None), cache.path()).await.unwrap();
    assert_eq!(std::fs::read(&files[0].path).unwrap(), a);
    // The seventh 5xx of the queue is still to come, then the rest of the file.
    assert!(server.requests()[first..].iter().all(|request| request.contains("bytes=150000-")));
}

#[tokio::test]
async fn a_server_without_ranges_sends_it_again() {
    let server = Server::start().await;
    let a = content(200_000);
    server.publish(&[("data/a.parquet", &a)]);
    server.misbehave("data/a.parquet", [Mischief::BreakAfter(150_000), Mischief::IgnoreRange]);
    let cache = tempfile::tempdir().unwrap();
    let files = fetch_all(&server.hub(None), cache.path()).await.unwrap();
    assert_eq!(std::fs::read(&files[0].path).unwrap(), a);
}

#[tokio::test]
async fn wrong_content_is_refused_and_removed() {
    for (name, digits) in [("data/a.parquet", "sha256:"), ("data/a.jsonl", "git:")] {
        let server = Server::start().await;
        let good = content(90_000);
        server.publish(&[(name, &good)]);
        let mut bad = good.clone();
        bad[70_000] ^= 1;
        let path = format!("/datasets/o/n/resolve/{COMMIT}/{name}");
        server.state.lock().unwrap().contents.insert(path.clone(), vec![bad]);
        let cache = tempfile::tempdir().unwrap();
        let error = fetch_all(&server.hub(None), cache.path()).await.unwrap_err();
        assert!(error.contains(name) && error.contains(digits) && error.contains("removed"), "{error}");
        assert_eq!(names(cache.path()), [format!("hub/o--n/{COMMIT}.json")]);
        server.state.lock().unwrap().contents.insert(path, vec![good]);
        assert_eq!(fetch_all(&server.hub(None), cache.path()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_said_before_the_first_byte() {
    let server = Server::start().await;
    let (a, b) = (content(400_000), content(300_000));
    server.publish(&[("data/a.parquet", &a), ("data/b.parquet", &b)]);
    server.misbehave("data/b.parquet", [Mischief::BreakAfter(100_000)].into_iter().chain([Mischief::Status(500); 6]));
    let cache = tempfile::tempdir().unwrap();
    let wanted = HubFiles::Prefix { prefix: "data/".into(), max_files: None };
    let fetch = async |free: u64| {
        let space_at = |_: &Path| Ok(Space { device: 1, available: Bytes(free) });
        let fetched = fetch_onto(&server.hub(None), &data_set(), &wanted, cache.path(), &mut Silent, &space_at).await;
        fetched.map_err(|error| (error.is_of_the_campaign(), error.to_string()))
    };
    let downloads = || server.requests().iter().filter(|request| request.contains("resolve")).count();
    let (is_of_the_campaign, error) = fetch(699_999).await.unwrap_err();
    assert!(error.contains("700 kB of data set o/n") && error.contains("has 700 kB free"), "{error}");
    assert!(error.contains(&cache.path().display().to_string()) && !is_of_the_campaign, "{error}");
    assert_eq!(downloads(), 0);
    // What is in the cache counts, half files too: b breaks off after 100,000 bytes.
    assert!(fetch(700_000).await.unwrap_err().1.contains("status 500"));
    assert!(downloads() > 2);
    let before = downloads();
    assert!(fetch(199_999).await.unwrap_err().1.contains("200 kB of data set o/n"));
    assert_eq!(downloads(), before);
    fetch(200_000).await.unwrap();
    fetch(0).await.unwrap();
}

#[tokio::test]
async fn a_damaged_leftover_is_fetched_anew() {
    let server = Server::start().await;
    let a = content(200_000);
    server.publish(&[("data/a.parquet", &a)]);
    server.misbehave("data/a.parquet", [Mischief::BreakAfter(150_000)].into_iter().chain([Mischief::Status(500); 5]));
    let cache = tempfile::tempdir().unwrap();
    fetch_all(&server.hub(None), cache.path()).await.unwrap_err();
    let half = names(cache.path()).into_iter().find(|name| name.contains(".partial")).unwrap();
    std::fs::write(cache.path().join(&half), vec![7; 120_000]).unwrap();
    let files = fetch_all(&server.hub(None), cache.path()).await.unwrap();
    assert_eq!(std::fs::read(&files[0].path).unwrap(), a);
}

#[tokio::test]
async fn too_long_and_too_short_are_errors() {
    for (sent, expected) in [(50_001, "longer than the 50000 bytes"), (49_999, "ended after 49999 of 50000")] {
        let server = Server::start().await;
        server.publish(&[("data/a.parquet", &content(50_000))]);
        let path = format!("/datasets/o/n/resolve/{COMMIT}/data/a.parquet");
        server.state.lock().unwrap().contents.insert(path, vec![content(sent)]);
        let cache = tempfile::tempdir().unwrap();
        let error = fetch_all(&server.hub(None), cache.path()).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let server = Server::start().await;
    server.publish(&[("data/a.parquet", b"a")]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(None);
    let other = DataSet::new("o/other", COMMIT).unwrap();
    let wanted = HubFiles::Named(vec!["data/a.parquet".into()]);
    let error = fetch(&hub, &other, &wanted, cache.path(), &mut Silent).await.unwrap_err().to_string();
    assert!(error.contains("does not have the list of files of data set o/other"), "{error}");
    for (status, expected) in
        [(404, "does not have data/a.parquet"), (401, "HF_TOKEN"), (403, "HF_TOKEN"), (418, "status 418")]
    {
        server.misbehave("data/a.parquet", [Mischief::Status(status)]);
        let error = fetch_all(&hub, cache.path()).await.unwrap_err();
        assert!(error.contains(expected) && error.contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn a_branch_is_resolved_to_its_commit() {
    let server = Server::start().await;
    let insert = |revision: &str, sha: &str| {
        let path = format!("/api/datasets/o/n/revision/{revision}");
        server.state.lock().unwrap().contents.insert(path, vec![format!("{{\"sha\": \"{sha}\"}}").into_bytes()]);
    };
    insert("refs%2Fconvert%2Fparquet", COMMIT);
    insert("odd", "../..");
    let hub = server.hub(None);
    assert_eq!(hub.commit_of("o/n", "refs/convert/parquet").await.unwrap(), COMMIT);
    assert!(hub.commit_of("o/n", "odd").await.unwrap_err().to_string().contains("no commit id"));
    assert!(hub.commit_of("o/n", "missing").await.unwrap_err().to_string().contains("revision missing"));
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    let server = Server::start().await;
    server.publish(&[("data/a.parquet", b"a")]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(Some("hf_secret"));
    assert!(!format!("{hub:?}").contains("secret"));
    fetch_all(&hub, cache.path()).await.unwrap();
    assert!(server.requests().iter().all(|request| request.ends_with("Bearer hf_secret")));
    let error = Hub::new(&server.address, Some("a\nsecret"), Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN") && !error.contains("secret"), "{error}");
    for bad in ["huggingface.co", "ftp://x", ""] {
        assert!(Hub::new(bad, None, Duration::ZERO).unwrap_err().to_string().contains("HF_ENDPOINT"), "{bad}");
    }
}

#[tokio::test]
async fn names_that_lead_out_of_the_cache_are_refused() {
    let server = Server::start().await;
    server.publish(&[("data/../../../../escape.parquet", b"a")]);
    let cache = tempfile::tempdir().unwrap();
    let error = fetch_all(&server.hub(None), cache.path()).await.unwrap_err();
    assert!(error.contains("escape.parquet") && error.contains("cannot be used"), "{error}");
    assert_eq!(names(cache.path()), [""; 0]);
}

#[tokio::test]
async fn two_at_once_fetch_it_once() {
    let server = Server::start().await;
    server.publish(&[("data/a.parquet", &content(100_000))]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(None);
    let (first, second) = tokio::join!(fetch_all(&hub, cache.path()), fetch_all(&hub, cache.path()));
    assert_eq!(first.unwrap()[0].path, second.unwrap()[0].path);
    assert_eq!(server.requests().iter().filter(|request| request.contains("resolve")).count(), 1);
    assert_eq!(names(cache.path()).len(), 2);
}
