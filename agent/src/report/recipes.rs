//! The recipe's numbers of a night's experiments, from their commits.

use std::collections::BTreeMap;

use dashboards::RecipeView;
use protocol::Scale;

use super::NightRecords;
use crate::campaign::{Campaign, CampaignName};
use crate::flow::{CommitId, SourceFile};
use crate::propose::{Constant, constants};
use crate::records::NightRecord;
use crate::repo::Repo;

impl NightRecords {
    /// The recipes of the night's start and of every experiment with a commit, for the scale of the night's campaign. Empty where
    /// the campaign's recorded text cannot be read by this version. An experiment whose files cannot be read is left out; the place
    /// of its diff on the page says why.
    pub fn recipes(&self, repo: &Repo) -> Vec<RecipeView> {
        let name = CampaignName::like(&self.night.campaign);
        let campaign = name.map(|name| Campaign::parse_recorded(name, &self.night.campaign_text, "", "campaign.toml"));
        let Some(Ok(campaign)) = campaign else { return Vec::new() };
        let mut files: BTreeMap<CommitId, Vec<SourceFile>> = BTreeMap::new();
        let candidates = self.experiments.iter().filter_map(|experiment| experiment.candidate.as_ref());
        for commit in candidates.flat_map(|candidate| [&candidate.commit, &candidate.parent]) {
            if files.contains_key(commit) {
                continue;
            }
            if let Ok(read) = repo.candidate_files(commit) {
                files.insert(commit.clone(), read);
            }
        }
        self.experiments
            .iter()
            .filter_map(|experiment| {
                let candidate = experiment.candidate.as_ref()?;
                let (own, parent) = (files.get(&candidate.commit)?, files.get(&candidate.parent));
                recipe(experiment.id.number, own, parent.map(Vec::as_slice), campaign.scale)
            })
            .collect()
    }
}

/// The numbers of the recipe of one commit, for the scale of a night's campaign; `None` where the campaign's recorded text or the files
/// cannot be read.
pub fn recipe_numbers(repo: &Repo, night: &NightRecord, commit: &CommitId) -> Option<BTreeMap<String, f64>> {
    let name = CampaignName::like(&night.campaign)?;
    let campaign = Campaign::parse_recorded(name, &night.campaign_text, "", "campaign.toml").ok()?;
    let files = repo.candidate_files(commit).ok()?;
    Some(recipe(0, &files, None, campaign.scale)?.numbers)
}

/// `None` where there is no recipe among the files.
fn recipe(experiment: u32, own: &[SourceFile], parent: Option<&[SourceFile]>, scale: Scale) -> Option<RecipeView> {
    let text = &own.iter().find(|file| is_recipe(file))?.text;
    let found = constants(text, scale);
    Some(RecipeView {
        experiment,
        // Without the files that it is compared with, nobody knows what else it changes.
        other_changes: experiment > 0 && parent.is_none_or(|parent| apart(own, scale) != apart(parent, scale)),
        numbers: found.into_iter().map(|constant| (constant.name, constant.value)).collect(),
    })
}

fn is_recipe(file: &SourceFile) -> bool {
    file.path.ends_with("/recipe.rs")
}

/// The files with every number of the recipe taken out.
fn apart(files: &[SourceFile], scale: Scale) -> Vec<(&str, String)> {
    let without = |file: &SourceFile| {
        let mut text = file.text.clone();
        let mut found: Vec<Constant> = if is_recipe(file) { constants(&text, scale) } else { Vec::new() };
        found.sort_by_key(|constant| std::cmp::Reverse(constant.span.start));
        for constant in found {
            text.replace_range(constant.span, "");
        }
        text
    };
    files.iter().map(|file| (file.path.as_str(), without(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "impl Recipe { pub fn cpu() -> Self { Self { depth: 4, rate: 0.04, pattern: \"SSSL\" } } }\n";

    fn files(recipe: &str, model: &str) -> Vec<SourceFile> {
        [("recipe", recipe), ("model", model)]
            .map(|(name, text)| SourceFile { path: format!("trainer/src/candidate/{name}.rs"), text: text.to_owned() })
            .into()
    }

    #[test]
    fn numbers_and_whatever_else_is_changed_are_told_apart() {
        let start = files(RECIPE, "fn a() {}");
        let of = |own: &[SourceFile]| recipe(3, own, Some(&start), Scale::Cpu).unwrap();
        let number = of(&files(&RECIPE.replace("0.04", "0.1"), "fn a() {}"));
        assert_eq!(number.numbers, [("depth".to_owned(), 4.0), ("rate".to_owned(), 0.1)].into());
        assert!(!number.other_changes);
        assert!(of(&files(&RECIPE.replace("SSSL", "SL"), "fn a() {}")).other_changes);
        assert!(of(&files(&RECIPE.replace("0.04", "0.1"), "fn b() {}")).other_changes);
        assert!(recipe(3, &start, None, Scale::Cpu).unwrap().other_changes);
        assert!(!recipe(0, &start, None, Scale::Cpu).unwrap().other_changes);
    }
}
