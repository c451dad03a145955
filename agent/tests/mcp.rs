//! An MCP client, the SDK's own, that works on a campaign: from its first word to an entry in the queue, and with arguments that nobody
//! should send.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use nocturne::campaign;
use nocturne::layout::Layout;
use nocturne::mcp::{Desk, MOST_WAITING, serve};
use nocturne::records::QueueState;
use nocturne::store::Reader;
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{RoleClient, RunningService};
use serde_json::{Value, json};
use support::Fixture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

/// Edits that fit the pretended recipe.
const EDITS: &str = "trainer/src/candidate/recipe.rs\n<<<<<<< SEARCH\nmatrix_rate: 0.04,\n=======\nmatrix_rate: 0.05,\n>>>>>>> REPLACE\n";

type Client = RunningService<RoleClient, ClientConfig>;

/// A client over a connection within this process.
async fn connect(fixture: &Fixture) -> (Client, JoinHandle<()>) {
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    let campaign = campaign::load(&fixture.root().join("experiments/pretend")).unwrap();
    let desk = Desk::new(Layout::new(fixture.root()), campaign);
    let (read, write) = tokio::io::split(ours);
    let server = tokio::spawn(async move { serve(desk, read, write).await.unwrap() });
    let config = ClientConfig::new(ClientCapabilities::default(), Implementation::new("a `test`\nclient", "1.0"));
    (config.serve(theirs).await.unwrap(), server)
}

/// A tool's answer, and whether it is one.
async fn call(client: &Client, name: &str, arguments: Value) -> Result<String, String> {
    let mut request = CallToolRequestParams::new(name.to_owned());
    if let Value::Object(arguments) = arguments {
        request = request.with_arguments(arguments);
    }
    let result = client.call_tool(request).await.unwrap();
    let text = result.content[0].as_text().unwrap().text.clone();
    if result.is_error == Some(true) { Err(text) } else { Ok(text) }
}

fn proposal(edits: &str) -> Value {
    json!({ "title": "Raise the matrices' rate", "hypothesis": "It was tuned for longer runs.", "predicted": -0.002, "edits": edits })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_checks_and_proposes() {
    let fixture = Fixture::new();
    let (client, server) = connect(&fixture).await;
    assert!(client.peer_info().unwrap().instructions.as_ref().unwrap().contains("Call `brief` first"));

    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "brief",
            "propose",
            "suggest",
            "queue",
            "status",
            "results",
            "read_file",
            "search",
            "experiments",
            "experiment",
            "check",
            "calculate"
        ]
    );
    for tool in &tools {
        let read_only = tool.annotations.as_ref().unwrap().read_only_hint.unwrap();
        assert_eq!(read_only, !["propose", "suggest"].contains(&tool.name.as_ref()), "{}", tool.name);
    }

    let brief = call(&client, "brief", json!({})).await.unwrap();
    let head = fixture.git(&["rev-parse", "HEAD"]);
    for expected in ["Pretend to lower the loss.", &format!("against commit {}", &head[..7]), "include-macro"] {
        assert!(brief.contains(expected), "{expected}: {brief}");
    }
    assert_eq!(
        call(&client, "status", json!({})).await.unwrap(),
        "No night of this campaign yet. 0 entries wait in the queue."
    );
    assert_eq!(call(&client, "results", Value::Null).await.unwrap(), "No night of this campaign yet.");
    let found = call(&client, "search", json!({ "text": "matrix_rate: 0.04" })).await.unwrap();
    assert!(found.contains("trainer/src/candidate/recipe.rs:"), "{found}");
    assert!(call(&client, "check", json!({ "edits": EDITS })).await.unwrap().starts_with("The edits apply"));
    assert!(!Layout::new(fixture.root()).database().exists(), "reading and checking write nothing");

    let told = call(&client, "propose", proposal(EDITS)).await.unwrap();
    assert!(told.starts_with("Entry 1 of the queue: 1 lines added, 1 removed."), "{told}");
    let again = call(&client, "propose", proposal(EDITS)).await.unwrap_err();
    assert_eq!(again, "the same waits in the queue already, as entry 1");
    let told = call(&client, "suggest", json!({ "words": "Try a longer warm-down.\u{1b}[31m" })).await.unwrap();
    assert!(told.starts_with("Entry 2 of the queue. The campaign has no language model or coding agent yet"), "{told}");
    let queue = call(&client, "queue", json!({})).await.unwrap();
    assert!(
        queue.starts_with(
            "2 entries, 2 of them open.\n1: waiting, with edits, from `a  test  client`: `Raise the matrices' rate"
        ),
        "{queue}"
    );
    assert!(call(&client, "status", json!({})).await.unwrap().ends_with("2 entries wait in the queue."));

    let reader = Reader::open(&Layout::new(fixture.root()).database()).await.unwrap();
    let entries = reader.queue(Some("pretend")).await.unwrap();
    assert!(entries.iter().all(|entry| entry.state == QueueState::Waiting));
    assert!(entries.iter().all(|entry| entry.by.as_deref() == Some("a  test  client")), "{entries:?}");
    let patch = entries[0].patch.as_ref().unwrap();
    assert!(patch.starts_with("--- a/trainer/src/candidate/recipe.rs\n") && patch.contains("\n+"), "{patch}");
    // Its own word for itself, on one line and without what it could be taken for.
    assert!(
        entries[0].words.ends_with("(Proposed by a  test  client over MCP. Predicted: -0.002.)"),
        "{}",
        entries[0].words
    );
    assert!(
        entries[1].patch.is_none() && entries[1].words.starts_with("Try a longer warm-down.[31m\n"),
        "{}",
        entries[1].words
    );
    reader.close().await;

    assert_eq!(fixture.git(&["status", "--porcelain"]), "", "the checkout is the person's");
    client.cancel().await.unwrap();
    server.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_breaks_a_rule_gets_into_the_queue() {
    let fixture = Fixture::new();
    let (client, server) = connect(&fixture).await;
    let long = "x".repeat(5_000);
    for (name, arguments, expected) in [
        ("propose", proposal(&EDITS.replace("0.05,", "{ std::process::abort() },")), "(rule process)"),
        ("propose", proposal(&EDITS.replace("candidate/recipe.rs", "main.rs")), "may not be edited"),
        (
            "propose",
            proposal(&EDITS.replace("candidate/recipe.rs", "../../.git/hooks/pre-commit")),
            "may not be edited",
        ),
        ("propose", proposal(&EDITS.replace("0.04", "0.99")), "was not found"),
        ("propose", proposal("nothing"), "no SEARCH/REPLACE block found"),
        ("propose", proposal(&"x".repeat(600 * 1024)), "are read"),
        ("propose", json!({ "title": "x", "edits": EDITS }), "`hypothesis` is missing"),
        (
            "propose",
            json!({ "title": long, "hypothesis": "y", "edits": EDITS }),
            "`title` has 5000 characters; write 1 to 72",
        ),
        (
            "propose",
            json!({ "title": "\u{202e}\u{200b}", "hypothesis": "y", "edits": EDITS }),
            "`title` has 0 characters",
        ),
        (
            "propose",
            json!({ "title": "x", "hypothesis": "y", "predicted": "much", "edits": EDITS }),
            "`predicted` must be a number",
        ),
        ("propose", json!({ "title": ["x"], "hypothesis": "y", "edits": EDITS }), "`title` must be a text, not a list"),
        ("propose", json!({ "campaign": "other", "title": "x" }), "`propose` has no argument `campaign`"),
        ("suggest", json!({ "words": " \n" }), "`words` has 0 characters"),
        ("suggest", json!({ "words": long }), "`words` has 5000 characters"),
        ("read_file", json!({ "path": "../../../etc/passwd" }), "there is no file"),
        ("read_file", json!({ "path": ".nocturne/nocturne.db" }), "there is no file"),
        ("results", json!({ "night": "../x" }), "is not a night's name"),
        ("experiment", json!({ "experiment": "1" }), "no night yet"),
        ("curve", json!({ "experiment": "1" }), "there is no tool `curve`"),
        ("queue remove; ls", json!({}), "there is no tool `queue remove; ls`"),
    ] {
        let error = call(&client, name, arguments.clone()).await.unwrap_err();
        assert!(error.contains(expected), "{name} {expected}: {error}");
        assert!(error.len() < 20_000);
    }
    assert!(!Layout::new(fixture.root()).database().exists());
    for number in 0..MOST_WAITING {
        call(&client, "suggest", json!({ "words": format!("Idea {number}") })).await.unwrap();
    }
    let error = call(&client, "suggest", json!({ "words": "one more" })).await.unwrap_err();
    assert!(error.starts_with("50 entries wait in the queue already"), "{error}");
    client.cancel().await.unwrap();
    server.await.unwrap();
}

