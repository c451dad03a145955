//! A unified diff with the colours of Rust's syntax, for the morning page and the server's pages.
//!
//! Names of classes only, no colour: [`DIFF_CSS`] has those, for light and dark. What was added or removed is told three times: by the
//! sign that the diff has anyway, by the elements `ins` and `del`, and by the background. Old and new side of a hunk are each given to
//! the compiler's lexer as one text, so that a comment or a string over several lines is one; it takes any text, whole or not.
//!
//! | element and class | what |
//! |---|---|
//! | `pre.diff` | the whole; scrolls sideways, so it takes the focus |
//! | `ins.line.added`, `del.line.removed`, `span.line` | one line of the change, its sign in `span.sign` |
//! | `span.line.place` | headers of files and hunks |
//! | `.k` `.t` `.m` `.s` `.n` `.c` | keyword, type or lifetime, macro, string or character, number, comment |

use std::ops::Range;

use maud::{Markup, html};
use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

use crate::text::{self, counted};

/// Rules for what [`diff`] writes, with colours for light and dark of their own.
pub const DIFF_CSS: &str = include_str!("diff.css");

/// Lines of a diff that are shown, and characters of a line; the rest is for `git show`.
const LINES: usize = 200;
const COLUMNS: usize = 300;

/// A unified diff as markup: at most 200 lines of 300 characters, and how many more there are. Nothing of nothing. Whatever the text is,
/// its characters come back escaped and in their order, but for those that no line shows (control characters, and those that
/// reorder their neighbours).
pub fn diff(text: &str) -> Markup {
    diff_up_to(text, LINES)
}

/// As [`diff`], with another limit of lines.
pub fn diff_up_to(text: &str, most: usize) -> Markup {
    let text = text::clean_block(text);
    let lines: Vec<Line<'_>> = lines(&text).take(most).collect();
    let colours = colours(&lines);
    let more = text.lines().count().saturating_sub(lines.len());
    html! {
        @if !text.is_empty() {
            pre.diff tabindex="0" role="group" aria-label="The change, as a diff" {
                @for (i, (line, colours)) in lines.iter().zip(&colours).enumerate() {
                    @if i > 0 { "\n" }
                    @match line.kind {
                        Kind::Added => ins.line.added { (content(line, colours)) },
                        Kind::Removed => del.line.removed { (content(line, colours)) },
                        Kind::Same => span.line { (content(line, colours)) },
                        Kind::Place => span.line.place { (content(line, colours)) },
                    }
                }
                @if more > 0 { "\n" span.line.place { "… " (counted(more, "more line")) } }
            }
        }
    }
}

fn content(line: &Line<'_>, colours: &[(Range<usize>, Option<Class>)]) -> Markup {
    let body = line.body();
    let end = body.char_indices().nth(COLUMNS).map_or(body.len(), |(at, _)| at);
    let shown = colours.iter().filter(|(range, _)| range.start < end);
    let pieces = shown.filter_map(|(range, class)| Some((body.get(range.start..range.end.min(end))?, class)));
    html! {
        @if let Some(sign) = line.sign() { span.sign { (sign) } }
        @for (piece, class) in pieces {
            @if let Some(class) = class { span class=(class.name()) { (piece) } } @else { (piece) }
        }
        @if end < body.len() { "…" }
    }
}

/// What a line of a diff is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Removed,
    Same,
    /// Says where the change is.
    Place,
}

/// One line of a diff.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line<'a> {
    text: &'a str,
    kind: Kind,
    /// Counts hunks; `None` in a file in another language than Rust.
    hunk: Option<usize>,
}

impl<'a> Line<'a> {
    /// The first character, where it says what became of the line.
    fn sign(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Place => None,
            Kind::Added | Kind::Removed => self.text.get(..1),
            Kind::Same => self.text.get(..1).filter(|first| *first == " "),
        }
    }

    /// The line without its sign.
    fn body(&self) -> &'a str {
        self.sign().and_then(|sign| self.text.strip_prefix(sign)).unwrap_or(self.text)
    }
}

/// The lines of a diff. Within a hunk its header says how many lines follow, so that a removed line that begins with two dashes is not
/// taken for the name of a file; of what is no diff at all the first characters alone say what they can.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let (mut old, mut new) = (0usize, 0usize);
    let mut hunk = 0;
    let mut is_rust = true;
    text.lines().map(move |line| {
        let inside = old > 0 || new > 0;
        let kind = match line.as_bytes().first() {
            Some(b'+') if inside => Kind::Added,
            Some(b'-') if inside => Kind::Removed,
            Some(b'\\') => Kind::Place,
            Some(b' ') | None if inside => Kind::Same,
            _ => {
                (old, new) = (0, 0);
                if let Some(name) = line.strip_prefix("+++ ").or_else(|| line.strip_prefix("--- ")) {
                    // The new name decides, and comes second; of a deleted file it is none.
                    let name = name.split('\t').next().unwrap_or_default();
                    is_rust = name.ends_with(".rs") || (name == "/dev/null" && is_rust);
                    Kind::Place
                } else if line.starts_with("@@") {
                    hunk += 1;
                    (old, new) = counts(line).unwrap_or((0, 0));
                    Kind::Place
                } else {
                    outside(line)
                }
            }
        };
        if inside {
            old = old.saturating_sub(usize::from(matches!(kind, Kind::Removed | Kind::Same)));
            new = new.saturating_sub(usize::from(matches!(kind, Kind::Added | Kind::Same)));
        }
        Line { text: line, kind, hunk: is_rust.then_some(hunk) }
    })
}

