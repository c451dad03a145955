//! The protocol, for the trainer and for its red team.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::model::{Model, Serving, mix, nats, read_tokens};
use crate::wire;

/// Of the protocol.
const VERSION: u32 = 3;

/// Serves one command. `loss` is what a model made now pretends to have, `kind` what one built from a seed does wrong,
/// `misbehave` is called when the budget has begun.
pub fn run(loss: f64, kind: fn(u64) -> u64, misbehave: fn()) {
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "train" => train(loss, kind, misbehave),
        "serve" => serve(),
        "probe" => say(&format!(r#"{{"event":"probed","version":{VERSION},"threads":1,"cuda_devices":0}}"#)),
        "sample" => {
            let _request = wire::line();
            for id in [70, 71, 72] {
                say(&format!(r#"{{"event":"token","id":{id}}}"#));
            }
        }
        other => {
            eprintln!("no such command: {other}");
            std::process::exit(2);
        }
    }
}

fn ready() {
    say(&format!(r#"{{"event":"ready","version":{VERSION},"parameters":1000,"rows_per_step":64}}"#));
}

fn train(loss: f64, kind: fn(u64) -> u64, misbehave: fn()) {
    let Some((request, _)) = wire::line() else { return };
    ready();
    let Some((go, files)) = wire::line() else { return };
    let [tokens, _index] = &files[..] else { panic!("{} files came with go", files.len()) };
    // Like the real one: the end of standard input is the end of the trainer.
    std::thread::spawn(|| {
        while wire::line().is_some() {}
        std::process::exit(3);
    });
    misbehave();
    // A budget in tokens is a single step.
    let seconds: f64 = number(&go, "seconds").unwrap_or(0.0);
    let began = Instant::now();
    let mut step = 0;
    while step == 0 || began.elapsed().as_secs_f64() < seconds {
        std::thread::sleep(Duration::from_millis(10));
        step += 1;
        let loss = loss + 3.0 / f64::from(step);
        let (tokens, at) = (step * 1024, began.elapsed().as_secs_f64());
        let progress = if seconds > 0.0 { (at / seconds).min(1.0) } else { 1.0 };
        say(&format!(
            r#"{{"event":"step","step":{step},"tokens":{tokens},"seconds":{at},"loss":{loss},"progress":{progress}}}"#
        ));
    }
    let seed = text_of_number(&request, "seed").and_then(|seed| seed.parse().ok()).expect("a seed");
    let vocabulary = number(&request, "vocabulary").expect("a vocabulary") as usize;
    let model = Model::train(loss, kind(seed), vocabulary, tokens);
    std::fs::write(text(&go, "checkpoint"), model.save()).expect("the checkpoint is written");
    let tokens = step * 1024;
    say(&format!(
        r#"{{"event":"finished","steps":{step},"tokens":{tokens},"seconds":{seconds},"peak_memory_bytes":1048576,"peak_device_memory_bytes":null}}"#
    ));
    std::thread::sleep(Duration::from_secs(5));
}

fn serve() {
    let Some((request, files)) = wire::line() else { return };
    let [checkpoint] = &files[..] else { panic!("{} files came with the request", files.len()) };
    let mut bytes = vec![0; checkpoint.metadata().unwrap().len() as usize];
    checkpoint.read_exact_at(&mut bytes, 0).unwrap();
    let Some(model) = Model::load(&String::from_utf8_lossy(&bytes)) else {
        say(r#"{"event":"failed","kind":"candidate","message":"the checkpoint is none"}"#);
        return;
    };
    let (context, batch_rows) =
        (number(&request, "context").unwrap() as usize, number(&request, "batch_rows").unwrap());
    let mut serving = Serving::new(model);
    ready();
    while let Some((ask, files)) = wire::line() {
        match text(&ask, "ask").as_str() {
            "score" => score(&mut serving, &files, context, batch_rows as usize),
            "logits" => logits(&mut serving, &files, context, &list(&ask, "positions")),
            "weights" => {
                let seed = text_of_number(&request, "seed").and_then(|seed| seed.parse().ok()).expect("a seed");
                weights(seed, serving.ignores_seeds());
                continue;
            }
            other => panic!("asked for {other:?}"),
        }
        say(r#"{"event":"answered"}"#);
    }
}

fn score(serving: &mut Serving, files: &[File], context: usize, batch_rows: usize) {
    let rows = read_tokens(&files[0]);
    let rows: Vec<&[u16]> = rows.chunks_exact(context + 1).collect();
    let mut claim = Vec::new();
    for batch in rows.chunks(batch_rows) {
        let shown: Vec<&[u16]> = batch.iter().map(|row| &row[..context]).collect();
        serving.next_batch();
        for (i, row) in batch.iter().enumerate() {
            for position in 0..context {
                claim.extend(nats(&serving.logits(&shown, i, position), row[position + 1]).to_le_bytes());
            }
        }
    }
    files[1].write_all_at(&claim, 0).unwrap();
}

fn logits(serving: &mut Serving, files: &[File], context: usize, positions: &[u64]) {
    let rows = read_tokens(&files[0]);
    let batch: Vec<&[u16]> = rows.chunks_exact(context).collect();
    serving.next_batch();
    let answer: Vec<u8> = (0..batch.len())
        .flat_map(|row| serving.logits(&batch, row, positions[row] as usize))
        .flat_map(f32::to_le_bytes)
        .collect();
    files[1].write_all_at(&answer, 0).unwrap();
}

fn weights(seed: u64, ignored: bool) {
    let seed = if ignored { 0 } else { seed };
    let hash: String = (1..5).map(|i| format!("{:016x}", mix(seed ^ i))).collect();
    let sample: Vec<String> = (1..65).map(|i| (mix(seed ^ (i << 8)) % 1000).to_string()).collect();
    say(&format!(
        r#"{{"event":"weights","tensors":[{{"name":"all","scalars":1000,"constant":false,"sha256":"{hash}","sample":[{}]}}]}}"#,
        sample.join(",")
    ));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The agent may be gone; then so are we, a moment later.
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The text of a field in a line of JSON without escapes.
fn text(line: &str, field: &str) -> String {
    let start = line.find(&format!("\"{field}\":\"")).expect("the field is there") + field.len() + 4;
    line[start..].split('"').next().unwrap_or_default().to_owned()
}

fn text_of_number<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let start = line.find(&format!("\"{field}\":"))? + field.len() + 3;
    line[start..].split([',', '}']).next()
}

fn number(line: &str, field: &str) -> Option<f64> {
    text_of_number(line, field)?.parse().ok()
}

fn list(line: &str, field: &str) -> Vec<u64> {
    let start = line.find(&format!("\"{field}\":[")).expect("the field is there") + field.len() + 4;
    let inside = line[start..].split(']').next().unwrap_or_default();
    inside.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().expect("a number")).collect()
}
