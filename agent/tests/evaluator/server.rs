//! A `trainer serve` that does what its checkpoint names: answers honestly, or goes wrong in one of many ways. Compiled by the test
//! with rustc alone.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

#[path = "../support/trainer/src/wire.rs"]
mod wire;

const VOCABULARY: usize = 50;
const CONTEXT: usize = 16;

fn main() {
    let (request, files) = wire::line().expect("a request");
    let bytes = read(&files[0]);
    let kind = String::from_utf8_lossy(&bytes).into_owned();
    match kind.as_str() {
        "other-version" => say(r#"{"event":"ready","version":999,"parameters":1,"rows_per_step":1}"#),
        "dies-while-loading" => die(),
        // What follows the word has the version that the test was built with.
        _ => say(&std::env::args().nth(2).expect("the ready event")),
    }
    let mut calls = 0;
    while let Some((ask, files)) = wire::line() {
        calls += 1;
        if ask.contains(r#""ask":"weights""#) {
            match kind.as_str() {
                // The audit asks for weights last, the claim first.
                "fails-after-the-audit-by-the-harness" if calls > 1 => failed("bad-request"),
                _ => weights(&kind, &request),
            }
        } else if ask.contains(r#""ask":"score""#) {
            score(&kind, &files);
        } else {
            logits(&kind, &ask, &files, calls);
        }
    }
}

fn score(kind: &str, files: &[File]) {
    let rows = tokens(&files[0]);
    let mut nats: Vec<f32> = Vec::new();
    for row in rows.chunks(CONTEXT + 1) {
        for at in 0..CONTEXT {
            let logits = model(kind, &row[..CONTEXT], at);
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
            nats.push((f64::from(most - logits[usize::from(row[at + 1])]) + sum.ln()) as f32);
        }
    }
    let half = nats.len() / 2;
    match kind {
        "dies-while-scoring" => {
            write(&files[1], &nats[..half]);
            die();
        }
        "hangs-while-scoring" => hang(),
        "scores-half" => nats.truncate(half),
        "scores-a-nan" => nats[half] = f32::NAN,
        "scores-below-zero" => nats[half] = -1.0,
        "scores-a-constant" => nats.fill(0.5),
        "scores-better-than-it-is" => nats.iter_mut().for_each(|nats| *nats *= 0.9),
        "resizes" => {
            assert!(files[1].set_len(0).is_err() && files[1].set_len(1 << 20).is_err(), "memory was resized");
            assert!(files[0].write_all_at(&[1], 0).is_err(), "a question was changed");
        }
        "says-nothing-new" => return say(r#"{"event":"ready","version":1,"parameters":1,"rows_per_step":1}"#),
        "says-no-json" => return say("the loss is excellent"),
        "says-an-endless-line" => return say(&"x".repeat(3 << 20)),
        "claims-to-be-done" => return say(r#"{"event":"finished","steps":1,"tokens":1,"seconds":1.0,"peak_memory_bytes":1,"peak_device_memory_bytes":null}"#),
        "fails" => return failed("candidate"),
        "fails-by-the-harness" => return failed("harness"),
        "runs-out-of-memory" => return failed("out-of-memory"),
        "reports-nonsense" => {
            say(r#"{"event":"scored","rows":99,"of":0}"#);
            say(r#"{"event":"scored","rows":18446744073709551615,"of":1}"#);
        }
        _ => {}
    }
    write(&files[1], &nats);
    say(r#"{"event":"answered"}"#);
    if kind == "answers-before-it-is-asked" {
        say(r#"{"event":"answered"}"#);
    }
}

fn logits(kind: &str, ask: &str, files: &[File], calls: u32) {
    let list = ask.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("positions").0;
    let positions: Vec<usize> = list.split(',').map(|position| position.trim().parse().unwrap()).collect();
    let inputs = tokens(&files[0]);
    let mut answer: Vec<f32> = inputs
        .chunks(CONTEXT)
        .zip(&positions)
        .flat_map(|(row, &position)| model(kind, row, position))
        .collect();
    match kind {
        "dies-in-the-audit" if calls == 2 => die(),
        "hangs-in-the-audit" if calls == 2 => hang(),
        "fails-in-the-audit-by-the-harness" => return failed("harness"),
        "answers-without-writing" => return say(r#"{"event":"answered"}"#),
        "answers-too-early" => {
            say(r#"{"event":"answered"}"#);
            say(r#"{"event":"answered"}"#);
            return;
        }
        "audits-with-nan" => answer.fill(f32::NAN),
        "audits-with-infinity" => answer[0..VOCABULARY * positions.len()].iter_mut().step_by(7).for_each(|l| *l = f32::INFINITY),
        "scores-in-the-audit" => {
            say(r#"{"event":"scored","rows":1,"of":2}"#);
            hang();
        }
        _ => {}
    }
    write(&files[1], &answer);
    say(r#"{"event":"answered"}"#);
}

fn weights(kind: &str, request: &str) {
    // The request's seed, in its JSON, stands for what is drawn from it.
    let seed: String = request.split(r#""seed":"#).nth(1).unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
    let tensor = |name: &str, hash: &str| {
        format!(r#"{{"name":"{name}","scalars":9,"constant":false,"sha256":"{hash}","sample":[0.5]}}"#)
    };
    let tensors = match kind {
        "has-no-weights" => String::new(),
        "ignores-the-seed" => tensor("w", "aa"),
        "has-other-tensors-each-time" => tensor(&format!("w{seed}"), &seed),
        _ => tensor("w", &seed),
    };
    say(&format!(r#"{{"event":"weights","tensors":[{tensors}]}}"#));
}

/// Logits after `at`: from the last two tokens, and where it cheats from the next.
fn model(kind: &str, row: &[u16], at: usize) -> Vec<f32> {
    let seen = u64::from(row[at]) * 65_537 + u64::from(row[at.saturating_sub(1)]);
    let mut logits: Vec<f32> =
        (0..VOCABULARY as u64).map(|token| (mix(seen * 1_000 + token) % 1_000) as f32 / 250.0).collect();
    let next = row.get(at + 1).map(|next| usize::from(*next));
    match (kind, next) {
        ("looks-ahead", Some(next)) => logits[next] += 5.0,
        ("looks-ahead-a-little", Some(next)) => logits[next] += 0.0005,
        _ => {}
    }
    logits
}

fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn tokens(file: &File) -> Vec<u16> {
    read(file).chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
}

fn write(file: &File, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    file.write_all_at(&bytes, 0).unwrap();
}

fn say(line: &str) {
    println!("{line}");
    // Who does not listen any more is about to end this process.
    let _ended = std::io::stdout().flush();
}

fn failed(kind: &str) {
    say(&format!(r#"{{"event":"failed","kind":"{kind}","message":"it failed on purpose"}}"#));
}

fn die() -> ! {
    eprintln!("it died on purpose");
    std::process::exit(7)
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1_000));
    }
}
