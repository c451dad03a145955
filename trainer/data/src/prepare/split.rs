//! Which document goes where: decided by the hash of its text, so that neither the order of files nor a run of similar
//! files has a say, and copies cannot end up on both sides.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::pieces::{Cutting, pieces};
use super::{Options, PrepareError};

/// More bytes of text than a token stands for, on average, in any text worth training on. Held-out text is set aside
/// before there is a tokenizer to count with, so this errs on the safe side.
const BYTES_PER_TOKEN: u64 = 6;

/// Packing drops less than a row for each row it makes, so twice the rows' tokens are always enough.
const PACKING_RESERVE: u64 = 2;

/// A long document counts for at most so many held-out rows, so that they are of many documents and not of a few ...
const ROWS_PER_DOCUMENT: u64 = 8;

/// ... or for more, where otherwise more than one document of so many would have to be held out.
const HELD_OUT_PART: u64 = 4;

/// Where a document goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// No text in it.
    Empty,
    /// A copy of an earlier document.
    Duplicate,
    /// Beyond the limit on training text.
    Unused,
    /// Held out, steers the search.
    Search,
    /// Held out for the morning.
    Sealed,
    /// Trained on, and the tokenizer is trained on it too.
    TrainSample,
    /// Trained on.
    Train,
}

/// A document that was seen first with this text.
struct Unique {
    /// Half of the text's SHA-256; also the key of the order in which documents are dealt out.
    hash: [u8; 16],
    ordinal: u32,
    bytes: u64,
    /// At most so many tokens of it can get into rows, by the estimate above.
    usable_tokens: u64,
}

/// Takes note of every document in turn and then deals them out.
pub(crate) struct Survey<'a> {
    options: &'a Options,
    seen: HashSet<[u8; 16]>,
    unique: Vec<Unique>,
    parts: Vec<Part>,
}

