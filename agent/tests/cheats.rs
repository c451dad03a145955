//! Every known cheat, and some of ours, as real candidates: each must be stopped by the wall that is meant for it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "cheats/attempts.rs"]
mod attempts;
#[path = "cheats/bench.rs"]
mod bench;
#[path = "cheats/catalogue.rs"]
mod catalogue;
#[path = "support/generated.rs"]
mod generated;
#[path = "honest/catalogue.rs"]
mod honest;
#[path = "cheats/planted.rs"]
mod planted;
#[path = "cheats/refused.rs"]
mod refused;
#[path = "cheats/words.rs"]
mod words;
#[path = "cheats/workshop.rs"]
mod workshop;

use futures_util::StreamExt as _;
use nocturne::edit::{CheckedPatch, Policy};
use nocturne::flow::{Edit, TrialEnd};
use nocturne::verify::Evaluated;
use protocol::Precision;

use attempts::{Outcome, attempts};
use bench::{Bench, processes_with};
use catalogue::{Cheat, Expected, Level, evaluator_cheats};
use workshop::{SMALL, Workshop, baseline, proposal};

#[test]
fn the_policy_refuses_what_it_is_for() {
    let base = baseline();
    for cheat in refused::refused() {
        let old = base.iter().find(|file| file.path == cheat.path).map(|file| file.text.as_str()).unwrap_or_default();
        let replace = format!("{old}{}", cheat.code);
        let edits = vec![Edit { path: cheat.path.to_owned(), search: String::new(), replace }];
        let result = CheckedPatch::check(&proposal(cheat.name, edits), &base, &Policy::default());
        let error = result.err().unwrap_or_else(|| panic!("{} (cheat {}) passed", cheat.name, cheat.number));
        assert_eq!(refused::rule(&error), cheat.rule, "{} (cheat {}): {error}", cheat.name, cheat.number);
    }
}

