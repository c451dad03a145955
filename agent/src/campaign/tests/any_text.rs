//! Whatever a file holds, it is read or refused in words.

use proptest::prelude::*;

use super::{GOOD, parse};
use crate::campaign::Report;

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    for deep in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}1", "{a=".repeat(50_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
    ] {
        assert!(parse(&deep).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[\\[\\]{}=\".#\n a-z0-9_\u{0}-\u{1f}ä-]{0,300}") {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.list.is_empty());
            let escaped = problems.to_string().contains(char::from(27));
            prop_assert!(!escaped);
            let mut shown = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut shown, &Report::from(problems)).unwrap();
        }
    }

    #[test]
    fn no_value_makes_it_panic(line in 0usize..8, value in "[-+0-9a-z_.:\"\\[\\]{}, =]{0,30}") {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        let key = lines[line].split(" = ").next().unwrap().to_owned();
        lines[line] = format!("{key} = {value}");
        if let Err(problems) = parse(&lines.join("\n")) {
            prop_assert!(problems.list.iter().all(|p| p.span.start <= p.span.end && p.span.end <= problems.text.len()));
        }
    }
}
