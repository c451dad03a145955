//! What becomes of answers, round by round, without anybody being asked.

use super::draft::{Draft, MOST_ROUNDS, Step};
use crate::flow::{Author, Brief, Proposal, SourceFile, Verdict};
use crate::propose::fixture::{baseline, brief, remember};

const LINES: &str =
    "Title: Raise the rate\nHypothesis: It is low.\nFamily: rates\nPredicted: -0.002\nConfidence: 0.4\n";
const RECIPE: &str = "trainer/src/candidate/recipe.rs";

fn author() -> Author {
    Author { proposer: "models".to_owned(), model: Some("m".to_owned()), cost_usd: 0.25 }
}

fn block(path: &str, search: &str, replace: &str) -> String {
    format!("{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n")
}

fn small() -> Brief {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let mut brief = brief(vec![file(RECIPE, "fn a() -> f64 {\n    0.5\n}\n\nfn b() -> f64 {\n    0.25\n}\n")]);
    brief.details.number = 3;
    brief
}

fn good() -> String {
    format!("{LINES}Edits: 1\n\n{}", block(RECIPE, "    0.5", "    0.75"))
}

fn done(step: Step) -> Proposal {
    match step {
        Step::Done(proposal) => *proposal,
        other => panic!("no proposal: {other:?}"),
    }
}

fn asked(step: Step) -> String {
    match step {
        Step::Ask(question) => question,
        other => panic!("nothing asked: {other:?}"),
    }
}

#[test]
fn a_good_answer_is_a_proposal() {
    let brief = small();
    let proposal = done(Draft::fresh(&brief, author(), None).take(&good()));
    assert_eq!((proposal.title.as_str(), proposal.family.as_str()), ("Raise the rate", "rates"));
    assert_eq!((proposal.predicted_effect, proposal.confidence, proposal.author), (Some(-0.002), Some(0.4), author()));
    assert_eq!((proposal.edits.len(), proposal.key.len()), (1, 16));
    // The person's idea keeps its name, whatever the model calls it.
    let named = done(Draft::fresh(&brief, author(), Some("queue-4".to_owned())).take(&good()));
    assert_eq!(named.key, "queue-4");
}

#[test]
fn only_the_blocks_that_do_not_fit_are_asked_again() {
    let brief = small();
    let mut draft = Draft::fresh(&brief, author(), None);
    let answer = format!("{LINES}\n{}{}", block(RECIPE, "    0.5", "    0.75"), block(RECIPE, "    0.26", "    0.3"));
    let question = asked(draft.take(&answer));
    assert!(question.contains("1 of your 2 blocks fit and are kept"), "{question}");
    assert!(
        question.contains("| block 2 of 2 (trainer/src/candidate/recipe.rs): the search text was not found"),
        "{question}"
    );
    assert!(question.contains("| -    0.26\n| +    0.25") && question.contains("Send only that block"), "{question}");
    let proposal = done(draft.take(&block(RECIPE, "    0.25", "    0.3")));
    let replaced: Vec<&str> = proposal.edits.iter().map(|edit| edit.replace.trim()).collect();
    assert_eq!(replaced, ["0.75", "0.3"]);
}

#[test]
fn several_blocks_are_taken_in_their_order_and_in_their_number_or_not_at_all() {
    let brief = small();
    let both = format!("{}{}", block(RECIPE, "    0.6", "    0.75"), block(RECIPE, "    0.26", "    0.3"));
    let mut draft = Draft::fresh(&brief, author(), None);
    asked(draft.take(&format!("{LINES}\n{both}")));
    let question = asked(draft.take(&block(RECIPE, "    0.5", "    0.75")));
    assert!(question.contains("2 blocks did not fit, and you sent 1"), "{question}");
    let mended = format!("{}{}", block(RECIPE, "    0.5", "    0.75"), block(RECIPE, "    0.25", "    0.3"));
    assert_eq!(done(draft.take(&mended)).edits.len(), 2);
    // Or the whole answer, anew.
    let mut draft = Draft::fresh(&brief, author(), None);
    asked(draft.take(&format!("{LINES}\n{both}")));
    assert_eq!(done(draft.take(&good())).edits.len(), 1);
}

