//! Work on many documents at once, with the result in the documents' order whatever the number of threads.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::PrepareError;
use super::pieces::{Cutting, pieces};
use super::tokenizer::{Encoder, Tokenizer};
use super::words::words;
use crate::BOS;

/// Documents are handed to the threads in batches of about so many bytes.
pub(crate) const BATCH_BYTES: usize = 8 << 20;

/// Words in texts are counted by a map for each thread; see [`WordCounter::add`].
pub(crate) struct WordCounter {
    counts: Vec<HashMap<Box<str>, u64>>,
}

impl WordCounter {
    pub fn new(threads: usize) -> WordCounter {
        WordCounter { counts: vec![HashMap::new(); threads] }
    }

    /// Counts the words of a batch of texts, piece by piece.
    pub fn add(&mut self, texts: &[String], cutting: Cutting) {
        each_in_parallel(texts, &mut self.counts, |text, counts| {
            for word in pieces(text, cutting).flat_map(words) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(word.into(), 1);
                    }
                }
            }
        });
    }

    /// All words with their counts, sorted by bytes.
    pub fn finish(self) -> Vec<(Vec<u8>, u64)> {
        let mut sum: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for (word, count) in self.counts.into_iter().flatten() {
            *sum.entry(word).or_default() += count;
        }
        sum.into_iter().map(|(word, count)| (String::from(word).into_bytes(), count)).collect()
    }
}

/// Encodes batches of documents.
pub(crate) struct BatchEncoder<'a> {
    encoders: Vec<Encoder<'a>>,
    cutting: Cutting,
}

impl<'a> BatchEncoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer, threads: usize, cutting: Cutting) -> BatchEncoder<'a> {
        BatchEncoder { encoders: (0..threads).map(|_| Encoder::new(tokenizer)).collect(), cutting }
    }

    /// The pieces of each text as tokens, each starting with BOS.
    pub fn encode(&mut self, texts: &[String]) -> Result<Vec<Vec<Vec<u16>>>, PrepareError> {
        let cutting = self.cutting;
        let encoded = each_in_parallel(texts, &mut self.encoders, |text, encoder| {
            let encode_piece = |piece| {
                let mut tokens = vec![BOS];
                encoder.encode(piece, &mut tokens).map(|()| tokens)
            };
            pieces(text, cutting).map(encode_piece).collect::<Result<Vec<_>, _>>()
        });
        encoded.into_iter().collect()
    }
}

/// Applies `work` to every text, on as many threads as there are `states`. Results are in the texts' order.
fn each_in_parallel<S: Send, R: Send>(
    texts: &[String],
    states: &mut [S],
    work: impl Fn(&str, &mut S) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = |state: &mut S| {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(text) = texts.get(i) else { return done };
            done.push((i, work(text, state)));
        }
    };
    let run = &run;
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = states.iter_mut().map(|state| scope.spawn(move || run(state))).collect();
        // A thread's panic is a bug in here: it goes on in the caller's thread.
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_all_states_are_used_or_not() {
        let texts: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        for threads in [1, 2, 7, 200] {
            let mut states = vec![0usize; threads];
            let results = each_in_parallel(&texts, &mut states, |text, state| {
                *state += 1;
                text.to_string()
            });
            assert_eq!(results, texts);
            assert_eq!(states.iter().sum::<usize>(), 100);
        }
    }

    #[test]
    fn counts_do_not_depend_on_threads() {
        let texts: Vec<String> = (0..50).map(|i| format!("word {} word", i % 7)).collect();
        let count = |threads| {
            let mut counter = WordCounter::new(threads);
            let uncut = Cutting::of(&crate::prepare::Options::new(300, 8));
            counter.add(&texts, uncut);
            counter.add(&texts[..10], uncut);
            counter.finish()
        };
        assert_eq!(count(1), count(4));
        let words = count(2);
        assert_eq!(words.iter().find(|(word, _)| word == b" word").unwrap().1, 60);
    }
}
