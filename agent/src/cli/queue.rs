//! `nocturne queue`: the person's own ideas.

use std::path::{Path, PathBuf};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::output::outln;
use super::read::COLUMNS;
use super::{Fault, QueueAddArgs, QueueListArgs, QueueMoveArgs, QueueRemoveArgs, campaign_fault, here, print_json};
use crate::campaign::{self, Campaign};
use crate::edit::{DiffError, MOST_DIFF_BYTES};
use crate::files::{self, FileError};
use crate::layout::Layout;
use crate::queue::{self, Unfit};
use crate::records::{QueueEntry, QueueState};
use crate::repo::Repo;
use crate::store::{Reader, Store, StoreError};
use crate::terminal::clean;

/// Settled ideas that are listed where not all are asked for.
const LAST_SETTLED: usize = 20;

/// Characters of words and results in the table.
const MOST_SHOWN: usize = 160;

pub(super) async fn add(args: QueueAddArgs) -> Result<(), Fault> {
    let repo = Repo::discover(&here()?).map_err(Fault::usage)?;
    let layout = Layout::new(repo.root());
    let campaign = campaign_for(&layout, args.campaign.as_deref()).await?;
    let patch = args.patch.as_deref().map(read_patch).transpose()?;
    let head = repo.start().map_err(Fault::usage)?.commit;
    let base = repo.candidate_files(&head).map_err(Fault::failed)?;
    queue::check(&args.words, patch.as_deref(), &base).map_err(|error| unfit(error, args.patch.as_deref()))?;
    let store = Store::open_unchecked_in(&layout).await.map_err(Fault::failed)?;
    let name = campaign.name.as_str();
    let mut entry = store.enqueue(name, &args.words, patch.as_deref()).await.map_err(Fault::failed)?;
    if args.first {
        let order = store.move_queued(entry.id, 1).await.map_err(Fault::failed)?;
        entry = order.into_iter().find(|other| other.id == entry.id).unwrap_or(entry);
    }
    let place = place_of(&store, &entry).await?;
    store.close().await.map_err(Fault::failed)?;
    let waits_for_a_model = entry.patch.is_none() && !campaign.reads_words();
    if args.json {
        return print_json(&json!({ "idea": entry, "place": place, "waits_for_a_model": waits_for_a_model }));
    }
    outln!("idea {} for {name}: place {place} in the queue", entry.id)?;
    if waits_for_a_model {
        outln!(
            "It waits until {name} has a language model or a coding agent (`[[models]]`, `[[coding_agents]]` in campaign.toml) to make edits \
             of the words."
        )?;
    }
    Ok(())
}

pub(super) async fn list(args: QueueListArgs) -> Result<(), Fault> {
    let layout = Layout::new(Repo::discover(&here()?).map_err(Fault::usage)?.root());
    let mut entries = match Reader::open(&layout.database()).await {
        Ok(reader) => reader.queue(args.campaign.as_deref()).await.map_err(Fault::failed)?,
        Err(StoreError::NoDatabase { .. }) => Vec::new(),
        Err(error) => return Err(Fault::failed(error)),
    };
    in_order(&mut entries);
    if !args.all {
        leave_out_old(&mut entries);
    }
    if args.json {
        return print_json(&json!(entries));
    }
    if entries.is_empty() {
        outln!("no ideas in the queue; add one with: nocturne queue add \"try a longer warm-down\"")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(COLUMNS).unwrap_or(u16::MAX));
    table.set_header(["idea", "campaign", "state", "what to try", "experiment", "result"]);
    for entry in &entries {
        let by = entry.taken.as_ref().map_or_else(|| "-".to_owned(), |taken| taken.by.to_string());
        let patch = if entry.patch.is_some() { " (with a patch)" } else { "" };
        let from = entry.by.as_ref().map_or_else(String::new, |by| format!(" (from {})", clean(by)));
        table.add_row([
            entry.id.to_string(),
            clean(&entry.campaign),
            entry.state.to_string(),
            shown(&entry.words) + patch + &from,
            by,
            entry.result.as_deref().map_or_else(|| "-".to_owned(), shown),
        ]);
    }
    outln!("{table}")
}

pub(super) async fn remove(args: QueueRemoveArgs) -> Result<(), Fault> {
    let store = open().await?;
    let entry = store.remove_queued(args.id).await.map_err(queue_fault)?;
    store.close().await.map_err(Fault::failed)?;
    match args.json {
        true => print_json(&json!(entry)),
        false => outln!("idea {} is off the queue: {}", entry.id, shown(&entry.words)),
    }
}

pub(super) async fn shift(args: QueueMoveArgs) -> Result<(), Fault> {
    let store = open().await?;
    let place = usize::try_from(args.place).unwrap_or(usize::MAX);
    let order = store.move_queued(args.id, place).await.map_err(queue_fault)?;
    store.close().await.map_err(Fault::failed)?;
    if args.json {
        return print_json(&json!(order));
    }
    for (place, entry) in (1..).zip(&order) {
        outln!("{place:>3}. idea {}: {}", entry.id, shown(&entry.words))?;
    }
    Ok(())
}

