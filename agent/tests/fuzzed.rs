//! What fuzzing has found, tried again without a fuzzer: the corpus in `fuzz/corpus/` through the functions of `fuzz/checks/`, and with it
//! what is made of it by cutting it short and putting it together.
//!
//! `cargo xtask fuzz` looks for more.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use std::collections::BTreeMap;
use std::path::Path;

/// Every input of a target by name.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: BTreeMap<_, _> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    assert!(inputs.len() >= 10, "only {} inputs in {}", inputs.len(), folder.display());
    inputs
}

/// Tries every input, its first and second half, and the first half of each with the second half of the next. The stack is no larger than
/// that of the threads on which a night works.
fn replay(target: &str, check: fn(&[u8])) {
    let inputs = corpus(target);
    let work = move || {
        let next = inputs.values().skip(1).chain(inputs.values());
        for ((name, input), next) in inputs.iter().zip(next) {
            // In the message of whatever fails.
            println!("{name}");
            check(input);
            let (head, tail) = input.split_at(input.len() / 2);
            check(head);
            check(tail);
            check(&[head, &next[next.len() / 2..]].concat());
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap();
    assert!(thread.join().is_ok(), "{target}: see above for the input");
}

#[test]
fn answers() {
    replay("answer", checks::answer::check);
}

#[test]
fn edits() {
    replay("apply", checks::apply::check);
}

#[test]
fn blocks() {
    replay("blocks", checks::blocks::check);
}

#[test]
fn streams() {
    replay("stream", checks::stream::check);
}
