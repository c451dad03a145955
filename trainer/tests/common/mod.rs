//! What the trainer's tests share: settings and a tiny data set.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::{self, File};
use std::path::Path;

use protocol::{Precision, Scale, Setting};

pub mod process;

/// A setting on the CPU with one thread: tests run side by side, and their tensors are too small to share out.
pub fn setting(vocabulary: usize, context: usize, precision: Precision) -> Setting {
    tch::set_num_threads(1);
    Setting { scale: Scale::Cpu, vocabulary, context, device: "cpu".to_owned(), precision, threads: 1 }
}

/// Documents with something to learn: each counts upwards from a place of its own. Token 0 is BOS.
pub fn write_data(dir: &Path, vocabulary: u16) {
    let mut tokens: Vec<u8> = Vec::new();
    let mut index: Vec<u8> = 0u64.to_le_bytes().to_vec();
    for document in 0..200u16 {
        tokens.extend(data::BOS.to_le_bytes());
        for i in 0..20 + document % 30 {
            tokens.extend((1 + (document + i) % (vocabulary - 1)).to_le_bytes());
        }
        index.extend((tokens.len() as u64 / 2).to_le_bytes());
    }
    fs::write(dir.join("train.tokens"), tokens).unwrap();
    fs::write(dir.join("train.index"), index).unwrap();
}

/// Held-out rows of context + 1 tokens of the same kind.
pub fn rows(vocabulary: u16, context: usize, rows: u16) -> Vec<u16> {
    let row = |row: u16| (0..context as u16).map(move |i| 1 + (7 * row + i) % (vocabulary - 1));
    (0..rows).flat_map(|i| std::iter::once(data::BOS).chain(row(i))).collect()
}

/// `train.tokens` and `train.index` of a folder.
pub fn training_files(dir: &Path) -> [File; 2] {
    [data::files::TRAIN_TOKENS, data::files::TRAIN_INDEX].map(|name| File::open(dir.join(name)).unwrap())
}
