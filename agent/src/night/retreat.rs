//! Champions' branches of what was taken back: brought to the last champion that stands, by the night that takes it back and, where
//! somebody had the branch checked out then, by every night that is opened later. A branch that a person has since moved is theirs.

use std::path::Path;
use std::sync::Arc;

use super::context::Context;
use super::live::Watcher;
use super::perform::{Fault, blocking, fault, warn};
use crate::campaign::CampaignName;
use crate::flow::{CommitId, NightId};
use crate::records::Level;
use crate::repo::{Repo, RepoError, champion_name};
use crate::store::{Store, StoreError};
use crate::terminal::Notice;

/// Brings this night's branch back, where something was taken back. One that cannot be moved is warned of, and tried again when a
/// night is opened.
pub(super) async fn retreat(context: &Arc<Context>) -> Result<(), Fault> {
    let retreat = Retreat::of(&context.store, &context.night.id).await;
    let Some(retreat) = retreat.map_err(|error| fault("cannot read the champions")(&error))? else { return Ok(()) };
    match retreat.go(context.layout.root(), &context.campaign.name).await {
        Ok(()) => Ok(()),
        Err(why) => warn(context, "git", &why).await,
    }
}

/// Tries again for all other nights of the campaign: one that took something back is over, and nothing else comes back to it.
///
/// # Errors
/// When the records cannot be read, or the warning of a branch that still cannot be moved cannot be written down.
pub(super) async fn catch_up(context: &Arc<Context>, watcher: &mut dyn Watcher) -> Result<(), StoreError> {
    let (store, campaign) = (&context.store, &context.campaign.name);
    for night in store.nights().await? {
        if night.campaign != campaign.as_str() || night.id == context.night.id {
            continue;
        }
        let Some(retreat) = Retreat::of(store, &night.id).await? else { continue };
        if let Err(text) = retreat.go(context.layout.root(), campaign).await {
            watcher.notice(&Notice::Warning { text: text.clone() });
            store.event(&context.night.id, Level::Warning, "git", &text).await?;
        }
    }
    Ok(())
}

/// A night that took something back.
struct Retreat {
    night: NightId,
    /// The last champion that stands.
    to: CommitId,
    /// Those that do not.
    from: Vec<CommitId>,
}

impl Retreat {
    async fn of(store: &Store, night: &NightId) -> Result<Option<Self>, StoreError> {
        let Some(withdrawal) = store.withdrawal(night).await? else { return Ok(None) };
        let champions = store.champion_moves(night).await?;
        let (stand, fallen): (Vec<_>, Vec<_>) =
            champions.into_iter().partition(|champion| withdrawal.spares(champion.experiment));
        let from = fallen.into_iter().map(|champion| champion.commit).collect();
        Ok(stand.into_iter().next_back().map(|champion| Self { night: night.clone(), to: champion.commit, from }))
    }

    /// Moves the branch, where it is at a champion that does not stand; else says why not and what to do.
    async fn go(self, root: &Path, campaign: &CampaignName) -> Result<(), Fault> {
        let (root, campaign) = (root.to_owned(), campaign.clone());
        blocking("moving the champion back", move || {
            let Self { night, to, from } = self;
            let moved = || {
                let repo = Repo::discover(&root)?;
                match repo.champion(&campaign, &night)? {
                    Some(at) if from.contains(&at) => repo.retreat_champion(&campaign, &night, &at, &to).map(drop),
                    _ => Ok(()),
                }
            };
            moved().map_err(|error: RepoError| {
                let branch = champion_name(&campaign, &night);
                format!(
                    "the champion's branch of night {night} is still at what was taken back: {error}; after that, the next night moves \
                     it, or: git branch --force {branch} {to}"
                )
            })
        })
        .await
    }
}
