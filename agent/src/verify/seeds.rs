//! Whether a model's initial weights come from the seed that the agent draws. Pure.
//!
//! A candidate that fixes its own seed can be "improved" by trying seeds until one is lucky; under the agent's secret seeds
//! that gains nothing. So the model is built under two fresh seeds, and nine tenths of the numbers in its tensors must lie
//! in tensors that came out different. Tensors that are one number throughout (zeros, ones) have nothing to draw. Not all of the rest
//! is asked for: an honest model may hold tables (positions, slopes, decays) that are not random.

use std::collections::HashSet;

use protocol::WeightsDigest;

/// Least share of the numbers, constant tensors left out, that must lie in tensors that differ between two seeds.
pub const LEAST_SHARE: f64 = 0.9;

/// What two seeds made of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Numbers in tensors that are not constant.
    pub drawn: u64,
    /// Numbers in those of them that differ.
    pub differ: u64,
    /// How many of those tensors are the same.
    pub same_tensors: usize,
}

/// Compares digests of the weights under two seeds.
///
/// # Errors
/// In words, when the weights do not come from the seed or the digests are no answer to the question.
pub fn compare(tensors: &[WeightsDigest]) -> Result<Compared, String> {
    let mut names = HashSet::new();
    let mut found = Compared { drawn: 0, differ: 0, same_tensors: 0 };
    let mut same = None;
    for tensor in tensors {
        let [one, two] = tensor.sha256.as_slice() else {
            return Err(format!(
                "{} digests were given for {:?} where there were 2 seeds",
                tensor.sha256.len(),
                tensor.name
            ));
        };
        if !names.insert(tensor.name.as_str()) {
            return Err(format!("{:?} is named twice among the weights", tensor.name));
        }
        if tensor.constant {
            continue;
        }
        found.drawn = found.drawn.saturating_add(tensor.scalars);
        if one == two {
            found.same_tensors += 1;
            same.get_or_insert(tensor.name.as_str());
        } else {
            found.differ = found.differ.saturating_add(tensor.scalars);
        }
    }
    if found.drawn == 0 {
        return Err(format!("none of its {} tensors holds numbers that a seed could have drawn", tensors.len()));
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
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, scalars: u64, constant: bool, sha256: &[&str]) -> WeightsDigest {
        let sha256 = sha256.iter().map(|&text| text.to_owned()).collect();
        WeightsDigest { name: name.to_owned(), scalars, constant, sha256 }
    }

    #[test]
    fn weights_must_come_from_the_seed() {
        let drawn = |name, scalars| tensor(name, scalars, false, &["a", "b"]);
        let fixed = |name, scalars| tensor(name, scalars, false, &["a", "a"]);
        let constant = |name, scalars| tensor(name, scalars, true, &["a", "a"]);
        for (tensors, passes, words) in [
            (vec![drawn("w", 100), constant("b", 10_000)], true, ""),
            (vec![drawn("w", 90), fixed("table", 10)], true, ""),
            (vec![drawn("w", 89), fixed("table", 11)], false, "11 of its 100"),
            (vec![fixed("w", 100)], false, "same to the last bit (for example \"w\")"),
            (vec![constant("w", 100)], false, "none of its 1 tensors"),
            (vec![], false, "none of its 0 tensors"),
            (vec![tensor("w", 1, false, &["a"])], false, "1 digests"),
            (vec![drawn("w", 1), drawn("w", 2)], false, "named twice"),
        ] {
            let found = compare(&tensors);
            assert_eq!(found.is_ok(), passes, "{tensors:?}: {found:?}");
            assert!(found.err().unwrap_or_default().contains(words), "{tensors:?}");
        }
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let huge = |name, same: bool| tensor(name, u64::MAX, false, &["a", if same { "a" } else { "b" }]);
        assert!(compare(&[huge("a", false), huge("b", false)]).is_ok());
        assert!(compare(&[huge("a", true), huge("b", true)]).is_err());
    }
}
