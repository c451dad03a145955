//! Writes the files of a commit, or of the checkout, into a folder, from which the trainer is then built.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use git2::{ErrorCode, ObjectType, Oid, StatusOptions};

use super::error::git;
use super::{Repo, RepoError, commit_id};
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

/// The checkout as [`Repo::export_checkout`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The commit that HEAD names; `None` before the first.
    pub commit: Option<CommitId>,
    /// Whether something in the checkout is other than in that commit.
    pub modified: bool,
}

enum Node {
    Folder(Folder),
    File { from: Content, executable: bool },
}

/// Where the bytes of a file are.
enum Content {
    Blob(Oid),
    Disk(PathBuf),
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

    /// Makes `folder` hold the files of the checkout as they are on disk now, committed or not, in the way of [`Repo::export`]. Files that git
    /// ignores stay out. The checkout is only read.
    ///
    /// # Errors
    /// The checkout holds symbolic links or submodules (nothing has been written then), or the disk refuses.
    pub fn export_checkout(&self, folder: &Path) -> Result<Checkout, RepoError> {
        let commit = match self.git.head() {
            Ok(head) => Some(commit_id(head.peel_to_commit().map_err(git("read HEAD's commit"))?.id())?),
            Err(error) if error.code() == ErrorCode::UnbornBranch => None,
            Err(error) => return Err(git("read HEAD")(error)),
        };
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false).update_index(false);
        let changed = self.git.statuses(Some(&mut options)).map_err(git("compare the checkout with its commit"))?;
        let index = self.git.index().map_err(git("read the index"))?;
        let tracked = index.iter().map(|entry| entry.path);
        let untracked =
            changed.iter().filter(|entry| entry.status().is_wt_new()).map(|entry| entry.path_bytes().to_vec());
        let mut files = Folder::new();
        for path in tracked.chain(untracked) {
            self.add_file(&mut files, Path::new(OsStr::from_bytes(&path)))?;
        }
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        self.write_folder(&files, folder, &mut Exported::default())?;
        Ok(Checkout { commit, modified: !changed.is_empty() })
    }

    /// Takes a file of the checkout in; one that was deleted there is none.
    fn add_file(&self, files: &mut Folder, path: &Path) -> Result<(), RepoError> {
        let place = self.root().join(path);
        let refuse = |problem| RepoError::UnexportableCheckout { path: place.clone(), problem };
        let Some(metadata) = metadata(&place)? else { return Ok(()) };
        if metadata.is_symlink() {
            return Err(refuse("is a symbolic link"));
        }
        if metadata.is_dir() {
            return Err(refuse("is a submodule or another repository"));
        }
        let mut names: Vec<&OsStr> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                _ => return Err(refuse("has a name that no file may have")),
            }
        }
        let Some(last) = names.pop() else { return Ok(()) };
        let mut folder = files;
        for name in names {
            let node = folder.entry(name.to_owned()).or_insert_with(|| Node::Folder(Folder::new()));
            match node {
                Node::Folder(inner) => folder = inner,
                // Only one that is being changed while it is read.
                Node::File { .. } => return Err(refuse("lies in what was a file a moment ago")),
            }
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        folder.insert(last.to_owned(), Node::File { from: Content::Disk(place), executable });
        Ok(())
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
                    Node::File { from: Content::Blob(entry.id()), executable: entry.filemode() & 0o111 != 0 }
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
                Node::File { from, executable } => {
                    let blob;
                    let content = match from {
                        Content::Blob(id) => {
                            blob = self.git.find_blob(*id).map_err(git(format!("read {}", path.display())))?;
                            Cow::Borrowed(blob.content())
                        }
                        Content::Disk(place) => Cow::Owned(fs::read(place).map_err(failed("read", place))?),
                    };
                    if write_file(&path, &content, *executable)? {
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
