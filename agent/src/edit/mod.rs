//! From a proposer's words to a checked patch.
//!
//! [`blocks`] reads the SEARCH/REPLACE text that language models write, [`edits_of_diff`] the diffs that people have, [`apply()`] puts edits into source files, all of them or
//! none, and [`CheckedPatch::check`] is the only way from a proposal to something that may be committed: it runs the whole
//! policy. Nothing here reads or writes a disk, runs a program or trusts a word of what it is given. An edit that does not fit
//! exactly one place is refused with a text that helps its author to mend it; it is never applied by guess.

mod apply;
pub mod blocks;
mod check;
mod digest;
mod error;
mod patch;
mod policy;
mod revert;
mod search;
mod tokens;
mod unified;

pub use apply::apply;
pub use check::{Rule, page};
pub use digest::content_digest;
pub use error::{Class, EditError, Nearest, Place, Violation};
pub use patch::CheckedPatch;
pub(crate) use policy::is_unprintable;
pub use policy::{CANDIDATE_FILES, Policy};
pub use revert::{Overlap, revert};
pub use unified::{DiffError, MOST_DIFF_BYTES, edits_of_diff};
