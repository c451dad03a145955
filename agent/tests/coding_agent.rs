//! A scripted coding agent, from its brief to a proposal: what is taken of its work, and what becomes of it when it does not do what it
//! was asked for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nocturne::campaign::CodingAgent;
use nocturne::edit::{CANDIDATE_FILES, Policy};
use nocturne::flow::{
    Author, Brief, BuildFailure, CommitId, Details, PastExperiment, Proposal, SourceFile, Verdict, Wish,
};
use nocturne::llm::spend::Limits;
use nocturne::propose::model::desk::{Desk, Opening};
use nocturne::propose::model::exchange::{Exchanges, Known, RecordError};
use nocturne::propose::{AgentDesk, Agents, Failure, Proposer};
use nocturne::records::{ExchangeKind, ExchangeRecord};
use nocturne::run::Launcher;
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};

/// A secret of the person's, which agents find in their environment.
const KEY: &str = "sk-of-the-person-0123456789";
const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// What a good agent does: reads the brief, changes one number, says why.
const GOOD: &str = r#"
grep -q "val_bpb" NOCTURNE_BRIEF.md || exit 9
sed -i 's/matrix_rate: 0.04,/matrix_rate: 0.05,/' trainer/src/candidate/recipe.rs
"#;

/// The lines about its idea.
const LINES: &str = r#"
cat > NOCTURNE_PROPOSAL.md <<'END'
Title: Raise the matrices' rate
Hypothesis: It was tuned for longer runs.
Family: optimizer
Predicted: -0.002
Confidence: 0.4
END
"#;

fn baseline() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    CANDIDATE_FILES.iter().map(|path| SourceFile { path: (*path).to_owned(), text: read(path) }).collect()
}

fn brief(turn: u64) -> Brief {
    Brief {
        goal: "Lower it.".to_owned(),
        scale: protocol::Scale::Cpu,
        champion_files: baseline(),
        champion: CommitId::try_from("a".repeat(40)).unwrap(),
        champion_val_bpb: Some(1.9),
        history: Vec::new(),
        stagnation: 0,
        turn,
        proposer_seed: 1,
        details: Details::default(),
    }
}

/// What is on record, in memory.
#[derive(Default)]
struct Memory(Mutex<Vec<ExchangeRecord>>);

impl Exchanges for Memory {
    fn record(&self, exchange: &ExchangeRecord) -> Result<(), RecordError> {
        self.0.lock().unwrap().push(exchange.clone());
        Ok(())
    }
}

/// A night with agents, and what it was told.
struct Bench {
    folder: TempDir,
    told: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    record: Arc<Memory>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            told: Arc::default(),
            stop: watch::Sender::new(false),
            record: Arc::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is on record.
    fn exchanges(&self) -> Vec<ExchangeRecord> {
        self.record.0.lock().unwrap().clone()
    }

    fn known(&self) -> Vec<Known> {
        self.exchanges().into_iter().map(Known::of).collect()
    }

    /// The agents of a night that goes on with what is on record.
    fn agents(&self, agents: Vec<CodingAgent>) -> Agents {
        self.agents_of(agents, None)
    }

