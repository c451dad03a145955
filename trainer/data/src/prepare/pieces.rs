//! Long documents -> pieces no longer than wanted.
//!
//! Packing crops a document to one row and drops its rest. Where documents are many times longer than the context
//! (files of source code, books), that would throw away nearly all text and keep only how they begin. So such documents
//! are cut before they are packed; which ones is said by [`Cutting`].
//!
//! Copies are found and splits are drawn by whole documents, so pieces of one document never lie on both sides. What a
//! document is, `read.rs` says: of a long text file that cannot be one, a run of at least 64 KiB is one, so the text on
//! the two sides of a split meets at the ends of such runs only.

use super::Options;

/// Which documents are cut, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutting {
    /// Pieces have at most so many bytes.
    limit: usize,
    /// Documents of at most so many bytes stay whole all the same.
    whole: usize,
}

impl Cutting {
    pub fn of(options: &Options) -> Cutting {
        Cutting { limit: options.max_piece_bytes.unwrap_or(usize::MAX).max(4), whole: options.whole_document_bytes }
    }
}

/// Cuts `text` into pieces of at most the wanted size, at the last blank line, line's end or space, in this order, that
/// does not make a piece shorter than half of it. Put together again they are the text.
pub(crate) fn pieces(text: &str, cutting: Cutting) -> Pieces<'_> {
    Pieces { rest: text, limit: if text.len() <= cutting.whole { usize::MAX } else { cutting.limit } }
}

/// See [`pieces`].
pub(crate) struct Pieces<'a> {
    rest: &'a str,
    limit: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = if self.rest.len() <= self.limit { self.rest.len() } else { cut(self.rest, self.limit) };
        let (piece, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(piece)
    }
}

fn cut(text: &str, limit: usize) -> usize {
    let window = &text[..text.floor_char_boundary(limit)];
    let last = |mark: &str| window.rfind(mark).map(|i| i + mark.len()).filter(|&end| end * 2 >= limit);
    last("\n\n").or_else(|| last("\n")).or_else(|| last(" ")).unwrap_or(window.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_prefer_blank_lines() {
        let cut = |text, limit| pieces(text, Cutting { limit, whole: 0 }).collect::<Vec<_>>();
        assert_eq!(cut("ab\n\ncd\nef gh", 8), ["ab\n\n", "cd\nef gh"]);
        assert_eq!(cut("abc\nef gh", 6), ["abc\n", "ef gh"]);
        assert_eq!(cut("abcd efgh", 6), ["abcd ", "efgh"]);
        assert_eq!(cut("abcdefgh", 6), ["abcdef", "gh"]);
        assert_eq!(cut("a\n\nbcdefgh", 8), ["a\n\nbcdef", "gh"], "a cut too early is passed over");
        let uncut = Cutting::of(&Options::new(300, 8));
        assert_eq!(pieces("any length", uncut).count(), 1);
        assert_eq!(pieces("", Cutting { limit: 9, whole: 0 }).count(), 0);
        let long_only = Cutting { limit: 4, whole: 8 };
        assert_eq!((pieces("abcdefgh", long_only).count(), pieces("abcdefghi", long_only).count()), (1, 3));
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(text in "(?s)(.|[a\n ]){0,200}", limit in 0usize..60) {
            let parts: Vec<&str> = pieces(&text, Cutting { limit: limit.max(4), whole: 0 }).collect();
            prop_assert_eq!(parts.concat(), text.as_str());
            prop_assert!(parts.iter().all(|p| !p.is_empty() && p.len() <= limit.max(4)));
        }
    }
}
