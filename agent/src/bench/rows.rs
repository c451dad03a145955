//! What a measurement writes down: one JSON document a line, in the order in which the runs were made.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BenchError, disk};

/// One cell of a crossed design; `repeat` counts runs of the same cell from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Number of the seed of initial values.
    pub initial: u32,
    /// Number of the seed of the data order.
    pub order: u32,
    /// Number of the run under these seeds.
    pub repeat: u32,
}

/// What a run found; a line of `rows.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The variant's name when it ran.
    pub variant: String,
    /// Names the variant by the content of its candidate files.
    pub digest: String,
    /// Under which seeds.
    #[serde(flatten)]
    pub place: Place,
    /// Bits per byte; `None` when the run did not finish or was rejected.
    pub val_bpb: Option<f64>,
    /// How it ended, in words.
    pub end: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds from the word "go" to the trainer's end.
    pub training_seconds: f64,
    /// Seconds of the verification.
    pub evaluation_seconds: f64,
    /// File names of curve and claim, without their extensions `.curve.jsonl` and `.claim.f32`.
    pub files: String,
}

/// The rows of a measurement's `rows.jsonl`; none where there is no such file.
///
/// # Errors
/// When the file cannot be read, or a line of it is no row.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, BenchError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk("open", path)(error)),
    };
    let mut rows = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(disk("read", path))?;
        let row = serde_json::from_str(&line);
        rows.push(row.map_err(|source| BenchError::Row { path: path.to_owned(), line: index + 1, source })?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back_and_a_broken_line_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        assert!(read_rows(&path).unwrap().is_empty());
        let row = Row {
            variant: "unedited".to_owned(),
            digest: "ab".to_owned(),
            place: Place { initial: 1, order: 2, repeat: 0 },
            val_bpb: Some(1.5),
            end: "Finished".to_owned(),
            steps: 10,
            tokens: 40_960,
            training_seconds: 3.0,
            evaluation_seconds: 1.0,
            files: "ab-1-2-0".to_owned(),
        };
        crate::files::append_json_line(&path, &row).unwrap();
        crate::files::append_json_line(&path, &Row { val_bpb: None, ..row.clone() }).unwrap();
        let rows = read_rows(&path).unwrap();
        assert_eq!(rows, [row.clone(), Row { val_bpb: None, ..row }]);
        std::fs::write(&path, "{\"variant\":3}\n").unwrap();
        assert!(read_rows(&path).unwrap_err().to_string().starts_with("line 1 of"));
    }
}