/// Runs every attempt that shows itself while training; the others are the evaluator's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_holds_what_the_policy_would_have_refused() {
    let test = "the_sandbox_holds_what_the_policy_would_have_refused";
    let workshop = Workshop::open(SMALL);
    let Some(bench) = Bench::confined(&workshop, Precision::Fp32, test) else { return };
    let open = Bench::open(&workshop);
    bench.lay_out_secrets();
    for attempt in attempts() {
        let (name, number) = (attempt.name, attempt.number);
        if matches!(attempt.outcome, Outcome::Rejected(_)) {
            continue;
        }
        // Twice, because some leave something for the next run.
        let began = std::time::Instant::now();
        let first = bench.train(name).await;
        let second = if number == Some(12) { Some(bench.train(name).await) } else { None };
        let (trained, log) = second.as_ref().unwrap_or(&first);
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{name} ({number:?}, {}): {:?} after {seconds:.1} s: {}",
            attempt.what,
            trained.end,
            log.lines().last().unwrap_or("")
        );
        assert!(!log.contains("CHEATED"), "{name}: {log}");
        let left = processes_with(&bench.mark());
        assert!(left.is_empty(), "{name}: still running: {left:?}");
        match attempt.outcome {
            Outcome::Refused => {
                assert!(log.contains("refused"), "{name}: {:?} {log}", trained.end);
                assert_eq!(trained.end, TrialEnd::Finished, "{name}: {log}");
                // The same without a sandbox succeeds, so what refused it above is the sandbox.
                let mut said = open.train(name).await.1;
                if number == Some(12) {
                    said = open.train(name).await.1;
                }
                let only_inside = ["starts-before-go"].contains(&name);
                assert!(said.contains("CHEATED") || only_inside, "{name} does nothing: {said}");
            }
            Outcome::Gone => assert!(log.contains("daemon: Ok"), "{name} does nothing: {log}"),
            Outcome::TimedOut => assert_eq!(trained.end, TrialEnd::TimedOut, "{name}: {log}"),
            Outcome::NotFinished => {
                let crashed = matches!(trained.end, TrialEnd::Crashed { .. } | TrialEnd::OutOfMemory { .. });
                assert!(crashed, "{name}: {:?} {log}", trained.end);
            }
            Outcome::Forged if trained.end == TrialEnd::Finished => {
                let rejected = bench.evaluate(name, None, 1).await.outcome.unwrap_err();
                println!("{name}: rejected by {}: {}", rejected.check, rejected.evidence);
                assert_eq!(rejected.check, "claim", "{name}: {}", rejected.evidence);
            }
            Outcome::Forged => assert!(matches!(trained.end, TrialEnd::Crashed { .. }), "{name}: {:?}", trained.end),
            Outcome::Rejected(_) => {}
        }
    }
    bench.assert_secrets_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_evaluator_rejects_what_looks_at_the_answers() {
    evaluate_all(Precision::Fp32, "the_evaluator_rejects_what_looks_at_the_answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the same again, in another precision: cargo xtask evaluator"]
async fn the_evaluator_rejects_it_in_bfloat16_too() {
    evaluate_all(Precision::Bf16, "the_evaluator_rejects_it_in_bfloat16_too").await;
}

/// Every cheat that shows itself in what a model answers, and the plain model beside them.
async fn evaluate_all(precision: Precision, test: &str) {
    let workshop = Workshop::open(SMALL);
    let Some(bench) = Bench::confined(&workshop, precision, test) else { return };
    let cheats = evaluator_cheats();
    let attempts = attempts();
    let attempts = attempts.iter().filter_map(|attempt| match attempt.outcome {
        Outcome::Rejected(check) => Some(Row {
            name: attempt.name,
            number: attempt.number,
            level: "outright",
            what: attempt.what,
            judged: Judged::Rejected(vec![check]),
        }),
        _ => None,
    });
    let all: Vec<Row> = cheats.iter().map(Row::of).chain(attempts).collect();
    let trained: Vec<&str> = ["plain"]
        .into_iter()
        .chain(cheats.iter().filter(|cheat| cheat.trained).map(|cheat| cheat.name.as_str()))
        .collect();
    let untrained: Vec<&str> = all.iter().map(|row| row.name).filter(|name| !trained.contains(name)).collect();
    bench.make(&trained, &untrained);

    let honest = bench.evaluate("plain", None, 0).await.outcome.unwrap_or_else(|rejected| panic!("{rejected:?}"));
    let reference = bench.claim_of("plain");
    println!("plain: {:.4} bits per byte", honest.val_bpb);
    let (bench, reference) = (&bench, &reference);
    let evaluated: Vec<_> = futures_util::stream::iter(all.iter().zip(1..))
        .map(|(row, round)| async move { (row, bench.evaluate(row.name, Some(reference.clone()), round).await) })
        .buffered(2)
        .collect()
        .await;
    let mut passed = Vec::new();
    for (Row { name, number, level, what, judged }, Evaluated { outcome, certificate }) in evaluated {
        let audit = certificate.audit.as_ref();
        println!(
            "{name}\t{}\t{level}\t{}\tclaimed {}\tlargest {}\tmean {}\t{:.1} s",
            number.map_or("own".to_owned(), |number| number.to_string()),
            outcome
                .as_ref()
                .map_or_else(|r| format!("rejected by {}", r.check), |v| format!("verified {:.4}", v.val_bpb)),
            audit.map_or("-".to_owned(), |a| format!("{:.4}", a.claimed_bpb)),
            audit.map_or("-".to_owned(), |a| format!("{:.1e}", a.largest_difference)),
            audit.map_or("-".to_owned(), |a| format!("{:+.1e}", a.mean_difference)),
            certificate.seconds,
        );
        let fine = match (judged, &outcome) {
            (Judged::Rejected(checks), Err(rejected)) => checks.contains(&rejected.check.as_str()),
            (Judged::Harmless, Ok(verified)) => (verified.val_bpb - honest.val_bpb).abs() < 1e-4,
            (Judged::NoGain, Ok(verified)) => verified.val_bpb >= honest.val_bpb,
            _ => false,
        };
        if !fine {
            passed.push(format!("{name} ({what}) must be {judged:?}: {outcome:?}"));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

/// What must become of a candidate.
#[derive(Debug, Clone)]
enum Judged {
    Rejected(Vec<&'static str>),
    Harmless,
    NoGain,
}

/// What goes before the evaluator.
struct Row<'a> {
    name: &'a str,
    number: Option<u8>,
    level: &'static str,
    what: &'static str,
    judged: Judged,
}

impl<'a> Row<'a> {
    fn of(cheat: &'a Cheat) -> Self {
        let judged = match cheat.expected {
            Expected::AnyOf(checks) => Judged::Rejected(checks.to_vec()),
            Expected::Harmless => Judged::Harmless,
            Expected::NoGain => Judged::NoGain,
        };
        let level = if cheat.level == Level::Faint { "faint" } else { "outright" };
        Row { name: &cheat.name, number: cheat.number, level, what: cheat.what, judged }
    }
}
