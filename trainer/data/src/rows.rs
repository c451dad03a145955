//! Held-out rows, made once when data is prepared.

use std::fs;
use std::path::Path;

use crate::{BOS, DataError};

/// Rows of context + 1 tokens: the first `context` are inputs, the last `context` the targets, one to the left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    tokens: Vec<u16>,
    row_tokens: usize,
}

impl Rows {
    /// Reads a file of rows. Refused unless it holds a whole number of rows, at least one, each starting with
    /// [`BOS`].
    pub fn open(path: &Path, context: usize) -> Result<Rows, DataError> {
        let bytes = fs::read(path).map_err(DataError::io("read", path))?;
        let row_tokens = context + 1;
        if bytes.is_empty() || !bytes.len().is_multiple_of(2 * row_tokens) {
            let reason =
                format!("its {} bytes are not a whole number of rows of {row_tokens} two-byte tokens", bytes.len());
            return Err(DataError::damaged(path, reason));
        }
        let tokens = bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        let rows = Rows { tokens, row_tokens };
        if let Some(i) = rows.iter().position(|row| row[0] != BOS) {
            return Err(DataError::damaged(path, format!("row {i} does not start with token {BOS}")));
        }
        Ok(rows)
    }

    /// Rows from memory; `None` unless `tokens` is a whole number of rows, at least one.
    pub fn from_tokens(tokens: Vec<u16>, context: usize) -> Option<Rows> {
        let row_tokens = context + 1;
        (!tokens.is_empty() && tokens.len().is_multiple_of(row_tokens)).then_some(Rows { tokens, row_tokens })
    }

    /// How many rows there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is always a row")]
    pub fn len(&self) -> usize {
        self.tokens.len() / self.row_tokens
    }

    /// Tokens a position can look back on; rows hold one more.
    pub fn context(&self) -> usize {
        self.row_tokens - 1
    }

    /// Row `i`, context + 1 tokens. Panics when `i` is not less than [`Rows::len`].
    pub fn row(&self, i: usize) -> &[u16] {
        &self.tokens[i * self.row_tokens..(i + 1) * self.row_tokens]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        self.tokens.chunks_exact(self.row_tokens)
    }

    /// All tokens, row after row: [rows, context + 1].
    pub fn tokens(&self) -> &[u16] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("search.rows");
        let write = |tokens: &[u16]| fs::write(&path, bytemuck::cast_slice::<u16, u8>(tokens)).unwrap();
        write(&[0, 1, 2, 0, 3, 4]);
        let rows = Rows::open(&path, 2).unwrap();
        assert_eq!((rows.len(), rows.context(), rows.row(1)), (2, 2, &[0u16, 3, 4][..]));
        assert_eq!(rows.iter().count(), 2);
        for (tokens, context, expected) in [
            (&[0u16, 1, 2, 0][..], 2, "8 bytes are not a whole number of rows of 3"),
            (&[][..], 2, "0 bytes"),
            (&[0, 1, 2, 3], 1, "row 1 does not start"),
        ] {
            write(tokens);
            let error = Rows::open(&path, context).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("search.rows"), "{error}");
        }
    }
}
