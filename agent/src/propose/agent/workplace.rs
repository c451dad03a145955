//! The folder that a coding agent works in, and what was changed there.
//!
//! A copy of the champion's files, beside nothing of the person's, with a git repository of its own. When the agent is done, all of
//! its files are compared with what was laid out: nothing is taken on its word or on its git's. Links are never followed, sizes are looked at
//! before anything is read, and names that it made up are only ever shown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::words::{BRIEF_FILE, PROPOSAL_FILE, SCRATCH_FOLDER};
use crate::brief::quote::inline;
use crate::edit::{CANDIDATE_FILES, Policy};
use crate::flow::SourceFile;
use crate::hash::sha256_file;
use crate::repo;

/// What an agent may leave lying at the top of its folder, besides names that begin with a dot.
const LEFT_ALONE: [&str; 4] = [BRIEF_FILE, PROPOSAL_FILE, SCRATCH_FOLDER, "target"];

/// Files and folders that are looked through; a folder with more is not one that anybody worked in.
const MOST_ENTRIES: usize = 100_000;

/// Complaints that one message holds.
const MOST_COMPLAINTS: usize = 12;

/// Bytes of the file with the proposal's lines.
const MOST_PROPOSAL_BYTES: u64 = 64 * 1024;

/// A folder laid out for an agent.
#[derive(Debug)]
pub(in crate::propose) struct Workplace {
    folder: PathBuf,
    laid_out: BTreeMap<String, Laid>,
    champion: Vec<SourceFile>,
}

/// A file as it was laid out.
#[derive(Debug, PartialEq)]
struct Laid {
    bytes: u64,
    sha256: String,
}

/// What lies at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    File { bytes: u64 },
    Folder,
    Link,
    Other,
}

/// Why a folder cannot be laid out or looked at: the machine's fault, or of an agent that broke it.
pub(in crate::propose) type Failed = String;

