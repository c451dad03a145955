//! Text -> words, the units inside which byte pairs are merged.
//!
//! The pattern is of GPT-4's kind, with numbers in groups of two as in nanochat. It is scanned by hand: in one pass,
//! for any text. The library's regular expressions take several seconds longer for the embedded corpus, and one that
//! gives up on a hostile text silently returns the rest as one word. [`PATTERN`] says the same as a regular expression,
//! for `tokenizer.json`; a test holds the two together.

/// The same pattern for other programs that read `tokenizer.json`.
pub(crate) const PATTERN: &str = concat!(
    r"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])",
    r"|[^\r\n\p{Alphabetic}\p{N}]?\p{Alphabetic}+",
    r"|\p{N}{1,2}",
    r"| ?[^\s\p{Alphabetic}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

/// Cuts `text` into words, which put together again are the text.
pub(crate) fn words(text: &str) -> Words<'_> {
    Words { rest: text }
}

/// See [`words`].
pub(crate) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (word, rest) = self.rest.split_at(first_word(self.rest)?);
        self.rest = rest;
        Some(word)
    }
}

fn is_newline(c: char) -> bool {
    c == '\r' || c == '\n'
}

/// Neither letter nor number nor white space.
fn is_mark(c: char) -> bool {
    !c.is_alphabetic() && !c.is_numeric() && !c.is_whitespace()
}

/// Bytes at the start of `text` whose characters all satisfy `test`.
fn run(text: &str, test: impl Fn(char) -> bool) -> usize {
    text.find(|c| !test(c)).unwrap_or(text.len())
}

/// Bytes of the first word; `None` at the end.
fn first_word(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first == '\''
        && let Some(length) = contraction(text.as_bytes())
    {
        return Some(length);
    }
    if first.is_alphabetic() {
        return Some(run(text, char::is_alphabetic));
    }
    if first.is_numeric() {
        let second = text[first.len_utf8()..].chars().next().filter(|c| c.is_numeric());
        return Some(first.len_utf8() + second.map_or(0, char::len_utf8));
    }
    let after = first.len_utf8();
    if !is_newline(first) {
        let letters = run(&text[after..], char::is_alphabetic);
        if letters > 0 {
            return Some(after + letters);
        }
    }
    let marks_from = if first == ' ' { after } else { 0 };
    let marks = run(&text[marks_from..], is_mark);
    if marks > 0 {
        let end = marks_from + marks;
        return Some(end + run(&text[end..], is_newline));
    }
    Some(white_space(text))
}

/// Bytes of an English ending such as 's or 'LL.
fn contraction(text: &[u8]) -> Option<usize> {
    let second = text.get(1)?.to_ascii_lowercase();
    let third = text.get(2).map(u8::to_ascii_lowercase);
    match (second, third) {
        (b's' | b'd' | b'm' | b't', _) => Some(2),
        (b'l', Some(b'l')) | (b'v' | b'r', Some(b'e')) => Some(3),
        _ => None,
    }
}

/// White space up to its last newline; without one, all but the last character, which goes with what follows.
fn white_space(text: &str) -> usize {
    let all = run(text, char::is_whitespace);
    if let Some(newline) = text[..all].rfind(is_newline) {
        return newline + 1;
    }
    if all == text.len() {
        return all;
    }
    let last = text[..all].chars().next_back().map_or(0, char::len_utf8);
    if all > last { all - last } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

    /// What the library makes of [`PATTERN`].
    fn by_regex(text: &str) -> Vec<String> {
        let pattern = SplitPattern::Regex(PATTERN.into());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
        let mut string = PreTokenizedString::from(text);
        split.pre_tokenize(&mut string).unwrap();
        let splits = string.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(word, _, _)| word.to_string()).collect()
    }

    #[test]
    fn words_are_as_expected() {
        let cut = |text| words(text).collect::<Vec<_>>();
        assert_eq!(cut("def f(x):\n    return 1234"), ["def", " f", "(x", "):\n", "   ", " return", " ", "12", "34"]);
        assert_eq!(cut("It's we'LL 'x don't"), ["It", "'s", " we", "'LL", " '", "x", " don", "'t"]);
        assert_eq!(cut("a \n\n  b  "), ["a", " \n\n", " ", " b", "  "]);
        assert_eq!(cut("\t\tx = {};\r\n\r\ny"), ["\t", "\tx", " =", " {};\r\n\r\n", "y"]);
        assert_eq!(cut(""), [""; 0]);
        let long = " ".repeat(3_000_000) + "x";
        assert_eq!(words(&long).map(str::len).collect::<Vec<_>>(), [2_999_999, 2], "no limit and no stack");
    }

    /// Characters of every class, from blocks that are old enough to be the same in everybody's Unicode tables.
    const ANY: &str = concat!(
        r"[ -~\r\n\t\x{85}\x{A0}-\x{24F}\x{300}-\x{36F}\x{391}-\x{3A1}\x{410}-\x{44F}\x{5D0}-\x{5EA}\x{966}-\x{96F}",
        r"\x{E01}-\x{E3A}\x{2000}-\x{206F}\x{2150}-\x{2188}\x{2460}-\x{24FF}\x{3000}-\x{3029}\x{4E00}-\x{4EFF}",
        r"\x{1F600}-\x{1F64F}\x{20000}-\x{20FFF}]",
    );

    proptest! {
        #[test]
        fn the_pattern_says_the_same(
            text in format!("({ANY}|'[a-zA-Z]{{1,3}}|[ \r\n\t]{{1,4}}|[0-9]{{1,5}}|[a-z]{{1,4}}){{0,80}}").as_str()
        ) {
            let ours: Vec<String> = words(&text).map(String::from).collect();
            prop_assert_eq!(ours.concat(), text.as_str());
            prop_assert_eq!(ours, by_regex(&text));
        }

        #[test]
        fn words_are_the_text(text in "(?s).{0,100}") {
            prop_assert_eq!(words(&text).collect::<String>(), text);
        }
    }
}
