//! What a folder of prepared data holds and what it was made from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DataError, Rows, TokenBytes, files};

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`Manifest::FORMAT`].
    pub format: u32,
    /// The folder's key: a hash of source and options.
    pub key: String,
    /// The source in words.
    pub source: String,
    /// Every file of the source, in the order in which it was read.
    pub source_files: Vec<SourceFile>,
    /// The options that decide the result, as they were given.
    pub options: BTreeMap<String, serde_json::Value>,
    /// Tokens a position can look back on; rows hold one more.
    pub context: usize,
    /// Tokens in the vocabulary, special tokens included.
    pub vocabulary: usize,
    /// Documents without any text, which were left out.
    pub empty_documents: u64,
    /// Exact copies of an earlier document, which were removed before the split.
    pub duplicate_documents: u64,
    /// Documents left out because of the limit on training text.
    pub unused_documents: u64,
    /// What was dealt to one side of the split as a whole, in words.
    #[serde(default)]
    pub dealt_by: String,
    /// Training tokens that one epoch of packed rows keeps, of all in `splits.train.tokens`; documents longer than a row
    /// lose the most.
    #[serde(default)]
    pub packed_tokens: u64,
    /// What the splits hold.
    pub splits: Splits,
    /// SHA-256 of `tokenizer.json`, hexadecimal.
    pub tokenizer_sha256: String,
    /// Every other file of the folder.
    pub files: BTreeMap<String, FileRecord>,
}

/// One file of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path below the source's folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// What each split holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// What models are trained on.
    pub train: SplitCounts,
    /// Held-out text that steers the search.
    pub search: SplitCounts,
    /// Held-out text for the morning.
    pub sealed: SplitCounts,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Whole documents of the source.
    pub documents: u64,
    /// Pieces that long documents were cut into; equal to `documents` where none was cut.
    pub pieces: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Tokens, one BOS per piece included.
    pub tokens: u64,
    /// Rows made of them, for held-out splits.
    pub rows: u64,
}

impl Manifest {
    /// Raised whenever the files or their meaning change.
    pub const FORMAT: u32 = 1;

    /// Reads the manifest of a folder of prepared data and checks that its files are there, in the sizes it says.
    /// Their content is not read; see [`Manifest::verify`].
    pub fn open(dir: &Path) -> Result<Manifest, DataError> {
        let path = dir.join(files::MANIFEST);
        let text = fs::read_to_string(&path).map_err(missing_or("read", &path))?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| DataError::damaged(&path, format!("it does not parse: {error}")))?;
        if manifest.format != Manifest::FORMAT {
            let reason =
                format!("it has format {}, and this program reads format {}", manifest.format, Manifest::FORMAT);
            return Err(DataError::damaged(&path, reason));
        }
        for (name, record) in &manifest.files {
            let file = dir.join(name);
            let bytes = fs::metadata(&file).map_err(missing_or("inspect", &file))?.len();
            if bytes != record.bytes {
                let reason = format!("it has {bytes} bytes, and the manifest says {}", record.bytes);
                return Err(DataError::damaged(&file, reason));
            }
        }
        Ok(manifest)
    }

    /// Reads every file of the folder and compares it with the manifest's hashes: seconds per gigabyte.
    pub fn verify(&self, dir: &Path) -> Result<(), DataError> {
        for (name, record) in &self.files {
            let path = dir.join(name);
            let (bytes, sha256) = hash_file(&path).map_err(DataError::io("read", &path))?;
            if bytes != record.bytes || sha256 != record.sha256 {
                let reason = format!("its content has SHA-256 {sha256}, and the manifest says {}", record.sha256);
                return Err(DataError::damaged(&path, reason));
            }
        }
        Ok(())
    }

    /// The rows that steer the search.
    pub fn search_rows(&self, dir: &Path) -> Result<Rows, DataError> {
        Rows::open(&dir.join(files::SEARCH_ROWS), self.context)
    }

    /// The rows for the morning.
    pub fn sealed_rows(&self, dir: &Path) -> Result<Rows, DataError> {
        Rows::open(&dir.join(files::SEALED_ROWS), self.context)
    }

    /// Bytes that tokens stand for.
    pub fn token_bytes(&self, dir: &Path) -> Result<TokenBytes, DataError> {
        TokenBytes::open(&dir.join(files::TOKEN_BYTES), self.vocabulary)
    }

    /// Where the tokenizer is.
    pub fn tokenizer_path(&self, dir: &Path) -> PathBuf {
        dir.join(files::TOKENIZER)
    }
}

/// A file that is not there is damage to the folder, which has a remedy; other errors are the system's.
fn missing_or<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataError + 'a {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => DataError::damaged(path, "it is missing"),
        _ => DataError::io(action, path)(error),
    }
}

/// Size and SHA-256 (hexadecimal) of a file.
pub(crate) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hex::encode(hasher.finalize()))),
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("search.rows"), [0; 6]).unwrap();
        let (bytes, sha256) = hash_file(&dir.path().join("search.rows")).unwrap();
        let counts = SplitCounts::default();
        let manifest = Manifest {
            format: Manifest::FORMAT,
            key: "k".into(),
            source: "text".into(),
            source_files: vec![],
            options: BTreeMap::new(),
            context: 2,
            vocabulary: 300,
            empty_documents: 0,
            duplicate_documents: 0,
            unused_documents: 0,
            dealt_by: String::new(),
            packed_tokens: 0,
            splits: Splits { train: counts.clone(), search: counts.clone(), sealed: counts },
            tokenizer_sha256: String::new(),
            files: BTreeMap::from([("search.rows".to_string(), FileRecord { bytes, sha256 })]),
        };
        fs::write(dir.path().join(files::MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
        (dir, manifest)
    }

    #[test]
    fn a_whole_folder_is_accepted() {
        let (dir, manifest) = folder();
        assert_eq!(Manifest::open(dir.path()).unwrap(), manifest);
        manifest.verify(dir.path()).unwrap();
        assert_eq!(manifest.search_rows(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn changed_files_are_found() {
        let (dir, manifest) = folder();
        let rows = dir.path().join("search.rows");
        fs::write(&rows, [0, 0, 1, 0, 0, 0]).unwrap();
        Manifest::open(dir.path()).expect("the size is right");
        assert!(manifest.verify(dir.path()).unwrap_err().to_string().contains("search.rows"));
        fs::write(&rows, [0; 4]).unwrap();
        assert!(Manifest::open(dir.path()).unwrap_err().to_string().contains("4 bytes"));
        fs::remove_file(&rows).unwrap();
        assert!(
            Manifest::open(dir.path()).unwrap_err().to_string().contains("search.rows is not usable: it is missing")
        );
        let path = dir.path().join(files::MANIFEST);
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"format\":1", "\"format\":9")).unwrap();
        assert!(Manifest::open(dir.path()).unwrap_err().to_string().contains("format 9"));
        fs::write(&path, "{").unwrap();
        assert!(Manifest::open(dir.path()).unwrap_err().to_string().contains("does not parse"));
    }
}