impl Workplace {
    /// Lays out a folder, whatever was there before: `export` writes the champion's files into it, `files` are then put in the place of its
    /// candidate files (they are the champion's, or a proposal's that is to be mended).
    pub(in crate::propose) fn lay_out(
        folder: &Path,
        export: impl FnOnce(&Path) -> Result<(), String>,
        champion: &[SourceFile],
        files: &[SourceFile],
    ) -> Result<Self, Failed> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {}: {error}", folder.display());
        crate::files::remove_folder(folder).map_err(|error| failed("remove what lies in", &error))?;
        fs::create_dir_all(folder).map_err(|error| failed("create the folder", &error))?;
        export(folder).map_err(|why| failed("lay out the files in", &why))?;
        // The brief and the proposal are not among them: agents search, read and write nothing that git leaves out.
        repo::begin_own(folder, &["/scratch/", "/target/", "/.*"])
            .map_err(|error| failed("make a repository of", &error))?;
        for file in files {
            fs::write(folder.join(&file.path), &file.text).map_err(|error| failed("write files into", &error))?;
        }
        let mut workplace = Self { folder: folder.to_owned(), laid_out: BTreeMap::new(), champion: champion.to_vec() };
        for (path, kind) in workplace.entries()? {
            if let Kind::File { bytes } = kind {
                let sha256 = sha256_file(&folder.join(&path)).map_err(|error| failed("read the files of", &error))?;
                workplace.laid_out.insert(path, Laid { bytes, sha256 });
            }
        }
        Ok(workplace)
    }

    pub(in crate::propose) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the brief; what lies in its place goes.
    pub(in crate::propose) fn write_brief(&self, text: &str) -> Result<(), Failed> {
        crate::files::write_atomically(&self.folder.join(BRIEF_FILE), text.as_bytes())
            .map_err(|error| error.to_string())
    }

    /// The candidate files as they are now; or everything that is wrong with what was changed, for the agent to mend.
    pub(in crate::propose) fn changed(&self, policy: &Policy) -> Result<Result<Vec<SourceFile>, Vec<String>>, Failed> {
        let entries = self.entries()?;
        let mut complaints = Vec::new();
        let mut complain = |path: &str, what: &str| complaints.push(format!("`{}` {what}", inline(path, 120)));
        for (path, kind) in &entries {
            let known = self.laid_out.get(path);
            match kind {
                Kind::Link => complain(path, "is a symbolic link; put plain files in its place"),
                Kind::Other => complain(path, "is neither file nor folder; remove it"),
                Kind::File { .. } if known.is_none() => complain(
                    path,
                    "is new; only the candidate files are taken, so put what is needed there (notes belong into `scratch/`)",
                ),
                Kind::File { bytes } if !CANDIDATE_FILES.contains(&path.as_str()) => {
                    let same = known.is_some_and(|laid| {
                        laid.bytes == *bytes
                            && sha256_file(&self.folder.join(path)).is_ok_and(|sha256| sha256 == laid.sha256)
                    });
                    if !same {
                        complain(path, "was changed; it is not a candidate file: undo that");
                    }
                }
                Kind::File { .. } | Kind::Folder => {}
            }
        }
        for path in self.laid_out.keys().filter(|path| !entries.contains_key(*path)) {
            complain(path, "was deleted; put it back");
        }
        let mut files = Vec::new();
        for file in &self.champion {
            // What is not there, or is something else, has been complained of.
            let Some(Kind::File { bytes }) = entries.get(&file.path) else { continue };
            match read_text(&self.folder.join(&file.path), *bytes, policy.max_file_bytes as u64) {
                Ok(text) => files.push(SourceFile { path: file.path.clone(), text }),
                Err(what) => complain(&file.path, &what),
            }
        }
        if complaints.len() > MOST_COMPLAINTS {
            let more = complaints.len() - MOST_COMPLAINTS;
            complaints.truncate(MOST_COMPLAINTS);
            complaints.push(format!("and {more} more"));
        }
        Ok(if complaints.is_empty() { Ok(files) } else { Err(complaints) })
    }

    /// The text of the file with the proposal's lines; or what is wrong with it.
    pub(in crate::propose) fn proposal(&self) -> Result<String, String> {
        let path = self.folder.join(PROPOSAL_FILE);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => read_text(&path, metadata.len(), MOST_PROPOSAL_BYTES)
                .map_err(|what| format!("`{PROPOSAL_FILE}` {what}")),
            Ok(_) => Err(format!("`{PROPOSAL_FILE}` is no plain file")),
            Err(_) => Err(format!("`{PROPOSAL_FILE}` is missing")),
        }
    }

    /// Everything in the folder that counts, by its path. Links are told, not followed.
    fn entries(&self) -> Result<BTreeMap<String, Kind>, Failed> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(self.folder.clone(), String::new())];
        while let Some((folder, above)) = folders.pop() {
            let failed = |error: std::io::Error| format!("cannot look through {}: {error}", folder.display());
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = format!("{above}{name}");
                if above.is_empty() && self.is_left_alone(&name) {
                    continue;
                }
                // Not of what a link leads to.
                let metadata = entry.metadata().map_err(failed)?;
                let kind = match metadata.file_type() {
                    kind if kind.is_symlink() => Kind::Link,
                    kind if kind.is_dir() => Kind::Folder,
                    kind if kind.is_file() => Kind::File { bytes: metadata.size() },
                    _ => Kind::Other,
                };
                if kind == Kind::Folder {
                    folders.push((entry.path(), format!("{path}/")));
                }
                found.insert(path, kind);
                if found.len() > MOST_ENTRIES {
                    return Err(format!("{} holds more than {MOST_ENTRIES} files", self.folder.display()));
                }
            }
        }
        Ok(found)
    }

    /// What lies at the top of the folder and does not count: what agents keep for themselves.
    fn is_left_alone(&self, name: &str) -> bool {
        let own = || self.laid_out.keys().any(|path| path.split('/').next() == Some(name));
        name == ".git" || LEFT_ALONE.contains(&name) || (name.starts_with('.') && !self.laid_out.is_empty() && !own())
    }
}

/// A plain file's text of at most so many bytes; the error completes "`path` ...".
fn read_text(path: &Path, bytes: u64, most: u64) -> Result<String, String> {
    let large = |bytes: u64| format!("has {bytes} bytes, at most {most} are taken");
    if bytes > most {
        return Err(large(bytes));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    let file = file.map_err(|error| format!("cannot be read ({error})"))?;
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(|error| format!("cannot be read ({error})"))?;
    if content.len() as u64 > most {
        return Err(large(content.len() as u64));
    }
    match String::from_utf8(content) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err("is no text in UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests;
