//! Every cheat as data: what it is, how a proposer would write it, and which check it must meet.

use super::planted::planted;

/// How strong a leak is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nobody could miss it in the number.
    Outright,
    /// Moves the number by about 0.01 bits per byte.
    Faint,
}

/// What must become of a candidate before the evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Rejected, by one of these checks.
    AnyOf(&'static [&'static str]),
    /// Verified, with the number of the honest model: what it tries has no effect.
    Harmless,
    /// Verified, with a number that is no better than the honest model's.
    NoGain,
}

/// A cheat that reaches the evaluator.
pub struct Cheat {
    /// Names it.
    pub name: String,
    /// Its number in the list of known cheats; `None` for one of ours.
    pub number: Option<u8>,
    /// How strong it is.
    pub level: Level,
    /// What it does, for a person.
    pub what: &'static str,
    /// SEARCH/REPLACE text on the repository's candidate.
    pub blocks: String,
    /// What must become of it.
    pub expected: Expected,
    /// Whether it takes training to show; else the plain model's weights do.
    pub trained: bool,
}

/// The difference between claim and audit, one by one or in the mean.
const LEAK: Expected = Expected::AnyOf(&["audit-largest", "audit-mean"]);

macro_rules! edits {
    ($name:literal) => {
        include_str!(concat!("edits/", $name, ".blocks"))
    };
}