/// Messages that no SDK would send.
#[tokio::test(flavor = "multi_thread")]
async fn noise_on_the_line_does_not_bring_it_down() {
    let fixture = Fixture::new();
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    let campaign = campaign::load(&fixture.root().join("experiments/pretend")).unwrap();
    let (read, write) = tokio::io::split(ours);
    let server = tokio::spawn(serve(Desk::new(Layout::new(fixture.root()), campaign), read, write));
    let (read, mut write) = tokio::io::split(theirs);
    let mut lines = BufReader::new(read).lines();
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "raw", "version": "0" } } });
    write.write_all(format!("{hello}\n").as_bytes()).await.unwrap();
    assert!(lines.next_line().await.unwrap().unwrap().contains("nocturne"));
    write.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n").await.unwrap();
    write.write_all(b"not json\n\xff\xfe\n[]\n{}\n").await.unwrap();
    let flood = vec![b'x'; 3 * 1024 * 1024];
    write.write_all(&flood).await.unwrap();
    write.write_all(b"\n").await.unwrap();
    let deep = "[".repeat(20_000);
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{{\"name\":\"check\",\"arguments\":{{\"edits\":{deep}\n"
    );
    write.write_all(call.as_bytes()).await.unwrap();
    let call = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": "calculate", "arguments": { "expression": "6 * 7" } } });
    write.write_all(format!("{call}\n").as_bytes()).await.unwrap();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        if answer["id"] == 3 {
            assert_eq!(answer["result"]["content"][0]["text"], "6 * 7 = 42");
            break;
        }
    }
    drop((lines, write));
    server.await.unwrap().unwrap();
}

/// The program itself, over its standard streams.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_speaks_on_its_standard_streams_and_ends_with_them() {
    let fixture = Fixture::new();
    let mut command = tokio::process::Command::from(fixture.nocturne(&["mcp", "experiments/pretend"]));
    let mut child = command.stdin(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let config = ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1.0"));
    let client = config.serve((output, input)).await.unwrap();
    assert!(call(&client, "brief", json!({})).await.unwrap().contains("Pretend to lower the loss."));
    client.cancel().await.unwrap();
    assert!(child.wait().await.unwrap().success());
    let output = fixture.run(&["mcp", "experiments/nowhere"]);
    assert_eq!(output.status.code(), Some(2));
}
