//! Training rows: documents packed by best fit, as in nanochat and autoresearch, so that figures compare.
//!
//! Every row has context + 1 tokens and starts with [`BOS`](crate::BOS). It is filled with the longest document of a
//! buffer of candidates that still fits whole; when none fits, the shortest is cropped to what is left and its rest
//! dropped. Nothing is padded. One epoch uses every document exactly once: the buffer is used up before the next
//! epoch's order is drawn.
//!
//! The order depends on the seed and the epoch alone, so two trials with the same seed see the same rows.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Candidates that are chosen from, as in the ancestor.
const BUFFER: usize = 1_000;

/// Documents that arrive together when there are fewer candidates than that, as in the ancestor.
const REFILL: usize = 128;

/// In a small corpus the buffer is at most this part of the documents. If all were in it, best fit alone would decide
/// the order, and the seed nothing.
const SMALLEST_PART: usize = 8;

/// Documents of tokens that a [`Packer`] can draw from; each starts with [`BOS`](crate::BOS), so none is empty.
pub trait Documents {
    /// How many there are: between 1 and 2^32 - 1.
    fn count(&self) -> usize;
    /// The tokens of document `i`.
    fn tokens(&self, i: usize) -> &[u16];
}

impl Documents for Vec<Vec<u16>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn tokens(&self, i: usize) -> &[u16] {
        &self[i]
    }
}

/// A place in the data: everything that decides the rows to come. Some 10 kB as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackerPosition {
    /// Tokens a position can look back on; rows hold one more.
    pub context: usize,
    /// The data order's seed.
    pub seed: u64,
    /// Documents in the data; a place in other data is refused.
    pub documents: usize,
    /// Rows made so far.
    pub rows: u64,
    /// Times that the data has been used up.
    pub epoch: u64,
    /// Documents of this epoch's order that were drawn into the buffer.
    pub drawn: usize,
    /// The candidates in the order in which ties are resolved.
    pub buffer: Vec<u32>,
}

/// An endless supply of training rows.
pub struct Packer<'a, D: Documents = crate::Shards> {
    documents: &'a D,
    /// This epoch's documents, shuffled.
    order: Vec<u32>,
    position: PackerPosition,
    /// Lengths in tokens of the documents in `position.buffer`.
    lengths: Vec<u32>,
    capacity: usize,
    refill: usize,
}

