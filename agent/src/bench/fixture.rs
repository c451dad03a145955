//! Rows of a measurement for unit tests.

use super::{Place, Row};

/// A run that finished with these bits per byte.
pub(crate) fn row(initial: u32, order: u32, repeat: u32, val_bpb: f64) -> Row {
    Row {
        variant: "unedited".to_owned(),
        digest: String::new(),
        place: Place { initial, order, repeat },
        val_bpb: Some(val_bpb),
        end: "Finished".to_owned(),
        steps: 20 + u64::from(initial),
        tokens: 81_920,
        training_seconds: 20.0,
        evaluation_seconds: 5.0,
        files: String::new(),
    }
}

/// Two seeds of initial values by three of the data order. Row means 1, 3; column means 1, 2, 3; residuals all 0 but for +-0.5 in two
/// columns.
pub(crate) fn small_table() -> Vec<Row> {
    let cells = [[0.5, 1.0, 1.5], [1.5, 3.0, 4.5]];
    (0..2).flat_map(|i| (0..3).map(move |j| row(i, j, 0, cells[i as usize][j as usize]))).collect()
}