    fn agents_of(&self, agents: Vec<CodingAgent>, replay: Option<Vec<Known>>) -> Agents {
        let own = self.known();
        let opening = Opening {
            limits: Limits { calls: Some(1), ..Limits::default() },
            own: own.clone(),
            replay,
            record: Arc::clone(&self.record) as Arc<dyn Exchanges>,
            news: mpsc::unbounded_channel().0,
            stop: self.stop.subscribe(),
            pace: 1.0,
        };
        let helper = env!("CARGO_BIN_EXE_nocturne").into();
        let launcher = Launcher::new(helper, &self.path("lock"), sandbox::Confinement::off());
        let told = Arc::clone(&self.told);
        let desk = AgentDesk {
            launcher,
            runtime: Handle::current(),
            environment: vec![
                ("PATH".to_owned(), std::env::var("PATH").unwrap()),
                ("CODER_API_KEY".to_owned(), KEY.to_owned()),
            ],
            export: Box::new(|_, folder| {
                for file in baseline() {
                    std::fs::create_dir_all(folder.join(&file.path).parent().unwrap()).unwrap();
                    std::fs::write(folder.join(&file.path), &file.text).unwrap();
                }
                std::fs::write(folder.join("Cargo.toml"), "[workspace]\n").map_err(|error| error.to_string())
            }),
            workplace: self.path("workplace"),
            records: self.path("records"),
            desk: Arc::new(Desk::open(opening, Handle::current())),
            past: own,
            policy: Policy::default(),
            stop: self.stop.subscribe(),
            tell: Box::new(move |words| told.lock().unwrap().push(words)),
        };
        Agents::new(agents, desk)
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    fn log(&self, turn: u64, attempt: u32) -> String {
        std::fs::read_to_string(self.path(&format!("records/{turn}/log-{attempt}.txt"))).unwrap()
    }
}

fn scripted(script: &str) -> CodingAgent {
    named("coder", &["/bin/sh", "-c", script], 5.0)
}

fn named(name: &str, command: &[&str], minutes: f64) -> CodingAgent {
    CodingAgent { name: name.to_owned(), command: command.iter().map(ToString::to_string).collect(), minutes }
}

/// Asks as a night does: on a thread that may block.
fn asked<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { tokio::task::spawn_blocking(ask).await.unwrap() })
}

/// One turn of one agent.
fn turn(script: &str) -> (Option<Proposal>, Arc<Bench>) {
    let bench = Arc::new(Bench::new());
    let (theirs, agent) = (Arc::clone(&bench), scripted(script));
    let proposal = asked(move || theirs.agents(vec![agent]).propose(&brief(1)).unwrap());
    assert!(!bench.path("workplace").exists(), "the folder of the agent is left");
    (proposal, bench)
}

#[test]
fn a_change_becomes_a_proposal() {
    let script =
        format!("{GOOD}{LINES}git add -A && git commit -qm mine; cat; echo done; mkdir scratch; touch scratch/x .own");
    let (proposal, bench) = turn(&script);
    let proposal = proposal.unwrap_or_else(|| panic!("{}", bench.told()));
    assert_eq!(proposal.title, "Raise the matrices' rate");
    assert_eq!((proposal.predicted_effect, proposal.confidence), (Some(-0.002), Some(0.4)));
    assert_eq!((proposal.author.proposer.as_str(), proposal.author.model.as_deref()), ("agents", Some("coder")));
    assert_eq!(proposal.edits.len(), 1);
    assert!(proposal.edits[0].path == RECIPE && proposal.edits[0].replace.contains("matrix_rate: 0.05,"));
    // What it got on its standard input, and what it said, is in its log.
    let log = bench.log(1, 1);
    assert!(log.contains("Read NOCTURNE_BRIEF.md") && log.contains("done"), "{log}");
    assert_eq!(bench.told(), "");
}

#[test]
fn what_is_missing_is_told_once_and_mended_in_the_second_attempt() {
    // It only writes its lines, and takes its file back, when it is told to.
    let script = format!(
        "{GOOD} if grep -q 'Mend your first attempt' NOCTURNE_BRIEF.md; then
             grep -q '| .NOCTURNE_PROPOSAL.md. is missing' NOCTURNE_BRIEF.md || exit 8
             grep -q '| .build.rs. is new' NOCTURNE_BRIEF.md || exit 7
             rm build.rs; {LINES}
         else echo 'fn main() {{}}' > build.rs; fi"
    );
    let (proposal, bench) = turn(&script);
    assert!(proposal.is_some(), "{}", bench.told());
    let exchanges = bench.exchanges();
    let [one] = exchanges.as_slice() else { panic!("{exchanges:?}") };
    assert_eq!(
        (one.kind, one.turn, one.model.as_str(), one.aim.as_str()),
        (ExchangeKind::Agent, 1, "coder", "an idea")
    );
    assert_eq!((one.spent.calls, one.spent.usd), (2, 0.0));
    let answer = one.reply.answer().unwrap();
    assert!(answer.text.contains("is missing") && answer.text.contains("is new"), "{answer:?}");
    assert!(format!("{:?}", one.request).contains("Lower it.") && one.seconds > 0.0, "{one:?}");
}

