//! The evaluator against processes that go wrong in every way: whatever the model does is a verdict with evidence, and whatever the
//! machine does is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use data::Rows;
use nocturne::flow::Certificate;
use nocturne::hash::sha256;
use nocturne::run::{Job, Launcher};
use nocturne::verify::tolerance::CPU_FP32;
use nocturne::verify::{EVALUATOR, Evaluated, EvaluationError, EvaluationSpec, HeldOut, Part, evaluate, read_claim};
use protocol::{Event, Precision, Scale, Setting};
use tokio::sync::watch;

const VOCABULARY: u16 = 50;
const CONTEXT: usize = 16;
const ROWS: usize = 10;

/// `tests/evaluator/server.rs`, compiled by rustc alone.
fn server() -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compile = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evaluator/server.rs");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("evaluator-server");
        let unfinished = program.with_extension(std::process::id().to_string());
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output =
            Command::new(rustc).args(["--edition", "2024", "-o"]).args([&unfinished, &source]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Another run of the tests may be executing the old one.
        std::fs::rename(&unfinished, &program).unwrap();
        program
    };
    COMPILED.get_or_init(compile).clone()
}

fn launcher(folder: &Path) -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_nocturne").into(), &folder.join("lock"), sandbox::Confinement::off())
}

/// A number that looks drawn and is always the same.
fn drawn(number: usize) -> u16 {
    ((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u16
}

fn held_out() -> HeldOut {
    let tokens = (0..ROWS * (CONTEXT + 1))
        .map(|i| if i.is_multiple_of(CONTEXT + 1) { 0 } else { 1 + drawn(i) % (VOCABULARY - 1) });
    HeldOut::new(Rows::from_tokens(tokens.collect(), CONTEXT).unwrap(), vec![3; ROWS * CONTEXT]).unwrap()
}

/// What a server of this kind is asked.
fn spec(folder: &Path, kind: &str) -> EvaluationSpec {
    let checkpoint = folder.join("checkpoint.safetensors");
    std::fs::write(&checkpoint, kind).unwrap();
    let ready = Event::Ready { version: protocol::VERSION, parameters: 9, rows_per_step: 4, threads: None };
    let documents: Vec<Vec<u16>> = (0..20)
        .map(|d| (0..60).map(|i| if i == 0 { 0 } else { 1 + drawn(9_999 + d * 60 + i) % (VOCABULARY - 1) }).collect())
        .collect();
    EvaluationSpec {
        job: Job {
            program: server(),
            arguments: vec!["serve".to_owned(), serde_json::to_string(&ready).unwrap()],
            environment: Vec::new(),
            folder: folder.to_owned(),
            nice: 0,
            cores: None,
            grace_seconds: 0.5,
            log: folder.join("evaluate.log"),
            policy: None,
        },
        setting: Setting {
            scale: Scale::Cpu,
            vocabulary: VOCABULARY.into(),
            context: CONTEXT,
            device: "cpu".to_owned(),
            precision: Precision::Fp32,
            threads: 1,
        },
        checkpoint,
        checkpoint_sha256: sha256(kind.as_bytes()),
        trainer_sha256: "ab".to_owned(),
        held_out: Arc::new(held_out()),
        documents: Arc::new(documents),
        reference: Some(vec![4.0; ROWS * CONTEXT]),
        cuts: 40,
        tolerance: CPU_FP32,
        audit_seed: 5,
        weight_seeds: [1, 2],
        batch_rows: 4,
        claim: folder.join("claim.f32"),
        evaluator_sha256: "cd".to_owned(),
        sandbox: "nothing".to_owned(),
        most_seconds: 60.0,
    }
}

async fn run(folder: &Path, spec: &EvaluationSpec) -> Result<Evaluated, EvaluationError> {
    let (_running, stop) = watch::channel(false);
    evaluate(&launcher(folder), spec, stop, |_, _| {}).await
}

fn names(certificate: &Certificate) -> Vec<&str> {
    certificate.checks.iter().map(|check| check.name.as_str()).collect()
}

const ALL: [&str; 10] =
    ["checkpoint", "claim", "count", "finite", "normalised", "text", "audit", "audit-largest", "audit-mean", "seeds"];

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_model_is_vouched_for_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "honest");
    let (_running, stop) = watch::channel(false);
    let mut heard = Vec::new();
    let evaluated =
        evaluate(&launcher(folder.path()), &spec, stop, |part, share| heard.push((part, share))).await.unwrap();
    let verified = evaluated.outcome.unwrap();
    let certificate = evaluated.certificate;
    assert_eq!(names(&certificate), ALL);
    assert!(certificate.checks.iter().all(|check| check.passed && !check.detail.is_empty()));
    let audit = certificate.audit.unwrap();
    // Places that were drawn twice count once.
    assert!((30..=40).contains(&audit.cuts) && (20..=30).contains(&audit.weighted_cuts), "{audit:?}");
    let details: Vec<_> = certificate.checks.iter().map(|check| check.detail.as_str()).collect();
    let places = format!("40 cuts at {} distinct places", audit.cuts);
    assert!(details.iter().any(|detail| detail.contains(&places)), "{details:?}");
    assert!(audit.largest_difference < 1e-6, "{}", audit.largest_difference);
    // The claim was kept as it came, and the figure follows from it.
    let claim = read_claim(&spec.claim, ROWS * CONTEXT).unwrap();
    let nats: f64 = claim.iter().map(|&nats| f64::from(nats)).sum();
    let bpb = nats / std::f64::consts::LN_2 / (3 * ROWS * CONTEXT) as f64;
    assert!((verified.claimed_bpb - bpb).abs() < 1e-12);
    assert!((verified.val_bpb - bpb).abs() < 1e-6 && verified.standard_error < 1e-6);
    assert_eq!((verified.tokens, verified.bytes), (160, 480));
    assert_eq!((verified.evaluator.as_str(), certificate.evaluator.as_str()), (EVALUATOR, EVALUATOR));
    assert_eq!(certificate.data_sha256, spec.held_out.sha256());
    assert_eq!(certificate.checkpoint_sha256, sha256(b"honest"));
    assert_eq!((certificate.trainer_sha256.as_str(), certificate.evaluator_sha256.as_str()), ("ab", "cd"));
    assert_eq!((heard.first(), heard.last()), (Some(&(Part::Claim, 0.0)), Some(&(Part::Audit, 1.0))));
    assert!(heard.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_model_does_is_a_verdict_with_evidence() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, check, words) in [
        ("resizes", "", ""),
        ("reports-nonsense", "", ""),
        ("dies-while-loading", "claim", "exit code 7"),
        ("dies-while-scoring", "claim", "last words are in"),
        ("scores-half", "audit-largest", "claimed 0.0000 nats"),
        ("scores-a-nan", "finite", "token 0 of row 6 was given NaN nats"),
        ("scores-below-zero", "normalised", "token 0 of row 6 was given -1 nats"),
        ("scores-a-constant", "audit-largest", "claimed 0.5000 nats"),
        ("scores-better-than-it-is", "audit-largest", "looks at text"),
        ("says-nothing-new", "claim", "Ready"),
        ("says-no-json", "claim", "the loss is excellent"),
        ("says-an-endless-line", "claim", "too long"),
        ("claims-to-be-done", "claim", "Finished"),
        ("fails", "claim", "it failed on purpose"),
        ("runs-out-of-memory", "claim", "it failed on purpose"),
        ("dies-in-the-audit", "audit", "exit code 7"),
        ("fails-in-the-audit-by-the-harness", "audit", "it failed on purpose"),
        ("fails-after-the-audit-by-the-harness", "audit", "it failed on purpose"),
        ("answers-without-writing", "audit-largest", "but 3.9120"),
        ("answers-too-early", "audit", "where that was no answer"),
        ("answers-before-it-is-asked", "", ""),
        ("audits-with-nan", "finite", "is NaN"),
        ("audits-with-infinity", "finite", "is inf"),
        ("looks-ahead", "audit-largest", "when the text after it was replaced"),
        ("looks-ahead-a-little", "audit-mean", "against the claim, beyond the"),
        ("ignores-the-seed", "seeds", "same to the last bit"),
        ("has-other-tensors-each-time", "seeds", "under another"),
        ("has-no-weights", "seeds", "none of its 0 tensors"),
    ] {
        let evaluated = run(folder.path(), &spec(folder.path(), kind)).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        let checks = evaluated.certificate.checks;
        match evaluated.outcome {
            Ok(_) => assert_eq!(check, "", "{kind} was vouched for"),
            Err(rejected) => {
                assert_eq!(rejected.check, check, "{kind}: {}", rejected.evidence);
                assert!(rejected.evidence.contains(words), "{kind}: {}", rejected.evidence);
                // What it printed may quote held-out text.
                assert!(!rejected.evidence.contains("died on purpose"), "{kind}: {}", rejected.evidence);
                let (last, before) = checks.split_last().unwrap();
                assert_eq!((&last.name, last.passed, &last.detail), (&rejected.check, false, &rejected.evidence));
                assert!(before.iter().all(|check| check.passed));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_is_rejected_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, check) in
        [("hangs-while-scoring", "claim"), ("hangs-in-the-audit", "audit"), ("scores-in-the-audit", "audit")]
    {
        let spec = EvaluationSpec { most_seconds: 3.0, ..spec(folder.path(), kind) };
        let rejected = run(folder.path(), &spec).await.unwrap().outcome.unwrap_err();
        assert_eq!(rejected.check, check, "{kind}: {}", rejected.evidence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_harness_says_of_itself_is_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, words) in [("fails-by-the-harness", "it failed on purpose"), ("other-version", "version 999")] {
        let error = run(folder.path(), &spec(folder.path(), kind)).await.unwrap_err();
        assert!(matches!(&error, EvaluationError::Machine(why) if why.contains(words)), "{kind}: {error}");
    }
    let missing = EvaluationSpec {
        job: Job { program: "/nowhere".into(), ..spec(folder.path(), "honest").job },
        ..spec(folder.path(), "honest")
    };
    assert!(matches!(run(folder.path(), &missing).await, Err(EvaluationError::Run(_))));
    let gone = EvaluationSpec { checkpoint: folder.path().join("gone"), ..spec(folder.path(), "honest") };
    assert!(matches!(run(folder.path(), &gone).await, Err(EvaluationError::Checkpoint { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_changes_between_claim_and_audit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher(folder.path());
    // This one reports progress while it scores: that is when the file is replaced.
    let spec = spec(folder.path(), "reports-nonsense");
    let (_running, stop) = watch::channel(false);
    let evaluated = evaluate(&launcher, &spec, stop, |part, share| {
        if part == Part::Claim && share > 0.0 {
            std::fs::write(&spec.checkpoint, "looks-ahead").unwrap();
        }
    });
    let evaluated = evaluated.await.unwrap();
    assert_eq!(evaluated.outcome.unwrap_err().check, "checkpoint");
    assert_eq!(
        names(&evaluated.certificate),
        ["checkpoint", "claim", "count", "finite", "normalised", "text", "checkpoint"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_recorded_checkpoint_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let right = spec(folder.path(), "honest");
    let other = EvaluationSpec { checkpoint_sha256: sha256(b"other"), ..right.clone() };
    let evaluated = run(folder.path(), &other).await.unwrap();
    assert_eq!(evaluated.outcome.unwrap_err().check, "checkpoint");
    assert_eq!(names(&evaluated.certificate), ["checkpoint"]);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&right.checkpoint, &link).unwrap();
    let linked = EvaluationSpec { checkpoint: link, ..right };
    assert!(run(folder.path(), &linked).await.unwrap().outcome.unwrap_err().evidence.contains("symbolic link"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_stops_the_night_stops_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["hangs-while-scoring", "hangs-in-the-audit"] {
        let spec = spec(folder.path(), kind);
        let (running, stop) = watch::channel(false);
        let log = if kind.ends_with("audit") { "evaluate.audit.log" } else { "evaluate.log" };
        let _old = std::fs::remove_file(folder.path().join(log));
        let started = folder.path().join(log);
        let stopping = tokio::spawn(async move {
            while !started.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            running.send(true).unwrap();
            running
        });
        let error = evaluate(&launcher(folder.path()), &spec, stop, |_, _| {}).await.unwrap_err();
        assert!(matches!(error, EvaluationError::Stopped), "{kind}: {error}");
        stopping.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_champion_four_times_as_many_places_are_audited() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, check) in [("honest", None), ("looks-ahead", Some("audit-largest"))] {
        let spec = EvaluationSpec { reference: None, ..spec(folder.path(), kind) };
        let evaluated = run(folder.path(), &spec).await.unwrap();
        assert_eq!(evaluated.outcome.err().map(|rejected| rejected.check).as_deref(), check);
        let (audit, checks) = (evaluated.certificate.audit.unwrap(), evaluated.certificate.checks);
        assert!((41..=160).contains(&audit.cuts), "{audit:?}");
        let said = |words| checks.iter().any(|check| check.name == "audit-largest" && check.detail.contains(words));
        assert!(said(if check.is_none() { "160 cuts" } else { "of 160 audited tokens" }), "{checks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let right = spec(folder.path(), "honest");
    for wrong in [
        EvaluationSpec { cuts: 0, ..right.clone() },
        EvaluationSpec { batch_rows: 0, ..right.clone() },
        EvaluationSpec { reference: Some(vec![1.0]), ..right.clone() },
        EvaluationSpec { weight_seeds: [3, 3], ..right.clone() },
        EvaluationSpec { setting: Setting { context: 8, ..right.setting.clone() }, ..right.clone() },
    ] {
        assert!(matches!(run(folder.path(), &wrong).await, Err(EvaluationError::Spec(_))));
        assert!(!right.job.log.exists());
    }
}
