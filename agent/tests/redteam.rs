//! A night does not start when a known cheat gets past the evaluator.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use support::Fixture;

#[test]
fn a_planted_cheat_that_passes_keeps_the_night_from_starting() {
    // What the red team's model number 1, which should look at the next token, is replaced with; and what must be said.
    for (instead, words) in [
        ("0", "the evaluator vouches for a model that looks at the next token"),
        // Caught, but by another check than the one that is meant for it.
        ("5", "a model that looks at the next token was stopped by the check finite"),
    ] {
        let fixture = Fixture::new();
        let kinds = "|seed| seed % KINDS";
        let planted = format!("|seed| if seed % KINDS == 1 {{ {instead} }} else {{ seed % KINDS }}");
        fixture.replace("trainer/src/bin/redteam.rs", kinds, &planted);
        fixture.commit("Plant");
        let output = fixture.run(&["night", "experiments/pretend", "--experiments", "1"]);
        let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the night does not start") && said.replace("│ ", "").contains(words), "{said}");
        assert!(fixture.json(&["list", "--json"]).as_array().unwrap().is_empty(), "a night was recorded");
        assert_eq!(fixture.git(&["branch", "--list", "nocturne/*"]), "", "a branch was made");
    }
}

#[test]
fn an_honest_model_that_is_rejected_keeps_the_night_from_starting() {
    let fixture = Fixture::new();
    let planted = "|seed| if seed % KINDS == 0 { 1 } else { seed % KINDS }";
    fixture.replace("trainer/src/bin/redteam.rs", "|seed| seed % KINDS", planted);
    fixture.commit("Plant");
    let output = fixture.run(&["night", "experiments/pretend", "--experiments", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.replace("│ ", "").contains("rejects an honest model"), "{said}");
}