#[test]
fn nothing_that_cannot_be_taken_is_taken() {
    for (script, expected) in [
        (LINES.to_owned(), "no candidate file was changed"),
        (GOOD.to_owned(), "`NOCTURNE_PROPOSAL.md  is missing"),
        (format!("{GOOD}{LINES} echo x >> Cargo.toml"), "`Cargo.toml  was changed"),
        (format!("{GOOD}{LINES} rm {RECIPE}; ln -s /etc/passwd {RECIPE}"), "is a symbolic link"),
        (format!("[ -f {RECIPE} ] || exit 0; {GOOD}{LINES} rm {RECIPE}"), "was deleted"),
        (format!("{GOOD}{LINES} head -c 100000 /dev/zero > {RECIPE}"), "has 100000 bytes, at most 65536"),
        (format!("{GOOD}{LINES} printf '\\377\\n' > {RECIPE}"), "is no text in UTF-8"),
        (format!("{GOOD}{LINES} echo 'fn f() {{ std::process::abort() }}' >> {RECIPE}"), "(rule process)"),
        (format!("{LINES} sed -i '1i // A comment.' trainer/src/candidate/model.rs"), "change nothing but comments"),
        (format!("{GOOD}{LINES} exit 3"), "it ended with exit code 3"),
        (format!("{GOOD}{LINES} echo no credit >&2; kill -9 $$"), "signal 9 ended it: `no credit`"),
    ] {
        let (proposal, bench) = turn(&script);
        let told = bench.told().replace('`', " ");
        assert!(proposal.is_none(), "{script}");
        assert!(
            told.contains(&expected.replace('`', " ")) && told.starts_with("the coding agent coder proposed nothing"),
            "{expected}: {told}"
        );
        let failure = format!("{:?}", bench.exchanges()[0].reply).replace('`', " ");
        assert!(failure.starts_with("Failure") && failure.contains(&expected.replace('`', " ")), "{failure}");
    }
}

#[test]
fn a_key_that_an_agent_prints_is_kept_nowhere() {
    for (script, expected) in [
        ("echo \"Incorrect API key provided: $CODER_API_KEY\" >&2; exit 1".to_owned(), "[value of CODER_API_KEY]"),
        (
            format!("echo \"// $CODER_API_KEY\" >> {RECIPE}; {GOOD}{LINES}"),
            "holds the value of the variable CODER_API_KEY",
        ),
    ] {
        let (proposal, bench) = turn(&script);
        let kept = format!("{:?}{}{}", bench.exchanges(), bench.told(), bench.log(1, 1));
        assert!(proposal.is_none() && kept.contains(expected) && !kept.contains(KEY), "{script}: {kept}");
    }
}

