//! Finds the numbers of a recipe in its source text: the fields that the constructor of a scale sets to plain literals,
//! and those that the constructors it calls set (`Recipe::base(..)`).
//!
//! A small tokenizer, not a compiler: what it does not understand (arithmetic, strings, calls, negative numbers, literals
//! with a type) it leaves alone, and it never fails on any text.

use std::collections::HashSet;
use std::ops::Range;

use protocol::Scale;

/// One number of the recipe that a single literal decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// The field; elements of a tuple or an array are `field.0`, `field.1`, ...
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Whether the literal is an integer.
    pub integer: bool,
    /// The literal in the recipe's text, in bytes.
    pub span: Range<usize>,
}

/// The numbers that the recipe's constructor for `scale` sets; empty where there are none.
pub fn constants(text: &str, scale: Scale) -> Vec<Constant> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut hidden = HashSet::new();
    let mut visited = HashSet::new();
    let mut functions = vec![scale.name()];
    while let Some(name) = functions.pop() {
        if !visited.insert(name) {
            continue;
        }
        let body = body(&tokens, text, name);
        let fields = fields(body, text);
        found.extend(fields.iter().filter(|(field, _)| !hidden.contains(field)).flat_map(|(_, c)| c.clone()));
        // What a constructor sets itself hides what it builds on.
        hidden.extend(fields.into_iter().map(|(field, _)| field));
        functions.extend(calls(body, text));
    }
    found
}

/// The first line of a field's documentation in the recipe's struct, without its full stop; `None` where it has none.
pub(super) fn meaning(text: &str, field: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.iter().position(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'))
    })?;
    let first = lines[..declared].iter().rposition(|line| !line.starts_with("///")).map_or(0, |before| before + 1);
    let line = lines[first..declared].first()?.trim_start_matches('/').trim();
    let sentence = line.split_once(". ").map_or(line, |(sentence, _)| sentence);
    let short: String = sentence.trim_end_matches('.').chars().take(160).collect();
    (!short.is_empty()).then_some(short)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Word,
    Number,
    /// A string, a character or a lifetime: never looked into.
    Quoted,
    Sign(u8),
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Token {
    fn is(self, sign: u8) -> bool {
        self.kind == Kind::Sign(sign)
    }

    fn text(self, text: &str) -> &str {
        &text[self.start..self.end]
    }
}

/// Cuts source text into tokens; comments and space are dropped, characters outside ASCII too.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        let kind = match at(i) {
            b'/' if at(i + 1) == b'/' => {
                i = after(bytes, i, b"\n");
                continue;
            }
            b'/' if at(i + 1) == b'*' => {
                i = comment_end(bytes, i);
                continue;
            }
            b'r' if raw_string_hashes(bytes, i + 1).is_some() => {
                let hashes = raw_string_hashes(bytes, i + 1).unwrap_or(0);
                let closing = format!("\"{}", "#".repeat(hashes));
                i = after(bytes, i + hashes + 2, closing.as_bytes());
                Kind::Quoted
            }
            b'"' => {
                i = quoted_end(bytes, i + 1, b'"');
                Kind::Quoted
            }
            b'\'' if at(i + 1) == b'\\' || (at(i + 1) < 128 && at(i + 2) == b'\'') => {
                i = quoted_end(bytes, i + 1, b'\'');
                Kind::Quoted
            }
            b'\'' => {
                i += 1;
                while word(at(i)) {
                    i += 1;
                }
                Kind::Quoted
            }
            b'0'..=b'9' => {
                i = number_end(bytes, i);
                Kind::Number
            }
            b if word(b) => {
                while word(at(i)) {
                    i += 1;
                }
                Kind::Word
            }
            b => {
                i += 1;
                if b.is_ascii_whitespace() || !b.is_ascii() {
                    continue;
                }
                Kind::Sign(b)
            }
        };
        tokens.push(Token { kind, start, end: i });
    }
    tokens
}

/// Just after the first `closing` at or after `from`, or the end of the text.
fn after(bytes: &[u8], from: usize, closing: &[u8]) -> usize {
    let from = from.min(bytes.len());
    let found = bytes[from..].windows(closing.len()).position(|window| window == closing);
    found.map_or(bytes.len(), |offset| from + offset + closing.len())
}

