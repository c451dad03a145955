//! `nocturne prepare` and `nocturne new`.

use serde_json::json;

use super::output::outln;
use super::{Fault, NewArgs, PrepareArgs, campaign_fault, here};
use crate::campaign;
use crate::layout::Layout;
use crate::prepare;
use crate::repo::Repo;
use crate::terminal::Display;

pub(super) async fn prepare(args: PrepareArgs) -> Result<(), Fault> {
    let root = Repo::discover(&here()?).map_err(Fault::usage)?.root().to_owned();
    let campaign = campaign::locate(&root, &args.campaign).and_then(|folder| campaign::load(&folder));
    let campaign = campaign.map_err(campaign_fault)?;
    let mut display = Display::new();
    let environment = prepare::environment(&root, &campaign, &mut display).await;
    let environment = environment.map_err(|error| Fault::new(error.exit_code(), error))?;
    let data = prepare::data(&Layout::new(&root), &campaign, &environment, &mut display).await;
    display.finish();
    let data = data.map_err(|error| Fault::new(error.exit_code(), error))?;
    if args.json {
        return super::print_json(&json!({ "folder": data.folder, "manifest": data.manifest }));
    }
    outln!("{}", data.folder.display())?;
    let splits = &data.manifest.splits;
    for (name, split) in [("train", &splits.train), ("search", &splits.search), ("sealed", &splits.sealed)] {
        outln!("{name:>7}: {:>9} documents {:>12} bytes {:>12} tokens", split.documents, split.bytes, split.tokens)?;
    }
    Ok(())
}

pub(super) fn new(args: NewArgs) -> Result<(), Fault> {
    let root = Repo::discover(&here()?).map_err(Fault::usage)?.root().to_owned();
    let folder = campaign::scaffold(&root, &args.campaign, args.scale).map_err(Fault::usage)?;
    let shown = folder.strip_prefix(&root).unwrap_or(&folder).display();
    outln!("{shown}/program.md     what to look for, what is known, what is off limits")?;
    outln!("{shown}/campaign.toml  budget, data, machine, rules")?;
    outln!("Fill them in, then: nocturne night {shown}")?;
    Ok(())
}