impl<'a, D: Documents> Packer<'a, D> {
    /// Starts at the first row of the order that `seed` gives. `documents` must not be empty.
    pub fn new(documents: &'a D, context: usize, seed: u64) -> Packer<'a, D> {
        let position = PackerPosition {
            context,
            seed,
            documents: documents.count(),
            rows: 0,
            epoch: 0,
            drawn: 0,
            buffer: Vec::new(),
        };
        Packer::at(documents, position)
    }

    /// Goes on from a saved place: the rows are the very same that would have followed there. The place may come from
    /// a checkpoint that edited code wrote, so it is checked.
    pub fn resume(documents: &'a D, position: PackerPosition) -> Result<Packer<'a, D>, DataError> {
        let count = documents.count();
        if position.documents != count {
            let reason = format!("it is a place among {} documents, and there are {count}", position.documents);
            return Err(DataError::Position(reason));
        }
        if position.context == 0 {
            return Err(DataError::Position("its context is 0 tokens".into()));
        }
        if position.drawn > count {
            return Err(DataError::Position(format!("it has drawn {} of {count} documents", position.drawn)));
        }
        if position.buffer.len() > BUFFER + REFILL {
            return Err(DataError::Position(format!("its buffer holds {} documents", position.buffer.len())));
        }
        if let Some(bad) = position.buffer.iter().find(|&&i| i as usize >= count) {
            return Err(DataError::Position(format!("its buffer holds document {bad} of {count}")));
        }
        Ok(Packer::at(documents, position))
    }

    fn at(documents: &'a D, position: PackerPosition) -> Packer<'a, D> {
        let count = documents.count();
        assert!(count > 0, "a packer needs at least one document");
        let capacity = (count / SMALLEST_PART).clamp(1, BUFFER);
        Packer {
            documents,
            order: shuffled(count, position.seed, position.epoch),
            lengths: position.buffer.iter().map(|&i| documents.tokens(i as usize).len() as u32).collect(),
            position,
            capacity,
            refill: (capacity * REFILL / BUFFER).max(1),
        }
    }

    /// Tokens in a row: the context and one more.
    pub fn row_tokens(&self) -> usize {
        self.position.context + 1
    }

    /// The place after the rows made so far.
    pub fn position(&self) -> PackerPosition {
        self.position.clone()
    }

    /// Appends one row of [`Packer::row_tokens`] tokens to `out`, so that a batch is some calls on one vector.
    pub fn next_row(&mut self, out: &mut Vec<u16>) {
        let end = out.len() + self.row_tokens();
        while out.len() < end {
            self.fill_buffer();
            let room = end - out.len();
            let slot = self.best_fit(room);
            let document = self.documents.tokens(self.position.buffer[slot] as usize);
            out.extend_from_slice(&document[..document.len().min(room)]);
            self.position.buffer.swap_remove(slot);
            self.lengths.swap_remove(slot);
        }
        self.position.rows += 1;
    }

    /// Where in the buffer the longest document stands that fits into `room` tokens, or else the shortest of all. The
    /// first of equals.
    fn best_fit(&self, room: usize) -> usize {
        let mut longest_fitting: Option<(usize, u32)> = None;
        let mut shortest = (0, u32::MAX);
        for (slot, &length) in self.lengths.iter().enumerate() {
            if length as usize <= room && longest_fitting.is_none_or(|(_, best)| length > best) {
                longest_fitting = Some((slot, length));
            }
            if length < shortest.1 {
                shortest = (slot, length);
            }
        }
        longest_fitting.unwrap_or(shortest).0
    }

    fn fill_buffer(&mut self) {
        let place = &mut self.position;
        if place.buffer.is_empty() && place.drawn == self.order.len() {
            place.epoch += 1;
            place.drawn = 0;
            self.order = shuffled(place.documents, place.seed, place.epoch);
        }
        while place.buffer.len() < self.capacity && place.drawn < self.order.len() {
            let until = (place.drawn + self.refill).min(self.order.len());
            for &i in &self.order[place.drawn..until] {
                place.buffer.push(i);
                self.lengths.push(self.documents.tokens(i as usize).len() as u32);
            }
            place.drawn = until;
        }
    }
}

/// The numbers below `count` in an order that depends on `seed` and `epoch` alone (Fisher and Yates). Written out here
/// so that no new version of a library changes what a seed means.
fn shuffled(count: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        // A 64-bit draw scaled to 0..=last; for fewer than 2^32 numbers it is uniform to one part in 2^32.
        let chosen = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, chosen as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BOS;
    use proptest::prelude::*;

    /// Document `i` holds BOS and then `i + 1` again and again, so that every token tells where it comes from.
    fn documents(lengths: &[usize]) -> Vec<Vec<u16>> {
        let fill = |(i, &n): (usize, &usize)| [vec![BOS], vec![i as u16 + 1; n]].concat();
        lengths.iter().enumerate().map(fill).collect()
    }

    /// Cuts a row into its documents: (document's number, tokens).
    fn cut(row: &[u16]) -> Vec<(Option<usize>, usize)> {
        let starts: Vec<usize> = (0..row.len()).filter(|&i| row[i] == BOS).collect();
        let ends = starts.iter().skip(1).copied().chain([row.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|(&a, b)| (row.get(a + 1).filter(|_| b > a + 1).map(|&t| t as usize - 1), b - a))
            .collect()
    }

    #[test]
    fn the_longest_that_fits_goes_first_and_the_shortest_is_cropped() {
        // Eight documents or fewer make a buffer of one; 16 of them a buffer of two.
        let docs = documents(&[3; 8]);
        let mut packer = Packer::new(&docs, 9, 1);
        let mut row = Vec::new();
        packer.next_row(&mut row);
        let parts = cut(&row);
        assert_eq!(parts.iter().map(|p| p.1).collect::<Vec<_>>(), [4, 4, 2], "two whole, the third cropped");
        packer.lengths = vec![7, 4, 6, 5];
        assert_eq!(packer.best_fit(6), 2);
        assert_eq!(packer.best_fit(7), 0);
        assert_eq!(packer.best_fit(3), 1, "none fits: the shortest");
        packer.lengths = vec![5, 5, 9, 9];
        assert_eq!((packer.best_fit(5), packer.best_fit(1), packer.best_fit(20)), (0, 0, 2), "the first of equals");
    }

    #[test]
    fn seeds_and_epochs_differ_and_stay() {
        let orders: Vec<Vec<u32>> = [(1, 0), (1, 1), (2, 0)].iter().map(|&(s, e)| shuffled(500, s, e)).collect();
        assert_ne!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
        let mut sorted = orders[0].clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..500).collect::<Vec<u32>>());
        // What a seed means must not change: paired trials of different builds rely on it.
        assert_eq!(shuffled(8, 42, 0), SEED_42);
    }

    /// Written down once.
    const SEED_42: [u32; 8] = [4, 7, 0, 1, 3, 2, 6, 5];

    #[test]
    fn a_place_in_other_data_is_refused() {
        let docs = documents(&[3; 20]);
        let place = Packer::new(&docs, 9, 1).position();
        type Spoil = fn(&mut PackerPosition);
        let spoil: [(&str, Spoil); 5] = [
            ("among 21 documents", |p| p.documents = 21),
            ("drawn 21", |p| p.drawn = 21),
            ("document 20 of 20", |p| p.buffer = vec![3, 20]),
            ("holds 5000 documents", |p| p.buffer = vec![0; 5000]),
            ("context is 0", |p| p.context = 0),
        ];
        for (expected, change) in spoil {
            let mut bad = place.clone();
            change(&mut bad);
            let error = Packer::resume(&docs, bad).err().expect("must be refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn rows_are_exact_and_resume_is_going_on(
            lengths in prop::collection::vec(0usize..40, 1..120),
            context in 1usize..64,
            seed: u64,
            before in 0usize..60,
        ) {
            let docs = documents(&lengths);
            let mut packer = Packer::new(&docs, context, seed);
            let mut rows = Vec::new();
            for _ in 0..before {
                packer.next_row(&mut rows);
            }
            let saved = serde_json::to_string(&packer.position()).unwrap();
            for _ in 0..60 {
                packer.next_row(&mut rows);
            }
            prop_assert_eq!(rows.len(), (before + 60) * (context + 1));
            for row in rows.chunks(context + 1) {
                prop_assert_eq!(row[0], BOS);
                let parts = cut(row);
                for (i, &(document, tokens)) in parts.iter().enumerate() {
                    let Some(document) = document else { continue };
                    let whole = lengths[document] + 1;
                    let last = i + 1 == parts.len();
                    prop_assert!(tokens == whole || (last && tokens < whole), "only a row's last document is cropped");
                }
            }
            let mut resumed = Packer::resume(&docs, serde_json::from_str(&saved).unwrap()).unwrap();
            let mut again = Vec::new();
            for _ in 0..60 {
                resumed.next_row(&mut again);
            }
            prop_assert_eq!(&again, &rows[before * (context + 1)..]);
            prop_assert_eq!(resumed.position(), packer.position());
        }

        #[test]
        fn an_epoch_uses_every_document_once(lengths in prop::collection::vec(1usize..40, 1..120), seed: u64) {
            let docs = documents(&lengths);
            let mut packer = Packer::new(&docs, 31, seed);
            let mut rows = Vec::new();
            while packer.position().epoch == 0 {
                packer.next_row(&mut rows);
            }
            // A document cropped to its BOS shows no number: count starts instead, and numbers where there are some.
            let starts: Vec<(Option<usize>, usize)> = rows.chunks(32).flat_map(cut).collect();
            let mut seen = std::collections::HashSet::new();
            let first_epoch = &starts[..lengths.len()];
            prop_assert!(first_epoch.iter().filter_map(|p| p.0).all(|document| seen.insert(document)));
        }
    }
}