#[test]
fn one_that_is_asked_again_in_the_same_turn_has_had_its_time() {
    let bench = Arc::new(Bench::new());
    let theirs = Arc::clone(&bench);
    asked(move || {
        let mut agents = theirs.agents(vec![scripted("exit 1")]);
        for _ in 0..3 {
            assert_eq!(agents.propose(&brief(1)).unwrap(), None);
        }
        assert_eq!(agents.propose(&brief(2)).unwrap(), None);
    });
    assert_eq!(bench.exchanges().iter().map(|exchange| exchange.turn).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn one_that_takes_too_long_is_ended_with_all_that_it_started() {
    let bench = Arc::new(Bench::new());
    let pids = bench.path("pids");
    let script = format!(
        "{GOOD}{LINES} setsid sleep 600 & echo $! > {0}; sleep 600 & echo $! >> {0}; trap '' TERM; wait",
        pids.display()
    );
    let agent = named("slow", &["/bin/sh", "-c", &script], 0.02);
    let (theirs, began) = (Arc::clone(&bench), Instant::now());
    let proposal = asked(move || theirs.agents(vec![agent]).propose(&brief(1)).unwrap());
    assert!(proposal.is_none());
    assert!(bench.told().contains("it was not done after 0.02 minutes"), "{}", bench.told());
    assert!(began.elapsed().as_secs() < 300);
    for pid in std::fs::read_to_string(pids).unwrap().lines() {
        let alive = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains("(sleep)"));
        assert!(!alive, "process {pid} is left");
    }
}

#[test]
fn the_end_of_the_night_ends_it_and_counts_for_nothing() {
    let bench = Arc::new(Bench::new());
    bench.stop.send_replace(true);
    let theirs = Arc::clone(&bench);
    let proposal = asked(move || theirs.agents(vec![scripted("sleep 600")]).propose(&brief(1)).unwrap());
    assert!(proposal.is_none() && bench.told().is_empty(), "{}", bench.told());
    assert_eq!(bench.exchanges(), []);
}

#[test]
fn a_turn_on_record_is_not_worked_again() {
    let bench = Arc::new(Bench::new());
    let count = bench.path("count");
    let script = format!("echo x >> {}; {GOOD}{LINES}", count.display());
    let theirs = Arc::clone(&bench);
    let proposals = asked(move || {
        let make = || theirs.agents(vec![scripted(&script)]);
        let first = make().propose(&brief(1)).unwrap().unwrap();
        // The night was cut off and goes on: another process, the same turn.
        let again = make().propose(&brief(1)).unwrap().unwrap();
        let next = make().propose(&brief(2)).unwrap().unwrap();
        // What the person asked for is another question.
        let mut other = brief(2);
        other.details.asked = Some(Wish { id: 7, words: "try a higher rate".to_owned(), by: None });
        let other = make().propose(&other).unwrap().unwrap();
        [first, again, next, other]
    });
    assert!(proposals.iter().all(|proposal| proposal.edits == proposals[0].edits));
    assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), 3);
}

#[test]
fn what_the_person_asked_for_keeps_its_name_in_the_queue() {
    let bench = Arc::new(Bench::new());
    let theirs = Arc::clone(&bench);
    let script = format!("grep -q '^| try a higher rate' NOCTURNE_BRIEF.md || exit 6; {GOOD}{LINES}");
    let proposal = asked(move || {
        let mut brief = brief(1);
        brief.details.asked = Some(Wish { id: 7, words: "try a higher rate".to_owned(), by: None });
        theirs.agents(vec![scripted(&script)]).propose(&brief).unwrap()
    });
    assert_eq!(proposal.unwrap_or_else(|| panic!("{}", bench.told())).key, "queue-7");
}

#[test]
fn one_that_fails_thrice_is_left_in_peace_and_the_others_go_on() {
    let bench = Arc::new(Bench::new());
    let theirs = Arc::clone(&bench);
    let script = format!("{GOOD}{LINES}");
    let found = asked(move || {
        let missing = named("missing", &["/nonexistent/agent"], 1.0);
        let mut agents = theirs.agents(vec![missing, scripted(&script)]);
        (0..9).map(|turn| agents.propose(&brief(turn)).unwrap().is_some()).collect::<Vec<_>>()
    });
    assert_eq!(found, [false, true, false, true, false, true, true, true, true]);
    let told = bench.told();
    assert!(told.contains("it cannot be started (exit code 127)"), "{told}");
    assert!(told.contains("that was 3 times in a row, so it is asked no more tonight"), "{told}");
}

