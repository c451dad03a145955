//! A trainer that only pretends: it speaks the protocol, takes its time, and claims a loss that follows from its recipe.
//! Nights of the tests build it with the real compiler; std only, so that this takes a second.

mod candidate;

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use candidate::recipe::Recipe;

fn main() {
    let command = std::env::args().nth(1).unwrap_or_default();
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let recipe = Recipe::of("cpu");
    match command.as_str() {
        "train" => {
            let _request = lines.next().unwrap_or_default();
            say(r#"{"event":"ready","version":1,"parameters":1000,"rows_per_step":4}"#);
            let go = lines.next().unwrap_or_default();
            drop(lines);
            // Like the real one: the end of standard input is the end of the trainer.
            std::thread::spawn(|| {
                let mut rest = String::new();
                while matches!(std::io::stdin().read_line(&mut rest), Ok(1..)) {}
                std::process::exit(3);
            });
            candidate::training::misbehave();
            let seconds: f64 = number(&go, "seconds").unwrap_or(0.2);
            let began = Instant::now();
            let mut step = 0;
            while began.elapsed().as_secs_f64() < seconds {
                std::thread::sleep(Duration::from_millis(10));
                step += 1;
                let loss = recipe.loss() + 3.0 / f64::from(step);
                let (tokens, at) = (step * 1024, began.elapsed().as_secs_f64());
                let progress = (at / seconds).min(1.0);
                say(&format!(
                    r#"{{"event":"step","step":{step},"tokens":{tokens},"seconds":{at},"loss":{loss},"progress":{progress}}}"#
                ));
            }
            std::fs::write(text(&go, "checkpoint"), recipe.loss().to_string()).expect("the checkpoint is written");
            let tokens = step * 1024;
            say(&format!(
                r#"{{"event":"finished","steps":{step},"tokens":{tokens},"seconds":{seconds},"peak_memory_bytes":1048576,"peak_device_memory_bytes":null}}"#
            ));
            std::thread::sleep(Duration::from_secs(5));
        }
        "evaluate" => {
            let request = lines.next().unwrap_or_default();
            say(r#"{"event":"ready","version":1,"parameters":1000,"rows_per_step":4}"#);
            let loss: f32 = std::fs::read_to_string(text(&request, "checkpoint")).unwrap().parse().unwrap();
            let context = number(&request, "context").unwrap() as u64;
            let rows = std::fs::metadata(text(&request, "rows")).unwrap().len() / 2 / (context + 1);
            let claim: Vec<u8> = (0..rows * context).flat_map(|_| loss.to_le_bytes()).collect();
            std::fs::write(text(&request, "claim"), claim).unwrap();
            say(&format!(r#"{{"event":"evaluated","rows":{rows},"seconds":0.1}}"#));
        }
        "probe" => say(r#"{"event":"probed","version":1,"threads":1,"cuda_devices":0}"#),
        "sample" => {
            let _request = lines.next();
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

fn number(line: &str, field: &str) -> Option<f64> {
    let start = line.find(&format!("\"{field}\":"))? + field.len() + 3;
    line[start..].split(|c| c == ',' || c == '}').next()?.parse().ok()
}
