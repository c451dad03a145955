//! Whether a model's initial weights come from the seed that the agent draws. Pure.
//!
//! A candidate that fixes its own seed can be "improved" by trying seeds until one is lucky; under the agent's secret seeds
//! that gains nothing. So the processes of claim and audit build the model from two fresh seeds, each as the first thing that it
//! does, as in training, and nine tenths of the numbers in its tensors must lie in tensors that came out different.
//! Tensors that are one number throughout (zeros, ones) have nothing to draw. Not all of the rest is asked for: an honest model
//! may hold tables (positions, slopes, decays) that are not random.
//!
//! Different is not enough: a lucky draw under a little noise differs in every number. So samples of the tensors must not be
//! correlated either, for half of the numbers. Two draws of 64 numbers correlate by more than 0.75 once in 10^13.
//!
//! What no comparison of builds can show is a model that draws its weights anew when its training begins.

use protocol::WeightsDigest;

/// Least share of the numbers, constant tensors left out, that must lie in tensors that differ between two seeds.
pub const LEAST_SHARE: f64 = 0.9;

/// Largest share of them that may lie in tensors that are alike.
pub const MOST_ALIKE: f64 = 0.5;

/// Tensors correlated beyond this are alike.
const CORRELATED: f64 = 0.75;

/// Samples smaller than this say nothing.
const LEAST_SAMPLE: usize = 32;

/// What two seeds made of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Numbers in tensors that are not constant.
    pub drawn: u64,
    /// Numbers in those of them that differ.
    pub differ: u64,
    /// Numbers in those of them that are the same or nearly.
    pub alike: u64,
}

/// Compares the weights of the same model under two seeds.
///
/// # Errors
/// In words, when the weights do not come from the seed or the digests are no answer to the question.
pub fn compare(one: &[WeightsDigest], two: &[WeightsDigest]) -> Result<Compared, String> {
    if one.len() != two.len() {
        return Err(format!("it has {} tensors under one seed and {} under another", one.len(), two.len()));
    }
    let mut found = Compared { drawn: 0, differ: 0, alike: 0 };
    let (mut same, mut similar) = (None, None);
    for (a, b) in one.iter().zip(two) {
        if a.name != b.name || a.scalars != b.scalars {
            return Err(format!(
                "{:?} has {} numbers under one seed where {:?} has {} under another",
                a.name, a.scalars, b.name, b.scalars
            ));
        }
        if a.constant && b.constant {
            continue;
        }
        found.drawn = found.drawn.saturating_add(a.scalars);
        if a.sha256 == b.sha256 {
            same.get_or_insert(a.name.as_str());
        } else {
            found.differ = found.differ.saturating_add(a.scalars);
        }
        if a.sha256 == b.sha256 || correlation(&a.sample, &b.sample) > CORRELATED {
            found.alike = found.alike.saturating_add(a.scalars);
            similar.get_or_insert(a.name.as_str());
        }
    }
    if found.drawn == 0 {
        return Err(format!("none of its {} tensors holds numbers that a seed could have drawn", one.len()));
    }
    if (found.differ as f64) < LEAST_SHARE * found.drawn as f64 {
        return Err(format!(
            "built under two different seeds, {} of its {} initial weights lie in tensors that are the same to the last bit \
             (for example {:?}): they do not come from the seed it was given",
            found.drawn - found.differ,
            found.drawn,
            same.unwrap_or_default()
        ));
    }
    if found.alike as f64 > MOST_ALIKE * found.drawn as f64 {
        return Err(format!(
            "built under two different seeds, {} of its {} initial weights lie in tensors that are nearly the same (for example \
             {:?}): they do not come from the seed it was given",
            found.alike,
            found.drawn,
            similar.unwrap_or_default()
        ));
    }
    Ok(found)
}

