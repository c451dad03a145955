//! Which files a corpus is made of, in a fixed order, with their hashes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::PrepareError;
use crate::SourceFile;
use crate::manifest::hash_file;

/// How a file is cut into documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One file is one document, and an empty one is left out: source code.
    Code,
    /// Plain text: a file is a document, or a long one many; see `read.rs`.
    Text,
    /// One JSON object a line.
    JsonLines,
    /// One row, one document.
    Parquet,
}

/// One file of a corpus.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub path: PathBuf,
    pub kind: Kind,
    pub record: SourceFile,
    /// Whether the record's hash was taken from a list and the file not read yet.
    pub listed: bool,
}

/// A corpus: its files, in the order in which they are read.
#[derive(Debug, Clone)]
pub struct Source {
    description: String,
    text_field: String,
    inputs: Vec<Input>,
}

/// A file of a data set on a hub, already on this machine.
#[derive(Debug, Clone)]
pub struct HubFile {
    /// Its path in the repository.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// SHA-256 of its content as the hub lists it, hexadecimal; compared with the content before that is used. `None`:
    /// the file is read to be hashed.
    pub sha256: Option<String>,
}

impl Source {
    /// Every `*.py` file below `folder`, one document each, sorted by path: the embedded default corpus when `folder`
    /// is an unpacked wheel. Empty files, hidden ones and linked folders are left out. Reads every file to hash it.
    pub fn python(folder: &Path) -> Result<Source, PrepareError> {
        let inputs = walk(folder, &|path| extension(path).is_some_and(|e| e == "py").then_some(Kind::Code))?;
        if inputs.is_empty() {
            return Err(PrepareError::NoFiles { path: folder.to_path_buf(), kinds: "Python (.py)" });
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        Ok(Source { description: format!("Python sources of {name}"), text_field: String::new(), inputs })
    }

    /// Local files and folders of .txt, .jsonl and .parquet files. A folder's files are sorted by path, and others in
    /// it are passed over. `text_field` names the field (.jsonl) or column (.parquet) that holds the text; "text" is
    /// usual. Reads every file to hash it.
    pub fn files(paths: &[PathBuf], text_field: &str) -> Result<Source, PrepareError> {
        let mut inputs = Vec::new();
        for path in paths {
            let is_dir = fs::metadata(path).map_err(PrepareError::read("find", path))?.is_dir();
            if is_dir {
                let found = walk(path, &kind)?;
                if found.is_empty() {
                    return Err(PrepareError::NoFiles { path: path.clone(), kinds: ".txt, .jsonl or .parquet" });
                }
                inputs.extend(found);
            } else {
                let kind = kind(path).ok_or_else(|| PrepareError::UnknownKind { path: path.clone() })?;
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                inputs.push(input(path.clone(), kind, name)?);
            }
        }
        if inputs.is_empty() {
            return Err(PrepareError::Options("no corpus is named: give at least one file or folder".into()));
        }
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        Ok(Source { description: names.join(", "), text_field: text_field.to_string(), inputs })
    }

    /// Files of a data set repository on a hub at one commit, in the order given.
    pub fn hub(repository: &str, commit: &str, files: &[HubFile], text_field: &str) -> Result<Source, PrepareError> {
        let mut inputs = Vec::new();
        for file in files {
            let kind =
                kind(Path::new(&file.name)).ok_or_else(|| PrepareError::UnknownKind { path: file.path.clone() })?;
            inputs.push(match &file.sha256 {
                None => input(file.path.clone(), kind, file.name.clone())?,
                Some(sha256) => {
                    let metadata = fs::metadata(&file.path).map_err(PrepareError::read("find", &file.path))?;
                    let (name, bytes, sha256) = (file.name.clone(), metadata.len(), sha256.clone());
                    Input { path: file.path.clone(), kind, record: SourceFile { name, bytes, sha256 }, listed: true }
                }
            });
        }
        if inputs.is_empty() {
            return Err(PrepareError::Options(format!("no file of data set {repository} was chosen")));
        }
        let description = format!("data set {repository} at {commit}, {} files", files.len());
        Ok(Source { description, text_field: text_field.to_string(), inputs })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.record.bytes).sum()
    }

    /// The files with sizes and hashes.
    pub fn files_read(&self) -> impl ExactSizeIterator<Item = &SourceFile> {
        self.inputs.iter().map(|input| &input.record)
    }

    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    pub(crate) fn text_field(&self) -> &str {
        &self.text_field
    }

    /// Whether documents are files of source code, which are long beside a small context.
    pub(crate) fn is_code(&self) -> bool {
        self.inputs.iter().any(|input| input.kind == Kind::Code)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn kind(path: &Path) -> Option<Kind> {
    match extension(path)?.as_str() {
        "txt" => Some(Kind::Text),
        "jsonl" => Some(Kind::JsonLines),
        "parquet" => Some(Kind::Parquet),
        _ => None,
    }
}

fn input(path: PathBuf, kind: Kind, name: String) -> Result<Input, PrepareError> {
    let (bytes, sha256) = hash_file(&path).map_err(PrepareError::read("read", &path))?;
    if bytes == 0 && kind != Kind::Code {
        return Err(PrepareError::EmptyFile { path });
    }
    Ok(Input { path, kind, record: SourceFile { name, bytes, sha256 }, listed: false })
}

/// Files below `root` for which `choose` gives a kind, sorted by path below it. Hidden entries are passed over, links
/// to files followed, links to folders not (they can lead in circles).
fn walk(root: &Path, choose: &dyn Fn(&Path) -> Option<Kind>) -> Result<Vec<Input>, PrepareError> {
    let mut found: Vec<(Vec<String>, PathBuf, Kind)> = Vec::new();
    let mut folders = vec![(Vec::new(), root.to_path_buf())];
    while let Some((names, folder)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(PrepareError::read("list", &folder))? {
            let entry = entry.map_err(PrepareError::read("list", &folder))?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let below: Vec<String> = names.iter().cloned().chain([name]).collect();
            if entry.file_type().map_err(PrepareError::read("inspect", &path))?.is_dir() {
                folders.push((below, path));
            } else if let Some(kind) = choose(&path)
                && fs::metadata(&path).map_err(PrepareError::read("inspect", &path))?.is_file()
            {
                found.push((below, path, kind));
            }
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(names, path, kind)| input(path, kind, names.join("/"))).collect()
}
