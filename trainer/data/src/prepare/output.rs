//! What the encoding pass leaves behind: held-out documents to pack, and the shards.

use super::PrepareError;
use super::staging::{HashedFile, Staging};
use crate::{Documents, FileRecord, Packer, SplitCounts, files};

/// The order of held-out documents is drawn with this seed, for good.
const HELD_OUT_SEED: u64 = 0;

/// The documents of a held-out split.
#[derive(Default)]
pub(crate) struct HeldOut {
    pub documents: Vec<Vec<u16>>,
    pub counts: SplitCounts,
}

impl HeldOut {
    /// Packs `rows` rows as training rows are packed; `None` if the documents do not suffice without repeating any.
    pub fn pack(&self, rows: usize, context: usize) -> Option<Vec<u16>> {
        if self.documents.count() == 0 {
            return None;
        }
        let mut packer = Packer::new(&self.documents, context, HELD_OUT_SEED);
        let mut tokens = Vec::with_capacity(rows * packer.row_tokens());
        (0..rows).for_each(|_| packer.next_row(&mut tokens));
        (packer.position().epoch == 0).then_some(tokens)
    }
}

/// `train.tokens` and `train.index` in the making.
pub(crate) struct ShardFiles {
    tokens: HashedFile,
    index: HashedFile,
    end: u64,
}

impl ShardFiles {
    pub fn create(staging: &Staging) -> Result<ShardFiles, PrepareError> {
        let mut index = staging.file(files::TRAIN_INDEX)?;
        index.write(&0u64.to_le_bytes())?;
        Ok(ShardFiles { tokens: staging.file(files::TRAIN_TOKENS)?, index, end: 0 })
    }

    pub fn push(&mut self, document: &[u16]) -> Result<(), PrepareError> {
        self.end += document.len() as u64;
        self.tokens.write(&le_bytes(document))?;
        self.index.write(&self.end.to_le_bytes())
    }

    pub fn finish(self) -> Result<[FileRecord; 2], PrepareError> {
        Ok([self.tokens.finish()?, self.index.finish()?])
    }
}

pub(crate) fn le_bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