#[test]
fn a_block_that_fitted_is_not_applied_twice_or_lost() {
    let brief = small();
    // Its search text still stands in the file when it has been applied.
    let adds = block(RECIPE, "fn a() -> f64 {", "fn a() -> f64 {\n    let _x = 1;");
    let misfit = block(RECIPE, "    0.26", "    0.3");
    let mended = block(RECIPE, "    0.25", "    0.3");
    let first = format!("{LINES}\n{adds}{misfit}");
    for again in [format!("{adds}{mended}"), format!("{mended}{adds}"), mended.clone()] {
        let mut draft = Draft::fresh(&brief, author(), None);
        asked(draft.take(&first));
        let replaced: Vec<String> = done(draft.take(&again)).edits.into_iter().map(|edit| edit.replace).collect();
        assert_eq!(replaced, ["fn a() -> f64 {\n    let _x = 1;\n", "    0.3\n"], "{again}");
    }
    // What is not understood is asked, and nothing of it is taken.
    let whole = format!("{RECIPE}\n<<<<<<< SEARCH\n=======\nfn a() -> f64 {{\n    0.75\n}}\n>>>>>>> REPLACE\n");
    let other = block(RECIPE, "fn a() -> f64 {", "fn a() -> f64 {\n    let _y = 2;");
    for (sent, words) in [
        (adds.clone(), "you sent 0 without lines, besides 1 that fitted"),
        (format!("{mended}{other}"), "Block 1 fits and is kept"),
        (format!("{mended}{}", block(RECIPE, "fn b()", "fn c()")), "1 block did not fit, and you sent 2 without lines"),
        (whole, "replaces the whole file and edit 1 of the same file is lost"),
    ] {
        let mut draft = Draft::fresh(&brief, author(), None);
        asked(draft.take(&first));
        let question = asked(draft.take(&sent));
        assert!(question.contains(words), "{question}\nshould say: {words}");
        assert_eq!(done(draft.take(&mended)).edits.len(), 2);
    }
    // A refused answer is sent whole again, not one block of it under the name of the whole.
    let mut draft = Draft::fresh(&brief, author(), None);
    let refused = block(RECIPE, "    0.25", "    (0.25");
    assert!(asked(draft.take(&format!("{LINES}\n{adds}{refused}"))).contains("the result is refused"));
    assert!(asked(draft.take(&mended)).contains("Your answer has 2 blocks, and you sent 1"));
    assert_eq!(done(draft.take(&format!("{adds}{mended}"))).edits.len(), 2);
}

/// Answers that are none, and words of what their author is told.
#[test]
fn what_is_no_answer_comes_back_with_the_reason() {
    let thought = format!("<think>{}</think>\nNo idea.", good());
    let cases = [
        (String::new(), "`Title:` is missing"),
        ("I cannot do that.".to_owned(), "no SEARCH/REPLACE block"),
        (thought, "`Title:` is missing"),
        (LINES.to_owned(), "no SEARCH/REPLACE block"),
        (
            format!("{LINES}Edits: 2\n\n{}", block(RECIPE, "    0.5", "    0.75")),
            "`Edits: 2` does not agree with the 1 blocks",
        ),
        (format!("{LINES}\n{}", block("Cargo.toml", "a", "b")), "this file may not be edited"),
        (format!("{LINES}\n{}", block(RECIPE, "    0.5", "    0.5 // x")), "the edits change nothing"),
        (
            format!("{LINES}\n{}", block(RECIPE, "    0.5", "    std::fs::read(\"x\").map_or(0.5, |_| 0.6)")),
            "is not allowed in a candidate",
        ),
        (format!("{LINES}\n{}", block(RECIPE, "    0.5", "    // ... rest ...")), "stands for code that is to stay"),
        (format!("{LINES}\n{}", block(RECIPE, "    0.5", "    (0.5")), "this is not Rust"),
    ];
    let brief = small();
    for (answer, words) in cases {
        let question = asked(Draft::fresh(&brief, author(), None).take(&answer));
        // The first case lacks blocks too; lines are told first.
        let told =
            question.contains(words) || (answer.is_empty() || answer.starts_with('I')) && question.contains("missing");
        assert!(told, "{answer:?}: {question}");
        // Nothing of it poses as ours.
        assert!(question.lines().all(|line| !line.starts_with("<<<<") && !line.starts_with("Title")), "{question}");
    }
}

