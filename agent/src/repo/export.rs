//! Writes a commit's files into a folder, from which the trainer is then built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use git2::{ObjectType, Oid};

use super::error::git;
use super::{Repo, RepoError};
use crate::flow::CommitId;

/// What [`Repo::export`] did, in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// New, or other than before.
    pub written: usize,
    /// Left alone, modification time included.
    pub unchanged: usize,
    /// Files, links and whole folders that the commit does not have.
    pub removed: usize,
}

enum Node {
    Folder(Folder),
    File { blob: Oid, executable: bool },
}

type Folder = BTreeMap<OsString, Node>;

impl Repo {
    /// Makes `folder` hold exactly the files of `commit`, byte for byte as committed (no line-end conversion). A file that is
    /// right already is not touched, so cargo rebuilds only what changed. Whatever else lies in `folder` is removed; symbolic
    /// links are removed, never followed.
    ///
    /// # Errors
    /// The commit holds symbolic links or submodules (nothing has been written then), or the disk refuses.
    pub fn export(&self, commit: &CommitId, folder: &Path) -> Result<Exported, RepoError> {
        let files = self.read_folder(commit, &self.tree(commit)?, "")?;
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let mut done = Exported::default();
        self.write_folder(&files, folder, &mut done)?;
        Ok(done)
    }

    fn read_folder(&self, commit: &CommitId, tree: &git2::Tree<'_>, above: &str) -> Result<Folder, RepoError> {
        let mut folder = Folder::new();
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{above}{}", String::from_utf8_lossy(name));
            let refuse = |problem| RepoError::Unexportable { commit: commit.clone(), path: path.clone(), problem };
            // Git's library checks names when it checks out, not when it reads.
            let odd = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
            if odd || name.eq_ignore_ascii_case(b".git") {
                return Err(refuse("has a name that no file may have"));
            }
            let node = match (entry.kind(), entry.filemode() & 0o170_000) {
                (Some(ObjectType::Tree), _) => {
                    let tree = self.git.find_tree(entry.id()).map_err(git(format!("read {path} of {commit}")))?;
                    Node::Folder(self.read_folder(commit, &tree, &format!("{path}/"))?)
                }
                (Some(ObjectType::Blob), 0o100_000) => {
                    Node::File { blob: entry.id(), executable: entry.filemode() & 0o111 != 0 }
                }
                (Some(ObjectType::Blob), _) => return Err(refuse("is a symbolic link")),
                _ => return Err(refuse("is a submodule")),
            };
            folder.insert(OsString::from_vec(name.to_vec()), node);
        }
        Ok(folder)
    }

    fn write_folder(&self, wanted: &Folder, folder: &Path, done: &mut Exported) -> Result<(), RepoError> {
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let entry = entry.map_err(failed("list", folder))?;
            if !wanted.contains_key(&entry.file_name()) {
                remove(&entry.path())?;
                done.removed += 1;
            }
        }
        for (name, node) in wanted {
            let path = folder.join(name);
            match node {
                Node::Folder(wanted) => {
                    if !is_folder(&path)? {
                        remove(&path)?;
                        fs::create_dir(&path).map_err(failed("create", &path))?;
                    }
                    self.write_folder(wanted, &path, done)?;
                }
                Node::File { blob, executable } => {
                    let blob = self.git.find_blob(*blob).map_err(git(format!("read {}", path.display())))?;
                    if write_file(&path, blob.content(), *executable)? {
                        done.written += 1;
                    } else {
                        done.unchanged += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the file had to be written. It is made anew, not overwritten, in case another name leads to the same file.
fn write_file(path: &Path, content: &[u8], executable: bool) -> Result<bool, RepoError> {
    let mode = if executable { 0o755 } else { 0o644 };
    if let Some(metadata) = metadata(path)?
        && metadata.is_file()
        && metadata.len() == content.len() as u64
        && (metadata.permissions().mode() & 0o100 != 0) == executable
        && fs::read(path).map_err(failed("read", path))? == content
    {
        return Ok(false);
    }
    remove(path)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed("create", path))?;
    file.write_all(content).map_err(failed("write", path))?;
    Ok(true)
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, RepoError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

fn is_folder(path: &Path) -> Result<bool, RepoError> {
    Ok(metadata(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Removes whatever has this name; a link itself, not what it leads to.
fn remove(path: &Path) -> Result<(), RepoError> {
    match metadata(path)? {
        None => Ok(()),
        Some(metadata) if metadata.is_dir() => fs::remove_dir_all(path).map_err(failed("remove", path)),
        Some(_) => fs::remove_file(path).map_err(failed("remove", path)),
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> RepoError + 'a {
    move |source| RepoError::File { action, path: path.to_owned(), source }
}