#[test]
fn errors_of_the_compiler_come_back_to_it() {
    let bench = Arc::new(Bench::new());
    let script = format!(
        "if grep -q '^| error: no such field' NOCTURNE_BRIEF.md; then
             grep -q 'matrix_rate: 0.05' {RECIPE} || exit 5
             sed -i 's/matrix_rate: 0.05,/matrix_rate: 0.06,/' {RECIPE}; {LINES}
         else {GOOD}{LINES} fi"
    );
    let theirs = Arc::clone(&bench);
    let (first, second, stranger) = asked(move || {
        let mut agents = theirs.agents(vec![scripted(&script)]);
        let first = agents.propose(&brief(1)).unwrap().unwrap();
        let errors = vec!["error: no such field".to_owned()];
        let failure = Failure::Build(BuildFailure { errors, error_count: 1, build_seconds: 1.0 });
        let second = agents.repair(&brief(2), &first, &failure).unwrap().unwrap();
        let mut strange = first.clone();
        strange.author.model = Some("somebody else".to_owned());
        (first, second, agents.repair(&brief(3), &strange, &failure).unwrap())
    });
    assert_eq!(first.key, second.key);
    assert!(second.edits[0].replace.contains("matrix_rate: 0.06,"), "{:?}", second.edits);
    assert!(stranger.is_none());
}

#[test]
fn what_it_is_handed_holds_nothing_of_the_nights() {
    let (proposal, bench) = turn(&format!("env; find . -not -path './.git/*' -type f; pwd; {GOOD}{LINES}"));
    assert!(proposal.is_some(), "{}", bench.told());
    let log = bench.log(1, 1);
    let mut files: Vec<&str> = log.lines().filter(|line| line.starts_with("./")).collect();
    files.sort_unstable();
    let mut expected = vec!["./Cargo.toml".to_owned(), "./NOCTURNE_BRIEF.md".to_owned()];
    expected.extend(CANDIDATE_FILES.iter().map(|path| format!("./{path}")));
    assert_eq!(files, expected);
    // The one variable that is added names what ends it when the night is killed.
    let own: Vec<&str> = log.lines().filter(|line| line.starts_with("NOCTURNE")).collect();
    assert!(own.len() == 1 && own[0].starts_with("NOCTURNE_RUN="), "{own:?}");
}

/// An agent whose idea looks like one that was tried is shown that one, once, and does as it likes.
#[test]
fn an_idea_that_looks_like_an_earlier_one_is_shown_beside_it() {
    let mut like_it = brief(3);
    like_it.history.push(PastExperiment {
        id: "2026-03-08-k4/7".parse().unwrap(),
        proposal: Proposal {
            key: "x".to_owned(),
            title: "Raise the matrices' rate to 0.06".to_owned(),
            hypothesis: String::new(),
            source: String::new(),
            family: "optimizer".to_owned(),
            predicted_effect: None,
            confidence: None,
            edits: Vec::new(),
            author: Author { proposer: "tuner".to_owned(), model: None, cost_usd: 0.0 },
        },
        digest: "d".repeat(64),
        verdict: Some(Verdict::Discarded),
        difference: Some(0.002),
        evidence: None,
        same_champion: false,
        seconds: 1.0,
    });
    let again = "if grep -q 'looks like what was tried before' NOCTURNE_BRIEF.md; then\n";
    let shown = "grep -q 'k4/7: `Raise the matrices. rate to 0.06`: discarded, +0.0020' NOCTURNE_BRIEF.md || exit 9\n";
    for (second, hypothesis) in [
        (
            "sed -i 's/longer runs./longer runs, unlike 0.06./' NOCTURNE_PROPOSAL.md; exit 0",
            "It was tuned for longer runs, unlike 0.06.",
        ),
        // What was all right before it was looked at stands.
        ("exit 1", "It was tuned for longer runs."),
        ("echo nonsense > trainer/src/candidate/recipe.rs; exit 0", "It was tuned for longer runs."),
    ] {
        let brief = like_it.clone();
        let script = format!("{again}{shown}{second}\nfi\n{GOOD}{LINES}");
        let proposal = asked(move || {
            let bench = Bench::new();
            bench.agents(vec![scripted(&script)]).propose(&brief).unwrap().unwrap_or_else(|| panic!("{}", bench.told()))
        });
        assert_eq!((proposal.title.as_str(), proposal.hypothesis.as_str()), ("Raise the matrices' rate", hypothesis));
    }
}