#[test]
fn after_three_rounds_whole_files_are_asked_for_and_then_it_is_given_up() {
    let brief = small();
    let mut draft = Draft::fresh(&brief, author(), None);
    let bad = format!("{LINES}\n{}", block(RECIPE, "nowhere", "x"));
    for _ in 0..MOST_ROUNDS {
        assert!(!asked(draft.take(&bad)).contains("last try"));
    }
    assert!(asked(draft.take(&bad)).contains("This is the last try"));
    match draft.take(&bad) {
        Step::GiveUp(reason) => {
            assert!(reason.contains("3 rounds and a try with whole files: block 1 of 1"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // The reason does not end where the complaint only begins.
    let mut draft = Draft::fresh(&brief, author(), None);
    for _ in 0..=MOST_ROUNDS {
        asked(draft.take("Title: x\nno more"));
    }
    match draft.take("Title: x\nno more") {
        Step::GiveUp(reason) => assert!(!reason.ends_with(':'), "{reason}"),
        other => panic!("{other:?}"),
    }
    let mut draft = Draft::fresh(&brief, author(), None);
    for _ in 0..=MOST_ROUNDS {
        asked(draft.take(&bad));
    }
    let whole =
        format!("{LINES}\n{RECIPE}\n<<<<<<< SEARCH\n=======\nfn a() -> f64 {{\n    0.75\n}}\n>>>>>>> REPLACE\n");
    assert_eq!(done(draft.take(&whole)).edits[0].search, "");
}

#[test]
fn cut_off_answers_are_asked_again_shorter() {
    let brief = small();
    let mut draft = Draft::fresh(&brief, author(), None);
    let question = asked(draft.cut_off(800));
    assert!(question.contains("all 800 tokens") && question.contains("shorter"), "{question}");
    assert_eq!(done(draft.take(&good())).title, "Raise the rate");
}

#[test]
fn code_that_was_tried_is_not_proposed_again_and_an_idea_like_it_is_shown_once() {
    let mut brief = small();
    let first = done(Draft::fresh(&brief, author(), None).take(&good()));
    remember(&mut brief, first, Some(Verdict::Discarded), Some(0.003));
    let mut draft = Draft::fresh(&brief, author(), None);
    let question = asked(draft.take(&good()));
    assert!(question.contains("2026-03-08-k4/1 tried exactly this code (`Raise the rate`): discarded"), "{question}");
    // Another value of the same idea.
    let again = good().replace("0.75", "0.8");
    let question = asked(draft.take(&again));
    assert!(
        question.contains("looks like what was tried before") && question.contains("discarded, +0.0030"),
        "{question}"
    );
    assert_eq!(done(draft.take(&again)).title, "Raise the rate");
    // Another family is another idea.
    let other = again.replace("Family: rates", "Family: schedule");
    done(Draft::fresh(&brief, author(), None).take(&other));
}

/// A brief for the person's idea, and a draft of it.
fn of_the_queue(brief: &Brief) -> Draft<'_> {
    Draft::fresh(brief, author(), Some("queue-4".to_owned()))
}

#[test]
fn an_idea_that_has_a_name_is_not_replaced_by_another_under_it() {
    let mut brief = small();
    let first = done(Draft::fresh(&brief, author(), None).take(&good()));
    remember(&mut brief, first.clone(), Some(Verdict::Discarded), Some(0.003));
    brief.details.asked = Some(crate::flow::Wish { id: 4, words: "a higher rate".to_owned(), by: None });
    // What was tried ends as such: the night refuses it by its code.
    let tried = done(of_the_queue(&brief).take(&good()));
    assert_eq!((tried.key.as_str(), &tried.edits), ("queue-4", &first.edits));
    // What looks like something that was tried is shown, and stays what was asked for.
    let mut draft = of_the_queue(&brief);
    let again = good().replace("0.75", "0.8");
    let question = asked(draft.take(&again));
    assert!(question.contains("discarded, +0.0030") && question.contains("stays the one to test"), "{question}");
    assert!(!question.contains("another idea"), "{question}");
    // Blocks alone would be another idea's under this one's lines.
    assert!(asked(draft.take(&block(RECIPE, "    0.25", "    0.3"))).contains("`Title:` is missing"));
    assert_eq!(done(draft.take(&again)).key, "queue-4");
    // The same of a proposal that is mended into what was tried.
    brief.details.asked = None;
    let broken = done(Draft::fresh(&small(), author(), None).take(&good().replace("0.75", "1.5")));
    let mut draft = Draft::on_top_of(&brief, &broken, author()).unwrap();
    assert_eq!(done(draft.take(&block(RECIPE, "    1.5", "    0.75"))).key, broken.key);
}

#[test]
fn a_repair_goes_on_top_of_what_it_mends() {
    let brief = small();
    let first = done(Draft::fresh(&brief, author(), None).take(&good()));
    let mut draft = Draft::on_top_of(&brief, &first, author()).unwrap();
    assert!(draft.files()[0].text.contains("0.75"));
    // The old text is gone from the files.
    let question = asked(draft.take(&block(RECIPE, "    0.5", "    0.6")));
    assert!(question.contains("0 of your 1 blocks fit"), "{question}");
    let mended = done(draft.take(&block(RECIPE, "    0.75", "    0.75_f64")));
    assert_eq!((mended.edits.len(), mended.title.as_str(), &mended.key), (2, "Raise the rate", &first.key));
    assert_eq!(mended.edits[0], first.edits[0]);
    // A block whose lines are still there after it was applied is not applied twice, however it comes again.
    let inserts = block(RECIPE, "fn a() -> f64 {", "fn a() -> f64 {\n    let _x = 1;");
    let inserting = done(
        Draft::fresh(&brief, author(), None).take(&format!("{LINES}\n{inserts}{}", block(RECIPE, "    0.5", "    y"))),
    );
    let mends = block(RECIPE, "    y", "    0.75");
    for again in [format!("{inserts}{mends}"), format!("{LINES}\n{inserts}{mends}"), mends.clone()] {
        let mut draft = Draft::on_top_of(&brief, &inserting, author()).unwrap();
        let mended = done(draft.take(&again));
        let text = &crate::edit::apply(&brief.champion_files, &mended.edits).unwrap()[0].text;
        assert_eq!(text.matches("let _x").count(), 1, "{again}");
    }
    let mut draft = Draft::on_top_of(&brief, &inserting, author()).unwrap();
    assert!(asked(draft.take(&inserts)).contains("in the files already"));
    let another = block(RECIPE, "fn a() -> f64 {", "fn a() -> f64 {\n    let _y = 1;");
    assert!(asked(draft.take(&another)).contains("Quote the lines as they stand now"));
    // On a champion that has moved the old edits do not fit any more.
    let mut moved = small();
    moved.champion_files[0].text = "fn c() {}\n".to_owned();
    assert!(Draft::on_top_of(&moved, &first, author()).is_none());
}

#[test]
fn the_champion_of_the_repository_can_be_edited() {
    let brief = brief(baseline());
    let text = &brief.champion_files.iter().find(|file| file.path == RECIPE).unwrap().text;
    let line = text.lines().find(|line| line.contains("matrix_rate: 0.04,")).unwrap();
    let answer = format!("{LINES}\n{}", block(RECIPE, line, "            matrix_rate: 0.0413,"));
    done(Draft::fresh(&brief, author(), None).take(&answer));
}
