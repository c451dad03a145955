//! What trials are measured on. Stays in this process; confined ones see it only as questions.

use data::Rows;

use crate::hash::sha256;

/// Held-out rows and how many bytes of text each of their targets stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOut {
    rows: Rows,
    bytes: Vec<u16>,
    sha256: String,
}

/// Rows and lengths that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{rows} held-out rows have {targets} targets, but {bytes} of them have a length in bytes; prepare the data again"
)]
pub struct Mismatch {
    /// How many rows.
    pub rows: usize,
    /// How many targets they have.
    pub targets: usize,
    /// How many lengths were given.
    pub bytes: usize,
}

impl HeldOut {
    /// `bytes` holds the length of every target in bytes of text, row after row: [rows, context]; 0 for targets that are not
    /// scored.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn new(rows: Rows, bytes: Vec<u16>) -> Result<Self, Mismatch> {
        let targets = rows.len() * rows.context();
        if bytes.len() != targets {
            return Err(Mismatch { rows: rows.len(), targets, bytes: bytes.len() });
        }
        let content: Vec<u8> = rows.tokens().iter().flat_map(|token| token.to_le_bytes()).collect();
        Ok(Self { sha256: sha256(&content), rows, bytes })
    }

    /// The rows: [rows, context + 1] tokens.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Bytes of text that each target stands for, row after row: [rows, context]; 0 for targets that are not scored.
    pub fn bytes(&self) -> &[u16] {
        &self.bytes
    }

    /// SHA-256 of the rows as little-endian u16, hexadecimal: that of the file they come from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The beginning of the first rows; `None` when there is nothing in it.
    pub fn share(&self, rows: usize, context: usize) -> Option<HeldOut> {
        let context = context.min(self.rows.context());
        let chosen = self.rows.iter().take(rows);
        let tokens: Vec<u16> = chosen.flat_map(|row| row.iter().take(context + 1).copied()).collect();
        let lengths = self.bytes.chunks(self.rows.context()).take(rows);
        let bytes = lengths.flat_map(|row| row.iter().take(context).copied()).collect();
        HeldOut::new(Rows::from_tokens(tokens, context)?, bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_out() -> HeldOut {
        let rows = Rows::from_tokens(vec![0, 1, 2, 3, 0, 4, 5, 6], 3).unwrap();
        HeldOut::new(rows, vec![1, 2, 3, 4, 5, 6]).unwrap()
    }

    #[test]
    fn every_target_has_a_length() {
        let rows = Rows::from_tokens(vec![0, 1, 2, 3], 3).unwrap();
        let error = HeldOut::new(rows, vec![1, 2]).unwrap_err();
        assert_eq!(error, Mismatch { rows: 1, targets: 3, bytes: 2 });
    }

    #[test]
    fn a_share_is_the_beginning_of_the_first_rows() {
        let share = held_out().share(1, 2).unwrap();
        assert_eq!((share.rows().tokens(), share.bytes()), (&[0u16, 1, 2][..], &[1u16, 2][..]));
        assert_eq!(held_out().share(9, 9), Some(held_out()));
        assert_ne!(share.sha256(), held_out().sha256());
        assert_eq!(held_out().share(0, 2), None);
    }
}
