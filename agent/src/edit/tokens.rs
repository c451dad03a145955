//! Rust text as a flat sequence of tokens, and the rules that can be decided on it.
//!
//! This is the cheap first wall: it refuses by name what no candidate needs, wherever it stands, comments and string literals
//! aside. It does not resolve names; the rules that need a syntax tree belong beside [`violations`], and the boundary for
//! what gets past both is the sandbox.

use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::error::Violation;

/// What a token is, with the text that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword, without `r#`.
    Name(String),
    /// One character; `true` where the next one follows it directly, as in `&&`.
    Punct(char, bool),
    /// A literal as written.
    Literal(String),
    /// `(`, `[` or `{`.
    Open(char),
    /// `)`, `]` or `}`.
    Close(char),
}

/// A token and the line on which it begins, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub line: usize,
}

impl Token {
    fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    fn is_punct(&self, wanted: char) -> bool {
        matches!(self.kind, Kind::Punct(c, _) if c == wanted)
    }
}

/// Cuts `text` into tokens. Comments are gone; documentation comments are attributes. An error is a line and the lexer's words.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let result = match TokenStream::from_str(text) {
        Ok(stream) => Ok(flatten(stream)),
        Err(error) => Err((error.span().start().line.max(1), error.to_string())),
    };
    // The crate keeps every text it has lexed for the sake of spans; a night lexes thousands and needs their lines only here.
    proc_macro2::extra::invalidate_current_thread_spans();
    result
}

/// Not by recursion: a file of nothing but brackets must not overflow the stack.
fn flatten(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut open: Vec<(proc_macro2::token_stream::IntoIter, Option<Token>)> = vec![(stream.into_iter(), None)];
    while let Some((trees, _)) = open.last_mut() {
        match trees.next() {
            Some(TokenTree::Group(group)) => {
                let (left, right) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Bracket => ('[', ']'),
                    Delimiter::Brace => ('{', '}'),
                    // Made by macros only; text has none.
                    Delimiter::None => (' ', ' '),
                };
                tokens.push(Token { kind: Kind::Open(left), line: group.span_open().start().line });
                let close = Token { kind: Kind::Close(right), line: group.span_close().start().line };
                open.push((group.stream().into_iter(), Some(close)));
            }
            Some(TokenTree::Ident(ident)) => {
                let name = ident.to_string();
                let kind = Kind::Name(name.strip_prefix("r#").unwrap_or(&name).to_owned());
                tokens.push(Token { kind, line: ident.span().start().line });
            }
            Some(TokenTree::Punct(punct)) => {
                let kind = Kind::Punct(punct.as_char(), punct.spacing() == Spacing::Joint);
                tokens.push(Token { kind, line: punct.span().start().line });
            }
            Some(TokenTree::Literal(literal)) => {
                let kind = Kind::Literal(literal.to_string());
                tokens.push(Token { kind, line: literal.span().start().line });
            }
            None => tokens.extend(open.pop().and_then(|(_, close)| close)),
        }
    }
    tokens
}

/// Names that are refused wherever they stand, whatever they mean there: an alias would get past any narrower rule.
const FORBIDDEN_NAMES: [(&str, &str); 7] = [
    ("include", "no-include"),
    ("include_str", "no-include"),
    ("include_bytes", "no-include"),
    ("env", "no-environment"),
    ("option_env", "no-environment"),
    ("unsafe", "no-unsafe"),
    ("extern", "no-extern"),
];

/// Modules of the standard library that are refused after `std::`.
const FORBIDDEN_MODULES: [(&str, &str); 4] =
    [("process", "no-process"), ("fs", "no-files"), ("net", "no-network"), ("os", "no-operating-system")];

/// Every place where `tokens` break a rule, in order.
pub(super) fn violations(path: &str, tokens: &[Token]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report =
        |rule, line, text: String| found.push(Violation { rule, path: path.to_owned(), line, found: text });
    for (i, token) in tokens.iter().enumerate() {
        let rest = &tokens[i + 1..];
        if let Some(name) = token.name() {
            if let Some((_, rule)) = FORBIDDEN_NAMES.iter().find(|(forbidden, _)| *forbidden == name) {
                report(rule, token.line, name.to_owned());
            }
            if name == "std" {
                for (rule, line, text) in standard_modules(rest) {
                    report(rule, line, text);
                }
            }
        }
        if token.is_punct('#') {
            let rest = if rest.first().is_some_and(|next| next.is_punct('!')) { &rest[1..] } else { rest };
            let attribute = bracketed(rest, '[');
            for pair in attribute.windows(2) {
                if pair[0].name() == Some("path") && pair[1].is_punct('=') {
                    report("no-path-attribute", pair[0].line, "#[path = ...]".to_owned());
                }
            }
        }
    }
    found
}

/// The tokens between an opening bracket at the start of `tokens` and its closing one; none if there is no such bracket.
fn bracketed(tokens: &[Token], bracket: char) -> &[Token] {
    if tokens.first().map(|token| &token.kind) != Some(&Kind::Open(bracket)) {
        return &[];
    }
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[1..i];
        }
    }
    &tokens[1..]
}

