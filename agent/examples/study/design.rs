//! The two-level design: eight runs of eight factors (a Hadamard matrix; Plackett and Burman 1946, Biometrika 33) and their fold-over
//! (Box and Wilson 1951), which keeps main effects clear of pair interactions: sixteen runs, resolution IV.

/// Factors of the design.
pub const FACTORS: usize = 8;

/// Seeds over which the runs are spread.
pub const SEEDS: u32 = 2;

/// Sixteen runs: the second eight switch on what the first switch off.
pub fn folded() -> Vec<[bool; FACTORS]> {
    // Sylvester's matrix: the sign of run i and factor j is the parity of the bits that they share.
    let run = |i: usize| std::array::from_fn(|j| (i & j).count_ones().is_multiple_of(2));
    let half: Vec<[bool; FACTORS]> = (0..FACTORS).map(run).collect();
    let other = half.iter().map(|run| run.map(|on| !on)).collect::<Vec<_>>();
    [half, other].concat()
}

/// The seed of a run: confounded with pair interactions, not with a factor.
pub fn seed(number: usize) -> u32 {
    number as u32 % SEEDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(on: bool) -> i32 {
        if on { 1 } else { -1 }
    }

    #[test]
    fn main_effects_are_clear_of_each_other_of_pair_interactions_and_of_seeds() {
        let runs = folded();
        assert_eq!(runs.len(), 16);
        let sum = |of: &dyn Fn(&[bool; FACTORS]) -> i32| runs.iter().map(of).sum::<i32>();
        for a in 0..FACTORS {
            assert_eq!(sum(&|run| sign(run[a])), 0, "factor {a} is not balanced");
            let on = |of: u32| runs.iter().enumerate().filter(|(number, run)| seed(*number) == of && run[a]).count();
            assert!(
                (0..SEEDS).all(|of| on(of) * SEEDS as usize * 2 == runs.len()),
                "factor {a} is not balanced in a seed"
            );
            for b in 0..a {
                assert_eq!(sum(&|run| sign(run[a]) * sign(run[b])), 0, "factors {a} and {b}");
                for c in 0..FACTORS {
                    assert_eq!(sum(&|run| sign(run[a]) * sign(run[b]) * sign(run[c])), 0, "{a} x {b} on {c}");
                }
            }
        }
    }
}
