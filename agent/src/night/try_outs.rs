//! Compiling edits for the tool `check` while a night runs: the champion with the edits in it, confined like every build, in a slot of its
//! own, and in a build's turn, so that no trial that trains is slowed more than by the builds of candidates.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::runtime::Handle;

use super::context::Context;
use super::making::{MOST_BUILD_SECONDS, exporter};
use crate::build::BuildError;
use crate::edit::CheckedPatch;
use crate::flow::CommitId;
use crate::propose::tools::Compiled;
use crate::run::{StopSignal, stopped};

/// Builds for one turn: a model that guesses at the compiler's mind would keep the next candidate waiting.
pub(super) const MOST_A_TURN: u32 = 3;

/// The slot; candidates are built in another.
const SLOT: &str = "check";

/// Where edits are tried in a night. Made before the night's context is, and bound to it then.
#[derive(Clone, Default)]
pub(super) struct TryOuts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    night: OnceLock<Weak<Context>>,
    /// A turn, and how many builds it has had.
    had: Mutex<(u64, u32)>,
}

/// What is tried, and for whom.
pub(super) struct Wanted<'a> {
    /// The turn that it counts for.
    pub turn: u64,
    /// The commit that the edits are for.
    pub champion: &'a CommitId,
    /// The edits.
    pub patch: &'a CheckedPatch,
}

impl TryOuts {
    /// Says which night it is.
    pub fn bind(&self, night: &Arc<Context>) {
        // A night is opened once; a second word would be the same.
        let _again = self.0.night.set(Arc::downgrade(night));
    }

    /// Compiles edits, on a thread that may block; gives up when `stop` says so.
    pub fn compile(&self, runtime: &Handle, mut stop: StopSignal, wanted: &Wanted<'_>) -> Compiled {
        let not_tried = |why: &str| Compiled::NotTried(why.to_owned());
        let Some(context) = self.0.night.get().and_then(Weak::upgrade) else {
            return not_tried("the night has not begun");
        };
        if !self.0.count(wanted.turn) {
            return Compiled::NotTried(format!(
                "{MOST_A_TURN} builds were made for this idea already, which are all that there are; your answer will be compiled"
            ));
        }
        let (commit, files) = (wanted.champion.clone(), wanted.patch.clone());
        runtime.block_on(async {
            let _alone = tokio::select! {
                alone = context.building.lock() => alone,
                () = stopped(&mut stop) => return not_tried("the night ends"),
            };
            let Some(turn) = context.cores.build(&mut stop).await else { return not_tried("the night ends") };
            if !context.builder.has_start() {
                return not_tried("the night's start is not built");
            }
            let export = exporter(&context, commit);
            let export = move |to: &Path| export(to).and_then(|()| write_edited(&files, to));
            let tried = context.builder.try_out(SLOT, turn.beside(), MOST_BUILD_SECONDS, export, stop).await;
            as_told(tried)
        })
    }
}

impl Shared {
    /// Counts a build for a turn; `false` where it has had all.
    fn count(&self, turn: u64) -> bool {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        if had.0 != turn {
            *had = (turn, 0);
        }
        had.1 += 1;
        had.1 <= MOST_A_TURN
    }
}

/// Writes what edits make of the candidate's files over those of the commit below `folder`.
///
/// # Errors
/// What could not be written.
pub(crate) fn write_edited(patch: &CheckedPatch, folder: &Path) -> Result<(), String> {
    let changed = patch.base().iter().zip(patch.files()).filter(|(before, after)| before != after);
    for (_, file) in changed {
        let path = folder.join(&file.path);
        std::fs::write(&path, &file.text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// What came of a build, for whoever wanted to know.
pub(crate) fn as_told(tried: Result<Result<f64, crate::flow::BuildFailure>, BuildError>) -> Compiled {
    match tried {
        Ok(Ok(seconds)) => Compiled::Yes { seconds },
        Ok(Err(failure)) => Compiled::No(failure),
        Err(BuildError::Stopped) => Compiled::NotTried("the night ends".to_owned()),
        Err(error) => Compiled::NotTried(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_so_many_builds_and_the_next_has_them_again() {
        let shared = Shared::default();
        let had: Vec<bool> = [1, 1, 1, 1, 1, 2, 2, 2, 2].into_iter().map(|turn| shared.count(turn)).collect();
        assert_eq!(had, [true, true, true, false, false, true, true, true, false]);
    }
}