impl<'a> Survey<'a> {
    pub fn new(options: &'a Options) -> Survey<'a> {
        Survey { options, seen: HashSet::new(), unique: Vec::new(), parts: Vec::new() }
    }

    /// Notes the next document.
    pub fn add(&mut self, text: &str) {
        if text.trim().is_empty() {
            self.parts.push(Part::Empty);
            return;
        }
        let digest = Sha256::digest(text.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        if !self.seen.insert(hash) {
            self.parts.push(Part::Duplicate);
            return;
        }
        let row_tokens = self.options.row_tokens() as u64;
        let usable = |piece: &str| (1 + piece.len() as u64 / BYTES_PER_TOKEN).min(row_tokens);
        let usable_tokens: u64 = pieces(text, Cutting::of(self.options)).map(usable).sum();
        self.unique.push(Unique { hash, ordinal: self.parts.len() as u32, bytes: text.len() as u64, usable_tokens });
        self.parts.push(Part::Unused);
    }

    /// Deals the documents out in the order of their hashes: search, sealed, then train up to its limit. At most half
    /// of the text may be held out.
    pub fn deal(self, corpus: &str) -> Result<Vec<Part>, PrepareError> {
        let Survey { options, mut unique, mut parts, .. } = self;
        unique.sort_unstable_by_key(|document| document.hash);
        let documents = unique.len() as u64;
        let bytes: u64 = unique.iter().map(|document| document.bytes).sum();
        let wanted = |rows: usize| (rows * options.row_tokens()) as u64 * PACKING_RESERVE;
        let (search, sealed) = (wanted(options.search_rows), wanted(options.sealed_rows));
        let row_tokens = options.row_tokens() as u64;
        let rows = (search + sealed).div_ceil(row_tokens);
        let most = (HELD_OUT_PART * rows).div_ceil(documents.max(1)).max(ROWS_PER_DOCUMENT) * row_tokens;
        let usable = |document: &Unique| document.usable_tokens.min(most);
        let all_usable: u64 = unique.iter().map(usable).sum();
        // So many like these would do, as at most half may be held out; without any to look at, one is taken for a row.
        let needed_documents = match all_usable {
            0 => 2 * rows,
            _ => (u128::from(2 * (search + sealed)) * u128::from(documents)).div_ceil(u128::from(all_usable)) as u64,
        };
        let too_small = || PrepareError::TooSmall {
            corpus: corpus.to_string(),
            documents,
            needed_documents: needed_documents.max(documents + 1),
            bytes,
            search: options.search_rows,
            sealed: options.sealed_rows,
            row_tokens: options.row_tokens(),
            needed: 2 * (search + sealed) * BYTES_PER_TOKEN,
        };
        let mut dealt = unique.iter();
        let mut held_out_bytes = 0;
        for (part, wanted) in [(Part::Search, search), (Part::Sealed, sealed)] {
            let mut tokens = 0;
            while tokens < wanted {
                let document = dealt.next().ok_or_else(too_small)?;
                tokens += usable(document);
                held_out_bytes += document.bytes;
                parts[document.ordinal as usize] = part;
            }
        }
        if held_out_bytes * 2 > bytes {
            return Err(too_small());
        }
        let limit = options.max_train_bytes.unwrap_or(u64::MAX);
        let mut train_bytes = 0;
        for document in dealt {
            if train_bytes >= limit {
                break;
            }
            let in_sample = train_bytes < options.tokenizer_bytes;
            parts[document.ordinal as usize] = if in_sample { Part::TrainSample } else { Part::Train };
            train_bytes += document.bytes;
        }
        if train_bytes == 0 { Err(too_small()) } else { Ok(parts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(rows: usize) -> Options {
        Options { search_rows: rows, sealed_rows: rows, ..Options::new(300, 8) }
    }

    fn deal(texts: &[String], options: &Options) -> Result<Vec<Part>, PrepareError> {
        let mut survey = Survey::new(options);
        texts.iter().for_each(|text| survey.add(text));
        survey.deal("texts")
    }

    fn texts(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("document {i} has some words of its own")).collect()
    }

    #[test]
    fn a_document_stays_where_it_is_whatever_the_order() {
        let mut texts = texts(400);
        let parts = deal(&texts, &options(10)).unwrap();
        texts.reverse();
        let mut reversed = deal(&texts, &options(10)).unwrap();
        reversed.reverse();
        assert_eq!(parts, reversed);
        for part in [Part::Search, Part::Sealed, Part::TrainSample] {
            assert!(parts.iter().filter(|&&p| p == part).count() > 10, "{part:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let limited = Options { max_train_bytes: Some(2_000), tokenizer_bytes: 1_000, ..options(10) };
        let texts = texts(400);
        let parts = deal(&texts, &limited).unwrap();
        let bytes = |part| parts.iter().zip(&texts).filter(|p| *p.0 == part).map(|p| p.1.len()).sum::<usize>();
        assert!((1_000..1_050).contains(&bytes(Part::TrainSample)), "{}", bytes(Part::TrainSample));
        assert!((2_000..2_050).contains(&(bytes(Part::TrainSample) + bytes(Part::Train))));
        assert!(bytes(Part::Unused) > 1_000);
    }

    #[test]
    fn too_little_text_says_how_much_there_is() {
        for (texts, options) in [(texts(30), options(10)), (vec![], options(1)), (texts(1), options(1))] {
            let error = deal(&texts, &options).unwrap_err().to_string();
            let expected = format!("{} documents with {} bytes", texts.len(), texts.concat().len());
            assert!(error.contains(&expected) && error.contains("need about"), "{error}");
        }
        // Each is 7 tokens by the estimate; 40 rows of 9 tokens and as much again take 103 of them.
        let error = deal(&texts(30), &options(10)).unwrap_err().to_string();
        assert!(error.contains("need about 103 documents of this length (about 4320 bytes)"), "{error}");
        let error = deal(&texts(1), &options(1)).unwrap_err().to_string();
        assert!(error.contains("1 documents") && !error.contains("about 1 documents"), "{error}");
    }

    #[test]
    fn few_long_documents_give_more_rows_each() {
        let texts: Vec<String> = (0..20).map(|i| format!("line {i} of a book\n").repeat(200)).collect();
        let options = Options { search_rows: 60, sealed_rows: 60, ..options(1).cut_at(24) };
        let parts = deal(&texts, &options).unwrap();
        let count = |part| parts.iter().filter(|&&p| p == part).count();
        // 240 rows with the reserve: 8 of each document would take 30 documents.
        assert!((2..=3).contains(&count(Part::Search)) && (2..=3).contains(&count(Part::Sealed)), "{parts:?}");
        assert!(count(Part::TrainSample) >= 14, "{parts:?}");
        let error = deal(&texts, &Options { max_piece_bytes: None, ..options }).unwrap_err().to_string();
        assert!(error.contains("it has 20 documents"), "uncut, each gives one row: {error}");
    }

    proptest! {
        #[test]
        fn copies_are_never_on_both_sides(picks in prop::collection::vec(0usize..150, 300..500)) {
            let texts: Vec<String> = picks.iter().map(|i| format!("text number {i} with a few words")).collect();
            let parts = deal(&texts, &options(4)).unwrap();
            let mut first_seen = HashSet::new();
            for (text, part) in texts.iter().zip(parts) {
                prop_assert_eq!(part == Part::Duplicate, !first_seen.insert(text));
            }
        }
    }
}
