//! Training documents as tokens, mapped into memory: gigabytes of them cost no memory and no time to open.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::{BOS, DataError, Documents, files};

#[cfg(target_endian = "big")]
compile_error!("token files are little-endian and mapped into memory as they are");

/// So many documents are looked at when shards are opened. All of them would mean reading the whole file.
const PROBES: usize = 1_024;

/// The training split: documents of tokens, each starting with [`BOS`].
#[derive(Debug)]
pub struct Shards {
    tokens: Mmap,
    index: Mmap,
}

impl Shards {
    /// Opens `train.tokens` and `train.index` in a folder of prepared data. Sizes and all offsets are checked, and
    /// the start of up to 1,024 documents.
    pub fn open(dir: &Path) -> Result<Shards, DataError> {
        let (tokens, index) = (dir.join(files::TRAIN_TOKENS), dir.join(files::TRAIN_INDEX));
        let open = |path: &Path| File::open(path).map_err(DataError::io("open", path));
        Shards::of(&open(&tokens)?, &tokens, &open(&index)?, &index)
    }

    /// The same from files that are open already: whoever was handed them need not see where they lie.
    pub fn from_files(tokens: &File, index: &File) -> Result<Shards, DataError> {
        Shards::of(tokens, Path::new(files::TRAIN_TOKENS), index, Path::new(files::TRAIN_INDEX))
    }

    fn of(tokens: &File, tokens_path: &Path, index: &File, index_path: &Path) -> Result<Shards, DataError> {
        let shards = Shards { tokens: map(tokens, tokens_path, 2)?, index: map(index, index_path, 8)? };
        shards.check(tokens_path, index_path)?;
        Ok(shards)
    }

    /// How many documents there are; at least one.
    pub fn documents(&self) -> usize {
        self.index().len() - 1
    }

    /// The tokens of document `i`, [`BOS`] first. Panics when `i` is not less than [`Shards::documents`].
    pub fn document(&self, i: usize) -> &[u16] {
        let index = self.index();
        &self.tokens()[index[i] as usize..index[i + 1] as usize]
    }

    /// All documents one after another.
    pub fn tokens(&self) -> &[u16] {
        bytemuck::cast_slice(&self.tokens)
    }

    /// Where each document starts, in tokens, and the end of the last.
    fn index(&self) -> &[u64] {
        bytemuck::cast_slice(&self.index)
    }

    fn check(&self, tokens_path: &Path, index_path: &Path) -> Result<(), DataError> {
        let (tokens, index) = (self.tokens(), self.index());
        let documents = index.len().saturating_sub(1);
        if documents == 0 {
            return Err(DataError::damaged(index_path, "it lists no documents"));
        }
        if documents > u32::MAX as usize {
            return Err(DataError::damaged(index_path, format!("it lists {documents} documents, more than 2^32")));
        }
        if index[0] != 0 {
            return Err(DataError::damaged(index_path, format!("its first offset is {}, not 0", index[0])));
        }
        if let Some(i) = index.windows(2).position(|pair| pair[0] >= pair[1]) {
            let (start, end) = (index[i], index[i + 1]);
            return Err(DataError::damaged(index_path, format!("document {i} starts at {start} and ends at {end}")));
        }
        if index[documents] != tokens.len() as u64 {
            let reason =
                format!("it ends at token {}, but {} holds {}", index[documents], tokens_path.display(), tokens.len());
            return Err(DataError::damaged(index_path, reason));
        }
        let stride = documents.div_ceil(PROBES);
        if let Some(i) = (0..documents).step_by(stride).find(|&i| self.document(i)[0] != BOS) {
            return Err(DataError::damaged(tokens_path, format!("document {i} does not start with token {BOS}")));
        }
        Ok(())
    }
}

impl Documents for Shards {
    fn count(&self) -> usize {
        self.documents()
    }

    fn tokens(&self, i: usize) -> &[u16] {
        self.document(i)
    }
}

/// Maps a file of `width`-byte numbers into memory.
fn map(file: &File, path: &Path, width: usize) -> Result<Mmap, DataError> {
    let bytes = file.metadata().map_err(DataError::io("inspect", path))?.len();
    if bytes == 0 || bytes % width as u64 != 0 {
        return Err(DataError::damaged(
            path,
            format!("its {bytes} bytes are not a whole number of {width}-byte numbers"),
        ));
    }
    // SAFETY: the map is read-only and private to this value. Prepared data is written once, into a folder that is
    // renamed into place when it is complete, and nothing changes it after that. Whoever truncates it under a running
    // trainer gets the trainer killed by SIGBUS, which the agent records as a crash.
    unsafe { Mmap::map(file) }.map_err(DataError::io("map", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(dir: &Path, tokens: &[u16], index: &[u64]) {
        fs::write(dir.join(files::TRAIN_TOKENS), bytemuck::cast_slice::<u16, u8>(tokens)).unwrap();
        fs::write(dir.join(files::TRAIN_INDEX), bytemuck::cast_slice::<u64, u8>(index)).unwrap();
    }

    #[test]
    fn documents_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[BOS, 5, 6, BOS, 7], &[0, 3, 5]);
        let shards = Shards::open(dir.path()).unwrap();
        assert_eq!(shards.documents(), 2);
        assert_eq!(shards.document(0), [BOS, 5, 6]);
        assert_eq!(shards.document(1), [BOS, 7]);
    }

    #[test]
    fn files_that_were_handed_over_do_not_need_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[BOS, 5, 6, BOS, 7], &[0, 3, 5]);
        let open = |name: &str| File::open(dir.path().join(name)).unwrap();
        let (tokens, index) = (open(files::TRAIN_TOKENS), open(files::TRAIN_INDEX));
        drop(dir);
        assert_eq!(Shards::from_files(&tokens, &index).unwrap().document(1), [BOS, 7]);
        let error = Shards::from_files(&index, &tokens).unwrap_err().to_string();
        assert!(error.contains("train.index is not usable"), "{error}");
    }

    #[test]
    fn damage_is_refused_with_the_file_named() {
        let cases: [(&[u16], &[u64], &str); 7] = [
            (&[BOS, 5], &[0], "lists no documents"),
            (&[BOS, 5], &[1, 2], "first offset is 1"),
            (&[BOS, 5, BOS], &[0, 3, 2, 3], "document 1 starts at 3 and ends at 2"),
            (&[BOS, 5, BOS], &[0, 2, 2, 3], "document 1 starts at 2 and ends at 2"),
            (&[BOS, 5], &[0, 9], "it ends at token 9"),
            (&[BOS, 5, 6], &[0, 2, 3], "document 1 does not start with token 0"),
            (&[], &[0], "0 bytes"),
        ];
        for (tokens, index, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), tokens, index);
            let error = Shards::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("train."), "{error}");
        }
    }

    #[test]
    fn odd_sizes_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Shards::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cannot open") && error.contains("train.tokens"), "{error}");
        write(dir.path(), &[BOS, 5], &[0, 2]);
        fs::write(dir.path().join(files::TRAIN_INDEX), [0; 17]).unwrap();
        let error = Shards::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("17 bytes") && error.contains("train.index"), "{error}");
    }
}
