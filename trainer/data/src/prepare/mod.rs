//! Text -> a folder of prepared data (see the crate's page).
//!
//! Documents are read three times and never held in memory together: to hash them and deal them out, to count words
//! for the tokenizer, and to encode them. The same source and options give the same bytes, on any number of threads.

mod bpe;
mod encode;
mod error;
mod options;
mod output;
mod parquet_file;
mod pieces;
mod read;
mod run;
mod source;
mod split;
mod staging;
mod tokenizer;
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use error::PrepareError;
pub use options::Options;
pub use source::{HubFile, Source};
pub use tokenizer::{GREATEST_VOCABULARY, LEAST_VOCABULARY, Tokenizer};

use crate::{FileRecord, Manifest, Packer, Shards, Splits, files};
use output::{HeldOut, ShardFiles, le_bytes};
use run::Run;
use split::Part;
use staging::{Create, Staging};

/// Raised whenever the same source and options would give other bytes.
const RECIPE: u32 = 2;

/// What [`prepare`] is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading all documents, looking for copies; counted in bytes of the source's files.
    Read,
    /// Counting words; in bytes of the source's files.
    Count,
    /// Training the tokenizer; in tokens of the vocabulary.
    Tokenizer,
    /// Encoding; in bytes of the source's files.
    Encode,
}

impl Stage {
    /// For a person.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Read => "reading text",
            Stage::Count => "counting words",
            Stage::Tokenizer => "training the tokenizer",
            Stage::Encode => "encoding",
        }
    }
}

/// How far [`prepare`] is. Comes at least at the end of every stage, and several times a second while there is work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of it is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// The name of the folder for this source and these options: another name whenever one of them changes.
pub fn key(source: &Source, options: &Options) -> String {
    let files: Vec<_> = source.files_read().collect();
    let facts = serde_json::json!([Manifest::FORMAT, RECIPE, files, source.text_field(), options.as_map()]);
    hex::encode(&Sha256::digest(facts.to_string().as_bytes())[..8])
}

/// Prepares `source` into the folder `out_dir`, which appears whole or not at all. If it is there already, from the
/// same source and options, its manifest is returned at once. Interrupted runs leave nothing that a later one takes
/// for good; what they leave is removed. A second process waits for the first.
pub fn prepare(
    source: &Source,
    options: &Options,
    out_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, PrepareError> {
    prepare_with(source, options, out_dir, progress, |path| File::create_new(path))
}

fn prepare_with(
    source: &Source,
    options: &Options,
    out_dir: &Path,
    progress: &mut dyn FnMut(Progress),
    create: Create,
) -> Result<Manifest, PrepareError> {
    options.check()?;
    let key = key(source, options);
    if let Some(manifest) = existing(out_dir, &key)? {
        return Ok(manifest);
    }
    let staging = Staging::begin(out_dir, create)?;
    // Another process may have made it while this one waited.
    if let Some(manifest) = existing(out_dir, &key)? {
        return Ok(manifest);
    }
    staging.open()?;
    let corpus = source.to_string();
    let mut run = Run { source, options, progress };
    run.check_listed()?;
    let parts = run.deal()?;
    let tokenizer = run.tokenizer(&parts)?;
    let mut written: BTreeMap<String, FileRecord> = BTreeMap::new();
    let token_bytes = le_bytes(&tokenizer.token_bytes());
    written.insert(files::TOKENIZER.into(), staging.write(files::TOKENIZER, tokenizer.json().as_bytes())?);
    written.insert(files::TOKEN_BYTES.into(), staging.write(files::TOKEN_BYTES, &token_bytes)?);
    let mut shards = ShardFiles::create(&staging)?;
    let mut held_out = [HeldOut::default(), HeldOut::default()];
    let train = run.encode(&parts, &tokenizer, &mut shards, &mut held_out)?;
    let [tokens, index] = shards.finish()?;
    written.insert(files::TRAIN_TOKENS.into(), tokens);
    written.insert(files::TRAIN_INDEX.into(), index);
    let packed_tokens = packed_tokens(&Shards::open(staging.folder())?, options.context);
    let [mut search, mut sealed] = held_out;
    for (split, name, rows) in
        [(&mut search, files::SEARCH_ROWS, options.search_rows), (&mut sealed, files::SEALED_ROWS, options.sealed_rows)]
    {
        let row_file = split.pack(rows, options.context).ok_or_else(|| run.too_small(&parts))?;
        split.counts.rows = rows as u64;
        written.insert(name.into(), staging.write(name, &le_bytes(&row_file))?);
    }
    let count = |part| parts.iter().filter(|&&p| p == part).count() as u64;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        key,
        source: corpus,
        source_files: source.files_read().cloned().collect(),
        options: options.as_map(),
        context: options.context,
        vocabulary: options.vocabulary,
        empty_documents: count(Part::Empty),
        duplicate_documents: count(Part::Duplicate),
        unused_documents: count(Part::Unused),
        dealt_by: read::dealt_by(source),
        packed_tokens,
        splits: Splits { train, search: search.counts, sealed: sealed.counts },
        tokenizer_sha256: written[files::TOKENIZER].sha256.clone(),
        files: written,
    };
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| PrepareError::Options(e.to_string()))? + "\n";
    staging.write(files::MANIFEST, text.as_bytes())?;
    staging.commit()?;
    Ok(manifest)
}

/// Training tokens that get into the rows of one epoch; cropping drops the others.
fn packed_tokens(shards: &Shards, context: usize) -> u64 {
    let mut packer = Packer::new(shards, context, 0);
    let mut row = Vec::with_capacity(packer.row_tokens());
    let mut tokens = 0;
    loop {
        row.clear();
        packer.next_row(&mut row);
        // The row in which the next epoch begins is the next epoch's.
        if packer.position().epoch > 0 {
            return tokens;
        }
        tokens += row.len() as u64;
    }
}

/// Data that is already in `dir`; `None` if there is no such folder.
fn existing(dir: &Path, key: &str) -> Result<Option<Manifest>, PrepareError> {
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PrepareError::read("inspect", dir)(error)),
        Ok(_) => (),
    }
    let manifest = Manifest::open(dir)?;
    if manifest.key != key {
        return Err(PrepareError::Occupied { path: dir.to_path_buf(), found: manifest.key });
    }
    Ok(Some(manifest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..9_000).map(|i| format!("Line {i} of a text, with {} in it.\n\n", i * i)).collect();
        let path = dir.path().join("text.txt");
        std::fs::write(&path, text).unwrap();
        let source = Source::files(&[path], "text").unwrap();
        let options = Options { search_rows: 5, sealed_rows: 5, ..Options::new(300, 16).cut_at(60) };
        let out = dir.path().join("out");
        for (full, create) in [
            (files::TRAIN_TOKENS, (|path| open_or_full(path, files::TRAIN_TOKENS)) as Create),
            (files::MANIFEST, |path| open_or_full(path, files::MANIFEST)),
        ] {
            let error = prepare_with(&source, &options, &out, &mut |_| (), create).unwrap_err().to_string();
            assert!(error.contains(&format!("{full} is full")), "{error}");
            let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["text.txt"]);
        }
        prepare(&source, &options, &out, &mut |_| ()).unwrap().verify(&out).unwrap();
    }

    /// The one file lies on a disk without any room.
    fn open_or_full(path: &Path, full: &str) -> io::Result<File> {
        if path.ends_with(full) { File::options().write(true).open("/dev/full") } else { File::create_new(path) }
    }
}
