//! The candidate in a shape of one's own, for `nocturne bench throughput`: speaks as `trainer train` does, behind the same harness, but takes
//! depth, width and batch from its arguments instead of the recipe. All other numbers are the recipe's of the request's scale.
//!
//! Nothing in here measures anything: the harness tells of every step, and the agent makes the figures.

use std::process::ExitCode;

use harness::{CandidateError, Setting};
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

const USAGE: &str = "usage: throughput DEPTH DIM HEAD_DIM ROWS, all whole numbers above 0; ROWS is the batch of one step; started by \
                     nocturne bench throughput";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<i64> =
        arguments.iter().filter_map(|word| word.parse().ok()).filter(|number| *number > 0).collect();
    let &[depth, dim, head_dim, rows] = numbers.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if arguments.len() != numbers.len() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    harness::train_main(|setting: &Setting, seed| -> Result<Trainer, CandidateError> {
        let mut recipe = Recipe::of(setting.scale);
        let shape = &mut recipe.shape;
        (shape.depth, shape.dim, shape.head_dim) = (depth, dim, head_dim);
        // The whole batch in one pass, as in the program that this is compared with.
        shape.micro_batch_rows = rows;
        shape.tokens_per_step = rows.saturating_mul(setting.context as i64);
        Trainer::new(recipe, setting, seed)
    })
}
