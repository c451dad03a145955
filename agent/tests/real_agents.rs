//! Real coding agents, each in a night of its own with a pretended trainer, by the command line that docs/agents.md gives for it. The model
//! that an agent asks is a scripted server on this machine, so nothing is paid, no account is needed, and what the agent does is known.
//!
//! By hand, for the agents that are on PATH: `cargo test --test real_agents -- --ignored --test-threads 1` (or one of them by name).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod real_agents {
    pub mod script;
}
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nocturne::campaign;
use real_agents::script::Script;
use serde_json::Value;
use support::Fixture;

/// What an agent shows its server to be let in, and nothing else may ever show.
const SECRET: &str = "sk-ant-of-this-test-alone-7d3f90";

/// What a user of codex has to write down for a server of their own.
const CODEX: &str = r#"
model = "scripted"
model_provider = "scripted"

[model_providers.scripted]
name = "scripted"
base_url = "SERVER/v1"
env_key = "SCRIPTED_KEY"
wire_api = "responses"
"#;

/// The section `[[coding_agents]]` of docs/agents.md for an agent.
fn documented(agent: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents.md")).unwrap();
    let blocks = page.split("```").filter_map(|block| block.strip_prefix("toml\n"));
    let mut sections = blocks.flat_map(|block| block.split("[[coding_agents]]").skip(1));
    let section = sections.find(|section| section.trim_start().starts_with(&format!("name = {agent:?}")));
    format!("\n[[coding_agents]]\n{}\n", section.unwrap_or_else(|| panic!("docs/agents.md has no {agent}")).trim())
}

/// A home of the agent's own, empty. Not in the folder for temporary files, where codex does not want to live.
fn home(agent: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("homes").join(agent);
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::create_dir_all(&home).unwrap();
    home
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let below = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files(&entry.path()),
        false => vec![entry.path()],
    };
    entries.flat_map(below).collect()
}

/// A night of one experiment, proposed by an agent under the given section of campaign.toml. Returns what the agent said.
fn night(agent: &str, section: &str, script: &Script) -> String {
    let fixture = Fixture::new();
    let campaign = fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    let campaign = campaign
        .replace("proposers = [\"tuner\"]", "proposers = [\"agents\"]")
        .replace("experiments = 3", "experiments = 1");
    fixture.write("experiments/pretend/campaign.toml", &(campaign + section));
    fixture.plant_gains();

    let home = home(agent);
    fs::create_dir_all(home.join(".codex")).unwrap();
    fs::write(home.join(".codex/config.toml"), CODEX.replace("SERVER", &script.url())).unwrap();
    let mut command = fixture.nocturne(&["night", "experiments/pretend", "--json"]);
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(folder));
        let known = std::env::var_os(name).map(PathBuf::from).or(own);
        command.envs(known.map(|folder| (name, folder)));
    }
    command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
    command.env("ANTHROPIC_BASE_URL", script.url()).env("ANTHROPIC_API_KEY", SECRET).env("SCRIPTED_KEY", SECRET);
    command.env("OPENAI_API_BASE", format!("{}/v1", script.url())).env("OPENAI_API_KEY", SECRET);
    // What the owner of a model would know of it.
    command.env("AIDER_MODEL", "openai/scripted").env("AIDER_EDIT_FORMAT", "diff");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    fixture.assert_no_process_left();

    let night: Value = serde_json::from_slice(&output.stdout).unwrap();
    let turns = fixture.root().join(".nocturne/nights").join(night["night"].as_str().unwrap()).join("agents");
    let logs = files(&turns).into_iter().filter(|file| file.ends_with("log-1.txt"));
    let log: String = logs.map(|file| fs::read_to_string(file).unwrap()).collect();
    let first = &night["experiments"][0];
    assert_eq!(first["title"], "Double the matrices' rate", "{night}\n{said}\n{log}");
    assert_eq!((first["proposer"].as_str(), first["verdict"].as_str()), (Some("agents"), Some("kept")), "{first}");
    let commit = first["commit"].as_str().unwrap();
    let changed = fixture.git(&["diff", "--stat", &format!("{commit}^"), commit]);
    assert!(changed.contains("recipe.rs | 2 +-") && changed.contains("1 file changed"), "{changed}");
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    // It read the brief, it showed its key to the server, and it lived in its own home.
    assert!(script.heard("Pretend to lower the loss."), "the brief was not read\n{log}");
    assert!(script.was_shown(SECRET), "the server was asked without a key");
    // Nothing of it is left but what it proposed.
    let left = files(&fixture.root().parent().unwrap().join("cache/agents"));
    assert!(left.is_empty(), "{left:?}");
    let searched: Vec<PathBuf> = files(&fixture.root())
        .into_iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "slots"))
        .collect();
    assert!(searched.len() > 50);
    for file in searched {
        let content = fs::read(&file).unwrap();
        let found = content.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "the key is in {}", file.display());
    }
    assert!(!fixture.git(&["log", "--all", "--patch"]).contains(SECRET));
    log
}