/// Pearson's, in absolute value; 0 where the samples are too small to tell or hold one number only.
fn correlation(one: &[f32], two: &[f32]) -> f64 {
    if one.len() != two.len() || one.len() < LEAST_SAMPLE {
        return 0.0;
    }
    let centred = |sample: &[f32]| {
        let mean = sample.iter().map(|&x| f64::from(x)).sum::<f64>() / sample.len() as f64;
        sample.iter().map(|&x| f64::from(x) - mean).collect::<Vec<f64>>()
    };
    let (one, two) = (centred(one), centred(two));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = (product(&one, &one) * product(&two, &two)).sqrt();
    if size > 0.0 { (product(&one, &two) / size).abs() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// A tensor under one seed: `fixed` and `noise` are how much of it comes from the model and how much from the seed.
    fn tensor(name: &str, scalars: u64, seed: u64, fixed: f64, noise: f64) -> WeightsDigest {
        let draw = |seed| {
            let mut random = rand_chacha::ChaCha12Rng::seed_from_u64(seed);
            (0..scalars.min(64)).map(|_| random.random::<f64>() - 0.5).collect::<Vec<f64>>()
        };
        let sample: Vec<f32> =
            draw(1).iter().zip(draw(seed)).map(|(own, drawn)| (own * fixed + drawn * noise) as f32).collect();
        let sha256 = if noise == 0.0 { "fixed".to_owned() } else { format!("{seed}") };
        WeightsDigest { name: name.to_owned(), scalars, constant: fixed == 0.0 && noise == 0.0, sha256, sample }
    }

    /// Name, numbers, fixed, noise.
    type Row = (&'static str, u64, f64, f64);

    fn both(rows: &[Row]) -> Result<Compared, String> {
        let under = |seed: u64| -> Vec<WeightsDigest> {
            (0..).zip(rows).map(|(i, row)| tensor(row.0, row.1, seed + i, row.2, row.3)).collect()
        };
        compare(&under(100), &under(200))
    }

    #[test]
    fn weights_must_come_from_the_seed() {
        let cases: [(&[Row], &str); 9] = [
            (&[("w", 100, 0.0, 1.0), ("zeros", 10_000, 0.0, 0.0)], ""),
            (&[("w", 90, 0.0, 1.0), ("table", 10, 1.0, 0.0)], ""),
            (&[("w", 60, 0.0, 1.0), ("table with noise", 40, 1.0, 0.1)], ""),
            (&[("w", 89, 0.0, 1.0), ("table", 11, 1.0, 0.0)], "11 of its 100"),
            (&[("w", 100, 1.0, 0.0)], "same to the last bit (for example \"w\")"),
            (&[("w", 100, 1.0, 1e-6)], "nearly the same (for example \"w\")"),
            (&[("w", 40, 0.0, 1.0), ("v", 60, 1.0, 0.1)], "60 of its 100"),
            (&[("zeros", 100, 0.0, 0.0)], "none of its 1 tensors"),
            (&[], "none of its 0 tensors"),
        ];
        for (rows, words) in cases {
            let found = both(rows);
            assert_eq!(found.is_ok(), words.is_empty(), "{rows:?}: {found:?}");
            assert!(found.err().unwrap_or_default().contains(words), "{rows:?}");
        }
    }

    #[test]
    fn another_model_under_another_seed_is_refused() {
        let w = tensor("w", 100, 1, 0.0, 1.0);
        let longer = [w.clone(), tensor("v", 1, 1, 0.0, 1.0)];
        assert!(compare(&longer, &longer[..1]).unwrap_err().contains("2 tensors"));
        assert!(compare(&longer[..1], &[tensor("v", 100, 2, 0.0, 1.0)]).unwrap_err().contains("\"v\""));
        assert!(compare(&longer[..1], &[tensor("w", 99, 2, 0.0, 1.0)]).unwrap_err().contains("99"));
    }

    #[test]
    fn chance_is_not_taken_for_likeness() {
        let alike = (0..2_000).filter(|&seed| {
            let draw = |seed| tensor("w", 64, seed, 0.0, 1.0).sample;
            correlation(&draw(2 * seed + 10), &draw(2 * seed + 11)) > CORRELATED
        });
        assert_eq!(alike.count(), 0);
        assert_eq!(correlation(&[1.0; 64], &[2.0; 64]), 0.0);
        assert_eq!(correlation(&[1.0; 8], &[1.0; 8]), 0.0);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let huge = |name: &str, hash: &str| WeightsDigest {
            name: name.to_owned(),
            scalars: u64::MAX,
            constant: false,
            sha256: hash.to_owned(),
            sample: vec![f32::MAX; 64],
        };
        assert!(compare(&[huge("a", "1"), huge("b", "2")], &[huge("a", "3"), huge("b", "4")]).is_ok());
        assert!(compare(&[huge("a", "1"), huge("b", "2")], &[huge("a", "1"), huge("b", "2")]).is_err());
    }
}
