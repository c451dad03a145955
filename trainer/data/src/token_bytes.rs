//! How many bytes of text each token stands for. Nats per token divided by these is what bits per byte are made of.

use std::fs;
use std::path::Path;

use crate::{BOS, DataError, Rows};

/// Bytes of text per token id; 0 for special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBytes {
    bytes: Vec<u16>,
}

impl TokenBytes {
    /// Reads `token_bytes.bin`: one u16 LE for each token id of a vocabulary of the given size.
    pub fn open(path: &Path, vocabulary: usize) -> Result<TokenBytes, DataError> {
        let content = fs::read(path).map_err(DataError::io("read", path))?;
        if content.len() != 2 * vocabulary {
            let reason = format!("it has {} bytes, not 2 for each of {vocabulary} tokens", content.len());
            return Err(DataError::damaged(path, reason));
        }
        let bytes: Vec<u16> = content.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        if bytes.first() != Some(&0) {
            return Err(DataError::damaged(path, format!("token {BOS} must stand for no bytes")));
        }
        if let Some(i) = bytes.iter().skip(1).position(|&n| n == 0) {
            return Err(DataError::damaged(path, format!("token {} stands for no bytes and is not special", i + 1)));
        }
        Ok(TokenBytes { bytes })
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that `token` stands for; `None` if it is not in the vocabulary.
    pub fn bytes(&self, token: u16) -> Option<u16> {
        self.bytes.get(usize::from(token)).copied()
    }

    /// Bytes that each target of each row stands for: \[rows, context\], flat, in the order of the evaluator's nats. 0
    /// marks a target that is not scored. Refused if a row holds a token outside the vocabulary.
    pub fn scored(&self, rows: &Rows) -> Result<Vec<u16>, DataError> {
        let mut scored = Vec::with_capacity(rows.len() * rows.context());
        for (i, row) in rows.iter().enumerate() {
            for &token in &row[1..] {
                let vocabulary = self.vocabulary();
                let outside = || DataError::Vocabulary { row: i, token, vocabulary };
                scored.push(self.bytes(token).ok_or_else(outside)?);
            }
        }
        Ok(scored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u16], vocabulary: usize) -> Result<TokenBytes, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token_bytes.bin");
        fs::write(&path, bytemuck::cast_slice::<u16, u8>(bytes)).unwrap();
        TokenBytes::open(&path, vocabulary)
    }

    #[test]
    fn targets_are_scored_and_special_tokens_are_not() {
        let bytes = open(&[0, 1, 3], 3).unwrap();
        let rows = Rows::from_tokens(vec![0, 2, 1, 0, 0, 2], 2).unwrap();
        assert_eq!(bytes.scored(&rows).unwrap(), [3, 1, 0, 3]);
        let rows = Rows::from_tokens(vec![0, 2, 3], 2).unwrap();
        assert!(bytes.scored(&rows).unwrap_err().to_string().contains("row 0 holds token 3"));
    }

    #[test]
    fn damage_is_refused() {
        for (bytes, expected) in [(&[0u16, 1][..], "4 bytes"), (&[1, 1, 1], "token 0"), (&[0, 1, 0], "token 2")] {
            let error = open(bytes, 3).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("token_bytes.bin"), "{error}");
        }
    }
}