/// Whether a process runs with these words as its command.
fn runs(words: &[&str]) -> bool {
    let wanted: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted))
}

fn version(program: &str) {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{program} is not on PATH: {error}"));
    println!("{program}: {}", String::from_utf8_lossy(&output.stdout).trim());
}

#[test]
fn the_documented_sections_are_campaigns() {
    let fixture = Fixture::new();
    let text = fs::read_to_string(fixture.root().join("experiments/pretend/campaign.toml")).unwrap();
    let agents = ["claude", "codex", "aider"];
    fixture.write("experiments/pretend/campaign.toml", &(text + &agents.map(documented).concat()));
    let campaign = campaign::load(&fixture.root().join("experiments/pretend")).unwrap();
    let commands: Vec<&str> = campaign.coding_agents.iter().map(|agent| agent.command[0].as_str()).collect();
    assert_eq!(commands, agents);
}

#[test]
#[ignore = "needs claude (npm install @anthropic-ai/claude-code)"]
fn claude() {
    version("claude");
    let script = Script::start(None);
    let log = night("claude", &documented("claude"), &script);
    println!("{log}");
}

/// What an agent starts and leaves ends with it.
#[test]
#[ignore = "needs claude (npm install @anthropic-ai/claude-code)"]
fn claude_that_leaves_a_process() {
    let sleep = ["sleep", "7411"];
    let section = documented("claude").replace("\"acceptEdits\"", "\"acceptEdits\", \"--allowedTools\", \"Bash\"");
    let script = Script::start(Some("setsid sleep 7411 > /dev/null 2>&1 & echo $((40 + 2)) began"));
    let log = night("claude", &section, &script);
    assert!(script.heard("42 began"), "{log}");
    assert!(!runs(&sleep), "{sleep:?} is left");
}

/// What its own settings do not allow it, it may not do, and nobody is asked.
#[test]
#[ignore = "needs claude (npm install @anthropic-ai/claude-code)"]
fn claude_that_may_run_nothing() {
    let script = Script::start(Some("setsid sleep 7413 & echo $((40 + 2)) began"));
    let log = night("claude", &documented("claude"), &script);
    assert!(!script.heard("42 began"), "{log}");
    assert!(!runs(&["sleep", "7413"]));
}

#[test]
#[ignore = "needs codex (npm install @openai/codex)"]
fn codex() {
    version("codex");
    let sleep = ["sleep", "7412"];
    let script = Script::start(Some("setsid sleep 7412 > /dev/null 2>&1 & echo $((40 + 2)) began"));
    let log = night("codex", &documented("codex"), &script);
    assert!(script.heard("42 began"), "{log}");
    assert!(!runs(&sleep), "{sleep:?} is left");
    println!("{log}");
}

#[test]
#[ignore = "needs aider (pip install aider-chat)"]
fn aider() {
    version("aider");
    let script = Script::start(None);
    let log = night("aider", &documented("aider"), &script);
    println!("{log}");
}
