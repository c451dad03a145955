//! View models of the numbers that experiments were made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The recipe of one commit: that of an experiment, or of the night's start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RecipeView {
    /// Number of the experiment; 0 is the night's start.
    pub experiment: u32,
    /// The recipe's numbers by name, in whatever unit the recipe has them.
    pub numbers: BTreeMap<String, f64>,
    /// Whether the experiment changed something besides numbers of the recipe: its effect is then not theirs alone.
    pub other_changes: bool,
}