/// Just after a block comment, which may hold others.
fn comment_end(bytes: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    while i < bytes.len() {
        match bytes.get(i..i + 2) {
            Some(b"/*") => (depth, i) = (depth + 1, i + 2),
            Some(b"*/") => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i.min(bytes.len())
}

/// How many `#` a raw string has whose `r` stands before `i`; `None` where none begins.
fn raw_string_hashes(bytes: &[u8], i: usize) -> Option<usize> {
    let hashes = bytes.get(i..)?.iter().take_while(|b| **b == b'#').count();
    (bytes.get(i + hashes) == Some(&b'"')).then_some(hashes)
}

/// Just after the closing quote, over escaped ones.
fn quoted_end(bytes: &[u8], mut i: usize, quote: u8) -> usize {
    while i < bytes.len() && bytes[i] != quote {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(bytes.len())
}

/// Just after a number with its fraction, exponent and type.
fn number_end(bytes: &[u8], mut i: usize) -> usize {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut fraction = false;
    loop {
        let b = at(i);
        let exponent_sign = matches!(b, b'+' | b'-') && matches!(at(i - 1), b'e' | b'E');
        // `1..2` is a range and `1.max(2)` a call; `1.` is a float.
        let dot =
            b == b'.' && !fraction && at(i + 1) != b'.' && !(at(i + 1).is_ascii_alphabetic() || at(i + 1) == b'_');
        if !(b.is_ascii_alphanumeric() || b == b'_' || dot || exponent_sign) {
            return i;
        }
        fraction |= dot;
        i += 1;
    }
}

/// The tokens between the braces of `fn name(..) .. { .. }`; empty where there is no such function.
fn body<'t>(tokens: &'t [Token], text: &str, name: &str) -> &'t [Token] {
    let header = tokens.windows(3).position(|w| w[0].text(text) == "fn" && w[1].text(text) == name && w[2].is(b'('));
    let Some(header) = header else { return &[] };
    let Some(open) = tokens[header..].iter().position(|token| token.is(b'{')).map(|offset| header + offset) else {
        return &[];
    };
    &tokens[open + 1..closing(tokens, open)]
}

/// Index of the bracket that closes the one at `open`, or the end.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign(b'{' | b'(' | b'[') => depth += 1,
            Kind::Sign(b'}' | b')' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// The `field: value` pairs in a function's body, with the numbers of those whose value is made of literals alone. A
/// field that is set twice (in different structs, say) is nobody's to change.
fn fields(body: &[Token], text: &str) -> Vec<(String, Vec<Constant>)> {
    let mut fields: Vec<(String, Vec<Constant>)> = Vec::new();
    for index in 0..body.len() {
        let path = |i: usize| body.get(i).is_some_and(|token| token.is(b':'));
        let after_separator = index > 0 && matches!(body[index - 1].kind, Kind::Sign(b'{' | b','));
        if body[index].kind != Kind::Word || !after_separator || !path(index + 1) || path(index + 2) {
            continue;
        }
        let field = body[index].text(text);
        let rest = &body[index + 2..];
        let end = value_end(rest);
        match fields.iter_mut().find(|(earlier, _)| earlier == field) {
            Some((_, numbers)) => numbers.clear(),
            None => fields.push((field.to_owned(), numbers(field, &rest[..end], text))),
        }
    }
    fields
}

/// Index of the comma or bracket that ends a value.
fn value_end(tokens: &[Token]) -> usize {
    let mut index = 0;
    while index < tokens.len() {
        match tokens[index].kind {
            Kind::Sign(b',' | b'}' | b')' | b']') => return index,
            Kind::Sign(b'{' | b'(' | b'[') => index = closing(tokens, index) + 1,
            _ => index += 1,
        }
    }
    tokens.len()
}

/// The numbers of a value that is one literal, or a tuple or an array of literals; else none.
fn numbers(field: &str, value: &[Token], text: &str) -> Vec<Constant> {
    let group = value.len() > 1;
    let plain = value.iter().enumerate().all(|(i, token)| match token.kind {
        Kind::Number => true,
        Kind::Sign(b',') => group,
        Kind::Sign(b'(' | b'[') => group && i == 0,
        Kind::Sign(b')' | b']') => group && i + 1 == value.len(),
        _ => false,
    });
    if !plain {
        return Vec::new();
    }
    let literals = value.iter().filter(|token| token.kind == Kind::Number).enumerate();
    let constants = literals.filter_map(|(i, token)| {
        let literal = token.text(text).replace('_', "");
        let integer = literal.bytes().all(|b| b.is_ascii_digit());
        let value: f64 = literal.parse().ok()?;
        let name = if group { format!("{field}.{i}") } else { field.to_owned() };
        value.is_finite().then_some(Constant { name, value, integer, span: token.start..token.end })
    });
    constants.collect()
}

/// The names of what the body calls, last first: a constructor may build on others, as in `Recipe::base(..)`.
fn calls<'a>(body: &[Token], text: &'a str) -> Vec<&'a str> {
    let calls = body.windows(2).filter(|w| w[0].kind == Kind::Word && w[1].is(b'('));
    calls.map(|w| w[0].text(text)).rev().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECIPE: &str = r##"
        /// All numbers.
        pub struct Recipe {
            /// Layers of the decoder. At least one.
            pub depth: i64,
            pub window: &'static str,
        }

        impl Recipe {
            pub fn cpu() -> Self {
                let unused = Other { twice: 1_000, twice: 2 };
                Self {
                    depth: 4, // not 5: depth: 6,
                    tokens_per_step: 4_096,
                    /* dim: 3, /* nested: 1, */ */
                    window: "depth: 7, {",
                    raw: r#"dim: 8, "}"#,
                    letter: '{', head_lr: 0.004 * 2.0,
                    betas: (0.8, 0.95),
                    ..Self::base()
                }
            }

            pub fn gpu() -> Self {
                Recipe::base(Shape { depth: 6 })
            }

            fn base() -> Self {
                Self { depth: 9, matrix_lr: 0.04, head_lr: 0.5, eps: 1e-10, softcap: 15., minus: -1.0, typed: 1.0f64, range: (0..4) }
            }
        }
    "##;

    fn seen(text: &str, scale: Scale) -> Vec<(String, f64, bool)> {
        constants(text, scale).into_iter().map(|c| (c.name, c.value, c.integer)).collect()
    }

    #[test]
    fn only_plain_literals_of_the_scale_and_its_base_are_found() {
        let expected = [
            ("depth", 4.0, true),
            ("tokens_per_step", 4096.0, true),
            ("betas.0", 0.8, false),
            ("betas.1", 0.95, false),
            ("matrix_lr", 0.04, false),
            ("eps", 1e-10, false),
            ("softcap", 15.0, false),
        ];
        assert_eq!(seen(RECIPE, Scale::Cpu), expected.map(|(n, v, i)| (n.to_owned(), v, i)));
        assert_eq!(seen(RECIPE, Scale::Gpu)[0], ("depth".to_owned(), 6.0, true));
        assert!(seen(RECIPE, Scale::H100).is_empty());
    }

    #[test]
    fn spans_are_the_literals() {
        for constant in constants(RECIPE, Scale::Cpu) {
            let literal = RECIPE[constant.span].replace('_', "");
            assert_eq!(literal.parse::<f64>().unwrap(), constant.value);
        }
    }

    #[test]
    fn a_field_is_explained_by_its_documentation() {
        assert_eq!(meaning(RECIPE, "depth").as_deref(), Some("Layers of the decoder"));
        assert_eq!(meaning(RECIPE, "window"), None);
        assert_eq!(meaning(RECIPE, "nothing"), None);
    }

    #[test]
    fn the_baseline_is_read_whole() {
        let files = crate::propose::fixture::baseline();
        let text = &files.iter().find(|file| file.path.ends_with("/recipe.rs")).unwrap().text;
        for scale in Scale::ALL {
            let found = seen(text, scale);
            let value = |name: &str| found.iter().find(|(n, _, _)| n == name).map(|(_, value, _)| *value);
            assert!(value("depth").is_some_and(|depth| depth >= 4.0), "{scale}");
            assert!(value("tokens_per_step").is_some(), "{scale}");
            assert_eq!(value("matrix_rate"), Some(0.04), "{scale}");
            assert!(found.len() > 35, "{scale}: only {} numbers found", found.len());
            assert!(meaning(text, "matrix_rate").is_some());
        }
    }

    #[test]
    fn constructors_that_build_on_each_other_end() {
        let text = "fn cpu() { R { a: 1, ..gpu() } } fn gpu() { R { b: 2, ..Self::cpu() } }";
        assert_eq!(seen(text, Scale::Cpu).len(), 2);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in "(fn cpu\\(\\) \\{|\\{|\\}|[a-z0-9_.:,'\"/*#()\\[\\] é\\\\\n-]|\\.\\.Self::base\\(\\)|fn base\\(\\)\\{){0,60}") {
            for constant in constants(&text, Scale::Cpu) {
                prop_assert!(text[constant.span].replace('_', "").parse::<f64>().is_ok());
            }
            meaning(&text, "a");
        }
    }
}
