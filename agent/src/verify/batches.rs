//! Packs cuts into batches of questions. Pure.
//!
//! What a question may show: the true text up to and including the cut's position, and nothing after it. The rest of the row is
//! training text. Rows of one held-out row never meet in a batch, and over the batches, which are asked one after
//! the other, their cuts ascend: so no question that is asked before a cut is answered holds that cut's target, in any row.
//! Every batch has the same number of rows, because an honest model only computes the same numbers in the same shapes; rows
//! are shuffled between and within batches, so that they meet other rows than they met in the claim.

use data::{BOS, Documents, Rows};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::sample::Cut;

/// A row and one of its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which held-out row.
    pub row: usize,
    /// The last token that may be seen; its successor is the target.
    pub position: usize,
}

/// Which place is audited where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every place once, by row and position.
    pub places: Vec<Place>,
    /// For each cut, its place in `places`.
    pub of_cut: Vec<usize>,
    /// Batches in the order of asking: for each of the batch's rows the place that it audits, `None` for padding.
    pub batches: Vec<Vec<Option<usize>>>,
}

/// What one batch shows and asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Tokens, [batch_rows, context], flat.
    pub inputs: Vec<u16>,
    /// The asked position of each row.
    pub positions: Vec<u32>,
}

/// Plans the batches for some cuts; none without cuts or for batches of no rows.
pub fn plan(cuts: &[Cut], batch_rows: usize, seed: u64) -> Plan {
    let mut places: Vec<Place> = cuts.iter().map(|cut| Place { row: cut.row, position: cut.position }).collect();
    places.sort_unstable();
    places.dedup();
    let of_cut = cuts
        .iter()
        .map(|cut| places.partition_point(|place| *place < Place { row: cut.row, position: cut.position }))
        .collect();
    if places.is_empty() || batch_rows == 0 {
        return Plan { places, of_cut, batches: Vec::new() };
    }

    let mut random = ChaCha12Rng::seed_from_u64(seed);
    // The cuts may be drawn from the same seed's first stream, and what a batch shows from the ones after it.
    random.set_stream(u64::MAX);
    // Ranges of `places`, one for each held-out row.
    let mut rows: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        match rows.last_mut() {
            Some(range) if places[range.start].row == place.row => range.end = index + 1,
            _ => rows.push(index..index + 1),
        }
    }
    rows.shuffle(&mut random);
    rows.sort_by_key(|range| std::cmp::Reverse(range.len()));
    let most = rows.first().map_or(0, ExactSizeIterator::len);
    let count = places.len().div_ceil(batch_rows).max(most);
    let mut batches: Vec<Vec<Option<usize>>> = vec![Vec::with_capacity(batch_rows); count];
    for range in rows {
        // The emptiest batches: with the rows of most cuts first, this always fits (Gale and Ryser, 1957).
        let mut emptiest: Vec<usize> = (0..count).collect();
        emptiest.shuffle(&mut random);
        emptiest.sort_by_key(|&batch| batches[batch].len());
        emptiest.truncate(range.len());
        emptiest.sort_unstable();
        for (batch, place) in emptiest.into_iter().zip(range) {
            batches[batch].push(Some(place));
        }
    }
    for batch in &mut batches {
        batch.resize(batch_rows.max(batch.len()), None);
        batch.shuffle(&mut random);
    }
    Plan { places, of_cut, batches }
}

/// What batch number `batch` of the plan shows. `seed` decides the training text in it; the same arguments show the same.
/// `None` when there is no such batch, or a place lies outside of the held-out rows.
pub fn show(
    plan: &Plan,
    batch: usize,
    held_out: &Rows,
    documents: &(impl Documents + ?Sized),
    seed: u64,
) -> Option<Shown> {
    let context = held_out.context();
    let slots = plan.batches.get(batch)?;
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(batch as u64 + 1);
    let mut inputs = Vec::with_capacity(slots.len() * context);
    let mut positions = Vec::with_capacity(slots.len());
    for (slot, place) in slots.iter().enumerate() {
        let end = (slot + 1) * context;
        match place {
            Some(place) => {
                let Place { row, position } = *plan.places.get(*place)?;
                if row >= held_out.len() || position >= context {
                    return None;
                }
                let row = held_out.row(row);
                inputs.extend_from_slice(&row[..=position]);
                // Text that happened to go on as the true text does would hide a model that looks at the next token.
                let unlike = (inputs.len() < end).then(|| row[position + 1]);
                fill(&mut inputs, end, unlike, documents, &mut random);
                positions.push(u32::try_from(position).ok()?);
            }
            None => {
                fill_row(&mut inputs, end, documents, &mut random);
                positions.push(random.random_range(0..u32::try_from(context).ok()?));
            }
        }
    }
    Some(Shown { inputs, positions })
}

