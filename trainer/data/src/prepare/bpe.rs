//! Training of the byte pair encoding: the most frequent pair of neighbouring tokens becomes a token, again and again
//! (Sennrich and others, 2016, on bytes as in GPT-2).
//!
//! The `tokenizers` library has a trainer too, but it does not promise what prepared data needs, that the same text
//! always gives the same tokens: its queue can hold two entries of one pair, and then the order of a randomly seeded
//! hash map decides. Here ties go to the pair with the lower ids, and nothing else has a say.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// A token's id during training: 0 to 255 are bytes, merges follow.
pub(crate) type Id = u32;

/// Pairs rarer than this are not merged: a token seen once teaches nothing.
const LEAST_COUNT: i64 = 2;

/// A word as the ids it is made of so far.
struct Word {
    ids: Vec<Id>,
    count: i64,
}

/// Finds up to `merges` pairs to merge, most frequent first; the i-th makes id 256 + i. Fewer come back when no pair
/// occurs twice any more. `words` must be in a fixed order. `progress` hears how many are found.
pub(crate) fn train(words: &[(Vec<u8>, u64)], merges: usize, progress: &mut dyn FnMut(usize)) -> Vec<(Id, Id)> {
    let mut words: Vec<Word> = words
        .iter()
        .map(|(bytes, count)| Word { ids: bytes.iter().map(|&b| Id::from(b)).collect(), count: *count as i64 })
        .collect();
    let mut counts: HashMap<(Id, Id), i64> = HashMap::new();
    let mut places: HashMap<(Id, Id), Vec<u32>> = HashMap::new();
    for (i, word) in words.iter().enumerate() {
        for pair in word.ids.windows(2) {
            let pair = (pair[0], pair[1]);
            *counts.entry(pair).or_default() += word.count;
            let places = places.entry(pair).or_default();
            if places.last() != Some(&(i as u32)) {
                places.push(i as u32);
            }
        }
    }
    // Greatest count first, then the lowest ids. An entry is stale when its count is no longer the pair's.
    let mut queue: BinaryHeap<(i64, Reverse<(Id, Id)>)> = counts.iter().map(|(&p, &c)| (c, Reverse(p))).collect();
    // Two different pairs can spell the same bytes (ab+c, a+bc). The second is passed over: a token needs one spelling.
    let mut spelling: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    let mut spelt: HashSet<Vec<u8>> = HashSet::new();
    let mut found = Vec::with_capacity(merges);
    while found.len() < merges {
        let Some((count, Reverse(pair))) = queue.pop() else { break };
        let actual = counts.get(&pair).copied().unwrap_or(0);
        if count != actual {
            if actual > 0 {
                queue.push((actual, Reverse(pair)));
            }
            continue;
        }
        if count < LEAST_COUNT {
            break;
        }
        let bytes = [&spelling[pair.0 as usize][..], &spelling[pair.1 as usize]].concat();
        counts.remove(&pair);
        let changed_words = places.remove(&pair).unwrap_or_default();
        if !spelt.insert(bytes.clone()) {
            continue;
        }
        let id = spelling.len() as Id;
        spelling.push(bytes);
        found.push(pair);
        let mut grown: HashSet<(Id, Id)> = HashSet::new();
        for i in changed_words {
            let word = &mut words[i as usize];
            merge_in(word, pair, id, &mut |changed, change| {
                *counts.entry(changed).or_default() += change;
                if change > 0 {
                    grown.insert(changed);
                    let places = places.entry(changed).or_default();
                    if places.last() != Some(&i) {
                        places.push(i);
                    }
                }
            });
        }
        queue.extend(grown.into_iter().filter_map(|p| counts.get(&p).map(|&count| (count, Reverse(p)))));
        progress(found.len());
    }
    found
}

/// Replaces every occurrence of `pair` by `id`, from the left, and reports by how much neighbouring pairs change.
fn merge_in(word: &mut Word, pair: (Id, Id), id: Id, change: &mut dyn FnMut((Id, Id), i64)) {
    let mut merged: Vec<Id> = Vec::with_capacity(word.ids.len());
    let mut i = 0;
    while i < word.ids.len() {
        let here = word.ids[i];
        if i + 1 < word.ids.len() && (here, word.ids[i + 1]) == pair {
            if let Some(&before) = merged.last() {
                change((before, here), -word.count);
                change((before, id), word.count);
            }
            if let Some(&after) = word.ids.get(i + 2) {
                change((pair.1, after), -word.count);
                change((id, after), word.count);
            }
            merged.push(id);
            i += 2;
        } else {
            merged.push(here);
            i += 1;
        }
    }
    word.ids = merged;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(list: &[(&str, u64)]) -> Vec<(Vec<u8>, u64)> {
        list.iter().map(|(word, count)| (word.as_bytes().to_vec(), *count)).collect()
    }

    /// Recounts everything for every merge: slow and plainly right.
    fn naive(list: &[(Vec<u8>, u64)], merges: usize) -> Vec<(Id, Id)> {
        let mut words: Vec<Word> = list
            .iter()
            .map(|(b, c)| Word { ids: b.iter().map(|&b| Id::from(b)).collect(), count: *c as i64 })
            .collect();
        let mut spelling: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
        let mut passed_over = HashSet::new();
        let mut found = Vec::new();
        while found.len() < merges {
            let mut counts: HashMap<(Id, Id), i64> = HashMap::new();
            for word in &words {
                word.ids.windows(2).for_each(|p| *counts.entry((p[0], p[1])).or_default() += word.count);
            }
            counts.retain(|pair, _| !passed_over.contains(pair));
            let Some((&pair, &count)) = counts.iter().max_by_key(|&(&p, &c)| (c, Reverse(p))) else { break };
            if count < LEAST_COUNT {
                break;
            }
            let bytes = [&spelling[pair.0 as usize][..], &spelling[pair.1 as usize]].concat();
            if spelling.contains(&bytes) {
                passed_over.insert(pair);
                continue;
            }
            let id = spelling.len() as Id;
            spelling.push(bytes);
            found.push(pair);
            words.iter_mut().for_each(|word| merge_in(word, pair, id, &mut |_, _| ()));
        }
        found
    }

    #[test]
    fn the_most_frequent_pair_goes_first() {
        let list = words(&[("low", 5), ("lowest", 2), ("newer", 6), ("wider", 3)]);
        let found = train(&list, 3, &mut |_| ());
        let [e, r, l, o] = b"erlo".map(Id::from);
        assert_eq!(found, [(e, r), (l, o), (257, Id::from(b'w'))]);
    }

    #[test]
    fn runs_of_one_letter_are_merged_from_the_left() {
        let found = train(&words(&[("aaaaa", 4)]), 3, &mut |_| ());
        let a = Id::from(b'a');
        assert_eq!(found, [(a, a), (256, a), (256, 257)], "a tie goes to the lower ids");
    }

    #[test]
    fn it_stops_when_nothing_occurs_twice() {
        assert_eq!(train(&words(&[("abc", 1), ("de", 1)]), 9, &mut |_| ()), []);
        assert_eq!(train(&[], 9, &mut |_| ()), []);
    }

    proptest! {
        #[test]
        fn it_agrees_with_counting_anew(list in prop::collection::btree_map("[abc]{1,9}", 1u64..20, 1..30)) {
            let list: Vec<(Vec<u8>, u64)> = list.into_iter().map(|(w, c)| (w.into_bytes(), c)).collect();
            prop_assert_eq!(train(&list, 25, &mut |_| ()), naive(&list, 25));
        }
    }
}
