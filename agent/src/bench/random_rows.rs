//! Random tokens as prepared data: how fast a trainer is does not depend on what it reads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::throughput::Shape;
use super::{BenchError, disk};

/// Writes prepared data of so many documents, each one row of random tokens; always the same ones.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write_rows(folder: &Path, shape: &Shape, rows: u64) -> Result<(), BenchError> {
    let (tokens, index) = (folder.join(data::files::TRAIN_TOKENS), folder.join(data::files::TRAIN_INDEX));
    let width = u64::from(shape.seq) + 1;
    let others = shape.vocab.saturating_sub(1).max(1);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let written = File::create(&tokens).and_then(|file| {
        let mut file = BufWriter::new(file);
        for _ in 0..rows {
            file.write_all(&data::BOS.to_le_bytes())?;
            for _ in 1..width {
                // The vocabulary has at most 65,536 tokens, and the first of them begins documents.
                let token = 1 + random.next_u32() % others;
                file.write_all(&u16::try_from(token).unwrap_or(u16::MAX).to_le_bytes())?;
            }
        }
        file.flush()
    });
    written.map_err(disk("write", &tokens))?;
    let offsets: Vec<u8> = (0..=rows).flat_map(|row| (row * width).to_le_bytes()).collect();
    std::fs::write(&index, offsets).map_err(disk("write", &index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_rows_are_data_that_a_trainer_takes() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { vocab: 5, seq: 7, ..Shape::default() };
        write_rows(folder.path(), &shape, 300).unwrap();
        let shards = data::Shards::open(folder.path()).unwrap();
        assert_eq!((shards.documents(), shards.tokens().len()), (300, 2_400));
        let mut seen = [0; 5];
        for document in 0..300 {
            let row = shards.document(document);
            assert_eq!((row[0], row.len()), (data::BOS, 8));
            row[1..].iter().for_each(|token| seen[*token as usize] += 1);
        }
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|count| (400..650).contains(count)), "{seen:?}");
    }
}
