//! From nats per token to nats per document: what a difference between two models is estimated from, because the tokens of one document
//! are easy or hard together and documents are not.
//!
//! Pure. The nats are the model's own claim. The audit corrects a trial's figure as a whole, by no more than rounding explains;
//! it says nothing of single documents, and an equal correction of all of them would not change which differ.

use std::sync::Arc;

use data::BOS;

use super::HeldOut;
use crate::flow::DocumentLoss;

/// A claim that is not one of these rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim has {claimed} numbers, and the held-out rows have {targets} targets; it is of another text")]
pub struct OtherText {
    /// How many numbers it has.
    pub claimed: usize,
    /// How many there ought to be.
    pub targets: usize,
}

/// Sums a claim over each document of the held-out rows, in the order in which they stand there. `claim` holds nats per target, row
/// after row: [rows, context].
///
/// A row begins with a document and holds whole documents, the last of which may be cropped; each begins with BOS. Nothing of a
/// document without scored tokens is left in, so that there is always something to divide by. Which documents there are depends on
/// the rows alone: document `i` of two trials is the same text.
///
/// # Errors
/// [`OtherText`] when there are not as many numbers as targets.
pub fn per_document(claim: &[f32], held_out: &HeldOut) -> Result<Arc<[DocumentLoss]>, OtherText> {
    let targets = held_out.bytes().len();
    if claim.len() != targets {
        return Err(OtherText { claimed: claim.len(), targets });
    }
    let context = held_out.rows().context();
    let mut documents = Vec::new();
    let rows = held_out.rows().iter().zip(claim.chunks(context)).zip(held_out.bytes().chunks(context));
    for ((row, claim), bytes) in rows {
        let mut document = DocumentLoss { nats: 0.0, bytes: 0 };
        for ((&target, &nats), &bytes) in row.iter().skip(1).zip(claim).zip(bytes) {
            if target == BOS {
                documents.push(std::mem::replace(&mut document, DocumentLoss { nats: 0.0, bytes: 0 }));
            } else if bytes > 0 {
                document.nats += f64::from(nats);
                document.bytes += u32::from(bytes);
            }
        }
        documents.push(document);
    }
    documents.retain(|document| document.bytes > 0);
    Ok(documents.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Rows;
    use proptest::prelude::*;

    fn held_out(rows: &[&[u16]]) -> HeldOut {
        let context = rows[0].len() - 1;
        // Token `t` stands for `t` bytes, so BOS for none.
        let bytes = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        HeldOut::new(Rows::from_tokens(rows.concat(), context).unwrap(), bytes).unwrap()
    }

    fn losses(claim: &[f32], held_out: &HeldOut) -> Vec<(f64, u32)> {
        per_document(claim, held_out).unwrap().iter().map(|document| (document.nats, document.bytes)).collect()
    }

    #[test]
    fn documents_end_where_another_or_a_row_begins() {
        // Two documents and a cropped third that is nothing but its beginning; then one that fills its row.
        let held_out = held_out(&[&[BOS, 1, 2, BOS, 3, BOS], &[BOS, 1, 1, 1, 1, 4]]);
        let claim = [0.5, 1.0, 64.0, 2.0, 64.0, 1.0, 1.0, 1.0, 1.0, 8.0];
        assert_eq!(losses(&claim, &held_out), [(1.5, 3), (2.0, 3), (12.0, 8)]);
    }

    #[test]
    fn beginnings_are_not_scored_and_what_has_no_text_is_no_document() {
        let held_out = held_out(&[&[BOS, BOS, BOS, 2]]);
        assert_eq!(losses(&[9.0, 9.0, 0.25], &held_out), [(0.25, 2)]);
    }

    #[test]
    fn a_claim_of_another_text_is_refused() {
        let held_out = held_out(&[&[BOS, 1, 2]]);
        assert_eq!(per_document(&[0.0], &held_out), Err(OtherText { claimed: 1, targets: 2 }));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_documents_depend_on_the_rows_alone(
            tokens in prop::collection::vec(0u16..5, 60),
            claim in prop::collection::vec(0.0f32..9.0, 50),
        ) {
            let mut rows: Vec<Vec<u16>> = tokens.chunks(6).map(<[u16]>::to_vec).collect();
            rows.iter_mut().for_each(|row| row[0] = BOS);
            let held_out = held_out(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let documents = per_document(&claim, &held_out).unwrap();
            let scored = |&(_, &bytes): &(&f32, &u16)| bytes > 0;
            let nats: f64 = claim.iter().zip(held_out.bytes()).filter(scored).map(|(&nats, _)| f64::from(nats)).sum();
            prop_assert!((documents.iter().map(|document| document.nats).sum::<f64>() - nats).abs() < 1e-6);
            let bytes: u64 = held_out.bytes().iter().map(|&bytes| u64::from(bytes)).sum();
            prop_assert_eq!(documents.iter().map(|document| u64::from(document.bytes)).sum::<u64>(), bytes);
            let others = per_document(&[1.0; 50], &held_out).unwrap();
            prop_assert!(documents.iter().zip(&*others).all(|(one, other)| one.bytes == other.bytes));
            prop_assert_eq!(documents.len(), others.len());
        }
    }
}
