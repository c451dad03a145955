//! What is asked of `prepare`.

use std::collections::BTreeMap;
use std::thread;

use serde::{Deserialize, Serialize};

use super::read::RUN_BYTES;
use super::tokenizer::{GREATEST_VOCABULARY, LEAST_VOCABULARY};
use super::{PrepareError, Source};

/// However long the context: the runs of long text files begin anywhere, so they are always cut.
const LONGEST_WHOLE_BYTES: usize = RUN_BYTES - 1;

/// What to make of a source. Everything but `threads` decides the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Tokens in the vocabulary, BOS included: [`LEAST_VOCABULARY`] to [`GREATEST_VOCABULARY`].
    pub vocabulary: usize,
    /// Tokens a position can look back on; rows hold one more.
    pub context: usize,
    /// Held-out rows that steer the search.
    pub search_rows: usize,
    /// Held-out rows for the morning.
    pub sealed_rows: usize,
    /// At most about so much text to train on (whole documents until it is reached); `None`: all there is.
    pub max_train_bytes: Option<u64>,
    /// Longer documents are cut into pieces of at most so many bytes before they are packed; `None`: not cut, and all
    /// that goes beyond a row is dropped, as in the ancestor. See [`Options::new`] and [`Options::for_source`].
    pub max_piece_bytes: Option<usize>,
    /// Documents of at most so many bytes are not cut all the same.
    pub whole_document_bytes: usize,
    /// About so much of the training text trains the tokenizer.
    pub tokenizer_bytes: u64,
    /// Threads; `None`: as many as there are processors.
    #[serde(skip)]
    pub threads: Option<usize>,
}

impl Options {
    /// 512 search rows and 512 sealed rows, all text, documents not cut, and a tokenizer trained on 64 MiB.
    pub fn new(vocabulary: usize, context: usize) -> Options {
        Options {
            vocabulary,
            context,
            search_rows: 512,
            sealed_rows: 512,
            max_train_bytes: None,
            max_piece_bytes: None,
            whole_document_bytes: 0,
            tokenizer_bytes: 64 << 20,
            threads: None,
        }
    }

    /// The same, but long documents are cut into pieces of three bytes for each token of the context, about a row each:
    /// uncut a row would show how they begin and nothing else. Files of source code are cut whenever they are longer
    /// than that. Other documents stay whole up to eight such pieces, so that those of web data sets are packed as in
    /// the ancestor; books, logs and the runs of long text files (`read.rs`) are longer and are cut.
    pub fn for_source(source: &Source, vocabulary: usize, context: usize) -> Options {
        let piece = 3 * context;
        let whole_document_bytes = if source.is_code() { 0 } else { (8 * piece).min(LONGEST_WHOLE_BYTES) };
        Options { max_piece_bytes: Some(piece), whole_document_bytes, ..Options::new(vocabulary, context) }
    }

    /// Cuts every document that is longer than `bytes` into pieces of at most that size.
    pub fn cut_at(self, bytes: usize) -> Options {
        Options { max_piece_bytes: Some(bytes), whole_document_bytes: 0, ..self }
    }

    /// Tokens in a row.
    pub(crate) fn row_tokens(&self) -> usize {
        self.context + 1
    }

    pub(crate) fn check(&self) -> Result<(), PrepareError> {
        let wrong = |reason: String| Err(PrepareError::Options(reason));
        if !(LEAST_VOCABULARY..=GREATEST_VOCABULARY).contains(&self.vocabulary) {
            let (least, asked) = (LEAST_VOCABULARY, self.vocabulary);
            return wrong(format!(
                "a vocabulary has {least} to {GREATEST_VOCABULARY} tokens, and {asked} were asked for"
            ));
        }
        if self.context == 0 || self.context > 1 << 20 {
            return wrong(format!("a context has 1 to {} tokens, and {} were asked for", 1 << 20, self.context));
        }
        if self.search_rows == 0 || self.sealed_rows == 0 {
            return wrong("at least one search row and one sealed row are needed".into());
        }
        if self.max_piece_bytes.is_some_and(|bytes| bytes < 16) {
            return wrong("pieces of documents must be allowed at least 16 bytes".into());
        }
        if self.tokenizer_bytes == 0 || self.max_train_bytes == Some(0) {
            return wrong("the limits on training text and on the tokenizer's sample must be above 0 bytes".into());
        }
        Ok(())
    }

    pub(crate) fn threads(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, |n| n.get());
        self.threads.unwrap_or_else(processors).max(1)
    }

    pub(crate) fn as_map(&self) -> BTreeMap<String, serde_json::Value> {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.as_object().map(|map| map.clone().into_iter().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Options::new(2_048, 256);
        good.check().unwrap();
        for (bad, expected) in [
            (Options { vocabulary: 256, ..good.clone() }, "257 to 65536 tokens, and 256"),
            (Options { vocabulary: 65_537, ..good.clone() }, "65537"),
            (Options { context: 0, ..good.clone() }, "context"),
            (Options { search_rows: 0, ..good.clone() }, "search row"),
            (Options { max_piece_bytes: Some(3), ..good.clone() }, "16 bytes"),
            (Options { max_train_bytes: Some(0), ..good.clone() }, "above 0"),
        ] {
            assert!(bad.check().unwrap_err().to_string().contains(expected), "{bad:?}");
        }
    }
}