/// Another night's record gives the same proposals in the same order, failures and repairs included, and nobody is started.
#[test]
fn a_night_that_is_replayed_starts_nobody() {
    let bench = Arc::new(Bench::new());
    let count = bench.path("count");
    let good = format!(
        "echo x >> {}; if grep -q '^| error: no such field' NOCTURNE_BRIEF.md; then
             sed -i 's/matrix_rate: 0.05,/matrix_rate: 0.06,/' {RECIPE}; {LINES}
         else {GOOD}{LINES} fi",
        count.display()
    );
    let agents = || vec![scripted(&good), named("other", &["/bin/sh", "-c", "exit 3"], 5.0)];
    let errors = vec!["error: no such field".to_owned()];
    let failure = Failure::Build(BuildFailure { errors, error_count: 1, build_seconds: 1.0 });
    let (theirs, willing, broken) = (Arc::clone(&bench), agents(), failure.clone());
    let told = asked(move || {
        let mut agents = theirs.agents(willing);
        let first = agents.propose(&brief(0)).unwrap().unwrap();
        let mended = agents.repair(&brief(1), &first, &broken).unwrap().unwrap();
        let nothing = agents.propose(&brief(3)).unwrap();
        let last = agents.propose(&brief(4)).unwrap().unwrap();
        assert!(nothing.is_none());
        vec![first, mended, last]
    });
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 3);
    let (theirs, replayed) = (Arc::new(Bench::new()), bench.known());
    let again = Arc::clone(&theirs);
    let heard = asked(move || {
        let gone = ["other", "coder"].map(|name| named(name, &[], 0.0)).to_vec();
        let mut agents = again.agents_of(gone, Some(replayed));
        // Other turns than then.
        assert!(agents.owes(&brief(7)));
        let first = agents.propose(&brief(7)).unwrap().unwrap();
        let mended = agents.repair(&brief(8), &first, &failure).unwrap().unwrap();
        assert_eq!(agents.propose(&brief(9)).unwrap(), None);
        let last = agents.propose(&brief(9)).unwrap().unwrap();
        assert_eq!((agents.propose(&brief(10)).unwrap(), agents.again(&brief(10))), (None, None));
        vec![first, mended, last]
    });
    assert_eq!(heard, told);
    assert_eq!((std::fs::read_to_string(&count).unwrap().lines().count(), theirs.exchanges().len()), (3, 4));
}

/// Also where the night was cut off in between.
#[test]
fn failures_are_counted_over_a_night_that_goes_on() {
    let bench = Arc::new(Bench::new());
    let theirs = Arc::clone(&bench);
    let runs = asked(move || {
        let fails = || theirs.agents(vec![named("fails", &["/bin/sh", "-c", "exit 3"], 5.0)]);
        for turn in [0, 1, 2, 3, 4] {
            assert_eq!(fails().propose(&brief(turn)).unwrap(), None);
        }
        // The turns that it was cut off in are heard again, and counted once.
        let mut again = fails();
        assert!(!again.reads());
        assert_eq!(again.propose(&brief(2)).unwrap(), None);
        theirs.exchanges().len()
    });
    assert_eq!(runs, 3);
    assert!(bench.told().contains("that was 3 times in a row"), "{}", bench.told());
}