/// The store of a repository that has one.
async fn open() -> Result<Store, Fault> {
    let layout = Layout::new(Repo::discover(&here()?).map_err(Fault::usage)?.root());
    if !layout.database().exists() {
        return Err(Fault::usage("there are no ideas in this repository's queue yet")
            .with_help("add one with: nocturne queue add \"try a longer warm-down\""));
    }
    Store::open_unchecked_in(&layout).await.map_err(Fault::failed)
}

/// The campaign that is meant: the one that is named, else the last night's, else the only one.
async fn campaign_for(layout: &Layout, named: Option<&Path>) -> Result<Campaign, Fault> {
    let folder = match named {
        Some(named) => campaign::locate(layout.root(), named).map_err(campaign_fault)?,
        None => match last_campaign(layout).await? {
            Some(folder) => folder,
            None => only_campaign(layout)?,
        },
    };
    campaign::load(&folder).map_err(campaign_fault)
}

/// The last night's campaign, where its folder is still there.
async fn last_campaign(layout: &Layout) -> Result<Option<PathBuf>, Fault> {
    let nights = match Reader::open(&layout.database()).await {
        Ok(reader) => reader.nights().await.map_err(Fault::failed)?,
        Err(StoreError::NoDatabase { .. }) => Vec::new(),
        Err(error) => return Err(Fault::failed(error)),
    };
    let folder = nights.last().map(|night| layout.campaign(&night.campaign));
    Ok(folder.filter(|folder| folder.join("campaign.toml").is_file()))
}

fn only_campaign(layout: &Layout) -> Result<PathBuf, Fault> {
    let failed = |error| Fault::failed(format!("cannot read {}: {error}", layout.campaigns().display()));
    let mut found = Vec::new();
    if layout.campaigns().is_dir() {
        for entry in std::fs::read_dir(layout.campaigns()).map_err(failed)? {
            let folder = entry.map_err(failed)?.path();
            if folder.join("campaign.toml").is_file() {
                found.push(folder);
            }
        }
    }
    found.sort();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Fault::usage("there is no campaign to queue an idea for").with_help("`nocturne new NAME` makes one")),
        several => {
            let names = several.iter().map(|folder| folder.file_name().unwrap_or_default().to_string_lossy());
            let names = names.map(|name| clean(&name)).collect::<Vec<_>>().join(", ");
            Err(Fault::usage("which campaign is the idea for?").with_help(format!("add `--campaign`, one of: {names}")))
        }
    }
}

fn read_patch(path: &Path) -> Result<String, Fault> {
    let named = clean(&path.display().to_string());
    let bytes = files::read_capped(path, MOST_DIFF_BYTES as u64).map_err(|error| match error {
        FileError::TooLarge { .. } => Fault::usage(format!("{named}: {}", DiffError::TooLarge)),
        other => Fault::usage(other),
    })?;
    String::from_utf8(bytes).map_err(|_| Fault::usage(format!("{named} is not UTF-8; the candidate's files are")))
}

fn unfit(error: Unfit, patch: Option<&Path>) -> Fault {
    match patch {
        // What it quotes is the patch's and the files' text.
        Some(patch) if matches!(error, Unfit::Diff(_) | Unfit::Edit(_)) => {
            let named = clean(&patch.display().to_string());
            Fault::usage(format!("{named}: {}", crate::terminal::clean_lines(&error.to_string())))
                .with_help("it is held against the candidate's files as HEAD has them; nothing was queued")
        }
        _ => Fault::usage(error),
    }
}

fn queue_fault(error: StoreError) -> Fault {
    match error {
        StoreError::Unknown { .. } | StoreError::NotWaiting { .. } => {
            Fault::usage(error).with_help("`nocturne queue list` shows the ideas that there are")
        }
        other => Fault::failed(other),
    }
}

/// The entry's place among those of its campaign that wait, from 1.
async fn place_of(store: &Store, entry: &QueueEntry) -> Result<usize, Fault> {
    let mut entries = store.queue(Some(&entry.campaign)).await.map_err(Fault::failed)?;
    entries.retain(|other| other.state == QueueState::Waiting && (other.place, other.id) < (entry.place, entry.id));
    Ok(entries.len() + 1)
}

/// What is being tested, then what waits in its order, then what is settled, the last first.
fn in_order(entries: &mut [QueueEntry]) {
    entries.sort_by_key(|entry| {
        let settled = entry.settled_at.map_or(0, |at| -at.as_millisecond());
        match entry.state {
            QueueState::Taken => (0, String::new(), 0, 0, entry.id),
            QueueState::Waiting => (1, entry.campaign.clone(), entry.place, 0, entry.id),
            QueueState::Done | QueueState::Refused | QueueState::Removed => (2, String::new(), 0, settled, entry.id),
        }
    });
}

fn leave_out_old(entries: &mut Vec<QueueEntry>) {
    entries.retain(|entry| entry.state != QueueState::Removed);
    let open = entries.iter().filter(|entry| entry.settled_at.is_none()).count();
    entries.truncate(open + LAST_SETTLED);
}

fn shown(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}
