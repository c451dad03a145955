//! Tests of [`super`].

use super::*;
use proptest::prelude::*;

/// What a reader sees of markup: tags gone, the three escapes that maud writes undone.
fn seen(markup: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in markup.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The classes of a text, as `k:let` and so on; what has none is left out.
fn told(markup: &str) -> Vec<String> {
    let spans = markup.split("<span class=\"").skip(1);
    spans
        .filter_map(|rest| {
            let (class, rest) = rest.split_once("\">")?;
            (class.len() == 1).then(|| seen(&format!("{class}:{}", rest.split("</span>").next().unwrap_or(""))))
        })
        .collect()
}

#[test]
fn lines_are_marked_by_sign_element_and_class() {
    let markup = diff("--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,2 @@\n-let a = 1;\n+let a = \"<b>\";\n same\n").into_string();
    let expected = [
        "<pre class=\"diff\" tabindex=\"0\" role=\"group\" aria-label=\"The change, as a diff\"><span class=\"line place\">--- a/x.rs</span>",
        "<span class=\"line place\">+++ b/x.rs</span>",
        "<span class=\"line place\">@@ -1,2 +1,2 @@</span>",
        "<del class=\"line removed\"><span class=\"sign\">-</span><span class=\"k\">let</span> a = <span class=\"n\">1</span>;</del>",
        "<ins class=\"line added\"><span class=\"sign\">+</span><span class=\"k\">let</span> a = <span class=\"s\">&quot;&lt;b&gt;&quot;</span>;</ins>",
        "<span class=\"line\"><span class=\"sign\"> </span>same</span></pre>",
    ];
    assert_eq!(markup.lines().collect::<Vec<&str>>(), expected);
}

#[test]
fn a_comment_or_string_over_lines_is_one_on_its_own_side() {
    let text =
        "--- a/x.rs\n+++ b/x.rs\n@@ -1,3 +1,4 @@\n let x = 1;\n+/* let y\n+   = 2; */\n-let s = \"one\n let z = 'a';\n";
    let markup = diff(text).into_string();
    let told = told(&markup);
    // The removed string swallows what follows on the old side; the line that did not change goes by the new one.
    let expected = ["k:let", "n:1", "c:/* let y", "c:   = 2; */", "k:let", "s:\"one", "k:let", "s:'a'"];
    assert_eq!(told, expected, "{markup}");
}

#[test]
fn a_fragment_that_begins_in_a_comment_shows_it() {
    let markup = diff("@@ -1,2 +1,2 @@\n the rest of it */ fn a() {}\n-fn b() {}\n+fn c() {}\n").into_string();
    assert_eq!(told(&markup), ["c:the rest of it */", "k:fn", "k:fn", "k:fn"], "{markup}");
}

#[test]
fn words_are_told_apart() {
    let markup =
        diff("+pub fn a<'x>(b: Tensor) -> bool { assert!(b != c); 1.0e-4 != 0x1f && r#\"r\"# == b'\\n' } // end\n");
    let expected =
        ["k:pub", "k:fn", "t:'x", "t:Tensor", "m:assert", "n:1.0e-4", "n:0x1f", "s:r#\"r\"#", "s:b'\\n'", "c:// end"];
    assert_eq!(told(&markup.into_string()), expected);
    assert_eq!(told(&diff("--- a/x.toml\n+++ b/x.toml\n@@ -0,0 +1 @@\n+let x = 1\n").into_string()), [""; 0]);
}

#[test]
fn a_removed_line_of_dashes_is_no_header() {
    let kinds = |text: &str| lines(text).map(|line| line.kind).collect::<Vec<Kind>>();
    use Kind::{Added, Place, Removed, Same};
    let text = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ fn\n--- a\n+++ b\n\n--- a/y\n\\ No newline at end of file\n(no diff)";
    assert_eq!(kinds(text), [Place, Place, Place, Removed, Added, Same, Place, Place, Same]);
    assert_eq!(kinds("@@ nonsense @@\n+a\n-b\n c"), [Place, Added, Removed, Same]);
    assert_eq!(counts("@@ -1 +2,0 @@"), Some((1, 0)));
    assert_eq!(counts("@@ -1,x +2,0 @@"), None);
}

#[test]
fn long_diffs_end() {
    let long = diff(&format!("{}\n", "x".repeat(9_000)).repeat(1_000)).into_string();
    assert!(long.len() < 80_000 && long.contains("… 800 more lines"), "{}", long.len());
    assert_eq!(diff_up_to("+a\n+b", 1).into_string().matches("<ins").count(), 1);
    assert_eq!(diff("").into_string(), "");
}

#[test]
fn every_colour_can_be_read_on_every_line() {
    let texts = ["ink", "place", "keyword", "type", "macro", "string", "number", "comment"];
    let texts = texts.map(|name| format!("diff-{name}"));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = crate::contrast::unreadable(DIFF_CSS, &texts, &["diff-shade", "diff-added", "diff-removed"]);
    assert!(found.is_empty(), "{found:?}");
}

/// Texts that look like diffs of Rust, and any others.
fn any_diff() -> impl Strategy<Value = String> {
    let code = prop_oneof![
        Just("let s = \"a".to_owned()),
        Just("/* x".to_owned()),
        Just("*/ 'a b'c' r#\"".to_owned()),
        Just("<script>&amp;\"'".to_owned()),
        "[ -~]{0,30}",
        "\\PC{0,20}",
    ];
    let sign = prop::sample::select(vec!["+", "-", " ", "", "@@ -1,4 +1,4 @@", "--- a/x.rs", "+++ b/x.rs", "\\"]);
    let line = (sign, code).prop_map(|(sign, code)| format!("{sign}{code}"));
    prop_oneof![
        prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n")),
        "(?s).{0,250}",
        prop::collection::vec(any::<char>(), 0..200).prop_map(|chars| chars.into_iter().collect::<String>()),
    ]
}

proptest! {
    #[test]
    fn any_text_gives_back_its_characters(text in any_diff()) {
        let shown: Vec<String> = text::clean_block(&text)
            .lines()
            .take(LINES)
            .map(|line| line.chars().take(COLUMNS).collect())
            .collect();
        prop_assert_eq!(seen(&diff(&text).into_string()), shown.join("\n"));
    }
}
