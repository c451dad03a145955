//! What of the trainer may be read by those who propose, beside the files that they may edit.

use git2::{ObjectType, TreeWalkMode, TreeWalkResult};

use super::error::git;
use super::{Repo, RepoError};
use crate::edit::CANDIDATE_FILES;
use crate::flow::{CommitId, SourceFile};

/// Folders (with a slash at the end) and files. Neither the cheats that the evaluator is tried on nor anything of the agent is among them.
const READABLE: [&str; 5] = [
    "trainer/Cargo.toml",
    "trainer/harness/src/",
    "trainer/kernels/src/",
    "trainer/src/candidate/",
    "trainer/src/main.rs",
];

/// Bytes of one file; larger ones are left out.
const MOST_FILE_BYTES: usize = 128 * 1024;

/// Bytes of all files; what comes after them is left out.
const MOST_BYTES: usize = 2 * 1024 * 1024;

impl Repo {
    /// The trainer's readable files as they are in `commit`, in order of their paths: harness and kernels, not those that experiments may
    /// edit. Files that are no text, or too large to be read by anybody, are left out.
    ///
    /// # Errors
    /// When the commit cannot be read.
    pub fn harness_files(&self, commit: &CommitId) -> Result<Vec<SourceFile>, RepoError> {
        let mut found = Vec::new();
        let walked = self.tree(commit)?.walk(TreeWalkMode::PreOrder, |above, entry| {
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = entry.name() else { return TreeWalkResult::Skip };
            let path = format!("{above}{name}");
            match entry.kind() {
                Some(ObjectType::Tree) if leads_to_readable(&path) => TreeWalkResult::Ok,
                Some(ObjectType::Blob) if entry.filemode() & 0o170_000 == 0o100_000 && is_readable(&path) => {
                    found.push((path, entry.id()));
                    TreeWalkResult::Ok
                }
                _ => TreeWalkResult::Skip,
            }
        });
        walked.map_err(git(format!("list the files of commit {commit}")))?;
        found.sort();
        let (mut files, mut bytes) = (Vec::new(), 0);
        for (path, id) in found {
            let blob = self.git.find_blob(id).map_err(git(format!("read {path} of commit {commit}")))?;
            let Ok(text) = std::str::from_utf8(blob.content()) else { continue };
            if text.len() <= MOST_FILE_BYTES && bytes + text.len() <= MOST_BYTES {
                bytes += text.len();
                files.push(SourceFile { path, text: text.to_owned() });
            }
        }
        Ok(files)
    }
}

fn is_readable(path: &str) -> bool {
    let within = |place: &str| path == place || (place.ends_with('/') && path.starts_with(place));
    READABLE.into_iter().any(within) && !CANDIDATE_FILES.contains(&path)
}

fn leads_to_readable(folder: &str) -> bool {
    let folder = format!("{folder}/");
    READABLE.iter().any(|place| place.starts_with(&folder) || (place.ends_with('/') && folder.starts_with(*place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_read_and_the_cheats_are_not() {
        for (path, readable) in [
            ("trainer/harness/src/candidate.rs", true),
            ("trainer/harness/src/deep/er.rs", true),
            ("trainer/src/candidate/mod.rs", true),
            ("trainer/src/main.rs", true),
            ("trainer/src/candidate/recipe.rs", false),
            ("trainer/src/bin/redteam/model.rs", false),
            ("trainer/src/main.rs.orig", false),
            ("trainer/harness/src", false),
            ("agent/src/main.rs", false),
            (".nocturne/nocturne.db", false),
        ] {
            assert_eq!(is_readable(path), readable, "{path}");
        }
        for (folder, leads) in [
            ("trainer", true),
            ("trainer/harness", true),
            ("trainer/harness/src/deep", true),
            ("trainer/src/bin", false),
            ("agent", false),
        ] {
            assert_eq!(leads_to_readable(folder), leads, "{folder}");
        }
    }
}