/// Held-out rows as they are scored: all of them, then rows of training text until the last batch of `batch_rows` is full.
/// [rows, context + 1] tokens, flat.
pub fn scored_rows(held_out: &Rows, documents: &(impl Documents + ?Sized), batch_rows: usize) -> Vec<u16> {
    let rows = held_out.len().next_multiple_of(batch_rows.max(1));
    let row_tokens = held_out.context() + 1;
    let mut tokens = held_out.tokens().to_vec();
    let mut random = ChaCha12Rng::seed_from_u64(0);
    for row in held_out.len()..rows {
        fill_row(&mut tokens, (row + 1) * row_tokens, documents, &mut random);
    }
    tokens
}

/// A whole row of training text.
fn fill_row(tokens: &mut Vec<u16>, end: usize, documents: &(impl Documents + ?Sized), random: &mut ChaCha12Rng) {
    tokens.push(BOS);
    fill(tokens, end, None, documents, random);
}

/// Goes on with training text from the middle of random documents until there are `end` tokens; the first of them is not `unlike`.
fn fill(
    tokens: &mut Vec<u16>,
    end: usize,
    mut unlike: Option<u16>,
    documents: &(impl Documents + ?Sized),
    random: &mut ChaCha12Rng,
) {
    // A text that holds nothing but one token is no text; then another token stands in for it.
    let mut patience = 1_000;
    while tokens.len() < end {
        let document = documents.tokens(random.random_range(0..documents.count().max(1)));
        let from = random.random_range(0..document.len().max(1));
        let text = document.get(from..).unwrap_or_default();
        if let Some(target) = unlike {
            patience -= 1;
            if patience == 0 {
                tokens.push(if target == BOS { BOS + 1 } else { BOS });
                unlike = None;
                continue;
            }
            if text.first().is_none_or(|first| *first == target) {
                continue;
            }
        }
        unlike = None;
        tokens.extend(text.iter().take(end - tokens.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn cut(row: usize, position: usize) -> Cut {
        Cut { row, position, weight: 1.0, aimed: false }
    }

    /// Held-out tokens are from 1,000 up, training tokens below.
    fn held_out(rows: usize, context: usize) -> Rows {
        let tokens = (0..rows).flat_map(|row| {
            (0..=context).map(move |at| if at == 0 { BOS } else { (1_000 + row * context + at) as u16 })
        });
        Rows::from_tokens(tokens.collect(), context).unwrap()
    }

    fn documents() -> Vec<Vec<u16>> {
        (0..5).map(|number| (0..40 + number).map(|at| (at * 7 + number) as u16 % 900).collect()).collect()
    }

    proptest! {
        #[test]
        fn no_question_shows_what_is_still_to_be_answered(
            places in prop::collection::vec((0_usize..9, 0_usize..12), 1..120),
            batch_rows in 1_usize..9,
            seed in any::<u64>(),
        ) {
            let cuts: Vec<Cut> = places.iter().map(|&(row, position)| cut(row, position)).collect();
            let plan = plan(&cuts, batch_rows, seed);
            let (rows, documents) = (held_out(9, 12), documents());
            // Every cut is asked at its place, every place once.
            for (cut, &place) in cuts.iter().zip(&plan.of_cut) {
                prop_assert_eq!((plan.places[place].row, plan.places[place].position), (cut.row, cut.position));
            }
            let mut asked: Vec<usize> = plan.batches.iter().flatten().flatten().copied().collect();
            asked.sort_unstable();
            prop_assert_eq!(asked, (0..plan.places.len()).collect::<Vec<_>>());
            let mut most: HashMap<usize, usize> = HashMap::new();
            plan.places.iter().for_each(|place| *most.entry(place.row).or_default() += 1);
            let fewest = plan.places.len().div_ceil(batch_rows).max(most.values().copied().max().unwrap_or(0));
            prop_assert_eq!(plan.batches.len(), fewest);

            let mut shown_before: Vec<u16> = Vec::new();
            for (number, slots) in plan.batches.iter().enumerate() {
                prop_assert_eq!(slots.len(), batch_rows);
                let shown = show(&plan, number, &rows, &documents, seed).unwrap();
                prop_assert_eq!(&shown, &show(&plan, number, &rows, &documents, seed).unwrap());
                prop_assert_eq!(shown.inputs.len(), batch_rows * 12);
                shown_before.extend(shown.inputs.iter().filter(|token| **token >= 1_000));
                for (slot, place) in slots.iter().enumerate() {
                    let input = &shown.inputs[slot * 12..(slot + 1) * 12];
                    let Some(place) = place.map(|place| plan.places[place]) else {
                        prop_assert!(input.iter().all(|token| *token < 1_000), "padding showed held-out text");
                        prop_assert!(shown.positions[slot] < 12);
                        continue;
                    };
                    let row = rows.row(place.row);
                    prop_assert_eq!(shown.positions[slot] as usize, place.position);
                    prop_assert_eq!(&input[..=place.position], &row[..=place.position]);
                    prop_assert!(input[place.position + 1..].iter().all(|token| *token < 1_000));
                    // The target was in no question so far, this batch included.
                    prop_assert!(!shown_before.contains(&row[place.position + 1]), "{place:?} was given away");
                }
            }
        }
    }

    #[test]
    fn text_after_a_cut_never_goes_on_as_the_true_text() {
        // Training text that would: half of its tokens are the target.
        let rows = Rows::from_tokens(vec![0, 7, 7, 7, 7], 4).unwrap();
        let documents = vec![vec![7, 8, 7, 9, 7, 7]];
        for seed in 0..200 {
            let plan = plan(&[cut(0, 1)], 1, seed);
            let shown = show(&plan, 0, &rows, &documents, seed).unwrap();
            assert_eq!(shown.inputs[..2], [0, 7]);
            assert_ne!(shown.inputs[2], 7);
        }
        let plan = plan(&[cut(0, 1)], 1, 1);
        let shown = show(&plan, 0, &rows, &vec![vec![7, 7]], 1).unwrap();
        assert_eq!(shown.inputs, [0, 7, 0, 7], "a text of one token only");
    }

    #[test]
    fn rows_meet_other_rows_and_other_places_in_the_batch() {
        let cuts: Vec<Cut> = (0..64).map(|row| cut(row, 3)).collect();
        let (one, two) = (plan(&cuts, 8, 1), plan(&cuts, 8, 2));
        assert_ne!(one.batches, two.batches);
        let in_order = (0..64).collect::<Vec<_>>().chunks(8).map(<[usize]>::to_vec).collect::<Vec<_>>();
        let plain: Vec<Vec<usize>> =
            one.batches.iter().map(|batch| batch.iter().flatten().copied().collect()).collect();
        assert_ne!(plain, in_order);
    }

    #[test]
    fn a_cut_at_the_end_of_a_row_shows_the_row_without_its_target() {
        let rows = held_out(1, 4);
        let plan = plan(&[cut(0, 3)], 2, 1);
        let shown = show(&plan, 0, &rows, &documents(), 1).unwrap();
        let slot = plan.batches[0].iter().position(Option::is_some).unwrap();
        assert_eq!(&shown.inputs[slot * 4..slot * 4 + 4], &rows.row(0)[..4]);
    }

    #[test]
    fn scored_rows_fill_their_last_batch_with_training_text() {
        let rows = held_out(5, 4);
        let tokens = scored_rows(&rows, &documents(), 4);
        assert_eq!(tokens.len(), 8 * 5);
        assert_eq!(&tokens[..25], rows.tokens());
        assert!(tokens[25..].iter().all(|token| *token < 1_000));
        assert!(tokens[25..].chunks(5).all(|row| row[0] == BOS));
        assert_eq!(scored_rows(&rows, &documents(), 5), rows.tokens());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let plan_of = |row, position| plan(&[cut(row, position)], 1, 1);
        let rows = held_out(2, 4);
        assert!(show(&plan_of(2, 0), 0, &rows, &documents(), 1).is_none());
        assert!(show(&plan_of(0, 4), 0, &rows, &documents(), 1).is_none());
        assert!(show(&plan_of(0, 0), 1, &rows, &documents(), 1).is_none());
        assert!(plan(&[], 4, 1).batches.is_empty());
        assert!(plan(&[cut(0, 0)], 0, 1).batches.is_empty());
    }
}