/// Everything that is meant for the evaluator.
pub fn evaluator_cheats() -> Vec<Cheat> {
    let mut all: Vec<Cheat> = planted()
        .into_iter()
        .map(|leak| Cheat {
            name: leak.name.to_owned(),
            number: leak.number,
            level: leak.level,
            what: leak.what,
            blocks: leak.blocks(),
            expected: leak.expected,
            trained: false,
        })
        .collect();
    // Name, number, what, edits, what weakens them (a text and its replacement).
    type Row = (&'static str, Option<u8>, &'static str, &'static str, Option<(&'static str, &'static str)>);
    const SHARE: &str = "let share = 1.0;";
    let rows: [Row; 15] = [
        ("no-causal-mask", Some(3), "the mask of the long layers is gone", edits!("no-causal-mask"), None),
        ("window-off-by-one", Some(3), "the short window begins one token late", edits!("window-off-by-one"), None),
        ("mask-faintly-missing", Some(3), "a part of the attention has no mask", edits!("mask-faintly-missing"), None),
        (
            "mean-over-the-row",
            Some(4),
            "subtracts the row's mean",
            edits!("mean-over-the-row"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "batch-statistic",
            Some(4),
            "subtracts the batch's mean",
            edits!("batch-statistic"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "convolution-not-causal",
            Some(4),
            "pads a convolution on both sides",
            edits!("convolution-not-causal"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "frequency-filter",
            Some(4),
            "filters frequencies over the row",
            edits!("frequency-filter"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "blocks-see-themselves",
            Some(5),
            "attention goes both ways inside a block",
            edits!("blocks-see-themselves"),
            None,
        ),
        (
            "other-rows",
            Some(6),
            "adds the next row of the batch",
            edits!("other-rows"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "mean-of-the-batch",
            None,
            "subtracts the mean over rows at each position",
            edits!("mean-of-the-batch"),
            Some((SHARE, "let share = 0.02;")),
        ),
        (
            "backward-recurrence",
            None,
            "a state from behind, a quarter of the row away",
            edits!("backward-recurrence"),
            Some((SHARE, "let share = 0.1;")),
        ),
        (
            "learned-look-ahead",
            None,
            "a gate that training opens",
            edits!("learned-look-ahead"),
            Some(("&[1], -4.0)", "&[1], -8.0)")),
        ),
        ("expert-choice", None, "experts choose among all tokens of the batch", edits!("expert-choice"), None),
        (
            "experts-with-places",
            None,
            "whether an expert has room depends on other rows",
            edits!("experts-with-places"),
            None,
        ),
        (
            "remembers-requests",
            Some(7),
            "answers from what it was asked before",
            edits!("remembers-requests"),
            Some(("* known * 5.0", "* known * 0.03")),
        ),
    ];
    for (name, number, what, blocks, weaker) in rows {
        let cheat =
            |name: String, level, blocks| Cheat { name, number, level, what, blocks, expected: LEAK, trained: true };
        if let Some((strong, weak)) = weaker {
            assert_eq!(blocks.matches(strong).count(), 1, "{name}: what makes it faint must be there once");
            all.push(cheat(format!("{name}-faint"), Level::Faint, blocks.replace(strong, weak)));
        }
        let level = if name.contains("faintly") { Level::Faint } else { Level::Outright };
        all.push(cheat(name.to_owned(), level, blocks.to_owned()));
    }
    // Name, number, what, edits, what must become of them.
    type Other = (&'static str, Option<u8>, &'static str, &'static str, Expected);
    let others: [Other; 6] = [
        (
            "ignores-the-seed",
            Some(1),
            "one lucky seed for all",
            edits!("ignores-the-seed"),
            Expected::AnyOf(&["seeds"]),
        ),
        (
            "seed-for-one-tensor",
            Some(1),
            "one lucky seed for nearly all",
            edits!("seed-for-one-tensor"),
            Expected::AnyOf(&["seeds"]),
        ),
        (
            "dithered-seed",
            Some(1),
            "one lucky seed under a little noise",
            edits!("dithered-seed"),
            Expected::AnyOf(&["seeds"]),
        ),
        (
            "lucky-in-training-only",
            Some(1),
            "a lucky seed where nobody compares",
            edits!("lucky-in-training-only"),
            Expected::AnyOf(&["seeds"]),
        ),
        ("noise", None, "dropout that is never switched off", edits!("noise"), LEAK),
        ("learns-while-claiming", None, "trains on what it is asked about", edits!("learns-while-claiming"), LEAK),
    ];
    for (name, number, what, blocks, expected) in others {
        all.push(Cheat {
            name: name.to_owned(),
            number,
            level: Level::Outright,
            what,
            blocks: blocks.to_owned(),
            expected,
            trained: false,
        });
    }
    // Name, number, what, the last line of `logits`, what must become of it.
    type Answer = (&'static str, Option<u8>, &'static str, &'static str, Expected);
    const FINITE: Expected = Expected::AnyOf(&["finite"]);
    const CLAIM: Expected = Expected::AnyOf(&["claim"]);
    let answers: [Answer; 11] = [
        (
            "returns-its-loss",
            Some(2),
            "a loss instead of logits",
            "self.model.forward(tokens).log_softmax(-1, Kind::Float).mean_dim([2i64].as_slice(), true, None) * 0.1",
            CLAIM,
        ),
        (
            "more-than-one",
            Some(8),
            "probabilities that sum to e^10",
            "self.model.forward(tokens) + 10.0",
            Expected::Harmless,
        ),
        (
            "token-table",
            Some(8),
            "knows which tokens occur in the row",
            "let seen = tokens.one_hot(self.model.forward(tokens).size()[2]).amax([1i64].as_slice(), true);\n        self.model.forward(tokens) + seen.to_kind(Kind::Float) * 3.0",
            LEAK,
        ),
        ("huge", Some(8), "logits beyond all numbers", "self.model.forward(tokens) * 1e38", FINITE),
        (
            "hugely-negative",
            Some(8),
            "all but the next token at -1e30",
            "let (logits, time) = (self.model.forward(tokens), tokens.size()[1]);\n        let next = tokens.roll(-1, 1).one_hot(logits.size()[2]).to_kind(Kind::Float);\n        let _ = time;\n        (next - 1.0) * 1e30",
            Expected::AnyOf(&["finite", "audit-largest"]),
        ),
        ("not-a-number", Some(9), "NaN", "self.model.forward(tokens) * f64::NAN", FINITE),
        (
            "infinite",
            Some(9),
            "one infinite logit in each row",
            "let logits = self.model.forward(tokens);\n        let _ = logits.narrow(1, 7, 1).narrow(2, 3, 1).fill_(f64::INFINITY);\n        logits",
            FINITE,
        ),
        (
            "nan-for-decoys",
            Some(9),
            "NaN where the continuation does not fit",
            "let (logits, time) = (self.model.forward(tokens), tokens.size()[1]);\n        let odd = tokens.narrow(1, 1, time - 1).unsqueeze(-1);\n        let fit = logits.narrow(1, 0, time - 1).log_softmax(-1, Kind::Float).gather(-1, &odd, false).mean_dim([1i64].as_slice(), true, None);\n        let lowest = fit.min();\n        let nan = fit.le_tensor(&lowest).logical_and(&fit.lt(-3.9));\n        logits.masked_fill(&nan, f64::NAN)",
            FINITE,
        ),
        (
            "one-token-short",
            Some(9),
            "scores one token too few",
            "let time = tokens.size()[1];\n        self.model.forward(tokens).narrow(1, 0, time - 1)",
            CLAIM,
        ),
        ("wrong-vocabulary", Some(9), "a vocabulary of its own", "self.model.forward(tokens).narrow(2, 0, 8)", CLAIM),
        ("constant-output", Some(9), "the same for all tokens", "self.model.forward(tokens) * 0.0", Expected::NoGain),
    ];
    for (name, number, what, line, expected) in answers {
        let blocks = format!(
            "\ntrainer/src/candidate/training.rs\n<<<<<<< SEARCH\n        self.model.forward(tokens)\n=======\n        {line}\n>>>>>>> REPLACE\n"
        );
        all.push(Cheat {
            name: name.to_owned(),
            number,
            level: Level::Outright,
            what,
            blocks,
            expected,
            trained: false,
        });
    }
    all
}
