//! A repository of its own for an exported folder, for programs that will not work without git. It knows nothing of the person's
//! repository: no remote, no shared objects, no settings, and nothing is ever taken back from it.

use std::fs;
use std::path::Path;

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature, Time};

use super::RepoError;
use super::commit::NOBODY;
use super::error::git;

/// Makes `folder`, which must not have a `.git`, a repository of one commit that holds all of its files. Git leaves out what `excluded`
/// names from then on, one pattern each.
///
/// # Errors
/// When git's library or the disk refuses.
pub fn begin_own(folder: &Path, excluded: &[&str]) -> Result<(), RepoError> {
    let mut options = RepositoryInitOptions::new();
    // No hooks of the person's templates, whose programs would run in here.
    options.external_template(false).no_reinit(true).initial_head("work");
    let here = || format!("begin a repository in {}", folder.display());
    let repository = Repository::init_opts(folder, &options).map_err(git(here()))?;
    let info = repository.path().join("info");
    let file_error = |source| RepoError::File { action: "write", path: info.join("exclude"), source };
    fs::create_dir_all(&info).map_err(file_error)?;
    fs::write(info.join("exclude"), excluded.join("\n") + "\n").map_err(file_error)?;
    let mut index = repository.index().map_err(git(here()))?;
    index.add_all(["*"], IndexAddOption::FORCE, None).map_err(git(here()))?;
    index.write().map_err(git(here()))?;
    let tree = index.write_tree().and_then(|id| repository.find_tree(id)).map_err(git(here()))?;
    let who = Signature::new(NOBODY.0, NOBODY.1, &Time::new(0, 0)).map_err(git(here()))?;
    repository.commit(Some("HEAD"), &who, &who, "The champion", &tree, &[]).map_err(git(here()))?;
    Ok(())
}
