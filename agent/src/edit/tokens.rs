//! Rust text as a flat sequence of tokens, each with its place.
//!
//! Decides nothing: the digest and the policy ([`super::check`]) read what this makes.

use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};

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

/// Where something begins: line and character of the line, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The line.
    pub line: usize,
    /// The character.
    pub column: usize,
}

impl Spot {
    /// Where `span` begins; to be asked while its text is being [`read`].
    pub fn of(span: Span) -> Spot {
        let start = span.start();
        Spot { line: start.line, column: start.column + 1 }
    }
}

/// A token and the place where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub spot: Spot,
}

/// Reads `text` and hands `look` its token trees and, flat, its tokens. Comments are gone; documentation comments are
/// attributes. An error is a line and the lexer's words. Spans say their places only until `look` returns; `look` must not
/// read another text.
pub(super) fn read<T>(text: &str, look: impl FnOnce(TokenStream, Vec<Token>) -> T) -> Result<T, (usize, String)> {
    let result = match TokenStream::from_str(text) {
        Ok(stream) => Ok(look(stream.clone(), flatten(stream))),
        Err(error) => Err((error.span().start().line.max(1), error.to_string())),
    };
    // The crate keeps every text it has lexed for the sake of spans; a night lexes thousands and needs their places only here.
    proc_macro2::extra::invalidate_current_thread_spans();
    result
}

/// Cuts `text` into tokens, as [`read`] does.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, (usize, String)> {
    read(text, |_, tokens| tokens)
}

/// What follows a documentation comment, which the lexer gives as `#[doc = "..."]` or `#![doc = "..."]`.
pub(super) fn after_documentation(tokens: &[Token]) -> Option<&[Token]> {
    let is = |token: &Token, c: char| matches!(token.kind, Kind::Punct(found, _) if found == c);
    let [hash, rest @ ..] = tokens else { return None };
    let rest = match rest {
        [bang, rest @ ..] if is(bang, '!') => rest,
        rest => rest,
    };
    let [open, doc, equals, text, close, rest @ ..] = rest else { return None };
    let matches = is(hash, '#')
        && open.kind == Kind::Open('[')
        && doc.kind == Kind::Name("doc".to_owned())
        && is(equals, '=')
        && matches!(text.kind, Kind::Literal(_))
        && close.kind == Kind::Close(']');
    matches.then_some(rest)
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
                tokens.push(Token { kind: Kind::Open(left), spot: Spot::of(group.span_open()) });
                let close = Token { kind: Kind::Close(right), spot: Spot::of(group.span_close()) };
                open.push((group.stream().into_iter(), Some(close)));
            }
            Some(TokenTree::Ident(ident)) => {
                let name = ident.to_string();
                let kind = Kind::Name(name.strip_prefix("r#").unwrap_or(&name).to_owned());
                tokens.push(Token { kind, spot: Spot::of(ident.span()) });
            }
            Some(TokenTree::Punct(punct)) => {
                let kind = Kind::Punct(punct.as_char(), punct.spacing() == Spacing::Joint);
                tokens.push(Token { kind, spot: Spot::of(punct.span()) });
            }
            Some(TokenTree::Literal(literal)) => {
                let kind = Kind::Literal(literal.to_string());
                tokens.push(Token { kind, spot: Spot::of(literal.span()) });
            }
            None => tokens.extend(open.pop().and_then(|(_, close)| close)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_places() {
        let spots: Vec<_> =
            lex("ä b\n  (c)").unwrap().into_iter().map(|token| (token.spot.line, token.spot.column)).collect();
        assert_eq!(spots, [(1, 1), (1, 3), (2, 3), (2, 4), (2, 5)]);
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
        let text = format!("{}x{}", "(".repeat(30_000), ")".repeat(30_000));
        assert_eq!(lex(&text).unwrap().len(), 60_001);
    }
}
