//! Reading: candidate files, differences, changes not yet committed.

use git2::{DiffFormat, DiffLineType, DiffOptions, Oid, StatusOptions, Tree};

use super::error::git;
use super::{NOTES, Repo, RepoError, oid};
use crate::edit::CANDIDATE_FILES;
use crate::flow::{CommitId, ExperimentId, SourceFile};

/// The largest candidate file that is read; the edit policy's own limit is far below.
const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Repo {
    /// The files that an experiment may edit, as they are in `commit`, sorted by path.
    pub fn candidate_files(&self, commit: &CommitId) -> Result<Vec<SourceFile>, RepoError> {
        let tree = self.tree(commit)?;
        CANDIDATE_FILES
            .iter()
            .map(|path| {
                let problem = |problem: String| RepoError::CandidateFile {
                    commit: commit.clone(),
                    path: (*path).to_owned(),
                    problem,
                };
                let entry = self.regular_file(&tree, path).map_err(problem)?;
                let blob = self.git.find_blob(entry).map_err(git(format!("read {path} of commit {commit}")))?;
                if blob.size() > MAX_FILE_BYTES {
                    return Err(problem(format!("is larger than {MAX_FILE_BYTES} bytes")));
                }
                let text =
                    std::str::from_utf8(blob.content()).map_err(|error| problem(format!("is not UTF-8 ({error})")))?;
                Ok(SourceFile { path: (*path).to_owned(), text: text.to_owned() })
            })
            .collect()
    }

    /// The content of the file at `path` in `tree`, if all above it are folders and it is a regular file that nobody executes:
    /// a link or a submodule on the way would lead out of the commit. The error completes "`path` ...".
    pub(super) fn regular_file(&self, tree: &Tree<'_>, path: &str) -> Result<Oid, String> {
        let mut folder: Option<Tree<'_>> = None;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let entry = folder.as_ref().unwrap_or(tree).get_name(part).ok_or("is missing")?.to_owned();
            match (entry.filemode() & 0o170_000, parts.peek()) {
                (0o040_000, Some(_)) => {
                    let id = entry.id();
                    let inner = self.git.find_tree(id);
                    folder = Some(inner.map_err(|error| format!("cannot be read ({})", error.message()))?);
                }
                (0o100_000, None) if entry.filemode() & 0o111 == 0 => return Ok(entry.id()),
                (0o100_000, None) => {
                    return Err("is executable; take that away with `git update-index --chmod=-x`".to_owned());
                }
                (0o120_000, Some(_)) => return Err(format!("lies behind a symbolic link, {part}")),
                (0o160_000, Some(_)) => return Err(format!("lies in a submodule, {part}")),
                (_, Some(_)) => return Err("is missing".to_owned()),
                (_, None) => return Err("is not a regular file".to_owned()),
            }
        }
        Err("is missing".to_owned())
    }

    /// What changed under `trainer/` from commit `a` to commit `b`, as a unified diff. The text is the repository's, so it may
    /// hold anything; bytes that are not UTF-8 are replaced.
    pub fn diff(&self, a: &CommitId, b: &CommitId) -> Result<String, RepoError> {
        let mut options = DiffOptions::new();
        // The person's own settings (prefixes, context) do not change what the records say.
        options.pathspec("trainer").disable_pathspec_match(true).old_prefix("a").new_prefix("b").context_lines(3);
        let diff = self
            .git
            .diff_tree_to_tree(Some(&self.tree(a)?), Some(&self.tree(b)?), Some(&mut options))
            .map_err(git(format!("compare {a} with {b}")))?;
        let mut text = Vec::new();
        diff.print(DiffFormat::Patch, |_, _, line| {
            if matches!(line.origin_value(), DiffLineType::Context | DiffLineType::Addition | DiffLineType::Deletion) {
                text.push(line.origin() as u8);
            }
            text.extend_from_slice(line.content());
            true
        })
        .map_err(git(format!("compare {a} with {b}")))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Files of the trainer (`trainer/`, `Cargo.toml`, `Cargo.lock`) that differ from HEAD in the checkout, sorted: a night does
    /// not see those changes, so its person should know.
    pub fn uncommitted_changes(&self) -> Result<Vec<String>, RepoError> {
        let mut options = StatusOptions::new();
        // `update_index(false)`: looking must not rewrite the person's index.
        options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false).update_index(false);
        options.disable_pathspec_match(true);
        for path in ["trainer", "Cargo.toml", "Cargo.lock"] {
            options.pathspec(path);
        }
        let statuses = self.git.statuses(Some(&mut options)).map_err(git("look for uncommitted changes"))?;
        let mut paths: Vec<String> =
            statuses.iter().map(|entry| String::from_utf8_lossy(entry.path_bytes()).into_owned()).collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Whether `commit` is `ancestor` or comes after it.
    pub fn descends(&self, commit: &CommitId, ancestor: &CommitId) -> Result<bool, RepoError> {
        if commit == ancestor {
            return Ok(true);
        }
        self.git
            .graph_descendant_of(oid(commit)?, oid(ancestor)?)
            .map_err(git(format!("tell whether {commit} descends from {ancestor}")))
    }

    /// The first parent of `commit`.
    pub fn parent(&self, commit: &CommitId) -> Result<Option<CommitId>, RepoError> {
        self.commit(commit)?.parent_ids().next().map(super::commit_id).transpose()
    }

    /// Which experiment the trailers of `commit` name, if they name one.
    pub fn experiment_of(&self, commit: &CommitId) -> Result<Option<ExperimentId>, RepoError> {
        let message = self.commit(commit)?;
        // A message that is not UTF-8 is not one of ours.
        let Ok(message) = message.message() else { return Ok(None) };
        let trailers = git2::message_trailers_strs(message).map_err(git(format!("read the trailers of {commit}")))?;
        let experiment = trailers.iter().find(|(key, _)| *key == super::message::EXPERIMENT);
        Ok(experiment.and_then(|(_, value)| value.trim().parse().ok()))
    }

    /// The note on `commit`, if it has one.
    pub fn note(&self, commit: &CommitId) -> Result<Option<String>, RepoError> {
        match self.git.find_note(Some(NOTES), oid(commit)?) {
            Ok(note) => Ok(Some(String::from_utf8_lossy(note.message_bytes()).into_owned())),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(git(format!("read the note on {commit}"))(error)),
        }
    }
}