/// A line that no hunk's header announced.
fn outside(line: &str) -> Kind {
    let of_git = ["diff ", "index ", "new file ", "deleted file ", "old mode ", "new mode ", "similarity ", "rename "];
    match line.as_bytes().first() {
        _ if of_git.iter().any(|word| line.starts_with(word)) => Kind::Place,
        Some(b'+') => Kind::Added,
        Some(b'-') => Kind::Removed,
        _ => Kind::Same,
    }
}

/// How many lines of the old and of the new side a hunk's header announces: `@@ -1,4 +1,5 @@`.
fn counts(header: &str) -> Option<(usize, usize)> {
    let mut words = header.split(' ').skip(1);
    let mut count = |sign| {
        let range = words.next()?.strip_prefix(sign)?;
        range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())
    };
    Some((count('-')?, count('+')?))
}

/// What a stretch of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Keyword,
    Type,
    Macro,
    String,
    Number,
    Comment,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::Keyword => "k",
            Class::Type => "t",
            Class::Macro => "m",
            Class::String => "s",
            Class::Number => "n",
            Class::Comment => "c",
        }
    }
}

/// For each line the pieces of its body. What did not change is shown as it is in the new side.
fn colours(lines: &[Line<'_>]) -> Vec<Vec<(Range<usize>, Option<Class>)>> {
    let mut colours: Vec<Vec<(Range<usize>, Option<Class>)>> =
        lines.iter().map(|line| vec![(0..line.body().len(), None)]).collect();
    let mut start = 0;
    for hunk in lines.chunk_by(|a, b| a.hunk == b.hunk) {
        if hunk.first().is_some_and(|line| line.hunk.is_some()) {
            for without in [Kind::Added, Kind::Removed] {
                let side = hunk.iter().enumerate().filter(|(_, line)| line.kind != without && line.kind != Kind::Place);
                let side: Vec<(usize, &str)> = side.map(|(i, line)| (start + i, line.body())).collect();
                for ((at, _), pieces) in side.iter().zip(pieces_by_line(&side)) {
                    colours[*at] = pieces;
                }
            }
        }
        start += hunk.len();
    }
    colours
}

/// The pieces of each line of one side of a hunk, lexed as one text.
fn pieces_by_line(side: &[(usize, &str)]) -> Vec<Vec<(Range<usize>, Option<Class>)>> {
    let text = side.iter().map(|(_, line)| *line).collect::<Vec<&str>>().join("\n");
    let pieces = pieces(&text);
    let mut next = 0;
    let mut start = 0;
    side.iter()
        .map(|(_, line)| {
            let end = start + line.len();
            let mut own = Vec::new();
            while let Some((range, class)) = pieces.get(next).filter(|(range, _)| range.start < end) {
                let (from, to) = (range.start.max(start), range.end.min(end));
                if from < to {
                    own.push((from - start..to - start, *class));
                }
                if range.end > end {
                    break;
                }
                next += 1;
            }
            start = end + 1;
            own
        })
        .collect()
}

/// A text in pieces, every character in exactly one. A text that begins within a block comment shows that by its end, which is
/// nothing else in Rust: all before it is comment.
fn pieces(text: &str) -> Vec<(Range<usize>, Option<Class>)> {
    let tokens = tokens(text);
    let closing = tokens
        .windows(2)
        .find(|pair| pair[0].0 == TokenKind::Star && pair[1].0 == TokenKind::Slash)
        .map(|pair| pair[1].1.end);
    let Some(closing) = closing else { return classified(text, &tokens, 0) };
    let mut pieces = vec![(0..closing, Some(Class::Comment))];
    pieces.extend(classified(text, &self::tokens(&text[closing..]), closing));
    pieces
}

fn tokens(text: &str) -> Vec<(TokenKind, Range<usize>)> {
    let mut at = 0;
    tokenize(text, FrontmatterAllowed::No)
        .map(|token| {
            let start = at;
            at += token.len as usize;
            (token.kind, start..at)
        })
        .collect()
}

/// The pieces that tokens make, neighbours of one class joined; the tokens are those of `text` from `offset` on.
fn classified(text: &str, tokens: &[(TokenKind, Range<usize>)], offset: usize) -> Vec<(Range<usize>, Option<Class>)> {
    let mut pieces: Vec<(Range<usize>, Option<Class>)> = Vec::new();
    for (i, (kind, range)) in tokens.iter().enumerate() {
        let range = range.start + offset..range.end + offset;
        let after = |by: usize| tokens.get(i + by).map(|(kind, _)| *kind);
        let class = match kind {
            TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => Some(Class::Comment),
            TokenKind::Lifetime { .. } | TokenKind::RawLifetime => Some(Class::Type),
            TokenKind::Literal { kind: LiteralKind::Int { .. } | LiteralKind::Float { .. }, .. } => Some(Class::Number),
            TokenKind::Literal { .. } => Some(Class::String),
            TokenKind::Ident => match &text[range.clone()] {
                word if KEYWORDS.contains(&word) => Some(Class::Keyword),
                _ if after(1) == Some(TokenKind::Bang) && after(2) != Some(TokenKind::Eq) => Some(Class::Macro),
                word if word.starts_with(char::is_uppercase) => Some(Class::Type),
                _ => None,
            },
            _ => None,
        };
        match pieces.last_mut() {
            Some((last, of)) if *of == class => last.end = range.end,
            _ => pieces.push((range, class)),
        }
    }
    pieces
}

const KEYWORDS: [&str; 40] = [
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern", "false", "fn",
    "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "self", "Self",
    "static", "struct", "super", "trait", "true", "type", "union", "unsafe", "use", "where", "while", "yield",
];

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