/// What follows `std`: forbidden modules, alone or in braces, and everything that would bring them in under another name.
fn standard_modules(rest: &[Token]) -> Vec<(&'static str, usize, String)> {
    let module = |token: &Token| {
        let name = token.name()?;
        let (_, rule) = FORBIDDEN_MODULES.iter().find(|(forbidden, _)| *forbidden == name)?;
        Some((*rule, token.line, format!("std::{name}")))
    };
    let renamed = |token: &Token, text: &str| ("no-renamed-std", token.line, text.to_owned());
    match rest {
        [colon, second, after, ..] if colon.is_punct(':') && second.is_punct(':') => match &after.kind {
            Kind::Name(_) => module(after).into_iter().collect(),
            Kind::Punct('*', _) => vec![renamed(after, "std::*")],
            Kind::Open('{') => {
                let inside = bracketed(&rest[2..], '{');
                let mut found: Vec<_> = inside.iter().filter_map(module).collect();
                found.extend(whole_std(inside).map(|token| renamed(token, "std::{self} or std::{*}")));
                found
            }
            _ => Vec::new(),
        },
        [as_, name, ..] if as_.name() == Some("as") && name.name().is_some() => vec![renamed(as_, "std as ...")],
        _ => Vec::new(),
    }
}

/// A `self` or `*` directly in the braces after `std::`, not in braces further in.
fn whole_std(inside: &[Token]) -> Option<&Token> {
    let mut depth = 0_usize;
    let mut starts = true;
    for token in inside {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth -= 1,
            _ if depth == 0 && starts && (token.name() == Some("self") || token.is_punct('*')) => return Some(token),
            _ => {}
        }
        starts = depth == 0 && token.is_punct(',');
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(text: &str) -> Vec<(&'static str, usize)> {
        violations("a.rs", &lex(text).unwrap()).into_iter().map(|v| (v.rule, v.line)).collect()
    }

    #[test]
    fn what_reaches_out_of_the_candidate_is_refused() {
        let cases = [
            ("const A: &str = include_str!(\"/etc/passwd\");", "no-include"),
            ("include /* here */ ! { \"x\" }", "no-include"),
            ("use core::include_bytes as harmless;", "no-include"),
            ("let a = env!(\"HOME\");", "no-environment"),
            ("let a = option_env ! [\"HOME\"];", "no-environment"),
            ("std::env::var(\"HOME\")", "no-environment"),
            ("fn f() { unsafe { *p } }", "no-unsafe"),
            ("#[unsafe(no_mangle)] fn f() {}", "no-unsafe"),
            ("extern \"C\" { fn f(); }", "no-extern"),
            ("extern crate alloc;", "no-extern"),
            ("#[path = \"/tmp/x.rs\"] mod x;", "no-path-attribute"),
            ("#![cfg_attr(all(), path = \"x.rs\")]", "no-path-attribute"),
            ("std::process::exit(0)", "no-process"),
            ("::std :: fs::read(p)", "no-files"),
            ("r#std::r#fs::read(p)", "no-files"),
            ("use std::{fmt, fs as f};", "no-files"),
            ("use std::{collections::{HashMap}, net::TcpStream};", "no-network"),
            ("use std::os::fd::AsFd;", "no-operating-system"),
            ("use std as s;", "no-renamed-std"),
            ("use std::*;", "no-renamed-std"),
            ("use std::{self as s};", "no-renamed-std"),
            ("use std::{fmt, *};", "no-renamed-std"),
        ];
        for (text, expected) in cases {
            let text = format!("// first line\n{text}");
            assert_eq!(rules(&text), [(expected, 2)], "{text}");
        }
    }

    #[test]
    fn ordinary_code_is_left_alone() {
        let text = r##"
            //! Needs no unsafe code and does not include!() anything from std::fs.
            use std::collections::{HashMap, hash_map::{self, Entry}};
            use std::fmt::{self, *};
            /// An environment of its own.
            #[derive(Debug)]
            struct Path { path: f64, process: f64, net: f64, fs: &'static str }
            fn normal(std: f64, net: &Path) -> f64 { let path = "include!(unsafe)"; std * net.process * net.path + x.std(true) as f64 }
            const TEXT: &str = r#"#[path = "x"] unsafe { std::process::exit(1) }"#;
        "##;
        assert_eq!(rules(text), []);
    }

    #[test]
    fn damage_has_a_line() {
        for (text, line) in [("fn a() {\n", 1), ("a\nb)\n", 2), ("a\n\"open", 2), ("/* open", 1), ("a\n'", 2)] {
            assert_eq!(lex(text).unwrap_err().0, line, "{text:?}");
        }
        assert_eq!(lex(&"(".repeat(60_000)).unwrap_err().0, 1);
    }

    #[test]
    fn brackets_as_deep_as_a_file_allows_do_not_overflow() {
        let text = format!("{}unsafe{}", "(".repeat(30_000), ")".repeat(30_000));
        assert_eq!(rules(&text), [("no-unsafe", 1)]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|(\\(|\\{|\\[|\\]|\\}|\\)|#|!|std|::|:|self|\\*|,| |as|fs|path|=|'|\"|/\\*|1|_|r|ä){0,30}") {
            if let Ok(tokens) = lex(&text) {
                let _ = violations("a.rs", &tokens);
            }
        }
    }
}
