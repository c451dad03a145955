//! What a token should cost when there is no champion to compare with: a model of the evaluator's own, of training text only.
//! Pure.
//!
//! It aims the audit's cuts and nothing else, so it need not be good, only out of reach: the mean claim over the same token
//! would do as well against most leaks, but a model could lower that itself by leaking at every occurrence of a rare one.

use std::collections::HashMap;

use data::{BOS, Documents, Rows};

/// So many training tokens are counted at most: more would cost seconds and hardly change where cuts fall.
const MOST_TOKENS: usize = 2_000_000;

/// How often tokens follow one another.
struct Counts {
    /// Of each token.
    tokens: Vec<u32>,
    /// Of each token with any successor.
    starts: Vec<u32>,
    /// How many different tokens follow each token.
    followers: Vec<u32>,
    /// Of each pair.
    pairs: HashMap<(u16, u16), u32>,
    total: usize,
}

/// Nats of every target of `rows`, [rows, context], flat: minus the logarithm of its probability after the token before it,
/// in a bigram model of the training text, interpolated with the frequencies of single tokens (Witten and Bell, 1991; Chen and
/// Goodman, 1999, section 2.5), one half added to each of those.
pub fn of_text(documents: &(impl Documents + ?Sized), rows: &Rows, vocabulary: usize) -> Vec<f32> {
    let counts = count(documents, vocabulary);
    rows.iter().flat_map(|row| row.windows(2)).map(|pair| counts.nats(pair[0], pair[1]) as f32).collect()
}

fn count(documents: &(impl Documents + ?Sized), vocabulary: usize) -> Counts {
    let (mut tokens, mut starts, mut followers) = (vec![0; vocabulary], vec![0; vocabulary], vec![0; vocabulary]);
    let mut pairs = HashMap::new();
    let mut total = 0;
    for number in 0..documents.count() {
        if total >= MOST_TOKENS {
            break;
        }
        let document = documents.tokens(number);
        let document = document.get(..MOST_TOKENS - total).unwrap_or(document);
        total += document.len();
        for &token in document {
            increase(&mut tokens, token);
        }
        for pair in document.windows(2) {
            let known = pairs.entry((pair[0], pair[1])).or_insert(0_u32);
            if *known == 0 {
                increase(&mut followers, pair[0]);
            }
            *known += 1;
            increase(&mut starts, pair[0]);
        }
    }
    Counts { tokens, starts, followers, pairs, total }
}

/// A token outside of the vocabulary is not in prepared data; it is not counted.
fn increase(counts: &mut [u32], token: u16) {
    if let Some(count) = counts.get_mut(usize::from(token)) {
        *count += 1;
    }
}

impl Counts {
    fn nats(&self, before: u16, token: u16) -> f64 {
        let of = |counts: &[u32], token: u16| f64::from(counts.get(usize::from(token)).copied().unwrap_or(0));
        let single = (of(&self.tokens, token) + 0.5) / (self.total as f64 + 0.5 * self.tokens.len().max(1) as f64);
        let (starts, followers) = (of(&self.starts, before), of(&self.followers, before));
        // What follows the start of a document is not special enough to wait for in a sample of documents.
        let probability = if starts > 0.0 && before != BOS {
            let pair = f64::from(self.pairs.get(&(before, token)).copied().unwrap_or(0));
            (pair + followers * single) / (starts + followers)
        } else {
            single
        };
        -probability.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_follow_the_text() {
        let documents = vec![vec![0, 1, 2, 1, 2, 1, 3], vec![0, 2, 1, 2]];
        let counts = count(&documents, 5);
        for before in 0..5 {
            let sum: f64 = (0..5).map(|token| (-counts.nats(before, token)).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "after {before}: {sum}");
        }
        assert!(counts.nats(1, 2) < counts.nats(1, 3));
        assert!(counts.nats(1, 3) < counts.nats(2, 3));
        assert!(counts.nats(1, 4).is_finite());
        let rows = Rows::from_tokens(vec![0, 1, 2, 0, 2, 4], 2).unwrap();
        let nats = of_text(&documents, &rows, 5);
        assert_eq!(nats.len(), 4);
        assert_eq!(nats[1], counts.nats(1, 2) as f32);
    }

    #[test]
    fn no_more_is_counted_than_needed() {
        let documents = vec![vec![1; MOST_TOKENS - 1], vec![2; 10], vec![3; 10]];
        let counts = count(&documents, 5);
        assert_eq!((counts.total, counts.tokens[2], counts.tokens[3]), (MOST_TOKENS, 1, 0));
    }
}
